"""The physical scanner against theory and PyTomography, written as a document.

    python -m benchmarks.scanner [--small] [--out docs/validation/scanner.md]

The comparison with PyTomography needs it installed (extra ``bench``); without it the page says so.
About ten minutes; ``--small`` builds a coarser patient and measures two presets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.scanner.case import make_case, measured_presets
from benchmarks.scanner.closed_forms import (
    adjoint_error,
    attenuations,
    convergence,
    resolutions,
)
from benchmarks.scanner.document import Findings, write_document
from benchmarks.scanner.library import compare
from CTSpectSpineLib.phantom import load_reconstruction, reconstruction_names

REPOSITORY = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scanner", description=__doc__)
    parser.add_argument("--small", action="store_true", help="coarse patient, two presets")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs/validation/scanner.md")
    options = parser.parse_args(arguments)
    case = make_case(3.0 if options.small else 1.5)
    presets, seconds, projected = measured_presets(case, _presets(options.small))
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


def _presets(small: bool) -> tuple[str, ...]:
    """Those with the usual camera, views and voxels."""
    if small:
        return "recovery", "no-recovery"
    every = {name: load_reconstruction(name) for name in reconstruction_names()}
    return tuple(
        name
        for name, r in every.items()
        if r.camera == "lehr" and r.views is None and r.voxel_mm is None
    )


if __name__ == "__main__":
    main()
