"""Commands that are killed or run out of space, and what they touch: a few of each.

All commands many times: ``python -m benchmarks.faults``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from CTSpectSpineLib.command_line import parser
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.command_line.written import WRITTEN

if os.name == "nt":
    pytest.skip("kills are those of POSIX", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from benchmarks.faults import cases, checks, runs

WRITING = tuple(case for case in cases.CASES if "/results" not in case.words)
QUICK = tuple(case for case in cases.CASES if case.name in ("triage", "shift labels"))


@pytest.fixture(scope="module")
def workplace(lumbar_phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> cases.Workplace:
    """Inputs without an analysis."""
    place = cases.Workplace(tmp_path_factory.mktemp("faults") / "work")
    place.inputs.mkdir(parents=True)
    for name in ("ct", "spect", "vertebrae"):
        shutil.copy(lumbar_phantom / f"{name}.nii.gz", place.inputs)
    (place.inputs / "joints.csv").write_text(
        "level,kind,side,uptake\nL4-L5,disc,,positive\n", encoding="utf-8"
    )
    cases.write_cohort(place.inputs)
    cases.write_rows(place.inputs / "rows")
    cases.write_outcomes(place.inputs)
    cases.write_normals(place.inputs / "normals")
    return place


def test_every_command_says_what_it_writes() -> None:
    assert set(WRITTEN) == set(parser._COMMANDS)
    assert {case.command for case in cases.CASES} == {name for name in WRITTEN if WRITTEN[name]}


def test_the_page_of_files_is_up_to_date(repository: Path) -> None:
    spec = importlib.util.spec_from_file_location("files", repository / "docs" / "files.py")
    assert spec is not None
    assert spec.loader is not None
    files = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(files)
    text = (repository / "docs" / "files.md").read_text(encoding="utf-8")
    assert text == files.page(), "write it anew: python docs/files.py"


@pytest.mark.slow
def test_killed_commands_do_not_lie(workplace: cases.Workplace) -> None:
    tallies = runs.kills(workplace, 3, 5, QUICK)
    assert [tally.problems for tally in tallies.values() if tally.problems] == []
    assert sum(tally.faults for tally in tallies.values()) == 3


def test_a_full_disk_is_said_in_one_line(workplace: cases.Workplace) -> None:
    tallies = runs.full_disk(workplace, 2, 5, QUICK)
    assert [tally.problems for tally in tallies.values() if tally.problems] == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no place that nobody can write")
@pytest.mark.parametrize("case", WRITING, ids=lambda case: case.name)
def test_a_place_that_cannot_be_written_is_said_in_one_line(
    case: cases.Case,
    workplace: cases.Workplace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(workplace, "out", Path("/proc/self/nowhere"))
    before = checks.snapshot(workplace.inputs)
    assert main([*workplace.arguments(case), "--progress", "none"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    assert "nowhere" in error
    assert checks.snapshot(workplace.inputs) == before


def test_the_checks_notice_lies(tmp_path: Path) -> None:
    """A folder that says `complete` without its files, or with other ones."""
    place = tmp_path / "out"
    place.mkdir()
    sha = {"a.json": "0" * 64}
    record = {"runs": {"label": {"status": "complete", "files": sha}}}
    record |= {"schema": "ctspectspine-files-1"}
    (place / checks.FILES_RECORD).write_text(json.dumps(record), encoding="utf-8")
    assert "is not there" in next(checks.lies(tmp_path))
    (place / "a.json").write_text("other", encoding="utf-8")
    assert "is not what it wrote" in next(checks.lies(tmp_path))
    assert checks.is_passing("out/.ctspectspine.lock")
    assert checks.is_passing("out/pictures/.ctspectspine-12345678-a.png")
    assert not checks.is_passing(f"out/{checks.FILES_RECORD}")
    case = next(case for case in cases.CASES if case.name == "joints")
    before, after = (
        {"in/ct": "1", "out/joints/joints.csv": "1"},
        {"in/ct": "2", "out/joints/joints.csv": "2"},
    )
    assert checks.touched(case, before, after) == ["in/ct"]


def touch(case: cases.Case, place: cases.Workplace) -> None:
    place.turn_to(case)
    place.clear(case)
    before = checks.snapshot(place.folder)
    code, said = cases.finish(cases.start(place.arguments(case)))
    assert code in case.codes, said
    assert checks.touched(case, before, checks.snapshot(place.folder)) == []


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_a_command_touches_only_what_it_says(case: cases.Case, workplace: cases.Workplace) -> None:
    touch(case, workplace)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> cases.Workplace:
    """Inputs of all commands."""
    return cases.prepare(tmp_path_factory.mktemp("all") / "work")


@pytest.mark.slow
def test_all_commands_touch_only_what_they_say(prepared: cases.Workplace) -> None:
    for case in cases.CASES:
        touch(case, prepared)


@pytest.mark.slow
def test_all_commands_survive_kills_and_full_disks(prepared: cases.Workplace) -> None:
    for tallies in (runs.kills(prepared, 13, 2), runs.full_disk(prepared, 13, 2)):
        assert [problem for tally in tallies.values() for problem in tally.problems] == []
