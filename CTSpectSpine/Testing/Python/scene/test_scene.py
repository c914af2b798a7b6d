"""The Slicer scene of a results folder: written, read back, and seen."""

from __future__ import annotations

import builtins
import csv
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
import vtk
from slicer_host import VtkErrors
from slicer_results import HOT_POINT_CT, REFERENCE, ResultsFolder, make_results_folder
from slicer_views import gl_problem, render_slice

from CTSpectSpineLib.display import LEAST_TOP
from CTSpectSpineLib.errors import InputError, MissingPackageError
from CTSpectSpineLib.scene.bundle import write_scene
from CTSpectSpineLib.scene.colours import hot_colours
from CTSpectSpineLib.scene.mrml import (
    ROLE,
    headless_scene,
    image_from_node,
    labels_from_segmentation,
    numpy_matrix,
    vtk_matrix,
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


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> ResultsFolder:
    return make_results_folder(tmp_path_factory.mktemp("results"))


@pytest.fixture(autouse=True)
def vtk_errors() -> Iterator[VtkErrors]:
    with VtkErrors() as errors:
        yield errors
    assert errors.texts == []


def children(scene: object, item: int) -> list[str]:
    hierarchy = scene.GetSubjectHierarchyNode()
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(item, items)
    return [hierarchy.GetItemName(items.GetId(i)) for i in range(items.GetNumberOfIds())]


def tag(segment: object, name: str) -> str:
    value = vtk.reference("")
    segment.GetTag(name, value)
    return str(value)


def by_role(scene: object, role: str) -> object:
    found = [
        node
        for i in range(scene.GetNumberOfNodes())
        if (node := scene.GetNthNode(i)).GetAttribute(ROLE) == role
    ]
    assert len(found) == 1, role
    return found[0]


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


def test_joint_segments_carry_verdict_colour_and_terminology(case: ResultsFolder) -> None:
    path = write_scene(case.folder, case.ct, case.spect)
    with headless_scene() as (scene, _):
        assert scene.ReadFromMRB(str(path), True, slicer.vtkMRMLMessageCollection())
        node = by_role(scene, "joints")
        joints = node.GetSegmentation()
        assert list(joints.GetSegmentIDs()) == [row["joint"] for row in case.rows]
        hot = joints.GetSegment("L5-S1 facet right")
        assert hot.GetName() == "L5-S1 facet right"
        assert tag(hot, "CTSpectSpine.uptake") == "positive"
        assert tag(hot, "CTSpectSpine.verdict") == 'Makes "L5-S1 facet" an area.'
        assert "99CTSPECTSPINE^FACET^" in hot.GetTerminology()
        assert "SCT^24028007^Right" in hot.GetTerminology()
        red, green, blue = hot.GetColor()
        assert red > 2 * max(green, blue)
        display = node.GetDisplayNode()
        assert display.GetSegmentOpacity2DFill("L5-S1 facet right") > 0
        assert display.GetSegmentOpacity2DFill("L4-L5 disc") == 0
        # Overlapping regions stay whole: both joints hold the voxel that they share.
        for name in ("L4-L5 disc", "L4-L5 facet left"):
            exported = slicer.vtkOrientedImageData()
            node.GetBinaryLabelmapRepresentation(name, exported)
            assert count(exported) == case.voxels[name], name


def count(labels: object) -> int:
    from vtk.util.numpy_support import vtk_to_numpy

    return int(np.count_nonzero(vtk_to_numpy(labels.GetPointData().GetScalars())))


def test_tables_keep_types_units_and_values(case: ResultsFolder) -> None:
    path = write_scene(case.folder, case.ct, case.spect)
    with headless_scene() as (scene, _):
        assert scene.ReadFromMRB(str(path), True, slicer.vtkMRMLMessageCollection())
        node = by_role(scene, "joint_table")
        table = node.GetTable()
        with (case.folder / "joints.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert table.GetNumberOfRows() == len(rows)
        columns = [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())]
        assert columns == list(rows[0])
        assert isinstance(table.GetColumnByName("joint"), vtk.vtkStringArray)
        for name in ("x_mm", "ratio_corrected", "suv_mean"):
            assert isinstance(table.GetColumnByName(name), vtk.vtkDoubleArray), name
        assert node.GetColumnUnitLabel("x_mm") == "mm"
        assert node.GetColumnUnitLabel("volume_mm3") == "mm3"
        for i, row in enumerate(rows):
            value = table.GetValueByName(i, "ratio_corrected").ToDouble()
            # Slicer's table files hold six digits.
            assert value == pytest.approx(float(row["ratio_corrected"]), rel=1e-5)
            assert math.isnan(table.GetValueByName(i, "suv_mean").ToDouble())
            assert table.GetValueByName(i, "joint").ToString() == row["joint"]
        assert "'L5-S1 facet'" in table.GetValueByName(2, "verdict").ToString()

        verdict = by_role(scene, "verdict_table").GetTable()
        items = {
            verdict.GetValue(i, 0).ToString(): verdict.GetValue(i, 1).ToString()
            for i in range(verdict.GetNumberOfRows())
        }
        assert items["disposition"] == "multiple_areas"
        assert items["stability"] == "93%"
        assert items["eligibility"] == "unknown"
        assert items["use"] == "for research only"
        text = json.loads(by_role(scene, "verdict_text").GetText())
        assert text == json.loads((case.folder / "verdict.json").read_text(encoding="utf-8"))


def test_plain_label_map_gets_names_and_codes(case: ResultsFolder, tmp_path: Path) -> None:
    (tmp_path / "spect_to_ct.tfm").write_bytes((case.folder / "spect_to_ct.tfm").read_bytes())
    sitk.WriteImage(case.labels, str(tmp_path / "vertebrae.nii.gz"))
    with headless_scene() as (scene, _):
        nodes = populate_scene(scene, ct=case.ct, spect=case.spect, folder=tmp_path)
        segmentation = nodes.vertebrae.GetSegmentation()
        segments = [segmentation.GetSegment(i) for i in segmentation.GetSegmentIDs()]
        names = {segment.GetName() for segment in segments}
        assert names == {"vertebrae_L4", "vertebrae_L5", "sacrum"}
        assert all("SCT^" in segment.GetTerminology() for segment in segments)
        assert nodes.joints is None
        assert nodes.joint_table is None
        assert nodes.verdict_table is None


def test_folder_without_transform_is_refused(case: ResultsFolder, tmp_path: Path) -> None:
    with headless_scene() as (scene, _):
        before = scene.GetNumberOfNodes()
        with pytest.raises(InputError, match=r"spect_to_ct\.tfm.*results folder"):
            populate_scene(scene, ct=case.ct, spect=case.spect, folder=tmp_path)
        assert scene.GetNumberOfNodes() == before


def test_without_slicer_the_message_names_the_extra(
    case: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] in ("slicer", "vtk"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingPackageError, match=r"pip install slicer-core"):
        write_scene(case.folder, case.ct, case.spect)


def test_image_from_node_is_the_image_that_made_it(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _):
        nodes = populate_scene(scene, ct=case.ct, spect=case.spect, folder=case.folder)
        for node, image in ((nodes.ct, case.ct), (nodes.spect, case.spect)):
            back = image_from_node(node)
            np.testing.assert_array_equal(
                sitk.GetArrayViewFromImage(back), sitk.GetArrayViewFromImage(image)
            )
            np.testing.assert_allclose(back.GetOrigin(), image.GetOrigin(), atol=1e-9)
            np.testing.assert_allclose(back.GetSpacing(), image.GetSpacing(), atol=1e-9)
            np.testing.assert_allclose(back.GetDirection(), image.GetDirection(), atol=1e-9)


def test_image_from_node_honours_parent_transforms(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _):
        nodes = populate_scene(scene, ct=case.ct, spect=case.spect, folder=case.folder)
        parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
        shift = np.eye(4)
        shift[:3, 3] = (5.0, -7.0, 11.0)  # RAS
        parent.SetMatrixTransformToParent(vtk_matrix(shift))
        nodes.ct.SetAndObserveTransformNodeID(parent.GetID())
        moved = np.subtract(image_from_node(nodes.ct).GetOrigin(), case.ct.GetOrigin())
        np.testing.assert_allclose(moved, (-5.0, 7.0, 11.0), atol=1e-9)  # LPS

        sheared = np.eye(4)
        sheared[0, 1] = 0.3
        parent.SetMatrixTransformToParent(vtk_matrix(sheared))
        with pytest.raises(InputError, match="sheared"):
            image_from_node(nodes.ct)

        bent = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "bent")
        grid = slicer.vtkOrientedGridTransform()
        bent.SetAndObserveTransformToParent(grid)
        nodes.ct.SetAndObserveTransformNodeID(bent.GetID())
        with pytest.raises(InputError, match=r"non-linear transform 'bent'.*harden"):
            image_from_node(nodes.ct)

        empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
        with pytest.raises(InputError, match="'empty' holds no voxels"):
            image_from_node(empty)


