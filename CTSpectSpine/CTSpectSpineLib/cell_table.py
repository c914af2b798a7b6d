"""Tables that a person wrote in a spreadsheet, cell by cell, every error with its row and column.

What a table means is for its reader to say; here its cells are read, and numbers, choices and
answers are checked.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.spreadsheet import MISSING, decoded, numbers, separated

_T = TypeVar("_T")
YES, NO = ("yes", "true", "1", "ja"), ("no", "false", "0", "nein")
"""Words of an answer, in small letters."""


@dataclass(frozen=True)
class CellTable:
    """Cells of a table.

    Attributes
    ----------
    path
        The file, for the sentences of errors.
    columns
        Names, in the order of the file.
    rows
        Cells without surrounding blanks; every row as long as ``columns``.
    lines
        Line of the file that each row ends in.
    separator
        What separates the cells.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    separator: str

    def where(self, row: int, column: str) -> str:
        """Place of a cell, for a sentence."""
        return f"{self.path}, row {self.lines[row]}, column {column}"

    def cells(self, column: str) -> list[str]:
        """Cells of a column; empty ones where there is no such column."""
        if column not in self.columns:
            return [""] * len(self.rows)
        place = self.columns.index(column)
        return [row[place] for row in self.rows]

    def numbers(self, bounds: Mapping[str, tuple[float, float]]) -> dict[str, list[float]]:
        """Numbers of columns that are there; NaN for an empty cell.

        Parameters
        ----------
        bounds
            Smallest and largest value of each column.

        Raises
        ------
        InputError
            If a cell is not a number, can be read in two ways, or lies out of bounds.
        """
        there = [name for name in bounds if name in self.columns]
        try:
            found = numbers({name: self.cells(name) for name in there}, self.lines, self.separator)
        except ValueError as error:
            raise InputError(f"{self.path}, {error}.") from error
        for name, values in found.items():
            low, high = bounds[name]
            for row, value in enumerate(values):
                if value == value and not low <= value <= high:
                    raise InputError(
                        f"{self.where(row, name)}: {value:g} is not possible; give "
                        f"{low:g} to {high:g}, or leave it empty."
                    )
        return found

    def answers(self, column: str) -> list[bool | None]:
        """Yes or no in a column; None for an empty cell.

        Raises
        ------
        InputError
            If a cell holds something else.
        """

        def answer(cell: str) -> bool | None:
            word = cell.lower()
            if word in MISSING:
                return None
            if word not in (*YES, *NO):
                raise ValueError("give yes or no, or leave it empty")
            return word in YES

        return self.read(column, answer)

    def choices(self, column: str, allowed: Sequence[str]) -> list[str]:
        """Words of a column in small letters; empty for an empty cell.

        Raises
        ------
        InputError
            If a cell holds none of the allowed words.
        """

        def choice(cell: str) -> str:
            word = cell.lower()
            if word in MISSING:
                return ""
            if word not in allowed:
                raise ValueError(f"give {' or '.join(allowed)}, or leave it empty")
            return word

        return self.read(column, choice)

    def read(self, column: str, reader: Callable[[str], _T]) -> list[_T]:
        """Cells of a column as a reader understands them.

        Raises
        ------
        InputError
            With row and column, where the reader raises a `ValueError`.
        """
        found = []
        for row, cell in enumerate(self.cells(column)):
            try:
                found.append(reader(cell))
            except ValueError as error:
                raise InputError(f"{self.where(row, column)}: '{cell}': {error}.") from error
        return found

    def unique(self, column: str, what: str) -> list[str]:
        """Names in a column of which every row needs its own.

        Raises
        ------
        InputError
            If a cell is empty or a name stands twice.
        """
        seen: dict[str, int] = {}
        found = self.cells(column)
        for row, name in enumerate(found):
            if not name:
                raise InputError(f"{self.where(row, column)} is empty; name the {what}.")
            earlier = seen.setdefault(name, row)
            if earlier != row:
                raise InputError(
                    f"{self.where(row, column)}: '{name}' stands in row {self.lines[earlier]} as "
                    f"well; every {what} has one row."
                )
        return found


def read_cells(
    path: Path,
    known: Collection[str],
    needed: Collection[str],
    what: str,
    refused: Callable[[str], bool] = lambda name: True,
) -> CellTable:
    """Read a table.

    Parameters
    ----------
    path
        Separated by commas, semicolons or tabs, as spreadsheets save it.
    known, needed
        Names of columns that may stand in it, and that must.
    what
        What it is a table of, for sentences: ``a table of patients``.
    refused
        Whether a column that is not known is an error; else it stays for nobody to read.

    Raises
    ------
    InputError
        If it cannot be read, a column is missing, twice or refused, or a row is too long or short.
    """
    try:
        text = decoded(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"{path} cannot be read ({why}); give {what}.") from error
    body, separator = separated(text, known)
    skipped = text.count("\n") - body.count("\n")
    reader = csv.reader(io.StringIO(body), delimiter=separator, strict=True)
    try:
        found = [
            (tuple(cell.strip() for cell in row), reader.line_num + skipped)
            for row in reader
            if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table ({error}); save it again.") from error
    (columns, _), *rest = found or [((), 0)]
    _check_columns(path, columns, known, needed, refused)
    for row, line in rest:
        if len(row) != len(columns):
            raise InputError(
                f"{path}, row {line}: {len(row)} cells where the first row names {len(columns)} "
                "columns; correct it."
            )
    rows, lines = tuple(row for row, _ in rest), tuple(line for _, line in rest)
    return CellTable(path, columns, rows, lines, separator)


def _check_columns(
    path: Path,
    columns: Sequence[str],
    known: Collection[str],
    needed: Collection[str],
    refused: Callable[[str], bool],
) -> None:
    for name in needed:
        if name not in columns:
            raise InputError(f"{path} has no column '{name}'; the first row must name the columns.")
    for name in columns:
        if name and columns.count(name) > 1:
            raise InputError(f"{path} has the column '{name}' twice; remove one.")
        if name not in known and refused(name):
            raise InputError(
                f"{path} has the column '{name}', which is not known; allowed are "
                f"{', '.join(sorted(known))}."
            )
