"""Drawing of fused slices: one sheet of panels to one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from CTSpectSpineLib.files import replacing
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.report.sampling import Surface

RgbArray = NDArray[np.uint8]

BONE_WINDOW_HU = (-200.0, 800.0)
"""HU shown black and white. Judgement: a bone window narrow enough to keep soft tissue apart from
air."""

FAINTEST_RATIO = 1.0
"""Uptake (multiples of the reference bone) where the overlay begins to show. Judgement: what is no
more active than that bone needs no colour."""

_FULL_RATIO = 2.2
"""Uptake where the overlay is most opaque. Judgement: just above the positive bounds of the shipped
protocols (about 2)."""
_STRONGEST_ALPHA = 0.85
"""Opacity there. Judgement: the bone below is still seen."""

OUTLINE_COLOURS = {"positive": "#35e6ff", "indeterminate": "#9dffb0", "other": "#ffffff"}
_DPI = 100
"""Pixels per inch of a sheet. Convention: sizes of fonts and lines, in points, are chosen for
it."""
_GAP = 12
"""Between panels, pixels. Judgement: layout."""
_TITLE = 30
"""Height of a title, pixels. Judgement: room for its 13 points."""
_MARGIN = 8
"""Around a sheet, pixels. Judgement: layout."""
_BAR = 104
"""Width of the legend with its words, pixels. Judgement: layout."""
_INSET = 34.0
"""From the edge of a panel to its callouts, pixels. Judgement: the orientation letters stay
free."""
_BAR_GREY = 0.35
"""Grey below the colours of the legend, 0 to 1. Judgement: that of cancellous bone of 150 HU in the
bone window."""
_DARK = "#1d2733"
_FONT = "DejaVu Sans"


@dataclass(frozen=True)
class Outline:
    """Outline of something on a panel.

    Attributes
    ----------
    share
        Field (rows, columns) whose `level` is drawn.
    colour, dashed, width
        Look of the line.
    halo
        Whether the line has a dark edge, so that it shows on any ground.
    """

    share: FloatArray
    colour: str
    dashed: bool = False
    width: float = 1.6
    halo: bool = True
    level: float = 0.5


@dataclass(frozen=True, order=True)
class Mark:
    """A name at a place on a panel.

    Attributes
    ----------
    text
        The name.
    column, row
        Its place in pixels.
    colour
        Colour of the words and of the line to the place.
    radius
        Half the width, in pixels, of what is at the place and must not be covered.
    """

    text: str
    column: float
    row: float
    colour: str = "#ffffff"
    radius: float = 0.0


@dataclass(frozen=True)
class Panel:
    """One picture of a sheet.

    Attributes
    ----------
    rgb
        Pixels, shape (rows, columns, 3).
    surface
        What is shown: gives orientation letters and scale.
    title
        Words above the panel.
    outlines
        Lines over the picture.
    names
        Level names, written to the left of their place.
    callouts
        Names joined to their place by a line, in a column at the nearer or given edge.
    bar_mm
        Length of the scale bar.
    callouts_right
        Put all callouts at the right edge.
    names_centred
        Write the level names onto their place instead of to the left of it.
    light
        Whether the picture is light, so that the scale bar must be dark.
    """

    rgb: RgbArray
    surface: Surface
    title: str = ""
    outlines: Sequence[Outline] = ()
    names: Sequence[Mark] = ()
    callouts: Sequence[Mark] = ()
    bar_mm: float = 50.0
    callouts_right: bool = False
    names_centred: bool = False
    light: bool = False


@dataclass(frozen=True)
class ColourBar:
    """Legend of the overlay: colours over mid grey, in multiples of the reference bone."""

    highest: float
    label: str = "multiples of reference bone"


def bone_grey(hu: FloatArray) -> FloatArray:
    """Grey value 0 to 1 of CT in the bone window; black outside the CT."""
    low, high = BONE_WINDOW_HU
    return np.nan_to_num(np.clip((hu - low) / (high - low), 0.0, 1.0))


def heat(ratio: FloatArray, highest: float, start: float = 0.25) -> FloatArray:
    """Colour (..., 3) of uptake from 0 to `highest`: perceptually uniform, dark to bright.

    The lowest quarter of the map is nearly black and would darken a CT below: overlays
    `start` above it.
    """
    scaled = np.clip(np.nan_to_num(ratio) / highest, 0.0, 1.0)
    return mpl.colormaps["inferno"](start + (1.0 - start) * scaled)[..., :3]


def opacity(ratio: FloatArray) -> FloatArray:
    """Opacity of the overlay: nothing below the reference bone, rising smoothly above it."""
    t = np.clip((np.nan_to_num(ratio) - FAINTEST_RATIO) / (_FULL_RATIO - FAINTEST_RATIO), 0, 1)
    return _STRONGEST_ALPHA * t * t * (3.0 - 2.0 * t)


def fused(hu: FloatArray, ratio: FloatArray, highest: float) -> RgbArray:
    """CT in bone window under the SPECT overlay, shape (rows, columns, 3)."""
    alpha = opacity(ratio)[..., None]
    return to_rgb(bone_grey(hu)[..., None] * (1.0 - alpha) + heat(ratio, highest) * alpha)


def to_rgb(values: FloatArray) -> RgbArray:
    """Values 0 to 1, grey (rows, columns, 1) or colour, as 8-bit colour."""
    rgb: RgbArray = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return np.repeat(rgb, 3, axis=2) if rgb.shape[2] == 1 else rgb


def draw_sheet(path: Path, rows: Sequence[Sequence[Panel]], bar: ColourBar | None = None) -> None:
    """Draw rows of panels, one picture pixel per panel pixel, and save them as PNG."""
    n = max(len(row) for row in rows)
    widths = [max(row[c].rgb.shape[1] for row in rows if c < len(row)) for c in range(n)]
    heights = [max(panel.rgb.shape[0] for panel in row) for row in rows]
    titles = [_TITLE if any(panel.title for panel in row) else 0 for row in rows]
    width = 2 * _MARGIN + sum(widths) + _GAP * (n - 1) + (_BAR if bar else 0)
    height = 2 * _MARGIN + sum(heights) + sum(titles) + _GAP * (len(rows) - 1)
    canvas: RgbArray = np.full((height, width, 3), 255, dtype=np.uint8)
    placed: list[tuple[Panel, int, int]] = []
    top = _MARGIN
    for row, row_height, title in zip(rows, heights, titles, strict=True):
        left = _MARGIN
        for panel, column_width in zip(row, widths, strict=False):
            placed.append((panel, left, top + title))
            h, w = panel.rgb.shape[:2]
            canvas[top + title : top + title + h, left : left + w] = panel.rgb
            left += column_width + _GAP
        top += row_height + title + _GAP
    with matplotlib.style.context("default", after_reset=True):
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        # One set of axes in pixels of the sheet: making one per panel costs more than drawing.
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), frameon=False)
        if bar:
            _draw_bar(
                axes, canvas, bar, width - _BAR + 24, _MARGIN + titles[0], min(heights[0], 420)
            )
        # Pixel for pixel, under everything that the axes draw.
        figure.figimage(canvas, 0, 0, origin="upper").set_zorder(-1)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
        for panel, left, top in placed:
            _draw_panel(axes, panel, left, top)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=_DPI, metadata={"Software": None})


def _write(axes: Axes, x: float, y: float, text: str, colour: str, size: float, **how: Any) -> None:
    """Words at a pixel of the sheet, with a dark edge unless `halo` says otherwise."""
    halo = how.pop("halo", "#000000b0")
    effects = [withStroke(linewidth=3, foreground=halo)] if halo else []
    axes.text(
        x, y, text, color=colour, fontsize=size, family=_FONT, parse_math=False,
        path_effects=effects, **{"ha": "center", "va": "center", **how},
    )  # fmt: skip


def _draw_panel(axes: Axes, panel: Panel, left: int, top: int) -> None:
    rows, columns = panel.rgb.shape[:2]
    _write(
        axes, left, top - 8, panel.title, _DARK, 13, halo="",
        ha="left", va="bottom", fontweight="bold",
    )  # fmt: skip
    for outline in panel.outlines:
        _draw_outline(axes, outline, left, top)
    for mark in panel.names:
        _write(
            axes, left + mark.column, top + mark.row, mark.text, mark.colour, 13,
            ha="center" if panel.names_centred else "right", fontweight="bold",
        )  # fmt: skip
    _draw_callouts(axes, panel, left, top)
    letters = panel.surface.edge_letters()
    places = ((14, rows / 2), (columns - 14, rows / 2), (columns / 2, 16), (columns / 2, rows - 16))
    for letter, (x, y) in zip(letters, places, strict=True):
        _write(axes, left + x, top + y, letter, "#ffd75e", 14, fontweight="bold")
    ink, halo = (_DARK, "#ffffffc0") if panel.light else ("white", "#000000b0")
    bottom, start = top + rows - 12, left + 12
    axes.plot(
        [start, start + panel.bar_mm / panel.surface.pixel_mm], [bottom, bottom], color=ink,
        linewidth=3, solid_capstyle="butt",
        path_effects=[withStroke(linewidth=5, foreground=halo)],
    )  # fmt: skip
    length = f"{panel.bar_mm:g} mm"
    _write(axes, start, bottom - 8, length, ink, 11.5, halo=halo, ha="left", va="bottom")


def _draw_outline(axes: Axes, outline: Outline, x: int, y: int) -> None:
    if outline.share.max() <= outline.level or outline.share.min() > outline.level:
        return
    inside = np.argwhere(outline.share > 0.01 * outline.level)
    (top, left), (bottom, right) = inside.min(0) - 2, inside.max(0) + 3
    top, left = max(top, 0), max(left, 0)
    part = outline.share[top:bottom, left:right]
    if min(part.shape) < 2:
        return
    ys, xs = np.arange(part.shape[0]) + top + y, np.arange(part.shape[1]) + left + x
    style = "dashed" if outline.dashed else "solid"
    if outline.halo:
        axes.contour(
            xs, ys, part, levels=[outline.level], colors="#000000", alpha=0.55,
            linewidths=outline.width + 1.6, linestyles="solid",
        )  # fmt: skip
    axes.contour(
        xs, ys, part, levels=[outline.level], colors=outline.colour,
        linewidths=outline.width, linestyles=style,
    )  # fmt: skip


def _draw_callouts(axes: Axes, panel: Panel, x: int, y: int) -> None:
    """Write the callouts in a column at each edge, spread so that they do not overlap."""
    rows, columns = panel.rgb.shape[:2]
    for at_right in (False, True):
        marks = [
            m
            for m in panel.callouts
            if (panel.callouts_right or m.column > columns / 2) == at_right
        ]
        wanted = sorted((_clear_row(mark, panel, at_right), mark.text, mark) for mark in marks)
        placed = spread([row for row, _, _ in wanted], 24.0, rows)
        for (_, _, mark), row in zip(wanted, placed, strict=True):
            axes.annotate(
                mark.text,
                (x + mark.column, y + mark.row),
                (x + (columns - _INSET if at_right else _INSET), y + row),
                color=mark.colour, fontsize=12.5, family=_FONT, fontweight="bold",
                ha="right" if at_right else "left", va="center", parse_math=False,
                path_effects=[withStroke(linewidth=3, foreground="#000000c0")],
                arrowprops={"arrowstyle": "-", "color": mark.colour, "linewidth": 0.9},
            )  # fmt: skip


def _clear_row(mark: Mark, panel: Panel, at_right: bool) -> float:
    """Row for a callout: beside its place, or off it where the words would cover it."""
    columns = panel.rgb.shape[1]
    words = _INSET + 9.8 * len(mark.text) + 4.0
    room = (columns - mark.column if at_right else mark.column) - mark.radius
    if words <= room:
        return mark.row
    others = [name.row for name in panel.names] or [mark.row - 1.0]
    below, above = mark.row + 44.0, mark.row - 44.0
    return max(below, above, key=lambda row: min(abs(row - other) for other in others))


def spread(rows: Sequence[float], gap: float, height: float) -> list[float]:
    """Move sorted positions apart to at least `gap`, as little as needed, within the panel.

    Where there is no room for all of them at that gap, they share the room evenly.
    """
    if not rows:
        return []
    low, high = gap, height - 2 * gap
    if len(rows) > 1:
        gap = min(gap, max(high - low, 0.0) / (len(rows) - 1))
    placed: list[float] = []
    for row in rows:
        placed.append(max(row, low, placed[-1] + gap if placed else low))
    limit = high
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - gap
    return placed


def _draw_bar(
    axes: Axes, canvas: RgbArray, bar: ColourBar, left: int, top: int, height: int
) -> None:
    """Paint the legend onto the sheet, 20 pixels wide, and write its scale."""
    ratio = np.linspace(bar.highest, 0.0, height)[:, None].repeat(20, axis=1)
    alpha = opacity(ratio)[..., None]
    canvas[top : top + height, left : left + 20] = to_rgb(
        _BAR_GREY * (1.0 - alpha) + heat(ratio, bar.highest) * alpha
    )
    for tick in range(int(bar.highest) + 1):
        y = top + height * (1.0 - tick / bar.highest)
        axes.plot([left + 20, left + 24], [y, y], color=_DARK, linewidth=1)
        _write(axes, left + 28, y, f"{tick} ×", _DARK, 11, halo="", ha="left")
    _write(axes, left - 10, top + height / 2, bar.label, _DARK, 10.5, halo="", rotation=90)
