"""The module's panel, clicked. Runs inside Slicer (CTest), and under pytest on the test host."""

# It is written for unittest, which is what Slicer runs.
# ruff: noqa: PT009, PT027

import csv
import json
import sys
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
import qt
import SimpleITK as sitk
import slicer
import slicer.util

sys.path.insert(0, str(Path(__file__).resolve().parent))

HOT = "L5-S1 facet right"


class Answers:
    """Answers the panel's questions for files."""

    def __init__(self, path=""):
        self.path = str(path)

    def openFile(self, title, nameFilter):
        return self.path

    def saveFile(self, title, nameFilter, name):
        return self.path

    def folder(self, title):
        return self.path

    def show(self, path):
        self.path = str(path)


class PanelTestCase(unittest.TestCase):
    """A panel in an empty scene."""

    needsPackages = True

    def setUp(self):
        from CTSpectSpineWidgets import packages

        requirements = packages.REQUIREMENTS.read_text(encoding="utf-8")
        missing = packages.missingRequirements(requirements)
        if missing and self.needsPackages:
            self.skipTest(f"needs {', '.join(missing)}")
        slicer.mrmlScene.Clear()
        self.widget = slicer.util.getModuleWidget("CTSpectSpine")
        self.widget.enter()
        self.ui = self.widget.ui
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.addCleanup(self.leave)
        self.folder = Path(self._folder.name)
        self.ui.filterSelector.setCurrentIndex(0)
        self.ui.searchText.text = ""

    def leave(self):
        self.widget.analysis.cancel()
        self.widget.exit()
        slicer.mrmlScene.Clear()

    def wait(self, condition, seconds=300.0):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, self.ui.statusLabel.text)
            slicer.app.processEvents()
            time.sleep(0.02)

    def addVolume(self, name):
        return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)

    def addLabels(self):
        return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")

    def addResults(self):
        """Put a small results folder into the scene, as the end of an analysis does."""
        from slicer_results import make_results_folder

        from CTSpectSpineLib.scene import populate_scene

        results = self.folder / "results"
        results.mkdir()
        self.made = make_results_folder(results)
        nodes = populate_scene(
            slicer.mrmlScene, ct=self.made.ct, spect=self.made.spect, folder=results
        )
        nodes.manifest.SetAttribute("CTSpectSpine.folder", str(results))
        self.widget.logic.nodes = nodes
        self.widget.parameters.ct, self.widget.parameters.spect = nodes.ct, nodes.spect
        self.widget.parameters.outputFolder = str(results)
        self.widget.showNewResults()
        return nodes

    def requests(self):
        """Catch what the panel would start."""
        caught = []
        start = self.widget.analysis.start
        self.addCleanup(setattr, self.widget.analysis, "start", start)
        self.widget.analysis.start = lambda request, whenDone=None: caught.append(request)
        return caught

    def table(self):
        table = self.ui.jointTable
        return [[table.item(i, j).text() for j in range(1, 7)] for i in range(table.rowCount)]


