"""How sure a ratio is, by repeating the measurement under perturbation.

Each repetition moves the regions rigidly as a registration of the given error would, moves every
joint a little on its own as labels of usual quality would, adds noise like that of the SPECT,
and changes the point spread. The transfer matrix depends on where regions lie to each other, not
on where they lie in the SPECT, so only the observed means are taken anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.sampling import SpectField, sphere_offsets
from CTSpectSpineLib.uptake.transfer import TransferSystem

FWHM_SD = 0.05
"""Relative standard deviation of the point spread: ±10 % is its 95 % range."""
FWHM_NODES = (0.9, 1.0, 1.1)
"""Relative point spreads at which the system is solved; repetitions lie between them."""
REGION_SD_MM = 1.0
"""Error of a joint's own position (0.4 to 1.2 mm were measured against subregion truth)."""
_NOISE_FLOOR = 0.05


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
        scaled: FloatArray = noise * (self.sd / max(float(noise.std()), 1e-30))
        return scaled


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
    amplitude = 1.4826 * float(np.median(np.abs(values - np.median(values))))
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
    return 0.5 / np.sqrt(-np.log(correlation)) if correlation > 0.02 else 0.0


@dataclass(frozen=True)
class Groups:
    """Point groups that are measured anew in each repetition.

    Attributes
    ----------
    index
        SPECT indices ``(i, j, k)`` of all points, group after group, shape (n, 3).
    starts
        Where each group begins.
    owner
        Per group the number of the joint it moves with, -1 for none.
    """

    index: FloatArray
    starts: np.ndarray
    owner: np.ndarray

    @staticmethod
    def of(groups: list[FloatArray], owner: list[int]) -> Groups:
        """Join groups of points."""
        lengths = np.array([len(g) for g in groups])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int)
        return Groups(np.concatenate(groups), starts, np.asarray(owner))

    @property
    def lengths(self) -> np.ndarray:
        """Number of points per group."""
        return np.diff([*self.starts, len(self.index)])


@dataclass(frozen=True)
class Plan:
    """What one repetition measures.

    Attributes
    ----------
    parts
        The observation points of the transfer system's regions.
    joints
        The joints' points, for deciding ratios that are not corrected; None otherwise.
    statistic
        ``mean``, ``max`` or ``peak`` of those points.
    numerator, reference
        From corrected means, shape (regions,), and the joints' statistic, shape (joints,):
        the deciding uptake of the joints and the reference uptake.
    """

    parts: Groups
    joints: Groups | None
    statistic: str
    numerator: Callable[[FloatArray, FloatArray | None], FloatArray]
    reference: Callable[[FloatArray], float]


def repeat_measurement(
    field: SpectField,
    plan: Plan,
    systems: tuple[TransferSystem, TransferSystem, TransferSystem],
    noise: Noise,
    centres_mm: FloatArray,
    error_mm: float,
    repetitions: int,
    rng: np.random.Generator,
    tick: Callable[[float], None],
) -> tuple[FloatArray, FloatArray]:
    """Deciding ratios under perturbation.

    Parameters
    ----------
    field, plan, noise
        What to measure, where.
    systems
        Solved at `FWHM_NODES` times the point spread.
    centres_mm
        Joint centres, LPS mm on the CT, shape (m, 3).
    error_mm
        Root mean square displacement at the joints by misregistration.
    repetitions, rng
        How often; source of randomness.
    tick
        Told the fraction done.

    Returns
    -------
    Unperturbed ratios, shape (joints,), from the same thinned points; and the perturbed ones,
    shape (repetitions, joints).
    """
    still = np.zeros((int(plan.parts.owner.max()) + 2, 3))
    observed = [_observe(field, field.array, plan, np.eye(4), still)]
    relative = [1.0]
    to_index = field.ct_to_index
    from_index = np.linalg.inv(to_index)
    for n in range(repetitions):
        motion = to_index @ rigid_error(centres_mm, error_mm, rng) @ from_index
        own = rng.normal(0.0, REGION_SD_MM / np.sqrt(3.0), still.shape)
        own[-1] = 0.0
        relative.append(float(np.clip(rng.normal(1.0, FWHM_SD), 0.85, 1.15)))
        array = field.array + noise.draw(rng)
        observed.append(_observe(field, array, plan, motion, own / field.spacing))
        if n % 20 == 0:
            tick(n / repetitions)
    shares = _lagrange(np.array(relative))
    parts = np.array([seen for seen, _ in observed])
    corrected = sum(
        (
            share[:, None] * system.solve(parts)
            for share, system in zip(shares, systems, strict=True)
        ),
        start=np.zeros_like(parts),
    )
    ratios = np.array(
        [
            plan.numerator(true, plain) / plan.reference(true)
            for true, (_, plain) in zip(corrected, observed, strict=True)
        ]
    )
    return ratios[0], ratios[1:]


