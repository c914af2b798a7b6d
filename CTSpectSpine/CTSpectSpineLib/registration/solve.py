"""From starts to one solution: refine them all, add other vertebral levels, compare, choose.

The coarse fit has a wide reach but hardly tells one vertebral level from the next; the fine
fit does. So every distinct end of the coarse fits is refined at full resolution, and the fine
fits are compared pair by pair on the same voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.bending import column_bending
from CTSpectSpineLib.registration.compare import margin, restless_share
from CTSpectSpineLib.registration.decoys import (
    COMPARE,
    QUICK,
    Rival,
    beside,
    distance,
    neighbours,
    reflected_rival,
    rival_of,
)
from CTSpectSpineLib.registration.motion import Smear, smear_at
from CTSpectSpineLib.registration.pair import COARSE, FINE, Prepared, common_mm, suited
from CTSpectSpineLib.registration.prepare import SPECT_FWHM_MM, CtMaps
from CTSpectSpineLib.registration.refine import NEARLY, Fit, Level, measure, refine_pose
from CTSpectSpineLib.registration.seen import UptakeSeen, uptake_seen
from CTSpectSpineLib.registration.strain import Strain, resized_margin, strain_at

SCREEN = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=6000, iterations=7, converged=NEARLY)
"""Refinement of the distinct ends. Numerical: fewer points than `FINE`, as only their order
matters."""
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
UNBENT_MM = 1.0
"""Residual deformation at coarse resolution, mm, below which the column is not looked at more
finely. Judgement: about half of `BENT_MM`."""
SAME_MM = 5.0
"""Fits nearer to each other than this are the same solution, mm. Judgement: half of the
resolution."""
MERGING_MM = 9.0
"""Starts nearer to each other than this after their first steps end in the same place, mm.
Judgement: half of the coarse resolution, and of the least height of a level."""
RIVAL_MM = 10.0
"""Fits farther from the solution than this are other solutions, mm. Judgement: the resolution, and
less than the height of any level."""
SHORT_COLUMN_MM = 200.0
"""Height of the column in both images below which a cut field pulls at the fit, and other sizes are
tried. Measured on simulated pairs: lumbar and thoracic crops have 110 to 180 mm."""
UNCLEAR_MARGIN = 2.0
"""Other solutions that lose by less than so many standard errors may as well be the right one: the
mirrored CT is fitted near them too. Judgement: what chance passes once in forty times."""
MOST_STARTS = 4
"""Most distinct starts that are refined further. Numerical: bounds the time; the ones that explain
least are left out."""
MOST_SCREENED = 3
"""Most ends of starts that are screened. Numerical: bounds the time; ends that explain least are
left out."""
MOST_LEVELS = 3
"""Most neighbouring levels that are screened, however little they explain: their margins say how
clear the level is. Numerical: bounds the time."""
CONTESTED_SHARE = 0.75
"""Fits that explain less than this share of what the best explains are not tried against it.
Judgement: on five simulated pairs neighbouring levels explained 0.6 to 0.95 of it, and even the
nearest lost by 2.7 standard errors."""
LEAST_SHARE = 0.7
"""Coarse fits that explain less than this share of what the best explains are not screened.
Judgement: a neighbouring level explains nearly as much as the right one at this resolution."""


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
        The best fits of the CT reversed along x, y and z near the solution, that along x near
        unclear rivals too; None where one has no overlap.
    restless
        Share of the skeleton that would fit clearly better a few millimetres elsewhere.
    smear
        How the SPECT is smeared beyond its resolution; None where too little is seen.
    bent_mm
        Root mean square deformation of the column that no rigid movement follows; 0 where the
        spine is bent the same way in both images.
    strain
        How much the fit would still stretch; None where too little is seen.
    resized
        How clearly the body's size fits better than one 2 % off, in standard errors; None where
        it was not tried, as the column is not short.
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
    smear: Smear | None
    bent_mm: float
    strain: Strain | None
    resized: float | None
    weakened: bool
    common_mm: float
    uptake: UptakeSeen


@dataclass(frozen=True)
class _Screened:
    """A distinct end point of the coarse fits, and its fine fit."""

    coarse: Fit
    fine: Fit


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
    pair, weak = suited(pair, whole, best)
    report(0.25, "Trying the neighbouring levels")
    near = _coarse_fits(pair, neighbours(pair, best), QUICK, pool)
    chosen_ends = _distinct(best, ends, MOST_SCREENED, LEAST_SHARE)
    levels = _distinct(best, [end for end in near if end is not None], 1 + MOST_LEVELS, 0.0)
    new = [e for e in levels[1:] if all(distance(e, o) > SAME_MM for o in chosen_ends)]
    distinct = [*chosen_ends, *(new or beside(pair, best))]
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
    turned = [pool.submit(reflected_rival, pair, final, lps) for lps in (1, 2)]
    restless = pool.submit(restless_share, pair.spect, pair.fine, final, LOCAL, LOCAL_SHIFTS_MM)
    smear = pool.submit(smear_at, pair.spect, pair.fine, final.spect_to_ct, LOCAL)
    strain = pool.submit(strain_at, pair.smooth, pair.coarse, final.spect_to_ct, COARSE)
    resized = pool.submit(_resized, pair, final)
    others = [s.fine for s in screened if s is not chosen]
    rivals = pool.map(lambda fit: rival_of(pair, final, pair.fine, fit), others)
    far = [(r, f) for r, f in zip(rivals, others, strict=True) if r.distance_mm > RIVAL_MM]
    # A mirrored SPECT fits poorly everywhere; the reversed CT may fit it far from the chosen pose.
    unclear = [fit for rival, fit in far if rival.margin < UNCLEAR_MARGIN]
    mirror = pool.submit(reflected_rival, pair, final, 0, unclear)
    return Solution(
        fit=settled.result()[0],
        whole=final,
        coarse=coarse,
        rivals=tuple(sorted((rival for rival, _ in far), key=lambda r: r.margin)),
        reflected=tuple(other.result() for other in (mirror, *turned)),
        restless=restless.result(),
        smear=smear.result(),
        bent_mm=settled.result()[1],
        strain=strain.result(),
        resized=resized.result(),
        weakened=weak,
        common_mm=common_mm(pair, final),
        uptake=uptake_seen(pair.spect, pair.ct, final.spect_to_ct),
    )


def explained_at(pair: Prepared, pose: FloatArray) -> float:
    """What the CT explains of the SPECT at a pose, 0 where the two hardly overlap."""
    fit = measure(pair.spect, pair.fine, pose, COMPARE)
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
    kept = _distinct(first, found, MOST_STARTS, 0.0, MERGING_MM)
    ends = _coarse_fits(pair, [fit.spect_to_ct for fit in kept], COARSE, pool)
    if keep_first and ends[0] is None:
        return []
    fits = [fit for fit in ends if fit is not None]
    if not keep_first:
        fits.sort(key=lambda fit: -fit.explained)
    return fits


def _distinct(
    best: Fit, fits: Sequence[Fit], most: int, least_share: float, same_mm: float = SAME_MM
) -> list[Fit]:
    """The best and then others by what they explain, without those that ended in the same place."""
    chosen = [best]
    for fit in sorted(fits, key=lambda f: -f.explained):
        if fit.explained < least_share * best.explained or len(chosen) == most:
            break
        if all(distance(fit, other) > same_mm for other in chosen):
            chosen.append(fit)
    return chosen


def _champion(pair: Prepared, screened: Sequence[_Screened]) -> _Screened:
    """The fit that no other beats on the voxels that both explain."""
    ranked = sorted(screened, key=lambda s: -s.fine.explained)
    champion = ranked[0]
    least = CONTESTED_SHARE * champion.fine.explained
    for other in (s for s in ranked[1:] if s.fine.explained >= least):
        ours = (pair.fine, champion.fine.spect_to_ct)
        gain = margin(pair.spect, ours, (pair.fine, other.fine.spect_to_ct), COMPARE)
        if gain is not None and gain.margin < 0:
            champion = other
    return champion


def _resized(pair: Prepared, final: Fit) -> float | None:
    """`Solution.resized`; a longer column tells its size by the stretch."""
    if common_mm(pair, final) >= SHORT_COLUMN_MM:
        return None
    return resized_margin(pair.spect, pair.fine, final, SCREEN, COMPARE)


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
    bending = column_bending(levels, final.spect_to_ct, column.lowest_mm, UNBENT_MM)
    if bending is None or bending.residual_mm < BENT_MM or bending.margin < BENT_MARGIN:
        return final, 0.0
    settled = measure(pair.spect, fine, bending.spect_to_ct, FINE)
    return (final, 0.0) if settled is None else (settled, bending.residual_mm)
