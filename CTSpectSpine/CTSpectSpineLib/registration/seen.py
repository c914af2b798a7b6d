"""What the SPECT shows in bone and in soft tissue: signs of other tracers and images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.geometry import apply_matrix, inverse
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.prepare import CtMaps, SpectMap

BONE, SOFT = 0.7, 0.8
"""Least value of the ramps of trabecular bone, and of muscle, for a voxel to be of that tissue
alone. Judgement: leaves out edges."""
FEWEST = 50
"""Fewest voxels of a tissue whose uptake is stated. Judgement: some ml."""


@dataclass(frozen=True)
class UptakeSeen:
    """Uptake by tissue.

    Attributes
    ----------
    contrast
        Median of bone over that of soft tissue; NaN where one of them is not seen.
    evenness
        Spread of the soft tissue's uptake: quartiles' distance over the median; NaN likewise.
    air
        Median of air around and in the body over that of soft tissue.
    hot_share
        Share of all counts that lie in the hottest hundredth of the voxels.
    """

    contrast: float
    evenness: float
    air: float
    hot_share: float


def uptake_seen(spect: SpectMap, ct: CtMaps, spect_to_ct: FloatArray) -> UptakeSeen:
    """Look at the SPECT through the CT.

    Parameters
    ----------
    spect, ct
        Prepared maps.
    spect_to_ct
        The pose, 4×4.
    """
    values = np.maximum(spect.values.reshape(-1), 0.0)
    hottest = np.partition(values, int(0.99 * len(values)))[int(0.99 * len(values)) :]
    hot = float(hottest.sum() / max(float(values.sum()), 1e-9))
    k, j, i = np.nonzero(ct.valid[::2, ::2, ::2])
    index: FloatArray = 2.0 * np.stack([i, j, k], axis=1).astype(np.float64)
    points = apply_matrix(inverse(spect.ijk_to_lps) @ inverse(spect_to_ct) @ ct.ijk_to_lps, index)
    nearest = np.rint(points).astype(int)
    inside = np.all((nearest >= 0) & (nearest < spect.values.shape[::-1]), axis=1)
    x, y, z = nearest[inside].T
    uptake = spect.values[z, y, x]
    channels = ct.channels[2 * k[inside], 2 * j[inside], 2 * i[inside]]
    bone = uptake[channels[:, 2] > BONE]
    soft = uptake[(channels[:, 1] > SOFT) & (channels[:, 2] < 0.1)]
    air = uptake[channels[:, 0] < 0.1]
    if len(bone) < FEWEST or len(soft) < FEWEST:
        return UptakeSeen(np.nan, np.nan, np.nan, hot)
    middle = max(float(np.median(soft)), 1e-3)
    low, high = np.percentile(soft, [25.0, 75.0])
    outside = float(np.median(air)) / middle if len(air) >= FEWEST else np.nan
    return UptakeSeen(float(np.median(bone)) / middle, float(high - low) / middle, outside, hot)
