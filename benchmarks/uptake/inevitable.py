"""What noise and resolution alone make inevitable: the Cramér-Rao bound of each joint's ratio.

Of an unbiased estimate, with the regions' outlines, their evenness, the response and the noise
known. What a prior adds lowers it, what is not known raises it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from benchmarks.uptake.scans import Scanned
from CTSpectSpineLib.uptake.equations import UNEVEN_SD, build_equations, voxel_weights
from CTSpectSpineLib.uptake.first_solution import unit_of
from CTSpectSpineLib.uptake.noise import estimate_noise
from CTSpectSpineLib.uptake.observed_spine import observe_spine
from CTSpectSpineLib.uptake.resolution import near_bone
from CTSpectSpineLib.uptake.response import family
from CTSpectSpineLib.uptake.sampling import spect_field


def inevitable_sd(
    one: Scanned, spect: sitk.Image, family_name: str, fwhm_mm: float
) -> Mapping[str, float]:
    """Joint id to the least standard deviation of its ratio.

    Parameters
    ----------
    one, spect
        The patient and one of its scans, at its true pose.
    family_name, fwhm_mm
        Its response, as FWHM of the point spread.
    """
    spine = observe_spine(spect_field(spect, one.ct_to_spect), one.joints, one.labels)
    if spine is None:
        return {}
    wanted = family(family_name)
    response = wanted.response(fwhm_mm / wanted.response(1.0).width_mm)
    view = spine.view
    profiles = view.profiles(response)
    first = view.first(profiles)
    unit = unit_of(spine.partition, first, view.observed())
    fitted = (profiles @ first).reshape(spine.field.array.shape)
    noise = estimate_noise(spine.field, fitted, near_bone(view.field, view.partition))
    still = np.zeros((fitted.size, 0))
    weights = voxel_weights(spine, noise, profiles)
    equations = build_equations(spine, wanted, response, weights, noise, unit, still)
    parts = spine.partition.parts
    counting = equations.fixed - np.diag([UNEVEN_SD[part.kind] ** 2 for part in parts])
    information = equations.transfer.T @ np.linalg.solve(counting, equations.transfer)
    deviation = np.sqrt(np.diag(np.linalg.inv(information)))
    return {
        part.owner: float(deviation[number])
        for number, part in enumerate(parts)
        if part.kind in ("disc_bone", "facet_bone")
    }
