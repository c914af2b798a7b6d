"""What a solution is compared with: neighbouring levels, other positions, the reversed CT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.geometry import affine
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.column import along_column
from CTSpectSpineLib.registration.compare import margin
from CTSpectSpineLib.registration.pair import COARSE, Prepared, field_mm
from CTSpectSpineLib.registration.prepare import SPECT_FWHM_MM
from CTSpectSpineLib.registration.refine import NEARLY, Fit, Level, measure, refine_pose
from CTSpectSpineLib.registration.sampling import SampledMaps, reflected
from CTSpectSpineLib.registration.search import pose_distance

QUICK = Level(fwhm_mm=18.0, smooth=True, points=2000, iterations=5, converged=NEARLY)
"""First steps of all starts, as `COARSE`. Numerical: enough to see which are worth going on."""
COMPARE = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=8000, iterations=0)
"""Comparison of two fits, without steps. Numerical: points enough for the scatter of the
patches."""
MIRROR = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=4000, iterations=5, converged=NEARLY)
"""Refinement against a reversed CT, as `SCREEN`. Numerical: there are three of them."""
LEVEL_SHIFTS_MM = (-72.0, -56.0, -37.0, -28.0, -18.0, 18.0, 28.0, 37.0, 56.0, 72.0)
"""Moves to neighbouring levels, along the column's curve, mm. Judgement: one body with its disc of
a lumbar, a thoracic and a cervical level, and two of a thoracic and a lumbar one, in the range of
Panjabi et al. 1991 and 1992, and Gilad and Nissan 1986; levels of other heights lie within the
reach of a coarse fit."""
USUAL_LEVEL_MM = 28.0
"""One of `LEVEL_SHIFTS_MM`: about a thoracic or upper lumbar level, mm. Judgement: Panjabi et al.
1991 and 1992."""
FAR_MARGIN, FAR_SHARE = 99.0, 0.9
"""Solutions without a common voxel cannot be compared: one that explains less than this share of
what the best explains is taken as worse by so many standard errors. By definition: more than any
bound; the share is a judgement."""
REFLECTIONS = ("left and right", "front and back", "head and feet")
"""Names of the reflected bodies that a SPECT is compared with, by LPS axis. By definition."""


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


def neighbours(pair: Prepared, best: Fit) -> list[FloatArray]:
    """The pose moved along the column by one vertebra and by two, up and down."""
    moved = []
    for shift in LEVEL_SHIFTS_MM:
        change = along_column(pair.column.line_mm, field_mm(pair, best), shift)
        if change is None:
            change = affine(np.eye(3), np.array([0.0, 0.0, shift]))
        moved.append(change @ best.spect_to_ct)
    return moved


def beside(pair: Prepared, best: Fit) -> list[Fit]:
    """The neighbouring levels as they are, where every fit from them led back to the best."""
    poses = [
        pose
        for pose, shift in zip(neighbours(pair, best), LEVEL_SHIFTS_MM, strict=True)
        if abs(shift) == USUAL_LEVEL_MM
    ]
    fits = [measure(pair.smooth, pair.coarse, pose, COARSE) for pose in poses]
    return [fit for fit in fits if fit is not None]


def distance(one: Fit, other: Fit) -> float:
    """How far two fits move the bones apart, root mean square, mm."""
    return pose_distance(one.spect_to_ct, other.spect_to_ct, other.centre_mm, other.radius_mm)


def rival_of(pair: Prepared, final: Fit, maps: SampledMaps, fit: Fit) -> Rival:
    """Compare another fit, on maps that may be reversed, with the solution."""
    share = fit.explained / max(final.explained, 1e-6)
    ours, theirs = (pair.fine, final.spect_to_ct), (maps, fit.spect_to_ct)
    gain = margin(pair.spect, ours, theirs, COMPARE)
    if gain is None:
        far = FAR_MARGIN if share < FAR_SHARE else 0.0
        return Rival(distance(fit, final), share, far, far)
    return Rival(distance(fit, final), share, gain.margin, gain.log10_ratio)


def reflected_rival(
    pair: Prepared, final: Fit, lps: int, others: Sequence[Fit] = ()
) -> Rival | None:
    """Best fit against the CT reversed along an axis of the patient; None without overlap.

    Parameters
    ----------
    pair
        Prepared images.
    final
        The solution, near which the reversed CT is fitted.
    lps
        The axis, as in `sampling.reflected`.
    others
        Positions that may as well be the right ones: the reversed CT is fitted near them too.
    """
    coarse, fine = reflected(pair.coarse, lps), reflected(pair.fine, lps)
    fits = []
    for start in (final, *others):
        near = refine_pose(pair.smooth, coarse, start.spect_to_ct, QUICK)
        if near is not None:
            fits.append(refine_pose(pair.spect, fine, near.spect_to_ct, MIRROR))
    found = [fit for fit in fits if fit is not None]
    if not found:
        return None
    return rival_of(pair, final, fine, max(found, key=lambda fit: fit.explained))
