"""SPECT of an activity map: misalignment, point spread, sampling, noise.

Model: the activity is seen through a rigid movement of the patient, blurred by the scanner's
Gaussian point spread, averaged over the SPECT's voxels and scaled to a total of counts. The
image is assumed to be perfectly corrected for attenuation and scatter. Noise is that of an
iterative reconstruction: log-normal (Barrett, Wilson and Tsui, Phys Med Biol 1994;39:833), with a
variance proportional to the local mean and correlated over the width of the reconstruction's
post-filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import (
    FWHM_PER_SIGMA,
    Grid,
    affine,
    apply_matrix,
    euler_transform,
    grid_of,
    transform_matrix,
)
from CTSpectSpineLib.model import FloatArray

Beyond = Literal["continue", "air"]

DEFAULT_COUNTS = 8.0e6
"""Counts in the volume. Judgement: a bone SPECT of 2 x 60 views of 15 to 20 s holds about 5 to 10
million."""

_WORKING_MM = 2.2
"""Voxel size aimed at for the blurring. Numerical: well below the point spread, so nothing
aliases."""
_CONTINUED_MM = 60.0
"""How far the patient goes on beyond the faces of the CT that cut the body. Judgement: a
movement of 25 mm and three times a point spread of 10 mm."""
_SUBSAMPLES = 2
"""Points per SPECT voxel along each axis. Measured on a blurred ball: within 0.02 of the
closed form."""
_MARGIN_VOXELS = 2
"""Voxels around the patient. Judgement: a scanner's field is never cut flush."""
_NOISE_FWHM_MM = 8.0
"""Post-filter. Judgement: a usual Gaussian post-filter of bone SPECT."""
_NOISE_GAIN = 1.0
"""Variance / mean. Judgement: gives vertebral bodies 5 to 10 % noise at usual counts."""
_NOISE_VOXEL_MM = 4.42
"""Voxel size at which the gain is stated. Convention: that of the default SPECT."""
_STEP = 1.0 / 64.0
"""Step of the counts. Numerical: exact in binary, so files are reproducible and compress well."""


def rigid_matrix(
    translation_mm: Sequence[float], rotation_deg: Sequence[float], centre_mm: Sequence[float]
) -> FloatArray:
    """4×4 matrix of the patient's movement between CT and SPECT, LPS mm.

    A point ``p`` of the CT is found in the SPECT at ``R (p - c) + c + t``, with ``R`` the
    rotation of `SimpleITK.Euler3DTransform` for angles about x, y and z (ITK's default order).

    Parameters
    ----------
    translation_mm, rotation_deg
        Movement along, and angles in degrees about, x, y and z.
    centre_mm
        Fixed point of the rotation, LPS mm: the CT's centre.
    """
    transform = sitk.Euler3DTransform()
    transform.SetCenter([float(v) for v in centre_mm])
    transform.SetRotation(*[float(v) for v in np.deg2rad(rotation_deg)])
    transform.SetTranslation([float(v) for v in translation_mm])
    return transform_matrix(transform)


def simulate_spect(
    activity: sitk.Image,
    ct_to_spect: FloatArray | sitk.Transform,
    fwhm_mm: float = 10.0,
    counts: float = DEFAULT_COUNTS,
    spacing_mm: float = 4.42,
    size: tuple[int, int, int] | None = None,
    seed: int | Sequence[int] = 0,
    *,
    beyond: Beyond = "continue",
    noise_fwhm_mm: float = _NOISE_FWHM_MM,
    noise_gain: float = _NOISE_GAIN,
) -> sitk.Image:
    """Simulate a reconstructed bone SPECT.

    Parameters
    ----------
    activity
        Activity on the CT's grid; see `activity.assign_activity`.
    ct_to_spect
        Rigid transform, or its 4×4 matrix, from CT points to SPECT points (LPS mm).
    fwhm_mm
        Full width at half maximum of the Gaussian point spread.
    counts
        Expected sum of all voxels. The fewer, the noisier.
    spacing_mm
        Edge of the cubic voxels.
    size
        Voxels along i, j, k. None for the smallest field that holds the moved box of the CT
        and two voxels more on each side. The field is centred on the CT's centre in either case.
    seed
        Seed of the noise.
    beyond
        What lies outside the CT's box. A CT usually cuts through the patient at its faces.
        ``"continue"``: the activity of each face goes on outwards for 60 mm, so the SPECT has no
        edge where only the CT ends (faces in air continue as air); farther out is air.
        ``"air"``: nothing.
    noise_fwhm_mm
        FWHM of the noise's correlation: that of the post-filter.
    noise_gain
        Variance / mean of a voxel of 4.42 mm; 0 for a noise-free SPECT. 1 gives a coefficient of
        variation of about 5 to 10 % in vertebral bodies at usual counts. Other voxels have it in
        proportion to their volume: a small one holds fewer counts of the same post-filtered
        image, so that the noise of a region's mean does not depend on the voxels.

    Returns
    -------
    SimpleITK.Image
        float32, axes along LPS, in counts per voxel (steps of 1/64).

    Raises
    ------
    InputError
        If the map holds no activity, or its voxels are too coarse for the point spread.
    """
    matrix = (
        transform_matrix(ct_to_spect)
        if isinstance(ct_to_spect, sitk.Transform)
        else np.asarray(ct_to_spect, dtype=float)
    )
    grid = spect_grid(grid_of(activity), matrix, spacing_mm, size)
    blurred = _blur(activity, fwhm_mm, spacing_mm, beyond)
    mean = _sample(blurred, np.linalg.inv(matrix), grid)
    total = float(mean.sum(dtype=np.float64))
    if total <= 0:
        raise InputError("The activity map holds no activity; no SPECT can be made of it.")
    mean *= counts / total
    image = quantised(_add_noise(mean, grid, noise_fwhm_mm, noise_gain, seed))
    return image_on(image, grid)


