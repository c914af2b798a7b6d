"""Accuracy of the uptake classes and of the ratio, and bounds of a site of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite
from typing import Any

import numpy as np

from CTSpectSpineLib.diagnostic.reference import NOT_MEASURABLE, Observation, groups
from CTSpectSpineLib.geometry import FloatArray
from CTSpectSpineLib.statistics.estimate import (
    Estimate,
    draw_weights,
    interval_ends,
    percentiles,
)
from CTSpectSpineLib.statistics.proportions import FourCells
from CTSpectSpineLib.statistics.roc import (
    Curve,
    CutOff,
    NetBenefit,
    area_interval,
    chosen_cut_off,
    net_benefit,
    roc,
)

READINGS: Mapping[str, frozenset[str]] = {
    "positive": frozenset({"positive"}),
    "positive or indeterminate": frozenset({"positive", "indeterminate"}),
}
"""What counts as a positive test to the uptake classes."""
LEAST_EACH = 10
"""Observations with the condition, and without, below which a site gets no bounds. Convention: ten
events per choice (Peduzzi 1996)."""
CHANCES: FloatArray = np.round(np.arange(0.05, 0.9501, 0.05), 2)
"""Chances of the condition from which one would act. Convention: all but the ends."""


@dataclass(frozen=True)
class AccuracyRow:
    """Accuracy of one reading in one group.

    Attributes
    ----------
    patients, observations, not_measurable
        Those that were left out for want of a measurement are the last.
    cells
        Counts.
    sensitivity, specificity, predictive_positive, predictive_negative, likelihood_positive, \
