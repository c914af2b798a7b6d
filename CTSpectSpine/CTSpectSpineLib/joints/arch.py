"""The arch between two vertebrae, divided where the CT shows the joint spaces.

Label maps differ most in how they divide the posterior bone of neighbours. Here the bone is taken
from the CT, and each voxel goes to the vertebra that a random walk from it reaches first (Grady,
IEEE Trans Pattern Anal Mach Intell 2006;28:1768). Walks start at parts that no map confuses, the
pedicle of the lower vertebra and the pars and lamina of the upper, move freely in bone, and hardly
cross dark lines between bright cortices. A small contact of two bones, or a small error of the
labels, therefore changes little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import linalg

from CTSpectSpineLib.geometry import Grid, apply_matrix, ijk_to_lps, inverse
from CTSpectSpineLib.joints.facets import within
from CTSpectSpineLib.joints.motion_segment import Pair
from CTSpectSpineLib.model import BoolArray, FloatArray

Field = NDArray[np.float32]
Box = tuple[slice, slice, slice]

_AIR_HU = -1000.0
"""By definition: HU of air, taken outside the CT."""
_SOFT_HU = 60.0
"""HU of what lies between bones. Judgement: cartilage and muscle."""
_LEAST_BONE_HU = 150.0
"""Least excess over soft tissue of the brightest bone nearby. Judgement: very porous cortex."""
_LATERAL_MM = 34.0
"""Reach to either side, mm. Judgement: beyond the widest facet joints and their region."""
_BEHIND_MM = (-3.0, 36.0)
"""From where to where behind the posterior wall, mm. Judgement: pedicles to spinous processes."""
_VERTICAL_MM = 21.0
"""Reach above and below mid-disc, mm. Judgement: pars above, pedicle below."""
_NEAR_LABEL_MM = 3.0
"""How far from the labels bright voxels count as bone, mm. Judgement: two voxels of 1.5 mm."""
_BRIGHT_VOXELS = 9
"""Edge of the cube whose brightest voxel is full bone. Judgement: it holds a cortex everywhere in
an articular process."""
BONE_SHARE = 0.5
"""Share of full bone at its surface. By definition: half the step from soft tissue."""
_LINE_VOXELS = 3
"""Edge of the cube that closes dark lines. Judgement: a joint space of 2 mm, not the marrow."""
_LINE_RATE = 15.0
"""How fast walks slow down with the depth of a dark line, per share of full bone. Measured on
phantoms of seeds 31000 to 31005: 10 to 15 do alike."""
_DARK_POWER = 2.0
"""How walks slow down in what is darker than bone. Measured likewise: 2 to 8 do alike."""
_DARKEST = 0.02
"""Least share of full bone. Numerical: keeps the system regular."""
_PRIOR = 0.003
"""How strongly a voxel's own label pulls, beside a step in full bone. Measured likewise: 0.0002 to
0.003 do alike; from 0.01 wrong labels show."""
_SHEET_MM = 0.8
"""Standard deviation of the wall that a sheet is to walks, mm. Numerical: about a voxel."""
_WALL = 4.0
"""How much a sheet slows walks, as the logarithm of their ease. Judgement: as a dark line of a
quarter of full bone does, so that a clear line beside it decides instead."""
_SHEET_PULL = 0.02
"""How strongly a voxel's side of a sheet pulls, beside a step in full bone. Measured on a chest CT
of 2.5 mm slices: 0.02 and 0.1 do alike; stronger than labels (`_PRIOR`), which it stands for."""
_SHEET_REACH_MM, _SHEET_DEPTH_MM = 11.0, 8.0
"""How far from its middle a sheet counts, within and across it, mm. Judgement: half a long joint
and its process, and the thickness of an articular process."""
_SMOOTH_VOXELS = 0.7
"""Standard deviation of the blur of the result. Numerical: removes single voxels."""
_TOLERANCE, _STEPS = 1e-3, 300
"""Numerical: relative error of the solution, and cap on the steps towards it."""


@dataclass(frozen=True)
class Arch:
    """The posterior bone of a pair on the CT, on a part of the pair's grid.

    Attributes
    ----------
    pair, box
        The pair by its labels, and the part of its grid.
    hu
        The CT.
    share
        Brightness: 0 soft tissue, 1 the brightest bone nearby.
    bone
        Voxels to divide.
    ease
        How easily walks move, 0 to 1.
    starts
        Where walks of upper and lower bone start.
    labels
        Voxels of upper and lower vertebra by the labels.
    voxel_mm
        Edges of the CT's voxels as rows, local l, p, s in mm.
    """

    pair: Pair
    box: Box
    hu: Field
    share: Field
    bone: BoolArray
    ease: Field
    starts: tuple[BoolArray, BoolArray]
    labels: tuple[BoolArray, BoolArray]
    voxel_mm: FloatArray

    def coordinates(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Local l, p, s of the voxels, mm, for broadcasting over ``[s, p, l]``."""
        k, j, i = self.box
        return (
            self.pair.l_mm[i][None, None, :],
            self.pair.p_mm[j][None, :, None],
            self.pair.s_mm[k][:, None, None],
        )

    def whole_share(self) -> Field:
        """The brightness on the grid of the pair; 0 elsewhere."""
        everywhere = np.zeros(self.pair.grid.shape, dtype=np.float32)
        everywhere[self.box] = self.share
        return everywhere


