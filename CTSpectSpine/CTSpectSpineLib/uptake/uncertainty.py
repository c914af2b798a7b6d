"""Errors of the observed means and of the solved uptake, and draws of them.

The covariance of the observed means holds the SPECT's noise, which is estimated from the SPECT
itself; the misregistration that the registration expects; the point spread's error; the error of
each joint's own position as labels of usual quality leave it; and uneven uptake inside regions.
`posterior` weighs the observations by it; errors common to all regions widen its draws in full.
Errors that no observation shows, those of a region's size and of the choice of the reference bone,
are added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.geometry import MAD_TO_SD, affine
from CTSpectSpineLib.model import FloatArray, JointKind
from CTSpectSpineLib.uptake.observed_spine import ObservedSpine
from CTSpectSpineLib.uptake.resolution import Systems, near_bone
from CTSpectSpineLib.uptake.sampling import SpectField
from CTSpectSpineLib.uptake.transfer import shifted_profiles, smooth_weights

FWHM_SD = 0.04
"""Relative standard deviation of the point spread: ±8 % is its 95 % range. Judgement: the 3 % found
in simulated patients (`resolution._SHORTFALL`), rounded up."""
REGION_SD_MM = 1.0
"""Error of a joint's own position. Measured on outlined articular processes of a real CT (L2 to
L4): facet joints were 0.9 to 1.3 mm off; on phantoms 0.6 mm on average."""
SIZE_SD: dict[JointKind, float] = {"disc": 0.04, "facet": 0.11}
"""Relative error of a joint's bone volume, which its uptake inherits. Judgement: set on simulated
patients; a facet joint is the smaller, so its outline errs by the larger share."""
UNEVEN_SD = 0.015
"""Error of an observed mean by uneven uptake, in units of the reference. Judgement: the unevenness
of normal bone averages out over most of a region."""
_SLIP_MM2 = 60.0
"""Twice the variance of a joint's blurred profile: sets what a displacement loses. Measured on hot
facet joints: 5 to 7 % at 2 mm, 10 to 15 % at 3 mm, 31 to 47 % at 6 mm; it gives 6, 14 and 45 %."""
SURROUNDINGS = 0.5
"""Uptake around a joint, in units of the reference. Judgement: between soft tissue and bone."""
_NOISE_FLOOR = 0.05
"""Least expected uptake, relative to the median near bone. Numerical: the noise is scaled by its
root, which must not vanish in cold voxels."""


@dataclass(frozen=True)
class Noise:
    """Noise of a SPECT: its standard deviation per voxel and its correlation.

    Attributes
    ----------
    sd
        Standard deviation, SPECT units, like ``field.array``.
    smoothing
        Standard deviations in voxels ``(k, j, i)`` of the Gaussian filter that gives white noise
        the same correlation.
    """

    sd: FloatArray
    smoothing: tuple[float, float, float]

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """One noise field."""
        white = rng.standard_normal(self.sd.shape, dtype=np.float32)
        noise = ndimage.gaussian_filter(white, self.smoothing, mode="wrap", truncate=3.0)
        return noise * (self.sd / max(float(noise.std()), 1e-30))

    def filter_energy(self) -> float:
        """Sum of the squares of the filter's weights: the variance that it leaves."""
        energy = 1.0
        for width in self.smoothing:
            line = np.exp(-0.5 * (np.arange(-40, 41) / max(width, 1e-3)) ** 2)
            energy *= float(np.sum((line / line.sum()) ** 2))
        return energy


