"""A first, regularised solution: the scale of all else, and what a width predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import linalg

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.lattice import PartKind
from CTSpectSpineLib.uptake.partition import Partition

_ERROR = 0.03
"""Error of an observed mean over the regions' prior spread of 3. Judgement: a few per cent of noise
and uneven uptake; both are relative, so only their quotient counts."""
_WIDE = 3.0
"""Standard deviation of a region's difference from comparable ones, in units of the reference
uptake. Judgement: nearly free; 7 times the reference is within two of them."""
_SD: Mapping[PartKind, float] = {"disc_space": 0.2}
"""The same for kinds of which more is known. Judgement: discs take up hardly more than soft
tissue."""


def first_solution(omega: FloatArray, observed: FloatArray, alike: FloatArray) -> FloatArray:
    """True means with equal, independent errors and a wide prior, shape (regions,).

    Parameters
    ----------
    omega
        Transfer matrix, shape (regions, regions).
    observed
        Observed means, SPECT units.
    alike
        The prior's precision, from `likeness`.
    """
    normal = omega.T @ omega / _ERROR**2 + alike
    return np.asarray(linalg.solve(normal, omega.T @ observed / _ERROR**2, assume_a="pos"))


def likeness(partition: Partition) -> FloatArray:
    """Precision of the prior, shape (regions, regions): comparable regions are about alike."""
    rows, sd = _differences(partition)
    scaled = rows / sd[:, None]
    return np.asarray(scaled.T @ scaled)


def _differences(partition: Partition) -> tuple[FloatArray, FloatArray]:
    """Each region minus comparable ones (bodies; for disc spaces soft tissue), and the spread."""
    bodies = partition.of_kind("body") or partition.of_kind("posterior", "sacrum")
    background = partition.of_kind("background")
    rows = np.eye(len(partition.parts))
    for number, part in enumerate(partition.parts):
        like: Sequence[int] = {"disc_space": background, "background": []}.get(part.kind, bodies)
        beside = [n for n in like if n != number]
        if beside:
            rows[number, beside] -= 1.0 / len(beside)
    sd = np.array([_SD.get(part.kind, _WIDE) for part in partition.parts])
    return rows, sd


def unit_of(partition: Partition, first: FloatArray, observed: FloatArray) -> float:
    """About the reference uptake, SPECT units: the scale of priors and errors."""
    for kinds in (("body",), ("posterior", "sacrum", "hip"), ("disc_bone", "facet_bone")):
        numbers = partition.of_kind(*kinds)
        if numbers and np.median(first[numbers]) > 0.0:
            return _short(float(np.median(first[numbers])))
    largest = float(np.abs(observed).max())
    return largest if largest > 0.0 else 1.0


def _short(value: float) -> float:
    """Six digits: a scale needs no more, and so it is the same with any number of threads."""
    return float(f"{value:.6g}")
