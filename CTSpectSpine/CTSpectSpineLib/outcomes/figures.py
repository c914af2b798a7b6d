"""Figures of outcomes: each patient over time, and each patient's change."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from CTSpectSpineLib.outcomes.analysis import Analysis
from CTSpectSpineLib.outcomes.changes import EVERYBODY, SHARES, groups
from CTSpectSpineLib.outcomes.table import BASELINE, REGIONS, measures, visit_title
from CTSpectSpineLib.statistics.estimate import mean_interval
from CTSpectSpineLib.study_pages.content import Figure as Shown
from CTSpectSpineLib.study_pages.drawing import (
    BLUE,
    GREEN,
    INK,
    LINE,
    ORANGE,
    VERMILION,
    plain_axes,
    styled,
    svg_of,
)

_STYLES = {
    EVERYBODY: (INK, "o"),
    "cervical": (BLUE, "^"),
    "lumbar": (VERMILION, "s"),
    "thoracic": (GREEN, "D"),
}
_SPREAD = 0.012
"""Shift of groups along the visits, share of the width. Judgement: intervals stand apart."""
_JITTER = 0.012
"""Shift of a patient's line, share of the scale. Judgement: equal values stay apart."""


def change_figure(analysis: Analysis, measure: str) -> Shown:
    """Each patient's values over time with means, and each patient's change, sorted."""
    title = str(measures()[measure]["title"])
    visit = analysis.visits[measure]
    with styled():
        figure = Figure(figsize=(9.6, 4.1), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1))
        _over_time(left, analysis, measure)
        words = _each_change(right, analysis, measure)
        svg = svg_of(figure, f"change-{measure}", f"{title}: change of each patient", words)
    caption = (
        f"{title}. Left: each patient (thin lines, shifted a little so that equal values stay "
        f"apart) and means with 95 % intervals. Right: change from before to {visit_title(visit)} "
        "of each patient."
    )
    return Shown(svg, caption)


def _over_time(axes: Axes, analysis: Analysis, measure: str) -> None:
    outcomes = analysis.outcomes
    shown = [BASELINE, *outcomes.after(measure)]
    table = np.column_stack([outcomes.of(measure, v) for v in shown])
    scale = measures()[measure]
    span = float(scale["high"]) - float(scale["low"])
    shift = np.linspace(-_JITTER, _JITTER, max(len(table), 1)) * span
    for values, by in zip(table, shift, strict=True):
        seen = np.isfinite(values)
        axes.plot(np.flatnonzero(seen), values[seen] + by, color=LINE, lw=0.6, alpha=0.45)
    named = [g for g in groups(outcomes) if g in REGIONS] or [EVERYBODY]
    there = groups(outcomes)
    for place, group in enumerate(named):
        colour, marker = _STYLES[group]
        estimates = [mean_interval(c[there[group] & np.isfinite(c)]) for c in table.T]
        at = np.arange(len(shown)) + (place - (len(named) - 1) / 2) * 2 * _SPREAD * len(shown)
        means = np.array([e.value for e in estimates])
        ends = np.abs(np.array([(e.low, e.high) for e in estimates]).T - means)
        axes.errorbar(
            at, means, np.nan_to_num(ends), color=colour, marker=marker, markersize=6, lw=2,
            capsize=3, label="all patients" if group == EVERYBODY else group,
        )  # fmt: skip
    plain_axes(axes, "", str(scale["words"]))
    axes.set_xticks(range(len(shown)), [visit_title(v) for v in shown])
    axes.set_ylim(float(scale["low"]) - 0.03 * span, float(scale["high"]) + 0.03 * span)
    axes.set_title("Each patient and the means")
    axes.legend(fontsize=9, loc="upper right")


def _each_change(axes: Axes, analysis: Analysis, measure: str) -> str:
    """Draw the sorted changes; say in words what they show."""
    outcomes, visit = analysis.outcomes, analysis.visits[measure]
    before = outcomes.of(measure, BASELINE)
    change = outcomes.of(measure, visit) - before
    there = np.flatnonzero(np.isfinite(change))
    order = there[np.argsort(change[there], kind="stable")]
    relief = np.divide(-change, before, out=np.full(len(before), np.nan), where=before > 0)
    least, more = SHARES
    much, some = (relief >= part - 1e-9 for part in (more, least))
    kinds = (
        (f"{more:.0%} relief or more", BLUE, "", much),
        (f"{least:.0%} to {more:.0%}", ORANGE, "//", some & ~much),
        (f"less than {least:.0%}, or worse", "#b9c2ca", "..", ~some),
    )  # fmt: skip
    said = []
    for words, colour, hatch, applies in kinds:
        places = np.flatnonzero(applies[order])
        axes.bar(
            places, change[order[places]], color=colour, width=0.85, label=words, hatch=hatch,
            edgecolor="white", linewidth=0.3,
        )  # fmt: skip
        said.append(f"{words}: {len(places)}")
    still = [n for n, p in enumerate(order) if change[p] == 0]
    axes.plot(still, np.zeros(len(still)), "o", color=INK, markersize=3)
    axes.axhline(0, color=INK, lw=0.8)
    plain_axes(axes, "patients, by their change", f"change to {visit_title(visit)}")
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_title("Change of each patient")
    axes.legend(fontsize=9, loc="lower right")
    row = analysis.change(measure)
    mean = f" Mean change {row.change.change.text()}." if row is not None else ""
    return f"{len(order)} patients with both values. {'; '.join(said)}.{mean}".replace("%", " %")
