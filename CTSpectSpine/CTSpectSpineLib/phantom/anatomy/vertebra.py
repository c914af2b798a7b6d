"""The bones of one vertebra: body, arch and processes, C3 to L6.

The arch is made of tapered bars between landmarks that come from the level table; the
articular processes are cut by the interface of their facet joint, so facing surfaces are
parallel and leave the joint space free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.anatomy.body import BodyShape, body_shape
from CTSpectSpineLib.phantom.anatomy.column import Column, Vertebra
from CTSpectSpineLib.phantom.anatomy.facet_joints import Facet, FacetSize, along_axes, sag
from CTSpectSpineLib.phantom.anatomy.shapes import (
    Bar,
    Bounds,
    Ellipsoid,
    Field,
    Part,
    Pose,
    Slab,
    Solid,
    Tube,
    unit,
)

APART_MM = 1.2
"""Least distance between the bones of neighbouring vertebrae. Judgement: just under the narrowest
degenerate facet joint (2.2 mm × 0.55)."""
CLEFT_MM = 2.5
"""Width of a cleft in the pars. Judgement: a plain one, wider than a voxel."""
SIDES = (1.0, -1.0)
"""Convention: +1 is the patient's left, -1 the right."""
UP = np.array([0.0, 0.0, 1.0])
"""Convention: z of a bone's frame, superior."""


@dataclass(frozen=True)
class Bone:
    """A vertebra as solids: the whole bone, and its body alone."""

    vertebra: Vertebra
    whole: Solid
    body: Solid
    body_shape: BodyShape | None = None


@dataclass(frozen=True)
class JointSpace:
    """What a facet joint takes away from one of its bones: the gap and the other's side.

    Attributes
    ----------
    centre, axes
        As in `column.Facet`, in the bone's frame.
    sign
        +1 for the lower vertebra (loses the side that the normal points to), -1 for the upper.
    size
        Sizes of the joint.
    depth
        How far (mm) beyond the gap bone is taken away.
    """

    centre: FloatArray
    axes: FloatArray
    sign: float
    size: FacetSize
    depth: float

    @property
    def bounds(self) -> Bounds:
        """Box that holds the space, local mm."""
        r = np.full(3, 0.6 * float(np.hypot(self.size.height, self.size.width)) + 3)
        return self.centre - r, self.centre + r

    def __call__(self, x: Field, y: Field, z: Field) -> Field:
        """Distance (mm, negative inside) at local points."""
        u, v, n = along_axes(self.axes, self.centre, x, y, z)
        phi = np.float32(self.sign) * (n - sag(v, self.size))
        gap = np.float32(0.5 * self.size.gap)
        inner = np.maximum(-(phi + gap), phi - np.float32(self.depth))
        edge = np.maximum(
            np.abs(u) - np.float32(0.5 * self.size.height + 2.0),
            np.abs(v) - np.float32(0.5 * self.size.width + 1.5),
        )
        return np.asarray(np.maximum(inner, edge))


@dataclass(frozen=True)
class Process:
    """An articular process in its bone's frame."""

    facet: Facet
    sign: float
    centre: FloatArray
    axes: FloatArray
    middle: FloatArray

    @classmethod
    def of(cls, facet: Facet, pose: Pose, upper: bool) -> Process:
        """The process of the upper (inferior articular) or the lower vertebra of a joint."""
        sign = -1.0 if upper else 1.0
        centre = pose.to_local(facet.centre)
        axes = pose.direction_to_local(facet.axes)
        depth = 0.5 * facet.size.gap + 0.5 * facet.size.thickness
        return cls(facet, sign, centre, axes, centre - sign * depth * axes[2])

    @property
    def side(self) -> float:
        """+1 on the left, -1 on the right."""
        return 1.0 if self.facet.side == "left" else -1.0

    def plate(self) -> Part:
        """The articular pillar behind the surface; it reaches past it and is then cut."""
        size = self.facet.size
        excess = 0.5 * size.gap + 0.4
        centre = self.middle + self.sign * 0.5 * excess * self.axes[2]
        full = (size.height, size.width, size.thickness + excess)
        return Part(Slab(centre, full, self.axes, 0.46 * min(full)), 3.0)

    def spurs(self) -> list[Part]:
        """Osteophytes at the lateral and the posterior edge of the process."""
        if not self.facet.spur_mm:
            return []
        size, r = self.facet.size, self.facet.spur_mm
        outward = 1.0 if self.axes[1][0] * self.side > 0 else -1.0
        edges = (
            0.5 * outward * size.width * self.axes[1] + 0.15 * size.height * self.axes[0],
            -0.5 * outward * size.width * self.axes[1] - 0.2 * size.height * self.axes[0],
        )
        return [Part(Ellipsoid(self.middle + e, (r, r, 1.4 * r)), 2.0) for e in edges]

    def space(self) -> Part:
        """The cut that frees the joint space."""
        shape = JointSpace(self.centre, self.axes, self.sign, self.facet.size, 9.0)
        return Part(shape, 0.6, cut=True)


