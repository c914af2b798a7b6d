"""Evidence for the names of a column of vertebrae: sacrum, ribs, atlas, axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from CTSpectSpineLib.geometry import apply_matrix, inverse
from CTSpectSpineLib.labelling.builtin.field import SpineField
from CTSpectSpineLib.labelling.builtin.instances import NOTHING_SEEN, Instance, Looks
from CTSpectSpineLib.labelling.builtin.network import CLASSES
from CTSpectSpineLib.labelling.builtin.rib_count import rib_odds_in_ct
from CTSpectSpineLib.model import BoolArray, FloatArray

_LEAST_SACRUM_MM3 = 6000.0
"""Least volume of a sacrum. Judgement: a small part of one; less is mostly a mistake."""
_SACRUM_REACH_MM = 60.0
"""A third of the distance at which the sacrum still tells the column's end. Judgement: beyond five
lumbar steps (180 mm) it does not."""
_RIB_LATERAL_MM = (15.0, 34.0)
"""Of a rib, to either side of its vertebra's centre. Judgement: from the side of the body to the
tip of the transverse process."""
_RIB_BACK_MM = (-14.0, 30.0)
"""The same, behind the centre. Judgement: from the front of the rib's head to its neck."""
_RIB_HEIGHT = (-0.25, 0.65)
"""The same, above the centre, in units of the step between vertebrae. Judgement: heads lie at the
upper endplate, necks beside the upper half of the body; the next rib begins below."""
_RIB_SHARE = 0.25
"""Probability of a voxel of rib. Judgement: small ribs are only a voxel or two thick."""
_RIB_MM3 = 60.0
"""Volume of rib in that window at which it is as likely as not. Measured on phantoms: next to 0
beside C7 and L1, 200 on each side of T12, 350 beside T1, 1000 and more between."""

_NETWORK = 0.3
"""Weight of the network's ribs beside those seen in the CT. Measured on two real CTs: the network
errs at T1, T11 or T12 in each, the CT at none of them."""
_AGREE = 0.25
"""Agreement of votes from which a vertebra is certainly one. Measured: 0.3 to 0.8 on two real CTs,
below 0.2 for most of what was no vertebra."""
_STRAIGHT = 0.5
"""Cosine of the angle between a step along the column and the two steps before it, at least.
Judgement: 60°; even a sharp kyphosis turns by 40° between neighbours."""
_FRAGMENT = 0.3
"""Volume of a fragment's body, relative to the next one's. Judgement: neighbours differ by a third
at most, a crushed vertebra by a half."""
_STEP_PER_EDGE, _TOO_NEAR = 1.1, 0.65
"""Usual step between centres, relative to the edge of a cube of a body's volume (Measured on three
real CTs, T1 to L5: 0.9 to 1.2), and its share below which two are too near. Judgement: a little
more than half a step."""


@dataclass(frozen=True)
class Evidence:
    """Evidence for the name of one vertebra.

    Attributes
    ----------
    centre_mm
        Centre of its body, LPS mm.
    body_mm3
        Volume of its body.
    rib
        Log odds that it carries ribs; 0 where nothing can be said.
    looks
        What its middle looks like.
    agreement
        How well its voxels agree on its centre, 0 to 1.
    cut
        Whether it is cut by the edge of the image.
    """

    centre_mm: FloatArray
    body_mm3: float
    rib: float = 0.0
    looks: Looks = NOTHING_SEEN
    agreement: float = 1.0
    cut: bool = False


@dataclass(frozen=True)
class Surroundings:
    """What is seen beside a column.

    Attributes
    ----------
    vertebrae
        Evidence of each vertebra, cranial to caudal.
    sacrum_mm
        Distance of the sacrum from the last vertebra's centre; None where it is not seen.
    room_above_mm, room_below_mm
        Length of the image beyond the first and the last vertebra's centre.
    """

    vertebrae: tuple[Evidence, ...]
    sacrum_mm: float | None
    room_above_mm: float = 0.0
    room_below_mm: float = 0.0


