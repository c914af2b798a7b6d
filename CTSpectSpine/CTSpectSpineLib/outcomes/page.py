"""The page of outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from CTSpectSpineLib.outcomes.analysis import Analysis
from CTSpectSpineLib.outcomes.changes import LEAST_IMPORTANT, ResponderRow
from CTSpectSpineLib.outcomes.figures import change_figure
from CTSpectSpineLib.outcomes.flow import Flow
from CTSpectSpineLib.outcomes.flow_drawing import flow_svg
from CTSpectSpineLib.outcomes.paper_tables import before_and_after, operations
from CTSpectSpineLib.outcomes.table import measures, tables, visit_title
from CTSpectSpineLib.study_pages.content import (
    Figure,
    Section,
    Table,
    mean_sd,
    number,
    p_text,
    share_text,
)
from CTSpectSpineLib.study_pages.page import render

_NO_CONTROL = (
    "Patients before and after treatment, without a control group: natural course, regression to "
    "the mean and expectation are part of every change. Tests are not adjusted for their number."
)


def page(analysis: Analysis, flow: Flow | None, files: Sequence[str]) -> str:
    """HTML of the outcomes."""
    count = len(analysis.outcomes.patients)
    sections = list(_sections(analysis))
    if flow is not None:
        figure = Figure(flow_svg(flow), "Patient flow.")
        sections.insert(0, Section("Patient flow", (), (figure,)))
    return render(f"Outcomes of {count} patients", _lead(analysis), sections, files)


def _lead(analysis: Analysis) -> str:
    measure = analysis.outcomes.measures()[0]
    row = analysis.change(measure)
    if row is None or not row.change.count:
        return ""
    c = row.change
    return (
        f"{_title(measure)} {mean_sd(c.before_mean, c.before_sd)} before, "
        f"{mean_sd(c.after_mean, c.after_sd)} at {visit_title(row.visit)}: mean change "
        f"{c.change.text()}, {c.count} patients."
    )


def _title(measure: str) -> str:
    return str(measures()[measure]["title"])


def _sections(analysis: Analysis) -> Iterator[Section]:
    patients = analysis.outcomes.patients
    unused = analysis.outcomes.unused
    words = [_NO_CONTROL]
    if unused:
        words.append(f"Columns that were not read: {', '.join(unused)}.")
    first = operations(patients)
    tables = [*([first] if first.rows else []), *before_and_after(analysis)]
    yield Section("Before and after", tuple(words), tuple(tables))
    yield Section(
        "Change of each patient",
        (),
        tuple(change_figure(analysis, measure) for measure in analysis.outcomes.measures()),
    )
    yield Section(
        "All visits",
        (
            "Effect sizes: d_z is the mean change in standard deviations of the change, with the "
            "interval of the noncentral t distribution; r is the matched-pairs rank-biserial "
            "correlation with its bootstrap interval.",
        ),
        (_visits(analysis),),
    )
    yield _responders(analysis)
    yield _model(analysis)
    yield _missing(analysis)
    yield _groups(analysis)


def _visits(analysis: Analysis) -> Table:
    rows = [
        (
            f"{_title(row.measure)}, {row.group}",
            visit_title(row.visit),
            str(row.change.count),
            row.change.change.text(),
            p_text(row.change.p_t),
            p_text(row.change.p_signed_rank),
            row.change.d_z.text(),
            row.change.rank_biserial.text(),
        )
        for row in analysis.changes
        if row.change.count
    ]
    heads = ("Measure", "Visit", "n", "Change", "p, paired t", "p, Wilcoxon", "d_z", "r")
    return Table("Change from before treatment", heads, tuple(rows))


def _responders(analysis: Analysis) -> Section:
    def at_visit(row: ResponderRow) -> bool:
        return row.visit == analysis.visits[row.measure] and row.treated > 0

    rows = [
        (
            f"{_title(row.measure)}, {row.group}",
            row.rule,
            visit_title(row.visit),
            share_text(row.responders, row.seen, row.share),
            share_text(row.responders, row.treated, row.share_of_treated),
        )
        for row in analysis.responders
        if at_visit(row)
    ]
    own = analysis.plan.least_important or {}
    given = [f"{_title(name)} {value:g} (given by the user)" for name, value in own.items()]
    listed = [
        f"{_title(measure)} {entry['points']:g}, {region or 'other regions'} ({entry['source']})"
        for region, table in tables()["least_important"].items()
        for measure, entry in table.items()
        if measure in analysis.outcomes.measures() and measure not in own
    ]
    sources = [str(text) for text in tables()["sources"].values()]
    return Section(
        "Responders",
        (f"{LEAST_IMPORTANT.capitalize()}: {'; '.join([*given, *listed])}.", *sources),
        (
            Table(
                "Responders, with Wilson’s 95 % intervals",
                ("Measure", "Rule", "Visit", "Of those seen", "Of all, missing as no response"),
                tuple(rows),
            ),
        ),
    )


def _model(analysis: Analysis) -> Section:
    rows = [
        (
            _title(row.measure),
            visit_title(row.visit),
            row.change.text(),
            p_text(row.p),
            p_text(row.p_any),
            number(row.between_sd),
            number(row.within_sd),
            f"{row.patients} / {row.values}" + ("" if row.converged else ", not converged"),
        )
        for row in analysis.mixed
    ]
    table = Table(
        "Mean change by visit",
        ("Measure", "Visit", "Change", "p", "p, any visit", "SD between", "SD within",
         "Patients / values"),
        tuple(rows),
    )  # fmt: skip
    words = (
        "Linear mixed model: a fixed effect for each visit, a random intercept for each patient, "
        "fitted by restricted maximum likelihood. Patients with missing visits count with those "
        "they have; unbiased where values are missing at random."
    )
    return Section("Mixed model over time", (words,), (table,))


def _missing(analysis: Analysis) -> Section:
    lost = [
        (
            _title(row.measure),
            visit_title(row.visit),
            str(row.treated),
            str(row.seen),
            str(row.missing),
            row.baseline.difference.text(),
            p_text(row.baseline.p_t),
        )
        for row in analysis.dropout
    ]
    imputed = [
        (
            _title(row.measure),
            visit_title(row.visit),
            f"{row.imputed} of {row.patients}",
            number(row.observed),
            row.change.text(),
            number(100 * row.missing_information, 0),
        )
        for row in analysis.imputed
    ]
    parts = (
        Table(
            "Who was seen",
            ("Measure", "Visit", "Treated", "Seen", "Missing",
             "Before: missing minus seen", "p"),
            tuple(lost),
        ),
        Table(
            "Mean change with missing values imputed",
            ("Measure", "Visit", "Imputed", "Change of those seen", "Change of all",
             "Missing information (%)"),
            tuple(imputed),
        ),
    )  # fmt: skip
    words = (
        "Sensitivity: multiple imputation by chained equations with predictive mean matching from "
        "all other visits, pooled by Rubin’s rules. Who stays away because of pain that no other "
        "visit shows is not made up for."
    )
    return Section("Drop-out", (words,), parts)


def _groups(analysis: Analysis) -> Section:
    rows = [
        (
            f"{_title(row.measure)}, {row.first} against {row.second}",
            visit_title(row.visit),
            f"{row.comparison.first_count} / {row.comparison.second_count}",
            row.comparison.difference.text(),
            p_text(row.comparison.p_t),
            p_text(row.comparison.p_rank),
            row.comparison.hedges_g.text(),
        )
        for row in analysis.subgroups
    ]
    if not rows:
        words = (
            "No two groups: the table tells neither two regions ('region' or 'levels') nor whose "
            "verdict was followed ('verdict_followed', or --cohort)."
        )
        return Section("Groups compared", (words,))
    table = Table(
        "Difference of the changes (Welch), rank test (Mann and Whitney), Hedges’ g",
        ("Measure", "Visit", "n", "Difference", "p, Welch", "p, ranks", "g"),
        tuple(rows),
    )
    words = "Groups that nobody assigned by chance; a difference need not come from the treatment."
    return Section("Groups compared", (words,), (table,))
