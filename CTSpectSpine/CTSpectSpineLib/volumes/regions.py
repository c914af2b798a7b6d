"""Resample regions from their own grids onto an image's grid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import Grid, affine, apply_matrix, content_box
from CTSpectSpineLib.model import BoolArray, FloatArray, Region

Box = tuple[slice, slice, slice]
_MAX_SAMPLES_PER_AXIS = 5
"""Sampling points per voxel and axis, at most. Numerical: enough to see a 1 mm layer inside a 5 mm
slice."""


def resample_region(region: Region, grid: Grid) -> tuple[BoolArray, Box]:
    """Resample a region onto a grid, inside its bounding box only.

    The covered fraction of every voxel is estimated by linear interpolation at one point per
    voxel, or at several where the voxel is larger than the region's own. Voxels that are
    at least half covered belong to the result. A region that would lose more than half of its
    volume that way (thinner than a voxel) keeps the voxels with at least half of the largest
    fraction instead, so it never vanishes inside the grid.

    Parameters
    ----------
    region
        The region; its grid may be oblique to the image's, or sheared.
    grid
        Geometry to resample to.

    Returns
    -------
    mask, box
        Voxels ``[k, j, i]`` inside the box, and the box as slices of the grid's array. The
        mask is empty (size 0) when the region is empty or lies outside the grid.
    """
    outside = np.zeros((0, 0, 0), dtype=bool), (slice(0, 0), slice(0, 0), slice(0, 0))
    tight = content_box(region.mask)
    if tight is None:
        return outside
    mask = np.ascontiguousarray(region.mask[tight])
    start = np.array([s.start for s in tight])[::-1]
    region_to_grid = np.linalg.inv(grid.ijk_to_lps) @ region.ijk_to_lps @ _shift(start)
    size = np.array(mask.shape)[::-1]
    if _is_integer_shift(region_to_grid):
        low = np.rint(region_to_grid[:3, 3]).astype(int)
        inside = np.maximum(low, 0), np.minimum(low + size, grid.size)
        if np.any(inside[1] <= inside[0]):
            return outside
        cut = _box(inside[0] - low, inside[1] - low)
        return mask[cut].astype(bool), _box(*inside)
    corners = apply_matrix(region_to_grid, _corners(size))
    low = np.maximum(np.floor(corners.min(axis=0) + 0.5).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(axis=0) + 0.5).astype(int), grid.size)
    if np.any(high <= low):
        return outside
    fraction = _covered_fraction(mask, np.linalg.inv(region_to_grid) @ _shift(low), high - low)
    if not fraction.any():
        _count_centres(fraction, mask, _shift(-low) @ region_to_grid)
    return _binarise(fraction, float(mask.sum()) * _determinant(region_to_grid)), _box(low, high)


def same_region(found: Region | None, given: Region) -> bool:
    """Whether a region, resampled to the grid of another, has the voxels of the other.

    Parameters
    ----------
    found
        The region on its own grid; None for an empty one.
    given
        The other; its grid goes on beyond its box.
    """
    if found is None or not found.mask.any():
        return not given.mask.any()
    matrix = np.linalg.inv(given.ijk_to_lps) @ found.ijk_to_lps
    corners = apply_matrix(matrix, _corners(np.array(found.mask.shape)[::-1]))
    low = np.minimum(np.floor(corners.min(axis=0)).astype(int), 0)
    high = np.maximum(np.ceil(corners.max(axis=0)).astype(int) + 1, given.mask.shape[::-1])
    i, j, k = (int(n) for n in high - low)
    mask, box = resample_region(found, Grid((i, j, k), given.ijk_to_lps @ _shift(low)))
    here, there = np.zeros((k, j, i), dtype=bool), np.zeros((k, j, i), dtype=bool)
    here[box] = mask
    there[_box(-low, np.array(given.mask.shape)[::-1] - low)] = given.mask
    return np.array_equal(here, there)


def common_grid(regions: Sequence[Region]) -> Grid:
    """The grid of the first region that is not empty, large enough for all of them."""
    held = [region for region in regions if region.mask.any()]
    if not held:
        return Grid((1, 1, 1), np.eye(4))
    to_index = np.linalg.inv(held[0].ijk_to_lps)
    ends = [
        apply_matrix(to_index @ region.ijk_to_lps, _corners(np.array(region.mask.shape)[::-1]))
        for region in held
    ]
    low = np.floor(np.min([points.min(axis=0) for points in ends], axis=0)).astype(int)
    high = np.ceil(np.max([points.max(axis=0) for points in ends], axis=0)).astype(int) + 1
    i, j, k = (int(n) for n in high - low)
    return Grid((i, j, k), held[0].ijk_to_lps @ _shift(low))


def overlap(first: Box, second: Box) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
    """Return what two boxes share, counted from the start of each; None if they are apart."""
    low = [max(a.start, b.start) for a, b in zip(first, second, strict=True)]
    high = [min(a.stop, b.stop) for a, b in zip(first, second, strict=True)]
    if any(start >= stop for start, stop in zip(low, high, strict=True)):
        return None
    inside_first, inside_second = (
        tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, box, strict=True))
        for box in (first, second)
    )
    return inside_first, inside_second


def _binarise(fraction: FloatArray, expected_voxels: float) -> BoolArray:
    """Voxels of a region from their covered fractions; see `resample_region`."""
    mask: BoolArray = fraction >= 0.5 - 1e-6
    # Where the grid truncates the region, less than the whole volume can be expected.
    expected = min(expected_voxels, float(fraction.sum()))
    peak = float(fraction.max())
    if np.count_nonzero(mask) < 0.5 * expected and peak > 0:
        mask = fraction >= min(0.5, 0.5 * peak)
    return mask


def _covered_fraction(mask: BoolArray, matrix: FloatArray, size: FloatArray) -> FloatArray:
    """Covered fraction of the voxels of a box of ``size`` (i, j, k); ``matrix`` maps to mask."""
    steps = np.linalg.norm(matrix[:3, :3], axis=0)
    samples = np.clip(np.ceil(steps - 0.25), 1, _MAX_SAMPLES_PER_AXIS).astype(int)
    offsets = [(np.arange(n) + 0.5) / n - 0.5 for n in samples]
    source = mask.astype(np.float32)
    linear = matrix[:3, :3][::-1, ::-1]  # scipy works on (k, j, i)
    total: FloatArray = np.zeros(tuple(size[::-1]), dtype=np.float64)
    for offset in itertools.product(*offsets):
        translation = (matrix[:3, :3] @ np.array(offset) + matrix[:3, 3])[::-1]
        total += ndimage.affine_transform(
            source,
            linear,
            offset=translation,
            output_shape=total.shape,
            order=1,
            mode="grid-constant",
            cval=0.0,
        )
    total /= np.prod(samples)
    return total


def _count_centres(fraction: FloatArray, mask: BoolArray, matrix: FloatArray) -> None:
    """Fill in the fractions of a region that lies between all sampling points."""
    centres = apply_matrix(matrix, np.argwhere(mask)[:, ::-1].astype(np.float64))
    index = np.rint(centres).astype(int)[:, ::-1]
    index = index[np.all((index >= 0) & (index < fraction.shape), axis=1)]
    np.add.at(fraction, tuple(index.T), _determinant(matrix))


def _is_integer_shift(matrix: FloatArray, tolerance: float = 1e-3) -> bool:
    return bool(
        np.allclose(matrix[:3, :3], np.eye(3), atol=1e-5)
        and np.allclose(matrix[:3, 3], np.rint(matrix[:3, 3]), atol=tolerance)
    )


def _shift(offset: FloatArray) -> FloatArray:
    return affine(np.eye(3), offset)


def _box(low: FloatArray, high: FloatArray) -> Box:
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return k, j, i


def _corners(size: FloatArray) -> FloatArray:
    """Corners of a box of voxels with one voxel of margin for the interpolation."""
    ends = [(-1.0, float(n)) for n in size]
    return np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)


def _determinant(matrix: FloatArray) -> float:
    return float(abs(np.linalg.det(matrix[:3, :3])))
