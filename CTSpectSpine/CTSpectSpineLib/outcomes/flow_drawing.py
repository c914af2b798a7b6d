"""The patient flow as a picture."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from CTSpectSpineLib.outcomes.flow import Box, Flow
from CTSpectSpineLib.study_pages.drawing import INK, LINE, QUIET, styled, svg_of, write_png

_WIDTH, _LINE, _PAD, _GAP = 3.1, 0.19, 0.2, 0.34
"""Width of a box, height of a line, its padding and the gap between boxes, inches. Judgement: 10
point text stands free."""
_SIDE = 3.75
"""From the left edge of the trunk to that of the boxes beside it, inches. Judgement: room for an
arrow."""
_LETTERS = 36
"""Letters of a title in a line. Measured on boxes of this width, bold, 9.5 point."""
_SOFT = "#f3f6f8"


@dataclass(frozen=True)
class _Placed:
    """A box at its place: left edge and top, inches, downwards."""

    box: Box
    left: float
    top: float

    @property
    def height(self) -> float:
        return _height(self.box)

    @property
    def middle(self) -> tuple[float, float]:
        return self.left + _WIDTH / 2, self.top + self.height / 2


def _height(box: Box) -> float:
    return _LINE * (len(_title(box)) + 1 + len(box.lines)) + _PAD


def _title(box: Box) -> list[str]:
    return wrap(box.title, _LETTERS) or [""]


def draw(flow: Flow) -> Figure:
    """The flow, drawn like a CONSORT diagram: the trunk on the left, who leaves on the right."""
    trunk: list[_Placed] = []
    beside: list[list[_Placed]] = []
    top = 0.0
    for step in flow.steps:
        placed = _Placed(step.box, 0.0, top)
        trunk.append(placed)
        below = top + placed.height + _GAP * 0.5
        row: list[_Placed] = []
        for box in step.leaving:
            row.append(_Placed(box, _SIDE, below))
            below += _height(box) + _GAP * 0.4
        beside.append(row)
        top = max(top + placed.height + _GAP, below + _GAP * 0.3)
    parts = [_Placed(box, place * (_WIDTH + _GAP), top) for place, box in enumerate(flow.parts)]
    everything = [*trunk, *parts, *(p for row in beside for p in row)]
    width = max(p.left for p in everything) + _WIDTH
    height = max(p.top + p.height for p in everything)
    with styled():
        figure = Figure(figsize=(width + 0.2, height + 0.2))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-0.1, width + 0.1), ylim=(height + 0.1, -0.1))
        axes.axis("off")
        for one, other in pairwise(trunk):
            _arrow(axes, (one.middle[0], one.top + one.height), (one.middle[0], other.top))
        for one, row in zip(trunk, beside, strict=True):
            for leaf in row:
                _arrow(axes, (one.middle[0], leaf.middle[1]), (leaf.left, leaf.middle[1]))
        for part in parts:
            last = trunk[-1]
            start = (last.middle[0], last.top + last.height)
            turn = (part.top + start[1]) / 2
            axes.plot([start[0], start[0], part.middle[0]], [start[1], turn, turn], color=INK, lw=1)
            _arrow(axes, (part.middle[0], turn), (part.middle[0], part.top))
        for placed in everything:
            _box(axes, placed, filled=placed in trunk or placed in parts)
    return figure


def _box(axes: Axes, placed: _Placed, *, filled: bool) -> None:
    patch = FancyBboxPatch(
        (placed.left, placed.top), _WIDTH, placed.height, boxstyle="round,pad=0,rounding_size=0.06",
        facecolor=_SOFT if filled else "white", edgecolor=LINE, linewidth=1,
    )  # fmt: skip
    axes.add_patch(patch)
    middle = placed.left + _WIDTH / 2
    first = placed.top + _PAD / 2 + _LINE / 2
    styles: list[dict[str, Any]] = [{"weight": "bold", "fontsize": 9.5}] * len(_title(placed.box))
    styles += [{}, *[{"fontsize": 8.5, "color": QUIET}] * len(placed.box.lines)]
    lines = (*_title(placed.box), f"n = {placed.box.count}", *placed.box.lines)
    for place, (line, style) in enumerate(zip(lines, styles, strict=True)):
        at = first + place * _LINE
        axes.text(middle, at, line, ha="center", va="center", parse_math=False, **style)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0}
    )


def flow_svg(flow: Flow) -> str:
    """The flow as an ``<svg>`` element."""
    with styled():
        return svg_of(draw(flow), "flow", "Patient flow", _words(flow))


def flow_png(flow: Flow) -> bytes:
    """The flow as PNG."""
    stream = io.BytesIO()
    with styled():
        write_png(draw(flow), stream)
    return stream.getvalue()


def _words(flow: Flow) -> str:
    """What the picture shows."""
    said = []
    for step in flow.steps:
        out = ", ".join(f"{box.title} {box.count}" for box in step.leaving)
        said.append(f"{step.box.title}: {step.box.count}." + (f" Leaving: {out}." if out else ""))
    if flow.parts:
        said.append(f"Of them {', '.join(f'{b.title} {b.count}' for b in flow.parts)}.")
    return " ".join(said)
