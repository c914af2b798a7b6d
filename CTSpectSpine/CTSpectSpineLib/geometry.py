"""Geometry in one convention: LPS millimetres and 4×4 matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Box = tuple[slice, slice, slice]

FWHM_PER_SIGMA = float(2.0 * np.sqrt(2.0 * np.log(2.0)))
"""Full width at half maximum of a Gaussian over its standard deviation. By definition."""
MAD_TO_SD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation. By definition:
1 / 0.6745, the third quartile of the standard normal distribution."""

LPS_TO_RAS: FloatArray = np.diag([-1.0, -1.0, 1.0, 1.0])
"""By definition: left and posterior turn round. DICOM and ITK use LPS; NIfTI-1 and 3D Slicer,
RAS."""


@dataclass(frozen=True)
class Grid:
    """The geometry of an image without its voxels.

    Attributes
    ----------
    size
        Number of voxels along ``(i, j, k)``.
    ijk_to_lps
        4×4 matrix from index ``(i, j, k, 1)`` to LPS mm.
    """

    size: tuple[int, int, int]
    ijk_to_lps: FloatArray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an array ``[k, j, i]`` on the grid."""
        return self.size[2], self.size[1], self.size[0]

    @property
    def spacing_mm(self) -> FloatArray:
        """Distance of neighbouring voxels along i, j, k in mm, shape (3,)."""
        return np.asarray(np.linalg.norm(self.ijk_to_lps[:3, :3], axis=0))

    def corners_mm(self) -> FloatArray:
        """Outer corners of the grid (voxel borders, not centres), LPS mm, shape (8, 3)."""
        ends = [(-0.5, n - 0.5) for n in self.size]
        corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
        return apply_matrix(self.ijk_to_lps, corners)

    def matches(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether the voxels of both grids coincide, to ``tolerance`` of a voxel.

        The default is numerical: above the rounding of headers in single precision.
        """
        if self.size != other.size:
            return False
        shift = np.abs(self.corners_mm() - other.corners_mm()).max()
        return bool(shift <= tolerance * self.spacing_mm.min())


def grid_of(image: sitk.Image) -> Grid:
    """Geometry of a 3D image."""
    i, j, k = image.GetSize()
    return Grid((i, j, k), ijk_to_lps(image))


def ijk_to_lps(image: sitk.Image) -> FloatArray:
    """4×4 matrix from index ``(i, j, k, 1)`` of a 3D image to LPS mm."""
    direction = np.asarray(image.GetDirection(), dtype=float).reshape(3, 3)
    return affine(direction * np.asarray(image.GetSpacing(), dtype=float), image.GetOrigin())


def affine(linear: FloatArray, offset: Sequence[float] | FloatArray) -> FloatArray:
    """Build the 4 x 4 matrix that maps ``p`` to ``linear @ p + offset``."""
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = offset
    return matrix


def apply_matrix(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """Map points, shape (n, 3), by a 4×4 matrix."""
    return np.asarray(np.asarray(points, dtype=float) @ matrix[:3, :3].T + matrix[:3, 3])


def largest_piece(mask: BoolArray, structure: BoolArray | None = None) -> BoolArray:
    """The largest connected piece of a mask of any dimension; the mask itself where it is whole.

    Parameters
    ----------
    structure
        Which voxels count as neighbours, as for `scipy.ndimage.label`; None for those that share
        a face.
    """
    pieces, count = ndimage.label(mask, structure=structure)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == int(sizes.argmax()))


def content_box(mask: BoolArray) -> tuple[slice, slice, slice] | None:
    """Return the smallest box (k, j, i) around what is true in a mask; none if nothing is."""
    return label_box(mask.view(np.uint8))


