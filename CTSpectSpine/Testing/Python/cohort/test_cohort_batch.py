"""A batch: who is analysed, what is kept, what the tables say."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cohort_case import JOINTS, Analyses, make_patients
from hypothesis import given, settings
from hypothesis import strategies as st

from CTSpectSpineLib.cohort.page import render, write_page
from CTSpectSpineLib.cohort.record import place, unfinished
from CTSpectSpineLib.cohort.run import Batch, run_batch
from CTSpectSpineLib.cohort.summary import (
    COHORT,
    FAILURES,
    FILES,
    PAGE,
    REVIEW,
    CohortSummary,
    write_tables,
)
from CTSpectSpineLib.cohort.summary import JOINTS as ALL_JOINTS
from CTSpectSpineLib.cohort.table import CohortPatient
from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.progress import Progress, silent


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("CTSpectSpineLib.cohort.run._LOOK_SECONDS", 0.0)


def run(
    folder: Path,
    patients: Sequence[CohortPatient],
    analyses: Analyses | None = None,
    workers: int = 2,
    **changed: object,
) -> list[str]:
    scratch = folder.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    batch = replace(Batch(folder, workers=workers), **changed)  # type: ignore[arg-type]
    return run_batch(batch, patients, analyses or Analyses(), scratch, silent)


def rows(path: Path) -> list[dict[str, str]]:
    """A table without what differs from run to run."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def tables(folder: Path, patients: Sequence[CohortPatient]) -> dict[str, list[dict[str, str]]]:
    write_tables(folder, patients)
    return {name: rows(folder / name) for name in FILES if name != PAGE}


def test_tables_of_a_cohort(tmp_path: Path) -> None:
    patients = make_patients(tmp_path, 4)
    folder = tmp_path / "out"
    analyses = Analyses(fails=["p01"], refused=["p02"])
    assert run(folder, patients, analyses) == ["p00", "p01", "p02", "p03"]
    assert analyses.most == 2
    found = tables(folder, patients)
    cohort = {row["id"]: row for row in found[COHORT]}
    assert [row["status"] for row in found[COHORT]] == ["complete", "error", "failed", "complete"]
    assert cohort["p03"]["positive_joints"] == JOINTS[0]
    assert cohort["p01"]["reason"] == "p01: damaged.", "a folder is named"
    assert (cohort["p02"]["expected_error_mm"], cohort["p00"]["expected_error_mm"]) == ("", "1.5")
    assert (cohort["p00"]["level_status"], cohort["p02"]["level_status"]) == (
        *("unconfirmed", "confirmed"),
    )
    assert [row["id"] for row in found[FAILURES]] == ["p01", "p02"]
    assert [row["id"] for row in found[REVIEW]] == ["p01", "p02", "p00", "p03"]
    assert found[REVIEW][3]["why"] == "registration to check; levels unconfirmed"
    assert len(found[ALL_JOINTS]) == 3 * len(JOINTS)
    assert found[ALL_JOINTS][0]["id"] == "p00"


def test_what_the_page_counts(tmp_path: Path) -> None:
    patients = make_patients(tmp_path, 4)
    run(tmp_path / "out", patients)
    summary = write_tables(tmp_path / "out", patients)
    assert summary.dispositions == {"lumbar_disc": 4}
    disc, facet = summary.levels
    assert (disc.measured, disc.positive, disc.share) == (4, 2, 0.5)
    assert disc.median == pytest.approx(1.015)
    # Wilson's interval for 2 of 4, as published tables have it.
    assert (disc.low, disc.high) == (pytest.approx(0.150, abs=5e-4), pytest.approx(0.850, abs=5e-4))
    assert facet.measured == 4, "a joint that is not measurable was counted"
    text = write_page(tmp_path / "out", summary).read_text(encoding="utf-8")
    assert "Cohort of 4 patients" in text
    assert "http" not in text.replace("http-equiv", ""), "the page asks a network"


def test_hostile_names_stay_text() -> None:
    """Reasons hold what files say."""
    from CTSpectSpineLib.cohort.rows import CohortRow

    row = CohortRow("a", "error", reason="</script><script>alert(1)</script>\u2028<b>")
    text = render(CohortSummary((row,), {}, ()))
    assert "<script>alert" not in text
    assert "<b>" not in text
    start = text.index('id="rows">') + len('id="rows">')
    data = json.loads(text[start : text.index("</script>", start)])
    assert data[0][11] == row.reason


