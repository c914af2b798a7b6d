"""Multiple imputation by chained equations, and its pooling.

Own code, since that of statsmodels is some hundred times slower; a test compares both.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, nan, sqrt

import numpy as np

from CTSpectSpineLib.geometry import FloatArray
from CTSpectSpineLib.statistics.estimate import Estimate, interval_ends

IMPUTATIONS = 50
"""Completed tables. Convention: about the percentage of incomplete patients (White, Royston, Wood
2011), which is seldom more than half."""
_CYCLES = 10
"""Rounds before a table counts as completed. Convention: 10 to 20 (White, Royston, Wood 2011)."""
_DONORS = 5
"""Patients of whom one gives its value. Convention: 5 (van Buuren 2018)."""
_RIDGE = 1e-5
"""Share of the squares that is added to them, so that columns alike have a solution. Convention: of
R's package mice (van Buuren 2018)."""


def completed_tables(
    table: FloatArray, seed: int, imputations: int = IMPUTATIONS
) -> list[FloatArray]:
    """Complete a table several times by predictive mean matching; every column predicts each other.

    Parameters
    ----------
    table
        Shape (patients, columns), NaN where a value is missing. Every column needs more values
        than there are columns.
    seed
        Of the draws.

    Notes
    -----
    van Buuren S. Flexible imputation of missing data, 2nd ed. 2018, algorithms 3.1, 3.3 and 4.3.
    """
    missing = ~np.isfinite(table)
    order = [c for c in np.argsort(missing.sum(axis=0), kind="stable") if missing[:, c].any()]
    if not order:
        return [table.copy()]
    return [
        _completed(table, missing, order, np.random.default_rng((seed, number)))
        for number in range(imputations)
    ]


def _completed(
    table: FloatArray, missing: np.ndarray, order: Sequence[int], rng: np.random.Generator
) -> FloatArray:
    filled: FloatArray = table.copy()
    for column in order:
        gaps = missing[:, column]
        filled[gaps, column] = rng.choice(table[~gaps, column], gaps.sum())
    for _ in range(_CYCLES):
        for column in order:
            gaps = missing[:, column]
            others = np.delete(filled, column, axis=1)
            filled[gaps, column] = _matched(table[~gaps, column], others, gaps, rng)
    return filled


def _matched(
    seen: FloatArray, others: FloatArray, gaps: np.ndarray, rng: np.random.Generator
) -> FloatArray:
    """Values for the gaps, of patients whose prediction is near."""
    design = np.c_[np.ones(len(others)), others - others.mean(axis=0)]
    x = design[~gaps]
    squares = x.T @ x
    inverse = np.linalg.inv(squares + _RIDGE * np.diag(np.diag(squares)))
    fitted = inverse @ x.T @ seen
    rest = seen - x @ fitted
    sigma = sqrt(float(rest @ rest) / rng.chisquare(max(len(seen) - x.shape[1], 1)))
    root = np.linalg.cholesky((inverse + inverse.T) / 2)
    drawn = fitted + sigma * root @ rng.standard_normal(len(fitted))
    away = np.abs((design[gaps] @ drawn)[:, None] - (x @ fitted)[None, :])
    donors = np.argsort(away, axis=1, kind="stable")[:, :_DONORS]
    chosen = rng.integers(0, donors.shape[1], len(donors))
    values: FloatArray = seen[donors[np.arange(len(donors)), chosen]]
    return values


def pool(completed: Sequence[FloatArray]) -> tuple[Estimate, float]:
    """Mean of completed columns by Rubin's rules, and the share of information that was missing.

    Parameters
    ----------
    completed
        The same patients in each, shape (patients,).

    Notes
    -----
    Rubin DB. Multiple imputation for nonresponse in surveys. 1987. Degrees of freedom: Barnard J,
    Rubin DB. Biometrika 1999;86:948-55.
    """
    from scipy.stats import t

    m, n = len(completed), len(completed[0])
    means = np.array([values.mean() for values in completed])
    mean = float(means.mean())
    within = float(np.mean([values.var(ddof=1) / n for values in completed])) if n > 1 else nan
    between = float(means.var(ddof=1)) if m > 1 else 0.0
    total = within + (1 + 1 / m) * between
    if not isfinite(total) or total <= 0:
        return Estimate(mean), nan
    lost = (1 + 1 / m) * between / total
    imputed = (m - 1) / lost**2 if lost > 0 else inf
    complete = n / (n + 2) * (n - 1) * (1 - lost)
    freedom = 1 / (1 / imputed + 1 / complete)
    half = float(t.ppf(interval_ends()[1], freedom)) * sqrt(total)
    return Estimate(mean, mean - half, mean + half), lost
