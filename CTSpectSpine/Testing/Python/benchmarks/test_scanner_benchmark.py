"""The benchmark of the physical scanner: its closed forms hold, and its page says what it found."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from benchmarks.scanner.case import Preset
from benchmarks.scanner.closed_forms import (
    Compared,
    adjoint_error,
    attenuations,
    convergence,
    resolutions,
)
from benchmarks.scanner.document import Findings, write_document
from benchmarks.scanner.library import Comparison
from CTSpectSpineLib.phantom.scanner.projections.acquisition import Projected
from CTSpectSpineLib.phantom.scanner.projections.maps import Frame
from CTSpectSpineLib.phantom.scanner.projections.projector import Orbit
from CTSpectSpineLib.phantom.scanner.projections.settings import load_camera


def test_closed_forms_hold() -> None:
    assert adjoint_error() < 1e-6
    assert all(abs(row.percent) < 1.5 for row in [*resolutions(), *attenuations()])
    rows = convergence(5)
    assert rows[0][0] == 1
    assert rows[-1][1] < 0.5 * rows[0][1]


def test_page(tmp_path: Path) -> None:
    nothing = np.zeros((4, 6, 5), dtype=np.float32)
    projected = Projected(
        load_camera("lehr"),
        Orbit((150.0, 160.0, 170.0, 155.0)),
        Frame((0.0, 0.0, 0.0), 4.42, (6, 6, 5)),
        (1, 4),
        nothing,
        nothing + 0.25 / nothing.size,
        nothing,
    )
    widths = (9.0, 10.0, 11.0)
    found = Findings(
        1e-8,
        [Compared("here", 8.0, 8.1)],
        [Compared("there", 0.5, 0.49)],
        [(1, 3.0, 20.0)],
        [Preset("recovery", {"L2": widths, "L4": widths}, 8.0)],
        20.0,
        projected,
        None,
    )
    page = tmp_path / "scanner.md"
    write_document(found, page)
    text = page.read_text(encoding="utf-8")
    assert "| here | 8.00 | 8.10 | +1.25 % |" in text
    assert "| there | 0.5000 | 0.4900 | -2.00 % |" in text
    assert "PyTomography was not installed" in text
    assert "| `recovery` | 9.0 / 10.0 / 11.0 | 9.0 / 10.0 / 11.0 | 8.0 |" in text
    assert "camera 150 to 170 mm from the axis; 25 % of the counts are scattered" in text
    compared = Comparison(
        "3.4.0", "with recovery", (0.02, 1.003), 0.05, {"bone": (1.0, 0.8)}, (1, 2)
    )
    write_document(Findings(**{**found.__dict__, "library": [compared]}), page)
    text = page.read_text(encoding="utf-8")
    assert "| with recovery | bone | 1.000 | 0.800 | +25.00 % |" in text
    assert "differ by 2.00 % of all counts" in text
    assert "hold +0.30 % of them" in text
