"""One command of the command line as a child process that can be watched and killed.

The child writes what it says into a file, which the caller reads when it likes: no thread and no
pipe is needed. That matters in 3D Slicer, where Python threads stand still while the window waits
for the user.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from CTSpectSpineLib.processes import end_tree, is_alive, own_group
from CTSpectSpineLib.progress import Progress

REFUSED = 1
"""Exit code of an analysis that ran and gives no verdict; its folder says why. Convention: that of
the command line."""
_LIBRARY = Path(__file__).resolve().parents[2]
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from CTSpectSpineLib.command_line.child import run; "
    "sys.exit(run(sys.argv.pop(1), sys.argv[1:]))"
)
_LOOK_AGAIN_SECONDS = 2.0
"""How often a child looks whether its parent lives. Judgement."""


class ChildProcess:
    """A running ``ctspectspine`` command.

    Parameters
    ----------
    arguments
        Arguments of the command, such as ``["analyze", "--ct", …]``; progress is asked for as
        JSON.
    log
        File that receives all the child says.
    python
        Python program that runs it.

    Attributes
    ----------
    code
        Exit code; None while it runs. Negative after a signal, as `subprocess` has it.
    lines
        What it said besides progress.
    """

    def __init__(self, arguments: Sequence[str], log: Path, python: str | None = None) -> None:
        self.log = log
        self.code: int | None = None
        self.lines: list[str] = []
        self._read = 0
        self._rest = b""
        command = [python or sys.executable, "-c", _START, str(_LIBRARY), str(os.getpid())]
        with log.open("wb") as stream:
            # Closed here, open in the child. A group of its own lets all that it starts be ended.
            self._process = subprocess.Popen(
                [*command, *arguments, "--progress", "json"],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment(os.environ),
                **own_group(),
            )

    @property
    def pid(self) -> int:
        """Process id; on POSIX also the id of the process group."""
        return self._process.pid

    def poll(self) -> list[Progress]:
        """Take what the child has said since the last call; `code` is set once it has ended."""
        code = self._process.poll()
        with self.log.open("rb") as stream:
            stream.seek(self._read)
            new = stream.read()
        self._read += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        if code is not None and self._rest:
            whole.append(self._rest)
            self._rest = b""
        found = []
        for line in (part.decode("utf-8", "replace").rstrip() for part in whole):
            progress = parse_progress(line)
            if progress is None:
                self.lines.append(line)
            else:
                found.append(progress)
        self.code = code
        return found

    def kill(self) -> None:
        """End the child and everything that it started, at once, and wait until it is gone."""
        end_tree(self._process)
        self.code = self._process.returncode

    def failure(self) -> str:
        """One sentence on why the child ended without result."""
        return failure_sentence(self.code or 0, self.lines)


def parse_progress(line: str) -> Progress | None:
    """Progress from one line of ``--progress json``; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        values = json.loads(line)
        return Progress(str(values["stage"]), float(values["fraction"]), str(values["message"]))
    except (ValueError, TypeError, KeyError):
        return None


def failure_sentence(code: int, lines: Sequence[str]) -> str:
    """One sentence for a person from an exit code and the last lines of a child.

    The command line ends with ``ctspectspine: sentence`` for every error that it knows; anything
    else is a crash, of which the last line says most.
    """
    said = [line.strip() for line in lines if line.strip()]
    last = said[-1] if said else ""
    own = next((line for line in reversed(said) if line.startswith("ctspectspine:")), "")
    if own and "this is a defect" not in own:
        sentence = own.removeprefix("ctspectspine:").strip()
        # A name of a file stays as it is.
        is_word = sentence.partition(" ")[0].isalpha()
        return sentence[:1].upper() + sentence[1:] if is_word else sentence
    if own:
        error = said[-2] if len(said) > 1 else ""
        return f"The analysis stopped by a defect of this software ({error}); the log holds more."
    how = _signal_name(-code) if code < 0 else f"exit code {code}"
    because = f"; its last words were: {last}" if last else ""
    memory = " It may have run out of memory." if code in (-9, -6) else ""
    return f"The analysis process ended unexpectedly ({how}{because}).{memory}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class TimeLeft:
    """Estimates the time left from the share that is done, smoothed against jumps.

    Parameters
    ----------
    clock
        Gives seconds; replaced in tests.
    """

    _AFTER_SECONDS, _AFTER_FRACTION = 3.0, 0.05

    def __init__(self, clock: Any = time.monotonic) -> None:
        self._clock = clock
        self._start = float(clock())
        self._shown: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return float(self._clock()) - self._start

    def update(self, fraction: float) -> float | None:
        """Seconds left; None while it is too early to say."""
        if fraction < self._AFTER_FRACTION or self.elapsed < self._AFTER_SECONDS:
            return None
        left = self.elapsed * (1.0 - fraction) / fraction
        self._shown = left if self._shown is None else 0.5 * (self._shown + left)
        return self._shown


def time_text(seconds: float) -> str:
    """``"about 2 min"``, ``"about 20 s"``."""
    if seconds >= 90:
        return f"about {round(seconds / 60)} min"
    return f"about {max(5, 5 * round(seconds / 5))} s"


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """Environment of the child: pictures without a window, and no image readers of Slicer's.

    Slicer names its own ITK plug-ins, which need its scene, in ``ITK_AUTOLOAD_PATH``.
    """
    changed = {
        k: v for k, v in base.items() if k not in ("ITK_AUTOLOAD_PATH", "SITK_AUTOLOAD_PATH")
    }
    return {**changed, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}


def run(parent: str, arguments: Sequence[str]) -> int:
    """Run a command in the child, and end when the process ``parent`` has gone."""
    from CTSpectSpineLib.command_line.main import main

    watch = threading.Thread(target=_end_with, args=(int(parent),), daemon=True)
    watch.start()
    return main(list(arguments))


def _end_with(parent: int) -> None:
    while is_alive(parent):
        time.sleep(_LOOK_AGAIN_SECONDS)
    if os.name == "nt":
        os._exit(1)
    os.killpg(0, signal.SIGKILL)
