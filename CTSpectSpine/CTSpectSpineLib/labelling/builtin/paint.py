"""Labels on the grid of the CT from probabilities on the network's coarse grid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.geometry import Grid, apply_matrix, grid_of, inverse
from CTSpectSpineLib.labelling.builtin.network import Float

_FULL = 250
"""Probability 1 as it is held in a byte. Numerical: it leaves room for rounding."""
BONE_HU = 120.0
"""HU of bone. Measured on the two CTs of the tests; see the next constants."""
BONE_SHARE, SOFT_SHARE = 0.1, 0.4
"""Least probability of a voxel to be labelled, with bone HU and without. The network draws bones a
little too small on real CTs; the CT itself shows where their surface is. Measured on the two CTs of
the tests: 0.06 to 0.2, 0.3 to 0.5 and 80 to 160 HU give a Dice within 0.02 of each other."""


def paint(ct: sitk.Image, grid: Grid, shares: Mapping[int, Float]) -> sitk.Image:
    """Interpolate probabilities linearly to the CT; the likeliest label wins.

    Interpolated probabilities give a surface finer than the coarse voxels, and one between
    neighbours that meet.

    Parameters
    ----------
    ct
        CT in HU; it gives the grid, and the surface of bones.
    grid
        Grid of the probabilities.
    shares
        Label to its probability on `grid`, ``[k, j, i]``.

    Returns
    -------
    SimpleITK.Image
        uint8 on the CT's grid.
    """
    target = grid_of(ct)
    best = np.zeros(target.shape, dtype=np.uint8)
    total = np.zeros(target.shape, dtype=np.uint8)
    labels = np.zeros(target.shape, dtype=np.uint8)
    to_ct = inverse(target.ijk_to_lps) @ grid.ijk_to_lps
    for label, share in shares.items():
        boxes = ndimage.find_objects((share > 0.02).astype(np.uint8))
        if not boxes or boxes[0] is None:
            continue
        low = np.array([max(0, s.start - 2) for s in boxes[0]])
        high = np.array([min(n, s.stop + 2) for s, n in zip(boxes[0], share.shape, strict=True)])
        box = _box_on(target, to_ct, low, high)
        if box is None:
            continue
        cut = share[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        moving = sitk.GetImageFromArray(np.rint(np.clip(cut, 0, 1) * _FULL).astype(np.uint8))
        moving.SetSpacing(grid.spacing_mm.tolist())
        moving.SetOrigin(apply_matrix(grid.ijk_to_lps, low[None, ::-1])[0].tolist())
        part = _resampled(moving, ct, box)
        cell = best[box]
        wins = part > cell
        cell[wins] = part[wins]
        labels[box][wins] = label
        total[box] = np.minimum(total[box].astype(np.uint16) + part, 255).astype(np.uint8)
    hu = sitk.GetArrayViewFromImage(ct)
    for plane, sums, values in zip(labels, total, hu, strict=True):
        least = np.where(values > BONE_HU, BONE_SHARE * _FULL, SOFT_SHARE * _FULL)
        plane[sums < least] = 0
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(ct)
    return image


def _box_on(
    target: Grid, to_ct: NDArray[np.float64], low: NDArray[np.intp], high: NDArray[np.intp]
) -> tuple[slice, slice, slice] | None:
    """Part of the CT that a box of the coarse grid covers; None when it is outside."""
    ends = np.stack([low[::-1] - 0.5, high[::-1] - 0.5])
    corners = np.stack(np.meshgrid(*ends.T, indexing="ij"), axis=-1).reshape(-1, 3)
    index = apply_matrix(to_ct, corners)
    first = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
    last = np.minimum(np.ceil(index.max(axis=0)) + 1, target.size).astype(int)
    if np.any(last <= first):
        return None
    i, j, k = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return k, j, i


def _resampled(
    moving: sitk.Image, ct: sitk.Image, box: tuple[slice, slice, slice]
) -> NDArray[np.uint8]:
    """A coarse image on a part of the CT's grid."""
    k, j, i = box
    reference = sitk.Image([s.stop - s.start for s in (i, j, k)], sitk.sitkUInt8)
    reference.SetSpacing(ct.GetSpacing())
    reference.SetDirection(ct.GetDirection())
    reference.SetOrigin(ct.TransformIndexToPhysicalPoint([s.start for s in (i, j, k)]))
    part = sitk.Resample(
        moving, reference, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkUInt8, True
    )
    return np.asarray(sitk.GetArrayFromImage(part))
