"""The regions' true uptake, solved from what is observed, and its uncertainty.

The transfer system is solved by generalised least squares with a prior (Tikhonov): observed means
differ from the transfer matrix times the true means by errors of known covariance
(`uncertainty.error_model`), and the true means differ from those of comparable regions by
amounts of known scale. Where a region is well resolved the observations decide; where it is tiny,
the prior does, and the covariance says so.

The prior of most regions is a mixture: they are about as active as the patient's vertebral bodies
(the surroundings: hardly active), or hot by any amount. Which of the two holds is judged from the
first solution of a region and its variance; where these leave it open, the solution lies between
and the variance covers both. A clearly hot joint is not drawn towards the normal ones at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse

from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.uptake.partition import Partition, PartKind

PRIOR_SD: Mapping[PartKind, float] = {
    "disc_bone": 0.07,
    "facet_bone": 0.07,
    "body": 0.07,
    "posterior": 0.15,
    "sacrum": 1.0,
    "hip": 1.0,
    "disc_space": 0.2,
    "background": 0.2,
}
"""Standard deviation of a region's difference from comparable ones, in units of the reference
uptake; where mixed, when they are normal. Judgement: published means + 2 SD of normal vertebrae,
like for like within a patient, range from 1.14 to 1.74; half of 0.14 is taken for joints and
bodies. Arches and soft tissue vary more; sacrum and hips are left nearly free."""
NORMAL_SHARE = 0.9
"""Share of mixed regions taken as normal. Patients with active facet joints have 2.4 ± 1.9 of them
(Perez-Roman et al. 2020, 190 patients), so more would be normal; with less certainty a small joint
that is truly hot is not explained away as noise."""
WIDE_SD = 3.0
"""Standard deviation of those that are not, and of regions that nothing compares with. Judgement:
even 7 times the reference is within two of them."""
_STANDS_OUT = 0.35
"""Bodies further than this from their median (relative) are not what other bone is compared with.
Judgement: several times the spread between normal vertebrae."""
_DECIMALS = 6
"""Decimals of a solved uptake that are kept. Numerical: far below its error, and above the rounding
that depends on the number of threads."""
_MIXED: frozenset[PartKind] = frozenset(
    {"disc_bone", "facet_bone", "body", "posterior", "background"}
)


@dataclass(frozen=True)
class Prior:
    """Prior differences between regions, in units of the reference uptake.

    Attributes
    ----------
    rows
        Shape (regions, regions): a region minus the mean of comparable ones.
    sd
        Standard deviation of each difference, shape (regions,); of normal regions where mixed.
    mixed
        Which differences are normal or wide, shape (regions,).
    """

    rows: sparse.csr_matrix
    sd: FloatArray
    mixed: BoolArray

    def wide(self) -> FloatArray:
        """Standard deviations when nothing is taken as normal."""
        return np.where(self.mixed, WIDE_SD, self.sd)


@dataclass(frozen=True)
class _Judged:
    """Mixed differences judged normal or wide.

    Attributes
    ----------
    sd
        Standard deviation whose normal prior moves each difference as far as the mixture does.
    open_sd
        Standard deviation that the open question adds; 0 where there is none.
    """

    sd: FloatArray
    open_sd: FloatArray


def judge(prior: Prior, first: FloatArray, variance: FloatArray) -> _Judged:
    """Judge which differences are normal.

    Parameters
    ----------
    prior
        The prior.
    first, variance
        Differences solved with the wide prior, and their variance.
    """
    away, own = np.square(first), np.maximum(variance, 1e-12)
    narrow, wide = np.square(prior.sd) + own, WIDE_SD**2 + own
    odds = (1.0 - NORMAL_SHARE) / NORMAL_SHARE * np.sqrt(narrow / wide)
    exponent = np.clip(0.5 * away * (1.0 / narrow - 1.0 / wide), 0.0, 500.0)
    normal = 1.0 / (1.0 + odds * np.exp(exponent))
    pulls = own / narrow, own / wide
    pull = normal * pulls[0] + (1.0 - normal) * pulls[1]
    sd = np.sqrt(own * (1.0 - pull) / pull)
    open_sd = np.sqrt(normal * (1.0 - normal)) * np.abs(first) * (pulls[0] - pulls[1])
    return _Judged(np.where(prior.mixed, sd, prior.sd), np.where(prior.mixed, open_sd, 0.0))


@dataclass(frozen=True)
class Posterior:
    """Solved true means, in units of the reference uptake.

    Attributes
    ----------
    true
        Most probable true means, shape (regions,).
    factor
        Lower Cholesky factor of their precision matrix (inverse covariance).
    open_sd
        Additional standard deviation, where it is open whether a region is normal.
    ways
        Changes of the solution with one standard deviation of each common error, shape
        (regions, errors).
    """

    true: FloatArray
    factor: FloatArray
    open_sd: FloatArray
    ways: FloatArray

    def draw(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Draws of the true means, shape (count, regions)."""
        normal = rng.standard_normal((len(self.true), count))
        away = linalg.solve_triangular(self.factor, normal, lower=True, trans="T")
        extra = self.open_sd * rng.standard_normal((count, len(self.true)))
        common = rng.standard_normal((count, self.ways.shape[1])) @ self.ways.T
        return _settled(self.true + away.T + extra + common)


