"""Registration check and levels check of the panel, clicked; inside Slicer and under pytest."""

# It is written for unittest, which is what Slicer runs.
# ruff: noqa: PT009, PT027

import json
import sys
from pathlib import Path

import slicer
import slicer.util

sys.path.insert(0, str(Path(__file__).resolve().parent / "host"))

from slicer_panel import PanelTestCase, tip

VERDICTS = ("verdict.json", "joints.csv")


class CTSpectSpineChecksTest(PanelTestCase):
    """Registration check and levels check, on results that are there."""

    def test_acceptAndRejectAreRecorded(self):
        nodes = self.addResults()
        file = self.folder / "results" / "manifest.json"
        buttons = {"accepted": self.ui.acceptButton, "rejected": self.ui.rejectButton}
        for decision, button in buttons.items():
            button.click()
            self.assertFalse(button.enabled)
            for text in (nodes.manifest.GetText(), file.read_text(encoding="utf-8")):
                check = json.loads(text)["registration_check"]
                self.assertEqual(check["decision"], decision)
                self.assertEqual(check["quality"], "good")
            self.assertIn(f"You {decision} it", self.ui.registrationLabel.text)
            for label in (self.ui.verdictLabel, self.ui.summaryLabel):
                self.assertEqual("No verdict" in label.text, decision == "rejected")
                self.assertEqual("ultiple areas" in label.text, decision == "accepted")
        texts = [(file.parent / name).read_text(encoding="utf-8") for name in VERDICTS]
        texts += [nodes.verdict_text.GetText(), nodes.joints_text.GetText()]
        table = nodes.joint_table
        texts += [table.GetCellText(i, table.GetNumberOfColumns() - 1) for i in range(3)]
        for text in texts:
            self.assertNotIn("multiple_areas", text)
            self.assertNotIn("pain management", text)
            self.assertNotIn("counted", text)
        caught = self.requests()
        self.ui.acceptButton.click()
        self.assertIs(caught[0].options.accept_registration, True)
        self.assertIs(caught[0].keep, nodes.manifest)

    def test_decisionGoesWithAKeptRegistration(self):
        from CTSpectSpineLib.results.stage_files import read_registration

        nodes = self.addResults()
        self.ui.rejectButton.click()
        for folder in (self.folder / "results", None):
            if folder is None:
                nodes.manifest.SetAttribute("CTSpectSpine.folder", "")
            kept = self.keptBy(nodes)
            self.assertEqual(kept.decision.decision, "rejected")
            self.assertLess(abs(kept.registration.matrix - self.made.ct_to_spect).max(), 1e-5)
            self.assertEqual(read_registration(self.folder / "results").images, kept.images)

    def keptBy(self, nodes):
        """The registration that a child process is given to keep."""
        from CTSpectSpineLib.panel.request import Request
        from CTSpectSpineLib.panel.run import Run
        from CTSpectSpineLib.results.stage_files import read_registration

        run = Run(
            Request(nodes.ct, nodes.spect, vertebrae=nodes.vertebrae, keep=nodes.manifest),
            self.widget.logic.workplace(),
        )
        try:
            kept = run._folder / "kept"
            return read_registration(kept if kept.is_dir() else self.folder / "results")
        finally:
            run.cancel()

    def test_movedSpectIsNotTheRegistration(self):
        from CTSpectSpineLib.scene.mrml import vtk_matrix

        nodes = self.addResults()
        measured = self.matrix(nodes.transform)
        elsewhere = measured.copy()
        elsewhere[:3, 3] += (15.0, 0.0, 0.0)
        nodes.transform.SetMatrixTransformToParent(vtk_matrix(elsewhere))
        for again in (lambda: None, self.widget.exit, self.widget.enter):
            again()
            self.widget.update()
            if self.widget.parameters is None:
                continue
            self.assertFalse(self.ui.acceptButton.enabled)
            self.assertIn("has been moved", tip(self.ui.acceptButton))
            self.assertTrue(self.ui.resetButton.enabled)
            self.assertTrue(self.ui.usePositionButton.enabled)
        nodes.manifest.SetAttribute("CTSpectSpine.folder", "")
        kept = self.keptBy(nodes)
        self.assertLess(abs(kept.registration.matrix - self.made.ct_to_spect).max(), 1e-5)
        self.ui.resetButton.click()
        self.assertLess(abs(self.matrix(nodes.transform) - measured).max(), 1e-9)
        self.assertTrue(self.ui.acceptButton.enabled)

    def test_hardenedSpectIsNotMeasuredAgain(self):
        from CTSpectSpineLib.scene.position import changed

        nodes = self.addResults()
        nodes.spect.HardenTransform()
        for button in (self.ui.shiftUpButton, self.ui.confirmLevelsButton, self.ui.adjustButton):
            self.assertFalse(button.enabled)
            self.assertIn("no longer lies where it was analysed", tip(button))
        self.assertTrue(self.ui.acceptButton.enabled, "a good registration needs no measurement")
        nodes.transform.SetMatrixTransformToParent(None)
        self.assertIn("SPECT", changed(nodes, self.widget.record))

    def test_acceptedFailureIsMeasuredAgain(self):
        nodes = self.addResults()
        registration = json.loads(nodes.registration_text.GetText())
        nodes.registration_text.SetText(json.dumps({**registration, "quality": "failed"}))
        self.widget.showResults(nodes.manifest)
        caught = self.requests()
        self.ui.acceptButton.click()
        self.assertIs(caught[0].options.accept_registration, True)
        self.assertIs(caught[0].keep, nodes.manifest)
        self.assertIs(caught[0].replaces, nodes.manifest)

    def test_overlaysAndOpacity(self):
        from CTSpectSpineLib.scene.views import add_views

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
        from CTSpectSpineLib.scene.inputs import ct_to_spect
        from CTSpectSpineLib.scene.mrml import numpy_matrix, vtk_matrix

        nodes = self.addResults()
        ui, transform = self.ui, nodes.transform
        self.assertFalse(ui.usePositionButton.enabled)
        self.assertIn("Adjust the position", tip(ui.resetButton))
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

        from CTSpectSpineLib.scene.mrml import numpy_matrix

        matrix = vtk.vtkMatrix4x4()
        transform.GetMatrixTransformToParent(matrix)
        return numpy_matrix(matrix)

    def names(self):
        levels = self.widget.nodes.levels
        return [levels.GetNthControlPointLabel(i) for i in range(levels.GetNumberOfControlPoints())]

    def levelsOf(self, request, confirmed=True, byButton=False):
        from CTSpectSpineLib.labelling.levels.numbering import levels_in

        self.assertIs(request.options.named_levels, confirmed and not byButton)
        self.assertIs(request.options.confirm_levels, byButton)
        self.assertIs(request.keep, self.widget.nodes.manifest)
        return levels_in(request.vertebrae)

    def test_levelsAreShiftedSetAndMarked(self):
        self.addResults()
        ui, caught = self.ui, self.requests()
        self.assertIn("not confirmed", ui.levelsLabel.text)
        self.assertEqual(self.names(), ["L4", "L5", "sacrum"])
        ui.shiftUpButton.click()
        found = self.levelsOf(caught[-1], confirmed=False)
        self.assertEqual(found, ("L3", "L4", "sacrum"), "L5 is lost: that confirms nothing")
        self.assertEqual(self.names(), ["L3 (was L4)", "L4 (was L5)", "sacrum"])
        self.assertEqual(ui.vertebraSelector.currentText, "L3")
        ui.shiftDownButton.click()
        self.assertEqual(self.names(), ["L4", "L5", "sacrum"])
        with self.assertRaisesRegex(ValueError, "add L6"):
            self.widget.levels.onShiftDown()
        count = len(caught)
        ui.extraL6.click()
        self.assertEqual(len(caught), count, "no name changes, nothing is to be measured")
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
        self.assertEqual(self.levelsOf(caught[-1], byButton=True), ("L4", "L5", "sacrum"))

    def test_vertebraIsPickedInAView(self):
        nodes = self.addResults()
        self.ui.pickVertebraButton.click()
        picked = self.widget.levels._picked
        wanted = nodes.levels.GetNthControlPointPosition(1)
        picked.AddControlPoint([wanted[0] + 3, wanted[1] - 4, wanted[2] + 5])
        picked.InvokeEvent(picked.PointPositionDefinedEvent)
        self.assertEqual(self.ui.vertebraSelector.currentText, "L5")
        self.wait(lambda: not self.ui.pickVertebraButton.checked)
        self.assertIsNone(slicer.mrmlScene.GetFirstNodeByName("Picked vertebra"))
