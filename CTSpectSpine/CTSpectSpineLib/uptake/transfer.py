"""How regions are seen in the SPECT: the geometric transfer matrix (GTM).

Rousset OG, Ma Y, Evans AC. Correction for partial volume effects in PET: principle and validation.
J Nucl Med 1998;39:904-911. The SPECT is taken as the sum over regions of a uniform uptake blurred
by the reconstruction's response and averaged over voxels; the mean that is seen in region *i* is
then ``sum_j omega[i, j] * true[j]``. `equations` and `gibbs` solve for the true means.

Vertebral bodies are *observed* in their eroded core only, where their own share is largest,
though they *spill* from their whole volume: any set of weights gives a valid equation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Literal

import numpy as np
from scipy import sparse, special

from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.uptake.lattice import Box, PartKind
from CTSpectSpineLib.uptake.nodes import Edges, Nodes, nodes_of
from CTSpectSpineLib.uptake.partition import Partition
from CTSpectSpineLib.uptake.response import Response
from CTSpectSpineLib.uptake.sampling import SpectField

REGION_BLUR_MM: Mapping[PartKind, float] = {"disc_bone": 0.5, "facet_bone": 1.0}
"""Standard deviation along each axis by which outlines of joints' bone miss the bone itself. On
average over such errors the bone looks like its outline smeared by as much; taken as sharp, a hot
joint would always read too low. Judgement: of the size of the 0.6 to 1.3 mm by which facet
joints are misplaced; less for discs, whose faces are large."""
_TAIL_SIGMAS = 3.5
"""Reach of a Gaussian in standard deviations. Numerical: 0.05 % of it lies beyond."""
_LEAST_SHARE = 1e-5
"""Smaller entries of a profile are left out. Numerical: it keeps the matrix sparse."""

Mask = tuple[Box, BoolArray]
Shape = Literal["cell", "slope"]


def sigmas_mm(fwhm_mm: float, field: SpectField) -> FloatArray:
    """Standard deviations along ``(k, j, i)`` of the point spread with voxel averaging.

    ``fwhm_mm`` is the width before voxels average over their size; a box of edge h has the
    variance h² / 12.
    """
    return np.sqrt((fwhm_mm / FWHM_PER_SIGMA) ** 2 + field.spacing[::-1] ** 2 / 12.0)


def blurred_profiles(partition: Partition, field: SpectField, fwhm_mm: float) -> sparse.csc_matrix:
    """What each region with uptake 1 looks like in the SPECT.

    The Gaussian is integrated exactly over lattice cells and read at SPECT voxel centres. Bone of
    joints is smeared by `REGION_BLUR_MM` in addition.

    Returns
    -------
    Matrix of shape (voxels, regions), voxels in C order of ``field.array``.
    """
    sharp = sigmas_mm(fwhm_mm, field)
    axes = {
        blur: _gaussian_axes(partition, field, np.hypot(sharp, blur))
        for blur in {0.0, *REGION_BLUR_MM.values()}
    }
    blurs = [REGION_BLUR_MM.get(part.kind, 0.0) for part in partition.parts]
    return _project(partition.nodes, field, [axes[blur] for blur in blurs])


def gaussian_profiles(
    partition: Partition, field: SpectField, response: Response
) -> list[tuple[float, sparse.csc_matrix]]:
    """Weight and `blurred_profiles` of each Gaussian of a response.

    Adding them up costs as much as making one; what is linear in them is added up instead.
    """
    return [
        (weight, blurred_profiles(partition, field, fwhm_mm))
        for weight, fwhm_mm in response.gaussians()
    ]


def response_profiles(
    partition: Partition, field: SpectField, response: Response
) -> sparse.csc_matrix:
    """What each region with uptake 1 looks like to a response, shape (voxels, regions)."""
    return _summed(
        (weight, blurred_profiles(partition, field, fwhm_mm))
        for weight, fwhm_mm in response.gaussians()
    )


def mask_profiles(
    masks: Sequence[Mask],
    kind: PartKind,
    partition: Partition,
    field: SpectField,
    response: Response,
) -> sparse.csc_matrix:
    """What masks of a partition's lattice with uptake 1 look like, shape (voxels, masks).

    Parameters
    ----------
    masks
        The masks.
    kind
        What they are part of: bone of joints is smeared by `REGION_BLUR_MM`.
    partition, field, response
        The lattice, the SPECT, and how it sees.
    """
    nodes = [nodes_of(*mask) for mask in masks]

    def blurred(fwhm_mm: float) -> sparse.csc_matrix:
        widths = np.hypot(sigmas_mm(fwhm_mm, field), REGION_BLUR_MM.get(kind, 0.0))
        axes = _gaussian_axes(partition, field, widths)
        return _project(nodes, field, [axes] * len(nodes))

    return _summed((weight, blurred(fwhm_mm)) for weight, fwhm_mm in response.gaussians())


def shifted_profiles(
    partition: Partition, field: SpectField, fwhm_mm: float, numbers: Sequence[int]
) -> sparse.csc_matrix:
    """Change of some regions' profiles per mm of displacement.

    Returns
    -------
    Matrix of shape (voxels, 3 · regions): displaced along i, along j, along k.
    """
    widths = sigmas_mm(fwhm_mm, field)
    nodes = [partition.nodes[number] for number in numbers]
    changes = []
    for axis in (2, 1, 0):
        shapes: list[Shape] = ["cell"] * 3
        shapes[axis] = "slope"
        axes = _gaussian_axes(partition, field, widths, shapes)
        changes.append(_project(nodes, field, [axes] * len(nodes)))
    return sparse.csc_matrix(sparse.hstack(changes))


def mean_weights(
    partition: Partition, field: SpectField, observed: Sequence[Nodes] | None = None
) -> sparse.csc_matrix:
    """Voxel weights of each region's mean, shape (voxels, regions); columns sum to 1.

    Lattice nodes are splatted trilinearly: the adjoint of trilinear interpolation.

    Parameters
    ----------
    partition, field
        The regions on the SPECT.
    observed
        Where the regions are observed; by default all of each region.
    """
    axes = []
    for factor, nodes, voxels in zip(
        partition.factor, partition.codes.shape, field.array.shape, strict=True
    ):
        away = np.arange(nodes)[None, :] / factor - np.arange(voxels)[:, None]
        hat = np.maximum(0.0, 1.0 - np.abs(away))
        axes.append(_Axis(np.pad(np.cumsum(hat, axis=1), ((0, 0), (1, 0))), factor, 1.0))
    regions = partition.nodes if observed is None else observed
    return _normalised(_project(regions, field, [axes] * len(regions)))


def transfer_matrix(
    weights: sparse.csc_matrix | sparse.csr_matrix, profiles: sparse.csc_matrix
) -> FloatArray:
    """Share of each region's true uptake in every observed mean.

    Weights by rows need no sorting here.
    """
    # The many entries of the profiles stay as they are; only the few of the weights are sorted.
    return np.ascontiguousarray((profiles.T @ sparse.csr_matrix(weights)).toarray().T)


def scaled_rows(columns: sparse.csc_matrix, factors: FloatArray) -> sparse.csc_matrix:
    """Columns with each row times its factor."""
    return sparse.csc_matrix(
        (columns.data * factors[columns.indices], columns.indices, columns.indptr),
        shape=columns.shape,
    )


def scaled_columns(columns: sparse.csc_matrix, factors: FloatArray) -> sparse.csc_matrix:
    """Columns, each times its factor."""
    repeated = np.repeat(factors, np.diff(columns.indptr))
    return sparse.csc_matrix(
        (columns.data * repeated, columns.indices, columns.indptr), shape=columns.shape
    )


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
    """Linear map along one axis, from lattice nodes to voxels.

    Attributes
    ----------
    upto
        Sums over the nodes before each one, shape (voxels, nodes + 1).
    factor
        Nodes per voxel.
    reach
        How many voxels around a node the map is not 0.
    """

    upto: FloatArray
    factor: int
    reach: float

    def part(self, edges: Edges) -> tuple[int, FloatArray]:
        """First voxel that some runs of nodes reach, and the map from the runs to voxels."""
        low = max(0, int(np.ceil(edges[0] / self.factor - self.reach)))
        high = int(np.floor((edges[-1] - 1) / self.factor + self.reach)) + 1
        high = max(low, min(len(self.upto), high))
        upto = self.upto[low:high].take(edges, axis=1)
        return low, upto[:, 1:] - upto[:, :-1]


def _gaussian_axes(
    partition: Partition,
    field: SpectField,
    widths_mm: FloatArray,
    shapes: Sequence[Shape] = ("cell", "cell", "cell"),
) -> list[_Axis]:
    """Gaussian integrated over each node's cell, or how that changes per mm of displacement."""
    axes = []
    for factor, nodes, voxels, step, sigma, shape in zip(
        partition.factor,
        partition.codes.shape,
        field.array.shape,
        field.spacing[::-1],
        widths_mm,
        shapes,
        strict=True,
    ):
        edges = (np.arange(nodes + 1) - 0.5) / factor
        away = (edges[None, :] - np.arange(voxels)[:, None]) * step / sigma
        if shape == "cell":
            upto = special.ndtr(away)
        else:
            upto = np.exp(-0.5 * away**2) / (np.sqrt(2.0 * np.pi) * sigma)
        axes.append(_Axis(upto, factor, _TAIL_SIGMAS * sigma / step))
    return axes


