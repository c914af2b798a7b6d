"""The tour in the panel: every step can be done as it says, and the panel notices."""

from __future__ import annotations

from slicer_desk import Desk
from slicer_panel import Answers


def test_every_step_is_done_by_what_it_says(desk: Desk) -> None:
    ui, tour = desk.ui, desk.widget.tour
    assert ui.tourCollapsibleButton.isHidden()
    ui.ctSelector.setCurrentNode(None)
    tour.begin(*desk.users)
    assert not ui.tourCollapsibleButton.isHidden()

    def grade() -> None:
        ui.readerName.text = "Ann"
        ui.readingButton.click()
        ui.nextJointButton.click()
        ui.gradeSelector.setCurrentIndex(3)
        ui.saveReadingButton.click()

    def save() -> None:
        desk.widget.ask = Answers(desk.folder / "saved")
        ui.saveResultsButton.click()

    steps = [
        lambda: None,
        desk.analyse,
        ui.acceptButton.click,
        ui.confirmLevelsButton.click,
        lambda: desk.widget.goToJoint("L5-S1 facet right"),
        grade,
        save,
    ]
    for number, do in enumerate(steps):
        assert ui.tourLabel.text.startswith(f"{number + 1} / {len(steps)}: ")
        assert (ui.tourDoneLabel.text == "Done.") == (number == 0)
        do()
        desk.settle()
        assert ui.tourDoneLabel.text == "Done.", ui.tourLabel.text
        assert ui.tourNextButton.enabled == (number < len(steps) - 1)
        if ui.tourNextButton.enabled:
            ui.tourNextButton.click()
    ui.tourBackButton.click()
    assert ui.tourLabel.text.startswith("6 / 7: ")
    ui.tourEndButton.click()
    assert ui.tourCollapsibleButton.isHidden()


def test_a_step_opens_its_sections(desk: Desk) -> None:
    desk.ui.registrationCollapsibleButton.collapsed = True
    desk.widget.tour.begin(*desk.users)
    desk.ui.tourNextButton.click()
    desk.ui.tourNextButton.click()
    assert not desk.ui.registrationCollapsibleButton.collapsed
