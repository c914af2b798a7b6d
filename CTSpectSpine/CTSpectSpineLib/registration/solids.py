"""What is bright in a CT and no bone: contrast in heart, vessels and kidneys; arms and couch.

Bone is a shell about marrow: at 12 mm it varies much, and nowhere is it bright over several
centimetres. Blood with contrast agent is even, or bright over more than a vertebra's height.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import content_box
from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.registration.blocks import Float32Array

BRIGHT_HU = 130.0
"""Mean HU of a map's voxel from which it is bright. Judgement: above muscle, liver and blood
without contrast agent, below blood with it."""
THICK_MM = 16.0
"""Half the height of an octahedron of bright voxels that is no bone of the trunk. Judgement: half
the height of a vertebra is 13 mm, that of a heart 40 mm. The heads of the femora count as well,
which does no harm: what is thick is taken from the map of bone, not from the model."""
EVEN_HU, EVEN_SHARE = 170.0, 0.16
"""Mean HU and standard deviation over the mean, in a cube of three voxels, of blood with contrast
agent. Measured on a chest with contrast agent: aorta 400 HU and 0.06 to 0.14, vertebrae 130 HU and
0.4 to 1."""
LEAST_ML = 25.0
"""Smallest connected even region, ml. Judgement: the inner part of a lumbar body, where cubes lie
wholly in it, is 22 ml at most, even where a CT shows it without texture."""
GROWN_MM = 12.0
"""How far an even region reaches beyond the cubes that lie in it, mm. By definition: a cube's
edge."""
EDGE_MM = 5.0
"""How much farther solid regions reach, through bright voxels only, mm. Judgement: about a voxel,
for edges that share a voxel with other tissue."""
TISSUE_HU = -300.0
"""HU above which a voxel is tissue. Judgement: between lung and fat."""


def solid_regions(mean_hu: Float32Array, square: Float32Array, spacing_mm: FloatArray) -> BoolArray:
    """Bright voxels that are no bone: thick or even regions.

    Parameters
    ----------
    mean_hu, square
        Mean of HU and of its square in each voxel, shape (k, j, i).
    spacing_mm
        Voxel size along i, j, k.
    """
    bright = mean_hu > BRIGHT_HU
    if not bright.any():
        return np.zeros(bright.shape, dtype=bool)
    steps = int(np.ceil(THICK_MM / float(spacing_mm.min())))
    thick = _eroded(bright, steps, border=True)
    even = np.zeros_like(bright)
    box = content_box(bright)
    assert box is not None, "some voxel is bright"
    around = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in box)
    local = ndimage.uniform_filter(mean_hu[around], 3, mode="nearest")
    variance = ndimage.uniform_filter(square[around], 3, mode="nearest") - local * local
    even[around] = (local > EVEN_HU) & (variance < (EVEN_SHARE * local) ** 2)
    even &= bright
    even = _large(even, LEAST_ML * 1000.0 / float(np.prod(spacing_mm)))
    solid = _grown(thick, THICK_MM + EDGE_MM, spacing_mm) | _grown(
        even, GROWN_MM + EDGE_MM, spacing_mm
    )
    return np.asarray(solid & bright)


def outside_trunk(mean_hu: Float32Array, spacing_mm: FloatArray) -> BoolArray:
    """Voxels that do not belong to the largest body: arms, couch, cushions, air.

    Parameters
    ----------
    mean_hu
        Mean HU of each voxel, shape (k, j, i).
    spacing_mm
        Voxel size along i, j, k.
    """
    tissue = mean_hu > TISSUE_HU
    names, count = ndimage.label(_dilated(_eroded(tissue, 1, border=False), 1))
    if count == 0:
        return np.zeros(tissue.shape, dtype=bool)
    sizes = np.bincount(names.reshape(-1))
    sizes[0] = 0
    trunk = _dilated(names == int(np.argmax(sizes)), 2)
    return np.asarray(~trunk)


def _eroded(mask: BoolArray, times: int, border: bool) -> BoolArray:
    """What is left of a mask where each voxel goes with any of its six neighbours.

    `border` says whether the mask goes on beyond the volume.
    """
    for _ in range(times):
        left = mask.copy()
        for axis in range(3):
            first, last = np.moveaxis(left, axis, 0), np.moveaxis(mask, axis, 0)
            first[1:] &= last[:-1]
            first[:-1] &= last[1:]
            if not border:
                first[0] = first[-1] = False
        mask = left
    return mask


def _dilated(mask: BoolArray, times: int) -> BoolArray:
    """A mask with the six neighbours of each of its voxels, inside the volume."""
    return ~_eroded(~mask, times, border=True)


def _grown(mask: BoolArray, by_mm: float, spacing_mm: FloatArray) -> BoolArray:
    """The mask and what lies near it, looked for in the box where it can lie."""
    box = content_box(mask)
    if box is None:
        return mask
    margin = np.ceil(by_mm / spacing_mm[::-1]).astype(int).tolist()
    near = tuple(slice(max(p.start - m, 0), p.stop + m) for p, m in zip(box, margin, strict=True))
    away = ndimage.distance_transform_edt(~mask[near], sampling=spacing_mm[::-1].tolist())
    grown = np.zeros_like(mask)
    grown[near] = away <= by_mm
    return grown


def _large(mask: BoolArray, least: float) -> BoolArray:
    """The connected parts of at least so many voxels."""
    names, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(names.reshape(-1))
    sizes[0] = 0
    return np.asarray((sizes >= least)[names])
