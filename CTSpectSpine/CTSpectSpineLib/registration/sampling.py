"""CT maps at SPECT resolution, sampled anywhere, and the SPECT voxels they are to explain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.geometry import Box, apply_matrix, content_box, inverse
from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.registration.blocks import Float32Array
from CTSpectSpineLib.registration.prepare import (
    BONE_CHANNELS,
    CtMaps,
    SpectMap,
    blur,
    column_lengths,
)

PATCH_MM = 60.0
"""Edge of the patches in which the uptake model is free, mm. Judgement: small enough for regional
uptake and missing attenuation correction to be even, large enough for bone and soft tissue in
each."""
NEAR_BONE_MM = 18.0
"""Only SPECT voxels this near to bone are explained, mm: the rest says little about its place.
Judgement: the coarse resolution, beyond which bone hardly blurs."""

LEAST_MEASURED = 0.9
"""Least share of a blurred map value that must come from measured CT. Numerical: reached 1.3
standard deviations of the blur inside the edge of the CT."""

_PLANES = 4
"""Planes of the SPECT that are looked through at a time. Numerical: they stay in the cache."""

IntArray = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class SampledMaps:
    """CT maps of one resolution, ready for sampling.

    Attributes
    ----------
    table
        Per voxel and channel the value, then d/di, d/dj, d/dk, shape (k, j, i, channels, 4).
    usable
        Voxels whose blurred value rests on measured CT, shape (k, j, i).
    near_bone
        Usable voxels in whose neighbourhood there is bone, shape (k, j, i).
    ijk_to_lps
        Index to LPS mm of the grid.
    """

    table: Float32Array
    usable: BoolArray
    near_bone: BoolArray
    ijk_to_lps: FloatArray

    @cached_property
    def near_box(self) -> Box | None:
        """Box (k, j, i) around what is near bone; None where nothing is."""
        return content_box(self.near_bone)


@dataclass(frozen=True)
class Points:
    """SPECT voxels to explain, sorted by patch.

    Attributes
    ----------
    positions_mm
        LPS mm in the SPECT, shape (n, 3).
    values
        SPECT there, relative to bone uptake, shape (n,).
    patch
        Number of the patch of each point, shape (n,).
    starts
        First point of each patch, shape (patches,).
    """

    positions_mm: FloatArray
    values: FloatArray
    patch: IntArray
    starts: IntArray

    @staticmethod
    def sorted_by(positions_mm: FloatArray, values: FloatArray, patch: IntArray) -> Points:
        """Points from patch ids in any numbering, sorted so that equal ids lie together."""
        _, number = np.unique(patch, return_inverse=True)
        order = np.argsort(number, kind="stable")
        number = number[order]
        starts = np.flatnonzero(np.diff(number, prepend=-1) > 0)
        return Points(positions_mm[order], values[order], number, starts)

    def subset(self, keep: BoolArray) -> Points:
        """The points where `keep` is true, shape (n,)."""
        if bool(np.all(keep)):
            return self
        return Points.sorted_by(self.positions_mm[keep], self.values[keep], self.patch[keep])

    def patch_sum(self, values: FloatArray) -> FloatArray:
        """Sum of values, shape (n, ...), over each patch, shape (patches, ...).

        No BLAS: the order of summation, and so the last digit, must not depend on threads.
        """
        return np.add.reduceat(values, self.starts, axis=0)


def sampled_maps(ct: CtMaps, fwhm_mm: float) -> SampledMaps:
    """Blur the CT maps, unbiased at the edge of what was measured, with their gradients."""
    valid = ct.valid.astype(np.float32)
    measured = blur(valid, fwhm_mm, ct.spacing_mm, outside="constant")
    weight = np.maximum(blur(valid, fwhm_mm, ct.spacing_mm), 1e-3)
    table = np.empty((*ct.channels.shape, 4), dtype=np.float32)
    for c in range(ct.channels.shape[-1]):
        smooth = blur(ct.channels[..., c] * valid, fwhm_mm, ct.spacing_mm) / weight
        table[..., c, 0] = smooth
        for axis, along in enumerate((2, 1, 0)):
            table[..., c, 1 + axis] = np.gradient(smooth, axis=along)
    usable = measured > LEAST_MEASURED
    near = _near_bone(ct) & usable
    return SampledMaps(table, usable, near, ct.ijk_to_lps)


def mirrored(maps: SampledMaps) -> SampledMaps:
    """Swap left and right of the maps, about the middle of the bone; see `reflected`."""
    return reflected(maps, 0)


def reflected(maps: SampledMaps, lps: int) -> SampledMaps:
    """Reverse the maps along an axis of the patient, about the middle of the bone.

    The result is a patient that does not exist, but that a SPECT with this axis reversed would
    fit.

    Parameters
    ----------
    maps
        Maps of one resolution.
    lps
        0 swaps left and right, 1 front and back, 2 head and feet.
    """
    matrix = maps.ijk_to_lps
    axis = int(np.argmax(np.abs(matrix[lps, :3]) / column_lengths(matrix)))
    along = 2 - axis
    weight = maps.table[..., BONE_CHANNELS[0], 0].sum(axis=tuple(a for a in range(3) if a != along))
    position = np.arange(len(weight))
    middle = float((position * weight).sum() / weight.sum())
    # Voxels stay where they are in memory; the axis runs the other way, about the middle of bone.
    turned = matrix.copy()
    turned[:3, axis] *= -1.0
    turned[:3, 3] += 2.0 * middle * matrix[:3, axis]
    return replace(maps, ijk_to_lps=turned)


def sample(maps: SampledMaps, points_mm: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Trilinear samples of the maps at CT points.

    Parameters
    ----------
    maps
        Maps of one resolution.
    points_mm
        CT points, LPS mm, shape (n, 3).

    Returns
    -------
    Values (n, channels), gradients per mm in LPS (n, channels, 3), and whether each point lies
    in the measured part of the CT (n,).
    """
    k, j, i = maps.usable.shape
    to_index = inverse(maps.ijk_to_lps)
    table, usable = maps.table.reshape(k * j * i, -1), maps.usable.reshape(-1)
    index: FloatArray = apply_matrix(to_index, points_mm)
    inside = np.ones(len(index), dtype=bool)
    nearest = np.zeros(len(index), dtype=np.int64)
    flat = np.zeros(len(index), dtype=np.int64)
    parts = []
    for axis, (size, stride) in enumerate(((i, 1), (j, i), (k, i * j))):
        along = index[:, axis]
        inside &= (along >= 0) & (along <= size - 1)
        along = np.minimum(np.maximum(along, 0.0), size - 1.0)
        base = np.minimum(along.astype(np.int64), size - 2)
        part = (along - base).astype(np.float32)
        flat += base * stride
        nearest += np.rint(along).astype(np.int64) * stride
        parts.append((1 - part, part))
    inside &= usable[nearest]
    total = np.zeros((len(index), table.shape[1]), dtype=np.float32)
    for corner in range(8):
        x, y, z = corner & 1, corner >> 1 & 1, corner >> 2 & 1
        weight = parts[0][x] * parts[1][y] * parts[2][z]
        total += weight[:, None] * table.take(flat + (x + y * i + z * i * j), axis=0)
    sampled = total.reshape(len(index), -1, 4).astype(np.float64)
    gradients = sampled[..., 1:] @ to_index[:3, :3]
    return sampled[..., 0], gradients, inside


