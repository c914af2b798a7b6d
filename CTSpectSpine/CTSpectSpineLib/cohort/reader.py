"""Reading what a batch wrote: the table of the cohort, and the joints of its patients."""

from __future__ import annotations

from dataclasses import fields
from math import nan
from pathlib import Path

from CTSpectSpineLib.cell_table import read_cells
from CTSpectSpineLib.cohort.rows import EXCLUDED, CohortRow, patient_joints
from CTSpectSpineLib.cohort.summary import COHORT
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.joint_table import Row

_JOINTS = "joints.csv"
_NEEDED = ("id", "status", "disposition")
"""Columns without which a cohort says nothing; earlier versions wrote fewer than this one."""
_NUMBERS = {
    "stability": (0.0, 1.0),
    "expected_error_mm": (0.0, float("inf")),
    "seconds": (0.0, float("inf")),
}
"""Columns of numbers and their bounds. By definition."""


def read_rows(folder: Path) -> tuple[CohortRow, ...]:
    """Rows of ``cohort.csv``; columns that nobody knows stay unread.

    Raises
    ------
    InputError
        If the folder holds no such table, or one that a batch did not write.
    """
    path = folder / COHORT
    if not path.is_file():
        raise InputError(
            f"{folder} holds no {COHORT}; give a folder that 'ctspectspine batch' has written."
        )
    names = [field.name for field in fields(CohortRow)]
    cells = read_cells(path, names, _NEEDED, "the folder of a batch", lambda name: False)
    cells.unique("id", "patient")
    numbers = cells.numbers(_NUMBERS)
    found = []
    for place, row in enumerate(cells.rows):
        values: dict[str, str | float | None] = {
            name: cell for name, cell in zip(cells.columns, row, strict=True) if name in names
        }
        for name in _NUMBERS:
            number = numbers.get(name, [nan] * len(cells.rows))[place]
            values[name] = None if number != number else number
        found.append(CohortRow(**values))  # type: ignore[arg-type]
    return tuple(found)


def results_folders(folder: Path) -> dict[str, Path]:
    """Patient to results folder: of one analysis, or of all in a folder.

    Raises
    ------
    InputError
        If there is none.
    """
    if (folder / _JOINTS).is_file():
        return {folder.name: folder}
    found = {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{_JOINTS}"))}
    if not found:
        raise InputError(
            f"{folder} holds no {_JOINTS}, nor does a folder in it; give a results folder, or a "
            "folder that holds some."
        )
    return found


def read_joints(folder: Path) -> dict[str, tuple[Row, ...]]:
    """Patient to joints, cranial to caudal, of all results folders in a folder.

    Patients whom a person excluded from a cohort are left out.

    Raises
    ------
    InputError
        If there is none, or one is damaged.
    """
    rows = read_rows(folder) if (folder / COHORT).is_file() else ()
    out = {row.id for row in rows if row.status == EXCLUDED}
    return {
        name: patient_joints(path)
        for name, path in results_folders(folder).items()
        if name not in out
    }
