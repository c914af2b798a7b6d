"""Triage: what holds for any joint table, and the paper's cohort run backwards."""

from __future__ import annotations

from collections import Counter
from itertools import chain, combinations
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from CTSpectSpineLib import anatomy, triage
from CTSpectSpineLib.triage_protocol import load_protocol

COLUMNS = ["level", "kind", "side", "uptake"]
LEVELS = [
    "C4-C5", "C5-C6", "C6-C7", "T8-T9", "L1-L2", "L2-L3", "L3-L4", "L4-L5", "L5-S1",
]  # fmt: skip
KINDS = [("disc", ""), ("facet", "left"), ("facet", "right")]
JOINTS = [(level, kind, side) for level in LEVELS for kind, side in KINDS]
PROTOCOLS = ["tender-2019", "spinus-1", "spinus-2"]
SURGICAL = {
    rule.disposition for name in PROTOCOLS for rule in load_protocol(name).rules if rule.surgical
}
CLASSES = ["positive", "indeterminate", "negative", "not_measurable"]


def table(uptake: dict[tuple[str, str, str], str]) -> pd.DataFrame:
    rows = [(*joint, uptake.get(joint, "negative")) for joint in JOINTS]
    return pd.DataFrame(rows, columns=COLUMNS)


contexts = st.fixed_dictionaries(
    {},
    optional={
        "pain_region": st.sampled_from(["cervical", "lumbar"]),
        "surgery_declined": st.booleans(),
        "instability_mm": st.dictionaries(
            st.sampled_from(["L3-L4", "L4-L5", "L5-S1"]), st.sampled_from([0.0, 2.9, 3.0, 6.0])
        ),
    },
)
positives = st.sets(st.sampled_from(JOINTS), max_size=4)
protocols = st.sampled_from(PROTOCOLS)
countings = st.sampled_from(["motion_segment", "joint"])
many = settings(max_examples=100, deadline=None)


def outcome(verdict: Any) -> tuple[str, frozenset[str]]:
    return verdict.disposition, frozenset(verdict.candidate_dispositions)


@many
@given(
    st.dictionaries(st.sampled_from(JOINTS), st.sampled_from(CLASSES), max_size=6),
    contexts,
    protocols,
    st.randoms(use_true_random=False),
)
def test_order_of_joints_changes_nothing(
    uptake: dict[tuple[str, str, str], str], context: dict[str, Any], protocol: str, random: Any
) -> None:
    rows = table(uptake)
    shuffled = rows.sample(frac=1.0, random_state=random.randrange(1000))
    one, other = (triage(joints, context, protocol) for joints in (rows, shuffled))
    assert one == other


@many
@given(
    st.dictionaries(st.sampled_from(JOINTS), st.sampled_from(CLASSES), max_size=6),
    contexts,
    protocols,
    countings,
)
def test_mirroring_changes_no_disposition(
    uptake: dict[tuple[str, str, str], str],
    context: dict[str, Any],
    protocol: str,
    counting: str,
) -> None:
    rows = table(uptake)
    mirrored = rows.assign(side=rows.side.replace({"left": "right", "right": "left"}))
    one, other = (
        triage(joints, context, protocol, area_counting=counting) for joints in (rows, mirrored)
    )
    assert outcome(one) == outcome(other)


@many
@given(positives, contexts, protocols, st.sampled_from(JOINTS))
def test_adding_a_negative_joint_changes_nothing(
    chosen: set[tuple[str, str, str]],
    context: dict[str, Any],
    protocol: str,
    extra: tuple[str, str, str],
) -> None:
    assume(extra not in chosen)
    whole = table(dict.fromkeys(chosen, "positive"))
    is_extra = [tuple(row) == extra for row in whole[COLUMNS[:3]].to_numpy()]
    without = whole[~np.array(is_extra)]
    one, other = (triage(joints, context, protocol) for joints in (without, whole))
    assert (outcome(one), one.areas) == (outcome(other), other.areas)


@many
@given(
    st.sets(st.sampled_from(JOINTS), min_size=3, max_size=8),
    st.dictionaries(
        st.sampled_from(JOINTS), st.sampled_from(["positive", "indeterminate"]), max_size=6
    ),
    contexts,
)
def test_more_areas_never_turn_multiple_areas_into_surgery(
    chosen: set[tuple[str, str, str]],
    more: dict[tuple[str, str, str], str],
    context: dict[str, Any],
) -> None:
    fewer = dict.fromkeys(chosen, "positive")
    assume(triage(table(fewer), context).disposition == "multiple_areas")
    verdict = triage(table({**more, **fewer}), context)
    assert verdict.disposition == "multiple_areas"
    assert not {verdict.disposition, *verdict.candidate_dispositions} & SURGICAL


@many
@given(
    st.dictionaries(
        st.sampled_from(JOINTS), st.sampled_from(["positive", "not_measurable"]), max_size=12
    ),
    contexts,
    protocols,
)
def test_unmeasurable_joints_are_never_silently_negative(
    uptake: dict[tuple[str, str, str], str], context: dict[str, Any], protocol: str
) -> None:
    verdict = triage(table(uptake), context, protocol)
    said = " ".join(verdict.caveats)
    for joint, value in uptake.items():
        if value == "not_measurable":
            name = " ".join(filter(None, joint))
            assert name in said
            assert verdict.joint_verdicts[name].startswith("not measurable")


