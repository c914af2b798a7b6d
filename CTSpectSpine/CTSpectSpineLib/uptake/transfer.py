"""Partial-volume correction by the geometric transfer matrix (GTM).

Rousset OG, Ma Y, Evans AC. Correction for partial volume effects in PET: principle and
validation. J Nucl Med 1998;39:904-911. The SPECT is taken as the sum over regions of an even
uptake blurred by a Gaussian point spread; the mean that is seen in region *i* is then
``sum_j omega[i, j] * true[j]``, and the small system is solved for the true means.

Two additions. Vertebral bodies are *observed* in their eroded core only, where their own share is
largest, though they *spill* from their whole volume: any set of weights gives a valid equation.
And the solution is regularised by weak priors on differences between neighbouring regions
(Tikhonov), which decide only where a region is too small to be resolved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse, special

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.partition import Box, Partition, PartKind
from CTSpectSpineLib.uptake.sampling import SpectField

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
_TAIL_SIGMAS = 3.5
OBSERVATION_SD = 0.03
"""Assumed error of an observed regional mean, in units of the reference uptake."""
PRIOR_SD: Mapping[PartKind, float] = {
    "disc_bone": 4.0,
    "facet_bone": 4.0,
    "body": 4.0,
    "posterior": 1.0,
    "sacrum": 2.0,
    "hip": 2.0,
    "disc_space": 0.5,
    "background": 1.0,
}
"""Prior standard deviation of a region's uptake from its neighbour's, in units of the reference.

Wide against what occurs (hot joints read up to about 6), so that a region seen with a weight of
a few per cent is already decided by the data.
"""


@dataclass(frozen=True)
class TransferSystem:
    """The solved system for one point spread.

    Attributes
    ----------
    fwhm_mm
        Point spread.
    omega
        Transfer matrix, shape (regions, regions): row *i* tells what share of each region's
        true uptake the mean seen in region *i* holds.
    solve_matrix
        Regularised inverse: ``true = solve_matrix @ observed``.
    """

    fwhm_mm: float
    omega: FloatArray
    solve_matrix: FloatArray

    def solve(self, observed: FloatArray) -> FloatArray:
        """True means from observed means; both of shape (..., regions)."""
        true: FloatArray = observed @ self.solve_matrix.T
        return true

    def condition_number(self) -> float:
        """Condition number of `omega`, before regularisation."""
        return float(np.linalg.cond(self.omega))


def blurred_profiles(partition: Partition, field: SpectField, fwhm_mm: float) -> sparse.csc_matrix:
    """What each region with uptake 1 looks like in the SPECT.

    The Gaussian is integrated exactly over lattice cells and sampled at SPECT voxel centres, so
    the point spread is that of the image as it is read, voxel size included.

    Returns
    -------
    Matrix of shape (voxels, regions), voxels in C order of ``field.array``.
    """
    sigma = fwhm_mm / FWHM_PER_SIGMA

    def axis_matrix(start: int, stop: int, factor: int, voxels: int, step: float) -> _Axis:
        low = max(0, int(np.ceil(start / factor - _TAIL_SIGMAS * sigma / step)))
        high = min(voxels, int(np.floor((stop - 1) / factor + _TAIL_SIGMAS * sigma / step)) + 1)
        high = max(high, low)
        edges = (np.arange(start, stop + 1) - 0.5) / factor
        away = (edges[None, :] - np.arange(low, high)[:, None]) * step / sigma
        return _Axis(low, np.diff(special.ndtr(away), axis=1))

    return _project(partition, field, axis_matrix)


def mean_weights(partition: Partition, field: SpectField) -> sparse.csc_matrix:
    """Voxel weights of each region's mean, shape (voxels, regions); columns sum to 1.

    Lattice nodes are splatted trilinearly: the adjoint of trilinear interpolation.
    """

    def axis_matrix(start: int, stop: int, factor: int, voxels: int, step: float) -> _Axis:
        low = start // factor
        high = min(voxels, (stop - 1) // factor + 2)
        away = np.arange(start, stop)[None, :] / factor - np.arange(low, high)[:, None]
        return _Axis(low, np.maximum(0.0, 1.0 - np.abs(away)))

    weights = _project(partition, field, axis_matrix)
    return sparse.csc_matrix(weights @ sparse.diags(1.0 / np.asarray(weights.sum(axis=0)).ravel()))


def point_weights(field: SpectField, index: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Voxels (flat, C order) and weights that give the mean over points ``(i, j, k)``."""
    index = np.clip(index, 0.0, field.size - 1.0)
    base = np.minimum(np.floor(index), np.maximum(field.size - 2.0, 0.0)).astype(int)
    part = index - base
    _, rows, columns = field.array.shape
    flat, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        at = np.minimum(base + corner, field.size.astype(int) - 1)
        flat.append((at[:, 2] * rows + at[:, 1]) * columns + at[:, 0])
        weights.append(np.prod(np.where(corner, part, 1.0 - part), axis=1) / len(index))
    return np.concatenate(flat), np.concatenate(weights)


@dataclass(frozen=True)
class _Axis:
    """Linear map along one axis, from lattice nodes of a box to voxels from ``low`` on."""

    low: int
    matrix: FloatArray


