"""What the views of a scene show: fused slices, overlays for the registration check, the layout.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.scene.mrml import Node, add_volume, by_class, image_from_node, mrml

BONE_WINDOW = (1000.0, 300.0)
"""Window and level of the CT in HU. Convention: a usual bone window."""
LAYOUT_ID = 50927
"""Number of the module's layout. Convention: Slicer's own are below 1000."""
FRAME_MM = 90.0
"""Height of the slice views that frame one joint. Judgement: shows both neighbouring joints."""
OPACITY = 0.6
"""How strongly the SPECT covers the CT at first, 0 to 1. Judgement: bone stays readable below."""
OVERLAYS = ("blend", "checkerboard", "bone edges")
_AROUND_MM = 60.0
"""Margin of the overview around the joints. Judgement: shows the neighbouring anatomy."""
_OVERLAY_ROLE = "overlay"
_SQUARE_MM = 25.0
"""Edge of a checkerboard square. Judgement: about a vertebral body."""
_BONE_EDGE_HU = 250.0
"""HU from which bone is outlined. Judgement: above most cancellous bone, below cortex."""
_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
_AXES = {"Axial": (0, 1), "Sagittal": (1, 2), "Coronal": (0, 2)}
"""View to the RAS axes across and up. By definition."""


def _view(kind: str, tag: str, letter: str, orientation: str = "") -> str:
    extra = (
        f'<property name="orientation" action="default">{orientation}</property>'
        if orientation
        else ""
    )
    return (
        f'<view class="vtkMRML{kind}Node" singletontag="{tag}">{extra}'
        f'<property name="viewlabel" action="default">{letter}</property></view>'
    )


def layout_description() -> str:
    """The layout: a large sagittal view; coronal, axial and 3D; plot and table in tabs."""
    sagittal = _view("Slice", "Yellow", "Y", "Sagittal")
    coronal, axial = _view("Slice", "Green", "G", "Coronal"), _view("Slice", "Red", "R", "Axial")
    tabs = (
        '<layout type="tab" multiple="false">'
        f'<item name="Uptake by level">{_view("PlotView", "PlotView1", "P")}</item>'
        f'<item name="Joint table">{_view("TableView", "TableView1", "T")}</item></layout>'
    )
    return (
        '<layout type="horizontal" split="true">'
        f'<item splitSize="420">{sagittal}</item>'
        '<item splitSize="580"><layout type="vertical" split="true">'
        f'<item splitSize="550"><layout type="horizontal" split="true"><item>{coronal}</item>'
        f"<item>{axial}</item></layout></item>"
        '<item splitSize="450"><layout type="horizontal" split="true">'
        f"<item>{_view('View', '1', '1')}</item><item>{tabs}</item></layout></item>"
        "</layout></item></layout>"
    )


def register_layout(layout_node: Node) -> None:
    """Make the layout known to Slicer under `LAYOUT_ID`."""
    if not layout_node.IsLayoutDescription(LAYOUT_ID):
        layout_node.AddLayoutDescription(LAYOUT_ID, layout_description())


def add_views(scene: Node) -> None:
    """Add the three slice views of Slicer's standard layouts to a scene of one's own."""
    for layout_name, orientation in _VIEWS.items():
        for class_name in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
            node = scene.CreateNodeByClass(class_name)
            node.UnRegister(None)
            node.SetLayoutName(layout_name)
            node.SetSingletonTag(layout_name)
            node.SetName(layout_name)
            if class_name == "vtkMRMLSliceNode":
                node.SetLayoutLabel(layout_name[0])
            node = scene.AddNode(node)
            if class_name == "vtkMRMLSliceNode":
                node.SetOrientation(orientation)


def show_ct(node: Node) -> None:
    """Show a CT in the bone window."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindow(BONE_WINDOW[0])
    display.SetLevel(BONE_WINDOW[1])


