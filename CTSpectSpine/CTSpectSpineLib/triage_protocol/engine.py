"""From uptake classes to a patient-level disposition, by the rules of a protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

from CTSpectSpineLib.model import Area
from CTSpectSpineLib.triage_protocol.protocol import Protocol
from CTSpectSpineLib.triage_protocol.rules import RuleOutcome, area_region, evaluate
from CTSpectSpineLib.triage_protocol.table import JointRow


@dataclass(frozen=True)
class Disposition:
    """What the rules say of one set of positive joints.

    Attributes
    ----------
    name
        The disposition.
    recommendation
        The protocol's words.
    areas
        Areas of increased uptake that were considered.
    reasons
        Sentences on the rule that applies, or on why none does.
    candidates
        Where the rules hang on something not given: the dispositions that remain possible.
    """

    name: str
    recommendation: str
    areas: tuple[Area, ...]
    reasons: tuple[str, ...]
    candidates: tuple[str, ...] = ()


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
        self._decide = lru_cache(maxsize=None)(self._decide_uncached)

    def disposition(self, positive: Iterable[str]) -> Disposition:
        """Disposition when exactly these joints (ids) are positive."""
        return self._decide(frozenset(positive))

    def with_borderline(self, positive: Iterable[str], borderline: Iterable[str]) -> Disposition:
        """Disposition, `indeterminate` where borderline joints would change it.

        Every single borderline joint, every pair and all of them together are tried as positive.
        """
        base = self.disposition(positive)
        doubtful = sorted(borderline)
        trials = [*combinations(doubtful, 1), *combinations(doubtful, 2), tuple(doubtful)]
        for extra in trials:
            other = self.disposition({*positive, *extra})
            if extra and _possible(other) != _possible(base):
                return self._indeterminate(base, other, extra)
        return base

    def _indeterminate(
        self, base: Disposition, other: Disposition, extra: Sequence[str]
    ) -> Disposition:
        evidence = {row.id: row.evidence for row in self.rows}
        joints = " and ".join(f"{j} ({evidence[j]})" if evidence[j] else j for j in extra)
        verb, either = ("lies", "it") if len(extra) == 1 else ("lie", "them")
        sentence = (
            f"{joints} {verb} between the bounds: counting {either} negative gives "
            f"{' or '.join(_possible(base))}, counting {either} positive gives "
            f"{' or '.join(_possible(other))}."
        )
        candidates = tuple(dict.fromkeys((*_possible(base), *_possible(other))))
        words = {base.name: base.recommendation, other.name: other.recommendation}
        choices = " or ".join(
            f"{words[name]} ({name})" if name in words else name for name in candidates
        )
        return Disposition(
            "indeterminate",
            f"none yet: either {choices}",
            base.areas,
            (sentence, *base.reasons),
            candidates,
        )

    def areas(self, positive: Iterable[str]) -> tuple[Area, ...]:
        """Group positive joints into areas as the protocol counts them."""
        chosen = set(positive)
        groups: dict[tuple[str, ...], list[JointRow]] = {}
        for row in self.rows:
            if row.id in chosen:
                per_joint = self.protocol.area_counting == "joint"
                key = (row.id,) if per_joint else (row.level, row.kind)
                groups.setdefault(key, []).append(row)
        return tuple(
            Area(rows[0].level, rows[0].kind, tuple(row.id for row in rows))
            for rows in groups.values()
        )

    def _decide_uncached(self, positive: frozenset[str]) -> Disposition:
        areas = self.areas(positive)
        outcomes = [
            evaluate(rule, areas, self.protocol, self.context) for rule in self.protocol.rules
        ]
        for outcome in outcomes:
            if outcome.holds:
                return self._met(outcome, areas)
            if outcome.holds is None:
                return self._open(outcome, areas)
        return self._not_covered(outcomes, areas)

    def _met(self, outcome: RuleOutcome, areas: tuple[Area, ...]) -> Disposition:
        rule = outcome.rule
        sentences = (f"The rule '{rule.name}' applies: {_join(outcome)}.",)
        if rule.surgical and self.context.get("surgery_declined"):
            declined = f"Surgery was offered and declined; otherwise: {rule.recommendation}."
            recommendation = self.protocol.declined_recommendation
            return Disposition("declined", recommendation, areas, (*sentences, declined))
        return Disposition(rule.disposition, rule.recommendation, areas, sentences)

    def _open(self, outcome: RuleOutcome, areas: tuple[Area, ...]) -> Disposition:
        rule = outcome.rule
        unknown = "; ".join(o.sentence for o in outcome.outcomes if o.holds is None)
        return Disposition(
            "indeterminate",
            f"none yet: {rule.recommendation} ({rule.disposition}) if the missing information "
            "fulfils the rule",
            areas,
            (
                f"The rule '{rule.name}' cannot be decided: {unknown}. If it is fulfilled the "
                f"disposition is {rule.disposition}, otherwise the protocol does not cover "
                "the case (not_covered).",
            ),
            (rule.disposition, "not_covered"),
        )

    def _not_covered(self, outcomes: Sequence[RuleOutcome], areas: tuple[Area, ...]) -> Disposition:
        found = " and ".join(f"{area.level} {area.kind}" for area in areas)
        partly = [o for o in outcomes if _shares_joints(o, areas)]
        sentences = [f"{self.protocol.id} has no rule for this combination: {found}."]
        for outcome in partly:
            broken = "; ".join(o.sentence for o in outcome.outcomes if o.holds is False)
            sentences.append(
                f"The rule '{outcome.rule.name}' is partly met but does not apply: {broken}."
            )
        return Disposition(
            "not_covered", self.protocol.not_covered_recommendation, areas, tuple(sentences)
        )


def _possible(disposition: Disposition) -> tuple[str, ...]:
    """The disposition, or those between which it is open."""
    return disposition.candidates or (disposition.name,)


def _shares_joints(outcome: RuleOutcome, areas: Sequence[Area]) -> bool:
    """Whether a rule speaks of the region and kind of at least one of the areas."""
    when = outcome.rule.when
    return "kinds" in when and any(
        area.kind in when["kinds"] and area_region(area) in when.get("regions", [area_region(area)])
        for area in areas
    )


def _join(outcome: RuleOutcome) -> str:
    return ", ".join(o.sentence for o in outcome.outcomes)
