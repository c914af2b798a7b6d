"""A phantom on a real CT: its tissues are read off HU and labels, then imaged as any other.

The SPECT covers the CT's box and a margin; the patient goes on beyond the CT's faces, see
`spect.simulate_spect`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib import anatomy as names
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.geometry import Grid, apply_matrix, grid_of, largest_piece
from CTSpectSpineLib.model import BoolArray, FloatArray, Region, SpineJoints
from CTSpectSpineLib.phantom.cases import SpectConfig
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.phantom.product import Phantom, phantom_of
from CTSpectSpineLib.phantom.scanner.coverage import covered_fraction

_RULES = Path(__file__).parent / "real_ct.json"
Voxels = NDArray[Any]
_PIECE = np.ones((3, 3, 3), dtype=bool)
"""By definition: neighbourhood of 26 voxels."""


def phantom_from_ct(
    ct: sitk.Image,
    labels: sitk.Image,
    joints: SpineJoints,
    hot: Mapping[str, float],
    spect: SpectConfig | None = None,
    *,
    organs: sitk.Image | None = None,
) -> Phantom:
    """Make a SPECT of a real CT, with a known truth.

    Parameters
    ----------
    ct
        CT in HU.
    labels
        Vertebra labels, ids of `anatomy`, on the CT's grid.
    joints
        Joints and vertebra frames of these labels.
    hot
        Joint id to true ratio.
    spect
        Scanner, misalignment and seed.
    organs
        Labels of TotalSegmentator's ``total`` task on the CT's grid: with them kidneys, bladder,
        liver, vessels, ribs and pelvis have their own activity. Without them, soft tissue is
        told apart by HU alone, and all bone without a label has one activity.

    Raises
    ------
    InputError
        If a label map does not lie on the CT's grid, or holds no vertebra; or as in `phantom_of`.
    """
    anatomy = anatomy_from_ct(ct, labels, joints, organs)
    return phantom_of(anatomy, hot, spect or SpectConfig())


def anatomy_from_ct(
    ct: sitk.Image, labels: sitk.Image, joints: SpineJoints, organs: sitk.Image | None = None
) -> Anatomy:
    """A real CT as the patient of a phantom; see `phantom_from_ct`."""
    return Anatomy(ct, labels, classify(ct, labels, joints, organs), joints.joints)


def classify(
    ct: sitk.Image, labels: sitk.Image, joints: SpineJoints, organs: sitk.Image | None = None
) -> sitk.Image:
    """Tissue map (uint8 `Tissue` codes) of a real CT on its grid; see `phantom_from_ct`."""
    grid = grid_of(ct)
    for name, image in (("vertebra labels", labels), ("organ labels", organs)):
        if image is not None and not grid.matches(grid_of(image), 0.1):
            raise InputError(
                f"The {name} do not lie on the CT's voxels (size {image.GetSize()}, the CT has "
                f"{ct.GetSize()}); resample them to the CT."
            )
    hu = sitk.GetArrayViewFromImage(ct)
    label = sitk.GetArrayViewFromImage(labels)
    spacing = grid.spacing_mm[::-1]
    tissue = _soft_tissue(hu)
    tissue[_loose_bone(hu, label > 0, spacing)] = Tissue.OTHER_BONE
    if organs is not None:
        _paint_organs(tissue, sitk.GetArrayViewFromImage(organs))
    _paint_vertebrae(tissue, label, joints, grid)
    tissue[hu >= json_table(_RULES)["metal_hu"]] = Tissue.METAL
    image = sitk.GetImageFromArray(tissue)
    image.CopyInformation(ct)
    return image


def _soft_tissue(hu: Voxels) -> NDArray[np.uint8]:
    """Everything but bone, by HU, inside the patient; table and surroundings are air."""
    limits = json_table(_RULES)["hu_limits"]
    codes = np.array([Tissue[name] for name in limits], dtype=np.uint8)
    tissue: NDArray[np.uint8] = codes[
        np.searchsorted(np.array(list(limits.values())[:-1]), hu, side="right")
    ]
    tissue[~_patient(hu)] = Tissue.AIR
    return tissue


def _patient(hu: Voxels) -> BoolArray:
    """The largest body, with the air that it encloses in axial, sagittal or coronal planes."""
    body = ndimage.binary_opening(hu > json_table(_RULES)["body_hu"], iterations=1)
    body = largest_piece(body)
    filled: BoolArray = body.copy()
    for axis in range(3):
        for n in range(body.shape[axis]):
            plane: Any = tuple(n if a == axis else slice(None) for a in range(3))
            filled[plane] |= ndimage.binary_fill_holes(body[plane])
    return filled


def _loose_bone(hu: Voxels, labelled: BoolArray, spacing: NDArray[np.float64]) -> BoolArray:
    """Bone that has no label: dense voxels and the marrow that they enclose."""
    rules = json_table(_RULES)
    dense = (hu >= rules["bone_hu"]) & ~labelled
    reach = np.maximum(np.rint(rules["closing_mm"] / spacing).astype(int), 1)
    ball = _ball(reach)
    shell = ndimage.binary_closing(np.pad(dense, [(r, r) for r in reach]), ball)
    shell = shell[tuple(slice(r, -r) for r in reach)] & ~labelled
    bone = dense | shell
    for axis in range(3):
        area = float(np.prod(np.delete(spacing, axis)))
        for n in range(hu.shape[axis]):
            plane: Any = tuple(n if a == axis else slice(None) for a in range(3))
            bone[plane] |= _small_holes(shell[plane], rules["marrow_mm2"] / area)
    bone &= ~labelled & (hu > -150)
    pieces, count = ndimage.label(bone, structure=_PIECE)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    large = sizes * np.prod(spacing) >= rules["smallest_bone_mm3"]
    large[0] = False
    return np.asarray(large[pieces])


def _small_holes(shell: BoolArray, most: float) -> BoolArray:
    """Holes of a plane that have at most so many voxels."""
    holes, count = ndimage.label(ndimage.binary_fill_holes(shell) & ~shell)
    small = np.bincount(holes.ravel(), minlength=count + 1) <= most
    small[0] = False
    return small[holes]


def _ball(reach: NDArray[np.int_]) -> BoolArray:
    k, j, i = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    return np.asarray((k / reach[0]) ** 2 + (j / reach[1]) ** 2 + (i / reach[2]) ** 2 <= 1.01)


def _paint_organs(tissue: NDArray[np.uint8], organs: Voxels) -> None:
    for name, ids in json_table(_RULES)["organs"].items():
        tissue[np.isin(organs, ids)] = Tissue[name]


def _paint_vertebrae(
    tissue: NDArray[np.uint8], label: Voxels, joints: SpineJoints, grid: Grid
) -> None:
    """Labelled bones; a vertebra whose body is not known counts entirely as body."""
    tissue[np.isin(label, list(names.hip_ids().values()))] = Tissue.PELVIS
    for row in names.vertebrae():
        bone = label == row.id
        if row.region == "sacral":
            tissue[bone] = Tissue.SACRUM
        elif row.name not in joints.frames:
            tissue[bone] = Tissue.BODY
        else:
            tissue[bone] = Tissue.POSTERIOR
            body = _on_grid(joints.frames[row.name].body, grid)
            tissue[bone & body] = Tissue.BODY


def _on_grid(region: Region, grid: Grid) -> BoolArray:
    """Voxels of the grid that a region covers by at least one half."""
    result: BoolArray = np.zeros(grid.shape, dtype=bool)
    if not region.mask.any():
        return result
    to_grid: FloatArray = np.linalg.inv(grid.ijk_to_lps).astype(np.float64)
    index = apply_matrix(to_grid, region.points_mm())
    low = np.maximum(np.floor(index.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 2, grid.size)
    if np.all(high > low):
        i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        result[k, j, i] = covered_fraction(region, grid, low, high - low) >= 0.5
    return result