def sacrum_mask(field: SpineField) -> BoolArray:
    """The sacrum: the largest piece of what looks like one; empty where it is too small."""
    mask: BoolArray = np.asarray(field.shares[CLASSES.index("sacrum")] > 0.5)
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if not count:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    best = int(sizes.argmax())
    if sizes[best] * field.spacing_mm**3 < _LEAST_SACRUM_MM3:
        return np.zeros_like(mask)
    return np.asarray(pieces == best)


def above_sacrum(
    instances: tuple[Instance, ...], field: SpineField, sacrum: BoolArray
) -> tuple[int, ...]:
    """Indices of the instances that are neither part of the sacrum nor below its top."""
    points = apply_matrix(field.grid.ijk_to_lps, np.argwhere(sacrum)[:, ::-1].astype(float))
    if not len(points):
        return tuple(range(len(instances)))
    tree = cKDTree(points)
    kept = []
    for number, item in enumerate(instances):
        near = len(tree.query_ball_point(item.centre_mm, 12.0)) * field.spacing_mm**3
        inside = near > 0.3 * 4 / 3 * np.pi * 12.0**3
        below = item.centre_mm[2] < np.percentile(points[:, 2], 60) and bool(
            tree.query(item.centre_mm)[0] < 80.0
        )
        if not inside and not below:
            kept.append(number)
    return tuple(kept)


def on_course(instances: tuple[Instance, ...]) -> tuple[int, ...]:
    """Indices of the instances that follow the course of the column.

    Bones of the shoulder and the breastbone may hang on its cranial end: the way to them turns
    off sharply, and their voxels do not vote for a common centre.
    """
    if len(instances) < 4:
        return tuple(range(len(instances)))
    centres = np.array([item.centre_mm for item in instances])
    solid = [n for n, item in enumerate(instances) if item.agreement >= _AGREE]
    if len(solid) < 2:
        return tuple(range(len(instances)))
    middle = solid[len(solid) // 2]
    kept = [middle]
    for step in (-1, 1):
        number = middle
        while 0 <= number + step < len(instances):
            # The course so far: across the last two steps, as single centres may be off.
            start = number - 2 * step if step * (number - middle) >= 2 else middle - step
            start = min(max(start, 0), len(instances) - 1)
            before = _unit(centres[number] - centres[start])
            if _unit(centres[number + step] - centres[number]) @ before < _STRAIGHT:
                break
            number += step
            kept.append(number)
    return tuple(sorted(kept))


def no_fragments(instances: tuple[Instance, ...]) -> tuple[int, ...]:
    """Indices of the instances that are no fragment of another bone.

    A piece of the sacrum or of an end of a vertebra may be called a vertebra of its own: a whole
    body far smaller than the next one and too near to it. It would move all names by one.
    """
    kept = list(range(len(instances)))
    for number, item in enumerate(instances):
        if item.cut or item.looks.thoracic + item.looks.lumbar < 0.5:
            continue
        for other in instances[max(0, number - 1) : number] + instances[number + 1 : number + 2]:
            step = float(np.linalg.norm(item.centre_mm - other.centre_mm))
            usual = _STEP_PER_EDGE * np.cbrt(other.body_mm3)
            if item.body_mm3 < _FRAGMENT * other.body_mm3 and step < _TOO_NEAR * usual:
                kept.remove(number)
                break
    return tuple(kept)


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6))


def look_around(
    instances: tuple[Instance, ...], field: SpineField, sacrum: BoolArray
) -> Surroundings:
    """Measure the evidence for the names of the vertebrae of a column."""
    if not instances:
        return Surroundings((), None)
    centres = np.array([item.centre_mm for item in instances])
    frames = _frames(instances, centres)
    steps = _steps(centres)
    in_ct = rib_odds_in_ct(field.hu, field.grid, centres, frames).sum(axis=1)
    ribs = in_ct + _NETWORK * _rib_odds(field, centres, frames, steps)
    rows = tuple(
        Evidence(
            item.centre_mm,
            item.body_mm3,
            float(rib),
            item.looks,
            item.agreement,
            item.cut,
        )
        for item, rib in zip(instances, ribs, strict=True)
    )
    corners = field.grid.corners_mm()
    return Surroundings(
        rows,
        _distance_to(sacrum, field, centres[-1]),
        float(corners[:, 2].max() - centres[0, 2]),
        float(centres[-1, 2] - corners[:, 2].min()),
    )


