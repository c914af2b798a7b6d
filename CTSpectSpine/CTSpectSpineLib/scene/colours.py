"""How the uptake is coloured: multiples of the patient's reference bone, in a hot colour table.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from CTSpectSpineLib.display import scale_top
from CTSpectSpineLib.hot_metal import hot_colours
from CTSpectSpineLib.joint_table import Row, number
from CTSpectSpineLib.scene.mrml import Node, add_node, by_class, mrml

TABLE_NAME = "CTSpectSpine hot"
_OPACITY = ((0.06, 0.35), (0.0, 1.0))
"""Share of the scale and its opacity: what is cold must not darken the CT below. Judgement."""


def hot_table(scene: Node) -> Node:
    """The scene's hot colour table, added at its first use."""
    for node in by_class(scene, "vtkMRMLColorTableNode"):
        if node.GetName() == TABLE_NAME:
            return node
    node = add_node(scene, "vtkMRMLColorTableNode", TABLE_NAME)
    colours = hot_colours()
    node.SetTypeToUser()
    node.SetNumberOfColors(len(colours))
    opacity = np.interp(np.linspace(0.0, 1.0, len(colours)), *_OPACITY)
    for index, (red, green, blue) in enumerate(colours.tolist()):
        node.SetColor(index, f"{index}", red, green, blue, float(opacity[index]))
    return node


def remove_unused_colours(scene: Node) -> None:
    """Remove the hot colour table where nothing is shown in it any more."""
    used = {node.GetColorNodeID() for node in by_class(scene, "vtkMRMLDisplayNode")}
    for node in by_class(scene, "vtkMRMLColorTableNode"):
        if node.GetName() == TABLE_NAME and node.GetID() not in used:
            scene.RemoveNode(node)


def automatic_top(rows: Sequence[Row]) -> float:
    """Upper end of the scale for the joints of an analysis, multiples of the reference."""
    counting = [row for row in rows if row.cells.get("status") != "not_measurable"]
    largest = (number(row.cells.get("ratio_max")) for row in counting)
    return scale_top(max((value for value in largest if value > 0), default=0.0))


def show_spect(scene: Node, node: Node, top: float | None = None) -> None:
    """Show a SPECT in the hot colours from 0 to a value; None for its 99.9th percentile."""
    from vtk.util.numpy_support import vtk_to_numpy

    if top is None:
        voxels = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
        top = float(np.percentile(voxels, 99.9)) or 1.0
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(hot_table(scene).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, top)


def show_legend(node: Node, visible: bool) -> None:
    """Show or hide the colour legend of a volume, if it has one.

    A legend takes its colours when it becomes visible: one that already was would stay empty
    where it was made before the volume had colours or came into a view.
    """
    slicer, _ = mrml()
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if legend is not None:
        legend.SetVisibility(False)
        legend.SetVisibility(visible)


def add_legend(node: Node, top: float) -> None:
    """Add a colour legend, hidden, to a SPECT in multiples of the reference."""
    slicer, _ = mrml()
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    if legend is None:
        return
    legend.SetTitleText("/ reference")
    # The more labels, the smaller the letters; whole and half multiples are easily read.
    legend.SetLabelFormat("%.1f")
    legend.SetNumberOfLabels(2 * round(top) + 1 if top <= 4 else round(top) + 1)
    legend.SetMaxNumberOfColors(256)
    legend.SetSize(0.08, 0.3)
    legend.SetPosition(0.98, 0.6)
    legend.GetTitleTextProperty().SetFontSize(12)
    legend.GetLabelTextProperty().SetFontSize(12)
    legend.SetVisibility(False)
