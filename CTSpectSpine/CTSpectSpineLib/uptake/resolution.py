"""Width of the SPECT's point spread, estimated from the SPECT itself.

The regions' true means are solved for a series of widths, the SPECT is predicted from them, and
the width whose prediction differs least from the SPECT at the spine is taken. The means come from
regional observations, not from a fit to the voxels that are compared, because such a fit takes up
noise and uneven uptake better the wider the point spread is. The estimate includes everything
that blurs the spine (collimator, reconstruction, filter, breathing, misregistration), which is
what the correction needs, except the averaging over the SPECT's voxels, which is modelled. The
shortfall that was found in simulated patients is added (`_SHORTFALL`).

Profiles are made at a few widths only; between these, transfer matrices and predictions are
interpolated quadratically.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.partition import Partition
from CTSpectSpineLib.uptake.posterior import Prior, solve_plain
from CTSpectSpineLib.uptake.sampling import SpectField
from CTSpectSpineLib.uptake.transfer import blurred_profiles, transfer_matrix

IntArray = NDArray[np.intp]

DEFAULT_FWHM_MM = 10.0
"""Judgement: the middle of the 8 to 12 mm usual in bone SPECT."""
_COARSE_MM = (5.0, 7.2, 10.0, 13.5, 18.0)
"""FWHM tried first; the outer two bound the estimate. Judgement: well beyond the usual 8 to 12 mm
on both sides, in steps of about a third."""
_NODES = (0.9, 1.0, 1.1)
"""Relative widths at which the last system is made. Numerical: near enough to interpolate between,
and far enough apart for a minimum."""
_FINE_STEPS = 9
"""Widths tried between the outer nodes. Numerical: 2.5 % apart; a parabola finds the minimum
between them."""
_SHORTFALL = 0.956
"""Share of the true width at which the misfit is least on average: counting noise and uneven
uptake inside the regions favour the narrower of two widths that predict alike. Measured on 23
simulated patients of the tuning split with 7 to 13 mm: 4.4 % too narrow at every width, with a
standard deviation of 3 % (which `uncertainty.FWHM_SD` includes)."""
_DECIMALS = 3
"""Decimals of a width in mm that are kept. Numerical: far below its error, and above the rounding
that depends on the number of threads."""
_PLAIN_ERROR = 0.03
"""Error of an observed mean, in units of the reference, before the SPECT's noise is known.
Judgement: a few per cent of noise and uneven uptake."""
_LEAST_CONTRAST = 1.03
"""By how much the misfit at the worse neighbouring width must exceed the least one. Judgement: a
flatter minimum is decided by noise."""
_LEAST_SIGNAL = 0.05
"""Least variation of a SPECT at the spine, relative to its mean. Judgement: with less there is no
edge by which to tell a width."""


@dataclass(frozen=True)
class Systems:
    """Transfer systems at `nodes`, and by interpolation at widths between them.

    Attributes
    ----------
    widths_mm
        The three nodes, ascending.
    profiles, omegas
        From `transfer.blurred_profiles` and `transfer.transfer_matrix` at the nodes.
    """

    widths_mm: tuple[float, float, float]
    profiles: tuple[sparse.csc_matrix, ...]
    omegas: tuple[FloatArray, ...]

    def shares(self, width: float) -> FloatArray:
        """Weights of the nodes that interpolate quadratically."""
        a, b, c = self.widths_mm
        return np.array(
            [
                (width - b) * (width - c) / ((a - b) * (a - c)),
                (width - a) * (width - c) / ((b - a) * (b - c)),
                (width - a) * (width - b) / ((c - a) * (c - b)),
            ]
        )

    def omega(self, width: float) -> FloatArray:
        """Transfer matrix at a width."""
        shares = self.shares(width)
        return sum(
            (s * o for s, o in zip(shares, self.omegas, strict=True)),
            start=np.zeros_like(self.omegas[0]),
        )

    def image(self, true: FloatArray, width: float) -> FloatArray:
        """SPECT predicted from true means, flat, at a width."""
        shares = self.shares(width)
        return np.asarray(
            np.sum([s * (p @ true) for s, p in zip(shares, self.profiles, strict=True)], axis=0)
        )


@dataclass(frozen=True)
class PsfEstimate:
    """Estimated point spread.

    Attributes
    ----------
    fwhm_mm
        The estimate, or the default.
    estimated
        False when the data do not determine it and the default is used.
    reason
        Why not, as a sentence; empty otherwise.
    systems
        Transfer systems around `fwhm_mm`.
    """

    fwhm_mm: float
    estimated: bool
    reason: str
    systems: Systems


@dataclass(frozen=True)
class View:
    """What the estimate is made from.

    Attributes
    ----------
    field
        The SPECT around the spine.
    partition
        Its regions.
    weights
        Their observation, from `transfer.mean_weights`.
    prior
        From `posterior.build_prior`.
    """

    field: SpectField
    partition: Partition
    weights: sparse.csc_matrix
    prior: Prior

    def systems(self, widths_mm: tuple[float, float, float]) -> Systems:
        """Transfer systems at three widths."""
        made = [self.system(width) for width in widths_mm]
        return Systems(widths_mm, tuple(p for p, _ in made), tuple(o for _, o in made))

    def system(self, width_mm: float) -> tuple[sparse.csc_matrix, FloatArray]:
        """Profiles and transfer matrix at a width."""
        profiles = blurred_profiles(self.partition, self.field, width_mm)
        return profiles, transfer_matrix(self.weights, profiles)

    def around(self, width_mm: float) -> Systems:
        """Transfer systems at the nodes around a width."""
        a, b, c = (float(np.clip(share, 0.5, 2.0) * width_mm) for share in _NODES)
        return self.systems((a, b, c))

    def observed(self) -> FloatArray:
        """Mean of the SPECT over each region (bodies: over the core)."""
        return self.weights.T @ self.field.array.ravel()

    def plain(self, omega: FloatArray) -> FloatArray:
        """First solution, SPECT units."""
        return solve_plain(omega, self.observed(), _PLAIN_ERROR, self.prior)


def estimate_psf(view: View) -> PsfEstimate:
    """Estimate the full width at half maximum of the SPECT's Gaussian point spread."""
    near = near_bone(view.field, view.partition)
    seen = view.field.array.ravel()[near]

    def unknown(reason: str) -> PsfEstimate:
        return PsfEstimate(DEFAULT_FWHM_MM, False, reason, view.around(DEFAULT_FWHM_MM))

    if seen.std() <= _LEAST_SIGNAL * abs(float(seen.mean())):
        return unknown(
            "the SPECT is nearly uniform at the spine, so its resolution cannot be estimated"
        )
    tried: dict[float, float] = {}

    def misfit(width: float) -> float:
        if width not in tried:
            profiles, omega = view.system(width)
            tried[width] = _misfit((profiles @ view.plain(omega))[near], seen)
        return tried[width]

    # From the middle outwards, until both neighbours of the best width are worse.
    best, widths = 2, _COARSE_MM
    while True:
        near_by = [n for n in (best - 1, best + 1) if 0 <= n < len(widths)]
        better = min([best, *near_by], key=lambda n: misfit(widths[n]))
        if better == best:
            break
        best = better
    if best in (0, len(widths) - 1):
        return unknown(
            f"the fit is best at the edge of the search, {widths[best]:g} mm,"
            " so the resolution cannot be estimated"
        )
    least = tried[widths[best]]
    beside = [tried[widths[best - 1]], tried[widths[best + 1]]]
    if least <= 0.0 or max(beside) < _LEAST_CONTRAST * least:
        return unknown("the fit hardly depends on the width, so the resolution cannot be estimated")
    coarse = np.array(widths[best - 1 : best + 2])
    centre = _parabola_minimum(coarse, np.square([tried[w] for w in coarse]))
    systems = view.around(round(centre, _DECIMALS))
    fine = np.linspace(systems.widths_mm[0], systems.widths_mm[2], _FINE_STEPS)
    costs = [_misfit(systems.image(view.plain(systems.omega(w)), w)[near], seen) ** 2 for w in fine]
    found = round(_parabola_minimum(fine, np.array(costs)) / _SHORTFALL, _DECIMALS)
    return PsfEstimate(found, True, "", systems)


def near_bone(field: SpectField, partition: Partition) -> IntArray:
    """Flat numbers (C order) of the voxels within about one voxel of modelled bone."""
    bone = np.array([False, *(part.kind != "background" for part in partition.parts)])
    nodes = bone[partition.codes[tuple(slice(None, None, step) for step in partition.factor)]]
    grown = ndimage.binary_dilation(nodes, iterations=2)
    return np.flatnonzero(grown)


def _misfit(predicted: FloatArray, seen: FloatArray) -> float:
    return float(np.sqrt(np.mean((seen - predicted) ** 2)))


def _parabola_minimum(widths: FloatArray, cost: FloatArray) -> float:
    """Minimum of the parabola through the lowest sample and its two neighbours."""
    at = int(np.argmin(cost))
    if at in (0, len(widths) - 1):
        return float(widths[at])
    x, y = widths[at - 1 : at + 2], cost[at - 1 : at + 2]
    a, b, _ = np.polyfit(x - x[1], y, 2)
    return float(np.clip(x[1] - b / (2 * a), x[0], x[2])) if a > 0 else float(x[1])
