"""Plots of the comparison: distribution of the errors, and expected against true error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.registration.methods import METHODS
from benchmarks.registration.pairs import SETS
from benchmarks.registration.summary import OURS, QUALITIES, SUCCESS_MM, right_results

INK, FAINT = "#333333", "#c8c8c8"
# Colours of Okabe and Ito, which people with any colour vision tell apart.
STYLES: Mapping[str, dict[str, Any]] = {
    "ours": {"color": "#0072B2", "linewidth": 2.4, "linestyle": "-", "zorder": 5},
    "mattes": {"color": "#D55E00", "linewidth": 1.3, "linestyle": "--"},
    "mattes-header": {"color": "#CC79A7", "linewidth": 1.3, "linestyle": ":"},
    "elastix": {"color": "#009E73", "linewidth": 1.3, "linestyle": "-"},
    "ants": {"color": "#E69F00", "linewidth": 1.3, "linestyle": "-"},
    "greedy": {"color": "#56B4E9", "linewidth": 1.3, "linestyle": "-."},
    "greedy-search": {"color": "#56B4E9", "linewidth": 1.3, "linestyle": ":"},
}
QUALITY_STYLES: Mapping[str, dict[str, Any]] = {
    "good": {"color": "#0072B2", "marker": "o"},
    "check": {"color": "#E69F00", "marker": "^"},
    "failed": {"color": "#D55E00", "marker": "x"},
}
LIMITS_MM = (0.05, 300.0)
"""Ends of the axis of errors, mm. Judgement: from below the best pair to beyond the field of
view."""
TICKS_MM = (0.1, 1.0, 10.0, 100.0)
"""Ticks of that axis, mm. By definition: the powers of ten on it."""
COLUMNS = 4
"""Panels beside each other. Judgement: as wide as the page."""
_TITLE_LETTERS = 36
"""Letters of a title's line. Measured: the width of a panel."""
_RC: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_errors(rows: pd.DataFrame, path: Path) -> None:
    """Share of the pairs of each set with at most a given error, for each method.

    Parameters
    ----------
    rows
        Rows of right pairs; others are left out.
    path
        The PNG.
    """
    rows = rows[rows.right]
    names = [name for name in SETS if (rows.set_name == name).any()]
    methods = [name for name in METHODS if (rows.method == name).any()]
    columns = min(COLUMNS, len(names))
    lines = -(-len(names) // columns)
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(2.35 * columns + 0.6, 1.75 * lines + 1.0), layout="constrained")
        axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axis, name in zip(axes, names, strict=False):
            _error_panel(axis, rows[rows.set_name == name], name, methods)
        for axis in axes[len(names) :]:
            axis.set_visible(False)
        for n in range(len(names)):
            if n + columns >= len(names):
                axes[n].tick_params(labelbottom=True)
        handles = [Line2D([], [], label=METHODS[m].title, **STYLES[m]) for m in methods]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(methods), frameon=False)
        figure.supxlabel("Error at the joints, mean of a pair, mm (log scale)", fontsize=9)
        figure.supylabel("Share of pairs", fontsize=9)
        _save(figure, path)


def _error_panel(axis: Axes, rows: pd.DataFrame, name: str, methods: list[str]) -> None:
    for limit in SUCCESS_MM:
        axis.axvline(limit, color=FAINT, linewidth=0.9, zorder=0)
    for method in methods:
        errors = np.sort(rows[rows.method == method].mean_mm.to_numpy(dtype=float))
        if not len(errors):
            continue
        errors = np.clip(errors, *LIMITS_MM)
        x = np.concatenate([[LIMITS_MM[0]], errors, [LIMITS_MM[1]]])
        share = np.arange(1, len(errors) + 1) / len(errors)
        y = np.concatenate([[0.0], share, [1.0]])
        axis.step(x, y, where="post", **STYLES[method])
    axis.set_xscale("log")
    axis.set_xlim(*LIMITS_MM)
    axis.set_ylim(0, 1.03)
    axis.set_xticks(TICKS_MM, ["0.1", "1", "10", "100"])
    axis.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    number = int(rows.groupby("method").size().max())
    title = fill(f"{SETS[name].title} (n = {number})", _TITLE_LETTERS)
    axis.set_title(title, fontsize=8.5, loc="left")


def draw_quality(rows: pd.DataFrame, path: Path) -> None:
    """Expected against true error of our results on right pairs, by their quality."""
    part = right_results(rows)
    part = part[np.isfinite(part.expected_mm.to_numpy(dtype=float)) & ~part.failed]
    low, high = _bounds(part)
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(4.6, 4.2), layout="constrained")
        axis = figure.subplots()
        ends = np.array([low, high])
        axis.plot(ends, ends, color=INK, linewidth=0.9)
        axis.plot(ends, 2 * ends, color=INK, linewidth=0.9, linestyle="--")
        for factor, words in ((1, "as expected"), (2, "twice as expected")):
            x = high / factor * (low / high) ** 0.02
            axis.annotate(
                words,
                (x, factor * x),
                xytext=(-3, 3),
                ha="right",
                textcoords="offset points",
                rotation=45,
                rotation_mode="anchor",
                transform_rotates_text=True,
                fontsize=7.5,
            )
        for quality in QUALITIES:
            these = part[part.quality == quality]
            if len(these):
                axis.scatter(
                    these.expected_mm,
                    these.mean_mm,
                    s=14,
                    linewidths=0.8,
                    alpha=0.75,
                    label=f"{quality} ({len(these)})",
                    **QUALITY_STYLES[quality],
                )
        axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        axis.set_aspect("equal")
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            scale.set_major_formatter(lambda value, _: f"{value:g}")
            scale.set_minor_formatter(NullFormatter())
        axis.set_xlabel("Expected error at the joints, mm")
        axis.set_ylabel("True error at the joints, mean of a pair, mm")
        if part.empty:
            raise ValueError(f"no row of {OURS} has an expected error")
        axis.legend(title="Quality", frameon=False, loc="lower right", alignment="left")
        _save(figure, path)


def _bounds(part: pd.DataFrame) -> tuple[float, float]:
    """Powers of ten, or halves between, about all values."""
    values = part[["expected_mm", "mean_mm"]].to_numpy(dtype=float)
    if not values.size:
        return 0.1, 10.0
    low, high = np.log10(max(values.min(), 0.02)), np.log10(values.max())
    return float(10 ** (np.floor(2 * low) / 2)), float(10 ** (np.ceil(2 * high) / 2))


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None})
