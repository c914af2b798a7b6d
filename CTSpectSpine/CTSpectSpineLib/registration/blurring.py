"""Gaussian blur of small volumes, in mm."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.blocks import Float32Array

_TRUNCATED = 3.0
"""Standard deviations at which a blur ends. Numerical: 0.3 % lie beyond."""


def blur(
    array: Float32Array,
    fwhm_mm: float,
    spacing_mm: FloatArray,
    voxel_blur: bool = True,
    outside: Literal["nearest", "constant"] = "nearest",
) -> Float32Array:
    """Gaussian blur of a volume ``[k, j, i]``.

    Parameters
    ----------
    array
        The volume.
    fwhm_mm
        Full width at half maximum; 0 leaves the volume as it is.
    spacing_mm
        Voxel size along i, j, k.
    voxel_blur
        Whether `fwhm_mm` is to include the blur of averaging over a voxel.
    outside
        ``"nearest"`` continues the volume beyond its faces, ``"constant"`` puts zeros there.
    """
    return ndimage.gaussian_filter(
        array,
        sigma=_sigmas(fwhm_mm, spacing_mm, voxel_blur),
        mode=outside,
        truncate=_TRUNCATED,
    )


def blurred_ones(shape: tuple[int, ...], fwhm_mm: float, spacing_mm: FloatArray) -> Float32Array:
    """What `blur` makes of a volume of ones with zeros beyond its faces, shape (k, j, i)."""
    lines = (
        ndimage.gaussian_filter1d(
            np.ones(size, dtype=np.float32), sigma, mode="constant", truncate=_TRUNCATED
        )
        for size, sigma in zip(shape, _sigmas(fwhm_mm, spacing_mm, True), strict=True)
    )
    k, j, i = lines
    return np.asarray(k[:, None, None] * j[:, None] * i)


def _sigmas(fwhm_mm: float, spacing_mm: FloatArray, voxel_blur: bool) -> list[float]:
    """Standard deviations of a blur in voxels along k, j, i."""
    variance = (fwhm_mm * (1.0 / FWHM_PER_SIGMA)) ** 2 - voxel_blur * spacing_mm**2 / 12.0
    sigma: FloatArray = np.sqrt(np.maximum(variance, 0.0)) / spacing_mm
    return [float(size) for size in sigma[::-1]]
