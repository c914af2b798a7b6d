"""The headline of an analysis that a panel shows, after what the user decided on it."""

from __future__ import annotations

from CTSpectSpineLib.headline import NO_VERDICT, headline_of, joint_words, title
from CTSpectSpineLib.results.shown import Record

__all__ = ["NO_VERDICT", "has_verdict", "headline", "joint_words", "title"]


def headline(record: Record) -> str:
    """The verdict's own headline; after a rejection that there is none.

    A folder of an older version has no headline, so it is made again.
    """
    if record.decision == "rejected":
        return "No verdict. The registration was rejected."
    kept = str(record.verdict.get("headline") or "")
    return kept or headline_of(record.verdict, record.rows)


def has_verdict(record: Record) -> bool:
    """Whether a verdict stands: there is one, and the registration was not rejected."""
    disposition_ = record.verdict.get("disposition") or NO_VERDICT
    return record.decision != "rejected" and disposition_ != NO_VERDICT
