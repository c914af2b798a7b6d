"""CT maps at SPECT resolution, sampled anywhere, and the SPECT voxels they are to explain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.geometry import apply_matrix, inverse
from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.registration.blocks import Float32Array
from CTSpectSpineLib.registration.blurring import blur, blurred_ones
from CTSpectSpineLib.registration.prepare import (
    BONE_CHANNELS,
    CtMaps,
    SpectMap,
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

_TRIED_PER_POINT = 4
"""SPECT voxels that are looked at, at a time, for every point wanted. Numerical: a fourth to a
tenth of them lie near bone."""

IntArray = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class SampledMaps:
    """CT maps of one resolution, ready for sampling.

    Attributes
    ----------
    channels
        Blurred maps, shape (channels, k, j, i).
    usable
        Voxels whose blurred value rests on measured CT, shape (k, j, i).
    near_bone
        Usable voxels in whose neighbourhood there is bone, shape (k, j, i).
    ijk_to_lps
        Index to LPS mm of the grid.
    """

    channels: Float32Array
    usable: BoolArray
    near_bone: BoolArray
    ijk_to_lps: FloatArray


@dataclass(frozen=True)
class Samples:
    """CT maps about points, linear between the voxels.

    Attributes
    ----------
    corners
        The maps at the voxels around each point, shape (channels, 2, 2, 2, n), in the order k,
        j, i.
    place
        Place of each point between them along i, j, k, 0 to 1, shape (3, n).
    to_index
        Index per mm of LPS, shape (3, 3).
    inside
        Whether each of the points asked for lies in the measured part of the CT; only those that
        do are among the n.
    """

    corners: Float32Array
    place: Float32Array
    to_index: FloatArray
    inside: BoolArray

    @property
    def values(self) -> Float32Array:
        """The maps at the points, shape (channels, n)."""
        found = self.corners
        for along in self.place[::-1]:
            found = found[:, 0] + along * (found[:, 1] - found[:, 0])
        return found

    def slope(self, coefficients: FloatArray) -> FloatArray:
        """Gradient per mm (LPS) of a mixture of the maps, shape (3, n).

        Parameters
        ----------
        coefficients
            Of the mixture at each point, shape (channels, n).
        """
        mixed = self.corners[0] * coefficients[0]
        for channel, share in zip(self.corners[1:], coefficients[1:], strict=True):
            mixed += channel * share
        i, j, _ = self.place
        along_k = mixed[1] - mixed[0]
        plane = mixed[0] + self.place[2] * along_k
        along_j = plane[1] - plane[0]
        line = plane[0] + j * along_j
        k_line = along_k[0] + j * (along_k[1] - along_k[0])
        steps = np.empty((3, len(i)))
        steps[0] = line[1] - line[0]
        steps[1] = along_j[0] + i * (along_j[1] - along_j[0])
        steps[2] = k_line[0] + i * (k_line[1] - k_line[0])
        to_index = self.to_index
        return np.stack([(to_index[:, axis, None] * steps).sum(axis=0) for axis in range(3)])


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
        order = np.argsort(patch, kind="stable")
        return Points._of_sorted(positions_mm[order], values[order], patch[order])

    @staticmethod
    def _of_sorted(positions_mm: FloatArray, values: FloatArray, patch: IntArray) -> Points:
        """Points whose equal ids lie together already."""
        begins = np.ones(len(patch), dtype=bool)
        begins[1:] = patch[1:] != patch[:-1]
        return Points(positions_mm, values, np.cumsum(begins) - 1, np.flatnonzero(begins))

    def subset(self, keep: BoolArray) -> Points:
        """The points where `keep` is true, shape (n,)."""
        if bool(np.all(keep)):
            return self
        return self._of_sorted(self.positions_mm[keep], self.values[keep], self.patch[keep])

    def at_points(self, of_patches: FloatArray) -> FloatArray:
        """Values of the patches, shape (..., patches), at each of their points, (..., n)."""
        return np.take(of_patches, self.patch, axis=-1)

    def patch_sum(self, values: FloatArray) -> FloatArray:
        """Sum of values, shape (..., n), over each patch, shape (patches, ...).

        No BLAS: the order of summation, and so the last digit, must not depend on threads.
        """
        return np.moveaxis(np.add.reduceat(values, self.starts, axis=-1), -1, 0)

    def products(self, rows: FloatArray, others: FloatArray | None = None) -> FloatArray:
        """Sums over each patch of the products of rows, shape (patches, rows, others).

        Parameters
        ----------
        rows, others
            Shapes (rows, n) and (others, n). Without others, see `squares`.
        """
        others = rows if others is None else others
        total = np.empty((len(rows), len(others), len(self.starts)))
        for row, into in zip(rows, total, strict=True):
            np.add.reduceat(row * others, self.starts, axis=1, out=into)
        return np.moveaxis(total, -1, 0)

    def squares(self, rows: FloatArray, weight: FloatArray) -> FloatArray:
        """Weighted sums over each patch of the products of rows (m, n), shape (patches, m, m)."""
        count = len(rows)
        total = np.empty((count, count, len(self.starts)))
        for a in range(count):
            sums = np.add.reduceat((rows[a] * weight) * rows[a:], self.starts, axis=1)
            total[a, a:], total[a:, a] = sums, sums
        return np.moveaxis(total, -1, 0)


def sampled_maps(ct: CtMaps, fwhm_mm: float) -> SampledMaps:
    """Blur the CT maps, unbiased at the edge of what was measured."""
    valid = ct.valid.astype(np.float32)
    whole = bool(ct.valid.all())
    if whole:
        measured = blurred_ones(valid.shape, fwhm_mm, ct.spacing_mm)
    else:
        measured = blur(valid, fwhm_mm, ct.spacing_mm, outside="constant")
        weight = np.maximum(blur(valid, fwhm_mm, ct.spacing_mm), 1e-3)
    channels = np.empty((ct.channels.shape[-1], *ct.valid.shape), dtype=np.float32)
    for channel, blurred in enumerate(channels):
        values = np.ascontiguousarray(ct.channels[..., channel])
        if whole:
            blurred[...] = blur(values, fwhm_mm, ct.spacing_mm)
        else:
            np.divide(blur(values * valid, fwhm_mm, ct.spacing_mm), weight, out=blurred)
    usable = measured > LEAST_MEASURED
    near = _near_bone(ct) & usable
    return SampledMaps(channels, usable, near, ct.ijk_to_lps)


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
    weight = maps.channels[BONE_CHANNELS[0]].sum(axis=tuple(a for a in range(3) if a != along))
    position = np.arange(len(weight))
    middle = float((position * weight).sum() / weight.sum())
    # Voxels stay where they are in memory; the axis runs the other way, about the middle of bone.
    turned = matrix.copy()
    turned[:3, axis] *= -1.0
    turned[:3, 3] += 2.0 * middle * matrix[:3, axis]
    return replace(maps, ijk_to_lps=turned)


def sample(maps: SampledMaps, points_mm: FloatArray) -> Samples:
    """Sample the maps at CT points.

    Parameters
    ----------
    maps
        Maps of one resolution.
    points_mm
        CT points, LPS mm, shape (n, 3).
    """
    k, j, i = maps.usable.shape
    to_index = inverse(maps.ijk_to_lps)
    index: FloatArray = to_index[:3, :3] @ points_mm.T + to_index[:3, 3:]
    last = np.array([[i], [j], [k]]) - 1.0
    inside: BoolArray = np.all((index >= 0) & (index <= last), axis=0)
    stride = np.array([[1], [i], [i * j]])
    if not inside.all():
        index = index[:, inside]
    nearest = (np.rint(index).astype(np.int64) * stride).sum(axis=0)
    usable = maps.usable.reshape(-1).take(nearest)
    if not usable.all():
        index = index[:, usable]
        inside[inside] = usable
    base = np.minimum(index.astype(np.int64), last.astype(np.int64) - 1)
    corners = np.array([z * i * j + y * i + x for z in (0, 1) for y in (0, 1) for x in (0, 1)])
    flat = (base * stride).sum(axis=0) + corners[:, None]
    table = maps.channels.reshape(len(maps.channels), -1)
    around = np.empty((len(table), 2, 2, 2, index.shape[1]), dtype=np.float32)
    for channel, found in zip(table, around, strict=True):
        channel.take(flat, out=found.reshape(8, -1), mode="clip")
    return Samples(around, (index - base).astype(np.float32), to_index[:3, :3], inside)


def _near_bone(ct: CtMaps) -> BoolArray:
    """CT voxels within a cube of `NEAR_BONE_MM` about bone."""
    radius = np.maximum(1, np.rint(NEAR_BONE_MM / ct.spacing_mm)).astype(int)
    return (
        ndimage.maximum_filter(ct.bone, size=(2 * radius + 1)[::-1].tolist(), mode="nearest") > 0.3
    )


@dataclass(frozen=True)
class Placed:
    """CT maps and a pose, 4×4, that puts the SPECT on them."""

    maps: SampledMaps
    spect_to_ct: FloatArray

    def near_bone(self, spect: SpectMap, ijk: NDArray[np.int16]) -> BoolArray:
        """Whether the pose puts SPECT voxels, shape (3, n), near bone."""
        near = self.maps.near_bone
        k, j, i = near.shape
        matrix = (inverse(self.maps.ijk_to_lps) @ self.spect_to_ct @ spect.ijk_to_lps).astype(
            np.float32
        )
        inside: BoolArray = np.ones(ijk.shape[1], dtype=bool)
        flat = np.zeros(ijk.shape[1], dtype=np.int32)
        for row, size, stride in zip(matrix, (i, j, k), (1, i, i * j), strict=False):
            along = row[0] * ijk[0] + row[3]
            along += row[1] * ijk[1]
            along += row[2] * ijk[2]
            nearest = np.rint(along, out=along).astype(np.int32)
            inside &= (nearest >= 0) & (nearest < size)
            flat += nearest * np.int32(stride)
        inside[inside] = near.reshape(-1).take(flat[inside])
        return inside


def choose_points(spect: SpectMap, most: int, place: Placed, other: Placed | None = None) -> Points:
    """SPECT voxels that a pose puts near bone, thinned at random (seeded), sorted by patch.

    Parameters
    ----------
    spect
        Prepared map.
    most
        Most points to return.
    place
        Maps and the pose, which also decides which voxels form a patch.
    other
        Another one: voxels that either puts near bone are chosen.
    """
    shuffled = spect.shuffled
    found: list[IntArray] = []
    missing = most
    for first in range(0, shuffled.shape[1], _TRIED_PER_POINT * most):
        ijk = shuffled[:, first : first + _TRIED_PER_POINT * most]
        near = place.near_bone(spect, ijk)
        if other is not None:
            near |= other.near_bone(spect, ijk)
        found.append(ijk[:, near][:, :missing])
        missing -= found[-1].shape[1]
        if not missing:
            break
    i, j, k = np.concatenate(found, axis=1).astype(np.int32)
    _, rows, columns = spect.values.shape
    # In the order of the voxels, so that what lies near is looked up together.
    voxels = np.sort((k * rows + j) * columns + i)
    ijk = np.stack(np.unravel_index(voxels, spect.values.shape)[::-1])
    positions = apply_matrix(spect.ijk_to_lps, ijk.T)
    cell = np.floor(apply_matrix(place.spect_to_ct, positions).T / PATCH_MM).astype(np.int64)
    if cell.size:
        cell -= cell.min(axis=1, keepdims=True)
    patch = (cell[2] * (1 + cell[1].max(initial=0)) + cell[1]) * (1 + cell[0].max(initial=0))
    patch += cell[0]
    if patch.max(initial=0) < 1 << 16:
        # Small numbers are sorted faster.
        patch = patch.astype(np.uint16)
    return Points.sorted_by(positions, spect.values.reshape(-1)[voxels].astype(np.float64), patch)
