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


_NEAR_HIGHEST = 0.5
"""Share of the highest value of a ray, as read linearly, from which its samples are read by a
spline. Numerical: a spline exceeds what is read linearly by less."""
_SLAB = 16
"""Layers of the grid that are read at a time. Numerical: bounds the memory."""


@dataclass(frozen=True)
class WholeScan:
    """The SPECT on a grid along the axes of the spine.

    Attributes
    ----------
    ratio
        Multiples of the reference, shape (superior, posterior, left); 0 outside the SPECT. Far
        below the highest value of their row and column they are read linearly.
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
    layer = course.origin + grid[1][:, None, None] * posterior + grid[0][None, :, None] * left
    slabs = [
        _slab(spect, ct_to_spect, layer + grid[2][n : n + _SLAB, None, None, None] * superior)
        for n in range(0, len(grid[2]), _SLAB)
    ]
    ratio = np.concatenate(slabs)
    return WholeScan(ratio, low, np.array([axis[-1] for axis in grid]))


def _slab(spect: Sampler, ct_to_spect: FloatArray, points: FloatArray) -> FloatArray:
    """The SPECT at some layers of points, precise where a projection can show it."""
    ratio = np.nan_to_num(spect.linear(points, ct_to_spect))
    highest = np.minimum(ratio.max(axis=1, keepdims=True), ratio.max(axis=2, keepdims=True))
    shown = (ratio > 0.0) & (ratio >= _NEAR_HIGHEST * highest)
    ratio[shown] = np.nan_to_num(spect(points[shown], ct_to_spect))
    return ratio


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
