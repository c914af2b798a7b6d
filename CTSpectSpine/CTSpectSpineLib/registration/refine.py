"""Refinement: robust Gauss–Newton on a local linear model of uptake.

The SPECT is explained, patch by patch, as a linear mixture of the CT's maps blurred to the
SPECT's resolution; the mixture is free in each patch of about 60 mm, so regional uptake,
scatter and missing attenuation correction drop out. The linear coefficients are projected out
(variable projection: Golub and Pereyra, Inverse Problems 2003;19:R1, with Kaufman's
approximation), hot spots are outliers (Geman–McClure weights), and only the six parameters of
the pose remain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.registration.prepare import (
    BONE_CHANNELS,
    CtMaps,
    Float32Array,
    SpectMap,
    blur,
)
from CTSpectSpineLib.volumes.geometry import apply_matrix

PATCH_MM = 60.0
NEAR_BONE_MM = 18.0
"""Only SPECT voxels this near to bone are explained: the rest says little about its place."""
PRIOR_VOXELS = 40.0
"""How many voxels' worth of pull the whole-body mixture has on a patch's own."""
ROTATION_RADIUS_MM = 100.0
"""Rotations are scaled by it, so that all six parameters are displacements in mm."""


@dataclass(frozen=True)
class Level:
    """One resolution of the refinement.

    Attributes
    ----------
    fwhm_mm
        Total resolution of the model: the CT maps are blurred to it.
    smoothing_mm
        Further blur (FWHM) of the SPECT.
    points
        Most SPECT voxels used.
    iterations
        Most Gauss–Newton steps.
    """

    fwhm_mm: float
    smoothing_mm: float
    points: int
    iterations: int


@dataclass(frozen=True)
class Sampled:
    """CT maps of one level, ready for sampling.

    Attributes
    ----------
    table
        Flattened voxels; per channel value, then d/di, d/dj, d/dk, shape (voxels, channels, 4).
    shape
        Shape ``[k, j, i]`` of the grid.
    ct
        The maps that it was made from.
    """

    table: Float32Array
    shape: tuple[int, ...]
    ct: CtMaps


@dataclass(frozen=True)
class Points:
    """SPECT voxels to explain, sorted by patch.

    Attributes
    ----------
    positions_mm
        LPS mm in the SPECT, shape (n, 3).
    values
        SPECT there, shape (n,).
    starts
        First point of each patch, shape (patches,).
    patch
        Number of the patch of each point, shape (n,).
    """

    positions_mm: FloatArray
    values: FloatArray
    starts: np.ndarray
    patch: np.ndarray


@dataclass(frozen=True)
class Fit:
    """A pose with the quality of its fit.

    Attributes
    ----------
    spect_to_ct
        4×4 matrix from SPECT points to CT points.
    explained
        Robust share of the local variation of SPECT that the model explains, up to 1.
    bone_gain
        Robust share of what soft tissue leaves unexplained that bone explains, up to 1.
    correlation
        Weighted correlation of model and SPECT within patches.
    overlap
        Share of the points that lie inside the CT.
    covariance
        6×6, of (translation mm, rotation rad) about `centre_mm`, from the scatter between
        patches.
    centre_mm
        CT point about which the covariance is given.
    sigma
        Robust residual, relative to bone uptake.
    """

    spect_to_ct: FloatArray
    explained: float
    bone_gain: float
    correlation: float
    overlap: float
    covariance: FloatArray
    centre_mm: FloatArray
    sigma: float


def sampled_maps(ct: CtMaps, fwhm_mm: float) -> Sampled:
    """Blur the CT maps, unbiased at the edge of what was measured, with their gradients."""
    valid = ct.valid.astype(np.float32)
    weight = np.maximum(blur(valid, fwhm_mm, ct.spacing_mm), 1e-3)
    channels = ct.channels.shape[-1]
    table = np.empty((*ct.channels.shape, 4), dtype=np.float32)
    for c in range(channels):
        smooth = blur(ct.channels[..., c] * valid, fwhm_mm, ct.spacing_mm) / weight
        table[..., c, 0] = smooth
        for axis, along in enumerate((2, 1, 0)):
            table[..., c, 1 + axis] = np.gradient(smooth, axis=along)
    return Sampled(table.reshape(-1, channels, 4), ct.channels.shape[:3], ct)


def sample(maps: Sampled, points_mm: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Trilinear samples of the maps at CT points.

    Returns
    -------
    Values (n, channels), gradients per mm in LPS (n, channels, 3), and inside (n,).
    """
    to_index = np.linalg.inv(maps.ct.ijk_to_lps)
    index = apply_matrix(to_index, points_mm)
    limit = np.array(maps.shape[::-1]) - 1
    inside = np.all((index >= 0) & (index <= limit), axis=1)
    index = np.clip(index, 0, limit - 1e-6)
    base = np.minimum(index.astype(np.int64), np.maximum(limit - 1, 0))
    part = (index - base).astype(np.float32)
    stride = np.array([1, maps.shape[2], maps.shape[1] * maps.shape[2]])
    flat = base @ stride
    nearest = np.rint(index).astype(np.int64) @ stride
    inside &= maps.ct.valid.reshape(-1)[nearest]
    total = np.zeros((len(index), *maps.table.shape[1:]), dtype=np.float32)
    for corner in range(8):
        bits = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        weight = np.prod(np.where(bits, part, 1 - part), axis=1)
        total += weight[:, None, None] * maps.table[flat + bits @ stride]
    gradients = total[..., 1:].astype(np.float64) @ to_index[:3, :3]
    return total[..., 0].astype(np.float64), gradients, inside