def build_bone(vertebra: Vertebra, column: Column, lips: tuple[float, float]) -> Bone:
    """Build one vertebra from C3 to the last lumbar."""
    size = vertebra.size
    shape = body_shape(vertebra, lips)
    body = Part(shape, 0.0)
    superior = [
        Process.of(f, vertebra.pose, upper=False) for f in column.facets_of(lower=vertebra.name)
    ]
    inferior = [
        Process.of(f, vertebra.pose, upper=True) for f in column.facets_of(upper=vertebra.name)
    ]
    region = vertebra.name[0]
    builder = {"C": cervical_arch, "T": thoracic_arch, "L": lumbar_arch}[region]
    arch = builder(vertebra, superior, inferior)
    if column.config.sacralised_l5 and vertebra is column.vertebrae[-2]:
        arch += sacralised_wings(vertebra)
    processes = (*superior, *inferior)
    arch += [spur for p in processes for spur in p.spurs()]
    if region == "L" and vertebra.name in column.cleft:
        arch += pars_clefts(vertebra)
    spaces = [p.space() for p in processes]
    canal = canal_cut(size.depth, size.canal_width, size.canal_depth, size.height)
    whole = Solid(vertebra.pose, (body, *arch, canal, *spaces))
    return Bone(vertebra, whole, Solid(vertebra.pose, (body,)), shape)


def canal_cut(depth: float, width: float, canal_depth: float, height: float) -> Part:
    """The vertebral canal; its front runs flush with the body's posterior wall."""
    centre = np.array([0.0, 0.5 * depth + 0.5 * canal_depth - 0.8, 0.0])
    tube = Tube(centre, (0.5 * width, 0.5 * canal_depth), 3.2 * height, 0.12)
    return Part(tube, 1.0, cut=True)


def bar(
    start: Sequence[float] | FloatArray,
    end: Sequence[float] | FloatArray,
    height: tuple[float, float],
    thickness: tuple[float, float],
    blend: float = 3.0,
    up: FloatArray = UP,
) -> Part:
    """A bar as a part."""
    shape = Bar(np.asarray(start, float), np.asarray(end, float), height, thickness, up)
    return Part(shape, blend)


def bars(
    points: Iterable[FloatArray],
    sizes: Iterable[tuple[float, float]],
    blend: float,
    up: FloatArray = UP,
) -> list[Part]:
    """Join points by bars; each size is the height and the thickness at its point."""
    ends = zip(pairwise(points), pairwise(sizes), strict=True)
    return [bar(a, b, (p[0], q[0]), (p[1], q[1]), blend, up) for (a, b), (p, q) in ends]


def lumbar_arch(v: Vertebra, superior: list[Process], inferior: list[Process]) -> list[Part]:
    """Arch of a lumbar vertebra, and of the last thoracic's inferior half."""
    s = v.size
    wall, back = 0.5 * s.depth, 0.5 * s.depth + s.canal_depth
    z_ped = 0.5 * s.height - 0.5 * s.pedicle_height - 1.0
    root = 0.5 * s.canal_width + 0.5 * s.pedicle_width
    last = s.pedicle_width > 14
    parts: list[Part] = []
    for side in SIDES:
        front = (side * (root - 1.0), wall - 5.0, z_ped)
        junction = np.array([side * (root + (1.5 if last else 0.5)), wall + 9.0, z_ped - 0.5])
        parts.append(bar(front, junction, (s.pedicle_height,) * 2, (s.pedicle_width,) * 2, 4.0))
        # Transverse process: from the junction, slightly back and up.
        tip = (side * 0.5 * s.transverse_span, wall + (11.0 if last else 14.0), z_ped + 2.0)
        thick = 9.0 if last else 5.5
        parts.append(bar(junction, tip, (13.0 if last else 11.0, 9.0), (thick + 2, thick), 4.0))
        # Lamina: from below the junction to the midline, sloping down and back.
        outer = (side * (0.5 * s.canal_width + 1.0), wall + 0.62 * s.canal_depth, z_ped - 8.0)
        inner = (side * 1.5, back + 3.2, z_ped - 13.0)
        parts.append(bar(outer, inner, (15.0, 19.0), (6.5, 6.5), 3.0))
        parts.append(bar(junction, outer, (12.0, 13.0), (8.0, 7.0), 3.0))
    for process in superior:
        side = process.side
        start = np.array([side * (root + 0.5), wall + 9.5, z_ped + 1.0])
        parts.append(bar(start, process.middle, (9.5, 9.5), (9.0, 8.5), 3.0, process.axes[1]))
        parts.append(process.plate())
        # Mamillary process on the back of the superior articular process.
        knob = process.middle + np.array([side * 2.0, 3.5, -1.0])
        parts.append(Part(Ellipsoid(knob, (3.6, 3.8, 5.0)), 3.0))
    for process in inferior:
        side = process.side
        start = np.array(
            [side * (0.5 * s.canal_width + 0.5), wall + 0.72 * s.canal_depth, z_ped - 7.0]
        )
        end = process.middle - 1.0 * process.axes[0]
        parts.append(bar(start, end, (11.0, 10.0), (8.0, 7.5), 3.0, process.axes[1]))
        parts.append(process.plate())
    parts += _hatchet(s.spinous_length, s.spinous_drop_deg, back + 3.0, z_ped - 13.0)
    return parts