def rigid_error(centres_mm: FloatArray, error_mm: float, rng: np.random.Generator) -> FloatArray:
    """Small random rigid motion, 4×4, with given root mean square displacement at points.

    Half of the mean squared displacement comes from translation, half from rotation about the
    points' centroid; all of it from translation where the points coincide.
    """
    centroid = centres_mm.mean(axis=0)
    radius = float(np.sqrt(np.mean(np.sum((centres_mm - centroid) ** 2, axis=1))))
    turning = 0.5 if radius > 1.0 else 0.0
    # E|w x r|^2 = 2 sd^2 |r|^2 for a rotation vector w with independent components.
    angle_sd = error_mm * np.sqrt(turning / 2.0) / radius if turning else 0.0
    rotation = Rotation.from_rotvec(rng.normal(0.0, 1.0, 3) * angle_sd).as_matrix()
    shift = rng.normal(0.0, 1.0, 3) * error_mm * np.sqrt((1.0 - turning) / 3.0)
    motion = np.eye(4)
    motion[:3, :3] = rotation
    motion[:3, 3] = centroid - rotation @ centroid + shift
    return motion


def _observe(
    field: SpectField, array: FloatArray, plan: Plan, motion: FloatArray, own: FloatArray
) -> tuple[FloatArray, FloatArray | None]:
    """Means of the system's regions, and the joints' statistic where the plan wants it."""
    parts = _statistic(field, array, plan.parts, motion, own, "mean")
    if plan.joints is None:
        return parts, None
    return parts, _statistic(field, array, plan.joints, motion, own, plan.statistic)


def _lagrange(at: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights of the values at `FWHM_NODES` that interpolate quadratically."""
    a, b, c = FWHM_NODES
    return (
        (at - b) * (at - c) / ((a - b) * (a - c)),
        (at - a) * (at - c) / ((b - a) * (b - c)),
        (at - a) * (at - b) / ((c - a) * (c - b)),
    )


def _statistic(
    field: SpectField,
    array: FloatArray,
    groups: Groups,
    motion: FloatArray,
    own: FloatArray,
    statistic: str,
) -> FloatArray:
    index = groups.index @ motion[:3, :3].T + motion[:3, 3]
    index += np.repeat(own[groups.owner], groups.lengths, axis=0)
    if statistic == "peak":
        array = _sphere_means(field, array)
    values = ndimage.map_coordinates(array, index[:, ::-1].T, order=1, mode="nearest")
    if statistic == "mean":
        means: FloatArray = np.add.reduceat(values, groups.starts) / groups.lengths
        return means
    largest: FloatArray = np.maximum.reduceat(values, groups.starts)
    return largest


def _sphere_means(field: SpectField, array: FloatArray) -> FloatArray:
    """Mean over the peak sphere centred in every voxel."""
    offsets = sphere_offsets(step_mm=1.5) / field.spacing
    reach = int(np.ceil(np.abs(offsets).max()))
    kernel = np.zeros((2 * reach + 1,) * 3)
    base = np.floor(offsets).astype(int)
    part = offsets - base
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(corner, part, 1.0 - part), axis=1) / len(offsets)
        i, j, k = (base + corner + reach).T
        np.add.at(
            kernel,
            (np.clip(k, 0, 2 * reach), np.clip(j, 0, 2 * reach), np.clip(i, 0, 2 * reach)),
            share,
        )
    means: FloatArray = ndimage.convolve(array, kernel, mode="nearest")
    return means
