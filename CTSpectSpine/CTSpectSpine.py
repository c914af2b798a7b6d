"""3D Slicer module: joint-by-joint bone SPECT/CT uptake of the spine.

Thin: everything that is computed comes from ``CTSpectSpineLib``, which is imported when it is
needed, because it uses packages that Slicer does not bring. The sections of the panel stand in
``CTSpectSpineWidgets``.
"""

# The self-test is written for unittest, which is what Slicer runs.
# ruff: noqa: PT009, PT027

import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Union

import slicer
import vtk
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLLinearTransformNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTextNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from CTSpectSpineWidgets import packages, sampledata
from CTSpectSpineWidgets.analysis import AnalysisSection
from CTSpectSpineWidgets.common import fillCombo
from CTSpectSpineWidgets.export import ExportSection, registerLayout, showLayout
from CTSpectSpineWidgets.levels import LevelsSection
from CTSpectSpineWidgets.patient import CHOICES, NOT_GIVEN, Ask, PatientSection
from CTSpectSpineWidgets.registration import RegistrationSection
from CTSpectSpineWidgets.results import ResultsSection

DEFAULT_PROTOCOL = "tender-2019"
_LIBRARY = Path(__file__).parent / "CTSpectSpineLib"
PROTOCOLS = sorted(
    (path.stem for path in (_LIBRARY / "triage_protocol" / "protocols").glob("*.json")),
    key=lambda name: (name != DEFAULT_PROTOCOL, name),
)
LABEL_SCHEMES = ["auto", "totalsegmentator", "totalsegmentator_v1", "totalsegmentator_v3", "verse"]
REFERENCE_BONES = ["vertebral_bodies", "sacrum", "iliac"]
WEBSITE = "https://github.com/ctspectspine/SlicerCTSpectSpine"


class CTSpectSpine(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CT SPECT Spine")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Nuclear Medicine")]
        self.parent.dependencies = []
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

    def onStartupCompleted(self):
        """Make terminologies, layout and sample data known to Slicer."""
        self.loadTerminologies()
        registerLayout()
        sampledata.register(self.resourcePath("Icons"))

    def loadTerminologies(self):
        """Make the coded names of vertebrae and joints known to Slicer."""
        logic = slicer.modules.terminologies.logic()
        for name in ("CTSpectSpine.term.json", "CTSpectSpine-Regions.term.json"):
            path = self.resourcePath(f"Terminologies/{name}")
            if not logic.LoadContextFromFile(path):
                logging.error(f"Terminology could not be loaded: {path}")


@parameterNodeWrapper
class CTSpectSpineParameterNode:
    """What the user chose, and which results are shown; saved with the scene.

    Attributes
    ----------
    ct, spect, vertebrae, initialTransform
        Input nodes; the vertebra labels and the transform are optional.
    protocol, protocolFile
        Id of the triage protocol; a protocol file that is used instead, or empty.
    labeller, labelScheme, fwhm, referenceBone, threads, saveVolumes
        Settings, as the command line has them; ``fwhm`` empty and ``threads`` 0 for the default.
    outputFolder
        Results folder, empty for a temporary one.
    painRegion … scanTime
        The patient's clinical context as texts.
    contextExtra
        JSON of the clinical context that the panel has no field for.
    opacity
        How strongly the SPECT covers the CT, in percent.
    analysis
        Manifest node of the results that are shown.
    """

    ct: vtkMRMLScalarVolumeNode
    spect: vtkMRMLScalarVolumeNode
    vertebrae: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    initialTransform: vtkMRMLLinearTransformNode
    protocol: Annotated[str, Choice(PROTOCOLS)] = DEFAULT_PROTOCOL
    protocolFile: str = ""
    labeller: str = "auto"
    labelScheme: Annotated[str, Choice(LABEL_SCHEMES)] = "auto"
    fwhm: str = ""
    referenceBone: Annotated[str, Choice(REFERENCE_BONES)] = "vertebral_bodies"
    threads: Annotated[int, WithinRange(0, 64)] = 0
    saveVolumes: bool = False
    outputFolder: str = ""
    painRegion: Annotated[str, Choice(CHOICES["painRegion"])] = NOT_GIVEN
    vasAxial: str = ""
    painDuration: str = ""
    nonsurgicalTreatment: str = ""
    physicalTherapy: str = ""
    daysSinceSteroid: str = ""
    radicularPain: Annotated[str, Choice(CHOICES["radicularPain"])] = NOT_GIVEN
    instability: str = ""
    surgeryDeclined: Annotated[str, Choice(CHOICES["surgeryDeclined"])] = NOT_GIVEN
    exclusions: str = ""
    spectIntolerance: Annotated[str, Choice(CHOICES["spectIntolerance"])] = NOT_GIVEN
    age: str = ""
    sex: Annotated[str, Choice(CHOICES["sex"])] = NOT_GIVEN
    bodyWeight: str = ""
    injectedDose: str = ""
    injectionTime: str = ""
    scanTime: str = ""
    contextExtra: str = ""
    opacity: Annotated[int, WithinRange(0, 100)] = 50
    analysis: vtkMRMLTextNode


class CTSpectSpineWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel: what its sections share.

    Attributes
    ----------
    parameters
        The scene's `CTSpectSpineParameterNode`; None while the module is not open.
    nodes, record
        Nodes and texts of the results that are shown; None where there are none.
    ask
        Asks the user for files.
    """

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.ask = Ask()
        self.parameters = self.nodes = self.record = None
        self._guiTag = None
        self._showing = False

    def setup(self):
        """Build the panel from its ``.ui`` file and connect it."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/CTSpectSpine.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = CTSpectSpineLogic()
        self.analysis = AnalysisSection(self)
        self.patient = PatientSection(self)
        self.registration = RegistrationSection(self)
        self.levels = LevelsSection(self)
        self.results = ResultsSection(self)
        self.export = ExportSection(self)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndClose)
        for path in (self.ui.protocolPath, self.ui.outputPath):
            path.connect("currentPathChanged(QString)", self.onSettingsChanged)
        self.ui.labellerSelector.connect("currentIndexChanged(int)", self.onSettingsChanged)
        self.initializeParameterNode()

    def cleanup(self):
        """Let go of the scene, of a running analysis and of temporary files."""
        self.analysis.cancel()
        self.setParameterNode(None)
        self.removeObservers()
        self.logic.discard()

    def enter(self):
        """Follow the parameter node when the module is opened."""
        self.initializeParameterNode()

    def exit(self):
        """Stop following the parameter node when another module is opened."""
        self.registration.stopAdjusting()
        self.setParameterNode(None)

    def onSceneStartClose(self, caller=None, event=None):
        """Forget what goes with the scene."""
        self.analysis.cancel()
        self.registration.stopAdjusting()
        self.setParameterNode(None)
        self.showResults(None)
        self.logic.discard()

    def onSceneEndClose(self, caller=None, event=None):
        """Start afresh in an empty scene, or with what a scene that was opened holds."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        """Take the scene's parameter node, and preselect the inputs that are not in doubt."""
        from CTSpectSpineLib.scene_guess import likely_inputs

        parameters = self.logic.getParameterNode()
        if not parameters.ct and not parameters.spect:
            ct, spect, vertebrae = likely_inputs(slicer.mrmlScene)
            if ct is not None and spect is not None:
                parameters.ct, parameters.spect = ct, spect
                parameters.vertebrae = parameters.vertebrae or vertebrae
        self.setParameterNode(parameters)

    def setParameterNode(self, parameters):
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
            self.addObserver(self.parameters, modified, self.onParametersChanged)
            self.showResults(self.parameters.analysis)

    def _showSettings(self):
        """Show those parameters that Slicer cannot connect to their widgets by itself."""
        self._showing = True
        self.ui.protocolPath.currentPath = self.parameters.protocolFile
        self.ui.outputPath.currentPath = self.parameters.outputFolder
        labellers = self.logic.labellers()
        fillCombo(self.ui.labellerSelector, labellers, self.parameters.labeller)
        self._showing = False

    def onSettingsChanged(self, *_unused):
        """Store those parameters that Slicer cannot connect to their widgets by itself."""
        if self.parameters and not self._showing:
            self.parameters.protocolFile = self.ui.protocolPath.currentPath
            self.parameters.outputFolder = self.ui.outputPath.currentPath
            self.parameters.labeller = self.ui.labellerSelector.currentText

    def onParametersChanged(self, caller=None, event=None):
        """Something was selected or typed."""
        if self.parameters is None:
            return
        if self.ui.outputPath.currentPath != self.parameters.outputFolder:
            self._showSettings()
        self.update()

    def update(self):
        """Enable what can be used."""
        if self.parameters is None:
            return
        self.patient.update()
        self.analysis.update()
        self.registration.update()
        self.levels.update()
        self.export.update()

    def missingInput(self):
        """What is missing for an analysis; empty if nothing is."""
        values = self.parameters
        missing = [text for text, node in (("CT", values.ct), ("SPECT", values.spect)) if not node]
        if missing:
            return _("Select a {names}.").format(names=" and a ".join(missing))
        if values.ct is values.spect:
            return _("CT and SPECT are the same volume: select two.")
        if not values.vertebrae and not self.logic.canLabel():
            return packages.totalSegmentatorHint() or _("Select vertebra labels.")
        return ""

    def startAnalysis(self):
        """Analyse what is selected, with packages installed if the user agrees."""
        self.logic.ensurePackages(self.resourcePath("requirements.txt"))
        values = self.parameters
        self.analysis.start(self.request(values.vertebrae, values.initialTransform))

    def measureAgain(
        self, vertebrae=None, initial=None, transform=None, settings=(), whenDone=None
    ):
        """Analyse the shown images again; the new results replace the old ones.

        Without ``initial`` and ``transform`` the registration is kept. Without ``vertebrae`` the
        same labels are used.
        """
        self.logic.ensurePackages(self.resourcePath("requirements.txt"))
        manifest, record = self.nodes.manifest, self.record
        keep = manifest if initial is None and transform is None else None
        changed = dict(settings)
        if record.levels_confirmed:
            changed["confirm-levels"] = True
        accepted = (record.manifest.get("parameters") or {}).get("accept_registration")
        if accepted and keep is not None:
            changed["accept-registration"] = True
        labels = self.logic.labels(self.nodes) if vertebrae is None else vertebrae
        request = self.request(labels, initial, transform, keep, manifest, changed)
        self.analysis.start(request, whenDone)

    def request(
        self, vertebrae, initial=None, transform=None, keep=None, replaces=None, changed=()
    ):
        """A request with the panel's settings, for the selected images or for those shown."""
        from CTSpectSpineLib.scene_run import Request

        values = self.parameters
        settings = {
            "label-scheme": values.labelScheme,
            "fwhm": values.fwhm.strip(),
            "reference": values.referenceBone,
            "save-volumes": values.saveVolumes,
        }
        if values.threads:
            settings["threads"] = values.threads
        if not isinstance(vertebrae, vtk.vtkObject):
            del settings["label-scheme"]
        settings.update(changed)
        again = replaces is not None
        return Request(
            ct=self.nodes.ct if again else values.ct,
            spect=self.nodes.spect if again else values.spect,
            vertebrae=vertebrae,
            protocol=values.protocolFile or values.protocol,
            labeller=values.labeller,
            context=self.patient.context(),
            out=Path(values.outputFolder) if values.outputFolder else None,
            initial=initial,
            transform=transform,
            keep=keep,
            replaces=replaces,
            settings=settings,
        )

    def decide(self, decision, adjusted=False):
        """Record what the user decided on the registration, in the scene and in the folder."""
        self.logic.decide(self.nodes, decision, adjusted)
        self.showResults(self.nodes.manifest)

    def showNewResults(self):
        """Show the results that the logic has just put into the scene."""
        self.parameters.analysis = self.logic.nodes.manifest
        self.showResults(self.logic.nodes.manifest)
        self.ui.resultsCollapsibleButton.collapsed = False
        showLayout()
        self.showInViews()

    def showInViews(self):
        """Show CT, SPECT, plot and table of the results in the views."""
        from CTSpectSpineLib.scene import show

        if self.nodes is not None:
            show(slicer.mrmlScene, self.nodes)
            self.results.onRow(0)

    def showResults(self, manifest):
        """Show the results of an analysis by its manifest node; None to show none."""
        self.nodes = self.record = None
        if manifest:
            from CTSpectSpineLib.scene_nodes import scene_nodes

            nodes = scene_nodes(manifest)
            record = nodes.record()
            if record is not None and nodes.ct is not None and nodes.spect is not None:
                self.nodes, self.record = nodes, record
        for section in (self.registration, self.levels, self.results):
            section.show()
        self.update()

    def resultsFolder(self):
        """Folder of the shown results; None where it is not there any more."""
        from CTSpectSpineLib.scene_nodes import results_folder

        return results_folder(self.nodes.manifest) if self.nodes is not None else None

    def placePoint(self, node):
        """Let the user place one point in a view."""
        selection = slicer.app.applicationLogic().GetSelectionNode()
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        if selection is None or interaction is None:
            return
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SetPlaceModePersistence(0)
        interaction.SetCurrentInteractionMode(interaction.Place)

    def stopPlacing(self):
        """Leave the mode in which points are placed."""
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        if interaction is not None:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)


