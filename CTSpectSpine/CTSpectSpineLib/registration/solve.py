"""From starts to one solution: refine them all, add other vertebral levels, compare, choose.

The coarse fit has a wide reach but hardly tells one vertebral level from the next; the fine
fit does. So every distinct end of the coarse fits is refined at full resolution, and the fine
fits are compared pair by pair on the same voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from CTSpectSpineLib.geometry import affine, apply_matrix
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.attenuation import (
    escaping_share,
    looks_uncorrected,
    weakened,
)
from CTSpectSpineLib.registration.bending import column_bending
from CTSpectSpineLib.registration.column import Column, along_column, find_column
from CTSpectSpineLib.registration.compare import margin, restless_share
from CTSpectSpineLib.registration.prepare import (
    SPECT_FWHM_MM,
    CtMaps,
    SpectMap,
    about_bone,
    halved,
    smoothed,
)
from CTSpectSpineLib.registration.refine import Fit, Level, measure, refine_pose
from CTSpectSpineLib.registration.sampling import SampledMaps, reflected, sampled_maps
from CTSpectSpineLib.registration.search import pose_distance
from CTSpectSpineLib.registration.seen import UptakeSeen, uptake_seen
from CTSpectSpineLib.registration.strain import Strain, strain_at

COARSE = Level(fwhm_mm=18.0, smooth=True, points=4000, iterations=12)
"""Refinement of all starts. Judgement: nearly twice the blur of bone SPECT gives a wide reach.
Numerical: points and steps bound the time."""
SCREEN = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=6000, iterations=7)
"""Refinement of the distinct ends. Numerical: fewer points than `FINE`, as only their order
matters."""
FINE = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=40000, iterations=12)
"""Refinement of the solution. Numerical: the points thin large fields of view only, to bound the
time; steps end earlier where converged."""
COMPARE = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=8000, iterations=0)
"""Comparison of two fits, without steps. Numerical: points enough for the scatter of the
patches."""
MIRROR = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=4000, iterations=5)
"""Refinement against a reversed CT, as `SCREEN`. Numerical: there are three of them."""
LOCAL = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=8000, iterations=0)
"""Comparison with shifted poses, as `COMPARE`. Numerical: fewer points, as there are six shifts."""
LOCAL_SHIFTS_MM = (7.0,)
"""Shifts that test whether parts of the skeleton fit better elsewhere, mm. Judgement: about two
thirds of the resolution, enough to leave a fit, not enough to reach another bone."""

BEND_COARSE = Level(fwhm_mm=COARSE.fwhm_mm, smooth=True, points=6000, iterations=15)
"""Bending of the column from the pose, as `COARSE`. Numerical: more parameters need more points."""
BEND_FINE = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=15000, iterations=12)
"""The same at the resolution of the SPECT, as `COMPARE`. Numerical: the column holds few more
points."""
BENT_MM, BENT_MARGIN = 1.8, 2.3
"""Least residual deformation, mm, and how clearly it must fit better (standard errors), for the
column to count as bent differently. Measured on simulated pairs: less where the posture is the
same."""

LEVEL_SHIFTS_MM = (-72.0, -56.0, -37.0, -28.0, -18.0, 18.0, 28.0, 37.0, 56.0, 72.0)
"""Moves to neighbouring levels, along the column's curve, mm. Judgement: one body with its disc of
a lumbar, a thoracic and a cervical level, and two of a thoracic and a lumbar one, in the range of
Panjabi et al. 1991 and 1992, and Gilad and Nissan 1986; levels of other heights lie within the
reach of a coarse fit."""
USUAL_LEVEL_MM = 28.0
"""One of `LEVEL_SHIFTS_MM`: about a thoracic or upper lumbar level, mm. Judgement: Panjabi et al.
1991 and 1992."""
SAME_MM = 5.0
"""Fits nearer to each other than this are the same solution, mm. Judgement: half of the
resolution."""
RIVAL_MM = 10.0
"""Fits farther from the solution than this are other solutions, mm. Judgement: the resolution, and
less than the height of any level."""
FAR_MARGIN, FAR_SHARE = 99.0, 0.9
"""Solutions without a common voxel cannot be compared: one that explains less than this share of
what the best explains is taken as worse by so many standard errors. By definition: more than any
bound; the share is a judgement."""
QUICK = Level(fwhm_mm=18.0, smooth=True, points=2000, iterations=5)
"""First steps of all starts, as `COARSE`. Numerical: enough to see which are worth going on."""
MOST_STARTS = 4
"""Most distinct starts that are refined further. Numerical: bounds the time; the ones that explain
least are left out."""
MOST_SCREENED = 3
"""Most ends of starts that are screened. Numerical: bounds the time; ends that explain least are
left out."""
MOST_LEVELS = 3
"""Most neighbouring levels that are screened, however little they explain: their margins say how
clear the level is. Numerical: bounds the time."""
LEAST_SHARE = 0.7
"""Coarse fits that explain less than this share of what the best explains are not screened.
Judgement: a neighbouring level explains nearly as much as the right one at this resolution."""
REFLECTIONS = ("left and right", "front and back", "head and feet")
"""Names of the reflected bodies that a SPECT is compared with, by LPS axis. By definition."""


@dataclass(frozen=True)
class Prepared:
    """Maps of the CT around bone, at both resolutions, SPECT as it is and smoothed."""

    ct: CtMaps
    spect: SpectMap
    smooth: SpectMap
    coarse: SampledMaps
    fine: SampledMaps
    column: Column


@dataclass(frozen=True)
class Rival:
    """Another way to put SPECT and CT together.

    Attributes
    ----------
    distance_mm
        How far it moves the bones from the solution, root mean square.
    explained
        What it explains, relative to the solution; see `Fit.explained`.
    margin
        How clearly the solution fits better, in standard errors; see `compare.margin`.
    """

    distance_mm: float
    explained: float
    margin: float
    log10_ratio: float = 0.0


@dataclass(frozen=True)
class Solution:
    """The chosen fit and what speaks for and against it.

    Attributes
    ----------
    fit
        At full resolution.
    whole
        The fit of the whole skeleton, which tells whether the two images belong together. It
        differs from `fit` where the spine is bent differently in the two images.
    coarse
        The pose of `whole` at coarse resolution.
    rivals
        Other solutions, neighbouring levels among them, the nearest competitor (least margin)
        first.
    reflected
        The best fits of the CT reversed along x, y and z; None where one has no overlap.
    restless
        Share of the skeleton that would fit clearly better a few millimetres elsewhere.
    bent_mm
        Root mean square deformation of the column that no rigid movement follows; 0 where the
        spine is bent the same way in both images.
    strain
        How much the fit would still stretch; None where too little is seen.
    weakened
        Whether the SPECT shows bone as one without attenuation correction does.
    common_mm
        Height of the column that lies in both images.
    uptake
        What is seen where.
    """

    fit: Fit
    whole: Fit
    coarse: Fit
    rivals: tuple[Rival, ...]
    reflected: tuple[Rival | None, ...]
    restless: float
    bent_mm: float
    strain: Strain | None
    weakened: bool
    common_mm: float
    uptake: UptakeSeen


@dataclass(frozen=True)
class _Screened:
    """A distinct end point of the coarse fits, and its fine fit."""

    coarse: Fit
    fine: Fit


def prepared(ct: CtMaps, spect: SpectMap, pool: Executor) -> Prepared:
    """Maps at the resolutions of both levels; the coarse ones on a coarser grid."""
    near = about_bone(ct)
    coarse = pool.submit(lambda: sampled_maps(halved(near), COARSE.fwhm_mm))
    column = pool.submit(find_column, near)
    fine = sampled_maps(near, FINE.fwhm_mm)
    smooth = smoothed(spect, COARSE.fwhm_mm)
    return Prepared(near, spect, smooth, coarse.result(), fine, column.result())


def solve(
    pair: Prepared,
    whole: CtMaps,
    starts: Sequence[FloatArray],
    keep_first: bool,
    pool: Executor,
    report: Callable[[float, str], None],
) -> Solution | None:
    """Refine the starts and choose the best.

    Parameters
    ----------
    pair
        Prepared images.
    whole
        Maps of the whole CT, for what lies around the bone.
    starts
        Poses (4×4, SPECT to CT points).
    keep_first
        Whether the first start was given and its own end is the solution, even if another fits
        better.
    pool
        Where independent fits run; the result does not depend on its threads.
    report
        Called with the share done and what is being done; it may raise to cancel.

    Returns
    -------
    The solution; None where no start has overlap, or a given one has none.
    """
    ends = _ends(pair, starts, keep_first, pool)
    if not ends:
        return None
    best = ends[0]
    report(0.2, "Testing the attenuation correction")
    pair, weak = _suited(pair, whole, best)
    report(0.25, "Trying the neighbouring levels")
    beside = _coarse_fits(pair, _neighbours(pair, best), QUICK, pool)
    chosen_ends = _distinct(best, ends, MOST_SCREENED, LEAST_SHARE)
    levels = _distinct(best, [end for end in beside if end is not None], 1 + MOST_LEVELS, 0.0)
    new = [e for e in levels[1:] if all(_distance(e, o) > SAME_MM for o in chosen_ends)]
    distinct = [*chosen_ends, *(new or _beside(pair, best))]
    report(0.45, "Comparing the solutions")
    fine = pool.map(lambda f: refine_pose(pair.spect, pair.fine, f.spect_to_ct, SCREEN), distinct)
    screened = [_Screened(c, f) for c, f in zip(distinct, fine, strict=True) if f is not None]
    if not screened or (keep_first and screened[0].coarse is not best):
        return None
    chosen = screened[0] if keep_first else _champion(pair, screened)
    report(0.7, "Refining")
    final = refine_pose(pair.spect, pair.fine, chosen.fine.spect_to_ct, FINE)
    if final is None:
        return None
    report(0.8, "Checking the result")
    coarse = measure(pair.smooth, pair.coarse, final.spect_to_ct, COARSE)
    if coarse is None:
        return None
    settled = pool.submit(_settled, pair, final)
    mirrors = [pool.submit(_reflected, pair, final, lps) for lps in range(3)]
    restless = pool.submit(restless_share, pair.spect, pair.fine, final, LOCAL, LOCAL_SHIFTS_MM)
    strain = pool.submit(strain_at, pair.smooth, pair.coarse, final.spect_to_ct, COARSE)
    others = [s.fine for s in screened if s is not chosen]
    rivals = pool.map(lambda fit: _rival(pair, final, pair.fine, fit), others)
    far = [rival for rival in rivals if rival.distance_mm > RIVAL_MM]
    return Solution(
        fit=settled.result()[0],
        whole=final,
        coarse=coarse,
        rivals=tuple(sorted(far, key=lambda r: r.margin)),
        reflected=tuple(mirror.result() for mirror in mirrors),
        restless=restless.result(),
        bent_mm=settled.result()[1],
        strain=strain.result(),
        weakened=weak,
        common_mm=_common_mm(pair, final),
        uptake=uptake_seen(pair.spect, pair.ct, final.spect_to_ct),
    )


def explained_at(pair: Prepared, pose: FloatArray) -> float:
    """What the CT explains of the SPECT at a pose, 0 where the two hardly overlap."""
    fit = measure(pair.spect, pair.fine, pose, FINE)
    return 0.0 if fit is None else fit.explained


def _coarse_fits(
    pair: Prepared, poses: Iterable[FloatArray], level: Level, pool: Executor
) -> list[Fit | None]:
    return list(pool.map(lambda pose: refine_pose(pair.smooth, pair.coarse, pose, level), poses))


def _ends(
    pair: Prepared, starts: Sequence[FloatArray], keep_first: bool, pool: Executor
) -> list[Fit]:
    """Distinct ends of the coarse fits, the best first, or that of the given start."""
    quick = _coarse_fits(pair, starts, QUICK, pool)
    if not any(quick) or (keep_first and quick[0] is None):
        return []
    found = [fit for fit in quick if fit is not None]
    first = found[0] if keep_first else max(found, key=lambda fit: fit.explained)
    kept = _distinct(first, found, MOST_STARTS, 0.0)
    ends = _coarse_fits(pair, [fit.spect_to_ct for fit in kept], COARSE, pool)
    if keep_first and ends[0] is None:
        return []
    fits = [fit for fit in ends if fit is not None]
    if not keep_first:
        fits.sort(key=lambda fit: -fit.explained)
    return fits


def _suited(pair: Prepared, whole: CtMaps, best: Fit) -> tuple[Prepared, bool]:
    """The maps that suit the SPECT: weakened where its attenuation is not corrected."""
    share = escaping_share(whole)
    if not looks_uncorrected(whole, share, pair.spect, best.spect_to_ct):
        return pair, False
    weak = about_bone(weakened(whole, share))
    coarse = sampled_maps(halved(weak), COARSE.fwhm_mm)
    return replace(pair, coarse=coarse, fine=sampled_maps(weak, FINE.fwhm_mm)), True


def _field_mm(pair: Prepared, fit: Fit) -> tuple[float, float]:
    """Lowest and highest LPS z in the CT that the SPECT reaches near the column."""
    last = np.array(pair.spect.values.shape[::-1]) - 1.0
    middle = np.stack([last / 2, last / 2])
    middle[0, 2], middle[1, 2] = 0.0, last[2]
    heights = apply_matrix(fit.spect_to_ct @ pair.spect.ijk_to_lps, middle)[:, 2]
    return float(heights.min()), float(heights.max())


def _common_mm(pair: Prepared, fit: Fit) -> float:
    """Height of the column that lies in both images, mm."""
    low, high = _field_mm(pair, fit)
    heights = pair.column.line_mm[:, 2]
    return max(0.0, min(high, float(heights.max())) - max(low, float(heights.min())))


def _neighbours(pair: Prepared, best: Fit) -> list[FloatArray]:
    """The pose moved along the column by one vertebra and by two, up and down."""
    moved = []
    for shift in LEVEL_SHIFTS_MM:
        change = along_column(pair.column.line_mm, _field_mm(pair, best), shift)
        if change is None:
            change = affine(np.eye(3), np.array([0.0, 0.0, shift]))
        moved.append(change @ best.spect_to_ct)
    return moved


def _beside(pair: Prepared, best: Fit) -> list[Fit]:
    """The neighbouring levels as they are, where every fit from them led back to the best."""
    poses = [
        pose
        for pose, shift in zip(_neighbours(pair, best), LEVEL_SHIFTS_MM, strict=True)
        if abs(shift) == USUAL_LEVEL_MM
    ]
    fits = [measure(pair.smooth, pair.coarse, pose, COARSE) for pose in poses]
    return [fit for fit in fits if fit is not None]


def _distance(one: Fit, other: Fit) -> float:
    return pose_distance(one.spect_to_ct, other.spect_to_ct, other.centre_mm, other.radius_mm)


def _distinct(best: Fit, fits: Sequence[Fit], most: int, least_share: float) -> list[Fit]:
    """The best and then others by what they explain, without those that ended in the same place."""
    chosen = [best]
    for fit in sorted(fits, key=lambda f: -f.explained):
        if fit.explained < least_share * best.explained or len(chosen) == most:
            break
        if all(_distance(fit, other) > SAME_MM for other in chosen):
            chosen.append(fit)
    return chosen


def _champion(pair: Prepared, screened: Sequence[_Screened]) -> _Screened:
    """The fit that no other beats on the voxels that both explain."""
    ranked = sorted(screened, key=lambda s: -s.fine.explained)
    champion = ranked[0]
    for other in ranked[1:]:
        ours = (pair.fine, champion.fine.spect_to_ct)
        gain = margin(pair.spect, ours, (pair.fine, other.fine.spect_to_ct), COMPARE)
        if gain is not None and gain.margin < 0:
            champion = other
    return champion


def _settled(pair: Prepared, final: Fit) -> tuple[Fit, float]:
    """The fit moved to where it suits a bent column best, and the deformation that is left, mm.

    Where the column is bent the same way, the fit of the whole skeleton stays: it is more precise.
    """
    column = pair.column
    fine = replace(pair.fine, near_bone=pair.fine.near_bone & column.near)
    k, j, i = pair.coarse.near_bone.shape
    near = column.near[::2, ::2, ::2][:k, :j, :i]
    coarse = replace(pair.coarse, near_bone=pair.coarse.near_bone & near)
    levels = ((pair.smooth, coarse, BEND_COARSE), (pair.spect, fine, BEND_FINE))
    bending = column_bending(levels, final.spect_to_ct, column.lowest_mm)
    if bending is None or bending.residual_mm < BENT_MM or bending.margin < BENT_MARGIN:
        return final, 0.0
    settled = measure(pair.spect, fine, bending.spect_to_ct, FINE)
    return (final, 0.0) if settled is None else (settled, bending.residual_mm)


def _rival(pair: Prepared, final: Fit, maps: SampledMaps, fit: Fit) -> Rival:
    share = fit.explained / max(final.explained, 1e-6)
    ours, theirs = (pair.fine, final.spect_to_ct), (maps, fit.spect_to_ct)
    gain = margin(pair.spect, ours, theirs, COMPARE)
    if gain is None:
        far = FAR_MARGIN if share < FAR_SHARE else 0.0
        return Rival(_distance(fit, final), share, far, far)
    return Rival(_distance(fit, final), share, gain.margin, gain.log10_ratio)


def _reflected(pair: Prepared, final: Fit, lps: int) -> Rival | None:
    """Best fit near the solution against the CT reversed along an axis of the patient."""
    near = refine_pose(pair.smooth, reflected(pair.coarse, lps), final.spect_to_ct, QUICK)
    if near is None:
        return None
    maps = reflected(pair.fine, lps)
    fit = refine_pose(pair.spect, maps, near.spect_to_ct, MIRROR)
    return None if fit is None else _rival(pair, final, maps, fit)
