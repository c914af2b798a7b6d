"""One row per patient of what the analyses found, read from the results folders."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from CTSpectSpineLib.cohort.record import read_record
from CTSpectSpineLib.cohort.review import ReviewDecision, is_seen
from CTSpectSpineLib.cohort.table import CohortPatient
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.joint_table import rows as joint_rows
from CTSpectSpineLib.model import STABLE_SHARE
from CTSpectSpineLib.results.manifest import MANIFEST
from CTSpectSpineLib.results.ownership import readable
from CTSpectSpineLib.results.text_files import read_json

NOT_ANALYSED, EXCLUDED = "not analysed", "excluded"


@dataclass(frozen=True)
class CohortRow:
    """One patient; empty or None where there is no such value.

    Attributes
    ----------
    id
        The patient.
    status
        ``complete`` and ``failed`` as in the manifest, ``error`` where there is no result,
        ``excluded`` where a person left the patient out.
    disposition, stability
        The verdict.
    quality, expected_error_mm
        Of the registration.
    level_status
        ``unconfirmed`` where the numbering is in doubt, ``confirmed`` where a person named or
        confirmed it, else ``plausible``.
    positive_joints, findings
        Ids of the positive joints and what was found outside the joints, separated by ``; ``.
    seconds
        How long the analysis took.
    folder
        The results folder, relative to that of the batch.
    reason
        Why there is no result or no verdict.
    decisions
        What people decided on the patient, by whom and when, separated by ``; ``.
    reviewed
        ``yes`` where somebody saw this very result, so that nobody has to look any more.
    """

    id: str
    status: str
    disposition: str = ""
    stability: float | None = None
    quality: str = ""
    expected_error_mm: float | None = None
    level_status: str = ""
    positive_joints: str = ""
    findings: str = ""
    seconds: float | None = None
    folder: str = ""
    reason: str = ""
    decisions: str = ""
    reviewed: str = ""

    @property
    def needs(self) -> tuple[tuple[int, str], ...]:
        """Why somebody should look at this patient, each with its urgency, the most urgent first.

        Judgement: without result, then without verdict, then what a verdict rests on.
        """
        if self.reviewed:
            return ()
        reasons = (
            (5, "no result", self.status in ("error", NOT_ANALYSED)),
            (4, "no verdict", self.disposition == "no_verdict"),
            (3, "registration to check", self.quality == "check"),
            (2, "levels unconfirmed", self.level_status == "unconfirmed"),
            (1, "finding outside the joints", bool(self.findings)),
            (1, "unstable verdict", self.stability is not None and self.stability < STABLE_SHARE),
        )
        return tuple((urgency, words) for urgency, words, applies in reasons if applies)


@dataclass(frozen=True)
class PatientTables:
    """What the folder of one patient holds for the tables of the cohort."""

    row: CohortRow
    joints: tuple[Row, ...] = ()


def patient_tables(
    folder: Path, patient: CohortPatient, decisions: Sequence[ReviewDecision] = ()
) -> PatientTables:
    """Read what is there of a patient, on whom people may have decided.

    Raises
    ------
    InputError
        If a file of the results is damaged.
    """
    found = _undecided(folder, patient)
    if not decisions:
        return found
    row = replace(
        found.row,
        decisions="; ".join(decision.sentence for decision in decisions),
        reviewed="yes" if is_seen(folder, patient.id, decisions) else "",
    )
    return replace(found, row=row)


def _undecided(folder: Path, patient: CohortPatient) -> PatientTables:
    if patient.excluded:
        return PatientTables(
            CohortRow(patient.id, EXCLUDED, reason=f"Excluded: {patient.excluded}.")
        )
    record = read_record(folder, patient.id)
    if record is None:
        return PatientTables(CohortRow(patient.id, NOT_ANALYSED))
    if record.ended == "error":
        return PatientTables(
            CohortRow(patient.id, "error", seconds=record.seconds, reason=record.reason)
        )
    results = folder / patient.id
    with readable(results):
        return _tables(results, patient.id, record.seconds)


def _tables(results: Path, name: str, seconds: float) -> PatientTables:
    manifest = read_json(results / MANIFEST)
    verdict = read_json(results / "verdict.json")
    registration = read_json(results / "registration.json")
    joints = _joints(results / "joints.csv", manifest.get("protocol", {}).get("bounds") or {})
    row = CohortRow(
        id=name,
        status=str(manifest["status"]),
        disposition=str(verdict["disposition"]),
        stability=_number(verdict.get("stability")),
        quality=str(registration["quality"]),
        expected_error_mm=_number(registration.get("expected_error_mm")),
        level_status=_level_status(manifest["labels"], joints),
        positive_joints="; ".join(row.joint for row in joints if row.uptake == "positive"),
        findings="; ".join(_findings(verdict)),
        seconds=seconds,
        folder=name,
        reason=str(manifest.get("status_reason") or ""),
    )
    return PatientTables(row, joints)


def patient_joints(results: Path) -> tuple[Row, ...]:
    """Joints of a results folder, cranial to caudal.

    Raises
    ------
    InputError
        If a file of it is missing or damaged.
    """
    with readable(results):
        manifest = read_json(results / MANIFEST)
        return _joints(results / "joints.csv", manifest.get("protocol", {}).get("bounds") or {})


def _level_status(labels: Mapping[str, Any], joints: Sequence[Row]) -> str:
    if not labels["levels_confirmed"]:
        return "unconfirmed"
    # A single doubtful disc has its own status in the joint table.
    by_person = any(row.cells.get("level_status") == "confirmed" for row in joints)
    return "confirmed" if by_person else "plausible"


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _findings(verdict: Mapping[str, Any]) -> Iterator[str]:
    """Where uptake lies that no joint explains, without what looks physiologic."""
    for finding in verdict.get("findings") or ():
        if not isinstance(finding, Mapping):
            yield str(finding)
        elif not finding.get("physiologic"):
            yield str(finding.get("nearest") or finding.get("name", ""))


def _joints(path: Path, bounds: Mapping[str, Any]) -> tuple[Row, ...]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); analyse again.") from error
    return joint_rows(text, bounds, str(path))


def csv_text(rows: Sequence[CohortRow]) -> str:
    """``cohort.csv``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(field.name for field in fields(CohortRow))
    for row in rows:
        writer.writerow("" if value is None else value for value in asdict(row).values())
    return buffer.getvalue()


def ratio_of(joint: Row) -> float:
    """The deciding ratio of a measured joint; NaN of any other."""
    return joint.ratio if joint.cells.get("status") == "measured" else math.nan
