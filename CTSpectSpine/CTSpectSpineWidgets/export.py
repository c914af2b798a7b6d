"""Export: the report, the results folder, pictures, and the module's layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import slicer
import vtk
from slicer.i18n import tr as _

from CTSpectSpineWidgets.common import QtObject, Section, enable, errorsShown

if TYPE_CHECKING:
    from CTSpectSpine import CTSpectSpineWidget
    from CTSpectSpineLib.scene.mrml import Node

_BOTTOM = 1
"""Number of a chart's lower axis. By definition: ``vtkAxis::BOTTOM``."""


class ExportSection(Section):
    """What can be taken away from the shown analysis."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self.ui.reportButton.connect("clicked(bool)", self.onReport)
        self.ui.saveResultsButton.connect("clicked(bool)", self.onSave)
        self.ui.captureButton.connect("clicked(bool)", self.onCapture)
        self.ui.layoutButton.connect("clicked(bool)", self.onLayout)

    def update(self) -> None:
        """Enable the buttons."""
        folder, missing = self.panel.resultsFolder(), ""
        if self.panel.record is None:
            missing = _("Run an analysis first.")
        gone = missing or ("" if folder else _("The results folder is not there any more."))
        hasReport = folder is not None and (folder / "report.html").is_file()
        noReport = gone or ("" if hasReport else _("The folder holds no report."))
        enable(self.ui.reportButton, noReport, _("Open the report in the browser."))
        tip = _("Copy the results folder (tables, report, segments) to where you want to keep it.")
        enable(self.ui.saveResultsButton, gone, tip)
        tip = _("Save pictures of the views: an overview and one set per positive joint.")
        noViews = missing or ("" if slicer.app.layoutManager() else _("There are no views."))
        enable(self.ui.captureButton, noViews, tip)

    def onReport(self, *_unused: object) -> None:
        """Open the report in the browser."""
        with errorsShown(_("The report cannot be opened.")):
            self.panel.ask.show(self._folder() / "report.html")

    def _folder(self) -> Path:
        """The results folder; raises if it was deleted after the buttons were enabled."""
        folder = self.panel.resultsFolder()
        if folder is None:
            raise RuntimeError(_("The results folder is not there any more."))
        return folder

    def onSave(self, *_unused: object) -> None:
        """Copy the results folder."""
        name = self.panel.ask.folder(_("Folder for the results"))
        if name:
            with errorsShown(_("The results cannot be saved.")):
                from CTSpectSpineLib.results.folder import save_folder
                from CTSpectSpineLib.results.reading import copy_readings
                from CTSpectSpineLib.scene.nodes import lies_in

                nodes, _record = self.panel.shown()
                source = self._folder()
                folder = save_folder(source, Path(name))
                if source.resolve() != folder.resolve():
                    copy_readings(source, folder)
                if nodes.manifest is not None:
                    lies_in(nodes.manifest, folder)
                self.panel.analysis.say(_("Results saved in {folder}").format(folder=folder))
                self.panel.showResults(nodes.manifest)

    def onCapture(self, *_unused: object) -> None:
        """Save pictures of the views."""
        name = self.panel.ask.folder(_("Folder for the pictures"))
        if name:
            with errorsShown(_("The pictures cannot be saved.")):
                written = capturePictures(self.panel, Path(name))
                text = _("{count} pictures saved in {folder}")
                self.panel.analysis.say(text.format(count=len(written), folder=name))

    def nameAxes(self, caller: Node = None, event: object = None) -> None:
        """Write the names of the levels at the plot's axis, where it is the shown analysis's plot.

        Slicer's chart nodes have no place for them, so that the view itself is told.
        """
        from CTSpectSpineLib.scene.plot import name_axis

        manager, nodes = slicer.app.layoutManager(), self.panel.nodes
        for index in range(getattr(manager, "plotViewCount", 0)):
            view = manager.plotWidget(index).plotView()
            node, modified = view.mrmlPlotViewNode(), vtk.vtkCommand.ModifiedEvent
            if node is None:
                continue
            if not self.panel.hasObserver(node, modified, self.nameAxes):
                self.panel.addObserver(node, modified, self.nameAxes)
            chart = nodes.chart if nodes is not None else None
            ours = chart is not None and node.GetPlotChartNodeID() == chart.GetID()
            name_axis(view.chart().GetAxis(_BOTTOM), nodes.uptake_table if nodes and ours else None)

    def onLayout(self, *_unused: object) -> None:
        """Show the module's layout."""
        self.panel.views.showFirstView()


def capturePictures(panel: CTSpectSpineWidget, folder: Path) -> list[Path]:
    """Save the views: fused over the whole CT, and zoomed to every positive joint.

    Each has letters for the patient's directions.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    RuntimeError
        If a picture of such a name is there already.
    """
    import ScreenCapture

    from CTSpectSpineLib.scene.framing import frame
    from CTSpectSpineLib.scene.presentation import present
    from CTSpectSpineLib.scene.views import orientation_letters

    manager, scene = slicer.app.layoutManager(), slicer.mrmlScene
    (nodes, record), capture = panel.shown(), ScreenCapture.ScreenCaptureLogic()
    folder.mkdir(parents=True, exist_ok=True)
    positive = [row for row in record.rows if row.uptake == "positive" and row.centre_lps]
    places = [("overview", None), *((row.joint, row.centre_lps) for row in positive)]
    for name, _centre in places:
        for view, _widget in _views(manager):
            if (path := _picture(folder, name, view)).exists():
                text = _("{file} is there already: choose another folder.")
                raise RuntimeError(text.format(file=path))
    written = []
    with orientation_letters(scene):
        for name, centre in places:
            present(scene, nodes, panel.registration.look())
            if centre is not None:
                frame(scene, centre)
            for view, widget in _views(manager):
                path = _picture(folder, name, view)
                capture.captureImageFromView(widget, str(path))
                written.append(path)
    return written


def _picture(folder: Path, name: str, view: str) -> Path:
    return folder / f"{name.replace(' ', '_')}_{view}.png"


def _views(manager: QtObject) -> list[tuple[str, QtObject]]:
    """Name and view of the slice views and of the first 3D view."""
    named = (("sagittal", "Yellow"), ("coronal", "Green"), ("axial", "Red"))
    views = [
        (name, manager.sliceWidget(tag).sliceView())
        for name, tag in named
        if manager.sliceWidget(tag) is not None
    ]
    if manager.threeDViewCount > 0:
        views.append(("3d", manager.threeDWidget(0).threeDView()))
    return views
