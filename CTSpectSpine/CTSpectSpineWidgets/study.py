"""Load study…: the series of a DICOM folder, with the choice of CT and SPECT to correct."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from CTSpectSpineWidgets import packages
from CTSpectSpineWidgets.common import Section, enable, errorsShown

if TYPE_CHECKING:
    from CTSpectSpineLib.panel.study import StudyTable

_USES = {"ct": _("CT"), "spect": _("SPECT"), None: ""}


class StudySection(Section):
    """Chooses the images of a study and loads them."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self._study: StudyTable | None = None
        ui = self.ui
        header = ui.studyTable.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setStretchLastSection(True)
        ui.studyTable.verticalHeader().setDefaultSectionSize(22)
        ui.loadStudyButton.connect("clicked(bool)", self.onStudy)
        ui.loadChosenButton.connect("clicked(bool)", self.onLoad)
        ui.studyTable.connect("cellClicked(int,int)", self.onSeries)
        ui.studyTable.connect("cellActivated(int,int)", self.onSeries)
        self._show()

    def update(self) -> None:
        """Enable the buttons."""
        busy = _("Wait for the running analysis, or cancel it.")
        running = busy if self.panel.analysis.running else ""
        enable(
            self.ui.loadStudyButton, running, _("Choose CT and SPECT of a folder with DICOM files.")
        )
        missing = _("Choose a study first.") if self._study is None else self._study.missing
        enable(self.ui.loadChosenButton, running or missing, _("Load this CT and this SPECT."))

    def onStudy(self, *_unused: object) -> None:
        """Ask for a folder, and show its series."""
        name = self.panel.ask.folder(_("Folder of a DICOM study"))
        if name:
            with errorsShown(_("The study cannot be read.")):
                packages.ensure(packages.REQUIREMENTS)
                from CTSpectSpineLib.panel.study import study_table

                self._study = study_table(Path(name))
                self._show()

    def onSeries(self, row: int, *_unused: object) -> None:
        """Use another series."""
        if self._study is None or not 0 <= row < len(self._study.series):
            return
        from CTSpectSpineLib.errors import InputError

        try:
            self._study = self._study.with_series(self._study.series[row].number)
        except InputError as error:
            self.ui.studyLabel.text = str(error)
            return
        self._show()

    def _show(self) -> None:
        table, study = self.ui.studyTable, self._study
        for widget in (table, self.ui.studyLabel, self.ui.loadChosenButton):
            widget.visible = study is not None
        table.setRowCount(0)
        if study is not None:
            table.setRowCount(len(study.series))
            self.ui.studyLabel.text = study.words
            for i, listed in enumerate(study.series):
                self._showRow(i, study)
                if listed.number in (study.ct, study.spect):
                    table.setCurrentCell(i, 0)
        self.panel.update()

    def _showRow(self, i: int, study: StudyTable) -> None:
        listed = study.series[i]
        note = listed.series.refusal or ""
        for j, text in enumerate((_USES[study.use_of(listed)], listed.describe(), note)):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(" ".join(filter(None, (listed.describe(), note))))
            if note:
                item.setForeground(qt.QBrush(self.ui.studyTable.palette.color(qt.QPalette.Mid)))
            self.ui.studyTable.setItem(i, j, item)

    def forget(self) -> None:
        """Show no study."""
        self._study = None
        self._show()

    def onLoad(self, *_unused: object) -> None:
        """Load the chosen series and choose them as CT and SPECT."""
        study = self._study
        if study is None:
            return
        with errorsShown(_("The study cannot be loaded.")):
            from CTSpectSpineLib.scene.dicom import add_spect
            from CTSpectSpineLib.scene.mrml import add_volume
            from CTSpectSpineLib.scene.presentation import show_inputs

            self.panel.analysis.say(_("Reading the study"))
            slicer.app.processEvents()
            ct, spect = study.choice().read()
            scene, values = slicer.mrmlScene, self.panel.chosen()
            name = study.folder.name
            values.ct = add_volume(scene, ct.image, f"{name} CT")
            values.spect = add_spect(scene, spect, f"{name} SPECT")
            values.vertebrae = None
            show_inputs(scene, values.ct, values.spect)
            self.panel.analysis.say(_("{study} is loaded.").format(study=name))
            self.forget()
