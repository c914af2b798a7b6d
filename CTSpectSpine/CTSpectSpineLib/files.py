"""Files that appear only when they are complete, their hashes, and tables that are shipped."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

SUFFIXES = (
    ".seg.nrrd",
    ".nii.gz",
    ".nii",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".hdr",
    ".img.gz",
    ".img",
    ".dcm",
)
"""File name extensions of images, the longer ones first."""


def image_suffix(path: Path) -> str:
    """The image extension of a file name (``.nii.gz``), or its last extension, in lower case."""
    name = path.name.lower()
    return next((s for s in SUFFIXES if name.endswith(s)), path.suffix.lower())


@cache
def json_table(path: Path) -> dict[str, Any]:
    """Return the JSON table in a file of the library; it is read once and must not be changed."""
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return table


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` and rename it to ``path`` when the block succeeds.

    The temporary name keeps the extension, because writers choose the format by it.
    """
    suffix = image_suffix(path)
    stem = path.name[: len(path.name) - len(suffix)]
    temporary = path.with_name(f".{stem}.{uuid.uuid4().hex[:8]}{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_files(paths: Iterator[Path] | tuple[Path, ...] | list[Path]) -> str:
    """SHA-256 of one file; of several, that of their sorted SHA-256 texts joined by newlines.

    The hash of a DICOM folder thus depends on neither the names nor the order of its files.
    """
    hashes = sorted(sha256_of_file(path) for path in paths)
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("\n".join(hashes).encode("ascii")).hexdigest()
