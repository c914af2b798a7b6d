"""The corrected uptake of all regions of the spine, and its errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.model import FloatArray, SpineJoints
from CTSpectSpineLib.uptake.observed_spine import ObservedSpine
from CTSpectSpineLib.uptake.posterior import Posterior, build_prior, condition_number, solve
from CTSpectSpineLib.uptake.resolution import Systems
from CTSpectSpineLib.uptake.uncertainty import Noise, error_model

_PASSES = 2
"""Numerical: the observations' errors depend only a little on the uptake that is solved for."""


@dataclass(frozen=True)
class Solution:
    """Corrected uptake of the regions.

    Attributes
    ----------
    posterior
        True means in units of ``unit``.
    unit
        First estimate of the reference uptake, SPECT units.
    noise
        The SPECT's noise.
    condition_number
        Of the bones' transfer matrix, before regularisation.
    """

    posterior: Posterior
    unit: float
    noise: Noise
    condition_number: float

    @property
    def corrected(self) -> FloatArray:
        """True means in SPECT units, shape (regions,)."""
        return self.posterior.true * self.unit


def solve_spine(
    spine: ObservedSpine, systems: Systems, width: float, joints: SpineJoints, error_mm: float
) -> Solution:
    """Solve for the uptake of all regions.

    Parameters
    ----------
    spine, systems, width
        The regions, and how they are seen through the point spread.
    joints
        The joints, for their centres.
    error_mm
        Root mean square displacement at the joints by misregistration.
    """
    view, omega = spine.view, systems.omega(width)
    observed = view.observed()
    first = view.plain(omega)
    unit = _unit(spine, first, observed)
    centres = np.array([j.centre_mm for j in joints.joints if j.centre_mm is not None])
    if not len(centres):
        centres = np.array([frame.centre_mm for frame in joints.frames.values()])
    model, noise = error_model(spine, systems, width, first, unit, centres, error_mm)
    true = first / unit
    for _ in range(_PASSES):
        prior = build_prior(view.partition, true)
        posterior = solve(omega, observed / unit, model.covariance(true), prior, model.common)
        true = posterior.true
    return Solution(posterior, unit, noise, condition_number(omega, view.partition))


def _unit(spine: ObservedSpine, first: FloatArray, observed: FloatArray) -> float:
    """About the reference uptake: the scale of priors and errors."""
    for kinds in (("body",), ("posterior", "sacrum", "hip"), ("disc_bone", "facet_bone")):
        numbers = spine.partition.of_kind(*kinds)
        if numbers and np.median(first[numbers]) > 0.0:
            return _short(float(np.median(first[numbers])))
    largest = float(np.abs(observed).max())
    return largest if largest > 0.0 else 1.0


def _short(value: float) -> float:
    """Six digits: a scale needs no more, and so it is the same with any number of threads."""
    return float(f"{value:.6g}")
