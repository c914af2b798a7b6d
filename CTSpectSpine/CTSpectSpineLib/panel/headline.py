"""The sentence that stands above all results: what was found, and what the protocol says of it.

After a rejection, or where there is no verdict, it says so and why, and nothing that could be
read as a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.results.shown import Record
from CTSpectSpineLib.wording import disposition

NO_VERDICT = "no_verdict"
MOST_JOINTS = 3
"""Joints that are named; the others are counted. Judgement: more would not be a headline."""


def headline(record: Record) -> str:
    """One or two sentences: level, side, ratio and interval, and the protocol's words."""
    verdict = record.verdict
    if not has_verdict(record):
        return " ".join(["No verdict.", *_obstacles(record)])
    name = str(verdict["disposition"])
    found = _joints([row for row in record.rows if row.uptake == "positive"])
    if name == "indeterminate":
        return _open(record, found)
    if name == "not_covered":
        start = f"{found}: not covered by the protocol." if found else _sentence(title(verdict))
        return " ".join([start, *_sentences(verdict, "open")[:1]])
    conclusion = _lower(title(verdict))
    recommendation = str(verdict.get("recommendation") or "")
    if recommendation:
        conclusion = f"{conclusion}, {recommendation}"
    return _sentence(f"{found or _nothing(record.rows)}: {conclusion}")


def has_verdict(record: Record) -> bool:
    """Whether a verdict stands: there is one, and the registration was not rejected."""
    disposition_ = record.verdict.get("disposition") or NO_VERDICT
    return record.decision != "rejected" and disposition_ != NO_VERDICT


def title(verdict: Mapping[str, Any], name: str = "") -> str:
    """Words for a disposition: the shared ones, or those of the rule that led to it.

    Parameters
    ----------
    name
        Another disposition than that of the verdict.
    """
    wanted = name or str(verdict.get("disposition") or NO_VERDICT)
    words = disposition(wanted)
    if not words["meaning"]:
        rules = (step for step in _steps(verdict, "rule") if step.get("disposition") == wanted)
        named = next((str(step.get("rule") or "") for step in rules), "")
        return _upper(named) or words["title"]
    return words["title"]


def joint_words(row: Row) -> str:
    """Level, side and kind of a joint, as they are said."""
    return " ".join(part for part in (row.level, row.side, row.kind) if part)


def _joints(rows: Sequence[Row]) -> str:
    """The hottest joints with ratio and interval, as words; empty for none."""
    hottest = sorted(rows, key=lambda row: math.inf if math.isnan(row.ratio) else -row.ratio)
    named = [_with_ratio(row, i == 0) for i, row in enumerate(hottest[:MOST_JOINTS])]
    left = len(rows) - len(named)
    if left:
        named.append(f"{left} more" if left > 1 else "one more")
    return _and(named)


def _with_ratio(row: Row, first: bool) -> str:
    if math.isnan(row.ratio):
        return joint_words(row)
    text = f"{joint_words(row)} {row.ratio:.1f} ×{' reference' if first else ''}"
    known = not (math.isnan(row.low) or math.isnan(row.high))
    return f"{text} ({row.low:.1f}–{row.high:.1f})" if known else text


def _nothing(rows: Sequence[Row]) -> str:
    measured = sum(row.measurable for row in rows)
    left = len(rows) - measured
    text = f"No increased uptake in {measured} measured {_plural('joint', measured)}"
    return f"{text} ({left} not measurable)" if left else text


def _open(record: Record, found: str) -> str:
    """What an indeterminate verdict hangs on."""
    verdict = record.verdict
    names = list(
        dict.fromkeys(j for step in _steps(verdict, "borderline") for j in step.get("joints", ()))
    )
    borderline = _joints([row for row in record.rows if row.joint in names])
    parts = []
    if found:
        parts.append(f"{found} increased" if borderline else found)
    if borderline:
        parts.append(f"{borderline} borderline")
    start = " and ".join(parts) or "The verdict"
    candidates = [f"“{_lower(title(verdict, c))}”" for c in _candidates(verdict)]
    between = f" between {_and(candidates)}" if len(candidates) > 1 else ""
    missing = [
        str(condition.get("sentence", ""))
        for step in _steps(verdict, "rule")
        if step.get("holds") is None
        for condition in step.get("conditions", ())
        if condition.get("holds") is None
    ]
    why = f", because {_and(list(dict.fromkeys(filter(None, missing))))}" if missing else ""
    verb = " is open" if not parts else ": open"
    return _sentence(f"{start}{verb}{between}{why}")


def _candidates(verdict: Mapping[str, Any]) -> list[str]:
    return [str(name) for name in verdict.get("candidate_dispositions") or ()]


def _obstacles(record: Record) -> list[str]:
    """Why there is no verdict: the first sentence of each reason."""
    if record.decision == "rejected":
        return ["The registration was rejected."]
    found = [text.split(". ")[0] for text in _sentences(record.verdict, "obstacle")]
    return [_sentence(text) for text in found] or ["The analysis does not support one."]


def _sentences(verdict: Mapping[str, Any], step: str) -> list[str]:
    return [str(found["sentence"]) for found in _steps(verdict, step) if found.get("sentence")]


def _steps(verdict: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Steps of the reasoning with a name; none where an older version wrote no chain."""
    chain = verdict.get("chain") or ()
    return [step for step in chain if isinstance(step, Mapping) and step.get("step") == name]


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
