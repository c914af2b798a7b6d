"""How differently the spine is bent in SPECT and CT, and the rigid pose that suits it best.

The pose of the whole skeleton is kept, and the vertebral column may move on top of it by a
smooth displacement that depends on the height in the body: cubic B-splines, drawn together by
a penalty on their second differences (Eilers and Marx, Stat Sci 1996;11:89). What a rigid
movement can follow of it improves the pose; what it cannot is the residual deformation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.geometry import affine, apply_matrix
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.compare import state_margin
from CTSpectSpineLib.registration.descent import Linear, descend
from CTSpectSpineLib.registration.mixture import projected_system, robust_cost
from CTSpectSpineLib.registration.prepare import SpectMap
from CTSpectSpineLib.registration.refine import FEWEST_POINTS, Level, State, evaluate
from CTSpectSpineLib.registration.sampling import Placed, Points, SampledMaps, choose_points

KNOTS_MM = 70.0
"""Distance of the knots along the body, mm. Judgement: about two lumbar vertebrae, since a spine
bends smoothly."""
SMOOTHNESS = 0.02
"""Weight of the penalty on second differences, relative to the data's. Judgement: holds stretches
with little uptake, hardly those with much."""
LEAST_SUPPORT = 150
"""SPECT voxels that a stretch of `STEP_MM` needs to say where it lies. Judgement: fewer are the end
of the field of view."""
THINNED_SUPPORT = 0.5
"""The same in a SPECT that is thinned, relative to the mean of the stretches. Judgement:
likewise."""
STEP_MM = 15.0
"""Length of the stretches of the column, mm. Judgement: shorter than the height of any level."""
SPREAD_MM = 20.0
"""Half breadth of the column, over which the rigid movement is fitted, mm. Judgement: about that of
a lumbar body, and the distance of facet joints from the midline."""
LONGEST_STEP, CONVERGED = 0.4, 0.005
"""Longest change of a coefficient, and the one that ends the fit, relative to the resolution.
Numerical: within the reach of a linear step; far below the error that matters."""
DEGREE = 3
"""Degree of the B-splines. Convention: cubic (Eilers and Marx 1996)."""


@dataclass(frozen=True)
class Bending:
    """Displacement of the column on top of a pose.

    Attributes
    ----------
    spect_to_ct
        The pose that is best for the column, 4×4.
    residual_mm
        Root mean square displacement, along the column, that no rigid movement follows.
    moved_mm
        Root mean square distance between this pose and the one it started from, at the column.
    margin
        How clearly the bent column fits better than the straight one, in standard errors of the
        patches' differences; see `compare.margin`. 0 where that was not looked at.
    """

    spect_to_ct: FloatArray
    residual_mm: float
    moved_mm: float
    margin: float = 0.0


@dataclass(frozen=True)
class _Splines:
    """Cubic B-splines along z with equal knots."""

    knots: FloatArray

    @staticmethod
    def over(low_mm: float, high_mm: float) -> _Splines:
        pieces = max(1, round((high_mm - low_mm) / KNOTS_MM))
        step = (high_mm - low_mm) / pieces
        knots: FloatArray = low_mm + step * np.arange(-DEGREE, pieces + DEGREE + 1.0)
        return _Splines(knots)

    @property
    def count(self) -> int:
        return len(self.knots) - DEGREE - 1

    def at(self, z_mm: FloatArray) -> FloatArray:
        """Values, shape (n, count)."""
        inside = np.clip(z_mm, self.knots[DEGREE], self.knots[-DEGREE - 1] - 1e-6)
        return BSpline.design_matrix(inside, self.knots, DEGREE).toarray()

    def penalty(self) -> FloatArray:
        """Second differences of the coefficients, squared, shape (count, count)."""
        difference = np.diff(np.eye(self.count), 2, axis=0)
        return np.asarray((difference.T @ difference).astype(np.float64))


def column_bending(
    levels: Sequence[tuple[SpectMap, SampledMaps, Level]],
    pose: FloatArray,
    lowest_mm: float,
    least_mm: float = 0.0,
) -> Bending | None:
    """Bend the column from a pose, coarse then fine.

    Parameters
    ----------
    levels
        SPECT, maps whose ``near_bone`` is limited to the column, and effort; coarse first.
    pose
        Pose of the whole skeleton, SPECT to CT points.
    lowest_mm
        Height in the CT (LPS z) below which the column has no joints. Bone there helps to find
        the displacement, but does not count in the rigid movement and the residual.
    least_mm
        A coarse fit that leaves less than this is not refined.

    Returns
    -------
    The bending; None where too little of the column is seen.
    """
    splines: _Splines | None = None
    bending: Bending | None = None
    coefficients = np.zeros((0, 3))
    for spect, maps, level in levels:
        points = choose_points(spect, level.points, Placed(maps, pose))
        if len(points.values) < FEWEST_POINTS:
            return None
        height = apply_matrix(pose, points.positions_mm)[:, 2]
        if splines is None:
            splines = _Splines.over(float(height.min()), float(height.max()))
            coefficients = np.zeros((splines.count, 3))
        found = _fit(points, maps, pose, splines, coefficients, level)
        if found is None:
            return None
        coefficients, state = found
        bending = _rigid_part(state, splines, coefficients, pose, lowest_mm, level.smooth)
        if bending is not None and bending.residual_mm < least_mm:
            return bending
    straight = evaluate(maps, points, pose)
    if bending is None or straight is None:
        return None
    return replace(bending, margin=state_margin(points, state, straight).margin)


def _fit(
    points: Points,
    maps: SampledMaps,
    pose: FloatArray,
    splines: _Splines,
    coefficients: FloatArray,
    level: Level,
) -> tuple[FloatArray, State] | None:
    """Levenberg–Marquardt on the splines' coefficients, shape (count, 3)."""
    basis = splines.at(apply_matrix(pose, points.positions_mm)[:, 2])

    def bent(flat: FloatArray) -> _Bent | None:
        state = evaluate(maps, points, pose, _displaced(basis, flat.reshape(-1, 3)))
        return None if state is None else _Bent(flat, state)

    def linear(here: _Bent) -> Linear[_Bent]:
        return _linear(here, basis, splines)

    start = bent(coefficients.ravel())
    if start is None:
        return None
    longest, converged = LONGEST_STEP * level.fwhm_mm, CONVERGED * level.fwhm_mm
    end = descend(
        start,
        linear,
        lambda here, step: bent(here.flat + step),
        longest,
        converged,
        level.iterations,
    )
    return end.flat.reshape(-1, 3), end.state


