"""Painting of all bone: HU, tissue codes and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.anatomy import SACRUM, hip_ids, vertebra
from CTSpectSpineLib.geometry import largest_piece
from CTSpectSpineLib.model import BoolArray
from CTSpectSpineLib.phantom.anatomy.atlas import build_skull
from CTSpectSpineLib.phantom.anatomy.canvas import Canvas
from CTSpectSpineLib.phantom.anatomy.column import Column, disc_severity
from CTSpectSpineLib.phantom.anatomy.metal import METAL_HU, build_metal
from CTSpectSpineLib.phantom.anatomy.pelvis import build_femur, build_hip
from CTSpectSpineLib.phantom.anatomy.ribs import build_ribs, build_sternum
from CTSpectSpineLib.phantom.anatomy.shapes import (
    IDENTITY,
    Box,
    Ellipsoid,
    Field,
    Grid,
    Part,
    Slab,
    Solid,
    coverage,
    inside,
    keep_apart,
)
from CTSpectSpineLib.phantom.anatomy.vertebra import APART_MM, Bone
from CTSpectSpineLib.phantom.model import Tissue
from CTSpectSpineLib.phantom.scanner.ct import marrow_texture, paint_bone
from CTSpectSpineLib.phantom.truth import disc_between
from CTSpectSpineLib.volumes.regions import overlap

Labels = NDArray[np.uint8]

_TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""Neighbours of a voxel that share a face, an edge or a corner."""
MARROW_HU = {"C": 290.0, "T": 215.0, "L": 180.0, "s": 150.0}
"""HU of trabecular bone by region at normal density. Judgement: young to middle-aged adults, denser
towards the head."""
FATTY_MARROW_HU = -40.0
"""HU that marrow tends to as trabeculae are lost. Judgement: mostly fat (about -100), some red."""
BODY_SHELL_MM = 0.5
"""Shell of the bodies. Judgement: with 900 HU it leaves the step between disc and endplate bands
that was measured on 14 levels of 3 real CTs (-116 to -178 HU)."""
ARCH_SHELL_MM = 1.4
"""Cortex of arch and processes. Judgement: thicker than that of the bodies."""
ARCH_SHARE = 0.05
"""Least share of a vertebra with spondylolysis that a piece has. Judgement: far below an arch's."""
BRIDGE_HU = 550.0
"""HU of bone that bridges a facet joint. Judgement: sclerotic, below cortex."""
VACUUM_SEVERITY = 0.7
"""Severity at which a disc holds gas. Judgement: strong degeneration only."""


def paint_discs(canvas: Canvas, column: Column, bones: Mapping[str, Bone]) -> None:
    """Paint all discs; strongly degenerate ones hold gas."""
    for (upper, lower), pose in column.pair_poses.items():
        if upper == "C1":
            continue
        size, below = column[upper].size, column[lower].size
        half = np.array(
            [
                0.5 * max(size.width, below.width) + 4,
                0.5 * max(size.depth, below.depth) + 4,
                0.5 * size.disc + 9,
            ]
        )
        box = canvas.grid.box_of((-half, half), pose, 0.0)
        if box is None:
            continue
        part = canvas.grid.part(box)
        distance = disc_between(bones[upper], bones[lower]).distance(part)
        canvas.paint(box, distance, Tissue.CARTILAGE)
        if disc_severity(upper, column.config) >= VACUUM_SEVERITY:
            radii = (0.26 * size.width, 0.24 * size.depth, 0.22 * size.disc + 0.5)
            cleft = Solid(pose, (Part(Ellipsoid(np.zeros(3), radii), 0.0),))
            gas = np.maximum(cleft.distance(part), distance + np.float32(0.5))
            canvas.paint(box, gas, Tissue.CARTILAGE, -650.0)


def paint_other_bones(canvas: Canvas, labels: Labels, column: Column) -> None:
    """Paint skull, ribs, sternum, hip bones and femora; label the hips."""
    ids = hip_ids()
    skull, brain, jaw = build_skull(column)
    canvas.paint_solid(brain, Tissue.MUSCLE, 34.0)
    for solid in (skull, jaw):
        _paint_plain(canvas, column, solid, Tissue.OTHER_BONE, 2.0)
    for bone, cartilage in build_ribs(column):
        if cartilage is not None:
            canvas.paint_solid(cartilage, Tissue.CARTILAGE, 95.0)
        _paint_plain(canvas, column, bone, Tissue.RIB, 1.0)
    _paint_plain(canvas, column, build_sternum(column), Tissue.OTHER_BONE, 1.2)
    for side, name in ((1.0, "hip_left"), (-1.0, "hip_right")):
        _paint_plain(canvas, column, build_femur(column, side), Tissue.OTHER_BONE, 1.8)
        found = _paint_plain(canvas, column, build_hip(column, side), Tissue.PELVIS, 1.5)
        if found is not None:
            box, mask = found
            labels[box][mask] = ids[name]


def _paint_plain(
    canvas: Canvas, column: Column, solid: Solid, tissue: Tissue, cortex_mm: float
) -> tuple[Box, BoolArray] | None:
    """Paint a bone other than a vertebra; return its box and mask, None when out of view."""
    box = canvas.grid.box_of(solid.bounds, solid.pose, 2.0)
    if box is None:
        return None
    density = column.config.bone_density
    distance = solid.distance(canvas.grid.part(box))
    paint_bone(canvas, box, distance, 40 + 120 * density, cortex_mm * density**0.5)
    mask = inside(distance)
    canvas.tissue[box][mask] = tissue
    return box, mask


