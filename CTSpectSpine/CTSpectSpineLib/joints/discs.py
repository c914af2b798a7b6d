"""Disc space and endplate bands between two height maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import largest_piece
from CTSpectSpineLib.joints.frames import trimmed_plane
from CTSpectSpineLib.joints.label_volume import Occupancy
from CTSpectSpineLib.joints.motion_segment import STEP_MM, Pair
from CTSpectSpineLib.model import BoolArray, FloatArray

BAND_MM = 4.0
"""Depth of the endplate bands below either surface of a disc, mm. Judgement: the endplate with the
bone whose uptake stands for the disc, no deeper than half of the blur of bone SPECT (8 to 12
mm)."""
MIN_LAYER_MM = 1.5
"""Least height of a disc space, mm. Judgement: more than one voxel, so that a collapsed disc keeps
one."""

_SEARCH = 1.35
"""Ellipse in which an endplate is searched for, relative to the axes of the body ellipse.
Judgement: endplates are squarer than ellipses. Measured on correct labels of three patients: the
area of an endplate is 0.9 to 1.5 times that of the ellipse."""
_SMOOTH = 5
"""Edge of the median filter of height maps, columns of 1 mm. Numerical: removes the steps of
voxels."""
_LOOK_ABOVE_MM = 5.0
"""Bone higher than this above mid-disc is ignored, mm. Judgement: rims and uncinate processes of
the vertebra below may reach past mid-disc, its endplate does not."""
_MAX_ABOVE_PLANE_MM = 3.0
"""Columns that rise farther above the plane of an endplate do not belong to it, mm. Judgement:
uncinate processes and osteophytes do. Measured on correct labels of three patients: 99 % of the
inner columns lie within 1.8 mm in half of the endplates, within 3.4 mm in 95 % of them."""
_MAX_BELOW_PLANE_MM = 8.0
"""The same below the plane, in its middle part, mm. Judgement: deeper than a concave endplate or a
Schmorl node. Measured on correct labels of three patients: 2.6 mm in 95 % of the endplates."""
_CONCAVE_PART = 0.7
"""Middle part of the body ellipse, by its axes, where an endplate may be concave. Judgement: the
bony rim outside it is flat."""
_BULGE_MM = 0.4
"""How far a disc reaches beyond the mean outline of its endplates, mm. Judgement: the annulus
bulges a little, by less than half a voxel."""
_CORNER_SHARE = 0.65
"""Radius of the disk that rounds a disc's outline, in half depths of the body. Judgement: it
removes the posterolateral corners, where pedicles join the footprints, and keeps the rest."""
_RIM_MM = 4.0
"""Breadth of the rim whose heights are taken from further inside, mm. Judgement: there the labels'
edges curve away from the disc."""
_ROUNDING_MM = 1.5
"""Radius of a disc's outer edge, mm. Judgement: the annulus is round, and most discs are higher
than twice this."""
_MIN_COVER = 0.4
"""Least share of the body ellipse that an endplate covers. Judgement: less does not say where it
lies. Measured on correct labels of three patients and six phantoms: those found cover 0.89 and
more."""
_FUSED_MM = 0.5
"""Disc spaces lower than this are taken as fused, mm. Judgement: half a voxel."""
_MIN_FACING_SHARE = 0.7
"""Share of the body ellipse over which endplates face each other, below which labels are doubted.
Measured on correct labels of three patients and six phantoms: 0.87 to 1.38."""
_MAX_FILLED = 0.12
"""Share of the disc space filled with bone, above which labels are doubted. Measured on correct
labels of three patients and six phantoms: up to 0.09."""
_MAX_HEIGHT_MM = 25.0
"""Endplates farther apart than this have no disc between them, mm. Judgement: nearly twice the
highest disc. Measured on correct labels of three patients and six phantoms: 3.6 to 14.1 mm."""


@dataclass(frozen=True)
class Disc:
    """One disc on the grid of its pair.

    Attributes
    ----------
    space, band_upper, band_lower
        Masks ``[s, p, l]``: between the surfaces, and the bone within 4 mm of each.
    centre
        Centroid of the disc space, LPS mm.
    height_mm
        Median distance of the surfaces.
    flags
        Sentences on doubts.
    """

    space: BoolArray
    band_upper: BoolArray
    band_lower: BoolArray
    centre: FloatArray
    height_mm: float
    flags: tuple[str, ...]


def find_disc(pair: Pair) -> Disc | str:
    """Find the disc of a pair, or say in a sentence why it cannot be located."""
    upper_name, lower_name = pair.upper.level, pair.lower.level
    # The upper vertebra is turned upside down: both surfaces are then "tops".
    lower = _surface(pair.lower_bone, pair)
    upper = _surface(pair.upper_bone[::-1], pair)
    missing = [name for name, s in ((upper_name, upper), (lower_name, lower)) if s is None]
    if upper is None or lower is None:
        return f"the endplate of {' and '.join(missing)} facing the disc is not in the label map"
    upper_height, upper_footprint = -upper[0], upper[1]
    lower_height, lower_footprint = lower
    both = upper_footprint & lower_footprint
    gap = upper_height - lower_height
    height = float(np.median(gap[both])) if both.any() else float(np.median(gap))
    if height > _MAX_HEIGHT_MM:
        return f"{upper_name} and {lower_name} lie {height:.0f} mm apart, too far for a disc"
    flags = []
    if height < _FUSED_MM:
        flags.append(
            f"no disc space between {upper_name} and {lower_name}: bridged, fused or labels mixed;"
            f" a layer of {MIN_LAYER_MM:g} mm was taken"
        )
    s = pair.s_mm[:, None, None]
    footprint, from_edge = _mean_outline(upper_footprint, lower_footprint, pair)
    covered = np.count_nonzero(footprint) * STEP_MM**2 / (np.pi * np.prod(pair.semi_axes_mm))
    if covered < _MIN_FACING_SHARE:
        flags.append(
            f"{upper_name} and {lower_name} face each other over only {covered:.0%} of a body:"
            " labels may be mixed"
        )
    middle, half = _lens(upper_height, lower_height, from_edge)
    # Bone inside the gap (rims, osteophytes) is not disc, except in the least layer.
    layer = np.abs(s - middle) <= MIN_LAYER_MM / 2
    free = (pair.upper_bone < 0.5) & (pair.lower_bone < 0.5)
    between = footprint & (np.abs(s - middle) <= half)
    space = between & (free | layer)
    filled = float(1.0 - space.sum() / max(float(between.sum()), 1.0))
    if filled > _MAX_FILLED:
        flags.append(
            f"bone labels fill {filled:.0%} of the space between {upper_name} and {lower_name}:"
            " bridged, or labels mixed"
        )
    band_upper = _band(pair.upper_bone, s - np.maximum(upper_height, middle), upper_footprint)
    band_lower = _band(pair.lower_bone, np.minimum(lower_height, middle) - s, lower_footprint)
    band_upper &= ~space
    band_lower &= ~space
    indices = np.argwhere(space)
    local = np.column_stack(
        [pair.l_mm[indices[:, 2]], pair.p_mm[indices[:, 1]], pair.s_mm[indices[:, 0]]]
    )
    return Disc(
        space=space,
        band_upper=band_upper,
        band_lower=band_lower,
        centre=pair.to_lps(local.mean(axis=0)),
        height_mm=height,
        flags=tuple(flags),
    )


def _band(bone: Occupancy, depth: FloatArray, footprint: BoolArray) -> BoolArray:
    """Bone less than `BAND_MM` deep below a surface, on the vertebra's own footprint."""
    return (bone >= 0.5) & footprint & (depth > -STEP_MM) & (depth <= BAND_MM)


