"""A protocol as a text that a person can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from CTSpectSpineLib.triage_protocol.criteria import bound_words
from CTSpectSpineLib.triage_protocol.protocol import KINDS, Protocol

_COUNTS = {"areas": "area", "levels": "level"}
_CONDITION_WORDS = {
    "regions": "all in the {} spine",
    "kinds": "only in {} joints",
    "regions_include": "in the {} spine among others",
    "kinds_include": "in {} joints among others",
}


def protocol_lines(protocol: Protocol) -> Iterator[str]:
    """The protocol, line by line."""
    yield f"{protocol.id} (version {protocol.version}): {protocol.title}"
    yield f"Source: {protocol.source}"
    yield f"Population: {protocol.population}"
    elsewhere = "considered too" if protocol.counts_elsewhere else "named, never decides"
    yield f"Regions: {', '.join(protocol.regions)}; uptake elsewhere: {elsewhere}"
    yield f"  {protocol.scope_basis}"
    yield ""
    yield "What counts as increased:"
    for kind in KINDS:
        bounds = protocol.bounds[kind]
        yield (
            f"  {kind}: {bounds.metric} positive from {bounds.positive:g}, indeterminate from "
            f"{bounds.indeterminate:g}"
        )
        yield f"    {protocol.bounds_basis[kind]}"
        for row in protocol.supporting[kind]:
            yield f"    supporting only: {row.column} from {row.at_least:g}"
            yield f"      {row.provenance}: {row.source}"
    yield f"Areas: one per {protocol.area_counting.replace('_', ' ')}"
    yield f"  {protocol.area_basis}"
    yield f"Unstable level: displacement from {protocol.instability_bound_mm:g} mm"
    yield f"  {protocol.instability_basis}"
    yield ""
    yield "Rules, the first that applies decides:"
    for number, rule in enumerate(protocol.rules, start=1):
        yield f"  {number}. {rule.name} -> {rule.disposition}: {rule.recommendation}"
        yield f"     when {condition_words(rule.when)}"
    yield f"  otherwise -> not_covered: {protocol.not_covered_recommendation}"
    for modifier in protocol.modifiers:
        yield (
            f"  {modifier.name} ({condition_words(modifier.when)}): "
            f"{', '.join(modifier.applies_to)} -> {modifier.disposition}: "
            f"{modifier.recommendation}"
        )
    yield from _listed("What the source leaves open", [p.text for p in protocol.open_points])
    yield from _criteria(protocol)
    yield from _listed("Caveats", protocol.caveats)


def _criteria(protocol: Protocol) -> Iterator[str]:
    criteria = [f"{c['id']}: {c['text']} ({c['key']})" for c in protocol.eligibility]
    yield from _listed("Inclusion, from the clinical context", criteria)
    judged = [f"{name}: {text}" for name, text in protocol.judged_criteria.items()]
    yield from _listed("Inclusion, judged by a clinician (judged_criteria)", judged)
    exclusions = [f"{name}: {text}" for name, text in protocol.exclusions.items()]
    yield from _listed("Exclusions (exclusions)", exclusions)
    if not protocol.criteria_complete:
        yield "The source has further criteria that this file does not hold."


def _listed(title: str, lines: list[str] | tuple[str, ...]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"{title}:"
        yield from (f"  - {line}" for line in lines)


def condition_words(when: Mapping[str, Any]) -> str:
    """Conditions of a rule in words."""
    return ", ".join(_condition(name, wanted) for name, wanted in when.items())


def _condition(name: str, wanted: Any) -> str:
    if name in _COUNTS:
        low, high = wanted
        noun = _COUNTS[name]
        number = (
            f"{low}" if low == high else f"{low} or more" if high is None else f"{low} to {high}"
        )
        return f"{number} {noun}" if wanted == [1, 1] else f"{number} {noun}s"
    if name in _CONDITION_WORDS:
        return _CONDITION_WORDS[name].format(" or ".join(wanted))
    if name == "adjacent":
        return "levels adjacent" if wanted else "levels not adjacent"
    if name == "stable":
        return "every level stable" if wanted else "a level unstable"
    return ", ".join(f"{key} is {bound_words(test)}" for key, test in wanted.items())