def estimate_noise(field: SpectField, fitted: FloatArray, near: NDArray[np.intp]) -> Noise:
    """Noise from what the region model leaves unexplained near bone.

    The variance is taken as proportional to the uptake, as after iterative reconstruction of
    Poisson counts; the factor is robust (median absolute deviation). Uneven uptake inside the
    regions is part of the residual, and rightly so: the model does not know it either.

    Parameters
    ----------
    field
        The SPECT around the spine.
    fitted
        The region model's image, like ``field.array``.
    near
        Flat numbers of the voxels near bone.
    """
    shape = field.array.shape
    level = float(np.median(fitted.ravel()[near]))
    expected = np.maximum(fitted, max(_NOISE_FLOOR * level, np.finfo(float).tiny))
    scaled = (field.array - fitted) / np.sqrt(expected)
    mask = np.zeros(shape, dtype=bool)
    mask.ravel()[near] = True
    values = scaled[mask]
    amplitude = MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))
    centred = np.where(mask, np.clip(scaled - np.median(values), -4 * amplitude, 4 * amplitude), 0)
    smoothing = [_smoothing(centred, mask, axis) for axis in range(3)]
    return Noise(amplitude * np.sqrt(expected), (smoothing[0], smoothing[1], smoothing[2]))


def _smoothing(values: FloatArray, mask: np.ndarray, axis: int) -> float:
    """Filter width in voxels from the correlation of neighbours along one axis."""
    before = np.take(values, range(values.shape[axis] - 1), axis)
    after = np.take(values, range(1, values.shape[axis]), axis)
    both = np.take(mask, range(mask.shape[axis] - 1), axis) & np.take(
        mask, range(1, mask.shape[axis]), axis
    )
    variance = float(np.mean(values[mask] ** 2))
    if not both.any() or variance <= 0.0:
        return 0.0
    correlation = float(np.clip(np.mean(before[both] * after[both]) / variance, 0.0, 0.95))
    # White noise filtered by a Gaussian s correlates as exp(-distance**2 / (4 s**2)).
    return float(0.5 / np.sqrt(-np.log(correlation))) if correlation > 0.02 else 0.0


@dataclass(frozen=True)
class ErrorModel:
    """Covariance of the observed means, in units of the reference uptake.

    Attributes
    ----------
    fixed
        The part that does not depend on the joints' uptake, shape (regions, regions).
    common
        Changes with one standard deviation of each error that all regions share
        (misregistration, point spread), shape (regions, errors). Not in the covariance.
    joints
        Numbers of the joints' bones, shape (m,).
    moved
        Change of the observed means per mm that a joint with uptake 1 is displaced, shape
        (regions, 3 · m): all along i, all along j, all along k.
    """

    fixed: FloatArray
    common: FloatArray
    joints: NDArray[np.intp]
    moved: FloatArray

    def covariance(self, true: FloatArray) -> FloatArray:
        """Covariance where the regions have the given uptake."""
        contrast = np.tile(true[self.joints] - SURROUNDINGS, 3)
        ways = self.moved * contrast * (REGION_SD_MM / np.sqrt(3.0))
        return np.asarray(self.fixed + ways @ ways.T)


def size_sd(kind: JointKind, error_mm: float) -> float:
    """Relative error of a joint's uptake by its region's size and by slipping off it."""
    slipped = 1.0 - np.exp(-(error_mm**2) / _SLIP_MM2)
    return float(np.hypot(SIZE_SD[kind], slipped))


