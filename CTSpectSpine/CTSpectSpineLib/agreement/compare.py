"""Readings compared, and two measurements of the same joints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite

import numpy as np

from CTSpectSpineLib.agreement.readings import (
    CLASSES,
    NOT_MEASURABLE,
    Reading,
    software_reading,
)
from CTSpectSpineLib.cohort.rows import ratio_of
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import FloatArray
from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.statistics.agreement import (
    Limits,
    Reliability,
    cross_table,
    intraclass,
    kappa_interval,
    limits_of_agreement,
)
from CTSpectSpineLib.statistics.estimate import Estimate
from CTSpectSpineLib.statistics.proportions import share

_LEAST = 2
"""By definition: a spread needs two."""


@dataclass(frozen=True)
class AgreementRow:
    """Two readings compared in one group of joints.

    Attributes
    ----------
    patients, joints
        Graded by both.
    left_out
        Joints that one of both calls not measurable.
    same
        Share of equal classes; Wilson's interval, of joints.
    kappa
        Of three classes; of positive against all else; weighted linearly and by squares.
    table
        Counts by the classes of the first (rows) and of the second, in the order of `CLASSES`.
    """

    first: str
    second: str
    group: str
    patients: int
    joints: int
    left_out: int
    same: Estimate
    kappa: Estimate
    kappa_positive: Estimate
    kappa_linear: Estimate
    kappa_quadratic: Estimate
    table: np.ndarray


def compare_readings(readings: Sequence[Reading], seed: int = 0) -> Iterator[AgreementRow]:
    """Every pair of readings, for all joints and for each kind.

    Raises
    ------
    InputError
        If two have no joint in common.
    """
    for first, second in combinations(readings, 2):
        common = [place for place in first.grades if place in second.grades]
        if not common:
            raise InputError(
                f"'{first.reader}' and '{second.reader}' have read no joint in common; compare "
                "readings of the same results."
            )
        for group in ("all", "disc", "facet"):
            part = [p for p in common if group == "all" or group in p[1].split()]
            if part:
                yield _compared(first, second, group, part, seed)


def _compared(
    first: Reading, second: Reading, group: str, places: Sequence[tuple[str, str]], seed: int
) -> AgreementRow:
    kept = [p for p in places if NOT_MEASURABLE not in (first.grades[p], second.grades[p])]
    one = [first.grades[p] for p in kept]
    other = [second.grades[p] for p in kept]
    owners = [patient for patient, _ in kept]
    hits = [[str(grade == "positive") for grade in grades] for grades in (one, other)]
    same = sum(a == b for a, b in zip(one, other, strict=True))
    return AgreementRow(
        first.reader, second.reader, group, len(set(owners)), len(kept), len(places) - len(kept),
        share(same, len(kept)),
        kappa_interval(one, other, CLASSES, owners, "none", seed),
        kappa_interval(hits[0], hits[1], ("False", "True"), owners, "none", seed),
        kappa_interval(one, other, CLASSES, owners, "linear", seed),
        kappa_interval(one, other, CLASSES, owners, "quadratic", seed),
        cross_table(one, other, CLASSES),
    )  # fmt: skip


@dataclass(frozen=True)
class RetestRow:
    """The ratios of two measurements of the same joints of one kind.

    Attributes
    ----------
    metric
        Which ratio.
    patients, joints
        Measured both times.
    once
        Joints that were measured one time only.
    first, second
        The ratios, shape (joints,).
    owners
        Patient of each joint.
    reliability
        Intraclass correlations.
    limits
        Bland and Altman's, in ratio.
    relative
        The same of the logarithms, for differences that grow with the ratio: ``bias``, ``lower``
        and ``upper`` are factors, ``repeatability`` the factor by which two measurements differ.
    """

    group: str
    metric: str
    patients: int
    joints: int
    once: int
    first: FloatArray
    second: FloatArray
    owners: tuple[str, ...]
    reliability: Reliability
    limits: Limits
    relative: Limits


def retest(
    first: Mapping[str, Sequence[Row]], second: Mapping[str, Sequence[Row]], seed: int = 0
) -> tuple[list[RetestRow], list[AgreementRow]]:
    """Two results sets of the same patients: their ratios, and their uptake classes.

    Raises
    ------
    InputError
        If they have no measured joint in common, or were decided by different ratios.
    """
    ours, theirs = (
        {(name, j.joint): j for name, rows in joints.items() for j in rows}
        for joints in (first, second)
    )
    rows = []
    for kind in ("disc", "facet"):
        common = [p for p in ours if p in theirs and ours[p].kind == kind]
        metrics = {side[p].metric for side in (ours, theirs) for p in common}
        if len(metrics) > 1:
            raise InputError(
                f"The results were decided by different ratios ({', '.join(sorted(metrics))}); "
                "analyse both with the same protocol."
            )
        pairs = [(ratio_of(ours[p]), ratio_of(theirs[p]), p[0]) for p in common]
        both = [p for p in pairs if isfinite(p[0]) and isfinite(p[1])]
        once = sum(isfinite(a) != isfinite(b) for a, b, _ in pairs)
        if len(both) >= _LEAST:
            rows.append(_retest_row(kind, metrics.pop(), both, once, seed))
    if not rows:
        raise InputError(
            "The two results sets have no two measured joints of the same patients in common; the "
            "folders of the patients must have the same names."
        )
    one, other = software_reading(first), software_reading(second)
    named = [Reading("first", one.grades), Reading("second", other.grades)]
    return rows, list(compare_readings(named, seed))


def _retest_row(
    kind: str, metric: str, both: Sequence[tuple[float, float, str]], once: int, seed: int
) -> RetestRow:
    one, other = (np.array([pair[n] for pair in both], dtype=float) for n in (0, 1))
    owners = tuple(owner for _, _, owner in both)
    positive = (one > 0) & (other > 0)
    logs = np.log(one[positive]), np.log(other[positive])
    log_owners = [o for o, p in zip(owners, positive, strict=True) if p]
    relative = limits_of_agreement(*logs, log_owners, seed)
    factors = Limits(
        relative.count, _factor(relative.bias), _factor(relative.lower), _factor(relative.upper),
        relative.within_sd, _factor(relative.repeatability),
    )  # fmt: skip
    return RetestRow(
        kind, metric, len(set(owners)), len(both), once, one, other, owners,
        intraclass(np.c_[one, other], owners, seed),
        limits_of_agreement(one, other, owners, seed), factors,
    )  # fmt: skip


def _factor(estimate: Estimate) -> Estimate:
    return Estimate(*(float(np.exp(v)) for v in (estimate.value, estimate.low, estimate.high)))
