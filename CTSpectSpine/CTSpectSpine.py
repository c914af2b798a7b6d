"""3D Slicer module: joint-by-joint bone SPECT/CT uptake of the spine.

Thin: everything that is computed comes from ``CTSpectSpineLib``, which is imported when it is
needed, because it uses packages that Slicer does not bring.
"""

# The self-test is written for unittest, which is what Slicer runs.
# ruff: noqa: PT009, PT027

import csv
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Union

import qt
import slicer
import vtk
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

DEFAULT_PROTOCOL = "tender-2019"


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
            "<p><b>For research use only. Not for diagnosis or treatment decisions.</b></p>"
        )
        self.parent.acknowledgementText = _(
            "The default protocol follows Tender et al., Neurosurg Focus 47(6):E18, 2019. "
            "Vertebra labels may come from TotalSegmentator (Wasserthal et al., "
            "Radiol Artif Intell 2023)."
        )
        slicer.app.connect("startupCompleted()", self.loadTerminologies)

    def loadTerminologies(self):
        """Make the coded names of vertebrae and joints known to Slicer."""
        logic = slicer.modules.terminologies.logic()
        for name in ("CTSpectSpine.term.json", "CTSpectSpine-Regions.term.json"):
            path = self.resourcePath(f"Terminologies/{name}")
            if not logic.LoadContextFromFile(path):
                logging.error(f"Terminology could not be loaded: {path}")


@parameterNodeWrapper
class CTSpectSpineParameterNode:
    """What the user chose, and where the results are; saved with the scene.

    Attributes
    ----------
    ct, spect, vertebrae
        Input nodes; the vertebra labels are optional.
    protocol
        Id of the triage protocol.
    contextFile, outputFolder
        Paths, empty when not given.
    resultsFolder
        Folder of the results that are shown.
    """

    ct: vtkMRMLScalarVolumeNode
    spect: vtkMRMLScalarVolumeNode
    vertebrae: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    protocol: str = DEFAULT_PROTOCOL
    contextFile: str = ""
    outputFolder: str = ""
    resultsFolder: str = ""


class CTSpectSpineWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._running = False
        self._showing = False

    def setup(self):
        """Build the panel from its ``.ui`` file and connect it."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/CTSpectSpine.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = CTSpectSpineLogic()

        for protocol in self.logic.protocols():
            self.ui.protocolSelector.addItem(protocol)
        self.ui.progressBar.visible = False
        header = self.ui.jointTable.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.reportButton.connect("clicked(bool)", self.onReportButton)
        self.ui.protocolSelector.connect("currentIndexChanged(int)", self.onSettingsChanged)
        self.ui.contextPath.connect("currentPathChanged(QString)", self.onSettingsChanged)
        self.ui.outputPath.connect("currentPathChanged(QString)", self.onSettingsChanged)
        self.initializeParameterNode()

    def cleanup(self):
        """Let go of the scene when the module is unloaded."""
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        """Follow the parameter node when the module is opened."""
        self.initializeParameterNode()

    def exit(self):
        """Stop following the parameter node when another module is opened."""
        self.setParameterNode(None)

    def onSceneStartClose(self, caller=None, event=None):
        """Forget the parameter node, which goes with the scene."""
        self.setParameterNode(None)
        self.showResults("")

    def onSceneEndClose(self, caller=None, event=None):
        """Start afresh in the empty scene."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        """Take the scene's parameter node, and preselect the inputs that are not in doubt."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        """Show and follow a parameter node; None to follow none."""
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None
            self.removeObserver(
                self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged
            )
        self._parameterNode = parameterNode
        if self._parameterNode:
            self._showSettings()
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(
                self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged
            )
            self.onParametersChanged()
            self.showResults(self._parameterNode.resultsFolder)

    def _showSettings(self):
        """Show those parameters that Slicer cannot connect to their widgets by itself."""
        values = self._parameterNode
        self._showing = True
        self.ui.protocolSelector.setCurrentText(values.protocol)
        self.ui.contextPath.currentPath = values.contextFile
        self.ui.outputPath.currentPath = values.outputFolder
        self._showing = False

    def onSettingsChanged(self, *_unused):
        """Store those parameters that Slicer cannot connect to their widgets by itself."""
        if self._parameterNode and not self._showing:
            self._parameterNode.protocol = self.ui.protocolSelector.currentText
            self._parameterNode.contextFile = self.ui.contextPath.currentPath
            self._parameterNode.outputFolder = self.ui.outputPath.currentPath

    def onParametersChanged(self, caller=None, event=None):
        """Enable the button when it can be used; else its tooltip says what is missing."""
        if self._parameterNode is None:
            return
        values = self._parameterNode
        missing = [text for text, node in (("CT", values.ct), ("SPECT", values.spect)) if not node]
        if missing:
            tip = _("Select a {names}.").format(names=" and a ".join(missing))
        elif values.ct is values.spect:
            missing, tip = ["SPECT"], _("CT and SPECT are the same volume: select two.")
        else:
            tip = _("Register, measure every joint and apply the protocol.")
        self.ui.applyButton.enabled = not missing and not self._running
        self.ui.applyButton.toolTip = tip

    def onApplyButton(self):
        """Analyse the selected volumes and show the results."""
        values = self._parameterNode
        self._running = True
        self.ui.applyButton.enabled = False
        self.ui.progressBar.visible = True
        try:
            with slicer.util.tryWithErrorDisplay(_("The analysis stopped."), waitCursor=True):
                self.logic.ensurePackages(self.resourcePath("requirements.txt"))
                results = self.logic.process(
                    values.ct,
                    values.spect,
                    values.vertebrae,
                    protocol=values.protocol,
                    context=values.contextFile or None,
                    outputFolder=values.outputFolder or None,
                    progress=self.onProgress,
                )
                values.resultsFolder = str(results.folder)
                self.ui.statusLabel.text = _("Results: {folder}").format(folder=results.folder)
                self.showResults(values.resultsFolder)
        except Exception as error:
            self.ui.statusLabel.text = str(error)
            raise
        finally:
            self._running = False
            self.ui.progressBar.visible = False
            self.onParametersChanged()

    def onProgress(self, progress):
        """Show how far the analysis is."""
        self.ui.progressBar.value = round(100 * progress.fraction)
        self.ui.statusLabel.text = progress.message
        slicer.app.processEvents()

    def onReportButton(self):
        """Open the report in the browser."""
        report = Path(self._parameterNode.resultsFolder) / "report.html"
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(report)))

    def showResults(self, folder):
        """Show the results of a folder; nothing where there is none."""
        shown = readResults(folder) if folder else None
        self.ui.registrationLabel.text = (
            registrationText(shown["registration"]) if shown else _("No analysis yet.")
        )
        self.ui.verdictLabel.text = verdictText(shown["verdict"]) if shown else ""
        self._fillTable(shown["joints"] if shown else [])
        hasReport = bool(folder) and (Path(folder) / "report.html").is_file()
        self.ui.reportButton.enabled = hasReport
        self.ui.reportButton.toolTip = (
            _("Open the report in the browser.") if hasReport else _("Run an analysis first.")
        )

    def _fillTable(self, rows):
        table = self.ui.jointTable
        table.setRowCount(len(rows))
        for i, row in enumerate(rows):
            uptake = row["uptake"]
            for j, text in enumerate((row["joint"], ratioText(row), uptake.replace("_", " "))):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row.get("verdict") or row.get("status_reason") or "")
                table.setItem(i, j, item)
            if uptake in UPTAKE_COLOURS:
                table.item(i, 2).setBackground(qt.QBrush(qt.QColor(UPTAKE_COLOURS[uptake])))


UPTAKE_COLOURS = {"positive": "#f4b6b6", "indeterminate": "#ffdfa3", "not_measurable": "#d9d9d9"}


def readResults(folder):
    """Registration, verdict and joints of a results folder; None if it is not there (any more)."""
    folder = Path(folder)
    try:
        with (folder / "joints.csv").open(encoding="utf-8", newline="") as stream:
            joints = list(csv.DictReader(stream))
        registration, verdict = (
            json.loads((folder / name).read_text(encoding="utf-8"))
            for name in ("registration.json", "verdict.json")
        )
    except OSError:
        return None
    return {"joints": joints, "registration": registration, "verdict": verdict}


def registrationText(registration):
    """One line on the quality of the registration, and its reasons."""
    error = registration.get("expected_error_mm")
    text = _("Registration: {quality}").format(quality=registration["quality"])
    if error is not None:
        text += _(", expected error {error:.1f} mm").format(error=error)
    return "\n".join([text, *registration.get("reasons", ())])


def verdictText(verdict):
    """The verdict with its reasons, for a person to read."""
    lines = [
        _("Verdict: {disposition}").format(disposition=verdict["disposition"].replace("_", " ")),
        verdict.get("recommendation") or "",
        _("This verdict is unstable.") if verdict.get("stable") is False else "",
        *verdict.get("reasons", ()),
    ]
    return "\n".join(line for line in lines if line)


def ratioText(row):
    """Ratio of a joint to the reference bone with its interval."""
    ratio, low, high = (row.get(f"ratio_{name}") for name in ("corrected", "low", "high"))
    if not ratio:
        return "–"
    text = f"{float(ratio):.2f}"
    return f"{text} ({float(low):.1f}–{float(high):.1f})" if low and high else text


