"""Analyse the patients of a cohort, several at a time, each in a process of its own.

A patient's process is ``ctspectspine analyze``: its folder is the same as that of the command
line, and what ends it ends no other.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from CTSpectSpineLib.cohort.record import PatientRecord, prints_of, unfinished
from CTSpectSpineLib.cohort.table import CohortPatient
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import without_folders
from CTSpectSpineLib.progress import Progress, ProgressCallback
from CTSpectSpineLib.results.text_files import write_json
from CTSpectSpineLib.version import __version__

_LOOK_SECONDS = 0.2
"""How often processes are looked at. Judgement: far below the seconds that a patient takes."""
_TELL_SECONDS = 2.0
"""How often progress is told while no patient ends. Judgement."""
_MOST_TOLD = 8
"""Most patients that are told by name. Judgement: as many as a line of a terminal holds."""
PEAK_MB = 1200
"""Most memory of the analysis of one patient, MB. Measured on a CT of 512×512×600 voxels with
given labels (``python -m benchmarks.chain``), rounded up."""
DONE = (0, 1)
"""Exit codes with a results folder. Convention: those of the command line."""


class Child(Protocol):
    """A running analysis."""

    code: int | None

    def poll(self) -> list[Progress]:
        """What it has said since the last call; ``code`` is set once it has ended."""

    def kill(self) -> None:
        """End it."""

    def failure(self) -> str:
        """Why it ended without result."""


Start = Callable[[Sequence[str], Path], Child]
"""Starts ``analyze`` with these arguments; what it says goes to the file."""


@dataclass(frozen=True)
class Batch:
    """What to do.

    Attributes
    ----------
    folder
        Folder of the batch; that of a patient lies in it.
    arguments
        Words of ``analyze`` that are the same for all patients.
    contents
        SHA-256 of the files that these words name: their content belongs to the settings.
    workers
        Patients at a time.
    cluster
        Whether a cluster runs the analyses, so that their memory is not that of this computer.
    """

    folder: Path
    arguments: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    workers: int = 1
    cluster: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If one is impossible.
        """
        if self.workers < 1:
            raise InputError(f"workers is {self.workers}; give 1 or more.")

    def settings(self, patient: CohortPatient) -> str:
        """SHA-256 of all that the results depend on besides the images."""
        values = {
            "version": __version__,
            "arguments": [*self.arguments],
            "files": [*self.contents],
            "context": dict(patient.context),
            **({"decided": [*patient.decided]} if patient.decided else {}),
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def memory(self) -> str:
        """A sentence on the memory that this may take."""
        if self.cluster:
            return (
                f"a CT of 512×512×600 voxels takes up to {PEAK_MB} MB for each thread of a worker"
            )
        every = f", {self.workers * PEAK_MB} MB for {self.workers} at a time"
        return (
            f"a CT of 512×512×600 voxels takes up to {PEAK_MB} MB"
            f"{every if self.workers > 1 else ''}"
        )


@dataclass
class _Running:
    """A patient whose analysis runs."""

    patient: CohortPatient
    inputs: Mapping[str, Mapping[str, str]]
    child: Child
    begin: float
    last: Progress = field(default_factory=lambda: Progress("analyze", 0.0, "starting"))


def run_batch(
    batch: Batch,
    patients: Sequence[CohortPatient],
    start: Start,
    scratch: Path,
    progress: ProgressCallback,
    keep: Callable[[PatientRecord], None] | None = None,
) -> list[str]:
    """Analyse what is missing or no longer holds.

    Parameters
    ----------
    batch, patients
        What to do, and for whom.
    start
        Starts an analysis.
    scratch
        Folder for the contexts and what the analyses say.
    progress
        Called with the progress of the whole batch; raises `errors.Cancelled` to end it.
    keep
        Keeps how an analysis ended; by default in the folder of the batch.

    Returns
    -------
    list
        Ids of the patients that were analysed.
    """
    wanting = [p for p in patients if not p.excluded]
    waiting = [p for p in wanting if unfinished(batch.folder, p, batch.settings(p))]
    work = _Work(batch, start, scratch, progress, len(wanting), len(waiting))
    work.keep = keep or work.keep
    wanted = [patient.id for patient in waiting]
    work.tell(batch.memory())
    try:
        while waiting or work.running:
            while waiting and len(work.running) < batch.workers:
                work.begin(waiting.pop(0))
            if not work.look():
                time.sleep(_LOOK_SECONDS)
    finally:
        for running in work.running:
            running.child.kill()
    return wanted


class _Work:
    """The analyses that run."""

    def __init__(
        self,
        batch: Batch,
        start: Start,
        scratch: Path,
        progress: ProgressCallback,
        patients: int,
        wanted: int,
    ) -> None:
        self.batch, self.start, self.scratch = batch, start, scratch
        self.progress, self.patients, self.wanted = progress, patients, wanted
        self.running: list[_Running] = []
        self.keep: Callable[[PatientRecord], None] = lambda record: record.write(batch.folder)
        self.done = self.failed = 0
        self.began = self.told = time.monotonic()

    def begin(self, patient: CohortPatient) -> None:
        """Start the analysis of a patient."""
        begin = time.monotonic()
        try:
            inputs = prints_of(patient)
        except (InputError, OSError) as error:
            self._end(patient, {}, begin, str(error))
            return
        context = self.scratch / f"{patient.id}.json"
        write_json(context, dict(patient.context))
        words = [
            *("analyze", *patient.arguments(), *self.batch.arguments),
            *(f"--context={context}", f"--out={self.batch.folder / patient.id}"),
        ]
        child = self.start(words, self.scratch / f"{patient.id}.log")
        self.running.append(_Running(patient, inputs, child, begin))

    def look(self) -> bool:
        """Hear what the analyses say, and take those that have ended; whether any has."""
        ended = False
        for running in list(self.running):
            said = running.child.poll()
            running.last = said[-1] if said else running.last
            code = running.child.code
            if code is not None:
                self.running.remove(running)
                reason = "" if code in DONE else running.child.failure()
                # One that waited for a worker knows better how long it took.
                seconds = getattr(running.child, "seconds", None)
                self._end(running.patient, running.inputs, running.begin, reason, seconds)
                ended = True
        if ended or time.monotonic() - self.told > _TELL_SECONDS:
            self.tell("")
        return ended

    def _end(
        self,
        patient: CohortPatient,
        inputs: Mapping[str, Mapping[str, str]],
        begin: float,
        reason: str,
        seconds: float | None = None,
    ) -> None:
        places = (self.batch.folder / patient.id, *patient.paths().values())
        record = PatientRecord(
            id=patient.id,
            ended="error" if reason else "done",
            reason=without_folders(reason, places),
            seconds=round(time.monotonic() - begin if seconds is None else seconds, 1),
            settings=self.batch.settings(patient),
            inputs=inputs,
        )
        self.keep(record)
        self.done += 1
        self.failed += bool(reason)

    def tell(self, more: str) -> None:
        """Tell how far the batch is."""
        kept = self.patients - self.wanted
        parts = [f"{kept + self.done} of {self.patients} patients done"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        parts += [f"{r.patient.id} {r.last.fraction:.0%}" for r in self.running[:_MOST_TOLD]]
        if len(self.running) > _MOST_TOLD:
            parts.append(f"{len(self.running) - _MOST_TOLD} more begun")
        share = self._share()
        elapsed = time.monotonic() - self.began
        if 0.0 < share < 1.0 and self.done:
            parts.append(f"about {max(1, round(elapsed / share * (1 - share) / 60))} min left")
        parts += [more] if more else []
        self.told = time.monotonic()
        self.progress(Progress("batch", share, "; ".join(parts)))

    def _share(self) -> float:
        inside = sum(running.last.fraction for running in self.running)
        return 1.0 if self.wanted == 0 else min((self.done + inside) / self.wanted, 1.0)
