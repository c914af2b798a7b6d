"""Nodes of a region in few numbers, for what is done with them again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.model import BoolArray
from CTSpectSpineLib.uptake.lattice import Box

Edges = NDArray[np.intp]


@dataclass(frozen=True)
class Nodes:
    """Nodes in a box, with neighbouring planes that are alike taken as one.

    Most blocks of soft tissue follow the SPECT's voxels, several nodes long: a mask of theirs
    then has one entry where the box has tens.

    Attributes
    ----------
    mask
        Which nodes belong to the region, one entry for each run of like planes along each axis.
    edges
        Along each axis ``(k, j, i)`` of the lattice: the first node of each run, and the node
        behind the last one.
    """

    mask: BoolArray
    edges: tuple[Edges, Edges, Edges]


def nodes_of(box: Box, mask: BoolArray) -> Nodes:
    """Nodes of a box, indexed ``[k, j, i]``."""
    edges = []
    for axis, part in enumerate(box):
        others = tuple(other for other in range(3) if other != axis)
        changes = np.flatnonzero(np.diff(mask, axis=axis).any(axis=others)) + 1
        mask = mask.take(np.append(0, changes), axis=axis)
        edges.append(np.concatenate([[0], changes, [part.stop - part.start]]) + part.start)
    return Nodes(mask, (edges[0], edges[1], edges[2]))
