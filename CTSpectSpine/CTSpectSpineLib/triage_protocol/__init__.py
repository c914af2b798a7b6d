"""Triage: from joint uptake to a patient-level verdict by a published protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from CTSpectSpineLib.model import FloatArray, JointKind, Verdict
from CTSpectSpineLib.triage_protocol.context import check_context, read_context
from CTSpectSpineLib.triage_protocol.eligibility import assess
from CTSpectSpineLib.triage_protocol.engine import Disposition, Engine
from CTSpectSpineLib.triage_protocol.protocol import Protocol, load_protocol, protocol_ids
from CTSpectSpineLib.triage_protocol.table import JointRow, joint_ids, joint_rows, read_joint_table

__all__ = [
    "Protocol",
    "check_context",
    "load_protocol",
    "protocol_ids",
    "read_context",
    "read_joint_table",
    "triage",
]

RESEARCH_CAVEAT = "Research use only: this is no medical device and no clinical recommendation."


def triage(
    joints: pd.DataFrame | Path | str,
    context: Mapping[str, Any] | Path | str | None = None,
    protocol: str | Protocol = "tender-2019",
    *,
    draws: FloatArray | None = None,
    obstacles: Sequence[str] = (),
    caveats: Sequence[str] = (),
) -> Verdict:
    """Apply a protocol to a joint table.

    Parameters
    ----------
    joints
        Joint table, or the path of one; only ``level``, ``kind``, ``side`` and ``uptake`` are
        needed. The uptake classes are taken as they stand.
    context
        Clinical context, or the path of its file; see `check_context`.
    protocol
        Protocol, its id or the path of its file.
    draws
        Perturbed repetitions of the deciding ratio, shape (repetitions, joints), columns in the
        order of `joints`; they give the verdict's stability.
    obstacles
        Sentences on what forbids a verdict (failed registration, levels not confirmed).
    caveats
        Further sentences to be carried with the verdict.

    Raises
    ------
    InputError
        If the table, the context or the protocol is not valid.
    """
    protocol = load_protocol(protocol) if not isinstance(protocol, Protocol) else protocol
    if isinstance(joints, Path | str):
        joints = read_joint_table(Path(joints))
    if isinstance(context, Path | str):
        context = read_context(Path(context))
    context = check_context(context or {})
    metrics = {str(kind): bounds.metric for kind, bounds in protocol.bounds.items()}
    rows = joint_rows(joints, metrics)
    considered = _considered(rows, context)
    engine = Engine(protocol, considered, context)
    positive = [row.id for row in considered if row.uptake == "positive"]
    borderline = [row.id for row in considered if row.uptake == "indeterminate"]
    result = engine.with_borderline(positive, borderline)
    obstacles = [*obstacles, *_too_little(considered, protocol, context)]
    surgical = {rule.disposition for rule in protocol.rules if rule.surgical}
    stability = None
    if obstacles:
        result = Disposition("no_verdict", "none", result.areas, tuple(obstacles))
    elif draws is not None:
        stability = _stability(engine, joints, draws, protocol, result, borderline)
    return Verdict(
        protocol=protocol.reference(),
        disposition=result.name,
        recommendation=result.recommendation,
        areas=result.areas,
        reasons=(
            *_joint_reasons(considered, protocol),
            *result.reasons,
            *_unconsidered(rows, considered, context),
        ),
        eligibility=assess(protocol, context),
        stability=stability,
        caveats=(
            RESEARCH_CAVEAT,
            *protocol.caveats,
            f"Areas: {protocol.area_provenance}.",
            *_not_given(context, result.name in surgical),
            *caveats,
            *_unmeasured(considered),
        ),
        joint_verdicts=_joint_verdicts(rows, considered, result),
        candidate_dispositions=result.candidates,
    )


def _considered(rows: Sequence[JointRow], context: Mapping[str, Any]) -> tuple[JointRow, ...]:
    """Joints of the pain region; all of them when none is given."""
    region = context.get("pain_region")
    return tuple(row for row in rows if region in (None, row.region))


def _too_little(
    considered: Sequence[JointRow], protocol: Protocol, context: Mapping[str, Any]
) -> list[str]:
    """Regions the protocol decides on in which too few joints were measured."""
    if not considered:
        where = context.get("pain_region", "spine")
        return [f"No joint of the {where} region is in the joint table."]
    ruled = {region for rule in protocol.rules for region in rule.when.get("regions", ())}
    sentences = []
    for region in sorted({row.region for row in considered} & ruled) or ["whole"]:
        rows = [row for row in considered if region in (row.region, "whole")]
        measured = sum(row.uptake != "not_measurable" for row in rows)
        if measured < protocol.minimum_measurable_share * len(rows):
            sentences.append(
                f"Only {measured} of {len(rows)} joints of the {region} spine could be measured; "
                f"the verdict needs at least {protocol.minimum_measurable_share:.0%}."
            )
    return sentences


def _not_given(context: Mapping[str, Any], surgical: bool) -> list[str]:
    """What the disposition would depend on and was not given."""
    sentences = []
    if "pain_region" not in context:
        sentences.append("The pain region was not given: joints of all regions were considered.")
    if surgical and "surgery_declined" not in context:
        sentences.append("Whether surgery was declined was not given.")
    return sentences


def _joint_reasons(considered: Sequence[JointRow], protocol: Protocol) -> list[str]:
    sentences = []
    for row in considered:
        if row.uptake not in ("positive", "indeterminate"):
            continue
        bounds = protocol.bounds[row.kind]
        evidence = f" ({row.evidence})" if row.evidence else ""
        bound = (
            f"at or above the bound {bounds.positive:g} for a {row.kind}"
            if row.uptake == "positive"
            else f"between the bounds {bounds.indeterminate:g} and {bounds.positive:g} "
            f"for a {row.kind}"
        )
        sentences.append(
            f"{row.id} is {row.uptake}{evidence}"
            + (f": {bound}." if row.evidence else ", as the joint table states.")
        )
    return sentences


def _unconsidered(
    rows: Sequence[JointRow], considered: Sequence[JointRow], context: Mapping[str, Any]
) -> list[str]:
    names = {row.id for row in considered}
    outside = [row.id for row in rows if row.uptake == "positive" and row.id not in names]
    if not outside:
        return []
    return [
        f"{', '.join(outside)}: positive, but outside the given pain region "
        f"({context['pain_region']}) and not counted."
    ]


def _unmeasured(considered: Sequence[JointRow]) -> list[str]:
    names = [row.id for row in considered if row.uptake == "not_measurable"]
    if not names:
        return []
    return [f"Not measurable, so neither counted positive nor negative: {', '.join(names)}."]


def _joint_verdicts(
    rows: Sequence[JointRow], considered: Sequence[JointRow], result: Disposition
) -> dict[str, str]:
    names = {row.id for row in considered}
    in_area = {joint: area for area in result.areas for joint in area.joints}
    words = {}
    for row in rows:
        if row.uptake == "not_measurable":
            text = "not measurable; not counted"
        elif row.id not in names:
            text = f"{row.uptake}; outside the pain region, not counted"
        elif row.uptake == "indeterminate":
            text = "indeterminate; would be counted if positive"
        elif row.id in in_area and result.name == "no_verdict":
            text = "positive; no verdict"
        elif row.id in in_area:
            area = in_area[row.id]
            text = f"positive; counted as area {area.level} {area.kind}"
        else:
            text = "negative"
        words[row.id] = text
    return words


def _stability(
    engine: Engine,
    joints: pd.DataFrame,
    draws: FloatArray,
    protocol: Protocol,
    result: Disposition,
    borderline: Sequence[str],
) -> float:
    """Share of the perturbed repetitions that give the same disposition.

    A repetition already expresses how unsure the measurement is, so each joint in it is positive
    from its positive bound on and negative below. Only where borderline joints made the verdict
    indeterminate does the repetition keep the band between the bounds.
    """
    keep_band = result.name == "indeterminate" and bool(borderline)
    ids = joint_ids(joints)
    kinds: list[JointKind] = joints["kind"].tolist()
    allowed = {row.id for row in engine.rows}
    usable = np.array([joint in allowed for joint in ids]) & np.isfinite(draws)
    positive = usable & (draws >= [protocol.bounds[kind].positive for kind in kinds])
    band = usable & ~positive & (draws >= [protocol.bounds[kind].indeterminate for kind in kinds])
    same = 0
    for is_positive, is_borderline in zip(positive, band & keep_band, strict=True):
        chosen = [ids[i] for i in np.flatnonzero(is_positive)]
        doubtful = [ids[i] for i in np.flatnonzero(is_borderline)]
        same += engine.with_borderline(chosen, doubtful).name == result.name
    return same / len(draws)
