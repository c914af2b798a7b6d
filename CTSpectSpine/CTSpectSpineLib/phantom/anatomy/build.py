"""A procedural patient: one call builds CT, labels, tissues and true joints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from CTSpectSpineLib.anatomy import SACRUM
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import affine, image_from_array
from CTSpectSpineLib.model import FloatArray, Joint, Region
from CTSpectSpineLib.phantom.anatomy.atlas import build_atlas, build_axis
from CTSpectSpineLib.phantom.anatomy.bones import (
    paint_bridges,
    paint_column,
    paint_discs,
    paint_metal,
    paint_other_bones,
)
from CTSpectSpineLib.phantom.anatomy.canvas import Canvas
from CTSpectSpineLib.phantom.anatomy.column import Column, build_column, disc_severity
from CTSpectSpineLib.phantom.anatomy.pelvis import build_sacrum
from CTSpectSpineLib.phantom.anatomy.shapes import Field, Grid
from CTSpectSpineLib.phantom.anatomy.torso import paint_torso
from CTSpectSpineLib.phantom.anatomy.vertebra import Bone, build_bone
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.phantom.scanner.ct import scan
from CTSpectSpineLib.phantom.truth import true_joints

COARSEST_MM = 3.01
"""Voxels longer than this are built in thinner layers and averaged, as thick slices are. Judgement:
up to 3 mm (and rounding) the partial volume at one surface is enough."""
SACRUM_REACH_MM = 112.0
"""From the middle of the S1 body to below the tip of the sacrum. Judgement: its last piece lies 97
mm below (`pelvis`)."""
SHORTEST_MM = 20.0
"""Least length of the field of view. Judgement: shorter than a vertebra shows none."""
LIP_MM = 4.0
"""Osteophytes beside a disc of the highest severity. Judgement: marked, yet short of bridging."""


def make_anatomy(config: SpineConfig) -> Anatomy:
    """Build a patient.

    The same configuration gives the same bytes, however many threads there are.

    Parameters
    ----------
    config
        What to build.

    Returns
    -------
    Anatomy
        CT (int16), labels and tissue (uint8) on one axis-aligned grid, LPS mm, and the joints
        of which at least 98 % lies in the field of view. The S1 endplate's middle is at
        (0, 0, 0).

    Raises
    ------
    InputError
        If the crop leaves next to nothing.
    """
    column = build_column(config)
    coarse = field_of_view(column)
    factor = _layers(coarse.spacing)
    # The patient is built at normal size; a grid of the inverse scale resizes the body.
    grid = _refined(_resized(coarse, 1 / config.size), factor)
    bones = build_bones(column)
    canvas = Canvas.of_air(grid)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    paint_torso(canvas, column, config.seed)
    paint_discs(canvas, column, bones)
    paint_other_bones(canvas, labels, column)
    paint_column(canvas, labels, column, bones)
    paint_bridges(canvas, column)
    metal = paint_metal(canvas, column)
    truth = [resized_joint(j, config.size) for j in true_joints(column, bones)]
    joints = tuple(j for j in truth if _in_view(j, coarse))
    middle = (slice(None), slice(None), slice(None))
    if max(factor) > 1:
        middle = tuple(slice(f // 2, None, f) for f in factor[::-1])  # type: ignore[assignment]
        canvas.hu = _averaged(canvas.hu, factor)
        metal = None if metal is None else _averaged(metal, factor)
    ct = scan(canvas.hu, metal, config, config.spacing)
    return Anatomy(
        image_from_array(ct, coarse.matrix),
        image_from_array(np.ascontiguousarray(labels[middle]), coarse.matrix),
        image_from_array(np.ascontiguousarray(canvas.tissue[middle]), coarse.matrix),
        joints,
    )


def build_bones(column: Column) -> dict[str, Bone]:
    """All vertebrae and the sacrum as solids, by name."""
    special = {SACRUM: build_sacrum, "C1": build_atlas, "C2": build_axis}
    bones: dict[str, Bone] = {}
    above = 0.0
    for v in column.vertebrae:
        below = disc_severity(v.name, column.config) if v.name != SACRUM else 0.0
        if v.name in special:
            bones[v.name] = special[v.name](column)
        else:
            lips = (LIP_MM * above, LIP_MM * below)
            bones[v.name] = build_bone(v, column, lips)
        above = below
    return bones


def field_of_view(column: Column) -> Grid:
    """Give the CT's grid: whole levels plus margin, less the crop.

    Raises
    ------
    InputError
        If the crop leaves less than `SHORTEST_MM`.
    """
    config = column.config
    centres = np.array([v.pose.origin for v in column.vertebrae]) * config.size
    by_name = dict(zip(config.levels, centres, strict=True))
    top, bottom = column[config.first], column[config.last]
    reach = SACRUM_REACH_MM if config.last == SACRUM else 0.5 * bottom.size.height
    up = by_name[config.first][2] + 0.5 * top.size.height * config.size
    up += config.margin_mm - config.crop_mm[0]
    down = by_name[config.last][2] - reach * config.size
    down += config.crop_mm[1] - config.margin_mm
    if up - down < SHORTEST_MM:
        raise InputError(
            f"phantom option crop_mm {config.crop_mm} leaves {max(up - down, 0):.0f} mm of the "
            f"field of view; leave at least {SHORTEST_MM:g} mm."
        )
    heights = centres[:, 2]
    seen = (heights < up) & (heights > down)
    if not seen.any():
        off = np.abs(heights - 0.5 * (up + down))
        seen = off == off.min()
    sides, depths = centres[seen, 0], centres[seen, 1]
    spacing = np.array(config.spacing)
    extent = np.array([config.lateral_mm, config.ap_mm, up - down])
    count = np.maximum(np.rint(extent / spacing).astype(int), 1)
    # More of the body lies in front of the spine than behind it.
    ahead = 0.07 * config.ap_mm
    side = 0.5 * (sides.min() + sides.max())
    centre = np.array([side, depths.mean() - ahead, 0.5 * (up + down)])
    matrix = affine(np.diag(spacing), np.round(centre - 0.5 * (count - 1) * spacing, 3))
    return Grid(matrix, (int(count[2]), int(count[1]), int(count[0])))


def _layers(spacing: FloatArray) -> tuple[int, int, int]:
    """Odd number of thinner voxels that make up one voxel along i, j, k."""
    i, j, k = (1 + 2 * int(np.ceil((s / COARSEST_MM - 1) / 2 - 1e-9)) for s in spacing)
    return i, j, k


def _refined(grid: Grid, factor: tuple[int, int, int]) -> Grid:
    """The grid with each voxel split along i, j, k."""
    f = np.asarray(factor)
    matrix = grid.matrix.copy()
    matrix[:3, :3] = matrix[:3, :3] / f
    matrix[:3, 3] = grid.matrix[:3, 3] - matrix[:3, :3] @ (0.5 * (f - 1))
    nk, nj, ni = grid.shape
    return Grid(matrix, (nk * factor[2], nj * factor[1], ni * factor[0]))


def _resized(grid: Grid, scale: float) -> Grid:
    """The grid in a space of another scale."""
    return Grid(np.diag([scale, scale, scale, 1.0]) @ grid.matrix, grid.shape)


def resized_joint(joint: Joint, scale: float) -> Joint:
    """Give the joint in a space of another scale."""

    def resized(region: Region | None) -> Region | None:
        if region is None:
            return None
        return Region(region.mask, np.diag([scale, scale, scale, 1.0]) @ region.ijk_to_lps)

    parts = {name: resized(part) for name, part in joint.parts.items()}
    return replace(
        joint,
        region=resized(joint.region),
        bone=resized(joint.bone),
        centre_mm=None if joint.centre_mm is None else joint.centre_mm * scale,
        parts={name: part for name, part in parts.items() if part is not None},
    )


def _averaged(values: Field, factor: tuple[int, int, int]) -> Field:
    """Mean over the voxels that make up one coarse voxel."""
    i, j, k = factor
    nk, nj, ni = values.shape
    blocks = values.reshape(nk // k, k, nj // j, j, ni // i, i)
    return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32))


def _in_view(joint: Joint, grid: Grid) -> bool:
    """Whether nearly all of a joint lies in the field of view."""
    if joint.region is None:
        return False
    ijk = (joint.region.points_mm() - grid.matrix[:3, 3]) / np.diag(grid.matrix)[:3]
    within = np.all((ijk > -0.5) & (ijk < np.array(grid.shape[::-1]) - 0.5), axis=1)
    return bool(within.mean() > 0.98)
