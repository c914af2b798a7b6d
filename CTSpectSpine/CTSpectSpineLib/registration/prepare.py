"""Small maps of CT and SPECT: all that the search and the refinement work on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import content_box
from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.registration.blocks import (
    Float32Array,
    Ordered,
    block_means,
    factors,
    ordered,
    shrunk_matrix,
    slabs,
)
from CTSpectSpineLib.registration.blurring import blur
from CTSpectSpineLib.registration.solids import outside_trunk, solid_regions

AVERAGING_MM = 2.0
"""Voxel size to which HU are averaged before banding, mm. Numerical: finer detail is lost at SPECT
resolution, and coarser voxels would mix cortical bone with soft tissue."""
MAP_MM = 4.0
"""Voxel size of the maps, mm. Numerical: half of the finest resolution of bone SPECT (8 to 12
mm)."""
SPECT_FWHM_MM = 10.0
"""Resolution (FWHM) taken for reconstructed bone SPECT, mm. Judgement: the middle of 8 to 12 mm."""
PADDING_HU = -1500
"""Below this the scanner has written padding, not a measurement. Convention: air is -1000 HU, and
padding commonly
-2000 or less."""
FEWEST_SLICES = 4
"""A volume of fewer voxels along one axis cannot be registered. Numerical: gradients need
neighbours."""
METAL_HU = 2200
"""Above this lies metal, whose surroundings say nothing about bone. Judgement: beyond cortical bone
averaged to 2 mm."""

FEWEST_BONE = 20
"""Fewest voxels of bone in a CT's maps. Judgement: about one ml, less than a vertebral arch."""
LEAST_SOLID_ML = 20.0
"""Least volume of solid regions, ml, that get a channel of their own. Judgement: less disturbs
nothing."""
BONE_CM2 = 12.0
"""Area of bone in an axial layer through the trunk, cm². Judgement: that of a lumbar body without
its edge (about 45 by 32 mm)."""

RAMPS_HU = ((-500.0, -150.0), (-120.0, 20.0), (110.0, 300.0), (300.0, 900.0))
"""Ramps (from, to) of HU: lung to fat, fat to muscle, soft tissue to trabecular bone, trabecular to
dense bone. A sum of such ramps is any piecewise linear function of HU, so a linear fit on them
finds how activity depends on HU in this patient. Judgement: usual HU of these tissues."""
BONE_CHANNELS = (2, 3)
"""Channels of bone. By definition: their places in `RAMPS_HU`."""


@dataclass(frozen=True)
class CtMaps:
    """Maps of a CT on a grid of about 4 mm.

    Attributes
    ----------
    channels
        Ramps of HU, 0 to 1, shape (k, j, i, channels).
    valid
        Where the CT was measured and no metal is near, shape (k, j, i).
    ijk_to_lps
        Index to LPS mm of the grid.
    """

    channels: Float32Array
    valid: BoolArray
    ijk_to_lps: FloatArray

    @property
    def spacing_mm(self) -> FloatArray:
        """Voxel size along i, j, k."""
        return column_lengths(self.ijk_to_lps)

    @property
    def centre_mm(self) -> FloatArray:
        """Centre of the grid, LPS mm."""
        return _centre_mm(self.valid.shape, self.ijk_to_lps)

    @property
    def bone(self) -> Float32Array:
        """Share of bone, 0 to 1, shape (k, j, i)."""
        return self.channels[..., BONE_CHANNELS[0]]


@dataclass(frozen=True)
class SpectMap:
    """SPECT at 3 to 6 mm, divided by its typical bone uptake.

    Attributes
    ----------
    values
        Uptake relative to `scale`, shape (k, j, i).
    scale
        What was divided by, SPECT units.
    ijk_to_lps
        Index to LPS mm of the grid.
    """

    values: Float32Array
    scale: float
    ijk_to_lps: FloatArray

    @property
    def spacing_mm(self) -> FloatArray:
        """Voxel size along i, j, k."""
        return column_lengths(self.ijk_to_lps)

    @property
    def centre_mm(self) -> FloatArray:
        """Centre of the grid, LPS mm."""
        return _centre_mm(self.values.shape, self.ijk_to_lps)

    @cached_property
    def shuffled(self) -> NDArray[np.int16]:
        """Indices i, j, k of all voxels in a random order (seeded), shape (3, n)."""
        bits = max(self.values.shape).bit_length()
        wide = np.int32 if 3 * bits < 32 else np.int64
        k, j, i = np.ogrid[tuple(slice(n) for n in self.values.shape)]
        packed = ((k << 2 * bits) | (j << bits) | i).astype(wide)
        order = np.random.default_rng(0).permutation(packed.reshape(-1))
        return np.stack([(order >> n * bits & (1 << bits) - 1).astype(np.int16) for n in range(3)])


def _centre_mm(shape: tuple[int, ...], ijk_to_lps: FloatArray) -> FloatArray:
    """Centre of a volume of shape (k, j, i), LPS mm."""
    middle = 0.5 * (np.array(shape[::-1]) - 1.0)
    return np.asarray(ijk_to_lps[:3, :3] @ middle + ijk_to_lps[:3, 3])


