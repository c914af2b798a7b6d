"""Resample voxel grids: sheared onto orthogonal, oblique onto the patient's axes."""

from __future__ import annotations

import itertools

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.geometry import Grid, affine, apply_matrix, grid_of, image_from_array
from CTSpectSpineLib.model import FloatArray

_NEGLIGIBLE_VOXELS = 0.1
"""Largest displacement of a corner, in voxels, up to which axes are only straightened. Judgement:
a tenth of a voxel moves no joint, and the voxels stay those of the file."""
_LARGEST_TILT = np.sin(np.radians(2.0))
"""Sine of the largest tilt that still counts as upright. Judgement: 2 degrees."""


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


def is_upright(image: sitk.Image) -> bool:
    """Whether the axes are at right angles and within 2° of the patient's, in any order."""
    direction = np.abs(np.reshape(image.GetDirection(), (3, 3)))
    signed = np.reshape(image.GetDirection(), (3, 3))
    orthogonal = np.allclose(signed.T @ signed, np.eye(3), atol=1e-4)
    aside = np.sort(direction, axis=0)[:2]
    return bool(orthogonal and aside.max() <= _LARGEST_TILT)


def upright(image: sitk.Image, outside: float = 0.0) -> sitk.Image:
    """The image on the smallest grid with the patient's axes (LPS) that covers it.

    Linear interpolation. Every axis takes the voxel size of the image's axis that is nearest to
    it; ``outside`` fills what the image does not cover.
    """
    grid = grid_of(image)
    share = np.abs(np.reshape(image.GetDirection(), (3, 3)))
    spacing = grid.spacing_mm[np.argmax(share, axis=1)]
    corners = grid.corners_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.maximum(1, np.ceil((high - low) / spacing - 1e-6)).astype(int)
    matrix = affine(np.diag(spacing), (low + high) / 2 - spacing * (size - 1) / 2)
    reference = image_from_array(np.zeros(size[::-1], dtype=np.uint8), matrix)
    return sitk.Resample(
        image, reference, sitk.Transform(), sitk.sitkLinear, outside, image.GetPixelID()
    )
