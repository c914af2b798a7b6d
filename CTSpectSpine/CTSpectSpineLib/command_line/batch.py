"""The command ``batch``: a cohort, patient by patient."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.cohort.record import FOLDER, PatientRecord
from CTSpectSpineLib.cohort.summary import FILES, CohortSummary, write_tables
from CTSpectSpineLib.cohort.table import CohortPatient
from CTSpectSpineLib.command_line.child import ChildProcess
from CTSpectSpineLib.command_line.printing import print_json, progress_printer
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import sha256_of_file
from CTSpectSpineLib.progress import Progress, ProgressCallback

RECORDS = f"{FOLDER}/*.json"
"""Records of the patients, beside the tables."""
_WAIT_SECONDS = 60.0
"""How long to wait for another command in the folder. Judgement: far longer than a record takes to
be written, shorter than patience."""


def batch(options: Namespace) -> int:
    """``ctspectspine batch``."""
    from CTSpectSpineLib.cohort.page import write_page
    from CTSpectSpineLib.cohort.review import read_decisions, with_decisions
    from CTSpectSpineLib.results.folder import step_folder

    patients = with_decisions(_patients(options), read_decisions(options.out))
    _check(options)
    progress = progress_printer(options.progress)
    if options.progress == "auto":
        progress = _EachPatient(progress)
    inputs = [
        options.cohort or options.bids,
        *(path for patient in patients for path in patient.paths().values()),
    ]
    if options.level == "participant":
        return _participants(options, patients, inputs, progress)
    names = [*FILES, *(_record(patient.id) for patient in patients)]
    with step_folder(options.out, "batch", names, inputs, among=True, clears=False) as folder:
        try:
            if options.level != "group":
                _analyse(options, patients, progress)
        finally:
            # Also of a batch that was cancelled: what is done is done.
            summary = write_tables(folder, patients)
            write_page(folder, summary)
    return _print(summary, options)


def _patients(options: Namespace) -> tuple[CohortPatient, ...]:
    from CTSpectSpineLib.cohort.bids import read_bids
    from CTSpectSpineLib.cohort.table import read_cohort

    if (options.cohort is None) == (options.bids is None):
        raise InputError("Give a cohort file, or a BIDS tree with --bids ROOT.")
    if options.bids is not None:
        return read_bids(options.bids, options.participant_label)
    if options.participant_label:
        raise InputError("--participant-label names participants of a BIDS tree (--bids ROOT).")
    return read_cohort(options.cohort)


def _analyse(
    options: Namespace,
    patients: Sequence[CohortPatient],
    progress: ProgressCallback,
    keep: Callable[[PatientRecord], None] | None = None,
) -> list[str]:
    """Analyse what is missing, here or on a cluster."""
    from CTSpectSpineLib.cohort.run import Batch, run_batch
    from CTSpectSpineLib.locks import scratch_folder

    work = Batch(options.out, _arguments(options), _contents(options), options.workers or 1)
    with scratch_folder() as scratch:
        if options.scheduler is None:
            return run_batch(work, patients, ChildProcess, scratch, progress, keep)
        from CTSpectSpineLib.command_line.cluster import Cluster

        with Cluster(options.scheduler) as cluster:
            many = options.workers or cluster.at_a_time
            work = replace(work, workers=many, cluster=True)
            return run_batch(work, patients, cluster.start, scratch, progress, keep)


def _participants(
    options: Namespace,
    patients: Sequence[CohortPatient],
    inputs: Sequence[Path],
    progress: ProgressCallback,
) -> int:
    """Only analyse: several commands may do so at once in one folder, each for its patients."""
    from CTSpectSpineLib.cohort.record import read_record
    from CTSpectSpineLib.results.folder import step_folder

    def held(names: Sequence[str]) -> AbstractContextManager[Path]:
        return step_folder(
            options.out,
            "batch",
            names,
            inputs,
            among=True,
            clears=False,
            wait_seconds=_WAIT_SECONDS,
        )

    def keep(record: PatientRecord) -> None:
        with held([_record(record.id)]) as folder:
            record.write(folder)

    # A batch that analyses everybody holds the folder until it has ended.
    with held([_record(patient.id) for patient in patients]):
        pass
    _analyse(options, patients, progress, keep)
    records = {patient.id: read_record(options.out, patient.id) for patient in patients}
    failed = {name: r.reason for name, r in records.items() if r is not None and r.ended == "error"}
    if options.json:
        folder = str(options.out)
        print_json({"folder": folder, "patients": len(patients), "failed": len(failed)})
    for name, reason in failed.items():
        print(f"{name}: {reason}")
    return 1 if failed else 0


def _record(patient: str) -> str:
    """Name of a patient's record in the folder of the batch."""
    return f"{FOLDER}/{patient}.json"


def _arguments(options: Namespace) -> tuple[str, ...]:
    """The words of ``analyze`` that all patients share.

    One thread each unless the user says otherwise: sums in another order differ in the last
    digits, and results must not depend on the number of workers.
    """
    settings = Options.from_arguments(options)
    if settings.threads is None:
        settings = replace(settings, threads=1)
    return (
        f"--protocol={options.protocol}",
        f"--labeller={options.labeller}",
        *settings.arguments(),
    )


def _contents(options: Namespace) -> tuple[str, ...]:
    """SHA-256 of the files that the shared words name."""
    named = (options.protocol, options.reconstruction, options.calibration)
    return tuple(sha256_of_file(p) for p in map(Path, filter(None, named)) if p.is_file())


def _check(options: Namespace) -> None:
    """Check what all patients share before the first one is read."""
    from CTSpectSpineLib.triage_protocol import load_protocol

    load_protocol(options.protocol)
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers is {options.workers}; give 1 or more.")
    if options.level is None and (options.out / FOLDER).is_dir() and not options.resume:
        raise InputError(
            f"{options.out} holds a batch already; give --resume to go on with it, or another "
            "folder."
        )


class _EachPatient:
    """Passes on in a file one line for each patient that has ended; on a terminal everything."""

    def __init__(self, progress: ProgressCallback) -> None:
        import sys

        self._progress, self._all, self._last = progress, sys.stderr.isatty(), ""

    def __call__(self, progress: Progress) -> None:
        """Tell it if it is news."""
        done = progress.message.partition(";")[0]
        if self._all:
            self._progress(progress)
        elif done != self._last:
            self._last = done
            self._progress(replace(progress, stage=done))


def _print(summary: CohortSummary, options: Namespace) -> int:
    failed = [row for row in summary.rows if row.status in ("error", "not analysed")]
    if options.json:
        record = {"folder": str(options.out), "patients": len(summary.rows), "failed": len(failed)}
        print_json({**record, "dispositions": summary.dispositions})
    else:
        _print_table(summary.dispositions)
        for row in failed:
            print(f"{row.id}: {row.reason}")
        print(f"\nPage to open: {options.out / FILES[-1]}")
    return 1 if failed else 0


def _print_table(dispositions: Mapping[str, int]) -> None:
    from CTSpectSpineLib.wording import disposition

    for name, count in dispositions.items():
        print(f"{count:6d}  {disposition(name)['title']}")
