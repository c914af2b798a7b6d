"""What several triage protocols say of the joints that a panel shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.shown import Record

if TYPE_CHECKING:
    from CTSpectSpineLib.triage_protocol import Comparison


def side_by_side(record: Record, protocols: Sequence[str]) -> Comparison:
    """Apply protocols to the joints and the clinical context of one analysis.

    Raises
    ------
    InputError
        If the analysis has no verdict, so that no protocol applies; or as for
        `CTSpectSpineLib.triage_protocol.compare`.
    """
    from CTSpectSpineLib.triage_protocol import compare

    if record.decision == "rejected":
        raise InputError("The registration was rejected, so no protocol applies.")
    if record.verdict.get("disposition") == "no_verdict":
        raise InputError("The analysis has no verdict, so no protocol applies.")
    table = joint_table.parse(record.texts["joints.csv"], "joints.csv")
    return compare(table, record.manifest.get("context") or {}, protocols)
