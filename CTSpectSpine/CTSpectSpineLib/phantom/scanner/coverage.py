"""How much of each voxel a region covers."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import Grid, inverse
from CTSpectSpineLib.model import FloatArray, Region

_FINER = 3
"""How much finer than a region's voxels its coverage is sampled. Numerical: odd, so that a region
on the CT's own voxels covers exactly 0 or 1 of each."""


def covered_fraction(region: Region, grid: Grid, low: FloatArray, size: FloatArray) -> FloatArray:
    """Share of each voxel of a box of the grid that a region covers, array ``[k, j, i]``.

    The region's volume is conserved: interpolating linearly between samples of the region that
    are finer than its voxels leaves out nothing and counts nothing twice.
    """
    fine = region.mask.astype(np.float32)
    for axis in range(3):
        fine = np.repeat(fine, _FINER, axis=axis)
    to_region = inverse(region.ijk_to_lps) @ grid.ijk_to_lps
    linear = to_region[:3, :3] * _FINER
    shift = _FINER * to_region[:3, 3] + 0.5 * (_FINER - 1)
    # Enough points per voxel that neighbouring ones lie within a voxel of the finer region.
    counts = np.maximum(np.ceil(np.linalg.norm(linear, axis=0) - 1e-6).astype(int), 1)
    covered: FloatArray = np.zeros(tuple(size[::-1]))
    if covered.size == 0:
        return covered
    for step in np.ndindex(*counts):
        offset = (np.array(step) + 0.5) / counts - 0.5
        first = linear @ (low + offset) + shift
        covered += ndimage.affine_transform(
            fine,
            linear[::-1, ::-1],  # scipy's axes are k, j, i
            offset=first[::-1],
            output_shape=covered.shape,
            order=1,
            mode="grid-constant",
        )
    covered /= np.prod(counts)
    return covered
