"""The same labels on other grids: turned, flipped, oblique, sheared."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.joints import LabelVolume, from_array, label_volume
from CTSpectSpineLib.model import FloatArray

SHEAR_DEG = (15.0, 25.0)
"""Least and largest tilt of the gantry, degrees. Judgement: clear shears."""
TILT_DEG = (15.0, 35.0)
"""Least and largest angle of the oblique grid, degrees. Judgement: more than a patient lies
askew."""


def turned(image: sitk.Image, rng: np.random.Generator) -> LabelVolume:
    """Axes in another order, each possibly flipped; no voxel changes."""
    order = [int(axis) for axis in rng.permutation(3)]
    flips = [bool(rng.integers(2)) for _ in range(3)]
    if order == [0, 1, 2] and not any(flips):
        flips = [True, False, True]
    return label_volume(sitk.Flip(sitk.PermuteAxes(image, order), flips, False))


def oblique(image: sitk.Image, rng: np.random.Generator) -> LabelVolume:
    """A grid turned by 15 to 35 degrees about a random axis, by nearest neighbour."""
    axis = rng.normal(size=3)
    angle = np.radians(rng.uniform(*TILT_DEG))
    rotation = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    matrix = ijk_to_lps(image)
    turned_matrix = matrix.copy()
    turned_matrix[:3, :3] = rotation @ matrix[:3, :3]
    return resampled(image, turned_matrix)


def sheared(image: sitk.Image, rng: np.random.Generator) -> LabelVolume:
    """Slices shifted along the patient as by a gantry tilt of 15 to 25 degrees."""
    tilt = np.tan(np.radians(rng.uniform(*SHEAR_DEG))) * (1 if rng.integers(2) else -1)
    matrix = ijk_to_lps(image)
    matrix[:3, 2] += tilt * matrix[:3, 1]
    return resampled(image, matrix)


GRIDS: Mapping[str, Callable[[sitk.Image, np.random.Generator], LabelVolume]] = {
    "axes permuted and flipped": turned,
    "oblique grid, 15 to 35 degrees": oblique,
    "sheared grid, 15 to 25 degrees": sheared,
}


def resampled(image: sitk.Image, matrix: FloatArray) -> LabelVolume:
    """Labels by nearest neighbour on a grid with these axes that holds the whole image.

    Parameters
    ----------
    image
        The labels.
    matrix
        4×4; its first three columns are the new grid's steps, which may be sheared.
    """
    old = ijk_to_lps(image)
    array = sitk.GetArrayViewFromImage(image)
    ends = [(-0.5, n - 0.5) for n in image.GetSize()]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    steps = np.linalg.inv(matrix[:3, :3]) @ old[:3, :3]
    index = corners @ steps.T
    low, high = np.ceil(index.min(axis=0) - 1e-6), np.floor(index.max(axis=0) + 1e-6)
    new = np.eye(4)
    new[:3, :3] = matrix[:3, :3]
    new[:3, 3] = old[:3, 3] + matrix[:3, :3] @ low
    to_old = np.linalg.inv(old) @ new
    i, j, k = (int(n) for n in high - low + 1)
    # The margin makes the outer halves of the outermost voxels count.
    moved = ndimage.affine_transform(
        np.pad(array, 1),
        to_old[:3, :3][::-1, ::-1],
        to_old[:3, 3][::-1] + 1,
        output_shape=(k, j, i),
        order=0,
    )
    return from_array(moved, new)
