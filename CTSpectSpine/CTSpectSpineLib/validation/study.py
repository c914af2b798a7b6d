"""Runs the study, patient by patient, and keeps every row as it comes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.processes import THREADS
from CTSpectSpineLib.progress import Progress, ProgressCallback, silent
from CTSpectSpineLib.validation.cohort import SETS, Patient, Split, draw_patients
from CTSpectSpineLib.validation.patient import RealCt, run_patient
from CTSpectSpineLib.validation.rows import JointRow, PatientRow, append, begin


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes
    ----------
    sets
        Names of the sets; those on a real CT need `real`.
    count
        Patients per set.
    split, seed
        Which patients. Tuning and test patients never coincide.
    jobs
        Patients that are analysed at the same time, one thread each.
    folder
        Where the rows go.
    real
        A real CT.
    resume
        Go on with the study in the folder.
    """

    sets: tuple[str, ...]
    count: int
    split: Split
    folder: Path
    seed: int = 1
    jobs: int = 1
    real: RealCt | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If one is impossible.
        """
        for name in self.sets:
            if name not in SETS:
                raise InputError(f"There is no set '{name}'; the sets are {', '.join(SETS)}.")
            if SETS[name].real and self.real is None:
                raise InputError(f"The set '{name}' needs a real CT; give --ct and --vertebrae.")
        if not self.sets:
            raise InputError(f"No set is given; the sets are {', '.join(SETS)}.")
        for name, least in (("count", 1), ("jobs", 1), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"{name} is {value}; give {least} or more.")


def run_study(plan: Plan, progress: ProgressCallback = silent) -> int:
    """Run what is missing in the folder.

    Returns
    -------
    int
        Number of patients that were analysed.

    Raises
    ------
    InputError
        If the folder holds a study that is not to be resumed, or the real CT cannot be used.
    """
    done = begin(plan.folder, resume=plan.resume)
    wanted = [
        patient
        for number in range(plan.count)
        for name in plan.sets
        for patient in draw_patients(name, plan.split, plan.count, plan.seed)[number : number + 1]
    ]
    missing = [patient for patient in wanted if patient.name not in done]
    progress(Progress("validate", 0.0, f"{len(missing)} of {len(wanted)} patients to analyse"))
    for number, (patient, joints) in enumerate(_results(missing, plan), start=1):
        append(plan.folder, patient, joints)
        progress(Progress("validate", number / len(missing), _line(patient)))
    return len(missing)


def _results(patients: list[Patient], plan: Plan) -> Iterator[tuple[PatientRow, list[JointRow]]]:
    """Rows of the patients, in their order whatever the number of jobs."""
    if patients:
        with workers(min(plan.jobs, len(patients))) as pool:
            yield from pool.map(partial(run_patient, real=plan.real), patients)


@contextmanager
def workers(number: int) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each: sums in another order differ in the last digits.

    Even a single patient at a time goes through one, so that the rows do not depend on `number`.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))  # numpy reads them when it is imported
    try:
        with ProcessPoolExecutor(number, get_context("spawn"), initializer=_one_itk_thread) as pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _one_itk_thread() -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _line(row: PatientRow) -> str:
    seconds = "" if row.cpu_s is None else f" {row.cpu_s:.0f} s CPU"
    if row.failed:
        return f"{row.patient} FAILED{seconds}: {row.message}"
    same = "as in truth" if row.disposition == row.true_disposition else row.true_disposition
    return f"{row.patient} {row.disposition} ({same}), registration {row.quality}{seconds}"
