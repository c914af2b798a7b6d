"""Rigid refinement of each vertebra, tied to its neighbours, for a spine that lies differently.

On top of the rigid pose every vertebra gets a small rigid motion of its own. The model of uptake,
the outliers (hot joints) and the steps are those of `refine` and `bending`; what is new is the
prior, a chain of vertebrae whose neighbours hardly slip at their disc and bend little against
each other. It holds where there is little uptake and gives way where the SPECT says more.

Whether the SPECT supports the motions is cross-validated: each patch of 60 mm is explained by
motions that were found without it, and has to be explained better than by the rigid pose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from CTSpectSpineLib.geometry import apply_matrix
from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.posture import Chain, Posture, VertebraMotion
from CTSpectSpineLib.registration.compare import Comparison, state_margin
from CTSpectSpineLib.registration.descent import Linear, descend
from CTSpectSpineLib.registration.mixture import project_out, robust_cost
from CTSpectSpineLib.registration.prepare import SpectMap
from CTSpectSpineLib.registration.refine import FEWEST_POINTS, Level, State, evaluate
from CTSpectSpineLib.registration.sampling import (
    IntArray,
    Placed,
    Points,
    SampledMaps,
    choose_points,
)

REACH_MM = 50.0
"""Bone that follows a vertebra, distance from the line through the centres, mm. Judgement: to the
tips of the processes and the ribs' heads; less than `posture.NEAR_MM`."""
BEND_SD_DEG = 2.5
"""Rotation between neighbours about each axis, 1 SD. Judgement: legs straight or on a support
change the lordosis of the five lumbar levels by some 10 to 15 degrees."""
SLIP_SD_MM = 0.5
"""Displacement of neighbours against each other at the middle between them, 1 SD along each axis.
Judgement: a disc at rest gives way by less than a millimetre."""
FREE_SD_MM, FREE_SD_DEG = 15.0, 10.0
"""Motion of all vertebrae together, 1 SD. Judgement: more than any posture; it only keeps the
system regular."""
LEVER_MM = 25.0
"""Rotations are scaled by it, so that all parameters are displacements in mm; it is also where a
vertebra's error is stated, beside its centre. Judgement: distance of facet joints from the middle
of the body."""
LONGEST_STEP, CONVERGED = 0.4, 0.004
"""Longest change of a parameter, and the one that ends the fit, relative to the resolution.
Numerical: as in `bending`."""
PASSES = 4
"""Passes that find the CT point of a SPECT point. Numerical: each leaves a fifth or less."""
SUPPORTED_MARGIN = 0.5
"""How clearly the motions must explain what they were not found on, standard errors. Measured on
simulated pairs: -1.6 at most where the posture is the same (motions found on half of the patches
explain the others worse than none), 2.2 and more where it differs by 3 mm, 0.2 on average at
1.5 mm."""
LEAST_GAIN = 2.0
"""Least size of the motions over their own error, both root mean square. Judgement: smaller ones
exchange one error for another."""
ERROR_SCALE = 1.5
"""Factor on the error that the system states: motions are smoother than real ones, and the model of
uptake is only a model. Measured on simulated pairs of the tuning split."""


@dataclass(frozen=True)
class VertebraFit:
    """What the refinement found.

    Attributes
    ----------
    posture
        The motions.
    error_mm
        Root mean square over the vertebrae of the error that remains, 1 SD, mm.
    moved_mm
        Root mean square over the vertebrae of the displacement at their joints, mm.
    margin
        How clearly the motions explain patches that they were not found on, standard errors.
    """

    posture: Posture
    error_mm: float
    moved_mm: float
    margin: Comparison

    @property
    def supported(self) -> bool:
        """Whether the SPECT speaks clearly for the motions."""
        clear = self.margin.margin >= SUPPORTED_MARGIN
        return clear and self.moved_mm >= LEAST_GAIN * self.error_mm


def fit_vertebrae(
    levels: Sequence[tuple[SpectMap, SampledMaps, Level]],
    pose: FloatArray,
    centres_mm: Mapping[str, FloatArray],
) -> VertebraFit | None:
    """Find a small motion of each vertebra on top of a pose, coarse then fine.

    Parameters
    ----------
    levels
        SPECT, maps and effort; coarse first.
    pose
        4×4 matrix from SPECT to CT points.
    centres_mm
        Centre of each vertebra in the CT, LPS mm, cranial to caudal.

    Returns
    -------
    The fit; None where there are no two vertebrae, or too little of them is seen.
    """
    if len(centres_mm) < 2:
        return None
    chain = Chain.of(np.array(list(centres_mm.values())))
    prior = _prior(chain)
    near = [(s, replace(m, near_bone=_near(m, chain)), level) for s, m, level in levels]
    samples = [choose_points(s, level.points, Placed(m, pose)) for s, m, level in near]
    if any(len(points.values) < FEWEST_POINTS for points in samples):
        return None
    problems = [
        _Problem(maps, points, pose, chain, prior, level)
        for (_, maps, level), points in zip(near, samples, strict=True)
    ]
    whole = _end(problems)
    if whole is None:
        return None
    margin = _cross_validated(problems)
    if margin is None:
        return None
    return _summary(problems[-1], whole, margin, list(centres_mm))


