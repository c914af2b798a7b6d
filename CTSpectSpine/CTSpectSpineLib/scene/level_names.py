"""Names of the vertebrae, drawn where the vertebrae are. One of the files that know MRML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.scene.mrml import Node, add_node, by_class

_LEAST_STEP_MM = 12.0
"""Distance along the body below which two names overprint. Judgement: the smallest cervical step is
17 mm; less means a vertebra that the CT's edge cuts off."""
_REACH_MM = 60.0
"""Farthest that a click lies from a body whose vertebra is meant. Judgement: the tip of a lumbar
spinous process is 55 mm behind its body's middle."""


def add_level_names(scene: Node, centres_lps: Mapping[str, FloatArray]) -> Node:
    """Add the names as a locked point list; names are seen in slices that pass near, and in 3D.

    Parameters
    ----------
    centres_lps
        Name to centre of the vertebral body, LPS mm.
    """
    node = add_node(scene, "vtkMRMLMarkupsFiducialNode", "Levels")
    for name, (x, y, z) in centres_lps.items():
        index = node.AddControlPoint([-x, -y, z], name)
        node.SetNthControlPointDescription(index, name)
    _hide_cut_off(node)
    node.SetLocked(True)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetPointLabelsVisibility(True)
    display.SetPropertiesLabelVisibility(False)
    display.SetTextScale(3.5)
    display.SetGlyphScale(0.4)
    display.SetSelectedColor(1.0, 0.95, 0.4)
    display.SetColor(1.0, 0.95, 0.4)
    display.SetSliceProjection(True)
    display.SetSliceProjectionOpacity(0.9)
    display.SetHandlesInteractive(False)
    return node


def _points(names: Node) -> FloatArray:
    count = names.GetNumberOfControlPoints()
    points = [names.GetNthControlPointPosition(i) for i in range(count)]
    return np.array(points, dtype=float).reshape(-1, 3)


def _hide_cut_off(names: Node) -> None:
    """Hide the first or last name where its sliver of bone lies beside the next vertebra."""
    heights = _points(names)[:, 2]
    for end, neighbour in ((0, 1), (len(heights) - 1, len(heights) - 2)):
        if len(heights) > 2 and abs(heights[end] - heights[neighbour]) < _LEAST_STEP_MM:
            names.SetNthControlPointVisibility(end, False)


def show_where_readable(names: Node) -> None:
    """Show the names in 3D and in all slice views but the axial ones, where they would overlap."""
    scene = names.GetScene()
    slices = by_class(scene, "vtkMRMLSliceNode")
    views = [v for v in slices if v.GetOrientation() != "Axial"]
    views += by_class(scene, "vtkMRMLViewNode")
    display = names.GetDisplayNode()
    display.RemoveAllViewNodeIDs()
    for view in views:
        display.AddViewNodeID(view.GetID())


def show_numbering(names: Node, mapping: Mapping[str, str]) -> None:
    """Write the new names beside the vertebrae; a changed one shows both, ``L4 (was L5)``."""
    for index in range(names.GetNumberOfControlPoints()):
        found = names.GetNthControlPointDescription(index)
        new = mapping.get(found, found)
        names.SetNthControlPointLabel(index, new if new == found else f"{new} (was {found})")


def level_centres(names: Node) -> dict[str, FloatArray]:
    """Name in the label map to centre of the vertebral body, LPS mm, shape (3,)."""
    return {
        str(names.GetNthControlPointDescription(index)): point * np.array([-1.0, -1.0, 1.0])
        for index, point in enumerate(_points(names))
    }


def nearest_level(names: Node, point_ras: Sequence[float]) -> str | None:
    """Name in the label map of the vertebra at a point, RAS mm; None where none is near."""
    points = _points(names)
    if not len(points):
        return None
    distances = np.linalg.norm(points - np.asarray(point_ras, dtype=float), axis=1)
    nearest = int(np.argmin(distances))
    if distances[nearest] > _REACH_MM:
        return None
    return str(names.GetNthControlPointDescription(nearest))
