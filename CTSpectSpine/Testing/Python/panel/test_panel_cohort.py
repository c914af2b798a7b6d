"""A cohort from Slicer's Python console."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import slicer_host

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.processes import is_alive
from CTSpectSpineLib.progress import Progress

MODULE = Path(__file__).resolve().parents[3]
RESULTS = ("joints.csv", "verdict.json", "spect_to_ct.tfm", "vertebrae.json")


@pytest.fixture(scope="module")
def logic() -> Any:
    code, _ = slicer_host.load_module(MODULE / "CTSpectSpine.py")
    return code.CTSpectSpineLogic()


def cohort_of(folder: Path, phantom: Path, count: int) -> Path:
    names = ("ct", "spect", "vertebrae")
    paths = [str(phantom / f"{name}.nii.gz") for name in names]
    lines = [",".join(("id", *names)), *(",".join((f"p{n}", *paths)) for n in range(count))]
    path = folder / "cohort.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_cohort_file_that_cannot_be_used_is_one_sentence(logic: Any, tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"
    path.write_text("id,ct\np1,a\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"cohort\.csv, row 2: ct given; give 'ct' and 'spect'"):
        logic.processCohort(path, tmp_path / "out")
    with pytest.raises(InputError, match="unit 'kg' is not known"):
        logic.processCohort(path, tmp_path / "out", unit="kg")


def test_cancelled_by_the_progress_it_ends(
    logic: Any, lumbar_phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[int] = []
    from CTSpectSpineLib.panel import cohort

    class Watched(cohort.ChildProcess):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            children.append(self.pid)

    def cancel(progress: Progress) -> None:
        raise Cancelled

    monkeypatch.setattr(cohort, "ChildProcess", Watched)
    with pytest.raises(Cancelled):
        logic.processCohort(
            cohort_of(tmp_path, lumbar_phantom, 1), tmp_path / "out", progress=cancel
        )
    assert [is_alive(pid) for pid in children] == [False]


@pytest.mark.slow  # four analyses
def test_the_folders_are_those_of_the_command_line(
    logic: Any, lumbar_phantom: Path, tmp_path: Path
) -> None:
    path = cohort_of(tmp_path, lumbar_phantom, 2)
    heard: list[Progress] = []
    page = logic.processCohort(path, tmp_path / "console", workers=2, progress=heard.append)
    assert page == tmp_path / "console" / "cohort.html"
    assert heard[-1].message == "2 of 2 patients done"
    assert main(["batch", str(path), "--out", str(tmp_path / "line"), "--progress", "none"]) == 0
    for patient in ("p0", "p1"):
        for name in RESULTS:
            one, other = (tmp_path / place / patient / name for place in ("console", "line"))
            assert one.read_bytes() == other.read_bytes(), name
