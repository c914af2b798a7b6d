"""Child processes that end with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Any


def own_group() -> dict[str, Any]:
    """Arguments of `subprocess.Popen` that let the child be ended with all that it starts."""
    return hidden() if os.name == "nt" else {"start_new_session": True}


def hidden() -> dict[str, Any]:
    """Arguments of `subprocess` for no console window on Windows."""
    return {"creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0)}


def end_tree(process: subprocess.Popen[Any]) -> None:
    """End a child of `own_group` and everything that it started, and wait until it is gone."""
    if os.name == "nt":
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            capture_output=True,
            check=False,
            **hidden(),
        )
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