def _surface(bone: Occupancy, pair: Pair) -> tuple[FloatArray, BoolArray] | None:
    """Height map and footprint of the endplate below mid-disc.

    Parameters
    ----------
    bone
        The vertebra below the disc (or the upper one upside down), indexed ``[s, p, l]``.
    pair
        The pair.

    Returns
    -------
    height, footprint
        Height of the surface in mm and the columns it covers, indexed ``[p, l]``; None when it
        covers under 40 % of the body ellipse.
    """
    half_width, half_depth = pair.semi_axes_mm
    columns_l, columns_p = np.meshgrid(pair.l_mm, pair.p_mm)
    radius = np.hypot(columns_l / half_width, columns_p / half_depth)
    searched = (radius <= _SEARCH) & (columns_p <= pair.canal.wall_mm + 1.0)
    height, valid = _tops(bone, pair.s_mm)
    valid &= searched
    inner = valid & (radius <= 0.7)
    if inner.sum() < _MIN_COVER * np.count_nonzero(radius <= 0.7):
        return None
    points = np.column_stack([columns_l[inner], columns_p[inner]])
    (a, b, c), _ = trimmed_plane(points, height[inner])
    plane = a * columns_l + b * columns_p + c
    # Uncinate processes and osteophytes rise above the plane, concave endplates lie below it.
    above = height - plane
    below = np.where(radius <= _CONCAVE_PART, _MAX_BELOW_PLANE_MM, _MAX_ABOVE_PLANE_MM)
    valid &= (above <= _MAX_ABOVE_PLANE_MM) & (above >= -below)
    height = _smooth(np.where(valid, height, plane), valid)
    # A column belongs to the footprint when most of the band below its surface is bone.
    depth = height - pair.s_mm[:, None, None]
    band = (depth > 0) & (depth <= BAND_MM)
    share = (bone * band).sum(axis=0) / np.maximum(band.sum(axis=0), 1)
    footprint = largest_piece(ndimage.binary_opening(searched & (share >= 0.5), _ball_2d(2)))
    area = np.count_nonzero(footprint) * STEP_MM**2
    if area < _MIN_COVER * np.pi * half_width * half_depth:
        return None
    # A hole in the footprint is a pit of the endplate: the pit belongs to the disc.
    return height, _without_holes(footprint)


