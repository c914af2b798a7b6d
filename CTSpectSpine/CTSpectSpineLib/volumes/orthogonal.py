"""Resample sheared voxel grids (gantry tilt, affine registration) onto orthogonal ones."""

from __future__ import annotations

import itertools

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.geometry import Grid, apply_matrix, image_from_array
from CTSpectSpineLib.model import FloatArray

_NEGLIGIBLE_VOXELS = 0.1
"""Largest displacement of a corner, in voxels, up to which axes are only straightened. Judgement:
a tenth of a voxel moves no joint, and the voxels stay those of the file."""


def orthogonal_image(
    array: NDArray[np.generic], matrix: FloatArray, *, nearest: bool = False, fill: float = 0.0
) -> tuple[sitk.Image, bool]:
    """Image with orthogonal axes from voxels on any grid.

    ITK holds orthogonal grids only. Where the axes are orthogonal, the voxels stay untouched;
    otherwise they are resampled onto the orthogonal grid that is closest to the axes (polar
    decomposition) and covers the whole volume.

    Parameters
    ----------
    array
        Voxels ``[k, j, i]``.
    matrix
        4×4 matrix from index ``(i, j, k, 1)`` to LPS mm.
    nearest
        Nearest neighbour instead of linear interpolation (labels).
    fill
        Value outside the voxels.

    Returns
    -------
    image, resampled
        The image, and whether its voxels were interpolated.
    """
    size = (array.shape[2], array.shape[1], array.shape[0])
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    left, _, right = np.linalg.svd(matrix[:3, :3] / spacing)
    straight = matrix.copy()
    straight[:3, :3] = (left @ right) * spacing
    shift = Grid(size, straight).corners_mm() - Grid(size, matrix).corners_mm()
    if np.abs(shift).max() <= _NEGLIGIBLE_VOXELS * spacing.min():
        return image_from_array(np.asarray(array), straight), False
    corners = np.array(list(itertools.product(*[(0.0, n - 1.0) for n in size])))
    index = apply_matrix(np.linalg.inv(straight) @ matrix, corners)
    low, high = np.floor(index.min(axis=0) + 1e-6), np.ceil(index.max(axis=0) - 1e-6)
    target = straight.copy()
    target[:3, 3] = apply_matrix(straight, low[np.newaxis])[0]
    inverse = np.linalg.inv(matrix) @ target
    resampled = ndimage.affine_transform(
        np.asarray(array),
        inverse[:3, :3][::-1, ::-1],
        offset=inverse[:3, 3][::-1],
        output_shape=tuple((high - low + 1).astype(int)[::-1]),
        order=0 if nearest else 1,
        mode="grid-constant",
        cval=fill,
    )
    return image_from_array(resampled, target), True


def shear_degrees(matrix: FloatArray) -> float:
    """Largest deviation of the angles between the axes from a right angle, in degrees."""
    unit = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    cosines = np.abs(unit.T @ unit - np.eye(3)).max()
    return float(np.degrees(np.arcsin(min(1.0, cosines))))
