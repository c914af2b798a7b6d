"""Signed-distance shapes, and their evaluation in tight boxes of a voxel grid.

A shape gives the approximate signed distance (mm, negative inside) to its surface at points of
its own frame; a `Solid` joins and cuts shapes in the frame of one bone; a `Grid` says where
the voxels are. Distances are exact only near the surface, which is all that masks and partial
volumes need. Arithmetic and square roots only: no function whose last bit depends on the
processor's vector width.

References
----------
Smooth union by a quadratic polynomial and ellipsoid bound: I. Quilez, "Smooth minimum" and
"Distance functions", iquilezles.org.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.model import BoolArray, FloatArray

Field = NDArray[np.float32]
"""Values at voxels, ``[k, j, i]``."""

Bounds = tuple[FloatArray, FloatArray]
"""Lower and upper corner of an axis-aligned box, each shape (3,), mm."""

Box = tuple[slice, slice, slice]
"""Slices ``[k, j, i]`` of a grid."""

FAR = 15.0
"""Distance (mm) given to voxels that no shape comes near. Numerical: well beyond `REACH`."""

REACH = 6.0
"""How far (mm) around a shape its distance is evaluated. Numerical: beyond any blend and voxel."""


@dataclass(frozen=True)
class Pose:
    """Frame of a bone: columns of `rotation` are its left, posterior and superior axes in LPS."""

    rotation: FloatArray
    origin: FloatArray

    def to_world(self, points: FloatArray) -> FloatArray:
        """Map local points, shape (..., 3), to LPS mm."""
        return np.asarray(np.asarray(points, dtype=float) @ self.rotation.T + self.origin)

    def to_local(self, points: FloatArray) -> FloatArray:
        """Map LPS points, shape (..., 3), to the local frame."""
        return (np.asarray(points, dtype=float) - self.origin) @ self.rotation

    def direction_to_local(self, vectors: FloatArray) -> FloatArray:
        """Rotate LPS vectors, shape (..., 3), into the local frame."""
        return np.asarray(vectors, dtype=float) @ self.rotation


IDENTITY = Pose(np.eye(3), np.zeros(3))
"""By definition: LPS itself."""


@dataclass(frozen=True)
class Grid:
    """A voxel grid: ``(i, j, k, 1)`` to LPS mm by `matrix`, array shape ``(nk, nj, ni)``."""

    matrix: FloatArray
    shape: tuple[int, int, int]

    @property
    def spacing(self) -> FloatArray:
        """Voxel size along i, j, k in mm."""
        return np.asarray(np.linalg.norm(self.matrix[:3, :3], axis=0))

    def part(self, box: Box) -> Grid:
        """The grid of a box of this one."""
        start = np.array([s.start for s in box[::-1]], dtype=float)
        matrix = self.matrix.copy()
        matrix[:3, 3] = self.matrix[:3, :3] @ start + self.matrix[:3, 3]
        n = [s.stop - s.start for s in box]
        return Grid(matrix, (n[0], n[1], n[2]))

    def box_of(self, bounds: Bounds, pose: Pose, margin: float) -> Box | None:
        """Box of voxels that covers local bounds plus a margin (mm), None when outside."""
        low, high = bounds[0] - margin, bounds[1] + margin
        corners = np.array(list(product(*zip(low, high, strict=True))))
        ijk = (pose.to_world(corners) - self.matrix[:3, 3]) @ np.linalg.inv(self.matrix[:3, :3]).T
        first = np.maximum(np.floor(ijk.min(axis=0)).astype(int), 0)
        last = np.minimum(np.ceil(ijk.max(axis=0)).astype(int) + 1, self.shape[::-1])
        if np.any(first >= last):
            return None
        i, j, k = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        return k, j, i

    def local(self, pose: Pose) -> tuple[Field, Field, Field]:
        """Coordinates x, y, z of all voxels in a pose's frame."""
        linear = pose.rotation.T @ self.matrix[:3, :3]
        offset = pose.rotation.T @ (self.matrix[:3, 3] - pose.origin)
        nk, nj, ni = self.shape
        axes = np.arange(ni), np.arange(nj)[:, None], np.arange(nk)[:, None, None]
        x, y, z = (
            (
                (linear[r, 0] * axes[0] + offset[r]).astype(np.float32)
                + (linear[r, 1] * axes[1]).astype(np.float32)
                + (linear[r, 2] * axes[2]).astype(np.float32)
            )
            for r in range(3)
        )
        return x, y, z


class Shape(Protocol):
    """Signed distance of a shape in its bone's frame."""

    @property
    def bounds(self) -> Bounds:
        """Box that holds the shape, local mm."""
        ...

    def __call__(self, x: Field, y: Field, z: Field) -> Field:
        """Distance (mm, negative inside) at local points."""
        ...


