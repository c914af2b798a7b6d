"""Label maps that divide the bone otherwise than the joints do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import apply_matrix, grid_of, inverse
from CTSpectSpineLib.model import FloatArray, Joint

TIP_MM = 2.0
"""How far below the middle of a joint the tip begins that changes its label, mm. Measured on
built-in labels of phantoms: the tips of the inferior processes go to the vertebra below from
there."""
REACH_MM = 13.0
"""Farthest part of a tip from the middle of its joint, mm. Judgement: half a long joint and its
process."""
GROWN_MM = 1.5
"""How far labels grow, mm. Judgement: about a voxel of a usual label map."""


def as_given(labels: sitk.Image, joints: Sequence[Joint]) -> sitk.Image:
    """The labels themselves."""
    del joints
    return labels


def eroded(labels: sitk.Image, joints: Sequence[Joint]) -> sitk.Image:
    """Every label without its outermost voxels."""
    del joints
    array = sitk.GetArrayFromImage(labels)
    kept = np.zeros_like(array)
    for label in np.unique(array[array > 0]):
        box = ndimage.find_objects((array == label).astype(np.uint8))[0]
        kept[box][ndimage.binary_erosion(array[box] == label)] = label
    return _like(kept, labels)


def grown(labels: sitk.Image, joints: Sequence[Joint]) -> sitk.Image:
    """Every label 1.5 mm larger, neighbours in contact."""
    del joints
    array = sitk.GetArrayFromImage(labels)
    spacing = labels.GetSpacing()[::-1]
    distance, nearest = ndimage.distance_transform_edt(
        array == 0, sampling=spacing, return_indices=True
    )
    return _like(np.where(distance <= GROWN_MM, array[tuple(nearest)], 0), labels)


def tips(labels: sitk.Image, joints: Sequence[Joint]) -> sitk.Image:
    """The tips of the inferior articular processes carry the label of the vertebra below."""
    array = sitk.GetArrayFromImage(labels)
    grid = grid_of(labels)
    spacing = grid.spacing_mm
    bodies = {j.level: j.centre_mm for j in joints if j.kind == "disc"}
    for joint in joints:
        if joint.kind != "facet" or joint.centre_mm is None or joint.upper == "C1":
            continue
        middle = apply_matrix(inverse(grid.ijk_to_lps), joint.centre_mm[None])[0]
        low = np.maximum(np.floor(middle - REACH_MM / spacing), 0).astype(int)
        high = np.ceil(middle + REACH_MM / spacing).astype(int) + 1
        box = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
        part = array[box]
        index = np.argwhere(np.isin(part, _ids(joint.upper)))[:, ::-1] + low
        if len(index) == 0:
            continue
        away = apply_matrix(grid.ijk_to_lps, index.astype(float)) - joint.centre_mm
        below = away @ _up(joint.level, bodies) < -TIP_MM
        tip = index[below & (np.linalg.norm(away, axis=1) < REACH_MM)] - low
        part[tuple(tip[:, ::-1].T)] = _ids(joint.lower)[0]
    return _like(array, labels)


def resampled(spacing_mm: float) -> Callable[[sitk.Image, Sequence[Joint]], sitk.Image]:
    """Labels on coarser voxels, by nearest neighbour."""

    def change(labels: sitk.Image, joints: Sequence[Joint]) -> sitk.Image:
        del joints
        old = np.asarray(labels.GetSpacing())
        count = np.maximum((np.asarray(labels.GetSize()) * old / spacing_mm).astype(int), 1)
        shift = 0.5 * (spacing_mm - old)
        origin = np.asarray(labels.TransformContinuousIndexToPhysicalPoint(list(shift / old)))
        return sitk.Resample(
            labels,
            [int(n) for n in count],
            sitk.Transform(),
            sitk.sitkNearestNeighbor,
            [float(x) for x in origin],
            [spacing_mm] * 3,
            labels.GetDirection(),
        )

    return change


def tips_resampled(labels: sitk.Image, joints: Sequence[Joint]) -> sitk.Image:
    """Tips given away, on voxels of 1.5 mm: what a network at that resolution makes."""
    return resampled(1.5)(tips(labels, joints), joints)


CHANGES: Mapping[str, Callable[[sitk.Image, Sequence[Joint]], sitk.Image]] = {
    "as given": as_given,
    "a voxel smaller": eroded,
    "1.5 mm larger": grown,
    "voxels of 1.5 mm": resampled(1.5),
    "voxels of 3 mm": resampled(3.0),
    "tips given to the vertebra below": tips,
    "tips given away, voxels of 1.5 mm": tips_resampled,
}


def _up(level: str, bodies: Mapping[str, FloatArray | None]) -> FloatArray:
    """Direction to superior along the discs around a level."""
    known = [(name, centre) for name, centre in bodies.items() if centre is not None]
    names = [name for name, _ in known]
    if level not in names or len(names) < 2:
        return np.array([0.0, 0.0, 1.0])
    place = names.index(level)
    above, below = known[max(place - 1, 0)][1], known[min(place + 1, len(known) - 1)][1]
    direction = above - below
    return np.asarray(direction / np.linalg.norm(direction))


def _ids(level: str) -> list[int]:
    names = anatomy.SACRAL if level in anatomy.SACRAL else (level,)
    return [anatomy.vertebra(name).id for name in names][::-1]


def _like(array: np.ndarray, image: sitk.Image) -> sitk.Image:
    changed = sitk.GetImageFromArray(array.astype(np.uint8))
    changed.CopyInformation(image)
    return changed
