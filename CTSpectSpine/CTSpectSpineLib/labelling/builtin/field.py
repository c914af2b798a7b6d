"""The network's output for a CT: probabilities and offsets on one coarse grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.geometry import Grid, affine, grid_of
from CTSpectSpineLib.labelling.builtin.network import CLASSES, VERTEBRA, Float, Network
from CTSpectSpineLib.progress import Progress, ProgressCallback

TILE = 80
"""Edge of the cubes that the network sees, in voxels. Numerical: divisible by 8, as the network
needs; 200 mm hold a few vertebrae with what is around them."""
STRIDE = 56
"""From one cube to the next, in voxels. Numerical: cubes overlap by 24, since the network sees
little of what is beyond their faces."""
_AIR_HU = -1000.0
"""By definition: HU of air."""
_BONE_HU = 140.0
"""HU of what may be bone. Judgement: above soft tissue, within trabecular bone."""
_LEAST_BONE = 60
"""A cube with fewer voxels of bone is skipped. Judgement: less than a quarter of a cervical
body."""
_SPINE = (*VERTEBRA, CLASSES.index("disc"), CLASSES.index("sacrum"))
_FOUND_VOXELS = 40
"""A cube with as many voxels of spine gets its neighbours searched. Judgement: part of a
vertebra."""
_SEEDS = 12
"""Cubes from which the search starts at most, once a spine is found. Judgement: a spine is
connected, and the cubes with most bone hold some of it."""


@dataclass(frozen=True)
class SpineField:
    """The network's output on an axis-aligned grid in LPS (i left, j back, k up).

    Attributes
    ----------
    grid
        The grid; its voxels are cubes.
    hu
        CT on it, float32.
    shares
        Probability of each class, (classes, k, j, i), float16; zero where it was not run.
    offsets
        Offset to the body's centre along k, j, i in voxels, (3, k, j, i), float16.
    """

    grid: Grid
    hu: Float
    shares: NDArray[np.float16]
    offsets: NDArray[np.float16]

    @property
    def spacing_mm(self) -> float:
        """Edge of a voxel."""
        return float(self.grid.spacing_mm[0])


def coarse_ct(ct: sitk.Image, spacing_mm: float) -> tuple[Float, Grid]:
    """Resample the CT to the network's grid; fine voxels are averaged, not picked."""
    image = ct
    shrink = [max(1, int(spacing_mm / s + 0.3)) for s in ct.GetSpacing()]
    shrink = [min(f, n) for f, n in zip(shrink, ct.GetSize(), strict=True)]
    if max(shrink) > 1:
        image = sitk.BinShrink(image, shrink)
    corners = grid_of(ct).corners_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.maximum(np.ceil((high - low) / spacing_mm - 1e-6).astype(int), 1)
    origin = 0.5 * (low + high) - 0.5 * (size - 1) * spacing_mm
    reference = sitk.Image(size.tolist(), sitk.sitkUInt8)
    reference.SetSpacing([spacing_mm] * 3)
    reference.SetOrigin(origin.tolist())
    # The CT ends half a voxel beyond its last centres: extrapolation fills that with its rim.
    resampled = sitk.Resample(
        image, reference, sitk.Transform(), sitk.sitkLinear, _AIR_HU, sitk.sitkFloat32, True
    )
    hu = sitk.GetArrayFromImage(resampled)
    if not _axes_aligned(ct):
        hu[_outside(ct, reference)] = _AIR_HU
    i, j, k = (int(n) for n in size)
    return hu, Grid((i, j, k), affine(spacing_mm * np.eye(3), origin))


def spine_field(ct: sitk.Image, network: Network, progress: ProgressCallback) -> SpineField:
    """Run the network where the spine is: cubes with bone first, then along what is found.

    Parameters
    ----------
    ct
        The CT in HU.
    network
        The network.
    progress
        Called before every cube; cancels by raising.
    """
    hu, grid = coarse_ct(ct, network.spacing_mm)
    total = np.zeros((len(CLASSES), *hu.shape), dtype=np.float32)
    way = np.zeros((3, *hu.shape), dtype=np.float32)
    weight = np.zeros(hu.shape, dtype=np.float32)
    window = _window(TILE)
    order = _Order(hu)
    for done, place in enumerate(order.places()):
        share = done / max(done + 6, order.likely)
        progress(Progress("label", share, f"Looking for vertebrae, part {done + 1}"))
        box, cube = _cut(hu, order.start(place))
        shares, offsets = network.run(cube)
        inner = tuple(slice(0, s.stop - s.start) for s in box)
        part = window[inner]
        k, j, i = box
        nk, nj, ni = part.shape
        total[:, k, j, i] += shares[:, :nk, :nj, :ni] * part
        way[:, k, j, i] += offsets[:, :nk, :nj, :ni] * part
        weight[box] += part
        spine = shares[list(_SPINE), :nk, :nj, :ni].sum(axis=0) > 0.5
        order.report(place, spine)
    seen = np.maximum(weight, np.float32(1e-6))
    total /= seen
    way /= seen
    return SpineField(grid, hu, total.astype(np.float16), way.astype(np.float16))