@dataclass
class Evaluated:
    """A vertebra's distances in its box of the canvas."""

    bone: Bone
    box: Box
    whole: Field
    body: Field


def paint_column(canvas: Canvas, labels: Labels, column: Column, bones: Mapping[str, Bone]) -> None:
    """Paint and label the vertebrae, cranial to caudal, each kept apart from its neighbours."""
    previous: Evaluated | None = None
    for v in column.vertebrae:
        current = _evaluate(canvas.grid, bones[v.name])
        if previous is not None:
            if current is not None:
                _part_neighbours(previous, current)
            _paint_vertebra(canvas, labels, column, previous)
        previous = current
    if previous is not None:
        _paint_vertebra(canvas, labels, column, previous)


def _evaluate(grid: Grid, bone: Bone) -> Evaluated | None:
    """Distances in the vertebra's box, None when out of view."""
    box = grid.box_of(bone.whole.bounds, bone.whole.pose, 4.0)
    if box is None:
        return None
    part = grid.part(box)
    return Evaluated(bone, box, bone.whole.distance(part), bone.body.distance(part))


def _part_neighbours(upper: Evaluated, lower: Evaluated) -> None:
    """Keep two neighbours apart where their boxes overlap."""
    shared = overlap(upper.box, lower.box)
    if shared is not None:
        keep_apart(upper.whole[shared[0]], lower.whole[shared[1]], APART_MM)


def _paint_vertebra(canvas: Canvas, labels: Labels, column: Column, item: Evaluated) -> None:
    """Paint one vertebra and label it."""
    config = column.config
    name = item.bone.vertebra.name
    label = vertebra(name).id
    rng = np.random.default_rng([config.seed, 9, label])
    normal = MARROW_HU[name[0]] - FATTY_MARROW_HU
    marrow = FATTY_MARROW_HU + normal * config.bone_density
    texture = marrow_texture(item.whole.shape, rng, config.texture_hu)
    texture += marrow
    _harden(texture, canvas.grid.part(item.box), column, item.bone)
    in_body = item.body < 0.5
    cortex = np.where(in_body, np.float32(BODY_SHELL_MM), np.float32(ARCH_SHELL_MM))
    cortex *= np.float32(config.bone_density**0.5)
    # Ribs and condyles end short of the vertebra: a thin joint space.
    other = np.isin(canvas.tissue[item.box], (Tissue.RIB, Tissue.OTHER_BONE))
    canvas.paint(item.box, item.whole - np.float32(1.3), Tissue.CARTILAGE, 60.0, other)
    paint_bone(canvas, item.box, item.whole, texture, cortex)
    bone = inside(item.whole)
    code = np.where(in_body, Tissue.BODY, Tissue.POSTERIOR).astype(np.uint8)
    if name == SACRUM:
        code[:] = Tissue.SACRUM
    canvas.tissue[item.box][bone] = code[bone]
    labels[item.box][_pieces(bone) if name in column.cleft else largest_piece(bone, _TOUCHING)] = (
        label
    )


def _pieces(bone: BoolArray) -> BoolArray:
    """A bone without crumbs, where its arch is apart from its body."""
    pieces, _ = ndimage.label(bone, structure=_TOUCHING)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= ARCH_SHARE * sizes.sum())[pieces])


def paint_bridges(canvas: Canvas, column: Column) -> None:
    """Fill a part of the space of fused facet joints with bone; the labels stay apart."""
    for facet in column.facets:
        if not facet.fused:
            continue
        size = facet.size
        full = (0.6 * size.height, 0.6 * size.width, size.gap + 3.0)
        edge = facet.centre + 0.25 * size.height * facet.axes[0]
        solid = Solid(IDENTITY, (Part(Slab(edge, full, facet.axes, 0.8), 0.0),))
        box = canvas.grid.box_of(solid.bounds, solid.pose, 2.0)
        if box is not None:
            paint_bone(canvas, box, solid.distance(canvas.grid.part(box)), BRIDGE_HU, 0.0)


def _harden(marrow: Field, grid: Grid, column: Column, bone: Bone) -> None:
    """Sclerosis next to degenerate discs and facets, in place."""
    name = bone.vertebra.name
    names = [v.name for v in column.vertebrae]
    index = names.index(name)
    above = disc_severity(names[index - 1], column.config) if index else 0.0
    below = disc_severity(name, column.config)
    if bone.body_shape is not None and (above or below):
        x, y, z = grid.local(bone.vertebra.pose)
        for severity, depth in (
            (above, -bone.body_shape.top(x, y, z)),
            (below, bone.body_shape.bottom(x, y, z)),
        ):
            marrow += np.float32(320 * severity) * np.clip(1 - np.abs(depth) / 8, 0, 1)
    for facet in (*column.facets_of(upper=name), *column.facets_of(lower=name)):
        if facet.severity:
            u, v, phi = facet.coordinates(*grid.local(IDENTITY))
            near = np.clip(1.6 - np.sqrt(u * u + v * v + phi * phi) / 9, 0, 1)
            marrow += np.float32(450 * facet.severity) * near


def paint_metal(canvas: Canvas, column: Column) -> Field | None:
    """Paint screws and rods; the share of metal per voxel, None where there is none."""
    solids = build_metal(column)
    if not solids:
        return None
    share = np.zeros(canvas.grid.shape, dtype=np.float32)
    for solid in solids:
        box = canvas.grid.box_of(solid.bounds, solid.pose, 2.0)
        if box is not None:
            distance = solid.distance(canvas.grid.part(box))
            canvas.paint(box, distance, Tissue.METAL, METAL_HU)
            share[box] = np.maximum(share[box], coverage(distance, canvas.voxel_mm))
    return share
