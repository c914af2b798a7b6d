"""Whether the geometry of a header can be that of a patient's image."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import Grid
from CTSpectSpineLib.model import FloatArray

_SPACING_MM = (0.05, 20.0)
"""Smallest and largest voxel size that is accepted, mm. Judgement: no clinical CT or SPECT is
near these bounds; beyond them the header states another unit of length."""
_FARTHEST_MM = 1e5
"""Largest distance of a voxel from the origin, mm. Judgement: scanners stay within some metres."""
_LARGEST_SHEAR_DEG = 45.0
"""Largest deviation of the axes from right angles, degrees. Judgement: gantries tilt by up to 30
degrees; a grid that is sheared far more would fill hardly any of the box around it."""


def check_grid(name: str, size: tuple[int, ...], matrix: FloatArray) -> None:
    """Check the geometry of a volume before anything is computed with it.

    Parameters
    ----------
    name
        What to call the volume in the sentence.
    size
        Voxels along i, j, k.
    matrix
        4×4 matrix from index to LPS mm; may be sheared.

    Raises
    ------
    InputError
        If no scanner makes such a grid.
    """
    if not np.all(np.isfinite(matrix)):
        raise InputError(
            f"{name}: position or orientation in its header is no number; write the file again "
            "from the original images."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        check_spacing(name, spacing)
        farthest = np.abs(Grid((size[0], size[1], size[2]), matrix).corners_mm()).max()
    if not farthest <= _FARTHEST_MM:
        raise InputError(
            f"{name}: its header puts voxels {farthest / 1000:.4g} m from the origin; check the "
            "position and the unit of length in it."
        )
    shear = shear_degrees(matrix)
    if not shear <= _LARGEST_SHEAR_DEG:
        raise InputError(
            f"{name}: its axes are sheared by {shear:.0f} degrees, which no scanner does; check "
            "the orientation in its header."
        )


def check_spacing(name: str, spacing_mm: FloatArray) -> None:
    """Check voxel sizes in mm.

    Raises
    ------
    InputError
        If a size is impossible.
    """
    low, high = _SPACING_MM
    if not (spacing_mm.min() >= low and spacing_mm.max() <= high):
        text = " x ".join(f"{v:.4g}" for v in spacing_mm)
        raise InputError(
            f"{name}: has an impossible voxel size ({text} mm); check the unit of length in its "
            "header."
        )


def shear_degrees(matrix: FloatArray) -> float:
    """Largest deviation of the angles between the axes from a right angle, in degrees."""
    unit = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    cosines = np.abs(unit.T @ unit - np.eye(3)).max()
    return float(np.degrees(np.arcsin(min(1.0, cosines))))


def not_3d(source: Path | str, size: tuple[int, ...]) -> InputError:
    """The error about an image that is no volume."""
    if len(size) < 3:
        return InputError(f"{source}: a single 2D picture; a 3D volume is needed.")
    return InputError(
        f"{source}: a series of {math.prod(size[3:])} volumes (size "
        f"{' x '.join(map(str, size))}); save the one that is meant as a 3D file."
    )
