"""The page of agreement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from CTSpectSpineLib.agreement.compare import AgreementRow, RetestRow
from CTSpectSpineLib.agreement.readings import CLASSES
from CTSpectSpineLib.study_pages.content import Figure as Shown
from CTSpectSpineLib.study_pages.content import Section, Table, share_text
from CTSpectSpineLib.study_pages.drawing import BLUE, INK, VERMILION, plain_axes, styled, svg_of
from CTSpectSpineLib.study_pages.page import render

_DRAWN = (
    "Intervals draw patients, since joints of one patient are not independent; where every patient "
    "has one joint they are those of the formulas."
)


def page(
    readers: Sequence[AgreementRow],
    repeated: Sequence[RetestRow],
    classes: Sequence[AgreementRow],
    files: Sequence[str],
) -> str:
    """HTML of the agreement.

    Parameters
    ----------
    readers
        Of readers and the software.
    repeated, classes
        Ratios and uptake classes of two measurements.
    """
    sections: list[Section] = []
    if readers:
        sections.append(_classes("Readers and software", readers))
    if repeated:
        sections.append(_ratios(repeated))
    if classes:
        sections.append(_classes("Uptake classes of both measurements", classes))
    return render("Agreement and reliability", _lead(readers, repeated), sections, files)


def _lead(readers: Sequence[AgreementRow], repeated: Sequence[RetestRow]) -> str:
    said = [
        f"{row.first} and {row.second}: kappa {row.kappa.text()}, {row.joints} joints of "
        f"{row.patients} patients."
        for row in readers
        if row.group == "all"
    ]
    said += [
        f"Measured twice, {row.group}s: ICC {row.reliability.absolute.text()}, repeatability "
        f"{row.limits.repeatability.text()}."
        for row in repeated
    ]
    return " ".join(said)


def _classes(title: str, rows: Sequence[AgreementRow]) -> Section:
    cells = [
        (
            f"{row.first} and {row.second}, {row.group}",
            f"{row.patients} / {row.joints}",
            str(row.left_out),
            share_text(int(row.table.trace()), row.joints, row.same),
            row.kappa.text(),
            row.kappa_positive.text(),
            row.kappa_linear.text(),
            row.kappa_quadratic.text(),
        )
        for row in rows
    ]  # fmt: skip
    heads = ("Readings", "Patients / joints", "Not measurable", "Same class (Wilson)", "Kappa",
             "Kappa, positive or not", "Kappa, linear", "Kappa, squares")  # fmt: skip
    whole = [row for row in rows if row.group == "all"]
    words = (
        "Cohen’s kappa of the classes negative, indeterminate and positive; weighted, a "
        f"neighbouring class is half an error (linear) or a quarter (squares). {_DRAWN}"
    )
    parts = (
        Table(f"Agreement: {title[:1].lower()}{title[1:]}", heads, tuple(cells)),
        *(_cross(row) for row in whole),
    )
    return Section(title, (words,), parts)


def _cross(row: AgreementRow) -> Table:
    cells = [
        (f"{row.first}: {name}", *(str(count) for count in counts))
        for name, counts in zip(CLASSES, row.table.tolist(), strict=True)
    ]
    heads = ("Class", *(f"{row.second}: {name}" for name in CLASSES))
    return Table(f"Joints by class, {row.first} and {row.second}", heads, tuple(cells))


def _ratios(rows: Sequence[RetestRow]) -> Section:
    words = (
        "Intraclass correlations of single measurements: ICC(2,1) for absolute agreement, ICC(3,1) "
        "without a difference of the means. 95 % of two measurements differ by less than the "
        f"coefficient of repeatability. {_DRAWN}"
    )
    table = Table(
        "Reliability of the ratio",
        ("Joints", "Patients / joints", "Measured once", "ICC(2,1)", "ICC(3,1)"),
        tuple(
            (
                f"{row.group}s",
                f"{row.patients} / {row.joints}",
                str(row.once),
                row.reliability.absolute.text(3),
                row.reliability.consistent.text(3),
            )
            for row in rows
        ),
    )
    limits = Table(
        "Second minus first (Bland and Altman), and as a factor",
        ("Joints", "Mean", "Lower limit", "Upper limit", "Repeatability"),
        tuple(cells for row in rows for cells in _limit_rows(row)),
    )
    return Section(
        "Ratios measured twice", (words,), (table, limits, *(_figure(row) for row in rows))
    )


def _limit_rows(row: RetestRow) -> Iterator[tuple[str, ...]]:
    for words, found, digits in (
        (f"{row.group}s, ratio", row.limits, 3),
        (f"{row.group}s, factor", row.relative, 3),
    ):
        estimates = (found.bias, found.lower, found.upper, found.repeatability)
        yield (words, *(estimate.text(digits) for estimate in estimates))


def _figure(row: RetestRow) -> Shown:
    with styled():
        figure = Figure(figsize=(7.2, 3.9), layout="constrained")
        axes = figure.subplots()
        middle, difference = (row.first + row.second) / 2, row.second - row.first
        axes.scatter(middle, difference, s=20, color=BLUE, alpha=0.6, linewidths=0)
        for estimate, style, words in (
            (row.limits.bias, "-", "mean"),
            (row.limits.lower, "--", "limits of agreement"),
            (row.limits.upper, "--", ""),
        ):
            colour = INK if words == "mean" else VERMILION
            axes.axhline(estimate.value, color=colour, ls=style, lw=1.4, label=words or None)
            axes.axhspan(estimate.low, estimate.high, color=colour, alpha=0.1, lw=0)
        plain_axes(axes, "mean of both ratios", "second minus first")
        # Limits lie far from the points where these agree; the legend must hide none.
        figure.legend(loc="outside upper right", ncols=2, fontsize=9)
        limits = f"{row.limits.lower.value:.2f} to {row.limits.upper.value:.2f}"
        said = (
            f"{row.joints} joints; mean difference {row.limits.bias.text()}, limits of agreement "
            f"{limits}."
        )
        title = f"Bland–Altman plot, {row.group}s"
        svg = svg_of(figure, f"limits-{row.group}", title, said)
    return Shown(svg, f"{title}; bands are the intervals of the lines.")
