"""Tests of a pose against other poses: shifted ones, rivals, and a mirrored CT.

Two poses are compared on the same SPECT voxels, patch by patch. Residuals are correlated within
a patch but hardly between patches, so the spread of the patches' differences tells whether
their sum is more than chance (as in cluster-robust statistics: Liang and Zeger, Biometrika
1986;73:13).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.prepare import SpectMap
from CTSpectSpineLib.registration.refine import (
    FEWEST_POINTS,
    Fit,
    Level,
    State,
    evaluate,
    normal_equations,
)
from CTSpectSpineLib.registration.sampling import (
    IntArray,
    Placed,
    Points,
    SampledMaps,
    choose_points,
)

BETTER_ELSEWHERE = 0.93
"""A patch prefers another place when its robust cost there is below this share of that here.
Judgement: leaves out gains of a few per cent, which noise makes; the bounds on the share of such
patches in `quality` were set with it."""


@dataclass(frozen=True)
class Comparison:
    """How clearly one pose fits better than another.

    Attributes
    ----------
    margin
        Sum of the patches' differences in standard errors: positive where ours fits better.
    samples
        Effective number of patches that took part: (sum of |d|)² / sum of d².
    """

    margin: float
    samples: float

    @property
    def log10_ratio(self) -> float:
        """Likelihood ratio of ours over theirs, log10.

        The profile likelihood of a mean from `samples` independent patches of unknown spread,
        against a mean of zero; with few patches no margin makes it large.
        """
        freedom = max(self.samples - 1.0, 1.0)
        ratio = 0.5 * self.samples * math.log10(1.0 + self.margin**2 / freedom)
        return math.copysign(ratio, self.margin)


def margin(
    spect: SpectMap,
    ours: tuple[SampledMaps, FloatArray],
    theirs: tuple[SampledMaps, FloatArray],
    level: Level,
) -> Comparison | None:
    """How clearly one pose fits better than another.

    Parameters
    ----------
    spect
        SPECT at the level's resolution.
    ours, theirs
        Maps and pose; the two maps differ only where a pose on another CT is compared.
    level
        Resolution; `points` bounds the effort.

    Returns
    -------
    Comparison
        None where they cannot be compared, because hardly any voxel lies inside the CT under both.
    """
    points = choose_points(spect, level.points, Placed(*ours), Placed(*theirs))
    if not len(points.values):
        return None
    a, b = evaluate(ours[0], points, ours[1]), evaluate(theirs[0], points, theirs[1])
    if a is None or b is None or np.count_nonzero(a.inside & b.inside) < FEWEST_POINTS:
        return None
    return state_margin(points, a, b)


def state_margin(points: Points, ours: State, theirs: State) -> Comparison:
    """How clearly one state fits some points better than another; see `margin`."""
    scale = min(ours.scale, theirs.scale)
    gain = _costs(points, theirs, scale) - _costs(points, ours, scale)
    differences = points.patch_sum(np.where(ours.inside & theirs.inside, gain, 0.0))
    square = float(np.sum(differences**2))
    samples = float(np.sum(np.abs(differences))) ** 2 / max(square, 1e-18)
    return Comparison(float(differences.sum()) / max(float(np.sqrt(square)), 1e-9), samples)


def _costs(points: Points, state: State, scale: float) -> FloatArray:
    """Robust cost of each of the points; 0 outside the CT."""
    squared = (state.scaled / (2.0 * scale)) ** 2
    costs: FloatArray = np.zeros(len(points.values))
    costs[state.inside] = squared / (1.0 + squared)
    return costs


def restless_share(
    spect: SpectMap, maps: SampledMaps, fit: Fit, level: Level, shifts_mm: Sequence[float]
) -> float:
    """Share of the skeleton that would fit clearly better elsewhere, 0 to 1.

    Every patch compares its fit at the pose with that at poses shifted along x, y and z; it
    counts with the information it holds on position. Vertebrae of another patient, or off by
    one level, prefer other places even where the whole is aligned as well as possible.

    Parameters
    ----------
    spect, maps
        Prepared maps of the level.
    fit
        The result to be tested.
    level
        Resolution; `points` bounds the effort.
    shifts_mm
        Shifts tried along each axis, in both directions.
    """
    points = choose_points(spect, level.points, Placed(maps, fit.spect_to_ct))
    base = evaluate(maps, points, fit.spect_to_ct) if len(points.values) else None
    if base is None:
        return 1.0
    scale = base.scale
    here = _patch_costs(points, base, scale)
    best = here.copy()
    for axis in range(3):
        for shift in (s * sign for s in shifts_mm for sign in (-1.0, 1.0)):
            moved = fit.spect_to_ct.copy()
            moved[axis, 3] += shift
            there = evaluate(maps, points, moved)
            if there is not None:
                best = np.fmin(best, _patch_costs(points, there, scale))
    known = np.trace(
        normal_equations(base, scale, fit.centre_mm).hessians[:, :3, :3], axis1=1, axis2=2
    )
    information = np.zeros(len(points.starts))
    information[np.unique(_patches_inside(points, base))] = known
    restless = best < BETTER_ELSEWHERE * here
    return float(information[restless].sum() / max(float(information.sum()), 1e-9))


def _patches_inside(points: Points, state: State) -> IntArray:
    """Original patch of each point of a state, which holds only those inside the CT."""
    return points.patch[state.inside]


def _patch_costs(points: Points, state: State, scale: float) -> FloatArray:
    """Mean robust cost of each patch, NaN where too little of it is inside the CT."""
    patch = _patches_inside(points, state)
    count = np.bincount(patch, minlength=len(points.starts))
    total = points.patch_sum(_costs(points, state, scale))
    whole = np.bincount(points.patch, minlength=len(points.starts))
    return np.where(count > 0.7 * whole, total / np.maximum(count, 1), np.nan)
