"""Surfaces through the patient, and the values of volumes on them.

A surface is a grid of points in LPS mm, flat or curved. Volumes are read at those points
through their own 4×4 matrices, so that oblique, permuted and flipped grids need no care
elsewhere, and only the pixels that are shown are ever computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps
from CTSpectSpineLib.model import BoolArray, FloatArray, Region

_SPLINE_VOXELS = 8_000_000
"""Largest volume, in voxels, that is read by a cubic spline. Judgement: above it the coefficients
cost more memory than the smoother picture is worth; larger volumes are finely sampled anyway."""

_FEWEST = 6
"""Fewest rows and columns that are refined. Numerical: a spline needs a few points."""

_SHARE_OF_VOXEL = 0.35
"""Step, relative to a voxel, at which a spline is read on a surface before it is refined to the
pixels. Numerical: it differs from reading every pixel by less than 1 % of what the SPECT varies,
which no picture shows."""

_OFF_TIE_MM = np.array([1.1e-4, 1.7e-4, 2.3e-4])
"""Labels are read this far (mm, LPS) off the points. Numerical: a point midway between two voxels
then falls to the same one, whatever the order and direction of the grid's axes."""

_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))


@dataclass(frozen=True)
class Surface:
    """A grid of points to show.

    Attributes
    ----------
    points
        LPS mm, shape (rows, columns, 3).
    pixel_mm
        Distance of neighbouring rows and columns in mm, measured along `right` and `down`.
    right, down
        Unit vectors (LPS) of increasing columns and rows. A curved surface departs from the
        plane of the two only at right angles to both.
    """

    points: FloatArray
    pixel_mm: float
    right: FloatArray
    down: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.points.shape[0], self.points.shape[1]

    def project(self, points: FloatArray) -> FloatArray:
        """Column and row of points (n, 3) projected onto the surface, shape (n, 2)."""
        offset = np.atleast_2d(np.asarray(points, dtype=float)) - self.points[0, 0]
        return np.stack([offset @ self.right, offset @ self.down], axis=1) / self.pixel_mm

    def edge_letters(self) -> tuple[str, str, str, str]:
        """Patient directions at the left, right, top and bottom edge: R/L, A/P, I/S."""
        return (
            direction_letter(-self.right),
            direction_letter(self.right),
            direction_letter(-self.down),
            direction_letter(self.down),
        )


def direction_letter(vector: FloatArray) -> str:
    """Letter of the patient direction that a vector (LPS) points to most."""
    axis = int(np.argmax(np.abs(vector)))
    return _LETTERS[axis][int(vector[axis] > 0)]


def plane(
    centre: FloatArray,
    right: FloatArray,
    down: FloatArray,
    size_mm: tuple[float, float],
    pixel_mm: float,
) -> Surface:
    """Flat surface of the given width and height around a centre.

    Parameters
    ----------
    centre
        LPS mm, shape (3,).
    right, down
        Orthogonal unit vectors, LPS.
    size_mm
        Width and height.
    pixel_mm
        Size of a pixel.
    """
    columns, rows = (max(2, round(length / pixel_mm)) for length in size_mm)
    across = (np.arange(columns) - (columns - 1) / 2) * pixel_mm
    along = (np.arange(rows) - (rows - 1) / 2) * pixel_mm
    points = centre + across[None, :, None] * right + along[:, None, None] * down
    return Surface(points, pixel_mm, right, down)


