"""What can be said from means, standard deviations and numbers of patients alone.

A paired test needs the spread of the changes, which such a summary does not tell. It does bound it,
so that a printed p value can be checked against the means it stands beside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, inf, isfinite, nan, sqrt
from pathlib import Path

from CTSpectSpineLib.cell_table import CellTable, read_cells
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.outcomes.table import measures
from CTSpectSpineLib.spreadsheet import MISSING
from CTSpectSpineLib.statistics.estimate import Estimate, interval_ends
from CTSpectSpineLib.statistics.paired import d_z, summary_t

NEEDED = ("measure", "group", "n", "pre_mean", "pre_sd", "post_mean", "post_sd")
OPTIONAL = ("p", "change_sd", "correlation")
_MOST_PATIENTS = 1e6
"""Most patients of a summary. Judgement: more than any study has."""
_WHOLE = "all"


@dataclass(frozen=True)
class Printed:
    """A number as it is printed, and between which it was rounded."""

    value: float
    half: float = 0.0

    @classmethod
    def of(cls, text: str) -> Printed:
        """From its digits; NaN of an empty text."""
        if not text:
            return cls(nan)
        decimals = re.search(r"[.,](\d+)$", text)
        digits = len(decimals[1]) if decimals else 0
        return cls(float(text.replace(",", ".")), 0.5 * 10.0**-digits)

    @property
    def low(self) -> float:
        """Least that rounds to it."""
        return self.value - self.half

    @property
    def high(self) -> float:
        """Most that rounds to it."""
        return self.value + self.half


@dataclass(frozen=True)
class SummaryRow:
    """A measure of a group before and after, as printed.

    Attributes
    ----------
    p
        The p value printed for the change; NaN where there is none.
    change_sd, correlation
        Of the changes; of the values before with those after. NaN where not told.
    """

    measure: str
    group: str
    count: int
    pre_mean: Printed
    pre_sd: Printed
    post_mean: Printed
    post_sd: Printed
    p: float = nan
    change_sd: float = nan
    correlation: float = nan


@dataclass(frozen=True)
class SummaryCheck:
    """What a row of a summary supports.

    Attributes
    ----------
    change
        Mean change; its interval where the spread of the changes is told.
    least_t, most_t, least_p, most_p
        Of the paired t test over all correlations and all values that round to the printed ones.
    independent_t, independent_p
        Where both values were uncorrelated groups (Welch).
    t, p
        The test itself, where the spread of the changes is told.
    d_z
        Its effect size.
    d_before
        Mean change in standard deviations before treatment (Becker 1988).
    printed_p
        As printed.
    follows
        Whether a printed p is possible with these means; None where there is none.
    """

    row: SummaryRow
    change: Estimate
    least_t: float
    most_t: float
    least_p: float
    most_p: float
    independent_t: float
    independent_p: float
    t: float
    p: float
    d_z: Estimate
    d_before: float
    printed_p: float
    follows: bool | None


def published(name: str) -> Mapping[str, object]:
    """A published study that ships with the software.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    studies = json_table(Path(__file__).with_name("published.json"))
    if name not in studies:
        raise InputError(
            f"'{name}' is neither a file nor a study that is known ({', '.join(studies)}); check "
            "the path."
        )
    found: Mapping[str, object] = studies[name]
    return found


def published_rows(name: str) -> tuple[list[SummaryRow], list[float]]:
    """Rows of a published summary, and the p values it prints without telling for which row."""
    study = published(name)
    rows: Sequence[Mapping[str, str]] = study["summary"]  # type: ignore[assignment]
    printed: list[float] = study["printed_p"]  # type: ignore[assignment]
    found = [
        SummaryRow(
            row["measure"],
            row["group"],
            int(row["n"]),
            Printed.of(row["pre_mean"]),
            Printed.of(row["pre_sd"]),
            Printed.of(row["post_mean"]),
            Printed.of(row["post_sd"]),
        )
        for row in rows
    ]
    return found, printed


