"""Facet joints: where the posterior elements of two vertebrae face each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.joints.pair import STEP_MM, Pair
from CTSpectSpineLib.model import BoolArray, FloatArray

REGION_MM = 4.0

_GAPS_MM = (1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0)
_MAX_FROM_PRIOR_MM = 14.0
_MIDLINE_MM = 4.0
_REACH_MM = 10.0
_MIN_SHEET_VOXELS = 12
_FALLBACK_RADIUS_MM = 8.0
_MIN_BONE_MM3 = 150.0

SIDES: Mapping[str, float] = {"left": 1.0, "right": -1.0}


@dataclass(frozen=True)
class Prior:
    """Where a facet joint lies as a rule, from the pair's canal.

    Attributes
    ----------
    lateral_canals
        Distance from the midline in canal widths.
    lateral_mm
        Range that the distance is clipped to.
    behind_wall_mm, above_disc_mm
        Distance behind the posterior wall and above mid-disc.
    """

    lateral_canals: float
    lateral_mm: tuple[float, float]
    behind_wall_mm: float
    above_disc_mm: float

    def point(self, pair: Pair, sign: float) -> FloatArray:
        """Local l, p, s of the joint on the left (+1) or right (-1), mm."""
        lateral = float(np.clip(self.lateral_canals * pair.canal.width_mm, *self.lateral_mm))
        return np.array(
            [sign * lateral, pair.canal.wall_mm + self.behind_wall_mm, self.above_disc_mm]
        )


PRIORS: Mapping[str, Prior] = {
    "cervical": Prior(0.8, (16.0, 22.0), 7.0, 0.0),
    "thoracic": Prior(0.7, (9.0, 15.0), 15.0, 2.0),
    "lumbar": Prior(0.75, (13.0, 24.0), 16.0, 0.0),
}


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
        Sentences on fall-backs.
    """

    region: BoolArray
    bone: BoolArray
    centre: FloatArray
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Search:
    """Posterior bone of a pair with its distance maps, on a part of the pair's grid."""

    pair: Pair
    box: tuple[slice, slice, slice]
    upper: BoolArray
    lower: BoolArray
    to_upper: FloatArray
    to_lower: FloatArray

    def local(self, mask: BoolArray) -> FloatArray:
        """Local coordinates l, p, s of the voxels of a mask, shape (n, 3)."""
        k, j, i = np.nonzero(mask)
        s_slice, p_slice, _ = self.box
        return np.column_stack(
            [
                self.pair.l_mm[i],
                self.pair.p_mm[j + p_slice.start],
                self.pair.s_mm[k + s_slice.start],
            ]
        )

    def whole(self, mask: BoolArray) -> BoolArray:
        """Mask on the whole grid of the pair."""
        result = np.zeros(self.pair.grid.shape, dtype=bool)
        result[self.box] = mask
        return result

    def distance_to(self, point: FloatArray) -> FloatArray:
        """Distance of every voxel to a local point, mm."""
        s_slice, p_slice, _ = self.box
        ds = (self.pair.s_mm[s_slice] - point[2])[:, None, None]
        dp = (self.pair.p_mm[p_slice] - point[1])[None, :, None]
        dl = (self.pair.l_mm - point[0])[None, None, :]
        distance: FloatArray = np.sqrt(ds**2 + dp**2 + dl**2)
        return distance


def find_facets(pair: Pair, prior: Prior) -> dict[str, Facet | str]:
    """Find the facet joints of both sides, or say in a sentence why one cannot be located.

    A side without an interface is the mirror image of the other one; without either it lies
    where facet joints lie as a rule; both fall-backs are flagged.
    """
    search = _posterior(pair)
    found: dict[str, Facet | str] = {}
    centres: dict[str, FloatArray] = {}
    for side, sign in SIDES.items():
        point = prior.point(pair, sign)
        sheet = _interface(search, point, sign) if search is not None else None
        if search is not None and sheet is not None:
            mask, gap = sheet
            centres[side] = search.local(mask).mean(axis=0)
            found[side] = _facet(search, mask, gap, centres[side])
    for side, sign in SIDES.items():
        if side in found:
            continue
        other = next((s for s in SIDES if s != side and s in centres), None)
        if other is not None:
            point = centres[other] * np.array([-1.0, 1.0, 1.0])
            flag = f"no facing joint surfaces on the {side}: the {other} joint was mirrored"
        else:
            point = prior.point(pair, sign)
            flag = f"no facing joint surfaces on the {side}: placed by the usual anatomy"
        found[side] = _fallback(search, point, flag, pair, side)
    return found


