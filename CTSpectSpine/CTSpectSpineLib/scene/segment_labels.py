"""Vertebra labels of a segmentation node that the user brings.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling.importing.level_names import level_of_name, library_id
from CTSpectSpineLib.labelling.importing.schemes import SCHEMES, scheme_table
from CTSpectSpineLib.scene.mrml import Node, image_from_node, mrml

_NUMBERED = re.compile(r"(?:segment|label|class|value)?[\s_:-]*(\d{1,3})$", re.IGNORECASE)
_MOST_LABEL = 65535
"""Largest label. By definition: of 16 bits without sign."""


def named_labels(node: Node) -> dict[str, int]:
    """Segments with the name of a vertebra, the sacrum or a hip: segment id to library label."""
    segmentation = node.GetSegmentation()
    levels = {i: level_of_name(segmentation.GetSegment(i).GetName()) for i in _ids(node)}
    return {i: library_id(level) for i, level in levels.items() if level}


def numbered_labels(node: Node) -> dict[str, int]:
    """Label of each segment as its file had it; empty where the segments do not tell.

    Slicer keeps the numbers of a label map in the segments; where it made a layer of each, only
    their names (``Segment_26``) still say them. Numbers that only count the segments say nothing.
    """
    segmentation, ids = node.GetSegmentation(), _ids(node)
    values = {i: int(segmentation.GetSegment(i).GetLabelValue()) for i in ids}
    if len(set(values.values())) == len(ids):
        return {} if list(values.values()) == list(range(1, len(ids) + 1)) else values
    matches = {i: _NUMBERED.fullmatch(segmentation.GetSegment(i).GetName()) for i in ids}
    numbers = {i: int(match.group(1)) for i, match in matches.items() if match}
    return numbers if len(set(numbers.values())) == len(ids) else {}


def _ids(node: Node) -> list[str]:
    return [str(i) for i in node.GetSegmentation().GetSegmentIDs()]


def may_be_vertebrae(node: Node) -> bool:
    """Whether a segmentation can be taken as vertebrae, by its names or its numbers."""
    return bool(named_labels(node)) or _vertebra_numbers(numbered_labels(node))


def _vertebra_numbers(labels: Mapping[str, int]) -> bool:
    """Whether a number of at least one scheme stands for a vertebra."""
    return any(not set(scheme_table(s)).isdisjoint(labels.values()) for s in SCHEMES)


def labels_from_segmentation(node: Node, grid: Node) -> sitk.Image:
    """Label map of a segmentation node, on the grid of a volume node.

    Segments with names of vertebrae (``vertebrae_L5``, ``L5``, ``sacrum``, ``hip_left``) get the
    labels of this library, others are left out. Where there is no such name the segments keep
    their numbers, which are then read by the same rules as those of a label file.

    Returns
    -------
    sitk.Image
        uint8 or uint16, on the grid of ``grid``.

    Raises
    ------
    InputError
        If no segment has the name or the number of a vertebra.
    """
    labels = named_labels(node) or numbered_labels(node)
    if not _vertebra_numbers(labels) or max(labels.values()) > _MOST_LABEL:
        raise InputError(
            f"segmentation '{node.GetName()}' has no segment with the name or the number of a "
            "vertebra: name the segments vertebrae_L5, vertebrae_L4 and so on."
        )
    exported = sitk.GetArrayViewFromImage(image := _exported(node, list(labels), grid))
    kind = np.uint8 if max(labels.values()) < 256 else np.uint16
    lookup = np.zeros(len(labels) + 1, dtype=kind)
    lookup[1:] = list(labels.values())
    result = sitk.GetImageFromArray(lookup[exported])
    result.CopyInformation(image)
    return result


def _exported(node: Node, ids: list[str], grid: Node) -> sitk.Image:
    """Segments as a label map with 1 for the first of them, 2 for the second, and so on."""
    slicer, vtk = mrml()
    wanted, scene = vtk.vtkStringArray(), node.GetScene()
    for segment_id in ids:
        wanted.InsertNextValue(segment_id)
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    labels.SetHideFromEditors(True)
    try:
        slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(
            node, wanted, labels, grid
        )
        return image_from_node(labels)
    finally:
        display = labels.GetDisplayNode()
        # The export makes a colour table of its own.
        colours = display.GetColorNode() if display else None
        for extra in (display, labels, colours):
            if extra is not None and not extra.GetSingletonTag():
                scene.RemoveNode(extra)