class Sampler:
    """Reads a volume at any points.

    Parameters
    ----------
    image
        3D scalar image.
    scale
        Factor on the values.
    smooth
        Interpolate by a cubic spline where the volume is small enough, else linearly.
    """

    def __init__(self, image: sitk.Image, scale: float = 1.0, smooth: bool = True) -> None:
        self._lps_to_ijk = np.linalg.inv(ijk_to_lps(image))
        self._scale = scale
        # A view keeps no reference to its image: hold on to both.
        self._image = image
        self._array: NDArray[Any] = sitk.GetArrayViewFromImage(image)
        self._order: Literal[1, 3] = 1
        if smooth and self._array.size <= _SPLINE_VOXELS and min(self._array.shape) > 3:
            values = np.nan_to_num(self._array.astype(np.float32))
            self._array = ndimage.spline_filter(values, order=3, output=np.float32, mode="mirror")
            self._order = 3

    @property
    def corners_mm(self) -> FloatArray:
        """Centres of the volume's eight corner voxels, LPS mm, shape (8, 3)."""
        ends = [(0, n - 1) for n in self._image.GetSize()]
        index = np.array(np.meshgrid(*ends)).reshape(3, -1).T
        return apply_matrix(ijk_to_lps(self._image), index.astype(float))

    def __call__(self, points: FloatArray, lps_to_lps: FloatArray | None = None) -> FloatArray:
        """Values at points (..., 3), LPS mm; NaN outside the volume.

        Parameters
        ----------
        points
            LPS mm.
        lps_to_lps
            4×4 matrix applied to the points first.
        """
        matrix = self._lps_to_ijk if lps_to_lps is None else self._lps_to_ijk @ lps_to_lps
        values = self._read(_index(matrix, points))
        values *= self._scale
        return values.reshape(points.shape[:-1])

    def linear(self, points: FloatArray, lps_to_lps: FloatArray | None = None) -> FloatArray:
        """The same, by linear interpolation: fast, and less smooth."""
        matrix = self._lps_to_ijk if lps_to_lps is None else self._lps_to_ijk @ lps_to_lps
        values: FloatArray = ndimage.map_coordinates(
            sitk.GetArrayViewFromImage(self._image),
            _index(matrix, points),
            order=1,
            mode="constant",
            cval=np.nan,
            output=np.dtype(np.float64),
        )
        values *= self._scale
        return values.reshape(points.shape[:-1])

    def thick(self, surface: Surface, depths_mm: Sequence[float]) -> FloatArray:
        """Mean over surfaces at some depths along the normal, shape (rows, columns)."""
        normal = np.cross(surface.right, surface.down)
        index = _index(self._lps_to_ijk, surface.points)
        along = (self._lps_to_ijk[:3, :3] @ normal)[::-1, None]
        total = np.zeros(index.shape[1])
        for depth in depths_mm:
            total += self._read(index + depth * along)
        total *= self._scale / len(depths_mm)
        return total.reshape(surface.shape)

    def on(self, surface: Surface, lps_to_lps: FloatArray | None = None) -> FloatArray:
        """Values on a surface, shape (rows, columns); NaN outside the volume.

        A volume that is read by a spline is smooth between its voxels: it is read at every few
        pixels, and refined by a spline on the surface.

        Parameters
        ----------
        surface
            The surface.
        lps_to_lps
            4×4 matrix applied to the points first.
        """
        step = int(_SHARE_OF_VOXEL * min(self._image.GetSpacing()) / surface.pixel_mm)
        few = tuple(-(-(n - 1) // max(step, 1)) + 1 for n in surface.shape)
        if self._order == 1 or step < 2 or min(few) < _FEWEST:
            return self(surface.points, lps_to_lps)
        matrix = self._lps_to_ijk if lps_to_lps is None else self._lps_to_ijk @ lps_to_lps
        points = _thinned(_thinned(surface.points, few[0], 0), few[1], 1)
        index = _index(matrix, points)
        read = self._read(index, mode="nearest").reshape(few)
        zoom = [n / m for n, m in zip(surface.shape, few, strict=True)]
        values = ndimage.zoom(read, zoom, order=3, mode="nearest", grid_mode=False)
        values *= self._scale
        if not self._inside(index).all():
            outside = ~self._inside(_index(matrix, surface.points))
            values[outside.reshape(surface.shape)] = np.nan
        return values

    def _read(
        self, index: FloatArray, mode: Literal["constant", "nearest"] = "constant"
    ) -> FloatArray:
        """Values at an index (k, j, i), shape (3, n); outside NaN, or what the edge has."""
        values: FloatArray = ndimage.map_coordinates(
            self._array,
            index,
            order=self._order,
            mode=mode,
            cval=np.nan,
            prefilter=False,
            output=np.dtype(np.float64),
        )
        return values

    def _inside(self, index: FloatArray) -> BoolArray:
        """Whether an index (k, j, i), shape (3, n), lies between the outermost voxel centres."""
        last = np.array(self._array.shape)[:, None] - 1.0
        return np.asarray(np.all((index >= 0.0) & (index <= last), axis=0))


def _thinned(points: FloatArray, count: int, axis: int) -> FloatArray:
    """So many evenly spaced rows (or columns) of points from the first to the last."""
    at = np.linspace(0.0, points.shape[axis] - 1.0, count)
    low = np.minimum(at.astype(int), points.shape[axis] - 2)
    part = (at - low).reshape([-1 if a == axis else 1 for a in range(points.ndim)])
    below, above = points.take(low, axis), points.take(low + 1, axis)
    return np.asarray(below + part * (above - below))


def sample_labels(image: sitk.Image, points: FloatArray) -> NDArray[np.integer]:
    """Nearest label at points (..., 3), LPS mm; 0 outside the map."""
    index = _index(np.linalg.inv(ijk_to_lps(image)), points + _OFF_TIE_MM)
    return ndimage.map_coordinates(
        sitk.GetArrayViewFromImage(image), index, order=0, mode="grid-constant", cval=0
    ).reshape(points.shape[:-1])


def sample_region(region: Region, surface: Surface) -> FloatArray:
    """Share (0 to 1) of a region at each pixel of a surface, shape (rows, columns)."""
    share = np.zeros(surface.shape)
    found = ndimage.find_objects(region.mask.astype(np.uint8))
    if not found:
        return share
    mask = np.pad(region.mask[found[0]].astype(np.float32), 1)
    start = np.array([s.start - 1 for s in reversed(found[0])], dtype=float)
    index = np.linalg.inv(region.ijk_to_lps)
    index[:3, 3] -= start
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in mask.shape[::-1]])).reshape(3, -1).T
    box = apply_matrix(np.asarray(np.linalg.inv(index)), corners.astype(float))
    near = np.all((surface.points >= box.min(0)) & (surface.points <= box.max(0)), axis=2)
    if not near.any():
        return share
    at = _index(index, surface.points[near])
    share[near] = ndimage.map_coordinates(mask, at, order=1, mode="constant")
    return share


def _index(lps_to_ijk: NDArray[np.floating], points: FloatArray) -> FloatArray:
    """Index (k, j, i) of points (..., 3), shape (3, n).

    Written out, because a threaded matrix product of so thin a matrix waits more than it works.
    """
    x, y, z = (np.ascontiguousarray(points[..., axis]).ravel() for axis in range(3))
    index = np.empty((3, x.size))
    for row in range(3):
        a, b, c, d = (float(v) for v in lps_to_ijk[row])
        index[2 - row] = a * x + b * y + c * z + d
    return index
