"""What a reconstruction does to activity: its response, by families of reconstructions.

Without resolution recovery the response is close to a Gaussian. With it the modulation transfer
stays near one at low frequencies and then falls fast, as the iterations converge (Landweber-like:
``1 - (1 - g)^n`` for a blur ``g``). Both are members of ``T = g (1 + a (1 - g) + b (1 - g)^2)``
with a Gaussian ``g``, which is a sum of Gaussians of the variances s², 2 s² and 3 s²; so profiles
stay separable. Which shape holds comes from what is known of the reconstruction, not from the
image: the likelihood of one scan prefers the wrong one as often as the right one.
``responses.json`` holds
the families and says how they were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.model import FloatArray, JointKind

_TABLE = Path(__file__).parent / "responses.json"


@dataclass(frozen=True)
class Response:
    """A response.

    Attributes
    ----------
    fwhm_mm
        Width of the Gaussian ``g``, before voxels average over their size.
    lift, bend
        The shape, ``a`` and ``b``; a Gaussian where both are 0.
    """

    fwhm_mm: float
    lift: float = 0.0
    bend: float = 0.0

    def gaussians(self) -> tuple[tuple[float, float], ...]:
        """Weight and FWHM in mm of the Gaussians whose sum it is; the weights sum to 1."""
        weights = (1.0 + self.lift + self.bend, -self.lift - 2.0 * self.bend, self.bend)
        return tuple(
            (weight, self.fwhm_mm * float(np.sqrt(n)))
            for n, weight in enumerate(weights, start=1)
            if weight != 0.0
        )

    @property
    def width_mm(self) -> float:
        """Full width at half maximum of the point spread that it makes."""
        sums = [(w / f**3, f) for w, f in self.gaussians()]
        radius = np.linspace(0.0, self.fwhm_mm, 2001)
        squares = np.square(radius)
        spread = np.sum([w * np.exp2(-4.0 * squares / f**2) for w, f in sums], axis=0)
        return float(2.0 * np.interp(-0.5, -spread / spread[0], radius))

    def at(self, frequency: FloatArray) -> FloatArray:
        """Modulation transfer at frequencies in 1/mm."""
        sigma = self.fwhm_mm / FWHM_PER_SIGMA
        g = np.exp(-2.0 * np.square(np.pi * sigma * frequency))
        return np.asarray(g * (1.0 + self.lift * (1.0 - g) + self.bend * (1.0 - g) ** 2))


@dataclass(frozen=True)
class Family:
    """Reconstructions whose responses share a shape.

    Attributes
    ----------
    name
        ``recovery`` or ``no-recovery``.
    lift, bend
        Shape of the response.
    lift_sd
        Standard deviation of the lift between the reconstructions of the family.
    fwhm_mm
        Least and largest width of ``g`` that is looked for.
    shortfall
        Estimated over true width of ``g``, on average.
    width_sd
        Relative standard deviation of the estimate.
    share
        Kind of joint to the share of its contrast that lies in its outline as it is found.
    share_sd
        Relative standard deviation of that.
    scale, scale_sd
        Uptake of bodies as it is solved over the true one, and its relative standard deviation.
    """

    name: str
    lift: float
    bend: float
    lift_sd: float
    fwhm_mm: tuple[float, float]
    shortfall: float
    width_sd: float
    share: Mapping[JointKind, float]
    share_sd: Mapping[JointKind, float]
    scale: float
    scale_sd: float

    def response(self, fwhm_mm: float) -> Response:
        """The response of a width."""
        return Response(fwhm_mm, self.lift, self.bend)


def families() -> tuple[str, ...]:
    """Names of the families."""
    return tuple(json_table(_TABLE)["families"])


def family(name: str) -> Family:
    """A family of ``responses.json``.

    Raises
    ------
    InputError
        If there is no such family.
    """
    table = json_table(_TABLE)["families"]
    if name not in table:
        raise InputError(f"There is no family of reconstructions '{name}'; use {', '.join(table)}.")
    row: dict[str, Any] = dict(table[name])
    low, high = row.pop("fwhm_mm")
    return Family(name=name, fwhm_mm=(low, high), **row)


def discriminant() -> Mapping[str, float]:
    """Weights by which `misfit` tells the families apart."""
    weights: Mapping[str, float] = json_table(_TABLE)["discriminant"]
    return weights
