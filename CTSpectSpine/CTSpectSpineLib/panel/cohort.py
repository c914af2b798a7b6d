"""A cohort in a child process, while a window answers."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from CTSpectSpineLib.cohort.record import place
from CTSpectSpineLib.cohort.review import read_decisions, with_decisions
from CTSpectSpineLib.cohort.rows import CohortRow, patient_tables
from CTSpectSpineLib.cohort.summary import PAGE, in_need
from CTSpectSpineLib.cohort.table import OWN_FOLDERS, CohortPatient
from CTSpectSpineLib.command_line.child import REFUSED, ChildProcess
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.panel.workplace import Workplace
from CTSpectSpineLib.progress import Progress, ProgressCallback, silent
from CTSpectSpineLib.results.text_files import write_text

_AT_ONCE = 4
"""Patients whose results are read at one look. Judgement: each takes some milliseconds."""


class CohortRun:
    """A running cohort; what an earlier run finished is kept.

    Parameters
    ----------
    arguments
        Words of ``batch`` besides the folder.
    out
        Folder of the batch.
    workplace
        Where the log goes, and the Python that runs it.

    Attributes
    ----------
    fraction, message
        How far it is.
    """

    def __init__(self, arguments: Sequence[str], out: Path, workplace: Workplace) -> None:
        self.out = out
        self.fraction, self.message = 0.0, "Starting"
        words = ["batch", *arguments, f"--out={out}", "--resume"]
        self._child = ChildProcess(words, workplace.folder / "batch.log", workplace.python)

    @property
    def running(self) -> bool:
        """Whether the child still runs; asks nothing of it (see `poll`)."""
        return self._child.code is None

    @property
    def error(self) -> str:
        """Why the cohort could not be analysed; empty while it runs and where it could."""
        if self.running or (self._child.code in (0, REFUSED) and (self.out / PAGE).is_file()):
            return ""
        return self._child.failure()

    def poll(self) -> list[Progress]:
        """Take what the child said."""
        new = self._child.poll()
        if new:
            self.fraction, self.message = new[-1].fraction, new[-1].message
        return new

    def cancel(self) -> None:
        """End the child with all that it started; finished patients stay."""
        if self.running:
            self._child.kill()


def run_cohort(
    arguments: list[str],
    out: Path,
    workplace: Workplace,
    progress: ProgressCallback | None = None,
    idle: Callable[[], None] = lambda: None,
    pause_s: float = 0.05,
) -> Path:
    """Run ``ctspectspine batch`` to its end.

    Parameters
    ----------
    arguments, out, workplace
        As for `CohortRun`.
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
    run = CohortRun(arguments, out, workplace)
    try:
        while run.running:
            for message in run.poll():
                tell(message)
            idle()
            time.sleep(pause_s)
    finally:
        run.cancel()
    if run.error:
        raise InputError(run.error)
    return out / PAGE


class CohortResults:
    """What is there of a cohort's patients, read a few at a time.

    Parameters
    ----------
    folder
        Folder of the batch.
    patients
        All patients.

    Raises
    ------
    InputError
        If what people decided on them cannot be read.
    """

    def __init__(self, folder: Path, patients: Sequence[CohortPatient]) -> None:
        self._decisions = read_decisions(folder)
        self.folder, self.patients = folder, with_decisions(patients, self._decisions)
        self._rows: dict[str, CohortRow] = {}
        self._seen: dict[str, int] = {}

    def look(self, most: int = _AT_ONCE) -> bool:
        """Read at most so many patients whose analysis has ended since; whether any was read."""
        new = []
        for patient in self.patients:
            record = place(self.folder, patient.id)
            written = record.stat().st_mtime_ns if record.is_file() else 0
            if written and self._seen.get(patient.id) != written:
                new.append((patient, written))
        for patient, written in new[:most]:
            self._seen[patient.id] = written
            try:
                decisions = self._decisions.get(patient.id, ())
                self._rows[patient.id] = patient_tables(self.folder, patient, decisions).row
            except InputError as error:
                row = CohortRow(patient.id, "error", folder=patient.id, reason=str(error))
                self._rows[patient.id] = row
        return bool(new)

    def queue(self) -> list[CohortRow]:
        """The patients that have ended: who needs a look first, the most urgent on top."""
        rows = [self._rows[p.id] for p in self.patients if p.id in self._rows]
        first = in_need(rows)
        return [*first, *(row for row in rows if row not in first)]

    @property
    def waiting(self) -> int:
        """How many have not ended yet."""
        return len(self.patients) - len(self._rows)


def cohort_file(source: Path, workplace: Workplace) -> Path:
    """The cohort file itself, or one that is made for a folder with a folder for each study.

    Raises
    ------
    InputError
        If nothing is there, or the folder holds no folders.
    """
    if source.is_file():
        return source
    if not source.is_dir():
        raise InputError(f"{source}: there is no such cohort file or folder; choose another one.")
    folders = sorted(path for path in source.iterdir() if path.is_dir() and path.name[0] != ".")
    if not folders:
        raise InputError(
            f"{source} holds no folders; give a cohort file, or a folder with one folder per study."
        )
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("id", "study"))
    used = set(OWN_FOLDERS)
    for folder in folders:
        name = _unused(re.sub(r"[^A-Za-z0-9.-]+", "_", folder.name).strip("._-") or "study", used)
        used.add(name.lower())
        writer.writerow((name, folder.resolve()))
    path = workplace.folder / "studies.csv"
    write_text(path, stream.getvalue())
    return path


def _unused(name: str, used: set[str]) -> str:
    """A name of at most 60 letters that is not used yet."""
    name, number = name[:56], 1
    found = name
    while found.lower() in used:
        number += 1
        found = f"{name}_{number}"
    return found
