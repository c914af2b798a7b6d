"""Small maps of CT and SPECT: all that the search and the refinement work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import FWHM_PER_SIGMA, content_box, ijk_to_lps
from CTSpectSpineLib.model import BoolArray, FloatArray

Float32Array = NDArray[np.float32]


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


def about_bone(ct: CtMaps, margin_mm: float = 40.0) -> CtMaps:
    """Maps cropped to the bone and a margin around it.

    The margin, mm, is numerical: about twice the FWHM of the coarse blur.
    """
    margin = np.ceil(margin_mm / ct.spacing_mm[::-1]).astype(int).tolist()
    box = content_box(ct.bone > 0.3)
    assert box is not None, "ct_maps finds bone in every CT"
    k, j, i = (slice(max(s.start - m, 0), s.stop + m) for s, m in zip(box, margin, strict=True))
    matrix = ct.ijk_to_lps.copy()
    matrix[:3, 3] += matrix[:3, :3] @ np.array([part.start for part in (i, j, k)])
    return CtMaps(ct.channels[k, j, i], ct.valid[k, j, i], matrix)


def halved(ct: CtMaps) -> CtMaps:
    """Maps of half the resolution: means over measured voxels of 2 × 2 × 2 blocks."""
    size = [n // 2 for n in ct.valid.shape]
    k, j, i = (slice(0, 2 * n) for n in size)
    blocks = (size[0], 2, size[1], 2, size[2], 2)
    valid = ct.valid[k, j, i].astype(np.float32)
    share = valid.reshape(blocks).mean(axis=(1, 3, 5))
    weighted = (ct.channels[k, j, i] * valid[..., None]).reshape(*blocks, -1)
    channels = weighted.mean(axis=(1, 3, 5)) / np.maximum(share, 1e-3)[..., None]
    matrix = ct.ijk_to_lps @ np.diag([2.0, 2.0, 2.0, 1.0])
    # A block's centre lies half a voxel beyond the centre of its first voxel, along each axis.
    matrix[:3, 3] += 0.5 * ct.ijk_to_lps[:3, :3].sum(axis=1)
    return CtMaps(channels.astype(np.float32), share > 0.5, matrix)


def column_lengths(matrix: FloatArray) -> FloatArray:
    """Voxel size along i, j, k of an index-to-LPS matrix, mm."""
    return np.asarray(np.linalg.norm(matrix[:3, :3], axis=0))


def _shrink(image: sitk.Image, target_mm: float) -> sitk.Image:
    """Average whole blocks of voxels to at most `target_mm`."""
    factors = [
        max(1, min(size, int(target_mm / spacing + 0.25)))
        for size, spacing in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]
    return sitk.BinShrink(image, factors) if max(factors) > 1 else image


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
    fine = sitk.Cast(_shrink(_in_patient_order(ct), AVERAGING_MM), sitk.sitkFloat32)
    hu = sitk.GetArrayFromImage(fine)
    valid = np.isfinite(hu) & (hu > PADDING_HU)
    hu[~valid] = -1000.0
    metal = hu > METAL_HU
    if metal.any():
        valid &= ~ndimage.binary_dilation(metal, iterations=2)
    maps = []
    for low, high in RAMPS_HU:
        ramp = np.clip(hu, low, high)
        ramp -= low
        ramp /= high - low
        maps.append(_coarse(ramp, fine))
    coarse_valid = sitk.GetArrayFromImage(_coarse(valid.astype(np.float32), fine)) > 0.7
    channels = np.stack([sitk.GetArrayFromImage(m) for m in maps], axis=-1)
    if np.count_nonzero(channels[..., BONE_CHANNELS[0]] > 0.5) < 20:
        raise InputError("The CT shows no bone (nothing above 200 HU); check that it is in HU.")
    return CtMaps(channels, coarse_valid, ijk_to_lps(maps[0]))


def _in_patient_order(image: sitk.Image) -> sitk.Image:
    """The same volume with its axes nearest to L, P, S: results do not depend on its storage."""
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    return image if code == "LPS" else sitk.DICOMOrient(image, "LPS")


def _coarse(array: Float32Array, grid: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(grid)
    return _shrink(image, MAP_MM)


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
    ordered = _in_patient_order(sitk.Cast(spect, sitk.sitkFloat32))
    image = _shrink(_without_empty_ends(ordered), MAP_MM)
    values = np.nan_to_num(sitk.GetArrayFromImage(image), nan=0.0, posinf=0.0, neginf=0.0)
    positive = values[values > 0]
    if positive.size < 100 or float(np.ptp(values)) <= 1e-6 * float(np.abs(values).max()):
        return None
    # The body is what exceeds a small share of the bright voxels; bone is its bright tail.
    body = positive[positive > 0.05 * np.percentile(positive, 99.0)]
    scale = float(np.percentile(body, 92.0))
    return SpectMap((values / scale).astype(np.float32), scale, ijk_to_lps(image))


def _without_empty_ends(spect: sitk.Image) -> sitk.Image:
    """SPECT without the empty slices at its cranial and caudal end.

    The camera saw nothing there, or the slices were blanked; taken as measured zeros they would
    pull the bone out of them.
    """
    values = sitk.GetArrayViewFromImage(spect)
    matrix = ijk_to_lps(spect)
    axis = int(np.argmax(np.abs(matrix[2, :3]) / column_lengths(matrix)))
    filled = np.flatnonzero((values > 0).any(axis=tuple(a for a in range(3) if a != 2 - axis)))
    if len(filled) < FEWEST_SLICES:
        return spect
    size, start = list(spect.GetSize()), [0, 0, 0]
    start[axis] = int(filled[0])
    size[axis] = int(filled[-1] - filled[0]) + 1
    return sitk.RegionOfInterest(spect, size, start)


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


def blur(
    array: Float32Array,
    fwhm_mm: float,
    spacing_mm: FloatArray,
    voxel_blur: bool = True,
    outside: Literal["nearest", "constant"] = "nearest",
) -> Float32Array:
    """Gaussian blur of a volume ``[k, j, i]``.

    Parameters
    ----------
    array
        The volume.
    fwhm_mm
        Full width at half maximum; 0 leaves the volume as it is.
    spacing_mm
        Voxel size along i, j, k.
    voxel_blur
        Whether `fwhm_mm` is to include the blur of averaging over a voxel.
    outside
        ``"nearest"`` continues the volume beyond its faces, ``"constant"`` puts zeros there.
    """
    variance = (fwhm_mm * (1.0 / FWHM_PER_SIGMA)) ** 2 - voxel_blur * spacing_mm**2 / 12.0
    sigma = np.sqrt(np.maximum(variance, 0.0)) / spacing_mm
    return ndimage.gaussian_filter(
        array,
        sigma=sigma[::-1].tolist(),
        mode=outside,
        truncate=3.0,
    )
