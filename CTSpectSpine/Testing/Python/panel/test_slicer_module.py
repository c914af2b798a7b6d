"""The Slicer module on the test host: real MRML, the real ``.ui``, real clicks."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slicer
import slicer_host
import slicer_qt

from CTSpectSpineLib.anatomy import vertebrae
from CTSpectSpineLib.scene.views import LAYOUT_ID
from CTSpectSpineLib.terminology import (
    motion_segments,
    recommended_rgb,
    slicer_files,
    terminology_entry,
)

MODULE = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def module() -> tuple[ModuleType, Any]:
    return slicer_host.load_module(MODULE / "CTSpectSpine.py")


@pytest.fixture(autouse=True)
def no_hidden_errors(module: object) -> Iterator[None]:
    """VTK prints its errors, and Qt swallows the exceptions of slots: neither may happen."""
    slicer.mrmlScene.Clear()
    slicer_qt.slot_errors.clear()
    with slicer_host.VtkErrors() as errors:
        yield
    assert errors.texts == []
    assert slicer_qt.slot_errors == []


def test_module_describes_itself(module: tuple[ModuleType, Any]) -> None:
    parent = module[1].parent
    assert parent.title
    assert parent.categories == ["Nuclear Medicine"]
    assert parent.dependencies == ["Terminologies"], "needed at start-up"
    assert "research use only" in parent.helpText
    assert parent.contributors
    assert parent.acknowledgementText


def test_import_needs_no_optional_package() -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('pandas', 'matplotlib', 'nibabel', 'nrrd', 'jinja2')))\n"
        "import slicer_host\n"
        "from pathlib import Path\n"
        "code, module = slicer_host.load_module(Path('../../../CTSpectSpine.py').resolve())\n"
        "slicer_host.build_panel(code)\n"
        "assert not [n for n in sys.modules if n.startswith('CTSpectSpineLib.analysis.pipeline')]\n"
    )
    slicer_host.run_python(code)


@pytest.mark.slow
def test_self_test_of_the_module(module: tuple[ModuleType, Any]) -> None:
    suite = unittest.TestLoader().loadTestsFromTestCase(module[0].CTSpectSpineTest)
    assert suite.countTestCases() >= 2
    passes(suite)


def cases() -> list[Any]:
    """All tests of the panel; those that analyse are slow, those that reload run elsewhere."""
    found = []
    for file in sorted((MODULE / "Testing" / "Python").glob("CTSpectSpine*Test.py")):
        if file.stem == "CTSpectSpineReloadTest":
            continue
        marks = [pytest.mark.slow] if file.stem == "CTSpectSpineAnalysisTest" else []
        for name in re.findall(r"^    def (test_\w+)", file.read_text(encoding="utf-8"), re.M):
            found.append(pytest.param(file.stem, name, marks=marks, id=name))
    return found


@pytest.mark.parametrize(("group", "name"), cases())
def test_panel(module: tuple[ModuleType, Any], group: str, name: str) -> None:
    case = getattr(importlib.import_module(group), group)
    passes(unittest.TestSuite([case(name)]))


def passes(suite: unittest.TestSuite) -> None:
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun == suite.countTestCases() or result.testsRun > 0
    problems = [text for _, text in [*result.failures, *result.errors]]
    assert not problems, "\n".join(problems)
    assert not result.skipped


def test_terminologies_are_those_of_the_library(module: tuple[ModuleType, Any]) -> None:
    folder = MODULE / "Resources" / "Terminologies"
    for name, text in slicer_files().items():
        message = f"write again: python -m CTSpectSpineLib.terminology {folder}"
        assert (folder / name).read_text(encoding="utf-8") == text, message
    assert {file.name for file in folder.iterdir()} == set(slicer_files())


def test_slicer_knows_every_code(module: tuple[ModuleType, Any]) -> None:
    assert module[1].onStartupCompleted in slicer.app.startup
    module[1].onStartupCompleted()
    logic = slicer.modules.terminologies.logic()
    entries = {terminology_entry("vertebra", row.name): "vertebra" for row in vertebrae()}
    for level in motion_segments():
        entries[terminology_entry("disc", level)] = "disc"
        for side in ("left", "right"):
            entries[terminology_entry("facet", level, side)] = "facet"
    for text, kind in entries.items():
        entry = slicer.vtkSlicerTerminologyEntry()
        assert logic.DeserializeTerminologyEntry(text, entry), text
        assert logic.SerializeTerminologyEntry(entry) == text
        logic.UpdateEntryFromLoadedTerminologies(entry, [], [])
        coloured = entry.GetTypeModifierObject() if kind == "facet" else entry.GetTypeObject()
        assert tuple(coloured.GetRecommendedDisplayRGBValue()) == recommended_rgb(kind), text
    unknown = slicer.vtkSlicerTerminologyEntry()
    logic.DeserializeTerminologyEntry(text.replace("FACET", "NONE"), unknown)
    logic.UpdateEntryFromLoadedTerminologies(unknown, [], [])
    modifier = unknown.GetTypeModifierObject()
    assert tuple(modifier.GetRecommendedDisplayRGBValue()) != recommended_rgb("facet")


def test_missing_requirements_are_found(module: tuple[ModuleType, Any]) -> None:
    from CTSpectSpineWidgets import packages

    text = "# comment\n\npandas>=2.0\npandas>=999.0\nno-such-package>=1\n"
    assert packages.missingRequirements(text) == ["pandas>=999.0", "no-such-package>=1"]
    shipped = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8")
    assert packages.missingRequirements(shipped) == []


def test_packages_are_installed_only_after_asking(
    module: tuple[ModuleType, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CTSpectSpineWidgets import packages

    wanted = tmp_path / "requirements.txt"
    wanted.write_text("no-such-package>=1\n", encoding="utf-8")
    asked, installed, answers = [], [], [False, True]

    def ask(text: str) -> bool:
        asked.append(text)
        return answers.pop(0)

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", ask)
    monkeypatch.setattr(slicer.util, "pip_install", installed.append)
    packages.ensureWithPip(wanted, tmp_path / "c.txt")
    assert (asked, installed) == ([], []), "in testing mode nothing is asked or installed"
    monkeypatch.setattr(slicer.app, "testingEnabled", lambda: False)
    with pytest.raises(RuntimeError, match="not installed"):
        packages.ensureWithPip(wanted, tmp_path / "c.txt")
    assert installed == []
    packages.ensureWithPip(wanted, tmp_path / "c.txt")
    assert installed == [["no-such-package>=1", "-c", str(tmp_path / "c.txt")]]
    assert f"numpy=={np.__version__}\n" in packages.bundledVersions()
    assert "no-such" not in packages.bundledVersions()
    assert all("no-such-package>=1" in text for text in asked)


def test_a_failed_installation_is_one_sentence(
    module: tuple[ModuleType, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CTSpectSpineWidgets import packages

    wanted = tmp_path / "requirements.txt"
    wanted.write_text("no-such-package>=1\n", encoding="utf-8")

    def fail(words: list[str]) -> None:
        raise subprocess.CalledProcessError(1, ["pip", *words])

    monkeypatch.setattr(slicer.app, "testingEnabled", lambda: False)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: True)
    monkeypatch.setattr(slicer.util, "pip_install", fail)
    with pytest.raises(RuntimeError, match=r"could not be installed \(pip ended with code 1\)"):
        packages.ensure(wanted)


class FakeSampleData(ModuleType):
    """The part of Slicer's Sample Data module that sources are registered with."""

    def __init__(self) -> None:
        super().__init__("SampleData")
        self.sources: list[dict[str, Any]] = []
        register = lambda **source: self.sources.append(source)  # noqa: E731
        self.SampleDataLogic = SimpleNamespace(registerCustomSampleDataSource=register)


