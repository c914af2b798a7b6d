"""The hip bones, left and right."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.labelling.builtin.field import SpineField
from CTSpectSpineLib.labelling.builtin.instances import Column
from CTSpectSpineLib.labelling.builtin.network import CLASSES
from CTSpectSpineLib.model import BoolArray

_LEAST_MM3 = 8000.0
"""Least volume of a hip bone. Judgement: a small part of one; less is mostly a mistake."""


def hip_masks(field: SpineField, column: Column) -> dict[str, BoolArray]:
    """Hip bones by name; a side that is too small to be one is left out.

    The sides are told apart by the plane through the lowest vertebra: what lies to its left is
    the left one. Small pieces, mostly parts of the femora, are left out.
    """
    mask = field.shares[CLASSES.index("hip")] > 0.5
    lowest = column.instances[-1]
    left = np.cross(lowest.posterior, (0.0, 0.0, 1.0))
    left /= max(float(np.linalg.norm(left)), 1e-6)
    if left[0] < 0.5:
        left = np.array([1.0, 0.0, 0.0])
    origin = field.grid.ijk_to_lps[:3, 3]
    k, j, i = np.ogrid[tuple(slice(0, n) for n in mask.shape)]
    side = (
        (origin[0] + i * field.spacing_mm - lowest.centre_mm[0]) * left[0]
        + (origin[1] + j * field.spacing_mm - lowest.centre_mm[1]) * left[1]
        + 0 * k
    )
    found = {}
    for name, half in (("hip_left", side > 0), ("hip_right", side <= 0)):
        pieces, count = ndimage.label(mask & half, np.ones((3, 3, 3)))
        if not count:
            continue
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        if sizes.max() * field.spacing_mm**3 < _LEAST_MM3:
            continue
        found[name] = np.asarray((sizes > 0.1 * sizes.max())[pieces])
    return found
