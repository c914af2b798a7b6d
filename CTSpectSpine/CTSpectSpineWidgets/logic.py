"""Analyses of a scene's volumes, with or without the panel."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from CTSpectSpineWidgets import packages
from CTSpectSpineWidgets.parameters import (
    DEFAULT_PROTOCOL,
    PROTOCOLS,
    CTSpectSpineParameterNode,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

    from CTSpectSpineLib.analysis.inputs import LabelSource, VolumeSource
    from CTSpectSpineLib.analysis.options import Options
    from CTSpectSpineLib.analysis.results import Results
    from CTSpectSpineLib.cohort.table import CohortPatient
    from CTSpectSpineLib.panel.cohort import CohortRun
    from CTSpectSpineLib.panel.request import Request
    from CTSpectSpineLib.panel.run import Run
    from CTSpectSpineLib.panel.workplace import Workplace
    from CTSpectSpineLib.progress import ProgressCallback
    from CTSpectSpineLib.scene.mrml import Node
    from CTSpectSpineLib.scene.nodes import SceneNodes
    from CTSpectSpineLib.volumes.volume import Volume


class CTSpectSpineLogic(ScriptedLoadableModuleLogic):
    """Analyses of volume nodes, with or without the panel.

    Attributes
    ----------
    results
        What the last analysis of this process found (`CTSpectSpineLib.Results`), or None.
    nodes
        The nodes that the last results were put into (`CTSpectSpineLib.scene.nodes.SceneNodes`),
        or None.
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.results: Results | None = None
        self.nodes: SceneNodes | None = None
        self._workplace: Workplace | None = None

    def getParameterNode(self) -> CTSpectSpineParameterNode:
        """The scene's parameter node of this module."""
        return CTSpectSpineParameterNode(super().getParameterNode())

    def protocols(self) -> list[str]:
        """Ids of the triage protocols that ship with the module, the default first."""
        return list(PROTOCOLS)

    def labellers(self) -> list[str]:
        """Names of the labellers that can run here, ``auto`` first."""
        try:
            from CTSpectSpineLib.labelling import available_labellers
        except ImportError:
            # They need packages that come with the first analysis.
            return ["auto"]
        return ["auto", *available_labellers()]

    def canLabel(self) -> bool:
        """Whether a labeller can run here, as far as can be known before the first analysis."""
        try:
            from CTSpectSpineLib.labelling import available_labellers
        except ImportError:
            return True
        if available_labellers():
            return True
        # The built-in labeller's packages come with the first analysis, too.
        text = packages.REQUIREMENTS.read_text(encoding="utf-8")
        return bool(packages.missingRequirements(text))

    def workplace(self) -> Workplace:
        """Temporary files of this logic."""
        from CTSpectSpineLib.panel.workplace import Workplace

        if self._workplace is None:
            python = shutil.which("PythonSlicer") or sys.executable
            self._workplace = Workplace(Path(slicer.app.temporaryPath), python)
        return self._workplace

    def discardInputs(self) -> None:
        """Delete temporary inputs; results that were not saved stay until Slicer ends."""
        if self._workplace is not None:
            self._workplace.discard_inputs()

    def discard(self) -> None:
        """Delete temporary files, also results that were not saved."""
        if self._workplace is not None:
            self._workplace.discard()
            self._workplace = None

    def startRun(self, request: Request) -> Run:
        """Start an analysis in a child process.

        Returns
        -------
        CTSpectSpineLib.panel.run.Run
            Call its ``poll`` now and then, and `finishRun` once it does not run any more.
        """
        from CTSpectSpineLib.panel.run import Run

        return Run(request, self.workplace())

    def finishRun(self, run: Run) -> Path:
        """Put the results of a run into the scene; return their folder."""
        self.nodes, folder = run.finish(slicer.mrmlScene)
        return folder

    def finishSteps(self, run: Run) -> Generator[None, None, Path]:
        """`finishRun` in short steps, between which the window can answer."""
        self.nodes, folder = yield from run.finish_steps(slicer.mrmlScene)
        return folder

    def labels(self, nodes: SceneNodes) -> sitk.Image:
        """Vertebra label map of an analysis, from its folder or from the scene."""
        from CTSpectSpineLib.scene.inputs import labels_of

        return labels_of(nodes)

    def decide(
        self, nodes: SceneNodes, decision: str, adjusted: bool = False, reader: str = ""
    ) -> None:
        """Record what the user decided on the registration of an analysis."""
        from CTSpectSpineLib.scene.decisions import record_decision

        record_decision(nodes, decision, adjusted=adjusted, reader=reader)

    def process(
        self,
        ctNode: Node,
        spectNode: Node,
        vertebraeNode: Node | None = None,
        protocol: str = DEFAULT_PROTOCOL,
        context: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        outputFolder: str | os.PathLike[str] | None = None,
        progress: ProgressCallback | None = None,
        **settings: Any,
    ) -> Results:
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
            Further settings of `CTSpectSpineLib.Options`, such as ``threads=2``.

        Returns
        -------
        CTSpectSpineLib.Results
            The same as ``ctspectspine analyze`` finds; also kept in ``logic.results``.

        Raises
        ------
        CTSpectSpineLib.errors.InputError
            If an input cannot be used.
        """
        from CTSpectSpineLib.scene.inputs import images_of_nodes

        images = images_of_nodes(ctNode, spectNode, vertebraeNode)
        settings |= {"protocol": protocol, "progress": progress}
        results = self._analyze(*images, context, outputFolder, settings)
        return self._populate(results, ctNode, spectNode)

    def processFolder(
        self,
        ct: VolumeSource,
        spect: VolumeSource,
        vertebrae: LabelSource | None = None,
        protocol: str = DEFAULT_PROTOCOL,
        context: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        outputFolder: str | os.PathLike[str] | None = None,
        progress: ProgressCallback | None = None,
        **settings: Any,
    ) -> Results:
        """Analyse files or DICOM folders, and put images and results into the scene.

        As `process`, with paths instead of nodes.
        """
        from CTSpectSpineLib.analysis.inputs import as_volume

        images = as_volume(ct, "ct"), as_volume(spect, "spect")
        settings |= {"protocol": protocol, "progress": progress}
        results = self._analyze(*images, vertebrae, context, outputFolder, settings)
        return self._populate(results, *(volume.image for volume in images))

    def processCohort(
        self,
        cohortFile: str | os.PathLike[str],
        outputFolder: str | os.PathLike[str],
        workers: int = 1,
        protocol: str = DEFAULT_PROTOCOL,
        labeller: str = "auto",
        progress: ProgressCallback | None = None,
        **settings: Any,
    ) -> Path:
        """Analyse a cohort, one process per patient, while the window answers.

        The same as ``ctspectspine batch --resume``: what an earlier call finished is kept, and the
        folders are the same to the last digit.

        Parameters
        ----------
        cohortFile
            Table with one row per patient.
        outputFolder
            Gets a results folder for each patient, the tables and the page.
        workers
            Patients at a time.
        protocol, labeller
            As for `process`, and the labeller of patients without labels.
        progress
            Called with each `CTSpectSpineLib.progress.Progress`.
        settings
            Further settings of `CTSpectSpineLib.Options`, such as ``fwhm_mm=10``.

        Returns
        -------
        pathlib.Path
            The page over the cohort, ``cohort.html``.

        Raises
        ------
        CTSpectSpineLib.errors.InputError
            If the cohort file cannot be used.
        """
        from CTSpectSpineLib.analysis.options import Options
        from CTSpectSpineLib.panel.cohort import run_cohort

        words = cohortWords(cohortFile, workers, protocol, labeller, Options(**settings))
        idle = slicer.app.processEvents
        return run_cohort(words, Path(outputFolder), self.workplace(), progress, idle)

    def startCohort(self, words: list[str], folder: Path) -> CohortRun:
        """Start a cohort in a child process; call ``poll`` of what it returns now and then."""
        from CTSpectSpineLib.panel.cohort import CohortRun

        return CohortRun(words, folder, self.workplace())

    def patientSteps(
        self, patient: CohortPatient, folder: Path
    ) -> Generator[None, None, SceneNodes]:
        """Put a patient of a cohort into the scene, in short steps; results are not shown yet."""
        from CTSpectSpineLib.scene.patient import patient_steps

        def read() -> tuple[sitk.Image, sitk.Image]:
            ct, spect = volumesOf(patient)
            return ct.image, spect.image

        self.nodes = yield from patient_steps(slicer.mrmlScene, patient.id, folder, read)
        return self.nodes

    def _analyze(
        self,
        ct: VolumeSource,
        spect: VolumeSource,
        vertebrae: LabelSource | None,
        context: Mapping[str, Any] | str | os.PathLike[str] | None,
        outputFolder: str | os.PathLike[str] | None,
        settings: Mapping[str, Any],
    ) -> Results:
        from CTSpectSpineLib import analyze
        from CTSpectSpineLib.triage_protocol.context import read_context

        if isinstance(context, (str, os.PathLike)):
            context = read_context(Path(context))
        if outputFolder is None:
            outputFolder = tempfile.mkdtemp(prefix="CTSpectSpine-", dir=slicer.app.temporaryPath)
        return analyze(ct, spect, vertebrae, context=context, out=Path(outputFolder), **settings)

    def _populate(
        self, results: Results, ct: sitk.Image | Node, spect: sitk.Image | Node
    ) -> Results:
        from CTSpectSpineLib.scene.nodes import lies_in
        from CTSpectSpineLib.scene.populate import populate_scene
        from CTSpectSpineLib.scene.presentation import present

        assert results.folder is not None
        self.results = results
        self.nodes = populate_scene(slicer.mrmlScene, ct=ct, spect=spect, folder=results.folder)
        if self.nodes.manifest is not None:
            lies_in(self.nodes.manifest, results.folder)
        self.getParameterNode().analysis = self.nodes.manifest
        present(slicer.mrmlScene, self.nodes)
        return results


def cohortWords(
    cohortFile: str | os.PathLike[str],
    workers: int,
    protocol: str,
    labeller: str,
    options: Options,
) -> list[str]:
    """Words of ``ctspectspine batch`` besides its folder."""
    words = [str(cohortFile), f"--workers={workers}", f"--protocol={protocol}"]
    return [*words, f"--labeller={labeller}", *options.arguments()]


def volumesOf(patient: CohortPatient) -> tuple[Volume, Volume]:
    """CT and SPECT of a patient of a cohort.

    Raises
    ------
    InputError
        If one cannot be read, or the study does not tell which they are.
    """
    from CTSpectSpineLib.volumes import read_volume
    from CTSpectSpineLib.volumes.dicom.study import choose_pair

    if patient.study is not None:
        return choose_pair(patient.study).read()
    assert patient.ct is not None
    assert patient.spect is not None
    return read_volume(patient.ct, "ct"), read_volume(patient.spect, "spect")
