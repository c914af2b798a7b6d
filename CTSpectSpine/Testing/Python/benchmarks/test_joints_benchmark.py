"""The comparison of joints with truth: scores, wrong labels, grids and document."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

sys.path.append(str(Path(__file__).resolve().parents[4]))

from benchmarks.joints import cohort, labellers
from benchmarks.joints.document import Tables, write_document
from benchmarks.joints.grids import GRIDS, resampled
from benchmarks.joints.measure import CONDITIONS, measure_spine
from benchmarks.joints.mixing import Mixed, mixed_levels
from benchmarks.joints.scores import Score, dice, scores
from benchmarks.joints.speed import Speed
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy


@pytest.fixture(scope="module")
def spine() -> Anatomy:
    config = SpineConfig(
        seed=30060, spacing_mm=1.5, first="L3", last="L5", lateral_mm=120, ap_mm=140, margin_mm=10
    )
    return make_anatomy(config)


def cube(origin: float) -> Region:
    matrix = np.eye(4)
    matrix[0, 3] = origin
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[1:11, 1:11, 1:11] = True
    return Region(mask, matrix)


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 1.0), (5.0, 0.5), (20.0, 0.0)])
def test_dice_of_shifted_cubes(shift: float, expected: float) -> None:
    assert dice(cube(0.0), cube(shift)) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("name", GRIDS)
def test_a_changed_grid_keeps_the_labels_where_they_are(name: str, spine: Anatomy) -> None:
    volume = GRIDS[name](spine.labels, np.random.default_rng(5))
    assert not np.allclose(volume.matrix, ijk_to_lps(spine.labels))
    old = sitk.GetArrayViewFromImage(spine.labels)
    label = int(old[old > 0][0])
    points = [
        apply_matrix(matrix, np.argwhere(array == label)[:, ::-1].astype(float)).mean(axis=0)
        for array, matrix in ((old, ijk_to_lps(spine.labels)), (volume.array, volume.matrix))
    ]
    assert np.linalg.norm(points[0] - points[1]) < 0.5
    count = [np.count_nonzero(a == label) for a in (old, volume.array)]
    # A shear keeps the volume of a voxel.
    assert count[1] == pytest.approx(count[0], rel=0.03)


def test_resampling_to_the_same_grid_changes_nothing(spine: Anatomy) -> None:
    same = resampled(spine.labels, ijk_to_lps(spine.labels))
    assert np.array_equal(same.array, sitk.GetArrayViewFromImage(spine.labels))


def test_wrong_labels_are_made_and_caught(spine: Anatomy) -> None:
    rows = list(mixed_levels(spine.labels, spine.ct, "phantom", "lumbar", 1, shares=(0.2,)))
    right = [row for row in rows if row.share == 0]
    assert {row.level for row in right} >= {"L3-L4", "L4-L5"}
    assert all(row.caught == 0 for row in right)
    wrong = [row for row in rows if row.share > 0 and row.level in ("L3-L4", "L4-L5")]
    assert len(wrong) == 4
    assert all(row.located == row.caught for row in wrong)
    assert all(row.located > 0 for row in wrong)


def test_a_joint_that_is_not_there_counts_as_lost(spine: Anatomy) -> None:
    found = build_joints(spine.labels)
    rows = list(scores(found, spine.joints, "as built", "lumbar", 0))
    assert [row.joint for row in rows] == [joint.id for joint in spine.joints]
    assert all(row.located for row in rows)
    none = sitk.Threshold(spine.labels, 29, 29)
    lost = list(scores(build_joints(none), spine.joints, "as built", "lumbar", 0))
    assert not any(row.located for row in lost)


def test_spines_of_the_cohort_differ_and_cover_all_regions() -> None:
    cases = [cohort.case(cohort.UNSEEN_FROM, number) for number in range(6)]
    assert {c.region for c in cases} == set(cohort.REGIONS)
    assert len({c.config.size for c in cases}) == 6
    assert cohort.case(cohort.UNSEEN_FROM, 2) == cases[2]
    assert cohort.transitional(cases[0]) is None
    assert all(cohort.degenerate(c).config.degenerate for c in cases)


def test_the_document_says_which_goals_are_missed(tmp_path: Path) -> None:
    def row(condition: str, joint: str, kind: str, value: float, region: str = "lumbar") -> Score:
        name = "dice" if kind == "disc" else "error_mm"
        return Score(condition, region, 0, joint, kind, True, False, **{name: value})

    rows = [
        row(condition, joint, kind, value)
        for condition in CONDITIONS
        for joint, kind, value in (
            ("L4-L5 disc", "disc", 0.93),
            ("L4-L5 facet left", "facet", 4.2 if "5 mm" in condition else 0.6),
        )
    ]
    wrong = Mixed("phantom", "lumbar", 0, "L4-L5", 0.2, "top", True, located=3, caught=2)
    timed = Speed((512, 512, 600), 24, 71, 4.0, 4.0, 120.0, with_ct=False)
    tables = Tables(
        pd.DataFrame([asdict(r) for r in rows]),
        pd.DataFrame([asdict(wrong)]),
        pd.DataFrame([asdict(timed)]),
    )
    tables.write(tmp_path / "rows")
    write_document(Tables.read(tmp_path / "rows"), tmp_path / "joints.md")
    text = (tmp_path / "joints.md").read_text(encoding="utf-8")
    assert "| discs, as built, 1 mm voxels | mean ≥ 0.90 | 0.930 | yes |" in text
    assert "slices of 5 mm: mean facet error 4.20 mm" in text
    assert "0 of 1 levels | **no**" in text
    assert (tmp_path / "joints_errors.png").stat().st_size > 1000


@pytest.mark.slow
def test_one_spine_of_the_cohort_in_every_condition() -> None:
    found, wrong = measure_spine(30070, 2)
    assert {row.condition for row in found} == set(CONDITIONS)
    assert all(row.located for row in found)
    assert all(row.caught == row.located for row in wrong if row.share > 0)


def test_the_page_on_labellers_has_a_row_per_group_and_counts_what_is_lost() -> None:
    row = {"ct": "a CT", "how": "built-in", "joint": "", "mark": "place", "located": True}
    values = [("L3", 2.0, 0.5, 1.8), ("L4", 4.0, 0.7, 2.0), ("T5", 1.0, 0.6, 1.9)]
    rows = [
        row | {"upper": upper, "error_mm": error, "dice": dice, "uptake": uptake}
        for upper, error, dice, uptake in values
    ]
    lost = {"upper": "L5", "located": False, "mark": "", "error_mm": np.nan, "uptake": np.nan}
    text = labellers.document(pd.DataFrame([*rows, rows[0] | lost | {"dice": 0.0}]))
    assert "| a CT | L3-L4 to L5-S1 | built-in | 3 | 2 | 0 | 1 | 3.00 | 4.0 | 0.40 | 1.90 |" in text
    assert (
        "| a CT | T2-T3 to T12-L1 | built-in | 1 | 1 | 0 | 0 | 1.00 | 1.0 | 0.60 | 1.90 |" in text
    )
