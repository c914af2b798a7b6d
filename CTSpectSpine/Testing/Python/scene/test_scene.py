"""The results folder as a scene: written, opened, shown."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
import vtk
from scene_case import by_role
from slicer_results import HOT_POINT_CT, REFERENCE, ResultsFolder

from CTSpectSpineLib.display import LEAST_TOP
from CTSpectSpineLib.scene.bundle import write_scene
from CTSpectSpineLib.scene.colours import hot_colours
from CTSpectSpineLib.scene.mrml import (
    headless_scene,
    image_from_node,
    numpy_matrix,
)
from CTSpectSpineLib.scene.nodes import analyses, remove_analysis, scene_nodes
from CTSpectSpineLib.scene.populate import populate_scene
from CTSpectSpineLib.scene.views import (
    BONE_WINDOW,
    LAYOUT_ID,
    OPACITY,
    frame,
    layout_description,
    register_layout,
    show_overlay,
)


def children(scene: object, item: int) -> list[str]:
    hierarchy = scene.GetSubjectHierarchyNode()
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(item, items)
    return [hierarchy.GetItemName(items.GetId(i)) for i in range(items.GetNumberOfIds())]


def test_spect_transform_puts_the_hot_voxel_on_the_ct(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _):
        nodes = populate_scene(scene, ct=case.ct, spect=case.spect, folder=case.folder)
        voxels = slicer.util.arrayFromVolume(nodes.spect)
        k, j, i = np.unravel_index(np.argmax(voxels), voxels.shape)
        ijk_to_ras = vtk.vtkMatrix4x4()
        nodes.spect.GetIJKToRASMatrix(ijk_to_ras)
        local = numpy_matrix(ijk_to_ras) @ [i, j, k, 1]
        world = [0.0, 0.0, 0.0]
        nodes.spect.TransformPointToWorld(local[:3].tolist(), world)
        x, y, z = HOT_POINT_CT
        # The peak lies at a voxel centre, so it can be off by half a SPECT voxel's diagonal.
        assert np.linalg.norm(np.subtract(world, (-x, -y, z))) < 0.5 * math.sqrt(3) * 4.4
        unmoved = np.linalg.norm(np.subtract(local[:3], (-x, -y, z)))
        assert unmoved > 15


def test_transform_is_the_one_that_slicer_reads_from_the_file(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _):
        nodes = populate_scene(scene, ct=case.ct, spect=case.spect, folder=case.folder)
        loaded = slicer.vtkSlicerTransformLogic().AddTransform(
            str(case.folder / "spect_to_ct.tfm"), scene
        )
        ours, theirs = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
        nodes.transform.GetMatrixTransformToParent(ours)
        loaded.GetMatrixTransformToParent(theirs)
        np.testing.assert_allclose(numpy_matrix(ours), numpy_matrix(theirs), atol=1e-6)


def test_written_scene_is_read_back_whole(case: ResultsFolder) -> None:
    path = write_scene(case.folder, case.ct, case.spect)
    assert path == case.folder / "scene.mrb"
    assert not list(case.folder.glob(".scene-*"))
    with headless_scene() as (scene, _):
        assert scene.ReadFromMRB(str(path), True, slicer.vtkMRMLMessageCollection())

        ct, spect = by_role(scene, "ct"), by_role(scene, "spect")
        np.testing.assert_array_equal(
            slicer.util.arrayFromVolume(ct), sitk.GetArrayFromImage(case.ct)
        )
        display = ct.GetDisplayNode()
        assert (display.GetWindow(), display.GetLevel()) == BONE_WINDOW
        assert spect.GetParentTransformNode() is by_role(scene, "transform")

        relative = by_role(scene, "relative")
        assert relative.GetParentTransformNode() is by_role(scene, "transform")
        np.testing.assert_allclose(
            slicer.util.arrayFromVolume(relative),
            slicer.util.arrayFromVolume(spect) / REFERENCE,
            rtol=1e-5,
        )
        display = relative.GetDisplayNode()
        assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, LEAST_TOP)
        assert "hot" in display.GetColorNode().GetName()
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(relative)
        assert legend.GetVisibility()
        assert "reference" in legend.GetTitleText()

        kind = "vtkMRMLSliceCompositeNode"
        number = scene.GetNumberOfNodesByClass(kind)
        composites = [scene.GetNthNodeByClass(i, kind) for i in range(number)]
        assert {node.GetLayoutName() for node in composites} == {"Red", "Yellow", "Green"}
        for node in composites:
            assert node.GetBackgroundVolumeID() == ct.GetID()
            assert node.GetForegroundVolumeID() == relative.GetID()
            assert node.GetForegroundOpacity() == pytest.approx(OPACITY)

        vertebrae = by_role(scene, "vertebrae").GetSegmentation()
        names = [vertebrae.GetSegment(i).GetName() for i in vertebrae.GetSegmentIDs()]
        assert names == ["vertebrae_L4", "vertebrae_L5", "sacrum"]
        assert "SCT^49668003^" in vertebrae.GetSegment("vertebrae_L5").GetTerminology()

        hierarchy = scene.GetSubjectHierarchyNode()
        folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(ct))
        assert children(scene, folder) == [
            "Verdict",
            "Joint table",
            "Joints",
            "Vertebrae",
            "Levels",
            "SPECT, multiples of reference",
            "CT",
            "SPECT",
            "SPECT to CT",
            "Uptake by level",
            "Uptake by level, table",
            "Files",
        ]


def test_results_are_found_again_in_a_scene_that_is_opened(case: ResultsFolder) -> None:
    path = write_scene(case.folder, case.ct, case.spect)
    with headless_scene() as (scene, _):
        assert scene.ReadFromMRB(str(path), True, slicer.vtkMRMLMessageCollection())
        (manifest,) = analyses(scene)
        nodes = scene_nodes(manifest)
        assert all(value for value in vars(nodes).values())
        record = nodes.record()
        for name, text in record.texts.items():
            assert text == (case.folder / name).read_bytes().decode("utf-8"), name
        assert record.levels == ("L4", "L5", "sacrum")
        assert record.reference == REFERENCE
        hot = record.row("L5-S1 facet right")
        np.testing.assert_allclose(hot.centre_lps, HOT_POINT_CT, atol=1.0)
        levels = nodes.levels
        names = [levels.GetNthControlPointLabel(i) for i in range(3)]
        assert names == ["L4", "L5", "sacrum"]
        for i, name in enumerate(names):
            x, y, z = levels.GetNthControlPointPosition(i)
            index = case.labels.TransformPhysicalPointToIndex((-x, -y, z))
            assert case.labels[index] == {"L4": 28, "L5": 27, "sacrum": 25}[name]
        assert nodes.chart.GetNumberOfPlotSeriesNodes() == 5
        assert nodes.uptake_table.GetTable().GetNumberOfRows() == 2


def test_removing_an_analysis_leaves_only_its_images(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _):
        nodes = populate_scene(scene, ct=case.ct, spect=case.spect, folder=case.folder)
        before = scene.GetNumberOfNodes()
        second = populate_scene(scene, ct=nodes.ct, spect=nodes.spect, folder=case.folder)
        assert second.ct is nodes.ct
        assert second.spect is nodes.spect
        assert second.relative is not nodes.relative
        assert len(analyses(scene)) == 2
        remove_analysis(nodes.manifest)
        assert analyses(scene) == [second.manifest]
        assert second.spect.GetParentTransformNode() is second.transform
        assert scene.GetNumberOfNodes() == before
        remove_analysis(second.manifest)
        left = {
            scene.GetNthNode(i).GetName()
            for i in range(scene.GetNumberOfNodes())
            if not scene.GetNthNode(i).GetHideFromEditors()
        }
        assert left == {"CT", "SPECT", "SubjectHierarchy"}
        hierarchy = scene.GetSubjectHierarchyNode()
        assert hierarchy.GetItemByDataNode(nodes.ct)
        assert children(scene, second.folder_item) == ["CT", "SPECT"]
        assert nodes.spect.GetParentTransformNode() is None


def test_hot_colours_get_evenly_lighter() -> None:
    colours = hot_colours()
    assert colours[0] == pytest.approx([0, 0, 0], abs=1e-3)
    assert colours[-1] == pytest.approx([1, 1, 1], abs=1e-3)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(luminance) - 16
    steps = np.diff(lightness[5:])
    assert steps.min() > 0.1, "equal steps of uptake must be visible everywhere"
    assert steps.max() < 1.0


def test_layout_shows_the_views_and_is_registered_once() -> None:
    with headless_scene() as (scene, _):
        layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
        register_layout(layout)
        register_layout(layout)
        layout.SetViewArrangement(LAYOUT_ID)
        assert layout.GetCurrentLayoutDescription().strip()
        for tag in ("Yellow", "Green", "Red", "PlotView1", "TableView1"):
            assert f'singletontag="{tag}"' in layout_description()


def test_overlays_come_and_go(case: ResultsFolder) -> None:
    from CTSpectSpineLib.scene.views import add_views

    with headless_scene() as (scene, _):
        add_views(scene)
        nodes = populate_scene(scene, ct=case.ct, spect=case.spect, folder=case.folder)
        before = scene.GetNumberOfNodes()
        composites = [scene.GetNthNodeByClass(i, "vtkMRMLSliceCompositeNode") for i in range(3)]

        show_overlay(scene, "checkerboard", nodes.ct, nodes.relative)
        board = scene.GetNodeByID(composites[0].GetForegroundVolumeID())
        voxels = slicer.util.arrayFromVolume(board)
        transparent = float(np.mean(voxels < board.GetDisplayNode().GetLowerThreshold()))
        assert 0.4 < transparent < 0.6
        assert not board.GetSaveWithScene()
        image = image_from_node(board)
        inside = image[image.TransformPhysicalPointToIndex(HOT_POINT_CT)]
        assert inside == pytest.approx(5.0, abs=1.0) or inside == -1.0

        show_overlay(scene, "bone edges", nodes.ct, nodes.relative)
        edges = scene.GetNodeByID(composites[0].GetLabelVolumeID())
        bone = image_from_node(edges)
        assert bone[bone.TransformPhysicalPointToIndex((0.0, 20.0, -374.0))] == 1
        show_overlay(scene, "blend", nodes.ct, nodes.relative)
        assert composites[0].GetForegroundVolumeID() == nodes.relative.GetID()
        assert not composites[0].GetLabelVolumeID()
        assert scene.GetNumberOfNodes() == before


def test_framing_a_joint_centres_every_view(case: ResultsFolder) -> None:
    from CTSpectSpineLib.scene.views import FRAME_MM, add_views

    with headless_scene() as (scene, _):
        add_views(scene)
        populate_scene(scene, ct=case.ct, spect=case.spect, folder=case.folder)
        frame(scene, HOT_POINT_CT)
        x, y, z = HOT_POINT_CT
        for i in range(3):
            view = scene.GetNthNodeByClass(i, "vtkMRMLSliceNode")
            matrix = numpy_matrix(view.GetSliceToRAS())
            np.testing.assert_allclose(matrix[:3, 3], (-x, -y, z), atol=1e-6)
            assert view.GetFieldOfView()[1] == pytest.approx(FRAME_MM)
