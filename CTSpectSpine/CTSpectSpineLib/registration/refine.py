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
from functools import cached_property

import numpy as np

from CTSpectSpineLib.geometry import affine, apply_matrix
from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.registration.descent import Linear, descend
from CTSpectSpineLib.registration.mixture import (
    Mixture,
    fit_mixture,
    noise_model,
    outlier_weights,
    project_out,
    projected_system,
    robust_cost,
    robust_scale,
)
from CTSpectSpineLib.registration.prepare import SpectMap
from CTSpectSpineLib.registration.sampling import (
    Placed,
    Points,
    SampledMaps,
    Samples,
    choose_points,
    sample,
)

ROTATION_RADIUS_MM = 100.0
"""Rotations are scaled by it, so that all six parameters are displacements in mm. Numerical: about
the distance of bone from the centre of the field of view."""
FEWEST_POINTS = 300
"""Fewest SPECT voxels that are fitted. Numerical: fifty for each of the six parameters."""
LONGEST_STEP, CONVERGED = 0.6, 0.004
"""Longest step, and the one that ends the refinement, relative to the resolution. Numerical: within
the reach of a linear step; far below the error that matters."""
NEARLY = 0.02
"""The same for fits that are compared or refined further. Numerical: what a fit explains changes
with the square of what is left."""
LEAST_OVERLAP = 0.4
"""Least share of the chosen SPECT voxels that must stay inside the CT. Judgement: a pose that loses
more explains what is left by chance."""


@dataclass(frozen=True)
class Level:
    """One resolution of the refinement.

    Attributes
    ----------
    fwhm_mm
        Resolution: what the CT maps are blurred to, and the SPECT where `smooth`.
    smooth
        Whether the SPECT is blurred from its own resolution, and thinned.
    points
        Most SPECT voxels used.
    iterations
        Most Gauss–Newton steps.
    converged
        The step that ends the refinement, relative to the resolution.
    """

    fwhm_mm: float
    smooth: bool
    points: int
    iterations: int
    converged: float = CONVERGED


@dataclass(frozen=True)
class State:
    """The model fitted at one pose, shapes as in `Points`, `sample` and `Mixture`."""

    pose: FloatArray
    points: Points
    mixture: Mixture
    samples: Samples
    mapped_mm: FloatArray
    noise: FloatArray

    @property
    def inside(self) -> BoolArray:
        """Which of the chosen points lie inside the CT; only they are in `points`."""
        return self.samples.inside

    @property
    def overlap(self) -> float:
        """Share of the chosen points that lie inside the CT."""
        return float(np.mean(self.inside))

    @cached_property
    def residual(self) -> FloatArray:
        """SPECT minus the model, shape (n,)."""
        return self.points.values - self.mixture.predicted

    @cached_property
    def scaled(self) -> FloatArray:
        """Residual in units of the noise model."""
        return self.residual / self.noise

    @cached_property
    def scale(self) -> float:
        """Size of the bulk of the residuals, in units of the noise model."""
        return robust_scale(self.scaled)

    def weight(self, scale: float) -> FloatArray:
        """Weight of each point: noise, and whether it is an outlier."""
        return outlier_weights(self.scaled, scale) / self.noise**2

    def slope(self) -> FloatArray:
        """Derivative of the model by place in the CT, per mm (LPS), shape (3, n)."""
        return self.samples.slope(self.points.at_points(self.mixture.coefficients[:, 1:].T))


@dataclass(frozen=True)
class Fit:
    """A pose with the quality of its fit.

    Attributes
    ----------
    spect_to_ct
        4×4 matrix from SPECT points to CT points.
    explained
        Robust share of the local variation of SPECT that the model explains, up to 1.
    overlap
        Share of the points that lie inside the CT.
    state
        The model there.
    centre_mm
        CT point about which the covariance is given: the centre of the points.
    radius_mm
        Root mean square distance of the points from it.
    """

    spect_to_ct: FloatArray
    explained: float
    overlap: float
    state: State
    centre_mm: FloatArray
    radius_mm: float

    @cached_property
    def covariance(self) -> FloatArray:
        """6×6, of (translation mm, rotation rad) about `centre_mm`, from the patches' scatter.

        Residuals are correlated within a patch (blur, regional uptake that the mixture misses)
        but hardly between patches, so the spread of the patches' pulls measures the error without
        a noise model (cluster-robust sandwich: Liang and Zeger, Biometrika 1986;73:13).
        """
        normal = normal_equations(self.state, self.state.scale, self.centre_mm)
        inverse = np.linalg.pinv(normal.hessian, hermitian=True)
        covariance = inverse @ (normal.pulls.T @ normal.pulls) @ inverse
        to_radians = np.diag([1.0] * 3 + [1.0 / ROTATION_RADIUS_MM] * 3)
        return np.asarray(to_radians @ covariance @ to_radians)


