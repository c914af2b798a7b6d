"""Plot of the uptake of all joints by level, as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from CTSpectSpineLib.display import INK_HEX
from CTSpectSpineLib.joint_table import metric_of
from CTSpectSpineLib.report.joint_rows import ratio_words, records

_MARKERS = {"positive": "^", "indeterminate": "D", "negative": "o"}
"""Shapes of the classes, those of their signs in the table: they differ without colour."""
_SIDE_OFFSETS = {"left": -0.17, "right": 0.17, "": 0.0}
"""Shift of a side off the line of its level, in rows. Judgement: the two markers of 7 points stay
apart."""
_INK = "#26323d"
_BANDS = {"positive": "#f8dedb", "indeterminate": "#fbeed6"}
_ROW_INCHES = 0.36
"""Height of a row, inches. Judgement: the least at which they do."""


def uptake_plot(
    joints: pd.DataFrame, bounds: Mapping[str, Any], metric_words: Mapping[str, str]
) -> str:
    """Uptake by level with its intervals, discs and facets beside each other.

    Parameters
    ----------
    joints
        Joint table, cranial to caudal.
    bounds
        Per kind a mapping with ``metric``, ``positive`` and ``indeterminate``; missing bounds
        are not drawn.
    metric_words
        What the metrics are called on the axis; others by their column.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    levels = list(dict.fromkeys(joints["level"]))
    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "ctspectspine",
        "font.family": "sans-serif",
        "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
        "font.size": 10,
        "axes.edgecolor": "#9aa7b5",
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
    }
    with matplotlib.style.context(["default", style], after_reset=True):
        figure = Figure(figsize=(9.4, 1.5 + _ROW_INCHES * max(len(levels), 3)))
        axes = figure.subplots(1, 2, sharey=True)
        for ax, kind, title in zip(
            axes, ("disc", "facet"), ("Discs and endplates", "Facet joints"), strict=True
        ):
            metric = metric_of(bounds, kind)
            words = metric_words.get(metric, metric)
            of_kind = joints[joints["kind"] == kind]
            _draw_kind(ax, of_kind, levels, bounds.get(kind) or {}, metric, words)
            ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes[0].set_ylim(len(levels) - 0.5, -0.5)
        axes[0].set_yticks(range(len(levels)), levels, parse_math=False)
        figure.legend(
            handles=_legend(), loc="lower center", ncols=4, frameon=False, fontsize=8.5,
            handletextpad=0.3, columnspacing=1.1,
        )  # fmt: skip
        bottom = 1.05 / figure.get_size_inches()[1]
        figure.subplots_adjust(
            left=0.08, right=0.985, bottom=bottom, top=1 - 0.3 / figure.get_size_inches()[1],
            wspace=0.1,
        )  # fmt: skip
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator"), None))
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].replace(
        "<svg ", '<svg role="img" aria-labelledby="plot-title plot-words" ', 1
    )
    end = svg.index(">") + 1
    words = (
        '<title id="plot-title">Uptake ratio of every joint by level, with 95 % intervals</title>'
        f'<desc id="plot-words">{escape(_description(joints, bounds))}</desc>'
    )
    return svg[:end] + words + svg[end:]


def _description(joints: pd.DataFrame, bounds: Mapping[str, Any]) -> str:
    """What the plot shows, in sentences."""
    sentences = []
    rows = records(joints)
    for uptake in ("positive", "indeterminate"):
        named = []
        for row in rows:
            if row["uptake"] == uptake:
                ratio, interval = ratio_words(row, bounds)
                named.append(f"{row['joint']} {ratio}" + (f" ({interval})" if interval else ""))
        sentences.append(f"{uptake.capitalize()}: {', '.join(named) or 'none'}.")
    counts = joints["uptake"].value_counts()
    sentences.append(
        f"Negative: {counts.get('negative', 0)} joints; not measurable: "
        f"{counts.get('not_measurable', 0)}. The table holds the same numbers."
    )
    return " ".join(sentences)


def _draw_kind(
    ax: Axes,
    joints: pd.DataFrame,
    levels: list[str],
    bounds: Mapping[str, Any],
    metric: str,
    words: str,
) -> None:
    positive, indeterminate = bounds.get("positive"), bounds.get("indeterminate")
    values = joints[metric] if metric in joints else pd.Series(np.nan, joints.index)
    low = joints.get("ratio_low", values)
    high = joints.get("ratio_high", values)
    shown = [v for v in (*values, *high, positive) if v is not None and np.isfinite(v)]
    right = max(2.0, 1.08 * max(shown, default=2.0))
    ax.set_xlim(0, right)
    if positive is not None:
        ax.axvspan(positive, right, color=_BANDS["positive"], linewidth=0, zorder=0)
        if indeterminate is not None and indeterminate < positive:
            ax.axvspan(
                indeterminate, positive, color=_BANDS["indeterminate"], linewidth=0, zorder=0
            )
    ax.axvline(1.0, color="#9aa7b5", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for y in range(len(levels)):
        ax.axhline(y + 0.5, color="#e6eaee", linewidth=0.8, zorder=0.5)
    for i in joints.index:
        row = joints.loc[i]
        height = levels.index(row["level"]) + _SIDE_OFFSETS[row["side"]]
        colour = INK_HEX[row["uptake"]]
        if row["uptake"] == "not_measurable" or not np.isfinite(values[i]):
            ax.plot(
                0.03 * right,
                height,
                marker="x",
                color=INK_HEX["not_measurable"],
                markersize=5,
            )
            continue
        ax.plot(
            [low[i], high[i]], [height, height], color=colour, linewidth=1.6, solid_capstyle="butt"
        )
        ax.plot(
            values[i], height, marker=_MARKERS[row["uptake"]], markersize=7, color=colour,
            markerfacecolor=colour if row["uptake"] == "positive" else "white",
            markeredgewidth=1.6, zorder=3,
        )  # fmt: skip
    if (joints["side"] != "").any():
        for y in range(len(levels)):
            for side, letter in (("left", "L"), ("right", "R")):
                ax.text(0.0, y + _SIDE_OFFSETS[side], letter, fontsize=7, ha="right", va="center")
    ax.set_xlabel(f"Uptake ÷ reference bone ({words})", fontsize=9.5, parse_math=False)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _legend() -> list[Line2D | Patch]:
    def point(marker: str, label: str, colour: str = _INK, face: str | None = None) -> Line2D:
        return Line2D(
            [], [], linestyle="none", marker=marker, color=colour,
            markerfacecolor=face or colour, markersize=6.5, label=label,
        )  # fmt: skip

    return [
        point("^", "positive", INK_HEX["positive"]),
        point("D", "indeterminate", INK_HEX["indeterminate"], "white"),
        point("o", "negative", INK_HEX["negative"], "white"),
        point("x", "not measurable", INK_HEX["not_measurable"]),
        Patch(facecolor=_BANDS["positive"], label="positive by the protocol"),
        Patch(facecolor=_BANDS["indeterminate"], label="indeterminate by the protocol"),
        Line2D([], [], linestyle="none", label="L, R: facet joint of the left, the right"),
    ]
