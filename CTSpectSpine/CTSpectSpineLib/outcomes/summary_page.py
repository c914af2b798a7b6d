"""The page of a summary: which tests are possible, and whether its p values follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from CTSpectSpineLib.outcomes.summary import (
    SummaryCheck,
    SummaryRow,
    contradictions,
    correlation_needed,
    is_possible,
    whole_numbers,
)
from CTSpectSpineLib.outcomes.table import measures
from CTSpectSpineLib.study_pages.content import Section, Table, mean_sd, number, p_text
from CTSpectSpineLib.study_pages.page import render

_POSSIBLE = (
    ("Mean change", "yes", "a difference of the means"),
    ("Effect size in SD before treatment", "yes", "no interval without the correlation"),
    ("Bounds of the paired t test", "yes", "over all correlations of before with after"),
    ("Welch’s test, as if of two groups", "yes", "cautious where before and after correlate"),
    ("Paired t test, interval of the change, d_z", "only with 'change_sd' or 'correlation'", ""),
    ("Wilcoxon’s test", "no", "needs each patient’s values"),
    ("Responders", "no", "need each patient’s values"),
    ("Mixed model, drop-out, imputation", "no", "need each patient’s values at each visit"),
)


def name_of(row: SummaryRow) -> str:
    """What a row is called."""
    return f"{measures()[row.measure]['title']}, {row.group}"


def p_sentences(checks: Sequence[SummaryCheck], printed: Sequence[float] = ()) -> Iterator[str]:
    """Whether printed p values follow from the means, sentence by sentence.

    Parameters
    ----------
    printed
        Values of which it is not told for which row they are.
    """
    for c in checks:
        if c.follows is None:
            continue
        words = "follows from" if c.follows else "does not follow from"
        yield (
            f"{name_of(c.row)}: the printed p of {c.printed_p:g} {words} its means: whatever the "
            f"correlation, p is {_p(c.least_p)} to {_p(c.most_p)} (t {number(c.least_t)} or more)."
        )
    for p in printed:
        rows = [c for c in checks if is_possible(p, c.least_p, c.most_p)]
        if not rows:
            yield (
                f"The printed p of {p:g} does not follow from any of the means, standard "
                "deviations and numbers of patients, whatever the correlation."
            )
            continue
        named = "; ".join(f"{name_of(c.row)} ({_correlation(c.row, p)})" for c in rows)
        no = [name_of(c.row) for c in checks if c not in rows]
        yield f"The printed p of {p:g} could only be that of {named}; it is not that of " + (
            f"{'; '.join(no)}." if no else "any other."
        )


def _correlation(row: SummaryRow, p: float) -> str:
    needed = correlation_needed(row, p)
    if needed != needed:
        return "within rounding, with the most extreme correlation of before with after"
    return f"with a correlation of before with after of {needed:.2f}"


def _p(p: float) -> str:
    return f"{p:.2g}"


def summary_page(
    checks: Sequence[SummaryCheck], printed: Sequence[float], source: str, files: Sequence[str]
) -> str:
    """HTML of a summary."""
    rows = [c.row for c in checks]
    wrong = tuple(contradictions(rows))
    told = tuple(p_sentences(checks, printed))
    sections = [
        Section(
            "Do the printed p values follow?",
            told or ("No p value is given.",),
            (_values(checks), _tests(checks)),
        ),
        Section(
            "Do the numbers fit together?",
            wrong or ("Nothing was found that cannot be.",),
            (_grim(rows),),
        ),
        Section(
            "Which tests are possible",
            ("From means, standard deviations and numbers of patients alone:",),
            (Table("Tests", ("Test", "Possible", "Why"), _POSSIBLE),),
        ),
    ]
    return render("What a summary supports", f"Source: {source}.", sections, files)


def _values(checks: Sequence[SummaryCheck]) -> Table:
    rows = [
        (
            name_of(c.row),
            str(c.row.count),
            mean_sd(c.row.pre_mean.value, c.row.pre_sd.value),
            mean_sd(c.row.post_mean.value, c.row.post_sd.value),
            c.change.text(),
            number(c.d_before),
        )
        for c in checks
    ]
    heads = ("Measure", "n", "Before", "After", "Change", "Change in SD before")
    return Table("The summary", heads, tuple(rows))


def _tests(checks: Sequence[SummaryCheck]) -> Table:
    rows = [
        (
            name_of(c.row),
            f"{number(c.least_t)} to {number(c.most_t)}",
            f"{_p(c.least_p)} to {_p(c.most_p)}",
            number(c.independent_t),
            _p(c.independent_p),
            number(c.t),
            p_text(c.p),
            c.d_z.text(),
        )
        for c in checks
    ]
    return Table(
        "Tests; the range holds for any correlation of before with after and for rounding",
        ("Measure", "Paired t, range", "p, range", "t, two groups", "p, two groups",
         "Paired t", "p", "d_z"),
        tuple(rows),
    )  # fmt: skip


def _grim(rows: Sequence[SummaryRow]) -> Table:
    words = {True: "yes", False: "no"}
    cells = []
    for row in rows:
        found = whole_numbers(row)
        cells.append((name_of(row), words[found["before"]], words[found["after"]]))
    return Table(
        "Whether the means can be those of whole numbers",
        ("Measure", "Before", "After"),
        tuple(cells),
        "GRIM test (Brown and Heathers 2017). A mean that cannot says nothing where patients give "
        "half points or mark a line.",
    )