def label_box(labels: NDArray[np.generic]) -> Box | None:
    """Smallest box (k, j, i) around the labels of a map ``[k, j, i]``; None in an empty one.

    Labels are above 0. A spine fills a small part of a CT's grid: whoever wants to know something
    of its labels looks for their box, which takes one pass, and then only into it.
    """
    if not labels.size:
        return None
    rows = labels.max(axis=2) > 0
    k, j = (np.flatnonzero(rows.any(axis=axis)) for axis in (1, 0))
    if not k.size:
        return None
    planes, lines = slice(int(k[0]), int(k[-1]) + 1), slice(int(j[0]), int(j[-1]) + 1)
    i = np.flatnonzero(labels[planes, lines].max(axis=(0, 1)) > 0)
    return planes, lines, slice(int(i[0]), int(i[-1]) + 1)


def label_counts(labels: NDArray[np.generic]) -> NDArray[np.intp]:
    """Voxels of each number in a label map, shape (highest number + 1,); 0 is the background."""
    box = label_box(labels)
    if box is None:
        return np.array([labels.size])
    inside = labels[box]
    counts = np.zeros(int(inside.max()) + 1, dtype=np.intp)
    # Counting makes every voxel eight bytes large.
    for plane in inside:
        counts += np.bincount(plane.astype(np.intp).ravel(), minlength=len(counts))
    counts[0] += labels.size - inside.size
    return counts


def label_boxes(labels: NDArray[np.integer], highest: int = 0) -> dict[int, Box]:
    """Box (k, j, i) around each label of a map, up to ``highest`` where that is not 0."""
    around = label_box(labels)
    if around is None:
        return {}
    boxes = {}
    for number, found in enumerate(ndimage.find_objects(labels[around], highest), start=1):
        if found is not None:
            k, j, i = (
                slice(a.start + s.start, a.start + s.stop)
                for a, s in zip(around, found, strict=True)
            )
            boxes[number] = (k, j, i)
    return boxes


def registration_errors_mm(
    true: FloatArray, found: FloatArray, points_mm: FloatArray
) -> FloatArray:
    """Target registration error: how far two transforms put points apart, mm, shape (n,).

    Parameters
    ----------
    true, found
        4×4 matrices, LPS mm.
    points_mm
        Points of the fixed image, LPS mm, shape (n, 3).
    """
    difference = apply_matrix(true, points_mm) - apply_matrix(found, points_mm)
    return np.asarray(np.linalg.norm(difference, axis=1))


def inverse(matrix: FloatArray) -> FloatArray:
    """Inverse of a 4×4 matrix."""
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def image_from_array(array: np.ndarray, matrix: FloatArray) -> sitk.Image:
    """Image from an array ``[k, j, i]`` and its index-to-LPS matrix.

    Raises
    ------
    ValueError
        If the axes of the matrix are not orthogonal (ITK cannot hold a sheared grid).
    """
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    direction = matrix[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise ValueError("the axes of the grid are not orthogonal")
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    return image


def transform_matrix(transform: sitk.Transform) -> FloatArray:
    """4×4 matrix of a rigid or affine transform, LPS mm."""
    origin = np.asarray(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    for axis, unit in enumerate(np.eye(3)):
        matrix[:3, axis] = np.asarray(transform.TransformPoint(unit.tolist())) - origin
    matrix[:3, 3] = origin
    return matrix


def euler_transform(
    matrix: FloatArray, centre_mm: Sequence[float] = (0, 0, 0)
) -> sitk.Euler3DTransform:
    """`Euler3DTransform` with the given centre of rotation from a rigid 4×4 matrix."""
    rotation, translation = matrix[:3, :3], matrix[:3, 3]
    centre = np.asarray(centre_mm, dtype=float)
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(rotation.ravel().tolist(), 1e-6)
    transform.SetTranslation((rotation @ centre + translation - centre).tolist())
    return transform


def image_centre_mm(image: sitk.Image) -> FloatArray:
    """Centre of an image, LPS mm, shape (3,)."""
    index = [(n - 1) / 2.0 for n in image.GetSize()]
    return np.asarray(image.TransformContinuousIndexToPhysicalPoint(index))
