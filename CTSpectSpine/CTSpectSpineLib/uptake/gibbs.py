"""Draws of the regions' uptake given what is observed: block Gibbs sampling.

Soft tissue is integrated out analytically. For bone, in turn: which component of the prior each
region belongs to (its own uptake integrated out); all uptake together, a Gaussian; the mean and
spread of ordinary regions of each kind; the common scale, with what is observed of the regions held
fixed. Gelman et al., Bayesian Data Analysis, 3rd ed. 2013, chapters 11, 15 and 22.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import exp, log

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import lapack

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.prior import Prior

_DECIMALS = 7
"""Decimals that are kept in each sweep. Numerical: far below any error, and above the rounding that
depends on the number of threads."""
_SPREADS = np.geomspace(0.4, 2.5, 25)
"""Numerical: relative spreads that are weighed against each other."""
_SCALES = np.arange(-0.3, 0.3001, 0.01)
"""Numerical: logarithms of the common scale that are weighed against each other."""
_LEAST_SD = 1e-4
"""Numerical: least variance and spread."""


@dataclass(frozen=True)
class Evidence:
    """What is observed of bone: a Gaussian's precision, and that times its mean (`pull`)."""

    precision: FloatArray
    pull: FloatArray

    # As numbers and columns: to look one up in a matrix costs as much as ten operations.
    @cached_property
    def columns(self) -> list[FloatArray]:
        """Columns of the precision."""
        return list(np.ascontiguousarray(self.precision.T))

    @cached_property
    def own(self) -> list[float]:
        """Diagonal of the precision, which is above 0."""
        return [max(value, 1e-12) for value in np.diagonal(self.precision).tolist()]

    @cached_property
    def pulls(self) -> list[float]:
        """`pull` as numbers."""
        return [float(value) for value in self.pull.tolist()]


def evidence(
    observed: FloatArray, transfer: FloatArray, covariance: FloatArray, prior: Prior
) -> tuple[Evidence, Callable[[FloatArray], FloatArray]]:
    """Integrate soft tissue out.

    Parameters
    ----------
    observed, transfer, covariance
        The equations, in units of the reference.
    prior
        The prior.

    Returns
    -------
    The evidence on bone, and a function from bone's uptake to the expected one of soft tissue.
    """
    around = transfer[:, prior.background]
    spread = around * prior.background_sd
    total = covariance + spread @ spread.T
    total[np.diag_indices_from(total)] *= 1.0 + 1e-9
    factor = linalg.cho_factor(total, lower=True)
    bone = transfer[:, prior.bone]
    weighted = linalg.cho_solve(factor, bone)
    rest = observed - around @ prior.background_mean
    found = Evidence(_settled(bone.T @ weighted), _settled(weighted.T @ rest))

    def background(uptake: FloatArray) -> FloatArray:
        left = linalg.cho_solve(factor, rest - bone @ uptake)
        return np.asarray(prior.background_mean + prior.background_sd * (spread.T @ left))

    return found, background


def _settled(values: FloatArray) -> FloatArray:
    return np.asarray(np.round(values, 5))


