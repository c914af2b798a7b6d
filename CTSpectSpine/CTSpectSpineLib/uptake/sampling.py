"""The SPECT as a field that is sampled at points of the CT, and the plain measures of a region.

A joint covers fractions of the large SPECT voxels, so nothing here picks whole voxels: the SPECT
is read between voxel centres by trilinear interpolation. The mean over a region's points is then
a weighted mean of voxels whose weights are the region's points splatted trilinearly into the
SPECT grid, and it exists for regions of any thinness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import affine, apply_matrix, ijk_to_lps
from CTSpectSpineLib.model import FloatArray

PEAK_DIAMETER_MM = 12.0
"""Sphere of the peak measure (Lodge et al., J Nucl Med 2012;53:1415)."""
_PEAK_STEP_MM = 2.0
"""Grid to which centres are thinned. Numerical: a fraction of the sphere's radius."""
_ROUGH_STEP_MM = 4.0
"""Sampling of the spheres that are compared first. Numerical: about a SPECT voxel."""
_FINE_STEP_MM = 1.5
"""Sampling of the spheres that decide. Numerical: a third of a SPECT voxel."""
_PEAK_CANDIDATES = 60
"""Centres that are sampled finely. Numerical: coarse sampling confuses near neighbours only."""


@dataclass(frozen=True)
class SpectField:
    """A SPECT image that is read at points of the CT.

    Attributes
    ----------
    array
        Voxel values, indexed ``[k, j, i]``.
    ct_to_index
        4×4 matrix from CT points, LPS mm, to the array's continuous index ``(i, j, k)``.
    spacing
        Voxel sizes along ``(i, j, k)`` in mm.
    """

    array: FloatArray
    ct_to_index: FloatArray
    spacing: FloatArray

    @property
    def size(self) -> FloatArray:
        """Number of voxels along ``(i, j, k)``."""
        return np.asarray(self.array.shape[::-1], dtype=float)

    def index(self, points_mm: FloatArray) -> FloatArray:
        """Continuous indices ``(i, j, k)``, shape (n, 3), of CT points, LPS mm."""
        return apply_matrix(self.ct_to_index, points_mm)

    def coverage(self, points_mm: FloatArray) -> float:
        """Share of CT points that lie inside the SPECT field (voxel edges included)."""
        if len(points_mm) == 0:
            return 0.0
        index = self.index(points_mm)
        inside = np.all((index >= -0.5) & (index <= self.size - 0.5), axis=1)
        return float(inside.mean())

    def sample(self, points_mm: FloatArray) -> FloatArray:
        """SPECT values at CT points by trilinear interpolation, shape (n,)."""
        return interpolate(self.array, self.index(points_mm))

    def cropped(self, points_mm: FloatArray, margin_mm: float) -> SpectField:
        """Smallest part of the field that holds the CT points with a margin around them."""
        index = self.index(points_mm)
        margin = margin_mm / self.spacing
        low = np.clip(np.floor(index.min(axis=0) - margin), 0, self.size - 1).astype(int)
        high = np.clip(np.ceil(index.max(axis=0) + margin), 0, self.size - 1).astype(int)
        high = np.maximum(high, low)
        shift = affine(np.eye(3), -low)
        box = tuple(slice(a, b + 1) for a, b in zip(low[::-1], high[::-1], strict=True))
        return replace(self, array=self.array[box], ct_to_index=shift @ self.ct_to_index)

    def binned(self, most_mm: float) -> SpectField:
        """The field with voxels averaged in the largest blocks that stay within ``most_mm``."""
        size = np.maximum(1, np.floor(most_mm / self.spacing + 1e-6)).astype(int)
        size = np.minimum(size, self.array.shape[::-1])
        if (size == 1).all():
            return self
        blocks = np.array(self.array.shape[::-1]) // size
        i, j, k = (int(n) for n in blocks)
        a, b, c = (int(n) for n in size)
        array = self.array[: k * c, : j * b, : i * a].reshape(k, c, j, b, i, a).mean(axis=(1, 3, 5))
        # The first block's centre lies (size - 1) / 2 voxels after the first voxel's.
        to_block = affine(np.diag(1.0 / size), -0.5 * (size - 1) / size)
        return replace(
            self,
            array=array,
            ct_to_index=to_block @ self.ct_to_index,
            spacing=self.spacing * size,
        )


