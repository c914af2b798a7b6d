"""States of the panel that take some steps to reach: for the table of the buttons."""

from __future__ import annotations

import sys
from pathlib import Path

from slicer_desk import Desk, edit
from slicer_panel import Answers

from CTSpectSpineLib.cohort.record import PatientRecord

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "volumes"))
from test_volumes_study import add_ct, add_spect


def edited(desk: Desk) -> None:
    desk.analyse(desk.folder / "results")
    edit(desk.widget.nodes.vertebrae, "vertebrae_L4")


def edited_joint(desk: Desk) -> None:
    desk.analyse(desk.folder / "results")
    edit(desk.widget.nodes.joints, "L4-L5 disc")


def batch(desk: Desk) -> None:
    """A batch of which one patient has ended without results."""
    cohort, out = desk.folder / "cohort.csv", desk.folder / "batch"
    cohort.write_text("id,ct,spect\np1,ct.nii,spect.nii\n", encoding="utf-8")
    PatientRecord("p1", "error", "It has no CT.", 1.0, "s", {}).write(out)
    desk.ui.cohortText.text, desk.ui.batchFolderText.text = str(cohort), str(out)
    desk.widget.logic.startCohort = lambda words, folder: IdleCohort(folder)
    desk.ui.batchButton.click()
    desk.widget.batch.onTimer()
    desk.ui.batchTable.setCurrentCell(0, 0)


class IdleCohort:
    """A cohort that runs on and on, until it is cancelled."""

    fraction, message, error = 0.5, "1 of 2 patients done", ""

    def __init__(self, out: Path) -> None:
        self.out, self.running = out, True

    def poll(self) -> None:
        pass

    def cancel(self) -> None:
        self.running = False


def study(desk: Desk) -> None:
    folder = desk.folder / "study"
    add_ct(folder, "1.1")
    add_spect(folder, "osem")
    desk.widget.ask = Answers(folder)
    desk.ui.loadStudyButton.click()


def tour(desk: Desk) -> None:
    """A tour of which the second step was done."""
    desk.widget.tour.begin(*desk.users)
    desk.analyse(desk.folder / "results")
    desk.ui.tourNextButton.click()


def reading(desk: Desk) -> None:
    desk.analyse(desk.folder / "results")
    desk.ui.readerName.text = "Ann"
    desk.ui.readingButton.click()
    for _ in range(2):
        desk.ui.nextJointButton.click()
    desk.ui.gradeSelector.setCurrentIndex(1)


def survey(desk: Desk) -> None:
    reading(desk)
    desk.ui.surveyButton.click()