@dataclass(frozen=True)
class Sheet:
    """A plane where a joint space is expected.

    Attributes
    ----------
    middle
        Local l, p, s of its middle, mm.
    normal
        Unit direction (l, p, s) from the upper to the lower bone.
    """

    middle: FloatArray
    normal: FloatArray


@dataclass(frozen=True)
class _Start:
    """Where walks start: lower bone below and in front of, upper bone above some planes, mm."""

    lower_below: float
    lower_in_front: float
    upper_above: float


def sample_ct(ct: sitk.Image, grid: Grid) -> Field:
    """HU on a grid, indexed ``[k, j, i]``, trilinear; air outside the CT."""
    matrix = inverse(ijk_to_lps(ct))
    to_index = matrix @ grid.ijk_to_lps
    array = sitk.GetArrayViewFromImage(ct)
    corners = apply_matrix(matrix, grid.corners_mm())[:, ::-1]
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, array.shape)
    if np.any(high <= low):
        return np.full(grid.shape, _AIR_HU, dtype=np.float32)
    k, j, i = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    sampled: Field = ndimage.affine_transform(
        array[k, j, i].astype(np.float32),
        to_index[:3, :3][::-1, ::-1],
        to_index[:3, 3][::-1] - low,
        output_shape=grid.shape,
        order=1,
        prefilter=False,
        cval=_AIR_HU,
    )
    return sampled


def read_arch(pair: Pair, ct: sitk.Image) -> Arch | str:
    """The posterior bone of a pair on the CT, or in a sentence why it cannot be divided."""
    box = _box(pair)
    upper, lower = pair.upper_bone[box] >= 0.5, pair.lower_bone[box] >= 0.5
    starts = _starts(pair, box, upper, lower)
    if starts is None:
        return "the labels hold no pedicle of the lower or no lamina of the upper vertebra"
    hu = sample_ct(ct, _part(pair.grid, box))
    bright = ndimage.maximum_filter(ndimage.gaussian_filter(hu, 0.5), size=_BRIGHT_VOXELS)
    full = np.maximum(ndimage.uniform_filter(bright, 5) - _SOFT_HU, _LEAST_BONE_HU)
    share = np.clip((hu - _SOFT_HU) / full, 0.0, 1.0)
    near = within(upper | lower, _NEAR_LABEL_MM)
    solid = (share >= BONE_SHARE) & near
    marrow = _enclosed(solid)
    bone = solid | marrow | ndimage.binary_erosion(upper) | ndimage.binary_erosion(lower)
    lines = np.clip((ndimage.grey_closing(hu, size=(_LINE_VOXELS,) * 3) - hu) / full, 0.0, 1.0)
    ease = np.maximum(share, _DARKEST) ** _DARK_POWER * np.exp(-_LINE_RATE * lines)
    # Marrow is as dark as a joint space, but bone encloses it.
    ease[marrow] = 1.0
    voxel_mm = ijk_to_lps(ct)[:3, :3].T @ pair.axes.T
    return Arch(pair, box, hu, share, bone, ease, starts, (upper, lower), voxel_mm)


