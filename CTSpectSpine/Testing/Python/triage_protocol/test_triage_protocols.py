"""Protocol files, other bounds, several protocols side by side, stability, and the commands."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CTSpectSpineLib import compare, triage
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError, MissingPackageError
from CTSpectSpineLib.protocol_files import SHIPPED_FOLDER
from CTSpectSpineLib.triage_protocol import load_protocol, protocol_ids
from CTSpectSpineLib.triage_protocol.context import check_context, context_fields
from CTSpectSpineLib.triage_protocol.schema import TEMPLATE_FILE, protocol_schema, read_checked

LEVELS = ["C4-C5", "C5-C6", "L2-L3", "L3-L4", "L4-L5", "L5-S1"]


DISC = load_protocol("tender-2019").bounds["disc"]


def measured(**ratios: float) -> pd.DataFrame:
    """Joint table with ratios: 1 but for the discs named, with classes of tender-2019."""
    rows = []
    for level in LEVELS:
        for kind, side in (("disc", ""), ("facet", "left"), ("facet", "right")):
            ratio = ratios.get(level.replace("-", ""), 1.0) if kind == "disc" else 1.0
            uptake = load_protocol("tender-2019").bounds[kind].class_of(ratio)  # type: ignore[index]
            rows.append((level, kind, side, uptake, ratio, ratio - 0.1, ratio + 0.1))
    columns = [*("level", "kind", "side", "uptake", "ratio_corrected", "ratio_low", "ratio_high")]
    return pd.DataFrame(rows, columns=columns)


def own_protocol(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of tender-2019 with an id of its own and one thing changed."""
    values = json.loads((SHIPPED_FOLDER / "tender-2019.json").read_text(encoding="utf-8"))
    values["id"] = "own"
    change(values)
    path = folder / "own.json"
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "path", [*sorted(SHIPPED_FOLDER.glob("*.json")), TEMPLATE_FILE], ids=lambda path: path.stem
)
def test_shipped_protocols_and_the_template_fit_the_schema(path: Path) -> None:
    assert read_checked(path)["id"]


def test_every_number_of_a_shipped_protocol_has_its_provenance() -> None:
    for name in protocol_ids():
        protocol = load_protocol(name)
        bases = [
            *protocol.bounds_basis.values(),
            *(protocol.area_basis, protocol.scope_basis, protocol.instability_basis),
        ]
        for basis in bases:
            assert basis.kind in ("published", "computed", "judgement")
            assert len(basis.source) > 20
        assert protocol.bounds["disc"] != protocol.bounds["facet"]
        assert all(rule.source for rule in protocol.rules)


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "key", "allowed"),
    [
        (_set("colour", to="red"), '"colour"', "allowed are area_counting"),
        (_set("bounds", "disc", "metric", to="suv"), '"metric": "suv"', "ratio_corrected"),
        (_set("bounds", "facet", "positive", to=-1), '"positive": -1', "above 0"),
        (_set("bounds", "disc", "indeterminate", to=9.5), '"indeterminate": 9.5', "at most"),
        (_set("area_counting", "per", to="level"), '"per": "level"', "motion_segment, joint"),
        (_set("rules", 2, "when", "kinds", to=["bone"]), '"bone"', "disc, facet"),
        (_set("rules", 2, "when", "levels", to=[3, 1]), '"levels": [', "lower end"),
        (_set("rules", 1, "surgical", to="yes"), '"surgical": "yes"', "true or false"),
        (_set("modifiers", 0, "applies_to", to=["hip"]), '"hip"', "cervical_disc"),
        (_set("eligibility", 0, "key", to="age"), '"key": "age"', "age_years"),
        (_set("instability", "unstable_from_mm", to=0), '"unstable_from_mm": 0', "above 0"),
    ],
)
def test_a_broken_file_gets_an_error_with_line_key_and_what_is_allowed(
    change: Callable[[dict[str, Any]], None], key: str, allowed: str, tmp_path: Path
) -> None:
    path = own_protocol(tmp_path, change)
    lines = path.read_text(encoding="utf-8").splitlines()
    number = next(n for n, line in enumerate(lines, start=1) if key in line)
    with pytest.raises(InputError) as caught:
        load_protocol(path)
    words = str(caught.value)
    assert f"{path}, line {number}:" in words
    assert allowed in words
    assert "\n" not in words


def test_a_key_that_is_missing_or_stands_twice_and_text_that_is_no_json(tmp_path: Path) -> None:
    path = own_protocol(tmp_path, lambda values: values.pop("rules"))
    with pytest.raises(InputError, match="lacks the key 'rules'"):
        load_protocol(path)
    path.write_text('{\n  "id": "a",\n  "id": "b"\n}', encoding="utf-8")
    with pytest.raises(InputError, match=r"line [23]: id appears twice"):
        load_protocol(path)
    path.write_text('{\n  "id": "a",,\n}', encoding="utf-8")
    with pytest.raises(InputError, match="line 2: not valid JSON"):
        load_protocol(path)


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all keys and items of a JSON value."""
    items = values.items() if isinstance(values, dict) else enumerate(values)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


TENDER = json.loads((SHIPPED_FOLDER / "tender-2019.json").read_text(encoding="utf-8"))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(places(TENDER)),
    st.sampled_from([None, True, -1, 0, 1e9, "", "x", [], [1], [None, 3], {}, {"a": 1}, [{}]]),
)
def test_any_value_in_any_place_is_read_or_refused_in_one_sentence(
    tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    path = own_protocol(tmp_path, _set(*place, to=value))
    refused = ""
    try:
        assert triage(measured(L4L5=4.0), None, load_protocol(path)).reasons
    except InputError as error:
        refused = str(error)
    assert not refused or f"{path}, line " in refused
    assert "\n" not in refused


def test_without_jsonschema_only_shipped_protocols_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert load_protocol("spinus-1").id == "spinus-1"
    with pytest.raises(MissingPackageError, match="pip install jsonschema"):
        load_protocol(own_protocol(tmp_path, lambda values: None))


def test_a_changed_file_may_not_bear_the_id_of_a_shipped_protocol(tmp_path: Path) -> None:
    path = own_protocol(tmp_path, _set("id", to="tender-2019"))
    assert load_protocol(path) == load_protocol("tender-2019")
    path = own_protocol(
        tmp_path, lambda values: values.update(id="tender-2019", population="others")
    )
    with pytest.raises(InputError, match="an id of its own"):
        load_protocol(path)


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
    assert verdict.disposition == "negative"
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
    assert any("with cervical pain cervical_disc" in reason for reason in verdict.reasons)
    assert triage(joints, {"pain_region": "lumbar"}).by_region == {}


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
    joints = measured(L4L5=3.9).assign(z_score=0.1, asymmetry=np.nan)
    verdict = triage(joints)
    assert verdict.disposition == "lumbar_disc"
    supporting = verdict.chain[0]["supporting"]
    assert [(row["column"], row["supports"]) for row in supporting] == [("z_score", False)]
    assert "robust z 0.1 (below 3.5)" in verdict.reasons[0]


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
    assert any("unstable" in caveat and "30% negative" in caveat for caveat in verdict.caveats)
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
