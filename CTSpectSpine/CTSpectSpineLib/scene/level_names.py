"""Names of the vertebrae, drawn where the vertebrae are. One of the files that know MRML."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.scene.mrml import Node, add_node, by_class


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


def nearest_level(names: Node, point_ras: FloatArray) -> str:
    """Name in the label map of the vertebra whose body is nearest to a point, RAS mm."""
    points = np.array(
        [names.GetNthControlPointPosition(i) for i in range(names.GetNumberOfControlPoints())]
    )
    nearest = int(np.argmin(np.linalg.norm(points - np.asarray(point_ras), axis=1)))
    return str(names.GetNthControlPointDescription(nearest))
