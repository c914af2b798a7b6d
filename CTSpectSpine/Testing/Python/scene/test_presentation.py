"""Which analysis is shown, what of it is visible, and where the views look."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import slicer
import vtk
from slicer_results import HOT_POINT_CT, ResultsFolder

from CTSpectSpineLib.scene.bundle import write_scene
from CTSpectSpineLib.scene.framing import find_spine
from CTSpectSpineLib.scene.mrml import add_volume, by_class, headless_scene, numpy_matrix
from CTSpectSpineLib.scene.nodes import SceneNodes, analyses, remove_analysis, scene_nodes
from CTSpectSpineLib.scene.populate import populate_scene
from CTSpectSpineLib.scene.presentation import (
    Look,
    dismiss,
    present,
    refresh,
    show_inputs,
)
from CTSpectSpineLib.scene.segmentations import show_segments
from CTSpectSpineLib.scene.views import BONE_WINDOW, OPACITY, add_views, show_overlay


@pytest.fixture
def scene(case: ResultsFolder) -> Iterator[object]:
    with headless_scene() as (made, _):
        add_views(made)
        yield made


@pytest.fixture
def images(scene: object, case: ResultsFolder) -> tuple[object, object]:
    return add_volume(scene, case.ct, "CT"), add_volume(scene, case.spect, "SPECT")


@pytest.fixture
def two(scene: object, images: tuple[object, object], case: ResultsFolder) -> list[SceneNodes]:
    ct, spect = images
    return [populate_scene(scene, ct=ct, spect=spect, folder=case.folder) for _ in range(2)]


def composites(scene: object) -> list[object]:
    return by_class(scene, "vtkMRMLSliceCompositeNode")


def visible(nodes: SceneNodes) -> dict[str, bool]:
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(nodes.relative)
    parts = {"vertebrae": nodes.vertebrae, "joints": nodes.joints, "levels": nodes.levels}
    return {
        **{name: bool(node.GetDisplayNode().GetVisibility()) for name, node in parts.items()},
        "legend": bool(legend.GetVisibility()),
    }


def test_one_analysis_is_shown_and_no_other(scene: object, two: list[SceneNodes]) -> None:
    first, second = two
    plot = scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    table = scene.AddNewNodeByClass("vtkMRMLTableViewNode")
    for shown, hidden in ((first, second), (second, first), (first, second)):
        present(scene, shown)
        assert all(visible(shown).values())
        assert not any(visible(hidden).values())
        assert shown.spect.GetParentTransformNode() is shown.transform
        for composite in composites(scene):
            assert composite.GetBackgroundVolumeID() == shown.ct.GetID()
            assert composite.GetForegroundVolumeID() == shown.relative.GetID()
            assert composite.GetLinkedControl()
        assert plot.GetPlotChartNodeID() == shown.chart.GetID()
        assert table.GetTableNodeID() == shown.joint_table.GetID()
    dismiss(scene)
    for nodes in two:
        assert not any(visible(nodes).values())
    assert first.spect.GetParentTransformNode() is None
    for composite in composites(scene):
        assert composite.GetForegroundVolumeID() == first.spect.GetID()
    assert not plot.GetPlotChartNodeID()
    assert not table.GetTableNodeID()


def test_a_legend_becomes_visible_after_its_volume_is_shown(
    scene: object, two: list[SceneNodes]
) -> None:
    nodes = two[0]
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(nodes.relative)
    assert not legend.GetVisibility()
    shown = []

    def remember(_caller: object, _event: str) -> None:
        if legend.GetVisibility():
            shown.append(composites(scene)[0].GetForegroundVolumeID())

    legend.AddObserver(vtk.vtkCommand.ModifiedEvent, remember)
    present(scene, nodes)
    assert shown, "a legend that was visible before draws nothing"
    assert set(shown) == {nodes.relative.GetID()}
    shown.clear()
    present(scene, nodes)
    assert shown, "so does one that stays visible"


def test_inputs_that_cover_the_uptake_are_hidden_and_come_back(
    scene: object, images: tuple[object, object], case: ResultsFolder
) -> None:
    ct, spect = images
    labels = add_volume(scene, case.labels, "given labels", "vtkMRMLLabelMapVolumeNode")
    given, tumour = (
        scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name) for name in ("given", "tumour")
    )
    for node, name in ((given, "vertebrae_L5"), (tumour, "tumour")):
        node.CreateDefaultDisplayNodes()
        node.GetSegmentation().AddEmptySegment("", name)
    for composite in composites(scene):
        composite.SetLabelVolumeID(labels.GetID())
    nodes = populate_scene(scene, ct=ct, spect=spect, folder=case.folder)
    for _ in range(2):
        present(scene, nodes)
        assert not any(composite.GetLabelVolumeID() for composite in composites(scene))
        assert not given.GetDisplayNode().GetVisibility()
        assert tumour.GetDisplayNode().GetVisibility()
    dismiss(scene)
    for composite in composites(scene):
        assert composite.GetLabelVolumeID() == labels.GetID()
    assert given.GetDisplayNode().GetVisibility()
    given.GetDisplayNode().SetVisibility(False)
    present(scene, nodes)
    dismiss(scene)
    assert not given.GetDisplayNode().GetVisibility(), "the user had hidden it"


def test_what_the_user_chose_stays(scene: object, two: list[SceneNodes]) -> None:
    nodes = two[0]
    display = nodes.ct.GetDisplayNode()
    present(scene, nodes)
    assert (display.GetWindow(), display.GetLevel()) == BONE_WINDOW
    display.SetWindowLevel(400.0, 40.0)
    present(scene, two[1], Look(0.3, "blend"))
    assert (display.GetWindow(), display.GetLevel()) == (400.0, 40.0)
    assert composites(scene)[0].GetForegroundOpacity() == pytest.approx(0.3)
    present(scene, nodes, Look(0.3, "bone edges"))
    assert composites(scene)[0].GetLabelVolumeID()
    refresh(scene, nodes, Look(0.45, "blend"))
    assert composites(scene)[0].GetForegroundOpacity() == pytest.approx(0.45)
    assert not composites(scene)[0].GetLabelVolumeID()


def test_a_spect_under_the_user_s_own_transform_is_not_touched(
    scene: object, images: tuple[object, object], case: ResultsFolder
) -> None:
    ct, spect = images
    own = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "own")
    spect.SetAndObserveTransformNodeID(own.GetID())
    count = scene.GetNumberOfNodes()
    nodes = populate_scene(scene, ct=ct, spect=spect, folder=case.folder)
    present(scene, nodes)
    assert nodes.spect is not spect
    assert spect.GetParentTransformNode() is own
    again = populate_scene(
        scene, ct=ct, spect=nodes.spect, folder=case.folder, replaces=nodes.manifest
    )
    assert again.spect.GetScene() is scene, "the new analysis needs the copy"
    remove_analysis(again.manifest)
    assert scene.GetNumberOfNodes() == count
    assert spect.GetParentTransformNode() is own


def test_the_spine_fills_the_views(scene: object, two: list[SceneNodes]) -> None:
    nodes = two[0]
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode")
    space = scene.AddNewNodeByClass("vtkMRMLViewNode")
    present(scene, nodes)
    spine = find_spine(nodes)
    bounds = [0.0] * 6
    nodes.vertebrae.GetRASBounds(bounds)
    np.testing.assert_allclose([*spine.low, *spine.high], [*bounds[::2], *bounds[1::2]])
    for view in by_class(scene, "vtkMRMLSliceNode"):
        centre = numpy_matrix(view.GetSliceToRAS())[:3, 3]
        if view.GetOrientation() != "Axial":
            assert view.GetFieldOfView()[1] < 1.4 * (bounds[5] - bounds[4])
        if view.GetOrientation() == "Sagittal":
            # The blocks of the case stand about x = 0, the hot joint 19 mm to the right (RAS +).
            assert abs(centre[0]) < 1.0
        else:
            across = 1 if view.GetOrientation() == "Coronal" else 2
            expected = (-HOT_POINT_CT[0], -HOT_POINT_CT[1], HOT_POINT_CT[2])[across]
            assert centre[across] == pytest.approx(expected, abs=1.0)
    assert not space.GetBoxVisible()
    assert not space.GetAxisLabelsVisible()
    position, focus = np.array(camera.GetPosition()), np.array(camera.GetFocalPoint())
    np.testing.assert_allclose(focus, 0.5 * (spine.low + spine.high))
    assert position[1] < focus[1], "facets are seen from behind (posterior is -y in RAS)"
    assert position[0] > focus[0], "and from the side of the hot one, the right (+x)"
    towards = (position - focus) / np.linalg.norm(position - focus)
    corners = np.array(list(itertools.product(*zip(spine.low, spine.high, strict=True))))
    depth = np.linalg.norm(position - focus) - (corners - focus) @ towards
    up = np.array(camera.GetViewUp())
    angles = np.abs(np.degrees(np.arctan(((corners - focus) @ up) / depth)))
    assert 0.6 < angles.max() / (0.5 * camera.GetViewAngle()) <= 1.0


def test_surfaces_are_there_also_in_a_scene_that_was_opened(case: ResultsFolder) -> None:
    path = write_scene(case.folder, case.ct, case.spect)
    with headless_scene() as (scene, _):
        assert scene.ReadFromMRB(str(path), True, slicer.vtkMRMLMessageCollection())
        (manifest,) = analyses(scene)
        nodes = scene_nodes(manifest)
        assert all(visible(nodes).values())
        assert nodes.spect.GetParentTransformNode() is nodes.transform
        assert nodes.folder_item
        for node in (nodes.vertebrae, nodes.joints):
            assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
        present(scene, nodes)
        for node in (nodes.vertebrae, nodes.joints):
            segmentation = node.GetSegmentation()
            for name in segmentation.GetSegmentIDs():
                surface = segmentation.GetSegment(name).GetRepresentation("Closed surface")
                assert surface.GetNumberOfPoints() > 20, name


def test_a_surface_made_alone_is_that_of_all_together(scene: object, two: list[SceneNodes]) -> None:
    first, second = two
    present(scene, first)
    second.joints.CreateClosedSurfaceRepresentation()
    for name in first.joints.GetSegmentation().GetSegmentIDs():
        ours, theirs = (
            nodes.joints.GetSegmentation().GetSegment(name).GetRepresentation("Closed surface")
            for nodes in two
        )
        assert ours.GetNumberOfPoints() == theirs.GetNumberOfPoints()
        np.testing.assert_allclose(ours.GetBounds(), theirs.GetBounds())


def test_switching_segments_off_tells_the_views_once(scene: object, two: list[SceneNodes]) -> None:
    joints, events = two[0].joints, []
    joints.GetDisplayNode().AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: events.append(1))
    names = list(joints.GetSegmentation().GetSegmentIDs())
    show_segments(joints, {**dict.fromkeys(names, False), "gone": False})
    assert len(events) == 1
    assert not any(joints.GetDisplayNode().GetSegmentVisibility(name) for name in names)
    show_segments(joints, {names[0]: True})
    assert joints.GetDisplayNode().GetSegmentVisibility(names[0])


def test_every_slice_through_the_spine_shows_both_images(
    scene: object, two: list[SceneNodes], case: ResultsFolder
) -> None:
    nodes = two[0]
    present(scene, nodes, Look(OPACITY, "checkerboard"))
    board = scene.GetNodeByID(composites(scene)[0].GetForegroundVolumeID())
    voxels = slicer.util.arrayFromVolume(board)
    spine = find_spine(nodes)
    matrix = vtk.vtkMatrix4x4()
    board.GetRASToIJKMatrix(matrix)
    x, y, z = spine.middle_lps
    index = np.array(matrix.MultiplyPoint((-x, -y, z, 1.0))[:3])
    spacing = np.array(board.GetSpacing())
    for axis in range(3):
        for aside_mm in (-6.0, 0.0, 6.0):
            at = round(index[axis] + aside_mm / spacing[axis])
            section = np.take(voxels, at, axis=2 - axis)
            assert 0.3 < np.mean(section < -0.5) < 0.7
            assert not np.isin(section, (-1.0,)).all()
        # Around the middle plane the pattern stays the same for a whole square.
        planes = [
            np.take(voxels, round(index[axis] + mm / spacing[axis]), axis=2 - axis) < -0.5
            for mm in (-9.0, 0.0, 9.0)
        ]
        assert (planes[0] == planes[1]).all()
        assert (planes[1] == planes[2]).all()


def test_loaded_images_are_shown_fused_and_whole(
    scene: object, images: tuple[object, object]
) -> None:
    ct, spect = images
    show_inputs(scene, ct, spect)
    for composite in composites(scene):
        assert composite.GetBackgroundVolumeID() == ct.GetID()
        assert composite.GetForegroundVolumeID() == spect.GetID()
        assert composite.GetForegroundOpacity() == pytest.approx(OPACITY)
        assert composite.GetLinkedControl()
    bounds = [0.0] * 6
    ct.GetRASBounds(bounds)
    for view in by_class(scene, "vtkMRMLSliceNode"):
        assert view.GetFieldOfView()[1] >= min(bounds[3] - bounds[2], bounds[5] - bounds[4])
        centre = numpy_matrix(view.GetSliceToRAS())[:3, 3]
        np.testing.assert_allclose(
            centre, [0.5 * (bounds[2 * i] + bounds[2 * i + 1]) for i in range(3)], atol=1e-6
        )


def test_an_unknown_overlay_is_an_error(scene: object, two: list[SceneNodes]) -> None:
    with pytest.raises(ValueError, match="none of these"):
        show_overlay(scene, "none of these", two[0].ct, two[0].relative)
