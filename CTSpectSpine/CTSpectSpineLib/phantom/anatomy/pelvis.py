"""Sacrum, hip bones and femoral heads.

The sacrum is built in the frame of the S1 body. The hips stand in a pelvic frame that is level
when the sacral endplate slopes by `REFERENCE_SLOPE_DEG`, so they tilt with the sacrum.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.anatomy import SACRUM
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.anatomy.body import BodyShape
from CTSpectSpineLib.phantom.anatomy.column import Column
from CTSpectSpineLib.phantom.anatomy.shapes import (
    Bar,
    Bounds,
    Ellipsoid,
    Field,
    Part,
    Pose,
    Solid,
    curve_through,
)
from CTSpectSpineLib.phantom.anatomy.vertebra import SIDES, Bone, Process, bar

REFERENCE_SLOPE_DEG = 38.0
"""Sacral slope of a level pelvis, degrees. Judgement: about the mean of the slopes drawn (0.69 ×
54°)."""
HIP_CENTRE = np.array([88.0, -25.0, -105.0])
"""Left femoral head in the pelvic frame, from the middle of the sacral endplate, mm. Judgement: a
plausible adult."""
FEMORAL_HEAD_RADIUS = 23.0
"""In mm. Judgement: a plausible adult."""
SI_GAP = 2.6
"""Joint space of the sacroiliac joint, mm. Judgement: wide enough to part the bones at 1.5 mm
voxels."""


@dataclass(frozen=True)
class _Segment:
    """One sacral segment in the S1 frame, mm."""

    y: float
    z: float
    width: float
    depth: float
    ala: float
    ala_thickness: float
    ala_back: float


_SEGMENTS = (
    _Segment(0.0, 0.0, 50.0, 32.0, 53.0, 25.0, 7.0),
    _Segment(4.5, -27.0, 40.0, 21.0, 46.0, 22.0, 9.0),
    _Segment(7.0, -49.0, 32.0, 16.0, 37.0, 17.0, 8.0),
    _Segment(5.0, -68.0, 27.0, 12.0, 30.0, 13.0, 5.0),
    _Segment(-1.5, -84.0, 22.0, 9.0, 20.0, 10.0, 2.0),
    _Segment(-9.5, -97.0, 12.0, 7.0, 7.0, 7.0, 0.0),
)
"""Five sacral segments and the first piece of the coccyx. Judgement: a plausible adult, not
measured."""


@dataclass(frozen=True)
class HalfSpace:
    """Everything beyond a plane, within a box; cuts surfaces flat."""

    point: FloatArray
    normal: FloatArray
    half_size: float

    @property
    def bounds(self) -> Bounds:
        """Box within which the cut works, local mm."""
        return self.point - self.half_size, self.point + self.half_size

    def __call__(self, x: Field, y: Field, z: Field) -> Field:
        """Distance (mm, negative beyond the plane) at local points."""
        n, shift = self.normal, np.float32(self.normal @ self.point)
        result: Field = shift - (np.float32(n[0]) * x + np.float32(n[1]) * y + np.float32(n[2]) * z)
        return result


def sacroiliac_plane(side: float) -> tuple[FloatArray, FloatArray]:
    """Point and outward normal of the sacroiliac joint in the S1 frame."""
    normal = np.array([side, 0.36, -0.30])
    return np.array([side * 50.0, 10.0, -10.0]), normal / np.linalg.norm(normal)


def build_sacrum(column: Column) -> Bone:
    """Build the sacrum with the first piece of the coccyx."""
    vertebra = column[SACRUM]
    size = vertebra.size
    endplate = BodyShape(size.width, size.depth, size.height, 0.0, 0.06, (1.2, 0.5), square=0.4)
    parts = [Part(endplate, 0.0)]
    for upper, lower in itertools.pairwise(_SEGMENTS):
        parts.append(
            bar(
                (0, upper.y, upper.z),
                (0, lower.y, lower.z),
                (upper.depth - 4, lower.depth),
                (upper.width - 4, lower.width),
                3.0,
                np.array([0.0, 1.0, 0.0]),
            )
        )
    for side in SIDES:
        parts += _lateral_mass(side)
    parts += _dorsal_wall(size.depth)
    cuts = _foramina() + _canal(size.depth)
    for side in SIDES:
        point, normal = sacroiliac_plane(side)
        cuts.append(Part(HalfSpace(point - 0.5 * SI_GAP * normal, normal, 62.0), 2.0, cut=True))
    superior = [Process.of(f, vertebra.pose, upper=False) for f in column.facets_of(lower=SACRUM)]
    processes: list[Part] = []
    for process in superior:
        start = np.array([process.side * 24.0, 20.0, 2.0])
        processes.append(
            bar(start, process.middle, (12.0, 11.0), (12.0, 9.0), 4.0, process.axes[1])
        )
        processes += [process.plate(), *process.spurs()]
    spaces = [p.space() for p in superior]
    whole = Solid(vertebra.pose, (*parts, *cuts, *processes, *spaces))
    return Bone(vertebra, whole, Solid(vertebra.pose, (parts[0],)), endplate)


def _lateral_mass(side: float) -> list[Part]:
    """Ala and the fused costal elements."""
    back = np.array([0.0, 1.0, 0.0])
    parts = []
    for segment in _SEGMENTS[:-1]:
        start = (side * 0.3 * segment.width, segment.y + 3, segment.z)
        first = segment.z == 0
        end = (side * segment.ala, segment.y + segment.ala_back, segment.z - (11 if first else 1))
        tall = (25.0, 31.0) if first else (21.0, 24.0)
        parts.append(bar(start, end, (segment.ala_thickness,) * 2, tall, 5.0, back))
    for upper, lower in itertools.pairwise(_SEGMENTS[:-1]):
        x = np.array([0.76 * upper.ala, 0.76 * lower.ala])
        start = (side * x[0], upper.y + upper.ala_back, upper.z)
        end = (side * x[1], lower.y + lower.ala_back, lower.z)
        thick = (0.46 * upper.ala, 0.46 * lower.ala)
        parts.append(bar(start, end, (upper.ala_thickness, lower.ala_thickness), thick, 4.0, back))
    return parts


def _dorsal_wall(depth: float) -> list[Part]:
    """Fused laminae, median and intermediate crests."""
    parts = []
    rows = [
        (g, 0.5 * g.depth + c, w)
        for g, c, w in zip(_SEGMENTS[:4], (19, 15, 12, 10), (19, 16, 13, 11), strict=True)
    ]
    for index, (segment, roof, wide) in enumerate(rows):
        y, z = segment.y + roof, segment.z - 5
        tall = (26.0, 25.0, 23.0, 18.0)[index]
        for side in SIDES:
            ridge = (side * wide, y - 3.0, z + 2)
            parts.append(
                bar(ridge, (0, y + 1.5, z), (tall, tall), (6.0, 6.0), 3.0, np.array([0.0, 0, 1]))
            )
            base = (side * (wide + 3), segment.y + 0.4 * segment.depth, segment.z)
            parts.append(bar(base, ridge, (tall - 2, tall), (9.0, 7.0), 3.0, np.array([0.0, 0, 1])))
        if index < 3:
            length = (17.0, 14.0, 9.0)[index]
            parts.append(
                bar(
                    (0, y, z),
                    (0, y + length, z - 6),
                    (15.0, 12.0),
                    (6.0, 6.0),
                    3.0,
                    np.array([0.0, 0, 1]),
                )
            )
    return parts


def _canal(depth: float) -> list[Part]:
    """The sacral canal, behind the bodies and narrowing."""
    cuts = []
    widths, depths = (29.0, 25.0, 20.0, 14.0, 9.0), (14.0, 11.0, 8.5, 6.5, 5.0)
    points = [
        np.array([0, g.y + 0.5 * g.depth + 0.5 * d + 0.5, g.z])
        for g, d in zip(_SEGMENTS, depths, strict=False)
    ]
    points[0] = points[0] + np.array([0.0, 0.5, 2.0])
    first = points[0] + np.array([0.0, 1.0, 32.0])
    chain = [first, *points]
    sizes = list(zip((14.5, *depths), (30.0, *widths), strict=True))
    for (a, b), (p, q) in zip(itertools.pairwise(chain), itertools.pairwise(sizes), strict=True):
        shape = Bar(a, b, (p[0], q[0]), (p[1], q[1]), np.array([0.0, 1.0, 0.0]))
        cuts.append(Part(shape, 1.0, cut=True))
    return cuts


def _foramina() -> list[Part]:
    """Four pairs of sacral foramina, from front to back."""
    cuts = []
    back = np.array([0.0, 0.0, 1.0])
    half = (20.5, 17.0, 14.5, 12.0)
    radius = (5.4, 4.8, 4.2, 3.4)
    for (upper, lower), x, r in zip(itertools.pairwise(_SEGMENTS[:5]), half, radius, strict=True):
        y, z = 0.5 * (upper.y + lower.y), 0.5 * (upper.z + lower.z) - 1.0
        for side in SIDES:
            front = np.array([side * (x + 3.0), y - 18.0, z - 5.0])
            middle = np.array([side * x, y + 6.0, z])
            rear = np.array([side * x, y + 34.0, z - 4.0])
            for a, b, p, q in ((front, middle, 1.25 * r, r), (middle, rear, r, 0.7 * r)):
                shape = Bar(a, b, (2 * p, 2 * q), (2 * p, 2 * q), back)
                cuts.append(Part(shape, 1.5, cut=True))
    return cuts


def pelvic_pose(column: Column) -> Pose:
    """The pelvic frame."""
    sacrum = column[SACRUM]
    tilt = np.deg2rad(REFERENCE_SLOPE_DEG)
    back = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    origin = sacrum.pose.to_world(np.array([0, 0, 0.5 * sacrum.size.height]))
    return Pose(sacrum.pose.rotation @ back, origin)


_CREST = np.array(
    [
        [104, -70, -60],
        [112, -73, -46],
        [120, -74, -30],
        [129, -58, -2],
        [133, -34, 24],
        [128, -6, 38],
        [112, 22, 39],
        [90, 44, 28],
        [68, 60, 8],
        [53, 68, -14],
        [47, 66, -30],
        [47, 56, -46],
    ],
    dtype=float,
)
"""From the anterior inferior spine over both upper spines to the posterior inferior spine, pelvic
frame, mm. Judgement: a plausible adult, not measured."""
_BRIM = np.array(
    [[56, 44, -38], [58, 32, -26], [62, 16, -36], [70, 0, -58], [84, -16, -80], [94, -34, -84]],
    dtype=float,
)
"""Along the arcuate line from the sacroiliac joint to the roof of the acetabulum, pelvic frame, mm.
Judgement: a plausible adult, not measured."""
_AURICLE = np.array([[61, 17, -17], [57, 28, -20], [53, 44, -34], [50, 52, -44]], dtype=float)
"""Along the auricular surface, pelvic frame, mm. Judgement: a plausible adult, not measured."""
_RAYS = 25
"""Plates of an iliac wing. Numerical: enough that they overlap along the crest."""


def _iliac_wing(mirror: FloatArray) -> list[Part]:
    """The wing as a fan of thin plates from the arcuate line to the crest."""
    share = np.linspace(0, 1, _RAYS)
    crest = curve_through(_CREST, share)
    brim = curve_through(_BRIM, 1 - share)
    # The fossa is hollow: the middle of the wing bows outwards and back.
    bow = np.array([7.0, 5.0, 0.0]) * (np.sin(np.pi * share)[:, None])
    middle = 0.5 * (crest + brim) + bow
    along = np.gradient(crest, axis=0)
    crest, brim, middle, along = (v * mirror for v in (crest, brim, middle, along))
    parts = []
    for a, b in itertools.pairwise(brim):
        parts.append(bar(a, b, (22, 22), (15, 15), 5.0))
    for hub, mid, rim, up in zip(brim, middle, crest, along, strict=True):
        parts.append(bar(hub, mid, (16, 26), (13, 6.5), 2.5, up))
        parts.append(bar(mid, mid + 0.92 * (rim - mid), (26, 34), (6.5, 8.0), 4.0, up))
    for a, b in itertools.pairwise(crest):
        inward = brim.mean(axis=0) - a
        parts.append(bar(a, b, (12, 12), (11, 11), 0.8, inward))
    auricle = _AURICLE * mirror
    for a, b in itertools.pairwise(auricle):
        parts.append(bar(a, b, (24, 24), (26, 26), 5.0))
    return parts


def build_hip(column: Column, side: float) -> Solid:
    """Build one hip bone (side +1 left, -1 right) in the pelvic frame."""
    pose = pelvic_pose(column)
    mirror = np.array([side, 1.0, 1.0])
    parts = _iliac_wing(mirror)
    centre = HIP_CENTRE * mirror
    parts.append(Part(Ellipsoid(centre, (33,) * 3), 6.0))
    pubis = np.array([7.0, -80.0, -122.0]) * mirror
    low_pubis = np.array([8.0, -74.0, -146.0]) * mirror
    tuber = np.array([60.0, 12.0, -182.0]) * mirror
    parts.append(bar(np.array([78, -46, -98.0]) * mirror, pubis, (24, 20), (20, 16), 6.0))
    parts.append(bar(pubis, low_pubis, (17, 15), (15, 13), 4.0, np.array([1.0, 0, 0])))
    parts.append(bar(low_pubis, tuber, (18, 26), (10, 15), 5.0))
    seat = np.array([82.0, 8.0, -118.0]) * mirror
    parts.append(bar(seat, tuber, (40, 36), (26, 28), 8.0, np.array([0.0, 1, 0])))
    outward = np.array([0.72, -0.42, -0.55]) * np.array([side, 1, 1])
    socket = Bar(centre, centre + 40 * outward, (53, 64), (53, 64))
    parts.append(Part(socket, 1.5, cut=True))
    middle = np.array([side * 2.2, -78, -134])
    parts.append(Part(HalfSpace(middle, np.array([-side, 0.0, 0.0]), 32), 1.0, cut=True))
    point, normal = sacroiliac_plane(side)
    sacrum = column[SACRUM].pose
    point = pose.to_local(sacrum.to_world(point + 0.5 * SI_GAP * normal))
    normal = pose.direction_to_local(sacrum.rotation @ normal)
    parts.append(Part(HalfSpace(point, -normal, 62), 2.0, cut=True))
    return Solid(pose, tuple(parts))


def build_femur(column: Column, side: float) -> Solid:
    """Build the proximal femur of one side in the pelvic frame."""
    mirror = np.array([side, 1.0, 1.0])
    centre = HIP_CENTRE * mirror
    trochanter = np.array([144.0, -12.0, -128.0]) * mirror
    shaft = np.array([136.0, -18.0, -260.0]) * mirror
    lesser = np.array([122.0, 0.0, -168.0]) * mirror
    r = FEMORAL_HEAD_RADIUS
    parts = (
        Part(Ellipsoid(centre, (r, r, r)), 0.0),
        bar(
            centre,
            trochanter + np.array([-side * 10, 0, -8]),
            (33, 40),
            (27, 30),
            5.0,
        ),
        bar(
            trochanter + np.array([0, 6, 8]),
            shaft,
            (34, 29),
            (32, 29),
            6.0,
            np.array([0.0, 1, 0]),
        ),
        Part(Ellipsoid(lesser, (9, 9, 12)), 6.0),
    )
    return Solid(pelvic_pose(column), parts)
