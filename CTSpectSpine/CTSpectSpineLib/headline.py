"""The sentence that stands above all results: what was found, and what the protocol says of it.

Level, side, ratio, interval and the protocol's words; uptake that no joint explains; joints that
read hot and could not be measured; levels that nobody confirmed. Where there is no verdict it says
so and why, and nothing that could be read as one. The verdict keeps it (``headline`` in
``verdict.json``), and command line, report, panel and scene show it from there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.wording import disposition

NO_VERDICT = "no_verdict"
MOST_JOINTS = 3
"""Joints that are named; the others are counted. Judgement: more would not be a headline."""


def headline_of(verdict: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The headline of a verdict.

    Parameters
    ----------
    verdict
        What ``verdict.json`` holds.
    rows
        The joints, cranial to caudal.
    """
    name = str(verdict.get("disposition") or NO_VERDICT)
    if name == NO_VERDICT:
        return " ".join(["No verdict.", *_obstacles(verdict)])
    found = _joints([row for row in rows if row.uptake == "positive"])
    outside = _outside(verdict)
    if name == "indeterminate":
        text = _open(verdict, rows, found)
    elif name == "not_covered":
        text = _not_covered(verdict, found, outside)
    else:
        conclusion = _lower(title(verdict))
        recommendation = str(verdict.get("recommendation") or "")
        if recommendation:
            conclusion = f"{conclusion}, {recommendation}"
        text = f"{found or _nothing(rows)}: {conclusion}"
    parts = [text.rstrip("."), *_beside(verdict, name, outside), *_unmeasured(verdict, name)]
    parts += _physiologic(verdict)
    if verdict.get("levels_unconfirmed") or _unconfirmed(rows):
        parts.append("the vertebra levels are not confirmed")
    return _sentence("; ".join(parts))


def _outside(verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Steps on findings that count."""
    return [step for step in _steps(verdict, "finding") if step.get("counts")]


def _not_covered(
    verdict: Mapping[str, Any], found: str, outside: Sequence[Mapping[str, Any]]
) -> str:
    title_ = _lower(title(verdict))
    deciding = [step for step in outside if step.get("decides")]
    if not deciding:
        start = f"{found}: {title_}." if found else _sentence(title(verdict))
        return " ".join([start, *_sentences(verdict, "open")[:1]])
    where = _places(deciding)
    joints = list(dict.fromkeys(j for step in deciding for j in step.get("joints", ())))
    better = f", which explains {_and(joints)} better than the joints do" if joints else ""
    return f"Uptake that no joint explains ({where}){better}: {title_}{_rule_out(deciding)}"


def _beside(
    verdict: Mapping[str, Any], name: str, outside: Sequence[Mapping[str, Any]]
) -> list[str]:
    left = [s for s in outside if not (name == "not_covered" and s.get("decides"))]
    if not left:
        return []
    return [f"also uptake that no joint explains ({_places(left)}){_rule_out(left)}"]


def _places(steps: Sequence[Mapping[str, Any]]) -> str:
    named = [str(step.get("place", "")) for step in steps[:MOST_JOINTS]]
    left = len(steps) - len(named)
    return _and([*named, *([f"{left} more"] if left else [])])


def _rule_out(steps: Sequence[Mapping[str, Any]]) -> str:
    words = list(dict.fromkeys(w for step in steps for w in step.get("exclusions", ())))
    return f", an exclusion if it is {_or(words)}" if words else ""


def _unmeasured(verdict: Mapping[str, Any], name: str) -> list[str]:
    """Joints that read hot unmeasured, unless the verdict is open because of them."""
    steps = [s for s in _steps(verdict, "unmeasured") if name != "indeterminate"]
    if not steps:
        return []
    words = [str(step.get("place", "")) for step in steps[:MOST_JOINTS]]
    return [f"{_and(words)} read{'s' if len(steps) == 1 else ''} hot but could not be measured"]


def _physiologic(verdict: Mapping[str, Any]) -> list[str]:
    steps = [s for s in _steps(verdict, "finding") if s.get("physiologic") and s.get("hot")]
    if not steps:
        return []
    return [f"uptake that looks physiologic: {_places(steps)}"]


def _unconfirmed(rows: Sequence[Row]) -> bool:
    """Whether the levels of joints that matter, or of most, are not confirmed."""
    positive = [row for row in rows if row.uptake == "positive"]
    status = [row.level_status for row in positive or rows if row.level_status]
    if positive:
        return "unconfirmed" in status
    return bool(status) and 2 * status.count("unconfirmed") > len(status)


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


def _open(verdict: Mapping[str, Any], rows: Sequence[Row], found: str) -> str:
    """What an indeterminate verdict hangs on."""
    names = list(
        dict.fromkeys(j for step in _steps(verdict, "borderline") for j in step.get("joints", ()))
    )
    chosen = [row for row in rows if row.joint in names]
    borderline = _joints([row for row in chosen if row.measurable])
    doubtful = _joints([row for row in chosen if not row.measurable])
    parts = []
    if found:
        parts.append(f"{found} increased" if borderline or doubtful else found)
    if borderline:
        parts.append(f"{borderline} borderline")
    if doubtful:
        parts.append(f"{doubtful} hot but not measurable")
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


def _obstacles(verdict: Mapping[str, Any]) -> list[str]:
    """Why there is no verdict: the first sentence of each reason."""
    found = [text.split(". ")[0] for text in _sentences(verdict, "obstacle")]
    return [_sentence(text) for text in found] or ["The analysis does not support one."]


def _sentences(verdict: Mapping[str, Any], step: str) -> list[str]:
    return [str(found["sentence"]) for found in _steps(verdict, step) if found.get("sentence")]


def _steps(verdict: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Steps of the reasoning with a name; none where an older version wrote no chain."""
    chain = verdict.get("chain") or ()
    return [step for step in chain if isinstance(step, Mapping) and step.get("step") == name]


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _or(parts: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