def fuse(scene: Node, ct: Node, spect: Node, opacity: float = OPACITY) -> None:
    """Show CT and SPECT fused in all slice views, which move together, over the whole CT."""
    bounds = [0.0] * 6
    ct.GetRASBounds(bounds)
    extent = [bounds[2 * axis + 1] - bounds[2 * axis] for axis in range(3)]
    for composite in by_class(scene, "vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(ct.GetID())
        composite.SetForegroundVolumeID(spect.GetID())
        composite.SetForegroundOpacity(opacity)
        composite.SetLinkedControl(True)
    for view in by_class(scene, "vtkMRMLSliceNode"):
        if view.GetOrientation() in _AXES:
            width, height, _ = view.GetDimensions()
            across, up = (extent[axis] for axis in _AXES[view.GetOrientation()])
            scale = max(across / width, up / height)
            view.SetFieldOfView(scale * width, scale * height, view.GetFieldOfView()[2])


def set_opacity(scene: Node, opacity: float) -> None:
    """Set how strongly the SPECT covers the CT, 0 to 1."""
    for composite in by_class(scene, "vtkMRMLSliceCompositeNode"):
        composite.SetForegroundOpacity(opacity)


def overview(
    scene: Node, points_lps: Sequence[Sequence[float]], through_lps: Sequence[float]
) -> None:
    """Show the whole of some points, in slices through one of them.

    Parameters
    ----------
    points_lps
        For instance the centres of all joints.
    through_lps
        Point that all slices cut.
    """
    points = np.array(points_lps, dtype=float).reshape(-1, 3) * (-1.0, -1.0, 1.0)
    low, high = points.min(axis=0) - _AROUND_MM, points.max(axis=0) + _AROUND_MM
    middle, extent = 0.5 * (low + high), high - low
    x, y, z = through_lps
    for view in by_class(scene, "vtkMRMLSliceNode"):
        if view.GetOrientation() in _AXES:
            across, up = _AXES[view.GetOrientation()]
            width, height, _ = view.GetDimensions()
            scale = max(extent[across] / width, extent[up] / height)
            view.SetFieldOfView(scale * width, scale * height, view.GetFieldOfView()[2])
            view.JumpSliceByCentering(*middle.tolist())
            view.JumpSliceByOffsetting(-x, -y, z)


def frame(scene: Node, point_lps: Sequence[float], height_mm: float = FRAME_MM) -> None:
    """Centre all views on a point and zoom the slice views to its surroundings."""
    x, y, z = (float(value) for value in point_lps)
    for view in by_class(scene, "vtkMRMLSliceNode"):
        width, height, _ = view.GetDimensions()
        view.SetFieldOfView(height_mm * width / height, height_mm, view.GetFieldOfView()[2])
        view.JumpSliceByCentering(-x, -y, z)
    for camera in by_class(scene, "vtkMRMLCameraNode"):
        move = np.subtract((-x, -y, z), camera.GetFocalPoint())
        camera.SetPosition(*np.add(camera.GetPosition(), move).tolist())
        camera.SetFocalPoint(-x, -y, z)


def show_overlay(scene: Node, name: str, ct: Node, spect: Node) -> None:
    """Show CT and SPECT in one of the ways of `OVERLAYS`.

    ``checkerboard`` shows the SPECT in every other square of 25 mm, opaque; ``bone edges`` draws
    the outline of the bone of the CT on the SPECT. Both are made from where the SPECT lies now.
    """
    remove_overlay(scene)
    label = foreground = None
    if name == "checkerboard":
        foreground = _checkerboard(scene, ct, spect)
    elif name == "bone edges":
        label = _bone(scene, ct)
    elif name != "blend":
        raise ValueError(f"overlay is {name!r}, not one of {OVERLAYS}")
    for composite in by_class(scene, "vtkMRMLSliceCompositeNode"):
        composite.SetForegroundVolumeID((foreground or spect).GetID())
        composite.SetForegroundOpacity(OPACITY if name == "blend" else 1.0)
        composite.SetLabelVolumeID(label.GetID() if label else None)
        composite.SetLabelOpacity(1.0)
    for view in by_class(scene, "vtkMRMLSliceNode"):
        view.SetUseLabelOutline(label is not None)


def remove_overlay(scene: Node) -> None:
    """Remove the volumes that `show_overlay` added."""
    for kind in ("vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode"):
        for node in by_class(scene, kind):
            if node.GetAttribute("CTSpectSpine.role") == _OVERLAY_ROLE:
                display = node.GetDisplayNode()
                scene.RemoveNode(node)
                if display is not None:
                    scene.RemoveNode(display)


def _mark(node: Node) -> Node:
    node.SetAttribute("CTSpectSpine.role", _OVERLAY_ROLE)
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


def _checkerboard(scene: Node, ct: Node, spect: Node) -> Node:
    grid = _coarse(image_from_node(ct), 1.5)
    moved = sitk.Resample(
        sitk.Cast(image_from_node(spect, where_shown=True), sitk.sitkFloat32),
        grid,
        sitk.Transform(),
        sitk.sitkLinear,
        0.0,
    )
    voxels = sitk.GetArrayFromImage(moved)
    spacing = grid.GetSpacing()[::-1]
    squares = np.add.outer(
        np.add.outer(*(_squares(voxels.shape[axis], spacing[axis]) for axis in (0, 1))),
        _squares(voxels.shape[2], spacing[2]),
    )
    voxels[squares % 2 == 0] = -1.0
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


def _squares(count: int, spacing: float) -> Any:
    return (np.arange(count) * spacing // _SQUARE_MM).astype(np.int64)


def _bone(scene: Node, ct: Node) -> Node:
    image = image_from_node(ct)
    coarse = sitk.Resample(image, _coarse(image, 1.0), sitk.Transform(), sitk.sitkLinear, -1000.0)
    bone = sitk.BinaryThreshold(coarse, _BONE_EDGE_HU, 1e6, 1, 0)
    return _mark(add_volume(scene, bone, "Bone edges", "vtkMRMLLabelMapVolumeNode"))


def edit_by_hand(transform: Node, on: bool, centre_lps: Sequence[float] | None = None) -> None:
    """Show or hide the handles by which the user moves the SPECT; they turn about a point."""
    transform.CreateDefaultDisplayNodes()
    if on and centre_lps is not None:
        x, y, z = centre_lps
        local = [0.0, 0.0, 0.0]
        _to_local(transform, (-x, -y, z), local)
        transform.SetCenterOfTransformation(local)
    display = transform.GetDisplayNode()
    display.SetEditorScalingEnabled(False)
    display.SetEditorVisibility3D(on)
    display.SetEditorSliceIntersectionVisibility(on)
    display.SetEditorVisibility(on)


def _to_local(transform: Node, ras: Sequence[float], local: list[float]) -> None:
    _, vtk = mrml()
    inverse = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformFromParent(inverse)
    local[:] = list(inverse.MultiplyPoint([*ras, 1.0])[:3])


def middle_lps(volume: Node) -> tuple[float, float, float]:
    """Middle of a volume, LPS mm."""
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    x, y, z = (0.5 * (bounds[2 * axis] + bounds[2 * axis + 1]) for axis in range(3))
    return -x, -y, z
