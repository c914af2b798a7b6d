"""Tables in the layout of the paper: operations, then each region before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from CTSpectSpineLib.outcomes.analysis import Analysis
from CTSpectSpineLib.outcomes.changes import EVERYBODY
from CTSpectSpineLib.outcomes.followed import is_operated
from CTSpectSpineLib.outcomes.table import REGIONS, Patient, measures, visit_title
from CTSpectSpineLib.statistics.proportions import share
from CTSpectSpineLib.study_pages.content import Table, mean_sd, number, p_text, share_text

_MOST_LEVELS = 3
"""Column that holds as many levels or more. Convention: the paper has one and two."""


def operations(patients: Sequence[Patient]) -> Table:
    """Table 1: operations by region and number of levels."""
    counts: Counter[tuple[str, str, int]] = Counter()
    for p in patients:
        if is_operated(p):
            procedure = p.procedure or "not told"
            counts[p.region, procedure, min(len(p.levels), _MOST_LEVELS)] += 1
    rows: list[tuple[str, ...]] = []
    for region in (*REGIONS, ""):
        here = {key: n for key, n in counts.items() if key[0] == region}
        if not here:
            continue
        name = region.capitalize() or "Region not told"
        rows.append((name, "all", *_cells(here)))
        for procedure in sorted({key[1] for key in here}):
            part = {key: n for key, n in here.items() if key[1] == procedure}
            rows.append((name, procedure, *_cells(part)))
    return Table(
        "Table 1. Operations",
        ("Region", "Procedure", "1 level", "2 levels", "3 or more", "Levels not told", "Patients"),
        tuple(rows),
    )


def _cells(counts: dict[tuple[str, str, int], int]) -> tuple[str, ...]:
    of = Counter[int]()
    for (_, _, levels), count in counts.items():
        of[levels] += count
    return (*(str(of[n]) for n in (1, 2, 3, 0)), str(sum(of.values())))


def before_and_after(analysis: Analysis) -> Iterator[Table]:
    """Tables 2 and 3: each region before and after; one of all where no region is told."""
    regions = [r for r in REGIONS if any(p.region == r for p in analysis.outcomes.patients)]
    for place, region in enumerate(regions or [EVERYBODY], start=2):
        group = region if len(regions) > 1 else EVERYBODY
        rows = []
        for measure in analysis.outcomes.measures():
            row = analysis.change(measure, group)
            if row is not None and row.change.count:
                c = row.change
                rows.append(
                    (
                        str(measures()[measure]["title"]),
                        visit_title(row.visit),
                        str(c.count),
                        mean_sd(c.before_mean, c.before_sd),
                        mean_sd(c.after_mean, c.after_sd),
                        c.change.text(),
                        number(c.t),
                        p_text(c.p_t),
                        p_text(c.p_signed_rank),
                    )
                )
        words = "all patients" if region == EVERYBODY else f"{region} spine"
        yield Table(
            f"Table {place}. Before and after, {words}",
            ("Measure", "After", "n", "Before (mean ± SD)", "After (mean ± SD)",
             "Change (95 % interval)", "t", "p, paired t", "p, Wilcoxon"),
            tuple(rows),
            _who(analysis, region),
        )  # fmt: skip


def _who(analysis: Analysis, region: str) -> str:
    """Age, sex and fusion of a region, in a sentence."""
    people = [p for p in analysis.outcomes.patients if region in (EVERYBODY, p.region)]
    said = [f"{len(people)} patients"]
    ages = np.array([p.age_years for p in people if p.age_years == p.age_years])
    if len(ages) > 1:
        age = mean_sd(float(ages.mean()), float(ages.std(ddof=1)), 1)
        said.append(f"age {age} years ({ages.min():g} to {ages.max():g})")
    women = [p.sex for p in people if p.sex]
    if women:
        said.append(f"{women.count('female')} of {len(women)} women")
    fused = [p.fused for p in people if p.fused is not None]
    if fused:
        count = sum(fused)
        words = share_text(count, len(fused), share(count, len(fused)))
        said.append(f"fused by CT {words}")
    return "; ".join(said) + "."
