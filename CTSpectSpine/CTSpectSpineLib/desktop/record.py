"""What a panel shows of a results folder: its texts, read once, as values for a table."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from CTSpectSpineLib.errors import InputError

FILES = ("manifest.json", "registration.json", "verdict.json", "joints.csv")
"""The texts of a results folder that the panel shows and the scene keeps."""
FILTERS = {
    "positive": frozenset({"positive"}),
    "positive, indeterminate": frozenset({"positive", "indeterminate"}),
    "measured": frozenset({"positive", "indeterminate", "negative"}),
    "not measurable": frozenset({"not_measurable"}),
    "all": frozenset({"positive", "indeterminate", "negative", "not_measurable"}),
}
"""Name of a filter to the uptake classes that it lets through; the first is the default."""
_DECISIONS = ("accepted", "rejected")


@dataclass(frozen=True)
class Row:
    """One joint as the panel shows it; numbers are NaN where there is none.

    A joint that is not measurable may keep its numbers; nothing may rest on them.
    """

    joint: str
    level: str
    kind: str
    side: str
    uptake: str
    ratio: float
    low: float
    high: float
    verdict: str
    reason: str
    centre_lps: tuple[float, float, float] | None

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


@dataclass(frozen=True)
class Record:
    """Texts of one results folder and what they say."""

    texts: Mapping[str, str]
    rows: tuple[Row, ...]
    registration: Mapping[str, Any]
    verdict: Mapping[str, Any]
    manifest: Mapping[str, Any]

    @property
    def decision(self) -> str:
        """What the user decided on the registration: ``accepted``, ``rejected`` or nothing."""
        check = self.manifest.get("registration_check") or {}
        return str(check.get("decision", ""))

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the vertebrae, cranial to caudal."""
        return tuple((self.manifest.get("labels") or {}).get("levels", ()))

    @property
    def levels_confirmed(self) -> bool:
        """Whether the numbering can be relied on."""
        return bool((self.manifest.get("labels") or {}).get("levels_confirmed", False))

    @property
    def reference(self) -> float:
        """The patient's reference uptake in SPECT units; NaN if there is none."""
        value = ((self.manifest.get("uptake") or {}).get("reference") or {}).get("value")
        return math.nan if value is None else float(value)

    @property
    def bounds(self) -> Mapping[str, float]:
        """Kind of joint to the ratio from which it is positive."""
        bounds = (self.manifest.get("protocol") or {}).get("bounds") or {}
        return {kind: float(values["positive"]) for kind, values in bounds.items()}

    def row(self, joint: str) -> Row | None:
        """The row of a joint."""
        return next((row for row in self.rows if row.joint == joint), None)


def read_record(folder: Path) -> Record:
    """Read the texts of a results folder.

    Raises
    ------
    InputError
        If a text is missing or broken.
    """
    texts = {}
    for name in FILES:
        try:
            texts[name] = (folder / name).read_bytes().decode("utf-8")
        except OSError as error:
            raise InputError(
                f"{folder / name} cannot be read ({error.strerror}); give the results folder of "
                "an analysis."
            ) from error
    return record_from_texts(texts, str(folder))


def record_from_texts(texts: Mapping[str, str], origin: str) -> Record:
    """Understand the texts of a results folder.

    Raises
    ------
    InputError
        If a text is broken; ``origin`` is where it came from.
    """
    try:
        values = {name: json.loads(texts[name]) for name in FILES if name.endswith(".json")}
        reader = csv.DictReader(io.StringIO(texts["joints.csv"]))
        rows = tuple(_row(row) for row in reader)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{origin} holds a result that cannot be read ({error}); run the analysis again."
        ) from error
    return Record(
        texts=dict(texts),
        rows=rows,
        registration=values["registration.json"],
        verdict=values["verdict.json"],
        manifest=values["manifest.json"],
    )


def _row(row: Mapping[str, str]) -> Row:
    x, y, z = (_number(row[name]) for name in ("x_mm", "y_mm", "z_mm"))
    return Row(
        joint=row["joint"],
        level=row["level"],
        kind=row["kind"],
        side=row["side"],
        uptake=row["uptake"],
        ratio=_number(row["ratio_corrected"]),
        low=_number(row["ratio_low"]),
        high=_number(row["ratio_high"]),
        verdict=row["verdict"],
        reason=row["status_reason"],
        centre_lps=None if math.isnan(x + y + z) else (x, y, z),
    )


def _number(text: str | None) -> float:
    return float(text) if text else math.nan


def shown_rows(
    rows: Sequence[Row],
    filter_name: str = "all",
    text: str = "",
    column: int = -1,
    descending: bool = False,
) -> list[Row]:
    """Rows that pass the filter, sorted.

    Parameters
    ----------
    filter_name
        One of `FILTERS`.
    text
        Words that must all stand in the joint's name, uptake or part of the verdict.
    column
        0 level, 1 kind, 2 side, 3 ratio, 4 uptake, 5 verdict; other numbers keep the order of the
        spine. Rows without ratio that counts come last, whichever way is sorted.
    """
    classes, words = FILTERS[filter_name], text.lower().split()
    found = [
        row
        for row in rows
        if row.uptake in classes
        and all(w in f"{row.joint} {row.uptake} {row.verdict}".lower() for w in words)
    ]
    place = {row.joint: number for number, row in enumerate(rows)}
    by_level = {row.level: number for number, row in reversed(list(enumerate(rows)))}
    order = ("positive", "indeterminate", "negative", "not_measurable")
    keys = {
        0: lambda row: by_level[row.level],
        1: lambda row: row.kind,
        2: lambda row: row.side,
        4: lambda row: order.index(row.uptake),
        5: lambda row: row.verdict,
    }
    if column == 3:
        with_ratio = [row for row in found if row.measurable and not math.isnan(row.ratio)]
        without = [row for row in found if row not in with_ratio]
        return sorted(with_ratio, key=lambda row: row.ratio, reverse=descending) + without
    key = keys.get(column, lambda row: place[row.joint])
    return sorted(found, key=key, reverse=descending)


def save_folder(results: Path, target: Path) -> Path:
    """Copy a results folder to where it is to be kept; an earlier result there is replaced.

    Raises
    ------
    InputError
        If the target holds other things, or cannot be written.
    """
    from CTSpectSpineLib.results import prepare_folder

    if not (results / "manifest.json").is_file():
        raise InputError(f"The results folder {results} is not there any more; analyse again.")
    if results.resolve() == target.resolve():
        return target
    prepare_folder(target, [results])
    try:
        shutil.copytree(results, target, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise InputError(f"{target} cannot be written ({error}); choose another folder.") from error
    return target


def with_decision(
    manifest: Mapping[str, Any], quality: str, decision: str, *, adjusted: bool
) -> dict[str, Any]:
    """A manifest that says what the user decided on the registration.

    Parameters
    ----------
    quality
        Quality of the registration.
    decision
        ``accepted`` or ``rejected``.
    adjusted
        Whether the position was adjusted by hand before.
    """
    if decision not in _DECISIONS:
        raise ValueError(f"decision is {decision!r}, not one of {_DECISIONS}")
    check = {
        "decision": decision,
        "quality": quality,
        "adjusted_by_hand": adjusted,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    return {**manifest, "registration_check": check}
