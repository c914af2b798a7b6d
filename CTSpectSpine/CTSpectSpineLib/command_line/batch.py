"""The command ``batch``: a cohort, patient by patient."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.cohort.record import FOLDER
from CTSpectSpineLib.cohort.summary import FILES, CohortSummary, write_tables
from CTSpectSpineLib.command_line.child import ChildProcess
from CTSpectSpineLib.command_line.printing import print_json, progress_printer
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import sha256_of_file
from CTSpectSpineLib.progress import Progress, ProgressCallback

RECORDS = f"{FOLDER}/*.json"
"""Records of the patients, beside the tables."""


def batch(options: Namespace) -> int:
    """``ctspectspine batch``."""
    from CTSpectSpineLib.cohort.page import write_page
    from CTSpectSpineLib.cohort.run import Batch, run_batch
    from CTSpectSpineLib.cohort.table import read_cohort
    from CTSpectSpineLib.locks import scratch_folder
    from CTSpectSpineLib.results.folder import step_folder

    patients = read_cohort(options.cohort)
    work = Batch(options.out, _arguments(options), _contents(options), options.workers)
    _check(options)
    progress = progress_printer(options.progress)
    if options.progress == "auto":
        progress = _EachPatient(progress)
    inputs = [path for patient in patients for path in patient.paths().values()]
    names = [*FILES, *(f"{FOLDER}/{patient.id}.json" for patient in patients)]
    with (
        step_folder(
            options.out, "batch", names, [options.cohort, *inputs], among=True, clears=False
        ) as folder,
        scratch_folder() as scratch,
    ):
        try:
            run_batch(work, patients, ChildProcess, scratch, progress)
        finally:
            # Also of a batch that was cancelled: what is done is done.
            summary = write_tables(folder, patients)
            write_page(folder, summary)
    return _print(summary, options)


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
    if (options.out / FOLDER).is_dir() and not options.resume:
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
