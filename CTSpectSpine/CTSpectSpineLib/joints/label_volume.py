"""A label map as this room reads it: array, 4×4 matrix and one box per label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.geometry import (
    Grid,
    affine,
    apply_matrix,
    content_box,
    ijk_to_lps,
    inverse,
    label_boxes,
)
from CTSpectSpineLib.model import BoolArray, FloatArray

Slices = tuple[slice, slice, slice]
Occupancy = NDArray[np.float32]
"""Share of each voxel that a bone fills, 0 to 1."""

_COARSE_MM = 1.6
"""Longest voxel edge at which a mask is interpolated itself, not its shape, mm. Judgement: just
above the 1.5 mm of common label maps, whose steps the grids of 1 mm hardly show."""
_HIGHEST = 255
"""Highest number that is a label. By definition: ids fit into eight bits."""
_MARGIN = 2
"""Voxels around a bone in its distance map. Numerical: enough for linear interpolation at the
surface."""


@dataclass(frozen=True)
class LabelVolume:
    """Labels with their geometry.

    Attributes
    ----------
    array
        Labels, indexed ``[k, j, i]``.
    matrix
        4×4 matrix from index ``(i, j, k, 1)`` to LPS mm; may be oblique, flipped or sheared.
    boxes
        Bounding slices of each label that is present.
    owner
        The image whose memory the array views, kept so that it stays alive.
    distances
        Distance maps of bones that were already sampled from coarse voxels.
    """

    array: NDArray[np.integer]
    matrix: FloatArray
    boxes: Mapping[int, Slices]
    owner: sitk.Image | None = None
    distances: dict[tuple[int, ...], Occupancy] = field(default_factory=dict, compare=False)

    @property
    def grid(self) -> Grid:
        """Geometry of the volume."""
        k, j, i = self.array.shape
        return Grid((i, j, k), self.matrix)

    def box(self, ids: Sequence[int]) -> Slices | None:
        """Smallest box around some labels, None when none of them is present."""
        found = [self.boxes[label] for label in ids if label in self.boxes]
        if not found:
            return None
        first, second, third = (
            slice(min(b[axis].start for b in found), max(b[axis].stop for b in found))
            for axis in range(3)
        )
        return first, second, third

    def at_border(self, points_mm: FloatArray) -> BoolArray:
        """Whether points, LPS mm shape (n, 3), lie in the outermost voxels or outside."""
        index = apply_matrix(inverse(self.matrix), points_mm)
        last = np.asarray(self.array.shape[::-1]) - 1.0
        return np.asarray(np.any((index < 0.75) | (index > last - 0.75), axis=1))


def label_volume(image: sitk.Image) -> LabelVolume:
    """Wrap a label map without copying its voxels (unless they are floating-point)."""
    array = sitk.GetArrayViewFromImage(image)
    if not np.issubdtype(array.dtype, np.integer):
        array = np.rint(array).astype(np.uint8)
    return replace(from_array(array, ijk_to_lps(image)), owner=image)


def from_array(array: NDArray[np.integer], matrix: FloatArray) -> LabelVolume:
    """Labels from an array ``[k, j, i]`` and its matrix, which may be sheared."""
    return LabelVolume(array, matrix, label_boxes(array, _HIGHEST))


def occupancy(volume: LabelVolume, ids: Sequence[int], grid: Grid) -> Occupancy:
    """Sample the union of some labels on a grid, trilinearly.

    Labels with voxels longer than 1.6 mm are interpolated by shape instead.

    Parameters
    ----------
    volume
        The labels.
    ids
        Labels that make up the bone.
    grid
        Where to sample; any orientation.

    Returns
    -------
    Occupancy
        Values 0 to 1 on the grid, indexed ``[k, j, i]``; 0 outside the volume.
    """
    box = volume.box(ids)
    empty = np.zeros(grid.shape, dtype=np.float32)
    if box is None:
        return empty
    part = _overlap(volume, box, grid)
    if part is None:
        return empty
    to_index = inverse(volume.matrix) @ grid.ijk_to_lps
    coarse = float(volume.grid.spacing_mm.max()) > _COARSE_MM
    # Padding keeps interpolation right at the faces of the crop.
    if coarse:
        values = np.pad(_distance(volume, tuple(ids), box), 1, mode="edge")
        start = np.asarray([b.start for b in box]) - 1 - _MARGIN
        background = float(values.max())
    else:
        values = np.pad(np.isin(volume.array[part], list(ids)), 1).astype(np.float32)
        start = np.asarray([b.start for b in part]) - 1
        background = 0.0
    sampled: Occupancy = ndimage.affine_transform(
        values,
        to_index[:3, :3][::-1, ::-1],
        to_index[:3, 3][::-1] - start,
        output_shape=grid.shape,
        order=1,
        prefilter=False,
        cval=background,
    )
    if not coarse:
        return sampled
    # The distance changes by 2 mm per mm across the surface (see `_distance`).
    return np.asarray(np.clip(0.5 - sampled / 2.0, 0.0, 1.0))


def _overlap(volume: LabelVolume, box: Slices, grid: Grid) -> Slices | None:
    """Part of a box of labels that a grid reaches, None without any."""
    corners = apply_matrix(inverse(volume.matrix), grid.corners_mm())
    low = np.floor(corners.min(axis=0))[::-1] - 1
    high = np.ceil(corners.max(axis=0))[::-1] + 2
    starts = [max(int(b.start), int(lo)) for b, lo in zip(box, low, strict=True)]
    stops = [min(int(b.stop), int(hi)) for b, hi in zip(box, high, strict=True)]
    if any(start >= stop for start, stop in zip(starts, stops, strict=True)):
        return None
    k, j, i = (slice(start, stop) for start, stop in zip(starts, stops, strict=True))
    return k, j, i


def _distance(volume: LabelVolume, ids: tuple[int, ...], box: Slices) -> Occupancy:
    """Signed distance to a bone on the coarse voxels of its box with a margin, mm.

    Interpolating it between thick slices gives slanted surfaces where interpolating the mask
    gives steps (Raya & Udupa, IEEE Trans Med Imaging 1990;9:32). It is the distance to the
    nearest voxel of the other kind, outside less inside, so it crosses zero midway between
    neighbours and has twice the slope of a true distance there.
    """
    if ids not in volume.distances:
        spacing = volume.grid.spacing_mm[::-1]
        bone = np.pad(np.isin(volume.array[box], list(ids)), _MARGIN)
        outside = ndimage.distance_transform_edt(~bone, sampling=spacing)
        inside = ndimage.distance_transform_edt(bone, sampling=spacing)
        volume.distances[ids] = (outside - inside).astype(np.float32)
    return volume.distances[ids]


def local_grid(
    origin_mm: FloatArray, axes: FloatArray, low: FloatArray, high: FloatArray, step_mm: float
) -> Grid:
    """Grid along the given axes around a point.

    Parameters
    ----------
    origin_mm
        Point with local coordinates (0, 0, 0), LPS mm; it is the centre of a voxel.
    axes
        Rows are the unit vectors of the local axes in LPS.
    low, high
        Extent of the grid in local mm, shape (3,).
    step_mm
        Edge of the voxels.
    """
    first = np.floor(np.asarray(low, dtype=float) / step_mm)
    last = np.ceil(np.asarray(high, dtype=float) / step_mm)
    i, j, k = (int(n) for n in last - first + 1)
    return Grid((i, j, k), affine(axes.T * step_mm, origin_mm + axes.T @ (first * step_mm)))


def crop_to_content(mask: BoolArray, matrix: FloatArray) -> tuple[BoolArray, FloatArray]:
    """Cut empty margins off a mask; returns it (at least one voxel) with its new matrix."""
    box = content_box(mask) or (slice(0, 1),) * 3
    shifted = matrix.copy()
    start = np.asarray([b.start for b in box[::-1]], dtype=float)
    shifted[:3, 3] = matrix[:3, 3] + matrix[:3, :3] @ start
    return np.ascontiguousarray(mask[box]), shifted