def union(a: Field, b: Field, k: float) -> Field:
    """Union of two distances, smooth over about `k` mm."""
    nearest = np.minimum(a, b)
    if k <= 0:
        return nearest
    h = np.maximum(np.float32(k) - np.abs(a - b), 0)
    h *= h
    h *= np.float32(0.25 / k)
    nearest -= h
    return nearest


def intersection(a: Field, b: Field, k: float) -> Field:
    """Intersection of two distances, smooth over about `k` mm."""
    return -union(-a, -b, k)


def keep_apart(first: Field, second: Field, gap_mm: float) -> None:
    """Withdraw two surfaces, in place, where they come nearer than a gap."""
    half = np.float32(0.5) * (first - second)
    gap = np.float32(0.5 * gap_mm)
    np.maximum(first, half + gap, out=first)
    np.maximum(second, gap - half, out=second)


@dataclass(frozen=True)
class Part:
    """One shape of a solid; `blend` is the width (mm) of its fillet, `cut` takes it away."""

    shape: Shape
    blend: float = 3.0
    cut: bool = False


@dataclass(frozen=True)
class Solid:
    """A bone: parts joined and cut in order, in the frame `pose`."""

    pose: Pose
    parts: tuple[Part, ...]
    bounds: Bounds = field(init=False)

    def __post_init__(self) -> None:
        """Work out the bounds."""
        boxes = [part.shape.bounds for part in self.parts if not part.cut]
        low = np.min([b[0] for b in boxes], axis=0)
        high = np.max([b[1] for b in boxes], axis=0)
        object.__setattr__(self, "bounds", (low, high))

    def distance(self, grid: Grid) -> Field:
        """Signed distance at the voxels of a grid, at most `FAR`."""
        total = np.full(grid.shape, FAR, dtype=np.float32)
        for part in self.parts:
            reach = part.blend + 1.0 if part.cut else REACH
            box = grid.box_of(part.shape.bounds, self.pose, reach)
            if box is None:
                continue
            d = part.shape(*grid.part(box).local(self.pose))
            if part.cut:
                total[box] = intersection(total[box], -d, part.blend)
            else:
                total[box] = union(total[box], d, part.blend)
        return total


def unit(vector: Sequence[float] | FloatArray) -> FloatArray:
    """Unit vector, shape (3,)."""
    v = np.asarray(vector, dtype=float)
    return np.asarray(v / np.linalg.norm(v))


