"""What is found outside the joints, written as ``docs/validation/findings.md``.

    python -m benchmarks.findings [--seeds 5] [--projections 1] [--data ../shared/data]
                                  [--rows FILE] [--out FILE] [--document-only]

The cases of ``phantom/lesions.json`` on phantoms, some of them on the real CT where it is there,
and patients of the truth study without any focus outside the joints, by the default scanner and
some by the physical one. About a quarter of an hour on two cores; with each further seed of
`--projections` five minutes more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import pandas as pd

from benchmarks.findings import measure
from benchmarks.findings.document import document

REPOSITORY = Path(__file__).resolve().parents[2]
FIRST_SEED = 500
"""Seed of the first patient; the method was tuned on seeds 100 to 104."""


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    options = _options(arguments)
    rows: Path = options.rows
    if not options.document_only:
        done: list[dict[str, object]] = []
        for row in _rows(options):
            done.append(asdict(row))
            pd.DataFrame(done).to_csv(rows, index=False)
            print(row.kind, row.name, row.scanner, row.disposition, file=sys.stderr, flush=True)
    options.out.write_text(document(pd.read_csv(rows)), encoding="utf-8")


def _rows(options: argparse.Namespace) -> Iterator[measure.Row]:
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    parts = [measure.cases()]
    if options.data.is_dir():
        parts.append(measure.real(options.data))
    else:
        print(f"no real data at {options.data}: left out", file=sys.stderr)
    parts.append(measure.ordinary(seeds, seeds[: options.projections]))
    return chain.from_iterable(parts)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.findings", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--seeds", type=int, default=5, help="seeds of ordinary patients, 4 of each"
    )
    parser.add_argument("--projections", type=int, default=1, help="seeds on the physical scanner")
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--rows", type=Path, default=Path("findings_rows.csv"))
    out = REPOSITORY / "docs" / "validation" / "findings.md"
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--document-only", action="store_true", help="from the rows of before")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
