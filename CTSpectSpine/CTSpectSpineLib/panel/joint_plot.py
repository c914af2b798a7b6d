"""The joints of a spine as a plot for a panel: where everything is drawn, and what was clicked.

Levels stand below each other in the order of the spine; each has a lane for the right facet joint,
the disc and the left facet joint, with a mark at the ratio and a line for its 95 % interval. The
bounds are lines of their own. No line joins levels: nothing lies between them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from CTSpectSpineLib.joint_table import Row

LANES = (("facet", "right"), ("disc", ""), ("facet", "left"))
"""Kind and side of the lanes of a level, from the top. Convention: the patient's right comes first,
as on the left of a picture."""
LANE = 9
"""Height of a lane, pixels. Judgement: a mark of 7 pixels and air."""
_GAP = 5
"""Height between two levels, pixels. Judgement."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 32, 34
"""Margins, pixels. Judgement: names of levels, two lines of bounds, numbers of the axis and the
meaning of marks."""
_ROOM = 1.05
"""Share of the axis over the highest end of an interval. Judgement."""
_LEAST_TOP = 2.5
"""Least end of the axis, multiples of the reference. Judgement: both bounds are seen."""
_MOST_TICKS = 8
"""Most numbers at the axis. Judgement: they do not touch in a panel of 339 pixels."""


@dataclass(frozen=True)
class Mark:
    """One joint in the plot; pixels.

    Attributes
    ----------
    x, low, high
        Ratio and ends of its interval; NaN where there are none that count.
    y
        Middle of its lane.
    """

    joint: str
    kind: str
    side: str
    uptake: str
    x: float
    low: float
    high: float
    y: int


@dataclass(frozen=True)
class JointPlot:
    """What is drawn, and where; pixels.

    Attributes
    ----------
    marks
        The joints, cranial to caudal.
    levels
        Name of each level and the middle of its lanes.
    ticks
        Numbers of the axis and their places.
    bounds
        Kind of joint, its positive bound, and its place.
    """

    width: int
    height: int
    marks: tuple[Mark, ...]
    levels: tuple[tuple[str, int], ...]
    ticks: tuple[tuple[str, int], ...]
    bounds: tuple[tuple[str, float, int], ...]

    @property
    def area(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of where ratios are drawn."""
        return _LEFT, _TOP, self.width - _RIGHT, self.height - _BOTTOM

    def joint_at(self, x: float, y: float) -> str:
        """The joint whose lane is clicked; empty where there is none."""
        _left, top, right, bottom = self.area
        inside = 0 <= x <= right + _RIGHT and top - LANE <= y <= bottom + LANE
        near = min(self.marks, key=lambda mark: abs(mark.y - y), default=None)
        if near is None or not inside or abs(near.y - y) > LANE:
            return ""
        return near.joint


def joint_plot(rows: Sequence[Row], bounds: Mapping[str, float], width: int) -> JointPlot:
    """Lay out the joints.

    Parameters
    ----------
    rows
        Joints in the order of the spine.
    bounds
        Kind of joint to the ratio from which it is positive.
    width
        Pixels across.
    """
    levels = list(dict.fromkeys(row.level for row in rows))
    step = len(LANES) * LANE + _GAP
    first = {level: _TOP + number * step for number, level in enumerate(levels)}
    end = _end_of_axis(rows, bounds)
    scale = max(width - _LEFT - _RIGHT, 1) / end

    def place(ratio: float) -> float:
        return _LEFT + scale * max(ratio, 0.0)

    marks = []
    for row in rows:
        lane = next((n for n, key in enumerate(LANES) if key == (row.kind, row.side)), 1)
        counts = row.measurable and not math.isnan(row.ratio)
        values = (row.ratio, row.low, row.high) if counts else (math.nan,) * 3
        x, low, high = (math.nan if math.isnan(value) else place(value) for value in values)
        y = first[row.level] + lane * LANE + LANE // 2
        marks.append(Mark(row.joint, row.kind, row.side, row.uptake, x, low, high, y))
    each = max(1, math.ceil(end / _MOST_TICKS))
    ticks = tuple((str(n), round(place(n))) for n in range(0, math.floor(end) + 1, each))
    return JointPlot(
        width=width,
        height=_TOP + max(len(levels), 1) * step - _GAP + _BOTTOM,
        marks=tuple(marks),
        levels=tuple((level, y + len(LANES) * LANE // 2) for level, y in first.items()),
        ticks=ticks,
        bounds=tuple((kind, bound, round(place(bound))) for kind, bound in bounds.items()),
    )


def _end_of_axis(rows: Sequence[Row], bounds: Mapping[str, float]) -> float:
    counting = [row for row in rows if row.measurable]
    ends = [value for row in counting for value in (row.ratio, row.high) if not math.isnan(value)]
    return max([_ROOM * value for value in (*ends, *bounds.values())] + [_LEAST_TOP])
