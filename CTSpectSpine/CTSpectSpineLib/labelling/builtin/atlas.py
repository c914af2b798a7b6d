"""Atlas and axis, which no disc divides: told apart by shape, not by position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.labelling.builtin.field import SpineField
from CTSpectSpineLib.labelling.builtin.network import CLASSES, MIDDLE
from CTSpectSpineLib.model import BoolArray, FloatArray

_LEAST_MM3 = 2500.0
"""Least volume of what looks like one of them. Judgement: about a third of an adult's atlas (7000
mm³ and more) or a quarter of its axis (10000 mm³), of which a part may be in view."""
_TOGETHER_MM = 34.0
"""From the middle of the atlas or axis to its farthest voxels. Judgement: nearly half the width of
an adult's atlas."""
_SAME_MM = 10.0
"""Between two middles of one vertebra. Judgement: well below the way to the next one."""
_MOSTLY = 0.6
"""Share of a vertebra's middle that must look like the axis for it to be part of it. Judgement:
a clear majority."""
_DIVIDED_MM = 26.0
"""Between the middles of a divided dens and body at most. Judgement: the height of an adult's axis
is about 40 mm."""
_LEAST_TORN_MM3 = 1000.0
"""Least volume of an atlas above an axis. Judgement: less, since it is expected there."""
_ABOVE_MM = 45.0
"""From the middle of the axis to the atlas' farthest voxels. Judgement: half the width of an
atlas, which lies around the dens."""
_ROUNDS = 10
"""Of dividing votes in two groups. Numerical: two groups in one dimension settle in fewer."""
_APART_MM = 7.0
"""Least distance between the votes for the atlas and for the axis. Measured on phantoms: about 16
mm; with less than half of it they are taken as one."""
_LOWEST = 5
"""Of the column's vertebrae from its cranial end, the last that can be the axis. Judgement: atlas
and axis may be divided into too many pieces, or have noise above them."""


def with_atlas_and_axis(
    owner: NDArray[np.intp],
    centres_mm: FloatArray,
    field: SpineField,
    index: NDArray[np.intp],
    points_mm: FloatArray,
    aims_mm: FloatArray,
) -> tuple[NDArray[np.intp], FloatArray]:
    """Assign what looks like the atlas and the axis to one vertebra each.

    The dens stands inside the atlas, so a division along the spine cannot separate them.

    Parameters
    ----------
    owner
        Number (from 1, cranial first) of the vertebra of each voxel, 0 for none.
    centres_mm
        Middles of these vertebrae, LPS mm, shape (n, 3).
    field
        The network's output.
    index, points_mm, aims_mm
        The voxels: indices (k, j, i), LPS mm, and the centres that they vote for, LPS mm.

    Returns
    -------
    tuple
        Owners and centres; both are as given where neither atlas nor axis is seen at the cranial
        end. One more centre at the front when an atlas is seen.
    """
    looks = field.shares[:, index[:, 0], index[:, 1], index[:, 2]].argmax(axis=0)
    owner = owner.copy()
    lowest, axis_mm = _axis(owner, centres_mm, looks, index, points_mm, field)
    pieces = _pieces(looks == CLASSES.index("C1"), index, points_mm, field)
    if lowest:
        # Above an axis even a fragment counts as the atlas.
        torn = (looks == CLASSES.index("C1")) & _is_above(points_mm, axis_mm)
        enough = np.count_nonzero(torn) * field.spacing_mm**3 >= _LEAST_TORN_MM3
        pieces = [torn] if enough else []
    else:
        pieces = [p for p in pieces if _is_on_top(points_mm[p].mean(axis=0), centres_mm)]
    if not pieces:
        # One vertebra at most lies above the axis.
        owner[(owner > 0) & (owner < lowest - 1)] = 0
        return owner, centres_mm
    atlas = pieces[0]
    middle = points_mm[atlas].mean(axis=0)
    away = np.linalg.norm(centres_mm - middle, axis=1)
    same = away < _SAME_MM
    if lowest:
        # What was divided off between them is part of the atlas; nothing lies above it.
        same[: lowest - 1] = away[: lowest - 1] < _TOGETHER_MM
        same[lowest - 1 :] = False
    part = np.isin(owner, np.flatnonzero(same) + 1) | atlas
    owner[(owner < lowest) & ~part] = 0
    owner = np.where(owner > 0, owner + 1, 0)
    owner[part] = 1
    if lowest:
        _divide(owner, lowest + 1, looks, aims_mm)
    return owner, np.concatenate([middle[None], centres_mm])


