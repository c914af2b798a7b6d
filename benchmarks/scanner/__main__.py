"""The physical scanner against theory and PyTomography, written as a document.

    python -m benchmarks.scanner [--small] [--out docs/validation/scanner.md]

The comparison with PyTomography needs it installed (extra ``bench``); without it the page says so.
About ten minutes; ``--small`` builds a coarser patient and measures two presets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.scanner.case import PRESETS, make_case, measured_presets
from benchmarks.scanner.closed_forms import (
    adjoint_error,
    attenuations,
    convergence,
    resolutions,
)
from benchmarks.scanner.document import Findings, write_document
from benchmarks.scanner.library import compare

REPOSITORY = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scanner", description=__doc__)
    parser.add_argument("--small", action="store_true", help="coarse patient, two presets")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs/validation/scanner.md")
    options = parser.parse_args(arguments)
    case = make_case(3.0 if options.small else 1.5)
    presets, seconds, projected = measured_presets(case, PRESETS[:2] if options.small else PRESETS)
    findings = Findings(
        adjoint_error(),
        resolutions(),
        attenuations(),
        convergence(5 if options.small else 40),
        presets,
        seconds,
        projected,
        None if options.small else compare(case, projected),
    )
    write_document(findings, options.out)


if __name__ == "__main__":
    main()