def test_three_phantoms_and_the_tour_are_offered_as_sample_data(
    module: tuple[ModuleType, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from CTSpectSpineWidgets import sampledata

    fake = FakeSampleData()
    monkeypatch.setitem(sys.modules, "SampleData", fake)
    sampledata.register(module[1].resourcePath("Icons"))
    assert len(fake.sources) == 4
    for source in fake.sources:
        assert isinstance(source["uris"], str), "Slicer counts the addresses of a source"
        assert Path(source["thumbnailFileName"]).is_file()
        assert source["category"] == "CT SPECT Spine"
    monkeypatch.setattr(sampledata, "SAMPLE", {**sampledata.SMALL, "spacing_mm": 4.0})
    nodes = fake.sources[0]["customDownloader"](None)
    assert [node.GetClassName() for node in nodes] == [
        "vtkMRMLScalarVolumeNode",
        "vtkMRMLScalarVolumeNode",
        "vtkMRMLLabelMapVolumeNode",
    ]
    from CTSpectSpineLib.scene.likely_inputs import likely_inputs

    assert likely_inputs(slicer.mrmlScene) == tuple(nodes)
    opened: list[str] = []
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    slicer.mrmlScene.Clear()
    nodes = fake.sources[3]["customDownloader"](None)
    widget = slicer.util.getModuleWidget("CTSpectSpine")
    assert opened == ["CTSpectSpine"]
    assert (widget.ui.ctSelector.currentNode(), widget.tour.place) == (nodes[0], 0)
    widget.tour.onEnd()


def test_pictures_are_captured_for_every_positive_joint(
    module: tuple[ModuleType, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer_panel as tests

    from CTSpectSpineLib.scene.views import add_views

    captured, letters = [], []

    def markers() -> set[int]:
        views = slicer.mrmlScene.GetNodesByClass("vtkMRMLAbstractViewNode")
        nodes = [views.GetItemAsObject(i) for i in range(views.GetNumberOfItems())]
        kinds = ("vtkMRMLSliceNode", "vtkMRMLViewNode")
        return {n.GetOrientationMarkerType() for n in nodes if n.GetClassName() in kinds}

    class Logic:
        def captureImageFromView(self, view: str, path: str) -> None:
            captured.append((view, Path(path).name))
            letters.append(markers())

    layout = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLayoutNode")
    manager = slicer_host.LayoutManager(layout)
    monkeypatch.setitem(sys.modules, "ScreenCapture", SimpleNamespace(ScreenCaptureLogic=Logic))
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: manager)

    class Case(tests.PanelTestCase):
        def runTest(self) -> None:
            slicer.mrmlScene.AddNode(layout)
            add_views(slicer.mrmlScene)
            self.addResults()
            assert layout.GetViewArrangement() == LAYOUT_ID
            self.widget.ask = tests.Answers(tmp_path / "pictures")
            assert self.ui.captureButton.enabled
            self.ui.captureButton.click()
            assert "8 pictures saved" in self.ui.statusLabel.text

    passes(unittest.TestSuite([Case()]))
    assert captured[0] == ("Yellow", "overview_sagittal.png")
    assert captured[-1] == ("3D", "L5-S1_facet_right_3d.png")
    assert len({name for _, name in captured}) == 8
    axes = slicer.vtkMRMLSliceNode.OrientationMarkerTypeAxes
    assert letters == [{axes}] * 8
    assert axes not in markers()
