"""The results folder as a scene: written, opened, shown."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
import vtk
from scene_case import by_role
from slicer_host import VtkErrors
from slicer_results import HOT_POINT_CT, REFERENCE, ResultsFolder

from CTSpectSpineLib.display import LEAST_TOP
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.hot_metal import hot_colours
from CTSpectSpineLib.scene import populate
from CTSpectSpineLib.scene.bundle import write_scene
from CTSpectSpineLib.scene.mrml import (
    add_volume,
    headless_scene,
    image_from_node,
    numpy_matrix,
)
from CTSpectSpineLib.scene.nodes import analyses, describe, remove_analysis, scene_nodes
from CTSpectSpineLib.scene.populate import populate_scene, populate_steps
from CTSpectSpineLib.scene.presentation import dismiss, present
from CTSpectSpineLib.scene.views import (
    BONE_WINDOW,
    LAYOUT_ID,
    OPACITY,
    add_views,
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
        present(scene, nodes)
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
        folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(relative))
        assert children(scene, folder) == [
            "Verdict",
            "Joint table",
            "Joints",
            "Vertebrae",
            "Levels",
            "SPECT, multiples of reference",
            "SPECT to CT",
            "Uptake by level",
            "Uptake by level, table",
            "Plot",
            "Files",
        ]


def test_results_are_found_again_in_a_scene_that_is_opened(case: ResultsFolder) -> None:
    path = write_scene(case.folder, case.ct, case.spect)
    with headless_scene() as (scene, _):
        assert scene.ReadFromMRB(str(path), True, slicer.vtkMRMLMessageCollection())
        (manifest,) = analyses(scene)
        nodes = scene_nodes(manifest)
        # Findings have a node where there are any.
        assert all(value for name, value in vars(nodes).items() if name != "findings")
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
        assert nodes.chart.GetNumberOfPlotSeriesNodes() == 6
        assert nodes.uptake_table.GetTable().GetNumberOfRows() == 2


def every_node(scene: object) -> list[str]:
    """Identifiers of all nodes of a scene."""
    return sorted(scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes()))


def test_populating_changes_nothing_of_what_is_there(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _):
        add_views(scene)
        ct, spect = add_volume(scene, case.ct, "CT"), add_volume(scene, case.spect, "SPECT")
        hierarchy = scene.GetSubjectHierarchyNode()
        patient = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "patient")
        hierarchy.CreateItem(patient, ct)
        composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        nodes = populate_scene(scene, ct=ct, spect=spect, folder=case.folder)
        assert spect.GetParentTransformNode() is None
        assert composite.GetForegroundVolumeID() is None
        assert ct.GetDisplayNode().GetAutoWindowLevel()
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(ct)) == patient
        assert not hierarchy.GetItemByDataNode(spect)
        assert not nodes.joints.GetDisplayNode().GetVisibility()
        assert not nodes.levels.GetDisplayNode().GetVisibility()


def test_removing_an_analysis_leaves_nothing(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _):
        ct, spect = add_volume(scene, case.ct, "CT"), add_volume(scene, case.spect, "SPECT")
        before = every_node(scene)
        nodes = populate_scene(scene, ct=ct, spect=spect, folder=case.folder)
        present(scene, nodes)
        one = every_node(scene)
        second = populate_scene(scene, ct=ct, spect=spect, folder=case.folder)
        present(scene, second)
        assert (second.ct, second.spect) == (ct, spect)
        assert second.relative is not nodes.relative
        assert analyses(scene) == [nodes.manifest, second.manifest]
        assert spect.GetParentTransformNode() is second.transform
        remove_analysis(second.manifest)
        assert every_node(scene) == one
        remove_analysis(nodes.manifest)
        assert every_node(scene) == before
        assert spect.GetParentTransformNode() is None
        assert children(scene, scene.GetSubjectHierarchyNode().GetSceneItemID()) == []


@pytest.mark.filterwarnings("error")
def test_removing_an_analysis_warns_of_nothing(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _), VtkErrors("WarningEvent") as warnings:
        nodes = populate_scene(scene, ct=case.ct, spect=case.spect, folder=case.folder)
        present(scene, nodes)
        remove_analysis(nodes.manifest)
        assert warnings.texts == []


def test_twenty_analyses_that_replace_each_other_are_one(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _):
        add_views(scene)
        ct, spect = add_volume(scene, case.ct, "CT"), add_volume(scene, case.spect, "SPECT")
        counts, names, old = set(), set(), None
        for _number in range(20):
            nodes = populate_scene(scene, ct=ct, spect=spect, folder=case.folder, replaces=old)
            present(scene, nodes)
            old = nodes.manifest
            counts.add(scene.GetNumberOfNodes())
            names.add(tuple(node.GetName() for node in [*nodes.nodes(), *nodes.plot_nodes()]))
        assert len(counts) == 1
        ((*_, disc, left, right, _bound, _other, _interval, _lines),) = names
        assert (disc, left, right) == ("disc", "facet left", "facet right")
        assert not any("_" in name for name in next(iter(names)))


def test_several_analyses_are_told_apart(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _):
        ct, spect = add_volume(scene, case.ct, "CT"), add_volume(scene, case.spect, "SPECT")
        made = [populate_scene(scene, ct=ct, spect=spect, folder=case.folder) for _ in range(3)]
        assert [nodes.joints.GetName() for nodes in made] == ["Joints", "Joints (2)", "Joints (3)"]
        lines = [describe(nodes.manifest) for nodes in made]
        assert len(set(lines)) == 3
        assert lines[1].startswith("2: CT, multiple areas")
        series = [nodes.chart.GetNthPlotSeriesNode(0).GetName() for nodes in made]
        assert series == ["disc"] * 3, "the legend of the plot shows these names"
        remove_analysis(made[1].manifest)
        again = populate_scene(scene, ct=ct, spect=spect, folder=case.folder)
        assert again.joints.GetName() == "Joints (4)"
        instead = populate_scene(
            scene, ct=ct, spect=spect, folder=case.folder, replaces=made[0].manifest
        )
        assert instead.joints.GetName() == "Joints"
        assert [describe(node)[0] for node in analyses(scene)] == ["3", "4", "1"]


def delete_in_data_module(scene: object, item: int) -> None:
    """Delete an item with all in it as the Data module does."""
    hierarchy = scene.GetSubjectHierarchyNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def remove_item(_caller: object, _event: str, node: object) -> None:
        found = hierarchy.GetItemByDataNode(node)
        if found:  # as qSlicerSubjectHierarchyPluginLogic does; without it MRML waits for ever
            hierarchy.RemoveItem(found, False, False)

    tag = scene.AddObserver(scene.NodeAboutToBeRemovedEvent, remove_item)
    hierarchy.RemoveItem(item, True, True)
    scene.RemoveObserver(tag)


def test_deleting_the_folder_deletes_the_module_s_nodes_only(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _):
        ct, spect = add_volume(scene, case.ct, "CT"), add_volume(scene, case.spect, "SPECT")
        before = every_node(scene)
        nodes = populate_scene(scene, ct=ct, spect=spect, folder=case.folder)
        present(scene, nodes)
        delete_in_data_module(scene, nodes.folder_item)
        left = set(every_node(scene)) - set(before)
        visible = [i for i in left if not scene.GetNodeByID(i).GetHideFromEditors()]
        assert visible == []
        assert ct.GetScene() is scene
        assert spect.GetScene() is scene
        dismiss(scene)
        assert every_node(scene) == before


def test_nothing_is_left_when_populating_fails(
    case: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(scene: object, path: Path, rows: object) -> None:
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "half")
        node.CreateDefaultDisplayNodes()
        raise InputError(f"{path.name} cannot be read")

    with headless_scene() as (scene, _):
        ct, spect = add_volume(scene, case.ct, "CT"), add_volume(scene, case.spect, "SPECT")
        before = every_node(scene)
        with monkeypatch.context() as patch:
            patch.setattr(populate, "add_joints", fails)
            with pytest.raises(InputError, match=r"joints\.seg\.nrrd cannot be read"):
                populate_scene(scene, ct=ct, spect=spect, folder=case.folder)
        assert every_node(scene) == before

        steps = populate_steps(scene, ct=ct, spect=spect, folder=case.folder)
        next(steps)
        next(steps)
        assert every_node(scene) != before
        steps.close()
        assert every_node(scene) == before

        steps = populate_steps(scene, ct=ct, spect=spect, folder=case.folder)
        next(steps)
        scene.RemoveNode(ct)
        with pytest.raises(InputError, match="The CT was removed from the scene"):
            next(steps)
        assert set(every_node(scene)) < set(before)


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
    from CTSpectSpineLib.scene.framing import FRAME_MM, frame
    from CTSpectSpineLib.scene.views import add_views

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
