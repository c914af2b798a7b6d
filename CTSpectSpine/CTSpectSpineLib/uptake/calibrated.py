"""A family of responses as a site measured it with a phantom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from CTSpectSpineLib.calibration_file import CalibratedResponse
from CTSpectSpineLib.uptake.resolution import View, Width, estimate_width
from CTSpectSpineLib.uptake.response import Family

_PATIENT_SD = 0.06
"""Relative difference of a response's width between a patient and a phantom. Judgement: depth,
breathing and what moves; about the 5 % by which patients' own estimates err."""


def calibrated(
    view: View, usual: Family, measured: CalibratedResponse, fwhm_mm: float | None
) -> tuple[Family, Width]:
    """The family with the measured shape, and the width in this patient.

    The width is estimated with the measured shape and combined with the measured width, each by its
    error; where it cannot be estimated, the measured one is taken.

    Parameters
    ----------
    view
        The patient's SPECT around the spine.
    usual
        The family as it is usually.
    measured
        What the phantom showed.
    fwhm_mm
        Resolution as given, which is then taken; None to combine.
    """
    shaped = replace(usual, lift=measured.lift, bend=0.0, lift_sd=measured.lift_sd)
    if fwhm_mm is not None:
        return shaped, Width(fwhm_mm / shaped.response(1.0).width_mm)
    own = estimate_width(view, shaped)
    sd = float(np.hypot(measured.fwhm_sd_mm / measured.fwhm_mm, _PATIENT_SD))
    if not own.known:
        return replace(shaped, width_sd=sd), Width(measured.fwhm_mm, own.misfit)
    weights = np.array([sd**-2, usual.width_sd**-2])
    logs = np.log([measured.fwhm_mm, own.fwhm_mm])
    width = float(np.exp(weights @ logs / weights.sum()))
    return replace(shaped, width_sd=float(weights.sum() ** -0.5)), Width(width, own.misfit)