class CTSpectSpineLogic(ScriptedLoadableModuleLogic):
    """Analyses of volume nodes, with or without the panel.

    Attributes
    ----------
    results
        What the last analysis of this process found (`CTSpectSpineLib.pipeline.Results`), or None.
    nodes
        The nodes that the last results were put into (`CTSpectSpineLib.scene_nodes.SceneNodes`),
        or None.
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.results = None
        self.nodes = None
        self._workplace = None

    def getParameterNode(self):
        """The scene's parameter node of this module."""
        return CTSpectSpineParameterNode(super().getParameterNode())

    def protocols(self):
        """Ids of the triage protocols that ship with the module, the default first."""
        return list(PROTOCOLS)

    def labellers(self):
        """Names of the labellers that can run here, ``auto`` first."""
        try:
            from CTSpectSpineLib.labelling import available_engines
        except ImportError:
            # They need packages that come with the first analysis.
            return ["auto"]
        return ["auto", *available_engines()]

    def canLabel(self):
        """Whether a labeller can run here, as far as can be known before the first analysis."""
        try:
            from CTSpectSpineLib.labelling import available_engines
        except ImportError:
            return True
        return bool(available_engines())

    def ensurePackages(self, requirementsFile):
        """Install what the analysis needs and Slicer does not bring, after asking the user.

        Raises
        ------
        RuntimeError
            If the user declines.
        """
        packages.ensure(requirementsFile)

    def workplace(self):
        """Temporary files of this logic."""
        from CTSpectSpineLib.scene_run import Workplace

        if self._workplace is None:
            python = shutil.which("PythonSlicer") or sys.executable
            self._workplace = Workplace(Path(slicer.app.temporaryPath), python)
        return self._workplace

    def discard(self):
        """Delete temporary files, also results that were not saved."""
        if self._workplace is not None:
            self._workplace.discard()
            self._workplace = None

    def startRun(self, request):
        """Start an analysis in a child process.

        Returns
        -------
        CTSpectSpineLib.scene_run.Run
            Call its ``poll`` now and then, and `finishRun` once it does not run any more.
        """
        from CTSpectSpineLib.scene_run import Run

        return Run(request, self.workplace())

    def finishRun(self, run):
        """Put the results of a run into the scene; return their folder."""
        self.nodes, folder = run.finish(slicer.mrmlScene)
        return folder

    def labels(self, nodes):
        """Vertebra label map of an analysis, from its folder or from the scene."""
        from CTSpectSpineLib.scene_inputs import labels_of

        return labels_of(nodes)

    def decide(self, nodes, decision, adjusted=False):
        """Record what the user decided on the registration of an analysis."""
        from CTSpectSpineLib.scene_nodes import record_decision

        record_decision(nodes, decision, adjusted=adjusted)

    def process(
        self,
        ctNode,
        spectNode,
        vertebraeNode=None,
        protocol=DEFAULT_PROTOCOL,
        context=None,
        outputFolder=None,
        progress=None,
        **settings,
    ):
        """Analyse a CT and a bone SPECT, and put the results into the scene.

        Parameters
        ----------
        ctNode, spectNode
            Scalar volume nodes; linear parent transforms are taken into account.
        vertebraeNode
            Segmentation or label map node with the vertebrae of the CT; None to label them.
        protocol
            Id or file of the triage protocol.
        context
            Clinical context: a dictionary, or the path of a JSON file.
        outputFolder
            Results folder; None for a folder in Slicer's temporary folder.
        progress
            Called with each `CTSpectSpineLib.progress.Progress`.
        settings
            Further settings of `CTSpectSpineLib.pipeline.Options`, such as ``threads=2``.

        Returns
        -------
        CTSpectSpineLib.pipeline.Results
            The same as ``ctspectspine analyze`` finds; also kept in ``logic.results``.

        Raises
        ------
        CTSpectSpineLib.errors.InputError
            If an input cannot be used.
        """
        from CTSpectSpineLib.errors import InputError
        from CTSpectSpineLib.mrml import image_from_node, labels_from_segmentation

        for node, role in ((ctNode, "CT"), (spectNode, "SPECT")):
            if node is None or not node.IsA("vtkMRMLScalarVolumeNode"):
                raise InputError(f"no {role} was given: select a scalar volume.")
        vertebrae = None
        if vertebraeNode is not None:
            isSegmentation = vertebraeNode.IsA("vtkMRMLSegmentationNode")
            vertebrae = (
                labels_from_segmentation(vertebraeNode, ctNode)
                if isSegmentation
                else image_from_node(vertebraeNode)
            )
        images = image_from_node(ctNode), image_from_node(spectNode)
        self._analyze(*images, vertebrae, protocol, context, outputFolder, progress, settings)
        return self._populate(ctNode, spectNode)

    def processFolder(
        self,
        ct,
        spect,
        vertebrae=None,
        protocol=DEFAULT_PROTOCOL,
        context=None,
        outputFolder=None,
        progress=None,
        **settings,
    ):
        """Analyse files or DICOM folders, and put images and results into the scene.

        As `process`, with paths instead of nodes.
        """
        from CTSpectSpineLib.job import as_volume

        images = as_volume(ct, "ct"), as_volume(spect, "spect")
        self._analyze(*images, vertebrae, protocol, context, outputFolder, progress, settings)
        return self._populate(*(volume.image for volume in images))

    def _analyze(self, ct, spect, vertebrae, protocol, context, outputFolder, progress, settings):
        from CTSpectSpineLib import analyze
        from CTSpectSpineLib.triage_protocol.context import read_context

        if isinstance(context, (str, os.PathLike)):
            context = read_context(Path(context))
        if outputFolder is None:
            outputFolder = tempfile.mkdtemp(prefix="CTSpectSpine-", dir=slicer.app.temporaryPath)
        self.results = analyze(
            ct,
            spect,
            vertebrae=vertebrae,
            protocol=protocol,
            context=context,
            progress=progress,
            out=Path(outputFolder),
            **settings,
        )

    def _populate(self, ct, spect):
        from CTSpectSpineLib.scene import populate_scene

        folder = self.results.folder
        self.nodes = populate_scene(slicer.mrmlScene, ct=ct, spect=spect, folder=folder)
        self.getParameterNode().analysis = self.nodes.manifest
        return self.results


class CTSpectSpineTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer, with ``Reload and Test`` or CTest."""

    def setUp(self):
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Run all tests."""
        self.setUp()
        self.test_analysisOfPhantom()
        self.setUp()
        self.test_badInputs()

    def test_analysisOfPhantom(self):
        """A phantom with one hot joint: found in the table, coloured in the scene."""
        from CTSpectSpineLib.mrml import image_from_node

        ct, spect, vertebrae = sampledata.addPhantom("lumbar-disc", sampledata.SMALL)
        before = image_from_node(spect)
        logic = CTSpectSpineLogic()
        results = logic.process(ct, spect, vertebrae, threads=2)
        table = results.table.set_index("joint")
        self.assertEqual(list(table.index[table["uptake"] == "positive"]), [PHANTOM_HOT_JOINT])
        self.assertEqual(results.verdict.disposition, "lumbar_disc")
        self.assertNotEqual(results.registration.quality, "failed")

        nodes = logic.nodes
        self.assertIs(nodes.ct, ct)
        self.assertIs(spect.GetParentTransformNode(), nodes.transform)
        segment = nodes.joints.GetSegmentation().GetSegment(PHANTOM_HOT_JOINT)
        tag = vtk.reference("")
        self.assertTrue(segment.GetTag("CTSpectSpine.uptake", tag))
        self.assertEqual(str(tag), "positive")
        self.assertEqual(nodes.joint_table.GetNumberOfRows(), len(results.table))
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        for composite in composites:
            self.assertEqual(composite.GetForegroundVolumeID(), nodes.relative.GetID())

        # A second analysis of the same nodes would start from the scanner's position again.
        self.assertEqual(image_from_node(spect).GetOrigin(), before.GetOrigin())
        self.assertEqual(image_from_node(spect).GetDirection(), before.GetDirection())

    def test_badInputs(self):
        """Errors are sentences that name the input."""
        from CTSpectSpineLib.errors import InputError

        logic = CTSpectSpineLogic()
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty one")
        with self.assertRaisesRegex(InputError, "no SPECT was given"):
            logic.process(volume, None)
        with self.assertRaisesRegex(InputError, "'empty one' holds no voxels"):
            logic.process(volume, volume)


PHANTOM_HOT_JOINT = "L4-L5 disc"
