"""Rigid registration of bone SPECT (moving) to CT (fixed), with its quality.

Where the spine lies differently, each vertebra may move a little on top of it.
"""

from CTSpectSpineLib.registration.bent_spine import refine_vertebrae
from CTSpectSpineLib.registration.files import (
    read_transform,
    registration_record,
    write_transform,
)
from CTSpectSpineLib.registration.given import judge_given
from CTSpectSpineLib.registration.rigid import register

__all__ = [
    "judge_given",
    "read_transform",
    "refine_vertebrae",
    "register",
    "registration_record",
    "write_transform",
]
