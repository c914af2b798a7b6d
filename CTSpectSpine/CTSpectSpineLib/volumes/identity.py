"""Which image a result was made from: its grid and its voxels, whatever file holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.geometry import FloatArray, ijk_to_lps

_SAME_PLACE_MM = 0.01
"""Largest distance of the corners of one image stored twice. Numerical: files keep geometry with
six to eight digits."""


@dataclass(frozen=True)
class ImageIdentity:
    """Grid and voxels of an image.

    Attributes
    ----------
    size
        Voxels along the three axes.
    ijk_to_lps
        Rows of the 4×4 matrix from voxel indices to LPS mm.
    voxels_sha256
        Hash of the values as 32-bit floats, so that it is the same for one image stored in two
        formats.
    """

    size: tuple[int, ...]
    ijk_to_lps: tuple[tuple[float, ...], ...]
    voxels_sha256: str

    def difference(self, other: ImageIdentity) -> str:
        """How another image differs, as the end of a sentence; empty if it is the same one.

        Examples
        --------
        >>> import SimpleITK as sitk
        >>> image = sitk.Image(4, 4, 4, sitk.sitkFloat32)
        >>> moved = sitk.Image(image)
        >>> moved.SetOrigin((0.0, 0.0, 15.0))
        >>> identity_of(image).difference(identity_of(moved))
        'lies elsewhere (up to 15.0 mm away)'
        """
        if self.size != other.size:
            return "has another number of voxels"
        if self.voxels_sha256 != other.voxels_sha256:
            return "has other values"
        distance = float(np.linalg.norm(self._corners() - other._corners(), axis=1).max())
        return f"lies elsewhere (up to {distance:.1f} mm away)" if distance > _SAME_PLACE_MM else ""

    def _corners(self) -> FloatArray:
        last = np.array(self.size) - 1.0
        ends = np.array(np.meshgrid(*([0.0, n] for n in last), indexing="ij")).reshape(3, -1)
        matrix = np.array(self.ijk_to_lps)
        corners: FloatArray = (matrix[:3, :3] @ ends).T + matrix[:3, 3]
        return corners

    def record(self) -> dict[str, Any]:
        """The identity as JSON keeps it."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ImageIdentity:
        """What `record` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is something else.
        """
        matrix = np.array(record["ijk_to_lps"], dtype=float)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ValueError("ijk_to_lps is not a 4×4 matrix")
        size = tuple(int(count) for count in record["size"])
        if len(size) != 3:
            raise ValueError("size does not have three numbers")
        rows = tuple(tuple(row) for row in matrix.tolist())
        return cls(size, rows, str(record["voxels_sha256"]))


def identity_of(image: sitk.Image) -> ImageIdentity:
    """Identity of a 3D image, brought to axes along L, P, S first so that storage does not matter.

    Examples
    --------
    >>> import SimpleITK as sitk
    >>> image = sitk.Image(4, 4, 4, sitk.sitkInt16)
    >>> identity_of(image) == identity_of(sitk.Flip(image, [True, False, False]))
    False
    >>> identity_of(image) == identity_of(sitk.Cast(image, sitk.sitkFloat64))
    True
    """
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    # The filter copies the image, even where it changes nothing.
    oriented = image if code == "LPS" else sitk.DICOMOrient(image, "LPS")
    digest = hashlib.sha256()
    # Slice by slice: the image as floats would be as large again.
    for plane in sitk.GetArrayViewFromImage(oriented):
        digest.update(np.ascontiguousarray(plane, dtype="<f4").data)
    rows = tuple(tuple(row) for row in ijk_to_lps(oriented).tolist())
    return ImageIdentity(tuple(oriented.GetSize()), rows, digest.hexdigest())
