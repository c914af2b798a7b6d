"""NRRD files: the header, and where the voxels are.

Format: http://teem.sourceforge.net/nrrd/format.html. The package pynrrd reads the header; its
reading of voxels checks neither sizes nor the end of a compressed stream.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import Grid, affine
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.volumes.encoded import EncodedVoxels, Encoding, check_voxel_file
from CTSpectSpineLib.volumes.plausible import not_3d

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
_DOMAINS = ("domain", "space", "time", "???", "none", "")
"""Kinds of axes that are no components of a voxel. Standard: NRRD."""
TO_LPS = {
    "left-posterior-superior": (1.0, 1.0, 1.0),
    "lps": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0),
    "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0),
    "las": (1.0, -1.0, 1.0),
}
"""Signs of the axes from a space of the NRRD file to LPS. By definition."""
_LONGEST_WORD = 120
"""Longest value of a field that is a word. Numerical: ITK's buffers have 128 bytes and more."""
_TEXT_ENCODINGS = ("ascii", "text", "txt", "hex")
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
        with file.open("rb") as stream, np.errstate(invalid="ignore", over="ignore"):
            lines = _lines(stream)
            header: Mapping[str, Any] = nrrd.read_header(lines)
            sizes = [int(n) for n in header["sizes"]]
            if not sizes or min(sizes) < 1 or len(sizes) != int(header["dimension"]):
                raise ValueError(f"dimension {header['dimension']}, sizes {sizes}")
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
        if re.match(r"data ?file:\s*LIST", lines[-1], re.IGNORECASE):
            # The names of the files follow, and end the header.
            return lines


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


def nrrd_grid(file: Path, header: Mapping[str, Any]) -> Grid:
    """Grid of a volume with one number per voxel; axes of length 1 beside it are left out.

    A space other than LPS, RAS and LAS is taken as LPS, as ITK does. The matrix may be singular.

    Raises
    ------
    InputError
        If there are several numbers per voxel or several volumes, or no voxel size.
    """
    sizes = [int(n) for n in header["sizes"]]
    kinds = [str(kind).lower() for kind in header.get("kinds", ())] or ["domain"] * len(sizes)
    if len(kinds) != len(sizes):
        raise _contradiction(file, "kinds")
    several = [n for n, kind in zip(sizes, kinds, strict=True) if kind not in _DOMAINS]
    if math.prod(several) > 1:
        raise InputError(
            f"{file}: {math.prod(several)} numbers per voxel; one number per voxel is needed."
        )
    domains = [axis for axis, kind in enumerate(kinds) if kind in _DOMAINS]
    size = tuple(sizes[axis] for axis in domains)
    if len(size) < 3 or math.prod(size[3:]) > 1:
        raise not_3d(file, size)
    linear, origin = _vectors(file, header, domains[:3])
    flip = TO_LPS.get(_text(header, "space"), (1.0, 1.0, 1.0))
    with np.errstate(invalid="ignore", over="ignore"):
        return Grid((size[0], size[1], size[2]), np.diag([*flip, 1.0]) @ affine(linear, origin))


def _vectors(
    file: Path, header: Mapping[str, Any], axes: list[int]
) -> tuple[FloatArray, FloatArray]:
    """Steps along three axes (columns), and the position of the first voxel."""
    try:
        if "space directions" not in header:
            spacing = np.asarray(header["spacings"], dtype=float)[axes]
            return np.diag(spacing), _centre_of_first(header, spacing, axes)
        rows = header["space directions"]
        steps = np.array([np.asarray(rows[axis], dtype=float)[:3] for axis in axes]).T
        origin = np.asarray(header.get("space origin", np.zeros(3)), dtype=float)[:3]
        if steps.shape != (3, 3) or origin.shape != (3,):
            raise ValueError("not three-dimensional")
    except KeyError as error:
        raise InputError(
            f"{file}: the header gives no usable voxel size; write it again."
        ) from error
    except (IndexError, TypeError, ValueError) as error:
        raise _contradiction(file, "space directions") from error
    return steps, origin


def _centre_of_first(header: Mapping[str, Any], spacing: FloatArray, axes: list[int]) -> FloatArray:
    """Position of the first voxel where the header has no space, as ITK takes it."""
    least = header.get("axis mins", header.get("axismins"))
    if least is None:
        return np.zeros(3)
    # The ends of an axis are those of its voxels, unless samples sit on them.
    places = [str(place) for place in header.get("centerings", ())] or ["cell"] * len(least)
    half = [0.0 if places[axis] == "node" else 0.5 for axis in axes]
    return np.asarray(np.nan_to_num(np.asarray(least, dtype=float)[axes]) + spacing * half)


def _contradiction(file: Path, field: str) -> InputError:
    return InputError(
        f"{file}: '{field}' of the NRRD header does not fit its axes; write the file again."
    )


def check_words(file: Path, header: Mapping[str, Any]) -> None:
    """Check that ITK reads the header as it was read here, and that no word overruns its memory.

    Raises
    ------
    InputError
        If a word is too long, or is not in ASCII (digits of another script).
    """
    with file.open("rb") as stream:
        fields = [line for line in _lines(stream) if ":=" not in line and line[0] != "#"]
    if not all(line.isascii() for line in fields):
        raise InputError(f"{file}: the NRRD header is not in ASCII; write the file again.")
    for key, value in header.items():
        if isinstance(value, str) and len(value) > _LONGEST_WORD:
            raise InputError(
                f"{file}: '{key[:40]}' of the NRRD header is {len(value)} characters long; write "
                "the file again, or its voxels as raw or gzip."
            )


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
    packed = _text(header, "encoding")
    encoding = _ENCODINGS.get(packed)
    if encoding is None and packed not in _TEXT_ENCODINGS:
        raise InputError(
            f"{file}: the NRRD header has the unknown encoding '{packed[:40]}'; write it again."
        )
    name = str(header.get("data file", header.get("datafile", ""))).strip()
    if encoding is None or name.upper().startswith("LIST") or "%" in name:
        return None
    stated = _text(header, "type")
    code = next((code for code, names in _TYPES.items() if stated in names), None)
    if code is None:
        raise InputError(
            f"{file}: the NRRD header has the unknown type '{stated[:40]}'; write it again."
        )
    order = {"little": "<", "big": ">"}.get(_text(header, "endian"), "")
    dtype = np.dtype(order + code)
    if dtype.itemsize > 1 and not order:
        raise InputError(
            f"{file}: the NRRD header states no byte order (endian); write the file again."
        )
    path = file.parent / name if name else file
    check_voxel_file(file, path)
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
