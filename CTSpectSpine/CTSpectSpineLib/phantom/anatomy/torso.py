"""Soft tissue: outline, fat, muscles, lungs and organs, painted around the column.

Slices are painted one by one from profiles along the spine (``torso.json``); organs are
solids. It is a backdrop for registration and uptake, not an atlas of the organs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.anatomy import SACRUM
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.anatomy.canvas import HU, Canvas
from CTSpectSpineLib.phantom.anatomy.column import Column
from CTSpectSpineLib.phantom.anatomy.landmarks import Landmarks
from CTSpectSpineLib.phantom.anatomy.organs import Organ, organs_of
from CTSpectSpineLib.phantom.anatomy.shapes import IDENTITY, Box, Field, Grid, Solid
from CTSpectSpineLib.phantom.anatomy.vertebra import bars
from CTSpectSpineLib.phantom.model import Tissue

CANAL_HU = 28.0
"""Dural sac with cord. Judgement: between fluid (about 10) and cord (about 40)."""
BOWEL_HU = 32.0
"""Judgement: unenhanced bowel wall and content."""


def paint_torso(canvas: Canvas, column: Column, seed: int) -> None:
    """Paint everything but bone."""
    marks = Landmarks(column)
    nk = canvas.grid.shape[0]
    z = canvas.grid.matrix[2, 3] + np.arange(nk) * canvas.grid.spacing[2]
    slices = _Slices(marks, z)
    blobs = Blobs(canvas.grid, np.random.default_rng([seed, 3]))
    organs = [(o, canvas.grid.box_of(o.solid.bounds, o.solid.pose, 3.0)) for o in organs_of(marks)]
    seen = [(organ, box) for organ, box in organs if box is not None]
    x, y = _axes(canvas.grid)
    for k in range(nk):
        cavity = _paint_slice(canvas, k, x, y, slices, blobs.slice(k))
        for organ, box in seen:
            if box[0].start <= k < box[0].stop:
                _paint_organ(canvas, organ, (slice(k, k + 1), box[1], box[2]), cavity)
    canvas.paint_solid(canal_content(column), Tissue.MUSCLE, CANAL_HU)


def _paint_organ(canvas: Canvas, organ: Organ, box: Box, cavity: Field) -> None:
    """Paint one slice of an organ."""
    distance = organ.solid.distance(canvas.grid.part(box))
    if organ.in_cavity:
        distance = np.maximum(distance, cavity[box[1:]] + np.float32(2.0))
    where = np.isin(canvas.tissue[box], organ.over)
    canvas.paint(box, distance, organ.tissue, organ.hu, where)


def canal_content(column: Column) -> Solid:
    """The dural sac with the cord, from the skull to the sacrum."""
    middles, widths, depths = [], [], []
    for v in column.vertebrae:
        back = 0.5 * v.size.depth + 0.5 * v.size.canal_depth
        if v.name == "C1":
            middles.append(v.pose.to_world(np.array([0, 8.0, 40.0])))
            middles.append(v.pose.to_world(np.array([0, 13.0, 0.0])))
            widths += [24.0, 24.0]
            depths += [20.0, 20.0]
            continue
        middles.append(v.pose.to_world(np.array([0, back, 0.0])))
        widths.append(v.size.canal_width)
        depths.append(v.size.canal_depth)
    sizes = zip(depths, widths, strict=True)
    return Solid(IDENTITY, tuple(bars(middles, sizes, 2.0, np.array([0.0, 1.0, 0.0]))))


def _axes(grid: Grid) -> tuple[Field, Field]:
    """World x as a row and y as a column, float32."""
    x = grid.matrix[0, 3] + np.arange(grid.shape[2]) * grid.matrix[0, 0]
    y = grid.matrix[1, 3] + np.arange(grid.shape[1]) * grid.matrix[1, 1]
    return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]


class _Slices:
    """All profiles at the heights of the slices."""

    def __init__(self, marks: Landmarks, z: FloatArray) -> None:
        self.z = z
        self.x, self.y = marks.centre_line(z)
        for name in ("outline", "cage", "back_muscle", "psoas"):
            for key in ("half_width", "front", "back"):
                setattr(self, f"{name}_{key}", marks.profile(name, key, z))
        self.fat = marks.profile("outline", "fat", z)
        self.top_lung = marks.origin("T1")[2] + 8
        self.dome = marks.origin("T10")[2] + 12
        self.recess = marks.origin("T12")[2] - 5
        self.sacrum = marks.origin(SACRUM)[2]
        self.brim = marks.origin(SACRUM)[2] + 45
        self.psoas_top = marks.origin("T12")[2] - 8

    def of(self, name: str, k: int) -> tuple[float, float, float]:
        """Half width, front and back of a profile in one slice."""
        return tuple(
            float(getattr(self, f"{name}_{c}")[k]) for c in ("half_width", "front", "back")
        )  # type: ignore[return-value]


class Blobs:
    """Smooth random field with unit variance for bowel, fat streaks and vessels.

    White noise on a coarse lattice, interpolated by the cubic B-spline basis. Its spacing
    of 8 mm is a judgement: about as coarse as folds of bowel.
    """

    def __init__(self, grid: Grid, rng: np.random.Generator, scale_mm: float = 8.0) -> None:
        extent = np.asarray(grid.shape[::-1]) * grid.spacing
        count = np.ceil(extent / scale_mm).astype(int) + 4
        self._field = rng.standard_normal(tuple(count[::-1])).astype(np.float32)
        taps = [
            _cubic_taps(np.arange(n) * s / scale_mm)
            for n, s in zip(grid.shape[::-1], grid.spacing, strict=True)
        ]
        self._x, self._y, self._z = taps

    def slice(self, k: int) -> Field:
        """The field in one slice, ``[j, i]``."""
        start, weight = self._z
        plane = sum(weight[k, t] * self._field[start[k] + t] for t in range(4))
        start, weight = self._x
        rows = sum(weight[:, t] * plane[:, start + t] for t in range(4))
        start, weight = self._y
        result = sum(weight[:, t, None] * rows[start + t] for t in range(4))
        return np.asarray(result * np.float32(3.0), dtype=np.float32)


def _cubic_taps(position: FloatArray) -> tuple[NDArray[np.intp], Field]:
    """First lattice point and the four cubic B-spline weights at each position."""
    start = position.astype(np.intp)
    t = position - start
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1
    )
    return start, (weights / 6).astype(np.float32)


def _oval(
    x: Field, y: Field, centre: tuple[float, float], radii: tuple[float, float], square: float = 0.0
) -> Field:
    """Signed distance (mm) to an oval in a slice."""
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    u, v = (dx / np.float32(radii[0])) ** 2, (dy / np.float32(radii[1])) ** 2
    f = np.sqrt(u + v)
    if square:
        f = (1 - square) * f + square * np.sqrt(np.sqrt(u * u + v * v))
    r = np.sqrt(dx * dx + dy * dy)
    return np.asarray(r - r / np.maximum(f, np.float32(1e-3)))


def _profile_oval(
    x: Field, y: Field, s: _Slices, k: int, name: str, square: float, shrink: float = 0.0
) -> Field:
    """Signed distance to an oval profile around the column."""
    half, front, back = s.of(name, k)
    centre = (0.35 * float(s.x[k]), float(s.y[k]) + 0.5 * (back - front))
    radii = (max(half - shrink, 2.0), max(0.5 * (front + back) - shrink, 2.0))
    return _oval(x, y, centre, radii, square)


def _paint_slice(canvas: Canvas, k: int, x: Field, y: Field, s: _Slices, blob: Field) -> Field:
    """Paint one slice from the skin inwards."""
    z = float(s.z[k])
    cx, cy = float(s.x[k]), float(s.y[k])
    box = (slice(k, k + 1), slice(0, canvas.grid.shape[1]), slice(0, canvas.grid.shape[2]))
    skin = _profile_oval(x, y, s, k, "outline", 0.35)
    _, _, back_skin = s.of("outline", k)
    groove = np.maximum(1 - ((x - cx) / (22)) ** 2, 0) * np.clip((y - cy) / back_skin, 0, 1)
    skin = skin + np.float32(7) * groove.astype(np.float32)
    canvas.paint(box, skin[None], Tissue.FAT, HU[Tissue.FAT] + 6 * blob[None])
    canvas.paint(box, np.maximum(skin, -skin - 1.8)[None], Tissue.MUSCLE, 10.0)
    wall = skin + np.float32(s.fat[k])
    streaky = (55.0 + 6 * blob)[None]
    canvas.paint(box, wall[None], Tissue.MUSCLE, streaky)
    cavity = _profile_oval(x, y, s, k, "cage", 0.25)
    in_chest = z > s.recess
    # Fat between the wall's muscles and the cavity, and between the back muscles.
    seam = np.maximum(np.abs(cavity - np.float32(13)) - np.float32(1.2), wall + 3)
    canvas.paint(box, seam[None], Tissue.FAT)
    behind = np.float32(cy) - y
    if z < s.top_lung:
        canvas.paint(box, cavity[None], Tissue.FAT, HU[Tissue.FAT] + 8 * blob[None])
        if z < s.dome + 20:
            # Bowel thins out towards the retroperitoneal fat.
            sparse = np.clip((np.float32(52) - behind) / np.float32(16), 0, 4)
            bowel = np.maximum(cavity + 6, 7.0 * (0.08 + sparse - blob))
            canvas.paint(box, bowel[None], Tissue.MUSCLE, BOWEL_HU)
            gas = np.maximum(cavity + 16, 7.0 * (1.75 + sparse - blob))
            canvas.paint(box, gas[None], Tissue.AIR, -850.0)
    _paint_muscles(canvas, box, k, x, y, s, blob)
    if in_chest and z < s.top_lung:
        _paint_lungs(canvas, box, k, x, y, s, cavity, blob)
    return cavity


def _paint_muscles(
    canvas: Canvas, box: Box, k: int, x: Field, y: Field, s: _Slices, blob: Field
) -> None:
    """Back muscles, psoas, quadratus lumborum and the tissue around the bodies."""
    z = float(s.z[k])
    cx, cy = float(s.x[k]), float(s.y[k])
    if z > s.sacrum:
        around = _oval(x, y, (cx, cy), (21, 20))
        canvas.paint(box, around[None], Tissue.MUSCLE, 45.0)
    half, _, back = s.of("back_muscle", k)
    for side in (1.0, -1.0):
        centre = (cx + side * (half + 1.5), cy + back)
        muscle = _oval(x, y, centre, (half + 2, 24), 0.35)
        rind = np.maximum(np.abs(muscle - np.float32(1.2)) - np.float32(1.3), 0 * y + 0 * x - 1)
        canvas.paint(box, rind[None], Tissue.FAT, where=canvas.tissue[box] == Tissue.MUSCLE)
        canvas.paint(box, (muscle + 1.0)[None], Tissue.MUSCLE, (52.0 + 7 * blob)[None])
        split = np.maximum(np.abs(x - np.float32(cx + side * half)) - np.float32(0.8), muscle + 3)
        canvas.paint(box, np.maximum(split, np.float32(cy + back) - y)[None], Tissue.FAT, -60.0)
        if z < s.psoas_top:
            r, ahead, _ = s.of("psoas", k)
            lateral = 20 + 0.95 * r
            shape = _oval(x, y, (cx + side * lateral, cy - ahead + 4), (r, 1.15 * r))
            canvas.paint(box, shape[None], Tissue.MUSCLE, (55.0 + 4 * blob)[None])
            if z > s.brim:
                square = _oval(x, y, (cx + side * 62, cy + 30), (22, 9))
                canvas.paint(box, square[None], Tissue.MUSCLE)


def _paint_lungs(
    canvas: Canvas, box: Box, k: int, x: Field, y: Field, s: _Slices, cavity: Field, blob: Field
) -> None:
    """Lungs above the diaphragm, beside the mediastinum."""
    z = float(s.z[k])
    cx, cy = float(s.x[k]), float(s.y[k])
    half, front, back = s.of("cage", k)
    dy = (y - np.float32(cy + 0.5 * (back - front))) / np.float32(0.5 * (front + back))
    # The dome is high in the middle; the recess behind and at the sides reaches lower.
    reach = np.where(dy > 0, dy, np.float32(0.45) * dy)
    rim = np.minimum(np.sqrt((x / np.float32(half)) ** 2 + reach * reach), 1)
    floor = np.float32(s.dome) - np.float32(s.dome - s.recess) * rim**4
    below = floor - np.float32(z)
    for side in (1.0, -1.0):
        middle = np.float32(24) + (np.float32(12) if side > 0 else 0)
        taper = np.clip((np.float32(cy - 12) - y) / np.float32(40), 0, 1)
        edge = np.float32(12) + (middle - np.float32(8)) * taper
        lung = np.maximum(
            cavity + np.float32(3.0), edge - np.float32(side) * (x - np.float32(0.6 * cx))
        )
        spine = -_oval(x, y, (cx, cy), (23, 22))
        # Behind the bodies the pleura stays in front of ribs and transverse processes.
        gutter = (
            y
            - np.float32(cy + 10)
            - np.float32(0.7) * (np.abs(x - np.float32(cx)) - np.float32(20))
        )
        lung = np.maximum(np.maximum(lung, spine), np.maximum(below, gutter))
        texture = HU[Tissue.LUNG] + 22 * blob + 140 * np.clip(blob - 1.9, 0, 1)
        canvas.paint(box, lung[None], Tissue.LUNG, texture[None].astype(np.float32))