class CTSpectSpineWidgetTest(PanelTestCase):
    """Inputs, settings, patient, scene."""

    def test_buttonSaysWhatIsMissing(self):
        button = self.ui.applyButton
        self.assertFalse(button.enabled)
        self.assertEqual(button.toolTip, "Select a CT and a SPECT.")
        ct, spect = self.addVolume("CT"), self.addVolume("SPECT")
        self.ui.ctSelector.setCurrentNode(ct)
        self.assertFalse(button.enabled)
        self.assertEqual(button.toolTip, "Select a SPECT.")
        self.ui.spectSelector.setCurrentNode(ct)
        self.assertFalse(button.enabled)
        self.assertIn("same volume", button.toolTip)
        self.ui.spectSelector.setCurrentNode(spect)
        self.ui.vertebraeSelector.setCurrentNode(self.addLabels())
        self.assertTrue(button.enabled, button.toolTip)
        self.ui.vasAxial.text = "eleven"
        self.assertFalse(button.enabled)
        self.assertIn("'eleven' is no number", button.toolTip)
        self.assertIn("'eleven' is no number", self.ui.patientProblemLabel.text)
        self.ui.vasAxial.text = "8"
        self.assertTrue(button.enabled)

    def test_withoutLabellerTheUserIsToldHowToGetOne(self):
        self.ui.ctSelector.setCurrentNode(self.addVolume("CT"))
        self.ui.spectSelector.setCurrentNode(self.addVolume("SPECT"))
        before = self.widget.logic.canLabel
        self.addCleanup(setattr, self.widget.logic, "canLabel", before)
        self.widget.logic.canLabel = lambda: False
        self.widget.update()
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("TotalSegmentator", self.ui.applyButton.toolTip)
        self.widget.logic.canLabel = lambda: True
        self.widget.update()
        self.assertTrue(self.ui.applyButton.enabled)

    def test_likelyPairIsPreselected(self):
        from slicer_results import make_results_folder

        from CTSpectSpineLib.mrml import add_volume

        made = make_results_folder(self.folder)
        self.widget.exit()
        spect = add_volume(slicer.mrmlScene, made.spect, "bone scan")
        voxels = sitk.GetArrayFromImage(made.ct)
        hounsfield = sitk.GetImageFromArray(np.where(voxels < 100, -1000, 2 * voxels))
        hounsfield.CopyInformation(made.ct)
        ct = add_volume(slicer.mrmlScene, hounsfield, "abdomen")
        labels = add_volume(slicer.mrmlScene, made.labels, "bones", "vtkMRMLLabelMapVolumeNode")
        self.widget.enter()
        self.assertIs(self.ui.ctSelector.currentNode(), ct)
        self.assertIs(self.ui.spectSelector.currentNode(), spect)
        self.assertIs(self.ui.vertebraeSelector.currentNode(), labels)
        self.assertTrue(self.ui.applyButton.enabled)

    def test_settingsAreKeptInTheScene(self):
        ct = self.addVolume("CT")
        self.ui.ctSelector.setCurrentNode(ct)
        self.ui.outputPath.currentPath = str(self.folder)
        self.ui.protocolPath.currentPath = str(self.folder / "own.json")
        self.ui.protocolSelector.setCurrentIndex(1)
        self.ui.threads.value = 2
        self.ui.opacitySlider.value = 30
        self.ui.painRegion.setCurrentIndex(2)
        self.ui.instability.text = "L4-L5=3"
        stored = self.widget.logic.getParameterNode()
        self.assertIs(stored.ct, ct)
        self.assertEqual(stored.outputFolder, str(self.folder))
        self.assertEqual(stored.protocolFile, str(self.folder / "own.json"))
        self.assertEqual(stored.protocol, self.ui.protocolSelector.currentText)
        self.assertNotEqual(stored.protocol, "tender-2019")
        self.assertEqual((stored.threads, stored.opacity), (2, 30))
        self.assertEqual((stored.painRegion, stored.instability), ("lumbar", "L4-L5=3"))
        self.widget.exit()
        self.ui.outputPath.currentPath = ""
        self.ui.instability.text = ""
        self.widget.enter()
        self.assertEqual(self.ui.outputPath.currentPath, str(self.folder))
        self.assertEqual(self.ui.instability.text, "L4-L5=3")
        self.assertIs(self.ui.ctSelector.currentNode(), ct)

    def test_settingsReachTheAnalysis(self):
        self.ui.ctSelector.setCurrentNode(self.addVolume("CT"))
        self.ui.spectSelector.setCurrentNode(self.addVolume("SPECT"))
        self.ui.vertebraeSelector.setCurrentNode(self.addLabels())
        self.ui.fwhm.text = "9.5"
        self.ui.referenceBone.setCurrentIndex(1)
        self.ui.saveVolumes.checked = True
        self.ui.vasAxial.text = "8"
        caught = self.requests()
        self.ui.applyButton.click()
        (request,) = caught
        self.assertEqual(request.settings["fwhm"], "9.5")
        self.assertEqual(request.settings["reference"], "sacrum")
        self.assertTrue(request.settings["save-volumes"])
        self.assertEqual(dict(request.context), {"vas_axial": 8.0})
        self.assertIsNone(request.out)

    def test_patientIsLoadedSavedAndCleared(self):
        file = self.folder / "patient.json"
        context = {"age_years": 54, "radicular_pain": True, "judged_criteria": {"english": True}}
        file.write_text(json.dumps(context), encoding="utf-8")
        self.widget.ask = Answers(file)
        self.ui.loadPatientButton.click()
        self.assertEqual(self.ui.age.text, "54")
        self.assertEqual(self.ui.radicularPain.currentText, "yes")
        saved = self.folder / "saved.json"
        self.widget.ask = Answers(saved)
        self.ui.savePatientButton.click()
        self.assertEqual(json.loads(saved.read_text(encoding="utf-8")), context)
        self.ui.clearPatientButton.click()
        self.assertEqual(self.ui.age.text, "")
        self.assertEqual(self.widget.patient.context(), {})
        self.widget.ask = Answers("")
        self.ui.loadPatientButton.click()
        self.ui.savePatientButton.click()

    def test_closedSceneLeavesAnEmptyPanel(self):
        self.addResults()
        self.assertEqual(self.ui.jointTable.rowCount, 1)
        slicer.mrmlScene.Clear()
        self.widget.enter()
        self.assertIsNone(self.ui.ctSelector.currentNode())
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertEqual(self.ui.jointTable.rowCount, 0)
        self.assertIn("No analysis", self.ui.verdictLabel.text)
        for name in ("accept", "reject", "adjust", "confirmLevels", "report", "saveResults"):
            button = getattr(self.ui, f"{name}Button")
            self.assertFalse(button.enabled, name)
            self.assertEqual(button.toolTip, "Run an analysis first.")

    def test_savedSceneIsRestored(self):
        self.addResults()
        self.ui.vasAxial.text = "7"
        before = self.table(), self.ui.verdictLabel.text, self.ui.registrationLabel.text
        bundle = str(self.folder / "saved.mrb")
        messages = slicer.vtkMRMLMessageCollection()
        scene = slicer.mrmlScene
        self.assertTrue(scene.WriteToMRB(bundle, None, messages))
        self.widget.exit()
        scene.Clear()
        self.assertTrue(scene.ReadFromMRB(bundle, True, messages))
        self.widget.enter()
        after = self.table(), self.ui.verdictLabel.text, self.ui.registrationLabel.text
        self.assertEqual(after, before)
        self.assertEqual(self.ui.vasAxial.text, "7")
        self.assertEqual(self.ui.ctSelector.currentNode().GetName(), "CT")
        nodes = self.widget.nodes
        self.assertEqual(nodes.joints.GetSegmentation().GetNumberOfSegments(), 3)
        self.assertEqual(nodes.levels.GetNthControlPointLabel(0), "L4")
        self.assertTrue(self.ui.acceptButton.enabled)
        # The results folder has moved with another computer: the scene still shows everything.
        nodes.manifest.SetAttribute("CTSpectSpine.folder", str(self.folder / "gone"))
        self.widget.update()
        self.assertFalse(self.ui.reportButton.enabled)
        self.assertIn("not there any more", self.ui.reportButton.toolTip)
        caught = self.requests()
        self.ui.shiftUpButton.click()
        self.assertEqual(len(caught), 1)

    def test_missingPackagesAreAskedFor(self):
        from CTSpectSpineWidgets import packages

        self.ui.ctSelector.setCurrentNode(self.addVolume("CT"))
        self.ui.spectSelector.setCurrentNode(self.addVolume("SPECT"))
        self.ui.vertebraeSelector.setCurrentNode(self.addLabels())

        def decline(requirements):
            raise RuntimeError("The packages that the analysis needs were not installed.")

        self.addCleanup(setattr, packages, "ensure", packages.ensure)
        packages.ensure = decline
        with self.assertRaisesRegex(RuntimeError, "not installed"):
            self.widget.analysis.onApplyButton()
        self.assertFalse(self.widget.analysis.running)
        self.assertTrue(self.ui.applyButton.enabled)


