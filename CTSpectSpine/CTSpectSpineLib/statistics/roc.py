"""How well a number tells two conditions apart, and what acting on it is worth."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from CTSpectSpineLib.geometry import FloatArray
from CTSpectSpineLib.statistics.estimate import (
    Z95,
    Estimate,
    draw_weights,
    percentiles,
    resamples,
)

_CHOICES = 500
"""Draws in which a cut-off is chosen anew. Convention: 200 or more (Harrell 1996)."""


@dataclass(frozen=True)
class Curve:
    """A receiver operating characteristic.

    Attributes
    ----------
    cut_offs
        Falling; a value at or above one is a positive test. The first is infinite.
    sensitivity, specificity
        At each cut-off.
    """

    cut_offs: FloatArray
    sensitivity: FloatArray
    specificity: FloatArray


def roc(condition: np.ndarray, score: FloatArray) -> Curve:
    """The curve of a score.

    Parameters
    ----------
    condition
        Whether the reference is positive, shape (n,), bool; both answers must be there.
    score
        Larger where the condition is more likely, shape (n,).
    """
    cut_offs = np.r_[np.inf, np.unique(score)[::-1]]
    reached = score[None, :] >= cut_offs[:, None]
    with_it = reached[:, condition].mean(axis=1)
    without = reached[:, ~condition].mean(axis=1)
    return Curve(cut_offs, with_it, 1 - without)


def area(condition: np.ndarray, score: FloatArray) -> float:
    """Area under the curve: the chance that of two the one with the condition has more.

    NaN unless both answers are there.
    """
    from scipy.stats import rankdata

    with_it = int(condition.sum())
    without = len(condition) - with_it
    if not with_it or not without:
        return nan
    ranks = rankdata(score)[condition].sum()
    return float((ranks - with_it * (with_it + 1) / 2) / (with_it * without))


def area_interval(
    condition: np.ndarray, score: FloatArray, owners: Sequence[Hashable], seed: int = 0
) -> Estimate:
    """Area with its interval: DeLong's, or a bootstrap of patients where one has several joints.

    Notes
    -----
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-45.
    """
    if len(set(owners)) < len(owners):
        return percentiles(area(condition, score), _drawn_areas(condition, score, owners, seed))
    value, error = delong(condition, score)
    if not np.isfinite(error):
        return Estimate(value)
    return Estimate(value, max(value - Z95 * error, 0.0), min(value + Z95 * error, 1.0))


def _drawn_areas(
    condition: np.ndarray, score: FloatArray, owners: Sequence[Hashable], seed: int
) -> FloatArray:
    """Areas in draws of patients; NaN where a draw has one answer only."""
    x, y = score[condition], score[~condition]
    right = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    weights = draw_weights(owners, seed)
    of_x, of_y = weights[:, condition], weights[:, ~condition]
    pairs = of_x.sum(axis=1) * of_y.sum(axis=1)
    hits = ((of_x @ right) * of_y).sum(axis=1)
    areas: FloatArray = np.divide(hits, pairs, out=np.full(len(pairs), nan), where=pairs > 0)
    return areas


def delong(condition: np.ndarray, score: FloatArray) -> tuple[float, float]:
    """Area and its standard error, NaN with fewer than two of either answer."""
    from scipy.stats import rankdata

    x, y = score[condition], score[~condition]
    if min(len(x), len(y)) < 2:
        return area(condition, score), nan
    together = rankdata(np.r_[x, y])
    of_x = (together[: len(x)] - rankdata(x)) / len(y)
    of_y = 1 - (together[len(x) :] - rankdata(y)) / len(x)
    variance = np.var(of_x, ddof=1) / len(x) + np.var(of_y, ddof=1) / len(y)
    return float(of_x.mean()), sqrt(float(variance))


@dataclass(frozen=True)
class CutOff:
    """A cut-off chosen in data, and what it is worth in data it was not chosen in.

    Attributes
    ----------
    value
        With the bootstrap interval of the choice.
    sensitivity, specificity
        In the data themselves.
    corrected_sensitivity, corrected_specificity
        Less the optimism of having been chosen there.
    """

    value: Estimate
    sensitivity: float
    specificity: float
    corrected_sensitivity: float
    corrected_specificity: float


def best_cut_off(
    condition: np.ndarray, score: FloatArray, least_specificity: float | None = None
) -> float:
    """The cut-off of the largest sum of sensitivity and specificity; NaN where there is none.

    Parameters
    ----------
    least_specificity
        Only cut-offs with at least this one are taken, and the most sensitive wins.

    Notes
    -----
    Youden WJ. Cancer 1950;3:32-5. Of equally good ones the highest is taken.
    """
    if condition.all() or not condition.any():
        return nan
    curve = roc(condition, score)
    worth = curve.sensitivity + curve.specificity
    if least_specificity is not None:
        kept = curve.specificity >= least_specificity
        worth = np.where(kept, curve.sensitivity, -1.0)
    finite = np.isfinite(curve.cut_offs)
    places = np.flatnonzero(finite & (worth >= worth[finite].max() - 1e-12))
    return float(curve.cut_offs[places[0]]) if worth[places[0]] >= 0 else nan


def rates(condition: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Sensitivity and specificity of answers; NaN where the reference has only one answer."""
    if condition.all() or not condition.any():
        return nan, nan
    return float(positive[condition].mean()), float((~positive[~condition]).mean())


@dataclass(frozen=True)
class NetBenefit:
    """Worth of acting on a test, by the chance of the condition from which one would act.

    Attributes
    ----------
    chances
        Threshold probabilities.
    test, everybody
        Net benefit of acting on positive tests, and of acting always; of acting never it is 0.
    """

    chances: FloatArray
    test: FloatArray
    everybody: FloatArray


def net_benefit(condition: np.ndarray, positive: np.ndarray, chances: FloatArray) -> NetBenefit:
    """Decision curve of answers.

    Notes
    -----
    Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-74.
    """
    odds = chances / (1 - chances)
    hits = float((condition & positive).mean())
    alarms = float((~condition & positive).mean())
    frequency = float(condition.mean())
    return NetBenefit(chances, hits - alarms * odds, frequency - (1 - frequency) * odds)


def chosen_cut_off(
    condition: np.ndarray,
    score: FloatArray,
    owners: Sequence[Hashable],
    least_specificity: float | None = None,
    seed: int = 0,
) -> CutOff:
    """The best cut-off of data, and how good it is less its optimism.

    In each of many draws of patients the cut-off is chosen anew; how much better it does in the
    draw than in the data is its optimism.

    Notes
    -----
    Harrell FE, Lee KL, Mark DB. Stat Med 1996;15:361-87.
    """
    value = best_cut_off(condition, score, least_specificity)
    here = rates(condition, score >= value)
    chosen, optimism = [], []
    for at in resamples(owners, seed, _CHOICES):
        drawn = best_cut_off(condition[at], score[at], least_specificity)
        if np.isfinite(drawn):
            within = rates(condition[at], score[at] >= drawn)
            outside = rates(condition, score >= drawn)
            chosen.append(drawn)
            optimism.append(np.subtract(within, outside))
    mean = np.mean(optimism, axis=0) if optimism else np.full(2, nan)
    corrected = np.clip(np.subtract(here, mean), 0.0, 1.0)
    interval = percentiles(value, np.array(chosen)) if chosen else Estimate(value)
    return CutOff(interval, *here, float(corrected[0]), float(corrected[1]))
