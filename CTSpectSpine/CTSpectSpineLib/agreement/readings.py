"""Readings of joints: what a reader wrote, and what the software says of the same joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from CTSpectSpineLib.cell_table import CellTable, read_cells
from CTSpectSpineLib.cohort.rows import ratio_of
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.joint_columns import UPTAKE_CLASSES
from CTSpectSpineLib.joint_table import Row

COLUMNS = ("reader", "id", "joint", "grade", "read_at")
"""Columns of a reading, as the reader form saves them."""
NEEDED = ("reader", "joint", "grade")
PATIENT = "patient"
"""Column of the patient in a ``reading.csv`` of Slicer's panel, in place of ``id``."""
_OF_THE_PANEL = (PATIENT, "level", "kind", "side", "note", "time")
"""What the panel writes besides; ``reader`` may grade each joint of each patient once."""
CLASSES = ("negative", "indeterminate", "positive")
"""Classes in order, for weights."""
NOT_MEASURABLE = "not_measurable"
SOFTWARE = "software"


@dataclass(frozen=True)
class Reading:
    """Grades of one reader: patient and joint to uptake class."""

    reader: str
    grades: Mapping[tuple[str, str], str]


def read_readings(path: Path, joints: Mapping[str, Sequence[Row]]) -> list[Reading]:
    """Read a table of readings, one entry per reader; joints without a grade are left out.

    Parameters
    ----------
    joints
        Patient to joints, of which the readings are.

    Raises
    ------
    InputError
        Naming row and column, if a cell is not allowed or names a joint that is not there.
    """
    known_columns = (*COLUMNS, *_OF_THE_PANEL)
    cells = read_cells(path, known_columns, NEEDED, "a reading as the reader form saves it")
    patient = "id" if "id" in cells.columns else PATIENT
    if patient not in cells.columns:
        raise InputError(f"{path} has no column 'id'; give a reading as the reader form saves it.")
    grades = cells.choices("grade", UPTAKE_CLASSES)
    known = {(name, j.joint) for name, rows in joints.items() for j in rows}
    found: dict[str, dict[tuple[str, str], str]] = {}
    lines: dict[tuple[str, str, str], int] = {}
    for row, (reader, name, joint) in enumerate(_names(cells, patient)):
        if (name, joint) not in known:
            raise InputError(
                f"{cells.where(row, 'joint')}: the results have no joint '{joint}' of '{name}'; "
                "give the results that the form was made of."
            )
        earlier = lines.setdefault((reader, name, joint), row)
        if earlier != row:
            raise InputError(
                f"{cells.where(row, 'joint')}: '{name} {joint}' stands in row "
                f"{cells.lines[earlier]} as well; keep one."
            )
        if grades[row]:
            found.setdefault(reader, {})[name, joint] = grades[row]
    if not found:
        raise InputError(f"{path} holds no grades; read some joints first.")
    return [Reading(reader, given) for reader, given in found.items()]


def _names(cells: CellTable, patient: str) -> list[tuple[str, str, str]]:
    columns = [cells.cells(name) for name in ("reader", patient, "joint")]
    found = list(zip(*columns, strict=True))
    for row, names in enumerate(found):
        for column, name in zip(("reader", patient, "joint"), names, strict=True):
            if not name:
                raise InputError(f"{cells.where(row, column)} is empty; give it.")
        if names[0].lower() == SOFTWARE:
            raise InputError(
                f"{cells.where(row, 'reader')}: '{names[0]}' is what the software is called; give "
                "the reader another name."
            )
    return found


def software_reading(joints: Mapping[str, Sequence[Row]]) -> Reading:
    """What the software says."""
    return Reading(
        SOFTWARE,
        {
            (name, j.joint): j.uptake if ratio_of(j) == ratio_of(j) else NOT_MEASURABLE
            for name, rows in joints.items()
            for j in rows
        },
    )
