"""The user's files, command by command: none is overwritten, removed or lost."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.locks import locked
from CTSpectSpineLib.results.folder import MANIFEST, results_folder
from CTSpectSpineLib.results.manifest import SCHEMA
from CTSpectSpineLib.results.text_files import write_json

JOINTS = "level,kind,side,uptake\nL4-L5,disc,,positive\n"


@pytest.fixture
def place(lumbar_phantom: Path, tmp_path: Path) -> Path:
    """A folder of the user with images, labels, a joint table, and files of his own."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("ct", "spect", "vertebrae"):
        shutil.copy(lumbar_phantom / f"{name}.nii.gz", folder)
    (folder / "joints.csv").write_text(JOINTS, encoding="utf-8")
    (folder / "context.json").write_text("{}", encoding="utf-8")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "holiday.png").write_bytes(b"PNG")
    return folder


def everything(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def analysis(folder: Path) -> None:
    with results_folder(folder):
        write_json(folder / MANIFEST, {"schema": SCHEMA, "status": "running"})
        write_json(folder / "verdict.json", {})
        write_json(folder / MANIFEST, {"schema": SCHEMA, "status": "complete"})


def foreign_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"name": "a web page"}', encoding="utf-8")


IMAGES = "--ct MINE/ct.nii.gz --spect MINE/spect.nii.gz"
CASES: dict[str, str] = {
    "pictures are not wiped": f"analyze {IMAGES} --out MINE",
    "labels by hand": "label --ct MINE/ct.nii.gz --vertebrae MINE/vertebrae.nii.gz --out MINE",
    "labels by hand, built-in": "label --ct MINE/ct.nii.gz --labeller builtin --out MINE",
    "registration among inputs": f"register {IMAGES} --out MINE",
    "joints among inputs": "joints --vertebrae MINE/vertebrae.nii.gz --out MINE",
    "shift among inputs": "shift MINE/vertebrae.nii.gz --by 1 --out MINE",
    "phantom among its inputs": "phantom --ct MINE/ct.nii.gz --vertebrae MINE/vertebrae.nii.gz "
    "--out MINE",
    "phantom in a folder in use": "phantom --out MINE",
    "verdict over the joint table": "triage --joints MINE/joints.csv --out MINE/joints.csv",
    "verdict over the context": "triage --joints MINE/joints.csv --context MINE/context.json "
    "--out MINE/context.json",
    "verdict over another file": "triage --joints MINE/joints.csv --out MINE/ct.nii.gz",
    "verdict over a folder": "triage --joints MINE/joints.csv --out MINE",
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("also", [None, foreign_manifest], ids=["plain", "foreign manifest"])
def test_files_of_the_user_stay(
    name: str,
    also: Callable[[Path], None] | None,
    place: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if also is not None:
        also(place)
    before = everything(place)
    assert main([*CASES[name].replace("MINE", str(place)).split(), "--progress", "none"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    assert str(place) in error
    assert everything(place) == before


def test_an_analysis_over_an_earlier_one_keeps_what_the_user_added(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels by hand have the name that an analysis wants: it refuses before it reads anything."""
    results = tmp_path / "results"
    analysis(results)
    shutil.copy(place / "vertebrae.nii.gz", results)
    before = everything(results)
    arguments = ["analyze", "--ct", str(place / "ct.nii.gz"), "--out", str(results)]
    assert main([*arguments, "--spect", str(place / "spect.nii.gz"), "--progress", "none"]) == 2
    error = capsys.readouterr().err
    assert "vertebrae.nii.gz was not written by an earlier run" in error
    assert everything(results) == before


def test_the_registration_of_a_folder_is_an_input_of_it(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    analysis(results)
    before = everything(results)
    arguments = ["analyze", "--ct", str(place / "ct.nii.gz"), "--out", str(results)]
    arguments += ["--spect", str(place / "spect.nii.gz"), "--registration", str(results)]
    assert main([*arguments, "--progress", "none"]) == 2
    assert everything(results) == before


def test_a_second_run_in_a_folder_is_told_who_is_there(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with locked(out, "'ctspectspine label'"):
        code = main(["joints", "--vertebrae", str(place / "vertebrae.nii.gz"), "--out", str(out)])
    error = capsys.readouterr().err
    assert code == 2
    assert "is being written by 'ctspectspine label' (process" in error
    assert len(error.splitlines()) == 1


def test_a_verdict_may_be_written_again(place: Path) -> None:
    arguments = ["triage", "--joints", str(place / "joints.csv"), "--out", str(place / "v.json")]
    assert main(arguments) == 0
    assert main([*arguments, "--protocol", "spinus-1"]) == 0
    assert (
        json.loads((place / "v.json").read_text(encoding="utf-8"))["protocol"]["id"] == "spinus-1"
    )
    (place / "v.json").write_text("{}", encoding="utf-8")
    assert main(arguments) == 2
    assert (place / "v.json").read_text(encoding="utf-8") == "{}"