def _near(maps: SampledMaps, chain: Chain) -> BoolArray:
    """Voxels near bone that belong to the vertebrae."""
    near = maps.near_bone.copy()
    kji = np.argwhere(near)
    points = apply_matrix(maps.ijk_to_lps, kji[:, ::-1].astype(float))
    near[near] = chain.distance_mm(points) <= REACH_MM
    return np.asarray(near)


def _prior(chain: Chain) -> FloatArray:
    """Precision of the motions, shape (6 · vertebrae, 6 · vertebrae).

    Parameters run vertebra by vertebra: shift in mm, rotation in rad · `LEVER_MM`.
    """
    count = len(chain.centres_mm)
    precision = np.zeros((6 * count, 6 * count))
    turn_sd = math.radians(BEND_SD_DEG) * LEVER_MM
    free = [FREE_SD_MM] * 3 + [math.radians(FREE_SD_DEG) * LEVER_MM] * 3
    precision += np.diag(np.tile(np.square(free), count) ** -1.0)
    for a, b in zip(chain.order[:-1], chain.order[1:], strict=True):
        middle = 0.5 * (chain.centres_mm[a] + chain.centres_mm[b])
        rows = np.zeros((6, 6 * count))
        for vertebra, sign in ((a, 1.0), (b, -1.0)):
            mine = rows[:, 6 * vertebra : 6 * vertebra + 6]
            x, y, z = (middle - chain.centres_mm[vertebra]) / LEVER_MM
            mine[:3, :3] = sign * np.eye(3)
            # turn × arm, as a matrix on the turn
            mine[:3, 3:] = sign * np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]])
            mine[3:, 3:] = sign * np.eye(3)
        rows[:3] /= SLIP_SD_MM
        rows[3:] /= turn_sd
        precision += rows.T @ rows
    return precision


@dataclass(frozen=True)
class _Moved:
    """Parameters and the model fitted with them."""

    flat: FloatArray
    state: State


@dataclass(frozen=True)
class _System:
    """Gauss–Newton matrix, the patches' pulls (patches, parameters), and the prior's weight."""

    hessian: FloatArray
    pulls: FloatArray
    prior: FloatArray

    @property
    def inverse(self) -> FloatArray:
        return np.asarray(np.linalg.pinv(self.hessian + self.prior, hermitian=True))


