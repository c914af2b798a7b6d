"""Plots of the study: found against true ratio, resolution, levels, ROC, coverage, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from CTSpectSpineLib.files import replacing
from CTSpectSpineLib.validation import goals, summary
from CTSpectSpineLib.validation.markdown import number, percent

INK, FAINT, BAND = "#333333", "#c8c8c8", "#e8f0e4"
# Colours of Okabe and Ito, which people with any colour vision tell apart.
STYLES: Mapping[str, dict[str, Any]] = {
    summary.CORRECTED: {"color": "#0072B2", "marker": "o"},
    summary.UNCORRECTED: {"color": "#D55E00", "marker": "^"},
    summary.MAXIMUM: {"color": "#009E73", "marker": "s"},
}
KIND_STYLES: Mapping[str, dict[str, Any]] = {
    "disc": {"color": "#0072B2", "marker": "o"},
    "facet": {"color": "#E69F00", "marker": "D"},
}
TITLES = {"disc": "Discs", "facet": "Facet joints"}
_RC: dict[Any, Any] = {
    "font.size": 8.5,
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
}
"""Style of the plots. Judgement: legible at the width of a page."""


def draw_ratios(joints: pd.DataFrame, path: Path) -> None:
    """Found against true ratio, corrected and not, one panel for each kind."""

    def panel(axis: Axes, kind: str) -> None:
        part = summary.of_kind(joints, kind)
        for column in (summary.UNCORRECTED, summary.CORRECTED):
            these = summary.measured(part, column)
            style = STYLES[column]
            axis.scatter(
                these.true_ratio,
                these[column].clip(upper=8.0),
                s=13,
                facecolors="none" if column == summary.UNCORRECTED else style["color"],
                edgecolors=style["color"],
                marker=style["marker"],
                linewidths=0.7,
                alpha=0.6,
                label=summary.WORDS[column],
            )
        axis.plot([0, 8], [0, 8], color=INK, linewidth=0.9, zorder=0)
        axis.set(xlim=(0.5, 6.5), ylim=(0, 8.1), title=TITLES[kind])
        axis.set_xlabel("True ratio to reference bone")

    _panels(path, panel, "Found ratio (above 8 drawn at 8)", (6.8, 3.5))


def draw_resolution(joints: pd.DataFrame, path: Path) -> None:
    """Relative error of hot joints by the SPECT's resolution."""

    def panel(axis: Axes, kind: str) -> None:
        groups = summary.grouped(summary.hot(summary.of_kind(joints, kind)), "resolution")
        _band(axis, -goals.MOST_BIAS, goals.MOST_BIAS, 0.0)
        columns = (summary.CORRECTED, summary.UNCORRECTED, summary.MAXIMUM)
        for shift, column in zip((-0.12, 0.0, 0.12), columns, strict=True):
            values = [
                (part.fwhm_mm.mean() + shift, summary.bias(part, column)) for _, part in groups
            ]
            points = [(at, v.mean, v.spread, v.spread) for at, v in values if v.joints]
            _points(axis, points, label=summary.WORDS[column], linewidth=1.3, **STYLES[column])
        _percent_axis(axis)
        axis.set(xlim=(6.8, 13.2), title=TITLES[kind])
        axis.set_xlabel("True resolution (FWHM), mm")

    _panels(path, panel, "Error of the ratio, hot joints\n(mean ± 1 SD)", (6.8, 3.2))


def draw_levels(joints: pd.DataFrame, path: Path) -> None:
    """Relative error by level, all joints."""
    joints = summary.measured(joints)
    levels = summary.levels_of(joints)
    label = "Error of the corrected ratio\n(mean ± 1 SD)"
    with _single(path, (7.2, 3.4), levels, label) as axis:
        _band(axis, -goals.MOST_BIAS, goals.MOST_BIAS, 0.0)
        for shift, kind in zip((-0.14, 0.14), summary.KINDS, strict=True):
            groups = summary.grouped(summary.of_kind(joints, kind), "level")
            values = [(levels.index(name) + shift, summary.bias(part)) for name, part in groups]
            points = [(at, v.mean, v.spread, v.spread) for at, v in values if v.joints]
            _points(axis, points, label=TITLES[kind], linestyle="", **KIND_STYLES[kind])
        axis.tick_params(axis="x", rotation=90)
        _percent_axis(axis)


def draw_roc(joints: pd.DataFrame, path: Path) -> None:
    """ROC curves of increased against normal joints."""

    def panel(axis: Axes, kind: str) -> None:
        part = summary.of_kind(joints, kind)
        axis.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, zorder=0)
        curve = summary.roc(part)
        for column, words in summary.WORDS.items():
            curve = summary.roc(part, column)
            axis.plot(
                curve.false_positive,
                curve.true_positive,
                color=STYLES[column]["color"],
                linewidth=1.7 if column == summary.CORRECTED else 1.2,
                linestyle="-" if column == summary.CORRECTED else "--",
                label=f"{words}: {number(curve.area, 3)}",
            )
        axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        axis.set_title(f"{TITLES[kind]} ({curve.increased} increased, {curve.normal} normal)")
        axis.set_aspect("equal")
        axis.set_xlabel("1 − specificity")
        axis.legend(title="Area under the curve", loc="lower right", alignment="left")

    _panels(path, panel, "Sensitivity", (6.8, 3.7), legend=False)


