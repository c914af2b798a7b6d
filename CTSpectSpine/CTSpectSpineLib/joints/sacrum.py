"""The upper endplate of the sacrum, seen from the last vertebra above it."""

from __future__ import annotations

import numpy as np

from CTSpectSpineLib.joints.frames import (
    ELLIPSE_SHARE,
    Canal,
    Fit,
    angle_deg,
    axes_from,
    plane_in_lps,
    trimmed_plane,
    unit,
)
from CTSpectSpineLib.joints.shapes import STEP_MM, Shape
from CTSpectSpineLib.model import FloatArray

_MAX_GAP_MM = 30.0
"""How far below the endplate above the sacrum is searched for, mm. Judgement: nearly three times
the height of a lumbar disc."""
_MAX_TILT_DEG = 45.0
"""Largest angle between the S1 endplate and the axis of the vertebra above, degrees. Judgement:
leaves room for a steep sacrum. Measured on correct labels of one patient and two phantoms: 13 to 19
degrees."""
_BODY_HEIGHT_MM = 28.0
"""Height of the body of S1, mm. Judgement: slightly more than that of lumbar bodies."""
_MAX_BORDER_SHARE = 0.3
"""Share of the endplate's columns on the border of the image, above which it counts as cut off.
Judgement: as for the other endplates in `frames`."""


def fit_sacrum(shape: Shape, above: Fit) -> Fit | None:
    """Fit the S1 endplate below a vertebra; None when no sacral bone lies there.

    Columns of sacral bone are followed along the normal of the endplate above; the plane
    through their tops gives the new normal, until both agree. The footprint of the plane gives
    the centre and the posterior wall.
    """
    start = above.bottom.point if above.bottom is not None else above.centre - 14 * above.axes[2]
    # The lumbosacral angle opens to anterior: start with half of its usual 15 degrees.
    tilt = np.radians(7.0)
    normal = unit(np.cos(tilt) * above.axes[2] + np.sin(tilt) * -above.axes[1])
    centre, semi = start, above.semi_axes_mm
    wall = semi[1]
    plane = None
    for _ in range(4):
        axes = axes_from(normal, above.axes[1])
        local = (shape.points - centre) @ axes.T
        tops = _column_tops(local, semi, shape)
        if tops is None:
            return None
        coefficients, _ = trimmed_plane(tops[:, :2], tops[:, 2])
        plane = plane_in_lps(coefficients, centre, axes)
        if angle_deg(plane.normal, above.axes[2]) > _MAX_TILT_DEG:
            return None
        normal = plane.normal
        centre = plane.point
        axes = axes_from(normal, above.axes[1])
        local = (shape.points - centre) @ axes.T
        front, back = _midline_run(local, semi)
        shift = 0.5 * (front + back)
        centre = centre + shift * axes[1]
        wall = back - shift
        semi = (semi[0], float(np.clip(wall, 0.8 * above.semi_axes_mm[1], None)))
    if plane is None:
        return None
    axes = axes_from(normal, above.axes[1])
    canal = Canal(wall, above.canal.depth_mm, above.canal.width_mm, measured=False)
    return Fit(
        level=shape.level,
        centre=centre - 0.5 * _BODY_HEIGHT_MM * axes[2],
        axes=axes,
        semi_axes_mm=semi,
        canal=canal,
        top=plane_in_lps(np.zeros(3), centre, axes),
        bottom=None,
    )


def _column_tops(local: FloatArray, semi: tuple[float, float], shape: Shape) -> FloatArray | None:
    """Topmost voxel of each 3 mm column inside the body ellipse, shape (n, 3)."""
    inside = np.hypot(local[:, 0] / semi[0], local[:, 1] / semi[1]) <= ELLIPSE_SHARE
    inside &= (local[:, 2] < 15.0) & (local[:, 2] > -_MAX_GAP_MM - 10.0)
    if inside.sum() < 60:
        return None
    points, border = local[inside], shape.border[inside]
    columns = np.floor(points[:, :2] / (2 * STEP_MM)).astype(int)
    key = (columns - columns.min(axis=0)) @ np.array([10_000, 1])
    order = np.lexsort((-points[:, 2], key))
    first = order[np.r_[True, np.diff(key[order]) != 0]]
    expected = np.pi * semi[0] * semi[1] * ELLIPSE_SHARE**2 / (2 * STEP_MM) ** 2
    if len(first) < 0.4 * expected or border[first].mean() > _MAX_BORDER_SHARE:
        return None
    return np.asarray(points[first] + np.array([0.0, 0.0, STEP_MM / 4]))


def _midline_run(local: FloatArray, semi: tuple[float, float]) -> tuple[float, float]:
    """Anterior and posterior end of the endplate along the midline, mm."""
    slab = (np.abs(local[:, 0]) <= 4.0) & (np.abs(local[:, 2] + 4.0) <= 3.0)
    reach = 1.6 * semi[1]
    bins = np.arange(-reach, reach + STEP_MM, STEP_MM)
    counts, _ = np.histogram(local[slab, 1], bins=bins)
    filled = counts >= 0.35 * (8.0 / STEP_MM) * (6.0 / STEP_MM)
    middle = len(filled) // 2
    if not filled[middle]:
        return -semi[1], semi[1]
    first = last = middle
    while first > 0 and filled[first - 1]:
        first -= 1
    while last < len(filled) - 1 and filled[last + 1]:
        last += 1
    return float(bins[first]), float(bins[last + 1])
