"""Facet joints: where the posterior elements of two vertebrae face each other.

The lateral joints of C1 and C2 are found in the same way by a rule of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.geometry import content_box
from CTSpectSpineLib.joints.motion_segment import STEP_MM, Pair
from CTSpectSpineLib.model import BoolArray, FloatArray

REGION_MM = 4.0
"""The region reaches this far from the articular interface into either bone, mm. Judgement: most of
an articular process, and no deeper than the endplate bands of a disc."""

_TABLE = Path(__file__).parent / "facet_rules.json"
_GAPS_MM = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
"""Widths of the joint space that are tried, narrow first, mm. Measured on correct labels of three
patients and six phantoms: 0.5 to 3 mm; 6.5 to 8 mm only where the image shows but a tip."""
_EXTRA_GAP_MM = 1.25
"""How much wider than where it was found the joint space may become, mm. Judgement: about a voxel,
since joint spaces open towards their edges."""
_SMOOTH_MM = 1.0
"""Standard deviation of the blur of distance maps, mm. Numerical: a voxel, which evens out their
steps."""
_FAR, _DEEP = 10_000, 8
"""Squared distance beyond all reaches, and depth in bone that is looked for first, in voxels.
Numerical: articular processes and laminae are thinner than twice that."""
_MIN_FACING = 0.55
"""Least cosine between the direction across the joint space and that of the rule. Judgement: 57
degrees, since joints turn; a tip facing the lamina is none. Measured on 12 phantoms: 0.4 to 0.6."""
_MAX_FROM_PRIOR_MM = 14.0
"""Largest distance of a joint from the rule's place, mm. Measured on correct labels of three
patients and six phantoms: up to 12.3 mm."""
_PRIOR_SIGMA_MM = 8.0
"""Standard deviation of the weight by that distance, mm. Judgement: wider than most distances.
Measured on correct labels of three patients and six phantoms: medians of 4.7 and 2.8 mm."""
_REACH_MM = 12.0
"""Farthest that a joint space is followed from its own centre, mm. Judgement: twice the radius of
an articular surface, so that a long one is followed to its ends."""
_MIN_SHEET_VOXELS = 20
"""Fewest voxels of a joint space. Judgement: about a fifth of a small articular surface in mm²."""
_WIDE_GAP_MM = 5.0
"""Width of the joint space from which a joint is flagged, mm. Measured on correct labels of three
patients and six phantoms: up to 3 mm."""
_FALLBACK_RADIUS_MM = 8.0
"""Radius of the region where no joint space was found, mm. Judgement: half the height of a lumbar
facet."""
_MIN_BONE_MM3 = 120.0
"""Least bone in that region, mm³. Judgement: a quarter of the smallest joint. Measured on correct
labels of three patients and six phantoms: 480 mm³ and more."""
_ANYWHERE = np.ones((3, 3, 3))
"""Neighbourhood of voxels. By definition: faces, edges and corners."""

SIDES: Mapping[str, float] = {"left": 1.0, "right": -1.0}
"""Sign of the local left coordinate. By definition: positive to the patient's left."""


@dataclass(frozen=True)
class FacetRule:
    """Where the facet joints below some vertebrae usually lie, and which way they face.

    Attributes
    ----------
    uppers
        Upper vertebrae to which the rule applies.
    lateral_canals, lateral_mm
        Distance from the midline in canal widths, and the range it is clipped to.
    behind_wall_mm, above_disc_mm
        Distance behind the posterior wall and above mid-disc.
    facing
        Direction (lateral, posterior, superior) from the upper to the lower surface.
    starts_behind_wall_mm
        Bone farther forward is ignored.
    midline_mm
        No joint is searched for nearer to the midline than this.
    """

    uppers: tuple[str, ...]
    lateral_canals: float
    lateral_mm: tuple[float, float]
    behind_wall_mm: float
    above_disc_mm: float
    facing: tuple[float, float, float]
    starts_behind_wall_mm: float
    midline_mm: float

    def point(self, pair: Pair, sign: float) -> FloatArray:
        """Local l, p, s of the joint on the left (+1) or right (-1), mm."""
        lateral = float(np.clip(self.lateral_canals * pair.canal.width_mm, *self.lateral_mm))
        return np.array(
            [sign * lateral, pair.canal.wall_mm + self.behind_wall_mm, self.above_disc_mm]
        )


