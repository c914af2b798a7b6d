"""A point in a vertebra whose level the user knows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import FloatArray


@dataclass(frozen=True)
class Anchor:
    """A point in a vertebra whose level is known.

    Attributes
    ----------
    level
        Name of the vertebra, ``"C1"`` … ``"L6"``, ``"S1"`` or ``"sacrum"``.
    point_lps_mm
        A point in it, LPS mm.
    """

    level: str
    point_lps_mm: tuple[float, float, float]

    @property
    def point(self) -> FloatArray:
        """The point as an array, LPS mm, shape (3,)."""
        return np.array(self.point_lps_mm, dtype=np.float64)

    def __str__(self) -> str:
        x, y, z = self.point_lps_mm
        return f"{self.level}@{x:g},{y:g},{z:g}"


def parse_anchor(text: str) -> Anchor:
    """Read ``LEVEL@x,y,z``, for instance ``L5@3.5,-40,812``.

    Raises
    ------
    InputError
        If the text has another form, or there is no such vertebra.
    """
    name, _, rest = text.partition("@")
    names = {row.name.lower(): row.name for row in anatomy.vertebrae()}
    level = names.get(name.strip().lower().replace("th", "t"))
    try:
        x, y, z = (float(part) for part in rest.split(","))
    except ValueError:
        x = y = z = math.nan
    if level is None or not all(math.isfinite(value) for value in (x, y, z)):
        raise InputError(
            f"Anchor '{text}' is not LEVEL@x,y,z; give a vertebra (C1 to L6, S1) and a point in it "
            "in LPS millimetres, like L5@3.5,-40,812."
        )
    return Anchor(level, (x, y, z))


def parse_anchors(text: str) -> tuple[Anchor, ...]:
    """Read one anchor, or several separated by semicolons.

    Raises
    ------
    InputError
        As for `parse_anchor`.
    """
    return tuple(parse_anchor(part.strip()) for part in text.split(";"))
