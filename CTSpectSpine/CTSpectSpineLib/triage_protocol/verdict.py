"""A protocol applied to a joint table: the verdict with its reasoning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.finding import Finding, verdict_entry
from CTSpectSpineLib.headline import headline_of
from CTSpectSpineLib.model import STABLE_SHARE, FloatArray, JointKind, UptakeBounds, Verdict
from CTSpectSpineLib.protocol_files import USUAL_PROTOCOL
from CTSpectSpineLib.triage_protocol import reasons as explained
from CTSpectSpineLib.triage_protocol.borderline import (
    Change,
    Stability,
    changes,
    draws_from_intervals,
    possible_names,
    stability,
)
from CTSpectSpineLib.triage_protocol.context import check_context, read_context
from CTSpectSpineLib.triage_protocol.decision import INDETERMINATE, NO_VERDICT, Decision, Engine
from CTSpectSpineLib.triage_protocol.eligibility import assess
from CTSpectSpineLib.triage_protocol.joint_rows import (
    Classes,
    JointRow,
    joint_rows,
    resolved_classes,
)
from CTSpectSpineLib.triage_protocol.outside import Outside, outside_of, unmeasured_steps
from CTSpectSpineLib.triage_protocol.protocol import Protocol, load_protocol, protocol_ids
from CTSpectSpineLib.uptake_bounds import class_of
from CTSpectSpineLib.wording import said

RESEARCH_CAVEAT = "Research use only: neither a medical device nor a clinical recommendation."


def triage(
    joints: pd.DataFrame | Path | str,
    context: Mapping[str, Any] | Path | str | None = None,
    protocol: str | Protocol = USUAL_PROTOCOL,
    *,
    draws: FloatArray | None = None,
    obstacles: Sequence[str] = (),
    caveats: Sequence[str] = (),
    area_counting: str | None = None,
    classes: Classes = "auto",
    findings: Sequence[Finding] = (),
) -> Verdict:
    """Apply a protocol to a joint table.

    Parameters
    ----------
    joints
        Joint table, or the path of one; only ``level``, ``kind``, ``side`` and ``uptake`` are
        needed.
    context
        Clinical context, or the path of its file; see `check_context`.
    protocol
        Protocol, its id or the path of its file; ``tender-2019`` by default.
    draws
        Perturbed repetitions of the deciding ratio, shape (repetitions, joints), columns in the
        order of `joints`; they give the verdict's stability. Without them it comes from the
        intervals of the joint table, where it has them.
    obstacles
        Sentences on what rules out a verdict (failed registration, levels not confirmed).
    caveats
        Further sentences to go with the verdict.
    area_counting
        ``motion_segment`` or ``joint``, in place of the protocol's own.
    classes
        ``derived`` applies the protocol's bounds wherever the table has the deciding ratio;
        ``stated`` takes the table's classes as they stand. ``auto`` derives them if the stated
        ones follow from the bounds of a known protocol, and keeps them if somebody set them.

    Raises
    ------
    InputError
        If the table, the context or the protocol is not valid.

    Examples
    --------
    >>> import pandas as pd
    >>> from CTSpectSpineLib import triage
    >>> joints = pd.DataFrame(
    ...     [
    ...         ("L3-L4", "disc", "", "negative"),
    ...         ("L4-L5", "disc", "", "positive"),
    ...         ("L5-S1", "disc", "", "negative"),
    ...     ],
    ...     columns=["level", "kind", "side", "uptake"],
    ... )
    >>> verdict = triage(joints, {"pain_region": "lumbar"})
    >>> verdict.disposition
    'lumbar_disc'
    >>> verdict.recommendation
    'potentially lumbar instrumented fusion'
    """
    protocol = load_protocol(protocol) if not isinstance(protocol, Protocol) else protocol
    if area_counting is not None:
        protocol = protocol.counting_areas(area_counting)
    if isinstance(joints, Path | str):
        joints = joint_table.read(Path(joints))
    if isinstance(context, Path | str):
        context = read_context(Path(context))
    context = check_context(context or {})
    classes = resolved_classes(joints, classes, known_bounds(protocol))
    rows = joint_rows(joints, protocol.bounds, classes)
    case = _Case(Engine(protocol, rows, context))
    outside = outside_of(case.engine, findings)
    obstacles = [*obstacles, *_too_little(case.engine)]
    joints_say = explained.final_words(case.decision, case.changes)
    name, recommendation, candidates = outside.final(case.engine, *joints_say)
    by_region: dict[str, str] = {}
    shares = None
    if obstacles:
        name, recommendation, candidates = NO_VERDICT, "none", ()
        chain: list[explained.Step] = [{"step": "obstacle", "sentence": text} for text in obstacles]
        chain += outside.steps(decides=False)
    else:
        by_region = _by_region(case.engine, outside)
        if name == joints_say[0]:
            shares = _stability(case, name, joints, draws, classes)
        chain = [
            *explained.joint_steps(case.engine),
            *unmeasured_steps(case.engine),
            *_decided(case, by_region),
            *outside.steps(outside.decides(case.engine, joints_say[0])),
        ]
    chain.append(explained.disposition_step(name, recommendation))
    verdict = Verdict(
        protocol={**protocol.reference(), "bounds": protocol.bounds_record()},
        disposition=name,
        recommendation=recommendation,
        areas=() if obstacles else case.engine.areas(case.engine.keys("positive")),
        reasons=tuple(step["sentence"] for step in chain),
        eligibility=assess(protocol, context),
        stability=None if shares is None else shares.share,
        caveats=(
            RESEARCH_CAVEAT,
            *_unstable(name, shares, draws is None),
            *protocol.caveats,
            f"Areas: {protocol.area_basis}.",
            *_not_given(case, name, candidates),
            *caveats,
            *_not_seen(case.engine),
            *_unmeasured(case, say_more=not obstacles),
            *_as_stated(rows, classes),
        ),
        joint_verdicts=explained.joint_words(case.engine, case.changes, name),
        candidate_dispositions=candidates,
        chain=tuple(chain),
        stable=None if shares is None else shares.stable,
        stability_shares={} if shares is None else shares.shares,
        by_region=by_region,
        findings=tuple(verdict_entry(finding) for finding in findings),
    )
    return replace(verdict, headline=headline_of(asdict(verdict), _shown(rows)))


def _shown(rows: Sequence[JointRow]) -> list[joint_table.Row]:
    """The joints as a headline wants them."""
    shown = []
    for row in rows:
        ratio, low, high = (math.nan if v is None else v for v in (row.ratio, row.low, row.high))
        place = (row.id, row.level, row.kind, row.side, row.uptake)
        shown.append(joint_table.Row(*place, ratio, low, high, level_status=row.level_status))
    return shown


def known_bounds(*protocols: Protocol) -> list[Mapping[JointKind, UptakeBounds]]:
    """Bounds of these protocols and of those that ship with the software, each once."""
    found: list[Mapping[JointKind, UptakeBounds]] = []
    for protocol in (*protocols, *map(load_protocol, protocol_ids())):
        if protocol.bounds not in found:
            found.append(protocol.bounds)
    return found


@dataclass(frozen=True)
class _Case:
    """An engine with its decision on the positive joints and what borderline ones change."""

    engine: Engine

    @cached_property
    def decision(self) -> Decision:
        return self.engine.decide(self.engine.keys("positive"))

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        engine = self.engine
        return changes(engine, engine.keys("positive"), engine.doubtful_keys())


def _decided(case: _Case, by_region: Mapping[str, str]) -> list[explained.Step]:
    """The steps from areas to rules."""
    areas = explained.area_step(case.engine)
    steps = [] if areas is None else [areas]
    steps += explained.borderline_steps(case.engine, case.decision, case.changes)
    steps += explained.rule_steps(case.engine, case.decision, settled=not case.changes)
    found = {row.region for row in case.engine.rows if row.uptake in ("positive", "indeterminate")}
    if by_region and len(found & set(by_region)) > 1:
        steps.append(explained.region_step(by_region))
    return steps


def _by_region(engine: Engine, outside: Outside) -> dict[str, str]:
    """Disposition for each pain region, where none is given and the protocol has several."""
    regions = engine.protocol.regions
    if "pain_region" in engine.context or len(regions) < 2:
        return {}
    names = {}
    for region in regions:
        case = _Case(
            Engine(engine.protocol, engine.rows, {**engine.context, "pain_region": region})
        )
        names[region] = (
            NO_VERDICT
            if _too_little(case.engine)
            else outside.final(case.engine, *explained.final_words(case.decision, case.changes))[0]
        )
    return names


def _too_little(engine: Engine) -> list[str]:
    """Regions that decide in which too few joints were measured."""
    own = engine.protocol.regions
    asked = [region for region in own if engine.considers(region)]
    rows = {region: [row for row in engine.rows if row.region == region] for region in asked}
    if not any(rows.values()):
        return [f"No joint of the {' or '.join(asked)} spine is in the joint table."]
    sentences = []
    for region, present in rows.items():
        measured = sum(row.uptake != "not_measurable" for row in present)
        if measured < engine.protocol.minimum_measurable_share * len(present):
            sentences.append(
                f"Only {measured} of {len(present)} joints of the {region} spine could be "
                "measured; the verdict needs at least "
                f"{engine.protocol.minimum_measurable_share:.0%}."
            )
    return sentences


def _stability(
    case: _Case, name: str, table: pd.DataFrame, draws: FloatArray | None, classes: Classes
) -> Stability | None:
    engine = case.engine
    if draws is None:
        if not any(row.low is not None for row in engine.rows):
            return None
        ordered = draws_from_intervals(engine)
    else:
        place = {joint: column for column, joint in enumerate(joint_table.joint_ids(table))}
        ordered = np.array(draws[:, [place[row.id] for row in engine.rows]], dtype=float)
    if classes == "stated":
        ordered[:, [_is_overruled(engine, row) for row in engine.rows]] = np.nan
    keep_band = name == INDETERMINATE and bool(case.changes)
    return stability(engine, name, ordered, keep_band=keep_band) if len(ordered) else None


def _is_overruled(engine: Engine, row: JointRow) -> bool:
    """Whether a person states another class than ratio, interval or bounds give."""
    ratio = row.ratio
    bounds = engine.protocol.bounds[row.kind]
    if ratio is None:
        return False
    # Tables of earlier versions have classes by the bounds alone.
    return row.uptake not in (class_of(ratio, bounds, row.low, row.high), class_of(ratio, bounds))


def _unstable(name: str, shares: Stability | None, from_intervals: bool) -> list[str]:
    if shares is None:
        return []
    sentences = []
    if not shares.stable:
        others = [f"{share:.0%} {said(key)}" for key, share in shares.shares.items() if key != name]
        sentences.append(
            f"This verdict is unstable: only {shares.share:.0%} of {shares.repetitions} "
            f"repetitions with perturbed measurements give {said(name)} (at least "
            f"{STABLE_SHARE:.0%} are required); others give {', '.join(others)}."
        )
    if from_intervals:
        sentences.append(
            "The stability was computed from the intervals of the joint table, each joint drawn "
            "independently of the others."
        )
    return sentences


def _not_given(case: _Case, name: str, candidates: Sequence[str]) -> list[str]:
    """What the disposition would depend on and was not given."""
    engine, sentences = case.engine, []
    surgical = {rule.disposition for rule in engine.protocol.rules if rule.surgical}
    if "pain_region" not in engine.context and len(engine.protocol.regions) > 1:
        sentences.append("The pain region was not given: joints of all regions were considered.")
    if {name, *candidates} & surgical and "surgery_declined" not in engine.context:
        sentences.append("Whether surgery was declined was not given.")
    return sentences


def _not_seen(engine: Engine) -> list[str]:
    present = {row.region for row in engine.rows}
    missing = [r for r in engine.protocol.regions if engine.considers(r) and r not in present]
    return [
        f"The joint table holds no joint of the {region} spine: nothing is said about it."
        for region in missing
    ]


def _unmeasured(case: _Case, *, say_more: bool) -> list[str]:
    """Joints that were not measured and, beside a verdict, what they could change."""
    engine = case.engine
    left_out = [row for row in engine.rows if row.uptake == "not_measurable"]
    if not left_out:
        return []
    names = ", ".join(row.id for row in left_out)
    sentence = f"Not measurable, so counted neither as positive nor as negative: {names}."
    if not say_more:
        return [sentence]
    high = [f"{row.id} ({row.evidence})" for row in engine.hot_unmeasured]
    if high:
        sentence += f" Check these, whose doubtful ratio is high: {', '.join(high)}."
    found = changes(engine, engine.keys("positive"), engine.keys("not_measurable"))
    others = possible_names(case.decision, found)[len(case.decision.possible) :]
    if others:
        sentence += f" Were any of them positive, the verdict could be {said(*others)}."
    return [sentence]


def _as_stated(rows: Sequence[JointRow], classes: Classes) -> list[str]:
    """That classes were taken from the table, where it has no ratio that gives them."""
    measured = [row for row in rows if row.stated != "not_measurable"]
    if classes == "stated" or not any(row.ratio is not None for row in measured):
        return ["The uptake classes are those that the joint table states."]
    return []
