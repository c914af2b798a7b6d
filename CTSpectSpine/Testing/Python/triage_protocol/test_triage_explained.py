"""Verdicts that explain themselves, and several protocols side by side."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from protocol_tables import measured, own_protocol

from CTSpectSpineLib import compare, triage
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.triage_protocol import load_protocol, protocol_ids
from CTSpectSpineLib.triage_protocol.context import check_context, context_fields
from CTSpectSpineLib.triage_protocol.schema import protocol_schema

DISC = load_protocol("tender-2019").bounds["disc"]


def test_chain_leads_from_the_joint_to_the_recommendation() -> None:
    verdict = triage(measured(L4L5=3.9), {"pain_region": "lumbar"})
    assert [step["step"] for step in verdict.chain] == ["joint", "areas", "rule", "disposition"]
    joint, areas, rule, end = verdict.chain
    assert (joint["joint"], joint["ratio"], joint["positive_from"]) == (
        "L4-L5 disc",
        3.9,
        DISC.positive,
    )
    assert joint["provenance"].startswith("computed: ")
    assert (areas["count"], areas["areas"]) == (1, ["L4-L5 disc"])
    assert (rule["disposition"], rule["holds"]) == ("lumbar_disc", True)
    assert rule["source"].startswith("Lumbar disc, 1 or 2 adjacent levels")
    assert end["recommendation"] == verdict.recommendation


def test_supporting_evidence_is_told_and_never_decides() -> None:
    """A z beside a prior that pulls the others together says nothing, so that none is told."""
    joints = measured(L4L5=3.9).assign(z_score=0.1, asymmetry=0.2)
    verdict = triage(joints)
    assert verdict.disposition == triage(measured(L4L5=3.9)).disposition == "lumbar_disc"
    columns = {row["column"] for row in verdict.chain[0]["supporting"]}
    assert columns <= {"asymmetry"}
    assert not any(row["supports"] for row in verdict.chain[0]["supporting"])
    assert not any(" z " in reason for reason in verdict.reasons)


def test_unstable_verdicts_are_said_to_be_unstable() -> None:
    above = DISC.positive + 0.05
    joints = measured(L4L5=above)
    draws = np.tile(joints["ratio_corrected"].to_numpy(), (100, 1))
    hot = int(np.flatnonzero(joints["ratio_corrected"] > DISC.positive)[0])
    draws[:30, hot] = 1.2
    verdict = triage(joints, {"pain_region": "lumbar"}, draws=draws)
    assert verdict.stability == pytest.approx(0.7)
    assert verdict.stable is False
    assert verdict.stability_shares == {"lumbar_disc": 0.7, "negative": 0.3}
    assert any(
        "unstable" in caveat and "30% “negative scan”" in caveat for caveat in verdict.caveats
    )
    draws[:15, hot] = above
    verdict = triage(joints, {"pain_region": "lumbar"}, draws=draws)
    assert verdict.stable is True
    assert "unstable" not in " ".join(verdict.caveats)


def test_stability_from_the_intervals_of_a_table() -> None:
    sure = triage(measured(L4L5=4.0))
    assert sure.stability == 1.0
    joints = measured(L4L5=DISC.positive)
    verdict = triage(joints, {"pain_region": "lumbar"})
    # The bound is the median of the repetitions.
    assert verdict.stability == pytest.approx(0.5, abs=0.08)
    assert triage(joints.drop(columns="ratio_high")).stability is None


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"pain_duration_years": 50, "age_years": 40}, ["pain_duration_years", "age_years"]),
        (
            {"pain_duration_years": 1, "nonsurgical_treatment_years": 3},
            ["nonsurgical_treatment_years", "pain_duration_years"],
        ),
        (
            {"physical_therapy_months": 30, "nonsurgical_treatment_years": 1},
            ["physical_therapy_months", "nonsurgical_treatment_years"],
        ),
    ],
)
def test_contradictory_context_is_one_sentence(context: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        check_context(context)
    for word in words:
        assert word in str(caught.value)
    assert str(caught.value).count(".") == 1


def test_unknown_criteria_ids_are_refused() -> None:
    with pytest.raises(InputError, match="judged_criteria"):
        triage(measured(), {"judged_criteria": {"nonsense": True}})
    # Ids of other shipped protocols may stand in the context; they do not matter here.
    found = triage(measured(), {"exclusions": ["spondylolysis"]}).eligibility
    assert found["other_protocols"] == ["spondylolysis"]


def test_several_protocols_side_by_side() -> None:
    joints = measured(L2L3=4.0, L3L4=4.0, L4L5=4.0)
    found = compare(joints, {"pain_region": "lumbar"})
    assert [verdict.disposition for verdict in found.verdicts] == [
        "not_covered" if name == "spinus-1" else expected
        for name, expected in (
            ("tender-2019", "multiple_areas"),
            ("spinus-1", ""),
            ("spinus-2", "multilevel_fusion"),
        )
    ]
    assert not found.agree
    words = " ".join(found.differences)
    assert "spinus-2 would offer surgery here; tender-2019 and spinus-1 would not" in words
    assert any("more than 2 anatomical areas" in text for text in found.because[0])
    assert compare(measured(), None, ["tender-2019", "spinus-2"]).agree
    with pytest.raises(InputError, match="at least two"):
        compare(joints, None, ["spinus-1"])
    with pytest.raises(InputError, match="twice"):
        compare(joints, None, ["spinus-1", "spinus-1"])


def test_differing_bounds_are_named_in_the_comparison(tmp_path: Path) -> None:
    path = own_protocol(tmp_path, lambda values: values["bounds"]["disc"].update(positive=2.5))
    found = compare(measured(L4L5=2.2), {"pain_region": "lumbar"}, ["tender-2019", str(path)])
    assert (
        f"L4-L5 disc is positive by tender-2019 (bounds {DISC.indeterminate} and {DISC.positive}),"
        " indeterminate by own" in (found.differences[0])
    )


def test_triage_command_with_several_protocols(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "joints.csv"
    measured(L4L5=4.0).to_csv(table, index=False)
    names = "tender-2019,spinus-1,spinus-2"
    assert main(["triage", "--joints", str(table), "--protocol", names, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["disposition"] for row in record["verdicts"]] == [
        *("lumbar_disc", "single_level_fusion", "not_covered")
    ]
    assert record["agree"] is False
    assert main(["triage", "--joints", str(table), "--protocol", names]) == 0
    assert "Why they differ:" in capsys.readouterr().out
    start = time.perf_counter()
    assert main(["triage", "--joints", str(table), "--protocol", "spinus-2"]) == 0
    assert time.perf_counter() - start < 0.8
    capsys.readouterr()
    assert main(["triage", "--joints", str(table), "--protocol", "tender-2019,"]) == 2
    assert "empty protocol" in capsys.readouterr().err


def test_protocols_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("tender-2019", "spinus-1", "spinus-2"))
    assert main(["protocols", "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == list(protocol_ids())
    assert main(["protocols", "tender-2019"]) == 0
    shown = capsys.readouterr().out
    for rule in load_protocol("tender-2019").rules:
        assert rule.name in shown
    assert "judgement: The paper does not define an anatomical area" in shown
    assert main(["protocols", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == protocol_schema()
    assert main(["protocols", "--template"]) == 0
    mine = tmp_path / "mine.json"
    mine.write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["protocols", str(mine)]) == 0
    capsys.readouterr()
    assert main(["protocols", "tender-2019", "--json"]) == 0
    copy = tmp_path / "copy.json"
    copy.write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_protocol(copy) == load_protocol("tender-2019")
    assert main(["protocols", "nonsense"]) == 2
    assert "tender-2019" in capsys.readouterr().err


def test_every_context_field_that_a_protocol_asks_for_exists() -> None:
    for name in protocol_ids():
        assert {row["key"] for row in load_protocol(name).eligibility} <= set(context_fields())


def test_an_interval_that_leaves_the_bound_open_is_said() -> None:
    joints = measured(L4L5=DISC.positive + 0.01)
    hot = joints["uptake"] == "positive"
    # Down to an ordinary joint.
    joints.loc[hot, ["ratio_low", "uptake"]] = 0.9, "indeterminate"
    reasons = " ".join(triage(joints, {"pain_region": "lumbar"}).reasons)
    assert "L4-L5 disc is indeterminate" in reasons
    assert f"its interval leaves open whether it reaches the bound {DISC.positive:g}" in reasons