likelihood_negative
        With Wilson's or Simel's intervals; where a patient has several joints, with those of a
        bootstrap of patients.
    """

    group: str
    reading: str
    patients: int
    observations: int
    not_measurable: int
    cells: FourCells
    sensitivity: Estimate
    specificity: Estimate
    predictive_positive: Estimate
    predictive_negative: Estimate
    likelihood_positive: Estimate
    likelihood_negative: Estimate


_RATES = (
    *("sensitivity", "specificity", "predictive_positive", "predictive_negative"),
    *("likelihood_positive", "likelihood_negative"),
)


@dataclass(frozen=True)
class RatioRow:
    """How well the ratio tells the conditions apart in one group.

    Attributes
    ----------
    with_condition, without_condition
        Observations.
    area
        Under the curve.
    curve
        The curve.
    cut_off
        The site's own; None of too few observations.
    """

    group: str
    metric: str
    with_condition: int
    without_condition: int
    area: Estimate
    curve: Curve
    cut_off: CutOff | None


@dataclass(frozen=True)
class DecisionRow:
    """Decision curves of one group.

    Attributes
    ----------
    benefit
        Of acting on positive uptake.
    low, high
        Its band, shape (chances,).
    own
        Of the site's own cut-off, less its optimism; None where there is none.
    """

    group: str
    benefit: NetBenefit
    low: FloatArray
    high: FloatArray
    own: FloatArray | None


@dataclass(frozen=True)
class Diagnosis:
    """All that the reference says of the uptake."""

    observations: tuple[Observation, ...]
    accuracy: tuple[AccuracyRow, ...]
    ratios: tuple[RatioRow, ...]
    decisions: tuple[DecisionRow, ...]


def diagnose(
    observations: Sequence[Observation], least_specificity: float | None = None, seed: int = 0
) -> Diagnosis:
    """Compare uptake with the reference.

    Parameters
    ----------
    least_specificity
        The site's cut-off must have at least this one; None for the best sum of sensitivity and
        specificity (Youden).
    seed
        Of the bootstrap.
    """
    accuracy, ratios, decisions = [], [], []
    for name, part in groups(observations):
        measured = [o for o in part if o.uptake != NOT_MEASURABLE]
        if len({o.condition for o in measured}) < 2:
            continue
        lost = len(part) - len(measured)
        for reading in READINGS:
            accuracy.append(_accuracy(name, reading, measured, lost, seed))
        ratio = _ratio(name, measured, least_specificity, seed)
        ratios.append(ratio)
        decisions.append(_decision(name, measured, ratio.cut_off, seed))
    return Diagnosis(tuple(observations), tuple(accuracy), tuple(ratios), tuple(decisions))


def _arrays(part: Sequence[Observation]) -> tuple[np.ndarray, FloatArray, list[str]]:
    """Condition, ratio and patient of each observation."""
    return (
        np.array([o.condition for o in part]),
        np.array([o.ratio for o in part]),
        [o.patient for o in part],
    )


def _cells(condition: np.ndarray, positive: np.ndarray) -> FourCells:
    return FourCells(
        int((condition & positive).sum()), int((~condition & positive).sum()),
        int((condition & ~positive).sum()), int((~condition & ~positive).sum()),
    )  # fmt: skip


def _accuracy(
    group: str, reading: str, part: Sequence[Observation], lost: int, seed: int
) -> AccuracyRow:
    condition, _, owners = _arrays(part)
    positive = np.array([o.uptake in READINGS[reading] for o in part])
    cells = _cells(condition, positive)
    estimates = {name: getattr(cells, name) for name in _RATES}
    if len(set(owners)) < len(owners):
        drawn = _drawn_rates(_drawn_cells(condition, positive, owners, seed))
        estimates = {
            name: percentiles(found.value, drawn[name]) for name, found in estimates.items()
        }
    return AccuracyRow(group, reading, len(set(owners)), len(part), lost, cells, **estimates)


def _drawn_cells(
    condition: np.ndarray, positive: np.ndarray, owners: Sequence[str], seed: int
) -> FloatArray:
    """True and false positive, false and true negative in draws of patients, shape (draws, 4)."""
    cells = np.c_[
        condition & positive, ~condition & positive, condition & ~positive, ~condition & ~positive
    ]
    counts: FloatArray = draw_weights(owners, seed) @ cells.astype(float)
    return counts


def _drawn_rates(cells: FloatArray) -> dict[str, FloatArray]:
    """The rates of `_drawn_cells`; what is not defined is no finite number."""
    a, b, c, d = cells.T
    with np.errstate(divide="ignore", invalid="ignore"):
        hit, alarm = a / (a + c), b / (b + d)
        return {
            "sensitivity": hit,
            "specificity": 1 - alarm,
            "predictive_positive": a / (a + b),
            "predictive_negative": d / (c + d),
            "likelihood_positive": hit / alarm,
            "likelihood_negative": (1 - hit) / (1 - alarm),
        }


def _ratio(
    group: str, part: Sequence[Observation], least_specificity: float | None, seed: int
) -> RatioRow:
    condition, ratio, owners = _arrays(part)
    there = int(condition.sum()), int((~condition).sum())
    cut_off = None
    if min(there) >= LEAST_EACH:
        cut_off = chosen_cut_off(condition, ratio, owners, least_specificity, seed)
    return RatioRow(
        group, part[0].metric, *there, area_interval(condition, ratio, owners, seed),
        roc(condition, ratio), cut_off,
    )  # fmt: skip


def _decision(
    group: str, part: Sequence[Observation], cut_off: CutOff | None, seed: int
) -> DecisionRow:
    condition, _, owners = _arrays(part)
    positive = np.array([o.uptake == "positive" for o in part])
    odds = CHANCES / (1 - CHANCES)
    cells = _drawn_cells(condition, positive, owners, seed)
    drawn = (cells[:, :1] - cells[:, 1:2] * odds) / cells.sum(axis=1, keepdims=True)
    low, high = np.quantile(drawn, interval_ends(), axis=0)
    own = None
    if cut_off is not None:
        share = float(condition.mean())
        alarms = (1 - share) * (1 - cut_off.corrected_specificity)
        own = share * cut_off.corrected_sensitivity - alarms * odds
    return DecisionRow(group, net_benefit(condition, positive, CHANCES), low, high, own)


def bounds_of(diagnosis: Diagnosis) -> dict[str, dict[str, Any]]:
    """Bounds for a protocol file, of the kinds of joints that have a cut-off of their own.

    Positive from the cut-off on; below the lower end of its interval negative.
    """
    kinds = {o.kind for o in diagnosis.observations}
    found: dict[str, dict[str, Any]] = {}
    for row in diagnosis.ratios:
        kind = row.group if row.group != "all" else (*kinds, "")[0] if len(kinds) == 1 else ""
        cut = row.cut_off
        if not kind or cut is None or not isfinite(cut.value.value):
            continue
        positive = ceil(round(100 * cut.value.value, 6)) / 100
        low = cut.value.low if isfinite(cut.value.low) else cut.value.value
        found[kind] = {
            "metric": row.metric,
            "positive": positive,
            "indeterminate": min(floor(round(100 * low, 6)) / 100, positive),
            "provenance": "computed",
            "source": (
                f"Cut-off in {row.with_condition} {kind}s with and {row.without_condition} without "
                f"the reference; sensitivity {cut.corrected_sensitivity:.2f} and specificity "
                f"{cut.corrected_specificity:.2f} less optimism (bootstrap)."
            ),
        }
    return found
