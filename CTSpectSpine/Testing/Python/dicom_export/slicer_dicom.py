"""Slicer's own DICOM plugins, run on MRML without its desktop.

They come from the folder of Slicer's sources in the environment variable SLICER_SOURCES. What they
ask of the desktop (the DICOM database, the application) is answered from files.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
import slicer
import slicer.util


class Database:
    """What the plugins ask the DICOM database."""

    def __init__(self, files: list[Path]) -> None:
        self._heads = {str(f): pydicom.dcmread(f, stop_before_pixels=True) for f in files}

    def fileValue(self, file: str, tag: str) -> str:
        found = self._heads[str(file)].get(tuple(int(part, 16) for part in tag.split(",")))
        return "" if found is None else str(found.value)

    def fileForInstance(self, uid: str) -> str | None:
        return next((f for f, head in self._heads.items() if head.SOPInstanceUID == uid), None)

    def filesForSeries(self, uid: str, count: int = 0) -> list[str]:
        found = sorted(f for f, head in self._heads.items() if head.SeriesInstanceUID == uid)
        return found[:count] if count else found


@contextmanager
def plugins(sources: Path, files: list[Path], place: Path) -> Iterator[tuple[Any, Any]]:
    """The classes of Slicer's plugins for SR and SEG, in a scene of their own."""
    with pytest.MonkeyPatch.context() as patch:
        scene = slicer.vtkMRMLScene()
        application = slicer.vtkSlicerApplicationLogic()
        application.SetTemporaryPath(str(place))
        application.SetMRMLScene(scene)
        logics = {}
        for name, kind in (
            ("segmentations", slicer.vtkSlicerSegmentationsModuleLogic),
            ("terminologies", slicer.vtkSlicerTerminologiesModuleLogic),
        ):
            logic = kind()
            logic.SetMRMLApplicationLogic(application)
            logic.SetMRMLScene(scene)
            logics[name] = types.SimpleNamespace(logic=lambda logic=logic: logic)
        app = types.SimpleNamespace(temporaryPath=str(place), applicationLogic=lambda: application)

        def label_volume(name: str, _properties: Any) -> Any:
            node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
            storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
            storage.SetFileName(name)
            storage.SetSingleFile(1)
            assert storage.ReadData(node)
            return node

        modules = types.SimpleNamespace(dicomPlugins={}, **logics)
        for name, value in (
            ("mrmlScene", scene), ("app", app), ("modules", modules),
            ("dicomDatabase", Database(files)),
        ):  # fmt: skip
            patch.setattr(slicer, name, value, raising=False)
        patch.setattr(slicer.util, "loadLabelVolume", label_volume, raising=False)
        base = _module(patch, sources / "Modules/Scripted/DICOMLib/DICOMPlugin.py", "DICOMLib")
        # Subject hierarchy items are the desktop's.
        patch.setattr(base.DICOMPlugin, "addSeriesInSubjectHierarchy", lambda *_: None)
        core = types.ModuleType("vtkSegmentationCorePython")
        for name in ("vtkSegment", "vtkSegmentation", "vtkSegmentationConverter"):
            setattr(core, name, getattr(slicer, name))
        patch.setitem(sys.modules, core.__name__, core)
        folder = sources / "Modules/Scripted/DICOMPlugins"
        seg = _module(patch, folder / "DICOMSegmentationPlugin.py", "DICOMSegmentationPlugin")
        seg = seg.DICOMSegmentationPluginClass
        patch.setattr(seg, "_findAndSetGeometryReference", lambda *_: None)
        modules.dicomPlugins["DICOMSegmentationPlugin"] = seg
        sr = _module(patch, folder / "DICOMTID1500Plugin.py", "DICOMTID1500Plugin")
        yield sr.DICOMTID1500PluginClass, seg


def _module(patch: pytest.MonkeyPatch, path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module
