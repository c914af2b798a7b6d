"""NRRD and MetaImage files, their voxels read with sizes and ends checked.

ITK crashes on some damaged headers, so it reads only what is left: files whose voxels are text or
lie in several files, once their headers were checked.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import image_suffix
from CTSpectSpineLib.geometry import Grid, ijk_to_lps
from CTSpectSpineLib.host import library_call
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.volumes.encoded import EncodedVoxels
from CTSpectSpineLib.volumes.metaimage_files import meta_voxels, read_meta_header
from CTSpectSpineLib.volumes.nrrd_files import (
    check_words,
    nrrd_grid,
    nrrd_voxels,
    read_nrrd_header,
)
from CTSpectSpineLib.volumes.plausible import not_3d

_HEADER_BYTES = 1 << 16
"""Bytes in which the header of a MetaImage ends. Judgement: it has a few hundred."""


def read_itk_file(source: Path) -> tuple[NDArray[np.generic], FloatArray]:
    """Read a scalar image of three dimensions (further axes have length 1).

    Returns
    -------
    array, matrix
        Voxels ``[k, j, i]`` and the 4×4 matrix from index to LPS mm, as they stand in the file:
        the axes may be sheared, or singular.

    Raises
    ------
    InputError
        If the file is damaged, or holds anything but one number per voxel.
    """
    if image_suffix(source) not in (".mha", ".mhd"):
        return _read_nrrd(source)
    header = read_meta_header(source)
    return _whole(source, header.grid, meta_voxels(source, header))


def _read_nrrd(source: Path) -> tuple[NDArray[np.generic], FloatArray]:
    header, end = read_nrrd_header(source)
    grid = nrrd_grid(source, header)
    found = nrrd_voxels(source, header, end)
    if found is None:
        check_words(source, header)
    return _whole(source, grid, found)


def _whole(
    source: Path, grid: Grid, found: tuple[EncodedVoxels, np.dtype[Any]] | None
) -> tuple[NDArray[np.generic], FloatArray]:
    if found is None:
        return _by_itk(source)
    encoded, dtype = found
    stored = np.frombuffer(encoded.read(), dtype=dtype).reshape(grid.shape)
    return stored.astype(dtype.newbyteorder("="), copy=False), grid.ijk_to_lps


def _by_itk(source: Path) -> tuple[NDArray[np.generic], FloatArray]:
    """Voxels as text or in several files."""
    try:
        with library_call():
            image = sitk.ReadImage(str(source))
    except (RuntimeError, ValueError) as error:
        raise _unreadable(source, error) from error
    _check_shape(source, image.GetNumberOfComponentsPerPixel(), image.GetPixelID(), image.GetSize())
    volume = three_dimensional(image, source)
    return sitk.GetArrayFromImage(volume), ijk_to_lps(volume)


def _check_shape(source: Path, components: int, pixel_id: int, size: tuple[int, ...]) -> None:
    pixel = sitk.GetPixelIDValueAsString(pixel_id)
    if components > 1 or "complex" in pixel or "vector" in pixel:
        raise InputError(f"{source}: {pixel} voxels; one number per voxel is needed.")
    if len(size) < 3 or math.prod(size[3:]) > 1:
        raise not_3d(source, size)
    if min(size) < 1:
        raise InputError(f"{source}: the header states no voxels; write the file again.")


def companions(source: Path) -> tuple[Path, ...]:
    """Files with the voxels of a detached header."""
    if image_suffix(source) not in (".mhd", ".nhdr"):
        return ()
    text = source.read_bytes()[:_HEADER_BYTES].decode("latin-1")
    found = re.search(r"^\s*(?:ElementDataFile\s*=|data ?file:)\s*(\S.*?)\s*$", text, re.M | re.I)
    name = found.group(1) if found else ""
    # Lists and patterns of slice files are left to ITK.
    single = name and not name.upper().startswith(("LIST", "LOCAL")) and "%" not in name
    return (source.parent / name,) if single else ()


def three_dimensional(image: sitk.Image, source: Path | str) -> sitk.Image:
    """The only frame of an image.

    Raises
    ------
    InputError
        If it has several, or is flat.
    """
    size = image.GetSize()
    if len(size) == 3:
        return image
    if len(size) < 3 or math.prod(size[3:]) > 1:
        raise not_3d(source, size)
    frame = image
    while frame.GetDimension() > 3:
        extract = [*frame.GetSize()[:-1], 0]
        frame = sitk.Extract(
            frame, extract, [0] * len(extract), sitk.ExtractImageFilter.DIRECTIONCOLLAPSETOSUBMATRIX
        )
    return frame


def _unreadable(source: Path, error: Exception) -> InputError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = re.sub(r"^.*?(ERROR|Exception):\s*", "", lines[-1])[:160] if lines else "unknown"
    return InputError(f"{source}: the file cannot be read; it may be damaged ({reason}).")
