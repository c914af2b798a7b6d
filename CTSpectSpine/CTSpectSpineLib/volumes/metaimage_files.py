"""MetaImage files: the header, and where the voxels are.

Format: https://itk.org/Wiki/ITK/MetaIO/Documentation. ITK crashes on some damaged headers, so it
never sees one that was not checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import Grid, affine
from CTSpectSpineLib.volumes.encoded import EncodedVoxels, Encoding, check_voxel_file
from CTSpectSpineLib.volumes.plausible import not_3d

_HEADER_BYTES = 1 << 16
"""Bytes in which the header ends. Judgement: it has a few hundred."""
_MOST_AXES = 10
"""Most axes. Standard: MetaIO."""
_LONGEST_WORD = 200
"""Longest value of a field, but for the name of the data file. Judgement: matrices have as many."""
_TYPES = {
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


@dataclass(frozen=True)
class MetaHeader:
    """A checked header.

    Attributes
    ----------
    grid
        Geometry; the matrix may be singular or sheared.
    fields
        Values by their names in lower case.
    end
        Byte behind the header.
    """

    grid: Grid
    fields: Mapping[str, str]
    end: int


def read_meta_header(source: Path) -> MetaHeader:
    """Read the header of a volume with one number per voxel.

    Raises
    ------
    InputError
        If the header is damaged, or there is more than one number per voxel or one volume.
    """
    with source.open("rb") as stream:
        start = stream.read(_HEADER_BYTES)
    # The name of the data file ends the header.
    found = re.match(rb".*?ElementDataFile\s*[=:][^\n]*\n?", start, re.DOTALL)
    if found is None:
        raise _damaged(source, "no ElementDataFile")
    pairs = re.findall(r"^\s*(\w+)\s*[=:]\s*(.*?)\s*$", found.group().decode("latin-1"), re.M)
    fields = {key.lower(): value for key, value in pairs}
    for key, value in fields.items():
        if len(value) > (_LONGEST_WORD if key != "elementdatafile" else 4 * _LONGEST_WORD):
            raise _damaged(source, f"{key[:40]} has {len(value)} characters")
    return MetaHeader(_grid(source, fields), fields, found.end())


def _grid(source: Path, fields: Mapping[str, str]) -> Grid:
    axes = _whole(source, fields, "ndims")[:1]
    size = _whole(source, fields, "dimsize")
    if not axes or not 1 <= axes[0] <= _MOST_AXES or len(size) != axes[0] or min(size) < 1:
        raise _damaged(source, f"NDims {fields.get('ndims')}, DimSize {fields.get('dimsize')}")
    if _whole(source, fields, "elementnumberofchannels", (1,)) != [1]:
        raise InputError(
            f"{source}: {fields['elementnumberofchannels']} numbers per voxel; one number per "
            "voxel is needed."
        )
    if len(size) < 3 or math.prod(size[3:]) > 1:
        raise not_3d(source, tuple(size))
    count = len(size)
    spacing = _numbers(source, fields, ("elementspacing", "elementsize"), [1.0] * count)
    origin = _numbers(source, fields, ("offset", "position", "origin"), [0.0] * count)
    names = ("transformmatrix", "rotation", "orientation")
    rows = _numbers(source, fields, names, np.eye(count).ravel().tolist())
    # A row is the direction of an axis.
    with np.errstate(invalid="ignore", over="ignore"):
        linear = np.reshape(rows, (count, count))[:3, :3].T * spacing[:3]
    return Grid((size[0], size[1], size[2]), affine(linear, origin[:3]))


def _whole(
    source: Path, fields: Mapping[str, str], name: str, default: Sequence[int] = ()
) -> list[int]:
    if name not in fields:
        return list(default)
    try:
        return [int(word) for word in fields[name].split()]
    except ValueError as error:
        raise _damaged(source, f"{name} '{fields[name]}'") from error


def _numbers(
    source: Path, fields: Mapping[str, str], names: Sequence[str], default: list[float]
) -> list[float]:
    name = next((name for name in names if name in fields), None)
    if name is None:
        return default
    try:
        numbers = [float(word) for word in fields[name].split()]
    except ValueError:
        numbers = []
    if len(numbers) != len(default):
        raise _damaged(source, f"{name} '{fields[name]}'")
    return numbers


def meta_voxels(source: Path, header: MetaHeader) -> tuple[EncodedVoxels, np.dtype[Any]] | None:
    """Where the voxels are, and their type; None where ITK must read them.

    That is so where they are text, lie in several files, or have a type of the machine's size.
    """
    fields = header.fields
    name, stated = fields.get("elementdatafile", ""), fields.get("elementtype", "")
    if stated not in (*_TYPES, "MET_LONG", "MET_ULONG"):
        raise _damaged(source, f"ElementType '{stated}'")
    code = _TYPES.get(stated)
    if code is None or not _is(fields, "binarydata", default=True) or _several(name):
        return None
    skip = _whole(source, fields, "headersize", (0,))[:1] or [0]
    large = _is(fields, "elementbyteordermsb", default=_is(fields, "binarydatabyteordermsb"))
    dtype = np.dtype((">" if large else "<") + code)
    local = name.upper() == "LOCAL"
    path, begin = (source, header.end) if local else (source.parent / name, 0)
    check_voxel_file(source, path)
    count = math.prod(header.grid.size) * dtype.itemsize
    spare = max(1, count // header.grid.size[2])
    begin = -1 if skip[0] < 0 else begin + skip[0]
    packed: Encoding = "raw"
    if _is(fields, "compresseddata"):
        begin = max(begin, 0)
        with path.open("rb") as stream:
            stream.seek(begin)
            packed = "gzip" if stream.read(2) == b"\x1f\x8b" else "zlib"
    return EncodedVoxels(path, packed, begin, 0, count, spare), dtype


def _is(fields: Mapping[str, str], name: str, default: bool = False) -> bool:
    return fields[name].lower().startswith(("t", "1")) if fields.get(name) else default


def _several(name: str) -> bool:
    return not name or name.upper().startswith("LIST") or "%" in name


def _damaged(source: Path, reason: str) -> InputError:
    return InputError(
        f"{source}: the file cannot be read as MetaImage ({reason}); it may be damaged."
    )