@settings(max_examples=8, deadline=None)
@given(at=st.lists(st.integers(1, 30), min_size=1, max_size=3), workers=st.integers(1, 3))
def test_interrupted_anywhere_and_resumed_is_as_if_never_interrupted(
    at: list[int], workers: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("cohort")
    patients = make_patients(base, 3)
    kind = {"fails": ["p01"], "refused": ["p02"]}
    run(base / "whole", patients, Analyses(**kind))

    def stop() -> None:
        raise Cancelled

    for number in at:
        try:
            run(base / "cut", patients, Analyses(**kind, at=number, disturb=stop), workers)
        except Cancelled:
            tables(base / "cut", patients)
    last = Analyses(**kind)
    run(base / "cut", patients, last, workers)
    assert tables(base / "cut", patients) == tables(base / "whole", patients)
    assert run(base / "cut", patients) == ["p01"], "finished patients were analysed again"


def test_what_changed_is_analysed_again(tmp_path: Path) -> None:
    patients = make_patients(tmp_path, 3)
    folder = tmp_path / "out"
    run(folder, patients)
    assert run(folder, patients) == []
    older = replace(patients[1], context={"age_years": 80})
    assert run(folder, [patients[0], older, patients[2]]) == ["p01"]
    assert patients[2].ct is not None
    patients[2].ct.write_text("another", encoding="utf-8")
    assert run(folder, [patients[0], older, patients[2]]) == ["p02"]
    assert run(folder, [patients[0], older, patients[2]], arguments=("--seed=2",)) == [
        *("p00", "p01", "p02"),
    ]


def test_a_copy_of_an_input_is_the_same_input(tmp_path: Path) -> None:
    (patient,) = make_patients(tmp_path, 1)
    run(tmp_path / "out", [patient])
    assert patient.ct is not None
    content = patient.ct.read_bytes()
    patient.ct.unlink()
    patient.ct.write_bytes(content)
    assert run(tmp_path / "out", [patient]) == []


@pytest.mark.parametrize("name", ["joints.csv", "verdict.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_damaged_result_is_made_again(name: str, damage: str, tmp_path: Path) -> None:
    (patient,) = make_patients(tmp_path, 1)
    folder = tmp_path / "out"
    run(folder, [patient])
    path = folder / patient.id / name
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5])
    batch = Batch(folder)
    assert unfinished(folder, patient, batch.settings(patient))


def test_without_its_record_a_patient_is_not_finished(tmp_path: Path) -> None:
    (patient,) = make_patients(tmp_path, 1)
    folder = tmp_path / "out"
    run(folder, [patient])
    place(folder, patient.id).write_text("{", encoding="utf-8")
    assert run(folder, [patient]) == ["p00"]


def test_a_missing_input_fails_one_patient(tmp_path: Path) -> None:
    patients = make_patients(tmp_path, 2)
    assert patients[0].ct is not None
    patients[0].ct.unlink()
    run(tmp_path / "out", patients)
    found = tables(tmp_path / "out", patients)[COHORT]
    assert [row["status"] for row in found] == ["error", "complete"]
    assert (
        found[0]["reason"] == "ct0.nii does not exist; correct where the ct of p00 is said to be."
    )


def test_a_damaged_folder_is_a_row_and_not_the_end(tmp_path: Path) -> None:
    patients = make_patients(tmp_path, 2)
    run(tmp_path / "out", patients)
    (tmp_path / "out" / "p00" / "verdict.json").write_text("[]", encoding="utf-8")
    shutil.rmtree(tmp_path / "out" / "p01")
    found = tables(tmp_path / "out", patients)[COHORT]
    assert [row["status"] for row in found] == ["error", "error"]
    assert "verdict.json" in found[0]["reason"]


def test_progress_says_what_runs_and_what_it_takes(tmp_path: Path) -> None:
    patients = make_patients(tmp_path, 3)
    heard: list[Progress] = []
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    batch = Batch(tmp_path / "out", workers=2)
    run_batch(batch, patients, Analyses(fails=["p00"]), scratch, heard.append)
    assert "2400 MB for 2 at a time" in heard[0].message
    assert heard[-1].message == "3 of 3 patients done; 1 failed"
    assert [p.fraction for p in heard] == sorted(p.fraction for p in heard)
    with pytest.raises(InputError, match="workers is 0"):
        Batch(tmp_path, workers=0)