def read_summary(path: Path) -> list[SummaryRow]:
    """Read a table of means; columns are `NEEDED`, and `OPTIONAL` as wanted.

    Raises
    ------
    InputError
        Naming row and column, if a value is missing or not possible.
    """
    cells = read_cells(path, {*NEEDED, *OPTIONAL}, NEEDED, "a table of means")
    if not cells.rows:
        raise InputError(f"{path} holds no rows; give one for each measure and group.")
    names = cells.choices("measure", tuple(measures()))
    bounds = {"n": (2.0, _MOST_PATIENTS), "p": (0.0, 1.0), "correlation": (-1.0, 1.0)}
    bounds |= dict.fromkeys(("pre_sd", "post_sd", "change_sd"), (0.0, inf))
    bounds |= dict.fromkeys(("pre_mean", "post_mean"), (-inf, inf))
    numbers = cells.numbers(bounds)
    for row, name in enumerate(names):
        for column in NEEDED:
            if cells.cells(column)[row].lower() in MISSING:
                raise InputError(f"{cells.where(row, column)} is empty; give it.")
        _check_row(cells, row, name, numbers)
    told = {name: numbers.get(name, [nan] * len(names)) for name in OPTIONAL}

    def printed(column: str, row: int) -> Printed:
        return Printed.of(cells.cells(column)[row])

    return [
        SummaryRow(
            name,
            cells.cells("group")[row],
            int(numbers["n"][row]),
            printed("pre_mean", row),
            printed("pre_sd", row),
            printed("post_mean", row),
            printed("post_sd", row),
            *(told[column][row] for column in OPTIONAL),
        )
        for row, name in enumerate(names)
    ]


def _check_row(
    cells: CellTable, row: int, measure: str, numbers: Mapping[str, Sequence[float]]
) -> None:
    if not numbers["n"][row].is_integer():
        raise InputError(f"{cells.where(row, 'n')}: give a whole number of patients.")
    low, high = (float(measures()[measure][end]) for end in ("low", "high"))
    for column in ("pre_mean", "post_mean"):
        if not low <= numbers[column][row] <= high:
            raise InputError(
                f"{cells.where(row, column)}: {numbers[column][row]:g} is not possible; "
                f"{measures()[measure]['title']} is {low:g} to {high:g}."
            )


def check(row: SummaryRow) -> SummaryCheck:
    """What a row supports, and whether its printed p follows from it."""
    from scipy.stats import t as student

    n = row.count
    middle = summary_t(
        n, row.pre_mean.value, row.pre_sd.value, row.post_mean.value, row.post_sd.value
    )
    least_t, most_t = _t_range(row)
    least_p, most_p = (float(2 * student.sf(t, n - 1)) if isfinite(t) else 0.0
                       for t in (most_t, least_t))  # fmt: skip
    change, spread = row.post_mean.value - row.pre_mean.value, _change_sd(row)
    estimate, t, p = Estimate(change), nan, nan
    if spread > 0:
        error = spread / sqrt(n)
        t = change / error
        p = float(2 * student.sf(abs(t), n - 1))
        half = float(student.ppf(interval_ends()[1], n - 1)) * error
        estimate = Estimate(change, change - half, change + half)
    follows = None if row.p != row.p else is_possible(row.p, least_p, most_p)
    before = row.pre_sd.value
    return SummaryCheck(
        row, estimate, least_t, most_t, least_p, most_p, middle.independent, middle.p_independent,
        t, p, d_z(t, n), change / before if before > 0 else nan, row.p, follows,
    )  # fmt: skip


def is_possible(p: float, least: float, most: float) -> bool:
    """Whether a printed p lies between two, when it is rounded to three decimals."""
    return least - 5e-4 <= p <= most + 5e-4


def _change_sd(row: SummaryRow) -> float:
    """Standard deviation of the changes, NaN where it is not told."""
    if row.change_sd == row.change_sd:
        return row.change_sd
    one, other = row.pre_sd.value, row.post_sd.value
    return sqrt(max(one**2 + other**2 - 2 * row.correlation * one * other, 0.0))


