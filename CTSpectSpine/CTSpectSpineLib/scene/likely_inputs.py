"""Which volumes of a scene are CT and SPECT, where there is no doubt.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from CTSpectSpineLib.scene.mrml import RELATIVE_NAME, ROLE, Node, by_class
from CTSpectSpineLib.scene.segment_labels import may_be_vertebrae

_AIR_HU, _BONE_HU = -500.0, 500.0
"""A CT reaches below and above these values. Judgement: air is -1000 HU, cortex above 1000 HU."""
_LEAST_SPECT_SPACING_MM = 1.9
"""Voxel size from which a volume can be a SPECT. Judgement: SPECT voxels are 2 to 5 mm."""
_DERIVED = frozenset({"relative", "overlay"})


def is_derived(volume: Node) -> bool:
    """Whether a volume was made by an analysis, also where it was saved and loaded again."""
    name = volume.GetName() or ""
    return volume.GetAttribute(ROLE) in _DERIVED or RELATIVE_NAME in name


def likely_inputs(scene: Node) -> tuple[Node | None, Node | None, Node | None]:
    """CT, SPECT and vertebrae of a scene; None where there is not exactly one candidate.

    A CT has air and bone in HU; a SPECT has no negative values to speak of and large voxels;
    vertebrae are a segmentation whose segments have their names or numbers, or the only label
    map. What an earlier analysis added is not considered.
    """
    volumes = [
        node
        for node in by_class(scene, "vtkMRMLScalarVolumeNode")
        if node.GetClassName() == "vtkMRMLScalarVolumeNode"
        and not node.GetHideFromEditors()
        and not is_derived(node)
        and node.GetImageData() is not None
        and node.GetImageData().GetNumberOfPoints() > 0
    ]
    ranges = {node.GetID(): node.GetImageData().GetScalarRange() for node in volumes}
    cts = [n for n in volumes if ranges[n.GetID()][0] < _AIR_HU and ranges[n.GetID()][1] > _BONE_HU]
    spects = [
        node
        for node in volumes
        if ranges[node.GetID()][0] >= -0.01 * ranges[node.GetID()][1]
        and ranges[node.GetID()][1] > 0
        and min(node.GetSpacing()) >= _LEAST_SPECT_SPACING_MM
    ]
    segmentations = [
        node
        for node in by_class(scene, "vtkMRMLSegmentationNode")
        if node.GetAttribute(ROLE) is None and may_be_vertebrae(node)
    ]
    label_maps = [
        node
        for node in by_class(scene, "vtkMRMLLabelMapVolumeNode")
        if not node.GetHideFromEditors() and node.GetAttribute(ROLE) is None
    ]
    return _only(cts), _only(spects), _only(segmentations or label_maps)


def _only(nodes: list[Node]) -> Node | None:
    return nodes[0] if len(nodes) == 1 else None
