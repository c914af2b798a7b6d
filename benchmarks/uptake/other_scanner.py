"""A second physical scanner, by PyTomography, for which the measurement was never set.

Other projector, collimator (with a halo of photons that pass its walls), scatter, orbit, views,
iterations and filters than the project's own scanner. Needs the extra ``bench``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from benchmarks.scanner.system import Volume, system_of, tensor
from CTSpectSpineLib.geometry import FWHM_PER_SIGMA, grid_of, image_centre_mm
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom import SpectConfig
from CTSpectSpineLib.phantom.scanner.projections.collimator import Collimator
from CTSpectSpineLib.phantom.scanner.projections.maps import (
    Frame,
    activity_patch,
    attenuation_per_mm,
    binned,
    ct_patch,
    cut_faces_mm,
    sampled,
)
from CTSpectSpineLib.phantom.scanner.spect import image_on, quantised, rigid_matrix
from CTSpectSpineLib.phantom.scanning import Specimen

COLLIMATOR = Collimator(hole_mm=1.25, length_mm=25.4, to_crystal_mm=6.0, intrinsic_fwhm_mm=3.4)
"""A low-energy collimator. Judgement: holes of 1.2 to 1.5 mm, 24 to 27 mm long, are usual; neither
of the own scanner's."""
VIEWS, RADIUS_MM = 64, 215.0
"""Judgement: a circular orbit around a usual trunk and its couch."""
HALO_SHARE, HALO_FWHM_MM = 0.04, 30.0
"""Photons that pass the collimator's walls. Judgement: a few per cent at 140 keV."""
SCATTER_SHARE, SCATTER_MM = 0.3, 45.0
"""Scattered over unscattered photons, and the length over which they fall off. Judgement: of the
order of 0.3 in a window of 15 to 20 %, with a broad exponential (Axelsson et al., J Nucl Med
1984;25:490)."""
WINDOW_SHARE, WINDOW_FWHM_MM = 0.2, 25.0
"""Counts of the scatter windows for each scattered photon, and how their estimate is smoothed.
Judgement: two narrow windows."""
DIVISION = 2
"""Voxels of the projection in one of the image along each axis. Numerical."""
FIELD_MM = 400.0
"""Width of the field. Judgement: a patient with arms up."""
NOISE_STREAM = 77
"""Stream of a patient's seed. Convention: a number of its own."""


@dataclass(frozen=True)
class Settings:
    """A reconstruction.

    Attributes
    ----------
    iterations, subsets, filter_fwhm_mm
        Of OSEM and of the Gaussian filter after it.
    recovery
        Whether the collimator is modelled.
    attenuation, scatter
        Whether they are corrected.
    shift_mm
        Displacement of the attenuation map, LPS.
    """

    iterations: int
    subsets: int
    filter_fwhm_mm: float
    recovery: bool
    attenuation: bool = True
    scatter: bool = True
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)


SETTINGS: Mapping[str, Settings] = {
    "recovery": Settings(5, 8, 5.0, True),
    "no-recovery": Settings(3, 8, 7.0, False),
    "no-attenuation-correction": Settings(3, 8, 7.0, False, attenuation=False, scatter=False),
    "displaced-attenuation": Settings(5, 8, 5.0, True, shift_mm=(-8.0, 10.0, 10.0)),
}
"""Under the names of the own scanner's presets. Judgement: within what clinics use."""


