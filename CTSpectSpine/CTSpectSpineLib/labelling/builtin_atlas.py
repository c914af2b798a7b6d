"""Atlas and axis, which no disc divides: told apart by their shape, not by their place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.labelling.builtin_field import SpineField
from CTSpectSpineLib.labelling.network import CLASSES
from CTSpectSpineLib.model import FloatArray

_LEAST_MM3 = 2500.0
"""Of what looks like one of them; an adult's atlas has 7000 mm³ and more, its axis 10000 mm³."""
_TOGETHER_MM = 34.0
"""From the middle of the atlas or axis to its farthest voxels."""
_LOWEST = 3
"""Of the column's vertebrae from its cranial end, the last that can be the axis."""


def with_atlas_and_axis(
    owner: NDArray[np.intp],
    centres_mm: FloatArray,
    field: SpineField,
    index: NDArray[np.intp],
    points_mm: FloatArray,
) -> tuple[NDArray[np.intp], FloatArray]:
    """Give what looks like the atlas and the axis to a vertebra of their own each.

    The dens stands inside the atlas, so a division along the spine cannot separate them.

    Parameters
    ----------
    owner
        Number (from 1, cranial first) of the vertebra of each voxel, 0 for none.
    centres_mm
        Middles of these vertebrae, LPS mm, shape (n, 3).
    field
        What the network says.
    index, points_mm
        The voxels: indices (k, j, i), and LPS mm.

    Returns
    -------
    tuple
        Owners and centres; both are as given where neither atlas nor axis is seen at the cranial
        end. One more centre at the front when an atlas is seen.
    """
    looks = field.shares[:, index[:, 0], index[:, 1], index[:, 2]].argmax(axis=0)
    atlas, axis = (
        _largest(looks == CLASSES.index(name), index, points_mm, field) for name in ("C1", "C2")
    )
    owner = owner.copy()
    if axis is not None:
        counts = np.bincount(owner[axis], minlength=len(centres_mm) + 1)
        counts[0] = 0
        if 1 <= counts.argmax() <= _LOWEST and counts.any():
            owner[axis] = counts.argmax()
        else:
            axis = None
    if atlas is None or not _is_on_top(points_mm[atlas].mean(axis=0), centres_mm):
        return owner, centres_mm
    owner = np.where(owner > 0, owner + 1, 0)
    owner[atlas] = 1
    return owner, np.concatenate([points_mm[atlas].mean(axis=0)[None], centres_mm])


def _largest(
    mask: NDArray[np.bool_], index: NDArray[np.intp], points_mm: FloatArray, field: SpineField
) -> NDArray[np.bool_] | None:
    """The voxels of a class near its largest piece; None where that is too small."""
    if not mask.any():
        return None
    low = index[mask].min(axis=0)
    box = np.zeros(index[mask].max(axis=0) - low + 1, dtype=bool)
    box[tuple((index[mask] - low).T)] = True
    pieces, _ = ndimage.label(box, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    best = int(sizes.argmax())
    if sizes[best] * field.spacing_mm**3 < _LEAST_MM3:
        return None
    in_piece = mask.copy()
    in_piece[mask] = pieces[tuple((index[mask] - low).T)] == best
    middle = points_mm[in_piece].mean(axis=0)
    near: NDArray[np.bool_] = mask & (np.linalg.norm(points_mm - middle, axis=1) < _TOGETHER_MM)
    return near


def _is_on_top(point_mm: FloatArray, centres_mm: FloatArray) -> bool:
    """Whether a place is at the cranial end of a column, not somewhere in it."""
    nearest = np.argsort(np.linalg.norm(centres_mm - point_mm, axis=1))[:1]
    return bool(nearest[0] < _LOWEST)
