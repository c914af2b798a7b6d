"""The panel of the Slicer module in each of its states, as pictures; see screenshots.py."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import PIL.Image
import slicer
import slicer_host
import slicer_qt

if TYPE_CHECKING:
    from CTSpectSpineLib.scene.nodes import SceneNodes

WIDTHS = (339, 450, 600)
"""Widths of the panel, pixels: the default of Slicer's window, a usual and a wide one."""
SHIFT_MM = 15.0
"""How far the SPECT is moved in the state `moved`."""


class Camera:
    """Takes pictures of the panel, as high as it needs.

    Parameters
    ----------
    module
        ``CTSpectSpine.py``.
    images
        Folder of the pictures.
    work
        Folder where the results of the phantom are kept, so that only the first run analyses it.
    """

    def __init__(self, module: Path, images: Path, work: Path) -> None:
        slicer_host.load_module(module)
        self.panel = slicer.modules.ctspectspine.widgetRepresentation()
        self.widget = self.panel.python
        self.ui = self.widget.ui
        self.images, self.work = images, work / "panel"
        self.widget.enter()
        self.panel.show()

    def take(self, name: str, width: int, dark: bool = False, scale: int = 1) -> Path:
        """Write slicer_panel_NAME_WIDTH.png, for a screen with so many points a pixel."""
        import qt

        for _ in range(3):
            qt.QApplication.processEvents()
            layout = self.panel.layout()
            layout.activate()
            self.panel.resize(width, layout.totalHeightForWidth(width))
        picture = qt.QPixmap(self.panel.size * scale)
        picture.setDevicePixelRatio(scale)
        self.panel.render(picture)
        kind = ("_dark" if dark else "") + (f"_{scale}x" if scale > 1 else "")
        path = self.images / f"slicer_panel_{name}_{width}{kind}.png"
        assert picture.save(str(path)), path
        # 256 colours of its own are plenty for such a picture, and a third of the size.
        with PIL.Image.open(path) as full:
            most = PIL.Image.Quantize.MAXCOVERAGE  # keeps rare colours, such as those of words
            flat = full.convert("RGB").quantize(256, most, dither=PIL.Image.Dither.NONE)
        flat.save(path, optimize=True)
        print(path, f"{width} x {self.panel.height}", flush=True)
        return path

    def series(self, name: str, state: Callable[[Camera], None]) -> None:
        """Take a state at all widths and on a dark palette; `done` also for a fine screen."""
        for dark in (False, True):
            slicer_qt.use_palette(dark)
            self.clear()
            state(self)
            assert not slicer_qt.slot_errors, slicer_qt.slot_errors
            widths = WIDTHS[:1] if dark else WIDTHS
            for width in widths:
                self.take(name, width, dark)
            if not dark and name == "done":
                self.take(name, WIDTHS[0], scale=2)
            self.widget.analysis.cancel()
            self.widget.batch.forget()
            self.widget.study.forget()
            self.widget.reading.stop()
            self.widget.tour.onEnd()
        slicer_qt.use_palette(dark=False)

    def clear(self) -> None:
        """An empty scene, with the sections closed."""
        slicer.mrmlScene.Clear()
        self.widget.enter()
        self.open_sections()

    def open_sections(self, *opened: str) -> None:
        """Open some sections by the beginning of their names, close the others."""
        for name, section in vars(self.ui).items():
            if name.endswith("CollapsibleButton"):
                section.collapsed = not any(name.startswith(part) for part in opened)

    def wait(self, until: Callable[[], bool]) -> None:
        """Let the panel work until a condition holds."""
        end = time.monotonic() + 3600
        while not until():
            assert time.monotonic() < end, self.ui.statusLabel.text
            slicer.app.processEvents()
            time.sleep(0.02)

    def add_inputs(self) -> None:
        """The phantom, chosen as CT, SPECT and vertebrae."""
        from CTSpectSpineWidgets import sampledata

        nodes = sampledata.addPhantom("lumbar-disc", sampledata.SMALL)
        self.ui.ctSelector.setCurrentNode(nodes[0])
        self.ui.spectSelector.setCurrentNode(nodes[1])
        self.ui.vertebraeSelector.setCurrentNode(nodes[2])

    def add_results(self) -> SceneNodes:
        """The phantom with its results; the first time by an analysis."""
        from CTSpectSpineLib.scene.nodes import FOLDER
        from CTSpectSpineLib.scene.populate import populate_scene

        self.add_inputs()
        kept, shown = self.work / "results", self.work / "shown"
        if not (kept / "report.html").is_file():
            self.ui.outputPath.currentPath = str(kept)
            self.ui.applyButton.click()
            self.wait(lambda: not self.widget.analysis.running)
            assert (kept / "report.html").is_file(), self.ui.statusLabel.text
            self.clear()
            self.add_inputs()
        shutil.rmtree(shown, ignore_errors=True)
        shutil.copytree(kept, shown)
        values = self.widget.parameters
        nodes = populate_scene(slicer.mrmlScene, ct=values.ct, spect=values.spect, folder=shown)
        assert nodes.manifest is not None
        nodes.manifest.SetAttribute(FOLDER, str(shown))
        self.widget.logic.nodes = nodes
        self.widget.showNewResults()
        return nodes


def no_analysis(camera: Camera) -> None:
    """CT, SPECT and vertebrae are chosen."""
    camera.add_inputs()
    camera.open_sections("inputs")