def error_model(
    spine: ObservedSpine,
    systems: Systems,
    width: float,
    true: FloatArray,
    unit: float,
    centres_mm: FloatArray,
    error_mm: float,
) -> tuple[ErrorModel, Noise]:
    """Model the errors of the observed means.

    Parameters
    ----------
    spine, systems, width
        The regions, and how they are seen through the point spread.
    true
        A first solution, SPECT units, shape (regions,).
    unit
        Reference uptake, SPECT units.
    centres_mm
        Joint centres, LPS mm on the CT, shape (m, 3).
    error_mm
        Root mean square displacement at the joints by misregistration.
    """
    view, shape = spine.view, spine.field.array.shape
    fitted = systems.image(true, width).reshape(shape)
    noise = estimate_noise(view.field, fitted, near_bone(view.field, view.partition))
    smooth = smooth_weights(view.partition, view.field, spine.observed_in, noise.smoothing)
    varying = sparse.diags(noise.sd.ravel() / unit) @ smooth
    counting = np.asarray((varying.T @ varying).todense()) / noise.filter_energy()
    ways = [_rigid_ways(spine, fitted / unit, centres_mm, error_mm)]
    step = 0.5 * (systems.widths_mm[2] - systems.widths_mm[0])
    slope = (systems.omega(width + 0.5 * step) - systems.omega(width - 0.5 * step)) / step
    ways.append((slope @ (true / unit) * FWHM_SD * width)[:, None])
    fixed = counting + UNEVEN_SD**2 * np.eye(len(true))
    joints = np.array(view.partition.of_kind("disc_bone", "facet_bone"), dtype=np.intp)
    moved = np.zeros((len(true), 0))
    if len(joints):
        shifts = shifted_profiles(view.partition, view.field, width, joints.tolist())
        moved = np.asarray((view.weights.T @ shifts).todense(), dtype=np.float64)
    return ErrorModel(fixed, np.concatenate(ways, axis=1), joints, moved), noise


def _rigid_ways(
    spine: ObservedSpine, fitted: FloatArray, centres_mm: FloatArray, error_mm: float
) -> FloatArray:
    """How the observed means change with one standard deviation of each rigid motion."""
    spacing = spine.field.spacing
    at = spine.field.index(centres_mm) * spacing
    turning, angle_sd, shift_sd = _rigid_sds(at, error_mm)
    gradient = [
        np.gradient(fitted, h, axis=2 - n) if fitted.shape[2 - n] > 1 else np.zeros_like(fitted)
        for n, h in enumerate(spacing)
    ]
    ways = [g * shift_sd for g in gradient]
    if turning:
        k, j, i = (np.arange(n) for n in fitted.shape)
        x = i[None, None, :] * spacing[0] - at[:, 0].mean()
        y = j[None, :, None] * spacing[1] - at[:, 1].mean()
        z = k[:, None, None] * spacing[2] - at[:, 2].mean()
        ways += [
            (gradient[2] * y - gradient[1] * z) * angle_sd,
            (gradient[0] * z - gradient[2] * x) * angle_sd,
            (gradient[1] * x - gradient[0] * y) * angle_sd,
        ]
    columns = np.stack([way.ravel() for way in ways], axis=1)
    return np.asarray(spine.view.weights.T @ columns)


def rigid_error(centres_mm: FloatArray, error_mm: float, rng: np.random.Generator) -> FloatArray:
    """Small random rigid motion, 4×4, with given root mean square displacement at points.

    Half of the mean squared displacement comes from translation, half from rotation about the
    points' centroid; all of it from translation where the points coincide.
    """
    centroid = centres_mm.mean(axis=0)
    _, angle_sd, shift_sd = _rigid_sds(centres_mm, error_mm)
    rotation = Rotation.from_rotvec(rng.normal(0.0, 1.0, 3) * angle_sd).as_matrix()
    shift = rng.normal(0.0, 1.0, 3) * shift_sd
    return affine(rotation, centroid - rotation @ centroid + shift)


def _rigid_sds(centres_mm: FloatArray, error_mm: float) -> tuple[float, float, float]:
    """Share of rotation in the mean squared displacement; sd of angles and translations."""
    away = centres_mm - centres_mm.mean(axis=0)
    radius = float(np.sqrt(np.mean(np.sum(away**2, axis=1))))
    turning = 0.5 if radius > 1.0 else 0.0
    # E|w x r|^2 = 2 sd^2 |r|^2 for a rotation vector w with independent components.
    angle_sd = error_mm * float(np.sqrt(turning / 2.0)) / radius if turning else 0.0
    return turning, angle_sd, error_mm * float(np.sqrt((1.0 - turning) / 3.0))