def divide_arch(arch: Arch, sheets: Sequence[Sheet] = ()) -> Pair:
    """The pair with its posterior bone taken from the CT and divided there.

    Near a sheet, its two sides count instead of the labels, and it slows walks as a faint dark line
    does.
    """
    ease, labels = arch.ease, arch.labels
    pull = np.full(ease.shape, _PRIOR)
    for sheet in sheets:
        away = [c - m for c, m in zip(arch.coordinates(), sheet.middle, strict=True)]
        across = sum(a * n for a, n in zip(away, sheet.normal, strict=True))
        within = sum(a * a for a in away) - across**2
        zone = (within < _SHEET_REACH_MM**2) & (np.abs(across) < _SHEET_DEPTH_MM)
        wall = np.exp(-_WALL * np.exp(-0.5 * (across / _SHEET_MM) ** 2))
        ease = np.where(zone, ease * wall, ease)
        labels = (
            np.where(zone, across < -_SHEET_MM, labels[0]),
            np.where(zone, across > _SHEET_MM, labels[1]),
        )
        pull[zone] = _SHEET_PULL
    is_upper = _walks(arch.bone, ease, arch.starts, labels, pull) > 0.5
    whole = _connected(arch.bone & is_upper, arch.bone & ~is_upper, arch.starts)
    bones = []
    for old, new in zip((arch.pair.upper_bone, arch.pair.lower_bone), whole, strict=True):
        changed = old.copy()
        changed[arch.box] = new
        bones.append(changed)
    return replace(arch.pair, upper_bone=bones[0], lower_bone=bones[1])


def _start_of(upper: str) -> _Start:
    """Planes beyond which labels are not confused.

    Judgement, from where joints lie (``facet_rules.json``) and their height: articular pillars
    above and below a cervical joint; pedicles, which lie in front of the joint, and laminae
    above a thoracic or lumbar one.
    """
    if upper.startswith("C"):
        return _Start(-8.0, 40.0, 8.0)
    if upper.startswith("T") and upper not in ("T11", "T12", "T13"):
        return _Start(-7.0, 7.0, 11.0)
    return _Start(-6.0, 6.0, 9.0)


def _starts(
    pair: Pair, box: Box, upper: BoolArray, lower: BoolArray
) -> tuple[BoolArray, BoolArray] | None:
    """Voxels where the walks of upper and lower bone start; None where one has none."""
    rule = _start_of(pair.upper.level)
    s = pair.s_mm[box[0]][:, None, None]
    p = pair.p_mm[box[1]][None, :, None] - pair.canal.wall_mm
    above = ndimage.binary_erosion(upper) & (s >= rule.upper_above) & (p >= 0)
    below = ndimage.binary_erosion(lower) & (s <= rule.lower_below) & (p <= rule.lower_in_front)
    return (above, below) if above.any() and below.any() else None


def _box(pair: Pair) -> Box:
    """Part of the grid where facet joints may be."""
    wall = pair.canal.wall_mm
    limits = (
        (pair.s_mm, -_VERTICAL_MM, _VERTICAL_MM),
        (pair.p_mm, wall + _BEHIND_MM[0], wall + _BEHIND_MM[1]),
        (pair.l_mm, -_LATERAL_MM, _LATERAL_MM),
    )
    k, j, i = (
        slice(int(np.searchsorted(c, low)), int(np.searchsorted(c, high, side="right")))
        for c, low, high in limits
    )
    return k, j, i


def _part(grid: Grid, box: Box) -> Grid:
    """The grid of a box."""
    start = np.array([part.start for part in box[::-1]], dtype=float)
    matrix = grid.ijk_to_lps.copy()
    matrix[:3, 3] += matrix[:3, :3] @ start
    k, j, i = (part.stop - part.start for part in box)
    return Grid((i, j, k), matrix)


