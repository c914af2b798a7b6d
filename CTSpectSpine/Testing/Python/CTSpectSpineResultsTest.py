"""Results and export of the panel, clicked; inside Slicer and under pytest."""

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


class CTSpectSpineResultsTest(PanelTestCase):
    """Results and export, on results that are there."""

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