def test_labels_from_segmentation(case: ResultsFolder) -> None:
    with headless_scene() as (scene, _):
        nodes = populate_scene(scene, ct=case.ct, spect=case.spect, folder=case.folder)
        nodes.vertebrae.GetSegmentation().GetSegment("vertebrae_L4").SetName("l4")
        count_before = scene.GetNumberOfNodes()
        labels = labels_from_segmentation(nodes.vertebrae, nodes.ct)
        assert scene.GetNumberOfNodes() == count_before
        np.testing.assert_array_equal(
            sitk.GetArrayViewFromImage(labels), sitk.GetArrayViewFromImage(case.labels)
        )
        with pytest.raises(InputError, match="no segment with the name of a vertebra"):
            labels_from_segmentation(nodes.joints, nodes.ct)


@pytest.fixture(scope="session")
def opengl() -> None:
    """OpenGL for off-screen rendering: absence is a failure where CI is set, else a skip."""
    problem = gl_problem()
    if problem:
        hint = f"{problem}; apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)"
        if os.environ.get("CI"):
            pytest.fail(hint)
        pytest.skip(hint)


@pytest.mark.usefixtures("opengl")
def test_fused_view_shows_the_hot_joint_where_it_is(case: ResultsFolder, tmp_path: Path) -> None:
    with headless_scene() as (scene, application):
        nodes = populate_scene(scene, ct=case.ct, spect=case.spect, folder=case.folder)
        picture, to_pixel = render_slice(
            scene,
            application,
            "Sagittal",
            HOT_POINT_CT,
            background=nodes.ct,
            foreground=nodes.relative,
            opacity=0.5,
            png=tmp_path / "sagittal.png",
        )
        hot = pixel(picture, to_pixel(HOT_POINT_CT))
        assert hot[0] > 100, "the hot joint is not shown"
        assert hot.min() > 120, "the hottest uptake is not shown white"
        bone = pixel(picture, to_pixel((HOT_POINT_CT[0], 15.0, -374.0)))
        assert np.ptp(bone) < 40, "away from the joint there is grey CT and no uptake"
        assert bone.max() > 40, "the CT is not shown"
        outside = pixel(picture, (2, 2))
        assert outside.max() == 0


def pixel(picture: np.ndarray, at: tuple[int, int]) -> np.ndarray:
    row, column = at
    return picture[row, column].astype(int)


def test_probe_for_opengl_survives_a_crash() -> None:
    assert "cannot render" in gl_problem("import os; os.abort()")
