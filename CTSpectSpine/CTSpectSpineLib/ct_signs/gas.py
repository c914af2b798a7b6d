"""Gas in a disc or joint space: the vacuum phenomenon (Knutsson, Acta Radiol 1942;23:173)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.ct_signs.block import Field
from CTSpectSpineLib.geometry import MAD_TO_SD, BoolArray

GAS_HU = -200.0
"""HU below which a voxel holds gas. Judgement: a quarter gas in a disc of 80 HU, darker than fat
(-100 HU)."""
NOISE_SDS = 6.0
"""At least this many standard deviations of the noise below the tissue. Judgement: about a million
voxels are looked at in a spine."""
LEAST_GAS_MM3 = 8.0
"""Least volume that is called gas, mm³. Judgement: a bubble of 2.5 mm."""
INSIDE_SHARE = 0.6
"""Least share of a dark piece that lies in the space. Judgement: lung and bowel, which the outline
of a disc may touch, lie outside for the most part."""
_AIR_HU = -1000.0
"""By definition."""


def gas_volume(
    hu: Field, space: BoolArray, tissue_hu: float, noise_hu: float, voxel_mm3: float
) -> float:
    """Volume of gas in a space, mm³; 0 where there is less than is called gas.

    Every voxel of a bubble and next to it counts by how far its HU lies between tissue and air, so
    that blur does not change the volume.

    Parameters
    ----------
    hu
        CT around the space.
    space
        Where the space is; a margin of a voxel is added.
    tissue_hu, noise_hu
        HU of the space without gas, and standard deviation of the noise.
    voxel_mm3
        Volume of a voxel.
    """
    filled = np.nan_to_num(hu, nan=tissue_hu)
    dark = filled < min(GAS_HU, tissue_hu - NOISE_SDS * noise_hu)
    if not dark.any():
        return 0.0
    space = ndimage.binary_dilation(space)
    pieces, count = ndimage.label(dark, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    inside = np.bincount(pieces[space], minlength=count + 1)
    own = inside >= INSIDE_SHARE * sizes
    own[0] = False
    # What reaches the border of the part of the CT that was read goes on outside.
    for axis in range(3):
        for side in (0, -1):
            own[np.unique(np.take(pieces, side, axis=axis))] = False
    share = np.clip((tissue_hu - filled) / (tissue_hu - _AIR_HU), 0.0, 1.0)
    total = 0.0
    for number in np.flatnonzero(own):
        bubble = ndimage.binary_dilation(pieces == number, iterations=2)
        volume = float(share[bubble & space].sum()) * voxel_mm3
        total += volume if volume >= LEAST_GAS_MM3 else 0.0
    return total


def noise_of(hu: Field, where: BoolArray) -> tuple[float, float]:
    """Median HU and robust standard deviation of a tissue, without its gas."""
    values = hu[where]
    values = values[np.isfinite(values) & (values > GAS_HU)]
    if not values.size:
        return np.nan, np.nan
    middle = float(np.median(values))
    return middle, MAD_TO_SD * float(np.median(np.abs(values - middle)))