def about_bone(ct: CtMaps, like: CtMaps | None = None, margin_mm: float = 40.0) -> CtMaps:
    """Maps cropped to the bone and a margin around it.

    Parameters
    ----------
    ct
        The maps.
    like
        Maps on the same grid whose bone counts; None for that of the maps themselves.
    margin_mm
        Numerical: about twice the FWHM of the coarse blur.
    """
    margin = np.ceil(margin_mm / ct.spacing_mm[::-1]).astype(int).tolist()
    box = content_box((like or ct).bone > 0.3)
    assert box is not None, "ct_maps finds bone in every CT"
    k, j, i = (slice(max(s.start - m, 0), s.stop + m) for s, m in zip(box, margin, strict=True))
    matrix = ct.ijk_to_lps.copy()
    matrix[:3, 3] += matrix[:3, :3] @ np.array([part.start for part in (i, j, k)])
    return CtMaps(ct.channels[k, j, i], ct.valid[k, j, i], matrix)


def halved(ct: CtMaps) -> CtMaps:
    """Maps of half the resolution: means over measured voxels of 2 × 2 × 2 blocks."""
    share = block_means(ct.valid, (2, 2, 2))
    channels = block_means(ct.channels * ct.valid[..., None], (2, 2, 2, 1))
    channels /= np.maximum(share, np.float32(1e-3))[..., None]
    matrix = ct.ijk_to_lps @ np.diag([2.0, 2.0, 2.0, 1.0])
    # A block's centre lies half a voxel beyond the centre of its first voxel, along each axis.
    matrix[:3, 3] += 0.5 * ct.ijk_to_lps[:3, :3].sum(axis=1)
    return CtMaps(channels, share > 0.5, matrix)


def column_lengths(matrix: FloatArray) -> FloatArray:
    """Voxel size along i, j, k of an index-to-LPS matrix, mm."""
    return np.asarray(np.linalg.norm(matrix[:3, :3], axis=0))


def _require_volume(image: sitk.Image, name: str) -> None:
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"The {name} is not a scalar 3D volume; give one with three dimensions.")
    if min(image.GetSize()) < FEWEST_SLICES:
        size = " x ".join(str(n) for n in image.GetSize())
        raise InputError(
            f"The {name} has {size} voxels, too few to register; give the whole volume."
        )


