"""What borderline joints would change, and how often perturbed measurements agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np

from CTSpectSpineLib.geometry import BoolArray
from CTSpectSpineLib.model import STABLE_SHARE, FloatArray
from CTSpectSpineLib.triage_protocol.decision import INDETERMINATE, AreaKey, Decision, Engine

_MOST_TRIALS = 1024
"""Sets tried before only small ones are. Numerical: all subsets of ten areas."""


@dataclass(frozen=True)
class Change:
    """Areas of borderline joints that change the disposition when they count as positive."""

    areas: tuple[AreaKey, ...]
    decision: Decision


def changes(
    engine: Engine, base: frozenset[AreaKey], borderline: frozenset[AreaKey]
) -> tuple[Change, ...]:
    """The smallest sets of borderline areas that lead to every other disposition.

    Up to ten areas, all sets are tried; with more, all small sets and the whole, which miss no
    change where rules ask for at most two areas or levels.
    """
    return tuple(_each_new(engine, base, borderline - base))


def _each_new(
    engine: Engine, base: frozenset[AreaKey], extra: frozenset[AreaKey]
) -> Iterator[Change]:
    if not extra or engine.is_fixed(base, base | extra):
        return
    seen = {engine.decide(base).possible}
    for chosen in _subsets(sorted(extra)):
        decision = engine.decide(base | set(chosen))
        if decision.possible not in seen:
            seen.add(decision.possible)
            yield Change(chosen, decision)


def _subsets(keys: Sequence[AreaKey]) -> Iterator[tuple[AreaKey, ...]]:
    sizes = chain.from_iterable(combinations(keys, size) for size in range(1, len(keys) + 1))
    for trials, chosen in enumerate(sizes, start=1):
        if trials > _MOST_TRIALS and len(chosen) > 2:
            break
        yield chosen
    yield tuple(keys)


def possible_names(decision: Decision, found: Sequence[Change]) -> tuple[str, ...]:
    """The dispositions between which a decision is open, the present one first."""
    names = [*decision.possible, *(name for c in found for name in c.decision.possible)]
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Stability:
    """Shares of the dispositions over perturbed repetitions.

    Attributes
    ----------
    shares
        Disposition to share, the most frequent first.
    share
        Share of the verdict's own disposition.
    repetitions
        Number of repetitions.
    """

    shares: dict[str, float]
    share: float
    repetitions: int

    @property
    def stable(self) -> bool:
        """Whether the share reaches `STABLE_SHARE`."""
        return self.share >= STABLE_SHARE


def stability(engine: Engine, name: str, draws: FloatArray, *, keep_band: bool) -> Stability:
    """Repeat the triage on perturbed ratios.

    A repetition already expresses how uncertain the measurement is, so each joint in it is positive
    at or above its positive bound and negative below it. Only where borderline joints made the
    verdict indeterminate (`keep_band`) does the repetition keep the band between the bounds.

    Parameters
    ----------
    engine
        Engine with the joints considered.
    name
        The verdict's disposition.
    draws
        Deciding ratios, shape (repetitions, joints) in the order of ``engine.rows``; NaN where a
        joint was not measured, which then keeps its class.
    keep_band
        Whether joints between the bounds stay borderline.
    """
    bounds = [engine.protocol.bounds[row.kind] for row in engine.rows]
    never_drawn: BoolArray = np.logical_and.reduce(np.isnan(draws), axis=0)
    stated = never_drawn & np.array([row.uptake == "positive" for row in engine.rows])
    open_ = {row.id for row in engine.open_unmeasured}
    doubted = never_drawn & np.array(
        [row.uptake == "indeterminate" or row.id in open_ for row in engine.rows]
    )
    positive: BoolArray = (draws >= [b.positive for b in bounds]) | stated
    low = np.array([b.indeterminate for b in bounds])
    band: BoolArray = ((draws >= low) | doubted) & ~positive
    band = band if keep_band else np.zeros_like(band)
    patterns, counts = np.unique(np.hstack([positive, band]), axis=0, return_counts=True)
    keys = [engine.key(row) for row in engine.rows]
    number = len(keys)
    names: Counter[str] = Counter()
    for pattern, count in zip(patterns, counts, strict=True):
        chosen = frozenset(keys[i] for i in np.flatnonzero(pattern[:number]))
        doubtful = frozenset(keys[i] for i in np.flatnonzero(pattern[number:]))
        names[_name(engine, chosen, doubtful)] += int(count)
    total = len(draws)
    shares = {key: count / total for key, count in names.most_common()}
    return Stability(shares, shares.get(name, 0.0), total)


def _name(engine: Engine, base: frozenset[AreaKey], doubtful: frozenset[AreaKey]) -> str:
    changed = next(_each_new(engine, base, doubtful - base), None)
    return engine.decide(base).name if changed is None else INDETERMINATE


def draws_from_intervals(engine: Engine, repetitions: int = 400, seed: int = 0) -> FloatArray:
    """Perturbed ratios from the 95 % intervals of a joint table.

    Each joint is drawn, independently of the others, from a normal distribution whose two halves
    have the widths of the two halves of its interval (1.96 standard deviations each); joints
    without a ratio give NaN.

    Parameters
    ----------
    engine
        Engine with the joints considered.
    repetitions
        Number of repetitions; the default leaves a share a standard error of at most 2.5 %.
    seed
        Seed of the random numbers.

    Returns
    -------
    Shape (repetitions, joints) in the order of ``engine.rows``.
    """
    random = np.random.default_rng(seed)
    normal = random.standard_normal((repetitions, len(engine.rows)))
    ratio, low, high = (
        np.array([np.nan if v is None else v for v in values], dtype=float)
        for values in (
            [row.ratio if row.uptake != "not_measurable" else None for row in engine.rows],
            [row.ratio if row.low is None else row.low for row in engine.rows],
            [row.ratio if row.high is None else row.high for row in engine.rows],
        )
    )
    upper, lower = np.maximum(high - ratio, 0.0) / 1.96, np.maximum(ratio - low, 0.0) / 1.96
    return np.asarray(ratio + normal * np.where(normal > 0, upper, lower))