class _Order:
    """Which cubes to process: those with most bone until the spine is found, then neighbours."""

    def __init__(self, hu: Float) -> None:
        self._shape = hu.shape
        counts = [max(1, int(np.ceil((n - TILE) / STRIDE)) + 1) for n in hu.shape]
        self._starts = [
            np.rint(np.linspace(0, max(0, n - TILE), c)).astype(int)
            for n, c in zip(hu.shape, counts, strict=True)
        ]
        bone = ndimage.uniform_filter((hu > _BONE_HU).astype(np.float32), 3) > 0.3
        self._bone = {
            place: int(np.count_nonzero(bone[_box(self._shape, self.start(place))]))
            for place in np.ndindex(*counts)
        }
        self._done: set[tuple[int, ...]] = set()
        self._next: list[tuple[int, ...]] = []
        self._found = False
        self.likely = 1 + int(0.5 * len(self._bone))

    def start(self, place: tuple[int, ...]) -> tuple[int, int, int]:
        """First voxel of a cube."""
        k, j, i = (int(s[n]) for s, n in zip(self._starts, place, strict=True))
        return k, j, i

    def places(self) -> Iterator[tuple[int, ...]]:
        """Cubes to process, one after the other."""
        seeds = sorted(self._bone, key=lambda p: (-self._bone[p], p))
        tried = 0
        for seed in seeds:
            if seed in self._done or self._bone[seed] < _LEAST_BONE:
                continue
            if self._found and tried >= _SEEDS:
                break
            tried += 1
            self._next.append(seed)
            while self._next:
                place = self._next.pop(0)
                if place in self._done or self._bone[place] < _LEAST_BONE:
                    continue
                self._done.add(place)
                yield place

    def report(self, place: tuple[int, ...], spine: NDArray[np.bool_]) -> None:
        """Record what was found in a cube; its neighbours follow where the spine leaves it."""
        if np.count_nonzero(spine) < _FOUND_VOXELS:
            return
        self._found = True
        rim = (TILE - STRIDE) // 2 + 4
        for axis in range(3):
            low = [slice(None)] * 3
            high = [slice(None)] * 3
            low[axis], high[axis] = slice(0, rim), slice(-rim, None)
            for step, side in ((-1, tuple(low)), (1, tuple(high))):
                other = list(place)
                other[axis] += step
                inside = 0 <= other[axis] < len(self._starts[axis])
                if inside and np.count_nonzero(spine[side]) >= 10:
                    self._next.append(tuple(other))


def _box(shape: tuple[int, ...], start: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    k, j, i = (slice(s, min(s + TILE, n)) for s, n in zip(start, shape, strict=True))
    return k, j, i


def _cut(hu: Float, start: tuple[int, int, int]) -> tuple[tuple[slice, slice, slice], Float]:
    """A cube of the CT, padded with air to its full size."""
    box = _box(hu.shape, start)
    part = hu[box]
    cube = np.full((TILE,) * 3, _AIR_HU, dtype=np.float32)
    cube[tuple(slice(0, n) for n in part.shape)] = part
    return box, cube


def _window(n: int) -> Float:
    """Weight of a cube's voxels, falling towards its faces, where half the context is missing."""
    ramp = np.minimum(np.arange(n) + 1, n - np.arange(n)) / 12.0
    line = np.clip(ramp, 0.02, 1.0).astype(np.float32)
    return line[:, None, None] * line[None, :, None] * line[None, None, :]


def _axes_aligned(ct: sitk.Image) -> bool:
    direction = np.abs(np.asarray(ct.GetDirection()).reshape(3, 3))
    return bool(np.allclose(np.sort(direction, axis=1)[:, :2], 0, atol=1e-3))


def _outside(ct: sitk.Image, reference: sitk.Image) -> NDArray[np.bool_]:
    """Voxels of the reference that lie outside an oblique CT."""
    ones = sitk.Image(ct.GetSize(), sitk.sitkUInt8)
    ones.CopyInformation(ct)
    small = sitk.Add(sitk.Shrink(ones, [4, 4, 1]), 1)
    inside = sitk.Resample(small, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return np.asarray(sitk.GetArrayViewFromImage(inside) == 0)
