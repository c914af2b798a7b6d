"""Whether the SPECT shows a body of the CT's size: how much it would stretch to fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.geometry import affine, apply_matrix
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.compare import margin
from CTSpectSpineLib.registration.mixture import project_out
from CTSpectSpineLib.registration.prepare import SpectMap
from CTSpectSpineLib.registration.refine import (
    FEWEST_POINTS,
    ROTATION_RADIUS_MM,
    Fit,
    Level,
    State,
    evaluate,
    refine_pose,
    turning,
)
from CTSpectSpineLib.registration.sampling import Placed, SampledMaps, choose_points

MOST = 0.12
"""Largest strain that is followed. Judgement: farther from a converged pose the step means
nothing."""
STEPS = 3
"""Gauss-Newton steps. Numerical: strains of 5 % are reached to a tenth of that."""


SIZES = (0.98, 1.02)
"""Sizes of the body that are tried against the CT's, where a cut field spoils the stretch.
Judgement: most scanners and postures change it by less."""


@dataclass(frozen=True)
class Strain:
    """Relative stretch along x, y, z that the fit wants, and its standard errors, shape (3,)."""

    stretch: FloatArray
    error: FloatArray


def strain_at(spect: SpectMap, maps: SampledMaps, pose: FloatArray, level: Level) -> Strain | None:
    """Stretch the SPECT about a pose until it fits best; None where too little is seen.

    The pose moves along. The standard errors come from the scatter of the patches, as in `Fit`.
    """
    points = choose_points(spect, level.points, Placed(maps, pose))
    if len(points.values) < FEWEST_POINTS:
        return None
    start = apply_matrix(pose, points.positions_mm)
    arm = start - start.mean(axis=0)
    total = np.zeros(9)
    covariance = np.zeros((9, 9))
    for _ in range(STEPS):
        state = evaluate(maps, points, pose, _displacement(arm, total))
        if state is None:
            return None
        hessian, pulls = _system(state, arm[state.inside])
        inverse = np.linalg.pinv(hessian, hermitian=True)
        total = total + inverse @ pulls.sum(axis=0)
        total[6:] = np.clip(total[6:], -MOST * ROTATION_RADIUS_MM, MOST * ROTATION_RADIUS_MM)
        covariance = inverse @ (pulls.T @ pulls) @ inverse
    error = np.sqrt(np.maximum(np.diag(covariance)[6:], 0.0))
    return Strain(total[6:] / ROTATION_RADIUS_MM, np.asarray(error / ROTATION_RADIUS_MM))


def resized_margin(
    spect: SpectMap, maps: SampledMaps, fit: Fit, moving: Level, comparing: Level
) -> float | None:
    """How clearly the size as it is fits better than the best of `SIZES`, in standard errors.

    Parameters
    ----------
    spect, maps
        Prepared maps at full resolution.
    fit
        The solution.
    moving, comparing
        Effort of the fits of the other sizes, and of their comparison.

    Returns
    -------
    Negative where another size fits better; None where none can be compared.
    """
    margins = []
    for size in SIZES:
        change = affine(size * np.eye(3), (1.0 - size) * fit.centre_mm)
        other = refine_pose(spect, maps, change @ fit.spect_to_ct, moving)
        if other is not None:
            ours, theirs = (maps, fit.spect_to_ct), (maps, other.spect_to_ct)
            margins.append(margin(spect, ours, theirs, comparing))
    return min((found.margin for found in margins if found is not None), default=None)


def _displacement(arm: FloatArray, steps: FloatArray) -> FloatArray:
    """Movement of points at `arm` (n, 3) by translation, small rotation and stretch."""
    turn, stretch = steps[3:6] / ROTATION_RADIUS_MM, steps[6:] / ROTATION_RADIUS_MM
    return np.asarray(steps[:3] + np.cross(turn, arm) + stretch * arm)


def _system(state: State, arm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Matrix (9, 9) and the patches' pulls (patches, 9)."""
    scale = state.scale
    weight = state.weight(scale)
    slope = state.slope()
    short = arm.T / ROTATION_RADIUS_MM
    columns = np.concatenate([slope, turning(short, slope), short * slope])
    jacobian = project_out(state.points, state.mixture, weight, columns)
    hessian = state.points.squares(jacobian, weight).sum(axis=0)
    return np.asarray(hessian), state.points.patch_sum(jacobian * (weight * state.residual))
