"""An estimate with its interval, and the bootstrap that gives one where no formula does."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, isnan, nan

import numpy as np

from CTSpectSpineLib.geometry import FloatArray

CONFIDENCE = 0.95
"""Of all intervals. Convention."""
Z95 = 1.959964
"""By definition: standard deviations from the middle of a normal 95 % interval to its ends."""
REPETITIONS = 2000
"""Bootstrap repetitions. Numerical: 50 of them lie beyond either end of a 95 % interval."""
_LEAST_PATIENTS = 2
"""By definition: a spread needs two."""
_LEAST_USABLE = 0.9
"""Share of the repetitions that must give a number for an interval to be shown. Judgement: what the
others would have given is not known."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; NaN where there is none, infinite where it has no end."""

    value: float
    low: float = nan
    high: float = nan

    def text(self, digits: int = 2, scale: float = 1.0) -> str:
        """``1.25 (0.75 to 1.75)``; a dash where there is no value."""
        if not isfinite(self.value):
            return "–"
        value = f"{self.value * scale:.{digits}f}"
        if not isfinite(self.low) or isnan(self.high):
            return value
        high = "∞" if self.high == inf else f"{self.high * scale:.{digits}f}"
        return f"{value} ({self.low * scale:.{digits}f} to {high})"


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    owners: Sequence[Hashable],
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> Estimate:
    """A statistic with its percentile interval; whole patients are drawn, not their joints.

    Parameters
    ----------
    statistic
        Of the positions of observations, shape (n,), which may repeat; NaN where it is not defined.
    owners
        Patient of each observation.
    seed
        Of the draws.

    Notes
    -----
    Efron B, Tibshirani R. An introduction to the bootstrap. 1993, chapters 8 and 13.
    """
    drawn = [statistic(places) for places in resamples(owners, seed, repetitions)]
    return percentiles(float(statistic(np.arange(len(owners)))), np.array(drawn, dtype=float))


def percentiles(value: float, drawn: FloatArray) -> Estimate:
    """A value with the percentile interval of what the repetitions gave, shape (repetitions,).

    Without interval where too many of them gave no number; its end may be infinite, as that of a
    likelihood ratio is where nobody without the condition has a positive test.
    """
    usable = drawn[~np.isnan(drawn)]
    if not len(usable) or len(usable) < _LEAST_USABLE * len(drawn) or not isfinite(value):
        return Estimate(value)
    # Not between two values: there is no middle of a number and infinity.
    low, high = np.quantile(usable, interval_ends(), method="inverted_cdf")
    return Estimate(value, float(low), float(high))


def resamples(
    owners: Sequence[Hashable], seed: int, repetitions: int = REPETITIONS
) -> list[np.ndarray]:
    """Positions of the observations of as many patients as there are, drawn with replacement.

    None of a single patient, whose draws would all be the same.
    """
    places: dict[Hashable, list[int]] = {}
    for place, owner in enumerate(owners):
        places.setdefault(owner, []).append(place)
    groups = [np.array(group) for group in places.values()]
    if len(groups) < _LEAST_PATIENTS:
        return []
    rng = np.random.default_rng(seed)
    return [
        np.concatenate([groups[n] for n in rng.integers(0, len(groups), len(groups))])
        for _ in range(repetitions)
    ]


def draw_weights(
    owners: Sequence[Hashable], seed: int, repetitions: int = REPETITIONS
) -> FloatArray:
    """How often each observation is drawn when as many patients are, with replacement.

    Returns
    -------
    numpy.ndarray
        Shape (repetitions, n). NaN of a single patient, whose draws would all be the same and tell
        of no spread.
    """
    places = {owner: place for place, owner in enumerate(dict.fromkeys(owners))}
    whose = np.array([places[owner] for owner in owners])
    count = len(places)
    if count < _LEAST_PATIENTS:
        return np.full((repetitions, len(whose)), nan)
    drawn = np.random.default_rng(seed).multinomial(
        count, np.full(count, 1 / count), size=repetitions
    )
    return drawn[:, whose].astype(float)


def interval_ends() -> tuple[float, float]:
    """Probabilities below the ends of an interval."""
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def mean_interval(values: FloatArray) -> Estimate:
    """A mean with Student's interval."""
    from scipy.stats import t

    count = len(values)
    mean = float(np.mean(values)) if count else nan
    if count < 2:
        return Estimate(mean)
    half = float(t.ppf(interval_ends()[1], count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return Estimate(mean, mean - half, mean + half)
