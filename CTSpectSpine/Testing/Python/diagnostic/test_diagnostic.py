"""Diagnostic value: the join, the numbers, the optimism, the command."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from results_case import PLACES, drawn_ratio, joint_name, write_results

from CTSpectSpineLib.cohort.reader import read_joints
from CTSpectSpineLib.cohort.rows import CohortRow, csv_text
from CTSpectSpineLib.command_line.diagnostic import DIAGNOSTIC_FILES
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.diagnostic.accuracy import bounds_of, diagnose
from CTSpectSpineLib.diagnostic.reference import Observation, read_reference
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.statistics import roc


def observed(condition: bool, ratio: float, patient: str, kind: str = "facet") -> Observation:
    uptake = "positive" if ratio >= 2 else "indeterminate" if ratio >= 1.6 else "negative"
    return Observation(patient, f"L4-L5 {kind}", kind, condition, uptake, ratio, "ratio_corrected")


def made(count: int, seed: int, apart: float = 1.0) -> list[Observation]:
    rng = np.random.default_rng(seed)
    conditions = rng.random(count) < 0.4
    return [
        observed(bool(c), float(1.5 + apart * c + rng.normal(0, 0.6)), f"p{n}")
        for n, c in enumerate(conditions)
    ]


def test_counts_and_rates_by_hand() -> None:
    part = [observed(True, 2.5, "a"), observed(True, 1.7, "b"), observed(True, 1.0, "c")]
    part += [observed(False, 2.1, "d"), observed(False, 1.7, "e"), observed(False, 1.0, "f")]
    part += [Observation("g", "x", "facet", True, "not_measurable", math.nan, "ratio_corrected")]
    strict, wide = diagnose(part).accuracy
    assert (strict.cells.true_positive, strict.cells.false_positive) == (1, 1)
    assert (wide.cells.true_positive, wide.cells.false_positive) == (2, 2)
    assert strict.not_measurable == wide.not_measurable == 1
    assert strict.sensitivity.value == pytest.approx(1 / 3)
    assert wide.likelihood_positive.value == pytest.approx(1.0)
    assert diagnose(part).ratios[0].cut_off is None, "bounds of six joints"


def test_joints_of_a_patient_widen_the_intervals() -> None:
    once = made(60, 1)
    often = [o for o in once for _ in range(8)]
    one, eight = diagnose(once).accuracy[0], diagnose(often).accuracy[0]
    assert eight.sensitivity.value == one.sensitivity.value
    width = one.sensitivity.high - one.sensitivity.low
    assert eight.sensitivity.high - eight.sensitivity.low == pytest.approx(width, rel=0.2)


def test_a_patient_may_have_a_reference_of_each_region(cohort: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("id,region,reference\np00,lumbar,yes\np00,cervical,no\n", encoding="utf-8")
    found = read_reference(path, read_joints(cohort))
    assert [o.condition for o in found] == [True, False]
    path.write_text("id,region,reference\np00,lumbar,yes\np00,lumbar,no\n", encoding="utf-8")
    with pytest.raises(InputError, match="'p00 lumbar' stands in row 2 as well"):
        read_reference(path, read_joints(cohort))


@pytest.mark.parametrize("apart", [0.0, 1.0])
def test_what_is_left_of_a_bound_is_what_it_is_worth_in_new_patients(apart: float) -> None:
    """Over several studies of 40 patients; the truth is known by a large one."""
    new = made(20_000, 999, apart)
    condition = np.array([o.condition for o in new])
    ratio = np.array([o.ratio for o in new])
    here, left, real = [], [], []
    for seed in range(12):
        part = made(40, seed, apart)
        arrays = np.array([o.condition for o in part]), np.array([o.ratio for o in part])
        found = roc.chosen_cut_off(*arrays, range(40), seed=seed)
        here.append(found.sensitivity + found.specificity - 1)
        left.append(found.corrected_sensitivity + found.corrected_specificity - 1)
        real.append(sum(roc.rates(condition, ratio >= found.value.value)) - 1)
    assert np.mean(here) > np.mean(real) + 0.05, "there is no optimism to correct"
    assert abs(np.mean(left) - np.mean(real)) < 0.5 * (np.mean(here) - np.mean(real))


def test_a_likelihood_ratio_without_false_alarms_has_no_upper_end() -> None:
    """One false alarm in two patients with ten joints each; many draws have none."""
    part = [observed(n % 2 == 0, 2.5 if n % 2 == 0 else 1.0, f"p{n // 10}") for n in range(60)]
    part[1] = observed(False, 2.5, "p0")
    found = diagnose(part).accuracy[0].likelihood_positive
    assert found.high == math.inf
    assert math.isfinite(found.low)
    assert found.text().endswith("to ∞)")


def test_bounds_for_a_protocol() -> None:
    found = diagnose(made(80, 3))
    (ratio,) = found.ratios
    assert ratio.cut_off is not None
    bounds = bounds_of(found)["facet"]
    assert bounds["indeterminate"] <= ratio.cut_off.value.value <= bounds["positive"]
    assert bounds["positive"] - ratio.cut_off.value.value < 0.0101
    assert "less optimism" in bounds["source"]
    strict = diagnose(made(80, 3), least_specificity=0.95).ratios[0].cut_off
    assert strict is not None
    assert strict.specificity >= 0.95
    assert strict.value.value >= ratio.cut_off.value.value


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    return write_results(folder, 12, drawn_ratio(1), lambda p, place: (p, place) == (0, 0))


def test_a_reference_of_patients_takes_the_hottest_joint(cohort: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("id,reference\np00,yes\np01,no\np02,\n", encoding="utf-8")
    one, other = read_reference(path, read_joints(cohort))
    ratio = drawn_ratio(1)
    assert one.ratio == max(ratio(0, place) for place in range(1, len(PLACES)))
    assert (other.ratio, other.condition) == (max(ratio(1, n) for n in range(len(PLACES))), False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,reference\np99,yes\n", "row 2, column id: the cohort has no results of 'p99'"),
        ("id,reference\np00,perhaps\n", "row 2, column reference: 'perhaps': give yes or no"),
        ("id,reference\np00,yes\np00,no\n", "row 3, column id: 'p00' stands in row 2 as well"),
        ("id,reference\np00,yes\np01,yes\n", "there must be both yes and no; 2 rows"),
        ("id,joint,reference\np00,L1-L2 disc,yes\n", "row 2, column joint: 'p00' has no joint"),
        ("id,joint,reference\np00,,yes\n", "row 2, column joint: 'p00' has no joint ''"),
        ("id,answer\np00,yes\n", "has no column 'reference'"),
        ("id,region,reference\np00,neck,yes\n", "row 2, column region: 'neck'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    text: str, words: str, cohort: Path, tmp_path: Path
) -> None:
    path = tmp_path / "r.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_reference(path, read_joints(cohort))
    assert words in str(refused.value)


def test_an_excluded_patient_takes_no_part(tmp_path: Path) -> None:
    folder = write_results(tmp_path, 3, drawn_ratio(1))
    rows = [CohortRow(f"p{n:02d}", "excluded" if n == 1 else "complete") for n in range(3)]
    (folder / "cohort.csv").write_text(csv_text(rows), encoding="utf-8")
    assert list(read_joints(folder)) == ["p00", "p02"]


def write_reference(path: Path) -> Path:
    """Joints above a true ratio of 1.9 respond, and some others."""
    rng = np.random.default_rng(2)
    lines = ["id,joint,reference"]
    for patient in range(12):
        for place, names in enumerate(PLACES):
            hot = drawn_ratio(1)(patient, place) > 1.9
            answer = "yes" if hot != (rng.random() < 0.2) else "no"
            lines.append(f"p{patient:02d},{joint_name(*names)},{answer}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_command(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference, out = write_reference(tmp_path / "r.csv"), tmp_path / "out"
    assert main(["diagnostic", str(cohort), str(reference), "--out", str(out)]) == 0
    assert "all, positive: sensitivity" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} - {".ctspectspine-files.json"} == set(DIAGNOSTIC_FILES)
    record = json.loads((out / "diagnostic.json").read_text(encoding="utf-8"))
    assert [r["group"] for r in record["ratios"]] == ["all", "disc", "facet"]
    assert set(record["bounds"]) == {"disc", "facet"}
    with (out / "diagnostic_observations.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12 * len(PLACES)
    whole = record["accuracy"][0]
    hits = [r for r in rows if r["uptake"] == "positive" and r["condition"] == "True"]
    assert whole["true_positive"] == len(hits)
    assert whole["not_measurable"] == 1
    page = (out / "diagnostic.html").read_text(encoding="utf-8")
    assert page.count('role="img"') == 4
    assert str(tmp_path) not in page


def test_a_folder_without_results_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = write_reference(tmp_path / "r.csv")
    words = ["diagnostic", str(tmp_path), str(reference), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "holds no joints.csv" in capsys.readouterr().err
