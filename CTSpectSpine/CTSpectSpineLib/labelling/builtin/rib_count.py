"""Ribs seen in the HU of the CT: connected thin bones that leave the column sideways.

The network calls too little of the first and the last ribs a rib on real CTs. A rib is plain to
see in the CT itself: behind and beside the column, where nothing else is, a thin bone runs from the
transverse process on to the side. Lumbar transverse processes end, ribs go on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from CTSpectSpineLib.geometry import Grid, apply_matrix, inverse
from CTSpectSpineLib.labelling.builtin.network import Float
from CTSpectSpineLib.model import BoolArray, FloatArray

_BONE_HU = 120.0
"""HU of a rib at 2.5 mm. Measured: with 150 the twelfth rib of a real CT broke at slices of 5 mm,
with 120 none did; muscle has 40 to 70."""
_THICK_MM = 10.0
"""Half thickness from which bone is no rib. Judgement: ribs are up to 9 mm thick in all; kidneys
with contrast and the liver are thicker than 20 mm."""
_RIM_SHARE = 0.4
"""Share of a bone that may lie within 5 mm of something thick. Judgement: what is left around a
kidney does so for most of it, a rib that passes one only here and there."""
_BEGIN_MM, _END_MM = 30.0, 64.0
"""Beside the column, where ribs are followed. Judgement: from the tip of a thoracic transverse
process to what all ribs but the shortest last ones reach; the scapula begins beyond."""
_MEDIAL_MM = 38.0
"""Where a rib begins at the latest. Judgement: a voxel or two beyond the tips of the processes;
what begins further out is scapula, hip or a neighbour's rib."""
_BACK_MM = (-14.0, 55.0)
"""Where it begins, behind the middle of the column. Judgement: from the front of a rib's head to
the tip of a transverse process that points back."""
_FRONT_MM = -22.0
"""Front of where ribs are followed. Judgement: the head of a rib lies behind it, the great vessels,
bright with contrast, before it."""
_LEAST_MM3, _MOST_MM3 = 150.0, 10000.0
"""Volume of such a bone. Judgement: a thin rib is 15 mm² in cross-section, here 30 mm long; two
that touch have 7300 mm³ on a real CT, a kidney with contrast 20000."""
_LIFT = 0.2
"""Height of a rib's beginning above the middle of its vertebra, in steps. Measured on two real CTs:
0 to 0.4 at T1 to T10, -0.1 to 0.25 at T11 and T12."""
_REACH_MM = 54.0
"""Reach beside the column at which a bone is as likely a rib as not. Measured on two real CTs:
transverse processes end at 50 mm or before, ribs go on beyond 62 mm; on phantoms see
docs/validation/labelling.md."""
_SOFT_MM = 2.5
"""Reach that changes the odds by e. Judgement: a voxel."""
_MOST = 3.0
"""Largest log odds of one side. Measured: see `naming`."""


@dataclass(frozen=True)
class Course:
    """Axes along a column, one row every twentieth of a vertebra.

    Attributes
    ----------
    place
        Index of the vertebra, with fractions, shape (n,).
    points_mm
        Middle of the column, LPS mm, shape (n, 3).
    left, back
        Unit vectors, shape (n, 3).
    """

    place: FloatArray
    points_mm: FloatArray
    left: FloatArray
    back: FloatArray


def course_of(centres: FloatArray, frames: FloatArray) -> Course:
    """Interpolate centres and axes (rows left, back, up) of a column, prolonged by a vertebra."""
    n = len(centres)
    place = np.arange(-1.0, n + 0.001, 0.05)
    inside, rows = np.clip(place, 0, n - 1), np.arange(n)

    def between(values: FloatArray) -> FloatArray:
        return np.stack([np.interp(inside, rows, values[:, axis]) for axis in range(3)], axis=1)

    points = between(centres)
    if n > 1:
        first, last = centres[1] - centres[0], centres[-1] - centres[-2]
        points += np.minimum(place, 0)[:, None] * first
        points += np.maximum(place - (n - 1), 0)[:, None] * last
    return Course(place, points, between(frames[:, 0]), between(frames[:, 1]))


