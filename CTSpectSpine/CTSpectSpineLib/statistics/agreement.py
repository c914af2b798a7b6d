"""How far two judgements, or two measurements, agree."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import Literal

import numpy as np

from CTSpectSpineLib.geometry import FloatArray
from CTSpectSpineLib.statistics.estimate import (
    Z95,
    Estimate,
    bootstrap,
    interval_ends,
    mean_interval,
)

Weights = Literal["none", "linear", "quadratic"]


def cross_table(first: Sequence[str], second: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Counts by the classes of the first (rows) and second (columns), shape (classes, classes)."""
    places = {name: place for place, name in enumerate(classes)}
    table = np.zeros((len(classes), len(classes)), dtype=int)
    for one, other in zip(first, second, strict=True):
        table[places[one], places[other]] += 1
    return table


def kappa(table: np.ndarray, weights: Weights = "none") -> float:
    """Cohen's kappa; NaN where chance alone would agree everywhere.

    Notes
    -----
    Cohen J. Educ Psychol Meas 1960;20:37-46, and Psychol Bull 1968;70:213-20.
    """
    total = table.sum()
    if total == 0:
        return nan
    share = table / total
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    disagreement = _disagreement(len(table), weights)
    by_chance = float((disagreement * np.outer(rows, columns)).sum())
    if by_chance <= 0:
        return nan
    return 1 - float((disagreement * share).sum()) / by_chance


def _disagreement(count: int, weights: Weights) -> FloatArray:
    away = np.abs(np.subtract.outer(np.arange(count), np.arange(count))).astype(float)
    if weights == "none":
        return (away > 0).astype(float)
    away /= max(count - 1, 1)
    return away if weights == "linear" else away**2


def kappa_interval(
    first: Sequence[str],
    second: Sequence[str],
    classes: Sequence[str],
    owners: Sequence[Hashable],
    weights: Weights = "none",
    seed: int = 0,
) -> Estimate:
    """Kappa with an interval that draws patients: the joints of one are no separate patients.

    Where every patient has one observation, the interval is that of Fleiss, Cohen and Everitt
    (Psychol Bull 1969;72:323-7).
    """
    places = {name: place for place, name in enumerate(classes)}
    one, other = (np.array([places[name] for name in names]) for names in (first, second))
    count = len(classes)

    def of(at: np.ndarray) -> float:
        flat = np.bincount(one[at] * count + other[at], minlength=count * count)
        return kappa(flat.reshape(count, count), weights)

    if not len(one):
        return Estimate(nan)
    if len(set(owners)) < len(owners):
        return bootstrap(of, owners, seed)
    table = cross_table(first, second, classes)
    value, error = kappa(table, weights), kappa_error(table, weights)
    return Estimate(value, max(value - Z95 * error, -1.0), min(value + Z95 * error, 1.0))


def kappa_error(table: np.ndarray, weights: Weights = "none") -> float:
    """Standard error of kappa (Fleiss, Cohen, Everitt 1969)."""
    total = table.sum()
    share = table / total
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    agreement = 1 - _disagreement(len(table), weights)
    seen = float((agreement * share).sum())
    chance = float((agreement * np.outer(rows, columns)).sum())
    if chance >= 1:
        return nan
    means = (agreement @ columns)[:, None] + (rows @ agreement)[None, :]
    inner = (share * (agreement * (1 - chance) - means * (1 - seen)) ** 2).sum()
    variance = (inner - (seen * chance - 2 * chance + seen) ** 2) / (total * (1 - chance) ** 4)
    return sqrt(max(float(variance), 0.0))


@dataclass(frozen=True)
class Reliability:
    """Two or more measurements of the same subjects.

    Attributes
    ----------
    absolute
        Intraclass correlation of single measurements, absolute agreement: ICC(2,1).
    consistent
        The same without differences of the means: ICC(3,1).
    """

    absolute: Estimate
    consistent: Estimate