def spect_grid(
    ct: Grid, matrix: FloatArray, spacing_mm: float, size: tuple[int, int, int] | None
) -> Grid:
    """Voxels of a SPECT; without a size those that the moved box of the CT needs."""
    # The scanner's field does not follow the patient: its centre says nothing about the movement.
    centre = ct.corners_mm().mean(axis=0)
    if size is None:
        reach = np.abs(apply_matrix(matrix, ct.corners_mm()) - centre).max(axis=0)
        n = np.ceil(2 * reach / spacing_mm).astype(int) + 2 * _MARGIN_VOXELS
        size = (int(n[0]), int(n[1]), int(n[2]))
    origin = centre - 0.5 * spacing_mm * (np.array(size) - 1)
    return Grid(size, affine(spacing_mm * np.eye(3), origin))


def _blur(activity: sitk.Image, fwhm_mm: float, spacing_mm: float, beyond: Beyond) -> sitk.Image:
    """Activity at about 2 mm, continued beyond its box, blurred by the point spread.

    Averaging to the working voxels and the later linear interpolation blur as well, and the
    points of a SPECT voxel spread less than the voxel does: the Gaussian's variance makes up
    for all three, so that the whole is the point spread followed by exact voxel means.
    """
    spacing = np.array(activity.GetSpacing())
    factor = np.maximum(np.floor(_WORKING_MM / spacing + 1e-6).astype(int), 1)
    rest = (-np.array(activity.GetSize())) % factor
    whole = sitk.ZeroFluxNeumannPad(activity, [0, 0, 0], rest.tolist())
    small = sitk.BinShrink(sitk.Cast(whole, sitk.sitkFloat32), factor.tolist())
    working = np.array(small.GetSpacing())
    sigma = fwhm_mm / FWHM_PER_SIGMA
    if beyond == "continue":
        pad = np.ceil(_CONTINUED_MM / working).astype(int).tolist()
        small = sitk.ZeroFluxNeumannPad(small, pad, pad)
    else:
        pad = np.ceil(5 * sigma / working).astype(int).tolist()
        small = sitk.ConstantPad(small, pad, pad, 0.0)
    variance = sigma**2 - (working**2 - spacing**2) / 12 - working**2 / 6
    variance = variance + (spacing_mm / _SUBSAMPLES) ** 2 / 12
    if np.any(variance <= 0):
        raise InputError(
            f"A SPECT with a FWHM of {fwhm_mm:g} mm cannot be simulated from a CT with voxels of "
            f"{spacing.max():.2f} mm; use a finer CT or a larger FWHM."
        )
    # scipy's axes are k, j, i
    widths = (np.sqrt(variance) / working)[::-1]
    array = ndimage.gaussian_filter(
        sitk.GetArrayFromImage(small), widths, mode="nearest", truncate=4.5
    )
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(small)
    return result


def _sample(blurred: sitk.Image, spect_to_ct: FloatArray, grid: Grid) -> NDArray[np.float32]:
    """Mean of each SPECT voxel, from points on a finer grid."""
    n = _SUBSAMPLES
    step = float(grid.spacing_mm[0]) / n
    fine = sitk.ResampleImageFilter()
    fine.SetSize([s * n for s in grid.size])
    fine.SetOutputSpacing([step] * 3)
    fine.SetOutputOrigin((grid.ijk_to_lps[:3, 3] - 0.5 * step * (n - 1)).tolist())
    fine.SetTransform(euler_transform(spect_to_ct))
    fine.SetInterpolator(sitk.sitkLinear)
    fine.SetDefaultPixelValue(0.0)
    points = sitk.GetArrayFromImage(fine.Execute(blurred))
    k, j, i = grid.shape
    return np.asarray(points.reshape(k, n, j, n, i, n).mean(axis=(1, 3, 5)))


def _add_noise(
    mean: NDArray[np.float32], grid: Grid, fwhm_mm: float, gain: float, seed: int | Sequence[int]
) -> NDArray[np.float32]:
    """Log-normal noise with the given mean and correlation width; see `simulate_spect`."""
    if gain <= 0:
        return mean
    gain *= float(np.prod(grid.spacing_mm)) / _NOISE_VOXEL_MM**3
    rng = np.random.default_rng(seed)
    # Filtering white noise by a Gaussian of this width gives it an autocorrelation that is
    # wider by the square root of two: as post-filtered white noise has.
    sigma = fwhm_mm / FWHM_PER_SIGMA / float(grid.spacing_mm[0])
    normal = rng.standard_normal(mean.shape, dtype=np.float32)
    normal = ndimage.gaussian_filter(normal, sigma, mode="wrap")
    normal /= _filtered_sd(sigma)
    safe = np.maximum(mean, 1e-6)
    log_variance = np.log1p(gain / safe)
    return safe * np.exp(np.sqrt(log_variance) * normal - 0.5 * log_variance)


def _filtered_sd(sigma: float) -> float:
    """Standard deviation of white noise after a 3D Gaussian filter."""
    line = np.zeros(2 * int(4 * sigma + 1) + 1)
    line[line.size // 2] = 1.0
    kernel = ndimage.gaussian_filter1d(line, sigma, mode="constant")
    return float(np.sum(kernel**2) ** 1.5)


def quantised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to steps that are exact in binary: reproducible and small when compressed."""
    return np.asarray((np.rint(values / _STEP) * _STEP).astype(np.float32))


def image_on(array: NDArray[np.float32], grid: Grid) -> sitk.Image:
    """Image with axes along LPS from an array ``[k, j, i]``."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing_mm.tolist())
    image.SetOrigin(grid.ijk_to_lps[:3, 3].tolist())
    return image
