"""A facet joint as the bone around a plane, where labels say little of it.

Where a lumbar joint lies at its usual place, its region no longer follows how the labels or a walk
divide the bone: it is what bone lies near a disc of the size of an articular surface.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.joints.arch import Arch, Sheet
from CTSpectSpineLib.joints.facets import REGION_MM, Facet, within

_RADIUS_MM = 8.0
"""Radius of the joint, mm. Judgement: half of a lumbar articular surface. Measured on a real CT of
3 mm voxels: 7 to 9 mm do alike, with Dice of 0.66 to 0.68."""
_HALF_MM = 0.6
"""Half the thickness of the plane, mm. Numerical: a little over half a voxel leaves no holes."""
_LABELLED_SHARE = 0.25
"""Share of full bone from which a voxel that labels call bone is bone. Judgement: more than soft
tissue; porous bone that no cortex encloses. Measured against given labels: 0.2 to 0.35 raise Dice
by 0.02 to 0.03 on two real CTs; phantoms, whose cortices enclose all, change by 0.005."""
_LEAST_VOXELS = 60
"""Fewest voxels of the plane in bone. Judgement: a third of the disc."""


def facet_on_plane(arch: Arch, sheet: Sheet) -> Facet | str:
    """The joint whose space is a plane in the bone, or in a sentence why there is none.

    Parameters
    ----------
    arch
        The bone, on the CT.
    sheet
        The plane of the joint space.
    """
    pair = arch.pair
    axes = (pair.l_mm[None, None, :], pair.p_mm[None, :, None], pair.s_mm[:, None, None])
    away = [axis - middle for axis, middle in zip(axes, sheet.middle, strict=True)]
    across = sum(a * n for a, n in zip(away, sheet.normal, strict=True))
    inside = sum(a * a for a in away) - across**2 <= _RADIUS_MM**2
    bone = np.zeros(pair.grid.shape, dtype=bool)
    labelled = (arch.labels[0] | arch.labels[1]) & (arch.share >= _LABELLED_SHARE)
    bone[arch.box] = arch.bone | labelled
    # The space between both bones belongs to the joint.
    whole = ndimage.binary_closing(bone, np.ones((3, 3, 3), dtype=bool))
    plane = (np.abs(across) <= _HALF_MM) & inside & whole
    if np.count_nonzero(plane) < _LEAST_VOXELS:
        return "the CT shows no bone at its usual place"
    k, j, i = np.nonzero(plane)
    middle = np.array([pair.l_mm[i].mean(), pair.p_mm[j].mean(), pair.s_mm[k].mean()])
    near = within(plane, REGION_MM)
    return Facet(region=whole & near, bone=bone & near, centre=pair.to_lps(middle), sheet=plane)
