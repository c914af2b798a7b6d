"""Which analysis is shown, and what of it is visible. The one owner of both.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from CTSpectSpineLib.scene.colours import show_legend, show_spect
from CTSpectSpineLib.scene.framing import find_spine, fit_space, fit_volume, frame_spine
from CTSpectSpineLib.scene.level_names import show_where_readable
from CTSpectSpineLib.scene.mrml import ROLE, TRANSFORM_ROLE, Node, by_class
from CTSpectSpineLib.scene.nodes import SceneNodes, analyses, remove_orphans, scene_nodes
from CTSpectSpineLib.scene.overlays import overlays, remove_overlays
from CTSpectSpineLib.scene.plot import show_plot
from CTSpectSpineLib.scene.segment_labels import may_be_vertebrae
from CTSpectSpineLib.scene.segmentations import batch, surface_steps
from CTSpectSpineLib.scene.views import OPACITY, OVERLAYS, fuse, show_ct, show_overlay

VERTEBRAE_OPACITY = 0.3
"""Opacity of the vertebrae in 3D. Judgement: the joints are seen through them."""
_HIDDEN = "CTSpectSpine.hidden"
"""Attribute of what was hidden because it covers the SPECT; its value says what was visible."""
_LABELS = "CTSpectSpine.labels"
"""Reference from a slice composite to the label volume that was taken out of it."""


@dataclass(frozen=True)
class Look:
    """How CT and SPECT are shown together.

    Attributes
    ----------
    opacity
        How strongly the SPECT covers the CT, 0 to 1.
    overlay
        One of `views.OVERLAYS`.
    """

    opacity: float = OPACITY
    overlay: str = OVERLAYS[0]


def present(scene: Node, nodes: SceneNodes, look: Look | None = None) -> None:
    """Show one analysis and no other, as a reader wants it at first.

    Slices are fused and filled by the spine, the sagittal one through the canal; the 3D view is
    filled by the spine, seen from behind and from the side; level names, legend, plot and table
    are those of this analysis. Label volumes and segmentations of vertebrae that the user
    brought would cover the SPECT: they are hidden until `dismiss`.
    """
    for _ in present_steps(scene, nodes, look):
        pass


def present_steps(
    scene: Node, nodes: SceneNodes, look: Look | None = None, *, surfaces: bool = True
) -> Iterator[None]:
    """`present` in short steps, between which a window can answer.

    Parameters
    ----------
    surfaces
        Whether to make the surfaces for 3D views where there are none.
    """
    remove_orphans(scene)
    _hide_others(scene, nodes)
    _hide_inputs(scene)
    _place_spect(scene, nodes)
    _adjust_windows(scene, nodes)
    yield
    spine = find_spine(nodes)
    refresh(scene, nodes, look or Look(), middle=spine.middle_lps if spine else None)
    yield
    show_plot(scene, nodes.chart, nodes.joint_table)
    if spine is not None:
        frame_spine(scene, spine)
    elif nodes.ct is not None:
        fit_volume(scene, nodes.ct)
    yield
    if surfaces:
        for segmentation in (nodes.vertebrae, nodes.joints):
            if segmentation is not None:
                yield from surface_steps(segmentation)
    _show(nodes)
    if spine is not None:
        fit_space(scene, spine, nodes.vertebrae)
    yield


def refresh(
    scene: Node,
    nodes: SceneNodes,
    look: Look,
    *,
    middle: tuple[float, float, float] | None = None,
) -> None:
    """Show CT and SPECT of the shown analysis together in another way, where they are shown now.

    Parameters
    ----------
    middle
        A point of the spine's middle plane, LPS mm; None to find it.
    """
    if nodes.ct is None or (nodes.relative is None and nodes.spect is None):
        return
    if middle is None and (spine := find_spine(nodes)) is not None:
        middle = spine.middle_lps
    spect = nodes.relative or nodes.spect
    fuse(scene, nodes.ct, spect)
    show_overlay(scene, look.overlay, nodes.ct, spect, opacity=look.opacity, middle=middle)


def dismiss(scene: Node) -> None:
    """Show no analysis: all of them are hidden, and what the user brought is as it was."""
    relatives: dict[str, Node] = {}
    for manifest in analyses(scene):
        nodes = scene_nodes(manifest)
        _hide(nodes)
        if nodes.relative is not None and nodes.spect is not None:
            relatives[nodes.relative.GetID()] = nodes.spect
        _out_of_ours(nodes.spect)
    for composite in by_class(scene, "vtkMRMLSliceCompositeNode"):
        shown = scene.GetNodeByID(composite.GetForegroundVolumeID() or "")
        if shown is None or shown.GetAttribute(ROLE) in ("relative", "overlay"):
            spect = relatives.get(composite.GetForegroundVolumeID() or "")
            if spect is None:
                spect = next(iter(relatives.values()), None)
            composite.SetForegroundVolumeID(spect.GetID() if spect is not None else None)
        shown = scene.GetNodeByID(composite.GetLabelVolumeID() or "")
        if shown is not None and shown.GetAttribute(ROLE) == "overlay":
            composite.SetLabelVolumeID(None)
    remove_overlays(scene, overlays(scene))
    remove_orphans(scene)
    _restore_inputs(scene)
    _forget_plots(scene)


def show_inputs(scene: Node, ct: Node, spect: Node) -> None:
    """Show a CT and a SPECT that were just loaded: fused, filling the slice views, linked."""
    show_ct(ct)
    show_spect(scene, spect)
    fuse(scene, ct, spect)
    show_overlay(scene, OVERLAYS[0], ct, spect)
    fit_volume(scene, ct)


def _hide_others(scene: Node, nodes: SceneNodes) -> None:
    for manifest in analyses(scene):
        if manifest is not nodes.manifest:
            other = scene_nodes(manifest)
            _hide(other)
            if other.spect is not nodes.spect:
                _out_of_ours(other.spect)


def _hide(nodes: SceneNodes) -> None:
    for node in (nodes.vertebrae, nodes.joints, nodes.levels, nodes.findings):
        if node is not None and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(False)
    if nodes.relative is not None:
        show_legend(nodes.relative, False)
    if nodes.transform is not None and nodes.transform.GetDisplayNode() is not None:
        nodes.transform.GetDisplayNode().SetEditorVisibility(False)


def _show(nodes: SceneNodes) -> None:
    """Show segments, level names and legend."""
    for node in (nodes.vertebrae, nodes.joints, nodes.levels, nodes.findings):
        if node is not None:
            node.CreateDefaultDisplayNodes()
            display: Node = node.GetDisplayNode()
            with batch(display):
                display.SetVisibility(True)
                if node is nodes.vertebrae:
                    display.SetOpacity3D(VERTEBRAE_OPACITY)
    if nodes.levels is not None:
        show_where_readable(nodes.levels)
    if nodes.relative is not None:
        show_legend(nodes.relative, True)


def _place_spect(scene: Node, nodes: SceneNodes) -> None:
    """Move the SPECT by the transform of its analysis, and only by that."""
    if nodes.spect is None or nodes.transform is None:
        return
    parent = nodes.spect.GetParentTransformNode()
    if parent is None or parent.GetAttribute(ROLE) == TRANSFORM_ROLE:
        nodes.spect.SetAndObserveTransformNodeID(nodes.transform.GetID())


def _out_of_ours(spect: Node | None) -> None:
    parent = None if spect is None else spect.GetParentTransformNode()
    if spect is not None and parent is not None and parent.GetAttribute(ROLE) == TRANSFORM_ROLE:
        spect.SetAndObserveTransformNodeID(None)


def _adjust_windows(scene: Node, nodes: SceneNodes) -> None:
    """Windows of the user's volumes, where the user did not choose them."""
    for node in (nodes.ct, None if nodes.relative is not None else nodes.spect):
        if node is None:
            continue
        node.CreateDefaultDisplayNodes()
        if node.GetDisplayNode().GetAutoWindowLevel():
            if node is nodes.ct:
                show_ct(node)
            else:
                show_spect(scene, node)


