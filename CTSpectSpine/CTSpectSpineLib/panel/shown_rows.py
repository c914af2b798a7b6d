"""The rows of the joint table that the panel shows: filtered, searched, sorted."""

from __future__ import annotations

import math
from collections.abc import Sequence

from CTSpectSpineLib.joint_columns import UPTAKE_CLASSES
from CTSpectSpineLib.joint_table import Row

FILTERS = {
    "positive": frozenset({"positive"}),
    "positive, indeterminate": frozenset({"positive", "indeterminate"}),
    "measured": frozenset({"positive", "indeterminate", "negative"}),
    "not measurable": frozenset({"not_measurable"}),
    "all": frozenset({"positive", "indeterminate", "negative", "not_measurable"}),
}
"""Name of a filter to the uptake classes that it lets through; the first is the default."""

ORDERS = ("joint", "ratio", "uptake", "verdict")
"""What rows can be sorted by."""


def shown_rows(
    rows: Sequence[Row],
    filter_name: str = "all",
    text: str = "",
    order: str = "",
    descending: bool = False,
) -> list[Row]:
    """Rows that pass the filter, sorted.

    Parameters
    ----------
    filter_name
        One of `FILTERS`.
    text
        Words that must all stand in the joint's name, uptake or part of the verdict.
    order
        One of `ORDERS`, or empty for the order of the spine. Rows without ratio that counts come
        last when sorted by ratio, whichever way.
    """
    classes, words = FILTERS[filter_name], text.lower().split()
    found = [
        row
        for row in rows
        if row.uptake in classes
        and all(w in f"{row.joint} {row.uptake} {row.explanation}".lower() for w in words)
    ]
    place = {row.joint: number for number, row in enumerate(rows)}
    if order == "ratio":
        with_ratio = [row for row in found if row.measurable and not math.isnan(row.ratio)]
        without = [row for row in found if row not in with_ratio]
        return sorted(with_ratio, key=lambda row: row.ratio, reverse=descending) + without
    keys = {
        "uptake": lambda row: UPTAKE_CLASSES.index(row.uptake),
        "verdict": lambda row: row.explanation,
    }
    key = keys.get(order, lambda row: place[row.joint])
    return sorted(found, key=key, reverse=descending)