@cache
def facet_rules() -> Mapping[str, FacetRule]:
    """Rule per upper vertebra, from ``facet_rules.json``.

    Directions follow the usual orientation of the joints (Panjabi et al. 1993). Distances are a
    judgement: round numbers that need only be near, as a joint is found up to 14 mm from there.
    Measured on correct labels of three patients: joints lie 1 to 12 mm from there, median 4.7 mm.
    """
    rows = json_table(_TABLE)["rules"]
    rules = []
    for row in rows:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        rules.append(FacetRule(**values))
    return {name: rule for rule in rules for name in rule.uppers}


@dataclass(frozen=True)
class Facet:
    """One facet joint on the grid of its pair.

    Attributes
    ----------
    region, bone
        Masks ``[s, p, l]``: bone and gap within 4 mm of the interface, and the bone of it.
    centre
        Centre of the interface, LPS mm.
    flags
        Sentences on fallbacks.
    sheet
        The interface as a mask; None where the joint was placed without one.
    outlined_on
        ``"CT"``, or ``"place"`` or ``"labels"`` with the reason after a colon.
    """

    region: BoolArray
    bone: BoolArray
    centre: FloatArray
    flags: tuple[str, ...] = ()
    sheet: BoolArray | None = None
    outlined_on: str = "labels"


