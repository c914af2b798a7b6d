"""The CT around one joint, on a small grid along the joint's own axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.geometry import BoolArray, FloatArray, apply_matrix, ijk_to_lps, inverse
from CTSpectSpineLib.model import Region

Field = NDArray[np.float32]

METAL_HU = 2000.0
"""HU from which a joint's surroundings hold metal or cement, beside which no HU can be relied on.
Judgement: above the densest cortical bone."""
METAL_MM3 = 10.0
"""Least volume of it, mm³. Judgement: more than noise makes, less than the tip of a screw."""


class Ct:
    """A CT that is read in small parts.

    Parameters
    ----------
    image
        HU.
    """

    def __init__(self, image: sitk.Image) -> None:
        # A view keeps no reference to its image: hold on to both.
        self._image = image
        self._array = sitk.GetArrayViewFromImage(image)
        self._to_lps = ijk_to_lps(image)
        self._to_index = inverse(self._to_lps)

    def on_grid(self, matrix: FloatArray, shape: tuple[int, int, int]) -> Field:
        """HU on a grid ``[k, j, i]`` with this index-to-LPS matrix; NaN outside the CT."""
        index = self._to_index @ matrix
        ends = np.array(np.meshgrid(*[(0, n - 1) for n in shape[::-1]])).reshape(3, -1).T
        corners = apply_matrix(index, ends.astype(float))[:, ::-1]
        low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, self._array.shape)
        if np.any(high <= low):
            return np.full(shape, np.nan, dtype=np.float32)
        part = self._array[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
        read: Field = ndimage.affine_transform(
            part.astype(np.float32),
            index[:3, :3][::-1, ::-1],
            index[:3, 3][::-1] - low,
            output_shape=shape,
            order=1,
            prefilter=False,
            cval=np.nan,
        )
        return read

    def at(self, points: FloatArray) -> FloatArray:
        """HU at points (..., 3), LPS mm; NaN outside the CT."""
        index = apply_matrix(self._to_index, points.reshape(-1, 3))[:, ::-1]
        values: FloatArray = ndimage.map_coordinates(
            self._array, index.T, output=np.float64, order=1, prefilter=False, cval=np.nan
        )
        return values.reshape(points.shape[:-1])

    def voxel_along(self, direction: FloatArray) -> float:
        """Size of a voxel along a unit direction, mm: between its edges by the direction."""
        return float(np.linalg.norm(self._to_lps[:3, :3].T @ direction))


@dataclass(frozen=True)
class Block:
    """A grid around a region, its first axis along a direction of the joint.

    Attributes
    ----------
    matrix
        4×4 matrix from ``(i, j, k)`` to LPS mm; arrays are ``[k, j, i]``, `k` along the direction.
    mask
        The region on it.
    steps_mm
        Distance of voxels along k, j, i.
    """

    matrix: FloatArray
    mask: BoolArray
    steps_mm: tuple[float, float, float]

    @cached_property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.steps_mm))


def block_around(region: Region, up: FloatArray, margins: Sequence[int], finer: int) -> Block:
    """Grid around a region whose first axis is that of the region's grid nearest to `up`.

    Parameters
    ----------
    region
        The region.
    up
        Direction, LPS.
    margins
        Voxels of the region's grid added on all sides, along `up` and across it.
    finer
        Voxels along `up` that each voxel of the region becomes.
    """
    columns = region.ijk_to_lps[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    along = (columns / lengths).T @ up
    axis = int(np.argmax(np.abs(along)))
    order = [*(n for n in range(3) if n != axis), axis]
    mask = np.transpose(region.mask, [2 - n for n in reversed(order)])
    linear, offset = columns[:, order].copy(), region.ijk_to_lps[:3, 3].copy()
    if along[axis] < 0:
        mask = mask[::-1]
        offset = offset + (mask.shape[0] - 1) * linear[:, 2]
        linear[:, 2] = -linear[:, 2]
    pad = (margins[0], margins[1], margins[1])
    mask = np.pad(mask, [(n, n) for n in pad])
    offset = offset - linear @ np.array(pad[::-1], dtype=float)
    # Each voxel becomes several along the first axis, which fill exactly its place.
    mask = np.repeat(mask, finer, axis=0)
    offset = offset - 0.5 * (1.0 - 1.0 / finer) * linear[:, 2]
    linear[:, 2] /= finer
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, offset
    i, j, k = (float(n) for n in np.linalg.norm(linear, axis=0))
    return Block(matrix, mask, (k, j, i))


def holds_metal(hu: Field, voxel_mm3: float) -> bool:
    """Whether HU around a joint show metal or cement."""
    return bool(np.count_nonzero(hu >= METAL_HU) * voxel_mm3 >= METAL_MM3)
