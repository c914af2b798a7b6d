"""The joint table as triage needs it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import JointKind
from CTSpectSpineLib.triage_protocol.context import is_level

UPTAKE_CLASSES = ("positive", "indeterminate", "negative", "not_measurable")
_ALLOWED = {
    "kind": ("disc", "facet"),
    "side": ("left", "right", ""),
    "uptake": UPTAKE_CLASSES,
}
_METRIC_WORDS = {
    "ratio_corrected": "corrected ratio",
    "ratio_mean": "mean ratio",
    "ratio_max": "maximum ratio",
    "ratio_peak": "peak ratio",
}


@dataclass(frozen=True)
class JointRow:
    """One joint: what it is, its uptake class, and the evidence in words."""

    id: str
    level: str
    kind: JointKind
    side: str
    uptake: str
    evidence: str
    status_reason: str

    @property
    def region(self) -> str:
        """Spine region of the joint."""
        return anatomy.spine_region(self.level.split("-")[0])


def read_joint_table(path: Path) -> pd.DataFrame:
    """Read ``joints.csv``.

    Raises
    ------
    InputError
        If the file cannot be read as a table.
    """
    try:
        table: pd.DataFrame = pd.read_csv(
            path, encoding="utf-8-sig", keep_default_na=False, na_values=[""], index_col=False
        )
    except OSError as error:
        raise InputError(
            f"Joint table {path} cannot be read ({error.strerror}); check the path."
        ) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"Joint table {path} is not a CSV table in UTF-8 ({error}); save it as one."
        ) from error
    if len(table.columns) == 1 and any(mark in str(table.columns[0]) for mark in ";\t"):
        raise InputError(
            f"Joint table {path} is not separated by commas; save it as a comma-separated table."
        )
    table.columns = table.columns.astype(str).str.strip()
    return table


def joint_rows(table: pd.DataFrame, metrics: dict[str, str] | None = None) -> tuple[JointRow, ...]:
    """Check a joint table and turn it into rows, cranial to caudal.

    Parameters
    ----------
    table
        With the columns ``level``, ``kind``, ``side`` and ``uptake``; others are used if there.
    metrics
        Kind of joint to the column of its deciding ratio.

    Raises
    ------
    InputError
        If a column is missing, a value is not allowed, or a joint stands there twice.
    """
    missing = [name for name in ("level", "kind", "side", "uptake") if name not in table.columns]
    if missing:
        raise InputError(f"The joint table lacks the column(s) {', '.join(missing)}; add them.")
    if table.empty:
        raise InputError("The joint table has no rows; give at least one joint.")
    rows = []
    for number, values in enumerate(table.to_dict("records"), start=1):
        rows.append(_row(number, {str(k): v for k, v in values.items()}, metrics or {}))
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise InputError(f"The joint table holds '{row.id}' twice; keep one row per joint.")
        seen.add(row.id)
    order = [row.name for row in anatomy.vertebrae()]
    sides = {"": 0, "left": 1, "right": 2}
    rows.sort(key=lambda row: (order.index(row.level.split("-")[0]), row.kind, sides[row.side]))
    return tuple(rows)


def _row(number: int, values: dict[str, Any], metrics: dict[str, str]) -> JointRow:
    texts = {key: _text(values.get(key)) for key in ("level", "kind", "side", "uptake")}
    if not is_level(texts["level"]):
        raise InputError(
            f"Row {number} of the joint table has the level '{texts['level']}'; "
            "it must name two neighbouring vertebrae like 'L4-L5'."
        )
    for key, allowed in _ALLOWED.items():
        if texts[key] not in allowed:
            names = ", ".join(name or "empty" for name in allowed)
            raise InputError(
                f"Row {number} of the joint table has the {key} '{texts[key]}'; "
                f"allowed are {names}."
            )
    if texts["kind"] == "disc" and texts["level"] == "C1-C2":
        raise InputError(f"Row {number} of the joint table is a disc at C1-C2, which has none.")
    if (texts["kind"] == "disc") != (texts["side"] == ""):
        raise InputError(
            f"Row {number} of the joint table is a {texts['kind']} with side "
            f"'{texts['side']}'; facets need left or right, discs an empty side."
        )
    return JointRow(
        id=_joint_id(texts["level"], texts["kind"], texts["side"]),
        level=texts["level"],
        kind=cast(JointKind, texts["kind"]),
        side=texts["side"],
        uptake=texts["uptake"],
        evidence=_evidence(values, metrics.get(texts["kind"], "ratio_corrected")),
        status_reason=_text(values.get("status_reason")),
    )


def joint_ids(table: pd.DataFrame) -> list[str]:
    """Joint ids in the table's own row order."""
    return [
        _joint_id(_text(level), _text(kind), _text(side))
        for level, kind, side in zip(table["level"], table["kind"], table["side"], strict=True)
    ]


def _joint_id(level: str, kind: str, side: str) -> str:
    return " ".join(filter(None, (level, kind, side)))


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _evidence(values: dict[str, Any], metric: str) -> str:
    ratio, low, high = (_number(values.get(key)) for key in (metric, "ratio_low", "ratio_high"))
    if ratio is None:
        return ""
    complete = low is not None and high is not None
    interval = f", 95 % interval {low:.2f} to {high:.2f}" if complete else ""
    return f"{_METRIC_WORDS.get(metric, metric)} {ratio:.2f}{interval}"


def _number(value: Any) -> float | None:
    """A finite number, or None for anything else that a table may hold."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
