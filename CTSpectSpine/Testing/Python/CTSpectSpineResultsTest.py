"""Results, checks and export of the panel, clicked; inside Slicer and under pytest."""

# It is written for unittest, which is what Slicer runs.
# ruff: noqa: PT009, PT027

import csv
import io
import json
import sys
from pathlib import Path

import qt
import slicer
import slicer.util

sys.path.insert(0, str(Path(__file__).resolve().parent / "host"))

from slicer_panel import Answers, PanelTestCase, tip

HOT = "L5-S1 facet right"
VERDICTS = ("verdict.json", "joints.csv")


class CTSpectSpineResultsTest(PanelTestCase):
    """Results, registration check, levels check, export, on results that are there."""

    def test_resultsAreShown(self):
        self.addResults()
        text = self.ui.registrationLabel.text
        self.assertIn("Registration: good</b>, expected error 0.8 mm", text)
        self.assertIn("Multiple areas of increased uptake", self.ui.verdictLabel.text)
        self.assertIn("pain management", self.ui.verdictLabel.text)
        self.assertIn("93% of the repeated measurements", self.ui.verdictLabel.text)
        self.assertEqual(
            self.ui.summaryLabel.text,
            "L5-S1 right facet 4.1 × reference (3.8–4.4): multiple areas of increased uptake, "
            "pain management.",
        )
        self.assertIn("bound 1.5", self.ui.reasonsLabel.text)
        row = self.table()[0]
        self.assertEqual(row[:3], ["L5-S1 facet R", "4.12", "positive"])
        self.assertEqual(row[3], "3.8–4.4")
        self.assertIn("1 of 3 joints listed: 1 positive", self.ui.hiddenLabel.text)

    def test_tableIsFilteredSortedAndSearched(self):
        self.addResults()
        combo = self.ui.filterSelector
        combo.setCurrentIndex(combo.findText("all"))
        names = ["L4-L5 disc", "L4-L5 facet L", "L5-S1 facet R"]
        self.assertEqual([row[0] for row in self.table()], names)
        header = self.ui.jointTable.horizontalHeader()
        clicks = (
            (2, "L5-S1"),
            (2, "L4-L5"),
            (1, "L4-L5"),
            (1, "L5-S1"),
            (3, "L5-S1"),
            (0, "L4-L5"),
        )
        for column, first in clicks:
            self.widget.results.onSort(column)
            self.assertIn(first, self.table()[0][0], column)
        self.assertFalse(header.isSortIndicatorShown())
        self.ui.searchText.text = "facet left"
        self.assertEqual([row[0] for row in self.table()], ["L4-L5 facet L"])
        self.ui.searchText.text = ""
        combo.setCurrentIndex(combo.findText("not measurable"))
        self.assertEqual(self.table(), [])

    def test_doubtedJointKeepsItsNumbersAndDoesNotCount(self):
        nodes = self.addResults()
        rows = list(csv.DictReader(io.StringIO(nodes.joints_text.GetText())))
        doubted = next(row for row in rows if row["joint"] == HOT)
        doubted.update(status="not_measurable", uptake="not_measurable")
        doubted.update(status_reason="its level is in doubt", verdict="")
        text = io.StringIO()
        writer = csv.DictWriter(text, list(doubted))
        writer.writeheader()
        writer.writerows(rows)
        nodes.joints_text.SetText(text.getvalue())
        self.widget.showResults(nodes.manifest)
        self.assertEqual(self.table(), [])
        self.assertIn("0 positive", self.ui.hiddenLabel.text)
        self.assertIn("1 not measurable", self.ui.hiddenLabel.text)
        self.ui.filterSelector.setCurrentIndex(self.ui.filterSelector.findText("not measurable"))
        (row,) = self.table()
        shown = ["4.12", "not measurable", "3.8–4.4", "its level is in doubt"]
        self.assertEqual(row[1:], shown)
        for column in range(1, 6):
            item = self.ui.jointTable.item(0, column)
            colour = item.foreground().color()
            self.assertEqual(colour.red(), colour.green())
            self.assertEqual(colour.red(), colour.blue())
            self.assertIn("its level is in doubt", item.toolTip())
            self.assertIn("neither as positive nor as negative", item.toolTip())

    def test_otherProtocolsStandSideBySide(self):
        nodes = self.addResults()
        button, label = self.ui.protocolsCollapsibleButton, self.ui.protocolsLabel
        button.collapsed = True
        self.addCleanup(setattr, button, "collapsed", True)
        self.assertEqual(label.text, "")
        button.collapsed = False
        for name in self.widget.logic.protocols():
            self.assertIn(f"<b>{name}: ", label.text)
        self.assertIn("They differ.", label.text)
        verdict = json.loads(nodes.verdict_text.GetText())
        nodes.verdict_text.SetText(json.dumps({**verdict, "disposition": "no_verdict"}))
        self.widget.showResults(nodes.manifest)
        self.assertIn("has no verdict, so no protocol applies", label.text)
        self.ui.rejectButton.click()
        self.assertIn("was rejected, so no protocol applies", label.text)
        slicer.mrmlScene.Clear()
        self.widget.enter()
        self.assertEqual(label.text, "")

    def test_rowJumpsToItsJoint(self):
        from CTSpectSpineLib.scene.views import add_views

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

    def test_allListedJointsAreHiddenAtOnce(self):
        nodes = self.addResults()
        combo, button = self.ui.filterSelector, self.ui.showListedButton
        combo.setCurrentIndex(combo.findText("all"))
        display, events = nodes.joints.GetDisplayNode(), []
        tag = display.AddObserver("ModifiedEvent", lambda *_unused: events.append(1))
        self.addCleanup(display.RemoveObserver, tag)
        for text, visible in (("Hide listed", False), ("Show listed", True)):
            self.assertEqual(button.text, text)
            events.clear()
            button.click()
            self.assertLessEqual(len(events), 1)
            for i, joint in enumerate(("L4-L5 disc", "L4-L5 facet left", HOT)):
                self.assertEqual(bool(display.GetSegmentVisibility(joint)), visible)
                checked = self.ui.jointTable.item(i, 0).checkState() == qt.Qt.Checked
                self.assertEqual(checked, visible)
        combo.setCurrentIndex(0)
        button.click()
        self.assertTrue(display.GetSegmentVisibility("L4-L5 disc"), "it is not listed")
        self.assertFalse(display.GetSegmentVisibility(HOT))
        combo.setCurrentIndex(combo.findText("not measurable"))
        self.assertFalse(button.enabled)
        self.assertEqual(tip(button), "No joint is listed.")

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

    def levelsOf(self, request, confirmed=True):
        from CTSpectSpineLib.labelling.levels.numbering import levels_in

        self.assertIs(request.options.confirm_levels, confirmed)
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
        self.assertEqual(self.levelsOf(caught[-1]), ("L4", "L5", "sacrum"))

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

    def test_resultsAreSavedAndOpened(self):
        self.addResults()
        self.assertFalse(self.ui.reportButton.enabled)
        self.assertIn("no report", tip(self.ui.reportButton))
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
            self.assertIn("no views", tip(self.ui.captureButton))

    def test_folderThatGoesIsSaidAtTheClick(self):
        self.addResults()
        (self.folder / "results" / "manifest.json").unlink()
        self.widget.ask = Answers(self.folder / "kept")
        for click in (self.widget.export.onReport, self.widget.export.onSave):
            with self.assertRaisesRegex(RuntimeError, "not there any more"):
                click()

    def test_analysisMayEndWhileAnotherModuleIsOpen(self):
        nodes = self.addResults()
        stored = self.widget.logic.getParameterNode()
        self.widget.showResults(None)
        stored.analysis = None
        self.widget.exit()
        self.widget.showNewResults()
        self.assertIs(stored.analysis, nodes.manifest)
        self.widget.decide("accepted")
        self.widget.enter()
        self.assertEqual(len(self.table()), 1)
        self.assertEqual(self.widget.record.decision, "accepted")

    def test_oneOfTwoAnalysesIsChosen(self):
        from CTSpectSpineLib.scene.populate import populate_scene

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
        self.assertIn("Negative scan", self.ui.verdictLabel.text)
        combo.setCurrentIndex(0)
        self.assertIn("Multiple areas", self.ui.verdictLabel.text)
        self.assertIs(self.widget.nodes.transform, first.transform)
        self.assertIs(self.widget.parameters.analysis, first.manifest)

    def test_deletedNodesDoNoHarm(self):
        nodes = self.addResults()
        for name in ("levels", "vertebrae", "chart", "joint_table", "relative", "transform"):
            slicer.mrmlScene.RemoveNode(getattr(nodes, name))
        self.widget.showResults(nodes.manifest)
        self.assertEqual(len(self.table()), 1)
        self.assertFalse(self.ui.adjustButton.enabled)
        self.assertIn("deleted", tip(self.ui.adjustButton))
        self.assertFalse(self.ui.shiftUpButton.enabled)
        self.ui.layoutButton.click()
        slicer.mrmlScene.RemoveNode(nodes.ct)
        self.widget.showResults(nodes.manifest)
        self.assertEqual(self.table(), [])
