"""Nothing calls home, and nothing is left outside the results: no new file, no connection."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import CTSpectSpineLib
from CTSpectSpineLib.labelling.totalsegmentator import labeller
from CTSpectSpineLib.labelling.totalsegmentator.run import stay_offline

LIBRARY = Path(CTSpectSpineLib.__file__).parents[1]
FONTS = "matplotlib/fontlist-"
"""Matplotlib's list of the installed fonts: the one thing that is kept outside the results."""
_NOT_OURS = ("XDG_", "ORT_", "MPL", "CI", "GITHUB_", "TF_BUILD")
"""Variables that the commands do not see: programs that report may not on a build server."""
_WATCH = """
import sys
sys.path.insert(0, sys.argv.pop(1))
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"):
        seen.append(f"{event} {arguments[1:]}")
sys.addaudithook(watch)
"""
_COMMAND = f"""{_WATCH}
from CTSpectSpineLib.command_line.main import main
code = main(sys.argv[1:])
print("\\nSEEN", seen)
sys.exit(code)
"""
_NETWORK = f"""{_WATCH}
import numpy as np
from CTSpectSpineLib.labelling.builtin.network import load_network
load_network().run(np.zeros((8, 8, 8), np.float32))
print("SEEN", seen)
"""


def run(
    home: Path, arguments: list[str], program: str = _COMMAND, **more: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a command in a home folder of its own; also what its native code did with sockets."""
    home.mkdir(exist_ok=True)
    (home / "tmp").mkdir(exist_ok=True)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(_NOT_OURS)},
        **{"HOME": str(home), "USERPROFILE": str(home), "TMPDIR": str(home / "tmp"), **more},
    }
    command = [sys.executable, "-c", program, str(LIBRARY), *arguments]
    trace = home.with_suffix(".trace")
    if shutil.which("strace"):
        what = "trace=connect,sendto,sendmsg"
        command = ["strace", "-f", "-qq", "-e", what, "-o", str(trace), *command]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=600
    )
    calls = trace.read_text(encoding="utf-8").splitlines() if trace.is_file() else []
    return done, [call for call in calls if "AF_INET" in call]


def left_in(home: Path) -> list[str]:
    files = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    return [name for name in files if FONTS not in name]


ON_WINDOWS = pytest.mark.skipif(os.name == "nt", reason="HOME is asked for in another way")


@ON_WINDOWS
def test_the_network_reports_to_nobody(tmp_path: Path) -> None:
    """The built-in labeller runs on ONNX Runtime, which reports to its maker if it is let."""
    done, calls = run(tmp_path / "home", [], _NETWORK)
    assert done.stdout.strip() == "SEEN []", done.stderr
    assert calls == []
    assert left_in(tmp_path / "home") == []


@ON_WINDOWS
@pytest.mark.slow
def test_a_whole_analysis_leaves_nothing_behind(lumbar_phantom: Path, tmp_path: Path) -> None:
    """Nothing but its results, which name no folder of this computer."""
    home, out = tmp_path / "home", tmp_path / "results"
    arguments = ["analyze", "--labeller", "builtin", "--out", str(out), "--threads", "1"]
    for name in ("ct", "spect"):
        arguments += [f"--{name}", str(lumbar_phantom / f"{name}.nii.gz")]
    done, calls = run(home, arguments)
    assert done.returncode in (0, 1), done.stderr
    assert "SEEN []" in done.stdout
    assert calls == []
    assert left_in(home) == []
    assert (out / "report.html").is_file()
    for path in (path for path in out.rglob("*") if path.is_file()):
        for folder in (tmp_path, lumbar_phantom):
            assert str(folder).encode() not in path.read_bytes(), path


@ON_WINDOWS
def test_the_watch_sees_what_would_be_left(tmp_path: Path) -> None:
    """ONNX Runtime by itself, where it is a build that reports."""
    program = "import sys; sys.argv.pop(1); import onnxruntime"
    run(tmp_path / "home", [], program)
    package = Path(__import__("importlib.util").util.find_spec("onnxruntime").origin).parent
    reports = "ORT_DISABLE_TELEMETRY" in (package / "Privacy.md").read_text(encoding="utf-8")
    if not reports:
        pytest.skip("this build of ONNX Runtime does not report")
    assert left_in(tmp_path / "home"), "nothing is left: the other tests show nothing"


def test_totalsegmentator_is_kept_offline_and_away_from_home(tmp_path: Path) -> None:
    environment = labeller._environment(tmp_path / "home", tmp_path)
    assert environment["ORT_DISABLE_TELEMETRY"] == environment["HF_HUB_OFFLINE"] == "1"
    for name in ("TOTALSEG_HOME_DIR", "XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCH_HOME"):
        assert environment[name] == str(tmp_path / "home")
    assert environment["https_proxy"] == environment["HTTPS_PROXY"] == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.getaddrinfo", ("example.org", 443, 0, 0, 0)),
        ("socket.getaddrinfo", (b"example.org", 443, 0, 0, 0)),
        ("socket.connect", (None, ("192.0.2.1", 443))),
        ("socket.sendto", (None, ("192.0.2.1", 53))),
        ("socket.connect", (None, ("2001:db8::1", 443, 0, 0))),
    ],
)
def test_no_connection_leaves_the_child(event: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises(PermissionError, match="may not connect"):
        stay_offline(event, arguments)


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, ("127.0.0.1", 5000))),
        ("socket.connect", (None, "/tmp/worker.sock")),
        ("socket.getaddrinfo", (None, 5000, 0, 0, 0)),
        ("socket.bind", (None, ("0.0.0.0", 0))),
        ("open", ("x", "r", 0)),
    ],
)
def test_workers_of_the_child_may_talk(event: str, arguments: tuple[object, ...]) -> None:
    stay_offline(event, arguments)


def test_the_child_asks_python_itself(tmp_path: Path) -> None:
    """The hook is in force in a real process."""
    program = (
        "import sys, socket; sys.path.insert(0, sys.argv[1])\n"
        "from CTSpectSpineLib.labelling.totalsegmentator.run import stay_offline\n"
        "sys.addaudithook(stay_offline)\n"
        "try:\n    socket.create_connection(('192.0.2.1', 9), timeout=1)\n"
        "except PermissionError as error:\n    print(error)\n"
    )
    done, calls = run(tmp_path / "home", [], program)
    assert done.stdout.strip() == "TotalSegmentator may not connect to 192.0.2.1"
    assert [call for call in calls if "192.0.2.1" in call] == []


def test_the_lock_is_the_only_file_that_names_the_computer(tmp_path: Path) -> None:
    from CTSpectSpineLib.locks import LOCK
    from CTSpectSpineLib.results.folder import step_folder
    from CTSpectSpineLib.results.text_files import write_text

    with step_folder(tmp_path, "label", ["a.json"]):
        write_text(tmp_path / "a.json", "{}")
        assert set(json.loads((tmp_path / LOCK).read_text(encoding="utf-8"))) == {
            *("what", "process", "host", "since")
        }
    assert not (tmp_path / LOCK).exists()
