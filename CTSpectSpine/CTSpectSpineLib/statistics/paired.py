"""Two measurements of the same patients, and two groups of patients."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, isfinite, log10, nan, sqrt

import numpy as np

from CTSpectSpineLib.geometry import FloatArray
from CTSpectSpineLib.statistics.estimate import (
    CONFIDENCE,
    REPETITIONS,
    Z95,
    Estimate,
    interval_ends,
    mean_interval,
    percentiles,
)

LEAST_PAIRS = 2
"""By definition: a standard deviation needs two."""
_DIGITS = 12
"""Significant digits of a change. Numerical: binary numbers hold 15."""
_STEPS = 20
"""Standard deviations in which an end of an interval is looked for. Numerical: it lies within about
three."""


@dataclass(frozen=True)
class PairedChange:
    """How a measurement changed in patients who have both values; NaN where it is not defined.

    Attributes
    ----------
    count
        Patients with both values.
    before_mean, before_sd, after_mean, after_sd
        Of these patients.
    change
        Mean of after minus before, with Student's interval.
    change_sd, correlation
        Standard deviation of the change; correlation of before with after.
    t, degrees, p_t
        Paired t test.
    signed_rank, p_signed_rank
        Wilcoxon's signed-rank test; patients without change are left out.
    d_z
        Mean change in standard deviations of the change, with the interval from the noncentral t
        distribution.
    rank_biserial
        Matched-pairs rank-biserial correlation, -1 to 1, with its bootstrap interval.
    """

    count: int
    before_mean: float
    before_sd: float
    after_mean: float
    after_sd: float
    change: Estimate
    change_sd: float
    correlation: float
    t: float
    degrees: int
    p_t: float
    signed_rank: float
    p_signed_rank: float
    d_z: Estimate
    rank_biserial: Estimate


def paired_change(before: FloatArray, after: FloatArray, seed: int = 0) -> PairedChange:
    """Compare two measurements of the same patients.

    Parameters
    ----------
    before, after
        Shape (patients,); patients with a NaN in either are left out.
    seed
        Of the bootstrap.
    """
    from scipy.stats import ttest_rel, wilcoxon

    both = np.isfinite(before) & np.isfinite(after)
    one, other = np.asarray(before)[both], np.asarray(after)[both]
    count, difference = len(one), change_of(one, other)
    spread = _sd(difference)
    t = p_t = signed_rank = p_signed_rank = correlation = nan
    if count >= LEAST_PAIRS and np.ptp(difference) > 0:
        test = ttest_rel(other, one)
        t, p_t = float(test.statistic), float(test.pvalue)
    if count and np.any(difference):
        ranks = wilcoxon(difference)
        signed_rank, p_signed_rank = float(ranks.statistic), float(ranks.pvalue)
    if count > LEAST_PAIRS and _sd(one) > 0 and _sd(other) > 0:
        correlation = float(np.corrcoef(one, other)[0, 1])
    return PairedChange(
        count, _mean(one), _sd(one), _mean(other), _sd(other), mean_interval(difference), spread,
        correlation, t, max(count - 1, 0), p_t, signed_rank, p_signed_rank, d_z(t, count),
        rank_biserial(difference, seed),
    )  # fmt: skip


def change_of(before: FloatArray, after: FloatArray) -> FloatArray:
    """After minus before, free of rounding: 5.1 - 7.1 and 4.3 - 6.3 are the same change.

    Parameters
    ----------
    before, after
        Shape (patients,); NaN where either is.
    """
    one, other = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    sizes = np.abs(np.concatenate([one, other]))
    largest = float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))
    digits = _DIGITS - ceil(log10(largest)) if largest > 0 else 0
    return np.asarray(np.round(other - one, digits))


def _mean(values: FloatArray) -> float:
    return float(np.mean(values)) if len(values) else nan


def _sd(values: FloatArray) -> float:
    return float(np.std(values, ddof=1)) if len(values) >= LEAST_PAIRS else nan


def d_z(t: float, count: int) -> Estimate:
    """Standardised mean change from a paired t, with its exact interval.

    Notes
    -----
    Steiger JH, Fouladi RT. Noncentrality interval estimation. 1997.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct

    if not isfinite(t) or count < LEAST_PAIRS:
        return Estimate(nan)
    root = sqrt(count)

    def excess(noncentrality: float, probability: float) -> float:
        return float(nct.cdf(abs(t), count - 1, noncentrality)) - probability

    def end(probability: float, step: float) -> float:
        # From t outward: too far out the distribution is no number.
        far = abs(t)
        for _ in range(_STEPS):
            far += step
            found = excess(far, probability)
            if not isfinite(found):
                return nan
            if found * step < 0:
                return float(brentq(excess, abs(t), far, args=(probability,)))
        return nan

    # About a standard deviation of t.
    spread = sqrt(1 + t**2 / (2 * (count - 1)))
    below, above = interval_ends()
    ends = (end(above, -spread) / root, end(below, spread) / root)
    value = t / root
    return Estimate(value, *ends) if t >= 0 else Estimate(value, -ends[1], -ends[0])