def draw_coverage(joints: pd.DataFrame, path: Path) -> None:
    """Coverage of the intervals by the true ratio."""
    low, high = goals.COVERAGE
    names = summary.RATIO_NAMES
    label = "Share of intervals with the truth\n(95 % confidence)"
    with _single(path, (5.2, 3.2), names, label) as axis:
        _band(axis, low, high, 0.95, label=f"goal, {percent(low, 0)} to {percent(high, 0)}")
        for shift, kind in zip((-0.1, 0.1), summary.KINDS, strict=True):
            points = []
            for name, part in summary.grouped(summary.of_kind(joints, kind), "ratio"):
                share = summary.coverage(part).covered
                if share.of:
                    ends = share.value - share.interval[0], share.interval[1] - share.value
                    points.append((names.index(name) + shift, share.value, *ends))
            _points(axis, points, label=TITLES[kind], linestyle="", **KIND_STYLES[kind])
        axis.set_ylim(0, 1.03)
        axis.set_xlabel("True ratio")
        _percent_axis(axis, sign="")


def draw_verdicts(patients: pd.DataFrame, path: Path) -> None:
    """Confusion matrix of the verdicts."""
    table = summary.confusion(patients)
    with mpl.rc_context({**_RC, "axes.spines.left": False, "axes.spines.bottom": False}):
        size = (0.62 * table.shape[1] + 2.6, 0.42 * table.shape[0] + 1.7)
        figure = Figure(figsize=size, layout="constrained")
        axis = figure.subplots()
        counts = table.to_numpy(dtype=int)
        shares = counts / counts.sum(axis=1, keepdims=True)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
        for row, column in np.ndindex(table.shape):
            if count := counts[row, column]:
                axis.text(
                    column,
                    row,
                    str(count),
                    ha="center",
                    va="center",
                    color="white" if shares[row, column] > 0.7 else INK,
                    fontweight="bold" if table.index[row] == table.columns[column] else "normal",
                )
        words = [str(name).replace("_", " ") for name in table.columns]
        axis.set_xticks(range(len(words)), words, rotation=40, ha="left", rotation_mode="anchor")
        axis.set_yticks(range(len(table)), [str(n).replace("_", " ") for n in table.index])
        axis.tick_params(length=0, labeltop=True, labelbottom=False)
        axis.set_xticks(np.arange(1, table.shape[1]) - 0.5, minor=True)
        axis.set_yticks(np.arange(1, table.shape[0]) - 0.5, minor=True)
        axis.grid(which="minor", color="white", linewidth=1.5)
        axis.tick_params(which="minor", length=0)
        axis.set_ylabel("True disposition")
        axis.set_xlabel("Found disposition (number of patients)")
        _save(figure, path)


def _band(axis: Axes, low: float, high: float, middle: float, label: str = "") -> None:
    """The goal as a band."""
    axis.axhspan(low, high, color=BAND, zorder=-2, label=label or None)
    axis.axhline(middle, color=INK, linewidth=0.9, zorder=-1)


def _points(axis: Axes, points: Sequence[tuple[float, ...]], **style: Any) -> None:
    """Points with errors: place, value, error below, error above."""
    if points:
        x, y, *ends = np.array(points, dtype=float).T
        errors = np.maximum(np.nan_to_num(ends), 0.0)
        axis.errorbar(x, y, errors, markersize=4.5, elinewidth=0.9, capsize=2, **style)


@contextmanager
def _single(
    path: Path, size: tuple[float, float], names: Sequence[str], label: str
) -> Iterator[Axes]:
    """One panel over named places."""
    with mpl.rc_context(_RC):
        figure = Figure(figsize=size, layout="constrained")
        axis = figure.subplots()
        yield axis
        axis.set_xticks(range(len(names)), names)
        axis.set_xlim(-0.6, len(names) - 0.4)
        axis.set_ylabel(label)
        figure.legend(*axis.get_legend_handles_labels(), loc="outside upper left", ncols=3)
        _save(figure, path)


def _panels(
    path: Path,
    draw: Callable[[Axes, str], None],
    label: str,
    size: tuple[float, float],
    *,
    legend: bool = True,
) -> None:
    """One panel for each kind, side by side."""
    with mpl.rc_context(_RC):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(summary.KINDS), sharey=True)
        for axis, kind in zip(axes, summary.KINDS, strict=True):
            draw(axis, kind)
            axis.set_title(axis.get_title(), loc="left", fontsize=9)
            axis.set_title("")
        axes[0].set_ylabel(label)
        if legend:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
        _save(figure, path)


def _percent_axis(axis: Axes, sign: str = "+") -> None:
    axis.yaxis.set_major_formatter(
        lambda value, _: f"{100 * value:{sign}.0f} %".replace("-", "−").replace("+0 ", "0 ")
    )


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})