def rib_odds_in_ct(hu: Float, grid: Grid, centres: FloatArray, frames: FloatArray) -> FloatArray:
    """Log odds that each vertebra carries a rib, one column for the left and one for the right.

    Parameters
    ----------
    hu
        CT on an axis-aligned grid of cubes in LPS, ``[k, j, i]``.
    grid
        Its grid.
    centres, frames
        Middle (LPS mm, shape (n, 3)) and axes (rows left, back, up, shape (n, 3, 3)) of each
        vertebra, cranial to caudal.

    Returns
    -------
    FloatArray
        Shape (n, 2); 0 where the place of the rib is not in view.
    """
    course = course_of(centres, frames)
    box = _box(course, grid)
    part = hu[box]
    spacing = float(grid.spacing_mm[0])
    bone = part > _BONE_HU
    low = np.array([s.start for s in box])
    thick = _thick(bone, spacing)
    at = np.argwhere(bone & ~thick)
    rim = ndimage.binary_dilation(thick, iterations=2)[tuple(at.T)]
    odds = np.zeros((len(centres), 2))
    for side, sign in enumerate((1.0, -1.0)):
        view = _in_view(course, grid, hu, sign, len(centres))
        odds[view, side] = -_MOST
        if not len(at):
            continue
        for place, reach in _bones(at, rim, low, part.shape, grid, course, sign):
            number = round(place + _LIFT)
            if 0 <= number < len(centres):
                value = float(np.clip((reach - _REACH_MM) / _SOFT_MM, -_MOST, _MOST))
                # What is seen counts; what is not seen counts where all of its place is in view.
                if view[number] or value > 0:
                    odds[number, side] = max(odds[number, side], value)
    return odds


def _box(course: Course, grid: Grid) -> tuple[slice, slice, slice]:
    """Part of the grid that holds the column and what lies beside it."""
    reach = np.array([_END_MM + 8, _END_MM + 8, 15.0])
    ends = np.stack([course.points_mm.min(axis=0) - reach, course.points_mm.max(axis=0) + reach])
    index = apply_matrix(inverse(grid.ijk_to_lps), ends)
    first = np.clip(np.floor(index[0]), 0, np.array(grid.size) - 1).astype(int)
    last = np.clip(np.ceil(index[1]) + 1, first + 1, grid.size).astype(int)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return k, j, i


def _thick(bone: BoolArray, spacing_mm: float) -> BoolArray:
    """What is too thick for a rib, with its rim, which an opening leaves behind."""
    steps = max(1, round(_THICK_MM / spacing_mm))
    core = ndimage.binary_opening(bone, iterations=steps)
    return np.asarray(ndimage.binary_dilation(core, iterations=2))


def _bones(
    at: NDArray[np.intp],
    rim: BoolArray,
    low: NDArray[np.intp],
    shape: tuple[int, ...],
    grid: Grid,
    course: Course,
    sign: float,
) -> list[tuple[float, float]]:
    """Place along the column, and reach beside it (mm), of each bone that begins at the column."""
    points = apply_matrix(grid.ijk_to_lps, (at + low)[:, ::-1].astype(float))
    _, nearest = cKDTree(course.points_mm).query(points)
    away = points - course.points_mm[nearest]
    lateral = sign * np.sum(away * course.left[nearest], axis=1)
    back = np.sum(away * course.back[nearest], axis=1)
    beside = (lateral > _BEGIN_MM) & (lateral < _END_MM) & (back > _FRONT_MM) & (back < 75.0)
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(at[beside].T)] = True
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    number = pieces[tuple(at[beside].T)]
    place, lateral, back = course.place[nearest][beside], lateral[beside], back[beside]
    rim = rim[beside]
    cell = float(np.prod(grid.spacing_mm))
    found = []
    for piece in range(1, count + 1):
        mine = number == piece
        if float(rim[mine].mean()) > _RIM_SHARE:
            continue
        if not _LEAST_MM3 <= np.count_nonzero(mine) * cell <= _MOST_MM3:
            continue
        begin = lateral[mine].min()
        medial = mine & (lateral < begin + 6.0)
        where = float(back[medial].mean())
        if begin < _MEDIAL_MM and _BACK_MM[0] < where < _BACK_MM[1]:
            found.append((float(place[medial].mean()), float(lateral[mine].max())))
    return found


def _in_view(course: Course, grid: Grid, hu: Float, sign: float, count: int) -> BoolArray:
    """Whether the place of a rib, which goes down on its way, is in view, for each vertebra."""
    seen = np.zeros(count, dtype=bool)
    side, back = np.meshgrid(np.linspace(_BEGIN_MM, _END_MM, 5), np.linspace(-5.0, 40.0, 4))
    for number in range(count):
        rows = np.flatnonzero(np.abs(course.place - number - 0.15) < 0.65)[::4]
        points = (
            course.points_mm[rows, None]
            + sign * side.ravel()[None, :, None] * course.left[rows, None]
            + back.ravel()[None, :, None] * course.back[rows, None]
        ).reshape(-1, 3)
        index = np.rint(apply_matrix(inverse(grid.ijk_to_lps), points)).astype(int)
        inside = np.all((index >= 0) & (index < np.array(grid.size)), axis=1)
        i, j, k = index[inside].T
        seen[number] = inside.mean() > 0.8 and float(np.mean(hu[k, j, i] > -990.0)) > 0.7
    return seen
