"""Time and memory of the tables and the page over a large cohort.

    python -m benchmarks.cohort RESULTS [--patients 10000]

The cohort is made of one finished results folder: links to its tables under other names.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from CTSpectSpineLib.cohort.page import write_page
from CTSpectSpineLib.cohort.record import PatientRecord
from CTSpectSpineLib.cohort.summary import write_tables
from CTSpectSpineLib.cohort.table import CohortPatient

TABLES = ("manifest.json", "verdict.json", "registration.json", "joints.csv")


def cohort_of(results: Path, folder: Path, count: int) -> list[CohortPatient]:
    """Finished patients that all have the same results."""
    patients = [CohortPatient(f"p{number:05d}") for number in range(count)]
    for patient in patients:
        place = folder / patient.id
        place.mkdir()
        for name in TABLES:
            os.link(results / name, place / name)
        PatientRecord(patient.id, "done", "", 30.0, "", {}).write(folder)
    return patients


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--patients", type=int, default=10_000)
    options = parser.parse_args()
    # Beside the results, since links do not cross file systems.
    with tempfile.TemporaryDirectory(dir=options.results.parent) as text:
        folder = Path(text)
        patients = cohort_of(options.results, folder, options.patients)
        begin = time.perf_counter(), time.process_time()
        page = write_page(folder, write_tables(folder, patients))
        wall, cpu = time.perf_counter() - begin[0], time.process_time() - begin[1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{len(patients)} patients: {wall:.1f} s by the clock, {cpu:.1f} s CPU, at most "
            f"{peak:.0f} MiB; page {page.stat().st_size / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    main()
