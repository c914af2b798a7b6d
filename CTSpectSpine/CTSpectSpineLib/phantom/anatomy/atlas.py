"""Atlas, axis, and a hint of the skull above them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.anatomy.body import body_shape
from CTSpectSpineLib.phantom.anatomy.column import Column
from CTSpectSpineLib.phantom.anatomy.shapes import Ellipsoid, Part, Solid, Tube
from CTSpectSpineLib.phantom.anatomy.vertebra import SIDES, Bone, Process, bar, bars, canal_cut

_ACROSS = np.array([1.0, 0.0, 0.0])
"""Convention: x of a bone's frame, to the patient's left."""
_BACK = np.array([0.0, 1.0, 0.0])
"""Convention: y of a bone's frame, posterior."""


def build_axis(column: Column) -> Bone:
    """Build C2: body with dens, lateral masses, strong laminae and spinous process."""
    vertebra = column["C2"]
    size = vertebra.size
    shape = replace(body_shape(vertebra), waist=0.10, hollow=(0.0, 1.6))
    superior = [Process.of(f, vertebra.pose, upper=False) for f in column.facets_of(lower="C2")]
    inferior = [Process.of(f, vertebra.pose, upper=True) for f in column.facets_of(upper="C2")]
    dens = (
        bar(
            _at(0, -1, 4),
            _at(0, -1.5, 16),
            (11.0, 9.4),
            (12.0, 9.4),
            3.0,
            _ACROSS,
        ),
        bar(
            _at(0, -1.5, 16),
            _at(0, -0.2, 22.5),
            (10.4, 7.5),
            (10.4, 7.5),
            1.5,
            _ACROSS,
        ),
    )
    parts: list[Part] = []
    back = 0.5 * size.depth + size.canal_depth
    for process in superior:
        foot = _at(process.side * 8.0, 0.0, 1.0)
        parts.append(bar(foot, process.middle, (13.0, 13.0), (11.0, 9.0), 3.0, _BACK))
        parts.append(process.plate())
    for process in inferior:
        side = process.side
        waist = _at(side * 17.5, 8.0, 0.0)
        top = next(p.middle for p in superior if p.side == side)
        parts.append(bar(top, waist, (10.0, 9.0), (9.0, 8.0), 3.0, _BACK))
        parts.append(bar(waist, process.middle, (9.0, 9.5), (8.5, 8.0), 3.0))
        parts.append(process.plate())
        inner = np.array([side * 1.5, back + 2.0, -3.5])
        parts.append(bar(waist + _at(0, 2, -1.5), inner, (12.0, 13.0), (5.6, 5.4), 3.0))
        tip = _at(side * 27.5, 4.5, -3.5)
        parts.append(bar(waist, tip + _at(0, 2, 0), (7.0, 5.5), (6.0, 4.5), 2.0))
        parts.append(bar(_at(side * 10, 1.0, -3.0), tip, (6.0, 5.0), (4.5, 4.0), 2.0))
        parts.append(Part(Tube(_at(side * 21.3, 3.0, -5.0), (2.8, 2.8), 13.0), 0.8, cut=True))
    start = np.array([0.0, back + 1.0, -4.0])
    tip = start + _at(0, size.spinous_length - 2.0, -6.0)
    parts.append(bar(start, tip, (13.0, 10.0), (8.0, 9.0), 3.0))
    for side in SIDES:
        fork = tip + _at(side * 5.5, 4.5, -3.0)
        parts.append(bar(tip - _at(0, 3, 0), fork, (9.0, 6.5), (6.5, 5.5), 2.5))
    canal = canal_cut(size.depth, size.canal_width, size.canal_depth, size.height)
    spaces = [p.space() for p in (*superior, *inferior)]
    body = (Part(shape, 0.0), *dens)
    whole = Solid(vertebra.pose, (Part(shape, 0.0), *parts, canal, *dens, *spaces))
    return Bone(vertebra, whole, Solid(vertebra.pose, body), shape)


