"""Maximum intensity projections of the SPECT: what the whole scan shows, also beyond the joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import apply_matrix
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.report.colour import inverse_grey, to_rgb
from CTSpectSpineLib.report.drawing import Panel
from CTSpectSpineLib.report.sampling import Surface, plane
from CTSpectSpineLib.report.views import Case, level_names

_STEP_MM = 4.0
"""Distance of the rays' samples, mm. Judgement: SPECT voxels are about as large, and its blur
twice as wide, so that no maximum falls between samples."""
_ROWS = (440, 800)
"""Least and largest height, pixels. Judgement: that of the slices beside it; a spine is taller."""
_PIXEL_MM = 1.0
"""Pixel by which the height is chosen between them, mm. Judgement: a quarter of a SPECT voxel."""


@dataclass(frozen=True)
class _Field:
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


def projections(case: Case) -> list[Panel]:
    """The SPECT projected from the front and from the left side, in inverse grey.

    The patient's right is on the left of the first, anterior on the left of the second.
    """
    field = _field(case)
    height = float(field.high[2] - field.low[2])
    pixel = height / float(np.clip(height / _PIXEL_MM, *_ROWS))
    return [
        _panel(case, field, axis, pixel, title)
        for axis, title in ((0, "Whole SPECT, from the front"), (1, "Whole SPECT, from the side"))
    ]


def _field(case: Case) -> _Field:
    course = case.course
    corners = apply_matrix(np.asarray(np.linalg.inv(case.ct_to_spect)), case.spect.corners_mm)
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
    ratio = np.nan_to_num(case.spect(points, case.ct_to_spect))
    return _Field(ratio, low, np.array([axis[-1] for axis in grid]))


def _panel(case: Case, field: _Field, axis: int, pixel: float, title: str) -> Panel:
    """One projection; `axis` (0 left, 1 posterior) runs from left to right in the picture."""
    course = case.course
    middle = course.origin + 0.5 * (field.low + field.high) @ course.axes
    size = field.high - field.low
    surface: Surface = plane(
        middle, course.axes[axis], -course.axes[2], (float(size[axis]), float(size[2])), pixel
    )
    brightest = field.ratio.max(axis=1 if axis == 0 else 2)[::-1]
    rows, columns = surface.shape
    factors = (rows / brightest.shape[0], columns / brightest.shape[1])
    shown = ndimage.zoom(brightest, factors, order=3, mode="nearest", grid_mode=False)
    return Panel(
        to_rgb(inverse_grey(shown[:rows, :columns], case.highest)),
        surface,
        title,
        names=level_names(case, surface, "edge"),
        light=True,
    )
