"""Whether the patient moved during the scan: by how much more the SPECT is smeared along one way.

A SPECT that shows the patient in two positions is, to second order, one position smeared by the
covariance of the positions. That covariance is found as the pose is: what the model predicts is
expanded by place, and its second derivatives are fitted to what is left. A wrong resolution smears
all ways alike, so only what one way has more than the others speaks of motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.mixture import project_out
from CTSpectSpineLib.registration.prepare import SpectMap
from CTSpectSpineLib.registration.refine import Level, State, begin, pose_derivatives
from CTSpectSpineLib.registration.sampling import SampledMaps, sample

STEP_MM = 8.0
"""Step of the second derivatives, mm. Judgement: less than the resolution of the SPECT, and half of
the motion that is looked for."""
USUAL_MM2 = 10.0
"""What the response of a camera that turns has more from front to back than side to side, mm².
Measured on simulated projections without motion: 3 to 13, of one patient 23; at most 7 along any
other way."""
_PAIRS = ((0, 1), (0, 2), (1, 2))
"""Axes of the elements of a covariance beside its diagonal. By definition."""


@dataclass(frozen=True)
class Smear:
    """How the SPECT is smeared beyond its resolution.

    Attributes
    ----------
    covariance_mm2
        Of the smear, LPS of the CT, shape (3, 3); negative where the resolution is better than
        assumed.
    """

    covariance_mm2: FloatArray

    @property
    def along(self) -> FloatArray:
        """Unit vector of the largest smear, LPS, shape (3,)."""
        return np.asarray(np.linalg.eigh(self.covariance_mm2)[1][:, 2])

    @property
    def variance_mm2(self) -> float:
        """What the largest smear has more than the second, mm²."""
        values = np.linalg.eigvalsh(self.covariance_mm2)
        return float(values[2] - values[1])

    @property
    def unusual_mm2(self) -> float:
        """The same beyond what cameras have more from front to back, mm²."""
        return self.variance_mm2 - USUAL_MM2 * float(self.along[1] ** 2)


def smear_at(spect: SpectMap, maps: SampledMaps, pose: FloatArray, level: Level) -> Smear | None:
    """Fit the smear at a pose; None where too little is seen.

    Parameters
    ----------
    spect, maps
        Prepared maps of the level.
    pose
        The solution, 4×4, SPECT to CT points.
    level
        Resolution; `points` bounds the effort.
    """
    begun = begin(spect, maps, pose, level)
    if begun is None:
        return None
    _, state = begun
    weight = state.weight(state.scale)
    # The pose may move along, so that a shift is not taken for a smear.
    columns = np.concatenate(
        [_by_covariance(state, maps), pose_derivatives(state, state.mapped_mm.mean(axis=0))]
    )
    jacobian = project_out(state.points, state.mixture, weight, columns)
    hessian = state.points.squares(jacobian, weight).sum(axis=0)
    pull = state.points.patch_sum(jacobian * (weight * state.residual)).sum(axis=0)
    found = (np.linalg.pinv(hessian, hermitian=True) @ pull)[:6]
    covariance = np.diag(found[:3])
    for (a, b), value in zip(_PAIRS, found[3:], strict=True):
        covariance[a, b] = covariance[b, a] = value
    return Smear(covariance)


def _by_covariance(state: State, maps: SampledMaps) -> FloatArray:
    """Derivatives of the model by the covariance: xx, yy, zz, xy, xz, yz; shape (6, n)."""
    own = [_curvature(state, maps, way) for way in np.eye(3)]
    mixed = [
        _curvature(state, maps, (np.eye(3)[a] + np.eye(3)[b]) / np.sqrt(2.0))
        - 0.5 * (own[a] + own[b])
        for a, b in _PAIRS
    ]
    return np.stack([*(0.5 * value for value in own), *mixed])


def _curvature(state: State, maps: SampledMaps, way: FloatArray) -> FloatArray:
    """Second derivative of the model along a unit vector, per mm², shape (n,); 0 at the edge."""
    total = -2.0 * state.mixture.predicted
    known = np.ones(len(total), dtype=bool)
    shares = state.points.at_points(state.mixture.coefficients.T)
    for sign in (-1.0, 1.0):
        there = sample(maps, state.mapped_mm + sign * STEP_MM * way)
        inside = there.inside
        total[inside] += shares[0, inside] + (shares[1:, inside] * there.values).sum(axis=0)
        known &= inside
    return np.where(known, total / STEP_MM**2, 0.0)
