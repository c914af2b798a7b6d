"""What a batch remembers of each patient: how the analysis ended, and of what it was made.

A patient is finished only where the record, the manifest and the files agree; anything else is
analysed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from CTSpectSpineLib.cohort.table import CohortPatient
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import sha256_of_file, sha256_of_files
from CTSpectSpineLib.results.manifest import MANIFEST
from CTSpectSpineLib.results.ownership import manifest_of, record_in
from CTSpectSpineLib.results.text_files import write_json

FOLDER = "batch"
"""Folder of the records, beside those of the patients."""
SCHEMA = "ctspectspine-batch-1"
Ended = Literal["done", "error"]
"""``done``: there is a results folder, with or without a verdict. ``error``: there is none."""


@dataclass(frozen=True)
class PatientRecord:
    """How the analysis of one patient ended.

    Attributes
    ----------
    id
        The patient.
    ended
        See `Ended`.
    reason
        Why there is no result, in one sentence.
    seconds
        How long it took, by the clock.
    settings
        SHA-256 of the settings, the context and the version.
    inputs
        Of each input the SHA-256 of its content, and of the names, sizes and times of its files,
        by which an unchanged one is known without reading it.
    """

    id: str
    ended: Ended
    reason: str
    seconds: float
    settings: str
    inputs: Mapping[str, Mapping[str, str]]

    def write(self, folder: Path) -> None:
        """Keep it in the folder of the batch."""
        write_json(place(folder, self.id), {"schema": SCHEMA, **asdict(self)})


def place(folder: Path, patient: str) -> Path:
    """Where the record of a patient is."""
    return folder / FOLDER / f"{patient}.json"


def read_record(folder: Path, patient: str) -> PatientRecord | None:
    """The record of a patient; None where there is none that can be used."""
    values = record_in(place(folder, patient), SCHEMA)
    names = {field.name for field in fields(PatientRecord)}
    if values is None or not names <= set(values):
        return None
    good = values["ended"] in get_args(Ended) and isinstance(values["inputs"], dict)
    return PatientRecord(**{name: values[name] for name in names}) if good else None


def prints_of(patient: CohortPatient) -> dict[str, dict[str, str]]:
    """Fingerprints of the inputs of a patient.

    Raises
    ------
    InputError
        If an input does not exist.
    """
    found = {}
    for name, path in patient.paths().items():
        if not path.exists():
            raise InputError(
                f"{path} does not exist; correct where the {name} of {patient.id} is said to be."
            )
        found[name] = {"content": _content(path), "files": _files_print(path)}
    return found


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _content(path: Path) -> str:
    return sha256_of_files(_files(path))


def _files_print(path: Path) -> str:
    """Names, sizes and times of the files, as one hash."""
    base = path if path.is_dir() else path.parent
    rows = [
        [file.relative_to(base).as_posix(), stat.st_size, stat.st_mtime_ns]
        for file in _files(path)
        for stat in [file.stat()]
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def unfinished(folder: Path, patient: CohortPatient, settings: str) -> str:
    """Why a patient has to be analysed; empty where the results that are there hold.

    Parameters
    ----------
    folder
        Folder of the batch.
    settings
        As in `PatientRecord`.
    """
    record = read_record(folder, patient.id)
    if record is None:
        return "not analysed yet"
    if record.ended == "error":
        return "failed before"
    if record.settings != settings:
        return "the settings changed"
    if next(_changed(patient, record), None) is not None:
        return "an input changed"
    return _broken(folder / patient.id)


def _changed(patient: CohortPatient, record: PatientRecord) -> Iterator[str]:
    paths = patient.paths()
    yield from set(paths) ^ set(record.inputs)
    for name, path in paths.items():
        known = record.inputs.get(name, {})
        if not path.exists() or not _is_same(path, known):
            yield name


def _is_same(path: Path, known: Mapping[str, str]) -> bool:
    # A copy has other times; only then is the content read.
    return _files_print(path) == known.get("files") or _content(path) == known.get("content")


def _broken(results: Path) -> str:
    """What is wrong with a results folder that an analysis finished; empty where nothing is."""
    manifest: Mapping[str, Any] = manifest_of(results) or {}
    if manifest.get("status") not in ("complete", "failed"):
        return "the analysis was interrupted"
    files = manifest.get("files")
    if not isinstance(files, dict) or not files:
        return f"its {MANIFEST} names no files"
    for name, sha256 in files.items():
        path = results / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256_of_file(path) != sha256:
            return f"{name} was changed"
    return ""
