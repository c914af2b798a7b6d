"""Matplotlib figures as accessible SVG and as PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib.style
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, QUIET, LINE = "#26323d", "#5b6875", "#9aa7b5"
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#b36b00", "#007a5a", "#c04a00"
"""Colours for series. Convention: of Okabe and Ito 2008, darkened to 3:1 on white, so that people
with any colour vision tell them apart."""
_DPI = 200
"""Dots per inch of PNG files. Convention: legible in print."""
STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ctspectspine",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
}
"""Style of the figures. Judgement: legible at the width of a page."""


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the pages, whatever the user has set."""
    with matplotlib.style.context(["default", dict(STYLE)], after_reset=True):
        yield


def svg_of(figure: Figure, name: str, title: str, words: str) -> str:
    """A figure as an ``<svg>`` element that tells what it shows.

    Parameters
    ----------
    name
        Unique in the page; the ids of the element begin with it.
    title, words
        What it is, and what it shows, in sentences.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator"), None))
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    # Several figures share a page; their ids must differ.
    text = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    return with_words(text, name, title, words)


def with_words(svg: str, name: str, title: str, words: str) -> str:
    """An ``<svg>`` element with a role, a title and a description."""
    labels = f'role="img" aria-labelledby="{name}-title {name}-words"'
    svg = svg.replace("<svg ", f"<svg {labels} ", 1)
    end = svg.index(">") + 1
    said = (
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-words">{escape(words)}</desc>'
    )
    return svg[:end] + said + svg[end:]


def write_png(figure: Figure, stream: io.BytesIO) -> None:
    """Write a figure as PNG."""
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})


def plain_axes(axes: Axes, x: str, y: str) -> None:
    """Name the axes of a plot, and let it have faint lines to read values by."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="y", color="#e6eaee", linewidth=0.8)
    axes.set_axisbelow(True)