def _without_holes(mask: BoolArray) -> BoolArray:
    """Mask with everything that it encloses."""
    outside, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    return np.asarray(outside[1:-1, 1:-1] != outside[0, 0])


def _tops(bone: Occupancy, s_mm: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Height of the topmost bone per column, to a fraction of a voxel, and where there is any.

    Bone more than 5 mm above mid-disc is ignored.
    """
    usable = bone[s_mm <= _LOOK_ABOVE_MM]
    solid = usable >= 0.5
    valid: BoolArray = np.any(solid, axis=0)
    index = len(usable) - 1 - np.argmax(solid[::-1], axis=0)
    above = np.minimum(index + 1, len(bone) - 1)
    inside = np.take_along_axis(bone, index[None], axis=0)[0]
    outside = np.take_along_axis(bone, above[None], axis=0)[0]
    step = np.clip((inside - 0.5) / np.maximum(inside - outside, 1e-3), 0.0, 1.0)
    height: FloatArray = s_mm[index] + STEP_MM * step
    return height, valid


def _smooth(height: FloatArray, valid: BoolArray) -> FloatArray:
    """Fill columns without a surface from the nearest ones, then a 5×5 median."""
    if not valid.all():
        _, nearest = ndimage.distance_transform_edt(~valid, return_indices=True)
        height = height[tuple(nearest)]
    return ndimage.median_filter(height, size=_SMOOTH, mode="nearest")


def _mean_outline(first: BoolArray, second: BoolArray, pair: Pair) -> tuple[BoolArray, FloatArray]:
    """Outline half-way between two footprints, its corners rounded, and the depth inside it.

    The outline is the contour of the mean signed distance 0.4 mm outside (the annulus bulges);
    opening it with a disk of 0.65 of the body's half depth removes the posterolateral corners,
    where pedicles join the footprints.
    """
    mean = (_signed_distance(first) + _signed_distance(second)) * (0.5 * STEP_MM)
    radius = round(_CORNER_SHARE * pair.semi_axes_mm[1] / STEP_MM)
    outline = mean <= _BULGE_MM
    rounded = ndimage.binary_opening(outline, _ball_2d(radius))
    if np.count_nonzero(rounded) < 0.8 * np.count_nonzero(outline):
        rounded = outline
    from_edge: FloatArray = ndimage.distance_transform_edt(rounded) * STEP_MM
    return rounded, from_edge


def _lens(
    upper: FloatArray, lower: FloatArray, from_edge: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Middle and half height of the disc per column, its rim rounded as the annulus is.

    In the outermost columns the labels' rims curve away from the disc, so heights are taken from
    the nearest column further inside.
    """
    inner = from_edge > _RIM_MM
    if inner.any():
        _, nearest = ndimage.distance_transform_edt(~inner, return_indices=True)
        upper = np.minimum(upper, upper[tuple(nearest)])
        lower = np.maximum(lower, lower[tuple(nearest)])
    half = np.maximum(upper - lower, MIN_LAYER_MM) / 2
    radius = np.minimum(half, _ROUNDING_MM)
    short = np.clip(radius - from_edge + STEP_MM / 2, 0.0, radius)
    half = half - radius + np.sqrt(radius**2 - short**2)
    return (upper + lower) / 2, half


def _signed_distance(mask: BoolArray) -> FloatArray:
    return ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)


def _ball_2d(radius: int) -> BoolArray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x**2 + y**2 <= radius**2)