def choose_points(
    ct: CtMaps, spect: SpectMap, values: Float32Array, spect_to_ct: FloatArray, most: int
) -> Points:
    """SPECT voxels that a pose puts near bone, thinned evenly, sorted by patch."""
    bone = ct.bone > 0.3
    radius = np.maximum(1, np.rint(NEAR_BONE_MM / ct.spacing_mm)).astype(int)
    near = ndimage.uniform_filter(
        bone.astype(np.float32), size=(2 * radius + 1)[::-1].tolist(), mode="constant"
    )
    near_bone = near > 1e-4
    kji = np.indices(values.shape).reshape(3, -1).T
    positions = apply_matrix(spect.ijk_to_lps, kji[:, ::-1].astype(float))
    index = np.rint(apply_matrix(np.linalg.inv(ct.ijk_to_lps) @ spect_to_ct, positions))
    limit = np.array(near_bone.shape[::-1]) - 1
    keep = np.flatnonzero(np.all((index >= 0) & (index <= limit), axis=1))
    i, j, k = index[keep].astype(np.int64).T
    keep = keep[near_bone[k, j, i] & ct.valid[k, j, i]]
    if len(keep) > most:
        keep = keep[np.random.default_rng(0).permutation(len(keep))[:most]]
    positions = positions[keep]
    cell = np.floor(apply_matrix(spect_to_ct, positions) / PATCH_MM).astype(np.int64)
    _, patch = np.unique(cell, axis=0, return_inverse=True)
    order = np.lexsort((keep, patch.ravel()))
    patch = patch.ravel()[order]
    starts = np.flatnonzero(np.r_[True, np.diff(patch) > 0]) if len(patch) else np.zeros(0, int)
    chosen = values.reshape(-1)[keep[order]].astype(np.float64)
    return Points(positions[order], chosen, starts, patch)


@dataclass(frozen=True)
class _Model:
    """Linear mixture fitted patch by patch at one pose."""

    predicted: FloatArray
    coefficients: FloatArray
    columns: FloatArray
    normal: FloatArray


def _patch_sum(points: Points, values: FloatArray) -> FloatArray:
    result: FloatArray = np.add.reduceat(values, points.starts, axis=0)
    return result


def _mixture(points: Points, columns: FloatArray, weight: FloatArray) -> _Model:
    """Weighted least squares per patch, drawn towards the fit over all patches."""
    weighted = columns * weight[:, None]
    scatter = weighted.T @ columns
    scatter += 1e-6 * np.trace(scatter) * np.eye(len(scatter))
    common = np.linalg.solve(scatter, weighted.T @ points.values)
    prior = PRIOR_VOXELS * np.diag(np.diag(scatter)) / max(float(weight.sum()), 1.0)
    normal = _patch_sum(points, weighted[:, :, None] * columns[:, None, :]) + prior
    right = _patch_sum(points, weighted * points.values[:, None]) + prior @ common
    coefficients = np.linalg.solve(normal, right[..., None])[..., 0]
    predicted = np.einsum("nb,nb->n", columns, coefficients[points.patch])
    return _Model(predicted, coefficients, columns, normal)


