"""Drawing of fused slices: one sheet of panels to one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

from CTSpectSpineLib.files import replacing
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.report.colour import (
    RgbArray,
    heat,
    inverse_grey,
    opacity,
    opacity_of_all,
    to_rgb,
)
from CTSpectSpineLib.report.sampling import Surface

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
_LETTER = 10.0
"""Width of a letter of a level's name, pixels. Measured on the bold font of 13 points."""
_CLEAR_ROWS = 22.0
"""Rows between an orientation letter and a level's name, pixels. Judgement: their heights."""
_COMPRESSION = 3
"""Effort of PNG compression, 1 to 9. Measured on the pictures of a whole spine: half the time of
the usual 6, and 7 % larger."""
_BAR_GREY = 0.35
"""Grey below the colours of the legend, 0 to 1. Judgement: that of cancellous bone of 150 HU in the
bone window."""
_DARK = "#1d2733"
_FONT = "DejaVu Sans"
_ONE_AT_A_TIME = Lock()
"""Held while Matplotlib draws: its settings are those of the whole process."""


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
    """Legend of the one window of all pictures, in multiples of the reference bone.

    Attributes
    ----------
    highest
        Upper end of the scale.
    fused
        Show the colours of the overlay.
    alone
        Show the inverse grey of the SPECT alone.
    skeleton
        The colours are those of all of the SPECT.
    label
        Words along the legend.
    """

    highest: float
    fused: bool = True
    alone: bool = False
    skeleton: bool = False
    label: str = "as scanned, ÷ reference bone"


def draw_sheet(path: Path, rows: Sequence[Sequence[Panel]], bar: ColourBar) -> None:
    """Draw rows of panels, one picture pixel per panel pixel, and save them as PNG."""
    n = max(len(row) for row in rows)
    widths = [max(row[c].rgb.shape[1] for row in rows if c < len(row)) for c in range(n)]
    heights = [max(panel.rgb.shape[0] for panel in row) for row in rows]
    titles = [_TITLE if any(panel.title for panel in row) else 0 for row in rows]
    width = 2 * _MARGIN + sum(widths) + _GAP * (n - 1) + _BAR
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
    with _ONE_AT_A_TIME, matplotlib.style.context("default", after_reset=True):
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="none")
        agg = FigureCanvasAgg(figure)
        # One set of axes in pixels of the sheet: making one per panel costs more than drawing.
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), frameon=False)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
        _draw_bar(axes, canvas, bar, width - _BAR + 24, _MARGIN + titles[0], min(heights[0], 420))
        for panel, left, top in placed:
            _draw_panel(axes, panel, left, top)
        agg.draw()  # type: ignore[no-untyped-call]
        drawn = np.asarray(agg.buffer_rgba())  # type: ignore[no-untyped-call]
    with replacing(path) as temporary:
        picture = Image.fromarray(_over(drawn, canvas))
        picture.save(temporary, format="png", compress_level=_COMPRESSION)


def _over(drawn: RgbArray, ground: RgbArray) -> RgbArray:
    """Lines and words (rows, columns, 4) over the pictures (rows, columns, 3)."""
    result: RgbArray = ground.copy()
    rows, columns = np.nonzero(drawn[..., 3])
    above = drawn[rows, columns].astype(np.float32)
    alpha = above[:, 3:] / 255.0
    mixed = ground[rows, columns] * (1.0 - alpha) + above[:, :3] * alpha
    result[rows, columns] = np.rint(mixed).astype(np.uint8)
    return result


def _write(axes: Axes, x: float, y: float, text: str, colour: str, size: float, **how: Any) -> None:
    """Words at a pixel of the sheet, with a dark edge unless `halo` says otherwise."""
    halo = how.pop("halo", "#000000b0")
    effects = [withStroke(linewidth=3, foreground=halo)] if halo else []
    axes.text(
        x, y, text, color=colour, fontsize=size, family=_FONT, parse_math=False,
        path_effects=effects, **{"ha": "center", "va": "center", **how},
    )  # fmt: skip


