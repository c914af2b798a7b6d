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
from typing import Any

import numpy as np
import pandas as pd

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.joint_columns import ALLOWED, COLUMNS, TEXT_COLUMNS, USUAL_METRIC
from CTSpectSpineLib.model import FloatArray, UptakeBounds

_NEEDED = ("joint", "level", "kind", "side", "status", "uptake")
_SIDES = {"": 0, "left": 1, "right": 2}
"""Order of the joints of a level. Convention: that of ``joints.csv``."""
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
    if isinstance(entry, UptakeBounds):
        return entry.metric
    named = entry.get("metric") if isinstance(entry, Mapping) else None
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
        of numbers is float; one in which a cell is not a number keeps its words.

    Raises
    ------
    InputError
        If the file cannot be read as a table.
    """
    try:
        table = _cells(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"Joint table {path} cannot be read ({error.strerror}); check the path."
        ) from error
    except ValueError as error:
        raise InputError(
            f"Joint table {path} is not a CSV table in UTF-8 ({error}); save it as one."
        ) from error
    if len(table.columns) == 1 and any(mark in str(table.columns[0]) for mark in ";\t"):
        raise InputError(
            f"Joint table {path} is not separated by commas; save it as a comma-separated table."
        )
    table.columns = table.columns.astype(str).str.strip()
    for name in table.columns.difference(list(TEXT_COLUMNS)):
        values = [_checked_number(cell) for cell in table[name]]
        if None not in values:
            table[name] = pd.Series(values, index=table.index, dtype=float)
    return table


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
        If a column is missing, or a cell is none of `ALLOWED` or no number.
    """
    try:
        table = _cells(text)
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{origin}: cannot be read as a table ({reason}); {_AGAIN}") from error
    _check_words(table, origin)
    for name in table.columns.difference(list(TEXT_COLUMNS)):
        values = [_checked_number(cell) for cell in table[name]]
        if None in values:
            row = table.iloc[values.index(None)]
            raise InputError(f"{origin}: {name} of {row['joint']!r} is {row[name]!r}, not a number")
        table[name] = pd.Series(values, index=table.index, dtype=float)
    return cranial_to_caudal(table)


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
    table = parse(text, origin)
    cells = _cells(text).set_index("joint", drop=False) if not table.empty else table
    return tuple(
        _row(values, bounds, {str(k): str(v) for k, v in cells.loc[values["joint"]].items()})
        for values in table.to_dict("records")
    )


def _row(values: Mapping[Any, Any], bounds: Mapping[Any, Any], cells: Mapping[str, str]) -> Row:
    x, y, z = (number(values.get(name)) for name in ("x_mm", "y_mm", "z_mm"))
    return Row(
        joint=values["joint"],
        level=values["level"],
        kind=values["kind"],
        side=values["side"],
        uptake=values["uptake"],
        ratio=deciding_ratio(values, bounds),
        low=number(values.get("ratio_low")),
        high=number(values.get("ratio_high")),
        verdict=str(values.get("verdict", "")),
        reason=str(values.get("status_reason", "")),
        centre_lps=None if math.isnan(x + y + z) else (x, y, z),
        metric=metric_of(bounds, values["kind"]),
        reference=number(values.get("reference")),
        cells=cells,
    )


def cranial_to_caudal(table: pd.DataFrame) -> pd.DataFrame:
    """Sort by level, then disc, left facet, right facet; unknown levels stay last."""
    order = {row.name: i for i, row in enumerate(anatomy.vertebrae())}
    upper = [order.get(level.partition("-")[0], len(order)) for level in table["level"]]
    keys = table[["level", "kind", "side"]].assign(upper=upper)
    order_of_rows = keys.sort_values(["upper", "level", "kind", "side"], kind="stable").index
    ordered: pd.DataFrame = table.loc[order_of_rows].reset_index(drop=True)
    return ordered


def place_key(level: str, kind: str, side: str) -> tuple[int, str, int]:
    """Key that sorts joints of known levels cranial to caudal: disc, left facet, right facet."""
    order = [row.name for row in anatomy.vertebrae()]
    return order.index(level.split("-")[0]), kind, _SIDES[side]


def joint_id(level: str, kind: str, side: str) -> str:
    """Unique name of a joint: ``L4-L5 disc``, ``L4-L5 facet left``."""
    return " ".join(filter(None, (level, kind, side)))


def joint_ids(table: pd.DataFrame) -> list[str]:
    """`joint_id` of all rows, in the order of the table."""
    columns = [
        ["" if pd.isna(cell) else str(cell).strip() for cell in table[name]]
        for name in ("level", "kind", "side")
    ]
    return [joint_id(*parts) for parts in zip(*columns, strict=True)]


def _cells(text: str) -> pd.DataFrame:
    table: pd.DataFrame = pd.read_csv(
        io.StringIO(text, newline=""), dtype=str, keep_default_na=False, index_col=False
    )
    return table


def _check_words(table: pd.DataFrame, origin: str) -> None:
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise InputError(f"{origin}: column {missing[0]!r} is missing; {_AGAIN}")
    for name, allowed in ALLOWED.items():
        for joint, value in zip(table["joint"], table[name], strict=True):
            if value not in allowed:
                raise InputError(
                    f"{origin}: {name} of {joint!r} is {value!r}, which must be one of "
                    f"{', '.join(repr(a) for a in allowed)}"
                )


def _checked_number(cell: str) -> float | None:
    """Number in a cell, NaN where it is empty, None where it holds something else."""
    if cell.strip().lower() in ("", "nan"):
        return math.nan
    try:
        return float(cell)
    except ValueError:
        return None
