"""Rows of the report's table of joints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from CTSpectSpineLib.joint_columns import LEVEL_STATUSES
from CTSpectSpineLib.joint_table import deciding_ratio
from CTSpectSpineLib.report.values import number, share
from CTSpectSpineLib.wording import wording

LEVEL_WORDS = {status: status for status in LEVEL_STATUSES} | {"unconfirmed": "not confirmed"}
"""How far the name of a joint's level can be relied on, in words."""


def ratio_words(row: Mapping[str, Any], bounds: Mapping[str, Any]) -> tuple[str, str]:
    """Deciding ratio of a joint and its interval, in words."""
    ratio = number(deciding_ratio(row, bounds))
    low, high = number(row.get("ratio_low")), number(row.get("ratio_high"))
    return ratio, "" if "–" in (low, high) else f"{low}–{high}"


def joint_rows(joints: pd.DataFrame, bounds: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """One mapping per joint; the first of a level names it and says how many rows it has.

    Parameters
    ----------
    joints
        The table ``joints.csv``.
    bounds
        The protocol's bounds by kind of joint.
    """
    counts = joints["level"].value_counts()
    previous = None
    for row in records(joints):
        ratio, interval = ratio_words(row, bounds)
        first = row["level"] != previous
        previous = row["level"]
        yield {
            "level": row["level"] if first else None,
            "rows": int(counts[row["level"]]),
            "name": f"{row['kind']} {row['side']}".strip(),
            "id": row["joint"],
            "uptake": row["uptake"],
            "uptake_words": wording("uptake", row["uptake"]),
            "measured": row["status"] == "measured",
            "reason": str(row.get("status_reason", "")),
            "level_name": row["level"],
            "ratio": ratio,
            "sort": _sortable(deciding_ratio(row, bounds)),
            "interval": interval,
            "probability": share(row.get("probability_positive")),
            "mean": number(row.get("ratio_mean")),
            "maximum": number(row.get("ratio_max")),
            "suv": number(row.get("suv_max"), 1),
            "asymmetry": number(row.get("asymmetry")),
            "verdict": str(row.get("verdict", "")),
            "level_status": LEVEL_WORDS.get(str(row.get("level_status", "")), "–"),
            "level_doubted": row.get("level_status") == "unconfirmed",
        }


def standing_out(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows of `joint_rows` that are positive, then the indeterminate ones, the highest first."""
    order = ("positive", "indeterminate")

    def place(row: Mapping[str, Any]) -> tuple[int, float]:
        return order.index(row["uptake"]), -row["sort"]

    return sorted((row for row in rows if row["uptake"] in order), key=place)


def records(joints: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Rows of the table as mappings; none without a table."""
    if joints is None:
        return []
    return [{str(key): value for key, value in row.items()} for row in joints.to_dict("records")]


def _sortable(value: float) -> float:
    return value if math.isfinite(value) else 0.0
