"""Resolution of a gamma camera with a parallel-hole collimator, as a function of distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.model import FloatArray

_LEAD_PER_MM = 2.71
"""Attenuation of lead at 140 keV, per mm: 2.39 cm²/g (NIST XCOM, 2010) times 11.35 g/cm³."""
_LEAST_SIGMA_PIXELS = 0.05
"""Standard deviation, in pixels, below which a response is one pixel. Numerical."""
_NOTHING = 1e-12
"""Weight that is left out. Numerical: denormal numbers would make the products 20 times slower."""


@dataclass(frozen=True)
class Collimator:
    """A parallel-hole collimator with its detector.

    Attributes
    ----------
    hole_mm, length_mm
        Diameter of the holes between their flat sides, and their length.
    to_crystal_mm
        From the collimator's back to the plane in the crystal where photons are seen.
    intrinsic_fwhm_mm
        Resolution of the detector itself.
    """

    hole_mm: float
    length_mm: float
    to_crystal_mm: float
    intrinsic_fwhm_mm: float

    def fwhm_mm(self, distance_mm: FloatArray | float) -> FloatArray:
        """FWHM of the whole at distances from the collimator's face.

        Anger's formula: the holes are shorter by two mean free paths, as their ends let photons
        through (Cherry, Sorenson and Phelps, Physics in Nuclear Medicine, 4th ed., 2012, ch. 14).
        """
        length = self.length_mm - 2.0 / _LEAD_PER_MM
        reach = length + np.maximum(np.asarray(distance_mm, dtype=float), 0) + self.to_crystal_mm
        return np.asarray(np.hypot(self.hole_mm * reach / length, self.intrinsic_fwhm_mm))


def blur_matrices(
    fwhm_mm: FloatArray, done_mm2: float, pixel_mm: float, count: int
) -> NDArray[np.float32]:
    """Gaussian blur of lines of pixels, each seen as a point in its middle, on detector pixels.

    Parameters
    ----------
    fwhm_mm
        One for each line, shape (n,).
    done_mm2
        Variance of what has blurred the lines before; it is taken off.
    pixel_mm, count
        Size and number of the pixels.

    Returns
    -------
    array
        Symmetric matrices, shape (n, count, count). What falls beside the detector is lost.
    """
    variance = np.maximum((fwhm_mm / FWHM_PER_SIGMA) ** 2 - done_mm2, 0.0)
    sigma = np.maximum(np.sqrt(variance) / pixel_mm, _LEAST_SIGMA_PIXELS)
    edges = np.arange(-count, count) + 0.5
    cumulated = special.ndtr(edges[None, :] / sigma[:, None])
    kernel = np.diff(cumulated, axis=1).astype(np.float32)  # offsets 1 - count to count - 1
    kernel[kernel < _NOTHING] = 0.0
    rows = np.lib.stride_tricks.sliding_window_view(kernel, count, axis=1)
    return np.ascontiguousarray(rows[:, ::-1])
