"""``joints.csv``: its columns, its reading and writing, and the ratio that decides.

The only place that parses joint tables. `read` takes a table that a person may have written,
`parse` one that an analysis wrote and that must be complete; `rows` gives typed rows of either.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from CTSpectSpineLib import anatomy, spreadsheet
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.joint_columns import ALLOWED, COLUMNS, TEXT_COLUMNS, USUAL_METRIC

if TYPE_CHECKING:
    import pandas as pd

    from CTSpectSpineLib.geometry import FloatArray

_NEEDED = ("joint", "level", "kind", "side", "status", "uptake")
_AGAIN = "run the analysis again"


@dataclass(frozen=True)
class Row:
    """One joint of a table that an analysis wrote; numbers are NaN where there is none.

    A joint that is not measurable may keep its numbers; nothing may rest on them.

    Attributes
    ----------
    metric, ratio, low, high
        Deciding ratio, its column, and its own 95 % interval.
    verdict, reason
        Its part in the verdict, in words; why it is not measurable.
    reference
        Uptake of the reference bone, SPECT units.
    level_status
        One of `LEVEL_STATUSES`; empty where an older version wrote none.
    centre_lps
        Centre in LPS mm; None where it could not be located.
    cells
        All cells of the row as they stand in the table.
    """

    joint: str
    level: str
    kind: str
    side: str
    uptake: str
    ratio: float
    low: float
    high: float
    verdict: str = ""
    reason: str = ""
    centre_lps: tuple[float, float, float] | None = None
    metric: str = USUAL_METRIC
    reference: float = math.nan
    level_status: str = ""
    cells: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def measurable(self) -> bool:
        """Whether its numbers count."""
        return self.uptake != "not_measurable"

    @property
    def explanation(self) -> str:
        """Its part in the verdict, or why it is not measurable."""
        parts = (self.verdict, self.reason) if self.measurable else (self.reason, self.verdict)
        return next(filter(None, parts), "")

    @property
    def ratio_text(self) -> str:
        """Ratio to the reference bone with its 95 % interval."""
        if math.isnan(self.ratio):
            return "–"
        text = f"{self.ratio:.2f}"
        interval = not (math.isnan(self.low) or math.isnan(self.high))
        return f"{text} ({self.low:.1f}–{self.high:.1f})" if interval else text


def metric_of(bounds: Mapping[Any, Any], kind: str) -> str:
    """Column of the ratio that decides for a kind of joint.

    Parameters
    ----------
    bounds
        Kind of joint to `UptakeBounds`, or to what ``manifest.json`` holds of them.
    """
    entry = bounds.get(kind)
    named = entry.get("metric") if isinstance(entry, Mapping) else getattr(entry, "metric", None)
    return str(named or USUAL_METRIC)


def deciding_ratio(row: Mapping[Any, Any], bounds: Mapping[Any, Any]) -> float:
    """The ratio that decides a joint's class; NaN where the row has none.

    Everything that shows a ratio beside an interval takes it from here: ``ratio_low`` and
    ``ratio_high`` are the interval of this ratio and of no other.

    Parameters
    ----------
    row
        Cells of the joint by column, with at least ``kind``.
    bounds
        As for `metric_of`.
    """
    return number(row.get(metric_of(bounds, str(row["kind"]))))


def deciding_ratios(table: pd.DataFrame, bounds: Mapping[Any, Any]) -> FloatArray:
    """`deciding_ratio` of all joints, in the order of the table, shape (joints,)."""
    rows_ = table.to_dict("records")
    return np.array([deciding_ratio(row, bounds) for row in rows_], dtype=np.float64)


def number(value: object) -> float:
    """Number in a cell; NaN for an empty cell, a word or None."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def to_csv(table: pd.DataFrame) -> str:
    """The table as the text of ``joints.csv``: the columns in order, RFC 4180."""
    text: str = table.reindex(columns=list(COLUMNS)).to_csv(
        index=False, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL
    )
    return text