def _draw_panel(axes: Axes, panel: Panel, left: int, top: int) -> None:
    rows = panel.rgb.shape[0]
    _write(
        axes, left, top - 8, panel.title, _DARK, 13, halo="",
        ha="left", va="bottom", fontweight="bold",
    )  # fmt: skip
    for outline in panel.outlines:
        _draw_outline(axes, outline, left, top)
    ink, halo = (_DARK, "#ffffffc0") if panel.light else ("white", "#000000b0")
    for mark in panel.names:
        _write(
            axes, left + mark.column, top + mark.row, mark.text, ink, 13, halo=halo,
            ha="center" if panel.names_centred else "right", fontweight="bold",
        )  # fmt: skip
    _draw_callouts(axes, panel, left, top)
    letters = panel.surface.edge_letters()
    for letter, (x, y) in zip(letters, letter_places(panel), strict=True):
        _write(axes, left + x, top + y, letter, "#ffd75e", 14, fontweight="bold")
    bottom, start = top + rows - 12, left + 12
    axes.plot(
        [start, start + panel.bar_mm / panel.surface.pixel_mm], [bottom, bottom], color=ink,
        linewidth=3, solid_capstyle="butt",
        path_effects=[withStroke(linewidth=5, foreground=halo)],
    )  # fmt: skip
    length = f"{panel.bar_mm:g} mm"
    _write(axes, start, bottom - 8, length, ink, 11.5, halo=halo, ha="left", va="bottom")


def letter_places(panel: Panel) -> list[tuple[float, float]]:
    """Column and row of the orientation letters (left, right, top, bottom), clear of level names.

    Each stands at the middle of its edge, or as near to it as the names leave room.
    """
    rows, columns = panel.rgb.shape[:2]
    shifts = (0.0, 0.12, -0.12, 0.24, -0.24, 0.36, -0.36)

    def clear(x: float, y: float) -> bool:
        return all(
            abs(y - mark.row) > _CLEAR_ROWS
            or not mark.column - words - 16 < x < mark.column + 16 + words * panel.names_centred
            for mark in panel.names
            for words in [_LETTER * len(mark.text) / (2 if panel.names_centred else 1)]
        )

    edges = (
        [(14.0, rows * (0.5 + s)) for s in shifts],
        [(columns - 14.0, rows * (0.5 + s)) for s in shifts],
        [(columns * (0.5 + s), 16.0) for s in shifts],
        [(columns * (0.5 + s), rows - 16.0) for s in shifts],
    )
    return [next((place for place in edge if clear(*place)), edge[0]) for edge in edges]


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
    alpha = (opacity_of_all if bar.skeleton else opacity)(ratio)[..., None]
    stripes = []
    if bar.fused:
        stripes.append(_BAR_GREY * (1.0 - alpha) + heat(ratio, bar.highest) * alpha)
    if bar.alone:
        stripes.append(inverse_grey(ratio, bar.highest).repeat(3, axis=2))
    part = 20 // len(stripes)
    for i, stripe in enumerate(stripes):
        start = left + i * part
        canvas[top : top + height, start : start + part] = to_rgb(stripe[:, :part])
    edge = [left - 0.5, left + 19.5, left + 19.5, left - 0.5, left - 0.5]
    axes.plot(edge, [top, top, top + height, top + height, top], color="#9aa7b5", linewidth=0.8)
    for tick in range(int(bar.highest) + 1):
        y = top + height * (1.0 - tick / bar.highest)
        axes.plot([left + 20, left + 24], [y, y], color=_DARK, linewidth=1)
        _write(axes, left + 28, y, f"{tick} ×", _DARK, 11, halo="", ha="left")
    _write(axes, left - 10, top + height / 2, bar.label, _DARK, 10.5, halo="", rotation=90)