@many
@given(positives, st.sets(st.sampled_from(JOINTS), max_size=4), contexts, protocols, countings)
def test_indeterminate_exactly_when_a_borderline_joint_matters(
    chosen: set[tuple[str, str, str]],
    borderline: set[tuple[str, str, str]],
    context: dict[str, Any],
    protocol: str,
    counting: str,
) -> None:
    doubtful = sorted(borderline - chosen)
    given_classes = {
        **dict.fromkeys(doubtful, "indeterminate"),
        **dict.fromkeys(chosen, "positive"),
    }
    verdict = triage(table(given_classes), context, protocol, area_counting=counting)
    subsets = chain.from_iterable(combinations(doubtful, size) for size in range(len(doubtful) + 1))
    possible: set[str] = set()
    for subset in subsets:
        settled = dict.fromkeys([*chosen, *subset], "positive")
        one = triage(table(settled), context, protocol, area_counting=counting)
        possible |= set(one.candidate_dispositions or (one.disposition,))
    assert possible == set(verdict.candidate_dispositions or (verdict.disposition,))
    assert (len(possible) > 1) == (verdict.disposition == "indeterminate")


@many
@given(
    st.dictionaries(st.sampled_from(JOINTS), st.sampled_from(CLASSES), max_size=6),
    contexts,
    protocols,
)
def test_chain_and_reasons_are_the_same_sentences(
    uptake: dict[tuple[str, str, str], str], context: dict[str, Any], protocol: str
) -> None:
    verdict = triage(table(uptake), context, protocol)
    assert verdict.reasons == tuple(step["sentence"] for step in verdict.chain)
    assert verdict.chain[-1]["step"] == "disposition"
    assert verdict.chain[-1]["disposition"] == verdict.disposition


OPERABLE = {
    "cervical_disc": ["C3-C4 disc", "C5-C6 disc", "C6-C7 disc"],
    "cervical_facet": ["C2-C3 facet left", "C4-C5 facet right", "C5-C6 facet left"],
    "lumbar_disc": ["L2-L3 disc", "L4-L5 disc", "L5-S1 disc"],
}
"""Cranial joint that one-level patients of a true disposition are drawn from."""
COHORT = (
    [("negative", False)] * 126
    + [("multiple_areas", False)] * 103
    + [("cervical_disc", False)] * 11
    + [("cervical_facet", False)] * 14
    + [("lumbar_disc", False)] * 23
    + [(name, True) for name in ("cervical_disc", "cervical_facet") for _ in range(10)]
    + [("lumbar_disc", True)] * 18
)
"""True disposition and whether the surgery was declined: 38 declined, 48 operated (25 cervical)."""


def whole_spine() -> list[str]:
    names = [v.name for v in anatomy.vertebrae() if v.name not in ("T13", "L6", anatomy.SACRUM)]
    levels = [anatomy.level_name(*pair) for pair in anatomy.neighbouring_pairs(names)]
    return [
        f"{level} {kind}"
        for level in levels
        for kind in ("disc", "facet left", "facet right")
        if (level, kind) != ("C1-C2", "disc")
    ]


def hot_joints(truth: str, random: np.random.Generator, spine: list[str]) -> list[str]:
    if truth == "negative":
        return []
    if truth == "multiple_areas":
        number = int(random.integers(3, 7))
        areas = sorted({name.replace(" left", "").replace(" right", "") for name in spine})
        chosen = random.choice(areas, number, replace=False)
        return [name for name in spine if name.replace(" left", "").replace(" right", "") in chosen]
    first = str(random.choice(OPERABLE[truth]))
    level, _, kind = first.partition(" ")
    if first in ("L5-S1 disc", "C6-C7 disc") or random.random() < 0.5:
        return [first]
    below = spine[spine.index(first) + 3]
    assert below.partition(" ")[2] == kind
    assert below.split("-")[0] == level.split("-")[1]
    return [first, below]


def patient(truth: str, random: np.random.Generator) -> pd.DataFrame:
    """Whole spine measured, with ratios well on their side of the bounds."""
    spine = whole_spine()
    hot = hot_joints(truth, random, spine)
    rows = []
    for name in spine:
        level, kind, *side = name.split()
        ratio = random.uniform(2.4, 6.0) if name in hot else random.uniform(0.4, 1.3)
        low, high = ratio - 0.1, ratio + 0.1
        rows.append((level, kind, side[0] if side else "", "negative", ratio, low, high))
    table = pd.DataFrame(rows, columns=[*COLUMNS, "ratio_corrected", "ratio_low", "ratio_high"])
    table.loc[table.ratio_corrected > 2.0, "uptake"] = "positive"
    return table


def test_cohort_of_the_paper_run_backwards() -> None:
    random = np.random.default_rng(2019)
    found: Counter[str] = Counter()
    for truth, declined in COHORT:
        context = {"surgery_declined": declined}
        verdict = triage(patient(truth, random), context)
        assert verdict.disposition == ("declined" if declined else truth)
        assert verdict.stable
        found[verdict.disposition] += 1
    assert sum(found.values()) == 315
    operable = [count for name, count in found.items() if name in {*SURGICAL, "declined"}]
    assert (found["negative"], found["multiple_areas"], sum(operable)) == (126, 103, 86)
    assert found["declined"] == 38
    assert found["cervical_disc"] + found["cervical_facet"] == 25
