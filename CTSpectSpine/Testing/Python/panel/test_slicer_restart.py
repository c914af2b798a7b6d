"""What must survive a new process: a saved scene, a reload; and the documented console use."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import slicer
import slicer_host
import slicer_panel

MODULE = Path(__file__).resolve().parents[3]
TUTORIAL = MODULE.parent / "docs" / "slicer.md"

START = """
import json, os, sys, types, unittest
from pathlib import Path
import slicer_host
code, module = slicer_host.load_module(Path("../../../CTSpectSpine.py").resolve())
import slicer, slicer_qt
"""
WITHOUT_PACKAGES = """
import sys
names = ("pandas", "matplotlib", "nibabel", "nrrd", "jinja2", "jsonschema", "onnxruntime")
sys.modules.update(dict.fromkeys(names))
"""
"""Slicer as it is before the first analysis has installed what it does not bring."""
OPEN = """
from CTSpectSpineLib.scene.views import LAYOUT_ID, register_layout
scene = slicer.mrmlScene
layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
slicer.app.layoutManager = lambda: slicer_host.LayoutManager(layout)
module.onStartupCompleted()
assert layout.GetViewArrangement() != LAYOUT_ID
with slicer_host.VtkErrors() as errors:
    assert scene.ReadFromMRB(sys.argv[1], True, slicer.vtkMRMLMessageCollection())
    panel = slicer.util.getModuleWidget("CTSpectSpine")
    panel.enter()
assert not errors.texts, errors.texts
assert not slicer_qt.slot_errors, slicer_qt.slot_errors
import slicer_panel
print(json.dumps(slicer_panel.contents(panel)))
"""
RELOAD = """
import CTSpectSpineReloadTest as tests
result = unittest.TestResult()
unittest.TestLoader().loadTestsFromTestCase(tests.CTSpectSpineReloadTest).run(result)
assert result.testsRun == 1 and not result.skipped
assert result.wasSuccessful(), [text for _, text in result.failures + result.errors]
assert not slicer_qt.slot_errors, slicer_qt.slot_errors
"""
CONSOLE = """
blocks = Path(sys.argv[1]).read_text(encoding="utf-8").split("\\0")
folder = Path(sys.argv[2])
from CTSpectSpineWidgets import sampledata
sampledata.SMALL["spacing_mm"] = 2.5
names = {}
for number, block in enumerate(blocks):
    if number == 1:
        inputs = names["logic"].workplace().inputs
        import SimpleITK
        written = {
            "ct": inputs.ct(names["ct"]),
            "spect": inputs.spect(names["spect"]),
            "vertebrae": inputs.vertebrae(names["vertebrae"], names["ct"]),
        }
        for name, path in written.items():
            image = SimpleITK.ReadImage(str(path))
            SimpleITK.WriteImage(image, str(folder / f"{name}.nii.gz"))
        (folder / "patient.json").write_text('{"vas_axial": 8}', encoding="utf-8")
        named = ",".join(f"{name}.nii.gz" for name in written)
        cohort = "id," + ",".join(written) + "\\n" + f"patient1,{named}\\n"
        (folder / "cohort.csv").write_text(cohort, encoding="utf-8")
    exec(compile(block, f"block {number}", "exec"), names)
    if number == 0:
        for line in block.splitlines():
            expression, mark, value = line.partition("  # '")
            if mark:
                found, wanted = eval(expression, names), value.partition("'")[0]
                assert found == wanted, (expression, found)
        assert eval("logic.results is results", names)
assert (folder / "results" / "report.html").is_file()
assert names["page"].is_file()
assert (folder / "cohort" / "patient1" / "report.html").is_file()
assert (names["folder"] / "verdict.json").is_file()
assert names["run"].succeeded
"""


def test_a_saved_scene_comes_back_in_a_new_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    kept: dict[str, Any] = {}

    class Case(slicer_panel.PanelTestCase):
        def runTest(self) -> None:
            layout = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLayoutNode")
            manager = slicer_host.LayoutManager(layout)
            monkeypatch.setattr(slicer.app, "layoutManager", lambda: manager)
            self.addResults()
            self.ui.vasAxial.text = "7"
            self.ui.instability.text = "L4-L5=3.5"
            self.ui.threads.value = 3
            self.ui.protocolSelector.setCurrentIndex(1)
            self.ui.acceptButton.click()
            kept.update(slicer_panel.contents(self.widget))
            messages = slicer.vtkMRMLMessageCollection()
            assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "saved.mrb"), None, messages)

    result = Case().run()
    assert result is not None
    assert result.wasSuccessful(), result.failures + result.errors
    assert kept["parameters"]["instability"] == "L4-L5=3.5"
    assert kept["segments"]["joints"]
    found = json.loads(slicer_host.run_python(START + OPEN, str(tmp_path / "saved.mrb")))
    assert found == json.loads(json.dumps(kept))
    again = slicer_host.run_python(WITHOUT_PACKAGES + START + OPEN, str(tmp_path / "saved.mrb"))
    assert json.loads(again) == found, "a colleague's Slicer shows the results without any package"


def test_reload_takes_panel_sections_and_library() -> None:
    slicer_host.run_python(START + RELOAD)


@pytest.mark.slow
def test_the_tutorial_runs_as_it_stands(tmp_path: Path) -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) == 4
    assert "/data/patient1" in blocks[1]
    assert "/data/cohort.csv" in blocks[2]
    for place in ("/data/patient1", "/data"):
        blocks = [block.replace(place, tmp_path.as_posix()) for block in blocks]
    file = tmp_path / "blocks.txt"
    file.write_text("\0".join(blocks), encoding="utf-8")
    slicer_host.run_python(START + CONSOLE, str(file), str(tmp_path))
