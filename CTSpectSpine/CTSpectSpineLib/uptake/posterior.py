"""The regions' true uptake, solved from what is seen, and how sure it is.

The transfer system is solved by generalised least squares with a prior (Tikhonov): observed means
differ from the transfer matrix times the true means by errors of known covariance
(`uncertainty.observation_error`), and the true means differ from those of comparable regions by
amounts of known scale. Where a region is well resolved the observations decide; where it is tiny,
the prior does, and the covariance says so.

The prior of joints and bodies is heavy-tailed (Cauchy, by iteratively reweighted least squares;
Lange, Little and Taylor, J Am Stat Assoc 1989;84:881): a joint is most likely as active as the
patient's vertebral bodies, but one that is clearly hot is hardly drawn to them at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse

from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.uptake.partition import Partition, PartKind

PRIOR_SCALE: Mapping[PartKind, float] = {
    "disc_bone": 0.35,
    "facet_bone": 0.35,
    "body": 0.3,
    "posterior": 0.5,
    "sacrum": 1.0,
    "hip": 1.0,
    "disc_space": 0.3,
    "background": 1.0,
}
"""Scale of a region's difference from comparable ones, in units of the reference uptake: of a
Cauchy distribution for joints and bodies, else the standard deviation of a normal one."""
_HEAVY: frozenset[PartKind] = frozenset({"disc_bone", "facet_bone", "body"})
_WIDE = 4.0
"""Start of the reweighting, and the prior of regions that nothing compares with."""
_MOST_PASSES = 15
_CONVERGED = 1e-4


@dataclass(frozen=True)
class Prior:
    """Prior differences between regions, in units of the reference uptake.

    Attributes
    ----------
    rows
        Shape (regions, regions): a region minus the mean of comparable ones.
    scale
        Of each difference, shape (regions,).
    heavy
        Which differences are Cauchy distributed, shape (regions,).
    """

    rows: sparse.csr_matrix
    scale: FloatArray
    heavy: BoolArray

    def start(self) -> FloatArray:
        """Standard deviations from which the reweighting starts."""
        return np.where(self.heavy, _WIDE, self.scale)

    def reweighted(self, true: FloatArray) -> FloatArray:
        """Standard deviations whose normal prior pulls like the heavy-tailed one at a solution."""
        away = np.asarray(self.rows @ true) / self.scale
        return np.where(self.heavy, self.scale * np.sqrt(0.5 * (1.0 + away**2)), self.scale)


@dataclass(frozen=True)
class Posterior:
    """Solved true means, in units of `unit`.

    Attributes
    ----------
    true
        Most probable true means, shape (regions,).
    factor
        Lower Cholesky factor of their precision matrix (inverse covariance).
    """

    true: FloatArray
    factor: FloatArray

    def draw(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Draws of the true means, shape (count, regions)."""
        normal = rng.standard_normal((len(self.true), count))
        away = linalg.solve_triangular(self.factor, normal, lower=True, trans="T")
        drawn: FloatArray = self.true + away.T
        return drawn


def build_prior(partition: Partition) -> Prior:
    """Which regions are comparable, and how closely."""
    parts = partition.parts
    bodies = partition.of_kind("body") or partition.of_kind("posterior", "sacrum")
    background = partition.of_kind("background")
    count = len(parts)
    rows = sparse.lil_matrix((count, count))
    scale, heavy = np.empty(count), np.zeros(count, dtype=bool)
    for number, part in enumerate(parts):
        # A disc space takes up no more than soft tissue; all bone about as much as bodies.
        like = {"disc_space": background, "background": []}.get(part.kind, bodies)
        beside = [n for n in like if n != number]
        joint = part.kind in ("disc_bone", "facet_bone")
        scale[number] = PRIOR_SCALE[part.kind] if beside or part.kind == "background" else _WIDE
        heavy[number] = part.kind in _HEAVY and bool(beside)
        if beside and not (joint and not bodies):
            rows[number, beside] = -1.0 / len(beside)
        rows[number, number] = 1.0
    return Prior(sparse.csr_matrix(rows), scale, heavy)


def solve(omega: FloatArray, observed: FloatArray, error: FloatArray, prior: Prior) -> Posterior:
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
    """
    inverse = linalg.cho_factor(error, lower=True)
    weighted = linalg.cho_solve(inverse, omega)
    data = omega.T @ weighted
    right = weighted.T @ observed
    sd = prior.start()
    true = np.zeros(omega.shape[1])
    for _ in range(_MOST_PASSES):
        before = true
        factor = linalg.cholesky(data + _precision(prior, sd), lower=True)
        true = linalg.cho_solve((factor, True), right)
        if np.abs(true - before).max() < _CONVERGED:
            break
        sd = prior.reweighted(true)
    return Posterior(true, factor)


def solve_plain(
    omega: FloatArray, observed: FloatArray, error_sd: float, prior: Prior
) -> FloatArray:
    """True means with even, independent errors and the widest prior, shape (regions,)."""
    normal = omega.T @ omega / error_sd**2 + _precision(prior, prior.start())
    true: FloatArray = linalg.solve(normal, omega.T @ observed / error_sd**2, assume_a="pos")
    return true


def condition_number(omega: FloatArray, partition: Partition) -> float:
    """Condition number of the bone's part of a transfer matrix, before any regularisation."""
    bone = [n for n, part in enumerate(partition.parts) if part.kind != "background"]
    return float(np.linalg.cond(omega[np.ix_(bone, bone)])) if bone else float("nan")


def _precision(prior: Prior, sd: FloatArray) -> FloatArray:
    scaled = sparse.diags(1.0 / sd) @ prior.rows
    dense: FloatArray = np.asarray((scaled.T @ scaled).todense())
    return dense
