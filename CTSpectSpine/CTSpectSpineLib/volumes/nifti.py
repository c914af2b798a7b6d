"""What a NIfTI header says, read directly: ITK takes another matrix than other programs do.

ITK prefers the qform in some cases, refuses a sheared sform or silently replaces it by the
qform, and ignores the table of label names. The rules here are those of the NIfTI standard as
its reference readers apply them: the sform where it is set, otherwise the qform.
"""

from __future__ import annotations

import gzip
import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.volumes.geometry import LPS_TO_RAS

_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_COMPLEX_OR_COLOUR = {32, 128, 1792, 2048, 2304}


@dataclass(frozen=True)
class NiftiHeader:
    """The parts of a NIfTI header that matter here.

    Attributes
    ----------
    dim
        Sizes along all axes, ``dim[1:]`` of the file.
    matrix
        4×4 matrix from index to LPS mm; None where the file has no orientation.
    pixdim
        Voxel size along i, j, k in mm.
    scalar
        False for complex and colour voxels.
    data_bytes
        Bytes that the voxels take uncompressed, with everything before them.
    label_names
        Label value to name, from the table that TotalSegmentator and Workbench write.
    notes
        Sentences on doubts about the orientation.
    """

    dim: tuple[int, ...]
    matrix: FloatArray | None
    pixdim: tuple[float, float, float]
    scalar: bool
    data_bytes: int
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
    sizes = fields.dim[1 : 1 + fields.dim[0]]
    bits = int(np.prod([float(n) for n in sizes])) * fields.bitpix
    return NiftiHeader(
        dim=sizes,
        matrix=matrix,
        pixdim=(fields.pixdim[1], fields.pixdim[2], fields.pixdim[3]),
        scalar=fields.datatype not in _COMPLEX_OR_COLOUR,
        data_bytes=fields.vox_offset + bits // 8,
        label_names=names,
        notes=notes,
    )


@dataclass(frozen=True)
class _Fields:
    size: int
    dim: tuple[int, ...]
    datatype: int
    bitpix: int
    pixdim: tuple[float, ...]
    vox_offset: int
    units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    srow: tuple[float, ...]


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else path.open("rb")


def _fields(start: bytes) -> _Fields | None:
    """Unpack a NIfTI-1 or NIfTI-2 header of either byte order; None when it is neither."""
    if len(start) < 348:
        return None
    for order in "<>":
        (size,) = struct.unpack_from(order + "i", start, 0)
        if size == 348:
            fields = _Fields(
                size=size,
                dim=struct.unpack_from(order + "8h", start, 40),
                datatype=struct.unpack_from(order + "h", start, 70)[0],
                bitpix=struct.unpack_from(order + "h", start, 72)[0],
                pixdim=struct.unpack_from(order + "8f", start, 76),
                vox_offset=int(struct.unpack_from(order + "f", start, 108)[0]),
                units=start[123] & 7,
                qform_code=struct.unpack_from(order + "h", start, 252)[0],
                sform_code=struct.unpack_from(order + "h", start, 254)[0],
                quaternion=struct.unpack_from(order + "6f", start, 256),
                srow=struct.unpack_from(order + "12f", start, 280),
            )
        elif size == 540 and len(start) >= 540:
            fields = _Fields(
                size=size,
                dim=struct.unpack_from(order + "8q", start, 16),
                datatype=struct.unpack_from(order + "h", start, 12)[0],
                bitpix=struct.unpack_from(order + "h", start, 14)[0],
                pixdim=struct.unpack_from(order + "8d", start, 104),
                vox_offset=struct.unpack_from(order + "q", start, 168)[0],
                units=struct.unpack_from(order + "i", start, 500)[0] & 7,
                qform_code=struct.unpack_from(order + "i", start, 344)[0],
                sform_code=struct.unpack_from(order + "i", start, 348)[0],
                quaternion=struct.unpack_from(order + "6d", start, 352),
                srow=struct.unpack_from(order + "12d", start, 400),
            )
        else:
            continue
        axes = fields.dim[0]
        if 1 <= axes <= 7 and all(n > 0 for n in fields.dim[1 : 1 + axes]):
            return fields
    return None


def _matrix(fields: _Fields, path: Path) -> tuple[FloatArray | None, tuple[str, ...]]:
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
        return None, (
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


def _label_names(stream: BinaryIO, start: bytes, fields: _Fields) -> dict[int, str]:
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