class CTSpectSpineLogic(ScriptedLoadableModuleLogic):
    """Analyses of volume nodes, with or without the panel.

    Attributes
    ----------
    results
        What the last analysis found (`CTSpectSpineLib.pipeline.Results`), or None.
    nodes
        The nodes that its results were put into (`CTSpectSpineLib.scene.SceneNodes`), or None.
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.results = None
        self.nodes = None

    def getParameterNode(self):
        """The scene's parameter node of this module."""
        return CTSpectSpineParameterNode(super().getParameterNode())

    def protocols(self):
        """Ids of the triage protocols that ship with the module, the default first."""
        folder = Path(__file__).parent / "CTSpectSpineLib" / "triage_protocol" / "protocols"
        return sorted((path.stem for path in folder.glob("*.json")), key=_defaultFirst)

    def ensurePackages(self, requirementsFile):
        """Install what the analysis needs and Slicer does not bring, after asking the user.

        Raises
        ------
        RuntimeError
            If the user declines.
        """
        try:
            import slicer.packaging
        except ImportError:  # Slicer before 5.12
            ensurePackagesWithPip(requirementsFile)
        else:
            slicer.packaging.pip_ensure(
                slicer.packaging.load_requirements(requirementsFile), requester="CTSpectSpine"
            )

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
        from CTSpectSpineLib import analyze
        from CTSpectSpineLib.errors import InputError
        from CTSpectSpineLib.mrml import image_from_node, labels_from_segmentation
        from CTSpectSpineLib.scene import populate_scene
        from CTSpectSpineLib.triage_protocol.context import read_context

        for node, role in ((ctNode, "CT"), (spectNode, "SPECT")):
            if node is None or not node.IsA("vtkMRMLScalarVolumeNode"):
                raise InputError(f"no {role} was given: select a scalar volume.")
        if isinstance(context, (str, os.PathLike)):
            context = read_context(Path(context))
        ct, spect = image_from_node(ctNode), image_from_node(spectNode)
        vertebrae = None
        if vertebraeNode is not None:
            isSegmentation = vertebraeNode.IsA("vtkMRMLSegmentationNode")
            vertebrae = (
                labels_from_segmentation(vertebraeNode, ctNode)
                if isSegmentation
                else image_from_node(vertebraeNode)
            )
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
        self.nodes = populate_scene(
            slicer.mrmlScene, ct=ctNode, spect=spectNode, folder=self.results.folder
        )
        return self.results


def _defaultFirst(protocol):
    return (protocol != DEFAULT_PROTOCOL, protocol)


def ensurePackagesWithPip(requirementsFile):
    """Ask, then install what is missing of a requirements file of lines ``name>=version``."""
    missing = missingRequirements(Path(requirementsFile).read_text(encoding="utf-8"))
    if not missing:
        return
    if slicer.app.testingEnabled():
        logging.info(f"Testing mode is enabled: not installing {', '.join(missing)}")
        return
    question = _("These Python packages are needed and will be installed into Slicer:")
    if not slicer.util.confirmOkCancelDisplay("\n".join([question, *missing])):
        raise RuntimeError(_("The packages that the analysis needs were not installed."))
    for requirement in missing:
        slicer.util.pip_install(requirement)


def missingRequirements(text):
    """Lines ``name>=version`` of a requirements file that are not met."""
    from importlib.metadata import PackageNotFoundError, version

    def numbers(release):
        return [int(part) for part in release.split(".") if part.isdigit()]

    missing = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if line.startswith("#"):
            continue
        name, least = line.split(">=")
        try:
            if numbers(version(name)) < numbers(least):
                missing.append(line)
        except PackageNotFoundError:
            missing.append(line)
    return missing


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

        ct, spect, vertebrae = addPhantom()
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
            self.assertEqual(composite.GetForegroundVolumeID(), spect.GetID())

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


def addPhantom():
    """Add CT, SPECT and vertebrae of a lumbar phantom with one hot disc to the scene."""
    from dataclasses import replace

    from CTSpectSpineLib.mrml import add_volume
    from CTSpectSpineLib.phantom import load_case, make_phantom

    case = load_case("lumbar-disc")
    spine = replace(
        case.spine, first="L3", spacing_mm=2.0, lateral_mm=200.0, ap_mm=170.0, margin_mm=10.0
    )
    phantom = make_phantom(replace(case, spine=spine))
    scene = slicer.mrmlScene
    ct = add_volume(scene, phantom.anatomy.ct, "Phantom CT")
    spect = add_volume(scene, phantom.spect, "Phantom SPECT")
    vertebrae = add_volume(
        scene, phantom.anatomy.labels, "Phantom vertebrae", "vtkMRMLLabelMapVolumeNode"
    )
    return ct, spect, vertebrae
