"""Rigid registration of bone SPECT (moving) to CT (fixed), with its quality."""

from CTSpectSpineLib.registration.files import (
    read_transform,
    registration_record,
    write_transform,
)
from CTSpectSpineLib.registration.given import judge_given
from CTSpectSpineLib.registration.rigid import register

__all__ = ["judge_given", "read_transform", "register", "registration_record", "write_transform"]
