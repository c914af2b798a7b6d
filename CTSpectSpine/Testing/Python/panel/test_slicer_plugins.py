"""The plugins for Slicer's DICOM browser and its Segment Statistics.

With the environment variable SLICER_SOURCES, the folder of Slicer's sources, they are built on
Slicer's own base classes; else on stand-ins with the same interface.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import slicer
import slicer_host
from slicer_desk import Desk
from slicer_results import HOT_POINT_CT, make_results_folder

from CTSpectSpineLib.dicom_export import export_results
from CTSpectSpineLib.dicom_export.study import SOFTWARE
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps
from CTSpectSpineLib.scene.mrml import image_from_node
from CTSpectSpineLib.scene.nodes import lies_in
from CTSpectSpineLib.scene.populate import populate_scene
from CTSpectSpineLib.scene.segmentations import segment_region
from CTSpectSpineLib.volumes.regions import same_region

MODULE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "volumes"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dicom_export"))
from dicom_files import NM_CLASS, NM_VOXELS, nm_tags, save  # noqa: E402
from study_files import make_case  # noqa: E402

SOURCES = os.environ.get("SLICER_SOURCES", "")


class _Loadable:
    def __init__(self) -> None:
        self.files: list[str] = []
        self.name, self.tooltip, self.warning = "Unknown", "", ""
        self.selected, self.confidence = False, 0.5


class _DicomPlugin:
    def __init__(self) -> None:
        self.loadType = ""
        self.tags = {"seriesDescription": "0008,103E", "seriesNumber": "0020,0011"}
        self._cache: dict[tuple[str, ...], Any] = {}

    def getCachedLoadables(self, files: list[str]) -> Any:
        return self._cache.get(tuple(files))

    def cacheLoadables(self, files: list[str], loadables: Any) -> None:
        self._cache[tuple(files)] = loadables

    def defaultSeriesNodeName(self, uid: str) -> str:
        (file, *_) = slicer.dicomDatabase.filesForSeries(uid)
        return str(slicer.dicomDatabase.fileValue(file, self.tags["seriesDescription"]))

    def addSeriesInSubjectHierarchy(self, loadable: Any, node: Any) -> None:
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), node, "Series")


class _Exportable:
    """As Slicer's ``qSlicerDICOMExportable``, which needs Qt."""

    __slots__ = (
        *("confidence", "directory", "name", "pluginClass", "subjectHierarchyItemID"),
        "tooltip",
    )


class _StatisticsPlugin:
    def __init__(self) -> None:
        self.name, self.keys, self.defaultKeys = "", [], []
        self._node: Any = None

    @staticmethod
    def createCodedEntry(value: str, scheme: str, meaning: str, text: bool = False) -> Any:
        entry = slicer.vtkCodedEntry()
        entry.SetValueSchemeMeaning(value, scheme, meaning)
        return entry.GetAsString() if text else entry

    def setParameterNode(self, node: Any) -> None:
        self._node = node

    def getParameterNode(self) -> Any:
        return self._node

    def getRequestedKeys(self) -> list[str]:
        return list(self.keys)


def _real(path: str, name: str) -> types.ModuleType:
    """One file of Slicer's sources as a module of its own."""
    file = Path(SOURCES) / path
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Database:
    """The part of Slicer's DICOM database that plugins ask."""

    def __init__(self, files: list[Path]) -> None:
        self._headers = {str(file): pydicom.dcmread(file, force=True) for file in files}

    def fileValue(self, file: str, tag: str) -> str:
        group, element = tag.split(",")
        found = self._headers[file].get((int(group, 16), int(element, 16)))
        return "" if found is None else str(found.value)

    def filesForSeries(self, uid: str, _most: int = -1) -> list[str]:
        return [f for f, header in self._headers.items() if header.SeriesInstanceUID == uid]

    def fileForInstance(self, uid: str) -> str:
        return next(f for f, header in self._headers.items() if header.SOPInstanceUID == uid)

    def instanceForFile(self, file: str) -> str:
        return str(self._headers[file].SOPInstanceUID)


