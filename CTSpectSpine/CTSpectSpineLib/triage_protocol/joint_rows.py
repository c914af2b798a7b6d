"""The joint table as triage needs it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import pandas as pd

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.joint_columns import ALLOWED
from CTSpectSpineLib.joint_table import deciding_ratio, joint_id, number, place_key
from CTSpectSpineLib.model import JointKind, UptakeBounds
from CTSpectSpineLib.spreadsheet import is_number
from CTSpectSpineLib.triage_protocol.context import is_level
from CTSpectSpineLib.uptake_bounds import class_of, may_be_increased

Classes: TypeAlias = Literal["auto", "derived", "stated"]
"""Uptake classes by the protocol's bounds where the table has the ratio, or as stated there;
``auto`` derives them where the stated ones follow from known bounds, so that nobody set them."""
CLASSES: tuple[Classes, ...] = ("auto", "derived", "stated")
_CHECKED = ("kind", "side", "uptake")
_METRIC_WORDS = {
    "ratio_corrected": "corrected ratio",
    "ratio_mean": "mean ratio",
    "ratio_max": "maximum ratio",
    "ratio_peak": "peak ratio",
}


@dataclass(frozen=True)
class JointRow:
    """One joint: what it is, its uptake class, and what the class rests on.

    Attributes
    ----------
    uptake, stated
        Class that counts, and the class that the table states.
    metric, ratio, low, high
        Deciding ratio and its 95 % interval; None where the table has none.
    z_score, asymmetry
        Supporting evidence; None where the table has none.
    level_status
        How far the level's name can be relied on; empty where the table does not say.
    """

    id: str
    level: str
    kind: JointKind
    side: str
    uptake: str
    stated: str
    metric: str
    ratio: float | None
    low: float | None
    high: float | None
    z_score: float | None
    asymmetry: float | None
    level_status: str = ""

    @property
    def region(self) -> str:
        """Spine region of the joint."""
        return anatomy.spine_region(self.level.split("-")[0])

    def reads_hot(self, bounds: UptakeBounds) -> bool:
        """Whether it could not be measured and what it reads is positive nevertheless."""
        return (
            self.uptake == "not_measurable"
            and self.ratio is not None
            and self.ratio >= bounds.positive
        )

    def left_open(self, bounds: UptakeBounds) -> bool:
        """Whether it could not be measured and what it reads does not exclude that it is hot."""
        return (
            self.uptake == "not_measurable"
            and self.ratio is not None
            and may_be_increased(self.ratio, bounds, self.low, self.high)
        )

    @property
    def evidence(self) -> str:
        """Ratio and interval in words; empty where the table has no ratio."""
        if self.ratio is None:
            return ""
        complete = self.low is not None and self.high is not None
        interval = f", 95 % interval {self.low:.2f} to {self.high:.2f}" if complete else ""
        return f"{_METRIC_WORDS.get(self.metric, self.metric)} {self.ratio:.2f}{interval}"


def joint_rows(
    table: pd.DataFrame, bounds: Mapping[JointKind, UptakeBounds], classes: Classes
) -> tuple[JointRow, ...]:
    """Check a joint table and turn it into rows, cranial to caudal.

    Parameters
    ----------
    table
        With the columns ``level``, ``kind``, ``side`` and ``uptake``; others are used if there.
    bounds
        The protocol's bounds, by kind of joint.
    classes
        ``derived`` applies the bounds wherever the table has the deciding ratio of a measured
        joint; ``stated`` takes the classes of the table as they stand. ``auto`` is resolved
        before, by `resolved_classes`.

    Raises
    ------
    InputError
        If a column is missing, a value is not allowed, or a joint appears twice.
    """
    missing = [name for name in ("level", "kind", "side", "uptake") if name not in table.columns]
    if missing:
        raise InputError(f"The joint table lacks the column(s) {', '.join(missing)}; add them.")
    if table.empty:
        raise InputError("The joint table has no rows; give at least one joint.")
    rows = []
    for row_number, values in enumerate(table.to_dict("records"), start=1):
        rows.append(_row(row_number, {str(k): v for k, v in values.items()}, bounds, classes))
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise InputError(f"The joint table holds '{row.id}' twice; keep one row per joint.")
        seen.add(row.id)
    rows.sort(key=lambda row: place_key(row.level, row.kind, row.side))
    return tuple(rows)


def resolved_classes(
    table: pd.DataFrame,
    classes: Classes,
    known: Iterable[Mapping[JointKind, UptakeBounds]],
) -> Classes:
    """Whether to derive the classes or to take the stated ones.

    Parameters
    ----------
    table, classes
        As for `joint_rows`.
    known
        Bounds by which the table may have been made.

    Raises
    ------
    InputError
        If `classes` is none of `CLASSES`, or as for `joint_rows`.
    """
    if classes not in CLASSES:
        raise InputError(f"Classes cannot be '{classes}'; use one of {', '.join(CLASSES)}.")
    if classes != "auto":
        return classes
    for bounds in known:
        if all(row.uptake == row.stated for row in joint_rows(table, bounds, "derived")):
            return "derived"
    return "stated"


def _row(
    place: int,
    values: dict[str, Any],
    bounds: Mapping[JointKind, UptakeBounds],
    classes: Classes,
) -> JointRow:
    texts = {key: _text(values.get(key)) for key in ("level", "kind", "side", "uptake")}
    if not is_level(texts["level"]):
        raise InputError(
            f"Row {place} of the joint table has the level '{texts['level']}'; "
            "it must name two neighbouring vertebrae like 'L4-L5'."
        )
    for key in _CHECKED:
        allowed = ALLOWED[key]
        if texts[key] not in allowed:
            names = ", ".join(name or "empty" for name in allowed)
            raise InputError(
                f"Row {place} of the joint table has the {key} '{texts[key]}'; allowed are {names}."
            )
    if texts["kind"] == "disc" and texts["level"] == "C1-C2":
        raise InputError(f"Row {place} of the joint table is a disc at C1-C2, which has none.")
    if (texts["kind"] == "disc") != (texts["side"] == ""):
        raise InputError(
            f"Row {place} of the joint table is a {texts['kind']} with side "
            f"'{texts['side']}'; facets need left or right, discs an empty side."
        )
    kind = cast(JointKind, texts["kind"])
    stated = texts["uptake"]
    ratio, low, high = (
        _finite(value)
        for value in (
            deciding_ratio(values, bounds),
            values.get("ratio_low"),
            values.get("ratio_high"),
        )
    )
    _check_words(place, values, (bounds[kind].metric, *_NUMBERS))
    _check_numbers(place, values, stated, low, high)
    # The interval is that of the ratio which decided when the table was made.
    if ratio is None or low is None or high is None or not low <= ratio <= high:
        low = high = None
    derive = classes == "derived" and ratio is not None and stated != "not_measurable"
    return JointRow(
        id=joint_id(texts["level"], kind, texts["side"]),
        level=texts["level"],
        kind=kind,
        side=texts["side"],
        uptake=class_of(cast(float, ratio), bounds[kind], low, high) if derive else stated,
        stated=stated,
        metric=bounds[kind].metric,
        ratio=ratio,
        low=low,
        high=high,
        z_score=_finite(values.get("z_score")),
        asymmetry=_finite(values.get("asymmetry")),
        level_status=_text(values.get("level_status")),
    )


_NUMBERS = ("ratio_low", "ratio_high", "z_score", "asymmetry")


def _check_words(place: int, values: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse a word where a number is looked for: without the number the verdict may be another."""
    for name in names:
        value = values.get(name)
        if isinstance(value, str) and not is_number(value):
            raise InputError(
                f"Row {place} of the joint table has the {name} '{value}', which is not a number; "
                "correct it or leave it empty."
            )


def _check_numbers(
    place: int, values: Mapping[str, Any], stated: str, low: float | None, high: float | None
) -> None:
    """Refuse a row that contradicts itself."""
    if _text(values.get("status")) == "not_measurable" and stated != "not_measurable":
        raise InputError(
            f"Row {place} of the joint table has the status 'not_measurable' and the uptake "
            f"'{stated}'; a joint that was not measured has the uptake 'not_measurable'."
        )
    if low is not None and high is not None and low > high:
        raise InputError(
            f"Row {place} of the joint table has ratio_low {low:g} above ratio_high {high:g}; "
            "exchange them."
        )


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _finite(value: Any) -> float | None:
    """A finite number, or None for anything else that a table may hold."""
    found = number(value)
    return found if math.isfinite(found) else None
