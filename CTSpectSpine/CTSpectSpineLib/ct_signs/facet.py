"""A facet joint on the CT: width of its space, gas in it, density of its bone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.ct_sign import CtSigns
from CTSpectSpineLib.ct_signs.block import Ct, block_around, holds_metal
from CTSpectSpineLib.ct_signs.gas import gas_volume
from CTSpectSpineLib.geometry import BoolArray, FloatArray, apply_matrix, inverse
from CTSpectSpineLib.model import Joint, Region

IntArray = NDArray[np.intp]

NARROW_MM = 2.0
"""Width of the joint space below which a lumbar facet joint is narrowed, mm (Weishaupt et al.,
Skeletal Radiol 1999;28:215: normal 2 to 4 mm). The rest of that grade, osteophytes, hypertrophy and
erosions, is not measured, so no grade is given."""
UNSURE_MM = 0.6
"""How much too narrow a space may read, mm. Measured on made joints of 0.8 to 3 mm, with cortices
of 1 and 2.5 mm and voxels to 1 mm: 0.6 mm too narrow to 0.1 mm too wide."""
WIDEST_VOXEL_MM = 1.3
"""Largest extent of a voxel across the joint space, mm. Judgement: wider ones fill a space of 2 mm
with bone."""
_NOISE_HU = 30.0
"""Standard deviation of the noise allowed for where gas is sought, HU. Judgement: a CT of usual
dose; -200 HU are then nine of them below cartilage."""
SOFT_HU = 60.0
"""HU of cartilage and fluid. Judgement; the same as where the joint space is sought."""
_NEAR_MM = 5.0
"""Radius in which the space's points give the direction across it, mm. Judgement: half an articular
surface, which is curved."""
_FLAT = 0.65
"""Most thickness over breadth of these points. Judgement: else they tell no direction."""
_REACH_MM, _STEP_MM = 5.0, 0.25
"""Length of profiles to either side, and the step, mm. Numerical: past both cortices."""
_CENTRE_MM = 1.5
"""How far from the labels' space its darkest point may lie, mm. Judgement: a voxel and a half."""
_OFF_CENTRE = 20.0
"""HU that a place counts brighter per mm from the labels' middle. Numerical: about the noise."""
_CORTEX_MM = 4.0
"""How far from there the cortices' brightest points may lie, mm. Judgement: half of the widest
normal space and a cortex."""
_ASIDE_MM = 1.0
"""Profiles beside each are averaged with it, this far aside, mm. Numerical: noise falls by half."""
_MOST_POINTS = 50
"""Most profiles of a joint. Numerical: a median of 50 is steady."""
_LEAST_POINTS = 8
"""Fewest profiles with two cortices that a width rests on. Judgement."""
_LEAST_STEP_HU = 200.0
"""Least step from cartilage to cortex, HU. Judgement: less is no cortex."""


def facet_signs(joint: Joint, up: FloatArray, ct: Ct) -> CtSigns:
    """Signs at a facet joint whose space the CT shows."""
    signs = CtSigns(joint.id, joint.level, joint.kind, joint.side)
    if joint.region is None or joint.bone is None:
        return _not(signs, "the joint was not located")
    if joint.outlined_on != "CT":
        reason = joint.outlined_on.partition(": ")[2]
        return _not(signs, reason or "its space was not sought on the CT")
    space = _without(joint.region, joint.bone)
    if not space.mask.any():
        return _not(signs, "its region holds no joint space")
    block = block_around(space, up, (3, 3), 1)
    hu = ct.on_grid(block.matrix, (block.mask.shape[0], *block.mask.shape[1:]))
    if not np.isfinite(hu).all():
        return _not(signs, "the CT ends beside the joint")
    if holds_metal(hu, block.voxel_mm3):
        return _not(signs, "there is metal beside the joint")
    # The space is thin: the spread of its HU is that of its edges, not the noise.
    volume = gas_volume(hu, block.mask, SOFT_HU, _NOISE_HU, block.voxel_mm3)
    bone = ct.at(joint.bone.points_mm())
    signs = replace(
        signs, gas_mm3=volume, gas="yes" if volume else "no", bone_hu=float(np.nanmean(bone))
    )
    points = space.points_mm()
    width = _width(points, ct) if len(points) >= _LEAST_POINTS else None
    if width is None:
        return replace(signs, status_reason="the CT is too coarse for the width of its space")
    return replace(signs, space_mm=width, narrowed=_grade(width, joint.spine_region))


def _grade(width_mm: float, spine_region: str) -> str:
    """Only lumbar joints have a published bound."""
    if spine_region != "lumbar":
        return ""
    if width_mm >= NARROW_MM:
        return "no"
    return "yes" if width_mm < NARROW_MM - UNSURE_MM else "borderline"


def _not(signs: CtSigns, reason: str) -> CtSigns:
    return replace(signs, status="not_measurable", status_reason=reason)


def _without(region: Region, bone: Region) -> Region:
    """What of a joint's region is no bone."""
    points = region.points_mm()
    index = np.rint(apply_matrix(inverse(bone.ijk_to_lps), points)).astype(int)[:, ::-1]
    inside = np.all((index >= 0) & (index < bone.mask.shape), axis=1)
    is_bone = np.zeros(len(points), dtype=bool)
    is_bone[inside] = bone.mask[tuple(index[inside].T)]
    mask = region.mask.copy()
    mask[region.mask] = ~is_bone
    return Region(mask, region.ijk_to_lps)