def _axis(
    owner: NDArray[np.intp],
    centres_mm: FloatArray,
    looks: NDArray[np.intp],
    index: NDArray[np.intp],
    points_mm: FloatArray,
    field: SpineField,
) -> tuple[int, FloatArray]:
    """Number of the vertebra that is the axis, to which its voxels are given, and its middle.

    The number is 0 where no axis is seen near the cranial end.
    """
    count = len(centres_mm) + 1
    for axis in _pieces(looks == CLASSES.index("C2"), index, points_mm, field):
        counts = np.bincount(owner[axis], minlength=count)
        counts[0] = 0
        if not counts.any() or counts.argmax() > _LOWEST:
            continue
        lowest = int(counts.argmax())
        # Dens and body may have been divided.
        middles = np.bincount(owner[np.isin(looks, MIDDLE)], minlength=count)
        mostly = counts[1:] > _MOSTLY * np.maximum(middles[1:], 1)
        beside = np.linalg.norm(centres_mm - centres_mm[lowest - 1], axis=1) < _DIVIDED_MM
        owner[axis | np.isin(owner, np.flatnonzero(mostly & beside) + 1)] = lowest
        return lowest, points_mm[axis].mean(axis=0)
    return 0, np.zeros(3)


def _divide(
    owner: NDArray[np.intp], axis: int, looks: NDArray[np.intp], aims_mm: FloatArray
) -> None:
    """Divide the voxels of atlas (1) and axis by votes, which differ more than looks do."""
    first, second = (
        aims_mm[(owner == number) & (looks == CLASSES.index(name))].mean(axis=0)
        for number, name in ((1, "C1"), (axis, "C2"))
    )
    both = np.flatnonzero((owner == 1) | (owner == axis))
    height = (aims_mm[both] - second) @ ((first - second) / max(np.linalg.norm(first - second), 1))
    low, high = 0.0, float(np.linalg.norm(first - second))
    for _ in range(_ROUNDS):
        above = height > 0.5 * (low + high)
        if above.all() or not above.any():
            return
        low, high = float(height[~above].mean()), float(height[above].mean())
    if high - low >= _APART_MM:
        owner[both] = np.where(height > 0.5 * (low + high), 1, axis)


def _pieces(
    mask: NDArray[np.bool_], index: NDArray[np.intp], points_mm: FloatArray, field: SpineField
) -> list[NDArray[np.bool_]]:
    """The voxels of a class near each piece that is large enough, the largest piece first."""
    if not mask.any():
        return []
    low = index[mask].min(axis=0)
    box = np.zeros(index[mask].max(axis=0) - low + 1, dtype=bool)
    box[tuple((index[mask] - low).T)] = True
    labels, _ = ndimage.label(box, np.ones((3, 3, 3)))
    number = labels[tuple((index[mask] - low).T)]
    sizes = np.bincount(number)
    found = []
    for piece in np.argsort(-sizes, kind="stable"):
        if sizes[piece] * field.spacing_mm**3 < _LEAST_MM3:
            break
        middle = points_mm[mask][number == piece].mean(axis=0)
        found.append(mask & (np.linalg.norm(points_mm - middle, axis=1) < _TOGETHER_MM))
    return found


def _is_above(points_mm: FloatArray, axis_mm: FloatArray) -> BoolArray:
    """Which points can belong to the atlas above an axis."""
    way = points_mm - axis_mm
    return np.asarray((way[:, 2] > 0) & (np.linalg.norm(way, axis=1) < _ABOVE_MM))


def _is_on_top(point_mm: FloatArray, centres_mm: FloatArray) -> bool:
    """Whether a point is at the cranial end of a column, not further down."""
    return bool(np.linalg.norm(centres_mm - point_mm, axis=1).argmin() < _LOWEST)
