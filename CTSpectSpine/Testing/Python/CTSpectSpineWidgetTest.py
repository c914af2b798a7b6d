"""Inputs, settings, patient and scene of the panel, clicked; inside Slicer and under pytest."""

# It is written for unittest, which is what Slicer runs.
# ruff: noqa: PT009, PT027

import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
import slicer.util

sys.path.insert(0, str(Path(__file__).resolve().parent / "host"))

from slicer_panel import Answers, PanelTestCase, tip


class CTSpectSpineWidgetTest(PanelTestCase):
    """Inputs, settings, patient, scene."""

    def test_buttonSaysWhatIsMissing(self):
        button = self.ui.applyButton
        self.assertFalse(button.enabled)
        self.assertEqual(tip(button), "Select a CT and a SPECT.")
        ct, spect = self.addVolume("CT"), self.addVolume("SPECT")
        self.ui.ctSelector.setCurrentNode(ct)
        self.assertFalse(button.enabled)
        self.assertEqual(tip(button), "Select a SPECT.")
        self.ui.spectSelector.setCurrentNode(ct)
        self.assertFalse(button.enabled)
        self.assertIn("same volume", tip(button))
        self.ui.spectSelector.setCurrentNode(spect)
        self.ui.vertebraeSelector.setCurrentNode(self.addLabels())
        self.assertTrue(button.enabled, tip(button))
        self.ui.vasAxial.text = "eleven"
        self.assertFalse(button.enabled)
        self.assertIn("'eleven' is not a number", tip(button))
        self.assertIn("'eleven' is not a number", self.ui.patientProblemLabel.text)
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
        self.assertIn("TotalSegmentator", tip(self.ui.applyButton))
        self.widget.logic.canLabel = lambda: True
        self.widget.update()
        self.assertTrue(self.ui.applyButton.enabled)

    def test_likelyPairIsPreselected(self):
        from slicer_results import make_results_folder

        from CTSpectSpineLib.scene.mrml import add_volume

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
        self.assertEqual(request.options.fwhm_mm, 9.5)
        self.assertEqual(request.options.reference, "sacrum")
        self.assertEqual(self.ui.referenceBone.itemText(0), "vertebral bodies")
        self.assertTrue(request.options.save_volumes)
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

    def test_exclusionsAreChosenFromTheProtocol(self):
        self.assertTrue(self.ui.exclusionsButton.enabled)
        actions = {action.text: action for action in self.ui.exclusionsButton.menu().actions()}
        self.assertGreater(len(actions), 5)
        actions["fracture"].trigger()
        actions["infection"].trigger()
        self.assertEqual(self.ui.exclusions.text, "fracture, infection")
        self.assertEqual(self.widget.patient.context(), {"exclusions": ["fracture", "infection"]})
        actions["fracture"].trigger()
        self.assertEqual(self.ui.exclusions.text, "infection")
        self.ui.exclusions.text = "neoplasm"
        self.assertTrue(actions["neoplasm"].checked)
        self.assertFalse(actions["infection"].checked)
        without = self.ui.protocolSelector.findText("spinus-1")
        self.ui.protocolSelector.setCurrentIndex(without)
        self.assertFalse(self.ui.exclusionsButton.enabled)
        self.assertIn("no exclusions", tip(self.ui.exclusionsButton))
        self.assertEqual(self.ui.exclusions.text, "neoplasm")
        self.ui.protocolPath.currentPath = str(self.folder / "none.json")
        self.assertIn("none.json", tip(self.ui.exclusionsButton))

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
            self.assertEqual(tip(button), "Run an analysis first.")

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
        self.assertIn("not there any more", tip(self.ui.reportButton))
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
