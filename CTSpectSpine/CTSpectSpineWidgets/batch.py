"""Many patients: a cohort in the background, the queue of those to look at, and any of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from CTSpectSpineWidgets import packages, requests
from CTSpectSpineWidgets.common import Section, colourText, enable, errorsShown

if TYPE_CHECKING:
    from CTSpectSpineLib.cohort.rows import CohortRow
    from CTSpectSpineLib.command_line.child import TimeLeft
    from CTSpectSpineLib.panel.cohort import CohortResults, CohortRun

_POLL_MILLISECONDS = 200
_FILTER = _("Cohort file (*.csv *.tsv *.txt);;All files (*)")


class BatchSection(Section):
    """Runs a cohort in a child process, and shows what it has found so far."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self.run: CohortRun | None = None
        self._results: CohortResults | None = None
        self._timeLeft: TimeLeft | None = None
        self._rows: Sequence[CohortRow] = ()
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MILLISECONDS)
        self._timer.connect("timeout()", self.onTimer)
        ui = self.ui
        header = ui.batchTable.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setStretchLastSection(True)
        ui.batchTable.verticalHeader().setDefaultSectionSize(22)
        ui.cohortFileButton.connect("clicked(bool)", self.onFile)
        ui.cohortFolderButton.connect("clicked(bool)", self.onFolder)
        ui.batchFolderButton.connect("clicked(bool)", self.onOut)
        ui.batchButton.connect("clicked(bool)", self.onBatch)
        ui.openPatientButton.connect("clicked(bool)", self.onOpen)
        ui.batchTable.connect("currentCellChanged(int,int,int,int)", self.update)
        ui.batchTable.connect("cellDoubleClicked(int,int)", self.onOpen)
        for edit in (ui.cohortText, ui.batchFolderText):
            edit.connect("textChanged(QString)", self.update)
        ui.batchProgressBar.visible = False
        self._say("")

    @property
    def running(self) -> bool:
        """Whether a cohort runs."""
        return self.run is not None

    def update(self, *_unused: object) -> None:
        """Enable the buttons."""
        ui = self.ui
        for button, tip in (
            (ui.cohortFileButton, _("A table with one row per patient.")),
            (ui.cohortFolderButton, _("A folder with one DICOM study in each of its folders.")),
            (ui.batchFolderButton, _("Gets a results folder for each patient, and the tables.")),
        ):
            enable(button, _("Wait for the batch, or cancel it.") if self.running else "", tip)
        if self.running:
            ui.batchButton.text = _("Cancel the batch")
            enable(ui.batchButton, "", _("Stop; finished patients stay, and a new start goes on."))
        else:
            ui.batchButton.text = _("Run the batch")
            missing = "" if str(ui.cohortText.text).strip() else _("Choose a cohort file.")
            if not missing and not str(ui.batchFolderText.text).strip():
                missing = _("Choose a folder for the results of the batch.")
            tip = _("Analyse all patients with the settings above; what is finished is kept.")
            enable(ui.batchButton, missing, tip)
        row = self._row()
        if row is None:
            missing = _("Choose a patient in the table.")
        else:
            missing = "" if row.folder else _("There are no results: {reason}")
            missing = missing.format(reason=row.reason)
        if self.panel.analysis.running:
            missing = missing or _("Wait for the running analysis, or cancel it.")
        enable(ui.openPatientButton, missing, _("Show images and results of this patient."))

    def _row(self) -> CohortRow | None:
        at = int(self.ui.batchTable.currentRow())
        return self._rows[at] if 0 <= at < len(self._rows) else None

    def onFile(self, *_unused: object) -> None:
        """Choose a cohort file."""
        path = self.panel.ask.openFile(_("Cohort file"), _FILTER)
        if path:
            self.ui.cohortText.text = path

    def onFolder(self, *_unused: object) -> None:
        """Choose a folder of studies."""
        path = self.panel.ask.folder(_("Folder with a folder for each study"))
        if path:
            self.ui.cohortText.text = path

    def onOut(self, *_unused: object) -> None:
        """Choose the folder of the batch."""
        path = self.panel.ask.folder(_("Folder for the results of the batch"))
        if path:
            self.ui.batchFolderText.text = path

    def onBatch(self, *_unused: object) -> None:
        """Start, or cancel."""
        if self.running:
            self.cancel()
            return
        with errorsShown(_("The batch cannot start.")):
            self._start()

    def _start(self) -> None:
        packages.ensure(packages.REQUIREMENTS)
        self.panel.onSettingsChanged()
        from CTSpectSpineLib.cohort.table import read_cohort
        from CTSpectSpineLib.command_line.child import TimeLeft
        from CTSpectSpineLib.panel.cohort import CohortResults, cohort_file

        ui, logic = self.ui, self.panel.logic
        try:
            cohort = cohort_file(Path(str(ui.cohortText.text).strip()), logic.workplace())
            patients = read_cohort(cohort)
            words = requests.cohortRequest(self.panel, cohort, ui.workersSpinBox.value)
            folder = Path(str(ui.batchFolderText.text).strip())
            results = CohortResults(folder, patients)
            self.run = logic.startCohort(words, folder)
        except Exception as error:
            self._say(str(error), isError=True)
            raise
        self._results, self._timeLeft = results, TimeLeft()
        self._rows = ()
        ui.batchProgressBar.value = 0
        ui.batchProgressBar.visible = True
        self._say(_("Starting"))
        self._timer.start()
        self._fill()

    def cancel(self) -> None:
        """End the batch; finished patients stay."""
        if self.run is not None:
            self.run.cancel()
            self._end(_("Cancelled: finished patients stay, and a new start goes on."))

    def onTimer(self) -> None:
        """Show what the batch has said, and who has ended."""
        from CTSpectSpineLib.command_line.child import time_text

        run, results, timeLeft = self.run, self._results, self._timeLeft
        if results is None or timeLeft is None:
            return
        more = results.look()
        if more:
            self._fill()
        if run is None:
            # What ended last is read a few at a time, too.
            if not more:
                self._timer.stop()
            return
        run.poll()
        if run.running:
            self.ui.batchProgressBar.value = round(100 * run.fraction)
            left = timeLeft.update(run.fraction)
            text = run.message.partition("; about")[0]
            if left is not None:
                text = _("{text}; {time} left").format(text=text, time=time_text(left))
            self._say(text)
        elif run.error:
            error = run.error
            self._end(error, isError=True)
            slicer.util.errorDisplay(error)
        else:
            self._end(_("Done: {folder}").format(folder=run.out))

    def _end(self, text: str, isError: bool = False) -> None:
        self.run = None
        self.ui.batchProgressBar.visible = False
        self._say(text, isError)
        self._fill()

    def stop(self) -> None:
        """End the batch and follow none any more, for instance when Slicer ends."""
        self.cancel()
        self._timer.stop()

    def forget(self) -> None:
        """End the batch and show none."""
        self.stop()
        self._results, self._rows = None, ()
        self._say("")
        self._fill()

    def _fill(self) -> None:
        self.showRows(() if self._results is None else self._results.queue())

    def showRows(self, rows: Sequence[CohortRow]) -> None:
        """Show who has ended, the most urgent first; the current patient stays the current one."""
        table, before = self.ui.batchTable, self._row()
        self._rows = rows
        table.blockSignals(True)
        table.setRowCount(0)
        table.setRowCount(len(self._rows))
        for i, row in enumerate(self._rows):
            needs = ", ".join(words for _urgency, words in row.needs)
            found = (row.disposition or row.status).replace("_", " ")
            for j, text in enumerate((row.id, found, needs)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row.reason or row.positive_joints or text)
                table.setItem(i, j, item)
            if before is not None and row.id == before.id:
                table.setCurrentCell(i, 0)
        table.blockSignals(False)
        self.panel.update()

    def onOpen(self, *_unused: object) -> None:
        """Show the current patient."""
        row, results = self._row(), self._results
        if row is None or results is None or not self.ui.openPatientButton.enabled:
            return
        patient = next(patient for patient in results.patients if patient.id == row.id)
        with errorsShown(_("The patient cannot be shown.")):
            self._say(_("Reading {patient}").format(patient=row.id))
            slicer.app.processEvents()
            for _step in self.panel.logic.patientSteps(patient, results.folder / row.folder):
                slicer.app.processEvents()
            self.panel.showNewResults()
            self._say(_("{patient} is shown.").format(patient=row.id))

    def _say(self, text: str, isError: bool = False) -> None:
        label = self.ui.batchLabel
        label.text = text
        colourText(label, "failed" if isError else "")
