"""NIfTI files, read directly because ITK reads some of them otherwise than other programs do.

ITK prefers the qform in some cases, refuses a sheared sform or silently replaces it by the
qform, ignores the table of label names, and fills a file that was cut off with whatever stands
in memory. The rules here are those of the NIfTI standard (https://nifti.nimh.nih.gov): the sform
where it is set, otherwise the qform.
"""

from __future__ import annotations

import gzip
import re
import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import LPS_TO_RAS
from CTSpectSpineLib.model import FloatArray

_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
"""NIfTI data types that are one number per voxel."""


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
        Sentences on doubts about the orientation.
    """

    dim: tuple[int, ...]
    matrix: FloatArray
    dtype: np.dtype[np.generic] | None
    offset: int
    slope: float
    intercept: float
    label_names: Mapping[int, str]
    notes: tuple[str, ...]


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read the header of a ``.nii``, ``.nii.gz`` or ``.hdr`` file.

    Raises
    ------
    InputError
        If the file is no NIfTI file or its header contradicts itself.
    """
    try:
        with _open(path) as stream:
            start = stream.read(544)
            fields = _fields(start)
            if fields is None:
                raise InputError(
                    f"{path}: this is not a NIfTI file or its header is damaged; "
                    "write it again from the original images."
                )
            names = _label_names(stream, start, fields)
    except (OSError, EOFError, ValueError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: the NIfTI header cannot be read ({error}); the file may be damaged."
        ) from error
    matrix, notes = _matrix(fields, path)
    kind = _TYPES.get(fields.datatype)
    scaled = np.isfinite(fields.slope) and fields.slope != 0 and np.isfinite(fields.intercept)
    return NiftiHeader(
        dim=fields.dim[1 : 1 + fields.dim[0]],
        matrix=matrix,
        dtype=None if kind is None else np.dtype(fields.order + kind),
        offset=fields.vox_offset,
        slope=fields.slope if scaled else 1.0,
        intercept=fields.intercept if scaled else 0.0,
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
        If the file is cut off or damaged.
    """
    if header.dtype is None:
        raise ValueError("voxels of an unusual type")
    shape = header.dim[2::-1]
    count = int(np.prod(shape, dtype=np.int64)) * header.dtype.itemsize
    try:
        with _open(path) as stream:
            stream.read(header.offset)
            content = stream.read(count)
            # Reading to the end makes gzip verify its checksum.
            while stream.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: the voxels cannot be read ({error}); the file is damaged, copy it again."
        ) from error
    if len(content) < count:
        raise InputError(
            f"{path}: the file is cut off ({len(content)} of {count} bytes of voxels); copy it "
            "again."
        )
    stored = np.frombuffer(content, dtype=header.dtype).reshape(shape)
    if (header.slope, header.intercept) == (1.0, 0.0):
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    whole = float(header.slope).is_integer() and float(header.intercept).is_integer()
    if stored.dtype.kind in "iu" and whole and stored.dtype.itemsize <= 2:
        return stored.astype(np.int32) * int(header.slope) + int(header.intercept)
    return stored.astype(np.float64) * header.slope + header.intercept


@dataclass(frozen=True)
class _Fields:
    order: str
    size: int
    dim: tuple[int, ...]
    datatype: int
    pixdim: tuple[float, ...]
    vox_offset: int
    slope: float
    intercept: float
    units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    srow: tuple[float, ...]


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as start:
        compressed = start.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if compressed else path.open("rb")


def _fields(start: bytes) -> _Fields | None:
    """Unpack a NIfTI-1 or NIfTI-2 header of either byte order; None when it is neither."""
    if len(start) < 348:
        return None
    for order in "<>":
        (size,) = struct.unpack_from(order + "i", start, 0)
        if size == 348:
            fields = _Fields(
                order=order,
                size=size,
                dim=struct.unpack_from(order + "8h", start, 40),
                datatype=struct.unpack_from(order + "h", start, 70)[0],
                pixdim=struct.unpack_from(order + "8f", start, 76),
                vox_offset=int(struct.unpack_from(order + "f", start, 108)[0]),
                slope=struct.unpack_from(order + "f", start, 112)[0],
                intercept=struct.unpack_from(order + "f", start, 116)[0],
                units=start[123] & 7,
                qform_code=struct.unpack_from(order + "h", start, 252)[0],
                sform_code=struct.unpack_from(order + "h", start, 254)[0],
                quaternion=struct.unpack_from(order + "6f", start, 256),
                srow=struct.unpack_from(order + "12f", start, 280),
            )
        elif size == 540 and len(start) >= 540:
            fields = _Fields(
                order=order,
                size=size,
                dim=struct.unpack_from(order + "8q", start, 16),
                datatype=struct.unpack_from(order + "h", start, 12)[0],
                pixdim=struct.unpack_from(order + "8d", start, 104),
                vox_offset=struct.unpack_from(order + "q", start, 168)[0],
                slope=struct.unpack_from(order + "d", start, 176)[0],
                intercept=struct.unpack_from(order + "d", start, 184)[0],
                units=struct.unpack_from(order + "i", start, 500)[0] & 7,
                qform_code=struct.unpack_from(order + "i", start, 344)[0],
                sform_code=struct.unpack_from(order + "i", start, 348)[0],
                quaternion=struct.unpack_from(order + "6d", start, 352),
                srow=struct.unpack_from(order + "12d", start, 400),
            )
        else:
            continue
        axes = fields.dim[0]
        magic = start[344:347] if size == 348 else start[4:7]
        # Analyze files look alike, but what is left and right in them is anyone's guess.
        if magic not in (b"n+1", b"ni1", b"n+2", b"ni2"):
            return None
        if 1 <= axes <= 7 and all(n > 0 for n in fields.dim[1 : 1 + axes]):
            return fields
    return None


def _matrix(fields: _Fields, path: Path) -> tuple[FloatArray, tuple[str, ...]]:
    """Index-to-LPS matrix by the standard's rules, and doubts about it."""
    scale = np.diag([*[_UNIT_MM.get(fields.units, 1.0)] * 3, 1.0])
    sform = _sform(fields) if fields.sform_code > 0 else None
    qform = _qform(fields) if fields.qform_code > 0 else None
    usable = [m for m in (sform, qform) if m is not None and _regular(m)]
    if not usable:
        if fields.sform_code > 0 or fields.qform_code > 0:
            raise InputError(
                f"{path}: the orientation in the NIfTI header is not usable (zero, NaN or "
                "singular matrix); write the file again from the original images."
            )
        size = np.abs(fields.pixdim[1:4])
        if not np.all(np.isfinite(size)) or size.min() <= 0:
            raise InputError(f"{path}: the NIfTI header gives no voxel size; write it again.")
        return LPS_TO_RAS @ scale @ np.diag([*size, 1.0]), (
            f"{path.name} states no orientation (qform and sform codes are 0): which side is "
            "left cannot be told from it.",
        )
    notes: list[str] = []
    if len(usable) == 2:
        size = np.array(fields.dim[1:4], dtype=float) - 1
        ends = np.array([[0, 0, 0, 1], [*size, 1]], dtype=float).T
        distance = float(np.abs((usable[0] - usable[1]) @ ends).max())
        if distance > 0.5 * min(abs(p) for p in fields.pixdim[1:4]):
            notes.append(
                f"The sform and qform of {path.name} disagree by up to {distance:.1f} mm: the "
                "sform was used."
            )
    elif sform is not None and usable[0] is qform:
        notes.append(f"The sform of {path.name} is not usable: the qform was used.")
    return LPS_TO_RAS @ scale @ usable[0], tuple(notes)


def _regular(matrix: FloatArray) -> bool:
    return bool(np.all(np.isfinite(matrix)) and abs(np.linalg.det(matrix[:3, :3])) > 1e-9)


def _sform(fields: _Fields) -> FloatArray:
    return np.vstack([np.reshape(fields.srow, (3, 4)), [0.0, 0.0, 0.0, 1.0]])


def _qform(fields: _Fields) -> FloatArray:
    b, c, d, *offset = fields.quaternion
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handedness = -1.0 if fields.pixdim[0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.abs(fields.pixdim[1:4]) * [1.0, 1.0, handedness]
    matrix[:3, 3] = offset
    return matrix


_LABEL_TABLE = re.compile(rb"<LabelTable>.*?</LabelTable>", re.DOTALL)


def _label_names(stream: IO[bytes], start: bytes, fields: _Fields) -> dict[int, str]:
    """Names of the labels from the header extensions (Connectivity Workbench's XML)."""
    extender = start[fields.size : fields.size + 4]
    if len(extender) < 4 or extender[0] == 0:
        return {}
    # Only what stands before the voxels belongs to the header; detached headers end there.
    limit = fields.vox_offset if fields.vox_offset > fields.size else 1 << 20
    stream.seek(fields.size + 4)
    table = _LABEL_TABLE.search(stream.read(max(0, min(limit, 1 << 24) - fields.size - 4)))
    if table is None:
        return {}
    try:
        rows = ET.fromstring(table.group().decode("utf-8", "replace"))
        return {int(row.attrib["Key"]): (row.text or "").strip() for row in rows.iter("Label")}
    except (ET.ParseError, KeyError, ValueError):
        return {}
