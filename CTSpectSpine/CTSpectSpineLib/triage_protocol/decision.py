"""From uptake classes to a patient-level disposition, by the rules of a protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias, cast

from CTSpectSpineLib.joint_columns import LEVEL_STATUSES
from CTSpectSpineLib.model import Area, JointKind
from CTSpectSpineLib.triage_protocol.conditions import (
    Findings,
    Outcome,
    all_hold,
    area_region,
    certain,
    evaluate,
)
from CTSpectSpineLib.triage_protocol.joint_rows import JointRow
from CTSpectSpineLib.triage_protocol.protocol import Modifier, Protocol, Rule

AreaKey: TypeAlias = tuple[str, str, str]
"""Level, kind, and side where areas are counted per joint; what tells areas apart."""
NOT_COVERED = "not_covered"
INDETERMINATE = "indeterminate"
NO_VERDICT = "no_verdict"


@dataclass(frozen=True)
class RuleOutcome:
    """A rule with the outcome of each of its conditions."""

    rule: Rule
    outcomes: tuple[Outcome, ...]

    @property
    def holds(self) -> bool | None:
        """True if all hold, False if one does not, None if it depends on what is not known."""
        return all_hold(self.outcomes)


@dataclass(frozen=True)
class Decision:
    """What the rules say about one set of areas.

    Attributes
    ----------
    name, recommendation
        The disposition and the protocol's words; without `modifier` where there is one.
    tried
        The rules in order, up to the one that decides.
    rule
        The rule that decides; None where none applies.
    undecided
        Rules that depend on something not given, before the one that decides.
    modifier, modified_by
        What replaced the rule's disposition, and its conditions.
    open_points
        Sentences on what the source leaves open; only where no rule applies.
    candidates
        The dispositions that remain possible; empty where there is only one.
    """

    name: str
    recommendation: str
    tried: tuple[RuleOutcome, ...] = ()
    rule: Rule | None = None
    undecided: tuple[RuleOutcome, ...] = ()
    modifier: Modifier | None = None
    modified_by: tuple[Outcome, ...] = ()
    open_points: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    words: tuple[tuple[str, str], ...] = ()

    @property
    def possible(self) -> tuple[str, ...]:
        """The disposition, or those between which it is open."""
        return self.candidates or (self.name,)


class Engine:
    """Evaluates one protocol for one patient's joints and context.

    Parameters
    ----------
    protocol
        The protocol.
    rows
        The joints to be considered, cranial to caudal.
    context
        Checked clinical context.
    """

    def __init__(
        self, protocol: Protocol, rows: Sequence[JointRow], context: Mapping[str, Any]
    ) -> None:
        self.protocol = protocol
        self.rows = tuple(rows)
        self.context = context
        keys = dict.fromkeys(self.key(row) for row in self.rows)
        self._order = {key: place for place, key in enumerate(keys)}
        self._decide = lru_cache(maxsize=None)(self._decide_uncached)

    def key(self, row: JointRow) -> AreaKey:
        """The area that a joint belongs to."""
        per_joint = self.protocol.area_counting == "joint"
        return (row.level, row.kind, row.side if per_joint else "")

    def keys(self, uptake: str) -> frozenset[AreaKey]:
        """Areas of the joints of one uptake class."""
        return frozenset(self.key(row) for row in self.rows if row.uptake == uptake)

    @property
    def hot_unmeasured(self) -> tuple[JointRow, ...]:
        """Joints that read as hot as positive ones and could not be measured."""
        return tuple(row for row in self.rows if row.reads_hot(self.protocol.bounds[row.kind]))

    @property
    def open_unmeasured(self) -> tuple[JointRow, ...]:
        """Joints that could not be measured, where what they read does not exclude a hot one."""
        return tuple(row for row in self.rows if row.left_open(self.protocol.bounds[row.kind]))

    def doubtful_keys(self) -> frozenset[AreaKey]:
        """Areas of joints between the bounds, or not measurable and perhaps hot."""
        return self.keys("indeterminate") | {self.key(row) for row in self.open_unmeasured}

    def areas(self, keys: Iterable[AreaKey], positive_only: bool = True) -> tuple[Area, ...]:
        """Areas with their joints, cranial to caudal."""
        wanted = set(keys)
        groups: dict[AreaKey, list[JointRow]] = {}
        for row in self.rows:
            if self.key(row) in wanted and (row.uptake == "positive" or not positive_only):
                groups.setdefault(self.key(row), []).append(row)
        return tuple(
            Area(rows[0].level, rows[0].kind, tuple(row.id for row in rows), _weakest(rows))
            for rows in groups.values()
        )

    def findings(self, keys: Iterable[AreaKey]) -> Findings:
        """What the rules see when these areas show increased uptake."""
        ordered = sorted(keys, key=self._order.__getitem__)
        areas = tuple(
            Area(level, cast(JointKind, kind), (f"{level} {kind} {side}",) if side else ())
            for level, kind, side in ordered
        )
        considered = tuple(area for area in areas if self.considers(area_region(area)))
        return Findings(areas, considered, self.context, self.protocol.instability_bound_mm)

    def considers(self, region: str) -> bool:
        """Whether the rules consider areas of a spine region, beyond counting them.

        Of the protocol's own regions, only the painful one where it is given.
        """
        pain, own = self.context.get("pain_region"), self.protocol.regions
        if region not in own:
            return self.protocol.counts_elsewhere
        return pain not in own or region == pain

    @property
    def where(self) -> str:
        """The part of the spine that decides, in words."""
        pain, own = self.context.get("pain_region"), self.protocol.regions
        if pain in own:
            return f"the painful region ({pain})"
        return f"the protocol's part of the spine ({' and '.join(own)})"

    def decide(self, keys: Iterable[AreaKey]) -> Decision:
        """What the rules say when exactly these areas show increased uptake."""
        return self._decide(frozenset(keys))

    def is_fixed(self, least: frozenset[AreaKey], most: frozenset[AreaKey]) -> bool:
        """Whether one rule decides for every set of areas between these; False if not clear."""
        ends = self.findings(least), self.findings(most)
        if any(set(modifier.when) - {"context"} for modifier in self.protocol.modifiers):
            return False
        for rule in self.protocol.rules:
            state = certain(rule.when, *ends)
            if state is not False:
                return state is True
        return False

    def _decide_uncached(self, keys: frozenset[AreaKey]) -> Decision:
        findings = self.findings(keys)
        tried: list[RuleOutcome] = []
        undecided: list[RuleOutcome] = []
        for rule in self.protocol.rules:
            outcome = RuleOutcome(rule, evaluate(rule.when, findings))
            tried.append(outcome)
            if outcome.holds:
                final = self._met(rule, findings)
                break
            if outcome.holds is None:
                undecided.append(outcome)
        else:
            final = Decision(
                NOT_COVERED,
                self.protocol.not_covered_recommendation,
                open_points=self._open_points(findings),
            )
        parts = [self._met(outcome.rule, findings) for outcome in undecided]
        return _together(final, parts, tuple(tried), tuple(undecided))

    def _open_points(self, findings: Findings) -> tuple[str, ...]:
        if findings.everywhere and not findings.areas:
            names = " and ".join(area_name(area) for area in findings.everywhere)
            return (
                f"Increased uptake lies only outside {self.where}: {names}. The scan is not "
                "negative, and the protocol has no rule for uptake there alone.",
            )
        return tuple(
            point.text
            for point in self.protocol.open_points
            if all_hold(evaluate(point.when, findings))
        )

    def _met(self, rule: Rule, findings: Findings) -> Decision:
        for modifier in self.protocol.modifiers:
            outcomes = evaluate(modifier.when, findings)
            if rule.disposition in modifier.applies_to and all_hold(outcomes):
                return Decision(
                    modifier.disposition,
                    modifier.recommendation,
                    rule=rule,
                    modifier=modifier,
                    modified_by=outcomes,
                )
        return Decision(rule.disposition, rule.recommendation, rule=rule)

    def partly_met(self, decision: Decision, keys: Iterable[AreaKey]) -> tuple[RuleOutcome, ...]:
        """Rules that do not apply but speak of the region and kind of one of the areas."""
        areas = self.findings(keys).everywhere
        return tuple(o for o in decision.tried if o.holds is False and speaks_of(o.rule, areas))


def _together(
    final: Decision,
    parts: Sequence[Decision],
    tried: tuple[RuleOutcome, ...],
    undecided: tuple[RuleOutcome, ...],
) -> Decision:
    """A decision with the rules before it that depend on something not given."""
    words = {decision.name: decision.recommendation for decision in (*parts, final)}
    if len(words) == 1:
        return Decision(
            final.name,
            final.recommendation,
            tried,
            final.rule,
            (),
            final.modifier,
            final.modified_by,
            final.open_points,
        )
    return Decision(
        INDETERMINATE,
        none_yet(words.values()),
        tried,
        final.rule,
        undecided,
        open_points=final.open_points,
        candidates=tuple(words),
        words=tuple(words.items()),
    )


def _weakest(rows: Sequence[JointRow]) -> str:
    """The level status that can be relied on least; empty where none is known."""
    known = [row.level_status for row in rows if row.level_status in LEVEL_STATUSES]
    return max(known, key=LEVEL_STATUSES.index, default="")


def none_yet(recommendations: Iterable[str]) -> str:
    """The recommendation while it is open between several."""
    different = list(dict.fromkeys(recommendations))
    if len(different) == 1:
        return f"none yet: {different[0]} in either case"
    return f"none yet: either {' or '.join(different)}"


def speaks_of(rule: Rule, areas: Sequence[Area]) -> tuple[Area, ...]:
    """The areas whose region and kind a rule names; none where it names neither."""
    when = rule.when
    if "kinds" not in when and "regions" not in when:
        return ()
    return tuple(
        area
        for area in areas
        if area.kind in when.get("kinds", [area.kind])
        and area_region(area) in when.get("regions", [area_region(area)])
    )


def area_name(area: Area) -> str:
    """Name of an area as the rules see it: its one joint, or its level and kind."""
    return area.joints[0] if area.joints else f"{area.level} {area.kind}"
