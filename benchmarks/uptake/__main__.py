"""Uptake on physically simulated scans, written as a document.

    python -m benchmarks.uptake --scans FOLDER [--scanner projections] [--first 2001] [--count 20]

Scans are kept in FOLDER, so that a run goes on where it stopped and a changed measurement is judged
in minutes; each costs about two CPU minutes when it is made. With `--rows` what was measured of
each patient is kept as well; give a new folder where the measurement changes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.uptake.document import write_document
from benchmarks.uptake.judge import judged, kept_rows
from benchmarks.uptake.scans import SCANNERS, scans

REPOSITORY = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> None:
    """Scan, measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uptake", description=__doc__)
    parser.add_argument("--scans", type=Path, required=True, help="folder for the scans")
    parser.add_argument("--scanner", choices=SCANNERS, default=SCANNERS[0])
    parser.add_argument("--first", type=int, default=2001, help="first seed")
    parser.add_argument("--count", type=int, default=20, help="patients")
    parser.add_argument(
        "--skip", type=int, default=0, help="how many of them, from the first, served settings"
    )
    parser.add_argument(
        "--stated", choices=("right", "wrong", "unknown", "calibrated"), default="right"
    )
    parser.add_argument("--rows", type=Path, help="folder to keep the measurements in")
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "docs/validation/uptake-families.md"
    )
    options = parser.parse_args(arguments)
    patients = scans(options.scans, options.first, options.count, options.scanner, options.skip)
    if options.rows is None:
        joints, found = judged(patients, stated=options.stated)
    else:
        joints, found = kept_rows(patients, stated=options.stated, folder=options.rows)
    command = f"python -m benchmarks.uptake --first {options.first} --count {options.count}"
    if options.skip:
        command += f" --skip {options.skip}"
    if options.scanner != SCANNERS[0]:
        command += f" --scanner {options.scanner}"
    if options.stated != "right":
        command += f" --stated {options.stated}"
    write_document(options.out, joints, found, command, options.scanner)


if __name__ == "__main__":
    main()
