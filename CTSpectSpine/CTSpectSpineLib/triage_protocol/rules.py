"""Conditions of protocol rules, evaluated on areas of increased uptake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.model import Area
from CTSpectSpineLib.triage_protocol.protocol import Protocol, Rule

_KIND_WORDS = {"disc": "discs", "facet": "facet joints"}


@dataclass(frozen=True)
class Outcome:
    """Whether a condition holds (None: not known), and the sentence that says so."""

    holds: bool | None
    sentence: str


@dataclass(frozen=True)
class RuleOutcome:
    """A rule with the outcome of each of its conditions."""

    rule: Rule
    outcomes: tuple[Outcome, ...]

    @property
    def holds(self) -> bool | None:
        """True if all hold, False if one does not, None if it hangs on what is not known."""
        states = [outcome.holds for outcome in self.outcomes]
        if False in states:
            return False
        return None if None in states else True


def evaluate(
    rule: Rule, areas: Sequence[Area], protocol: Protocol, context: Mapping[str, Any]
) -> RuleOutcome:
    """Evaluate all conditions of one rule."""
    outcomes = tuple(
        _CONDITIONS[name](wanted, areas, protocol, context) for name, wanted in rule.when.items()
    )
    return RuleOutcome(rule, outcomes)


def area_region(area: Area) -> str:
    """Spine region of an area, named by its cranial vertebra."""
    return anatomy.spine_region(area.level.split("-")[0])


def _levels(areas: Sequence[Area]) -> list[str]:
    return list(dict.fromkeys(area.level for area in areas))


def _areas(
    wanted: Any, areas: Sequence[Area], protocol: Protocol, context: Mapping[str, Any]
) -> Outcome:
    low, high = wanted
    number = len(areas)
    holds = number >= low and (high is None or number <= high)
    found = "no area" if number == 0 else "1 area" if number == 1 else f"{number} areas"
    allowed = f"{low} or more" if high is None else f"{low} to {high}" if low != high else f"{low}"
    return Outcome(holds, found if holds else f"{found}, where the rule asks for {allowed}")


def _regions(
    wanted: Any, areas: Sequence[Area], protocol: Protocol, context: Mapping[str, Any]
) -> Outcome:
    found = sorted({area_region(area) for area in areas})
    holds = bool(found) and set(found) <= set(wanted)
    text = f"{' and '.join(found) or 'no'} levels"
    return Outcome(holds, text if holds else f"{text}, the rule is for {' or '.join(wanted)} only")


def _kinds(
    wanted: Any, areas: Sequence[Area], protocol: Protocol, context: Mapping[str, Any]
) -> Outcome:
    found = sorted({area.kind for area in areas})
    holds = bool(found) and set(found) <= set(wanted)
    text = f"uptake in {' and '.join(_KIND_WORDS[kind] for kind in found) or 'no joint'}"
    only = " or ".join(_KIND_WORDS[kind] for kind in wanted)
    return Outcome(holds, text if holds else f"{text}, the rule is for {only} only")


def _adjacent(
    wanted: Any, areas: Sequence[Area], protocol: Protocol, context: Mapping[str, Any]
) -> Outcome:
    levels = _levels(areas)
    ends = [level.split("-") for level in levels]
    order = [row.name for row in anatomy.vertebrae()]
    ends.sort(key=lambda pair: order.index(pair[0]))
    adjacent = all(a[1] == b[0] for a, b in pairwise(ends))
    holds = adjacent == bool(wanted)
    relation = "one level" if len(levels) == 1 else "adjacent" if adjacent else "not adjacent"
    text = f"{' and '.join(levels)} ({relation})"
    return Outcome(holds, text if holds else f"{text}, where the rule asks for adjacent levels")


def _stable(
    wanted: Any, areas: Sequence[Area], protocol: Protocol, context: Mapping[str, Any]
) -> Outcome:
    given = context.get("instability_mm", {})
    bound = protocol.instability_bound_mm
    levels = _levels(areas)
    unstable = [level for level in levels if given.get(level, 0.0) >= bound]
    missing = [level for level in levels if level not in given]
    if unstable:
        words = ", ".join(f"{level} {given[level]:g} mm" for level in unstable)
        return Outcome(
            not wanted, f"displacement {words}, at or above the {bound:g} mm of instability"
        )
    if missing:
        return Outcome(None, f"instability at {' and '.join(missing)} was not given")
    words = ", ".join(f"{level} {given[level]:g} mm" for level in levels)
    return Outcome(bool(wanted), f"displacement {words}, below the {bound:g} mm of instability")


_CONDITIONS: dict[str, Callable[[Any, Sequence[Area], Protocol, Mapping[str, Any]], Outcome]] = {
    "areas": _areas,
    "regions": _regions,
    "kinds": _kinds,
    "adjacent": _adjacent,
    "stable": _stable,
}
