"""The nodes of the scene: segments, tables, images, and a rendered view."""

from __future__ import annotations

import builtins
import csv
import json
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
import vtk
from scene_case import by_role, tag
from slicer_results import HOT_POINT_CT, ResultsFolder
from slicer_views import gl_problem, render_slice

from CTSpectSpineLib.errors import InputError, MissingPackageError
from CTSpectSpineLib.scene.bundle import write_scene
from CTSpectSpineLib.scene.mrml import (
    headless_scene,
    image_from_node,
    vtk_matrix,
)
from CTSpectSpineLib.scene.populate import populate_scene
from CTSpectSpineLib.scene.segment_labels import labels_from_segmentation


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
        for name in joints.GetSegmentIDs():
            assert display.GetSegmentOpacity2DFill(name) == 0, "a fill covers the uptake"
        assert display.GetSegmentOpacity2DOutline("L5-S1 facet right") == 1
        assert display.GetSegmentOpacity2DOutline("L4-L5 disc") < 0.5
        # Overlapping regions stay whole: both joints hold the voxel that they share.
        for name in ("L4-L5 disc", "L4-L5 facet left"):
            exported = slicer.vtkOrientedImageData()
            node.GetBinaryLabelmapRepresentation(name, exported)
            assert count(exported) == case.voxels[name], name


@pytest.mark.parametrize("name", ["joints.seg.nrrd", "vertebrae.seg.nrrd"])
def test_a_damaged_segmentation_is_a_sentence_and_not_the_end_of_slicer(
    case: ResultsFolder, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(case.folder, folder)
    content = (folder / name).read_bytes()
    end = content.index(b"\n\n")
    header = re.sub(
        rb"Segment0_Extent:=[-0-9 ]+", b"Segment0_Extent:=0 9999 0 9999 0 9999", content[:end]
    )
    assert header != content[:end]
    (folder / name).write_bytes(header + content[end : -len(content) // 3])
    with headless_scene() as (scene, _):
        before = scene.GetNumberOfNodes()
        with pytest.raises(InputError, match=re.escape(name)):
            populate_scene(scene, ct=case.ct, spect=case.spect, folder=folder)
        assert scene.GetNumberOfNodes() == before


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
        with pytest.raises(InputError, match="no segment with the name or the number"):
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
