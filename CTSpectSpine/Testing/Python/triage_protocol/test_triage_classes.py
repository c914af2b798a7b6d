"""Uptake classes by the bounds of the protocol chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from protocol_tables import measured, own_protocol

from CTSpectSpineLib import triage
from CTSpectSpineLib.errors import InputError


def test_classes_follow_the_bounds_of_the_protocol_chosen(tmp_path: Path) -> None:
    path = own_protocol(tmp_path, lambda values: values["bounds"]["disc"].update(positive=2.5))
    joints = measured(L4L5=2.2)
    context = {"pain_region": "lumbar"}
    assert triage(joints, context).disposition == "lumbar_disc"
    verdict = triage(joints, context, str(path))
    assert verdict.disposition == "indeterminate"
    assert verdict.candidate_dispositions == ("negative", "lumbar_disc")
    assert any("joint table states positive" in reason for reason in verdict.reasons)
    assert verdict.protocol["bounds"]["disc"]["positive"] == 2.5
    stated = triage(joints, context, str(path), classes="stated")
    assert stated.disposition == "lumbar_disc"
    assert stated.stability == 1.0


def test_a_class_that_somebody_set_is_kept() -> None:
    joints = measured(L4L5=2.2)
    joints.loc[joints.level == "L4-L5", "uptake"] = "negative"
    context = {"pain_region": "lumbar"}
    kept = triage(joints, context)
    assert kept.disposition == "negative"
    assert any("the joint table states" in caveat for caveat in kept.caveats)
    assert triage(joints, context, classes="derived").disposition == "lumbar_disc"


def test_classes_without_ratios_are_said_to_be_stated() -> None:
    joints = measured(L4L5=2.2)
    given = triage(joints)
    bare = triage(joints[["level", "kind", "side", "uptake"]])
    assert not any("the joint table states" in caveat for caveat in given.caveats)
    assert any("the joint table states" in caveat for caveat in bare.caveats)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("status", "not_measurable", "a joint that was not measured has the uptake"),
        ("ratio_low", 9.0, "ratio_low 9 above ratio_high"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(
    column: str, value: object, words: str
) -> None:
    joints = measured(L4L5=2.2).assign(status="measured", ratio_low=0.9, ratio_high=1.1)
    joints[column] = joints[column].astype(object)
    joints.loc[2, column] = value
    with pytest.raises(InputError, match=words):
        triage(joints)


def test_a_joint_that_is_not_measurable_stays_so_whatever_its_ratio() -> None:
    joints = measured(L4L5=4.0)
    joints.loc[joints.level == "L4-L5", "uptake"] = "not_measurable"
    verdict = triage(joints)
    assert verdict.disposition == "indeterminate"
    assert verdict.candidate_dispositions == ("negative", "lumbar_disc")
    assert "(3.9–4.1) hot but not measurable: open between" in verdict.headline
    caveats = " ".join(verdict.caveats)
    assert "Were any of them positive" in caveats
    assert "whose doubtful ratio is high: L4-L5 disc (corrected ratio 4.00" in caveats
    assert "high" not in " ".join(triage(joints.assign(ratio_corrected=1.0)).caveats)


def test_areas_counted_per_joint_on_request() -> None:
    joints = measured()
    hot = (joints.level == "C5-C6") | (joints.level == "C4-C5")
    hot &= joints.kind == "facet"
    joints.loc[hot, ["ratio_corrected", "uptake"]] = [4.0, "positive"]
    joints = joints.drop(columns=["ratio_low", "ratio_high"])
    assert triage(joints).disposition == "cervical_facet"
    verdict = triage(joints, area_counting="joint")
    assert verdict.disposition == "multiple_areas"
    assert verdict.protocol["areas_per"] == "joint"
    assert any("chosen for this run" in caveat for caveat in verdict.caveats)
    with pytest.raises(InputError, match="motion_segment, joint"):
        triage(joints, area_counting="level")


def test_both_regions_are_reported_where_no_pain_region_is_given() -> None:
    joints = measured(C5C6=4.0, L4L5=4.0)
    verdict = triage(joints)
    assert verdict.disposition == "not_covered"
    assert verdict.by_region == {"cervical": "cervical_disc", "lumbar": "lumbar_disc"}
    assert any("with cervical pain “cervical disc”" in reason for reason in verdict.reasons)
    assert triage(joints, {"pain_region": "lumbar"}).by_region == {}
