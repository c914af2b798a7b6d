"""NIfTI files: nibabel unpacks the header, the rules that decide what it means are here.

ITK prefers the qform in some cases, refuses a sheared sform or silently replaces it by the
qform, ignores the table of label names, and completes a truncated file with whatever is in
memory. The rules here are those of the NIfTI standard (https://nifti.nimh.nih.gov): the sform
where it is set, otherwise the qform. nibabel's own checks are off: they refuse files that the
standard's reference library reads (a qform with a negative voxel size), and mend others with a
line on the console.
"""

from __future__ import annotations

import gzip
import math
import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import image_suffix
from CTSpectSpineLib.geometry import LPS_TO_RAS, affine
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.volumes.encoded import EncodedVoxels, Encoding

_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Code of the unit of length to mm (unknown, metre, millimetre, micrometre). Standard: NIfTI-1."""
_LONGEST_HEADER = 540
"""Bytes of the longer header. Standard: NIfTI-2."""
_QFORM = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")


@dataclass(frozen=True)
class NiftiHeader:
    """The parts of a NIfTI header that matter here.

    Attributes
    ----------
    dim
        Sizes along all axes, ``dim[1:]`` of the file.
    matrix
        4×4 matrix from index to LPS mm.
    dtype
        Type of the stored voxels; None for complex, colour and other unusual voxels.
    offset
        Bytes before the voxels.
    slope, intercept
        Scale of the stored voxels.
    label_names
        Label value to name, from the table that TotalSegmentator and Workbench write.
    notes
        Sentences about doubts on the orientation.
    """

    dim: tuple[int, ...]
    matrix: FloatArray
    dtype: np.dtype[np.generic] | None
    offset: int
    slope: float
    intercept: float
    label_names: Mapping[int, str]
    notes: tuple[str, ...]


# Damaged numbers get a sentence of their own; numpy's warnings about them would add nothing.
@np.errstate(over="ignore", invalid="ignore")
def read_nifti_header(path: Path) -> NiftiHeader:
    """Read the header of a ``.nii``, ``.nii.gz`` or ``.hdr`` file.

    Raises
    ------
    InputError
        If the file is not a NIfTI file or its header contradicts itself.
    """
    try:
        with _open(path) as stream:
            header = _header(stream.read(_LONGEST_HEADER))
            if header is None:
                raise InputError(
                    f"{path}: this is not a NIfTI file or its header is damaged; "
                    "write it again from the original images."
                )
            offset = _offset(header, path)
            names = _label_names(stream, header.sizeof_hdr, offset)
    except (OSError, EOFError, OverflowError, ValueError, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: the NIfTI header cannot be read ({error}); the file may be damaged."
        ) from error
    matrix, notes = _matrix(header, path)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    scaled = np.isfinite(slope) and slope != 0 and np.isfinite(intercept)
    return NiftiHeader(
        dim=_dim(header),
        matrix=matrix,
        dtype=_dtype(header),
        offset=offset,
        slope=slope if scaled else 1.0,
        intercept=intercept if scaled else 0.0,
        label_names=names,
        notes=notes,
    )


def read_nifti_voxels(path: Path, header: NiftiHeader) -> NDArray[np.generic]:
    """Read the voxels of a 3D file, scaled, as an array ``[k, j, i]``.

    Parameters
    ----------
    path
        The file with the voxels: the ``.nii`` itself, or the ``.img`` beside a ``.hdr``.
    header
        Header of a scalar 3D file (further axes of length 1 are allowed).

    Raises
    ------
    InputError
        If the file is truncated or damaged.
    """
    if header.dtype is None:
        raise ValueError("voxels of an unusual type")
    shape = header.dim[2::-1]
    count = math.prod(shape) * header.dtype.itemsize
    encoding: Encoding = "gzip" if _compressed(path) else "raw"
    spare = max(1, count // shape[0])
    content = EncodedVoxels(path, encoding, 0, header.offset, count, spare).read()
    stored = np.frombuffer(content, dtype=header.dtype).reshape(shape)
    if (header.slope, header.intercept) == (1.0, 0.0):
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    whole = float(header.slope).is_integer() and float(header.intercept).is_integer()
    if stored.dtype.kind in "iu" and whole and _fits_int32(stored.dtype, header):
        return stored.astype(np.int32) * int(header.slope) + int(header.intercept)
    return stored.astype(np.float64) * header.slope + header.intercept


def _fits_int32(dtype: np.dtype[Any], header: NiftiHeader) -> bool:
    limits = np.iinfo(dtype)
    ends = (n * header.slope + header.intercept for n in (int(limits.min), int(limits.max)))
    return dtype.itemsize <= 2 and all(abs(end) < 2**31 for end in ends)


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if _compressed(path) else path.open("rb")


def _compressed(path: Path) -> bool:
    with path.open("rb") as start:
        return start.read(2) == b"\x1f\x8b"


def _header(start: bytes) -> Any | None:
    """NIfTI-1 or NIfTI-2 header of either byte order; None when it is neither."""
    # nibabel takes a while to import, and most of what the library does needs no NIfTI file.
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    for kind in (Nifti1Header, Nifti2Header):
        block = start[: kind.sizeof_hdr]
        if len(block) < kind.sizeof_hdr:
            return None
        for order in "<>":
            header = kind(block, endianness=order, check=False)
            if header["sizeof_hdr"] == kind.sizeof_hdr:
                # Analyze files look alike, but what is left and right in them is anyone's guess.
                known = bytes(header["magic"])[:3] in (kind.single_magic, kind.pair_magic)
                usable = known and 1 <= header["dim"][0] <= 7 and min(_dim(header)) > 0
                return header if usable else None
    return None


def _dim(header: Any) -> tuple[int, ...]:
    # Not get_data_shape, which rewrites some sizes by a convention of FreeSurfer.
    axes = int(header["dim"][0])
    return tuple(header["dim"][1 : 1 + axes].tolist())


def _offset(header: Any, path: Path) -> int:
    """Bytes before the voxels."""
    offset: int = header.get_data_offset()
    if offset < (0 if image_suffix(path) == ".hdr" else header.sizeof_hdr):
        raise InputError(
            f"{path}: the NIfTI header puts the voxels inside itself (at byte {offset}); the "
            "file may be damaged, write it again from the original images."
        )
    return offset


def _dtype(header: Any) -> np.dtype[np.generic] | None:
    """Type of the stored voxels; None when they are not one ordinary number each."""
    try:
        dtype: np.dtype[np.generic] = header.get_data_dtype()
    except KeyError:
        return None
    return dtype if dtype.kind in "iuf" and dtype.itemsize <= 8 else None


def _matrix(header: Any, path: Path) -> tuple[FloatArray, tuple[str, ...]]:
    """Index-to-LPS matrix according to the standard, and doubts about it."""
    scale = np.diag([*[_UNIT_MM.get(int(header["xyzt_units"]) & 7, 1.0)] * 3, 1.0])
    pixdim = header["pixdim"][1:4].astype(float)
    has_sform, has_qform = header["sform_code"] > 0, header["qform_code"] > 0
    sform = header.get_sform() if has_sform else None
    qform = _qform(header) if has_qform else None
    usable = [m for m in (sform, qform) if m is not None and _regular(m)]
    if not usable:
        if has_sform or has_qform:
            raise InputError(
                f"{path}: the orientation in the NIfTI header is not usable (zero, NaN or "
                "singular matrix); write the file again from the original images."
            )
        size = np.abs(pixdim)
        if not np.all(np.isfinite(size)) or size.min() <= 0:
            raise InputError(f"{path}: the NIfTI header gives no voxel size; write it again.")
        return LPS_TO_RAS @ scale @ np.diag([*size, 1.0]), (
            f"{path.name} states no orientation (qform and sform codes are 0): which side is "
            "left cannot be told from it.",
        )
    notes: list[str] = []
    if len(usable) == 2:
        size = np.array(header["dim"][1:4], dtype=float) - 1
        ends = np.array([[0, 0, 0, 1], [*size, 1]], dtype=float).T
        distance = float(np.abs((usable[0] - usable[1]) @ ends).max())
        if distance > 0.5 * min(np.abs(pixdim).tolist()):
            notes.append(
                f"The sform and qform of {path.name} disagree by up to {distance:.1f} mm: the "
                "sform was used."
            )
    elif sform is not None and usable[0] is qform:
        notes.append(f"The sform of {path.name} is not usable: the qform was used.")
    return LPS_TO_RAS @ scale @ usable[0], tuple(notes)


def _regular(matrix: FloatArray) -> bool:
    return bool(np.all(np.isfinite(matrix)) and abs(np.linalg.det(matrix[:3, :3])) > 1e-9)


def _qform(header: Any) -> FloatArray:
    # nibabel's get_qform refuses negative voxel sizes and quaternions longer than 1.
    b, c, d, *offset = (float(header[name]) for name in _QFORM)
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    pixdim = header["pixdim"].astype(float)
    handedness = -1.0 if pixdim[0] < 0 else 1.0
    return affine(rotation * np.abs(pixdim[1:4]) * [1.0, 1.0, handedness], offset)


_DETACHED_BYTES = 1 << 20
"""Bytes of a detached header that are searched for label names. Judgement: a table of all classes
of TotalSegmentator takes about 12 kB."""
_MOST_BYTES = 1 << 24
"""Most bytes that are searched for label names, which bounds the memory for damaged files.
Judgement: far beyond any table."""
_LABEL_TABLE = re.compile(rb"<LabelTable>.*?</LabelTable>", re.DOTALL)


def _label_names(stream: IO[bytes], start: int, offset: int) -> dict[int, str]:
    """Names of the labels from the header extensions (Connectivity Workbench's XML)."""
    stream.seek(start)
    extender = stream.read(4)
    if len(extender) < 4 or extender[0] == 0:
        return {}
    # Only what stands before the voxels belongs to the header; detached headers end there.
    limit = offset if offset > start else _DETACHED_BYTES
    # The table is searched for, because nibabel's list of extensions fails as a whole on zero
    # padding behind the last one or a wrong size in any of them.
    table = _LABEL_TABLE.search(stream.read(max(0, min(limit, _MOST_BYTES) - start - 4)))
    if table is None:
        return {}
    try:
        rows = ET.fromstring(table.group().decode("utf-8", "replace"))
        return {int(row.attrib["Key"]): (row.text or "").strip() for row in rows.iter("Label")}
    except (ET.ParseError, KeyError, ValueError):
        return {}