def _enclosed(solid: BoolArray) -> BoolArray:
    """Voxels that bone encloses in at least two of the three planes."""
    count = np.zeros(solid.shape, dtype=np.int8)
    for axis in range(3):
        flat = np.moveaxis(solid, axis, 0)
        cross = np.zeros((3, 3, 3), dtype=bool)
        cross[1] = ndimage.generate_binary_structure(2, 1)
        holes = np.pad(~flat, ((0, 0), (1, 1), (1, 1)), constant_values=True)
        pieces, number = ndimage.label(holes, structure=cross)
        outside = np.zeros(number + 1, dtype=bool)
        outside[pieces[:, 0, 0]] = True
        enclosed = holes & ~outside[pieces]
        count += np.moveaxis(enclosed[:, 1:-1, 1:-1], 0, axis)
    return np.asarray(count >= 2)


def _walks(
    bone: BoolArray,
    ease: Field,
    starts: tuple[BoolArray, BoolArray],
    labels: tuple[BoolArray, BoolArray],
    pull: FloatArray,
) -> FloatArray:
    """Probability that a walk from a voxel reaches the upper bone's start first.

    Parameters
    ----------
    bone
        Voxels to divide; walks may also use the voxels around them.
    ease
        How easily a walk moves there, 0 to 1.
    starts, labels
        Of upper and lower bone: where walks end, and the labels that pull.
    pull
        How strongly they do.
    """
    domain = ndimage.binary_dilation(bone)
    ends = [start & domain for start in starts]
    free = domain & ~ends[0] & ~ends[1]
    count = int(np.count_nonzero(free))
    number = np.full(domain.shape, -1, dtype=np.int32)
    number[free] = np.arange(count, dtype=np.int32)
    for place, end in enumerate(ends):
        number[end] = count + place
    rows, columns, weights = [], [], []
    for axis in range(3):
        first, second = (np.moveaxis(number, axis, 0)[part] for part in _NEXT)
        flow = np.minimum(*(np.moveaxis(ease, axis, 0)[part] for part in _NEXT))
        both = (first >= 0) & (second >= 0)
        rows.append(first[both])
        columns.append(second[both])
        weights.append(flow[both])
    for place, label in enumerate(labels):
        pulled = number[free & label]
        rows.append(pulled)
        columns.append(np.full_like(pulled, count + place))
        weights.append(pull[free & label])
    triplet = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    half = sparse.coo_array(triplet, shape=(count + 2, count + 2)).tocsr()
    both_ways = half + half.T
    total = np.asarray(both_ways.sum(axis=1)).ravel()[:count] + 1e-9
    system = sparse.diags_array(total) - both_ways[:count, :count]
    found, _ = linalg.cg(
        system.tocsr(),
        both_ways[:count, [count]].toarray().ravel(),
        x0=np.where(labels[0][free], 1.0, np.where(labels[1][free], 0.0, 0.5)),
        rtol=_TOLERANCE,
        maxiter=_STEPS,
        M=sparse.diags_array(1.0 / total),
    )
    result = np.zeros(domain.shape)
    result[free] = found
    result[ends[0]] = 1.0
    weight = ndimage.gaussian_filter(bone.astype(np.float32), _SMOOTH_VOXELS)
    return np.asarray(ndimage.gaussian_filter(result * bone, _SMOOTH_VOXELS) / (weight + 1e-6))


_NEXT = (slice(None, -1), slice(1, None))
"""By definition: voxels with a next one along an axis, and these next ones."""


def _connected(
    upper: BoolArray, lower: BoolArray, starts: tuple[BoolArray, BoolArray]
) -> tuple[BoolArray, BoolArray]:
    """Give pieces of one bone that do not hang together with its start to the other."""
    loose = [
        bone & ~_hanging_with(bone, start)
        for bone, start in zip((upper, lower), starts, strict=True)
    ]
    return (upper & ~loose[0]) | loose[1], (lower & ~loose[1]) | loose[0]


def _hanging_with(bone: BoolArray, start: BoolArray) -> BoolArray:
    pieces, number = ndimage.label(bone)
    kept = np.zeros(number + 1, dtype=bool)
    kept[pieces[start & bone]] = True
    kept[0] = False
    return kept[pieces]
