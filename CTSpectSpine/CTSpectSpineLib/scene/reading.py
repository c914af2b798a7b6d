"""The views of a reader: SPECT, CT and both side by side, and both facet joints of a level.

They are views of a layout of their own; the user's layouts and views are left alone. One of the
files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.scene.mrml import ROLE, Node, add_node, by_class
from CTSpectSpineLib.scene.nodes import SceneNodes, remove_nodes
from CTSpectSpineLib.scene.segmentations import segment_points
from CTSpectSpineLib.scene.survey import SURVEY_ROLE, end_survey
from CTSpectSpineLib.scene.views import (
    LAYOUT_ID,
    OPACITY,
    READING_PREFIX,
    SURVEY_PREFIX,
    view,
)

READING_LAYOUT_ID = LAYOUT_ID + 1
"""Number of the reader's layout. Convention: beside that of the module's."""
HEIGHT_MM = 110.0
"""Height of the views of one joint. Judgement: one level and its neighbours are seen."""
FACET_MM = 60.0
"""Height of the views of a facet joint. Judgement: joint and both pedicles are seen."""
_GREY = "vtkMRMLColorTableNodeInvertedGrey"
_READING = "reading"
"""Value of `mrml.ROLE` of the SPECT in inverse grey."""
_BEFORE = "CTSpectSpine.before"
"""Attribute of the crosshair: its mode and behaviour before the reading."""
_PLANES = ("Sagittal", "Axial")
_CONTENTS = ("SPECT", "CT", "fused")
_SIDES = ("right", "left")


def reading_layout() -> str:
    """The layout: SPECT, CT and fused in sagittal and axial slices, both facet joints aside."""
    rows = "".join(
        f'<item><layout type="horizontal" split="true">{"".join(_item(p, c) for c in _CONTENTS)}'
        "</layout></item>"
        for p in _PLANES
    )
    facets = "".join(_item("facet", side) for side in _SIDES)
    return (
        '<layout type="horizontal" split="true">'
        f'<item splitSize="720"><layout type="vertical" split="true">{rows}</layout></item>'
        f'<item splitSize="280"><layout type="vertical" split="true">{facets}</layout></item>'
        "</layout>"
    )


def view_name(plane: str, content: str) -> str:
    """Name of a view of the reader's layout, for instance ``CTSpectSpine Sagittal CT``."""
    return f"{READING_PREFIX}{plane} {content}"


def _item(plane: str, content: str) -> str:
    orientation = plane if plane in _PLANES else "Sagittal"
    letter = content[0].upper() + (plane[0].lower() if plane in _PLANES else "")
    return f"<item>{view('Slice', view_name(plane, content), letter, orientation)}</item>"


def register_reading_layout(layout_node: Node) -> None:
    """Make the layout known to Slicer under `READING_LAYOUT_ID`."""
    if not layout_node.IsLayoutDescription(READING_LAYOUT_ID):
        layout_node.AddLayoutDescription(READING_LAYOUT_ID, reading_layout())


def begin_reading(scene: Node, nodes: SceneNodes) -> None:
    """Fill the reader's views with the images of an analysis, and let one crosshair link them."""
    grey = _inverse_grey(scene, nodes)
    spect = nodes.relative or nodes.spect
    volumes = {"SPECT": (grey, None), "CT": (nodes.ct, None)}
    for composite in by_class(scene, "vtkMRMLSliceCompositeNode"):
        name = composite.GetLayoutName() or ""
        if not _of_a_joint(name):
            continue
        below, above = volumes.get(name.rpartition(" ")[2], (nodes.ct, spect))
        composite.SetLinkedControl(False)
        composite.SetBackgroundVolumeID(below.GetID() if below is not None else None)
        composite.SetForegroundVolumeID(above.GetID() if above is not None else None)
        composite.SetForegroundOpacity(OPACITY)
    for cross in by_class(scene, "vtkMRMLCrosshairNode"):
        if cross.GetAttribute(_BEFORE) is None:
            before = f"{cross.GetCrosshairMode()} {cross.GetCrosshairBehavior()}"
            cross.SetAttribute(_BEFORE, before)
        cross.SetCrosshairMode(cross.ShowSmallBasic)
        cross.SetCrosshairBehavior(cross.OffsetJumpSlice)


def end_reading(scene: Node) -> None:
    """Empty the reader's views, and give the crosshair back as it was."""
    end_survey(scene)
    for composite in by_class(scene, "vtkMRMLSliceCompositeNode"):
        if (composite.GetLayoutName() or "").startswith(READING_PREFIX):
            composite.SetBackgroundVolumeID(None)
            composite.SetForegroundVolumeID(None)
    remove_nodes(scene, _greys(scene))
    for cross in by_class(scene, "vtkMRMLCrosshairNode"):
        before = cross.GetAttribute(_BEFORE)
        if before is not None:
            mode, behaviour = map(int, before.split())
            cross.SetCrosshairMode(mode)
            cross.SetCrosshairBehavior(behaviour)
            cross.RemoveAttribute(_BEFORE)


