"""Conditions of protocol rules, evaluated on areas of increased uptake and the context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.model import Area
from CTSpectSpineLib.triage_protocol.criteria import bound_words, fulfils, value_words

_KIND_WORDS = {"disc": "discs", "facet": "facet joints"}


@dataclass(frozen=True)
class Findings:
    """What conditions are evaluated on.

    Attributes
    ----------
    everywhere
        Areas of increased uptake in the whole measured spine, cranial to caudal: what the
        condition ``areas`` counts.
    areas
        Those of them that all other conditions are evaluated on.
    context
        Checked clinical context.
    instability_bound_mm
        Displacement from which a level is unstable.
    """

    everywhere: tuple[Area, ...]
    areas: tuple[Area, ...]
    context: Mapping[str, Any]
    instability_bound_mm: float

    @property
    def levels(self) -> list[str]:
        """Different levels of the areas, cranial to caudal."""
        return list(dict.fromkeys(area.level for area in self.areas))


@dataclass(frozen=True)
class Outcome:
    """Whether a condition holds (None: not known), what was found, and the sentence."""

    condition: str
    wanted: Any
    found: Any
    holds: bool | None
    sentence: str


Answer = tuple[Any, bool | None, str]
"""What was found, whether the condition holds, and the sentence that says so."""


def evaluate(when: Mapping[str, Any], findings: Findings) -> tuple[Outcome, ...]:
    """Evaluate all conditions; `all_hold` combines them."""
    outcomes = []
    for name, wanted in when.items():
        found, holds, sentence = _CONDITIONS[name](wanted, findings)
        outcomes.append(Outcome(name, wanted, found, holds, sentence))
    return tuple(outcomes)


def all_hold(outcomes: Sequence[Outcome]) -> bool | None:
    """True if all hold, False if one does not, None if it depends on what is not known."""
    return _all([outcome.holds for outcome in outcomes])


def _all(states: Sequence[bool | None]) -> bool | None:
    if False in states:
        return False
    return None if None in states else True


def area_region(area: Area) -> str:
    """Spine region of an area, named by its cranial vertebra."""
    return anatomy.spine_region(area.level.split("-")[0])


def _counted(wanted: Any, number: int, noun: str) -> Answer:
    low, high = wanted
    holds = number >= low and (high is None or number <= high)
    found = f"no {noun}" if number == 0 else f"1 {noun}" if number == 1 else f"{number} {noun}s"
    allowed = f"{low} or more" if high is None else f"{low} to {high}" if low != high else f"{low}"
    return number, holds, found if holds else f"{found}, where the rule asks for {allowed}"


def _areas(wanted: Any, findings: Findings) -> Answer:
    return _counted(wanted, len(findings.everywhere), "area")


def _levels(wanted: Any, findings: Findings) -> Answer:
    return _counted(wanted, len(findings.levels), "level")


def _found_regions(findings: Findings) -> tuple[list[str], str]:
    found = list(dict.fromkeys(area_region(area) for area in findings.areas))
    return found, f"{' and '.join(found) or 'no'} levels"


def _found_kinds(findings: Findings) -> tuple[list[str], str]:
    found = sorted({area.kind for area in findings.areas})
    words = " and ".join(_KIND_WORDS[kind] for kind in found) or "no joint"
    return list(found), f"uptake in {words}"


def _only(wanted: Any, found: list[str], text: str, only: str) -> Answer:
    holds = bool(found) and set(found) <= set(wanted)
    return found, holds, text if holds else f"{text}, the rule is for {only} only"


def _regions(wanted: Any, findings: Findings) -> Answer:
    return _only(wanted, *_found_regions(findings), " or ".join(wanted))


def _kinds(wanted: Any, findings: Findings) -> Answer:
    only = " or ".join(_KIND_WORDS[kind] for kind in wanted)
    return _only(wanted, *_found_kinds(findings), only)


def _regions_include(wanted: Any, findings: Findings) -> Answer:
    found, text = _found_regions(findings)
    return found, set(wanted) <= set(found), f"{text}, asked for {' and '.join(wanted)}"


def _kinds_include(wanted: Any, findings: Findings) -> Answer:
    found, text = _found_kinds(findings)
    asked = " and ".join(_KIND_WORDS[kind] for kind in wanted)
    return found, set(wanted) <= set(found), f"{text}, asked for {asked}"


def _adjacent(wanted: Any, findings: Findings) -> Answer:
    levels = findings.levels
    order = [row.name for row in anatomy.vertebrae()]
    ends = sorted((level.split("-") for level in levels), key=lambda pair: order.index(pair[0]))
    adjacent = all(a[1] == b[0] for a, b in pairwise(ends))
    holds = adjacent == bool(wanted)
    relation = "one level" if len(levels) == 1 else "adjacent" if adjacent else "not adjacent"
    text = f"{' and '.join(levels)} ({relation})"
    asked = "adjacent levels" if wanted else "levels that are not adjacent"
    return adjacent, holds, text if holds else f"{text}, where the rule asks for {asked}"


def _stable(wanted: Any, findings: Findings) -> Answer:
    given = findings.context.get("instability_mm", {})
    bound = findings.instability_bound_mm
    levels = findings.levels
    found = {level: given.get(level) for level in levels}
    unstable = [level for level in levels if given.get(level, 0.0) >= bound]
    missing = [level for level in levels if level not in given]
    if unstable:
        words = ", ".join(f"{level} {given[level]:g} mm" for level in unstable)
        text = f"displacement {words}, at or above the {bound:g} mm of instability"
        return found, not wanted, text
    if missing:
        return found, None, f"instability at {' and '.join(missing)} was not given"
    words = ", ".join(f"{level} {given[level]:g} mm" for level in levels)
    return found, bool(wanted), f"displacement {words}, below the {bound:g} mm of instability"


def _context(wanted: Any, findings: Findings) -> Answer:
    found = {key: findings.context.get(key) for key in wanted}
    missing = [key for key, value in found.items() if value is None]
    failed = [k for k, test in wanted.items() if k not in missing and not fulfils(found[k], test)]
    if failed:
        words = "; ".join(
            f"{key} is {value_words(found[key])}, where the rule asks for "
            f"{bound_words(wanted[key])}"
            for key in failed
        )
        return found, False, words
    if missing:
        return found, None, f"{' and '.join(missing)} was not given"
    return found, True, ", ".join(f"{key} is {value_words(v)}" for key, v in found.items())


_CONDITIONS: dict[str, Callable[[Any, Findings], Answer]] = {
    "areas": _areas,
    "levels": _levels,
    "regions": _regions,
    "regions_include": _regions_include,
    "kinds": _kinds,
    "kinds_include": _kinds_include,
    "adjacent": _adjacent,
    "stable": _stable,
    "context": _context,
}
CONDITIONS = tuple(_CONDITIONS)


def certain(when: Mapping[str, Any], least: Findings, most: Findings) -> bool | None:
    """Whether conditions hold for every set of areas between a least and a most one.

    Returns
    -------
    True if they hold for all of them, False if for none, None where these two do not tell.
    """
    states = []
    for name, wanted in when.items():
        if name in ("areas", "levels"):
            counted = "everywhere" if name == "areas" else "levels"
            ends = [len(getattr(findings, counted)) for findings in (least, most)]
            low, high = wanted[0], float("inf") if wanted[1] is None else wanted[1]
            inside = low <= ends[0] and ends[1] <= high
            states.append(False if ends[1] < low or ends[0] > high else True if inside else None)
        elif name in ("regions", "kinds"):
            before = _CONDITIONS[name](wanted, least)[1]
            after = _CONDITIONS[name](wanted, most)[1]
            # One area outside breaks the condition for good; no area at all is open to change.
            broken = bool(least.areas) and not before
            states.append(False if broken else True if before and after else None)
        elif name == "context":
            states.append(_context(wanted, least)[1])
        else:
            states.append(None)
    return _all(states)
