"""What surrounds bone, in blocks: soft tissue, and organs that are hotter than bone.

Uptake around bone is uneven, so it is divided into blocks of about two widths of the response,
each with a value of its own. A block that a kidney or the bladder only half fills would look warm
right up to the bone, where it is cold, and the neighbouring endplates would take the blame: in
blocks that are not cut, ordinary discs beside a kidney read up to 2.7 on simulated patients. So
blocks are cut along organs' edges as the SPECT shows them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.uptake.lattice import Lattice, Part
from CTSpectSpineLib.uptake.sampling import SpectField

SHELL_MM = 22.0
"""How far around bone the surroundings are modelled. Judgement: two widths of a usual point spread
(8 to 12 mm FWHM)."""
BEYOND_MM = 12.0
"""How far the outer blocks reach beyond the shell. Judgement: one width of a usual point spread,
from which activity still spills in."""
BLOCK_MM = 22.0
"""Edge of a background block. Judgement: two widths of a usual point spread; smaller blocks are not
resolved from each other."""
ORGAN = 1.8
"""SPECT of an organ over the median of bone's, as the SPECT shows it. Judgement: blur halves what
bone shows, so that this is about the true uptake of vertebral bodies; kidneys and bladder have
several times as much."""
ORGAN_MM = 8.0
"""How far from bone an organ must reach that value. Judgement: nearer, a hot joint does as well."""
GAP_MM = 5.0
"""Least distance of an organ from bone. Judgement: muscle or fat lies between; and what is nearer
must not take over the uptake of a hot joint."""
EDGE = 0.4
"""SPECT at an organ's edge over the largest within `REACH_MM`. Half of an organ's own value marks
the edge of a blurred one; the largest of many noisy values is higher. Judgement, tried on six
simulated patients with kidneys: 0.3 leaves facet joints, 0.5 discs farther from the truth."""
REACH_MM = 25.0
"""Judgement: about the half width of a kidney."""
_LEAST_PIECE = 0.15
"""Least size of either part of a cut block, as a share of a whole one. Judgement: less is not
resolved by itself and goes to the nearest organ, or stays."""


@dataclass(frozen=True)
class _Surroundings:
    """Voxels around bone, all of shape ``field.array.shape``.

    Attributes
    ----------
    bone
        Where bone is.
    distance_mm
        From bone.
    block
        Number of the block from 1; 0 outside.
    """

    field: SpectField
    bone: BoolArray
    distance_mm: FloatArray
    block: NDArray[np.int32]

    @property
    def spacing(self) -> FloatArray:
        """Voxel sizes along ``(k, j, i)``, mm."""
        return self.field.spacing[::-1]


def add_background(lattice: Lattice, field: SpectField) -> None:
    """Fill the nodes around bone with blocks that follow the SPECT grid and organs' edges.

    Parameters
    ----------
    lattice
        With bone; gets the blocks as further parts.
    field
        The SPECT.
    """
    around = _surroundings(lattice, field)
    if around is None:
        return
    first = len(lattice.parts)
    lattice.parts.extend(Part("background", str(n)) for n in range(int(around.block.max())))
    block = np.where(around.block > 0, around.block + first, 0).astype(np.uint16)
    planes, *inner = _nearest_voxels(lattice, field)
    # Plane by plane, since the lattice has many times as many nodes as the SPECT has voxels.
    for plane, codes in zip(planes, lattice.codes, strict=True):
        filled = block[plane][np.ix_(*inner)]
        np.copyto(codes, filled, where=(codes == 0) & (filled > 0))
    _cut_organs_out(lattice, around, first)


def _nearest_voxels(lattice: Lattice, field: SpectField) -> list[NDArray[np.intp]]:
    """For nodes along each axis, the voxel that they lie in."""
    return [
        np.clip((np.arange(n) + f // 2) // f, 0, v - 1)
        for n, f, v in zip(lattice.shape, lattice.factor, field.array.shape, strict=True)
    ]


def _surroundings(lattice: Lattice, field: SpectField) -> _Surroundings | None:
    """The blocks; None where there is no bone."""
    spacing = field.spacing[::-1]
    bone = np.asarray(lattice.codes > 0)
    for axis, nearest in enumerate(_nearest_voxels(lattice, field)):
        # Nodes of one voxel follow each other.
        bone = np.logical_or.reduceat(bone, np.unique(nearest, return_index=True)[1], axis=axis)
    if not bone.any():
        return None
    distance = ndimage.distance_transform_edt(~bone, sampling=spacing)
    block = _block_numbers(distance <= SHELL_MM, bone, spacing)
    # What lies just beyond spills in as well: the outer blocks reach out to it.
    nearest_block = ndimage.distance_transform_edt(
        block == 0, sampling=spacing, return_distances=False, return_indices=True
    )
    block = np.where(distance <= SHELL_MM + BEYOND_MM, block[tuple(nearest_block)], 0)
    return _Surroundings(field, bone, distance, block)


def _block_edge(spacing: FloatArray) -> NDArray[np.intp]:
    """Voxels along the edges of a block."""
    return np.maximum(1, np.round(BLOCK_MM / spacing)).astype(int)


def _block_numbers(shell: BoolArray, bone: BoolArray, spacing: FloatArray) -> NDArray[np.int32]:
    """Number voxels of the shell by block from 1; voxels of slivers join the nearest block."""
    edge = _block_edge(spacing)
    kji = np.argwhere(shell)
    _, of_voxel = np.unique(kji // edge, axis=0, return_inverse=True)
    of_voxel = of_voxel.ravel()
    outside = ~bone[shell]
    counts = np.bincount(of_voxel, weights=outside)
    large = counts >= 0.25 * np.prod(edge)
    if not large.any():
        large = counts == counts.max()
    weight = np.maximum(np.bincount(of_voxel), 1)
    centres = np.stack([np.bincount(of_voxel, kji[:, a]) / weight for a in range(3)], axis=1)
    number = np.cumsum(large)
    strays = ~large[of_voxel]
    _, nearest = cKDTree(centres[large] * spacing).query(kji[strays] * spacing)
    result = number[of_voxel]
    result[strays] = np.asarray(nearest) + 1
    block: NDArray[np.int32] = np.zeros(shell.shape, dtype=np.int32)
    block[shell] = result
    return block


def _cut_organs_out(lattice: Lattice, around: _Surroundings, first: int) -> None:
    """Give the nodes of organs, block by block, regions of their own.

    Parameters
    ----------
    first
        Number of the first block's part.
    """
    edge = _edges(around)
    spect = around.field.array
    crossed = (around.block > 0) & (ndimage.maximum_filter(spect, size=3) >= edge)
    codes = first + np.unique(around.block[crossed])
    boxes = ndimage.find_objects(lattice.codes) if len(codes) else []
    usual = np.prod(_block_edge(around.spacing) * lattice.factor)
    pieces: dict[int, NDArray[np.intp]] = {}
    small: list[NDArray[np.intp]] = []
    for code in codes.tolist():
        box = boxes[code - 1] if code <= len(boxes) else None
        if box is None:
            continue
        nodes = np.argwhere(lattice.codes[box] == code) + [s.start for s in box]
        organ = _is_organ(nodes, lattice, around, edge)
        if np.count_nonzero(~organ) < _LEAST_PIECE * usual:
            continue
        if np.count_nonzero(organ) >= _LEAST_PIECE * usual:
            pieces[code] = nodes[organ]
        elif organ.any():
            small.append(nodes[organ])
    if not pieces:
        return
    targets = []
    for code, nodes in pieces.items():
        lattice.parts.append(Part("background", f"{lattice.parts[code - 1].owner} organ"))
        targets.append(len(lattice.parts))
        lattice.codes[tuple(nodes.T)] = targets[-1]
    tree = cKDTree([nodes.mean(axis=0) for nodes in pieces.values()])
    for nodes in small:
        lattice.codes[tuple(nodes.T)] = np.array(targets)[tree.query(nodes)[1]]


def _edges(around: _Surroundings) -> FloatArray:
    """SPECT from which a voxel belongs to an organ; infinite far from any."""
    spect = around.field.array
    level = float(np.median(spect[around.bone]))
    if not level > 0.0:
        return np.full(spect.shape, np.inf)
    core = (around.distance_mm >= ORGAN_MM) & (spect >= ORGAN * level)
    reach = 2 * np.ceil(REACH_MM / around.spacing).astype(int) + 1
    largest = ndimage.maximum_filter(np.where(core, spect, 0.0), size=tuple(reach.tolist()))
    # Bone's own blur around it does not count.
    return np.where(largest > 0.0, np.maximum(EDGE * largest, level), np.inf)


def _is_organ(
    nodes: NDArray[np.intp], lattice: Lattice, around: _Surroundings, edge: FloatArray
) -> BoolArray:
    """Which nodes, ``(k, j, i)``, of the lattice lie in an organ."""
    at = (nodes / lattice.factor).T
    voxel = tuple(np.rint(at).astype(int))
    value = ndimage.map_coordinates(around.field.array, at, order=1, mode="nearest")
    away = ndimage.map_coordinates(around.distance_mm, at, order=1, mode="nearest")
    return np.asarray((value >= edge[voxel]) & (away >= GAP_MM))
