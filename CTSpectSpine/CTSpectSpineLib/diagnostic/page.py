"""The page of diagnostic value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from CTSpectSpineLib.diagnostic.accuracy import (
    CHANCES,
    LEAST_EACH,
    DecisionRow,
    Diagnosis,
    RatioRow,
)
from CTSpectSpineLib.study_pages.content import Figure as Shown
from CTSpectSpineLib.study_pages.content import Section, Table, number
from CTSpectSpineLib.study_pages.drawing import (
    BLUE,
    INK,
    QUIET,
    VERMILION,
    plain_axes,
    styled,
    svg_of,
)
from CTSpectSpineLib.study_pages.page import render


def page(diagnosis: Diagnosis, files: Sequence[str]) -> str:
    """HTML of the diagnostic value."""
    observations = diagnosis.observations
    patients = len({o.patient for o in observations})
    with_it = sum(o.condition for o in observations)
    what = "joints" if any(o.joint for o in observations) else "patients"
    lead = (
        f"{len(observations)} {what} of {patients} patients with a reference, {with_it} of them "
        "positive."
    )
    return render("Diagnostic value of the uptake", lead, list(_sections(diagnosis)), files)


def _sections(diagnosis: Diagnosis) -> Iterator[Section]:
    several = any(row.patients < row.observations for row in diagnosis.accuracy)
    intervals = (
        "Joints of one patient are not independent: intervals are of a bootstrap of patients."
        if several
        else "Intervals: Wilson’s for shares, Simel’s for likelihood ratios."
    )
    yield Section(
        "Uptake class against the reference",
        (
            "What is not measurable takes no part; an indeterminate result counts once as negative "
            f"and once as positive. {intervals} Predictive values hold only where the condition is "
            "as frequent as here.",
        ),
        (_counts(diagnosis), _rates(diagnosis)),
    )
    yield Section("Ratio against the reference", (), (_areas(diagnosis), _curves(diagnosis)))
    yield Section(
        "Decision curve",
        (
            "Net benefit of acting on a positive result, by the chance of the condition from which "
            "one would act, against acting always and never (Vickers and Elkin 2006). A result is "
            "worth having only where its line is the highest.",
        ),
        tuple(_decision_figure(row) for row in diagnosis.decisions),
    )
    yield _own(diagnosis)


def _counts(diagnosis: Diagnosis) -> Table:
    rows = [
        (
            f"{row.group}, {row.reading}",
            str(row.patients),
            str(row.cells.true_positive),
            str(row.cells.false_positive),
            str(row.cells.false_negative),
            str(row.cells.true_negative),
            str(row.not_measurable),
        )
        for row in diagnosis.accuracy
    ]
    heads = ("Group, positive test", "Patients", "True positive", "False positive",
             "False negative", "True negative", "Not measurable")  # fmt: skip
    return Table("Counts", heads, tuple(rows))


def _rates(diagnosis: Diagnosis) -> Table:
    rows = [
        (
            f"{row.group}, {row.reading}",
            row.sensitivity.text(),
            row.specificity.text(),
            row.likelihood_positive.text(),
            row.likelihood_negative.text(),
            row.predictive_positive.text(),
            row.predictive_negative.text(),
        )
        for row in diagnosis.accuracy
    ]
    heads = ("Group, positive test", "Sensitivity", "Specificity", "LR +", "LR −", "PPV", "NPV")
    return Table("Accuracy with 95 % intervals", heads, tuple(rows))


def _areas(diagnosis: Diagnosis) -> Table:
    rows = [
        (row.group, str(row.with_condition), str(row.without_condition), row.area.text())
        for row in diagnosis.ratios
    ]
    heads = ("Group", "With", "Without", "Area under the curve")
    return Table("How well the ratio tells them apart", heads, tuple(rows))


def _curves(diagnosis: Diagnosis) -> Shown:
    rows = diagnosis.ratios
    with styled():
        figure = Figure(figsize=(3.5 * len(rows) + 0.3, 4.0), layout="constrained")
        panels = figure.subplots(1, len(rows), squeeze=False)[0]
        for axes, row in zip(panels, rows, strict=True):
            _draw_curve(axes, row)
        words = " ".join(f"{row.group}: area under the curve {row.area.text()}." for row in rows)
        svg = svg_of(figure, "roc", "Receiver operating characteristics of the ratio", words)
    return Shown(svg, "Receiver operating characteristics of the ratio.")


def _draw_curve(axes: Axes, row: RatioRow) -> None:
    axes.plot([0, 1], [0, 1], color=QUIET, lw=1, ls=(0, (4, 3)))
    axes.step(1 - row.curve.specificity, row.curve.sensitivity, where="post", color=BLUE, lw=2)
    cut = row.cut_off
    if cut is not None and isfinite(cut.value.value):
        axes.plot(
            1 - cut.specificity, cut.sensitivity, "o", color=VERMILION, markersize=7,
            label=f"ratio {cut.value.value:.2f}",
        )  # fmt: skip
        axes.plot(
            1 - cut.corrected_specificity, cut.corrected_sensitivity, "D", markersize=7,
            color=VERMILION, markerfacecolor="white", label="less optimism",
        )  # fmt: skip
        axes.legend(loc="lower right", fontsize=9)
    plain_axes(axes, "1 − specificity", "sensitivity")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_title(f"{row.group}: {row.area.text()}", fontsize=10)


def _decision_figure(row: DecisionRow) -> Shown:
    with styled():
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        axes = figure.subplots()
        axes.fill_between(CHANCES, row.low, row.high, color=BLUE, alpha=0.15, lw=0)
        axes.plot(CHANCES, row.benefit.test, color=BLUE, lw=2, label="positive uptake")
        if row.own is not None:
            label = "own bound, less optimism"
            axes.plot(CHANCES, row.own, color=VERMILION, lw=1.6, ls="-.", label=label)
        axes.plot(CHANCES, row.benefit.everybody, color=QUIET, lw=1.4, ls="--", label="always")
        axes.axhline(0, color=INK, lw=1.2, label="never")
        top = max(float(row.benefit.everybody[0]), float(row.high.max()), 0.05)
        plain_axes(axes, "chance from which one would act", "net benefit")
        axes.set(xlim=(0, 1), ylim=(-0.35 * top, 1.1 * top))
        axes.legend(loc="upper right", fontsize=9)
        best = CHANCES[(row.benefit.test > np.maximum(row.benefit.everybody, 0))]
        words = (
            f"Positive uptake is better than always and never for chances of {best.min():g} to "
            f"{best.max():g}."
            if len(best)
            else "Positive uptake is nowhere better than always or never."
        )
        svg = svg_of(figure, f"decision-{row.group}", f"Decision curve, {row.group}", words)
    return Shown(svg, f"Decision curve, {row.group}, with the 95 % band of a bootstrap. {words}")


def _own(diagnosis: Diagnosis) -> Section:
    rows = []
    for row in diagnosis.ratios:
        cut = row.cut_off
        if cut is None:
            continue
        rows.append(
            (
                row.group,
                cut.value.text(),
                number(cut.sensitivity),
                number(cut.specificity),
                number(cut.corrected_sensitivity),
                number(cut.corrected_specificity),
            )
        )
    few = [row.group for row in diagnosis.ratios if row.cut_off is None]
    words = [
        "A bound chosen in the data in which it is tested looks better than it is. What is left of "
        "it is estimated by choosing it anew in draws of the patients (bootstrap)."
    ]
    if few:
        words.append(
            f"None for {', '.join(few)}: fewer than {LEAST_EACH} with the condition, or without."
        )
    table = Table(
        "Bounds of these data",
        ("Group", "Ratio", "Sensitivity here", "Specificity here", "Sensitivity less optimism",
         "Specificity less optimism"),
        tuple(rows),
    )  # fmt: skip
    return Section("Bounds of your own", tuple(words), (table,) if rows else ())