def _width(points: FloatArray, ct: Ct) -> float | None:
    """Median width of the space along profiles across it, mm; None where the CT shows too few."""
    chosen = points[:: max(len(points) // _MOST_POINTS, 1)]
    axes, flat = _directions(chosen, points)
    fine = np.array([ct.voxel_along(row) <= WIDEST_VOXEL_MM for row in axes[:, 2]], dtype=bool)
    base, axes = chosen[flat & fine], axes[flat & fine]
    if len(base) < _LEAST_POINTS:
        return None
    steps = np.arange(-_REACH_MM, _REACH_MM + _STEP_MM / 2, _STEP_MM)
    total = np.zeros((len(base), len(steps)))
    asides = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    for first, second in asides:
        shift = _ASIDE_MM * (first * axes[:, 0] + second * axes[:, 1])
        total += ct.at((base + shift)[:, None] + steps[None, :, None] * axes[:, None, 2])
    found = gaps(total / len(asides), steps)
    return float(np.median(found)) if len(found) >= _LEAST_POINTS else None


def _directions(chosen: FloatArray, points: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Directions along and across the space at some points, from the points around each.

    Returns
    -------
    axes
        Rows of unit vectors, the last one across the space, shape (n, 3, 3).
    flat
        Whether the points around tell them, shape (n,).
    """
    local = points - points.mean(axis=0)
    near = np.linalg.norm(chosen[:, None] - points[None], axis=2) <= _NEAR_MM
    count = near.sum(axis=1)
    mean = near @ local / count[:, None]
    squares = near @ (local[:, :, None] * local[:, None, :]).reshape(-1, 9) / count[:, None]
    spread = squares.reshape(-1, 3, 3) - mean[:, :, None] * mean[:, None, :]
    sizes, columns = np.linalg.eigh(spread)
    flat = (count >= _LEAST_POINTS) & (sizes[:, 0] <= _FLAT**2 * sizes[:, 1])
    return np.swapaxes(columns, 1, 2)[:, ::-1], flat


def gaps(hu: FloatArray, steps_mm: FloatArray) -> FloatArray:
    """Width of the dark line of each profile that has one between two cortices, mm, shape (m,).

    The larger of two measures, as blur makes both too small. One is the distance of the points
    half-way from cartilage to cortex; a narrow space has none. The other is what is missing to the
    height of the cortices, as a share of the step from cartilage to cortex, summed between the
    cortices: blur moves what is missing, but hardly changes its sum.

    Parameters
    ----------
    hu
        Profiles, shape (n, steps).
    steps_mm
        Evenly spaced places along them, about 0.
    """
    hu = hu[np.isfinite(hu).all(axis=1)]
    step = float(steps_mm[1] - steps_mm[0])
    # In a wide space all is equally dark: its middle counts.
    dark = np.maximum(hu, SOFT_HU) + _OFF_CENTRE * np.abs(steps_mm)
    at = np.argmin(np.where(np.abs(steps_mm) <= _CENTRE_MM, dark, np.inf), axis=1)[:, None]
    index = np.arange(len(steps_mm))
    reach = round(_CORTEX_MM / step)
    left = np.where((index <= at) & (index >= at - reach), hu, -np.inf).argmax(axis=1)[:, None]
    right = np.where((index >= at) & (index <= at + reach), hu, -np.inf).argmax(axis=1)[:, None]
    ends = np.take_along_axis(hu, np.hstack([left, right]), axis=1)
    clear = (ends.min(axis=1) - SOFT_HU >= _LEAST_STEP_HU) & (right - left >= 2)[:, 0]
    hu, at, left, right, ends = hu[clear], at[clear], left[clear], right[clear], ends[clear]
    top = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * (index - left) / (right - left)
    between = (index >= left) & (index <= right)
    depth = (top - np.maximum(hu, SOFT_HU)) / np.where(between, top - SOFT_HU, 1.0)
    missing = np.where(between, np.clip(depth, 0.0, 1.0), 0.0).sum(axis=1)
    upper = _to_half(hu, at, right, ends[:, 1:])
    lower = _to_half(hu[:, ::-1], len(index) - 1 - at, len(index) - 1 - left, ends[:, :1])
    return np.asarray(np.maximum(missing, upper + lower) * step)


def _to_half(hu: FloatArray, at: IntArray, end: IntArray, peak: FloatArray) -> FloatArray:
    """Steps from `at` to where HU first pass half-way from cartilage to the peak at `end`."""
    index = np.arange(hu.shape[1])
    half = 0.5 * (SOFT_HU + peak)
    place = np.argmax((index >= at) & (index <= end) & (hu >= half), axis=1)[:, None]
    high = np.take_along_axis(hu, place, axis=1)
    low = np.take_along_axis(hu, np.maximum(place - 1, 0), axis=1)
    part = (high - half) / np.maximum(high - low, 1e-3)
    return np.asarray(np.where(place > at, place - at - part, 0.0)[:, 0])
