"""Which files of a folder are ours: the one rule of what may be overwritten or removed.

A file may be replaced or removed only if an earlier run wrote it and it still holds what that run
wrote; name and SHA-256 stand in a record in the folder. A name is entered before its file is put
in place, so that a run that is killed at any moment leaves nothing of its own that the record does
not name.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import sha256_of_file
from CTSpectSpineLib.results.manifest import MANIFEST, SCHEMA
from CTSpectSpineLib.results.text_files import json_text, read_json, write_json
from CTSpectSpineLib.version import __version__

FILES_RECORD = ".ctspectspine-files.json"
"""Record of the commands that write no manifest."""
FILES_SCHEMA = "ctspectspine-files-1"
ANOTHER = "move it away, or choose another place"


class OwnedFolder(ABC):
    """The files that a run may write in a folder; an `files.Owner`.

    Parameters
    ----------
    folder
        The folder, which exists.
    recorded, pending
        Name of each file that earlier runs of the same command wrote, to its SHA-256; and those
        that they were about to write when they were killed.
    others
        Names of what other commands wrote into the folder.
    clears
        Whether the first write removes what the earlier runs wrote.
    """

    record_name: str

    def __init__(
        self,
        folder: Path,
        recorded: Mapping[str, str],
        pending: Mapping[str, str],
        others: Iterable[str],
        *,
        clears: bool,
    ) -> None:
        self.folder = folder
        self.begun = not clears
        self.files: dict[str, str] = {}
        self.pending: dict[str, str] = {}
        self.others = frozenset(others)
        self.changed: list[Path] = []
        for name in {**recorded, **pending}:
            found = self._hash(name)
            if found in (recorded.get(name), pending.get(name)):
                self.files[name] = str(found)
            elif found is not None:
                self.changed.append(folder / name)
                if name in recorded:
                    self.files[name] = recorded[name]

    def check_names(self, names: Iterable[str]) -> None:
        """Check that files of these names may be written.

        Raises
        ------
        InputError
            If one is there that no earlier run wrote.
        """
        for path in self.changed:
            raise InputError(f"{path} was changed since an earlier run wrote it; {ANOTHER}.")
        for name in names:
            path = self.folder / name
            if name not in self.files and _exists(path):
                self._check(path, name)

    def adopt(self, names: Iterable[str]) -> None:
        """Take files for ours, whatever they hold; for those that the user says to go on with."""
        for name in names:
            found = self._hash(name)
            if found is not None:
                self.files[name] = found
                self.changed = [path for path in self.changed if path != self.folder / name]

    def admit(self, path: Path, temporary: Path) -> None:
        """Agree that a file is put in place, and enter it in the record.

        Raises
        ------
        InputError
            If a file is there that no earlier run wrote.
        """
        name = self._name(path)
        if name == self.record_name:
            self.admit_record(temporary)
            return
        self.begin()
        if _exists(path):
            self._check(path, name)
        self.pending = {name: sha256_of_file(temporary)}
        self.save()

    def placed(self, path: Path) -> None:
        """Learn that a file is in place."""
        name = self._name(path)
        if name == self.record_name:
            self.begin()
        elif name in self.pending:
            self.files[name] = self.pending.pop(name)

    def withdraw(self, path: Path) -> None:
        """Remove a file that an earlier run wrote and nobody changed, and strike it off."""
        name = self._name(path)
        if name in self.files and self._hash(name) == self.files[name]:
            path.unlink()
            del self.files[name]
            self.save()

    def begin(self) -> None:
        """Say in the record that a run has begun, then remove what the earlier ones wrote."""
        if self.begun:
            return
        self.begun = True
        self.save()
        for name, sha256 in list(self.files.items()):
            if self._hash(name) == sha256:
                (self.folder / name).unlink()
        for parent in {(self.folder / name).parent for name in self.files} - {self.folder}:
            with contextlib.suppress(OSError):  # it holds something else
                parent.rmdir()
        self.files.clear()
        self.save()

    @abstractmethod
    def admit_record(self, temporary: Path) -> None:
        """Complete the record, which is about to be replaced, by the names of the files."""

    @abstractmethod
    def save(self) -> None:
        """Write the record."""

    def _missing(self) -> list[Path]:
        """Files of the record that are not there."""
        return [p for name in self.files if not (p := self.folder / name).is_file()]

    def _name(self, path: Path) -> str:
        parent = path.parent.resolve().relative_to(self.folder.resolve())
        return PurePosixPath(*parent.parts, path.name).as_posix()

    def _check(self, path: Path, name: str) -> None:
        if name in self.others:
            raise InputError(f"{path} was written by another command; {ANOTHER}.")
        known = {self.files.get(name), self.pending.get(name)} - {None}
        if not known:
            raise InputError(self.stranger(path))
        if self._hash(name) not in known:
            raise InputError(f"{path} was changed since an earlier run wrote it; {ANOTHER}.")

    def stranger(self, path: Path) -> str:
        """Sentence on a file that the record does not know."""
        return f"{path} was not written by an earlier run; {ANOTHER}."

    def _hash(self, name: str) -> str | None:
        """SHA-256 of a file of the folder; None where there is none, or none that can be ours."""
        path = self.folder / name
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or not _exists(path):
            return None
        inside = self.folder.resolve() in (path.parent.resolve(), *path.parent.resolve().parents)
        if not inside or path.is_symlink() or not path.is_file():
            return "not a file of this folder"
        return sha256_of_file(path)


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


class ManifestFolder(OwnedFolder):
    """A results folder, whose manifest is the record."""

    record_name = MANIFEST

    def __init__(self, folder: Path, *, clears: bool) -> None:
        values = manifest_of(folder) or {}
        self._runs, self._recorded = clears, "files" in values
        super().__init__(
            folder, _hashes(values.get("files")), _hashes(values.get("pending")), (), clears=clears
        )

    def stranger(self, path: Path) -> str:
        """Sentence on a file that the record does not know."""
        if self._recorded or self._runs:
            return super().stranger(path)
        return (
            f"{path} cannot be changed, since {MANIFEST} beside it does not say which files belong "
            "to the results (an earlier version wrote it); analyse again."
        )

    def admit_record(self, temporary: Path) -> None:
        """Enter the files in a manifest that is about to be replaced.

        Raises
        ------
        InputError
            If it says that all is complete, and a file is not there any more.
        """
        values = read_json(temporary)
        values.pop("pending", None)
        values["files"] = dict(sorted(self.files.items()))
        if self.pending:
            values["pending"] = self.pending
        if self._runs and values.get("status") == "complete":
            for path in self._missing():
                raise InputError(
                    f"{path} was removed while the analysis ran; run the analysis again."
                )
        temporary.write_bytes(json_text(values).encode("utf-8"))

    def save(self) -> None:
        """Write the manifest that is there once more."""
        path = self.folder / MANIFEST
        if path.is_file():
            write_json(path, read_json(path))


class StepFolder(OwnedFolder):
    """A folder of commands that write no manifest; a file of its own is the record.

    Parameters
    ----------
    command
        The command that writes.
    """

    record_name = FILES_RECORD

    def __init__(self, folder: Path, command: str, *, clears: bool) -> None:
        self._command = command
        self._runs = dict(runs_of(folder) or {})
        earlier = self._runs.pop(command, {})
        others: set[str] = set()
        for run in self._runs.values():
            others |= {*_hashes(run.get("files")), *_hashes(run.get("pending"))}
        self._status, self._reason = "running", ""
        super().__init__(
            folder,
            _hashes(earlier.get("files")),
            _hashes(earlier.get("pending")),
            others,
            clears=clears,
        )

    def finish(self, status: str, reason: str = "") -> None:
        """Record how the run ended, if it wrote anything."""
        if self.begun and (self.files or self.pending):
            self._status, self._reason = status, reason
            self.save()

    def admit_record(self, temporary: Path) -> None:
        """Only `save` writes this record."""

    def save(self) -> None:
        """Write the record."""
        run: dict[str, Any] = {
            "status": self._status,
            "status_reason": self._reason,
            "version": __version__,
            "files": dict(sorted(self.files.items())),
        }
        if self.pending:
            run["pending"] = self.pending
        runs = dict(sorted({**self._runs, self._command: run}.items()))
        write_json(self.folder / FILES_RECORD, {"schema": FILES_SCHEMA, "runs": runs})


@contextlib.contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Read a results folder; what nobody expects in its files becomes a sentence.

    Raises
    ------
    InputError
        Names the file that is not as the analysis wrote it.
    """
    try:
        yield
    except InputError:
        raise
    except (
        *(ArithmeticError, AttributeError, LookupError),
        *(RecursionError, TypeError, ValueError),
    ) as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> InputError:
    try:
        changed = ManifestFolder(folder, clears=False).changed
    except (InputError, OSError):
        changed = []
    path = next(iter(changed), folder / MANIFEST)
    words = " ".join(str(error).split())[:160]
    return InputError(
        f"{path} holds what this version cannot read ({type(error).__name__}: {words}); "
        "run the analysis again."
    )


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """The manifest of a results folder; None where none is there that a run wrote."""
    return record_in(folder / MANIFEST, SCHEMA)


def runs_of(folder: Path) -> dict[str, Any] | None:
    """What the commands without a manifest recorded in a folder; None where none did."""
    values = record_in(folder / FILES_RECORD, FILES_SCHEMA)
    runs = None if values is None else values.get("runs")
    if not isinstance(runs, dict):
        return None
    return {name: run for name, run in runs.items() if isinstance(run, dict)}


def record_in(path: Path, schema: str) -> dict[str, Any] | None:
    """The record of a schema of ours in a JSON file; None where none is that can be read."""
    if not path.is_file():
        return None
    try:
        values = read_json(path)
    except InputError:
        return None
    known = isinstance(values, dict) and values.get("schema") == schema
    return values if known else None


def _hashes(values: object) -> dict[str, str]:
    if not isinstance(values, Mapping):
        return {}
    return {name: sha for name, sha in values.items() if isinstance(sha, str)}
