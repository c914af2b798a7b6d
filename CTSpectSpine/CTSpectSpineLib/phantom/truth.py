"""The true joints, from the construction itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from CTSpectSpineLib.anatomy import level_name, spine_region
from CTSpectSpineLib.geometry import affine
from CTSpectSpineLib.model import FloatArray, Joint, Region
from CTSpectSpineLib.phantom.anatomy.body import Disc
from CTSpectSpineLib.phantom.anatomy.column import Column
from CTSpectSpineLib.phantom.anatomy.facet_joints import Facet
from CTSpectSpineLib.phantom.anatomy.shapes import IDENTITY, Grid, inside, keep_apart
from CTSpectSpineLib.phantom.anatomy.vertebra import APART_MM, Bone

BAND_MM = 4.0
"""Thickness of the endplate bands. By definition: that of `joints.discs`; a test keeps them
equal."""
FACET_REACH_MM = 4.0
"""Facet bone is within this distance of the articular interface. By definition: that of
`joints.facets`; a test keeps them equal."""
STEP_MM = 1.0
"""Voxels of the true regions. Numerical: a quarter of the bands."""


def true_joints(
    column: Column, bones: Mapping[str, Bone], step_mm: float = STEP_MM
) -> tuple[Joint, ...]:
    """All joints whose two bones are given, cranial to caudal, on voxels of a given size."""
    joints: list[Joint] = []
    for upper, lower in column.pair_poses:
        if upper not in bones or lower not in bones:
            continue
        if upper != "C1":
            joints.append(_disc_joint(column, bones[upper], bones[lower], step_mm))
        joints += [
            _facet_joint(f, bones[upper], bones[lower], step_mm)
            for f in column.facets_of(upper=upper, lower=lower)
        ]
    return tuple(joints)


def disc_between(upper: Bone, lower: Bone) -> Disc:
    """The disc between two bones.

    Raises
    ------
    ValueError
        If either has no vertebral body with endplates (the atlas).
    """
    if upper.body_shape is None or lower.body_shape is None:
        raise ValueError(f"no disc between {upper.vertebra.name} and {lower.vertebra.name}")
    return Disc(upper.vertebra, lower.vertebra, upper.body_shape, lower.body_shape)


def centred_grid(centre: FloatArray, axes: FloatArray, half: FloatArray, step: float) -> Grid:
    """Grid around a point; rows of `axes` are the directions of i, j, k in LPS."""
    count = np.ceil(half / step).astype(int)
    matrix = affine(axes.T * step, centre)
    matrix[:3, 3] -= matrix[:3, :3] @ count
    shape = 2 * count + 1
    return Grid(matrix, (int(shape[2]), int(shape[1]), int(shape[0])))


def _disc_joint(column: Column, upper: Bone, lower: Bone, step_mm: float) -> Joint:
    """Disc space and the bands of bone next to it."""
    names = upper.vertebra.name, lower.vertebra.name
    pose = column.pair_poses[names]
    size = upper.vertebra.size
    wide = 0.5 * max(size.width, lower.vertebra.size.width)
    deep = 0.5 * max(size.depth, lower.vertebra.size.depth)
    half = np.array([wide + 6, deep + 6, 0.5 * size.disc + BAND_MM + 10])
    grid = centred_grid(pose.origin, pose.rotation.T, half, step_mm)
    disc = disc_between(upper, lower)
    above, below, _ = disc.surfaces(grid)
    upper_body, lower_body = upper.body.distance(grid), lower.body.distance(grid)
    space = inside(disc.distance(grid)) & ~inside(upper_body) & ~inside(lower_body)
    band_upper = inside(upper_body) & (above >= 0) & (above <= BAND_MM)
    band_lower = inside(lower_body) & (below >= 0) & (below <= BAND_MM)
    bone = band_upper | band_lower
    region = Region(space | bone, grid.matrix)
    level = level_name(*names)
    return Joint(
        f"{level} disc",
        level,
        "disc",
        "",
        spine_region(names[0]),
        *names,
        region,
        Region(bone, grid.matrix),
        Region(space, grid.matrix).centre_mm(),
        {
            "disc_space": Region(space, grid.matrix),
            "endplate_upper": Region(band_upper, grid.matrix),
            "endplate_lower": Region(band_lower, grid.matrix),
        },
    )


def _facet_joint(facet: Facet, upper: Bone, lower: Bone, step_mm: float) -> Joint:
    """Bone of both articular processes near the interface, and the gap between them."""
    size = facet.size
    reach = FACET_REACH_MM + 1
    half = np.array([0.5 * size.height + reach, 0.5 * size.width + reach, reach + 3])
    grid = centred_grid(facet.centre, facet.axes, half, step_mm)
    x, y, z = grid.local(IDENTITY)
    u, v, phi = facet.coordinates(x, y, z)
    over_u = np.maximum(np.abs(u) - np.float32(0.5 * size.height), 0)
    over_v = np.maximum(np.abs(v) - np.float32(0.5 * size.width), 0)
    near = np.sqrt(over_u**2 + over_v**2 + phi**2) <= FACET_REACH_MM
    upper_distance, lower_distance = upper.whole.distance(grid), lower.whole.distance(grid)
    keep_apart(upper_distance, lower_distance, APART_MM)
    upper_bone = inside(upper_distance) & (phi > 0)
    lower_bone = inside(lower_distance) & (phi <= 0)
    bone = (upper_bone | lower_bone) & near
    patch = (over_u == 0) & (over_v == 0)
    gap = (np.abs(phi) <= np.float32(0.5 * size.gap + 0.5)) & patch & ~bone
    return Joint(
        f"{facet.level} facet {facet.side}",
        facet.level,
        "facet",
        facet.side,
        spine_region(facet.upper),
        facet.upper,
        facet.lower,
        Region(bone | gap, grid.matrix),
        Region(bone, grid.matrix),
        facet.centre,
        {
            "facet_upper": Region(upper_bone & near, grid.matrix),
            "facet_lower": Region(lower_bone & near, grid.matrix),
        },
    )