def ct_maps(ct: sitk.Image) -> CtMaps:
    """Reduce a CT of any size to maps of HU ramps at about 4 mm.

    The volume is read a slab at a time, so little memory is taken beyond it.

    Parameters
    ----------
    ct
        CT in HU, any orientation and voxel size.

    Raises
    ------
    InputError
        If the image is not a scalar volume, or shows no bone.
    """
    _require_volume(ct, "CT")
    volume = ordered(ct)
    fine = factors(volume.voxels.shape, volume.spacing_mm, AVERAGING_MM)
    matrix = shrunk_matrix(volume.ijk_to_lps, fine)
    size = tuple(n // f for n, f in zip(volume.voxels.shape, fine, strict=True))
    coarse = factors(size, column_lengths(matrix), MAP_MM)
    parts = [_slab(hu, coarse) for hu in slabs(volume.voxels, fine, coarse)]
    channels = np.concatenate([part.channels for part in parts])
    invalid = np.concatenate([part.invalid for part in parts])
    metal = invalid >= _METAL
    if metal.any():
        # Streaks and blooming reach two voxels of the averaging beyond the metal.
        away = ndimage.distance_transform_edt(
            ~metal, sampling=column_lengths(shrunk_matrix(matrix, coarse))[::-1].tolist()
        )
        invalid = np.where(away <= 2 * AVERAGING_MM, 1.0, invalid)
    if np.count_nonzero(channels[..., BONE_CHANNELS[0]] > 0.5) < FEWEST_BONE:
        raise InputError("The CT shows no bone (nothing above 200 HU); check that it is in HU.")
    means = tuple(np.concatenate([getattr(p, n) for p in parts]) for n in ("mean", "square"))
    maps = CtMaps(channels, invalid < 0.3, shrunk_matrix(matrix, coarse))
    return _without_solids(maps, means[0], means[1])


_METAL = 10.0
"""Weight of metal beside padding in the share of a voxel that is not measured. By definition: above
any share."""


@dataclass(frozen=True)
class _Slab:
    """Maps of one layer of coarse voxels; `invalid` is the share that was not measured."""

    channels: Float32Array
    invalid: Float32Array
    mean: Float32Array
    square: Float32Array


def _slab(hu: Float32Array, coarse: tuple[int, int, int]) -> _Slab:
    """Ramps, validity, mean and mean square of a slab of averaged HU."""
    invalid = np.zeros([n // f for n, f in zip(hu.shape, coarse, strict=True)], dtype=np.float32)
    # No number is above the padding and below metal where one of them is not a number.
    if not (float(hu.min()) > PADDING_HU and float(hu.max()) <= METAL_HU):
        measured = np.isfinite(hu) & (hu > PADDING_HU)
        hu = np.where(measured, hu, np.float32(-1000.0))
        invalid = block_means(~measured, coarse)
        invalid += np.float32(_METAL * np.prod(coarse)) * block_means(hu > METAL_HU, coarse)
    maps = np.empty((*invalid.shape, len(RAMPS_HU)), dtype=np.float32)
    ramp = np.empty_like(hu)
    for channel, (low, high) in enumerate(RAMPS_HU):
        mean = block_means(np.clip(hu, low, high, out=ramp), coarse)
        maps[..., channel] = (mean - np.float32(low)) / np.float32(high - low)
    square = block_means(np.multiply(hu, hu, out=ramp), coarse)
    return _Slab(maps, invalid, block_means(hu, coarse), square)


def _without_solids(maps: CtMaps, mean_hu: Float32Array, square: Float32Array) -> CtMaps:
    """Take what is bright and no bone out of the bone, and air and objects about the trunk away.

    Solid regions get a channel of their own, so that the model can still give them uptake.
    """
    channels = maps.channels
    outside = outside_trunk(mean_hu, maps.spacing_mm)
    solid = solid_regions(mean_hu, square, maps.spacing_mm) & ~outside
    left = channels[..., BONE_CHANNELS[0]] * ~(solid | outside)
    if np.count_nonzero(left > 0.5) < FEWEST_BONE:
        return maps
    channels[outside] = 0.0
    if np.count_nonzero(solid) * float(np.prod(maps.spacing_mm)) < LEAST_SOLID_ML * 1000.0:
        return maps
    own = np.where(solid, channels[..., BONE_CHANNELS[0]], 0.0).astype(np.float32)
    for channel in BONE_CHANNELS:
        channels[..., channel][solid] = 0.0
    return replace(maps, channels=np.concatenate([channels, own[..., None]], axis=-1))


def spect_map(spect: sitk.Image) -> SpectMap | None:
    """Bring a SPECT to 3–6 mm voxels and divide it by its typical bone uptake.

    Parameters
    ----------
    spect
        SPECT in any units, any orientation and voxel size.

    Returns
    -------
    The map; None when the image is constant or nowhere positive.

    Raises
    ------
    InputError
        If the image is not a scalar volume.
    """
    _require_volume(spect, "SPECT")
    volume = _without_empty_ends(ordered(spect))
    by = factors(volume.voxels.shape, volume.spacing_mm, MAP_MM)
    values = block_means(volume.voxels, by)
    matrix = shrunk_matrix(volume.ijk_to_lps, by)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    if np.count_nonzero(values > 0) < 100 or float(np.ptp(values)) <= 1e-6 * float(
        np.abs(values).max()
    ):
        return None
    scale = typical_bone(values, column_lengths(matrix))
    return SpectMap((values / scale).astype(np.float32), scale, matrix)


def typical_bone(values: Float32Array, spacing_mm: FloatArray) -> float:
    """Typical uptake of bone, whatever else is hot.

    In every axial layer it is the uptake that `BONE_CM2` of the layer exceed; bladder, kidneys and
    other hot organs fill some layers only, so the median over the layers with a body in them is
    that of bone.

    Parameters
    ----------
    values
        Uptake, shape (k, j, i), k along the body.
    spacing_mm
        Voxel size along i, j, k.
    """
    rank = max(1, int(BONE_CM2 * 100.0 / float(spacing_mm[0] * spacing_mm[1])))
    flat = values.reshape(len(values), -1)
    rank = min(rank, flat.shape[1] // 2)
    bright = -np.partition(-flat, rank, axis=1)[:, rank]
    bright = bright[bright > 0]
    if not bright.size:
        return float(np.percentile(values[values > 0], 92.0))
    body = bright[bright > 0.25 * np.median(bright)]
    return float(np.median(body))


def _without_empty_ends(spect: Ordered) -> Ordered:
    """SPECT without the empty slices at its cranial and caudal end.

    The camera saw nothing there, or the slices were blanked; taken as measured zeros they would
    pull the bone out of them.
    """
    filled = np.flatnonzero((spect.voxels > 0).any(axis=(1, 2)))
    if len(filled) < FEWEST_SLICES:
        return spect
    first, last = int(filled[0]), int(filled[-1])
    matrix = spect.ijk_to_lps.copy()
    matrix[:3, 3] += first * matrix[:3, 2]
    return Ordered(spect.voxels[first : last + 1], matrix)


def smoothed(spect: SpectMap, fwhm_mm: float) -> SpectMap:
    """SPECT blurred further, to about a total resolution, and thinned to what that needs.

    The SPECT's own resolution is taken as `SPECT_FWHM_MM`; the total matters little, because
    the model's coefficients are free.
    """
    extra = float(np.sqrt(max(fwhm_mm**2 - SPECT_FWHM_MM**2, 0.0)))
    values = blur(spect.values, extra, spect.spacing_mm, voxel_blur=False)
    step = np.maximum(1, (0.5 * fwhm_mm / spect.spacing_mm + 0.1).astype(int))
    matrix = spect.ijk_to_lps @ np.diag([*step.tolist(), 1.0])
    thinned = np.ascontiguousarray(values[:: step[2], :: step[1], :: step[0]])
    return SpectMap(thinned, spect.scale, matrix)
