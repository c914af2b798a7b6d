"""A CT of a patient with TotalSegmentator's labels as a training case.

Real arches, ribs and soft tissue are what the phantom lacks most. The labels are a network's, with
its faults: outlines drawn on 1.5 mm voxels and a millimetre wide of the bone at times.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from synthesis import Case, body_class, covered

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import Grid, apply_matrix, inverse
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.labelling.builtin.field import coarse_ct
from CTSpectSpineLib.labelling.builtin.network import CLASSES
from CTSpectSpineLib.model import SpineJoints
from CTSpectSpineLib.phantom.model import Tissue

_TISSUES: tuple[tuple[Tissue, tuple[int, ...]], ...] = (
    (Tissue.LIVER, (1, 5)),
    (Tissue.KIDNEY, (2, 3)),
    (Tissue.LUNG, tuple(range(10, 15))),
    (Tissue.BLADDER, (21,)),
    (Tissue.BLOOD, tuple(range(51, 69))),
    (Tissue.OTHER_BONE, (*range(69, 77), 91, 116)),
    (Tissue.PELVIS, (77, 78)),
    (Tissue.RIB, tuple(range(92, 116))),
)
"""Tissues and their labels. Standard: class ids of TotalSegmentator 2, task `total`."""
_LUNG_HU, _FAT_HU = -400.0, -30.0
"""HU below which unlabelled voxels are air or fat. Judgement: usual bounds."""


def real_case(ct_path: Path, labels_path: Path, spacing_mm: float) -> Case:
    """Read a CT and its label map (numbers of TotalSegmentator's task `total`) as one case.

    Vertebrae that reach the cranial end of the CT are cut off with it, since what is left of them
    does not tell body from arch. Those that are cut by that have no centre.
    """
    ct, labels = (sitk.ReadImage(str(path)) for path in (ct_path, labels_path))
    hu, grid = coarse_ct(ct, spacing_mm)
    label = _on_grid(sitk.Cast(labels, sitk.sitkUInt8), grid)
    spine = build_joints(_vertebrae_only(labels))
    tissue = np.full(hu.shape, Tissue.MUSCLE, dtype=np.uint8)
    tissue[hu < _FAT_HU] = Tissue.FAT
    tissue[hu < _LUNG_HU] = Tissue.AIR
    for code, numbers in _TISSUES:
        tissue[np.isin(label, numbers)] = code
    classes = np.zeros(hu.shape, dtype=np.uint8)
    classes[tissue == Tissue.RIB] = CLASSES.index("rib")
    classes[tissue == Tissue.PELVIS] = CLASSES.index("hip")
    for joint in spine.joints:
        space = joint.parts.get("disc_space") if joint.kind == "disc" else None
        if space is not None:
            classes[covered(space, grid)] = CLASSES.index("disc")
    instances, centres = _vertebrae(label, classes, tissue, spine, grid)
    top = _first_uncut(label)
    cut = np.unique(instances[top - 1 :])
    centres[cut] = np.nan
    spacing = np.full(3, spacing_mm, dtype=np.float32)
    return Case(
        np.clip(np.rint(hu), -1024, 3071).astype(np.int16)[:top],
        tissue[:top],
        classes[:top],
        instances[:top],
        centres,
        spacing,
    )


def _vertebrae(
    label: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    tissue: NDArray[np.uint8],
    spine: SpineJoints,
    grid: Grid,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Write classes and tissues of the vertebrae; give their numbers and centres (k, j, i)."""
    instances = np.zeros(label.shape, dtype=np.uint8)
    centres = [np.full(3, np.nan)]
    sacral = [anatomy.vertebra(name).id for name in anatomy.SACRAL]
    sacrum = np.isin(label, sacral)
    classes[sacrum], tissue[sacrum] = CLASSES.index("sacrum"), Tissue.SACRUM
    present = (anatomy.name_of_id(int(n)) for n in np.unique(label))
    for name in anatomy.sort_levels(n for n in present if n and n not in anatomy.SACRAL):
        whole = label == anatomy.vertebra(name).id
        frame = spine.frames.get(name)
        classes[whole] = CLASSES.index(name if name in CLASSES else "posterior")
        tissue[whole] = Tissue.POSTERIOR
        instances[whole] = len(centres)
        centre = np.full(3, np.nan)
        if frame is not None:
            body = whole & covered(frame.body, grid)
            tissue[body] = Tissue.BODY
            if name not in CLASSES:
                classes[body] = CLASSES.index(body_class(name))
            if frame.reliable:
                centre = apply_matrix(inverse(grid.ijk_to_lps), frame.centre_mm[None])[0][::-1]
        centres.append(centre)
    return instances, np.array(centres, dtype=np.float32)


def _first_uncut(label: NDArray[np.uint8]) -> int:
    """Lowest slice of the vertebrae that reach the cranial end, or the number of slices."""
    cut = [n for n in np.unique(label[-1]) if n and anatomy.name_of_id(int(n))]
    slices = np.flatnonzero(np.isin(label, cut).any(axis=(1, 2)))
    return int(slices[0]) if len(slices) else len(label)


def _vertebrae_only(labels: sitk.Image) -> sitk.Image:
    array = sitk.GetArrayFromImage(labels).astype(np.uint8)
    array[~np.isin(array, [row.id for row in anatomy.vertebrae()])] = 0
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(labels)
    return image


def _on_grid(labels: sitk.Image, grid: Grid) -> NDArray[np.uint8]:
    reference = sitk.Image([int(n) for n in grid.size], sitk.sitkUInt8)
    reference.SetSpacing(grid.spacing_mm.tolist())
    reference.SetOrigin(grid.ijk_to_lps[:3, 3].tolist())
    reference.SetDirection((grid.ijk_to_lps[:3, :3] / grid.spacing_mm).ravel().tolist())
    how = sitk.sitkNearestNeighbor
    resampled = sitk.Resample(labels, reference, sitk.Transform(), how, 0.0)
    return np.asarray(sitk.GetArrayFromImage(resampled), dtype=np.uint8)