@dataclass(frozen=True)
class _Search:
    """Bone of a pair where facets may be, on a part of the pair's grid.

    ``gap`` is the sum of the signed distances to both bones (the local width of the joint
    space), ``off_middle`` their difference, ``normal`` the unit direction (s, p, l) from the
    upper to the lower bone.
    """

    pair: Pair
    box: tuple[slice, slice, slice]
    upper: BoolArray
    lower: BoolArray
    gap: NDArray[np.float32]
    off_middle: NDArray[np.float32]
    normal: tuple[NDArray[np.float32], ...]

    def local(self, mask: BoolArray) -> FloatArray:
        """Local coordinates l, p, s of the voxels of a mask, shape (n, 3)."""
        k, j, i = np.nonzero(mask)
        s_mm, p_mm, l_mm = self._axes
        return np.column_stack([l_mm[i], p_mm[j], s_mm[k]])

    def part(self, box: tuple[slice, slice, slice]) -> _Search:
        """A box of it."""
        ends = zip(self.box, box, strict=True)
        k, j, i = (slice(a.start + (b.start or 0), a.start + b.stop) for a, b in ends)
        return replace(
            self,
            box=(k, j, i),
            upper=self.upper[box],
            lower=self.lower[box],
            gap=self.gap[box],
            off_middle=self.off_middle[box],
            normal=tuple(along[box] for along in self.normal),
        )

    @property
    def _axes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Local coordinates of the voxels along s, p and l, mm."""
        k, j, i = self.box
        return self.pair.s_mm[k], self.pair.p_mm[j], self.pair.l_mm[i]

    def whole(self, mask: BoolArray) -> BoolArray:
        """Mask on the whole grid of the pair."""
        result = np.zeros(self.pair.grid.shape, dtype=bool)
        result[self.box] = mask
        return result

    def distance_to(self, point: FloatArray) -> FloatArray:
        """Distance of every voxel to a local point, mm."""
        s_mm, p_mm, l_mm = self._axes
        ds = (s_mm - point[2])[:, None, None]
        dp = (p_mm - point[1])[None, :, None]
        dl = (l_mm - point[0])[None, None, :]
        return np.asarray(np.sqrt(ds**2 + dp**2 + dl**2))


def find_facets(pair: Pair) -> dict[str, Facet | str]:
    """Find the facet joints of both sides, or say in a sentence why one cannot be located.

    A side without an interface is the mirror image of the other one; without either it is placed
    where facet joints usually lie; both fallbacks are flagged.
    """
    rule = facet_rules()[pair.upper.level]
    search = _search(pair, rule)
    if search is None:
        reason = f"{pair.upper.level} or {pair.lower.level} has no posterior elements there"
        return dict.fromkeys(SIDES, reason)
    found: dict[str, Facet | str] = {}
    centres: dict[str, FloatArray] = {}
    for side, sign in SIDES.items():
        interface = _interface(search, rule, sign)
        if interface is not None:
            sheet, gap = interface
            centres[side] = search.local(sheet).mean(axis=0)
            found[side] = _facet(search, sheet, gap, centres[side])
    for side, sign in SIDES.items():
        if side in found:
            continue
        other = next((s for s in SIDES if s in centres), None)
        if other is not None:
            point = centres[other] * np.array([-1.0, 1.0, 1.0])
            flag = f"no facing joint surfaces on the {side}: the {other} joint was mirrored"
        else:
            point = rule.point(pair, sign)
            flag = f"no facing joint surfaces on the {side}: placed where it usually lies"
        found[side] = _fallback(search, point, flag, side)
    return found


def _search(pair: Pair, rule: FacetRule) -> _Search | None:
    """Bone behind the posterior wall, None when a vertebra has none there."""
    start = int(np.searchsorted(pair.p_mm, pair.canal.wall_mm + rule.starts_behind_wall_mm))
    box = (slice(0, len(pair.s_mm)), slice(start, len(pair.p_mm)), slice(0, len(pair.l_mm)))
    upper, lower = pair.upper_bone[box] >= 0.5, pair.lower_bone[box] >= 0.5
    if not (upper.any() and lower.any()):
        return None
    to_upper, to_lower = _signed_distance(upper), _signed_distance(lower)
    gradient = [a - b for a, b in zip(np.gradient(to_upper), np.gradient(to_lower), strict=True)]
    length = np.sqrt(sum(g * g for g in gradient)) + np.float32(1e-6)
    normal = tuple(g / length for g in gradient)
    return _Search(
        pair, box, upper, lower, to_upper + to_lower, np.abs(to_upper - to_lower), normal
    )


def voxels_to(mask: BoolArray) -> NDArray[np.float32]:
    """Distance of every voxel to the nearest one of a mask, in voxels; far where it is empty.

    ITK's transform is several times quicker than SciPy's; outside a mask they are equal.
    """
    image = sitk.GetImageFromArray(mask.view(np.uint8))
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=False)
    return np.asarray(np.maximum(sitk.GetArrayFromImage(distance), 0.0), dtype=np.float32)


def within(mask: BoolArray, reach_mm: float) -> BoolArray:
    """Voxels that lie within a reach of a mask, of which there is some."""
    reach = int(np.ceil(reach_mm / STEP_MM))
    box = tuple(
        slice(max(0, int(index.min()) - reach), int(index.max()) + reach + 1)
        for index in np.nonzero(mask)
    )
    result = np.zeros_like(mask)
    result[box] = _squares_to(mask[box], reach) * STEP_MM**2 <= reach_mm**2
    return result


def _squares_to(mask: BoolArray, reach: int) -> NDArray[np.int16]:
    """Squared distance to the nearest voxel of a mask, exact up to a reach, larger beyond; voxels.

    For a short reach this is several times as quick as a distance transform.
    """
    squares = np.where(mask, 0, _FAR).astype(np.int16)
    for axis in range(3):
        before = np.moveaxis(squares, axis, 0)
        squares = squares.copy()
        after = np.moveaxis(squares, axis, 0)
        for step in range(1, min(reach, len(before) - 1) + 1):
            moved = before + np.int16(step * step)
            np.minimum(after[step:], moved[:-step], out=after[step:])
            np.minimum(after[:-step], moved[step:], out=after[:-step])
    return squares


def _depth(bone: BoolArray) -> NDArray[np.float32]:
    """Distance of a bone's voxels to the nearest one outside it, in voxels; 0 elsewhere."""
    result = np.zeros(bone.shape, dtype=np.float32)
    box = tuple(
        slice(max(0, int(index.min()) - 1), int(index.max()) + 2) for index in np.nonzero(bone)
    )
    squares = _squares_to(~bone[box], _DEEP)
    if (squares > _DEEP**2).any():
        return voxels_to(~bone)
    result[box] = np.sqrt(squares.astype(np.float32))
    return result


def _signed_distance(bone: BoolArray) -> NDArray[np.float32]:
    """Distance to the bone's surface, negative inside, smoothed over the voxels' steps."""
    distance = np.where(bone, 0.5 - _depth(bone), voxels_to(bone) - 0.5) * STEP_MM
    return ndimage.gaussian_filter(distance.astype(np.float32), _SMOOTH_MM / STEP_MM, truncate=3.0)


