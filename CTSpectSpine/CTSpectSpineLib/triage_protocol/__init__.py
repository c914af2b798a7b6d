"""Triage: from joint uptake to a patient-level verdict by a published protocol."""

from CTSpectSpineLib.triage_protocol.compare import Comparison, compare
from CTSpectSpineLib.triage_protocol.context import check_context, read_context
from CTSpectSpineLib.triage_protocol.eligibility import assess
from CTSpectSpineLib.triage_protocol.protocol import Protocol, load_protocol, protocol_ids
from CTSpectSpineLib.triage_protocol.verdict import triage

__all__ = [
    "Comparison",
    "Protocol",
    "assess",
    "check_context",
    "compare",
    "load_protocol",
    "protocol_ids",
    "read_context",
    "triage",
]
