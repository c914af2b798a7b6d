"""Real label maps with independent masks of articular processes and of discs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import apply_matrix, grid_of, ijk_to_lps, inverse
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.model import FloatArray, SpineJoints

SUPERIOR: Mapping[str, int] = {"left": 45, "right": 46}
"""Labels of the superior articular processes, patient's sides. Standard: sub-regions of SPINEPS."""
INFERIOR: Mapping[str, int] = {"left": 47, "right": 48}
"""Labels of the inferior articular processes. Standard: sub-regions of SPINEPS."""
LEVELS = ("L2", "L3", "L4")
NEAR_MM = 3.0
"""Widest joint space between two articular processes, mm. Judgement: wider is its edge; 2 to 4 mm
move the middles of the crop by 0.1 to 0.9 mm."""
FINER = 3
"""Steps in a voxel of the masks. Numerical: half a millimetre."""


def from_verse(path: Path) -> sitk.Image:
    """Label map with VerSe numbers, in this library's ids."""
    image = sitk.ReadImage(str(path))
    verse = np.rint(sitk.GetArrayFromImage(image)).astype(int)
    table = np.zeros(verse.max() + 1, dtype=np.uint8)
    for row in anatomy.vertebrae():
        if row.verse is not None and row.verse < len(table):
            table[row.verse] = row.id
    converted = sitk.GetImageFromArray(table[verse])
    converted.CopyInformation(image)
    return converted


def true_facets(labels: sitk.Image, parts: sitk.Image) -> dict[str, FloatArray]:
    """Centres of the interfaces: middles of the sheets halfway between facing processes.

    Each mm² of a sheet counts alike, on steps finer than the voxels of the masks. (Pairs of voxels
    up to 3 mm apart count tight parts twice and slanting ones not at all: on voxels of 1.5 mm their
    middles move by about a millimetre when the bound becomes 2.6 or 3.4 mm.)
    """
    part, level = sitk.GetArrayFromImage(parts), sitk.GetArrayFromImage(labels)
    matrix = ijk_to_lps(parts)
    step_mm = np.array(parts.GetSpacing()[::-1]) / FINER
    centres = {}
    for upper, lower in pairwise(LEVELS):
        for side in SUPERIOR:
            above = (part == INFERIOR[side]) & (level == anatomy.vertebra(upper).id)
            below = (part == SUPERIOR[side]) & (level == anatomy.vertebra(lower).id)
            index = np.argwhere(above | below)
            low, high = index.min(axis=0) - 2, index.max(axis=0) + 3
            box = tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))
            masks = [_finer(mask[box]) for mask in (above, below)]
            to = [ndimage.distance_transform_edt(~mask, sampling=step_mm) for mask in masks]
            sheet = (np.abs(to[0] - to[1]) <= step_mm.max()) & ~(masks[0] & masks[1])
            # Distances are to voxel centres, half a step beyond the surface on either side.
            sheet &= to[0] + to[1] <= NEAR_MM + step_mm.max()
            middle = np.argwhere(sheet).mean(axis=0) / FINER + np.maximum(low, 0)
            centres[f"{upper}-{lower} facet {side}"] = apply_matrix(matrix, middle[None, ::-1])[0]
    return centres


def _finer(mask: np.ndarray) -> np.ndarray:
    """A mask on finer steps from its first to its last voxel, with linear surfaces."""
    index = np.meshgrid(
        *(np.arange((n - 1) * FINER + 1) / FINER for n in mask.shape), indexing="ij"
    )
    return np.asarray(ndimage.map_coordinates(mask.astype(float), index, order=1) >= 0.5)


def facet_errors(folder: Path) -> dict[str, float]:
    """Distance of found from true facet centres, mm."""
    labels = from_verse(folder / "sub-ct_seg-vert_label-22_msk.nii.gz")
    parts = sitk.ReadImage(str(folder / "sub-ct_seg-subreg_label-22_msk.nii.gz"))
    found = build_joints(labels)
    errors = {}
    for name, true in true_facets(labels, parts).items():
        centre = found[name].centre_mm
        errors[name] = np.inf if centre is None else float(np.linalg.norm(centre - true))
    return errors


def disc_dice(folder: Path) -> dict[str, float]:
    """Dice of disc spaces with TotalSegmentator's disc class, on its grid of 3 mm."""
    found = build_joints(sitk.ReadImage(str(folder / "vertebrae_total.nii.gz")))
    image = sitk.ReadImage(str(folder / "vertebrae_body.nii.gz"))
    return overlaps(found, image, sitk.GetArrayFromImage(image) == 2)


def overlaps(found: SpineJoints, image: sitk.Image, truth: np.ndarray) -> dict[str, float]:
    """Dice of each disc with the true voxels that are nearest to it."""
    grid = grid_of(image)
    discs = [j for j in found.joints if j.kind == "disc" and j.located]
    centres = [j.parts["disc_space"].centre_mm() for j in discs]
    index = np.argwhere(truth)
    points = apply_matrix(grid.ijk_to_lps, index[:, ::-1].astype(float))
    nearest = np.argmin([np.linalg.norm(points - centre, axis=1) for centre in centres], axis=0)
    result = {}
    for number, joint in enumerate(discs):
        region = joint.parts["disc_space"]
        where = apply_matrix(inverse(grid.ijk_to_lps), region.points_mm()).round().astype(int)
        volume = np.zeros(truth.shape)
        np.add.at(volume, tuple(where.T[::-1]), region.voxel_volume_mm3)
        mine = volume > 0.5 * np.prod(grid.spacing_mm)
        own = np.zeros(truth.shape, dtype=bool)
        own[tuple(index[nearest == number].T)] = True
        result[joint.id] = float(2 * np.count_nonzero(mine & own) / (mine.sum() + own.sum()))
    return result
