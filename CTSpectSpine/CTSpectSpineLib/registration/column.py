"""Where the vertebral column runs, found on the small maps of the CT, without labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.geometry import affine, apply_matrix
from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.registration.blocks import Float32Array
from CTSpectSpineLib.registration.prepare import CtMaps

REACH_MM = 45.0
"""From the column's line, which runs near the posterior wall of the bodies, to the tips of most
processes and the anterior edge of the bodies, mm. Judgement: sizes of lumbar vertebrae."""
WAIST_SHARE, PELVIS_SHARE, PELVIS_MEAN = 0.5, 0.9, 1.3
"""Bone beside the column relative to bone in it: less at the waist, more in the pelvis, and still
more on average over the pelvis. Judgement: the waist has next to none, iliac bones outweigh the
sacrum."""
CREST_TO_JOINT_MM = 45.0
"""How far the lumbosacral joints lie below the top of the iliac crests, mm. Judgement: the crests
reach L4 or L4-L5 (Tuffier's line), somewhat more than one level above."""
SHORTEST_LINE = 8
"""Fewest slices of the column that can be moved along it. Numerical: a line of 3 cm has a
direction."""
_IN_PLANE_SIGMA_MM = 12.0
"""Standard deviation of the blur across the body, mm. Judgement: half the half width of a lumbar
body, as of a uniform disk that wide."""
_ALONG_SIGMA_MM = 10.0
"""The same along the body, mm. Judgement: bridges discs."""
_MIDLINE_SIGMA_MM = 50.0
"""Standard deviation of the weight by the distance from the midline, mm. Judgement: leaves room for
scoliosis, and tells the spine from ribs and hips."""
_SOFT = 1
"""Channel that tells soft tissue from fat. By definition: its place in `RAMPS_HU`."""


@dataclass(frozen=True)
class Column:
    """The vertebral column in the maps of a CT.

    Attributes
    ----------
    near
        Voxels within `REACH_MM`, across the body, of the column's line, shape (k, j, i).
    lowest_mm
        Height (LPS z) of the lumbosacral joints, about; minus infinity where no pelvis is seen.
    line_mm
        Points of the column's line, LPS mm, one a slice, shape (n, 3).
    """

    near: BoolArray
    lowest_mm: float
    line_mm: FloatArray


def find_column(ct: CtMaps) -> Column:
    """Find the column.

    It is the strongest ridge of bone that runs through all slices near the middle of the body:
    bone blurred to the width of a vertebra, and the best smooth path through it by dynamic
    programming. The pelvis is where, from the caudal end up to the waist, more bone lies beside
    the column than in it.

    Parameters
    ----------
    ct
        Maps of the CT.
    """
    along = 2 - int(np.argmax(np.abs(ct.ijk_to_lps[2, :3]) / ct.spacing_mm))
    spacing = np.delete(ct.spacing_mm[::-1], along)
    line = _path(np.moveaxis(_ridge(ct, along), along, 0))
    shape = np.delete(np.array(ct.valid.shape), along).tolist()
    down, across = (
        np.square((np.arange(n) - line[:, axis, None]) * spacing[axis])
        for axis, n in enumerate(shape)
    )
    near: BoolArray = down[:, :, None] + across[:, None, :] <= REACH_MM**2
    near = np.moveaxis(near, 0, along)
    index = np.insert(line, along, np.arange(len(line)), axis=1)[:, ::-1]
    return Column(near, _lowest_mm(ct, near, along), apply_matrix(ct.ijk_to_lps, index))


def along_column(
    line_mm: FloatArray, field_mm: tuple[float, float], by_mm: float
) -> FloatArray | None:
    """Rigid movement (4x4) that shifts the column along its own curve.

    Parameters
    ----------
    line_mm
        Points of the column's line; see `Column`.
    field_mm
        Lowest and highest LPS z of the stretch to be moved.
    by_mm
        How far along the curve, upwards where positive.

    Returns
    -------
    The movement; None where the line is too short.
    """
    line = ndimage.gaussian_filter1d(line_mm[np.argsort(line_mm[:, 2])], 3.0, axis=0)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    inside = (line[:, 2] >= field_mm[0]) & (line[:, 2] <= field_mm[1])
    inside &= (length + by_mm >= 0) & (length + by_mm <= length[-1])
    if np.count_nonzero(inside) < SHORTEST_LINE:
        return None
    before, wanted = line[inside], length[inside] + by_mm
    after = np.stack([np.interp(wanted, length, line[:, axis]) for axis in range(3)], axis=1)
    # The line says nothing of rotation about itself: points beside it move like it.
    beside = np.array([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0]])
    before = (before[None] + beside[:, None]).reshape(-1, 3)
    after = (after[None] + beside[:, None]).reshape(-1, 3)
    middle, target = before.mean(axis=0), after.mean(axis=0)
    turn = Rotation.align_vectors(after - target, before - middle)[0].as_matrix()
    return affine(turn, target - turn @ middle)


