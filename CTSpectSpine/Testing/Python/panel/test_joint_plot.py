"""Where the joints stand in the plot of the panel, and what a click means there."""

from __future__ import annotations

import itertools
import math

import pytest

from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.panel.joint_plot import LANE, Mark, joint_plot

BOUNDS = {"disc": 1.8, "facet": 2.0}


def row(level: str, kind: str, side: str, ratio: float, uptake: str = "negative") -> Row:
    name = f"{level} {kind} {side}".strip()
    return Row(name, level, kind, side, uptake, ratio, ratio - 0.25, ratio + 0.5)


ROWS = (
    row("L3-L4", "disc", "", 1.0),
    row("L3-L4", "facet", "left", 3.0, "positive"),
    row("L3-L4", "facet", "right", 1.5),
    row("L4-L5", "disc", "", 4.0, "not_measurable"),
    row("L4-L5", "facet", "left", 2.0, "indeterminate"),
)


def marks(width: int = 300) -> dict[str, Mark]:
    return {mark.joint: mark for mark in joint_plot(ROWS, BOUNDS, width).marks}


def test_marks_stand_at_their_ratios_on_the_scale_of_the_bounds() -> None:
    plot, found = joint_plot(ROWS, BOUNDS, 300), marks()
    places = {float(text): x for text, x in plot.ticks}
    for one in ROWS:
        mark = found[one.joint]
        if one.uptake == "not_measurable":
            assert math.isnan(mark.x)
            continue
        expected = [places[0] + (places[1] - places[0]) * v for v in (one.low, one.ratio, one.high)]
        assert [mark.low, mark.x, mark.high] == pytest.approx(expected, abs=3.0)
        assert mark.high <= plot.area[2]
    for _kind, bound, x in plot.bounds:
        assert x == pytest.approx(places[0] + (places[1] - places[0]) * bound, abs=3.0)


def test_levels_stand_in_the_order_of_the_spine_with_a_lane_for_each_joint() -> None:
    plot, found = joint_plot(ROWS, BOUNDS, 300), marks()
    assert [name for name, _ in plot.levels] == ["L3-L4", "L4-L5"]
    lanes = ["L3-L4 facet right", "L3-L4 disc", "L3-L4 facet left", "L4-L5 disc"]
    heights = [found[name].y for name in lanes]
    assert heights == sorted(heights)
    assert min(b - a for a, b in itertools.pairwise(heights)) >= LANE
    assert plot.height > max(heights) + LANE


@pytest.mark.parametrize("width", [200, 339, 900])
def test_a_click_on_a_lane_is_its_joint_wherever_across(width: int) -> None:
    plot = joint_plot(ROWS, BOUNDS, width)
    for mark in plot.marks:
        for x in (5, width // 2, width - 5):
            assert plot.joint_at(x, mark.y) == mark.joint
    assert plot.joint_at(width // 2, 2) == ""
    assert plot.joint_at(width // 2, plot.height - 2) == ""
    assert plot.joint_at(-5, plot.marks[0].y) == ""


def test_without_joints_there_is_an_empty_plot() -> None:
    plot = joint_plot((), {}, 300)
    assert plot.marks == ()
    assert plot.joint_at(100, 50) == ""
