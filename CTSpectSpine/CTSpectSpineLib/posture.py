"""How a spine lies in the SPECT where that differs from the CT: a small motion per vertebra.

A rigid registration is one motion of the whole body. What it leaves where the spine is bent
differently is a further motion of each vertebra, rigid within the vertebra and blended between
neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.geometry import FloatArray, Grid, affine, apply_matrix, grid_of, inverse

NEAR_MM, FAR_MM = 60.0, 120.0
"""Distance from the line through the vertebrae up to which what surrounds them moves along, and
from which nothing does, mm. Judgement: all of a vertebra and of the sacrum's segments; ribs' ends,
hips and the abdomen follow the whole body."""
STEP_MM = 8.0
"""Grid of a displacement that is handed to an image filter, mm. Numerical: a vertebra's height is
three of them and more, and linear interpolation between them errs by less than 0.1 mm."""
CHUNK = 65536
"""Points moved at once. Numerical: bounds the memory."""
Motion = Callable[[FloatArray], FloatArray]
_PASSES = 12
"""Passes of the inverse. Numerical: each leaves a third or less of the error, as displacements
change by less than that from point to point."""


@dataclass(frozen=True)
class VertebraMotion:
    """How one vertebra lies in the SPECT, beyond the rigid registration.

    Attributes
    ----------
    level
        Name of the vertebra.
    centre_mm
        Centre of its body in the CT, LPS mm, shape (3,).
    shift_mm
        Displacement of the centre, LPS mm in the CT's frame, shape (3,).
    turn_deg
        Rotation about the centre: vector of rotation, degrees about x, y, z of LPS, shape (3,).
    error_mm
        Root mean square error of the vertebra's place that remains, 1 SD, mm.
    """

    level: str
    centre_mm: FloatArray
    shift_mm: FloatArray
    turn_deg: FloatArray
    error_mm: float

    def record(self) -> dict[str, Any]:
        """The motion as ``registration.json`` writes it."""
        return {
            "level": self.level,
            "centre_mm": [float(v) for v in self.centre_mm],
            "shift_mm": [float(v) for v in self.shift_mm],
            "turn_deg": [float(v) for v in self.turn_deg],
            "error_mm": float(self.error_mm),
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> VertebraMotion:
        """What `record` wrote."""
        centre, shift, turn = (
            np.array(record[key], dtype=float) for key in ("centre_mm", "shift_mm", "turn_deg")
        )
        return VertebraMotion(str(record["level"]), centre, shift, turn, float(record["error_mm"]))


@dataclass(frozen=True)
class Posture:
    """The motions of all vertebrae; at least two.

    Attributes
    ----------
    vertebrae
        Cranial to caudal.
    """

    vertebrae: tuple[VertebraMotion, ...]

    @cached_property
    def chain(self) -> Chain:
        """The vertebrae's centres, between which motions are blended."""
        return Chain.of(np.array([v.centre_mm for v in self.vertebrae]))

    @cached_property
    def _motions(self) -> tuple[FloatArray, FloatArray]:
        return (
            np.array([v.shift_mm for v in self.vertebrae]),
            np.deg2rad([v.turn_deg for v in self.vertebrae]),
        )

    @property
    def largest_shift_mm(self) -> float:
        """Largest displacement of a vertebra's centre, mm."""
        return float(np.linalg.norm(self._motions[0], axis=1).max())

    @property
    def largest_turn_deg(self) -> float:
        """Largest rotation of a vertebra, degrees."""
        return float(np.rad2deg(np.linalg.norm(self._motions[1], axis=1).max()))

    def moved(self, points_mm: FloatArray) -> FloatArray:
        """Where points of the CT lie in the SPECT, before the rigid transform, shape (n, 3)."""
        return self._in_chunks(points_mm, lambda part: part + self._shift(part))

    def back(self, points_mm: FloatArray) -> FloatArray:
        """Which points of the CT `moved` brings to the given ones, shape (n, 3)."""
        return self._in_chunks(points_mm, self._back)

    def rigid_at(self, point_mm: FloatArray) -> FloatArray:
        """The motion of what lies about a point of the CT, as a rigid 4×4 matrix."""
        weights = self.chain.weights(point_mm[None])
        turn = Rotation.from_rotvec((weights @ self._motions[1])[0]).as_matrix()
        return affine(turn, self.moved(point_mm[None])[0] - turn @ point_mm)

    def back_transform(self, grid: Grid) -> sitk.DisplacementFieldTransform:
        """`back` for the points of a grid, as a transform for resampling in the CT's frame."""
        return _field(self.back, grid, np.eye(4))

    def _back(self, points_mm: FloatArray) -> FloatArray:
        source = points_mm
        for _ in range(_PASSES):
            source = points_mm - self._shift(source)
        return source

    def _shift(self, points_mm: FloatArray) -> FloatArray:
        return self.chain.displacement(points_mm, *self._motions)

    def record(self) -> dict[str, Any]:
        """The motions as ``registration.json`` writes them."""
        return {
            "largest_shift_mm": self.largest_shift_mm,
            "largest_turn_deg": self.largest_turn_deg,
            "vertebrae": [vertebra.record() for vertebra in self.vertebrae],
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Posture:
        """What `record` wrote."""
        return Posture(tuple(VertebraMotion.from_record(row) for row in record["vertebrae"]))

    def straightened(self, spect: sitk.Image, ct_to_spect: FloatArray) -> sitk.Image:
        """The SPECT on its own grid with the spine as it lies in the CT, for pictures.

        Interpolation averages voxels, so nothing is measured in it but what is placed by eye.
        """
        field = _field(self.moved, grid_of(spect), ct_to_spect)
        resample = sitk.ResampleImageFilter()
        resample.SetReferenceImage(spect)
        resample.SetTransform(field)
        resample.SetInterpolator(sitk.sitkLinear)
        resample.SetUseNearestNeighborExtrapolator(True)
        return resample.Execute(spect)

    @staticmethod
    def _in_chunks(points_mm: FloatArray, change: Motion) -> FloatArray:
        points = np.asarray(points_mm, dtype=float)
        parts = [change(points[n : n + CHUNK]) for n in range(0, len(points), CHUNK)]
        return np.concatenate(parts) if parts else points


@dataclass(frozen=True)
class Chain:
    """Centres of neighbouring vertebrae, and how much of each one's motion a point makes.

    Attributes
    ----------
    centres_mm
        LPS mm, cranial to caudal, shape (n, 3), n at least 2.
    axis
        Unit vector along the chain, shape (3,).
    places_mm
        Centres along the axis, ascending, shape (n,); ``order`` sorts them like this.
    order
        Number of the vertebra at each place, shape (n,).
    """

    centres_mm: FloatArray
    axis: FloatArray
    places_mm: FloatArray
    order: NDArray[np.intp]

    @staticmethod
    def of(centres_mm: FloatArray) -> Chain:
        """The chain of some centres."""
        axis = centres_mm[0] - centres_mm[-1]
        axis = axis / np.linalg.norm(axis)
        along = centres_mm @ axis
        order = np.argsort(along, kind="stable")
        return Chain(centres_mm, axis, along[order], order)

    def weights(self, points_mm: FloatArray) -> FloatArray:
        """Share of each vertebra's motion at points, shape (n, vertebrae); rows sum to 1.

        It is 1 at a vertebra's height and falls to 0 at its neighbours', without a kink at
        either; beyond the ends of the chain the last vertebra's motion goes on.
        """
        along = np.clip(points_mm @ self.axis, self.places_mm[0], self.places_mm[-1])
        lower = np.clip(
            np.searchsorted(self.places_mm, along, side="right") - 1, 0, len(self.places_mm) - 2
        )
        low, high = self.places_mm[lower], self.places_mm[lower + 1]
        part = _smooth((along - low) / np.maximum(high - low, 1e-6))
        weights = np.zeros((len(along), len(self.places_mm)))
        rows = np.arange(len(along))
        weights[rows, self.order[lower]] = 1.0 - part
        weights[rows, self.order[lower + 1]] = part
        return weights

    def distance_mm(self, points_mm: FloatArray) -> FloatArray:
        """Distance of points from the line through the centres, shape (n,)."""
        line = self.centres_mm[self.order]
        nearest = np.full(len(points_mm), np.inf)
        for start, end in pairwise(line):
            along = end - start
            away = points_mm - start
            part = np.clip(away @ along / max(float(along @ along), 1e-9), 0.0, 1.0)
            nearest = np.minimum(nearest, np.sum((away - part[:, None] * along) ** 2, axis=1))
        return np.asarray(np.sqrt(nearest))

    def nearness(self, points_mm: FloatArray) -> FloatArray:
        """How much points follow the spine at all, 1 near it to 0 far from it, shape (n,)."""
        return 1.0 - _smooth((self.distance_mm(points_mm) - NEAR_MM) / (FAR_MM - NEAR_MM))

    def displacement(
        self, points_mm: FloatArray, shifts_mm: FloatArray, turns: FloatArray
    ) -> FloatArray:
        """Displacement of points, shape (n, 3), by motions of the vertebrae.

        Parameters
        ----------
        points_mm
            LPS mm, shape (n, 3).
        shifts_mm, turns
            Of each vertebra: displacement of the centre, mm, and vector of rotation, rad, shape
            (vertebrae, 3).
        """
        linear, offset = self.blended(self.weights(points_mm), shifts_mm, turns)
        moved = np.einsum("nij,nj->ni", linear, points_mm) + offset
        return np.asarray(moved * self.nearness(points_mm)[:, None])

    def blended(
        self, weights: FloatArray, shifts_mm: FloatArray, turns: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Displacement near the spine as ``linear @ point + offset``, (n, 3, 3) and (n, 3).

        ``weights`` are those of `weights`; the motions are as in `displacement`.
        """
        linear = Rotation.from_rotvec(turns).as_matrix() - np.eye(3)
        offset = shifts_mm - np.einsum("vij,vj->vi", linear, self.centres_mm)
        # No BLAS: the last digit must not depend on threads.
        return (
            np.einsum("nv,vij->nij", weights, linear),
            np.einsum("nv,vi->ni", weights, offset),
        )


def _smooth(share: FloatArray) -> FloatArray:
    """0 up to 0, 1 from 1 on, without a kink between."""
    part = np.clip(share, 0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part))


def _field(change: Motion, grid: Grid, to_ct_from: FloatArray) -> sitk.DisplacementFieldTransform:
    """Displacements over a grid whose points a matrix from CT points leads to."""
    step = np.maximum(STEP_MM / grid.spacing_mm, 1.0)
    # One cell more on each side: the field ends beyond the grid's last voxel.
    n = np.ceil((np.array(grid.size) - 1) / step).astype(int) + 3
    matrix = affine(grid.ijk_to_lps[:3, :3] * step, apply_matrix(grid.ijk_to_lps, -step[None])[0])
    index = np.indices(tuple(n[::-1].tolist()))[::-1].reshape(3, -1).T
    points = apply_matrix(matrix, index)
    there = apply_matrix(to_ct_from, change(apply_matrix(inverse(to_ct_from), points)))
    image = sitk.GetImageFromArray((there - points).reshape(*n[::-1], 3), isVector=True)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    return sitk.DisplacementFieldTransform(image)
