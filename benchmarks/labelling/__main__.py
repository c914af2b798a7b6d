"""Accuracy of the built-in labeller on unseen phantoms and real CTs, written as a document.

    python -m benchmarks.labelling [--phantoms 200] [--first 0] [--step 1] [--rows FILE]
                                   [--data ../shared/data] [--out FILE] [--document-only]
                                   [--pictures-only]

Each phantom is a part of a spine (`cases`) from a seed of its own, used neither in training nor
while the method was tuned. About 10 seconds each. `--rows` keeps the measurements as CSV and
continues after those that it holds; `--document-only` writes the document from them. Some phantoms
with wrong names are labelled once more for a picture.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from benchmarks.labelling.cases import UNSEEN_FROM, make_case
from benchmarks.labelling.document import FAILURES, REAL, failures, write_document
from benchmarks.labelling.figures import draw_columns
from benchmarks.labelling.measure import measure, phantom_panel
from benchmarks.labelling.real import real_panels, real_rows
from CTSpectSpineLib.labelling.builtin.network import load_network

REPOSITORY = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="benchmarks.labelling", description=__doc__)
    parser.add_argument("--phantoms", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first phantom")
    parser.add_argument("--step", type=int, default=1, help="every so many phantoms")
    parser.add_argument("--rows", type=Path, default=Path("labelling.csv"))
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--document-only", action="store_true")
    parser.add_argument("--rows-only", action="store_true")
    parser.add_argument("--pictures-only", action="store_true")
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "docs" / "validation" / "labelling.md"
    )
    options = parser.parse_args(arguments)
    if not (options.document_only or options.pictures_only):
        _measure(options)
    if options.rows_only:
        return
    rows = pd.read_csv(options.rows)
    _draw(rows, options)
    if not options.pictures_only:
        write_document(rows, real_rows(options.data), options.out)


def _draw(rows: pd.DataFrame, options: argparse.Namespace) -> None:
    """Pictures beside the document: failures of the phantoms, and the real CTs."""
    folder = options.out.parent
    folder.mkdir(parents=True, exist_ok=True)
    bad = failures(rows)
    if bad:
        network = load_network()
        draw_columns([phantom_panel(n, network) for n in bad], folder / FAILURES)
    panels = real_panels(options.data)
    if panels:
        draw_columns(panels, folder / REAL)


def _measure(options: argparse.Namespace) -> None:
    network = load_network()
    rows = pd.read_csv(options.rows) if options.rows.exists() else pd.DataFrame()
    done = set(rows["number"]) if len(rows) else set()
    for number in range(options.first, options.phantoms, options.step):
        if number in done:
            continue
        found = measure(make_case(UNSEEN_FROM, number), network)
        rows = pd.concat([rows, pd.DataFrame(found)], ignore_index=True)
        rows.to_csv(options.rows, index=False)
        print(f"phantom {number + 1} of {options.phantoms}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