def _t_range(row: SummaryRow) -> tuple[float, float]:
    """Smallest and largest size of t over correlations and rounding."""
    gap = abs(row.post_mean.value - row.pre_mean.value)
    slack = row.pre_mean.half + row.post_mean.half
    widest = row.pre_sd.high + row.post_sd.high
    nearest = max(row.pre_sd.low, row.post_sd.low) - min(row.pre_sd.high, row.post_sd.high)
    root = sqrt(row.count)
    least = max(gap - slack, 0.0) * root / widest if widest > 0 else inf
    most = (gap + slack) * root / nearest if nearest > 0 else inf
    return least, most


def contradictions(rows: Sequence[SummaryRow]) -> Iterator[str]:
    """What in a summary cannot be, sentence by sentence."""
    for row in rows:
        yield from _impossible_spread(row)
    by_measure: dict[str, dict[str, SummaryRow]] = {}
    for row in rows:
        by_measure.setdefault(row.measure, {})[row.group] = row
    for measure, named in by_measure.items():
        whole = named.get(_WHOLE)
        parts = [row for group, row in named.items() if group != _WHOLE]
        if whole is not None and parts and sum(p.count for p in parts) == whole.count:
            yield from _parts_and_whole(measure, whole, parts)


def _impossible_spread(row: SummaryRow) -> Iterator[str]:
    """A mean near an end of the scale bounds the spread (Bhatia and Davis 2000)."""
    scale = measures()[row.measure]
    low, high = float(scale["low"]), float(scale["high"])
    for when, mean, sd in (
        ("before", row.pre_mean, row.pre_sd),
        ("after", row.post_mean, row.post_sd),
    ):
        ends = [min(max(m, low), high) for m in (mean.low, mean.value, mean.high)]
        most = max(sqrt((high - m) * (m - low) * row.count / (row.count - 1)) for m in ends)
        if sd.low > most:
            yield (
                f"{scale['title']}, {row.group}, {when}: a standard deviation of {sd.value:g} is "
                f"not possible with a mean of {mean.value:g} on a scale of {low:g} to {high:g}; "
                f"the most is {most:.2f}."
            )


def _parts_and_whole(measure: str, whole: SummaryRow, parts: Sequence[SummaryRow]) -> Iterator[str]:
    """Means of groups, by their numbers of patients, give the mean of all."""
    for when in ("pre_mean", "post_mean"):
        printed: Printed = getattr(whole, when)
        low, middle, high = (
            sum(getattr(getattr(p, when), end) * p.count for p in parts) / whole.count
            for end in ("low", "value", "high")
        )
        if high < printed.low or low > printed.high:
            names = " and ".join(f"{p.group} ({p.count})" for p in parts)
            words = "before" if when == "pre_mean" else "after"
            yield (
                f"{measures()[measure]['title']}, {words}: the means of {names} give "
                f"{middle:.2f} for all {whole.count}, not the printed {printed.value:g}; rounding "
                "does not explain it."
            )


def whole_numbers(row: SummaryRow) -> dict[str, bool]:
    """Whether each mean can come from whole numbers of as many patients.

    Notes
    -----
    Brown NJL, Heathers JAJ. The GRIM test. Soc Psychol Personal Sci 2017;8:363-9. Of half points or
    marks on a line it says nothing.
    """

    def possible(mean: Printed) -> bool:
        # The decimals of a product of binary fractions are no proof.
        low, high = mean.low * row.count - 1e-9, mean.high * row.count + 1e-9
        return floor(high) >= ceil(low)

    return {"before": possible(row.pre_mean), "after": possible(row.post_mean)}


def correlation_needed(row: SummaryRow, p: float) -> float:
    """Correlation of before with after at which the means as printed give this p; NaN for none."""
    from scipy.stats import t as student

    size = float(student.isf(p / 2, row.count - 1))
    one, other = row.pre_sd.value, row.post_sd.value
    if not isfinite(size) or size == 0 or one * other == 0:
        return nan
    spread = abs(row.post_mean.value - row.pre_mean.value) * sqrt(row.count) / size
    needed = (one**2 + other**2 - spread**2) / (2 * one * other)
    return needed if -1 <= needed <= 1 else nan