def spect_field(spect: sitk.Image, ct_to_spect: FloatArray) -> SpectField:
    """Make a field from a SPECT image and the 4×4 matrix from CT to SPECT points, LPS mm.

    Raises
    ------
    InputError
        If the SPECT is not a 3D scalar image or holds values that are not finite.
    """
    if spect.GetDimension() != 3 or spect.GetNumberOfComponentsPerPixel() != 1:
        raise InputError("The SPECT must be a 3D image with one value per voxel.")
    array = sitk.GetArrayFromImage(spect).astype(np.float64)
    if not np.isfinite(array).all():
        raise InputError(
            "The SPECT holds voxels that are not finite numbers (NaN or infinite);"
            " export it again or replace them."
        )
    return SpectField(
        array=array,
        ct_to_index=np.linalg.inv(ijk_to_lps(spect)) @ ct_to_spect,
        spacing=np.asarray(spect.GetSpacing(), dtype=float),
    )


def interpolate(array: FloatArray, index: FloatArray) -> FloatArray:
    """Values of ``array[k, j, i]`` at continuous indices ``(i, j, k)``, shape (n, 3).

    Trilinear; the border value continues outside.
    """
    return ndimage.map_coordinates(
        array, index[:, ::-1].T, output=np.float64, order=1, mode="nearest"
    )


def sphere_offsets(diameter_mm: float = PEAK_DIAMETER_MM, step_mm: float = 1.0) -> FloatArray:
    """Evenly spaced points of a ball around the origin in mm, shape (n, 3).

    They are scaled by a few per cent so that their mean squared radius is the ball's.
    """
    radius = diameter_mm / 2.0
    reach = int(np.ceil(radius / step_mm)) + 1
    axis = (np.arange(-reach, reach) + 0.5) * step_mm
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = grid[np.linalg.norm(grid, axis=1) <= radius]
    spread = float(np.mean(np.sum(inside**2, axis=1)))
    return np.asarray(inside * np.sqrt(0.6 * radius**2 / spread))


def region_mean(field: SpectField, points_mm: FloatArray) -> float:
    """Fraction-weighted mean over a region given by evenly spaced CT points, LPS mm."""
    return float(field.sample(points_mm).mean())


def region_max(field: SpectField, points_mm: FloatArray) -> float:
    """Maximum of the trilinearly interpolated SPECT over a region's CT points, LPS mm.

    It changes smoothly with the position of the grid, exists for thin regions, and never exceeds
    the largest voxel at the region (a cubic interpolant would overshoot noise).
    """
    return float(field.sample(points_mm).max())


def region_peak(field: SpectField, points_mm: FloatArray) -> float:
    """Largest mean of a 12 mm sphere centred in a region (Lodge 2012), fraction-weighted.

    Centres are the region's CT points thinned to 2 mm; spheres may reach out of the region, as
    the definition has it.
    """
    cells = np.floor(points_mm / _PEAK_STEP_MM).astype(np.int64)
    # One number for each cell: rows are sorted several times as slowly.
    cells -= cells.min(axis=0)
    numbers = np.ravel_multi_index(tuple(cells.T), tuple(cells.max(axis=0) + 1))
    _, first = np.unique(numbers, return_index=True)
    centres = field.index(points_mm[np.sort(first)])
    # Spheres are the same in CT and SPECT (the registration is rigid), so offsets are made in mm
    # along the array's own axes. Coarsely sampled spheres tell which centres can be the best.
    rough = _sphere_means(field, centres, _ROUGH_STEP_MM)
    best = centres[np.argsort(-rough, kind="stable")[:_PEAK_CANDIDATES]]
    return float(_sphere_means(field, best, _FINE_STEP_MM).max())


def _sphere_means(field: SpectField, centres: FloatArray, step_mm: float) -> FloatArray:
    """Mean over the peak sphere around continuous indices ``(i, j, k)``, shape (n, 3)."""
    offsets = sphere_offsets(step_mm=step_mm) / field.spacing
    index = (centres[:, None, :] + offsets[None]).reshape(-1, 3)
    return np.asarray(interpolate(field.array, index).reshape(len(centres), -1).mean(axis=1))