def read(path: Path) -> pd.DataFrame:
    """Read a joint table that a person may have written, in the order of the file.

    Returns
    -------
    pandas.DataFrame
        Words as they stand, without surrounding blanks in the names of the columns. A column
        of numbers is float; a column that is none of `COLUMNS` and in which a cell is not a number
        keeps its words.

    Raises
    ------
    InputError
        If the file cannot be read as a table, or a cell of a column of numbers is not a number.
    """
    try:
        text, separator = spreadsheet.separated(spreadsheet.decoded(path.read_bytes()), COLUMNS)
        names, cells, lines = _cells(text, separator)
        stripped = [{name.strip(): cell for name, cell in row.items()} for row in cells]
        columns = [name.strip() for name in names]
        known = {
            name: [row[name] for row in stripped]
            for name in columns
            if name in COLUMNS and name not in TEXT_COLUMNS
        }
        numbers: dict[str, list[float]] = spreadsheet.numbers(known, lines, separator)
    except OSError as error:
        raise InputError(
            f"Joint table {path} cannot be read ({error.strerror}); check the path."
        ) from error
    except ValueError as error:
        raise InputError(
            f"Joint table {path} cannot be read as a table: {error}. Save it as CSV in UTF-8, "
            "separated by commas or semicolons."
        ) from error
    for name in set(columns) - TEXT_COLUMNS - set(numbers):
        values = [_checked_number(row[name]) for row in stripped]
        if None not in values:
            numbers[name] = [value for value in values if value is not None]
    return _frame(columns, stripped, numbers)


def parse(text: str, origin: str) -> pd.DataFrame:
    """Read the text of a table that an analysis wrote, cranial to caudal.

    Parameters
    ----------
    origin
        Where the text comes from, for the sentences of errors.

    Returns
    -------
    pandas.DataFrame
        Columns of words as text (empty where there is none), all others as float.

    Raises
    ------
    InputError
        If a column is missing, or a cell is none of `ALLOWED` or not a number.
    """
    names, cells = _checked_cells(text, origin)
    numbers = {name: [number(row[name]) for row in cells] for name in set(names) - TEXT_COLUMNS}
    return _frame(names, cells, numbers)


def parse_file(path: Path) -> pd.DataFrame | None:
    """`parse` a file; None where there is none."""
    if not path.exists():
        return None
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: cannot be read as a table ({reason}); {_AGAIN}") from error
    return parse(text, str(path))


def rows(text: str, bounds: Mapping[Any, Any], origin: str) -> tuple[Row, ...]:
    """Typed rows of the text of a table that an analysis wrote, cranial to caudal.

    Parameters
    ----------
    bounds
        The protocol's bounds, as for `metric_of`.
    origin
        As for `parse`.

    Raises
    ------
    InputError
        As for `parse`.
    """
    _, cells = _checked_cells(text, origin)
    return tuple(_row(row, bounds) for row in cells)


def _row(cells: Mapping[str, str], bounds: Mapping[Any, Any]) -> Row:
    x, y, z = (number(cells.get(name)) for name in ("x_mm", "y_mm", "z_mm"))
    return Row(
        joint=cells["joint"],
        level=cells["level"],
        kind=cells["kind"],
        side=cells["side"],
        uptake=cells["uptake"],
        ratio=deciding_ratio(cells, bounds),
        low=number(cells.get("ratio_low")),
        high=number(cells.get("ratio_high")),
        verdict=cells.get("verdict", ""),
        reason=cells.get("status_reason", ""),
        centre_lps=None if math.isnan(x + y + z) else (x, y, z),
        metric=metric_of(bounds, cells["kind"]),
        reference=number(cells.get("reference")),
        level_status=cells.get("level_status", ""),
        cells=cells,
    )


