"""The module's panel, clicked. Runs inside Slicer (CTest), and under pytest on the test host."""

# It is written for unittest, which is what Slicer runs.
# ruff: noqa: PT009, PT027

import json
import tempfile
import unittest
from pathlib import Path

import slicer
import slicer.util


class CTSpectSpineWidgetTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()
        self.widget = slicer.util.getModuleWidget("CTSpectSpine")
        self.widget.enter()
        self.ui = self.widget.ui
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.addCleanup(self.widget.exit)
        self.folder = Path(self._folder.name)

    def addVolume(self, name):
        return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)

    def test_buttonSaysWhatIsMissing(self):
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertEqual(self.ui.applyButton.toolTip, "Select a CT and a SPECT.")
        ct, spect = self.addVolume("CT"), self.addVolume("SPECT")
        self.ui.ctSelector.setCurrentNode(ct)
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertEqual(self.ui.applyButton.toolTip, "Select a SPECT.")
        self.ui.spectSelector.setCurrentNode(ct)
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("same volume", self.ui.applyButton.toolTip)
        self.ui.spectSelector.setCurrentNode(spect)
        self.assertTrue(self.ui.applyButton.enabled)

    def test_settingsAreKeptInTheScene(self):
        ct = self.addVolume("CT")
        self.ui.ctSelector.setCurrentNode(ct)
        self.ui.outputPath.currentPath = str(self.folder)
        self.ui.contextPath.currentPath = str(self.folder / "patient.json")
        stored = self.widget.logic.getParameterNode()
        self.assertIs(stored.ct, ct)
        self.assertEqual(stored.outputFolder, str(self.folder))
        self.assertEqual(stored.contextFile, str(self.folder / "patient.json"))
        self.assertEqual(stored.protocol, "tender-2019")
        self.widget.exit()
        self.ui.outputPath.currentPath = ""
        self.widget.enter()
        self.assertEqual(self.ui.outputPath.currentPath, str(self.folder))
        self.assertIs(self.ui.ctSelector.currentNode(), ct)

    def test_closedSceneLeavesAnEmptyPanel(self):
        self.ui.ctSelector.setCurrentNode(self.addVolume("CT"))
        self.ui.spectSelector.setCurrentNode(self.addVolume("SPECT"))
        self.assertTrue(self.ui.applyButton.enabled)
        slicer.mrmlScene.Clear()
        self.widget.enter()
        self.assertIsNone(self.ui.ctSelector.currentNode())
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertEqual(self.ui.jointTable.rowCount, 0)

    def test_resultsOfAFolderAreShown(self):
        self.writeResults()
        self.widget.showResults(str(self.folder))
        self.assertIn("Registration: good, expected error 0.8 mm", self.ui.registrationLabel.text)
        self.assertIn("Verdict: lumbar disc", self.ui.verdictLabel.text)
        self.assertIn("because of this", self.ui.verdictLabel.text)
        table = self.ui.jointTable
        rows = [[table.item(i, j).text() for j in range(3)] for i in range(table.rowCount)]
        self.assertEqual(
            rows,
            [
                ["L4-L5 disc", "3.21 (2.9–3.5)", "positive"],
                ["L4-L5 facet left", "–", "not measurable"],
            ],
        )
        self.assertFalse(self.ui.reportButton.enabled)
        (self.folder / "report.html").touch()
        self.widget.showResults(str(self.folder))
        self.assertTrue(self.ui.reportButton.enabled)
        self.widget.showResults("")
        self.assertEqual(self.ui.jointTable.rowCount, 0)
        self.assertEqual(self.ui.verdictLabel.text, "")

    def writeResults(self):
        (self.folder / "joints.csv").write_text(
            "joint,ratio_corrected,ratio_low,ratio_high,uptake,verdict,status_reason\n"
            "L4-L5 disc,3.2123,2.9,3.5,positive,one area,\n"
            "L4-L5 facet left,,,,not_measurable,,outside the SPECT\n",
            encoding="utf-8",
        )
        registration = {"quality": "good", "expected_error_mm": 0.8, "reasons": []}
        verdict = {
            "disposition": "lumbar_disc",
            "recommendation": "x",
            "reasons": ["because of this"],
        }
        for name, values in (("registration", registration), ("verdict", verdict)):
            (self.folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")

    def test_badInputIsSaid(self):
        from CTSpectSpineLib.errors import InputError

        self.ui.ctSelector.setCurrentNode(self.addVolume("empty CT"))
        self.ui.spectSelector.setCurrentNode(self.addVolume("SPECT"))
        with self.assertRaises(InputError):
            self.widget.onApplyButton()
        self.assertIn("'empty CT' holds no voxels", self.ui.statusLabel.text)
        self.assertTrue(self.ui.applyButton.enabled)
        self.assertFalse(self.ui.progressBar.visible)
        self.assertEqual(self.ui.jointTable.rowCount, 0)

    def test_analysis(self):
        import CTSpectSpine

        ct, spect, vertebrae = CTSpectSpine.addPhantom()
        self.ui.ctSelector.setCurrentNode(ct)
        self.ui.spectSelector.setCurrentNode(spect)
        self.ui.vertebraeSelector.setCurrentNode(vertebrae)
        self.ui.outputPath.currentPath = str(self.folder / "results")
        self.ui.applyButton.click()
        self.assertIn("Verdict: lumbar disc", self.ui.verdictLabel.text)
        table = self.ui.jointTable
        uptake = {table.item(i, 0).text(): table.item(i, 2).text() for i in range(table.rowCount)}
        positive = [joint for joint, text in uptake.items() if text == "positive"]
        self.assertEqual(positive, [CTSpectSpine.PHANTOM_HOT_JOINT])
        self.assertTrue(self.ui.applyButton.enabled)
        self.assertTrue(self.ui.reportButton.enabled)
        self.assertFalse(self.ui.progressBar.visible)
        self.assertTrue((self.folder / "results" / "report.html").is_file())
        self.assertIs(spect.GetParentTransformNode(), self.widget.logic.nodes.transform)
