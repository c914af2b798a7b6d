"""Run damaged inputs, and judge what came of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.fuzz.kinds import Kind, kind_of

ALLOWED = (0, 1, 2)
"""Exit codes that input may lead to. Convention: the command line's."""


@dataclass(frozen=True)
class Outcome:
    """What came of one input.

    Attributes
    ----------
    number, kind, damaged
        The input, its kind, and the files that were damaged.
    code
        Exit code; negative for a signal.
    seconds, memory_mib
        Wall time and peak of the resident set.
    sentence
        Last line on standard error.
    fault
        What is wrong with the way it was taken; empty for nothing.
    chatter
        Lines on standard error besides the sentence.
    """

    number: int
    kind: str
    damaged: tuple[str, ...]
    code: int
    seconds: float
    memory_mib: int
    sentence: str
    fault: str
    chatter: int

    def line(self) -> str:
        """As a line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Outcome:
        """What `line` wrote."""
        values = json.loads(line)
        return cls(**{**values, "damaged": tuple(values["damaged"])})


class Server:
    """The warm process of `server`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, arguments: list[str], output: Path) -> dict[str, float]:
        """Run a command; its standard error goes to a file."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"arguments": arguments, "output": str(output)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the warm process ended")
        found: dict[str, float] = json.loads(answer)
        return found


@contextmanager
def server() -> Iterator[Server]:
    """A warm process, ended at the end."""
    root = Path(__file__).resolve().parents[2]
    paths = (str(root), str(root / "CTSpectSpine"), os.environ.get("PYTHONPATH", ""))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fuzz.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield Server(process)
    finally:
        process.kill()
        process.wait()


def write_input(kind: Kind, number: int, folder: Path) -> tuple[str, ...]:
    """Write one input; return the names of the damaged files."""
    files, damaged = kind.files(number)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return damaged


def try_input(number: int, warm: Server, keep: Path | None = None) -> Outcome:
    """Run one input.

    Parameters
    ----------
    number
        Which; everything follows from it.
    warm
        The warm process.
    keep
        Folder for inputs that are taken wrongly; None keeps none.
    """
    kind = kind_of(number)
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        folder = Path(name)
        damaged = write_input(kind, number, folder)
        answer = warm.ask(kind.arguments(folder), folder / "stderr.txt")
        said = (folder / "stderr.txt").read_bytes().decode("utf-8", "replace")
        lines = [line for line in said.splitlines() if line.strip()]
        sentence = lines[-1] if lines else ""
        outcome = Outcome(
            number,
            kind.name,
            damaged,
            int(answer["code"]),
            answer["seconds"],
            int(answer["memory_mib"]),
            sentence.replace(name, "")[:500],
            _fault(answer, sentence, folder),
            len(lines) - 1 if int(answer["code"]) == 2 else 0,
        )
        if outcome.fault and keep is not None:
            target = keep / str(number)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target)
    return outcome


def _fault(answer: dict[str, float], sentence: str, folder: Path) -> str:
    """What is wrong with an answer; empty for nothing."""
    code = int(answer["code"])
    if answer["late"]:
        return "took too long"
    if code < 0:
        return f"signal {-code}"
    if code not in ALLOWED:
        return f"exit {code}"
    # Beside a damaged file that is still usable, another one may be what is refused.
    names = {path.name for path in folder.rglob("*")}
    if code == 2 and not any(name in sentence for name in names):
        return "no file is named"
    if code == 2 and not sentence.startswith("ctspectspine: "):
        return "no sentence"
    return ""
