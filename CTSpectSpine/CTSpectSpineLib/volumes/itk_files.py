"""NRRD and MetaImage files, their voxels read with sizes and ends checked.

ITK tells the geometry of a MetaImage. It never sees the header of an NRRD file before it was
checked, because a long word in it overruns ITK's memory. Files whose voxels are text or are spread
over several files are read by ITK alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import image_suffix
from CTSpectSpineLib.geometry import affine, ijk_to_lps
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.volumes.encoded import EncodedVoxels
from CTSpectSpineLib.volumes.nrrd_files import (
    check_words,
    nrrd_grid,
    nrrd_voxels,
    read_nrrd_header,
)
from CTSpectSpineLib.volumes.plausible import not_3d

_HEADER_BYTES = 1 << 16
"""Bytes in which the header of a MetaImage ends. Judgement: it has a few hundred."""
_META_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""Type of numpy by that of MetaImage; those whose size depends on the machine are left to ITK.
Standard: MetaIO."""
_DTYPES = {
    sitk.sitkInt8: "i1",
    sitk.sitkUInt8: "u1",
    sitk.sitkInt16: "i2",
    sitk.sitkUInt16: "u2",
    sitk.sitkInt32: "i4",
    sitk.sitkUInt32: "u4",
    sitk.sitkInt64: "i8",
    sitk.sitkUInt64: "u8",
    sitk.sitkFloat32: "f4",
    sitk.sitkFloat64: "f8",
}


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
    found = _meta_voxels(source)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(source))
    try:
        reader.ReadImageInformation()
    except (RuntimeError, ValueError) as error:
        raise _unreadable(source, error) from error
    size = tuple(reader.GetSize())
    _check_shape(source, reader.GetNumberOfComponents(), reader.GetPixelID(), size)
    if found is None or found[1].str[1:] != _DTYPES.get(reader.GetPixelID()):
        return _by_itk(source)
    encoded, dtype = found
    if encoded.count != math.prod(size) * dtype.itemsize:
        raise InputError(
            f"{source}: its header contradicts itself about the number of voxels; write the file "
            "again from the original images."
        )
    axes = np.reshape(reader.GetDirection(), (len(size), -1))[:3, :3]
    matrix = affine(axes * np.array(reader.GetSpacing()[:3]), reader.GetOrigin()[:3])
    return _array(encoded, dtype, size[2::-1]), matrix


def _read_nrrd(source: Path) -> tuple[NDArray[np.generic], FloatArray]:
    header, end = read_nrrd_header(source)
    grid = nrrd_grid(source, header)
    found = nrrd_voxels(source, header, end)
    if found is None:
        check_words(source, header)
        return _by_itk(source)
    encoded, dtype = found
    return _array(encoded, dtype, grid.shape), grid.ijk_to_lps


def _array(
    encoded: EncodedVoxels, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[np.generic]:
    stored = np.frombuffer(encoded.read(), dtype=dtype).reshape(shape)
    return stored.astype(dtype.newbyteorder("="), copy=False)


def _by_itk(source: Path) -> tuple[NDArray[np.generic], FloatArray]:
    """Voxels as text or in several files."""
    try:
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


def _meta_voxels(source: Path) -> tuple[EncodedVoxels, np.dtype[Any]] | None:
    with source.open("rb") as stream:
        start = stream.read(_HEADER_BYTES)
    # The name of the data file ends the header.
    fields = re.match(rb".*?ElementDataFile\s*=[^\n]*\n?", start, re.DOTALL | re.IGNORECASE)
    if fields is None:
        return None
    header = _meta_fields(fields.group().decode("latin-1"))
    name = header.get("elementdatafile", "")
    code = _META_TYPES.get(header.get("elementtype", ""))
    sizes = [int(n) for n in re.findall(r"\d+", header.get("dimsize", ""))]
    skip = header.get("headersize", "0")
    binary = header.get("binarydata", "true").lower().startswith(("t", "1"))
    whole = re.fullmatch(r"-?\d+", skip) is not None
    if not (code and sizes and min(sizes) and binary and whole) or _several(name):
        return None
    large = header.get("elementbyteordermsb", header.get("binarydatabyteordermsb", "false"))
    dtype = np.dtype((">" if large.lower().startswith(("t", "1")) else "<") + code)
    local = name.upper() == "LOCAL"
    path = source if local else source.parent / name
    begin = fields.end() if local else 0
    count = math.prod(sizes) * dtype.itemsize
    spare = max(1, count // sizes[-1])
    if not header.get("compresseddata", "false").lower().startswith(("t", "1")):
        begin = -1 if int(skip) < 0 else begin + int(skip)
        return EncodedVoxels(path, "raw", begin, 0, count, spare), dtype
    begin += max(0, int(skip))
    with path.open("rb") as stream:
        stream.seek(begin)
        packed = "gzip" if stream.read(2) == b"\x1f\x8b" else "zlib"
    return EncodedVoxels(path, packed, begin, 0, count, spare), dtype  # type: ignore[arg-type]


def _several(name: str) -> bool:
    return not name or name.upper().startswith("LIST") or "%" in name


def _meta_fields(text: str) -> Mapping[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, value in pairs}
