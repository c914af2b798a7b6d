"""A command as a child process: progress, the end, the kill of all that it started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from process_state import gone

from CTSpectSpineLib.command_line import child
from CTSpectSpineLib.command_line.child import (
    ChildProcess,
    TimeLeft,
    failure_sentence,
    parse_progress,
    time_text,
)


def wait(process: ChildProcess, seconds: float = 600.0) -> list[str]:
    end = time.monotonic() + seconds
    stages = []
    while process.code is None:
        assert time.monotonic() < end, process.lines
        stages += [progress.stage for progress in process.poll()]
        time.sleep(0.05)
    return stages


def test_bad_input_becomes_one_sentence(tmp_path: Path) -> None:
    arguments = ["analyze", "--ct", str(tmp_path / "no.nrrd"), "--spect", "x", "--out", "y"]
    process = ChildProcess(arguments, tmp_path / "log.txt")
    wait(process)
    assert process.code == 2
    assert str(tmp_path / "no.nrrd") in process.failure()
    assert "\n" not in process.failure()


def test_kill_ends_grandchildren_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A Python program that starts another and tells its number, in place of an analysis.
    code = (
        "import subprocess, sys, time; "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "print('child', p.pid, flush=True); time.sleep(600)"
    )
    monkeypatch.setattr(child, "_START", code)
    process = ChildProcess([], tmp_path / "log.txt")
    while not process.lines:
        process.poll()
        time.sleep(0.05)
    grandchild = int(process.lines[0].split()[1])
    assert not gone(grandchild)
    process.kill()
    process.kill()
    assert process.code is not None
    deadline = time.monotonic() + 300
    while not gone(grandchild):
        assert time.monotonic() < deadline, "the grandchild survived"
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="asks /proc")
def test_child_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from CTSpectSpineLib.command_line import child\n"
        "child._START = ('import sys, time; sys.path.insert(0, sys.argv.pop(1)); '\n"
        "    'from CTSpectSpineLib.command_line import child; import threading; '\n"
        "    'child._LOOK_AGAIN_SECONDS = 0.1; '\n"
        "    'threading.Thread(target=child._end_with, args=(int(sys.argv[1]),)).start(); '\n"
        "    'time.sleep(600)')\n"
        "process = child.ChildProcess([], Path(sys.argv[1]))\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(1.0)\n"
        "os._exit(1)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log.txt")],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    pid = int(result.stdout.split()[0])
    deadline = time.monotonic() + 300
    while not gone(pid):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.1)


def test_progress_lines() -> None:
    line = json.dumps({"stage": "register", "fraction": 0.25, "message": "Searching"})
    progress = parse_progress(line)
    assert progress is not None
    assert (progress.stage, progress.fraction, progress.message) == ("register", 0.25, "Searching")
    for other in ("", "Registration: good", "{broken", '{"stage": "x"}', '{"stage": 1, "a": 2}'):
        assert parse_progress(other) is None


@pytest.mark.parametrize(
    ("code", "lines", "parts"),
    [
        (2, ["[ 3%] Reading", "ctspectspine: x.nrrd is no CT; give another."], ["x.nrrd is no CT"]),
        (2, ["ctspectspine: give a CT."], ["Give a CT."]),
        (70, ["ValueError: 3", "ctspectspine: this is a defect; please"], ["defect", "ValueError"]),
        (-9, [], ["unexpectedly", "SIGKILL", "memory"]),
        (-11, ["Segmentation"], ["SIGSEGV", "Segmentation"]),
        (3, ["ImportError: x"], ["exit code 3", "ImportError"]),
    ],
)
def test_every_end_is_one_readable_sentence(code: int, lines: list[str], parts: list[str]) -> None:
    sentence = failure_sentence(code, lines)
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    for part in parts:
        assert part in sentence


def test_time_left_waits_until_it_can_be_known() -> None:
    now = [0.0]
    left = TimeLeft(clock=lambda: now[0])
    assert left.update(0.01) is None
    now[0] = 10.0
    assert left.update(0.5) == pytest.approx(10.0)
    now[0] = 20.0
    assert left.update(1.0) == pytest.approx(5.0), "jumps are smoothed"
    assert time_text(7) == "about 5 s"
    assert time_text(33) == "about 35 s"
    assert time_text(140) == "about 2 min"


def test_environment_hides_slicers_image_readers() -> None:
    changed = child.environment({"ITK_AUTOLOAD_PATH": "/slicer", "PATH": "/bin"})
    assert "ITK_AUTOLOAD_PATH" not in changed
    assert changed["PATH"] == "/bin"
    assert changed["MPLBACKEND"] == "Agg"
