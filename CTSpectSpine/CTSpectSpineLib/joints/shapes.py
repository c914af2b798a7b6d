"""Vertebrae as clouds of points: what is thick (the body), what is thin (the arch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import Grid, affine, apply_matrix
from CTSpectSpineLib.joints.label_volume import LabelVolume, occupancy
from CTSpectSpineLib.model import BoolArray, FloatArray, Region

STEP_MM = 1.5
"""Step at which vertebrae are sampled, mm. Numerical: a column of 24 vertebrae takes a few seconds,
and fits average over many voxels."""
_CORE_SHARE = 0.7
"""Least depth of the core, relative to the deepest point. Judgement: the body alone is that
thick."""
_OPENING_SHARE = 0.6
"""Radius of the ball that tells body from arch, in inscribed radii. Judgement: too large for
pedicles and processes, small enough for the body's corners."""
_PIECE_SHARE = 0.1
"""Least volume of a loose piece, relative to the largest. Judgement: less is a stray label; an arch
that is apart from its body has more."""
_SLIVER_VOLUME = 0.35
"""Volume, relative to the neighbours', below which a vertebra is a sliver. Measured on correct
labels of three patients and six phantoms: whole vertebrae have 0.60 and more."""
_SLIVER_RADIUS = 0.5
"""The same for the inscribed radius. Measured on correct labels of three patients and six phantoms:
0.54 (a collapsed body) and more."""


@dataclass(frozen=True)
class Shape:
    """One vertebra, sampled at about 1.5 mm.

    Attributes
    ----------
    level
        Name of the vertebra.
    points
        Bone voxels, LPS mm, shape (n, 3).
    depth
        Distance of each voxel to the surface of the bone, mm, shape (n,).
    thick
        Which voxels belong to the body: those that a ball of 0.6 of the inscribed radius
        reaches without leaving the bone, shape (n,).
    border
        Which voxels lie on the border of the label map, shape (n,).
    centre
        Centroid of the thickest part (depth above 0.7 of its maximum), LPS mm.
    radius
        Largest inscribed radius, mm.
    """

    level: str
    points: FloatArray
    depth: FloatArray
    thick: BoolArray
    border: BoolArray
    centre: FloatArray
    radius: float

    @property
    def volume_mm3(self) -> float:
        """Volume of the vertebra in mm³."""
        return len(self.points) * STEP_MM**3

    @property
    def cut_share(self) -> float:
        """Share of the body's voxels that lie on the border of the label map."""
        return float(self.border[self.thick].mean())


def shape_of(volume: LabelVolume, level: str, ids: Sequence[int]) -> Shape | None:
    """Sample one vertebra; None when nothing of it is left at 1.5 mm."""
    box = volume.box(ids)
    if box is None:
        return None
    mask_grid = _snapped_grid(volume, box)
    bone = _without_crumbs(occupancy(volume, ids, mask_grid) >= 0.5)
    if not bone.any():
        return None
    depth = ndimage.distance_transform_edt(bone) * STEP_MM
    radius = float(depth.max())
    core = _largest(depth >= _CORE_SHARE * radius, depth)
    ball = _OPENING_SHARE * radius
    eroded, _ = ndimage.label(depth >= ball)
    seed = eroded[np.unravel_index(np.argmax(np.where(core, depth, 0)), depth.shape)]
    thick = bone & (ndimage.distance_transform_edt(eroded != seed) * STEP_MM < ball)
    points = Region(bone, mask_grid.ijk_to_lps).points_mm()
    return Shape(
        level=level,
        points=points,
        depth=depth[bone],
        thick=thick[bone],
        border=volume.at_border(points),
        centre=Region(core, mask_grid.ijk_to_lps).centre_mm(),
        radius=radius,
    )


def slivers(shapes: Mapping[str, Shape]) -> frozenset[str]:
    """Levels of which only a sliver is there, by comparison with their neighbours.

    A vertebra is a sliver when its volume is under 35 % of its neighbours', or its inscribed
    radius under half of theirs. C1 has no body and the sacrum no equal; neither is judged.
    """
    names = [name for name in shapes if name not in ("C1", "S1", "sacrum")]
    found = set()
    for place, name in enumerate(names):
        near = [shapes[n] for n in names[max(place - 2, 0) : place + 3] if n != name]
        if not near:
            continue
        volume = float(np.median([s.volume_mm3 for s in near]))
        radius = float(np.median([s.radius for s in near]))
        shape = shapes[name]
        if shape.volume_mm3 < _SLIVER_VOLUME * volume or shape.radius < _SLIVER_RADIUS * radius:
            found.add(name)
    return frozenset(found)


def _snapped_grid(volume: LabelVolume, box: tuple[slice, slice, slice]) -> Grid:
    """LPS-aligned grid around a box whose nodes are multiples of the step.

    So the samples, and all that follows, do not depend on the order of the image's axes.
    """
    ends = [(b.start - 1.0, float(b.stop)) for b in box[::-1]]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = apply_matrix(volume.matrix, corners)
    low = np.floor(corners.min(axis=0) / STEP_MM) - 1
    high = np.ceil(corners.max(axis=0) / STEP_MM) + 1
    i, j, k = (int(n) for n in high - low + 1)
    return Grid((i, j, k), affine(STEP_MM * np.eye(3), low * STEP_MM))


def _without_crumbs(bone: BoolArray) -> BoolArray:
    """Drop stray pieces under 10 % of the largest one."""
    pieces, count = ndimage.label(bone, structure=np.ones((3, 3, 3)))
    if count < 2:
        return bone
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= _PIECE_SHARE * sizes.max())[pieces])


def _largest(mask: BoolArray, weight: FloatArray) -> BoolArray:
    """The connected piece of a mask with the largest sum of a weight."""
    pieces, count = ndimage.label(mask)
    sums = ndimage.sum_labels(weight, pieces, index=np.arange(1, count + 1))
    return np.asarray(pieces == int(np.argmax(sums)) + 1)
