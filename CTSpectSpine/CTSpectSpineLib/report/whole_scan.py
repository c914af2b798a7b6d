"""The whole SPECT on a grid along the axes of the spine, and its projections: plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import apply_matrix
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.report.course import Course
from CTSpectSpineLib.report.sampling import Sampler, Surface, plane

_STEP_MM = 4.0
"""Distance of the rays' samples, mm. Judgement: SPECT voxels are about as large, and its blur
twice as wide, so that no maximum falls between samples."""


@dataclass(frozen=True)
class WholeScan:
    """The SPECT on a grid along the axes of the spine.

    Attributes
    ----------
    ratio
        Multiples of the reference, shape (superior, posterior, left); 0 outside the SPECT.
    low, high
        Ends of the grid in the axes of the course, mm.
    """

    ratio: FloatArray
    low: FloatArray
    high: FloatArray


def whole_scan(spect: Sampler, ct_to_spect: FloatArray, course: Course) -> WholeScan:
    """Read the SPECT on a grid that holds all of it.

    Parameters
    ----------
    spect
        In multiples of the reference.
    ct_to_spect
        4×4 matrix from CT to SPECT points, LPS mm.
    course
        Gives the axes.
    """
    corners = apply_matrix(np.asarray(np.linalg.inv(ct_to_spect)), spect.corners_mm)
    box = (corners - course.origin) @ course.axes.T
    low, high = box.min(axis=0), box.max(axis=0)
    grid = [np.arange(a, b + _STEP_MM, _STEP_MM) for a, b in zip(low, high, strict=True)]
    left, posterior, superior = course.axes
    points = (
        course.origin
        + grid[2][:, None, None, None] * superior
        + grid[1][None, :, None, None] * posterior
        + grid[0][None, None, :, None] * left
    )
    ratio = np.nan_to_num(spect(points, ct_to_spect))
    return WholeScan(ratio, low, np.array([axis[-1] for axis in grid]))


def projected(
    scan: WholeScan, course: Course, axis: int, pixel_mm: float
) -> tuple[Surface, FloatArray]:
    """Maximum intensity projection: its plane through the middle of the scan, and its values.

    Parameters
    ----------
    axis
        Which axis of the course (0 left, 1 posterior) runs from left to right in the picture.
    pixel_mm
        Size of a pixel.

    Returns
    -------
    surface, brightest
        Multiples of the reference, shape (rows, columns).
    """
    middle = course.origin + 0.5 * (scan.low + scan.high) @ course.axes
    size = scan.high - scan.low
    surface = plane(
        middle, course.axes[axis], -course.axes[2], (float(size[axis]), float(size[2])), pixel_mm
    )
    brightest = scan.ratio.max(axis=1 if axis == 0 else 2)[::-1]
    rows, columns = surface.shape
    factors = (rows / brightest.shape[0], columns / brightest.shape[1])
    shown = ndimage.zoom(brightest, factors, order=3, mode="nearest", grid_mode=False)
    return surface, shown[:rows, :columns]
