"""A panel in an empty scene, for tests that run inside Slicer and on the test host."""

# It is written for unittest, which is what Slicer runs.
# ruff: noqa: PT009

import html
import re
import tempfile
import time
import unittest
from pathlib import Path

import slicer
import slicer.util


class Answers:
    """Answers the panel's questions for files."""

    def __init__(self, path="", yes=True):
        self.path, self.yes, self.questions, self.asked = str(path), yes, [], False

    def confirm(self, question):
        self.questions.append(question)
        return self.yes

    def openFile(self, title, nameFilter):
        self.asked = True
        return self.path

    def saveFile(self, title, nameFilter, name):
        return self.path

    def folder(self, title):
        self.asked = True
        return self.path

    def show(self, path):
        self.path = str(path)


def plain(text):
    """What a reader sees of a text: Slicer's application wraps tooltips in paragraphs."""
    return html.unescape(re.sub(r"<[^>]*>", "", text))


def tip(widget):
    """Tooltip of a widget as a reader sees it."""
    return plain(widget.toolTip)


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

    def wait(self, condition, seconds=1800.0):
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

        from CTSpectSpineLib.scene.populate import populate_scene

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
        columns = range(1, table.columnCount)
        return [[table.item(i, j).text() for j in columns] for i in range(table.rowCount)]


def contents(widget):
    """What a panel shows and its scene keeps, as plain values."""
    from CTSpectSpineWidgets.patient import PARAMETERS

    ui, nodes = widget.ui, widget.nodes
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    table = nodes.joint_table
    names = [*PARAMETERS, "ct", "spect", "protocol", "threads", "outputFolder", "analysis"]
    values = {name: getattr(widget.parameters, name) for name in names}
    segmentations = {"joints": nodes.joints, "vertebrae": nodes.vertebrae}
    return {
        "layout": layout.GetViewArrangement(),
        "summary": ui.summaryLabel.text,
        "verdict": ui.verdictLabel.text,
        "reasons": ui.reasonsLabel.text,
        "registration": ui.registrationLabel.text,
        "levels": ui.levelsLabel.text,
        "rows": [
            [ui.jointTable.item(i, j).text() for j in range(1, ui.jointTable.columnCount)]
            for i in range(ui.jointTable.rowCount)
        ],
        "table": [
            [table.GetCellText(i, j) for j in range(table.GetNumberOfColumns())]
            for i in range(table.GetNumberOfRows())
        ],
        "parameters": {
            name: value.GetName() if hasattr(value, "GetName") else value
            for name, value in values.items()
        },
        "segments": {
            name: {
                node.GetSegmentation().GetNthSegmentID(i): list(
                    node.GetSegmentation().GetNthSegment(i).GetColor()
                )
                for i in range(node.GetSegmentation().GetNumberOfSegments())
            }
            for name, node in segmentations.items()
        },
        "texts": {name: node.GetText() for name, node in nodes.texts().items()},
    }
