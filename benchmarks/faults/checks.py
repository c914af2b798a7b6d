"""What the records of folders say, and what is there."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.cases import Case
from CTSpectSpineLib.command_line.written import PASSING, WRITTEN
from CTSpectSpineLib.files import sha256_of_file
from CTSpectSpineLib.results.manifest import MANIFEST
from CTSpectSpineLib.results.ownership import FILES_RECORD, manifest_of, runs_of


def names_in(folder: Path) -> list[str]:
    """Files below a folder, relative to it."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def snapshot(folder: Path) -> dict[str, str]:
    """SHA-256 of all files below a folder."""
    return {name: sha256_of_file(folder / name) for name in names_in(folder)}


def is_passing(name: str) -> bool:
    """Whether a file may only be there while a command runs."""
    last = name.rsplit("/", 1)[-1]
    return last != FILES_RECORD and any(fnmatch.fnmatch(last, pattern) for pattern in PASSING)


def lies(folder: Path) -> Iterator[str]:
    """What is wrong with what the records below a folder say."""
    for record in [*folder.rglob(MANIFEST), *folder.rglob(FILES_RECORD)]:
        place = record.parent
        values = manifest_of(place) if record.name == MANIFEST else None
        runs = {"analysis": values} if values is not None else runs_of(place) or {}
        for name, run in runs.items():
            if run["status"] == "complete":
                yield from _differences(place, name, run["files"])


def _differences(place: Path, run: str, files: dict[str, str]) -> Iterator[str]:
    for name, sha256 in files.items():
        path = place / name
        if not path.is_file():
            yield f"{run} is said to be complete, and {name} is not there"
        elif sha256_of_file(path) != sha256:
            yield f"{run} is said to be complete, and {name} is not what it wrote"


def incomplete(folder: Path) -> Iterator[str]:
    """Records below a folder that do not say that all is complete."""
    for record in [*folder.rglob(MANIFEST), *folder.rglob(FILES_RECORD)]:
        values = json.loads(record.read_text(encoding="utf-8"))
        runs = values.get("runs", {"analysis": values})
        for name, run in runs.items():
            if run["status"] == "running":
                yield f"{name} in {record.parent.name} is {run['status']}"


def touched(case: Case, before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Files that a run created, replaced or removed and that `WRITTEN` does not name."""
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    allowed = []
    for index, where in case.places:
        folder = where.replace("OUT", f"out/{case.name.replace(' ', '-')}", 1)
        for name in WRITTEN[case.command][index].names:
            allowed.append(f"{folder}/{case.file if name == 'FILE' else name}")
    return sorted(n for n in changed if not any(fnmatch.fnmatch(n, a) for a in allowed))