def _project_out(
    points: Points, model: _Model, weight: FloatArray, jacobian: FloatArray
) -> FloatArray:
    """What of the Jacobian the mixture of each patch cannot imitate."""
    weighted = model.columns * weight[:, None]
    right = _patch_sum(points, weighted[:, :, None] * jacobian[:, None, :])
    imitation = np.linalg.solve(model.normal, right)
    result: FloatArray = jacobian - np.einsum(
        "nb,nbp->np", model.columns, imitation[points.patch]
    )
    return result


def _columns(values: FloatArray) -> FloatArray:
    return np.concatenate([np.ones((len(values), 1)), values], axis=1)


def _noise(predicted: FloatArray) -> FloatArray:
    """Relative SD of a voxel: counting noise grows with the root of uptake."""
    result: FloatArray = np.sqrt(0.15 + np.clip(predicted, 0.0, 4.0))
    return result


def _robust_scale(residual: FloatArray) -> float:
    return max(1.4826 * float(np.median(np.abs(residual))), 1e-4)


def _weights(scaled: FloatArray, sigma: float) -> FloatArray:
    """Geman–McClure weights."""
    result: FloatArray = 1.0 / (1.0 + (scaled / (2.0 * sigma)) ** 2) ** 2
    return result


def _cost(scaled: FloatArray, sigma: float) -> float:
    squared = (scaled / (2.0 * sigma)) ** 2
    return float(np.mean(squared / (1.0 + squared)))


@dataclass(frozen=True)
class _State:
    pose: FloatArray
    points: Points
    model: _Model
    gradients: FloatArray
    mapped_mm: FloatArray
    noise: FloatArray
    overlap: float

    @property
    def scaled(self) -> FloatArray:
        """Residual in units of the noise model."""
        result: FloatArray = (self.points.values - self.model.predicted) / self.noise
        return result


def _inside_only(points: Points, inside: BoolArray) -> Points:
    if bool(np.all(inside)):
        return points
    _, patch = np.unique(points.patch[inside], return_inverse=True)
    starts = np.flatnonzero(np.r_[True, np.diff(patch) > 0]) if len(patch) else np.zeros(0, int)
    return Points(points.positions_mm[inside], points.values[inside], starts, patch)


def _evaluate(maps: Sampled, points: Points, pose: FloatArray, sigma: float) -> _State | None:
    """Fit the mixture at a pose with two rounds of weights; None when too little overlaps."""
    mapped = apply_matrix(pose, points.positions_mm)
    values, gradients, inside = sample(maps, mapped)
    if np.count_nonzero(inside) < max(200, 0.4 * len(inside)):
        return None
    kept = _inside_only(points, inside)
    columns = _columns(values[inside])
    noise = np.ones(len(columns))
    weight = 1.0 / (1.0 + np.maximum(kept.values - 1.5, 0.0)) ** 2
    model = _mixture(kept, columns, weight)
    for _ in range(2):
        noise = _noise(model.predicted)
        scaled = (kept.values - model.predicted) / noise
        scale = sigma if sigma > 0 else _robust_scale(scaled)
        weight = _weights(scaled, scale) / noise**2
        model = _mixture(kept, columns, weight)
    overlap = float(np.mean(inside))
    return _State(pose, kept, model, gradients[inside], mapped[inside], noise, overlap)


def _moved(pose: FloatArray, step: FloatArray, centre_mm: FloatArray) -> FloatArray:
    """Pose after a step of (translation mm, rotation · radius) about a CT point."""
    turn = step[3:] / ROTATION_RADIUS_MM
    angle = float(np.linalg.norm(turn))
    cross = np.cross(np.eye(3), turn).T * -1.0
    cross = np.array(
        [[0, -turn[2], turn[1]], [turn[2], 0, -turn[0]], [-turn[1], turn[0], 0]]
    )
    rotation = np.eye(3) + np.sinc(angle / np.pi) * cross
    rotation += 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * cross @ cross
    change = np.eye(4)
    change[:3, :3] = rotation
    change[:3, 3] = step[:3] + centre_mm - rotation @ centre_mm
    result: FloatArray = change @ pose
    return result


def _jacobian(state: _State, centre_mm: FloatArray) -> FloatArray:
    """d model / d (translation mm, rotation · radius), shape (n, 6)."""
    channel_weights = state.model.coefficients[state.points.patch, 1:]
    slope = np.einsum("nc,ncx->nx", channel_weights, state.gradients)
    arm = (state.mapped_mm - centre_mm) / ROTATION_RADIUS_MM
    return np.concatenate([slope, np.cross(arm, slope)], axis=1)


