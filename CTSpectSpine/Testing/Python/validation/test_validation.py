"""The truth study: who is drawn, what is written, and that its numbers are those of the rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.validation import SETS, Plan, Study, read_study, run_study, write_document
from CTSpectSpineLib.validation import patient as patient_module
from CTSpectSpineLib.validation import study as study_module
from CTSpectSpineLib.validation.cohort import (
    Patient,
    draw_hot,
    draw_patients,
    draw_ratios,
    draw_scanner,
    draw_spine,
)
from CTSpectSpineLib.validation.document import render
from CTSpectSpineLib.validation.goals import goals
from CTSpectSpineLib.validation.markdown import percent
from CTSpectSpineLib.validation.patient import dice, run_patient
from CTSpectSpineLib.validation.rows import (
    JOINTS_FILE,
    PATIENTS_FILE,
    JointRow,
    PatientRow,
    append,
    begin,
)
from CTSpectSpineLib.validation.summary import (
    Share,
    bias,
    confusion,
    coverage,
    relative_error,
    roc,
    verdicts,
)


def joint_row(patient: str = "p", **values: object) -> JointRow:
    row = JointRow(
        set_name="standard",
        split="test",
        patient=patient,
        seed=1,
        joint="L4-L5 disc",
        level="L4-L5",
        kind="disc",
        side="",
        spine_region="lumbar",
        true_ratio=1.0,
        true_uptake="negative",
        hottest_near=1.0,
        degenerate=0.0,
        fwhm_mm=10.0,
        status="measured",
        status_reason="",
        ratio_mean=0.5,
        ratio_max=0.8,
        ratio_corrected=1.0,
        ratio_low=0.8,
        ratio_high=1.2,
        probability_positive=0.1,
        uptake="negative",
        centre_error_mm=0.5,
        dice=0.9,
        registration_mm=0.3,
    )
    return replace(row, **values)  # type: ignore[arg-type]


def patient_row(name: str = "p", **values: object) -> PatientRow:
    row = PatientRow(
        set_name="standard",
        split="test",
        patient=name,
        seed=1,
        field="T12-S1",
        pattern="single",
        hot="L4-L5 disc=3.00",
        ct_voxel_mm="1.50x1.50x2.00",
        cobb_deg=3.0,
        bone_density=1.0,
        size=1.0,
        fwhm_mm=10.0,
        voxel_mm=4.0,
        counts=8e6,
        true_disposition="lumbar_disc",
        grey_joints=0,
        fwhm_used_mm=9.8,
        fwhm_source="estimated from the SPECT",
        disposition="lumbar_disc",
        stability=0.9,
        quality="good",
        registration_mm=0.3,
        registration_worst_mm=0.5,
        **dict.fromkeys(
            [
                f"{s}_s"
                for s in ("phantom", "label", "register", "joints", "uptake", "triage", "cpu")
            ],
            1.0,
        ),
    )
    return replace(row, **values)  # type: ignore[arg-type]


def study_of(folder: Path, count: int = 120, seed: int = 3) -> Study:
    """A study of made-up rows: 5 % bias, 20 % spread, honest intervals, some wrong verdicts."""
    rng = np.random.default_rng(seed)
    begin(folder, resume=False)
    for number in range(count):
        name = f"standard-{number:03d}"
        rows = []
        for level in ("C5-C6", "T10-T11", "T12-L1", "L4-L5", "L5-S1"):
            for kind, side in (("disc", ""), ("facet", "left"), ("facet", "right")):
                true = float(rng.uniform(2.5, 6)) if rng.random() < 0.15 else 1.0
                found = true * float(rng.normal(1.05, 0.1))
                rows.append(
                    joint_row(
                        name,
                        joint=f"{level} {kind} {side}".strip(),
                        level=level,
                        kind=kind,
                        side=side,
                        true_ratio=true,
                        true_uptake="positive" if true >= 2 else "negative",
                        ratio_corrected=found,
                        ratio_mean=0.4 * true + 0.1,
                        ratio_max=0.7 * true,
                        ratio_low=found * 0.78,
                        ratio_high=found * 1.22,
                        uptake="positive" if found >= 1.9 else "negative",
                        fwhm_mm=float(rng.uniform(7, 13)),
                    )
                )
        wrong = number % 20 == 0
        append(
            folder,
            patient_row(
                name,
                disposition="negative" if wrong else "lumbar_disc",
                stability=0.85 if number % 40 == 0 else 0.6,
            ),
            rows,
        )
    return read_study(folder)


def test_tuning_and_test_patients_never_share_a_seed() -> None:
    seeds = {
        split: {
            p.seed for name in SETS for s in range(4) for p in draw_patients(name, split, 50, s)
        }
        for split in ("tuning", "test")
    }
    assert len(seeds["test"]) > 700
    assert not seeds["test"] & seeds["tuning"]


def test_more_patients_begin_with_the_same_ones() -> None:
    assert draw_patients("standard", "test", 9, 1)[:4] == draw_patients("standard", "test", 4, 1)


def test_the_set_with_given_resolution_has_the_standard_patients() -> None:
    pairs = zip(
        draw_patients("standard", "test", 5, 1), draw_patients("known", "test", 5, 1), strict=True
    )
    for usual, known in pairs:
        assert draw_spine(usual) == draw_spine(known)
        assert draw_scanner(usual) == draw_scanner(known)
        assert not usual.info.fwhm_given
        assert known.info.fwhm_given


def test_patients_vary_as_their_set_says() -> None:
    patients = draw_patients("hard", "tuning", 150, 1)
    spines = [draw_spine(p) for p in patients]
    scanners = [draw_scanner(p) for p in patients]
    assert {p for _, p, _ in spines} == {
        "none",
        "single",
        "facet pair",
        "adjacent levels",
        "disc and facets",
        "many",
    }
    assert {(s.first, s.last) for s, _, _ in spines} >= {("C1", "T2"), ("T12", "sacrum")}
    cobb = np.abs([s.scoliosis_cobb_deg for s, _, _ in spines])
    assert 15 <= cobb.min() < 20
    assert 35 < cobb.max() <= 40
    assert all(9 <= s.fwhm_mm <= 13 and 3.5 <= s.spacing_mm <= 4.8 for s in scanners)
    assert all(1 <= s.spacing[0] <= 2 and 1 <= s.spacing[2] <= 3 for s, _, _ in spines)
    for (config, _, hot), patient in zip(spines, patients, strict=True):
        ratios = draw_ratios(hot, patient, 0)
        assert set(ratios) == set(hot) <= set(config.joint_ids)
        assert all(1 <= ratio <= 6 for ratio in ratios.values())


def test_hot_joints_fit_their_pattern() -> None:
    ids = SpineConfig().joint_ids
    for seed in range(200):
        pattern, hot = draw_hot(ids, Patient("standard", "test", "x", seed))
        levels = {joint.split()[0] for joint in hot}
        places = {joint.split(" ", 1)[1] for joint in hot}
        if pattern == "facet pair":
            assert len(levels) == 1
            assert places == {"facet left", "facet right"}
        elif pattern == "adjacent levels":
            upper, lower = (joint.split()[0].split("-") for joint in hot)
            assert upper[1] == lower[0]
            assert len(places) == 1
        elif pattern == "disc and facets":
            assert len(levels) == 1
            assert "disc" in places
            assert len(places) >= 2
        else:
            assert len(hot) in {"none": [0], "single": [1], "many": [3, 4, 5]}[pattern]


def test_bias_is_the_mean_relative_error() -> None:
    table = pd.DataFrame([joint_row(ratio_corrected=v, true_ratio=2.0) for v in (1.8, 2.0, 2.8)])
    value = bias(table)
    assert value.joints == 3
    assert value.mean == pytest.approx(0.1)
    assert value.median == pytest.approx(0.0)
    assert value.spread == pytest.approx(np.std([-0.1, 0.0, 0.4], ddof=1))
    assert value.root_mean_square == pytest.approx(np.sqrt((0.01 + 0.16) / 3))


def test_joints_without_a_truth_or_a_number_do_not_count() -> None:
    table = pd.DataFrame([joint_row(), joint_row(true_ratio=None), joint_row(ratio_corrected=None)])
    assert len(relative_error(table)) == 1


def test_area_is_the_share_of_ordered_pairs() -> None:
    rng = np.random.default_rng(1)
    increased, normal = np.round(rng.normal(2, 1, 40), 1), np.round(rng.normal(1, 1, 60), 1)
    rows = [joint_row(true_ratio=3.0, ratio_corrected=float(v)) for v in increased]
    rows += [joint_row(true_ratio=1.0, ratio_corrected=float(v)) for v in normal]
    rows += [joint_row(true_ratio=2.0, ratio_corrected=9.0)]
    pairs = [(a > b) + 0.5 * (a == b) for a in increased for b in normal]
    curve = roc(pd.DataFrame(rows))
    assert curve.area == pytest.approx(np.mean(pairs))
    assert (curve.increased, curve.normal) == (40, 60)
    assert (curve.false_positive[0], curve.true_positive[0]) == (0, 0)
    assert (curve.false_positive[-1], curve.true_positive[-1]) == (1, 1)


@given(
    increased=st.lists(st.integers(-4, 4), min_size=1, max_size=20),
    normal=st.lists(st.integers(-4, 4), min_size=1, max_size=20),
)
def test_area_is_mann_and_whitneys(increased: list[int], normal: list[int]) -> None:
    rows = [joint_row(true_ratio=3.0, ratio_corrected=float(v)) for v in increased]
    rows += [joint_row(true_ratio=1.0, ratio_corrected=float(v)) for v in normal]
    pairs = len(increased) * len(normal)
    wanted = mannwhitneyu(increased, normal, method="asymptotic").statistic / pairs
    assert roc(pd.DataFrame(rows)).area == pytest.approx(wanted, abs=1e-12)


def test_area_is_missing_without_increased_joints() -> None:
    assert np.isnan(roc(pd.DataFrame([joint_row()])).area)


def test_coverage_counts_truths_within_above_and_below() -> None:
    rows = [joint_row(true_ratio=v) for v in (0.7, 0.8, 1.0, 1.2, 1.3)]
    value = coverage(pd.DataFrame([*rows, joint_row(ratio_low=None)]))
    assert (value.covered.count, value.covered.of) == (3, 5)
    assert value.truth_above == value.truth_below == pytest.approx(0.2)
    low, high = value.covered.interval
    assert low == pytest.approx(0.2307, abs=1e-3)
    assert high == pytest.approx(0.8824, abs=1e-3)


@given(st.integers(1, 5000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_interval_of_a_share_is_wilsons(counts: tuple[int, int]) -> None:
    count, of = counts
    z, p = 1.959964, count / of
    centre = (p + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * np.sqrt(p * (1 - p) / of + z**2 / (4 * of**2))
    low, high = Share(count, of).interval
    assert low == pytest.approx(max(0.0, centre - half), abs=1e-8)
    assert high == pytest.approx(min(1.0, centre + half), abs=1e-8)


@pytest.mark.parametrize(
    ("count", "of", "words"),
    [(6, 7, "49 % to 97 %"), (9, 17, "31 % to 74 %"), (16, 16, "81 % to 100 %")],
)
def test_interval_of_a_share_as_it_is_printed(count: int, of: int, words: str) -> None:
    assert " to ".join(percent(end, 0) for end in Share(count, of).interval) == words


def test_interval_of_nothing_is_missing() -> None:
    assert np.isnan(Share(0, 0).interval).all()


def test_verdicts_are_right_withheld_or_wrong() -> None:
    rows = [
        patient_row("a"),
        patient_row("b", disposition="indeterminate"),
        patient_row("c", disposition="", failed=True),
        patient_row("d", disposition="negative", stability=0.8),
        patient_row("e", disposition="negative", stability=0.7),
        patient_row("f", disposition="indeterminate", true_disposition="indeterminate"),
    ]
    table = pd.DataFrame(rows)
    value = verdicts(table)
    shares = (value.right, value.withheld, value.wrong, value.wrong_confident)
    assert [share.count for share in shares] == [2, 2, 2, 1]
    matrix = confusion(table)
    assert matrix.loc["lumbar_disc", "negative"] == 2
    assert matrix.loc["lumbar_disc", "failed"] == 1
    assert matrix.to_numpy().sum() == len(rows)


def test_goals_say_met_not_met_or_too_few(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    outcome = {goal.quantity: goal.outcome for goal in goals(study)}
    assert outcome["bias of the corrected ratio, hot discs"] == "met"
    assert outcome["area under the ROC curve, facets"] == "met"
    assert outcome["verdict equal to the truth, all patients"] == "met"
    worse = study.joints.assign(
        ratio_corrected=study.joints.ratio_corrected * 1.2, ratio_high=study.joints.ratio_low
    )
    outcome = {goal.quantity: goal.outcome for goal in goals(Study(worse, study.patients))}
    assert outcome["bias of the corrected ratio, hot discs"] == "not met"
    assert outcome["coverage of the 95 % interval, all discs"] == "not met"
    few = study.patients.head(40)
    part = Study(study.joints[study.joints.patient.isin(few.patient)], few)
    outcome = {goal.quantity: goal.outcome for goal in goals(part)}
    assert "met" not in outcome.values()
    assert outcome["bias of the corrected ratio, hot discs"] == "too few"


def test_document_tells_what_the_rows_say(tmp_path: Path) -> None:
    study = study_of(tmp_path / "rows")
    path = tmp_path / "doc" / "truth.md"
    write_document(path, study, "test", "ctspectspine validate")
    text = path.read_text(encoding="utf-8")
    value = verdicts(study.patients)
    assert f"| {value.patients} | {value.right.count} (" in text
    assert "Not run: Resolution given, Resolution, Hard, Real CT" in text
    assert "T12-L1 disc" in text
    assert "nan" not in text.replace("resonance", "")
    for picture in path.parent.glob("*.png"):
        assert f"({picture.name})" in text
    assert len(list(path.parent.glob("*.png"))) == 6


def test_document_warns_of_few_patients_and_of_tuning(tmp_path: Path) -> None:
    study = study_of(tmp_path, 3)
    tuning = Study(study.joints.assign(split="tuning"), study.patients.assign(split="tuning"))
    text = render(tuning, "tuning", "x", {})
    assert "So few prove nothing" in text
    assert "These are tuning patients" in text
    with pytest.raises(InputError, match="no patients of the test split"):
        write_document(tmp_path / "truth.md", tuning, "test", "x")


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    begin(tmp_path, resume=False)
    joint = joint_row(true_ratio=None, status_reason='cut, "here"', ratio_low=None)
    append(tmp_path, patient_row(candidates="a; b"), [joint, joint_row()])
    study = read_study(tmp_path)
    assert study.joints.status_reason.tolist() == ['cut, "here"', ""]
    assert np.isnan(study.joints.true_ratio[0])
    assert study.patients.candidates.tolist() == ["a; b"]
    assert study.patients.failed.tolist() == [False]


def test_a_broken_study_is_repaired(tmp_path: Path) -> None:
    begin(tmp_path, resume=False)
    append(tmp_path, patient_row("a"), [joint_row("a"), joint_row("a", side="x")])
    append(tmp_path, patient_row("b"), [joint_row("b")])
    whole = (tmp_path / PATIENTS_FILE).read_text(encoding="utf-8")
    (tmp_path / PATIENTS_FILE).write_text(whole[:-20], encoding="utf-8")
    assert begin(tmp_path, resume=True) == {"a"}
    study = read_study(tmp_path)
    assert study.joints.patient.tolist() == ["a", "a"]
    assert study.patients.patient.tolist() == ["a"]
    append(tmp_path, patient_row("b"), [joint_row("b")])
    assert read_study(tmp_path).joints.patient.tolist() == ["a", "a", "b"]


def test_a_study_is_not_overwritten(tmp_path: Path) -> None:
    begin(tmp_path, resume=False)
    with pytest.raises(InputError, match="give --resume"):
        begin(tmp_path, resume=False)
    (tmp_path / JOINTS_FILE).write_text("other\n", encoding="utf-8")
    with pytest.raises(InputError, match="another version"):
        begin(tmp_path, resume=True)


def test_study_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def stand_in(
        patients: list[Patient], plan: Plan
    ) -> Iterator[tuple[PatientRow, list[JointRow]]]:
        for patient in patients:
            seen.append(patient.name)
            yield patient_row(patient.name), [joint_row(patient.name)]

    monkeypatch.setattr(study_module, "_results", stand_in)
    plan = Plan(("standard", "hard"), 2, "tuning", tmp_path, resume=True)
    assert run_study(plan) == 4
    assert run_study(plan) == 0
    assert run_study(replace(plan, count=3)) == 2
    assert len(set(seen)) == len(seen) == 6


SMALL = Patient("standard", "tuning", "small", 5)


def small_rows(broken: bool) -> tuple[PatientRow, list[JointRow]]:
    """Rows of a patient whose CT is small and coarse, so that the chain is quick.

    It runs in a process of its own, whose library it may change.
    """
    spine = SpineConfig(
        seed=5, spacing_mm=2.5, first="L3", last="sacrum", lateral_mm=190.0, ap_mm=170.0
    )
    hot = {"L4-L5 disc": 4.0}
    patient_module.draw_spine = lambda patient: (spine, "single", tuple(hot))
    patient_module.draw_ratios = lambda *_: hot
    if broken:
        patient_module.analyze = lambda *_, **__: 1 // 0
    return run_patient(SMALL)


@pytest.fixture(scope="module")
def small() -> tuple[tuple[PatientRow, list[JointRow]], ...]:
    """The rows of the patient, and those of a failed analysis."""
    with study_module.workers(1) as pool:
        return tuple(pool.map(small_rows, (False, True)))


def test_an_analysis_that_fails_is_a_row(small: Any) -> None:
    patient, joints = small[1]
    assert patient.failed
    assert patient.message.startswith("ZeroDivisionError: ")
    assert {row.status for row in joints} == {"failed"}
    assert all(row.true_ratio is not None for row in joints)


def test_one_patient_through_the_whole_chain(small: Any) -> None:
    patient, joints = small[0]
    rows = {row.joint: row for row in joints}
    hot = rows["L4-L5 disc"]
    assert not patient.failed
    assert patient.true_disposition == "lumbar_disc"
    assert hot.true_ratio == pytest.approx(4.0, rel=1e-3)
    assert hot.ratio_corrected == pytest.approx(4.0, rel=0.3)
    assert hot.ratio_mean is not None
    assert hot.ratio_mean < 2.5
    assert hot.dice is not None
    assert hot.dice > 0.8
    assert patient.registration_worst_mm is not None
    assert patient.registration_worst_mm < 3
    assert rows["L5-S1 disc"].hottest_near is not None
    assert patient.cpu_s is not None
    assert patient.cpu_s >= (patient.register_s or 0.0) > 0
    assert patient.wall_s is not None
    assert patient.wall_s > 0
    if sys.platform == "linux":
        assert patient.peak_mb is not None
        assert 50 < patient.peak_mb < 4000


@pytest.mark.slow
def test_rows_do_not_depend_on_the_number_of_jobs(tmp_path: Path) -> None:
    costs = [field for field in PatientRow.__dataclass_fields__ if field.endswith(("_s", "_mb"))]
    studies = []
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        run_study(Plan(("resolution",), 2, "tuning", folder, seed=4, jobs=jobs))
        studies.append(read_study(folder))
    pd.testing.assert_frame_equal(studies[0].joints, studies[1].joints)
    pd.testing.assert_frame_equal(
        *(study.patients.drop(columns=costs) for study in studies), check_like=False
    )


def test_dice_of_overlapping_boxes() -> None:
    shifted = np.eye(4)
    shifted[0, 3] = 2.0
    box = np.ones((4, 4, 4), dtype=bool)
    assert dice(Region(box, np.eye(4)), Region(box, shifted)) == pytest.approx(0.5)
    assert dice(Region(box, np.eye(4)), Region(box, np.eye(4))) == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sets", "nothing"], "no set 'nothing'"),
        (["--sets", "real"], "needs a real CT"),
        (["--sets", ","], "No set is given"),
        (["--count", "0"], "count is 0"),
        (["--jobs", "0"], "jobs is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--ct", "ct.nii.gz"], "belong together"),
        (["--organs", "o.nii.gz"], "give --ct"),
        (["--document-only"], "does not exist"),
    ],
)
def test_command_refuses_bad_options(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_command_writes_the_document_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study_of(tmp_path / "rows", 5)
    rows, out = tmp_path / "rows", tmp_path / "again"
    assert main(["validate", "--out", str(out), "--rows", str(rows), "--document-only"]) == 0
    assert (out / "truth.md").is_file()
    assert not (rows / "truth.md").exists()
    assert "too few" in capsys.readouterr().out
