"""The cohort file: one row per patient, as a person writes it in a spreadsheet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from CTSpectSpineLib.cell_table import NO, YES, CellTable, read_cells
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.spreadsheet import MISSING, numbers
from CTSpectSpineLib.triage_protocol.context import check_context, context_fields

PATHS = ("ct", "spect", "study", "vertebrae", "transform")
"""Columns that hold paths, relative to the folder of the cohort file."""
_MOST_LETTERS = 64
"""Of an id, which names a folder. Judgement: far below what file systems allow."""
_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{_MOST_LETTERS - 1}}}")
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
)
"""Names that Windows keeps for devices."""
OWN_FOLDERS = frozenset({"batch", "review"})
"""Folders of a batch beside those of its patients (`cohort.record`, `cohort.review`)."""
_WHAT = "a table of patients"


@dataclass(frozen=True)
class CohortPatient:
    """One patient of a cohort.

    Attributes
    ----------
    id
        Names the patient, and the folder of the results.
    ct, spect, study, vertebrae, transform
        Paths; CT and SPECT, or the study that holds both; None where not given.
    context
        Clinical context.
    decided
        Words of ``analyze`` that a person's decisions on this patient add.
    excluded
        Why a person excluded the patient; empty for nobody did.
    """

    id: str
    ct: Path | None = None
    spect: Path | None = None
    study: Path | None = None
    vertebrae: Path | None = None
    transform: Path | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    decided: tuple[str, ...] = ()
    excluded: str = ""

    def paths(self) -> dict[str, Path]:
        """The inputs that are given, by column."""
        named = {name: getattr(self, name) for name in PATHS}
        return {name: path for name, path in named.items() if path is not None}

    def arguments(self) -> list[str]:
        """The words of ``analyze`` that are this patient's own."""
        return [*(f"--{name}={path}" for name, path in self.paths().items()), *self.decided]


def read_cohort(path: Path) -> tuple[CohortPatient, ...]:
    """Read a cohort file.

    Columns are ``id``; ``ct`` and ``spect``, or ``study``; ``vertebrae``, ``transform`` and the
    fields of the clinical context as wanted. An empty cell is a value that is not given.

    Parameters
    ----------
    path
        A table separated by commas, semicolons or tabs, with decimal points or commas.

    Raises
    ------
    InputError
        Naming row and column, if the table cannot be read or a value is not allowed.
    """
    cells = read_cells(path, {"id", *PATHS, *context_fields()}, ("id",), _WHAT)
    patients = tuple(_Reader(cells).patients())
    if not patients:
        raise InputError(f"{path} holds no patients; give one row for each.")
    seen: dict[str, int] = {}
    for patient, line in zip(patients, cells.lines, strict=True):
        # On some systems the folders of "a" and "A" are the same.
        earlier = seen.setdefault(patient.id.lower(), line)
        if earlier != line:
            raise InputError(
                f"{path}, row {line}, column id: '{patient.id}' stands in row {earlier} as well; "
                "every patient needs a name of their own."
            )
    return patients


