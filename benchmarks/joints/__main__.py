"""Accuracy, robustness, time and memory of the joint geometry, written as a document.

    python -m benchmarks.joints [--spines 24] [--seed 40000] [--workers 1] [--threads 2]
                                [--data ../shared/data] [--rows FOLDER] [--out FILE] [--small]

Spines are parts of phantoms (neck, chest and lumbar in turn), each built from a seed of its own;
the method was tuned on seeds 30000 to 39999 only. Every spine is measured as built, on turned,
oblique and sheared grids, with scoliosis, thick slices and degenerate joints, and with wrong
labels (`measure`); then the real label maps, if the data are there (`real`); then time and
memory on 512×512×600 voxels in a separate process (`speed`). `--rows` keeps the measurements as
CSV, and `--document-only` writes the document from them again. About 40 seconds per spine.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd
import SimpleITK as sitk

from benchmarks.joints import real
from benchmarks.joints.cohort import UNSEEN_FROM
from benchmarks.joints.document import Tables, write_document
from benchmarks.joints.measure import measure_spine
from benchmarks.joints.mixing import mixed_levels
from benchmarks.joints.scores import Score
from benchmarks.joints.speed import speed

REPOSITORY = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    options = _options(arguments)
    folder: Path | None = options.rows
    if options.document_only:
        if folder is None:
            sys.exit("--document-only needs --rows, the folder of earlier measurements.")
        tables = Tables.read(folder)
    else:
        tables = measure(options)
        if folder is not None:
            tables.write(folder)
    write_document(tables, options.out)


def measure(options: argparse.Namespace) -> Tables:
    """All measurements."""
    scores: list[dict[str, object]] = []
    mixed: list[dict[str, object]] = []
    one = partial(measure_spine, options.seed)
    numbers = range(3 if options.small else options.spines)
    with ProcessPoolExecutor(options.workers) as pool:
        for number, (own, wrong) in enumerate(pool.map(one, numbers)):
            scores += [asdict(row) for row in own]
            mixed += [asdict(row) for row in wrong]
            print(f"spine {number + 1} of {len(numbers)}", file=sys.stderr, flush=True)
            if options.rows is not None:
                Tables(pd.DataFrame(scores), pd.DataFrame(mixed), pd.DataFrame()).write(
                    options.rows
                )
    if options.data.is_dir():
        real_scores, real_mixed = real_rows(options.data)
        scores += real_scores
        mixed += real_mixed
    else:
        print(f"no real data at {options.data}: left out", file=sys.stderr)
    times = [asdict(row) for row in speed(options.threads, options.small)]
    return Tables(pd.DataFrame(scores), pd.DataFrame(mixed), pd.DataFrame(times))


def real_rows(data: Path) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Accuracy on the real maps, and wrong labels made from them."""
    small, total = data / "tptbox_L2-L4", data / "totalsegmentator_example"
    rows = [
        Score("real: articular processes", "lumbar", 0, name, "facet", True, False, error_mm=mm)
        for name, mm in real.facet_errors(small).items()
    ]
    rows += [
        Score("real: discs", "lumbar", 0, name, "disc", True, False, dice=value)
        for name, value in real.disc_dice(total).items()
    ]
    labels = [
        (
            real.from_verse(small / "sub-ct_seg-vert_label-22_msk.nii.gz"),
            sitk.ReadImage(str(small / "sub-ct_label-22_ct.nii.gz")),
            small.name,
        ),
        (
            sitk.ReadImage(str(total / "vertebrae_total.nii.gz")),
            sitk.ReadImage(str(total / "ct.nii.gz")),
            total.name,
        ),
        (
            real.from_verse(data / "verse004" / "sub-verse004_seg-vert_msk.nii.gz"),
            None,
            "verse004",
        ),
    ]
    mixed = []
    for image, ct, name in labels:
        for turn in range(6):
            found = mixed_levels(image, ct, name, "lumbar", turn)
            # Right labels are counted once.
            mixed += [asdict(row) for row in found if row.share > 0 or turn == 0]
    return [asdict(row) for row in rows], mixed


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.joints", description=__doc__.split("\n")[0])
    parser.add_argument("--spines", type=int, default=24, help="number of phantoms")
    parser.add_argument("--seed", type=int, default=UNSEEN_FROM, help="seed of the first")
    parser.add_argument("--workers", type=int, default=1, help="processes for the phantoms")
    parser.add_argument("--threads", type=int, default=2, help="threads where time is measured")
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--rows", type=Path, help="folder to keep the measurements in")
    parser.add_argument("--document-only", action="store_true", help="from earlier measurements")
    parser.add_argument("--small", action="store_true", help="three spines and small images")
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "docs" / "validation" / "joints.md"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