def _project(partition: Partition, field: SpectField, axis_matrix) -> sparse.csc_matrix:  # type: ignore[no-untyped-def]
    """Apply separable axis maps to every region's lattice mask."""
    shape = field.array.shape
    spacing = field.spacing[::-1]
    rows, values, lengths = [], [], []
    for number, box in enumerate(partition.boxes()):
        mask = (partition.codes[box] == number + 1).astype(np.float32)
        k, j, i = (
            axis_matrix(s.start, s.stop, f, n, h)
            for s, f, n, h in zip(box, partition.factor, shape, spacing, strict=True)
        )
        seen = np.tensordot(mask, i.matrix.astype(np.float32), axes=(2, 1))
        seen = np.tensordot(seen, j.matrix.astype(np.float32), axes=(1, 1))
        seen = np.tensordot(k.matrix.astype(np.float32), seen, axes=(1, 0))
        seen = seen.transpose(0, 2, 1)
        kk, jj, ii = np.nonzero(seen > 1e-5)
        values.append(seen[kk, jj, ii].astype(np.float64))
        rows.append(((kk + k.low) * shape[1] + jj + j.low) * shape[2] + ii + i.low)
        lengths.append(len(kk))
    return sparse.csc_matrix(
        (
            np.concatenate(values),
            np.concatenate(rows),
            np.concatenate([[0], np.cumsum(lengths)]),
        ),
        shape=(int(np.prod(shape)), len(partition.parts)),
    )


def prior_rows(
    partition: Partition, neighbours: Mapping[str, Iterable[str]]
) -> tuple[FloatArray, FloatArray]:
    """Prior differences between regions.

    Parameters
    ----------
    partition
        The regions.
    neighbours
        Joint id to its vertebrae.

    Returns
    -------
    Matrix of shape (regions, regions) whose rows are a region minus the mean of its neighbours
    (region alone where it has none), and the standard deviation of each row.
    """
    parts = partition.parts
    by_kind: dict[PartKind, list[int]] = {}
    for number, part in enumerate(parts):
        by_kind.setdefault(part.kind, []).append(number)
    bodies = by_kind.get("body", []) or by_kind.get("posterior", []) or by_kind.get("sacrum", [])
    # A disc space takes up no more than soft tissue; a posterior arch, sacrum or hip about as
    # much as a body; a joint as much as the bone beside it.
    sides: dict[PartKind, list[int]] = {
        "disc_space": by_kind.get("background", []),
        "posterior": bodies,
        "sacrum": bodies,
        "hip": bodies,
    }
    rows = np.eye(len(parts))
    for number, part in enumerate(parts):
        beside = [n for n in sides.get(part.kind, []) if n != number]
        if part.kind in ("disc_bone", "facet_bone"):
            kind: PartKind = "body" if part.kind == "disc_bone" else "posterior"
            levels = set(neighbours.get(part.owner, ()))
            beside = [n for n in by_kind.get(kind, []) if parts[n].owner in levels] or bodies
        if beside:
            rows[number, beside] -= 1.0 / len(beside)
    return rows, np.array([PRIOR_SD[part.kind] for part in parts])


def transfer_system(
    weights: sparse.csc_matrix,
    profiles: sparse.csc_matrix,
    priors: tuple[FloatArray, FloatArray],
    fwhm_mm: float,
) -> TransferSystem:
    """Set the system up and invert it.

    Parameters
    ----------
    weights, profiles
        Shape (voxels, regions), from `mean_weights` and `blurred_profiles`.
    priors
        From `prior_rows`.
    """
    omega = transfer_matrix(weights, profiles)
    normal = _normal_matrix(omega, priors)
    solve_matrix = linalg.solve(normal, omega.T / OBSERVATION_SD**2, assume_a="pos")
    return TransferSystem(fwhm_mm, omega, solve_matrix)


def transfer_matrix(weights: sparse.csc_matrix, profiles: sparse.csc_matrix) -> FloatArray:
    """What share of each region's true uptake every observed mean holds."""
    return np.asarray((weights.T @ profiles).todense(), dtype=np.float64)


def solve_once(
    omega: FloatArray, observed: FloatArray, priors: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """Most probable true means from one set of observed means, shape (regions,)."""
    right = omega.T @ observed / OBSERVATION_SD**2
    true: FloatArray = linalg.solve(_normal_matrix(omega, priors), right, assume_a="pos")
    return true


def _normal_matrix(omega: FloatArray, priors: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Normal equations of observations with `OBSERVATION_SD` and of the prior differences.

    Both standard deviations are relative to the reference uptake, which therefore cancels.
    """
    rows, sd = priors
    scaled = rows / sd[:, None]
    normal: FloatArray = omega.T @ omega / OBSERVATION_SD**2 + scaled.T @ scaled
    return normal


def region_nodes(partition: Partition, boxes: list[Box], number: int, most: int) -> FloatArray:
    """At most about ``most`` evenly chosen nodes of a region, SPECT index, shape (n, 3)."""
    nodes = partition.node_index(boxes[number], number)
    step = max(1, len(nodes) // most)
    return nodes[step // 2 :: step]