def running(camera: Camera) -> None:
    """The analysis measures."""
    camera.add_inputs()
    ui = camera.ui
    ui.applyButton.click()
    camera.wait(lambda: camera.widget.analysis.run.fraction > 0.5 and "left" in ui.statusLabel.text)
    camera.open_sections("inputs", "log")


def done(camera: Camera) -> None:
    """The first look at the results: all joints, all sections."""
    camera.add_results()
    camera.open_sections(
        *("inputs", "registration", "levels", "results", "reasons", "protocols", "findings"),
        *("plot", "export"),
    )
    combo = camera.ui.filterSelector
    combo.setCurrentIndex(combo.findText("all"))


def moved(camera: Camera) -> None:
    """The SPECT lies elsewhere than where it was measured."""
    import vtk

    nodes = camera.add_results()
    matrix = vtk.vtkMatrix4x4()
    nodes.transform.GetMatrixTransformToParent(matrix)
    matrix.SetElement(0, 3, matrix.GetElement(0, 3) + SHIFT_MM)
    nodes.transform.SetMatrixTransformToParent(matrix)
    _checks(camera)


def rejected(camera: Camera) -> None:
    """The user has rejected the registration."""
    camera.add_results()
    camera.ui.rejectButton.click()
    _checks(camera)


def accepted(camera: Camera) -> None:
    """The user has accepted the registration."""
    camera.add_results()
    camera.ui.acceptButton.click()
    _checks(camera)


def reopened(camera: Camera) -> None:
    """The scene was saved, and opened where its results folder is not."""
    camera.add_results()
    bundle = str(camera.work / "saved.mrb")
    messages = slicer.vtkMRMLMessageCollection()
    assert slicer.mrmlScene.WriteToMRB(bundle, None, messages)
    camera.clear()
    shutil.rmtree(camera.work / "shown")
    assert slicer.mrmlScene.ReadFromMRB(bundle, True, messages)
    camera.widget.enter()
    _checks(camera)


def wrong_entry(camera: Camera) -> None:
    """What was typed for the patient cannot be read."""
    camera.add_inputs()
    camera.ui.vasAxial.text = "eleven"
    camera.ui.protocolPath.currentPath = "/data/protocols/own.json"
    camera.open_sections("inputs", "patient", "settings", "advanced")


def reading(camera: Camera) -> None:
    """A reader has graded the hottest joint."""
    camera.add_results()
    ui = camera.ui
    ui.readerName.text = "A. Reader"
    ui.readingButton.click()
    ui.patientName.text = "p01"
    ui.nextJointButton.click()
    ui.gradeSelector.setCurrentIndex(3)
    ui.noteText.text = "both endplates"
    camera.widget.reading.onGrade()
    camera.open_sections("reading", "results", "plot")


def tour(camera: Camera) -> None:
    """The tour at its third step, before the registration is accepted."""
    camera.add_results()
    values = camera.widget.parameters
    camera.open_sections("tour")
    camera.widget.tour.begin(values.ct, values.spect, values.vertebrae)
    for _ in range(2):
        camera.ui.tourNextButton.click()
    camera.ui.inputsCollapsibleButton.collapsed = True


def study(camera: Camera) -> None:
    """A study folder with two CTs and two SPECTs."""
    from slicer_panel import Answers
    from test_volumes_study import add_ct, add_spect

    folder = camera.work / "study"
    shutil.rmtree(folder, ignore_errors=True)
    add_ct(folder, "1.1", SeriesDescription="Spine B30f", ConvolutionKernel="B30f")
    add_ct(folder, "1.2", SeriesDescription="Spine B70f", ConvolutionKernel="B70f")
    add_spect(folder, "Bone OSEM AC")
    add_spect(folder, "Bone OSEM", CorrectedImage=["DECY"])
    camera.widget.ask = Answers(folder)
    camera.ui.loadStudyButton.click()
    camera.open_sections("study", "inputs")


def batch(camera: Camera) -> None:
    """A batch of which some patients have ended."""
    from CTSpectSpineLib.cohort.rows import CohortRow

    ui, section = camera.ui, camera.widget.batch
    section.forget()
    ui.cohortText.text, ui.batchFolderText.text = "/data/cohort.csv", "/data/batch"
    rows = (
        CohortRow("p07", "error", reason="The SPECT is damaged."),
        CohortRow("p03", "failed", "no_verdict", folder="p03"),
        CohortRow("p01", "complete", "lumbar_disc", 1.0, "check", 2.4, "plausible", folder="p01"),
        CohortRow("p02", "complete", "negative", 1.0, "good", 0.6, "plausible", folder="p02"),
    )
    section.run = SimpleNamespace(cancel=lambda: None, running=True)
    section.showRows(rows)
    ui.batchTable.setCurrentCell(2, 0)
    section._say("4 of 12 patients done; p04 40%; about 6 min left")
    ui.batchProgressBar.visible, ui.batchProgressBar.value = True, 36
    camera.open_sections("batch")


def _checks(camera: Camera) -> None:
    camera.open_sections("registration", "levels", "results", "export")
    camera.ui.filterSelector.setCurrentIndex(0)


STATES = {
    state.__name__: state
    for state in (
        *(no_analysis, running, done, moved, rejected, accepted, reopened, wrong_entry),
        *(tour, reading, study, batch),
    )
}


def take_states(camera: Camera, names: Iterable[str]) -> None:
    """Write the pictures of some states."""
    for name in names:
        camera.series(name, STATES[name])