def _distance_to(sacrum: BoolArray, field: SpineField, centre: FloatArray) -> float | None:
    points = apply_matrix(field.grid.ijk_to_lps, np.argwhere(sacrum)[:, ::-1].astype(float))
    if not len(points):
        return None
    distance = float(np.linalg.norm(points - centre, axis=1).min())
    return distance if distance < 3 * _SACRUM_REACH_MM else None


def _steps(centres: FloatArray) -> FloatArray:
    """Local distance of neighbouring centres, mm, one per vertebra."""
    if len(centres) == 1:
        return np.array([30.0])
    gaps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    both = np.stack([np.append(gaps, gaps[-1]), np.insert(gaps, 0, gaps[0])])
    return np.asarray(both.min(axis=0))


def _frames(instances: tuple[Instance, ...], centres: FloatArray) -> FloatArray:
    """Axes of each vertebra, rows to the left, to the back, upwards, shape (n, 3, 3)."""
    n = len(instances)
    up = np.zeros((n, 3))
    for number in range(n):
        low, high = min(number + 1, n - 1), max(number - 1, 0)
        up[number] = centres[high] - centres[low] if n > 1 else (0, 0, 1)
    up /= np.linalg.norm(up, axis=1)[:, None]
    back = np.array([item.posterior for item in instances])
    smooth = ndimage.uniform_filter1d(back, 5, axis=0, mode="nearest")
    smooth -= np.sum(smooth * up, axis=1)[:, None] * up
    length = np.linalg.norm(smooth, axis=1)[:, None]
    smooth = np.where(length > 0.1, smooth / np.maximum(length, 1e-6), (0.0, 1.0, 0.0))
    left = np.cross(smooth, up)
    left /= np.linalg.norm(left, axis=1)[:, None]
    return np.stack([left, smooth, up], axis=1)


def _rib_odds(
    field: SpineField, centres: FloatArray, frames: FloatArray, steps: FloatArray
) -> FloatArray:
    """Log odds of ribs of each vertebra, from the volume of rib beside it on both sides."""
    rib = field.shares[CLASSES.index("rib")]
    points = apply_matrix(
        field.grid.ijk_to_lps, np.argwhere(rib > _RIB_SHARE)[:, ::-1].astype(float)
    )
    cell = field.spacing_mm**3
    odds = np.zeros(len(centres))
    for number, (centre, axes, step) in enumerate(zip(centres, frames, steps, strict=True)):
        local = (points - centre) @ axes.T
        inside = (np.abs(local[:, 1] - np.mean(_RIB_BACK_MM)) < np.ptp(_RIB_BACK_MM) / 2) & (
            np.abs(local[:, 2] / step - np.mean(_RIB_HEIGHT)) < np.ptp(_RIB_HEIGHT) / 2
        )
        sides = []
        for sign in (-1, 1):
            if not _in_view(field, centre, axes, sign, step):
                continue
            lateral = sign * local[:, 0]
            beside = inside & (lateral > _RIB_LATERAL_MM[0]) & (lateral < _RIB_LATERAL_MM[1])
            volume = float(np.count_nonzero(beside)) * cell
            sides.append(np.clip(1.5 * np.log((volume + 12.0) / (_RIB_MM3 + 12.0)), -2.5, 2.5))
        odds[number] = sum(sides)
    return odds


def _in_view(
    field: SpineField, centre: FloatArray, axes: FloatArray, sign: int, step: float
) -> bool:
    """Whether most of the place of a rib lies inside the image."""
    side = sign * np.linspace(*_RIB_LATERAL_MM, 4)
    back = np.linspace(-5.0, 25.0, 4)
    height = np.linspace(*_RIB_HEIGHT, 4) * step
    local = np.stack(np.meshgrid(side, back, height, indexing="ij"), axis=-1).reshape(-1, 3)
    index = apply_matrix(inverse(field.grid.ijk_to_lps), centre + local @ axes)
    inside = np.all((index >= 0) & (index <= np.array(field.grid.size) - 1), axis=1)
    if inside.mean() < 0.8:
        return False
    at = np.rint(index[inside]).astype(int)
    seen = field.hu[at[:, 2], at[:, 1], at[:, 0]] > -990.0
    return bool(seen.mean() > 0.7)