def _interface(search: _Search, rule: FacetRule, sign: float) -> tuple[BoolArray, float] | None:
    """Sheet between the facing articular surfaces of one side, with the gap it spans.

    The gap allowed grows until a sheet lies near the place where the joint should be; then
    the sheet is followed to where the surfaces are 1.25 mm farther apart.
    """
    point = rule.point(search.pair, sign)
    lateral, posterior, superior = np.asarray(rule.facing) * np.array([sign, 1.0, 1.0])
    beside = np.flatnonzero(sign * search.pair.l_mm >= rule.midline_mm)
    planes, rows, _ = search.gap.shape
    side = search.part((slice(planes), slice(rows), slice(beside[0], beside[-1] + 1)))
    along = side.normal
    facing = superior * along[0] + posterior * along[1] + lateral * along[2]
    near = (side.off_middle <= STEP_MM) & (facing >= _MIN_FACING)
    box = content_box(near & (side.gap <= _GAPS_MM[-1] + _EXTRA_GAP_MM))
    if box is None:
        return None
    close, near = side.part(box), near[box]
    # Voxels near the place where the joint should be count most.
    weight = np.exp(-0.5 * (close.distance_to(point) / _PRIOR_SIGMA_MM) ** 2)
    for gap in _GAPS_MM:
        pieces, count = ndimage.label(near & (close.gap <= gap), structure=_ANYWHERE)
        if count == 0:
            continue
        scores = ndimage.sum_labels(weight, pieces, np.arange(1, count + 1))
        seed = pieces == int(np.argmax(scores)) + 1
        centre = np.average(close.local(seed), axis=0, weights=weight[seed])
        if np.linalg.norm(centre - point) > _MAX_FROM_PRIOR_MM:
            continue
        if np.count_nonzero(seed) >= _MIN_SHEET_VOXELS:
            wide = gap + _EXTRA_GAP_MM
            sheet = _grow(close, near & (close.gap <= wide), seed, centre)
            return close.whole(sheet)[search.box], wide
    return None


def _grow(search: _Search, wider: BoolArray, seed: BoolArray, centre: FloatArray) -> BoolArray:
    """Follow a sheet from its seed, up to 12 mm around its own centre."""
    pieces, _ = ndimage.label(wider | seed, structure=_ANYWHERE)
    piece = np.isin(pieces, np.unique(pieces[seed]))
    # Only the voxels of the piece are looked at again and again.
    points = search.local(piece)
    for _ in range(5):
        left, behind, up = (points - centre).T
        close = np.sqrt(up**2 + behind**2 + left**2) <= _REACH_MM
        centre = points[close].mean(axis=0)
    sheet = np.zeros_like(piece)
    sheet[piece] = close
    return sheet


def _facet(search: _Search, sheet: BoolArray, gap: float, centre: FloatArray) -> Facet:
    """Bone and gap within 4 mm of the interface."""
    close = within(sheet, REGION_MM)
    bone = close & (search.upper | search.lower)
    # Closing takes in the voxels between the sheet and the bone on either side of it.
    whole = bone | sheet
    box = tuple(
        slice(max(0, int(index.min()) - 2), int(index.max()) + 3) for index in np.nonzero(whole)
    )
    whole[box] = ndimage.binary_closing(whole[box], structure=_ANYWHERE.astype(bool))
    space = close & (whole | sheet) & ~bone
    flags: tuple[str, ...] = ()
    if gap - _EXTRA_GAP_MM >= _WIDE_GAP_MM:
        flags = (f"the facing joint surfaces lie about {gap - _EXTRA_GAP_MM:g} mm apart",)
    return Facet(
        region=search.whole(bone | space),
        bone=search.whole(bone),
        centre=search.pair.to_lps(centre),
        flags=flags,
        sheet=search.whole(sheet),
    )


def _fallback(search: _Search, point: FloatArray, flag: str, side: str) -> Facet | str:
    """Bone of both vertebrae around a point where no interface was found."""
    pair = search.pair
    close = search.distance_to(point) <= _FALLBACK_RADIUS_MM
    bone = close & (search.upper | search.lower)
    if np.count_nonzero(bone) * STEP_MM**3 < _MIN_BONE_MM3:
        return (
            f"no posterior elements of {pair.upper.level} and {pair.lower.level} "
            f"where the {side} joint would lie"
        )
    return Facet(search.whole(bone), search.whole(bone), pair.to_lps(point), (flag,))
