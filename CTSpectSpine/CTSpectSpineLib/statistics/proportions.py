"""Shares of patients, and what a test with two answers says."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, nan, sqrt

from CTSpectSpineLib.statistics.estimate import CONFIDENCE, Z95, Estimate

_HALF = 0.5
"""Added to all four cells where one is empty. Convention: Haldane 1956."""


def share(count: int, of: int) -> Estimate:
    """A share with Wilson's interval (1927); NaN of nobody."""
    from scipy.stats import binomtest

    if of == 0:
        return Estimate(nan)
    interval = binomtest(count, of).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(count / of, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class FourCells:
    """A test with two answers against a reference with two answers.

    Attributes
    ----------
    true_positive, false_positive, false_negative, true_negative
        Observations.
    """

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def with_condition(self) -> int:
        """Observations in which the reference is positive."""
        return self.true_positive + self.false_negative

    @property
    def without_condition(self) -> int:
        """Observations in which the reference is negative."""
        return self.false_positive + self.true_negative

    @property
    def sensitivity(self) -> Estimate:
        """Share of positive tests among those with the condition."""
        return share(self.true_positive, self.with_condition)

    @property
    def specificity(self) -> Estimate:
        """Share of negative tests among those without."""
        return share(self.true_negative, self.without_condition)

    @property
    def predictive_positive(self) -> Estimate:
        """Share with the condition among positive tests, as frequent as it is here."""
        return share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def predictive_negative(self) -> Estimate:
        """Share without the condition among negative tests, as frequent as it is here."""
        return share(self.true_negative, self.true_negative + self.false_negative)

    @property
    def likelihood_positive(self) -> Estimate:
        """How much more likely a positive test is with the condition than without."""
        return _ratio(
            self.true_positive, self.with_condition, self.false_positive, self.without_condition
        )

    @property
    def likelihood_negative(self) -> Estimate:
        """How much more likely a negative test is with the condition than without."""
        return _ratio(
            self.false_negative, self.with_condition, self.true_negative, self.without_condition
        )


def _ratio(a: int, of_a: int, b: int, of_b: int) -> Estimate:
    """Ratio of two shares with the interval of its logarithm.

    Notes
    -----
    Simel DL, Samsa GP, Matchar DB. J Clin Epidemiol 1991;44:763-70.
    """
    if of_a == 0 or of_b == 0:
        return Estimate(nan)
    counts = [float(v) for v in (a, of_a, b, of_b)]
    if 0 in (a, b) or (a, b) == (of_a, of_b):
        counts = [a + _HALF, of_a + 2 * _HALF, b + _HALF, of_b + 2 * _HALF]
    x, n, y, m = counts
    value = (x / n) / (y / m)
    half = Z95 * sqrt(max(1 / x - 1 / n + 1 / y - 1 / m, 0.0))
    return Estimate(value, exp(log(value) - half), exp(log(value) + half))
