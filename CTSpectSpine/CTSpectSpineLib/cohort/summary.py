"""The tables of a cohort and what its page counts."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.cohort.review import ReviewDecision, read_decisions
from CTSpectSpineLib.cohort.rows import (
    CohortRow,
    PatientTables,
    csv_text,
    patient_tables,
    ratio_of,
)
from CTSpectSpineLib.cohort.table import CohortPatient
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import replacing
from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.results.text_files import write_text

COHORT, JOINTS, FAILURES, REVIEW, PAGE = (
    "cohort.csv", "joints_all.csv", "failures.csv", "review.csv", "cohort.html"
)  # fmt: skip
FILES = (COHORT, JOINTS, FAILURES, REVIEW, PAGE)
"""Files over all patients."""
_CONFIDENCE = 0.95
"""Of the intervals of shares. Convention."""


@dataclass(frozen=True)
class LevelUptake:
    """Uptake at one level and kind of joint over the cohort.

    Attributes
    ----------
    measured, positive
        Number of measured joints, and of positive ones among them.
    share, low, high
        Share of positive ones with its 95 % interval (Wilson 1927).
    median, quartile_low, quartile_high
        Of the corrected ratio.
    """

    level: str
    kind: str
    measured: int
    positive: int
    share: float
    low: float
    high: float
    median: float
    quartile_low: float
    quartile_high: float


@dataclass(frozen=True)
class CohortSummary:
    """What the page shows.

    Attributes
    ----------
    rows
        One per patient, in the order of the cohort file.
    dispositions
        Disposition to number of patients, the most frequent first.
    levels
        Cranial to caudal, discs before facets.
    """

    rows: tuple[CohortRow, ...]
    dispositions: Mapping[str, int]
    levels: tuple[LevelUptake, ...]


def write_tables(folder: Path, patients: Sequence[CohortPatient]) -> CohortSummary:
    """Write the tables; one patient is in memory at a time.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    rows: list[CohortRow] = []
    decisions = read_decisions(folder)
    ratios: dict[tuple[str, str], list[float]] = {}
    positive: Counter[tuple[str, str]] = Counter()
    with replacing(folder / JOINTS) as temporary, temporary.open("w", encoding="utf-8") as stream:
        writer: Any = None
        for patient in patients:
            found = _found(folder, patient, decisions.get(patient.id, ()))
            rows.append(found.row)
            for joint in found.joints:
                if writer is None:
                    writer = csv.DictWriter(
                        stream, ["id", *joint.cells], restval="", extrasaction="ignore",
                        lineterminator="\n",
                    )  # fmt: skip
                    writer.writeheader()
                writer.writerow({"id": patient.id, **joint.cells})
                _count(joint, ratios, positive)
        if writer is None:
            stream.write("id\n")
    write_text(folder / COHORT, csv_text(rows))
    write_text(folder / FAILURES, csv_text([row for row in rows if row.status != "complete"]))
    write_text(folder / REVIEW, _review(rows))
    dispositions = Counter(row.disposition for row in rows if row.disposition)
    return CohortSummary(
        tuple(rows), dict(dispositions.most_common()), tuple(_levels(ratios, positive))
    )


def _found(
    folder: Path, patient: CohortPatient, decisions: Sequence[ReviewDecision]
) -> PatientTables:
    try:
        return patient_tables(folder, patient, decisions)
    except InputError as error:
        return PatientTables(CohortRow(patient.id, "error", folder=patient.id, reason=str(error)))


def _count(
    joint: Row,
    ratios: dict[tuple[str, str], list[float]],
    positive: Counter[tuple[str, str]],
) -> None:
    ratio = ratio_of(joint)
    if np.isfinite(ratio):
        key = joint.level, joint.kind
        ratios.setdefault(key, []).append(ratio)
        positive[key] += joint.uptake == "positive"


def _levels(
    ratios: Mapping[tuple[str, str], Sequence[float]], positive: Mapping[tuple[str, str], int]
) -> list[LevelUptake]:
    from scipy.stats import binomtest

    order = {row.name: number for number, row in enumerate(anatomy.vertebrae())}
    found = []
    for key in sorted(ratios, key=lambda k: (order.get(k[0].split("-")[0], 99), k[1])):
        values, count = np.array(ratios[key]), positive[key]
        interval = binomtest(count, len(values)).proportion_ci(_CONFIDENCE, method="wilson")
        low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
        found.append(
            LevelUptake(
                *key,
                measured=len(values),
                positive=count,
                share=count / len(values),
                low=float(interval.low),
                high=float(interval.high),
                median=float(median),
                quartile_low=float(low),
                quartile_high=float(high),
            )
        )
    return found


def in_need(rows: Sequence[CohortRow]) -> list[CohortRow]:
    """Patients at whom somebody should look, the most urgent first."""
    wanted = [row for row in rows if row.needs]
    return sorted(
        wanted, key=lambda row: (-row.needs[0][0], -len(row.needs), row.stability or 0.0, row.id)
    )


def _review(rows: Sequence[CohortRow]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("id", "why", "reason", "folder"))
    for row in in_need(rows):
        why = "; ".join(words for _, words in row.needs)
        writer.writerow((row.id, why, row.reason, row.folder))
    return buffer.getvalue()
