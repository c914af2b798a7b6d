"""What the views of a scene show: fused slices, overlays for the registration check, the layout.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from CTSpectSpineLib.scene.mrml import Node, by_class, mrml
from CTSpectSpineLib.scene.overlays import (
    add_bone,
    add_checkerboard,
    overlays,
    remove_overlays,
)

BONE_WINDOW = (1000.0, 300.0)
"""Window and level of the CT in HU. Convention: a usual bone window."""
LAYOUT_ID = 50927
"""Number of the module's layout. Convention: Slicer's own are below 1000."""
OPACITY = 0.6
"""How strongly the SPECT covers the CT at first, 0 to 1. Judgement: bone stays readable below."""
READING_PREFIX = "CTSpectSpine "
"""Beginning of the names of views of the reader's layout; others are the user's or the module's."""
SURVEY_PREFIX = f"{READING_PREFIX}survey "
"""Beginning of the names of those views of the reader's that show the whole scan."""
OVERLAYS = ("blend", "checkerboard", "bone edges")
_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


def view(kind: str, tag: str, letter: str, orientation: str = "", group: int = 0) -> str:
    """One view of a layout: class ``vtkMRML<kind>Node``, its name, and the letter on it.

    Views of another group do not follow when the slices are moved.
    """
    extra = (
        f'<property name="orientation" action="default">{orientation}</property>'
        if orientation
        else ""
    )
    if group:
        extra += f'<property name="viewgroup" action="default">{group}</property>'
    return (
        f'<view class="vtkMRML{kind}Node" singletontag="{tag}">{extra}'
        f'<property name="viewlabel" action="default">{letter}</property></view>'
    )


def layout_description() -> str:
    """The layout: a large sagittal view; coronal, axial and 3D; plot and table in tabs."""
    sagittal = view("Slice", "Yellow", "Y", "Sagittal")
    coronal, axial = view("Slice", "Green", "G", "Coronal"), view("Slice", "Red", "R", "Axial")
    tabs = (
        '<layout type="tab" multiple="false">'
        f'<item name="Uptake by level">{view("PlotView", "PlotView1", "P")}</item>'
        f'<item name="Joint table">{view("TableView", "TableView1", "T")}</item></layout>'
    )
    return (
        '<layout type="horizontal" split="true">'
        f'<item splitSize="420">{sagittal}</item>'
        '<item splitSize="580"><layout type="vertical" split="true">'
        f'<item splitSize="550"><layout type="horizontal" split="true"><item>{coronal}</item>'
        f"<item>{axial}</item></layout></item>"
        '<item splitSize="450"><layout type="horizontal" split="true">'
        f"<item>{view('View', '1', '1')}</item><item>{tabs}</item></layout></item>"
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


def composites(scene: Node) -> list[Node]:
    """What the slice views show, but those of the reader's layout."""
    every = by_class(scene, "vtkMRMLSliceCompositeNode")
    return [n for n in every if not (n.GetLayoutName() or "").startswith(READING_PREFIX)]


def fuse(scene: Node, ct: Node, spect: Node) -> None:
    """Show CT below and SPECT above in all slice views, which move together."""
    for composite in composites(scene):
        composite.SetBackgroundVolumeID(ct.GetID())
        composite.SetForegroundVolumeID(spect.GetID())
        composite.SetLinkedControl(True)


def set_opacity(scene: Node, opacity: float) -> None:
    """Set how strongly the SPECT covers the CT, 0 to 1."""
    for composite in composites(scene):
        composite.SetForegroundOpacity(opacity)


def show_overlay(
    scene: Node,
    name: str,
    ct: Node,
    spect: Node,
    *,
    opacity: float = OPACITY,
    middle: Sequence[float] | None = None,
) -> None:
    """Show CT and SPECT in one of the ways of `OVERLAYS`.

    ``checkerboard`` shows the SPECT in every other cube of 25 mm, opaque; ``bone edges`` draws
    the outline of the bone of the CT on the SPECT. Both are made from where the SPECT lies now.

    Parameters
    ----------
    opacity
        How strongly the SPECT covers the CT in a blend, 0 to 1.
    middle
        Point in the middle of a cube of the checkerboard, LPS mm; None for the middle of the CT.
    """
    if name not in OVERLAYS:
        raise ValueError(f"overlay is {name!r}, not one of {OVERLAYS}")
    label = foreground = None
    old = overlays(scene)
    if name == "checkerboard":
        foreground = add_checkerboard(scene, ct, spect, middle or middle_lps(ct))
    elif name == "bone edges":
        label = add_bone(scene, ct)
    for composite in composites(scene):
        composite.SetForegroundVolumeID((foreground or spect).GetID())
        composite.SetForegroundOpacity(opacity if name == "blend" else 1.0)
        composite.SetLabelVolumeID(label.GetID() if label else None)
        composite.SetLabelOpacity(1.0)
    for slice_ in by_class(scene, "vtkMRMLSliceNode"):
        slice_.SetUseLabelOutline(label is not None)
    remove_overlays(scene, old)


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


@contextmanager
def orientation_letters(scene: Node) -> Iterator[None]:
    """Letters of the patient's directions in all slice and 3D views while the block lasts.

    A picture that leaves Slicer must say where right, anterior and superior are. A view in which
    the user has an orientation marker keeps it.
    """
    views = [*by_class(scene, "vtkMRMLSliceNode"), *by_class(scene, "vtkMRMLViewNode")]
    plain = [
        view for view in views if view.GetOrientationMarkerType() == view.OrientationMarkerTypeNone
    ]
    before = [
        (view, view.GetOrientationMarkerType(), view.GetOrientationMarkerSize()) for view in plain
    ]
    for view in plain:
        view.SetOrientationMarkerType(view.OrientationMarkerTypeAxes)
        view.SetOrientationMarkerSize(view.OrientationMarkerSizeMedium)
    try:
        yield
    finally:
        for view, kind, size in before:
            view.SetOrientationMarkerType(kind)
            view.SetOrientationMarkerSize(size)


def middle_lps(volume: Node) -> tuple[float, float, float]:
    """Middle of a volume, LPS mm."""
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    x, y, z = (0.5 * (bounds[2 * axis] + bounds[2 * axis + 1]) for axis in range(3))
    return -x, -y, z