def evaluate(
    maps: SampledMaps,
    points: Points,
    pose: FloatArray,
    displaced_mm: FloatArray | float = 0.0,
) -> State | None:
    """Fit the mixture at a pose; None where too little of it lies in the CT.

    Parameters
    ----------
    maps, points, pose
        What is fitted where.
    displaced_mm
        Moves the points further in the CT, shape (n, 3).
    """
    mapped = apply_matrix(pose, points.positions_mm) + displaced_mm
    samples = sample(maps, mapped)
    inside = samples.inside
    if np.count_nonzero(inside) < max(FEWEST_POINTS, LEAST_OVERLAP * len(inside)):
        return None
    kept = points.subset(inside)
    columns = np.ones((1 + len(samples.corners), len(kept.values)))
    columns[1:] = samples.values
    # Start from what is not hot: bone uptake is about 1.
    weight = 1.0 / (1.0 + np.maximum(kept.values - 1.5, 0.0)) ** 2
    mapped = mapped[inside]
    for _ in range(2):
        mixture = fit_mixture(kept, columns, weight)
        state = State(pose, kept, mixture, samples, mapped, noise_model(mixture.predicted))
        weight = state.weight(state.scale)
    mixture = fit_mixture(kept, columns, weight)
    return State(pose, kept, mixture, samples, mapped, noise_model(mixture.predicted))


def _moved(pose: FloatArray, step: FloatArray, centre_mm: FloatArray) -> FloatArray:
    """Pose after a step of (translation mm, rotation · radius) about a CT point."""
    x, y, z = step[3:] / ROTATION_RADIUS_MM
    angle = float(np.sqrt(x * x + y * y + z * z))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    # Rodrigues' formula; np.sinc(a/pi) is sin(a)/a.
    rotation = np.eye(3) + np.sinc(angle / np.pi) * cross
    rotation += 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * cross @ cross
    return affine(rotation, step[:3] + centre_mm - rotation @ centre_mm) @ pose


def pose_derivatives(state: State, centre_mm: FloatArray) -> FloatArray:
    """Derivative of the model by (translation mm, rotation · radius), shape (6, n)."""
    slope = state.slope()
    arm = (state.mapped_mm - centre_mm).T / ROTATION_RADIUS_MM
    return np.concatenate([slope, turning(arm, slope)])


def turning(arm: FloatArray, slope: FloatArray) -> FloatArray:
    """Derivative by rotation of points at `arm` where the model has a slope, both (3, n)."""
    (x, y, z), (a, b, c) = arm, slope
    return np.stack([y * c - z * b, z * a - x * c, x * b - y * a])


@dataclass(frozen=True)
class Normal:
    """Gauss–Newton system in parts: of each patch, (patches, 6, 6) and (patches, 6)."""

    hessians: FloatArray
    pulls: FloatArray

    @property
    def hessian(self) -> FloatArray:
        """The whole system's matrix, shape (6, 6)."""
        return np.asarray(self.hessians.sum(axis=0))


def normal_equations(state: State, scale: float, centre_mm: FloatArray) -> Normal:
    """The Gauss–Newton system at a state, with steps about a CT point as in `Fit`."""
    weight = state.weight(scale)
    # What the mixture could imitate is projected out.
    jacobian = project_out(state.points, state.mixture, weight, pose_derivatives(state, centre_mm))
    hessians = state.points.squares(jacobian, weight)
    return Normal(hessians, state.points.patch_sum(jacobian * (weight * state.residual)))


def begin(
    spect: SpectMap, maps: SampledMaps, pose: FloatArray, level: Level
) -> tuple[Points, State] | None:
    """SPECT voxels that a pose puts near bone and the model there; None where there are too few."""
    points = choose_points(spect, level.points, Placed(maps, pose))
    if len(points.values) < FEWEST_POINTS:
        return None
    state = evaluate(maps, points, pose)
    return None if state is None else (points, state)


def refine_pose(spect: SpectMap, maps: SampledMaps, pose: FloatArray, level: Level) -> Fit | None:
    """Refine a pose at one resolution (Levenberg–Marquardt).

    Parameters
    ----------
    spect
        SPECT at the level's resolution.
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
    begun = begin(spect, maps, pose, level)
    if begun is None:
        return None
    points, state = begun
    centre = state.mapped_mm.mean(axis=0)

    def linear(here: State) -> Linear[State]:
        scale = here.scale
        jacobian = pose_derivatives(here, centre)
        hessian, slope = projected_system(
            here.points, here.mixture, here.weight(scale), jacobian, here.residual
        )
        return Linear(hessian, slope, lambda other: robust_cost(other.scaled, scale))

    def moved(here: State, step: FloatArray) -> State | None:
        return evaluate(maps, points, _moved(here.pose, step, centre))

    longest, converged = LONGEST_STEP * level.fwhm_mm, level.converged * level.fwhm_mm
    return _summarise(descend(state, linear, moved, longest, converged, level.iterations), centre)


def measure(spect: SpectMap, maps: SampledMaps, pose: FloatArray, level: Level) -> Fit | None:
    """How well a pose fits, without moving it; None where it has too little overlap."""
    return refine_pose(spect, maps, pose, replace(level, iterations=0))


def _summarise(state: State, centre_mm: FloatArray) -> Fit:
    points, mixture = state.points, state.mixture
    scale = state.scale
    weight = state.weight(scale)
    flat = fit_mixture(points, mixture.columns[:1], weight)

    def cost(predicted: FloatArray) -> float:
        return robust_cost((points.values - predicted) / state.noise, scale)

    whole = cost(mixture.predicted)
    arm = state.mapped_mm - centre_mm
    return Fit(
        spect_to_ct=state.pose,
        explained=1.0 - whole / max(cost(flat.predicted), 1e-9),
        overlap=state.overlap,
        state=state,
        centre_mm=centre_mm,
        radius_mm=float(np.sqrt(np.mean(np.sum(arm**2, axis=1)))),
    )