@dataclass(frozen=True)
class Bar:
    """A bar with a stadium cross-section that tapers from `start` to `end`.

    Attributes
    ----------
    start, end
        Ends of the axis, local mm.
    height, thickness
        Full size along `up` and across it, at the start and at the end, in mm.
    up
        Direction of the height; made perpendicular to the axis.
    """

    start: FloatArray
    end: FloatArray
    height: tuple[float, float]
    thickness: tuple[float, float]
    up: FloatArray = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]))

    @property
    def bounds(self) -> Bounds:
        """Box that holds the bar, local mm."""
        r = 0.5 * max(*self.height, *self.thickness)
        return np.minimum(self.start, self.end) - r, np.maximum(self.start, self.end) + r

    def __call__(self, x: Field, y: Field, z: Field) -> Field:
        """Distance (mm, negative inside) at local points."""
        axis = np.asarray(self.end - self.start, dtype=float)
        length = max(float(np.linalg.norm(axis)), 1e-3)
        axis = axis / length
        up = np.asarray(self.up, dtype=float)
        up = unit(up - axis * float(up @ axis))
        side = np.cross(axis, up)
        c, u, w = (_dot(v, self.start, x, y, z) for v in (axis, up, side))
        s = np.clip(c * np.float32(1 / length), 0, 1)
        half_h = 0.5 * (self.height[0] + (self.height[1] - self.height[0]) * s)
        half_t = 0.5 * (self.thickness[0] + (self.thickness[1] - self.thickness[0]) * s)
        r = np.minimum(half_h, half_t)
        qu = np.abs(u) - (half_h - r)
        qw = np.abs(w) - (half_t - r)
        over = np.maximum(np.maximum(-c, c - np.float32(length)), 0)
        qu0, qw0 = np.maximum(qu, 0), np.maximum(qw, 0)
        return np.asarray(np.sqrt(qu0 * qu0 + qw0 * qw0 + over * over) - r)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid; rows of `axes` are the directions of the `radii`."""

    centre: FloatArray
    radii: tuple[float, float, float]
    axes: FloatArray = field(default_factory=lambda: np.eye(3))

    @property
    def bounds(self) -> Bounds:
        """Box that holds the ellipsoid, local mm."""
        reach = np.sqrt(((self.axes * np.asarray(self.radii)[:, None]) ** 2).sum(axis=0))
        return self.centre - reach, self.centre + reach

    def __call__(self, x: Field, y: Field, z: Field) -> Field:
        """Distance (mm, negative inside) at local points."""
        a, b, c = (
            _dot(axis, self.centre, x, y, z) * np.float32(1 / r)
            for axis, r in zip(self.axes, self.radii, strict=True)
        )
        k0 = np.sqrt(a * a + b * b + c * c)
        ra, rb, rc = (np.float32(1 / r) for r in self.radii)
        k1 = np.sqrt((a * ra) ** 2 + (b * rb) ** 2 + (c * rc) ** 2)
        return np.asarray(k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-6)))


@dataclass(frozen=True)
class Slab:
    """A rounded box; rows of `axes` are the directions of the full `size`."""

    centre: FloatArray
    size: tuple[float, float, float]
    axes: FloatArray = field(default_factory=lambda: np.eye(3))
    rounding: float = 1.0

    @property
    def bounds(self) -> Bounds:
        """Box that holds the slab, local mm."""
        reach = np.abs(self.axes * (0.5 * np.asarray(self.size))[:, None]).sum(axis=0)
        return self.centre - reach, self.centre + reach

    def __call__(self, x: Field, y: Field, z: Field) -> Field:
        """Distance (mm, negative inside) at local points."""
        q = [
            np.abs(_dot(axis, self.centre, x, y, z)) - np.float32(0.5 * n - self.rounding)
            for axis, n in zip(self.axes, self.size, strict=True)
        ]
        inside = np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0)
        p = [np.maximum(v, 0) for v in q]
        return np.asarray(
            inside + np.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2) - np.float32(self.rounding)
        )


@dataclass(frozen=True)
class Tube:
    """An elliptic cylinder along local z (the vertebral canal, foramina).

    Attributes
    ----------
    centre
        Middle of the axis, local mm.
    radii
        Half width (x) and half depth (y) in mm.
    length
        Length along z in mm.
    pinch
        Narrowing of the width towards posterior, 0 (ellipse) to about 0.6 (triangle).
    """

    centre: FloatArray
    radii: tuple[float, float]
    length: float
    pinch: float = 0.0

    @property
    def bounds(self) -> Bounds:
        """Box that holds the tube, local mm."""
        reach = np.array([self.radii[0] * (1 + self.pinch), self.radii[1], 0.5 * self.length])
        return self.centre - reach, self.centre + reach

    def __call__(self, x: Field, y: Field, z: Field) -> Field:
        """Distance (mm, negative inside) at local points."""
        rx, ry = self.radii
        dx, dy = x - np.float32(self.centre[0]), y - np.float32(self.centre[1])
        wide = np.float32(rx) * (1 - np.float32(self.pinch / ry) * np.clip(dy, -ry, ry))
        f = np.sqrt((dx / wide) ** 2 + (dy / np.float32(ry)) ** 2)
        radial = np.sqrt(dx * dx + dy * dy)
        d = radial - radial / np.maximum(f, np.float32(1e-3))
        end = np.abs(z - np.float32(self.centre[2])) - np.float32(0.5 * self.length)
        return np.asarray(np.maximum(d, end))


def curve_through(points: FloatArray, share: FloatArray) -> FloatArray:
    """Points at the given shares of a Catmull-Rom curve, shape (n, 3)."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    knots = np.concatenate([[0], np.cumsum(steps)]) / steps.sum()
    slopes = np.gradient(points, knots, axis=0)
    index = np.clip(np.searchsorted(knots, share, side="right") - 1, 0, len(points) - 2)
    width = (knots[index + 1] - knots[index])[:, None]
    t = ((share - knots[index])[:, None]) / width
    a, b, m, n = points[index], points[index + 1], slopes[index] * width, slopes[index + 1] * width
    return np.asarray(
        (2 * t**3 - 3 * t**2 + 1) * a
        + (t**3 - 2 * t**2 + t) * m
        + (3 * t**2 - 2 * t**3) * b
        + (t**3 - t**2) * n
    )


def _dot(vector: FloatArray, origin: FloatArray, x: Field, y: Field, z: Field) -> Field:
    """Component of the points along a vector, from an origin."""
    shift = np.float32(np.dot(vector, origin))
    a, b, c = (np.float32(v) for v in vector)
    return np.asarray(a * x + b * y + c * z - shift)


def coverage(distance: Field, voxel_mm: float) -> Field:
    """Share of a voxel (0 to 1) inside a surface at this signed distance."""
    return np.asarray(np.clip(np.float32(0.5) - distance * np.float32(1 / voxel_mm), 0, 1))


def inside(distance: Field) -> BoolArray:
    """Voxels whose centre lies inside."""
    return distance < 0
