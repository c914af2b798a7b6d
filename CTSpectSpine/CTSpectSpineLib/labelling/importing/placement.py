"""Labels onto the grid of the CT, and whether they lie on its bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import (
    Box,
    apply_matrix,
    grid_of,
    inverse,
    label_box,
    label_counts,
)
from CTSpectSpineLib.model import FloatArray

_BONE_HU = 150.0
"""HU of bone. Judgement: above soft tissue; the cortex reaches it even in osteoporosis."""
_LEAST_BONE = 0.05
"""Least share of bone in the labels. Judgement: a cortex alone is more."""
_COLUMN = 3
"""Labels that make a column. Judgement: around fewer, unlabelled neighbours are bone too."""
_CONTRAST = {"column": (2.4, 4.0), "few": (1.8, 2.5)}
"""Least ratio of bone inside to around: below the first refused, below the second doubtful.

Measured on two CTs: 10 to 34 for columns in place, 3.5 to 10 for single vertebrae, 2.3 for a
sacrum without S1; at most 2.3 for columns shifted by 10 mm or more.
"""
_RING_MM = 9.0
"""Width of the ring around labels. Judgement: wide beside the blurred edge of 3 mm, and still
soft tissue for the most part."""
_CHECK_SPACING_MM = 2.5
"""Numerical: shares of volume need no finer grid."""


@dataclass(frozen=True)
class BoneContent:
    """Share of voxels with bone HU inside the labels, and in a ring around them."""

    inside: float
    around: float

    @property
    def contrast(self) -> float:
        """How much more bone is inside than around."""
        return self.inside / max(self.around, 1e-3)


def place_on_ct(
    labels: sitk.Image, ct: sitk.Image, name: str
) -> tuple[sitk.Image, tuple[str, ...]]:
    """Labels on the grid of the CT (nearest neighbour where the grids differ).

    Raises
    ------
    InputError
        If the labels lie outside the CT.
    """
    grid, target = grid_of(labels), grid_of(ct)
    if _is_same_grid(labels, ct):
        return labels, ()
    if grid.matches(target, tolerance=0.05):
        same = sitk.Image(labels)
        same.CopyInformation(ct)
        return same, ()
    box = _label_box(labels)
    ends = np.array([(s.start - 0.5, s.stop - 0.5) for s in box[::-1]])
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    to_ct = inverse(target.ijk_to_lps) @ grid.ijk_to_lps
    index = apply_matrix(to_ct, corners)
    low = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(index.max(axis=0)) + 1, target.size).astype(int)
    if np.any(high <= low):
        raise _outside(name)
    reference = sitk.Image((high - low).tolist(), sitk.sitkUInt8)
    reference.SetSpacing(ct.GetSpacing())
    reference.SetDirection(ct.GetDirection())
    reference.SetOrigin(ct.TransformIndexToPhysicalPoint(low.tolist()))
    part = sitk.Resample(labels, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    array = np.zeros(target.shape, dtype=np.uint8)
    (i, j, k), (ni, nj, nk) = low, high
    array[k:nk, j:nj, i:ni] = sitk.GetArrayViewFromImage(part)
    before = np.count_nonzero(sitk.GetArrayViewFromImage(labels)) * np.prod(grid.spacing_mm)
    kept = np.count_nonzero(array) * np.prod(target.spacing_mm) / before
    if kept < 0.01:
        raise _outside(name)
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(ct)
    notes = [
        f"The labels have another grid ({_size(grid.spacing_mm)} mm) than the CT "
        f"({_size(target.spacing_mm)} mm): they were resampled."
    ]
    if kept < 0.95:
        notes.append(f"{1 - kept:.0%} of the labelled volume lies outside of the CT.")
    return result, tuple(notes)


def _is_same_grid(labels: sitk.Image, ct: sitk.Image) -> bool:
    """Whether the grids are equal to the last digit, so that no copy is needed."""
    return all(
        one(labels) == one(ct)
        for one in (
            sitk.Image.GetSize,
            sitk.Image.GetOrigin,
            sitk.Image.GetSpacing,
            sitk.Image.GetDirection,
        )
    )


def check_on_bone(labels: sitk.Image, ct: sitk.Image, name: str) -> tuple[str, ...]:
    """Check that labels on the CT's grid lie on bone.

    Compares the share of voxels of at least 150 HU inside the labels with that in a ring
    of 9 mm around them. Osteoporotic vertebrae still have a cortex; soft tissue has none.

    Returns
    -------
    tuple of str
        A sentence where the labels fit the bones poorly.

    Raises
    ------
    InputError
        If the labels do not lie on bone.
    """
    content = bone_content(labels, ct)
    present = np.count_nonzero(label_counts(sitk.GetArrayViewFromImage(labels))) - 1
    refused, doubtful = _CONTRAST["column" if present >= _COLUMN else "few"]
    if content.inside < _LEAST_BONE or content.contrast < refused:
        raise InputError(
            f"{name}: the labels do not lie on the bones of the CT ({content.inside:.0%} of their "
            f"voxels are bone, {content.around:.0%} around them); check that they belong to this "
            "CT and were not moved."
        )
    if content.contrast < doubtful:
        return (
            f"The labels fit the bones of the CT poorly ({content.inside:.0%} bone inside of "
            f"them, {content.around:.0%} around): check that they are not shifted.",
        )
    return ()


def bone_content(labels: sitk.Image, ct: sitk.Image) -> BoneContent:
    """Share of bone inside all labels and in a ring around them, on a thinned grid."""
    spacing = grid_of(ct).spacing_mm[::-1]
    stride = np.maximum(1, np.floor(_CHECK_SPACING_MM / spacing)).astype(int)
    box = _label_box(labels)
    margin = np.ceil(_RING_MM / spacing).astype(int)
    cut = tuple(
        slice(max(0, s.start - m), s.stop + m, step)
        for s, m, step in zip(box, margin, stride, strict=True)
    )
    inside = sitk.GetArrayViewFromImage(labels)[cut] > 0
    bone = sitk.GetArrayViewFromImage(ct)[cut] >= _BONE_HU
    # ITK's transform takes a third of the memory and time of SciPy's; outside they are equal.
    mask = sitk.GetImageFromArray(inside.view(np.uint8))
    mask.SetSpacing((spacing * stride)[::-1].tolist())
    distance = sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(mask, squaredDistance=False, useImageSpacing=True)
    )
    # The nearest voxels are left out: the edge of bone is blurred and labels are a bit tight.
    ring = (distance > 3.0) & (distance <= _RING_MM)
    around = float(bone[ring].mean()) if ring.any() else 0.0
    return BoneContent(float(bone[inside].mean()), around)


def _label_box(labels: sitk.Image) -> Box:
    """Bounding box of all labels, of which there are some, ``(k, j, i)``."""
    box = label_box(sitk.GetArrayViewFromImage(labels))
    assert box is not None
    return box


def _outside(name: str) -> InputError:
    return InputError(
        f"{name}: the labels lie outside of the CT; give the labels of this CT (same position in "
        "space)."
    )


def _size(spacing: FloatArray) -> str:
    return " x ".join(f"{v:.2g}" for v in spacing)
