"""How the uptake is coloured: multiples of the patient's reference bone, in a hot colour table.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

import numpy as np

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.scene.mrml import Node, add_node, by_class, mrml

TABLE_NAME = "CTSpectSpine hot"
_OPACITY = ((0.06, 0.35), (0.0, 1.0))
"""Share of the scale and its opacity: what is cold must not darken the CT below. Judgement."""
_ANCHORS_LAB = (
    (0.0, 0.0, 0.0),
    (25.0, 40.0, 15.0),
    (50.0, 62.0, 58.0),
    (72.0, 28.0, 72.0),
    (90.0, -8.0, 60.0),
    (100.0, 0.0, 0.0),
)
"""Anchors of the colour table in CIE L*a*b*. Judgement: black, red, orange, yellow, white as hot
metal has them, as saturated as sRGB allows."""


def hot_colours(count: int = 256) -> FloatArray:
    """Black, red, orange, yellow, white, with lightness that rises evenly (CIE L*a*b*, D65).

    Even steps of lightness keep equal steps of uptake equally visible, and keep the order in
    greyscale and for colour-blind readers.

    Returns
    -------
    FloatArray
        RGB 0 to 1, shape (count, 3).
    """
    anchors = np.array(_ANCHORS_LAB)
    lightness = np.linspace(0.0, 100.0, count)
    a, b = (np.interp(lightness, anchors[:, 0], anchors[:, k]) for k in (1, 2))
    fy = (lightness + 16.0) / 116.0
    f = np.stack([fy + a / 500.0, fy, fy - b / 200.0], axis=1)
    delta = 6.0 / 29.0
    xyz = np.where(f > delta, f**3, 3.0 * delta**2 * (f - 4.0 / 29.0)) * (0.95047, 1.0, 1.08883)
    matrix = np.array(
        [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    )
    linear = np.clip(xyz @ matrix.T, 0.0, 1.0)
    result: FloatArray = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055
    )
    return np.clip(result, 0.0, 1.0)


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
