"""The lattice on which a SPECT field is divided into regions, while it is being filled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.model import BoolArray, FloatArray, Region
from CTSpectSpineLib.uptake.sampling import SpectField

PartKind = Literal[
    "disc_bone", "disc_space", "facet_bone", "body", "posterior", "sacrum", "hip", "background"
]
CodeArray = NDArray[np.uint16]
Box = tuple[slice, slice, slice]

LATTICE_MM = 1.25
"""Largest step of the lattice. Numerical: an endplate band of 4 to 5 mm is several nodes thick."""


@dataclass(frozen=True)
class Part:
    """One region of the partition; ``owner`` is a joint id, a level, or empty."""

    kind: PartKind
    owner: str


class Lattice:
    """Lattice under construction.

    Parameters
    ----------
    field
        The SPECT that is divided.

    Attributes
    ----------
    factor
        Lattice steps per SPECT voxel along ``(k, j, i)``.
    shape
        Nodes along ``(k, j, i)``.
    parts
        The regions so far.
    to_ct, from_ct
        4×4 matrices from continuous lattice index ``(i, j, k)`` to CT points, LPS mm, and back.
    """

    def __init__(self, field: SpectField) -> None:
        steps = np.maximum(1, np.ceil(field.spacing / LATTICE_MM - 1e-6)).astype(int)
        self.factor = (int(steps[2]), int(steps[1]), int(steps[0]))
        self.shape = tuple(
            (n - 1) * f + 1 for n, f in zip(field.array.shape, self.factor, strict=True)
        )
        self.parts: list[Part] = []
        scale = np.diag([*(1.0 / steps), 1.0])
        self.to_ct = np.linalg.inv(field.ct_to_index) @ scale
        self.from_ct = np.linalg.inv(self.to_ct)

    @cached_property
    def codes(self) -> CodeArray:
        """``r + 1`` at nodes of ``parts[r]``, 0 where nothing is; indexed ``[k, j, i]``.

        A lattice that is only probed has none.
        """
        return np.zeros(self.shape, dtype=np.uint16)

    def code(self, kind: PartKind, owner: str) -> int:
        """Code of a region's nodes, a new one at its first mention."""
        part = Part(kind, owner)
        if part not in self.parts:
            self.parts.append(part)
        return self.parts.index(part) + 1

    def box(self, region: Region) -> Box | None:
        """Lattice box that holds a region; None when they do not meet."""
        size = np.array(region.mask.shape[::-1]) - 1
        corners = np.array(np.meshgrid(*[[-0.5, n + 0.5] for n in size])).reshape(3, -1).T
        matrix = self.from_ct @ region.ijk_to_lps
        at = corners @ matrix[:3, :3].T + matrix[:3, 3]
        shape = np.array(self.shape[::-1])
        low = np.maximum(np.floor(at.min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(at.max(axis=0)) + 1, shape).astype(int)
        if np.any(high <= low):
            return None
        i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return k, j, i

    def points(self, kji: NDArray[np.int64]) -> FloatArray:
        """CT points, LPS mm, at which nodes are probed: one random place in each node's cell.

        At the nodes themselves a plate whose faces lie along the lattice would gain or lose
        whole layers; random places (stratified sampling) keep volumes right on average.
        """
        jitter = _jitter()
        k, j, i = (kji % len(jitter)).T
        at = kji[:, ::-1] + jitter[k, j, i]
        return np.asarray(at @ self.to_ct[:3, :3].T + self.to_ct[:3, 3])

    def inside(self, region: Region, box: Box) -> BoolArray:
        """Which nodes of a box lie in a region."""
        shape = tuple(s.stop - s.start for s in box)
        kji = np.stack(np.unravel_index(np.arange(int(np.prod(shape))), shape), axis=1)
        points = self.points(kji + [s.start for s in box])
        return lookup(region.mask, region.ijk_to_lps, points).reshape(shape) > 0


@cache
def _jitter() -> FloatArray:
    """Offsets within a cell, shape (32, 32, 32, 3), repeated over the lattice."""
    return np.random.default_rng(20).random((32, 32, 32, 3)) - 0.5


def lookup(array: np.ndarray, ijk_to_lps_mm: FloatArray, points_mm: FloatArray) -> np.ndarray:
    """Value of the voxel that each point, LPS mm, lies in; 0 outside."""
    to_index = np.linalg.inv(ijk_to_lps_mm)
    index = np.rint(points_mm @ to_index[:3, :3].T + to_index[:3, 3]).astype(np.int64)
    i, j, k = index.T
    known = np.all((index >= 0) & (index < array.shape[::-1]), axis=1)
    values = np.zeros(len(index), dtype=array.dtype)
    values[known] = array[k[known], j[known], i[known]]
    return values
