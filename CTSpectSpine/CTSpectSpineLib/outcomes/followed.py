"""Whether patients were treated as their verdict says, from their levels and the cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from CTSpectSpineLib.cohort.rows import EXCLUDED, CohortRow
from CTSpectSpineLib.outcomes.table import Outcomes, Patient
from CTSpectSpineLib.protocol_files import protocol_files
from CTSpectSpineLib.triage_protocol import load_protocol

OPEN = frozenset({"", "no_verdict", "indeterminate", "not_covered"})
"""Dispositions that ask for nothing definite."""
DECLINED = "declined"
_OR_NONE = frozenset({"cervical_facet"})
"""Dispositions that offer pain management as well as surgery (a block, Tender 2019)."""
NO_OPERATION = frozenset({"", "none", "no", "no surgery", "conservative"})
"""Words for a procedure that was none, in small letters."""


def surgical_dispositions() -> frozenset[str]:
    """Dispositions for which a known protocol considers surgery."""
    protocols = [load_protocol(name) for name in protocol_files()]
    return frozenset(rule.disposition for p in protocols for rule in p.rules if rule.surgical)


def is_operated(patient: Patient) -> bool:
    """Whether a row tells of an operation."""
    return bool(patient.levels) or patient.procedure.strip().lower() not in NO_OPERATION


def with_verdicts(outcomes: Outcomes, rows: Sequence[CohortRow]) -> Outcomes:
    """Patients with ``followed`` filled from the cohort, where the table does not say it itself.

    Patients whom a person excluded from the cohort are left out.
    """
    surgical = surgical_dispositions()
    verdicts = {row.id: row for row in rows}
    patients = tuple(
        replace(p, followed=_followed(p, verdicts, surgical)) if p.followed is None else p
        for p in outcomes.patients
        if p.id not in verdicts or verdicts[p.id].status != EXCLUDED
    )
    return replace(outcomes, patients=patients)


def _followed(
    patient: Patient, verdicts: Mapping[str, CohortRow], surgical: frozenset[str]
) -> bool | None:
    """Whether what was operated are the levels that the verdict names; None where that is open."""
    row = verdicts.get(patient.id)
    if row is None or row.disposition in OPEN:
        return None
    if not is_operated(patient):
        # An empty row does not tell that nothing was done.
        told = patient.procedure.strip() != ""
        offered = row.disposition in surgical and row.disposition not in _OR_NONE
        return not offered if told else None
    if row.disposition not in surgical:
        return False
    positive = {joint.split()[0] for joint in row.positive_joints.split("; ") if joint}
    return set(patient.levels) == positive if patient.levels else None
