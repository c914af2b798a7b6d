"""A warm process that runs each command in a fork of itself, with limits of time and memory.

Requests and answers are lines of JSON on standard input and output. A fork costs some
milliseconds, the imports that it saves some seconds.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

SECONDS = 30.0
"""Longest run of one input. Convention: the limit that the project states."""
MEMORY_BYTES = 3 << 30
"""Most memory of one input. Convention: the limit that the project states."""
_PAUSE_S = 0.002
"""Time between two looks at a child. Numerical: short beside a run."""


def _warm_up() -> None:
    """Import what commands import. No ITK filter may run: its threads do not survive a fork."""
    import importlib

    heavy = ("SimpleITK", "nibabel", "nrrd", "pydicom", "pandas", "scipy.ndimage", "jsonschema")
    library = (
        *("command_line.main", "command_line.single_stages", "command_line.triage"),
        *("command_line.study", "command_line.analyze", "command_line.label"),
        *("volumes.dicom.stack", "volumes.dicom.nuclear", "volumes.dicom.acquisition"),
        *("joints", "labelling", "registration", "report", "validation.bounds_command"),
        *("volumes.reading", "volumes.checks", "results.stage_files", "triage_protocol"),
    )
    more = ("matplotlib.figure", "matplotlib.backends.backend_agg", "nibabel.nifti2")
    for name in (*heavy, *more, *(f"CTSpectSpineLib.{part}" for part in library)):
        importlib.import_module(name)


def _child(arguments: list[str], output: str) -> None:
    """Run a command as its process would; never returns."""
    code = 70
    try:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from CTSpectSpineLib.command_line.main import main

        code = main(arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 70
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _run(arguments: list[str], output: str) -> dict[str, Any]:
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        _child(arguments, output)
    ended, status, used = os.wait4(child, os.WNOHANG)
    late = False
    while ended == 0:
        time.sleep(_PAUSE_S)
        if not late and time.monotonic() - started > SECONDS:
            late = True
            os.kill(child, signal.SIGKILL)
        ended, status, used = os.wait4(child, os.WNOHANG)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "late": late,
        "seconds": round(time.monotonic() - started, 3),
        "memory_mib": used.ru_maxrss // 1024,
    }


def serve() -> None:
    """Answer requests until there are no more."""
    _warm_up()
    for line in sys.stdin:
        request = json.loads(line)
        os.chdir(Path(request["output"]).parent)
        sys.stdout.write(json.dumps(_run(request["arguments"], request["output"])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
