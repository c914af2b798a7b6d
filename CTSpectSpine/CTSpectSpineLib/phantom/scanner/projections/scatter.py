"""Scattered photons in the main energy window, and what a second window says of them.

The scatter is projected from an effective source (Frey and Tsui, IEEE NSS 1996:1082): photons
leave the activity in all directions, are weakened as in water, and set out anew from where they
met an electron, towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.phantom.scanner.projections.maps import WATER_PER_MM
from CTSpectSpineLib.phantom.scanner.projections.projector import Volume


@dataclass(frozen=True)
class ScatterWindow:
    """An estimate of the scatter from further energy windows.

    Attributes
    ----------
    counts
        Counts in the further windows for each scattered photon in the main one.
    bias
        Estimate over truth.
    filter_fwhm_mm
        Smoothing of the estimate.
    """

    counts: float
    bias: float
    filter_fwhm_mm: float


def scatter_source(activity: Volume, per_mm: Volume, voxel_mm: float, share: float) -> Volume:
    """Source from which scattered photons seem to come.

    Parameters
    ----------
    activity, per_mm
        Activity and attenuation coefficients.
    voxel_mm
        Edge of the voxels.
    share
        Share of the scattered photons that the main window accepts, in proportion to photons of
        the activity that fly towards the camera.

    Returns
    -------
    array
        In the activity's unit.
    """
    size = [fft.next_fast_len(2 * n - 1, real=True) for n in activity.shape]
    axes = [np.minimum(np.arange(n), n - np.arange(n)) * voxel_mm for n in size]
    y, x, z = np.meshgrid(*axes, indexing="ij", sparse=True, copy=False)
    distance2 = (y**2 + x**2 + z**2).astype(np.float32)
    distance2[0, 0, 0] = 1.0
    kernel = np.exp(-WATER_PER_MM * np.sqrt(distance2)) / (4 * np.pi * distance2)
    kernel *= voxel_mm**3
    kernel[0, 0, 0] = (3 / (4 * np.pi)) ** (1 / 3) * voxel_mm  # a ball of the voxel's volume
    spectrum = fft.rfftn(kernel) * fft.rfftn(activity, s=size)
    spread = fft.irfftn(spectrum, s=size)[tuple(slice(n) for n in activity.shape)]
    return np.asarray(np.maximum(spread, 0) * per_mm * np.float32(share), dtype=np.float32)


def window_estimate(
    scatter: Volume, window: ScatterWindow, pixel_mm: float, rng: np.random.Generator
) -> Volume:
    """Noisy estimate of the scatter in the main window.

    Parameters
    ----------
    scatter
        Expected scattered counts, ``[view, across, z]``.
    window
        The further windows.
    pixel_mm
        Edge of the pixels.
    rng
        Source of the Poisson noise.
    """
    seen = rng.poisson(scatter.astype(np.float64) * window.counts)
    estimate = (seen * (window.bias / window.counts)).astype(np.float32)
    sigma = window.filter_fwhm_mm / FWHM_PER_SIGMA / pixel_mm
    return np.asarray(ndimage.gaussian_filter(estimate, (0, sigma, sigma), mode="nearest"))
