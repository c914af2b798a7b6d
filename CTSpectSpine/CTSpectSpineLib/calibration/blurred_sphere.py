"""What a sphere looks like through a response that is a sum of Gaussians."""

from __future__ import annotations

import numpy as np
from scipy import special

from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.response import Response

_NEAR = 1e-3
"""Distance over the width below which a sphere's centre is meant. Numerical: the quotient there is
0 / 0."""


def blurred_sphere(
    distance_mm: FloatArray, radius_mm: float, response: Response, voxel_mm: FloatArray
) -> FloatArray:
    """A sphere of uptake 1 at distances from its centre.

    A uniform sphere through a Gaussian in closed form (Kessler, Ellis and Eden, J Comput Assist
    Tomogr 1984;8:514), for each Gaussian of the response; voxels average over their size.

    Parameters
    ----------
    distance_mm
        Distances, any shape.
    radius_mm
        Radius of the sphere.
    response
        The response.
    voxel_mm
        Voxel sizes, shape (3,).
    """
    box = float(np.mean(np.square(voxel_mm))) / 12.0
    seen = np.zeros(np.shape(distance_mm))
    for weight, fwhm_mm in response.gaussians():
        sigma = float(np.sqrt((fwhm_mm / FWHM_PER_SIGMA) ** 2 + box))
        seen += weight * _gaussian_sphere(np.asarray(distance_mm), radius_mm, sigma)
    return seen


def _gaussian_sphere(distance: FloatArray, radius: float, sigma: float) -> FloatArray:
    r = np.maximum(distance, _NEAR * sigma)
    inner, outer = (radius - r) / sigma, (radius + r) / sigma
    whole = 0.5 * (special.erf(inner / np.sqrt(2.0)) + special.erf(outer / np.sqrt(2.0)))
    edge = np.exp(-0.5 * inner**2) - np.exp(-0.5 * outer**2)
    return np.asarray(whole - sigma / (r * np.sqrt(2.0 * np.pi)) * edge)