@dataclass(frozen=True)
class _Bent:
    """Coefficients in the order (spline, axis), and the model fitted there."""

    flat: FloatArray
    state: State


def _linear(here: _Bent, basis: FloatArray, splines: _Splines) -> Linear[_Bent]:
    """Robust data and the penalty, whose weight follows that of the data."""
    scale = here.state.scale
    hessian, slope = _system(here.state, basis[here.state.inside], scale)
    strength = SMOOTHNESS * float(np.trace(hessian)) / 3 / splines.count
    smooth = (strength * np.kron(splines.penalty(), np.eye(3))).astype(np.float64)

    def cost(other: _Bent) -> float:
        weight = float(np.sum(other.state.weight(scale)))
        bending = float(other.flat @ smooth @ other.flat)
        return robust_cost(other.state.scaled, scale) + bending / max(4 * scale**2 * weight, 1e-9)

    return Linear((hessian + smooth).astype(np.float64), slope - smooth @ here.flat, cost)


def _displaced(basis: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Displacement, shape (n, 3). No BLAS: the last digit must not depend on threads."""
    return np.asarray(np.einsum("nk,kx->nx", basis, coefficients))


def _system(state: State, basis: FloatArray, scale: float) -> tuple[FloatArray, FloatArray]:
    """Gauss–Newton matrix and right side for the coefficients, in the order (spline, axis)."""
    weight = state.weight(scale)
    slope = state.slope()
    jacobian = (basis.T[:, None] * slope).reshape(-1, len(state.residual))
    return projected_system(state.points, state.mixture, weight, jacobian, state.residual)


def _rigid_part(
    state: State,
    splines: _Splines,
    coefficients: FloatArray,
    pose: FloatArray,
    lowest_mm: float,
    thinned: bool,
) -> Bending | None:
    """The rigid movement nearest to the displacement along the column, and what it leaves."""
    start = apply_matrix(pose, state.points.positions_mm)
    line = _line(start, thinned)
    line = line[line[:, 2] > lowest_mm]
    if len(line) < 3:
        return None
    offsets = SPREAD_MM * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    before = (line[:, None] + offsets[None]).reshape(-1, 3)
    after = before + _displaced(splines.at(before[:, 2]), coefficients)
    middle, target = before.mean(axis=0), after.mean(axis=0)
    rotation = Rotation.align_vectors(after - target, before - middle)[0].as_matrix()
    change = affine(rotation, target - rotation @ middle)
    moved = apply_matrix(change, before)
    result: FloatArray = change @ pose
    return Bending(result, _rms(after - moved), _rms(moved - before))


def _line(points_mm: FloatArray, thinned: bool) -> FloatArray:
    """Centres of the points in slabs along z that hold enough of them, shape (n, 3)."""
    slab = np.floor((points_mm[:, 2] - points_mm[:, 2].min()) / STEP_MM).astype(int)
    count = np.bincount(slab)
    sums = np.stack([np.bincount(slab, points_mm[:, axis]) for axis in range(3)], axis=1)
    least = LEAST_SUPPORT * min(1.0, len(points_mm) / (20 * LEAST_SUPPORT))
    supported = count >= (THINNED_SUPPORT * count.mean() if thinned else least)
    return sums[supported] / count[supported, None]


def _rms(vectors: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.sum(vectors**2, axis=1))))