def refine(
    ct: CtMaps, spect: SpectMap, maps: Sampled, pose: FloatArray, level: Level
) -> Fit | None:
    """Refine a pose at one resolution.

    Parameters
    ----------
    ct, spect
        Prepared maps.
    maps
        The CT maps blurred to the level's resolution.
    pose
        Start, 4×4 matrix from SPECT points to CT points.
    level
        Resolution and effort.

    Returns
    -------
    The fit, or None where the start has too little overlap with bone.
    """
    smooth = blur_spect(spect, level.smoothing_mm)
    points = choose_points(ct, spect, smooth, pose, level.points)
    if len(points.values) < 300:
        return None
    state = _evaluate(maps, points, pose, 0.0)
    if state is None:
        return None
    centre = state.mapped_mm.mean(axis=0)
    damping = 1e-3
    for _ in range(level.iterations):
        sigma = _robust_scale(state.scaled)
        weight = _weights(state.scaled, sigma) / state.noise**2
        jacobian = _jacobian(state, centre)
        jacobian = _project_out(state.points, state.model, weight, jacobian)
        residual = state.points.values - state.model.predicted
        weighted = jacobian * weight[:, None]
        hessian, slope = weighted.T @ jacobian, weighted.T @ residual
        cost = _cost(state.scaled, sigma)
        moved = None
        for _ in range(5):
            step = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), slope)
            longest = float(np.abs(step).max())
            step *= min(1.0, 0.6 * level.fwhm_mm / max(longest, 1e-9))
            candidate = _evaluate(maps, points, _moved(state.pose, step, centre), 0.0)
            if candidate is not None and _cost(candidate.scaled, sigma) <= cost:
                moved, damping = candidate, max(damping / 5, 1e-4)
                break
            damping = max(damping, 1e-2) * 10
        if moved is None:
            break
        state = moved
        if float(np.abs(step).max()) < 0.02:
            break
    return _summarise(state, centre)


def blur_spect(spect: SpectMap, fwhm_mm: float) -> Float32Array:
    """SPECT with a further blur; unchanged for 0."""
    if fwhm_mm <= 0:
        return spect.values
    sigma_free = replace(spect)
    return blur(sigma_free.values, fwhm_mm, spect.spacing_mm)


def _summarise(state: _State, centre_mm: FloatArray) -> Fit:
    points, model = state.points, state.model
    sigma = _robust_scale(state.scaled)
    weight = _weights(state.scaled, sigma) / state.noise**2
    flat = _mixture(points, model.columns[:, :1], weight)
    bone = [1 + c for c in BONE_CHANNELS]
    soft = _mixture(points, np.delete(model.columns, bone, axis=1), weight)
    cost = _cost(state.scaled, sigma)
    cost_flat = _cost((points.values - flat.predicted) / state.noise, sigma)
    cost_soft = _cost((points.values - soft.predicted) / state.noise, sigma)
    a, b = points.values - flat.predicted, model.predicted - flat.predicted
    root = np.sqrt(float(weight @ a**2) * float(weight @ b**2))
    return Fit(
        spect_to_ct=state.pose,
        explained=1.0 - cost / max(cost_flat, 1e-9),
        bone_gain=1.0 - cost / max(cost_soft, 1e-9),
        correlation=float(weight @ (a * b)) / max(root, 1e-9),
        overlap=state.overlap,
        covariance=_covariance(state, weight, centre_mm),
        centre_mm=centre_mm,
        sigma=sigma,
    )


def _covariance(state: _State, weight: FloatArray, centre_mm: FloatArray) -> FloatArray:
    """Covariance of the pose from the scatter of patches (cluster-robust sandwich).

    Residuals are correlated within a patch (blur, regional uptake that the mixture misses)
    but hardly between patches, so the spread of the patches' pulls measures the error without
    a noise model: Liang and Zeger, Biometrika 1986;73:13.
    """
    jacobian = _project_out(
        state.points, state.model, weight, _jacobian(state, centre_mm)
    )
    weighted = jacobian * weight[:, None]
    residual = state.points.values - state.model.predicted
    pulls = _patch_sum(state.points, weighted * residual[:, None])
    hessian = weighted.T @ jacobian
    inverse = np.linalg.pinv(hessian, hermitian=True)
    covariance = inverse @ (pulls.T @ pulls) @ inverse
    to_radians = np.diag([1.0] * 3 + [1.0 / ROTATION_RADIUS_MM] * 3)
    result: FloatArray = to_radians @ covariance @ to_radians
    return result