def _posterior(pair: Pair) -> _Search | None:
    """Bone behind the posterior wall, None when a vertebra has none there."""
    start = int(np.searchsorted(pair.p_mm, pair.canal.wall_mm + 1.0))
    box = (slice(0, len(pair.s_mm)), slice(start, len(pair.p_mm)), slice(0, len(pair.l_mm)))
    upper, lower = pair.upper_bone[box] >= 0.5, pair.lower_bone[box] >= 0.5
    if not (upper.any() and lower.any()):
        return None
    return _Search(
        pair,
        box,
        upper,
        lower,
        ndimage.distance_transform_edt(~upper) * STEP_MM,
        ndimage.distance_transform_edt(~lower) * STEP_MM,
    )


def _interface(search: _Search, point: FloatArray, sign: float) -> tuple[BoolArray, float] | None:
    """Sheet between the facing surfaces near a point, with the gap at which it was found."""
    side = sign * search.pair.l_mm >= _MIDLINE_MM
    farther = np.maximum(search.to_upper, search.to_lower)
    between = np.abs(search.to_upper - search.to_lower) <= STEP_MM
    near = side[None, None, :] & between
    to_prior = search.distance_to(point)
    for gap in _GAPS_MM:
        pieces, count = ndimage.label(near & (farther <= gap), structure=np.ones((3, 3, 3)))
        if count == 0:
            continue
        # Voxels near the place where the joint should be count most.
        weight = np.exp(-0.5 * (to_prior / 8.0) ** 2)
        numbers = np.arange(1, count + 1)
        scores = ndimage.sum_labels(weight, pieces, numbers)
        best = pieces == int(numbers[np.argmax(scores)])
        centre = np.average(search.local(best), axis=0, weights=weight[best])
        if np.linalg.norm(centre - point) > _MAX_FROM_PRIOR_MM:
            continue
        sheet = best & (search.distance_to(centre) <= _REACH_MM)
        if np.count_nonzero(sheet) >= _MIN_SHEET_VOXELS:
            return sheet, gap
    return None


def _facet(search: _Search, sheet: BoolArray, gap: float, centre: FloatArray) -> Facet:
    """Bone and gap within 4 mm of the interface."""
    close = ndimage.distance_transform_edt(~sheet) * STEP_MM <= REGION_MM
    bone = close & (search.upper | search.lower)
    joint_space = close & (np.maximum(search.to_upper, search.to_lower) <= gap)
    flags: tuple[str, ...] = ()
    if gap > 5.0:
        flags = (f"the facing joint surfaces lie {gap:g} mm apart",)
    return Facet(
        region=search.whole(bone | joint_space),
        bone=search.whole(bone),
        centre=search.pair.to_lps(centre),
        flags=flags,
    )


def _fallback(
    search: _Search | None, point: FloatArray, flag: str, pair: Pair, side: str
) -> Facet | str:
    """Bone of both vertebrae around a point where no interface was found."""
    names = f"{pair.upper.level} and {pair.lower.level}"
    if search is None:
        return f"no posterior elements of {names} on the {side}"
    close = search.distance_to(point) <= _FALLBACK_RADIUS_MM
    bone = close & (search.upper | search.lower)
    if np.count_nonzero(bone) * STEP_MM**3 < _MIN_BONE_MM3:
        return f"no posterior elements of {names} where the {side} joint would lie"
    facet = Facet(search.whole(bone), search.whole(bone), pair.to_lps(point))
    return replace(facet, flags=(flag,))
