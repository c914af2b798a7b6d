"""How a joint's class comes from its ratio, interval and probability, and the bounds.

The only place where it is decided. The probability comes from the interval, so that a table read
again, or read with other bounds, gives what the measurement would have given.
"""

from __future__ import annotations

from math import erf, isfinite, log, sqrt

from CTSpectSpineLib.model import UptakeBounds

PROBABLE = 0.5
"""Probability of reaching the positive bound from which a joint is positive. Judgement: more likely
than not. On 25 simulated patients, 75 scans of two physical scanners, 91 of 94 such joints had a
true ratio of 2 or more; the other three were mildly raised."""
UNLIKELY = 0.1
"""Probability of reaching the positive bound below which a joint is negative. Judgement: intervals
are wide rather than narrow. On the same scans the true ratio was 2 or more in none of 36 joints
between 0.05 and 0.1, in 2 of 206 between 0.01 and 0.05, and in 1 of 1,331 below. On 30 more
patients without resolution recovery 0.15 calls one of 30 joints of 2.5 and more negative, 0.1
none."""
_ORDINARY, _FAR = 1.0, 2.0
"""An interval from the ordinary ratio, 1, or less to this multiple of the positive bound or more
says nothing. Judgement: it holds all that a joint usually is, and the hottest as well; and none
that reaches down to an ordinary joint is positive."""
_Z95 = 1.959964
"""By definition: standard deviations from the middle of a 95 % interval to its ends."""


def class_of(
    ratio: float, bounds: UptakeBounds, low: float | None = None, high: float | None = None
) -> str:
    """Uptake class of a joint.

    Parameters
    ----------
    ratio
        The deciding ratio; NaN where it was not measured.
    bounds
        What counts as increased.
    low, high
        Its 95 % interval; None or NaN where there is none.

    Returns
    -------
    ``positive`` where it is probable that the ratio reaches ``bounds.positive`` and the interval
    lies above the ordinary ratio, 1; ``negative`` where
    that is unlikely and the ratio lies below ``bounds.indeterminate``; ``indeterminate`` between;
    ``not_measurable`` for NaN. Without an interval the bounds alone decide.
    """
    if not isfinite(ratio):
        return "not_measurable"
    chance = probability_of(ratio, bounds.positive, low, high)
    if chance is None:
        return bounds.class_of(ratio)
    if chance >= PROBABLE and (low is None or low > _ORDINARY):
        return "positive"
    return "negative" if chance < UNLIKELY and ratio < bounds.indeterminate else "indeterminate"


def may_be_increased(
    ratio: float, bounds: UptakeBounds, low: float | None, high: float | None
) -> bool:
    """Whether what a joint reads leaves it possible that its uptake is increased.

    Parameters
    ----------
    ratio, bounds, low, high
        As for `class_of`. Without an interval, only what reads positive is.
    """
    chance = probability_of(ratio, bounds.positive, low, high)
    return ratio >= bounds.positive or (chance is not None and chance >= UNLIKELY)


def unanswerable(low: float, high: float, bounds: UptakeBounds) -> str:
    """Why an interval leaves the question of increased uptake open; empty where it does not."""
    if low <= 0.0 and high >= bounds.positive:
        reach = "from no uptake to increased uptake"
    elif low <= _ORDINARY and high >= _FAR * bounds.positive:
        reach = "from ordinary to high uptake"
    else:
        return ""
    return (
        f"blur and noise leave its uptake open: the interval, {low:.2f} to {high:.2f},"
        f" reaches {reach}"
    )


def probability_of(
    ratio: float, bound: float, low: float | None, high: float | None
) -> float | None:
    """Probability that a ratio with a 95 % interval reaches a bound, None without an interval.

    The logarithm is taken as normal on each side of the ratio, with the spread of that side.
    """
    if _none(low) or _none(high) or low is None or high is None or not ratio > 0.0:
        return None
    if not low <= ratio <= high:
        return None
    above = bound >= ratio
    end = high if above else max(low, 1e-3 * ratio)
    spread = abs(log(end / ratio)) / _Z95
    if spread <= 0.0:
        return 1.0 if ratio >= bound else 0.0
    return 0.5 * (1.0 - erf(log(bound / ratio) / spread / sqrt(2.0)))


def _none(value: float | None) -> bool:
    return value is None or not isfinite(value)
