"""Width of the SPECT's response, estimated from the SPECT itself.

The regions' true means are solved for a series of widths, the SPECT is predicted from them, and
the width whose prediction differs least from the SPECT at the spine is taken. The means come from
regional observations, not from a fit to the voxels that are compared, because such a fit takes up
noise and uneven uptake better the wider the response is. The estimate includes everything that
blurs the spine (collimator, reconstruction, filter, breathing, misregistration), which is what the
correction needs, except the averaging over the SPECT's voxels, which is modelled. The shape of the
response is that of a family (`response.Family`); the shortfall that was found in simulated patients
is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.processes import return_memory
from CTSpectSpineLib.uptake.first_solution import first_solution, likeness
from CTSpectSpineLib.uptake.partition import Partition
from CTSpectSpineLib.uptake.response import Family, Response
from CTSpectSpineLib.uptake.sampling import SpectField
from CTSpectSpineLib.uptake.transfer import (
    gaussian_profiles,
    response_profiles,
    transfer_matrix,
)

IntArray = NDArray[np.intp]

_STEPS = 6
"""Intervals between the widths that are tried first. Numerical: steps of about a fifth."""
_FINE = 0.06
"""Relative step of the widths tried last. Numerical: a parabola finds the minimum between them."""
_DECIMALS = 3
"""Decimals of a width in mm that are kept. Numerical: far below its error, and above the rounding
that depends on the number of threads."""
_LEAST_CONTRAST = 1.003
"""By how much the misfit at the worse neighbouring width must exceed the least one. Judgement: a
flatter minimum is decided by noise."""
_LEAST_SIGNAL = 0.05
"""Least variation of a SPECT at the spine, relative to its mean. Judgement: with less there is no
edge by which to tell a width."""


@dataclass(frozen=True)
class Width:
    """A width of the response.

    Attributes
    ----------
    fwhm_mm
        Width of the family's Gaussian; NaN where the SPECT does not determine it.
    misfit
        Root mean square difference between prediction and SPECT, relative to the SPECT's variation.
    reason
        Why it is not determined; empty where it is.
    """

    fwhm_mm: float
    misfit: float = np.nan
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a width."""
        return bool(np.isfinite(self.fwhm_mm))


@dataclass(frozen=True)
class View:
    """The SPECT around the spine, its regions and their observation.

    Attributes
    ----------
    field
        The SPECT around the spine.
    partition
        Its regions.
    weights
        Their observation, from `transfer.mean_weights`.
    """

    field: SpectField
    partition: Partition
    weights: sparse.csc_matrix

    def profiles(self, response: Response) -> sparse.csc_matrix:
        """What each region with uptake 1 looks like, shape (voxels, regions)."""
        return response_profiles(self.partition, self.field, response)

    def observed(self) -> FloatArray:
        """Mean of the SPECT over each region (bodies: over the core)."""
        return np.asarray(self.weights.T @ self.field.array.ravel())

    def first(self, profiles: sparse.csc_matrix) -> FloatArray:
        """First solution, SPECT units."""
        return self._solved(transfer_matrix(self.weights, profiles))

    def predicted(self, response: Response) -> FloatArray:
        """The SPECT as the first solution predicts it, shape (voxels,)."""
        gaussians = gaussian_profiles(self.partition, self.field, response)
        omega = sum(weight * transfer_matrix(self.weights, part) for weight, part in gaussians)
        first = self._solved(np.asarray(omega))
        return np.asarray(sum(weight * (profiles @ first) for weight, profiles in gaussians))

    def _solved(self, omega: FloatArray) -> FloatArray:
        return first_solution(omega, self.observed(), self._likeness)

    @cached_property
    def _likeness(self) -> FloatArray:
        return likeness(self.partition)


def estimate_width(view: View, family: Family) -> Width:
    """Estimate the width of a family's response."""
    near = near_bone(view.field, view.partition)
    seen = view.field.array.ravel()[near]
    if seen.std() <= _LEAST_SIGNAL * abs(float(seen.mean())):
        return Width(np.nan, reason="the SPECT is nearly uniform at the spine")
    tried: dict[float, float] = {}

    def misfit(width: float) -> float:
        if width not in tried:
            tried[width] = _misfit(view.predicted(family.response(width))[near], seen)
            return_memory()
        return tried[width]

    # From the middle outwards, until both neighbours of the best width are worse.
    widths = [float(w) for w in np.geomspace(*family.fwhm_mm, _STEPS + 1)]
    best = len(widths) // 2
    while True:
        near_by = [n for n in (best - 1, best + 1) if 0 <= n < len(widths)]
        better = min([best, *near_by], key=lambda n: misfit(widths[n]))
        if better == best:
            break
        best = better
    least = tried[widths[best]]
    if best in (0, len(widths) - 1):
        reason = f"the fit is best at the edge of the search, {widths[best]:.1f} mm"
        return Width(np.nan, least / float(seen.std()), reason)
    beside = [tried[widths[best - 1]], tried[widths[best + 1]]]
    if least <= 0.0 or max(beside) < _LEAST_CONTRAST * least:
        reason = "the fit hardly depends on the width"
        return Width(np.nan, least / float(seen.std()), reason)
    coarse = np.array(widths[best - 1 : best + 2])
    centre = _parabola_minimum(coarse, np.square([tried[w] for w in coarse]))
    fine = np.array([round(centre * (1.0 + n * _FINE), _DECIMALS) for n in (-1, 0, 1)])
    costs = np.square([misfit(float(w)) for w in fine])
    found = _parabola_minimum(fine, costs) / family.shortfall
    return Width(round(found, _DECIMALS), float(np.sqrt(costs.min()) / seen.std()))


def near_bone(field: SpectField, partition: Partition) -> IntArray:
    """Flat numbers (C order) of the voxels within about one voxel of modelled bone."""
    bone = np.array([False, *(part.kind != "background" for part in partition.parts)])
    nodes = bone[partition.codes[tuple(slice(None, None, step) for step in partition.factor)]]
    grown = ndimage.binary_dilation(nodes, iterations=2)
    return np.flatnonzero(grown)


def _misfit(predicted: FloatArray, seen: FloatArray) -> float:
    return float(np.sqrt(np.mean((seen - predicted) ** 2)))


def _parabola_minimum(widths: FloatArray, cost: FloatArray) -> float:
    """Minimum of the parabola through three samples, at most one step beyond them."""
    x = widths - widths[1]
    a, b, _ = np.polyfit(x, cost, 2)
    if a <= 0.0:
        return float(widths[int(np.argmin(cost))])
    return float(np.clip(-b / (2.0 * a), 2.0 * x[0], 2.0 * x[2]) + widths[1])