def read_joint(scene: Node, nodes: SceneNodes, row: Row) -> None:
    """Show a joint in the reader's views, and both facet joints of its level across their gaps."""
    record = nodes.record()
    if row.centre_lps is None or record is None:
        return
    x, y, z = row.centre_lps
    planes = {}
    for side in _SIDES:
        facet = record.row(f"{row.level} facet {side}")
        if facet is not None and facet.centre_lps is not None:
            planes[view_name("facet", side)] = facet_plane(nodes, facet)
    for node in by_class(scene, "vtkMRMLSliceNode"):
        name = node.GetLayoutName() or ""
        if not _of_a_joint(name):
            continue
        height = FACET_MM if name in planes else HEIGHT_MM
        width, pixels, _ = node.GetDimensions()
        node.SetFieldOfView(height * width / max(pixels, 1), height, node.GetFieldOfView()[2])
        if name in planes:
            for i, j in np.ndindex(4, 4):
                node.GetSliceToRAS().SetElement(i, j, float(planes[name][i, j]))
            node.UpdateMatrices()
        else:
            node.JumpSliceByCentering(-x, -y, z)
    for cross in by_class(scene, "vtkMRMLCrosshairNode"):
        cross.SetCrosshairRAS(-x, -y, z)


def facet_plane(nodes: SceneNodes, row: Row) -> FloatArray:
    """Plane across the gap of a facet joint, 4×4 from the slice to RAS mm.

    It holds the axis of the spine there (up in the view) and the direction in which the joint's
    region is thinnest, which is the normal of the joint's surfaces; where the region tells none it
    is sagittal.
    """
    assert row.centre_lps is not None
    centre = np.array(row.centre_lps) * (-1.0, -1.0, 1.0)
    up = _axis(nodes, row.level)
    across = np.array([0.0, -1.0, 0.0])
    points = segment_points(nodes.joints, row.joint)
    if len(points) > 3:
        thin = np.linalg.eigh(np.cov(points.T))[1][:, 0]
        thin = thin - up * float(thin @ up)
        if np.linalg.norm(thin) > 0.3:
            across = thin
    across = across - up * float(across @ up)
    across /= np.linalg.norm(across)
    # As in Slicer's sagittal views anterior is on the left.
    across = -across if across[1] > 0 else across
    plane = np.eye(4)
    plane[:3, 0], plane[:3, 1], plane[:3, 2] = across, up, np.cross(across, up)
    plane[:3, 3] = centre
    return plane


def set_window(nodes: SceneNodes, top: float) -> None:
    """Show the SPECT from 0 to a multiple of the reference, in colours and in inverse grey."""
    if nodes.relative is None:
        return
    for node in (nodes.relative, *_shown_besides(nodes.relative.GetScene())):
        display = node.GetDisplayNode()
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0.0, top)


def _axis(nodes: SceneNodes, level: str) -> FloatArray:
    """Direction from the lower to the upper body of a level, RAS; upward where it is not known."""
    points = {}
    names: Node = nodes.levels
    for i in range(names.GetNumberOfControlPoints() if names is not None else 0):
        name = names.GetNthControlPointDescription(i)
        points[name] = np.array(names.GetNthControlPointPosition(i))
    upper, _, lower = level.partition("-")
    low = points.get(lower, points.get("sacrum"))
    axis = np.array([0.0, 0.0, 1.0])
    if upper in points and low is not None and np.linalg.norm(points[upper] - low) > 0.0:
        axis = points[upper] - low
    result: FloatArray = axis / np.linalg.norm(axis)
    return result


def _of_a_joint(name: str) -> bool:
    """Whether a view is one of the reader's that follow the joint."""
    return name.startswith(READING_PREFIX) and not name.startswith(SURVEY_PREFIX)


def _greys(scene: Node) -> Sequence[Node]:
    volumes = by_class(scene, "vtkMRMLScalarVolumeNode")
    return [node for node in volumes if node.GetAttribute(ROLE) == _READING]


def _shown_besides(scene: Node) -> Sequence[Node]:
    """Volumes that show the SPECT besides its own."""
    volumes = by_class(scene, "vtkMRMLScalarVolumeNode")
    return [node for node in volumes if node.GetAttribute(ROLE) in (_READING, SURVEY_ROLE)]


def _inverse_grey(scene: Node, nodes: SceneNodes) -> Node:
    """The SPECT's voxels once more, in inverse grey: a volume is shown in one table only."""
    remove_nodes(scene, _greys(scene))
    spect = nodes.relative or nodes.spect
    node = add_node(scene, "vtkMRMLScalarVolumeNode", "SPECT, inverse grey")
    node.SetAttribute(ROLE, _READING)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.CopyOrientation(spect)
    node.SetAndObserveImageData(spect.GetImageData())
    node.SetAndObserveTransformNodeID(spect.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    display, shown = node.GetDisplayNode(), spect.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetAndObserveColorNodeID(_GREY)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, shown.GetWindowLevelMax())
    return node
