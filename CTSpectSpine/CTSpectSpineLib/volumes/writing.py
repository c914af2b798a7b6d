"""Writing images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import image_suffix, replacing
from CTSpectSpineLib.host import check_encodable, library_call

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
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{file}: the image cannot be written ({reason}).") from error
