"""The reasoning of a verdict: joint, bound, area, rule, recommendation, each step a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from CTSpectSpineLib.triage_protocol.borderline import Change, possible_names
from CTSpectSpineLib.triage_protocol.conditions import area_region
from CTSpectSpineLib.triage_protocol.decision import (
    INDETERMINATE,
    NO_VERDICT,
    NOT_COVERED,
    AreaKey,
    Decision,
    Engine,
    RuleOutcome,
    area_name,
    none_yet,
    speaks_of,
)
from CTSpectSpineLib.triage_protocol.joint_rows import JointRow
from CTSpectSpineLib.triage_protocol.protocol import Supporting
from CTSpectSpineLib.uptake_bounds import class_of
from CTSpectSpineLib.wording import said

Step = dict[str, Any]
_COLUMN_WORDS = {"z_score": "robust z", "asymmetry": "ratio to the other side"}
_PER_WORDS = {"motion_segment": "one per motion segment and joint class", "joint": "one per joint"}


def joint_steps(engine: Engine) -> Iterator[Step]:
    """Joints that are positive or between the bounds, and those whose class has changed."""
    for row in engine.rows:
        if row.uptake in ("positive", "indeterminate") or row.uptake != row.stated:
            yield _joint_step(engine, row)
    measured = [row for row in engine.rows if row.uptake != "not_measurable"]
    if measured and all(row.uptake == "negative" for row in measured):
        yield _none_increased(engine, measured)


def _joint_step(engine: Engine, row: JointRow) -> Step:
    bounds = engine.protocol.bounds[row.kind]
    supporting = list(_supporting(engine, row))
    if row.ratio is None or row.uptake != class_of(row.ratio, bounds, row.low, row.high):
        sentence = f"{row.id} is {row.uptake}, as the joint table states."
    else:
        words = {
            "positive": f"at or above the bound {bounds.positive:g} for a {row.kind}",
            "indeterminate": f"between the bounds {bounds.indeterminate:g} and "
            f"{bounds.positive:g} for a {row.kind}",
            "negative": f"below the bound {bounds.indeterminate:g} for a {row.kind}",
        }
        if row.uptake != bounds.class_of(row.ratio):
            words["indeterminate"] = (
                f"its interval leaves open whether it reaches the bound {bounds.positive:g} for a"
                f" {row.kind}"
            )
        sentence = f"{row.id} is {row.uptake} ({row.evidence}): {words[row.uptake]}."
    if row.uptake != row.stated:
        sentence += (
            f" The joint table states {row.stated}; "
            "its ratio and the bounds of this protocol decide."
        )
    if supporting:
        sentence += f" Supporting: {', '.join(record['words'] for record in supporting)}."
    return {
        "step": "joint",
        "sentence": sentence,
        "joint": row.id,
        "uptake": row.uptake,
        "stated": row.stated,
        "metric": row.metric,
        "ratio": row.ratio,
        "ratio_low": row.low,
        "ratio_high": row.high,
        "positive_from": bounds.positive,
        "indeterminate_from": bounds.indeterminate,
        "provenance": engine.protocol.bounds_provenance[row.kind],
        "supporting": supporting,
    }


def _supporting(engine: Engine, row: JointRow) -> Iterator[dict[str, Any]]:
    for test in engine.protocol.supporting[row.kind]:
        value = _value(row, test)
        if value is not None:
            supports = value >= test.at_least
            side = "at or above" if supports else "below"
            yield {
                "column": test.column,
                "value": value,
                "at_least": test.at_least,
                "supports": supports,
                "provenance": f"{test.provenance}: {test.source}",
                "words": f"{_COLUMN_WORDS.get(test.column, test.column)} {value:.1f} ({side} "
                f"{test.at_least:g})",
            }


def _value(row: JointRow, test: Supporting) -> float | None:
    value = getattr(row, test.column)
    return None if value is None else float(value)


def _none_increased(engine: Engine, measured: Sequence[JointRow]) -> Step:
    bounds = engine.protocol.bounds
    known = [(r.ratio / bounds[r.kind].indeterminate, r) for r in measured if r.ratio is not None]
    sentence = f"None of the {len(measured)} measured joints shows increased uptake"
    closest = max(known, key=lambda pair: pair[0])[1] if known else None
    if closest is not None:
        sentence += (
            f"; closest to its bound is {closest.id} ({closest.evidence}; bound "
            f"{bounds[closest.kind].indeterminate:g})"
        )
    return {
        "step": "joint",
        "sentence": f"{sentence}.",
        "joint": None if closest is None else closest.id,
        "uptake": "negative",
        "measured": len(measured),
    }


def area_step(engine: Engine) -> Step | None:
    """How the positive joints make areas; None where there is none."""
    keys = engine.keys("positive")
    areas = engine.areas(keys)
    if not areas:
        return None
    names = [
        f"{area.level} {area.kind}"
        + (f" ({', '.join(j.split()[-1] for j in area.joints)})" if area.kind == "facet" else "")
        for area in areas
    ]
    outside = [
        name
        for name, area in zip(names, areas, strict=True)
        if not engine.considers(area_region(area))
    ]
    number = "1 area" if len(areas) == 1 else f"{len(areas)} areas"
    per = engine.protocol.area_counting
    sentence = f"{number} of increased uptake ({_PER_WORDS[per]}): {', '.join(names)}."
    if outside:
        sentence += (
            f" Outside {engine.where}, so in the count but not a reason for treatment: "
            f"{', '.join(outside)}."
        )
    return {
        "step": "areas",
        "sentence": sentence,
        "count": len(areas),
        "per": per,
        "areas": names,
        "outside": outside,
        "provenance": str(engine.protocol.area_basis),
    }


def rule_steps(engine: Engine, decision: Decision, *, settled: bool = True) -> Iterator[Step]:
    """Rules that decide, that depend on something not given, or that are partly met.

    Where joints between the bounds could change the decision it is not ``settled``: the rule then
    holds only if they are counted negative, and is said so.
    """
    keys = engine.keys("positive")
    for outcome in decision.undecided:
        unknown = "; ".join(o.sentence for o in outcome.outcomes if o.holds is None)
        sentence = (
            f"The rule '{outcome.rule.name}' cannot be decided: {unknown}. The verdict is open: "
            f"{said(*decision.candidates)}."
        )
        yield _rule_step(outcome, sentence)
    deciding = next((o for o in decision.tried if o.holds), None)
    if deciding is not None:
        found = ", ".join(o.sentence for o in deciding.outcomes)
        sentence = f"The rule '{deciding.rule.name}' applies: {found}."
        if not settled:
            sentence = (
                f"With the joints in doubt counted negative, the rule '{deciding.rule.name}' would"
                f" apply: {found}."
            )
        yield _rule_step(deciding, sentence)
    if decision.modifier is not None:
        modifier = decision.modifier
        why = ", ".join(o.sentence for o in decision.modified_by)
        otherwise = "" if decision.rule is None else f"; otherwise: {decision.rule.recommendation}"
        yield {
            "step": "modifier",
            "sentence": f"{_capital(modifier.name)} ({why}){otherwise}.",
            "disposition": modifier.disposition,
            "conditions": [asdict(o) for o in decision.modified_by],
            "source": modifier.source,
        }
    if deciding is None:
        for outcome in engine.partly_met(decision, keys):
            yield _rule_step(outcome, _partly_met(engine, outcome, keys))
        yield from _open_steps(engine, decision, keys)


def _partly_met(engine: Engine, outcome: RuleOutcome, keys: frozenset[AreaKey]) -> str:
    findings = engine.findings(keys)
    start = f"The rule '{outcome.rule.name}' is partly met but does not apply:"
    if speaks_of(outcome.rule, findings.areas):
        broken = "; ".join(o.sentence for o in outcome.outcomes if o.holds is False)
        return f"{start} {broken}."
    names = " and ".join(area_name(a) for a in speaks_of(outcome.rule, findings.everywhere))
    return f"{start} {names} lies outside {engine.where}."


def _open_steps(engine: Engine, decision: Decision, keys: frozenset[AreaKey]) -> Iterator[Step]:
    found = " and ".join(area_name(area) for area in engine.findings(keys).everywhere)
    nothing = () if decision.undecided else (f"{engine.protocol.id} has no rule for {found}.",)
    for point in decision.open_points or nothing:
        yield {"step": "open", "sentence": point, "found": found}


def _rule_step(outcome: RuleOutcome, sentence: str) -> Step:
    return {
        "step": "rule",
        "sentence": sentence,
        "rule": outcome.rule.name,
        "disposition": outcome.rule.disposition,
        "holds": outcome.holds,
        "conditions": [asdict(o) for o in outcome.outcomes],
        "source": outcome.rule.source,
    }


def borderline_steps(engine: Engine, decision: Decision, found: Sequence[Change]) -> Iterator[Step]:
    """What the joints between the bounds would change."""
    hot, unmeasured = engine.hot_unmeasured, engine.open_unmeasured
    doubtful = [row for row in engine.rows if row.uptake == "indeterminate" or row in unmeasured]
    for change in found:
        rows = [row for row in doubtful if engine.key(row) in change.areas]
        names = " and ".join(
            f"{row.id} ({row.evidence})" if row.evidence else row.id for row in rows
        )
        verb, either = ("lies", "it") if len(rows) == 1 else ("lie", "them")
        why = f"{verb} between the bounds"
        if any(row in hot for row in rows):
            # Between the bounds, or hot with a doubt: either leaves the verdict open.
            why = f"{'reads' if len(rows) == 1 else 'read'} high, and what is not measurable leaves"
            why += " it open"
        elif any(row in unmeasured for row in rows):
            why = "may show increased uptake, which what could be measured does not exclude"
        yield {
            "step": "borderline",
            "sentence": f"{names} {why}: counting {either} negative gives "
            f"{said(*decision.possible)}, counting {either} positive gives "
            f"{said(*change.decision.possible)}.",
            "joints": [row.id for row in rows],
            "negative": list(decision.possible),
            "positive": list(change.decision.possible),
        }


def region_step(by_region: Mapping[str, str]) -> Step:
    """What each pain region would give."""
    words = " and ".join(f"with {region} pain {said(name)}" for region, name in by_region.items())
    return {
        "step": "region",
        "sentence": f"The pain region was not given and would decide: {words}.",
        "by_region": dict(by_region),
    }


def disposition_step(name: str, recommendation: str) -> Step:
    """The last step: the disposition."""
    ends = name in (NOT_COVERED, NO_VERDICT)
    sentence = (
        f"Conclusion: {said(name)}." if ends else f"Conclusion: {said(name)}, {recommendation}."
    )
    return {
        "step": "disposition",
        "sentence": sentence,
        "disposition": name,
        "recommendation": recommendation,
    }


def final_words(decision: Decision, found: Sequence[Change]) -> tuple[str, str, tuple[str, ...]]:
    """Disposition, recommendation and candidates, with borderline joints taken into account."""
    if not found:
        return decision.name, decision.recommendation, decision.candidates
    names = possible_names(decision, found)
    words = {d.name: d.recommendation for d in (decision, *(c.decision for c in found))}
    words |= {k: v for d in (decision, *(c.decision for c in found)) for k, v in d.words}
    return INDETERMINATE, none_yet(words[name] for name in names), names


def joint_words(engine: Engine, found: Sequence[Change], verdict: str) -> dict[str, str]:
    """Each joint's role in the verdict."""
    matters = {key for change in found for key in change.areas}
    words = {}
    for row in engine.rows:
        text = row.uptake
        if row.uptake == "not_measurable":
            text = "not measurable; not counted"
            decides = engine.key(row) in matters and row in engine.open_unmeasured
            if decides and verdict != NO_VERDICT:
                text = "not measurable; would change the verdict if positive"
                text += ", as it reads" if row in engine.hot_unmeasured else ""
        elif verdict == NO_VERDICT:
            text = "" if row.uptake == "negative" else f"{row.uptake}; no verdict"
        elif row.uptake == "indeterminate":
            changes_it = "would" if engine.key(row) in matters else "would not"
            text = f"indeterminate; {changes_it} change the verdict if positive"
        elif row.uptake == "positive" and not engine.considers(row.region):
            text = f"positive; outside {engine.where}, only in the count of areas"
        elif row.uptake == "positive":
            per_joint = engine.protocol.area_counting == "joint"
            text = f"positive; counted as area {row.id if per_joint else f'{row.level} {row.kind}'}"
        words[row.id] = text
    return words


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