def scan_elsewhere(
    specimen: Specimen, spect: SpectConfig, presets: Sequence[str]
) -> tuple[dict[str, sitk.Image], FloatArray]:
    """Scan a patient.

    Parameters
    ----------
    specimen, spect
        The patient; pose, counts, voxels and seed. Surroundings are left out.
    presets
        Names of `SETTINGS`.

    Returns
    -------
    Name to SPECT, and the 4×4 matrix from CT to SPECT points, LPS mm.
    """
    ct, activity = specimen.anatomy.ct, specimen.painted.image
    centre = image_centre_mm(ct)
    matrix = rigid_matrix(spect.translation_mm, spect.rotation_deg, centre.tolist())
    voxel = spect.spacing_mm
    frame = _frame(ct, centre, voxel)
    fine = frame.finer(DIVISION)
    faces = cut_faces_mm(ct)
    per_mm = attenuation_per_mm(sampled(ct_patch(ct, faces, fine.voxel_mm), fine, matrix))
    source = np.maximum(
        sampled(activity_patch(activity, faces, fine.voxel_mm), fine, matrix), np.float32(0)
    )
    primary, scatter = _expected(source, per_mm, fine.voxel_mm)
    scale = spect.counts / float((primary + scatter).sum(dtype=np.float64))
    rng = np.random.default_rng([spect.seed, NOISE_STREAM])
    measured = rng.poisson(np.maximum((primary + scatter) * scale, 0.0)).astype(np.float32)
    seen = rng.poisson(np.maximum(scatter * scale * WINDOW_SHARE, 0.0)) / WINDOW_SHARE
    width = WINDOW_FWHM_MM / FWHM_PER_SIGMA / voxel
    estimate = ndimage.gaussian_filter(seen.astype(np.float32), (0.0, width, width))
    coarse = binned(per_mm, DIVISION) / np.float32(DIVISION**3)
    images = {
        name: _image(_reconstructed(measured, estimate, coarse, voxel, SETTINGS[name]), frame)
        for name in presets
    }
    return images, matrix


def _frame(ct: sitk.Image, centre: FloatArray, voxel_mm: float) -> Frame:
    corners = grid_of(ct).corners_mm()
    planes = int(np.ceil((np.ptp(corners[:, 2]) + 40.0) / voxel_mm))
    n = int(np.ceil(FIELD_MM / voxel_mm / 2.0)) * 2
    x, y, z = (float(v) for v in centre)
    return Frame((x, y, z), voxel_mm, (n, n, planes))


def _expected(source: Volume, per_mm: Volume, voxel_mm: float) -> tuple[Volume, Volume]:
    """Unscattered and scattered photons in pixels of the image's size, ``[view, across, z]``."""
    system = system_of(source.shape, voxel_mm, [RADIUS_MM] * VIEWS, per_mm, COLLIMATOR.fwhm_mm)
    sharp = np.asarray(system.forward(tensor(source)).numpy(), dtype=np.float32)
    views = np.stack([binned(view, DIVISION) for view in sharp])
    width = HALO_FWHM_MM / FWHM_PER_SIGMA / (voxel_mm * DIVISION)
    halo = ndimage.gaussian_filter(views, (0.0, width, width), mode="nearest")
    primary = (1.0 - HALO_SHARE) * views + HALO_SHARE * halo
    reach = int(np.ceil(3.0 * SCATTER_MM / (voxel_mm * DIVISION)))
    line = np.arange(-reach, reach + 1) * voxel_mm * DIVISION
    kernel = np.exp(-np.hypot(line[:, None], line[None, :]) / SCATTER_MM)
    kernel *= SCATTER_SHARE / kernel.sum()
    scatter = np.stack([ndimage.convolve(view, kernel, mode="nearest") for view in primary])
    return primary.astype(np.float32), scatter.astype(np.float32)


def _reconstructed(
    measured: Volume, scatter: Volume, per_mm: Volume, voxel_mm: float, settings: Settings
) -> Volume:
    from pytomography.algorithms import OSEM
    from pytomography.likelihoods import PoissonLogLikelihood

    shift = np.array(settings.shift_mm)[[1, 0, 2]] / voxel_mm
    moved = ndimage.shift(per_mm, shift, order=1, mode="nearest") if shift.any() else per_mm
    system = system_of(
        per_mm.shape,
        voxel_mm,
        [RADIUS_MM] * VIEWS,
        moved if settings.attenuation else None,
        COLLIMATOR.fwhm_mm if settings.recovery else None,
    )
    likelihood = PoissonLogLikelihood(
        system, tensor(measured), tensor(scatter) if settings.scatter else None
    )
    found = OSEM(likelihood)(n_iters=settings.iterations, n_subsets=settings.subsets)
    sigma = settings.filter_fwhm_mm / FWHM_PER_SIGMA / voxel_mm
    return np.asarray(ndimage.gaussian_filter(found.numpy(), sigma), dtype=np.float32)


def _image(volume: Volume, frame: Frame) -> sitk.Image:
    """Image in steps of 1/64 whose mean inside the body is of the order of counts."""
    kept = np.ascontiguousarray(volume.transpose(2, 0, 1))
    scale = 16.0 / max(float(np.percentile(kept, 99.0)), 1e-9)
    return image_on(quantised(kept * np.float32(scale)), frame.grid)
