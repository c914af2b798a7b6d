"""What a page holds, and how tables become text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from math import isfinite
from typing import Any

from CTSpectSpineLib.statistics.estimate import Estimate

_LEAST_P = 0.001
"""Smallest p that is written out. Convention: of most journals."""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    caption
        What it shows.
    columns
        Heads of the columns; the first column heads its row.
    rows
        Cells as they are shown.
    note
        What stands below it.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes
    ----------
    svg
        An ``<svg>`` element with a role, a title and a description.
    caption
        What it shows.
    """

    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of a page: a title, sentences, then tables and figures."""

    title: str
    words: tuple[str, ...] = ()
    parts: tuple[Table | Figure, ...] = ()


def p_text(p: float) -> str:
    """A p value as journals print it."""
    if not isfinite(p):
        return "–"
    return f"< {_LEAST_P:g}" if p < _LEAST_P else f"{p:.3f}"


def mean_sd(mean: float, sd: float, digits: int = 2) -> str:
    """``9.04 ± 1.40``; a dash where there is no mean."""
    if not isfinite(mean):
        return "–"
    return f"{mean:.{digits}f} ± {sd:.{digits}f}" if isfinite(sd) else f"{mean:.{digits}f}"


def number(value: float, digits: int = 2) -> str:
    """A number; a dash where there is none."""
    return f"{value:.{digits}f}" if isfinite(value) else "–"


def share_text(count: int, of: int, estimate: Estimate) -> str:
    """``12 of 20, 60 % (39 to 78)``."""
    return f"{count} of {of}, {estimate.text(0, 100).replace(' (', ' % (', 1)}" if of else "–"


def flat(row: Any) -> dict[str, Any]:
    """Cells of a dataclass by column; an estimate fills three columns, a nested one its own."""
    found: dict[str, Any] = {}
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, Estimate):
            found[field.name] = value.value
            found[f"{field.name}_low"], found[f"{field.name}_high"] = value.low, value.high
        elif is_dataclass(value) and not isinstance(value, type):
            found.update(flat(value))
        else:
            found[field.name] = value
    return found


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Rows as CSV; the columns are those of the first row unless given. NaN and None are empty."""
    listed = list(rows)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    heads = list(columns) or (list(listed[0]) if listed else [])
    writer.writerow(heads)
    for row in listed:
        writer.writerow([_cell(row.get(head)) for head in heads])
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return ""
    return value


def table_csv(tables: Sequence[Table]) -> str:
    """Tables as they are shown, one below the other, as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for place, table in enumerate(tables):
        if place:
            writer.writerow([])
        writer.writerows(([table.caption], table.columns, *table.rows))
        if table.note:
            writer.writerow([table.note])
    return buffer.getvalue()