def read_contexts(
    path: Path, key: str, aliases: Mapping[str, str], values: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    """Read the clinical context of patients from a table that may hold other columns as well.

    Parameters
    ----------
    path
        The table.
    key
        Column that names the patients.
    aliases
        Other names of columns to fields of the context.
    values
        Per field: other words for its values, in small letters.

    Returns
    -------
    dict
        Name of each patient to the context.

    Raises
    ------
    InputError
        Naming row and column, if the table cannot be read or a value is not allowed.
    """
    fields = context_fields()
    read = read_cells(path, {key, *fields, *aliases}, (key,), _WHAT, refused=lambda name: False)
    columns = tuple(aliases.get(name, name) for name in read.columns)
    own: dict[str, str] = {}
    for name, column in zip(columns, read.columns, strict=True):
        if name and own.setdefault(name, column) != column:
            raise InputError(
                f"{path} has the columns '{own[name]}' and '{column}', which mean the same; remove "
                "one."
            )
    rows = tuple(
        tuple(
            values.get(name, {}).get(cell.lower(), cell)
            for name, cell in zip(columns, row, strict=True)
        )
        for row in read.rows
    )
    try:
        return _contexts(replace(read, columns=columns, rows=rows), key)
    except InputError as error:
        raise InputError(_in_own_words(str(error), own)) from error


def _contexts(cells: CellTable, key: str) -> dict[str, dict[str, Any]]:
    path, reader = cells.path, _Reader(cells)
    found: dict[str, dict[str, Any]] = {}
    for number, (row, line) in enumerate(zip(cells.rows, cells.lines, strict=True)):
        named = dict(zip(cells.columns, row, strict=True))
        if named[key] in found:
            raise InputError(
                f"{path}, row {line}, column {key}: '{named[key]}' stands in an earlier row as "
                "well; keep one of them."
            )
        found[named[key]] = reader.context(named, number, line)
    return found


def _in_own_words(sentence: str, columns: Mapping[str, str]) -> str:
    """A sentence on fields of the context, with the names that the columns have in the table."""
    for name, column in columns.items():
        if name and name != column:
            sentence = sentence.replace(f"'{name}'", f"'{column}'")
            sentence = sentence.replace(f"column {name}:", f"column {column}:")
    return sentence


class _Reader:
    """Turns cells into patients."""

    def __init__(self, cells: CellTable) -> None:
        self.path, self.cells = cells.path, cells
        fields = context_fields()
        numeric = {
            name: [row[number] for row in cells.rows]
            for number, name in enumerate(cells.columns)
            if name in fields and fields[name]["type"] == "number"
        }
        try:
            self.numbers = numbers(numeric, cells.lines, cells.separator)
        except ValueError as error:
            raise InputError(f"{self.path}, {error}.") from error

    def patients(self) -> Iterator[CohortPatient]:
        rows = zip(self.cells.rows, self.cells.lines, strict=True)
        for number, (row, line) in enumerate(rows):
            cells = dict(zip(self.cells.columns, row, strict=True))
            self._check_images(cells, line)
            paths: dict[str, Any] = {n: self._path(n, cells.get(n, ""), line) for n in PATHS}
            name = self._id(cells["id"], line)
            context = self.context(cells, number, line)
            yield replace(CohortPatient(name, context=context), **paths)

    def _id(self, text: str, line: int) -> str:
        if text.lower() in OWN_FOLDERS:
            raise InputError(
                f"{self.path}, row {line}, column id: '{text}' is a folder of the batch itself; "
                "give another id."
            )
        if _ID.fullmatch(text) is None or text.lower() in _RESERVED or text.endswith("."):
            raise InputError(
                f"{self.path}, row {line}, column id: '{text}' cannot name a folder; use letters "
                f"without accents, digits, '.', '-' and '_', at most {_MOST_LETTERS}."
            )
        return text

    def _check_images(self, cells: Mapping[str, str], line: int) -> None:
        given = [name for name in ("ct", "spect", "study") if cells.get(name)]
        if given not in (["ct", "spect"], ["study"]):
            raise InputError(
                f"{self.path}, row {line}: {' and '.join(given) or 'no image'} given; give 'ct' "
                "and 'spect', or 'study'."
            )

    def _path(self, name: str, text: str, line: int) -> Path | None:
        try:
            return self.path.parent / Path(text).expanduser() if text else None
        except RuntimeError as error:
            raise InputError(
                f"{self.path}, row {line}, column {name}: '{text}' names the folder of a user who "
                "is not known here; give the whole path."
            ) from error

    def context(self, cells: Mapping[str, str], number: int, line: int) -> dict[str, Any]:
        """Clinical context in a row."""
        fields, values = context_fields(), {}
        for name, cell in cells.items():
            if name not in fields or cell.lower() in MISSING:
                continue
            if name in self.numbers:
                value = self.numbers[name][number]
                # As a person would write it in a context file: 54, not 54.0.
                values[name] = int(value) if value.is_integer() else value
            else:
                values[name] = _READ[fields[name]["type"]](cell)
        return check_context(values, f"{self.path}, row {line}")


def _truth(cell: str) -> Any:
    """True or false; anything else as it stands, for the check to name it."""
    word = cell.lower()
    return word in YES if word in (*YES, *NO) else cell


def _list(cell: str) -> Any:
    return [part.strip() for part in re.split(r"[;|]", cell) if part.strip()]


def _mapping(cell: str) -> Any:
    """``L4-L5=3.5; L5-S1=2``, or JSON."""
    if cell.startswith("{"):
        try:
            return json.loads(cell)
        except ValueError:
            return cell
    pairs = [part.partition("=") for part in re.split(r"[;|]", cell) if part.strip()]
    return {name.strip(): _value(text.strip()) for name, _, text in pairs}


def _value(text: str) -> Any:
    if text.lower() in ("true", "false", "yes", "no"):
        return _truth(text)
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return text


_READ: Mapping[str, Callable[[str], Any]] = {
    "choice": str,
    "boolean": _truth,
    "list": _list,
    "levels": _mapping,
    "judged": _mapping,
    "time": str,
}
"""Type of a context field to how its cell is read."""
