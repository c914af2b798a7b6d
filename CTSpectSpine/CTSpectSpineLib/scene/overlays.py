"""Volumes that are drawn over CT and SPECT for the check of the registration.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.scene.mrml import ROLE, Node, add_volume, by_class, image_from_node

OVERLAY_ROLE = "overlay"
"""Role of these volumes, which are never saved."""
_SQUARE_MM = 25.0
"""Edge of a checkerboard square. Judgement: about a vertebral body."""
_BOARD_MM = 1.5
"""Voxel size of the checkerboard. Judgement: far finer than the SPECT."""
_CORTEX_HU, _CANCELLOUS_HU = 220.0, 110.0
"""HU of the smoothed CT: every bone has voxels above the first, and reaches as far as it stays
above the second. Judgement: cortex blurred by the voxels, and cancellous bone of the elderly, above
muscle with its noise."""
_EDGE_MM = 1.5
"""Voxel size of the outline. Judgement: finer than the error that it is to show."""
_SMOOTH_MM = 1.5
"""Gaussian SD before the outline. Judgement: more than the distance of trabeculae, less than the
thickness of a facet."""
_LEAST_BONE_MM3 = 2000.0
"""Smaller pieces are not outlined. Judgement: a rib's section is larger, calcium and noise not."""
_GAP_MM = 3.0
"""Gaps of the bone that are closed. Judgement: spaces between trabeculae, not joints."""


def overlays(scene: Node) -> list[Node]:
    """The volumes that this file added to a scene."""
    kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode")
    nodes = (node for kind in kinds for node in by_class(scene, kind))
    return [node for node in nodes if node.GetAttribute(ROLE) == OVERLAY_ROLE]


def remove_overlays(scene: Node, nodes: Sequence[Node]) -> None:
    """Remove some of these volumes."""
    for node in nodes:
        display = node.GetDisplayNode()
        if display is not None:
            scene.RemoveNode(display)
        scene.RemoveNode(node)


def _mark(node: Node) -> Node:
    node.SetAttribute(ROLE, OVERLAY_ROLE)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    return node


def _coarse(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Empty grid over an image with voxels of at least a size."""
    spacing = [max(s, spacing_mm) for s in image.GetSpacing()]
    size = [
        max(1, round(n * s / t))
        for n, s, t in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)
    ]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetOrigin(image.GetOrigin())
    grid.SetDirection(image.GetDirection())
    return grid


def add_checkerboard(scene: Node, ct: Node, spect: Node, middle_lps: Sequence[float]) -> Node:
    """The SPECT, where it lies now, in every other cube of 25 mm, over the CT.

    Parameters
    ----------
    middle_lps
        Point in the middle of a cube, so that no slice through it runs along a border.
    """
    grid = _coarse(image_from_node(ct), _BOARD_MM)
    moved = sitk.Resample(
        sitk.Cast(image_from_node(spect, where_shown=True), sitk.sitkFloat32),
        grid,
        sitk.Transform(),
        sitk.sitkLinear,
        0.0,
    )
    voxels = sitk.GetArrayFromImage(moved)
    start = grid.TransformPhysicalPointToContinuousIndex([float(v) for v in middle_lps])[::-1]
    k, j, i = (
        _squares(count, spacing, first)
        for count, spacing, first in zip(voxels.shape, grid.GetSpacing()[::-1], start, strict=True)
    )
    board = (k[:, None, None] + j[None, :, None] + i[None, None, :]) % 2
    voxels[board == 1] = -1.0
    made = sitk.GetImageFromArray(voxels)
    made.CopyInformation(moved)
    node = _mark(add_volume(scene, made, "Checkerboard"))
    source, display = spect.GetDisplayNode(), node.GetDisplayNode()
    display.SetAndObserveColorNodeID(source.GetColorNodeID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(source.GetWindowLevelMin(), source.GetWindowLevelMax())
    display.AutoThresholdOff()
    display.SetThreshold(-0.5, float(max(voxels.max(), 1.0)))
    display.SetApplyThreshold(True)
    return node


def _squares(count: int, spacing: float, middle: float) -> FloatArray:
    """Number of the square of each voxel of an axis; number 0 has a voxel in its middle."""
    result: FloatArray = np.floor((np.arange(count) - middle) * spacing / _SQUARE_MM + 0.5)
    return result


def add_bone(scene: Node, ct: Node) -> Node:
    """The bones of the CT as whole pieces, whose surface is the cortex."""
    return _mark(
        add_volume(
            scene, bone_pieces(image_from_node(ct)), "Bone edges", "vtkMRMLLabelMapVolumeNode"
        )
    )


def bone_pieces(ct: sitk.Image) -> sitk.Image:
    """Bones of a CT (HU) without their inner structure: uint8, voxels of 1.5 mm or larger."""
    coarse = sitk.Resample(ct, _coarse(ct, _EDGE_MM), sitk.Transform(), sitk.sitkLinear, -1000.0)
    spacing = np.array(coarse.GetSpacing())[::-1]
    voxels = sitk.GetArrayViewFromImage(coarse).astype(np.float32)
    smooth = ndimage.gaussian_filter(voxels, _SMOOTH_MM / spacing, truncate=3.0)
    width = 2 * np.maximum(1, np.round(0.5 * _GAP_MM / spacing).astype(int)) + 1
    grown = ndimage.maximum_filter((smooth > _CANCELLOUS_HU).view(np.uint8), width.tolist())
    pieces, count = ndimage.label(ndimage.minimum_filter(grown, width.tolist()))
    hard = np.zeros(count + 1, dtype=bool)
    hard[np.unique(pieces[smooth > _CORTEX_HU])] = True
    kept = hard & (np.bincount(pieces.ravel()) * np.prod(spacing) >= _LEAST_BONE_MM3)
    kept[0] = False
    result = sitk.GetImageFromArray(kept[pieces].astype(np.uint8))
    result.CopyInformation(coarse)
    return result