@pytest.fixture
def desk() -> Iterator[Desk]:
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    found = Desk()
    yield found
    assert found.errors.texts == []
    found.close()


def dicom_plugin() -> Any:
    from CTSpectSpineWidgets import dicomplugin

    if SOURCES:
        module = _real("Modules/Scripted/DICOMLib/DICOMPlugin.py", "DICOMPlugin")
        # What enters the subject hierarchy asks Slicer's Qt plugins, which are not here.
        add = {"addSeriesInSubjectHierarchy": _DicomPlugin.addSeriesInSubjectHierarchy}
        base = type("Base", (module.DICOMPlugin,), add)
        return dicomplugin.makePlugin(base, module.DICOMLoadable)()
    return dicomplugin.makePlugin(_DicomPlugin, _Loadable)()


def statistics_plugin(segmentation: Any, volume: Any) -> Any:
    from CTSpectSpineWidgets import segmentstatistics

    base: type = _StatisticsPlugin
    if SOURCES:
        path = "Modules/Scripted/SegmentStatistics/SegmentStatisticsPlugins/"
        module = _real(f"{path}SegmentStatisticsPluginBase.py", "SegmentStatisticsPluginBase")
        base = module.SegmentStatisticsPluginBase
    plugin = segmentstatistics.makePlugin(base)()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    node.SetParameter("Segmentation", segmentation.GetID())
    node.SetParameter("ScalarVolume", volume.GetID())
    plugin.setParameterNode(node)
    return plugin


def test_a_spect_comes_from_the_browser_as_the_analysis_reads_it(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "nm.dcm", NM_CLASS, NM_VOXELS, **nm_tags(SeriesInstanceUID="1.2.3"))
    monkeypatch.setattr(slicer, "dicomDatabase", Database([path]), raising=False)
    plugin = dicom_plugin()
    (loadable,) = plugin.examineForImport([[str(path)]])
    assert plugin.examineForImport([[str(path)]]) == [loadable]
    assert (loadable.name.split(": ")[-1], loadable.selected) == ("recon", True)
    assert loadable.confidence > 0.5, "Slicer's own reader must not be preferred"
    node = plugin.load(loadable)
    from CTSpectSpineLib.volumes import read_volume

    volume = read_volume(path, "spect")
    image = image_from_node(node)
    np.testing.assert_allclose(image.GetSpacing(), volume.image.GetSpacing())
    np.testing.assert_allclose(image.GetOrigin(), volume.image.GetOrigin())
    np.testing.assert_allclose(image.GetDirection(), volume.image.GetDirection(), atol=1e-12)
    assert {round(s, 6) for s in node.GetSpacing()} == {4.5, 4.6, 4.8}
    units = node.GetVoxelValueUnits()
    assert units is not None
    assert units.GetCodeValue() == {"Bq/ml": "Bq/ml", "counts": "{counts}"}[volume.unit]
    assert slicer.mrmlScene.GetSubjectHierarchyNode().GetItemByDataNode(node)
    assert node.GetAttribute("DICOM.instanceUIDs")


