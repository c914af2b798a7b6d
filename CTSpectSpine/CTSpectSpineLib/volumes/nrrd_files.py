"""NRRD files: the header, and where the voxels are.

Format: http://teem.sourceforge.net/nrrd/format.html. The package pynrrd reads the header; its
reading of voxels checks neither sizes nor the end of a compressed stream.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes.encoded import EncodedVoxels, Encoding

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
"""Type of numpy to its names. Standard: NRRD."""
_ENCODINGS: Mapping[str, Encoding] = {
    "raw": "raw",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
}
_LONGEST_LINE = 1 << 20
"""Bytes of the longest line of a header. Judgement: a terminology has a few hundred."""
_MOST_LINES = 100_000
"""Most lines of a header. Judgement: a segment has a dozen."""


def read_nrrd_header(file: Path) -> tuple[Mapping[str, Any], int]:
    """Read a header.

    Returns
    -------
    header, end
        Fields as pynrrd gives them, and the byte behind the header.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    # Imported here because writing works without this package.
    import nrrd

    try:
        with file.open("rb") as stream:
            lines = _lines(stream)
            header: Mapping[str, Any] = nrrd.read_header(lines)
            sizes = [int(n) for n in header["sizes"]]
            if not sizes or min(sizes) < 1:
                raise ValueError(f"sizes {sizes}")
            return header, stream.tell()
    except OSError:
        raise
    except Exception as error:  # pynrrd raises many kinds on damaged files
        raise InputError(
            f"{file}: the file cannot be read as NRRD ({_short(error)}); it may be damaged."
        ) from error


def _short(error: Exception) -> str:
    return " ".join(f"{error}".split())[:160] or type(error).__name__


def _lines(stream: IO[bytes]) -> list[str]:
    lines: list[str] = []
    while True:
        raw = stream.readline(_LONGEST_LINE)
        if not raw or not raw.strip():
            return lines
        if len(raw) == _LONGEST_LINE or len(lines) == _MOST_LINES:
            raise ValueError("the header does not end")
        lines.append(raw.decode("utf-8", "replace"))


def read_nrrd(file: Path) -> tuple[Mapping[str, Any], NDArray[np.generic]]:
    """Header and voxels, ``[..., k, j, i]`` with the fastest axis last.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    header, end = read_nrrd_header(file)
    found = nrrd_voxels(file, header, end)
    shape = [int(n) for n in header["sizes"]][::-1]
    if found is None:
        return header, _text_voxels(file, header, end)
    encoded, dtype = found
    data = np.frombuffer(encoded.read(), dtype=dtype).reshape(shape)
    return header, data.astype(dtype.newbyteorder("="), copy=False)


def _text_voxels(file: Path, header: Mapping[str, Any], end: int) -> NDArray[np.generic]:
    import nrrd

    try:
        with file.open("rb") as stream:
            stream.seek(end)
            data: NDArray[np.generic] = nrrd.read_data(header, stream, str(file), index_order="C")
            return data
    except Exception as error:  # pynrrd raises many kinds on damaged files
        raise InputError(
            f"{file}: the file cannot be read as NRRD ({_short(error)}); it may be damaged."
        ) from error


def nrrd_voxels(
    file: Path, header: Mapping[str, Any], end: int
) -> tuple[EncodedVoxels, np.dtype[Any]] | None:
    """Where the voxels are, and their type; None where they are text or lie in several files.

    Parameters
    ----------
    file, header, end
        The file and what `read_nrrd_header` found.

    Raises
    ------
    InputError
        If type, byte order or encoding is missing or unknown.
    """
    encoding = _ENCODINGS.get(_text(header, "encoding"))
    name = str(header.get("data file", header.get("datafile", ""))).strip()
    if encoding is None or name.upper().startswith("LIST") or "%" in name:
        return None
    stated = _text(header, "type")
    code = next((code for code, names in _TYPES.items() if stated in names), None)
    if code is None:
        raise InputError(
            f"{file}: the NRRD header has the unknown type '{stated}'; write it again."
        )
    order = {"little": "<", "big": ">"}.get(_text(header, "endian"), "")
    dtype = np.dtype(order + code)
    if dtype.itemsize > 1 and not order:
        raise InputError(
            f"{file}: the NRRD header states no byte order (endian); write the file again."
        )
    path = file.parent / name if name else file
    skip = _whole(header, file, "byte skip", "byteskip")
    start = _after_lines(path, 0 if name else end, _whole(header, file, "line skip", "lineskip"))
    sizes = [int(n) for n in header["sizes"]]
    count = math.prod(sizes) * dtype.itemsize
    spare = max(1, count // sizes[-1])
    if skip < 0:
        return EncodedVoxels(path, "raw", -1, 0, count, spare), dtype
    return EncodedVoxels(path, encoding, start, skip, count, spare), dtype


def _text(header: Mapping[str, Any], key: str) -> str:
    return " ".join(str(header.get(key, "")).lower().split())


def _whole(header: Mapping[str, Any], file: Path, *names: str) -> int:
    found = next((header[name] for name in names if name in header), 0)
    try:
        return int(found)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{file}: '{names[0]}' of the NRRD header is {found!r}, no whole number; write the "
            "file again."
        ) from error


def _after_lines(path: Path, start: int, lines: int) -> int:
    if lines <= 0:
        return start
    with path.open("rb") as stream:
        stream.seek(start)
        for _ in range(lines):
            if not stream.readline():
                break
        return stream.tell()
