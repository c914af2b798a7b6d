"""Time and memory of the tables and the page over a large cohort, and memory of a batch.

    python -m benchmarks.cohort RESULTS [--patients 10000]
    python -m benchmarks.cohort PHANTOM --memory 1 3 [--out docs/validation/cohort.md]

The large cohort is made of one finished results folder: links to its tables under other names. The
memory is measured on real batches of the images in a folder: of the process that runs the batch and
of the largest of its analyses, against the number of patients.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import SimpleITK as sitk

from CTSpectSpineLib.cohort.page import write_page
from CTSpectSpineLib.cohort.record import PatientRecord
from CTSpectSpineLib.cohort.summary import write_tables
from CTSpectSpineLib.cohort.table import CohortPatient

SELF, CHILDREN = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
_HEAD = """# Memory of a batch

Made by `python -m benchmarks.cohort PHANTOM --memory`.

Each patient is analysed by a process of its own, so that the memory does not grow with their
number. Peaks of real batches of one small phantom (CT of {size} voxels), one patient at a time: of
the process that runs the batch, and of the largest of its analyses.

"""
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


def batch_memory(images: tuple[Path, Path, Path], count: int, folder: Path) -> tuple[float, float]:
    """Peak memory of a batch of the same images, MiB: of its process, of its largest analysis."""
    cohort = folder / "cohort.csv"
    rows = [f"p{number:04d},{','.join(map(str, images))}" for number in range(count)]
    cohort.write_text("\n".join(["id,ct,spect,vertebrae", *rows]), encoding="utf-8")
    words = ["batch", str(cohort), "--out", str(folder / "out"), "--progress", "none"]
    # In a process of its own: a peak never falls again.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peaks, words).result()


def _peaks(words: list[str]) -> tuple[float, float]:
    from CTSpectSpineLib.command_line.main import main as command

    if command(words) not in (0, 1):
        raise RuntimeError("the batch did not run")
    own, others = (resource.getrusage(who).ru_maxrss / 1024 for who in (SELF, CHILDREN))
    return own, others


def memory_table(images: tuple[Path, Path, Path], counts: list[int]) -> str:
    """The memory against the number of patients, as Markdown."""
    lines = ["| patients | batch, MiB | largest analysis, MiB |", "|---:|---:|---:|"]
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            own, largest = batch_memory(images, count, Path(folder))
        lines.append(f"| {count} | {own:.0f} | {largest:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--memory", type=int, nargs="+", help="patients of the real batches")
    parser.add_argument("--out", type=Path, help="write the memory to this page")
    parser.add_argument("--labels", default="vertebrae.nii.gz", help="name of the label map")
    options = parser.parse_args()
    if options.memory:
        names = ("ct.nii.gz", "spect.nii.gz", options.labels)
        ct, spect, labels = (options.results.absolute() / name for name in names)
        table = memory_table((ct, spect, labels), options.memory)
        print(table)
        if options.out is not None:
            size = "×".join(map(str, sitk.ReadImage(str(ct)).GetSize()))
            options.out.write_text(_HEAD.format(size=size) + table + "\n", encoding="utf-8")
        return
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
