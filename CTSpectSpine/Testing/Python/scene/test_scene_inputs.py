"""What the user brings: segmentations by names or numbers, volumes that are offered, clicks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import vtk
from slicer_results import ResultsFolder

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.scene.level_names import add_level_names, nearest_level
from CTSpectSpineLib.scene.likely_inputs import is_derived, likely_inputs
from CTSpectSpineLib.scene.mrml import add_volume, headless_scene
from CTSpectSpineLib.scene.nodes import FOLDER, results_folder
from CTSpectSpineLib.scene.overlays import bone_pieces
from CTSpectSpineLib.scene.plot import add_uptake_plot, name_axis, plot_nodes
from CTSpectSpineLib.scene.populate import populate_scene
from CTSpectSpineLib.scene.segment_labels import labels_from_segmentation


@pytest.fixture
def scene() -> Iterator[object]:
    with headless_scene() as (made, _):
        yield made


def loaded(scene: object, labels: sitk.Image, folder: Path) -> object:
    """A label map loaded as segmentation, as Slicer reads one."""
    path = folder / "loaded.nii.gz"
    sitk.WriteImage(labels, str(path))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "loaded")
    node.AddDefaultStorageNode(str(path))
    storage = node.GetStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    node.CreateDefaultDisplayNodes()
    return node


@pytest.mark.parametrize("name", ["", "Segment_", "Label "])
def test_numbers_of_a_label_map_are_kept(
    scene: object, case: ResultsFolder, tmp_path: Path, name: str
) -> None:
    ct = add_volume(scene, case.ct, "CT")
    node = loaded(scene, case.labels, tmp_path)
    segmentation = node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs() if name else ():
        segment = segmentation.GetSegment(segment_id)
        segment.SetName(f"{name}{segment.GetLabelValue()}")
    count = scene.GetNumberOfNodes()
    labels = labels_from_segmentation(node, ct)
    assert scene.GetNumberOfNodes() == count
    np.testing.assert_array_equal(
        sitk.GetArrayViewFromImage(labels), sitk.GetArrayViewFromImage(case.labels)
    )
    assert likely_inputs(scene)[2] is node


def test_numbers_stand_in_names_where_each_segment_has_a_layer(
    scene: object, case: ResultsFolder, tmp_path: Path
) -> None:
    ct = add_volume(scene, case.ct, "CT")
    node = loaded(scene, case.labels, tmp_path)
    segmentation = node.GetSegmentation()
    for segment_id in list(segmentation.GetSegmentIDs()):
        segment = segmentation.GetSegment(segment_id)
        segment.SetName(f"Segment_{segment.GetLabelValue()}")
        segmentation.SeparateSegmentLabelmap(segment_id)
    values = {segmentation.GetSegment(i).GetLabelValue() for i in segmentation.GetSegmentIDs()}
    assert len(values) < 3, "layers of their own have the same number"
    labels = labels_from_segmentation(node, ct)
    np.testing.assert_array_equal(
        sitk.GetArrayViewFromImage(labels), sitk.GetArrayViewFromImage(case.labels)
    )


def test_segments_without_names_and_numbers_are_refused(
    scene: object, case: ResultsFolder, tmp_path: Path
) -> None:
    ct = add_volume(scene, case.ct, "CT")
    array = sitk.GetArrayFromImage(case.labels)
    counted = np.searchsorted(np.unique(array), array).astype(np.uint8)
    image = sitk.GetImageFromArray(counted)
    image.CopyInformation(case.labels)
    node = loaded(scene, image, tmp_path)
    with pytest.raises(InputError, match=r"'loaded' has no segment with the name or the number"):
        labels_from_segmentation(node, ct)
    assert likely_inputs(scene)[2] is None


def test_what_an_analysis_made_is_no_input(scene: object, case: ResultsFolder) -> None:
    voxels = sitk.GetArrayFromImage(case.ct)
    voxels[0, 0, :2] = -1000, 1500  # air and bone: what a CT is told by
    image = sitk.GetImageFromArray(voxels)
    image.CopyInformation(case.ct)
    ct, spect = add_volume(scene, image, "CT"), add_volume(scene, case.spect, "SPECT")
    nodes = populate_scene(scene, ct=ct, spect=spect, folder=case.folder)
    assert likely_inputs(scene)[:2] == (ct, spect)
    assert is_derived(nodes.relative)
    saved = add_volume(scene, case.spect, nodes.relative.GetName())
    assert is_derived(saved), "saved and loaded again it has no attribute any more"
    assert likely_inputs(scene)[:2] == (ct, spect)


def test_a_folder_of_another_analysis_is_not_this_one_s(
    scene: object, case: ResultsFolder, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(case.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest.pop("id", None)

    def write(**values: str) -> None:
        text = json.dumps({**manifest, **values})
        (folder / "manifest.json").write_text(text, encoding="utf-8")

    write(id="one", created="2026-01-01T00:00:00")
    nodes = populate_scene(scene, ct=case.ct, spect=case.spect, folder=folder)
    node = nodes.manifest
    assert results_folder(node) is None
    node.SetAttribute(FOLDER, str(folder))
    assert results_folder(node) == folder
    write(id="one", created="2026-01-01T00:00:00", registration_check="accepted")
    assert results_folder(node) == folder
    write(id="two", created="2026-01-01T00:00:00")
    assert results_folder(node) is None
    write(created="2026-01-01T00:00:00")
    assert results_folder(node) == folder, "a manifest without id is told by its time"
    write(created="2026-01-01T00:00:01")
    assert results_folder(node) is None
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    assert results_folder(node) is None


def test_a_click_far_away_means_no_vertebra(scene: object) -> None:
    names = add_level_names(scene, {"L1": np.zeros(3), "L2": np.array([0.0, 0.0, -35.0])})
    assert nearest_level(names, (0.0, 0.0, -20.0)) == "L2"
    assert nearest_level(names, (0.0, -55.0, 0.0)) == "L1"
    assert nearest_level(names, (250.0, 0.0, 0.0)) is None
    names.RemoveAllControlPoints()
    assert nearest_level(names, (0.0, 0.0, 0.0)) is None


def test_a_name_at_the_edge_does_not_overprint_its_neighbour(scene: object) -> None:
    heights = {"T10": 9.0, "T11": 0.0, "T12": -26.0, "L1": -53.0}
    names = add_level_names(scene, {k: np.array([0.0, 0.0, z]) for k, z in heights.items()})
    seen = [names.GetNthControlPointVisibility(i) for i in range(4)]
    assert seen == [False, True, True, True]
    assert nearest_level(names, (0.0, 0.0, 9.0)) == "T10", "it can still be picked"


def rows_of(case: ResultsFolder) -> tuple[joint_table.Row, ...]:
    text = (case.folder / "joints.csv").read_bytes().decode("utf-8")
    return joint_table.rows(text, {}, "joints.csv")


def test_plot_has_markers_intervals_and_names(scene: object, case: ResultsFolder) -> None:
    rows = rows_of(case)
    plot = add_uptake_plot(scene, rows, {"disc": 1.8, "facet": 2.0})
    names = [node.GetName() for node in plot.series]
    assert names == ["disc", "facet left", "facet right", "disc bound", "facet bound",
                     "95 % interval"]  # fmt: skip
    assert plot_nodes(plot.chart) == [*plot.series, plot.table, plot.lines]
    for node in plot.series:
        table = node.GetTableNode().GetTable()
        assert table.GetColumnByName(node.GetXColumnName()), node.GetName()
        assert table.GetColumnByName(node.GetYColumnName()), node.GetName()
        line = node.GetLineStyle() != node.LineStyleNone
        assert line != (node.GetMarkerStyle() != node.MarkerStyleNone), "markers or a line"
    lines = plot.lines.GetTable()
    across, up = (
        [lines.GetColumnByName(name).GetValue(i) for i in range(lines.GetNumberOfRows())]
        for name in ("95 % interval place", "95 % interval")
    )
    hot = next(row for row in rows if row.uptake == "positive")
    at = across.index(2.2)  # L5-S1 is the second level, right facets stand 0.2 aside
    assert across[at : at + 3] == [2.2] * 3
    assert up[at : at + 2] == pytest.approx([hot.low, hot.high])
    assert np.isnan(up[at + 2]), "a gap ends each interval"
    low, high = plot.chart.GetYAxisRange()
    assert low == 0
    assert high > 1.4 * hot.high, "room for the legend above the peak"

    axis = vtk.vtkAxis()
    name_axis(axis, plot.table)
    labels = axis.GetTickLabels()
    assert [labels.GetValue(i) for i in range(labels.GetNumberOfValues())] == ["L4-L5", "L5-S1"]
    name_axis(axis, None)


def test_bone_is_outlined_without_its_trabeculae() -> None:
    """A shell of cortex around a mesh of trabeculae is one piece; noise and calcium are none."""
    rng = np.random.default_rng(3)
    shape = (60, 60, 60)
    voxels = rng.normal(40.0, 15.0, shape)
    inside = np.zeros(shape, dtype=bool)
    inside[15:45, 15:45, 15:45] = True
    core = np.zeros(shape, dtype=bool)
    core[17:43, 17:43, 17:43] = True
    voxels[inside] = 700.0
    voxels[core] = np.where(rng.random(int(core.sum())) < 0.4, 420.0, 60.0)
    voxels[5:8, 5:8, 5:8] = 600.0
    ct = image_from_array(voxels.astype(np.float32), np.diag([1.5, 1.5, 1.5, 1.0]))
    bone = sitk.GetArrayFromImage(bone_pieces(ct)).astype(bool)
    assert bone[core].all(), "no outlines inside"
    assert not bone[:12].any()
    overlap = 2 * (bone & inside).sum() / (bone.sum() + inside.sum())
    assert overlap > 0.9
