"""What a reader says of the joints of one analysis: ``reading.csv`` and ``reading.json`` beside it.

They belong to the reader, not to the run: an analysis that is repeated in the folder leaves them.
``reading.csv`` has one row for every joint that was graded, ``reading.json`` what was decided on
registration and levels, and whether the software's results were hidden meanwhile. Several readers
share the files; each replaces their own part.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.folder import READING_FILES, output_file
from CTSpectSpineLib.results.manifest import now
from CTSpectSpineLib.results.text_files import json_text, read_json, write_text
from CTSpectSpineLib.spreadsheet import decoded, separated

TABLE, DECISIONS = READING_FILES
COLUMNS = ("patient", "joint", "level", "kind", "side", "grade", "note", "reader", "time")
"""Columns of ``reading.csv``, in order."""
GRADES = ("negative", "indeterminate", "positive", "not_measurable")
"""What a reader can say of a joint. Convention: the words of the column ``uptake``."""
_SUBJECTS = {"registration": ("accepted", "rejected"), "levels": ("confirmed", "changed")}
"""What is decided on, and the answers."""


@dataclass(frozen=True)
class Grade:
    """What a reader says of one joint; `GRADES`, a note, and when (ISO 8601)."""

    joint: str
    level: str
    kind: str
    side: str
    grade: str
    note: str = ""
    time: str = ""


@dataclass(frozen=True)
class ReaderDecision:
    """What a reader decided on the registration or the levels, and when (ISO 8601)."""

    what: str
    decision: str
    time: str


@dataclass(frozen=True)
class Reading:
    """All that one reader says of one patient.

    Attributes
    ----------
    blinded
        Whether the software's results were hidden meanwhile.
    grades
        In the order of the joint table.
    decisions
        The oldest first.
    """

    patient: str = ""
    reader: str = ""
    blinded: bool = False
    grades: tuple[Grade, ...] = ()
    decisions: tuple[ReaderDecision, ...] = ()

    def grade_of(self, joint: str) -> Grade | None:
        """The grade of a joint; None where there is none yet."""
        return next((grade for grade in self.grades if grade.joint == joint), None)

    def with_grade(self, grade: Grade) -> Reading:
        """With the grade of a joint, in place of an earlier one; an empty grade takes it back."""
        if grade.grade and grade.grade not in GRADES:
            raise ValueError(f"grade is {grade.grade!r}, not one of {GRADES}")
        dated = replace(grade, time=grade.time or now())
        kept = {known.joint: known for known in self.grades}
        kept[grade.joint] = dated
        if not grade.grade:
            del kept[grade.joint]
        return replace(self, grades=tuple(kept.values()))

    def with_decision(self, what: str, decision: str) -> Reading:
        """With what was decided now."""
        if decision not in _SUBJECTS[what]:
            raise ValueError(f"decision is {decision!r}, not one of {_SUBJECTS[what]}")
        return replace(self, decisions=(*self.decisions, ReaderDecision(what, decision, now())))


def read_readings(folder: Path) -> dict[str, Reading]:
    """The readings in a results folder, by the reader's name.

    Raises
    ------
    InputError
        If a file cannot be read; names file, row and column.
    """
    found: dict[str, Reading] = {}
    if (folder / DECISIONS).is_file():
        for entry in _entries(folder / DECISIONS):
            found[entry.reader] = entry
    if (folder / TABLE).is_file():
        for patient, reader, grade in _rows(folder / TABLE):
            known = found.get(reader, Reading(patient, reader))
            found[reader] = replace(known, patient=patient).with_grade(grade)
    return found


def write_reading(folder: Path, reading: Reading) -> None:
    """Write what one reader says; what others said stays.

    Raises
    ------
    InputError
        If the reader has no name, the folder cannot be written, or a file there is not ours.
    """
    if not reading.reader.strip():
        raise InputError("Reader: type the name of the reader, which stands with every grade.")
    every = {**read_readings(folder), reading.reader: reading}
    _write(folder, every.values())


def copy_readings(source: Path, target: Path) -> None:
    """Copy the readings of a results folder to a copy of it; those of its readers are replaced."""
    found = read_readings(source)
    if found:
        _write(target, {**read_readings(target), **found}.values())


def _write(folder: Path, readings: Iterable[Reading]) -> None:
    every = list(readings)
    texts = {TABLE: _table(every), DECISIONS: json_text({"readers": [_entry(r) for r in every]})}
    for name, text in texts.items():
        with output_file(folder / name, "read") as path:
            write_text(path, text)


def _table(readings: Iterable[Reading]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for reading in readings:
        for grade in reading.grades:
            writer.writerow({**asdict(grade), "patient": reading.patient, "reader": reading.reader})
    return stream.getvalue()


def _entry(reading: Reading) -> dict[str, Any]:
    return {
        "reader": reading.reader,
        "patient": reading.patient,
        "blinded": reading.blinded,
        "decisions": [asdict(decision) for decision in reading.decisions],
    }


def _entries(path: Path) -> list[Reading]:
    values = read_json(path)
    readers = values.get("readers") if isinstance(values, Mapping) else None
    try:
        return [
            Reading(
                patient=str(entry["patient"]),
                reader=str(entry["reader"]),
                blinded=bool(entry["blinded"]),
                decisions=tuple(
                    ReaderDecision(**{f.name: str(d[f.name]) for f in fields(ReaderDecision)})
                    for d in entry["decisions"]
                ),
            )
            for entry in readers or ()
        ]
    except (TypeError, KeyError) as error:
        raise InputError(
            f"{path} is no record of readers ({error}); restore it, or move it away."
        ) from error


def _rows(path: Path) -> list[tuple[str, str, Grade]]:
    try:
        text, separator = separated(decoded(path.read_bytes()), COLUMNS)
        reader = csv.DictReader(io.StringIO(text), delimiter=separator, strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}); restore it or move it away.") from error
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{path} has no column '{missing[0]}'; restore it or move it away.")
    found = []
    for line, row in rows:
        cells = {name: (row[name] or "").strip() for name in COLUMNS}
        for name in ("joint", "reader"):
            if not cells[name]:
                raise InputError(f"{path}, row {line}, column {name}: is empty; fill it in.")
        if cells["grade"] not in GRADES:
            raise InputError(
                f"{path}, row {line}, column grade: '{cells['grade']}' is not one of "
                f"{', '.join(GRADES)}; correct it."
            )
        patient, name = cells.pop("patient"), cells.pop("reader")
        found.append((patient, name, Grade(**cells)))
    return found
