"""Triage: the rules of tender-2019, case by case, and properties that hold for any table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CTSpectSpineLib import triage
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.triage_protocol import check_context, load_protocol, read_context
from CTSpectSpineLib.triage_protocol.context import moment

COLUMNS = ["level", "kind", "side", "uptake"]
LEVELS = ["C2-C3", "C4-C5", "C5-C6", "C6-C7", "T11-T12", "L2-L3", "L3-L4", "L4-L5", "L5-S1"]


def table(*names: str, uptake: str = "positive", background: bool = True) -> pd.DataFrame:
    """Joint table with these joints of the given class, all other joints negative."""
    classes = dict.fromkeys(names, uptake)
    if background:
        for level in LEVELS:
            for suffix in ("disc", "facet left", "facet right"):
                classes.setdefault(f"{level} {suffix}", "negative")
    rows = []
    for name, value in classes.items():
        level, kind, *side = name.split()
        rows.append([level, kind, side[0] if side else "", value])
    return pd.DataFrame(rows, columns=COLUMNS)


CASES = [
    ([], {}, "negative"),
    (["C5-C6 facet left"], {}, "cervical_facet"),
    (["C5-C6 facet left", "C5-C6 facet right"], {}, "cervical_facet"),
    (["C4-C5 facet left", "C5-C6 facet right"], {}, "cervical_facet"),
    (["C2-C3 facet left", "C5-C6 facet left"], {}, "not_covered"),
    (["C5-C6 disc"], {}, "cervical_disc"),
    (["C5-C6 disc", "C6-C7 disc"], {}, "cervical_disc"),
    (["C4-C5 disc", "C6-C7 disc"], {}, "not_covered"),
    (["L4-L5 disc"], {}, "lumbar_disc"),
    (["L4-L5 disc", "L5-S1 disc"], {}, "lumbar_disc"),
    (["L3-L4 disc", "L5-S1 disc"], {}, "not_covered"),
    (["L4-L5 disc"], {"surgery_declined": True}, "declined"),
    (["L4-L5 facet left"], {"instability_mm": {"L4-L5": 0.5}}, "lumbar_facet_stable"),
    (["L4-L5 facet left"], {"instability_mm": {"L4-L5": 3.0}}, "not_covered"),
    (["L4-L5 facet left"], {}, "indeterminate"),
    (
        ["L2-L3 facet left", "L4-L5 facet left"],
        {"instability_mm": {"L2-L3": 0, "L4-L5": 0}},
        "not_covered",
    ),
    (["L4-L5 facet left"], {"instability_mm": {"L3-L4": 0.5}}, "indeterminate"),
    (["L4-L5 disc", "L4-L5 facet left"], {}, "not_covered"),
    (["T11-T12 disc"], {}, "not_covered"),
    (["L2-L3 disc", "L3-L4 disc", "L4-L5 disc"], {}, "multiple_areas"),
    (["C5-C6 facet left", "L4-L5 disc", "L5-S1 facet left"], {}, "multiple_areas"),
    (["C5-C6 facet left", "L4-L5 disc"], {}, "not_covered"),
    (["C5-C6 facet left", "L4-L5 disc"], {"pain_region": "lumbar"}, "lumbar_disc"),
    (["C5-C6 facet left", "L4-L5 disc"], {"pain_region": "cervical"}, "cervical_facet"),
    (["L4-L5 disc"], {"pain_region": "cervical"}, "not_covered"),
]


@pytest.mark.parametrize(("joints", "context", "expected"), CASES)
def test_disposition(joints: list[str], context: dict[str, object], expected: str) -> None:
    verdict = triage(table(*joints), context)
    assert verdict.disposition == expected
    assert verdict.reasons
    assert verdict.research_use_only is True


def test_borderline_joint_that_matters_is_indeterminate() -> None:
    joints = table("L4-L5 disc")
    joints.loc[(joints.level == "L4-L5") & (joints.side == "left"), "uptake"] = "indeterminate"
    verdict = triage(joints)
    assert verdict.disposition == "indeterminate"
    assert verdict.candidate_dispositions == ("lumbar_disc", "not_covered")
    assert any("L4-L5 facet left" in reason for reason in verdict.reasons)
    # An open verdict has no rule that simply applies.
    assert not any("' applies:" in reason for reason in verdict.reasons)
    assert any("in doubt counted negative" in reason for reason in verdict.reasons)


def test_borderline_joint_that_changes_nothing_is_not_indeterminate() -> None:
    joints = table("L4-L5 facet left")
    joints.loc[(joints.level == "L4-L5") & (joints.side == "right"), "uptake"] = "indeterminate"
    verdict = triage(joints, {"instability_mm": {"L4-L5": 1.0}})
    assert verdict.disposition == "lumbar_facet_stable"
    assert any("' applies:" in reason for reason in verdict.reasons)


def test_two_borderline_joints_that_matter_only_together() -> None:
    joints = table("L3-L4 disc")
    for level in ("L4-L5", "L5-S1"):
        joints.loc[(joints.level == level) & (joints.kind == "disc"), "uptake"] = "indeterminate"
    context = {"pain_region": "lumbar"}
    assert triage(joints, context).disposition == "indeterminate"


def test_obstacle_forbids_a_verdict() -> None:
    verdict = triage(table("L4-L5 disc"), obstacles=["The registration failed."])
    assert verdict.disposition == "no_verdict"
    assert "The registration failed." in verdict.reasons


def test_too_few_measurable_joints_give_no_verdict() -> None:
    joints = table("L4-L5 disc")
    joints.loc[joints.uptake == "negative", "uptake"] = "not_measurable"
    verdict = triage(joints)
    assert verdict.disposition == "no_verdict"
    assert any("could be measured" in reason for reason in verdict.reasons)


def test_a_lumbar_spine_that_was_not_seen_gives_no_verdict() -> None:
    joints = table()
    joints.loc[joints.level.str.startswith("L"), "uptake"] = "not_measurable"
    verdict = triage(joints)
    assert verdict.disposition == "no_verdict"
    assert any("lumbar" in reason for reason in verdict.reasons)
    assert triage(joints, {"pain_region": "cervical"}).disposition == "negative"


def test_indeterminate_never_names_itself_as_a_candidate() -> None:
    joints = table()
    joints.loc[(joints.level == "L4-L5") & (joints.side == "left"), "uptake"] = "indeterminate"
    verdict = triage(joints)
    assert verdict.disposition == "indeterminate"
    assert verdict.candidate_dispositions == ("negative", "lumbar_facet_stable", "not_covered")


def test_what_was_not_given_is_said() -> None:
    caveats = " ".join(triage(table("L4-L5 disc")).caveats)
    assert "pain region was not given" in caveats
    assert "surgery was declined was not given" in caveats
    given = {"pain_region": "lumbar", "surgery_declined": False}
    assert "not given" not in " ".join(triage(table("L4-L5 disc"), given).caveats)


@pytest.mark.parametrize("ratio", ["n/a", "NaN", "NA", ""])
def test_ratios_that_are_no_numbers_are_no_evidence(ratio: str, tmp_path: Path) -> None:
    path = tmp_path / "joints.csv"
    path.write_text(
        "level,kind,side,uptake,ratio_corrected,ratio_low\n"
        f'L4-L5,disc,,positive,"{ratio}",0.5\nL3-L4,disc,,negative,1.0,0.5\n',
        encoding="utf-8-sig",
    )
    verdict = triage(path)
    assert verdict.disposition == "lumbar_disc"
    assert verdict.reasons[0] == "L4-L5 disc is positive, as the joint table states."


def test_a_table_that_is_separated_by_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "joints.csv"
    path.write_text("level;kind;side;uptake\nL4-L5;disc;;positive\n", encoding="utf-8")
    assert triage(path).disposition == "lumbar_disc"


@pytest.mark.parametrize("column", ["ratio_corrected", "ratio_low", "z_score"])
@pytest.mark.parametrize("word", ["3,78", "high", "1_0"])
def test_a_word_for_a_number_is_refused_in_a_data_frame_too(column: str, word: str) -> None:
    joints = table("L4-L5 disc").astype(object)
    joints[column] = word
    with pytest.raises(InputError, match=f"Row 1 of the joint table has the {column} '{word}'"):
        triage(joints)


def test_stability_is_the_share_of_equal_dispositions() -> None:
    joints = table("L4-L5 disc")
    draws = np.full((10, len(joints)), 1.0)
    hot = int(np.flatnonzero((joints.level == "L4-L5") & (joints.kind == "disc"))[0])
    draws[:7, hot] = 4.0
    assert triage(joints, draws=draws).stability == pytest.approx(0.7)


def test_reasons_name_joint_number_and_bound() -> None:
    joints = table("L4-L5 disc").assign(ratio_corrected=1.0, ratio_low=0.8, ratio_high=1.2)
    hot = (joints.level == "L4-L5") & (joints.kind == "disc")
    joints.loc[hot, ["ratio_corrected", "ratio_low", "ratio_high"]] = [3.9, 3.2, 4.6]
    reason = triage(joints).reasons[0]
    bound = load_protocol("tender-2019").bounds["disc"].positive
    for part in ("L4-L5 disc", "3.90", "3.20", "4.60", f"{bound:g}"):
        assert part in reason


def test_eligibility_is_apart_from_the_disposition() -> None:
    eligible = {
        "age_years": 50,
        "vas_axial": 7,
        "pain_duration_years": 3,
        "nonsurgical_treatment_years": 1,
        "physical_therapy_months": 3,
        "days_since_steroid_injection": 30,
        "exclusions": [],
        "judged_criteria": {"pain_origin": True, "degeneration": True, "english": True},
    }
    assert triage(table("L4-L5 disc"), eligible).eligibility["status"] == "eligible"
    young = triage(table("L4-L5 disc"), {**eligible, "age_years": 17})
    assert young.eligibility["status"] == "not_eligible"
    assert young.disposition == "lumbar_disc"
    assert triage(table("L4-L5 disc")).eligibility["status"] == "unknown"


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"age": 3}, ["'age'", "age_years"]),
        ({"age_years": -3}, ["age_years", "-3", "0 to 120"]),
        ({"vas_axial": 11}, ["vas_axial", "11", "0 to 10"]),
        ({"vas_axial": "high"}, ["vas_axial", "'high'"]),
        ({"pain_region": "thoracic"}, ["pain_region", "thoracic", "cervical, lumbar"]),
        ({"instability_mm": {"L5-L4": 1}}, ["instability_mm", "L5-L4"]),
        ({"age_years": 10**400}, ["age_years"]),
        ({"surgery_declined": 1}, ["surgery_declined", "true or false"]),
        ({"injection_time": "noon"}, ["injection_time", "noon", "ISO 8601"]),
        (
            {"injection_time": "2024-01-01T12:00", "scan_time": "2024-01-01T09:00"},
            ["scan_time", "before"],
        ),
        ({"exclusions": ["bad mood"]}, ["exclusions", "bad mood", "psychiatric"]),
    ],
)
def test_bad_context_names_key_value_and_what_is_allowed(
    context: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        triage(table("L4-L5 disc"), context)
    for word in words:
        assert word in str(caught.value)


def test_none_counts_as_not_given() -> None:
    assert check_context({"age_years": None}) == {}


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([["L4/L5", "disc", "", "positive"]], "L4/L5"),
        ([["L1-S1", "disc", "", "positive"]], "neighbouring"),
        ([["C1-C2", "disc", "", "positive"]], "C1-C2"),
        ([["L4-L5", "joint", "", "positive"]], "joint"),
        ([["L4-L5", "facet", "", "positive"]], "facet"),
        ([["L4-L5", "disc", "left", "positive"]], "disc"),
        ([["L4-L5", "disc", "", "hot"]], "hot"),
        ([["L4-L5", "disc", "", "positive"]] * 2, "twice"),
    ],
)
def test_bad_joint_table(rows: list[list[str]], word: str) -> None:
    with pytest.raises(InputError, match=word):
        triage(pd.DataFrame(rows, columns=COLUMNS))


def test_context_file_errors(tmp_path: Path) -> None:
    broken = tmp_path / "patient.json"
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"patient\.json"):
        read_context(broken)
    broken.write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="JSON object"):
        read_context(broken)
    with pytest.raises(InputError, match=r"missing\.json"):
        read_context(tmp_path / "missing.json")


def test_protocol_from_a_file_and_its_errors(tmp_path: Path) -> None:
    from CTSpectSpineLib.protocol_files import SHIPPED_FOLDER

    values = json.loads((SHIPPED_FOLDER / "tender-2019.json").read_text(encoding="utf-8"))
    own = tmp_path / "own.json"
    own.write_text(json.dumps({**values, "id": "own"}), encoding="utf-8")
    assert triage(table("L4-L5 disc"), protocol=str(own)).protocol["id"] == "own"
    values["rules"][0]["when"]["colour"] = "red"
    own.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputError, match="colour"):
        load_protocol(own)
    del values["rules"]
    own.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputError, match="rules"):
        load_protocol(own)
    with pytest.raises(InputError, match="tender-2019"):
        load_protocol("nonsense")


joint_sets = st.sets(
    st.tuples(st.sampled_from(LEVELS), st.sampled_from(["disc", "facet left", "facet right"])).map(
        " ".join
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(joint_sets, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(joints: set[str], random: object) -> None:
    rows = table(*sorted(joints))
    shuffled = rows.sample(frac=1.0, random_state=random.randrange(1000))  # type: ignore[attr-defined]
    assert triage(rows).disposition == triage(shuffled).disposition


@settings(max_examples=60, deadline=None)
@given(joint_sets)
def test_mirroring_left_and_right_changes_no_disposition(joints: set[str]) -> None:
    rows = table(*sorted(joints))
    mirrored = rows.assign(side=rows.side.replace({"left": "right", "right": "left"}))
    assert triage(rows).disposition == triage(mirrored).disposition


@settings(max_examples=60, deadline=None)
@given(joint_sets)
def test_more_than_two_areas_are_never_surgical(joints: set[str]) -> None:
    areas = {name.rsplit(" facet", 1)[0] + ("facet" if "facet" in name else "") for name in joints}
    disposition = triage(table(*sorted(joints))).disposition
    if len(areas) > 2:
        assert disposition == "multiple_areas"
    else:
        assert disposition != "multiple_areas"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-31T13:45:00Z", "2024-05-31T13:45:00+00:00"),
        ("2024-05-31T13:45Z", "2024-05-31T13:45:00+00:00"),
        ("20240531T134500Z", "2024-05-31T13:45:00+00:00"),
        ("2024-05-31T13:45:00.5+02:00", "2024-05-31T13:45:00.500000+02:00"),
        ("2024-05-31T13:45:00,123456789-0330", "2024-05-31T13:45:00.123456-03:30"),
        ("2024-05-31 13:45+01", "2024-05-31T13:45:00+01:00"),
        ("2024-05-31", "2024-05-31T00:00:00"),
    ],
)
def test_times_are_read_alike_in_every_version_of_python(text: str, expected: str) -> None:
    assert moment(text).isoformat() == expected


@pytest.mark.parametrize(
    "text", ["", "31.05.2024", "2024-13-01", "2024-05-31T25:00", "2024-05-31T13:45+99:00", "13:45"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        moment(text)
    with pytest.raises(InputError, match=r"scan_time.*ISO 8601"):
        check_context({"scan_time": text})


def test_a_context_saved_by_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "context.json"
    path.write_text('{"age_years": 50}', encoding="utf-16")
    assert read_context(path) == {"age_years": 50}