def sacralised_wings(v: Vertebra) -> list[Part]:
    """Broad transverse processes that reach down to the sacral alae."""
    s = v.size
    wall = 0.5 * s.depth
    parts = []
    for side in SIDES:
        root = (side * 0.5 * s.width * 0.9, wall + 4.0, 3.0)
        tip = (side * 50.0, wall + 10.0, -7.0)
        parts.append(bar(root, tip, (20.0, 32.0), (14.0, 18.0), 4.0))
    return parts


def pars_clefts(v: Vertebra) -> list[Part]:
    """Spondylolysis: clefts between pedicle and lamina on both sides."""
    s = v.size
    wall = 0.5 * s.depth
    z_ped = 0.5 * s.height - 0.5 * s.pedicle_height - 1.0
    cuts = []
    for side in SIDES:
        above = np.array([side * 0.5 * (s.canal_width + s.pedicle_width), wall + 9.0, z_ped - 0.5])
        below = np.array([side * 0.5 * s.canal_width, wall + 0.62 * s.canal_depth, z_ped - 8.0])
        along = unit(below - above)
        behind = unit(np.array([0.0, 1.0, 0.0]) - along * along[1])
        axes = np.stack([np.cross(behind, along), behind, along])
        middle = 0.5 * (above + below) + 3.0 * behind
        cuts.append(Part(Slab(middle, (26.0, 24.0, CLEFT_MM), axes, 0.5), 0.6, cut=True))
    return cuts


def _hatchet(length: float, drop_deg: float, root_y: float, root_z: float) -> list[Part]:
    """The broad lumbar spinous process."""
    drop = np.deg2rad(drop_deg)
    tip = (0.0, root_y + length * np.cos(drop) - 6.0, root_z - length * np.sin(drop))
    across = np.array([0.0, np.sin(drop), np.cos(drop)])
    blade = bar((0.0, root_y - 1.0, root_z), tip, (17.0, 21.0), (7.0, 6.0), 3.5, across)
    edge = bar(
        (0.0, tip[1] + 1.0, tip[2] + 7.0),
        (0.0, tip[1] + 1.5, tip[2] - 8.0),
        (8.0, 9.0),
        (8.0, 10.0),
        3.0,
        np.array([0.0, 1.0, 0.0]),
    )
    return [blade, edge]


