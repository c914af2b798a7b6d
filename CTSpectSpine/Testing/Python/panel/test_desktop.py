"""What the desktop panel computes without Slicer: numbering, the patient's form, shown rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.analysis.options import Options, check_together
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.labelling.levels.numbering import (
    body_centres,
    levels_in,
    numbering_of,
    renumber,
)
from CTSpectSpineLib.model import Registration
from CTSpectSpineLib.panel.context_form import context_from_form, form_from_context
from CTSpectSpineLib.panel.shown_rows import shown_rows
from CTSpectSpineLib.panel.side_by_side import side_by_side
from CTSpectSpineLib.registration.files import centred, registration_record
from CTSpectSpineLib.results.decision import Decision, with_decision
from CTSpectSpineLib.results.folder import save_folder
from CTSpectSpineLib.results.manifest import SCHEMA
from CTSpectSpineLib.results.shown import Record
from CTSpectSpineLib.results.stage_files import (
    RegisteredPair,
    read_registration,
    write_registration,
)

LUMBAR = ("L1", "L2", "L3", "L4", "L5", "sacrum")


def test_shifting_up_and_down() -> None:
    up = numbering_of(LUMBAR).shifted(-1)
    assert list(up.mapping().values()) == ["T12", "L1", "L2", "L3", "L4", "sacrum"]
    assert up.changed
    assert not up.shifted(1).changed
    with pytest.raises(InputError, match=r"below L5.*add L6"):
        numbering_of(LUMBAR).shifted(1)


def test_a_sixth_lumbar_vertebra() -> None:
    six = numbering_of(("T12", *LUMBAR)).with_extra("L6", True)
    assert list(six.mapping().values()) == ["T12", *LUMBAR], "the names above stay"
    down = six.shifted(1)
    assert list(down.mapping().values()) == ["L1", "L2", "L3", "L4", "L5", "L6", "sacrum"]
    with pytest.raises(InputError, match="below L5"):
        down.with_extra("L6", False)
    back = down.shifted(-1).with_extra("L6", False)
    assert not back.changed


def test_a_thirteenth_thoracic_vertebra() -> None:
    found = ("T11", "T12", "L1", "L2", "L3")
    more = numbering_of(found).with_extra("T13", True)
    assert list(more.mapping().values()) == ["T11", "T12", "T13", "L1", "L2"]
    assert list(more.with_extra("T13", False).mapping().values()) == list(found)


def test_naming_one_vertebra_names_all() -> None:
    named = numbering_of(("C3", "C4", "C5")).with_level("C4", "C6")
    assert list(named.mapping().values()) == ["C5", "C6", "C7"]
    with pytest.raises(InputError, match="above C1"):
        numbering_of(("C3", "C4", "C5")).with_level("C5", "C2")


def test_a_sacralised_vertebra_joins_the_sacrum() -> None:
    joined = numbering_of(LUMBAR).with_sacralised(True)
    assert joined.mapping()["L5"] == "sacrum"
    assert not joined.with_sacralised(False).changed
    with pytest.raises(InputError, match="sacrum that is labelled"):
        numbering_of(("L3", "L4", "L5")).with_sacralised(True)
    pairs = anatomy.neighbouring_pairs(set(joined.mapping().values()))
    assert pairs[-1] == ("L4", "sacrum")


def test_gaps_stay_where_a_vertebra_was_not_outlined() -> None:
    moved = numbering_of(("L1", "L2", "L4", "L5")).shifted(-1)
    assert list(moved.mapping().values()) == ["T12", "L1", "L3", "L4"]
    eleven = numbering_of(("T10", "T11", "L1", "L2"))
    assert not eleven.changed, "eleven ribs are no gap"


@given(st.data())
def test_there_and_back_changes_nothing(data: st.DataObject) -> None:
    names = [v.name for v in anatomy.vertebrae() if v.name not in ("S1", "sacrum", "T13", "L6")]
    first = data.draw(st.integers(0, len(names) - 2))
    last = data.draw(st.integers(first + 1, len(names) - 1))
    numbering = numbering_of(names[first : last + 1])
    by = data.draw(st.integers(-first, len(names) - 1 - last))
    moved = numbering.shifted(by) if by else numbering
    values = list(moved.mapping().values())
    assert values == names[first + by : last + 1 + by]
    assert not moved.shifted(-by).changed


def stack(values: dict[str, int]) -> sitk.Image:
    voxels = np.zeros((10 * len(values), 20, 20), dtype=np.uint8)
    for i, value in enumerate(reversed(values.values())):
        voxels[10 * i + 1 : 10 * i + 9, 4:16, 4:16] = value
    voxels[:, 0, 0] = 77  # a hip
    matrix = np.diag([1.5, 1.5, 3.0, 1.0])
    matrix[:3, 3] = (-10.0, 5.0, 100.0)
    return image_from_array(voxels, matrix)


def test_renumbering_a_label_map() -> None:
    labels = stack({name: anatomy.vertebra(name).id for name in LUMBAR})
    assert levels_in(labels) == LUMBAR
    mapping = numbering_of(LUMBAR).shifted(-1).mapping()
    moved = renumber(labels, mapping)
    before, after = map(sitk.GetArrayViewFromImage, (labels, moved))
    for old, new in mapping.items():
        same = (before == anatomy.vertebra(old).id) == (after == anatomy.vertebra(new).id)
        assert same.all(), (old, new)
    assert ((before == 77) == (after == 77)).all()
    assert moved.GetOrigin() == labels.GetOrigin()
    joined = renumber(labels, numbering_of(LUMBAR).with_sacralised(True).mapping())
    assert levels_in(joined) == ("L1", "L2", "L3", "L4", "sacrum")


def test_centres_lie_in_the_middle_of_the_bodies() -> None:
    labels = stack({name: anatomy.vertebra(name).id for name in LUMBAR})
    centres = body_centres(labels)
    assert tuple(centres) == LUMBAR
    for i, name in enumerate(reversed(LUMBAR)):
        expected = (-10 + 1.5 * 9.5, 5 + 1.5 * 9.5, 100 + 3 * (10 * i + 4.5))
        np.testing.assert_allclose(centres[name], expected, atol=3.1)


def test_form_and_context_are_two_ways_of_the_same() -> None:
    context = {
        "pain_region": "lumbar",
        "vas_axial": 7.5,
        "radicular_pain": False,
        "instability_mm": {"L4-L5": 3.5, "L5-S1": 2},
        "exclusions": ["fracture", "infection"],
        "body_weight_kg": 80,
        "body_height_cm": 171.5,
        "injection_time": "2026-03-01T09:00:00",
        "scan_time": "2026-03-01T12:00:00",
    }
    texts, extra = form_from_context(context)
    assert texts["age_years"] == ""
    assert extra == ""
    assert context_from_form(texts) == context
    assert context_from_form(dict.fromkeys(texts, "")) == {}
    judged, extra = form_from_context({"judged_criteria": {"english": True}})
    assert "english" in extra
    assert context_from_form(judged, extra) == {"judged_criteria": {"english": True}}


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("vas_axial", "much", "VAS.*'much' is not a number"),
        ("vas_axial", "11", r"^'axial pain \(VAS\)' in the patient's data.*10"),
        ("body_height_cm", "1.71", "'height' in the patient's data.*50"),
        ("instability_mm", "L4-L5", "'L4-L5' is not LEVEL=MILLIMETRES"),
        ("instability_mm", "X9=2", "X9"),
        ("injection_time", "yesterday", "'injection time'"),
    ],
)
def test_a_wrong_field_is_named(key: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        context_from_form({key: text})


def row(joint: str, uptake: str, ratio: float = float("nan")) -> Row:
    level, kind, *side = joint.split()
    return Row(
        joint, level, kind, side[0] if side else "", uptake, ratio, ratio, ratio, "", "", None
    )


ROWS = (
    row("L3-L4 disc", "negative", 1.1),
    row("L4-L5 disc", "positive", 3.6),
    row("L4-L5 facet left", "positive", 4.2),
    row("L5-S1 disc", "not_measurable"),
)


def test_rows_are_filtered_and_sorted() -> None:
    names = [r.joint for r in shown_rows(ROWS, "positive")]
    assert names == ["L4-L5 disc", "L4-L5 facet left"]
    assert [r.joint for r in shown_rows(ROWS, "all", "facet l4")] == ["L4-L5 facet left"]
    by_ratio = [r.joint for r in shown_rows(ROWS, "all", "", "ratio", descending=True)]
    assert by_ratio == ["L4-L5 facet left", "L4-L5 disc", "L3-L4 disc", "L5-S1 disc"]
    assert [r.joint for r in shown_rows(ROWS, "all", "", "ratio")][-1] == "L5-S1 disc"
    downwards = [r.level for r in shown_rows(ROWS, "all", "", "joint", descending=True)]
    assert downwards == ["L5-S1", "L4-L5", "L4-L5", "L3-L4"]
    assert [r.joint for r in shown_rows(ROWS, "not measurable")] == ["L5-S1 disc"]
    assert ROWS[3].ratio_text == "–"
    assert ROWS[1].ratio_text == "3.60 (3.6–3.6)"


def test_numbers_of_an_unmeasurable_joint_do_not_count() -> None:
    doubted = Row(
        *("T12-L1 disc", "T12-L1", "disc", "", "not_measurable", 9.0, 0.1, 18.0),
        *("counts for nothing", "its level is in doubt", None),
    )
    for descending in (True, False):
        rows = shown_rows((doubted, *ROWS), "all", "", "ratio", descending)
        assert not any(r.measurable for r in rows[-2:])
        assert all(r.measurable for r in rows[:-2])
    assert shown_rows((doubted,), "positive") == []
    assert shown_rows((doubted,), "measured") == []
    assert doubted.explanation == "its level is in doubt"
    assert replace(doubted, reason="").explanation == "counts for nothing"
    assert replace(doubted, uptake="positive").explanation == "counts for nothing"


def test_protocols_stand_side_by_side() -> None:
    joints = (
        "joint,level,kind,side,status,uptake\n"
        "L4-L5 disc,L4-L5,disc,,measured,positive\n"
        "L5-S1 disc,L5-S1,disc,,measured,negative\n"
    )
    record = Record({"joints.csv": joints}, (), {}, {"disposition": "lumbar_disc"}, {})
    comparison = side_by_side(record, ["tender-2019", "spinus-1"])
    assert [v.protocol["id"] for v in comparison.verdicts] == ["tender-2019", "spinus-1"]
    assert comparison.verdicts[0].disposition == "lumbar_disc"
    assert comparison.verdicts[0].eligibility["status"] == "unknown"
    told = replace(record, manifest={"context": {"exclusions": ["fracture"]}})
    told_verdict = side_by_side(told, ["tender-2019", "spinus-2"]).verdicts[0]
    assert told_verdict.eligibility["status"] == "not_eligible"
    for changes in (
        {"verdict": {"disposition": "no_verdict"}},
        {"manifest": {"registration_check": {"decision": "rejected"}}},
    ):
        with pytest.raises(InputError, match="no protocol applies"):
            side_by_side(replace(record, **changes), ["tender-2019", "spinus-1"])


def test_saving_a_results_folder(tmp_path: Path) -> None:
    results, target = tmp_path / "run" / "results", tmp_path / "kept"
    results.mkdir(parents=True)
    with pytest.raises(InputError, match="not there any more"):
        save_folder(results, target)
    (results / "manifest.json").write_text(f'{{"schema": "{SCHEMA}"}}', encoding="utf-8")
    assert save_folder(results, target) == target
    assert (target / "manifest.json").is_file()
    assert save_folder(target, target) == target
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.docx").touch()
    with pytest.raises(InputError, match="not empty"):
        save_folder(results, other)


def test_a_decision_is_recorded_with_the_quality() -> None:
    taken = Decision.now("accepted", "check", adjusted=True)
    manifest = with_decision({"status": "complete"}, taken)
    check = manifest["registration_check"]
    assert manifest["status"] == "complete"
    assert (check["decision"], check["quality"]) == ("accepted", "check")
    assert check["adjusted_by_hand"] is True
    with pytest.raises(ValueError, match="maybe"):
        Decision.now("maybe", "good", adjusted=False)


def test_a_kept_registration_is_the_same_to_the_last_digit(tmp_path: Path) -> None:
    turn, matrix = np.radians(11.3), np.eye(4)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    matrix[:3, 3] = (3.0, -7.0, 11.0)
    transform = centred(matrix, np.array([10.0, -20.0, 30.0]))
    registration = Registration(
        transform, "by hand", 0.1, 0.7, float("nan"), "check", ("Look at it.",), 1.5, 0.3
    )
    image = sitk.Image(2, 2, 2, sitk.sitkInt16)
    pair = RegisteredPair.of(image, image)
    write_registration(registration, pair, tmp_path)
    read = read_registration(tmp_path)
    read.check(pair)
    kept = read.registration
    assert registration_record(kept) == registration_record(registration)
    np.testing.assert_array_equal(kept.matrix, registration.matrix)
    with pytest.raises(InputError, match="give either"):
        check_together(Options(registration=tmp_path, transform=transform), None, "auto", tmp_path)
    (tmp_path / "registration.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="register again"):
        read_registration(tmp_path)
