"""A cohort in a child process, while a window answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from CTSpectSpineLib.cohort.summary import PAGE
from CTSpectSpineLib.command_line.child import REFUSED, ChildProcess
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.panel.workplace import Workplace
from CTSpectSpineLib.progress import ProgressCallback, silent


def run_cohort(
    arguments: list[str],
    out: Path,
    workplace: Workplace,
    progress: ProgressCallback | None = None,
    idle: Callable[[], None] = lambda: None,
    pause_s: float = 0.05,
) -> Path:
    """Run ``ctspectspine batch``; what an earlier run finished is kept.

    Parameters
    ----------
    arguments
        Words of ``batch`` besides the folder.
    out
        Folder of the batch.
    workplace
        Where the log goes, and the Python that runs it.
    progress
        Called with each message; may raise `errors.Cancelled`.
    idle
        Called again and again, so that a window can answer.
    pause_s
        Seconds between two looks at the process.

    Returns
    -------
    Path
        The page over the cohort; patients who could not be analysed stand in it.

    Raises
    ------
    Cancelled
        If ``progress`` cancels; the process is ended first.
    InputError
        If the cohort cannot be analysed.
    """
    tell = progress or silent
    log = workplace.folder / "batch.log"
    words = ["batch", *arguments, f"--out={out}", "--resume"]
    child = ChildProcess(words, log, workplace.python)
    try:
        while child.code is None:
            for message in child.poll():
                tell(message)
            idle()
            time.sleep(pause_s)
    finally:
        if child.code is None:
            child.kill()
    if child.code not in (0, REFUSED) or not (out / PAGE).is_file():
        raise InputError(child.failure())
    return out / PAGE