def build_atlas(column: Column) -> Bone:
    """Build C1: lateral masses, both arches, transverse processes with their foramina."""
    vertebra = column["C1"]
    inferior = [Process.of(f, vertebra.pose, upper=True) for f in column.facets_of(upper="C1")]
    front = tuple(
        bar(
            _at(a[0] * side, a[1], 0),
            _at(b[0] * side, b[1], b[2]),
            (h,) * 2,
            (t,) * 2,
            2.0,
        )
        for side in SIDES
        for a, b, h, t in (
            ((15.0, -6.0), (8.0, -11.8, 0.0), 9.0, 6.0),
            ((8.0, -11.8), (0.0, -13.4, 0.5), 10.0, 6.5),
        )
    )
    parts: list[Part] = []
    for process in inferior:
        side = process.side
        mass = _at(side * 18.0, -0.5, -0.5)
        parts.append(Part(Ellipsoid(mass, (8.0, 10.5, 8.5)), 3.0))
        parts.append(bar(mass, process.middle, (15.0, 15.0), (13.0, 12.0), 3.0, _BACK))
        parts.append(process.plate())
        cup = _at(side * 16.5, -0.5, 13.5)
        parts.append(Part(Ellipsoid(cup, (8.0, 12.0, 9.0)), 1.0, cut=True))
        chain = (
            (20.0, 7.0, 0.0),
            (20.5, 14.0, 1.0),
            (14.5, 23.0, 0.5),
            (5.0, 28.8, 0.0),
            (0.0, 29.6, 0.0),
        )
        sizes = ((9.0, 7.5), (6.0, 6.5), (7.0, 5.5), (9.0, 5.5), (9.5, 6.0))
        parts += bars([_at(side * x, y, z) for x, y, z in chain], sizes, 2.0)
        half = 0.5 * vertebra.size.transverse_span
        tip = np.array([side * half, 2.0, -2.5])
        parts.append(bar(_at(side * 21, -4, -2), tip, (9.0, 8.0), (5.0, 6.0), 2.0))
        parts.append(bar(_at(side * 21, 8, -1), tip, (7.5, 8.0), (5.5, 6.0), 2.0))
        parts.append(Part(Tube(_at(side * 28.5, 2.2, -2.0), (3.2, 3.4), 24.0), 0.8, cut=True))
    ring = Part(Tube(_at(0, 8.5, 0), (13.2, 18.2), 60.0), 0.8, cut=True)
    spaces = [p.space() for p in inferior]
    whole = Solid(vertebra.pose, (*front, *parts, ring, *spaces))
    return Bone(vertebra, whole, Solid(vertebra.pose, (*front, ring)), None)


def build_skull(column: Column) -> tuple[Solid, Solid, Solid]:
    """Skull base, brain and mandible around the atlas: bone, soft tissue, bone."""
    pose = column["C1"].pose
    centre = _at(0, -8, 84)
    skull = [Part(Ellipsoid(centre, (73, 92, 72)), 0.0)]
    skull.append(Part(Ellipsoid(centre, (66, 85, 64)), 2.0, cut=True))
    for side in SIDES:
        skull.append(Part(Ellipsoid(_at(side * 16.5, -0.5, 15.0), (6.2, 10.0, 7.2)), 4.0))
        skull.append(Part(Ellipsoid(_at(side * 52, 0, 18), (10, 12, 20)), 5.0))
    skull.append(bar(_at(0, -16, 20), _at(0, -38, 40), (22, 30), (10, 16), 5.0, _ACROSS))
    skull.append(Part(Tube(_at(0, 9, 14), (15.5, 18), 34), 1.5, cut=True))
    brain = Part(Ellipsoid(centre, (66, 85, 64)), 0.0)
    jaw: list[Part] = []
    for side in SIDES:
        chain = ((48, -28, 22), (45, -36, -22), (32, -66, -30), (0, -92, -32))
        sizes = ((30.0, 8.0), (28.0, 9.0), (26.0, 10.0), (26.0, 12.0))
        for a, b, p, q in zip(chain, chain[1:], sizes, sizes[1:], strict=False):
            start, end = _at(side * a[0], a[1], a[2]), _at(side * b[0], b[1], b[2])
            up = _BACK if a[2] > 0 else np.array([0.0, 0.0, 1.0])
            jaw.append(bar(start, end, (p[0], q[0]), (p[1], q[1]), 4.0, up))
    return Solid(pose, tuple(skull)), Solid(pose, (brain,)), Solid(pose, tuple(jaw))


def _at(x: float, y: float, z: float) -> FloatArray:
    """A point."""
    return np.array([x, y, z])
