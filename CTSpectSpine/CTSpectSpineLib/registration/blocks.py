"""Means over blocks of voxels, of volumes of any size and order of axes, a slab at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.model import FloatArray

Float32Array = NDArray[np.float32]
Factors = tuple[int, int, int]


@dataclass(frozen=True)
class Ordered:
    """A volume whose axes run nearest to L, P, S, without a copy of its voxels.

    Attributes
    ----------
    voxels
        View of the image's voxels, shape (k, j, i); valid while the image lives.
    ijk_to_lps
        Index to LPS mm.
    """

    voxels: NDArray[Any]
    ijk_to_lps: FloatArray

    @property
    def spacing_mm(self) -> FloatArray:
        """Voxel size along i, j, k."""
        return np.asarray(np.linalg.norm(self.ijk_to_lps[:3, :3], axis=0))


def ordered(image: sitk.Image) -> Ordered:
    """The volume with its axes nearest to L, P, S: results do not depend on its storage."""
    voxels = sitk.GetArrayViewFromImage(image)
    matrix = ijk_to_lps(image)
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    axes = [next(n for n, c in enumerate(code) if c in pair) for pair in ("LR", "PA", "SI")]
    voxels = voxels.transpose([2 - axes[2], 2 - axes[1], 2 - axes[0]])
    matrix = matrix[:, [*axes, 3]]
    for axis, wanted in enumerate("LPS"):
        if code[axes[axis]] != wanted:
            along = 2 - axis
            matrix[:3, 3] += (voxels.shape[along] - 1) * matrix[:3, axis]
            matrix[:3, axis] *= -1.0
            voxels = np.flip(voxels, axis=along)
    return Ordered(voxels, matrix)


def factors(shape: tuple[int, ...], spacing_mm: FloatArray, target_mm: float) -> Factors:
    """Voxels along k, j, i that make blocks of at most about `target_mm`."""
    k, j, i = (
        max(1, min(size, int(target_mm / spacing + 0.25)))
        for size, spacing in zip(shape, spacing_mm[::-1], strict=True)
    )
    return k, j, i


def shrunk_matrix(matrix: FloatArray, by: Factors) -> FloatArray:
    """Index-to-LPS matrix of the grid of blocks of k, j, i voxels."""
    result = matrix @ np.diag([*by[::-1], 1.0])
    result[:3, 3] += 0.5 * (matrix[:3, :3] @ (np.array(by[::-1]) - 1.0))
    return np.asarray(result)


def block_means(volume: NDArray[Any], by: tuple[int, ...]) -> Float32Array:
    """Mean of every whole block of so many voxels along each axis (k, j, i, ...), float32."""
    size = [n // f for n, f in zip(volume.shape, by, strict=True)]
    if max(by) == 1:
        return np.ascontiguousarray(volume, dtype=np.float32)
    total: NDArray[Any] = volume
    # Planes first: they are added as they lie in memory, and leave less for the other axes.
    for axis, (count, factor) in enumerate(zip(size, by, strict=True)):
        lines = np.moveaxis(total, axis, 0)[: factor * count]
        parts = [np.moveaxis(lines[n::factor], 0, axis) for n in range(factor)]
        if factor == 1:
            total = parts[0]
            continue
        added = np.add(parts[0], parts[1], dtype=np.float32)
        for part in parts[2:]:
            added += part
        total = added
    total *= np.float32(1.0 / float(np.prod(by)))
    return total


def slabs(volume: NDArray[Any], by: Factors, coarse: Factors) -> Iterator[Float32Array]:
    """Block means of the volume, in slabs that are one coarse block thick; see `block_means`."""
    thick = by[0] * coarse[0]
    for start in range(0, volume.shape[0] // thick * thick, thick):
        yield block_means(volume[start : start + thick], by)
