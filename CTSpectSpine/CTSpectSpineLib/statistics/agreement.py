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
    draw_weights,
    interval_ends,
    mean_interval,
    percentiles,
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
    return float(_kappas(np.asarray(table, dtype=float)[None], weights)[0])


def _kappas(tables: FloatArray, weights: Weights) -> FloatArray:
    """Kappa of tables, shape (tables, classes, classes)."""
    total = tables.sum(axis=(1, 2))
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    disagreement = _disagreement(tables.shape[1], weights)
    seen = (disagreement * tables).sum(axis=(1, 2)) * total
    chance = (disagreement * rows[:, :, None] * columns[:, None, :]).sum(axis=(1, 2))
    ratio: FloatArray = np.divide(seen, chance, out=np.full(len(tables), nan), where=chance > 0)
    return 1 - ratio


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
    if not len(first):
        return Estimate(nan)
    table = cross_table(first, second, classes)
    if len(set(owners)) < len(owners):
        places = {name: place for place, name in enumerate(classes)}
        flat = [places[a] * len(classes) + places[b] for a, b in zip(first, second, strict=True)]
        cells = np.eye(len(classes) ** 2)[flat]
        drawn = (draw_weights(owners, seed) @ cells).reshape(-1, *table.shape)
        return percentiles(kappa(table, weights), _kappas(drawn, weights))
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


def intraclass(
    values: FloatArray, owners: Sequence[Hashable] | None = None, seed: int = 0
) -> Reliability:
    """Intraclass correlations with their intervals.

    Parameters
    ----------
    values
        Shape (subjects, measurements), without NaN.
    owners
        Patient of each subject; where one has several, the interval draws patients.
    seed
        Of the draws.

    Notes
    -----
    Shrout PE, Fleiss JL. Psychol Bull 1979;86:420-8. McGraw KO, Wong SP. Psychol Methods
    1996;1:30-46.
    """
    n, k = values.shape
    if n < 2 or k < 2:
        return Reliability(Estimate(nan), Estimate(nan))
    squares = _mean_squares(values, np.ones((1, n)))
    absolute, consistent = (float(c[0]) for c in _correlations(squares, np.array([n]), k))
    if owners is not None and len(set(owners)) < n:
        weights = draw_weights(owners, seed)
        drawn = _correlations(_mean_squares(values, weights), weights.sum(axis=1), k)
        return Reliability(percentiles(absolute, drawn[0]), percentiles(consistent, drawn[1]))
    rows, columns, error = (float(square[0]) for square in squares)
    if rows == error == 0:
        return Reliability(Estimate(nan), Estimate(nan))
    if error == 0:
        return Reliability(Estimate(absolute), Estimate(consistent, consistent, consistent))
    return _formula_intervals(absolute, consistent, rows, columns, error, n, k)


def _mean_squares(
    values: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean squares of subjects, measurements and error for weights (draws, subjects)."""
    k = values.shape[1]
    n = weights.sum(axis=1)
    middle = weights @ values / n[:, None]
    grand = middle.mean(axis=1)
    means = values.mean(axis=1)
    rows = k * (weights @ means**2 - n * grand**2)
    columns = n * ((middle - grand[:, None]) ** 2).sum(axis=1)
    total = weights @ (values**2).sum(axis=1) - n * k * grand**2
    rest = total - rows - columns
    # What rounding leaves of zero would be an interval of its own.
    rest = np.where(rest > 1e-12 * np.abs(weights @ (values**2).sum(axis=1)), rest, 0.0)
    return np.maximum(rows, 0.0) / (n - 1), columns / (k - 1), rest / ((n - 1) * (k - 1))


def _correlations(
    squares: tuple[FloatArray, FloatArray, FloatArray], n: FloatArray, k: int
) -> tuple[FloatArray, FloatArray]:
    """ICC(2,1) and ICC(3,1) from mean squares of draws."""
    rows, columns, error = squares
    with np.errstate(divide="ignore", invalid="ignore"):
        consistent = (rows - error) / (rows + (k - 1) * error)
        absolute = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)
    return absolute, consistent


def _formula_intervals(
    absolute: float, consistent: float, rows: float, columns: float, error: float, n: int, k: int
) -> Reliability:
    """Intervals of McGraw and Wong for independent subjects."""
    from scipy.stats import f

    above = interval_ends()[1]
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
    lower = float(n * (rows - q * error) / (q * shared + n * rows))
    upper = float(n * (r * rows - error) / (shared + n * r * rows))
    return Reliability(Estimate(absolute, lower, upper), of_rows)


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


def limits_of_agreement(
    first: FloatArray,
    second: FloatArray,
    owners: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Limits:
    """Bland and Altman's limits and the coefficient of repeatability; NaN with fewer than two.

    Parameters
    ----------
    first, second
        Shape (subjects,).
    owners
        Patient of each subject; where one has several, the intervals draw patients.
    seed
        Of the draws.
    """
    from scipy.stats import chi2, t

    difference = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    n = len(difference)
    if n < 2:
        none = Estimate(nan)
        return Limits(n, mean_interval(difference), none, none, nan, none)
    found = [float(v[0]) for v in _limit_values(difference, np.ones((1, n)))]
    within = sqrt(float((difference**2).mean()) / 2)
    if owners is not None and len(set(owners)) < n:
        drawn = _limit_values(difference, draw_weights(owners, seed))
        bias, lower, upper, most = (percentiles(*v) for v in zip(found, drawn, strict=True))
        return Limits(n, bias, lower, upper, within, most)
    spread = float(np.std(difference, ddof=1))
    below, above = interval_ends()
    half = float(t.ppf(above, n - 1)) * spread * sqrt(1 / n + Z95**2 / (2 * (n - 1)))
    lower, upper = (Estimate(edge, edge - half, edge + half) for edge in found[1:3])
    ends = [sqrt(n / float(chi2.ppf(p, n))) * found[3] for p in (above, below)]
    return Limits(n, mean_interval(difference), lower, upper, within, Estimate(found[3], *ends))


def _limit_values(difference: FloatArray, weights: FloatArray) -> tuple[FloatArray, ...]:
    """Bias, both limits and coefficient of repeatability for weights (draws, subjects)."""
    n = weights.sum(axis=1)
    bias, squares = weights @ difference / n, weights @ difference**2
    spread = np.sqrt(np.maximum(squares - n * bias**2, 0.0) / (n - 1))
    return bias, bias - Z95 * spread, bias + Z95 * spread, Z95 * np.sqrt(squares / n)
