"""A panel with a CT, a SPECT and labels of the user's, for tests that click many times."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer_host
import slicer_qt
import vtk
from slicer_results import make_results_folder

from CTSpectSpineLib.scene.mrml import add_volume, numpy_matrix


class Desk:
    """An open panel in a scene that holds the inputs, chosen; `close` leaves nothing behind."""

    def __init__(self) -> None:
        scene = slicer.mrmlScene
        scene.Clear()
        slicer_qt.slot_errors.clear()
        self.errors = slicer_host.VtkErrors()
        self.errors.__enter__()
        self.data = slicer_host.DataModule(scene)
        self.data.__enter__()
        self.folder = Path(tempfile.mkdtemp())
        (self.folder / "made").mkdir()
        self.made = make_results_folder(self.folder / "made")
        self.ct = add_volume(scene, self.made.ct, "my CT")
        self.spect = add_volume(scene, self.made.spect, "my SPECT")
        labels = add_volume(scene, self.made.labels, "my labels", "vtkMRMLLabelMapVolumeNode")
        self.users = (self.ct, self.spect, labels)
        self.widget = slicer.util.getModuleWidget("CTSpectSpine")
        self.widget.enter()
        self.ui = self.widget.ui
        self.ui.outputPath.currentPath = self.ui.readerName.text = ""
        self.ui.cohortText.text = self.ui.batchFolderText.text = ""
        self.ui.ctSelector.setCurrentNode(self.ct)
        self.ui.spectSelector.setCurrentNode(self.spect)
        self.ui.vertebraeSelector.setCurrentNode(labels)

    def settle(self) -> None:
        """Wait for a running analysis and for what the window has put off."""
        for _ in range(200):
            if not self.widget.analysis.running:
                break
            self.widget.analysis.onTimer()
        assert not self.widget.analysis.running
        for _ in range(3):
            slicer.app.processEvents()

    def analyse(self, out: Path | None = None) -> None:
        """Press Analyse and wait."""
        self.ui.outputPath.currentPath = "" if out is None else str(out)
        self.ui.applyButton.click()
        self.settle()

    def close(self) -> None:
        """Leave the panel, the scene and the disk as they were."""
        self.widget.analysis.cancel()
        self.widget.batch.forget()
        self.widget.study.forget()
        self.widget.tour.onEnd()
        self.widget.exit()
        slicer.mrmlScene.Clear()
        self.widget.logic.discard()
        self.data.__exit__()
        self.errors.__exit__(None, None, None)
        shutil.rmtree(self.folder, ignore_errors=True)


def matrix_of(transform: Any) -> np.ndarray:
    """Matrix of a transform node to its parent, RAS mm."""
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToParent(matrix)
    return numpy_matrix(matrix)


def edit(segmentation: Any, name: str) -> None:
    """Paint on a segment, as the Segment Editor does: a block of its highest slices is erased."""
    from vtk.util.numpy_support import vtk_to_numpy

    segments = segmentation.GetSegmentation()
    segment = segments.GetSegment(segments.GetSegmentIdBySegmentName(name))
    image = segment.GetRepresentation("Binary labelmap")
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    mine = voxels == segment.GetLabelValue()
    top = np.argwhere(mine)[:, 0].max()
    voxels[top - 1 :][mine[top - 1 :]] = 0
    image.Modified()
    segmentation.GetSegmentation().Modified()