def taken_back(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose joints count in no verdict; all numbers stay."""
    if "verdict" not in table.columns:
        return table
    raised = table["uptake"].isin(("positive", "indeterminate"))
    said = (table["uptake"] + "; no verdict").where(raised, "")
    changed: pd.DataFrame = table.assign(verdict=said)
    return changed


def without_verdict(text: str, origin: str) -> str:
    """The text of a joint table after its verdict was taken back; all numbers stay.

    Raises
    ------
    InputError
        If the text is no joint table; ``origin`` names it.
    """
    columns, lines = _checked_cells(text, origin)
    for cells in lines:
        if "verdict" in cells:
            raised = cells["uptake"] in ("positive", "indeterminate")
            cells["verdict"] = f"{cells['uptake']}; no verdict" if raised else ""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def place_key(level: str, kind: str, side: str) -> tuple[int, str, str, str]:
    """Key that sorts joints cranial to caudal, then disc, left facet, right facet.

    Joints of unknown levels come last.
    """
    order = {row.name: place for place, row in enumerate(anatomy.vertebrae())}
    return order.get(level.partition("-")[0], len(order)), level, kind, side


def joint_id(level: str, kind: str, side: str) -> str:
    """Unique name of a joint: ``L4-L5 disc``, ``L4-L5 facet left``."""
    return " ".join(filter(None, (level, kind, side)))


def joint_ids(table: pd.DataFrame) -> list[str]:
    """`joint_id` of all rows, in the order of the table."""
    rows_ = table[["level", "kind", "side"]].fillna("").astype(str).to_numpy()
    return [joint_id(*(part.strip() for part in row)) for row in rows_]


def _cells(text: str, separator: str = ",") -> tuple[list[str], list[dict[str, str]], list[int]]:
    """Names of the columns, each row's cells by column, and the line that each row ends in.

    Lines without any cell are skipped.

    Raises
    ------
    ValueError
        If the text is not a table: without header, with a column twice, with more cells in a row
        than in the header (empty ones aside), or with a broken quote.
    """
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        names = next((line for line in lines if line), [])
        if not names:
            raise ValueError("it is empty")
        twice = [name for name in names if name and names.count(name) > 1]
        if twice:
            raise ValueError(f"it has the column {twice[0]!r} twice")
        cells, places = [], []
        for line in lines:
            if any(line[len(names) :]):
                raise ValueError(
                    f"line {lines.line_num} has {len(line)} cells, the header {len(names)}"
                )
            if len(line) > 1 or any(cell.strip() for cell in line):
                padded = [*line, *[""] * (len(names) - len(line))]
                cells.append(dict(zip(names, padded, strict=False)))
                places.append(lines.line_num)
    except csv.Error as error:
        raise ValueError(f"line {lines.line_num}: {error}") from error
    return names, cells, places


def _checked_cells(text: str, origin: str) -> tuple[list[str], list[dict[str, str]]]:
    """The cells of a table that an analysis wrote, checked, cranial to caudal."""
    try:
        names, cells, _ = _cells(text)
    except ValueError as error:
        raise InputError(f"{origin}: cannot be read as a table ({error}); {_AGAIN}") from error
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise InputError(f"{origin}: column {missing[0]!r} is missing; {_AGAIN}")
    for name, allowed in ALLOWED.items():
        for row in cells:
            if row[name] not in allowed:
                raise InputError(
                    f"{origin}: {name} of {row['joint']!r} is {row[name]!r}, which must be one of "
                    f"{', '.join(repr(a) for a in allowed)}"
                )
    for name in [name for name in names if name not in TEXT_COLUMNS]:
        for row in cells:
            if _checked_number(row[name]) is None:
                raise InputError(
                    f"{origin}: {name} of {row['joint']!r} is {row[name]!r}, not a number"
                )
    return names, sorted(cells, key=lambda row: place_key(row["level"], row["kind"], row["side"]))


def _frame(
    names: list[str], cells: list[dict[str, str]], numbers: Mapping[str, list[Any]]
) -> pd.DataFrame:
    import pandas as pd

    columns = {
        name: np.array(numbers[name], dtype=np.float64)
        if name in numbers
        else [row[name] for row in cells]
        for name in names
    }
    frame: pd.DataFrame = pd.DataFrame(columns)
    return frame


def _checked_number(cell: str) -> float | None:
    """Number in a cell, NaN where it is empty, None where it holds something else."""
    if cell.strip().lower() in ("", "nan"):
        return math.nan
    try:
        return float(cell)
    except ValueError:
        return None
