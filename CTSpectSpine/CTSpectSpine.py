"""3D Slicer module: joint-by-joint bone SPECT/CT uptake of the spine.

Thin: everything that is computed comes from ``CTSpectSpineLib``, which is imported when it is
needed, because it uses packages that Slicer does not ship. The sections of the panel are in
``CTSpectSpineWidgets``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from CTSpectSpineWidgets import (
    dicomplugin,
    packages,
    requests,
    sampledata,
    segmentstatistics,
)
from CTSpectSpineWidgets.analysis import AnalysisSection
from CTSpectSpineWidgets.batch import BatchSection
from CTSpectSpineWidgets.common import MISSING_IMAGES, fillCombo, followPath, sayChoices
from CTSpectSpineWidgets.edited import EditedSection
from CTSpectSpineWidgets.export import ExportSection
from CTSpectSpineWidgets.findings import FindingsSection
from CTSpectSpineWidgets.levels import LevelsSection
from CTSpectSpineWidgets.logic import CTSpectSpineLogic
from CTSpectSpineWidgets.patient import Ask, PatientSection
from CTSpectSpineWidgets.plot import PlotSection
from CTSpectSpineWidgets.reading import ReadingSection
from CTSpectSpineWidgets.registration import RegistrationSection
from CTSpectSpineWidgets.results import ResultsSection
from CTSpectSpineWidgets.scenewatch import SceneWatch
from CTSpectSpineWidgets.selftest import CTSpectSpineTest
from CTSpectSpineWidgets.study import StudySection
from CTSpectSpineWidgets.tour import TourSection
from CTSpectSpineWidgets.views import Views, registerLayout

if TYPE_CHECKING:
    from CTSpectSpineLib.results.shown import Record
    from CTSpectSpineLib.scene.mrml import Node
    from CTSpectSpineLib.scene.nodes import SceneNodes
    from CTSpectSpineWidgets.common import QtObject
    from CTSpectSpineWidgets.parameters import CTSpectSpineParameterNode

__all__ = ["CTSpectSpine", "CTSpectSpineLogic", "CTSpectSpineTest", "CTSpectSpineWidget"]

WEBSITE = "https://github.com/SlicerCTSpectSpine/SlicerCTSpectSpine/blob/main/docs/slicer.md"


class CTSpectSpine(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent: QtObject) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CT SPECT Spine")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Nuclear Medicine")]
        self.parent.dependencies = ["Terminologies"]
        self.parent.contributors = ["CTSpectSpine contributors"]
        self.parent.helpText = _(
            "<p>Registers a bone SPECT to a CT of the spine, measures the uptake of every disc and "
            "facet joint against the patient's own bone, and applies a published triage protocol "
            "to the result.</p>"
            "<p>Select CT and SPECT and press <i>Analyse</i>; then check the registration and the "
            "levels before you read the results. Three phantoms to try it on are offered by the "
            "module <i>Sample Data</i>.</p>"
            '<p>See the <a href="{website}">documentation</a>.</p>'
            "<p><b>For research use only. Not for diagnosis or treatment decisions.</b></p>"
        ).format(website=WEBSITE)
        self.parent.acknowledgementText = _(
            "The default protocol follows Tender et al., "
            '<a href="https://doi.org/10.3171/2019.9.FOCUS19608">Neurosurg Focus 47(6):E18, '
            "2019</a>. Vertebra labels may come from "
            '<a href="https://doi.org/10.1148/ryai.230024">TotalSegmentator</a> (Wasserthal et '
            "al., Radiol Artif Intell 2023)."
        )
        slicer.app.connect("startupCompleted()", self.onStartupCompleted)

    def onStartupCompleted(self) -> None:
        """Make terminologies, layout and sample data known to Slicer; each without the others."""
        icons = self.resourcePath("Icons")
        for what, make in (
            ("terminologies", self.loadTerminologies),
            ("layout", registerLayout),
            ("sample data", lambda: sampledata.register(icons)),
            ("DICOM plugin", dicomplugin.register),
            ("segment statistics", segmentstatistics.register),
        ):
            try:
                make()
            except Exception:
                logging.exception(f"CT SPECT Spine: its {what} could not be registered")

    def loadTerminologies(self) -> None:
        """Make the coded names of vertebrae and joints known to Slicer."""
        logic = slicer.modules.terminologies.logic()
        for name in ("CTSpectSpine.term.json", "CTSpectSpine-Regions.term.json"):
            path = self.resourcePath(f"Terminologies/{name}")
            if not logic.LoadContextFromFile(path):
                logging.error(f"Terminology could not be loaded: {path}")


class CTSpectSpineWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel: what its sections share.

    Attributes
    ----------
    parameters
        The scene's `CTSpectSpineParameterNode` while the panel follows it; None while another
        module is open.
    nodes, record
        Nodes and texts of the results that are shown; None where there are none.
    named
        Manifest node of the results that are to be shown, even where the scene lacks some of them.
    unseen
        Whether the views do not show these results yet.
    entered
        Whether the module is open: views and layout are the user's own while it is not.
    ask
        Asks the user for files.
    """

    def __init__(self, parent: QtObject = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.ask = Ask()
        self.parameters: CTSpectSpineParameterNode | None = None
        self.nodes: SceneNodes | None = None
        self.record: Record | None = None
        self.entered = False
        self.named: Node | None = None
        self.unseen = False
        self._guiTag: int | None = None
        self._showing = False

    def setup(self) -> None:
        """Build the panel from its ``.ui`` file and connect it."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/CTSpectSpine.ui"))
        self.layout.addWidget(panel)
        self.ui: QtObject = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = CTSpectSpineLogic()
        self.analysis = AnalysisSection(self)
        self.patient = PatientSection(self)
        self.registration = RegistrationSection(self)
        self.levels = LevelsSection(self)
        self.results = ResultsSection(self)
        self.findings = FindingsSection(self)
        self.plot = PlotSection(self)
        self.export = ExportSection(self)
        self.reading = ReadingSection(self)
        self.batch = BatchSection(self)
        self.edited = EditedSection(self)
        self.study = StudySection(self)
        self.tour = TourSection(self)
        self.views = Views(self)
        self.scene = SceneWatch(self)
        for path in (self.ui.protocolPath, self.ui.outputPath):
            followPath(path, self.onSettingsChanged)
        self.ui.labellerSelector.connect("currentIndexChanged(int)", self.onSettingsChanged)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Let go of the scene, of a running analysis and of temporary files."""
        self.analysis.cancel()
        self.batch.stop()
        self.scene.follow(None)
        self.setParameterNode(None)
        self.removeObservers()
        self.logic.discard()

    def enter(self) -> None:
        """Follow the parameter node when the module is opened; show what ended meanwhile."""
        self.entered = True
        self.initializeParameterNode()
        if self.unseen:
            self.views.showFirstView()

    def exit(self) -> None:
        """Stop following the parameter node when another module is opened."""
        self.entered = False
        self.registration.stopAdjusting()
        self.levels.stopPicking()
        self.reading.stop()
        self.setParameterNode(None)

    def onReload(self) -> None:
        """Reload this file with the sections of the panel and the library (developer mode)."""
        self.analysis.cancel()
        self.batch.stop()
        self.exit()
        own = ("CTSpectSpineLib", "CTSpectSpineWidgets")
        for name in [name for name in sys.modules if name.partition(".")[0] in own]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def initializeParameterNode(self) -> None:
        """Take the scene's parameter node, with what is not in doubt chosen."""
        parameters = self.logic.getParameterNode()
        self.scene.choose(parameters)
        self.setParameterNode(parameters)

    def setParameterNode(self, parameters: CTSpectSpineParameterNode | None) -> None:
        """Show and follow a parameter node; None to follow none."""
        modified = vtk.vtkCommand.ModifiedEvent
        if self.parameters:
            self.parameters.disconnectGui(self._guiTag)
            self._guiTag = None
            self.removeObserver(self.parameters, modified, self.onParametersChanged)
        self.parameters = parameters
        if self.parameters:
            self._showSettings()
            self._guiTag = self.parameters.connectGui(self.ui)
            sayChoices(self.ui)
            self.addObserver(self.parameters, modified, self.onParametersChanged)
            self.showResults(self.parameters.analysis)
            self.update()

    def _showSettings(self) -> None:
        """Show those parameters that Slicer cannot connect to their widgets."""
        self._showing = True
        values = self.chosen()
        self.ui.protocolPath.currentPath = values.protocolFile
        self.ui.outputPath.currentPath = values.outputFolder
        labellers = self.logic.labellers()
        fillCombo(self.ui.labellerSelector, labellers, values.labeller)
        self._showing = False

    def onSettingsChanged(self, *_unused: object) -> None:
        """Store those parameters that Slicer cannot connect to their widgets."""
        if self.parameters and not self._showing:
            self._showing = True
            self.parameters.protocolFile = self.ui.protocolPath.currentPath
            self.parameters.outputFolder = self.ui.outputPath.currentPath
            self.parameters.labeller = self.ui.labellerSelector.currentText
            self._showing = False

    def onParametersChanged(self, caller: Node = None, event: object = None) -> None:
        """Something was selected or typed."""
        if self.parameters is None:
            return
        if not self._showing:
            self._showSettings()
        if self.parameters.analysis is not self.named:
            self.showResults(self.parameters.analysis)
        self.update()

    def update(self) -> None:
        """Enable what can be used."""
        if self.parameters is None:
            return
        self.patient.update()
        self.analysis.update()
        self.registration.update()
        self.levels.update()
        self.export.update()
        self.reading.update()
        self.batch.update()
        self.study.update()
        self.edited.update()
        self.tour.update()

    def chosen(self) -> CTSpectSpineParameterNode:
        """What the user chose, also while another module is open."""
        return self.parameters or self.logic.getParameterNode()

    def shown(self) -> tuple[SceneNodes, Record]:
        """Nodes and texts of the shown results; raises `RuntimeError` where there are none."""
        if self.nodes is None or self.record is None:
            raise RuntimeError(_("No results are shown: run an analysis first."))
        return self.nodes, self.record

    def missingInput(self) -> str:
        """What is missing for an analysis; empty if nothing is."""
        values = self.chosen()
        missing = MISSING_IMAGES.get((bool(values.ct), bool(values.spect)))
        if missing:
            return missing
        if values.ct is values.spect:
            return _("CT and SPECT are the same volume: select two different ones.")
        if not values.vertebrae and not self.logic.canLabel():
            return packages.totalSegmentatorHint() or _("Select vertebra labels.")
        return ""

    def nothingShown(self) -> str:
        """Why no results are shown."""
        if self.named is None:
            return _("No analysis yet.")
        return _("The CT, the SPECT or a file of these results has been deleted from the scene.")

    def changedImages(self) -> str:
        """Why the shown results cannot be measured again on these images; empty if they can."""
        from CTSpectSpineLib.scene.position import changed

        if self.nodes is None or self.record is None:
            return ""
        return changed(self.nodes, self.record)

    def measureAgain(
        self, whenDone: Callable[[Path], object] | None = None, **changes: Any
    ) -> None:
        """Analyse the shown images again, changed as `requests.nextRequest` says."""
        packages.ensure(packages.REQUIREMENTS)
        self.onSettingsChanged()
        self.analysis.start(requests.nextRequest(self, **changes), whenDone)

    def decide(self, decision: str, adjusted: bool = False) -> None:
        """Record what the user decided on the registration, in the scene and in the folder."""
        nodes, _record = self.shown()
        self.logic.decide(nodes, decision, adjusted, self.reading.reader())
        self.showResults(nodes.manifest)
        self.reading.note("registration", decision)

    def showNewResults(self) -> None:
        """Show the results that the logic has just put into the scene."""
        for _step in self.newResultsSteps():
            pass

    def newResultsSteps(self) -> Iterator[None]:
        """`showNewResults` in short steps, between which the window can answer."""
        nodes = self.logic.nodes
        if nodes is None:
            return
        # An analysis may end while another module is open.
        self.chosen().analysis = nodes.manifest
        if self.named is not nodes.manifest:
            self.showResults(nodes.manifest)
        self.ui.resultsCollapsibleButton.collapsed = False
        self.unseen = True
        yield
        if self.entered:
            yield from self.views.firstViewSteps()

    def showResults(self, manifest: Node | None) -> None:
        """Show the results of an analysis by its manifest node; None to show none."""
        self.nodes = self.record = None
        self.named = manifest
        if manifest:
            from CTSpectSpineLib.scene.nodes import scene_nodes

            nodes = scene_nodes(manifest)
            record = nodes.record()
            if record is not None and nodes.ct is not None and nodes.spect is not None:
                self.nodes, self.record = nodes, record
        self.scene.follow(self.nodes)
        for section in (
            self.registration,
            self.levels,
            self.results,
            self.findings,
            self.plot,
            self.edited,
            self.reading,
        ):
            section.show()
        self.update()

    def goToJoint(self, name: str) -> None:
        """Let all views go to a joint of the shown results, and its row be the current one."""
        self.results.goTo(name)
        self.plot.mark(name)
        self.reading.at(name)
        self.tour.update()

    def resultsFolder(self) -> Path | None:
        """Folder of the shown results; None where it is not there any more."""
        from CTSpectSpineLib.scene.nodes import results_folder

        return results_folder(self.nodes.manifest) if self.nodes is not None else None
