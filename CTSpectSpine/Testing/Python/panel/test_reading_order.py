"""Which joints a reader is shown first."""

from __future__ import annotations

import math

from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.panel.reading_order import reading_order

BOUNDS = {"disc": 2.0, "facet": 2.0}


def row(name: str, uptake: str, ratio: float, most: float = math.nan, placed: bool = True) -> Row:
    centre = (0.0, 0.0, 0.0) if placed else None
    cells = {"ratio_max": str(most)}
    return Row(
        name, name[:5], "disc", "", uptake, ratio, ratio, ratio, centre_lps=centre, cells=cells
    )


ROWS = [
    row("cold", "negative", 0.5),
    row("nearly", "negative", 1.9),
    row("warm", "positive", 2.5),
    row("lost", "not_measurable", math.nan, 1.0),
    row("open far", "indeterminate", 1.5),
    row("hot", "positive", 5.0),
    row("open near", "indeterminate", 1.95),
    row("hidden", "not_measurable", math.nan, 3.0),
    row("nowhere", "positive", 9.0, placed=False),
]


def test_what_is_open_comes_before_what_is_found_before_what_is_cold() -> None:
    names = [found.joint for found in reading_order(ROWS, BOUNDS)]
    assert names == ["hidden", "open near", "open far", "hot", "warm", "lost", "nearly", "cold"]


def test_a_blinded_reader_goes_down_the_spine() -> None:
    names = [found.joint for found in reading_order(ROWS, BOUNDS, blinded=True)]
    assert names == [found.joint for found in ROWS if found.centre_lps is not None]