def rank_biserial(difference: FloatArray, seed: int = 0) -> Estimate:
    """Share of the ranks of increases minus that of decreases, with its bootstrap interval.

    No change counts in neither; NaN where nobody changed.

    Notes
    -----
    Kerby DS. The simple difference formula. Compr Psychol 2014;3:11.IT.3.1.
    """
    count = len(difference)
    if count < LEAST_PAIRS or not np.any(difference):
        return Estimate(nan)
    drawn = (
        np.random.default_rng(seed)
        .multinomial(count, np.full(count, 1 / count), size=REPETITIONS)
        .astype(float)
    )
    sizes, place = np.unique(np.abs(difference), return_inverse=True)
    member = place[:, None] == np.arange(len(sizes))
    up, down = (np.where(member & (difference * sign > 0)[:, None], 1.0, 0.0) for sign in (1, -1))

    def of(weights: np.ndarray) -> FloatArray:
        # Weights say how often each patient was drawn, shape (…, patients).
        more, less = weights @ up, weights @ down
        ranks = np.cumsum(more + less, axis=-1) - (more + less - 1) / 2
        total = (ranks * (more + less)).sum(axis=-1)
        signed = (ranks * (more - less)).sum(axis=-1)
        share: FloatArray = np.divide(
            signed, total, out=np.full(np.shape(total), nan), where=total > 0
        )
        return share

    return percentiles(float(of(np.ones(count))), of(drawn))


@dataclass(frozen=True)
class GroupDifference:
    """Two groups of patients compared; NaN where it is not defined.

    Attributes
    ----------
    first_count, second_count
        Patients.
    difference
        Mean of the first minus that of the second, with Welch's interval.
    t, degrees, p_t
        Welch's t test.
    p_rank
        Mann and Whitney's test.
    hedges_g
        Difference in pooled standard deviations, corrected for small groups, with its interval.
    """

    first_count: int
    second_count: int
    difference: Estimate
    t: float
    degrees: float
    p_t: float
    p_rank: float
    hedges_g: Estimate


def group_difference(first: FloatArray, second: FloatArray) -> GroupDifference:
    """Compare two groups; NaN values are left out.

    Notes
    -----
    Hedges LV. Distribution theory for Glass's estimator of effect size. J Educ Stat 1981;6:107-28.
    """
    from scipy.stats import mannwhitneyu, ttest_ind

    a, b = (np.asarray(v, dtype=float)[np.isfinite(v)] for v in (first, second))
    here = len(a), len(b)
    empty = Estimate(nan)
    if min(here) < LEAST_PAIRS:
        difference = Estimate(_mean(a) - _mean(b))
        return GroupDifference(*here, difference, nan, nan, nan, nan, empty)
    p_rank = float(mannwhitneyu(a, b).pvalue)
    if np.ptp(a) == np.ptp(b) == 0:
        return GroupDifference(*here, Estimate(_mean(a) - _mean(b)), nan, nan, nan, p_rank, empty)
    test = ttest_ind(a, b, equal_var=False)
    interval = test.confidence_interval(CONFIDENCE)
    return GroupDifference(
        *here,
        Estimate(_mean(a) - _mean(b), float(interval.low), float(interval.high)),
        float(test.statistic),
        float(test.df),
        float(test.pvalue),
        p_rank,
        _hedges(a, b),
    )


def _hedges(a: FloatArray, b: FloatArray) -> Estimate:
    n, m = len(a), len(b)
    freedom = n + m - 2
    pooled = sqrt(((n - 1) * _sd(a) ** 2 + (m - 1) * _sd(b) ** 2) / freedom)
    g = (_mean(a) - _mean(b)) / pooled * (1 - 3 / (4 * freedom - 1))
    error = sqrt((n + m) / (n * m) + g**2 / (2 * (n + m)))
    return Estimate(g, g - Z95 * error, g + Z95 * error)


@dataclass(frozen=True)
class SummaryT:
    """What means, standard deviations and a number of patients say about a paired t test.

    The standard deviation of the change depends on the correlation of both values, which a summary
    does not tell; it lies between that for 1 and that for -1.

    Attributes
    ----------
    least, most
        Smallest and largest size of t over all correlations; infinite where the change could be the
        same in all patients.
    p_least, p_most
        Smallest and largest p, two-sided.
    independent, p_independent
        Size of t and p where both values are uncorrelated, and Welch's test treats them as groups.
    """

    least: float
    most: float
    p_least: float
    p_most: float
    independent: float
    p_independent: float


def summary_t(
    count: int, before_mean: float, before_sd: float, after_mean: float, after_sd: float
) -> SummaryT:
    """Bounds of the paired t test, from a summary alone."""
    from scipy.stats import t, ttest_ind_from_stats

    change, root = abs(after_mean - before_mean), sqrt(count)
    widest, narrowest = before_sd + after_sd, abs(before_sd - after_sd)
    least = change * root / widest if widest > 0 else inf
    most = change * root / narrowest if narrowest > 0 else (inf if change else nan)
    groups = ttest_ind_from_stats(
        before_mean, before_sd, count, after_mean, after_sd, count, equal_var=False
    )

    def p(size: float) -> float:
        return 0.0 if size == inf else float(2 * t.sf(size, count - 1))

    return SummaryT(
        least, most, p(most), p(least), abs(float(groups.statistic)), float(groups.pvalue)
    )