@dataclass(frozen=True)
class _Problem:
    """Motions of the vertebrae at one resolution."""

    maps: SampledMaps
    points: Points
    pose: FloatArray
    chain: Chain
    precision: FloatArray
    level: Level

    def of(self, keep: BoolArray) -> _Problem:
        """The problem on some of the points."""
        return replace(self, points=self.points.subset(keep))

    def displaced(self, flat: FloatArray) -> FloatArray:
        """From where the pose puts the points to where they belong in the CT, shape (n, 3)."""
        target = apply_matrix(self.pose, self.points.positions_mm)
        if not flat.any():
            return np.zeros_like(target)
        motions = flat.reshape(-1, 6)
        source = target
        for _ in range(PASSES):
            linear, offset = self.chain.blended(
                self.chain.weights(source), motions[:, :3], motions[:, 3:] / LEVER_MM
            )
            source = target - (np.einsum("nij,nj->ni", linear, source) + offset)
        return np.asarray(source - target)

    def at(self, flat: FloatArray) -> _Moved | None:
        """The model with given motions."""
        state = evaluate(self.maps, self.points, self.pose, self.displaced(flat))
        return None if state is None else _Moved(flat, state)

    def solved(self, flat: FloatArray) -> _Moved | None:
        """Levenberg–Marquardt from given motions."""
        start = self.at(flat)
        if start is None:
            return None
        size = self.level.fwhm_mm
        return descend(
            start,
            self._linear,
            lambda here, step: self.at(here.flat + step),
            LONGEST_STEP * size,
            CONVERGED * size,
            self.level.iterations,
        )

    def _linear(self, here: _Moved) -> Linear[_Moved]:
        scale = here.state.scale
        system = self.system(here)

        def cost(other: _Moved) -> float:
            weight = float(np.sum(other.state.weight(scale) * other.state.noise**2))
            tied = float(other.flat @ system.prior @ other.flat)
            return robust_cost(other.state.scaled, scale) + tied / max(4 * scale**2 * weight, 1e-9)

        slope: FloatArray = system.pulls.sum(axis=0) - system.prior @ here.flat
        return Linear(system.hessian + system.prior, slope, cost)

    def system(self, here: _Moved) -> _System:
        """The system at a state; data and prior in the same units.

        Residuals of neighbouring voxels are correlated, so voxels say less than their number
        suggests. How much less is seen in the scatter of the patches' pulls (the design effect of
        cluster-robust statistics: Liang and Zeger, Biometrika 1986;73:13).
        """
        state = here.state
        scale = state.scale
        weight = state.weight(scale)
        slope = -state.slope().T
        shares = self.chain.weights(state.mapped_mm)
        arm = (state.mapped_mm[:, None] - self.chain.centres_mm) / LEVER_MM
        turned = np.cross(arm, slope[:, None])
        columns = np.concatenate([np.broadcast_to(slope[:, None], turned.shape), turned], axis=2)
        jacobian = np.ascontiguousarray((shares[:, :, None] * columns).reshape(len(slope), -1).T)
        jacobian = project_out(state.points, state.mixture, weight, jacobian)
        # No BLAS: the last digit must not depend on threads.
        hessian = np.einsum("pn,qn->pq", jacobian * weight, jacobian)
        pulls = state.points.patch_sum(jacobian * (weight * state.residual))
        free = np.linalg.pinv(hessian + scale**2 * self.precision, hermitian=True)
        known = float(np.sum(free * hessian))
        effect = float(np.einsum("np,pq,nq->", pulls, free, pulls)) / max(scale**2 * known, 1e-12)
        return _System(hessian, pulls, max(effect, 1.0) * scale**2 * self.precision)


def _end(problems: Sequence[_Problem]) -> _Moved | None:
    """Motions found coarse then fine."""
    found: _Moved | None = None
    for problem in problems:
        flat = np.zeros(len(problem.precision)) if found is None else found.flat
        found = problem.solved(flat)
        if found is None:
            return None
    return found


def _cross_validated(problems: Sequence[_Problem]) -> Comparison | None:
    """How well motions explain patches that they were not found on."""
    fine = problems[-1]
    displaced = np.zeros((len(fine.points.values), 3))
    for fold in (0, 1):
        kept = [problem.of(_fold(problem) != fold) for problem in problems]
        if any(len(problem.points.values) < FEWEST_POINTS for problem in kept):
            return None
        found = _end(kept)
        if found is None:
            return None
        others = _fold(fine) == fold
        displaced[others] = fine.displaced(found.flat)[others]
    bent = evaluate(fine.maps, fine.points, fine.pose, displaced)
    straight = evaluate(fine.maps, fine.points, fine.pose)
    if bent is None or straight is None:
        return None
    return state_margin(fine.points, bent, straight)


def _fold(problem: _Problem) -> IntArray:
    """Every other patch: neighbours from side to side are in different halves."""
    return problem.points.patch % 2


def _summary(
    problem: _Problem, end: _Moved, margin: Comparison, levels: Sequence[str]
) -> VertebraFit:
    system = problem.system(end)
    # The prior's weight is its precision in the data's units.
    unit = float(np.trace(system.prior) / np.trace(problem.precision))
    covariance = unit * system.inverse
    motions = []
    for number, level in enumerate(levels):
        shift, turn = end.flat[6 * number : 6 * number + 3], end.flat[6 * number + 3 :][:3]
        block = covariance[6 * number : 6 * number + 6, 6 * number : 6 * number + 6]
        motions.append(
            VertebraMotion(
                level,
                np.round(problem.chain.centres_mm[number], 4),
                np.round(shift, 4),
                np.round(turn * (180.0 / math.pi / LEVER_MM), 4),
                round(ERROR_SCALE * _size(np.diag(block)), 4),
            )
        )
    sizes = end.flat.reshape(-1, 6) ** 2
    return VertebraFit(
        posture=Posture(tuple(motions)),
        error_mm=float(np.sqrt(np.mean([m.error_mm**2 for m in motions]))),
        moved_mm=float(np.sqrt(np.mean([_size(row) ** 2 for row in sizes]))),
        margin=margin,
    )


def _size(squares: FloatArray) -> float:
    """Root mean square displacement `LEVER_MM` from the centre, from squared parameters (6,)."""
    # |w × r|² averages to 2/3 |w|² |r|² over directions.
    return float(np.sqrt(np.sum(squares[:3]) + np.sum(squares[3:]) * 2.0 / 3.0))