def _near_bone(ct: CtMaps) -> BoolArray:
    """CT voxels within a cube of `NEAR_BONE_MM` about bone."""
    radius = np.maximum(1, np.rint(NEAR_BONE_MM / ct.spacing_mm)).astype(int)
    return (
        ndimage.maximum_filter(ct.bone, size=(2 * radius + 1)[::-1].tolist(), mode="nearest") > 0.3
    )


def near_bone_voxels(maps: SampledMaps, spect: SpectMap, spect_to_ct: FloatArray) -> IntArray:
    """Flat indices of the SPECT voxels that a pose puts near bone, ascending."""
    near = maps.near_bone
    box = maps.near_box
    if box is None:
        return np.zeros(0, dtype=np.intp)
    matrix = inverse(maps.ijk_to_lps) @ spect_to_ct @ spect.ijk_to_lps
    # Only where the box around what is near bone lies in the SPECT, and some planes at a time.
    corners = np.array(list(product(*((s.start - 1.0, s.stop) for s in box[::-1]))))
    reached = apply_matrix(inverse(matrix), corners)
    size = np.array(spect.values.shape[::-1])
    low = np.clip(np.floor(reached.min(axis=0)), 0, size).astype(int)
    high = np.clip(np.ceil(reached.max(axis=0)) + 1, low, size).astype(int)
    i = np.arange(low[0], high[0])
    j = np.arange(low[1], high[1])[:, None]
    found: list[IntArray] = [np.zeros(0, dtype=np.intp)]
    for first in range(int(low[2]), int(high[2]), _PLANES):
        k = np.arange(first, min(first + _PLANES, int(high[2])))[:, None, None]
        inside: BoolArray = np.ones((k.size, j.size, i.size), dtype=bool)
        nearest = []
        for axis in range(3):
            m = matrix[axis]
            index = (m[0] * i + m[3]) + m[1] * j + m[2] * k
            whole = np.rint(index, out=index).astype(np.int32)
            inside &= (whole >= 0) & (whole < near.shape[2 - axis])
            nearest.append(whole)
        x, y, z = (whole[inside] for whole in nearest)
        flat = (k * (size[0] * size[1]) + j * size[0] + i)[inside]
        found.append(flat[near[z, y, x]])
    return np.concatenate(found)


def points_of(spect: SpectMap, voxels: IntArray, spect_to_ct: FloatArray, most: int) -> Points:
    """Points of SPECT voxels, thinned at random (seeded), with patches laid out by a pose.

    Parameters
    ----------
    spect
        Prepared map.
    voxels
        Flat indices of voxels, ascending.
    spect_to_ct
        The pose, 4×4, that decides which voxels form a patch.
    most
        Most points to return.
    """
    if len(voxels) > most:
        voxels = np.sort(np.random.default_rng(0).permutation(voxels)[:most])
    kji = np.stack(np.unravel_index(voxels, spect.values.shape))
    positions: FloatArray = apply_matrix(spect.ijk_to_lps, kji[::-1].T.astype(np.float64))
    cell = np.floor(apply_matrix(spect_to_ct, positions) / PATCH_MM).astype(np.int64)
    patch = (cell - cell.min(axis=0)) @ np.array([1, 10_000, 100_000_000]) if len(cell) else cell
    chosen = spect.values.reshape(-1)[voxels].astype(np.float64)
    return Points.sorted_by(positions, chosen, patch.reshape(-1))


def choose_points(maps: SampledMaps, spect: SpectMap, spect_to_ct: FloatArray, most: int) -> Points:
    """SPECT voxels that a pose puts near bone, thinned at random (seeded), sorted by patch.

    Parameters
    ----------
    maps, spect
        Prepared maps.
    spect_to_ct
        The pose, 4×4.
    most
        Most points to return.
    """
    voxels = near_bone_voxels(maps, spect, spect_to_ct)
    return points_of(spect, voxels, spect_to_ct, most)