def thoracic_arch(v: Vertebra, superior: list[Process], inferior: list[Process]) -> list[Part]:
    """Arch of a thoracic vertebra: laminae like roof tiles, transverse processes swept back."""
    s = v.size
    wall, back = 0.5 * s.depth, 0.5 * s.depth + s.canal_depth
    z_ped = 0.5 * s.height - 0.5 * s.pedicle_height
    root = 0.5 * s.canal_width + 0.5 * s.pedicle_width
    low = any(abs(float(p.axes[2][0])) > 0.6 for p in inferior)
    parts: list[Part] = []
    for side in SIDES:
        front = (side * (root - 0.5), wall - 4.0, z_ped)
        junction = np.array([side * (root + 0.5), wall + 8.0, z_ped + 0.5])
        parts.append(bar(front, junction, (s.pedicle_height,) * 2, (s.pedicle_width,) * 2, 3.5))
        tip = (side * (0.5 * s.transverse_span - 4.5), back + (2.0 if low else 5.0), z_ped + 1.0)
        parts.append(bar(junction, tip, (10.0, 10.0), (7.0, 9.0), 3.0))
        outer = (side * (0.5 * s.canal_width + 0.5), wall + 0.66 * s.canal_depth, z_ped - 5.0)
        inner = (side * 1.5, back + 2.6, z_ped - 8.0)
        tall = min(0.92 * s.height, 19.0)
        parts.append(bar(outer, inner, (tall, tall), (5.5, 5.5), 2.5))
        parts.append(bar(junction, outer, (11.0, 12.0), (7.0, 6.0), 3.0))
    for process in superior:
        start = np.array([process.side * root, wall + 8.0, z_ped])
        parts.append(bar(start, process.middle, (9.0, 8.5), (6.0, 5.5), 3.0, process.axes[1]))
        parts.append(process.plate())
    for process in inferior:
        start = np.array(
            [process.side * 0.5 * s.canal_width, wall + 0.8 * s.canal_depth, z_ped - 7.0]
        )
        parts.append(bar(start, process.middle, (10.0, 9.0), (6.0, 5.5), 3.0, process.axes[1]))
        parts.append(process.plate())
    if low:
        return parts + _hatchet(s.spinous_length, s.spinous_drop_deg, back + 2.5, z_ped - 10.0)
    drop = np.deg2rad(s.spinous_drop_deg)
    ahead = np.array([0.0, np.cos(drop), -np.sin(drop)])
    start_y = np.array([0.0, back + 2.0, z_ped - 7.0])
    across = np.array([0.0, np.sin(drop), np.cos(drop)])
    parts.append(
        bar(start_y, start_y + ahead * s.spinous_length, (15.0, 8.0), (6.5, 5.5), 3.5, across)
    )
    return parts


def cervical_arch(v: Vertebra, superior: list[Process], inferior: list[Process]) -> list[Part]:
    """Arch of C3 to C7: articular pillars, transverse foramina, bifid spinous process."""
    s = v.size
    back = 0.5 * s.depth + s.canal_depth
    parts: list[Part] = []
    for side in SIDES:
        pillar = np.mean([p.middle for p in (*superior, *inferior) if p.side == side], axis=0)
        front = (side * (0.5 * s.width - 1.5), 0.25 * s.depth, 1.0)
        parts.append(bar(front, pillar, (s.pedicle_height,) * 2, (s.pedicle_width,) * 2, 3.0))
        own = [p for p in (*superior, *inferior) if p.side == side]
        for process in own:
            parts.append(bar(pillar, process.middle, (9.0, 9.5), (8.0, 7.0), 3.0, process.axes[1]))
            parts.append(process.plate())
        inner = (side * 1.5, back + 1.8, -3.5)
        lamina = pillar + np.array([-side * 3.0, 1.0, -1.5])
        parts.append(bar(lamina, inner, (10.0, 11.0), (4.8, 4.6), 2.5))
        parts += _cervical_transverse(v, side, pillar)
    drop = np.deg2rad(s.spinous_drop_deg)
    start = np.array([0.0, back + 1.0, -4.0])
    ahead = np.array([0.0, np.cos(drop), -np.sin(drop)])
    across = np.array([0.0, np.sin(drop), np.cos(drop)])
    tip = start + ahead * s.spinous_length
    bifid = v.name in ("C3", "C4", "C5", "C6")
    parts.append(
        bar(start, tip, (10.0, 7.0 if bifid else 10.0), (6.0, 6.5 if bifid else 7.0), 3.0, across)
    )
    if bifid:
        for side in SIDES:
            fork = tip + np.array([side * 4.5, 3.5, -2.0])
            parts.append(bar(tip - ahead * 3.0, fork, (6.0, 5.0), (5.0, 4.5), 2.0))
    return parts


def _cervical_transverse(v: Vertebra, side: float, pillar: FloatArray) -> list[Part]:
    """Anterior and posterior bars of a cervical transverse process around its foramen."""
    s = v.size
    tip = np.array([side * 0.5 * s.transverse_span, 0.30 * s.depth, -2.0])
    anterior = (side * (0.5 * s.width - 1.0), 0.02 * s.depth, -1.0)
    parts = [
        bar(anterior, tip + np.array([-side * 2.0, -2.0, 0.0]), (6.0, 5.5), (4.0, 4.0), 2.0),
        bar(pillar, tip + np.array([0.0, 2.5, 0.0]), (7.0, 5.5), (5.0, 4.5), 2.0),
        bar(
            tip + np.array([-side * 2.0, -2.0, 0.0]),
            tip + np.array([0.0, 2.5, 0.0]),
            (5.0, 5.0),
            (4.0, 4.0),
            1.5,
        ),
    ]
    if v.name != "C7":
        centre = np.array([side * (0.5 * s.width + 5.0), 0.30 * s.depth, -1.0])
        parts.append(Part(Tube(centre, (2.9, 2.9), 1.6 * s.height), 0.8, cut=True))
    return parts
