"""Levenberg–Marquardt steps, shared by the rigid refinement and the bending of the column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from CTSpectSpineLib.model import FloatArray

S = TypeVar("S")

_TRIALS = 5
"""Most dampings tried for one step. Numerical: five tenfold ones leave next to no step."""
_FIRST_DAMPING, _LEAST_DAMPING = 1e-3, 1e-4
"""Damping relative to the diagonal: of the first step, and the least. Numerical: nearly
Gauss–Newton."""


@dataclass(frozen=True)
class Linear(Generic[S]):
    """The problem about one state.

    Attributes
    ----------
    hessian, slope
        Gauss–Newton matrix, shape (n, n), and descent direction, shape (n,).
    cost
        What a step must not raise; comparable between states of this problem only, as robust
        weights depend on the state.
    """

    hessian: FloatArray
    slope: FloatArray
    cost: Callable[[S], float]


def descend(
    state: S,
    linear: Callable[[S], Linear[S]],
    moved: Callable[[S, FloatArray], S | None],
    longest: float,
    converged: float,
    iterations: int,
) -> S:
    """Minimise from a state.

    Parameters
    ----------
    state
        Start.
    linear
        The problem about a state.
    moved
        The state after a step of the parameters; None where that is not allowed.
    longest, converged
        Longest change of a parameter in one step, and the one below which to stop.
    iterations
        Most steps.
    """
    damping = _FIRST_DAMPING
    for _ in range(iterations):
        here = linear(state)
        cost = here.cost(state)
        taken = None
        for _ in range(_TRIALS):
            damped = here.hessian + damping * np.diag(np.diag(here.hessian))
            step: FloatArray = np.linalg.solve(damped, here.slope).astype(np.float64)
            step *= min(1.0, longest / max(float(np.abs(step).max()), 1e-9))
            trial = moved(state, step)
            if trial is not None and here.cost(trial) <= cost:
                taken, damping = trial, max(damping / 5, _LEAST_DAMPING)
                break
            damping = max(damping, 1e-2) * 10
        if taken is None:
            break
        state = taken
        if float(np.abs(step).max()) < converged:
            break
    return state
