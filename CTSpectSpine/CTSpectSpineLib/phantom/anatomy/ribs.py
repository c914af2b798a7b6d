"""Ribs, costal cartilage and sternum on the rib cage of ``torso.json``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.anatomy.column import Column, Vertebra, row_of
from CTSpectSpineLib.phantom.anatomy.landmarks import Landmarks
from CTSpectSpineLib.phantom.anatomy.shapes import IDENTITY, Bar, Part, Solid, curve_through
from CTSpectSpineLib.phantom.anatomy.vertebra import bars


@dataclass(frozen=True)
class _Course:
    """How far round the cage a rib runs (degrees from behind), its fall, its cartilage's end."""

    end_deg: float
    fall: float
    cartilage_deg: float


_COURSES = {
    1: _Course(128, 28, 158),
    2: _Course(134, 42, 166),
    3: _Course(138, 56, 168),
    4: _Course(138, 68, 170),
    5: _Course(136, 80, 170),
    6: _Course(132, 90, 168),
    7: _Course(126, 98, 166),
    8: _Course(118, 100, 150),
    9: _Course(110, 100, 138),
    10: _Course(100, 92, 122),
    11: _Course(72, 62, 0),
    12: _Course(46, 40, 0),
}
"""Course of each rib. Judgement: drawn to look like an adult's rib cage, not measured."""


def build_ribs(column: Column) -> list[tuple[Solid, Solid | None]]:
    """Bone and cartilage of every rib of the spine, both sides."""
    marks = Landmarks(column)
    ribs = []
    for vertebra in column.vertebrae:
        if vertebra.name[0] != "T":
            continue
        number = min(int(vertebra.name[1:]), 12)
        if row_of(vertebra.name, column.config) == "T12":
            number = 12
        for side in (1.0, -1.0):
            ribs.append(_rib(vertebra, number, side, marks))
    return ribs


def _rib(v: Vertebra, number: int, side: float, marks: Landmarks) -> tuple[Solid, Solid | None]:
    """One rib: head, neck, tubercle, and the shaft round the cage."""
    size = v.size
    course = _COURSES[number]
    high = 0.5 * size.height - 0.5 if 2 <= number <= 9 else 0.22 * size.height
    back = 0.5 * size.depth + size.canal_depth
    head = np.array([side * (0.5 * size.width + 1.0), 0.5 * size.depth - 6, high])
    neck = np.array([side * (0.5 * size.width + 8), 0.5 * size.depth + 3, high - 1])
    if number < 11:
        level = 0.5 * size.height - 0.5 * size.pedicle_height + 1.0
        tubercle = np.array([side * (0.5 * size.transverse_span - 1.0), back - 4.5, level])
    else:
        tubercle = np.array([side * (0.5 * size.width + 22), back - 3, high - 3])
    points = [v.pose.to_world(p) for p in (head, neck, tubercle)]
    rough = _shaft(points, course, course.end_deg, side, marks)
    low, tall = (7.0, 12.0) if number > 1 else (7.0, 9.0)
    count = 2 * len(rough)
    bone = list(curve_through(np.array(rough), np.linspace(0, 1, count)))
    widths = [(9.0, 8.0), (9.0, 6.5), (10.0, 8.0), *[(tall, low)] * (count - 3)]
    if number >= 11:
        widths[-1] = (7.0, 5.0)
    solid = _chain(bone, widths)
    if not course.cartilage_deg:
        return solid, None
    tail = _shaft([bone[-1]], course, course.cartilage_deg, side, marks, course.end_deg)
    return solid, _chain(tail, [(tall, low)] * len(tail))


def _shaft(
    points: list[FloatArray],
    course: _Course,
    end_deg: float,
    side: float,
    marks: Landmarks,
    start_deg: float | None = None,
) -> list[FloatArray]:
    """Points round the cage after the given ones.

    The rib falls from its tubercle to `end_deg`; beyond that, cartilage rises again.
    """
    first = points[-1]
    x0, _, half, _, _ = _oval(first[2], marks)
    if start_deg is None:
        reach = min((abs(first[0] - x0) + 16) / half, 0.95)
        start_deg = float(np.rad2deg(np.arcsin(reach)))
        falls = True
    else:
        falls = False
    count = max(int(np.ceil((end_deg - start_deg) / 9)), 1)
    result = list(points)
    for t in np.linspace(0, 1, count + 1)[0 if falls else 1 :]:
        angle = np.deg2rad(start_deg + t * (end_deg - start_deg))
        whole = np.deg2rad(course.end_deg)
        share = (1 - np.cos(angle)) / (1 - np.cos(whole))
        fall = course.fall
        z = first[2] - fall * share if falls else first[2] + 0.45 * fall * t
        x0, _, half, middle, deep = _oval(z, marks)
        result.append(
            np.array([x0 + side * half * np.sin(angle), middle + deep * np.cos(angle), z])
        )
    return result


def _oval(z: float, marks: Landmarks) -> tuple[float, float, float, float, float]:
    """Centre line x and y, half width, middle y and half depth of the ribs' oval."""
    height = np.array([z])
    x, y = marks.centre_line(height)
    half, front, back = (
        float(marks.profile("cage", key, height)[0]) + 4 for key in ("half_width", "front", "back")
    )
    middle = float(y[0]) + 0.5 * (back - front)
    return 0.35 * float(x[0]), float(y[0]), half, middle, 0.5 * (front + back)


def _chain(points: list[FloatArray], widths: list[tuple[float, float]]) -> Solid:
    """A flat tube along points, upright height first, thickness second."""
    return Solid(IDENTITY, tuple(bars(points, widths, 0.5)))


def build_sternum(column: Column) -> Solid:
    """Manubrium and body of the sternum with the clavicles."""
    marks = Landmarks(column)
    points = []
    for name, up in (("T2", 4.0), ("T4", -4.0), ("T6", 0.0), ("T8", 4.0)):
        z = marks.origin(name)[2] + up
        x0, _, _, middle, deep = _oval(z, marks)
        points.append(np.array([x0, middle - deep, z]))
    across = np.array([1.0, 0.0, 0.0])
    wide = (52.0, 36.0, 36.0, 30.0)
    parts = [
        Part(Bar(a, b, (p, q), (12, 11), across), 3.0)
        for a, b, p, q in zip(points, points[1:], wide, wide[1:], strict=False)
    ]
    for side in (1.0, -1.0):
        inner = points[0] + np.array([side * 26, 2, 6])
        bend = points[0] + np.array([side * 80, 18, 26])
        outer = points[0] + np.array([side * 145, 62, 48])
        for a, b in ((inner, bend), (bend, outer)):
            parts.append(Part(Bar(a, b, (14, 12), (13, 12)), 3.0))
    return Solid(IDENTITY, tuple(parts))