class Chain:
    """A Markov chain over the uptake of bone.

    Parameters
    ----------
    prior
        The prior.
    start
        Uptake to start from, shape (bone,), in units of the reference.
    rng
        Source of randomness.
    """

    def __init__(self, prior: Prior, start: FloatArray, rng: np.random.Generator) -> None:
        self._prior, self._rng = prior, rng
        self.uptake = start.copy()
        self.log_scale = 0.0
        self._means = np.array([group.mean for group in prior.groups])
        self._sds = np.array([group.sd for group in prior.groups])
        self._component = np.zeros(len(start), dtype=np.intp)

    def run(self, found: Evidence, sweeps: int) -> tuple[FloatArray, FloatArray]:
        """Draws of uptake, shape (sweeps, bone), and of the scale, shape (sweeps,)."""
        draws, scales = np.empty((sweeps, len(self.uptake))), np.empty(sweeps)
        for n in range(sweeps):
            self._choose(found)
            self._draw(found)
            self._learn()
            self._rescale()
            draws[n], scales[n] = self.uptake, exp(self.log_scale)
        return draws, scales

    def _choose(self, found: Evidence) -> None:
        """Components, one region after the other, each with its uptake."""
        scale = exp(self.log_scale)
        field = found.precision @ self.uptake
        uniform = self._rng.random(len(self.uptake)).tolist()
        normal = self._rng.standard_normal(len(self.uptake)).tolist()
        uptake = self.uptake.tolist()
        all_options = [self._scaled_options(g, scale) for g in range(len(self._prior.groups))]
        for r, g in enumerate(self._prior.group.tolist()):
            options = all_options[g]
            if not options:
                continue
            own = found.own[r]
            best = uptake[r] + (found.pulls[r] - field.item(r)) / own
            logs = []
            for log_share, _, mean, square in options:
                variance = square + 1.0 / own
                logs.append(log_share - 0.5 * log(variance) - 0.5 * (best - mean) ** 2 / variance)
            top = max(logs)
            weights = [exp(value - top) for value in logs]
            left, choice = uniform[r] * sum(weights), 0
            while choice < len(weights) - 1 and left >= weights[choice]:
                left -= weights[choice]
                choice += 1
            self._component[r] = choice
            _, plain, _, square = options[choice]
            pull = 1.0 / square
            value = (own * best + pull * plain * scale) / (own + pull) + normal[r] / (
                own + pull
            ) ** 0.5
            field += found.columns[r] * (value - uptake[r])
            uptake[r] = value
        self.uptake = np.array(uptake)

    def _scaled_options(self, g: int, scale: float) -> list[tuple[float, float, float, float]]:
        """A kind's components, the ordinary first; empty where there is no other.

        Logarithm of the share; mean; mean and variance with the scale.
        """
        others = self._prior.groups[g].others
        if not others:
            return []
        ordinary = 1.0 - sum(other.share for other in others)
        options = [(ordinary, float(self._means[g]), float(self._sds[g]))]
        options += [(other.share, other.mean, other.sd) for other in others]
        return [(log(share), mean, mean * scale, (sd * scale) ** 2) for share, mean, sd in options]

    def _options(self) -> tuple[FloatArray, FloatArray]:
        """Mean and spread of each region's component."""
        mean, sd = self._means[self._prior.group], self._sds[self._prior.group]
        for r in np.flatnonzero(self._component):
            other = self._prior.groups[self._prior.group[r]].others[self._component[r] - 1]
            mean[r], sd[r] = other.mean, other.sd
        return mean, sd

    def _draw(self, found: Evidence) -> None:
        """All uptake together."""
        mean, sd = self._options()
        scale = exp(self.log_scale)
        weight = 1.0 / np.square(sd * scale)
        precision = found.precision.copy()
        precision[np.diag_indices_from(precision)] += weight
        factor, _ = lapack.dpotrf(precision, lower=1)
        middle, _ = lapack.dpotrs(factor, found.pull + weight * mean * scale, lower=1)
        normal = self._rng.standard_normal(len(mean))
        away, _ = lapack.dtrtrs(factor, normal, lower=1, trans=1)
        self.uptake = np.round(middle + away, _DECIMALS)

    def _learn(self) -> None:
        """Mean and spread of ordinary regions of each kind."""
        relative = self.uptake / exp(self.log_scale)
        for g, group in enumerate(self._prior.groups):
            values = relative[(self._prior.group == g) & (self._component == 0)]
            normal, uniform = float(self._rng.standard_normal()), float(self._rng.random())
            if group.mean_sd > 0.0:
                own, prior = len(values) / self._sds[g] ** 2, 1.0 / group.mean_sd**2
                middle = (values.sum() / self._sds[g] ** 2 + group.mean * prior) / (own + prior)
                self._means[g] = middle + normal / np.sqrt(own + prior)
            if group.log_sd > 0.0:
                spreads = group.sd * _SPREADS
                squares = float(np.sum((values - self._means[g]) ** 2))
                logs = -len(values) * np.log(spreads) - 0.5 * squares / spreads**2
                logs -= 0.5 * (np.log(_SPREADS) / group.log_sd) ** 2
                self._sds[g] = spreads[_pick(logs, uniform)]

    def _rescale(self) -> None:
        """The common scale, with the uptake held."""
        mean, sd = self._options()
        scales = np.exp(_SCALES)[:, None]
        logs = -0.5 * np.sum(((self.uptake / scales - mean) / sd) ** 2, axis=1)
        logs -= len(mean) * _SCALES
        step = float(_SCALES[_pick(logs, float(self._rng.random()))])
        self.log_scale = step + 0.01 * (float(self._rng.random()) - 0.5)


def _pick(logs: NDArray[np.float64], uniform: float) -> int:
    """Place drawn with probabilities given by their logarithms."""
    weights = np.cumsum(np.exp(logs - logs.max()))
    return int(min(np.searchsorted(weights, uniform * weights[-1]), len(weights) - 1))
