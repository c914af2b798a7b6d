"""HU of bone and the scanner's part: blur, noise, metal streaks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.phantom.anatomy.canvas import Canvas
from CTSpectSpineLib.phantom.anatomy.metal import streaks
from CTSpectSpineLib.phantom.anatomy.shapes import Box, Field, coverage
from CTSpectSpineLib.phantom.config import SpineConfig

CORTEX_HU = 900.0
"""Cortical shells. Judgement: thin adult cortex before the scanner's blur."""
FWHM_TO_SIGMA = 1 / 2.3548
"""By definition: of a Gaussian, 1 / sqrt(8 ln 2)."""
NOISE_SIGMA = 0.6
"""Correlation of the noise, in voxels. Judgement: slight, as a soft-tissue kernel leaves it."""


def marrow_texture(shape: tuple[int, int, int], rng: np.random.Generator, hu: float) -> Field:
    """Trabecular texture: slightly smoothed noise with the given standard deviation."""
    field = rng.standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(field, 0.8, mode="nearest")
    return np.asarray(smooth * np.float32(hu / max(float(smooth.std()), 1e-6)))


def paint_bone(
    canvas: Canvas,
    box: Box,
    distance: Field,
    marrow: float | Field,
    cortex_mm: float | Field,
    cortex_hu: float = CORTEX_HU,
) -> None:
    """Paint bone with a cortical shell; partial volume at both of its surfaces.

    Parameters
    ----------
    canvas, box
        Where to paint.
    distance
        Signed distance to the bone's surface in the box, mm.
    marrow
        HU inside the shell.
    cortex_mm
        Thickness of the shell.
    cortex_hu
        HU of the shell.
    """
    outer = coverage(distance, canvas.voxel_mm)
    inner = coverage(distance + cortex_mm, canvas.voxel_mm)
    part = canvas.hu[box]
    part *= 1 - outer
    part += (outer - inner) * np.float32(cortex_hu)
    part += inner * marrow


def scan(
    hu: Field, metal: Field | None, config: SpineConfig, spacing: tuple[float, float, float]
) -> NDArray[np.int16]:
    """Blur, streaks beside metal, noise; rounded and clipped to a scanner's range.

    Parameters
    ----------
    hu
        HU before the scanner, ``[k, j, i]``; changed in place.
    metal
        Share of metal per voxel, None where there is none.
    config
        Blur, noise and seed.
    spacing
        Voxel size along i, j, k in mm.

    Returns
    -------
    NDArray
        int16, ``[k, j, i]``.
    """
    for axis, voxel in enumerate(spacing[::-1]):
        sigma = config.blur_mm * FWHM_TO_SIGMA / voxel
        if sigma > 0.15:
            ndimage.gaussian_filter1d(hu, sigma, axis=axis, output=hu, mode="nearest", truncate=3.0)
    rng = np.random.default_rng([config.seed, 5])
    impulse = np.zeros(9)
    impulse[4] = 1.0
    kernel = ndimage.gaussian_filter1d(impulse, NOISE_SIGMA)
    gain = np.float32(config.noise_hu / float((kernel**2).sum()))
    result = np.empty(hu.shape, dtype=np.int16)
    for k, plane in enumerate(hu):
        # Slightly correlated within the slice, as reconstruction kernels leave it.
        noise = rng.standard_normal(plane.shape, dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, NOISE_SIGMA, mode="wrap")
        noisy = plane + noise * gain
        if metal is not None and metal[k].any():
            noisy += streaks(metal[k], spacing[:2], config.seed)
        result[k] = np.rint(np.clip(noisy, -1024, 3071)).astype(np.int16)
    return result