class CTSpectSpineResultsTest(PanelTestCase):
    """Results, registration check, levels check, export, on results that are there."""

    def test_resultsAreShown(self):
        self.addResults()
        text = self.ui.registrationLabel.text
        self.assertIn("Registration: good</b>, expected error 0.8 mm", text)
        self.assertIn("multiple areas", self.ui.verdictLabel.text)
        self.assertIn("pain management", self.ui.verdictLabel.text)
        self.assertIn("93%", self.ui.verdictLabel.text)
        self.assertIn("bound 1.5", self.ui.reasonsLabel.text)
        row = self.table()[0]
        self.assertEqual(row[:5], ["L5-S1", "facet", "right", "4.12 (3.8–4.4)", "positive"])
        self.assertIn("1 of 3 joints shown: 1 positive", self.ui.hiddenLabel.text)

    def test_tableIsFilteredSortedAndSearched(self):
        self.addResults()
        combo = self.ui.filterSelector
        combo.setCurrentIndex(combo.findText("all"))
        self.assertEqual([row[0] for row in self.table()], ["L4-L5", "L4-L5", "L5-S1"])
        header = self.ui.jointTable.horizontalHeader()
        for column, first in ((4, "L5-S1"), (4, "L4-L5"), (1, "L4-L5"), (1, "L5-S1"), (0, "L4-L5")):
            self.widget.results.onSort(column)
            self.assertEqual(self.table()[0][0], first, column)
        self.assertFalse(header.isSortIndicatorShown())
        self.ui.searchText.text = "facet left"
        self.assertEqual([row[2] for row in self.table()], ["left"])
        self.ui.searchText.text = ""
        combo.setCurrentIndex(combo.findText("not measurable"))
        self.assertEqual(self.table(), [])

    def test_rowJumpsToItsJoint(self):
        from CTSpectSpineLib.scene_views import add_views

        if not slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode"):
            add_views(slicer.mrmlScene)
        self.addResults()
        self.ui.jointTable.setCurrentCell(0, 2)
        self.widget.results.onRow(0)
        x, y, z = self.widget.record.row(HOT).centre_lps
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            matrix = view.GetSliceToRAS()
            centre = [matrix.GetElement(i, 3) for i in range(3)]
            for found, wanted in zip(centre, (-x, -y, z), strict=True):
                self.assertAlmostEqual(found, wanted, places=3)

    def test_checkHidesAndShowsASegment(self):
        nodes = self.addResults()
        item = self.ui.jointTable.item(0, 0)
        display = nodes.joints.GetDisplayNode()
        self.assertEqual(item.checkState(), qt.Qt.Checked)
        item.setCheckState(qt.Qt.Unchecked)
        self.assertFalse(display.GetSegmentVisibility(HOT))
        item.setCheckState(qt.Qt.Checked)
        self.assertTrue(display.GetSegmentVisibility(HOT))

    def test_acceptAndRejectAreRecorded(self):
        nodes = self.addResults()
        file = self.folder / "results" / "manifest.json"
        buttons = {"rejected": self.ui.rejectButton, "accepted": self.ui.acceptButton}
        for decision, button in buttons.items():
            button.click()
            self.assertFalse(button.enabled)
            for text in (nodes.manifest.GetText(), file.read_text(encoding="utf-8")):
                check = json.loads(text)["registration_check"]
                self.assertEqual(check["decision"], decision)
                self.assertEqual(check["quality"], "good")
            self.assertIn(f"You {decision} it", self.ui.registrationLabel.text)
            self.assertEqual("No verdict" in self.ui.verdictLabel.text, decision == "rejected")

    def test_acceptedFailureIsMeasuredAgain(self):
        nodes = self.addResults()
        registration = json.loads(nodes.registration_text.GetText())
        nodes.registration_text.SetText(json.dumps({**registration, "quality": "failed"}))
        self.widget.showResults(nodes.manifest)
        caught = self.requests()
        self.ui.acceptButton.click()
        self.assertIs(caught[0].settings["accept-registration"], True)
        self.assertIs(caught[0].keep, nodes.manifest)
        self.assertIs(caught[0].replaces, nodes.manifest)

    def test_overlaysAndOpacity(self):
        from CTSpectSpineLib.scene_views import add_views

        if not slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode"):
            add_views(slicer.mrmlScene)
        nodes = self.addResults()
        composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        self.ui.opacitySlider.value = 80
        self.assertAlmostEqual(composite.GetForegroundOpacity(), 0.8)
        self.ui.overlaySelector.setCurrentIndex(1)
        self.assertNotEqual(composite.GetForegroundVolumeID(), nodes.relative.GetID())
        self.ui.overlaySelector.setCurrentIndex(2)
        self.assertTrue(composite.GetLabelVolumeID())
        self.ui.overlaySelector.setCurrentIndex(0)
        self.assertEqual(composite.GetForegroundVolumeID(), nodes.relative.GetID())
        self.assertAlmostEqual(composite.GetForegroundOpacity(), 0.8)

    def test_adjustingByHand(self):
        from CTSpectSpineLib.mrml import numpy_matrix, vtk_matrix
        from CTSpectSpineLib.scene_inputs import ct_to_spect

        nodes = self.addResults()
        ui, transform = self.ui, nodes.transform
        self.assertFalse(ui.usePositionButton.enabled)
        self.assertIn("Adjust the position", ui.resetButton.toolTip)
        ui.adjustButton.click()
        self.assertTrue(transform.GetDisplayNode().GetEditorVisibility())
        self.assertFalse(transform.GetDisplayNode().GetEditorScalingEnabled())
        original = self.matrix(transform)
        moved = original.copy()
        moved[:3, 3] += (3.0, 0.0, -2.0)
        transform.SetMatrixTransformToParent(vtk_matrix(moved))
        self.assertTrue(ui.usePositionButton.enabled)
        caught = self.requests()
        ui.usePositionButton.click()
        ui.registerAgainButton.click()
        self.assertIs(caught[0].transform, transform)
        self.assertIs(caught[1].initial, transform)
        self.assertIsNone(caught[0].keep)
        lps = ct_to_spect(transform).TransformPoint((3.0 * -1, 0.0, -2.0))
        reference = numpy_matrix(vtk_matrix(self.made.ct_to_spect)) @ [0, 0, 0, 1]
        for found, wanted in zip(lps, reference[:3], strict=True):
            self.assertAlmostEqual(found, wanted, places=3)
        ui.resetButton.click()
        self.assertAlmostEqual(abs(self.matrix(transform) - original).max(), 0.0)
        self.assertFalse(ui.usePositionButton.enabled)
        ui.adjustButton.click()
        self.assertFalse(transform.GetDisplayNode().GetEditorVisibility())
        ui.adjustButton.click()
        self.widget.showResults(None)
        self.assertFalse(ui.adjustButton.checked)
        self.assertFalse(transform.GetDisplayNode().GetEditorVisibility())

    def matrix(self, transform):
        import vtk

        from CTSpectSpineLib.mrml import numpy_matrix

        matrix = vtk.vtkMatrix4x4()
        transform.GetMatrixTransformToParent(matrix)
        return numpy_matrix(matrix)

    def names(self):
        levels = self.widget.nodes.levels
        return [levels.GetNthControlPointLabel(i) for i in range(levels.GetNumberOfControlPoints())]

    def levelsOf(self, request):
        from CTSpectSpineLib.desktop.numbering import levels_in

        self.assertIs(request.settings["confirm-levels"], True)
        self.assertIs(request.keep, self.widget.nodes.manifest)
        return levels_in(request.vertebrae)

    def test_levelsAreShiftedSetAndMarked(self):
        self.addResults()
        ui, caught = self.ui, self.requests()
        self.assertIn("not confirmed", ui.levelsLabel.text)
        self.assertEqual(self.names(), ["L4", "L5", "sacrum"])
        ui.shiftUpButton.click()
        self.assertEqual(self.levelsOf(caught[-1]), ("L3", "L4", "sacrum"))
        self.assertEqual(self.names(), ["L3 (was L4)", "L4 (was L5)", "sacrum"])
        self.assertEqual(ui.vertebraSelector.currentText, "L3")
        ui.shiftDownButton.click()
        self.assertEqual(self.names(), ["L4", "L5", "sacrum"])
        with self.assertRaisesRegex(ValueError, "tick L6"):
            self.widget.levels.onShiftDown()
        ui.extraL6.click()
        ui.vertebraSelector.setCurrentIndex(1)
        ui.levelSelector.setCurrentIndex(ui.levelSelector.findText("L6"))
        ui.setLevelButton.click()
        self.assertEqual(self.levelsOf(caught[-1]), ("L5", "L6", "sacrum"))
        ui.shiftUpButton.click()
        ui.extraL6.click()
        self.assertFalse(ui.extraL6.checked)
        ui.sacralised.click()
        self.assertEqual(self.levelsOf(caught[-1]), ("L4", "sacrum"))
        self.widget.levels.forget()
        self.assertEqual(self.names(), ["L4", "L5", "sacrum"])
        self.assertFalse(ui.sacralised.checked)
        ui.confirmLevelsButton.click()
        self.assertEqual(self.levelsOf(caught[-1]), ("L4", "L5", "sacrum"))

    def test_vertebraIsPickedInAView(self):
        nodes = self.addResults()
        self.ui.pickVertebraButton.click()
        picked = self.widget.levels._picked
        wanted = nodes.levels.GetNthControlPointPosition(1)
        picked.AddControlPoint([wanted[0] + 3, wanted[1] - 4, wanted[2] + 5])
        picked.InvokeEvent(picked.PointPositionDefinedEvent)
        self.assertEqual(self.ui.vertebraSelector.currentText, "L5")
        self.wait(lambda: not self.ui.pickVertebraButton.checked, 5)
        self.assertIsNone(slicer.mrmlScene.GetFirstNodeByName("Picked vertebra"))

    def test_resultsAreSavedAndOpened(self):
        self.addResults()
        self.assertFalse(self.ui.reportButton.enabled)
        self.assertIn("no report", self.ui.reportButton.toolTip)
        (self.folder / "results" / "report.html").touch()
        self.widget.update()
        self.widget.ask = Answers()
        self.ui.reportButton.click()
        self.assertIn("report.html", self.widget.ask.path)
        kept = self.folder / "kept"
        self.widget.ask = Answers(kept)
        self.ui.saveResultsButton.click()
        with (kept / "joints.csv").open(encoding="utf-8", newline="") as stream:
            self.assertEqual(len(list(csv.DictReader(stream))), 3)
        self.assertEqual(self.widget.resultsFolder(), kept)
        self.ui.layoutButton.click()
        if slicer.app.layoutManager() is None:
            self.assertFalse(self.ui.captureButton.enabled)
            self.assertIn("no views", self.ui.captureButton.toolTip)

    def test_oneOfTwoAnalysesIsChosen(self):
        from CTSpectSpineLib.scene import populate_scene

        first = self.addResults()
        self.assertFalse(self.ui.analysisSelector.visible)
        folder = self.folder / "results"
        verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
        verdict["disposition"] = "negative"
        (folder / "verdict.json").write_text(json.dumps(verdict), encoding="utf-8")
        second = populate_scene(slicer.mrmlScene, ct=first.ct, spect=first.spect, folder=folder)
        self.widget.logic.nodes = second
        self.widget.showNewResults()
        combo = self.ui.analysisSelector
        self.assertEqual((combo.count, combo.currentIndex), (2, 1))
        self.assertIn("negative", self.ui.verdictLabel.text)
        combo.setCurrentIndex(0)
        self.assertIn("multiple areas", self.ui.verdictLabel.text)
        self.assertIs(self.widget.nodes.transform, first.transform)
        self.assertIs(self.widget.parameters.analysis, first.manifest)

    def test_deletedNodesDoNoHarm(self):
        nodes = self.addResults()
        for name in ("levels", "vertebrae", "chart", "joint_table", "relative", "transform"):
            slicer.mrmlScene.RemoveNode(getattr(nodes, name))
        self.widget.showResults(nodes.manifest)
        self.assertEqual(len(self.table()), 1)
        self.assertFalse(self.ui.adjustButton.enabled)
        self.assertIn("deleted", self.ui.adjustButton.toolTip)
        self.assertFalse(self.ui.shiftUpButton.enabled)
        self.ui.layoutButton.click()
        slicer.mrmlScene.RemoveNode(nodes.ct)
        self.widget.showResults(nodes.manifest)
        self.assertEqual(self.table(), [])