def intraclass(values: FloatArray) -> Reliability:
    """Intraclass correlations with their intervals.

    Parameters
    ----------
    values
        Shape (subjects, measurements), without NaN.

    Notes
    -----
    Shrout PE, Fleiss JL. Psychol Bull 1979;86:420-8. McGraw KO, Wong SP. Psychol Methods
    1996;1:30-46.
    """
    from scipy.stats import f

    n, k = values.shape
    if n < 2 or k < 2:
        return Reliability(Estimate(nan), Estimate(nan))
    grand = values.mean()
    rows = k * float(((values.mean(axis=1) - grand) ** 2).sum()) / (n - 1)
    columns = n * float(((values.mean(axis=0) - grand) ** 2).sum()) / (k - 1)
    total = float(((values - grand) ** 2).sum())
    error = (total - rows * (n - 1) - columns * (k - 1)) / ((n - 1) * (k - 1))
    # What rounding leaves of zero would be an interval of its own.
    error = error if error > 1e-12 * total else 0.0
    if rows == 0 and error == 0:
        return Reliability(Estimate(nan), Estimate(nan))
    above = interval_ends()[1]
    consistent = (rows - error) / (rows + (k - 1) * error)
    absolute = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)
    if error == 0:
        return Reliability(Estimate(absolute), Estimate(consistent, consistent, consistent))
    ratio, df = rows / error, (n - 1) * (k - 1)
    low = ratio / f.ppf(above, n - 1, df)
    high = ratio * f.ppf(above, df, n - 1)
    of_rows = Estimate(
        consistent, float((low - 1) / (low + k - 1)), float((high - 1) / (high + k - 1))
    )
    a = k * absolute / (n * (1 - absolute))
    b = 1 + k * absolute * (n - 1) / (n * (1 - absolute))
    freedom = (a * columns + b * error) ** 2 / (
        (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / df
    )
    q = f.ppf(above, n - 1, freedom)
    r = f.ppf(above, freedom, n - 1)
    shared = k * columns + (k * n - k - n) * error
    return Reliability(
        Estimate(
            absolute,
            float(n * (rows - q * error) / (q * shared + n * rows)),
            float(n * (r * rows - error) / (shared + n * r * rows)),
        ),
        of_rows,
    )


@dataclass(frozen=True)
class Limits:
    """Differences of two measurements of the same subjects (Bland and Altman).

    Attributes
    ----------
    count
        Subjects.
    bias
        Mean of second minus first.
    lower, upper
        Limits of agreement, which hold 95 % of the differences, each with its interval.
    within_sd
        Standard deviation within subjects.
    repeatability
        Coefficient of repeatability: 95 % of two measurements differ by less.

    Notes
    -----
    Bland JM, Altman DG. Lancet 1986;1:307-10, and Stat Methods Med Res 1999;8:135-60.
    """

    count: int
    bias: Estimate
    lower: Estimate
    upper: Estimate
    within_sd: float
    repeatability: Estimate


def limits_of_agreement(first: FloatArray, second: FloatArray) -> Limits:
    """Bland and Altman's limits and the coefficient of repeatability; NaN with fewer than two."""
    from scipy.stats import chi2, t

    difference = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    n = len(difference)
    bias = mean_interval(difference)
    if n < 2:
        none = Estimate(nan)
        return Limits(n, bias, none, none, nan, none)
    spread = float(np.std(difference, ddof=1))
    below, above = interval_ends()
    half = float(t.ppf(above, n - 1)) * spread * sqrt(1 / n + Z95**2 / (2 * (n - 1)))
    edges = [bias.value - Z95 * spread, bias.value + Z95 * spread]
    squares = float((difference**2).sum())
    within = sqrt(squares / (2 * n))
    coefficient = Z95 * sqrt(2) * within
    ends = [sqrt(n / float(chi2.ppf(p, n))) * coefficient for p in (above, below)]
    lower, upper = (Estimate(edge, edge - half, edge + half) for edge in edges)
    return Limits(n, bias, lower, upper, within, Estimate(coefficient, *ends))
