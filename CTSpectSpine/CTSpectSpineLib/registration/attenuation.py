"""What a SPECT without attenuation correction shows of the bone: less of it the deeper it lies.

The share of photons that leave the body, averaged over the camera's views, is computed from the CT
(Chang, IEEE Trans Nucl Sci 1978;25:638) and weakens the CT's maps. Where the weakened maps explain
a SPECT better, its attenuation was not corrected, and the fit is more precise with them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import apply_matrix, inverse
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.blocks import Float32Array, block_means, factors
from CTSpectSpineLib.registration.prepare import BONE_CHANNELS, CtMaps, SpectMap

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
STRENGTH = 0.75
"""Exponent of the share in the maps. Measured on the physical scanner of the phantom: scatter fills
in part of what is lost, and the fit is best with 0.5 to 0.75."""
UNCORRECTED_SLOPE = 0.02
"""Slope of the logarithms of soft tissue's uptake and of the share from which attenuation is taken
as not corrected. Measured on both simulators: corrected ones -0.12 and less, uncorrected ones 0.07
to 0.6."""
SOFT, NEAR_VOXELS, LEAST_UPTAKE = 0.8, 9, 1e-3
"""Least ramp of muscle, edge of the cube about bone that is left out, in voxels of the maps, and
least uptake relative to bone. Judgement: 16 mm keep most of what spills over away; nothing is
air."""
FEWEST_SOFT, BINS = 400, 8
"""Fewest voxels of soft tissue, and bins of the share. Numerical: fifty voxels a bin."""
LEAST_SHARE = 0.05
"""Least share. Numerical: keeps the deepest bone in the maps."""


def looks_uncorrected(
    ct: CtMaps, share: Escaping, spect: SpectMap, spect_to_ct: FloatArray
) -> bool:
    """Whether uptake falls with the share of photons that leave the body.

    Where attenuation is corrected, soft tissue shows no less uptake deep in the body than near the
    skin (more, by what spills over from bone); where it is not, it shows less.

    Parameters
    ----------
    ct, share
        Maps of the whole CT, and the share; see `escaping_share`.
    spect, spect_to_ct
        The SPECT and its pose, 4×4.
    """
    beside = ndimage.maximum_filter(ct.bone, NEAR_VOXELS) > 0.3
    soft = (ct.channels[..., 1] > SOFT) & ~beside & ct.valid
    half = np.nonzero(soft[::2, ::2, ::2])
    to_spect = inverse(spect.ijk_to_lps) @ inverse(spect_to_ct) @ ct.ijk_to_lps
    index: FloatArray = 2.0 * np.stack(half[::-1], axis=1).astype(np.float64)
    nearest = np.rint(apply_matrix(to_spect, index)).astype(int)
    inside = np.all((nearest >= 0) & (nearest < spect.values.shape[::-1]), axis=1)
    x, y, z = nearest[inside].T
    uptake = spect.values[z, y, x]
    leaving = share.at_every(2, soft.shape)[half][inside]
    positive = uptake > LEAST_UPTAKE
    if np.count_nonzero(positive) < FEWEST_SOFT:
        return False
    return _slope(np.log(leaving[positive]), np.log(uptake[positive])) > UNCORRECTED_SLOPE


def _slope(x: FloatArray, y: FloatArray) -> float:
    """Slope of the line through the medians in bins of equal counts."""
    bins = np.array_split(np.argsort(x, kind="stable"), BINS)
    middles = np.array([(np.median(x[part]), np.median(y[part])) for part in bins])
    centred = middles - middles.mean(axis=0)
    return float(
        (centred[:, 0] * centred[:, 1]).sum() / max(float((centred[:, 0] ** 2).sum()), 1e-9)
    )


def weakened(ct: CtMaps, share: Float32Array) -> CtMaps:
    """Maps as a SPECT without attenuation correction shows them, 1 in typical bone.

    Parameters
    ----------
    ct, share
        Maps of the whole CT, and the share of photons that leave; see `escaping_share`.
    """
    factor = share**STRENGTH
    bone = ct.bone > 0.5
    factor = factor / (float(np.median(factor[bone])) if bone.any() else 1.0)
    return replace(ct, channels=ct.channels * factor[..., None])


@dataclass(frozen=True)
class Escaping:
    """Mean over the views of the share of photons that leave the body.

    Attributes
    ----------
    share
        On a coarse grid, shape (k, j, i).
    by
        How many of the maps' voxels along k, j, i make one of it.
    """

    share: Float32Array
    by: tuple[int, int, int]

    def at_every(self, step: int, shape: tuple[int, ...]) -> Float32Array:
        """The share at every `step`-th voxel of maps of a shape (k, j, i)."""
        finer = 1.0 / np.array(self.by)
        size = tuple(-(-n // step) for n in shape)
        found = ndimage.affine_transform(
            self.share,
            step * finer,
            0.5 * finer - 0.5,
            output_shape=size,
            order=1,
            mode="nearest",
        )
        return np.asarray(np.maximum(found, np.float32(LEAST_SHARE)))


def escaping_share(ct: CtMaps) -> Escaping:
    """Share of photons that leave the body of a CT."""
    tissue = ct.channels[..., : len(RELATIVE)] @ np.array(RELATIVE, dtype=np.float32)
    if ct.channels.shape[-1] > len(RELATIVE):
        tissue = tissue + np.float32(RELATIVE[BONE_CHANNELS[0]]) * ct.channels[..., -1]
    by = factors(tissue.shape, ct.spacing_mm, COARSE_MM)
    by = (by[0], by[1], by[1])
    rest = [(0, -n % f) for n, f in zip(tissue.shape, by, strict=True)]
    coarse = block_means(np.pad(tissue, rest, mode="edge"), by)
    edge_cm = by[1] * float(ct.spacing_mm[1]) / 10.0
    share = _over_views(coarse * np.float32(WATER_PER_CM * edge_cm))
    return Escaping(share, by)


def _over_views(per_voxel: Float32Array) -> Float32Array:
    """Mean of exp(-path) over the views, in a square plane that holds every turned slice."""
    planes, rows, columns = per_voxel.shape
    across = int(np.ceil(np.hypot(rows, columns))) + 2
    before = ((across - rows) // 2, (across - columns) // 2)
    square = np.zeros((planes, across, across), dtype=np.float32)
    window = np.s_[:, before[0] : before[0] + rows, before[1] : before[1] + columns]
    square[window] = per_voxel
    total = np.zeros_like(square)
    for angle in np.arange(VIEWS // 2) * (2.0 * np.pi / VIEWS):
        turned = _turned(square, angle)
        passed = np.cumsum(turned, axis=1) - np.float32(0.5) * turned
        rest = turned.sum(axis=1, keepdims=True) - passed
        total += _turned(np.exp(-passed) + np.exp(-rest), -angle)
    return np.asarray(total[window] / np.float32(VIEWS))


def _turned(planes: Float32Array, angle: float) -> Float32Array:
    """Square planes (k, n, n) turned about their middle, continued beyond their edges."""
    size = planes.shape[1]
    row, column = np.indices((size, size)) - 0.5 * (size - 1)
    cosine, sine = np.cos(angle), np.sin(angle)
    place = np.stack([cosine * row + sine * column, cosine * column - sine * row])
    place = np.clip(place + 0.5 * (size - 1), 0.0, size - 1.0)
    first = np.minimum(place.astype(np.intp), size - 2)
    down, across = (place - first).astype(np.float32)
    flat, at = planes.reshape(len(planes), -1), first[0] * size + first[1]
    upper = flat[:, at] * (1 - across) + flat[:, at + 1] * across
    lower = flat[:, at + size] * (1 - across) + flat[:, at + size + 1] * across
    return np.asarray(upper * (1 - down) + lower * down)
