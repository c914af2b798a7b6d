"""What the SPECT shows in bone and in soft tissue: signs of other tracers and images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.geometry import apply_matrix, inverse
from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.registration.blocks import Float32Array
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
    """

    contrast: float
    evenness: float


def uptake_seen(spect: SpectMap, ct: CtMaps, spect_to_ct: FloatArray) -> UptakeSeen:
    """Look at the SPECT through the CT.

    Parameters
    ----------
    spect, ct
        Prepared maps.
    spect_to_ct
        The pose, 4×4.
    """
    channels, valid = ct.channels[::2, ::2, ::2], ct.valid[::2, ::2, ::2]
    bone = _uptake(spect, ct, spect_to_ct, valid & (channels[..., 2] > BONE))
    muscle = (channels[..., 1] > SOFT) & (channels[..., 2] < 0.1)
    soft = _uptake(spect, ct, spect_to_ct, valid & muscle)
    if len(bone) < FEWEST or len(soft) < FEWEST:
        return UptakeSeen(np.nan, np.nan)
    middle = max(float(np.median(soft)), 1e-3)
    low, high = np.percentile(soft, [25.0, 75.0])
    return UptakeSeen(float(np.median(bone)) / middle, float(high - low) / middle)


def _uptake(
    spect: SpectMap, ct: CtMaps, spect_to_ct: FloatArray, tissue: BoolArray
) -> Float32Array:
    """Uptake at every other voxel of the CT's maps that holds a tissue and lies in the SPECT."""
    index: FloatArray = 2.0 * np.argwhere(tissue)[:, ::-1].astype(np.float64)
    points = apply_matrix(inverse(spect.ijk_to_lps) @ inverse(spect_to_ct) @ ct.ijk_to_lps, index)
    nearest = np.rint(points).astype(int)
    inside = np.all((nearest >= 0) & (nearest < spect.values.shape[::-1]), axis=1)
    x, y, z = nearest[inside].T
    return np.asarray(spect.values[z, y, x])
