"""From a SPECT of a sphere phantom to a calibration."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.calibration.find import find_spheres
from CTSpectSpineLib.calibration.fit import SphereFit, at_edge, fit_spheres
from CTSpectSpineLib.calibration.layouts import Layout
from CTSpectSpineLib.calibration_file import CalibratedResponse, Calibration
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.reconstruction import FamilyName, ReconstructionFacts
from CTSpectSpineLib.version import __version__
from CTSpectSpineLib.volumes.volume import Volume

_LEAST_CONTRAST = 2.0
"""Least activity of the spheres over the background. Judgement: below, noise decides the fit; NEMA
NU 2 has 4 or 8."""
_MOST_MISFIT = 0.15
"""Largest misfit. Measured on simulated phantoms: 0.02 to 0.05."""
_RECOVERY_LIFT = 0.5
"""Shape from which a response is taken as one with resolution recovery. Judgement: half-way between
both families' (`uptake.responses`)."""
_LEAST_LIFT_SD, _LEAST_RELATIVE_SD = 0.1, 0.02
"""Least errors of shape and width. Judgement: patients differ from phantoms
in size and depth."""


def calibrate_spheres(
    spect: Volume,
    phantom: Layout,
    *,
    contrast: float | None = None,
    reconstruction: ReconstructionFacts | None = None,
) -> tuple[Calibration, SphereFit]:
    """Calibrate the response with a sphere phantom.

    Parameters
    ----------
    spect
        SPECT of the phantom, acquired and reconstructed as patients are.
    phantom
        How the phantom is built.
    contrast
        True activity concentration of the spheres over that of the background; None where it is not
        known, or there is no background.
    reconstruction
        What is known of the reconstruction; its family is taken, else that of the fitted shape.

    Raises
    ------
    InputError
        If the spheres are not found, or no response fits them.
    """
    name = spect.path.name if spect.path is not None else "the SPECT"
    if contrast is not None and not contrast > 1.0:
        raise InputError(
            f"The contrast {contrast:g} is not above 1: give the activity concentration of the "
            "spheres over that of the background."
        )
    if not np.isfinite(sitk.GetArrayViewFromImage(spect.image)).all():
        raise InputError(
            f"'{name}' holds values that are not numbers (NaN or infinite); export it again."
        )
    pose = find_spheres(spect.image, phantom, name)
    fit = fit_spheres(spect.image, phantom, pose, contrast)
    if at_edge(fit) or fit.misfit > _MOST_MISFIT:
        raise InputError(
            f"No response fits the spheres in '{name}' (misfit {fit.misfit:.0%}, width "
            f"{fit.response.fwhm_mm:.1f} mm): check that it is a {phantom.title}, with all spheres "
            "filled alike, and that the scan has enough counts."
        )
    if fit.contrast < _LEAST_CONTRAST:
        raise InputError(
            f"The spheres in '{name}' hold only {fit.contrast:.1f} times the background's "
            f"activity; fill them with at least {_LEAST_CONTRAST:g} times, better 8 times."
        )
    family: FamilyName = "recovery" if fit.response.lift >= _RECOVERY_LIFT else "no-recovery"
    if reconstruction is not None and reconstruction.family is not None:
        family = reconstruction.family
    response = CalibratedResponse(
        family,
        round(fit.response.fwhm_mm, 3),
        round(max(fit.fwhm_sd_mm, _LEAST_RELATIVE_SD * fit.response.fwhm_mm), 3),
        round(fit.response.lift, 3),
        round(max(fit.lift_sd, _LEAST_LIFT_SD), 3),
    )
    record = {
        "made_by": f"CTSpectSpine {__version__}",
        "phantom": phantom.name,
        "input": {"name": name, "sha256": spect.sha256},
        "contrast": contrast if contrast is not None else _finite(fit.contrast),
        "contrast_given": contrast is not None,
        "misfit": round(fit.misfit, 4),
        "width_at_half_maximum_mm": round(fit.response.width_mm, 2),
        "spheres": [asdict(sphere) for sphere in fit.spheres],
        "reconstruction": None if reconstruction is None else reconstruction.record(),
        "research_use_only": True,
    }
    return Calibration(response, {}, record), fit


def _finite(value: float) -> float | None:
    return round(value, 3) if value < float("inf") else None
