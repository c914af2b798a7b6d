"""Output folders: nothing is lost, nothing half-written looks complete, cancelling is clean."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import SimpleITK as sitk

import CTSpectSpineLib
from CTSpectSpineLib.command_line.main import _without_exponent, main
from CTSpectSpineLib.command_line.parser import build_parser
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.folder import MANIFEST, results_folder
from CTSpectSpineLib.results.manifest import SCHEMA
from CTSpectSpineLib.results.text_files import write_json


def status(folder: Path) -> str:
    return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["status"])


def make_analysis(folder: Path, *names: str) -> None:
    """A results folder with some files, as an earlier analysis would have left it."""
    with results_folder(folder):
        write_json(folder / MANIFEST, {"schema": SCHEMA, "status": "running"})
        for name in names:
            write_json(folder / name, {})
        write_json(folder / MANIFEST, {"schema": SCHEMA, "status": "complete"})


def inputs(phantom: Path, *names: str) -> list[str]:
    return [part for name in names for part in (f"--{name}", str(phantom / f"{name}.nii.gz"))]


def test_a_step_may_run_twice_into_its_folder(lumbar_phantom: Path, tmp_path: Path) -> None:
    labels = str(lumbar_phantom / "two.nii.gz")
    arguments = ["joints", "--vertebrae", labels, "--out", str(tmp_path / "j")]
    assert main(arguments) == 0
    first = (tmp_path / "j" / "joints.csv").read_bytes()
    assert main(arguments) == 0
    assert (tmp_path / "j" / "joints.csv").read_bytes() == first


def test_a_step_never_clears_an_analysis(lumbar_phantom: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    make_analysis(folder, "verdict.json", "joints.csv")
    arguments = ["joints", *inputs(lumbar_phantom, "vertebrae"), "--out", str(folder)]
    assert main(arguments) == 2
    assert sorted(p.name for p in folder.iterdir()) == ["joints.csv", MANIFEST, "verdict.json"]


def test_an_input_in_the_output_folder_is_refused_and_kept(
    lumbar_phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results"
    make_analysis(folder)
    labels = folder / "vertebrae.nii.gz"
    labels.write_bytes((lumbar_phantom / "vertebrae.nii.gz").read_bytes())
    arguments = ["analyze", *inputs(lumbar_phantom, "ct", "spect"), "--vertebrae", str(labels)]
    assert main([*arguments, "--out", str(folder)]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert labels.is_file()


def test_a_bad_input_leaves_an_earlier_result_alone(lumbar_phantom: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    make_analysis(folder, "verdict.json")
    arguments = ["analyze", *inputs(lumbar_phantom, "ct", "spect"), "--out", str(folder)]
    assert main([*arguments, "--vertebrae", str(tmp_path / "typo.nii.gz")]) == 2
    assert (folder / "verdict.json").is_file()


def test_bad_input_prints_one_line_also_with_default_progress(
    lumbar_phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["analyze", *inputs(lumbar_phantom, "ct", "spect"), "--out", str(tmp_path / "r")]
    assert main([*arguments, "--vertebrae", str(tmp_path / "typo.nii.gz")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with (
        pytest.raises(InputError, match="is a file"),
        results_folder(tmp_path / "file" / "results"),
    ):
        pass


def test_a_single_vertebra_gives_no_joint(
    lumbar_phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = sitk.ReadImage(str(lumbar_phantom / "vertebrae.nii.gz"))
    alone = tmp_path / "alone.nii.gz"
    sitk.WriteImage(labels * sitk.Cast(labels == 29, labels.GetPixelID()), str(alone))
    assert main(["joints", "--vertebrae", str(alone), "--out", str(tmp_path / "j")]) == 2
    assert "alone.nii.gz" in capsys.readouterr().err
    arguments = ["analyze", *inputs(lumbar_phantom, "ct", "spect"), "--vertebrae", str(alone)]
    assert main([*arguments, "--out", str(tmp_path / "r")]) == 2


def test_scene_without_slicer_is_refused_before_any_work(
    lumbar_phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "slicer", None)
    arguments = ["analyze", *inputs(lumbar_phantom, "ct", "spect", "vertebrae"), "--save-scene"]
    assert main([*arguments, "--out", str(tmp_path / "r")]) == 2
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels_with_130_and_the_manifest_says_so(
    number: signal.Signals, lumbar_phantom: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "r"
    arguments = ["analyze", *inputs(lumbar_phantom, "ct", "spect", "vertebrae")]
    # Started in the background, a test run may hand down an ignored interrupt.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += (
        f"import sys; sys.path.insert(0, {str(Path(CTSpectSpineLib.__file__).parents[1])!r}); "
    )
    program += "from CTSpectSpineLib.command_line.main import main; sys.exit(main(sys.argv[1:]))"
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments, "--out", str(folder), "--progress", "none"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 600
    while not (folder / MANIFEST).is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(number)
    _, error = child.communicate(timeout=600)
    assert child.returncode == 130, error
    assert error.strip() == "ctspectspine: cancelled"
    assert status(folder) == "failed"
    assert not (folder / "verdict.json").exists()
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []


def test_a_defect_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from CTSpectSpineLib.command_line import single_stages

    def broken(options: object) -> int:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(single_stages, "report", broken)
    assert main(["report", str(tmp_path)]) == 70
    assert "broken on purpose" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "plain"),
    [("-1e-3", "-0.001"), ("-2.5E+1", "-25"), ("-.5e1", "-5"), ("--ct", "--ct"), ("-1", "-1")],
)
def test_negative_numbers_with_exponent_are_numbers(word: str, plain: str) -> None:
    """argparse by itself takes ``-1e-3`` for an option."""
    options = build_parser().parse_args(
        ["phantom", "--out", "x", "--translation", "1", _without_exponent("-1e-3"), "2"]
    )
    assert options.translation == [1.0, -0.001, 2.0]
    assert _without_exponent(word) == plain
