"""Triage beside uptake that no joint explains, and joints that read hot unmeasured."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CTSpectSpineLib import triage
from CTSpectSpineLib.finding import PLACES, Finding
from CTSpectSpineLib.triage_protocol import load_protocol

LEVELS = ("L2-L3", "L3-L4", "L4-L5", "L5-S1")
FOCUS = Finding(
    *("finding 1", "body", "L3", "", (0.0, 0.0, 0.0), 18.0, 4.2, 3.0, 5.0, "high", ""),
    "body of L3",
)
KIDNEY = replace(
    FOCUS,
    name="finding 2",
    where="soft tissue",
    side="left",
    physiologic="kidney",
    nearest="kidney",
)


def table(**ratios: float) -> pd.DataFrame:
    rows = []
    for level in LEVELS:
        ratio = ratios.get(level.replace("-", ""), 1.0)
        uptake = "positive" if ratio >= 2.02 else "indeterminate" if ratio >= 1.62 else "negative"
        rows.append((level, "disc", "", uptake, ratio, ratio - 0.2, ratio + 0.2))
    columns = ["level", "kind", "side", "uptake", "ratio_corrected", "ratio_low", "ratio_high"]
    return pd.DataFrame(rows, columns=columns)


def test_a_focus_never_leaves_a_negative_scan() -> None:
    assert triage(table()).disposition == "negative"
    verdict = triage(table(), findings=[FOCUS])
    assert verdict.disposition == "not_covered"
    assert verdict.headline == (
        "Uptake that no joint explains (body of L3, 18 mm, 4.2 × reference uncorrected): not "
        "covered by the protocol, an exclusion if it is fracture, infection, inflammatory process "
        "or neoplasm."
    )
    assert verdict.findings[0]["where"] == "body"
    assert verdict.findings[0]["sentence"] == FOCUS.sentence
    assert verdict.stability is None


def test_a_faint_focus_is_told_and_decides_nothing() -> None:
    faint = replace(FOCUS, ratio_max=1.7, ratio_corrected=1.8)
    verdict = triage(table(), findings=[faint])
    assert verdict.disposition == "negative"
    assert faint.sentence in verdict.reasons


def test_what_looks_physiologic_is_named_and_decides_nothing() -> None:
    verdict = triage(table(), findings=[KIDNEY])
    assert verdict.disposition == "negative"
    assert verdict.headline.endswith("; uptake that looks physiologic: left kidney 4.2 ×.")


def test_a_focus_beside_a_hot_disc_qualifies_the_headline() -> None:
    verdict = triage(table(L4L5=4.0), findings=[FOCUS])
    assert verdict.disposition == "lumbar_disc"
    assert verdict.headline.startswith("L4-L5 disc 4.0 × reference (3.8–4.2): lumbar disc, ")
    assert "also uptake that no joint explains (body of L3" in verdict.headline
    assert "fracture" in verdict.headline


@pytest.mark.parametrize("ratio", [4.0, 1.8])
def test_a_disc_that_a_focus_explains_is_no_lumbar_disc(ratio: float) -> None:
    focus = replace(FOCUS, joints=("L2-L3 disc",))
    verdict = triage(table(L2L3=ratio), findings=[focus])
    assert verdict.disposition == "not_covered"
    assert verdict.candidate_dispositions == ()
    assert "which explains L2-L3 disc better than the joints do" in verdict.headline


def test_an_open_verdict_loses_its_negative_end() -> None:
    verdict = triage(table(L4L5=1.8), findings=[FOCUS])
    assert verdict.disposition == "indeterminate"
    assert set(verdict.candidate_dispositions) == {"not_covered", "lumbar_disc"}


def test_by_region_knows_the_focus() -> None:
    cervical = pd.DataFrame(
        [("C5-C6", "disc", "", "negative", 1.0, 0.8, 1.2)], columns=table().columns
    )
    verdict = triage(pd.concat([cervical, table()]), findings=[FOCUS])
    assert set(verdict.by_region.values()) == {"not_covered"}


def test_a_hot_unmeasured_joint_beside_a_positive_one_is_named() -> None:
    joints = table(L4L5=4.0, L5S1=4.1)
    joints.loc[joints.level == "L5-S1", "uptake"] = "not_measurable"
    verdict = triage(joints)
    assert verdict.disposition == "lumbar_disc"
    assert "L5-S1 disc 4.1 × reads hot but could not be measured" in verdict.headline


def unmeasured(ratio: float, low: float, high: float, **ratios: float) -> pd.DataFrame:
    """A table whose last joint is not measurable."""
    joints = table(**ratios)
    last = joints.level == "L5-S1"
    joints.loc[last, "uptake"] = "not_measurable"
    joints.loc[last, ["ratio_corrected", "ratio_low", "ratio_high"]] = ratio, low, high
    return joints


def test_an_unmeasured_joint_that_may_be_hot_leaves_the_verdict_open() -> None:
    context = {"pain_region": "lumbar", "surgery_declined": False}
    found = triage(unmeasured(1.5, 0.6, 4.2), context)
    assert found.disposition == "indeterminate"
    assert set(found.candidate_dispositions) == {"negative", "lumbar_disc"}
    assert any("what could be measured does not exclude" in text for text in found.reasons)
    assert triage(unmeasured(0.9, 0.4, 1.6), context).disposition == "negative"
    beside = triage(unmeasured(1.5, 0.6, 4.2, L4L5=4.0), context)
    assert beside.disposition == "lumbar_disc", "a second, adjacent disc changes nothing"


def test_levels_that_nobody_confirmed_are_in_the_headline() -> None:
    joints = table(L4L5=4.0).assign(level_status="plausible")
    assert "not confirmed" not in triage(joints).headline
    joints.loc[joints.level == "L4-L5", "level_status"] = "unconfirmed"
    verdict = triage(joints)
    assert verdict.headline.endswith("; the vertebra levels are not confirmed.")
    assert [area.level_status for area in verdict.areas] == ["unconfirmed"]


findings = st.builds(
    Finding,
    name=st.just("finding 1"),
    where=st.sampled_from(PLACES),
    level=st.sampled_from(["L3", ""]),
    side=st.sampled_from(["left", "right", ""]),
    centre_mm=st.just((0.0, 0.0, 0.0)),
    diameter_mm=st.floats(6.0, 60.0),
    ratio_max=st.floats(2.1, 20.0),
    ratio_mean=st.just(1.5),
    ratio_corrected=st.floats(1.0, 30.0),
    confidence=st.just("high"),
    physiologic=st.sampled_from(["", "", "bladder"]),
    nearest=st.just("the place"),
    joints=st.sets(st.sampled_from([f"{level} disc" for level in LEVELS])).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["L2L3", "L3L4", "L4L5"]), st.sampled_from([1.0, 1.8, 4.0])),
    st.lists(findings, min_size=1, max_size=2),
    st.sampled_from(["tender-2019", "spinus-1", "spinus-2"]),
)
def test_no_finding_is_left_out_of_the_headline(
    ratios: dict[str, float], some: list[Finding], name: str
) -> None:
    some = [replace(f, name=f"finding {n}") for n, f in enumerate(some)]
    verdict = triage(table(**ratios), protocol=load_protocol(name), findings=some)
    serious = [f for f in some if not f.physiologic]
    if serious:
        assert verdict.disposition != "negative"
        assert "negative" not in verdict.candidate_dispositions
        assert "the place" in verdict.headline
    if len(serious) < len(some):
        assert "bladder" in verdict.headline
    raised = {f"{k[:2]}-{k[2:]} disc" for k, v in ratios.items() if v > 1.5}
    if any(set(f.joints) & raised for f in serious):
        assert verdict.disposition == "not_covered"
    assert len(verdict.findings) == len(some)
