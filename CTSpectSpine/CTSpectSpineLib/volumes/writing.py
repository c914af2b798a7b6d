"""Writing images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import image_suffix, replacing
from CTSpectSpineLib.host import check_encodable, library_call

_NIFTI_HEADER_BYTES = 352
"""Bytes before the voxels. Standard: NIfTI-1 in one file, without extensions."""
_GZIP_LENGTH_BYTES = 4
"""Bytes at the end that hold the length before compression. Standard: RFC 1952."""
_WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")


def write_image(image: sitk.Image, path: Path | str) -> None:
    """Write an image, compressed, so that the file appears only when it is complete.

    The same image gives the same bytes.

    Parameters
    ----------
    image
        The image.
    path
        ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``.

    Raises
    ------
    InputError
        If the extension is none of these, the axes are sheared, or the file cannot be written.
    """
    file = Path(path)
    suffix = image_suffix(file)
    if suffix not in _WRITABLE:
        raise InputError(
            f"{file}: images cannot be written as '{suffix}'; use {', '.join(_WRITABLE)}."
        )
    direction = np.reshape(image.GetDirection(), (image.GetDimension(), -1))
    if not np.allclose(direction.T @ direction, np.eye(image.GetDimension()), atol=1e-4):
        # ITK would straighten the axes in silence, which moves the voxels.
        raise InputError(f"{file}: an image with sheared axes cannot be written; resample it.")
    try:
        check_encodable(file)
        with replacing(file) as temporary, library_call():
            sitk.WriteImage(image, str(temporary), useCompression=suffix != ".nii")
            _check_whole(image, temporary, suffix)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{file}: the image cannot be written ({reason}).") from error


def _check_whole(image: sitk.Image, path: Path, suffix: str) -> None:
    """Check that a NIfTI file holds all voxels: ITK says nothing when the disk gets full.

    Raises
    ------
    OSError
        If it does not.
    """
    if suffix not in (".nii", ".nii.gz"):
        return
    components = image.GetNumberOfComponentsPerPixel()
    voxels = image.GetNumberOfPixels() * components * image.GetSizeOfPixelComponent()
    written = path.stat().st_size
    if suffix == ".nii.gz":
        with path.open("rb") as stream:
            stream.seek(max(written - _GZIP_LENGTH_BYTES, 0))
            written = int.from_bytes(stream.read(), "little")
    wanted = _NIFTI_HEADER_BYTES + voxels
    if written != (wanted if suffix == ".nii" else wanted % (1 << 8 * _GZIP_LENGTH_BYTES)):
        raise OSError("it is cut off; the disk may be full")