def _project(
    regions: Sequence[Nodes], field: SpectField, axes_of: Sequence[Sequence[_Axis]]
) -> sparse.csc_matrix:
    """Apply separable axis maps to the nodes of each region, a column each."""
    voxels = np.arange(field.array.size, dtype=np.int32).reshape(field.array.shape)
    parts = [
        [axis.part(edges) for axis, edges in zip(axes, region.edges, strict=True)]
        for region, axes in zip(regions, axes_of, strict=True)
    ]
    # Room for all voxels of all boxes: what is not used never becomes memory.
    room = sum(math.prod(len(matrix) for _, matrix in part) for part in parts)
    values, flat = np.empty(room), np.empty(room, dtype=np.int32)
    ends = [0]
    for region, ((k0, k), (j0, j), (i0, i)) in zip(regions, parts, strict=True):
        # Flat, since one large product of matrices is quicker than many small ones.
        planes, rows, columns = region.mask.shape
        seen = region.mask.reshape(-1, columns).astype(np.float64) @ i.T
        seen = (k @ seen.reshape(planes, -1)).reshape(len(k), rows, len(i))
        seen = (j @ seen).ravel()
        at = np.flatnonzero(np.abs(seen) > _LEAST_SHARE)
        around = voxels[k0 : k0 + len(k), j0 : j0 + len(j), i0 : i0 + len(i)]
        kept = slice(ends[-1], ends[-1] + len(at))
        flat[kept], values[kept] = around.ravel()[at], seen[at]
        ends.append(kept.stop)
    return sparse.csc_matrix(
        (values[: ends[-1]], flat[: ends[-1]], np.array(ends, dtype=np.int32)),
        shape=(field.array.size, len(regions)),
    )


def _summed(parts: Iterable[tuple[float, sparse.csc_matrix]]) -> sparse.csc_matrix:
    """Sum of matrices times their weights; takes the matrices over, one after the other."""

    def scaled(part: tuple[float, sparse.csc_matrix]) -> sparse.csc_matrix:
        weight, matrix = part
        matrix.data *= weight
        return matrix

    # A sum of sparse matrices keeps room for the entries of both; a copy has what it needs.
    return sparse.csc_matrix(reduce(add, map(scaled, parts)), copy=True)


def _normalised(weights: sparse.csc_matrix) -> sparse.csc_matrix:
    total = np.asarray(weights.sum(axis=0)).ravel()
    return scaled_columns(weights, 1.0 / np.maximum(total, 1e-30))
