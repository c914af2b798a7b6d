"""Whether a joint space that was found on the CT is one: a dark line between two bright cortices.

Darkness alone does not say so: fat and muscle beside an articular process are as dark, and where
voxels are wider than the space, the darkest way through the bone is a matter of chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.joints.arch import Arch
from CTSpectSpineLib.joints.motion_segment import Pair
from CTSpectSpineLib.model import BoolArray, FloatArray

TOO_WIDE = "the CT's voxels are wider than a joint space"
"""Convention: why no line can be seen on voxels of 3 mm."""
_WIDEST_VOXEL_MM = 2.0
"""Widest voxel, across the space, that can show it, mm. Judgement: the space itself, 1.5 to 2.5 mm
wide; wider voxels always hold some of a cortex. Measured on phantoms: lines on voxels of 3 mm lie
2.6 to 3.7 mm from the joint, on voxels of up to 2 mm 0.5 to 1.9 mm."""
_WIDEST_RELATIVE = 1.02
"""By how much more a voxel's size may be rounded up. Numerical: headers round sizes."""
_BESIDE_VOXELS = 7
"""Edge of the cube in which the cortex of either side is looked for, voxels of 1 mm. Judgement: 3
mm away, half the space and a subchondral plate."""
_DEEP = 0.3
"""How much darker than both cortices a line is, as a share of full bone. Judgement: half of what a
space of 2 mm keeps of its depth on voxels of its own width."""
_SEEN, _SEEN_THIRD = 0.8, 0.7
"""Least part of a joint space, and of each third of its height, that is such a line. Judgement:
nearly all; cortices may touch in places. Measured on 128 joints of phantoms with voxels of 1 and
1.5 mm: 0.8 and more in 9 of 10, whose centres then lie 0.7 mm from the true ones; on a real CT of 3
mm 0.05 to 0.7."""


@dataclass(frozen=True)
class Line:
    """How a joint space looks on the CT.

    Attributes
    ----------
    depth
        How much darker it is than the cortices of both sides, as a mean share of full bone.
    obstacle
        In a sentence why it is not to be relied on; empty if it is.
    """

    depth: float
    obstacle: str


def may_show_lines(arch: Arch) -> bool:
    """Whether voxels are small enough, in any direction, to show a joint space."""
    return bool(np.linalg.norm(arch.voxel_mm, axis=1).min() <= _WIDEST_VOXEL_MM * _WIDEST_RELATIVE)


def read_line(arch: Arch, divided: Pair, sheet: BoolArray) -> Line:
    """Look at a joint space between the two bones that it divides.

    Parameters
    ----------
    arch
        The bone, on the CT.
    divided
        The pair as divided there.
    sheet
        The joint space, on the grid of the pair.
    """
    space = sheet[arch.box]
    if not space.any():
        return Line(0.0, "no joint space was found on the CT")
    beside = [
        ndimage.maximum_filter(np.where(bone[arch.box] >= 0.5, arch.share, 0.0), _BESIDE_VOXELS)
        for bone in (divided.upper_bone, divided.lower_bone)
    ]
    depth = (np.minimum(*beside) - arch.share)[space]
    points = np.column_stack(
        [np.broadcast_to(axis, space.shape)[space] for axis in arch.coordinates()]
    )
    mean = float(depth.mean())
    if _voxel_across(arch, points) > _WIDEST_VOXEL_MM * _WIDEST_RELATIVE:
        return Line(mean, TOO_WIDE)
    seen = depth >= _DEEP
    height = points[:, 2]
    third = np.searchsorted(np.quantile(height, [1 / 3, 2 / 3]), height)
    least = min(float(seen[third == part].mean()) for part in np.unique(third))
    if seen.mean() < _SEEN or least < _SEEN_THIRD:
        return Line(mean, "the CT does not show the joint space throughout")
    return Line(mean, "")


def _voxel_across(arch: Arch, points: FloatArray) -> float:
    """Size of the CT's voxels across the plane of best fit of some points, mm."""
    _, _, directions = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return float(np.linalg.norm(arch.voxel_mm @ directions[-1]))
