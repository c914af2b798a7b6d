"""Width of the SPECT's point spread, estimated from the SPECT itself.

The region model of `transfer` is fitted to the voxels at and around the spine for a series of
widths; the width whose fit leaves least is taken. It includes everything that blurs the spine:
collimator, reconstruction, filter, breathing and misregistration, which is what the correction
needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, ndimage

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.partition import Partition
from CTSpectSpineLib.uptake.sampling import SpectField
from CTSpectSpineLib.uptake.transfer import OBSERVATION_SD, blurred_profiles

IntArray = NDArray[np.intp]

DEFAULT_FWHM_MM = 10.0
"""Middle of what bone SPECT reaches (8 to 12 mm)."""
SEARCH_MM = (5.0, 18.0)
_COARSE_MM = (5.0, 7.0, 9.0, 11.5, 14.5, 18.0)
_FINE_STEP_MM = 0.75
_LEAST_CONTRAST = 1.02
"""By how much the residual at the ends of the search must exceed the least one."""


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
        The widths tried and the residual (root mean square, SPECT units) that each left.
    """

    fwhm_mm: float
    estimated: bool
    reason: str
    widths_mm: FloatArray
    residuals: FloatArray


def estimate_psf(
    field: SpectField, partition: Partition, priors: tuple[FloatArray, FloatArray]
) -> PsfEstimate:
    """Estimate the full width at half maximum of the SPECT's Gaussian point spread.

    Parameters
    ----------
    field
        The SPECT around the spine.
    partition
        Its regions.
    priors
        From `transfer.prior_rows`.
    """
    near = near_bone(field, partition)
    tried: dict[float, float] = {}

    def residual(width: float) -> float:
        if width not in tried:
            tried[width] = _fit_residual(field, partition, priors, near, width)
        return tried[width]

    best = min(_COARSE_MM, key=residual)
    inside = _COARSE_MM[0] < best < _COARSE_MM[-1]
    if inside:
        for step in (2 * _FINE_STEP_MM, _FINE_STEP_MM):
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


def _fit_residual(
    field: SpectField,
    partition: Partition,
    priors: tuple[FloatArray, FloatArray],
    near: IntArray,
    width: float,
) -> float:
    profiles = blurred_profiles(partition, field, width).tocsr()[near]
    seen = field.array.ravel()[near]
    rows, sd = priors
    scaled = rows / sd[:, None]
    normal = np.asarray((profiles.T @ profiles).todense()) / OBSERVATION_SD**2
    right = profiles.T @ seen / OBSERVATION_SD**2
    true = linalg.solve(normal + scaled.T @ scaled, right, assume_a="pos")
    return float(np.sqrt(np.mean((seen - profiles @ true) ** 2)))


def _parabola_minimum(widths: FloatArray, cost: FloatArray) -> float:
    """Minimum of the parabola through the lowest sample and its two neighbours."""
    at = int(np.argmin(cost))
    if at in (0, len(widths) - 1):
        return float(widths[at])
    x, y = widths[at - 1 : at + 2], cost[at - 1 : at + 2]
    a, b, _ = np.polyfit(x - x[1], y, 2)
    return float(np.clip(x[1] - b / (2 * a), x[0], x[2])) if a > 0 else float(x[1])
