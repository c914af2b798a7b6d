"""Rows of the report's table of joints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from CTSpectSpineLib.joint_table import deciding_ratio
from CTSpectSpineLib.report.values import number, share
from CTSpectSpineLib.wording import wording


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
            "ratio": ratio,
            "interval": interval,
            "probability": share(row.get("probability_positive")),
            "maximum": number(row.get("ratio_max")),
            "level_status": str(row.get("level_status") or ""),
            "asymmetry": number(row.get("asymmetry")),
            "verdict": str(row.get("verdict", "")),
        }


def records(joints: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Rows of the table as mappings; none without a table."""
    if joints is None:
        return []
    return [{str(key): value for key, value in row.items()} for row in joints.to_dict("records")]