class CTSpectSpineAnalysisTest(PanelTestCase):
    """Real analyses of a small phantom in child processes."""

    def setUp(self):
        super().setUp()
        from CTSpectSpineWidgets import sampledata

        small = {**sampledata.SMALL, "spacing_mm": 2.5}
        self.ct, self.spect, self.vertebrae = sampledata.addPhantom("lumbar-disc", small)
        self.ui.ctSelector.setCurrentNode(self.ct)
        self.ui.spectSelector.setCurrentNode(self.spect)
        self.ui.vertebraeSelector.setCurrentNode(self.vertebrae)
        self.ui.threads.value = 1

    def contents(self):
        scene = slicer.mrmlScene
        nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
        return sorted(f"{node.GetID()} {node.GetName()}" for node in nodes)

    def temporary(self):
        return sorted(Path(slicer.app.temporaryPath).glob("CTSpectSpine-*"))

    def idle(self):
        return not self.widget.analysis.running

    def gone(self, pid):
        from process_state import gone

        return gone(pid)

    def test_cancelLeavesNothing(self):
        before, files = self.contents(), self.temporary()
        out = self.folder / "results"
        self.ui.outputPath.currentPath = str(out)
        for stage in ("start", "register", "joints", "uptake", "report"):
            self.ui.applyButton.click()
            self.assertEqual(self.ui.applyButton.text, "Cancel")
            run = self.widget.analysis.run
            self.wait(lambda run=run, stage=stage: run.stage == stage)
            self.ui.applyButton.click()
            self.assertTrue(self.idle())
            self.assertEqual(self.ui.applyButton.text, "Analyse")
            self.assertEqual(self.ui.statusLabel.text, "Cancelled.")
            self.assertFalse(self.ui.progressBar.visible)
            self.assertTrue(self.gone(run.pid), stage)
            self.assertEqual(self.contents(), before, stage)
            self.assertEqual(self.temporary(), files, stage)
            self.assertFalse(out.exists(), stage)

    def test_crashIsOneSentence(self):
        import os
        import signal

        before, files = self.contents(), self.temporary()
        self.ui.applyButton.click()
        run = self.widget.analysis.run
        self.wait(lambda: run.fraction > 0)
        os.kill(run.pid, signal.SIGKILL)
        self.wait(self.idle)
        self.assertIn("ended unexpectedly (SIGKILL", self.ui.statusLabel.text)
        self.assertNotIn("\n", self.ui.statusLabel.text)
        self.assertEqual(self.contents(), before)
        self.assertEqual(self.temporary(), files)
        self.assertTrue(self.ui.applyButton.enabled)

    def test_badInputIsSaid(self):
        before = self.contents()
        self.ui.spectSelector.setCurrentNode(self.ct)
        empty = self.addVolume("empty SPECT")
        self.ui.spectSelector.setCurrentNode(empty)
        with self.assertRaisesRegex(ValueError, "'empty SPECT' holds no voxels"):
            self.widget.analysis.onApplyButton()
        self.assertIn("'empty SPECT' holds no voxels", self.ui.statusLabel.text)
        self.assertTrue(self.idle())
        slicer.mrmlScene.RemoveNode(empty)
        self.ui.spectSelector.setCurrentNode(self.spect)
        occupied = self.folder / "occupied"
        occupied.mkdir()
        (occupied / "thesis.txt").touch()
        self.ui.outputPath.currentPath = str(occupied)
        with self.assertRaisesRegex(ValueError, "not empty"):
            self.widget.analysis.onApplyButton()
        self.ui.outputPath.currentPath = ""
        self.ui.protocolPath.currentPath = str(self.folder / "none.json")
        self.ui.applyButton.click()
        self.wait(self.idle)
        self.assertIn("none.json", self.ui.statusLabel.text)
        self.assertEqual(self.contents(), before)

    def test_closingTheSceneEndsTheAnalysis(self):
        files = self.temporary()
        self.ui.applyButton.click()
        pid = self.widget.analysis.run.pid
        slicer.mrmlScene.Clear()
        self.assertTrue(self.idle())
        self.assertTrue(self.gone(pid))
        self.assertEqual(self.temporary(), files)

    def test_analysisIsThatOfTheCommandLine(self):
        from CTSpectSpineLib.cli import main
        from CTSpectSpineLib.scene_nodes import analyses

        out = self.folder / "results"
        self.ui.outputPath.currentPath = str(out)
        self.ui.vasAxial.text = "8"
        seen = set()
        self.ui.applyButton.click()
        inputs = {f: f.read_bytes() for f in self.widget.logic.workplace().inputs.folder.iterdir()}
        while not self.idle():
            slicer.app.processEvents()
            seen.add(self.ui.progressBar.value)
            time.sleep(0.02)
        self.assertGreater(len(seen), 5)
        self.assertIn(f"Results in {out}", self.ui.statusLabel.text)
        self.assertIn("lumbar disc", self.ui.verdictLabel.text)
        self.assertEqual([row[:2] for row in self.table()], [["L4-L5", "disc"]])
        self.assertIn("Registering", self.ui.logText.toPlainText())
        self.assertTrue(self.ui.reportButton.enabled)
        self.assertIs(self.spect.GetParentTransformNode(), self.widget.nodes.transform)

        given = {}
        for path, data in inputs.items():
            given[path.stem] = self.folder / path.name
            given[path.stem].write_bytes(data)
        context = self.folder / "context.json"
        context.write_text('{"vas_axial": 8.0}', encoding="utf-8")
        by_hand = self.folder / "by_hand"
        words = ["analyze", "--out", str(by_hand), "--threads", "1", "--progress", "none", "--json"]
        words += ["--context", str(context)]
        for role in ("ct", "spect", "vertebrae"):
            words += [f"--{role}", str(given[role])]
        self.assertEqual(main(words), 0)
        for name in ("joints.csv", "verdict.json", "spect_to_ct.tfm", "joints.seg.nrrd"):
            self.assertEqual((out / name).read_bytes(), (by_hand / name).read_bytes(), name)
        self.assertEqual(
            sorted(f.name for f in out.iterdir()), sorted(f.name for f in by_hand.iterdir())
        )

        # Levels follow without new registration, and back again to the same numbers.
        table, registration = (out / "joints.csv").read_bytes(), self.widget.record.registration
        self.ui.shiftUpButton.click()
        self.wait(self.idle)
        self.assertEqual([row[:2] for row in self.table()], [["L3-L4", "disc"]])
        self.assertEqual(self.widget.record.registration, registration)
        self.assertTrue(self.widget.record.levels_confirmed)
        self.assertEqual(len(analyses(slicer.mrmlScene)), 1)
        self.ui.shiftDownButton.click()
        self.wait(self.idle)
        self.assertEqual((out / "joints.csv").read_bytes(), table)

        # A second analysis in the same scene stands beside the first.
        first = self.widget.nodes
        self.ui.outputPath.currentPath = ""
        self.ui.applyButton.click()
        self.wait(self.idle)
        second = self.widget.nodes
        self.assertIsNot(second.manifest, first.manifest)
        self.assertEqual(len(analyses(slicer.mrmlScene)), 2)
        self.assertNotEqual(second.folder_item, first.folder_item)
        self.assertEqual(self.widget.record.texts["joints.csv"].encode(), table)
        self.assertIn("temporary until you save them", self.ui.statusLabel.text)

    def test_consoleUse(self):
        from CTSpectSpineLib.scene_run import Request, run_to_end

        logic = self.widget.logic
        run = logic.startRun(Request(self.ct, self.spect, self.vertebrae, settings={"threads": 1}))
        self.assertTrue(run.running)
        seen = []
        run_to_end(run, progress=lambda progress: seen.append(progress.stage))
        folder = logic.finishRun(run)
        self.assertEqual(list(dict.fromkeys(seen))[:3], ["check", "label", "register"])
        self.assertIs(logic.nodes.ct, self.ct)

        files = logic.workplace().inputs.folder
        slicer.mrmlScene.Clear()
        self.assertFalse(folder.exists(), "closing the scene deletes results that were not saved")
        self.assertFalse(files.exists())

    def test_filesAndFolders(self):
        inputs = self.widget.logic.workplace().inputs
        paths = inputs.ct(self.ct), inputs.spect(self.spect)
        labels = inputs.vertebrae(self.vertebrae, self.ct)
        self.assertEqual(inputs.ct(self.ct), paths[0])
        written = paths[0].stat().st_mtime_ns
        inputs.ct(self.ct)
        self.assertEqual(paths[0].stat().st_mtime_ns, written, "what is the same is written once")
        self.ct.GetImageData().Modified()
        inputs.ct(self.ct)
        self.assertGreater(paths[0].stat().st_mtime_ns, written)
        logic = self.widget.logic
        results = logic.processFolder(
            *paths,
            labels,
            outputFolder=self.folder / "results",
            context={"vas_axial": 8},
            threads=1,
        )
        self.assertIs(results, logic.results)
        self.assertEqual(results.verdict.disposition, "lumbar_disc")
        self.assertIsNot(logic.nodes.ct, self.ct)
        self.assertIs(logic.getParameterNode().analysis, logic.nodes.manifest)
