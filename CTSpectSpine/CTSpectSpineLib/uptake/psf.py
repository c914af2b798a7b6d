"""Width of the SPECT's point spread, estimated from the SPECT itself.

The regions' true means are solved by `transfer` for a series of widths, the SPECT is predicted
from them, and the width whose prediction differs least from the SPECT at the spine is taken. The
means come from regional observations, not from a fit to the voxels that are compared, because
such a fit takes up noise and uneven uptake better the wider the point spread is. The estimate
includes everything that blurs the spine: collimator, reconstruction, filter, voxel size,
breathing and misregistration, which is what the correction needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.partition import Partition
from CTSpectSpineLib.uptake.sampling import SpectField
from CTSpectSpineLib.uptake.transfer import blurred_profiles, solve_once, transfer_matrix

IntArray = NDArray[np.intp]

DEFAULT_FWHM_MM = 10.0
"""Middle of what bone SPECT reaches (8 to 12 mm)."""
SEARCH_MM = (5.0, 18.0)
_COARSE_MM = (5.0, 7.5, 10.0, 13.5, 18.0)
_FINE_STEPS_MM = (1.5, 0.75)
_LEAST_CONTRAST = 1.05
"""By how much the misfit at the ends of the search must exceed the least one."""
_LEAST_SIGNAL = 0.05
"""Least variation of a SPECT at the spine, relative to its mean, that holds an edge to see."""


@dataclass(frozen=True)
class PsfEstimate:
    """Estimated point spread.

    Attributes
    ----------
    fwhm_mm
        The estimate, or the default.
    estimated
        False when the data do not tell and the default is used.
    reason
        Why not, as a sentence; empty otherwise.
    widths_mm, residuals
        The widths tried and the misfit (root mean square, SPECT units) that each left.
    """

    fwhm_mm: float
    estimated: bool
    reason: str
    widths_mm: FloatArray
    residuals: FloatArray


def estimate_psf(
    field: SpectField,
    partition: Partition,
    weights: sparse.csc_matrix,
    priors: tuple[FloatArray, FloatArray],
) -> PsfEstimate:
    """Estimate the full width at half maximum of the SPECT's Gaussian point spread.

    Parameters
    ----------
    field
        The SPECT around the spine.
    partition
        Its regions.
    weights
        Their observation, from `transfer.mean_weights`.
    priors
        From `transfer.prior_rows`.
    """
    near = near_bone(field, partition)
    seen = field.array.ravel()[near]
    if seen.std() <= _LEAST_SIGNAL * abs(float(seen.mean())):
        reason = "the SPECT is nearly even at the spine, so it does not tell its resolution"
        return PsfEstimate(DEFAULT_FWHM_MM, False, reason, np.empty(0), np.empty(0))
    tried: dict[float, float] = {}

    def residual(width: float) -> float:
        if width not in tried:
            tried[width] = _misfit(field, partition, weights, priors, near, width)
        return tried[width]

    best = min(_COARSE_MM, key=residual)
    inside = _COARSE_MM[0] < best < _COARSE_MM[-1]
    if inside:
        for step in _FINE_STEPS_MM:
            centre = min(tried, key=tried.__getitem__)
            for width in (centre - step, centre + step):
                residual(float(np.clip(width, *SEARCH_MM)))
    widths = np.array(sorted(tried))
    residuals = np.array([tried[w] for w in widths])
    least = float(residuals.min())
    if not inside:
        reason = (
            f"the fit is best at the edge of the search, {best:g} mm,"
            " so the SPECT does not tell its resolution"
        )
        return PsfEstimate(DEFAULT_FWHM_MM, False, reason, widths, residuals)
    if least <= 0.0 or min(residuals[0], residuals[-1]) < _LEAST_CONTRAST * least:
        reason = "the fit hardly depends on the width, so the SPECT does not tell its resolution"
        return PsfEstimate(DEFAULT_FWHM_MM, False, reason, widths, residuals)
    return PsfEstimate(_parabola_minimum(widths, residuals**2), True, "", widths, residuals)


def near_bone(field: SpectField, partition: Partition) -> IntArray:
    """Flat numbers (C order) of the voxels within about one voxel of modelled bone."""
    bones = [n + 1 for n, part in enumerate(partition.parts) if part.kind != "background"]
    nodes = np.isin(partition.codes, bones)[
        tuple(slice(None, None, step) for step in partition.factor)
    ]
    grown = ndimage.binary_dilation(nodes, iterations=2)
    return np.flatnonzero(grown)


def _misfit(
    field: SpectField,
    partition: Partition,
    weights: sparse.csc_matrix,
    priors: tuple[FloatArray, FloatArray],
    near: IntArray,
    width: float,
) -> float:
    profiles = blurred_profiles(partition, field, width)
    seen = field.array.ravel()
    true = solve_once(transfer_matrix(weights, profiles), weights.T @ seen, priors)
    return float(np.sqrt(np.mean((seen - profiles @ true)[near] ** 2)))


def _parabola_minimum(widths: FloatArray, cost: FloatArray) -> float:
    """Minimum of the parabola through the lowest sample and its two neighbours."""
    at = int(np.argmin(cost))
    if at in (0, len(widths) - 1):
        return float(widths[at])
    x, y = widths[at - 1 : at + 2], cost[at - 1 : at + 2]
    a, b, _ = np.polyfit(x - x[1], y, 2)
    return float(np.clip(x[1] - b / (2 * a), x[0], x[2])) if a > 0 else float(x[1])