def build_prior(partition: Partition, first: FloatArray | None = None) -> Prior:
    """Which regions are comparable, and how closely.

    Parameters
    ----------
    partition
        The regions.
    first
        A first solution, shape (regions,); bone that stands out in it (a fracture, a vertebra with
        Paget's disease) is not compared with. None to compare with all bodies.
    """
    parts = partition.parts
    bodies = partition.of_kind("body") or partition.of_kind("posterior", "sacrum")
    if first is not None:
        bodies = _alike(bodies, first)
    background = partition.of_kind("background")
    count = len(parts)
    rows = sparse.lil_matrix((count, count))
    sd, mixed = np.empty(count), np.zeros(count, dtype=bool)
    for number, part in enumerate(parts):
        # A disc space takes up no more than soft tissue; all bone about as much as bodies.
        like = {"disc_space": background, "background": []}.get(part.kind, bodies)
        beside = [n for n in like if n != number]
        sd[number] = PRIOR_SD[part.kind] if beside or part.kind == "background" else WIDE_SD
        mixed[number] = part.kind in _MIXED and (bool(beside) or part.kind == "background")
        if beside:
            rows[number, beside] = -1.0 / len(beside)
        rows[number, number] = 1.0
    return Prior(sparse.csr_matrix(rows), sd, mixed)


def _alike(numbers: list[int], first: FloatArray) -> list[int]:
    """Those within `_STANDS_OUT` of their median; all where the median is nothing."""
    median = float(np.median(first[numbers])) if numbers else 0.0
    if median <= 0.0:
        return numbers
    return [n for n in numbers if abs(first[n] / median - 1.0) <= _STANDS_OUT]


def solve(
    omega: FloatArray,
    observed: FloatArray,
    error: FloatArray,
    prior: Prior,
    common: FloatArray | None = None,
) -> Posterior:
    """Most probable true means and their precision.

    Parameters
    ----------
    omega
        Transfer matrix, shape (observations, regions).
    observed
        Observed means in units of the reference uptake.
    error
        Covariance of their errors, shape (observations, observations).
    prior
        Prior differences.
    common
        Changes of the observed means with one standard deviation of each error common to all,
        shape (observations, errors). The solution is not protected against them, so they widen
        it in full.
    """
    inverse = linalg.cho_factor(error, lower=True)
    weighted = linalg.cho_solve(inverse, omega)
    data = omega.T @ weighted
    right = weighted.T @ observed
    wide = linalg.cholesky(data + _precision(prior, prior.wide()), lower=True)
    first = prior.rows @ linalg.cho_solve((wide, True), right)
    mixed = np.flatnonzero(prior.mixed)
    variance = np.ones(len(first))
    if len(mixed):
        spread = linalg.solve_triangular(wide, prior.rows[mixed].toarray().T, lower=True)
        variance[mixed] = np.sum(spread**2, axis=0)
    judged = judge(prior, first, variance)
    factor = linalg.cholesky(data + _precision(prior, judged.sd), lower=True)
    if common is None:
        common = np.zeros((len(omega), 0))
    ways = linalg.cho_solve((factor, True), weighted.T @ common)
    true = _settled(linalg.cho_solve((factor, True), right))
    return Posterior(true, factor, judged.open_sd, ways)


def solve_plain(
    omega: FloatArray, observed: FloatArray, error_sd: float, prior: Prior
) -> FloatArray:
    """True means with equal, independent errors and the widest prior, shape (regions,)."""
    normal = omega.T @ omega / error_sd**2 + _precision(prior, prior.wide())
    return linalg.solve(normal, omega.T @ observed / error_sd**2, assume_a="pos")


def condition_number(omega: FloatArray, partition: Partition) -> float:
    """Condition number of the bone's part of a transfer matrix, before any regularisation."""
    bone = [n for n, part in enumerate(partition.parts) if part.kind != "background"]
    return float(np.linalg.cond(omega[np.ix_(bone, bone)])) if bone else float("nan")


def _settled(values: FloatArray) -> FloatArray:
    """Rounded: the order of summation, which depends on the number of threads, hardly shows."""
    return np.round(values, _DECIMALS)


def _precision(prior: Prior, sd: FloatArray) -> FloatArray:
    scaled = sparse.diags(1.0 / sd) @ prior.rows
    return np.asarray((scaled.T @ scaled).todense())
