"""What a SPECT without attenuation correction shows of the bone: less of it the deeper it lies.

The share of photons that leave the body, averaged over the camera's views, is computed from the CT
(Chang, IEEE Trans Nucl Sci 1978;25:638) and weakens the CT's maps. Where the weakened maps explain
a SPECT better, its attenuation was not corrected, and the fit is more precise with them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.blocks import Float32Array, block_means, factors
from CTSpectSpineLib.registration.prepare import BONE_CHANNELS, CtMaps

WATER_PER_CM = 0.12
"""Effective attenuation of water for Tc-99m where scatter is not corrected either, per cm (Harris
et al., Med Phys 1984;11:681)."""
RELATIVE = (0.9, 0.1, 0.15, 0.4)
"""Attenuation that the ramps of `RAMPS_HU` add, relative to water. Convention: that of fat, muscle,
trabecular and dense bone at 140 keV (NIST XCOM), rounded."""
COARSE_MM = 16.0
"""Voxel size of the computation, mm. Numerical: the share varies over centimetres."""
VIEWS = 16
"""Views over the full circle. Numerical: more change the share by less than 3 %."""
LEAST_SHARE = 0.05
"""Least share. Numerical: keeps the deepest bone in the maps."""


def weakened(ct: CtMaps) -> CtMaps:
    """Maps times the share of photons that leave the body, 1 in typical bone.

    Parameters
    ----------
    ct
        Maps of the whole CT; its slices (k) are taken as axial.
    """
    share = escaping_share(ct)
    bone = ct.bone > 0.5
    share /= max(float(np.median(share[bone])) if bone.any() else 1.0, LEAST_SHARE)
    return replace(ct, channels=ct.channels * share[..., None])


def escaping_share(ct: CtMaps) -> Float32Array:
    """Mean over the views of the share of photons that leave the body, shape (k, j, i)."""
    tissue = np.einsum("kjic,c->kji", ct.channels[..., : len(RELATIVE)], np.float32(RELATIVE))
    if ct.channels.shape[-1] > len(RELATIVE):
        tissue = tissue + np.float32(RELATIVE[BONE_CHANNELS[0]]) * ct.channels[..., -1]
    by = factors(tissue.shape, ct.spacing_mm, COARSE_MM)
    by = (by[0], by[1], by[1])
    rest = [(0, -n % f) for n, f in zip(tissue.shape, by, strict=True)]
    coarse = block_means(np.pad(tissue, rest, mode="edge"), by)
    edge_cm = by[1] * float(ct.spacing_mm[1]) / 10.0
    share = _over_views(coarse * np.float32(WATER_PER_CM * edge_cm))
    inside = [(np.arange(n) + 0.5) / f - 0.5 for n, f in zip(tissue.shape, by, strict=True)]
    grid = np.meshgrid(*inside, indexing="ij", sparse=False)
    full = ndimage.map_coordinates(share, np.stack(grid), order=1, mode="nearest")
    return np.maximum(full, LEAST_SHARE).astype(np.float32)


def _over_views(per_voxel: Float32Array) -> FloatArray:
    """Mean of exp(-path) over the views, in a square plane that holds every turned slice."""
    planes, rows, columns = per_voxel.shape
    across = int(np.ceil(np.hypot(rows, columns))) + 2
    before = ((across - rows) // 2, (across - columns) // 2)
    square = np.zeros((planes, across, across), dtype=np.float32)
    window = np.s_[:, before[0] : before[0] + rows, before[1] : before[1] + columns]
    square[window] = per_voxel
    total = np.zeros_like(square)
    for angle in np.arange(VIEWS // 2) * (360.0 / VIEWS):
        turned = ndimage.rotate(square, angle, axes=(1, 2), reshape=False, order=1)
        passed = np.cumsum(turned, axis=1) - 0.5 * turned
        rest = turned.sum(axis=1, keepdims=True) - passed
        leaving = np.exp(-passed) + np.exp(-rest)
        total += ndimage.rotate(
            leaving, -angle, axes=(1, 2), reshape=False, order=1, mode="nearest"
        )
    return np.asarray(total[window] / VIEWS, dtype=np.float64)