def _hide_inputs(scene: Node) -> None:
    for composite in by_class(scene, "vtkMRMLSliceCompositeNode"):
        labels = scene.GetNodeByID(composite.GetLabelVolumeID() or "")
        if labels is not None and labels.GetAttribute(ROLE) is None:
            composite.SetNodeReferenceID(_LABELS, labels.GetID())
            composite.SetLabelVolumeID(None)
    for node in by_class(scene, "vtkMRMLSegmentationNode"):
        display = node.GetDisplayNode()
        if display is None or node.GetAttribute(ROLE) is not None or not may_be_vertebrae(node):
            continue
        if display.GetVisibility():
            display.SetAttribute(_HIDDEN, "1")
            display.SetVisibility(False)


def _restore_inputs(scene: Node) -> None:
    for composite in by_class(scene, "vtkMRMLSliceCompositeNode"):
        labels = composite.GetNodeReferenceID(_LABELS)
        if labels:
            if not composite.GetLabelVolumeID():
                composite.SetLabelVolumeID(labels)
            composite.SetNodeReferenceID(_LABELS, None)
    for node in by_class(scene, "vtkMRMLSegmentationNode"):
        display = node.GetDisplayNode()
        if display is not None and display.GetAttribute(_HIDDEN):
            display.RemoveAttribute(_HIDDEN)
            display.SetVisibility(True)
    for view in by_class(scene, "vtkMRMLSliceNode"):
        view.SetUseLabelOutline(False)


def _forget_plots(scene: Node) -> None:
    for kind, get, forget in (
        ("vtkMRMLPlotViewNode", "GetPlotChartNodeID", "SetPlotChartNodeID"),
        ("vtkMRMLTableViewNode", "GetTableNodeID", "SetTableNodeID"),
        ("vtkMRMLSelectionNode", "GetActivePlotChartID", "SetActivePlotChartID"),
        ("vtkMRMLSelectionNode", "GetActiveTableID", "SetActiveTableID"),
    ):
        for view in by_class(scene, kind):
            node = scene.GetNodeByID(getattr(view, get)() or "")
            if node is not None and node.GetAttribute(ROLE) in ("chart", "joint_table"):
                getattr(view, forget)(None)
