"""The command ``batch`` with real analyses."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from CTSpectSpineLib.command_line.main import main

LIBRARY = Path(__file__).resolve().parents[3]
_COUNT = 24


def write_cohort(path: Path, phantom: Path, count: int, labels: str = "vertebrae") -> Path:
    images = [phantom / f"{name}.nii.gz" for name in ("ct", "spect", labels)]
    lines = ["id,ct,spect,vertebrae"]
    lines += [f"p{n:02d},{images[0]},{images[1]},{images[2]}" for n in range(count)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def test_a_batch_is_not_begun_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out" / "batch").mkdir(parents=True)
    cohort = tmp_path / "c.csv"
    cohort.write_text("id,ct,spect\na,c,s\n", encoding="utf-8")
    assert main(["batch", str(cohort), "--out", str(tmp_path / "out")]) == 2
    assert "give --resume" in capsys.readouterr().err
    assert main(["batch", str(cohort), "--out", str(tmp_path / "new"), "--protocol", "x"]) == 2


@pytest.mark.parametrize("option", ["--anchor=L5@0,0,0", "--confirm-levels", "--registration=x"])
def test_what_holds_for_one_patient_is_not_taken_for_all(option: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["batch", "c.csv", "--out", str(tmp_path / "out"), option])


@pytest.mark.slow
def test_a_patient_is_analysed_as_the_command_line_does(
    lumbar_phantom: Path,
    lumbar_results: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cohort = write_cohort(tmp_path / "c.csv", lumbar_phantom, 1)
    out = tmp_path / "out"
    assert main(["batch", str(cohort), "--out", str(out), "--json", "--progress", "none"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["patients"], said["failed"]) == (1, 0)
    for name in ("joints.csv", "verdict.json", "spect_to_ct.tfm", "joints.seg.nrrd"):
        assert (out / "p00" / name).read_bytes() == (lumbar_results / name).read_bytes(), name


@pytest.mark.slow  # two dozen analyses
def test_killed_and_resumed_as_if_never_killed(lumbar_phantom: Path, tmp_path: Path) -> None:
    """All patients have the same images: one that was never killed tells what all must find."""
    words = [sys.executable, "-m", "CTSpectSpineLib", "batch"]
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}

    def start(count: int, out: Path, *more: str) -> subprocess.Popen[bytes]:
        cohort = write_cohort(tmp_path / f"{count}.csv", lumbar_phantom, count, "two")
        given = [str(cohort), "--workers", "2", "--out", str(out), "--progress", "none", *more]
        return subprocess.Popen(
            [*words, *given],
            env=environment,
            stdout=subprocess.DEVNULL,
        )

    begin = time.monotonic()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(1, whole).wait() == 0
    seconds = (time.monotonic() - begin) * _COUNT / 2
    draw = random.Random(3)
    for _ in range(5):
        child = start(_COUNT, cut, "--resume")
        time.sleep(draw.uniform(0.05, 0.2) * seconds)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        time.sleep(3)  # its analyses look for it every two seconds
    assert start(_COUNT, cut, "--resume").wait() == 0
    for name in ("cohort.csv", "joints_all.csv", "failures.csv", "review.csv"):
        alone = table(whole / name)
        expected = [
            {key: value.replace("p00", f"p{n:02d}") for key, value in row.items()}
            for n in range(_COUNT)
            for row in alone
        ]
        assert table(cut / name) == expected, name
    assert len(table(cut / "joints_all.csv")) >= 3 * _COUNT
    left = [p.name for p in cut.rglob(".ctspectspine-*") if p.name != ".ctspectspine-files.json"]
    assert left == []