def test_what_is_no_reconstruction_is_left_to_others(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planar = nm_tags(ImageType=["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"])
    files = [
        save(tmp_path / "a" / "planar.dcm", NM_CLASS, NM_VOXELS, **planar),
        save(tmp_path / "b" / "other.dcm", NM_CLASS, NM_VOXELS, **nm_tags(Modality="PT")),
    ]
    monkeypatch.setattr(slicer, "dicomDatabase", Database(files), raising=False)
    assert dicom_plugin().examineForImport([[str(file)] for file in files] + [[]]) == []


def test_results_go_out_by_the_dialog_for_export_and_hold_the_same(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `qSlicerDICOMExportDialog` calls its plugins."""
    case = make_case(tmp_path / "case")
    files = [*sorted(case.ct.iterdir()), case.spect]
    monkeypatch.setattr(slicer, "dicomDatabase", Database(files), raising=False)
    monkeypatch.setattr(slicer, "qSlicerDICOMExportable", _Exportable, raising=False)
    made = case.made
    nodes = populate_scene(slicer.mrmlScene, ct=made.ct, spect=made.spect, folder=case.results)
    from CTSpectSpineWidgets import dicomplugin

    hierarchy, plugin = slicer.mrmlScene.GetSubjectHierarchyNode(), dicom_plugin()
    lies_in(nodes.manifest, case.results)
    items = [hierarchy.GetItemByDataNode(node) for node in (nodes.ct, nodes.joints)]
    (of_ct,), (of_joints,) = map(plugin.examineForExport, items)
    assert of_ct.confidence < 0.5 < of_joints.confidence
    assert of_ct.pluginClass == dicomplugin.NAME
    assert dicomplugin.MANUFACTURER == SOFTWARE
    other = hierarchy.GetItemByDataNode(desk.ct)
    assert plugin.examineForExport(other) == []
    for exportable in (of_ct, of_joints):
        exportable.directory = str(tmp_path / "out")
    (tmp_path / "out").mkdir()
    assert "did not come from the DICOM database" in plugin.export([of_ct])
    for node, series in ((nodes.ct, files[:-1]), (nodes.spect, files[-1:])):
        uids = [str(pydicom.dcmread(file).SOPInstanceUID) for file in series]
        node.SetAttribute("DICOM.instanceUIDs", " ".join(uids))
    assert plugin.export([of_ct, of_joints]) == ""
    # The dialog hands the folder over and deletes the files in it, not folders.
    written = {path.name: pydicom.dcmread(path) for path in (tmp_path / "out").iterdir()}
    assert {"seg-vertebrae.dcm", "seg-joints-1.dcm", "report.dcm"} <= set(written)
    study = {str(made.StudyInstanceUID) for made in written.values()}
    assert study == {str(pydicom.dcmread(case.spect).StudyInstanceUID)}
    expected = export_results(case.results, ct=case.ct, spect=case.spect).objects
    for name in ("seg-vertebrae.dcm", "seg-joints-1.dcm"):
        np.testing.assert_array_equal(written[name].pixel_array, expected[name].pixel_array)
    came_back(plugin, tmp_path / "out", case, nodes, monkeypatch)
    shutil.rmtree(case.results)
    assert "results folder is not there" in plugin.export([of_joints])


def came_back(
    plugin: Any, out: Path, case: Any, nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Load what was exported from the database: same voxels, same numbers."""
    files = sorted(out.iterdir())
    monkeypatch.setattr(slicer, "dicomDatabase", Database(files), raising=False)
    series: dict[str, list[str]] = {}
    for file in files:
        series.setdefault(str(pydicom.dcmread(file).SeriesInstanceUID), []).append(str(file))
    loadables = [
        loadable
        for loadable in plugin.examineForImport(list(series.values()))
        if not Path(loadable.files[0]).name.startswith("spect")
    ]
    assert sorted(Path(one.files[0]).name for one in loadables) == [
        *("report.dcm", "seg-joints-1.dcm", "seg-vertebrae.dcm")
    ]
    found = {Path(one.files[0]).name: plugin.load(one) for one in loadables}
    for name, before in (
        ("seg-joints-1.dcm", nodes.joints),
        ("seg-vertebrae.dcm", nodes.vertebrae),
    ):
        ids = [str(i) for i in before.GetSegmentation().GetSegmentIDs()]
        assert sorted(found[name].GetSegmentation().GetSegmentIDs()) == sorted(ids)
        for one in ids:
            assert same_region(segment_region(before, one), segment_region(found[name], one)), one
    table = slicer.util.dataframeFromTable(found["report.dcm"]).set_index("joint")
    rows = {row.joint: row for row in nodes.record().rows}
    assert set(table.index) == set(rows)
    for joint, row in rows.items():
        for column in ("mean", "ratio_corrected", "ratio_low", "ratio_high"):
            expected = float(row.cells[column])
            assert table.loc[joint, column] == pytest.approx(expected, rel=1e-13)
        assert table.loc[joint, "uptake"] == row.uptake


def test_a_segment_has_the_numbers_of_its_joint(desk: Desk, tmp_path: Path) -> None:
    made = make_results_folder(tmp_path)
    nodes = populate_scene(slicer.mrmlScene, ct=made.ct, spect=made.spect, folder=tmp_path)
    nodes.spect.SetAndObserveTransformNodeID(nodes.transform.GetID())
    plugin = statistics_plugin(nodes.joints, nodes.spect)
    found = plugin.computeStatistics("L5-S1 facet right")
    # The same by ITK: the SPECT resampled to the CT, the mean over the ball of 9 mm.
    on_ct = sitk.Resample(
        made.spect, made.ct, sitk.ReadTransform(str(tmp_path / "spect_to_ct.tfm")), sitk.sitkLinear
    )
    indices = np.argwhere(np.ones(made.ct.GetSize()[::-1]))[:, ::-1]
    points = apply_matrix(ijk_to_lps(made.ct), indices.astype(float))
    values = sitk.GetArrayViewFromImage(on_ct).ravel()
    away = np.linalg.norm(points - HOT_POINT_CT, axis=1)
    assert found["mean"] == pytest.approx(values[away < 9.0].mean(), rel=1e-3)
    assert found["peak"] == pytest.approx(values[away < 6.0].mean(), rel=0.03)
    assert found["max"] == pytest.approx(values[away < 9.0].max(), rel=0.03)
    assert found["ratio_mean"] == pytest.approx(found["mean"] / 800.0)
    assert found["coverage"] == 1.0
    assert "suv_mean" not in found
    # The same in multiples of the reference, and where the SPECT lies elsewhere nothing.
    relative = statistics_plugin(nodes.joints, nodes.relative)
    other = relative.computeStatistics("L5-S1 facet right")
    assert other["mean"] == pytest.approx(found["ratio_mean"], rel=1e-5)
    assert other["ratio_mean"] == other["mean"]
    nodes.spect.SetAndObserveTransformNodeID(None)
    moved = plugin.computeStatistics("L5-S1 facet right")
    assert moved.get("mean", 0.0) < 0.5 * found["mean"]


def test_every_key_has_a_name_and_codes(desk: Desk, tmp_path: Path) -> None:
    plugin = statistics_plugin(desk.ct, desk.spect)
    infos = {key: plugin.getMeasurementInfo(key) for key in plugin.keys}
    assert len({info["name"] for info in infos.values()}) == len(plugin.keys) == 10
    assert infos["suv_peak"]["units"] == "Standardized Uptake Value body weight"
    assert plugin.getMeasurementInfo("nothing") is None


def test_without_the_modules_nothing_is_offered_and_nothing_breaks() -> None:
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    from CTSpectSpineWidgets import dicomplugin, segmentstatistics

    dicomplugin.register()
    segmentstatistics.register()
    assert not hasattr(slicer.modules, "dicomPlugins")


def test_with_the_modules_the_plugins_are_known_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    from CTSpectSpineWidgets import dicomplugin, segmentstatistics

    class Logic:
        registeredPlugins: ClassVar[list[type]] = []

        @staticmethod
        def registerPlugin(plugin: Any) -> None:
            Logic.registeredPlugins.append(plugin.__class__)

    modules = {
        "DICOMLib": {"DICOMPlugin": _DicomPlugin, "DICOMLoadable": _Loadable},
        "SegmentStatistics": {"SegmentStatisticsLogic": Logic},
        "SegmentStatisticsPlugins": {"SegmentStatisticsPluginBase": _StatisticsPlugin},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(slicer.modules, "dicomPlugins", {}, raising=False)
    for _ in range(2):
        dicomplugin.register()
        segmentstatistics.register()
    assert list(slicer.modules.dicomPlugins) == [dicomplugin.NAME]
    assert [kind.__name__ for kind in Logic.registeredPlugins] == ["CTSpectSpineUptakePlugin"]
