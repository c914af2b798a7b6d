"""Named phantoms and the settings they are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.phantom.config import SpineConfig

_CASES = Path(__file__).parent / "cases.json"
DEFAULT_CASE = "lumbar-disc"


@dataclass(frozen=True)
class SpectConfig:
    """The scanner and how the patient lay in it.

    Attributes
    ----------
    translation_mm, rotation_deg
        Movement of the patient between CT and SPECT, along and about x, y and z (LPS) at the
        CT's centre.
    fwhm_mm
        Full width at half maximum of the point spread.
    counts
        Total counts of the volume.
    spacing_mm
        Edge of the voxels.
    seed
        Seed of everything random: anatomy, activity, noise.

    Notes
    -----
    The defaults are judgements: 10 mm lies amid the 8 to 12 mm of clinical bone SPECT, 4.42 mm is a
    usual voxel (128 x 128 matrix), counts are those of `spect.DEFAULT_COUNTS`, and the movement is
    an ordinary one.
    """

    translation_mm: tuple[float, float, float] = (8.0, -6.0, 10.0)
    rotation_deg: tuple[float, float, float] = (3.0, -2.0, 4.0)
    fwhm_mm: float = 10.0
    counts: float = 8.0e6
    spacing_mm: float = 4.42
    seed: int = 1

    def check(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If one is impossible; the message names it and what is allowed.
        """
        for name, low, high, unit in _RANGES:
            for value in np.atleast_1d(getattr(self, name)):
                if not low <= value <= high:  # also true of NaN
                    raise InputError(
                        f"The phantom's {name.split('_')[0]} is {value:g}{unit}; give "
                        f"{low:g} to {high:g}{unit}."
                    )
        for name in ("translation_mm", "rotation_deg"):
            if len(getattr(self, name)) != 3:
                raise InputError(f"The phantom's {name.split('_')[0]} needs three numbers: x y z.")


_RANGES = (
    ("translation_mm", -200, 200, " mm"),
    ("rotation_deg", -90, 90, "°"),
    ("fwhm_mm", 4, 40, " mm"),
    ("counts", 1e3, 1e12, ""),
    ("spacing_mm", 1, 12, " mm"),
    ("seed", 0, 2**32 - 1, ""),
)
"""Name, least, most and unit. Judgement: wider than any scanner, narrow enough to catch typing
errors."""


@dataclass(frozen=True)
class PhantomConfig:
    """A procedural phantom.

    Attributes
    ----------
    name, description
        Name of the case, and what it shows in one sentence.
    spine
        The spine; its seed is that of ``spect``.
    hot
        Joint id to true ratio to the reference bone.
    spect
        The scanner, the misalignment and the seed.
    """

    name: str = "custom"
    description: str = ""
    spine: SpineConfig = field(default_factory=SpineConfig)
    hot: Mapping[str, float] = field(default_factory=dict)
    spect: SpectConfig = field(default_factory=SpectConfig)


def case_names() -> tuple[str, ...]:
    """Names of all cases."""
    return tuple(json_table(_CASES))


def load_case(name: str = DEFAULT_CASE) -> PhantomConfig:
    """Settings of a named case.

    Raises
    ------
    InputError
        If there is no such case.
    """
    table = json_table(_CASES)
    if name not in table:
        raise InputError(f"There is no phantom case '{name}'; the cases are {', '.join(table)}.")
    row = table[name]
    return PhantomConfig(
        name=name,
        description=row["description"],
        spine=SpineConfig(**_tuples(row.get("spine", {}))),
        hot=row.get("hot", {}),
        spect=SpectConfig(**_tuples(row.get("spect", {}))),
    )


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as tuples."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
