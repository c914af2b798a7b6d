"""The truth study as a whole: rows, document, resuming."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from study_rows import joint_row, patient_row

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.validation import Plan, Study, read_study, run_study, write_document
from CTSpectSpineLib.validation import patient as patient_module
from CTSpectSpineLib.validation import study as study_module
from CTSpectSpineLib.validation.cohort import (
    Patient,
)
from CTSpectSpineLib.validation.document import render
from CTSpectSpineLib.validation.goals import goals
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
    verdicts,
)


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
    append(tmp_path, patient_row("a"), [joint_row("a"), joint_row("a", side="left")])
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


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\xb9,1\n"])
@pytest.mark.parametrize("name", [JOINTS_FILE, PATIENTS_FILE])
def test_damaged_rows_of_a_study_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    begin(tmp_path, resume=False)
    path = tmp_path / name
    heading = path.read_bytes()
    path.write_bytes(heading + content)
    with pytest.raises(InputError, match=name):
        begin(tmp_path, resume=True)
    path.write_bytes(heading + b",".join([b"word"] * heading.count(b",")) + b"\n")
    with pytest.raises(InputError, match=name):
        read_study(tmp_path)


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


@pytest.mark.slow
def test_an_analysis_that_fails_is_a_row(small: Any) -> None:
    patient, joints = small[1]
    assert patient.failed
    assert patient.message.startswith("ZeroDivisionError: ")
    assert {row.status for row in joints} == {"failed"}
    assert all(row.true_ratio is not None for row in joints)


@pytest.mark.slow
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
        run_study(Plan(("resolution",), jobs, "tuning", folder, seed=4, jobs=jobs))
        studies.append(read_study(folder))
    one, two = ((study.joints, study.patients.drop(columns=costs)) for study in studies)
    for alone, beside in zip(one, two, strict=True):
        first = beside[beside["patient"].isin(alone["patient"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, first)
    assert len(two[1]) == 2


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
