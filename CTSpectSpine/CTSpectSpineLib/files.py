"""Files that appear only when they are complete, their hashes, and tables that are shipped.

`put_in_place` is the one door through which files reach a folder. A folder that a run has claimed
has an `Owner`, who is asked there before anything is replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

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


def without_folders(text: str, paths: Iterable[Path]) -> str:
    """A sentence in which files go by their names: folders may tell who the patient is.

    Parameters
    ----------
    text
        What a record is to say.
    paths
        Files and folders that it may speak of. What lies beside one whose folders are known from
        the root, or in it, loses these folders too.
    """
    named: dict[str, str] = {}
    for path in paths:
        for whole in (path.absolute(), path.resolve()):
            if whole.parent != whole.parent.parent:
                named[f"{whole.parent}{os.sep}"] = ""
        if len(path.parts) > 1:
            named[str(path)] = path.name
    for long in sorted(named, key=len, reverse=True):
        # A backslash in a name is a backslash.
        short = named[long].replace("\\", "\\\\")
        text = re.sub(rf"(?<![\w.{re.escape(os.sep)}-]){re.escape(long)}", short, text)
    return text


_MARK = ".ctspectspine-"
_TEMPORARY = re.compile(re.escape(_MARK) + r"[0-9a-f]{8}-(?P<name>.+)", re.DOTALL)


class Owner(Protocol):
    """Answers for the files of a folder."""

    def admit(self, path: Path, temporary: Path) -> None:
        """Agree that a finished file is put in place; raise an `InputError` to forbid it."""

    def placed(self, path: Path) -> None:
        """Learn that it is in place."""

    def withdraw(self, path: Path) -> None:
        """Remove a file that an earlier run wrote and that no longer holds."""


_OWNERS: dict[Path, Owner] = {}
_DOOR = threading.RLock()
"""One file at a time goes through the door: an owner's record is changed with it."""


@contextmanager
def owned(folder: Path, owner: Owner) -> Iterator[None]:
    """Let an owner answer for all files that this process puts into a folder."""
    place = folder.resolve()
    _OWNERS[place] = owner
    try:
        yield
    finally:
        del _OWNERS[place]


def _owner_of(path: Path) -> Owner | None:
    parent = path.parent.resolve()
    return next((_OWNERS[p] for p in (parent, *parent.parents) if p in _OWNERS), None)


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a finished file to its name, if the owner of the folder agrees.

    Raises
    ------
    InputError
        If a file is there that no earlier run wrote.
    """
    with _DOOR:
        owner = _owner_of(path)
        if owner is not None:
            owner.admit(path, temporary)
        temporary.replace(path)
        if owner is not None:
            owner.placed(path)


def withdraw(path: Path) -> None:
    """Remove a file of ours that no longer holds; a file that no run of ours wrote stays."""
    with _DOOR:
        owner = _owner_of(path)
        if owner is not None:
            owner.withdraw(path)


def temporary_name(path: Path) -> Path:
    """A name beside ``path`` that `remove_temporaries` knows; it ends as the name does."""
    return path.with_name(f"{_MARK}{uuid.uuid4().hex[:8]}-{path.name}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` and rename it to ``path`` when the block succeeds.

    The temporary name keeps the extension, because writers choose the format by it.
    """
    temporary = temporary_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        put_in_place(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        # What a full disk says names no file.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(path: Path, name: str | None = None) -> bool:
    """Whether a path is a temporary one of `temporary_name`, of the file ``name`` if given."""
    match = _TEMPORARY.fullmatch(path.name)
    return match is not None and name in (None, match["name"])


def remove_temporaries(folder: Path, name: str | None = None) -> None:
    """Remove what a killed run has left half-written, also in the folders inside.

    Nobody else may be writing there.

    Parameters
    ----------
    name
        Remove only what was to become this file of the folder.
    """
    for path in list(folder.iterdir()):
        if is_temporary(path, name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        elif name is None and path.is_dir() and not path.is_symlink():
            remove_temporaries(path)


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