def _lowest_mm(ct: CtMaps, near: BoolArray, along: int) -> float:
    """Height of the lumbosacral joints; see `Column`."""
    bone = ct.bone * ct.valid
    planes = tuple(axis for axis in range(3) if axis != along)
    inside = np.where(near, bone, 0.0).sum(axis=planes)
    beside = np.where(near, 0.0, bone).sum(axis=planes)
    step = float(ct.ijk_to_lps[2, 2 - along])
    ratio = ndimage.gaussian_filter1d(beside / np.maximum(inside, 1.0), 5.0 / abs(step))
    upwards = ratio if step > 0 else ratio[::-1]
    waist = np.flatnonzero(upwards < WAIST_SHARE)
    if not waist.size or upwards[0] < PELVIS_SHARE:
        return -math.inf
    crest = int(np.flatnonzero(upwards[: waist[0]] > PELVIS_SHARE)[-1])
    if float(upwards[: crest + 1].mean()) < PELVIS_MEAN:
        return -math.inf
    # Height of the slab at the middle of the field: maps may be slightly oblique.
    index = np.append((np.array(ct.valid.shape[::-1]) - 1) / 2, 1.0)
    index[2 - along] = crest if step > 0 else len(ratio) - 1 - crest
    return float(ct.ijk_to_lps[2] @ index) - CREST_TO_JOINT_MM


def _ridge(ct: CtMaps, along: int) -> FloatArray:
    """Bone blurred to the width of a vertebra, less and less away from the body's middle."""
    spacing = ct.spacing_mm[::-1]
    sigma = np.full(3, _IN_PLANE_SIGMA_MM)
    sigma[along] = _ALONG_SIGMA_MM
    bone = ndimage.gaussian_filter(ct.bone * ct.valid, sigma / spacing, mode="constant")
    return np.asarray(bone * _middle(ct), dtype=np.float64)


def _middle(ct: CtMaps) -> Float32Array:
    """How near each voxel lies to the body's midline from side to side, 0 to 1."""
    x = ct.ijk_to_lps[0].astype(np.float32)
    k, j, i = np.ogrid[tuple(slice(n) for n in ct.valid.shape)]
    lateral = (x[2] * k + x[1] * j + x[0] * i).astype(np.float32)
    soft = ct.channels[..., _SOFT] * ct.valid
    middle = float((lateral * soft).sum() / max(float(soft.sum()), 1e-6))
    return np.asarray(np.exp(-0.5 * ((lateral - middle) / _MIDLINE_SIGMA_MM) ** 2))


def _path(ridge: FloatArray) -> FloatArray:
    """Row and column of the best path through slices ``[slice, row, column]``, shape (n, 2).

    From slice to slice it moves by at most one voxel each way.
    """
    total = np.empty_like(ridge)
    total[0] = ridge[0]
    for n in range(1, len(ridge)):
        total[n] = ridge[n] + ndimage.maximum_filter(total[n - 1], 3, mode="constant", cval=-1.0)
    line = np.empty((len(ridge), 2), dtype=np.int64)
    line[-1] = np.unravel_index(int(np.argmax(total[-1])), total[-1].shape)
    for n in range(len(ridge) - 2, -1, -1):
        low = np.maximum(line[n + 1] - 1, 0)
        window = total[n, low[0] : line[n + 1, 0] + 2, low[1] : line[n + 1, 1] + 2]
        line[n] = low + np.unravel_index(int(np.argmax(window)), window.shape)
    return line.astype(np.float64)
