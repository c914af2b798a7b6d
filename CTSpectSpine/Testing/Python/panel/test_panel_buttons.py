"""Every button in every state of the panel: what it does, or why it cannot be pressed.

Run as a program, with the module's folder and ``Testing/Python/host`` on PYTHONPATH, it presses
all of them and writes ``docs/slicer-buttons.md``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel_states
import pytest
import slicer
import slicer_child
import slicer_host
import slicer_qt
from slicer_desk import Desk, matrix_of
from slicer_panel import Answers

from CTSpectSpineLib.panel import run as run_module
from CTSpectSpineLib.results.manifest import MANIFEST
from CTSpectSpineLib.scene.bundle import write_scene
from CTSpectSpineLib.scene.mrml import vtk_matrix

MODULE = Path(__file__).resolve().parents[3]
PAGE = MODULE.parent / "docs" / "slicer-buttons.md"
BUTTONS = {
    "tourBackButton": "Back",
    "tourNextButton": "Next",
    "tourEndButton": "End the tour",
    "applyButton": "Analyse / Cancel",
    "adjustButton": "Adjust by hand",
    "resetButton": "Reset",
    "registerAgainButton": "Register again",
    "usePositionButton": "Use this position",
    "acceptButton": "Accept",
    "rejectButton": "Reject",
    "shiftUpButton": "Shift up",
    "shiftDownButton": "Shift down",
    "setLevelButton": "Set level",
    "pickVertebraButton": "Pick in a view",
    "extraL6": "L6",
    "extraT13": "T13",
    "sacralised": "Sacralised",
    "confirmLevelsButton": "Confirm levels",
    "measureEditedButton": "Measure again",
    "readingButton": "Read by keyboard",
    "previousJointButton": "Joint before",
    "nextJointButton": "Next joint",
    "overviewButton": "Overview",
    "surveyButton": "Projections",
    "saveReadingButton": "Save the reading",
    "reportButton": "Report",
    "saveResultsButton": "Save results…",
    "captureButton": "Save pictures…",
    "layoutButton": "Layout",
    "loadStudyButton": "Load study…",
    "loadChosenButton": "Load these",
    "cohortFileButton": "File…",
    "cohortFolderButton": "Studies…",
    "batchFolderButton": "Folder…",
    "batchButton": "Run the batch / Cancel",
    "openPatientButton": "Open the patient",
}
"""Object name of a button to what stands on it."""


def _two(desk: Desk, out: Path | None) -> None:
    desk.widget.ask = Answers(yes=True)
    desk.analyse(out)
    desk.analyse(out)


def _older_of_two(desk: Desk) -> None:
    _two(desk, desk.folder / "results")
    desk.ui.analysisSelector.setCurrentIndex(0)


def _moved(desk: Desk) -> None:
    desk.analyse()
    matrix = matrix_of(desk.widget.nodes.transform)
    matrix[0, 3] += 15.0
    desk.widget.nodes.transform.SetMatrixTransformToParent(vtk_matrix(matrix))


def _hardened(desk: Desk) -> None:
    desk.analyse()
    desk.spect.HardenTransform()
    desk.settle()


def _decided(desk: Desk, button: str) -> None:
    desk.analyse(desk.folder / "results")
    getattr(desk.ui, button).click()


def _reopened(desk: Desk) -> None:
    desk.analyse(desk.folder / "results")
    bundle, scene = str(desk.folder / "saved.mrb"), slicer.mrmlScene
    messages = slicer.vtkMRMLMessageCollection()
    assert scene.WriteToMRB(bundle, None, messages)
    scene.Clear()
    assert scene.ReadFromMRB(bundle, True, messages)
    desk.settle()


def _folder_gone(desk: Desk) -> None:
    desk.analyse(desk.folder / "results")
    shutil.rmtree(desk.folder / "results")
    desk.widget.update()


def _closed(desk: Desk) -> None:
    desk.analyse()
    slicer.mrmlScene.Clear()
    desk.settle()


def _deleted(desk: Desk, which: str) -> None:
    desk.analyse()
    slicer.mrmlScene.RemoveNode(getattr(desk, which))
    desk.settle()


def _left(desk: Desk) -> None:
    desk.ui.outputPath.currentPath = ""
    desk.ui.applyButton.click()
    desk.widget.exit()
    desk.settle()
    desk.widget.enter()


def _command_line(desk: Desk) -> None:
    desk.analyse(desk.folder / "results")
    write_scene(desk.folder / "results", desk.made.ct, desk.made.spect)
    scene = slicer.mrmlScene
    scene.Clear()
    bundle = str(desk.folder / "results" / "scene.mrb")
    assert scene.ReadFromMRB(bundle, True, slicer.vtkMRMLMessageCollection())
    desk.settle()


STATES: dict[str, Callable[[Desk], object]] = {
    "No analysis yet": lambda desk: None,
    "An analysis runs": lambda desk: desk.ui.applyButton.click(),
    "Done": lambda desk: desk.analyse(desk.folder / "results"),
    "The SPECT was moved": _moved,
    "The SPECT's transform was hardened": _hardened,
    "A tour lasts": panel_states.tour,
    "A reader reads": panel_states.reading,
    "A reader looks at the projections": panel_states.survey,
    "A vertebra was edited": panel_states.edited,
    "A joint was edited": panel_states.edited_joint,
    "A batch runs": panel_states.batch,
    "A study was chosen": panel_states.study,
    "The registration was accepted": lambda desk: _decided(desk, "acceptButton"),
    "The registration was rejected": lambda desk: _decided(desk, "rejectButton"),
    "The scene was saved and opened again": _reopened,
    "The results folder is gone": _folder_gone,
    "Two analyses, in two folders": lambda desk: _two(desk, None),
    "Two analyses in one folder, the older one shown": _older_of_two,
    "The scene was closed": _closed,
    "The CT was deleted": lambda desk: _deleted(desk, "ct"),
    "The SPECT was deleted": lambda desk: _deleted(desk, "spect"),
    "It ended while another module was open": _left,
    "A scene of the command line was opened": _command_line,
}
"""State to how a user gets there."""


def plain(text: str) -> str:
    """A tooltip as one line without tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def press(desk: Desk, name: str) -> str:
    """Press a button; say what came of it."""
    widget, asked = desk.widget, Answers(desk.folder / "taken", yes=False)
    before = _facts(desk)
    requests: list[Any] = []
    start = widget.analysis.start
    widget.analysis.start = lambda request, whenDone=None: requests.append(request)
    widget.ask = asked
    try:
        getattr(desk.ui, name).click()
    finally:
        widget.analysis.start = start
    slicer.app.processEvents()
    after = _facts(desk)
    refused = [str(error) for error in slicer_qt.slot_errors]
    slicer_qt.slot_errors.clear()
    if refused and name == "loadStudyButton":
        # The folder that is answered is not there.
        return "asks for a file or folder"
    if refused:
        return f"is refused: {refused[0]}"
    said = [_request(request) for request in requests]
    if asked.questions:
        said.append("asks before results are replaced")
    said += [text for key, text in after.items() if before.get(key) != text]
    if asked.path.endswith("report.html"):
        said.append("opens the report")
    elif (desk.folder / "taken" / MANIFEST).is_file():
        said.append("copies the results to a folder that is asked for")
    widget.reading.stop()
    widget.registration.stopAdjusting()
    widget.levels.stopPicking()
    return "; ".join(said) or (
        "asks for a file or folder" if asked.asked else "changes what is shown"
    )


def _facts(desk: Desk) -> dict[str, str]:
    widget, facts = desk.widget, {}
    if widget.record is not None:
        facts["decision"] = f"records “{widget.record.decision}” in the manifest and the report"
        facts["verdict"] = (
            "takes the verdict back"
            if widget.record.verdict["disposition"] == "no_verdict"
            else "has a verdict"
        )
    if widget.nodes is not None and widget.nodes.transform is not None:
        apart = widget.registration.moved()
        facts["moved"] = "leaves the SPECT moved" if apart else "puts the SPECT back"
    reading = widget.reading
    facts["reading"] = "begins the reading" if reading.active else "ends the reading"
    if reading.active:
        facts["joint"] = f"goes to {reading._joint}" if reading._joint else ""
        shown = {"spine": "shows the spine", "survey": "shows projections and curved sections"}
        facts["seen"] = shown.get(reading.views.seen, "shows the views of a joint")
    if widget.resultsFolder() and (widget.resultsFolder() / "reading.csv").is_file():
        facts["saved"] = "writes reading.csv and reading.json"
    place = widget.tour.place + 1
    facts["tour"] = f"goes to step {place} of the tour" if place else ""
    facts["tour_on"] = "begins the tour" if widget.tour.place >= 0 else "ends the tour"
    facts["batch"] = "" if widget.batch.running else "stops the batch"
    facts["study"] = "shows the series of the study" if widget.study._study else ""
    facts["images"] = f"chooses {widget.chosen().ct.GetName()}" if widget.chosen().ct else ""
    facts["said"] = (
        f"says “{desk.ui.statusLabel.text}”" if "edited" in desk.ui.statusLabel.text else ""
    )
    facts["running"] = "" if widget.analysis.running else "stops the analysis"
    facts["adjust"] = "shows handles to move the SPECT" if desk.ui.adjustButton.checked else ""
    facts["pick"] = "waits for a click" if desk.ui.pickVertebraButton.checked else ""
    facts["extra"] = "offers another level" if desk.ui.extraL6.checked else ""
    facts["extra13"] = "offers another level" if desk.ui.extraT13.checked else ""
    return {key: text for key, text in facts.items() if text}


def _request(request: Any) -> str:
    """What an analysis is started with."""
    parts = []
    if request.keep is not None:
        parts.append("keeps the registration and what was decided on it")
    if request.transform is not None:
        parts.append("takes the SPECT where it lies, which is then recorded as accepted")
    if request.initial is not None:
        parts.append("registers from where the SPECT lies, no decision is kept")
    if request.options.accept_registration:
        parts.append("records the acceptance")
    if request.options.named_levels:
        parts.append("the levels are confirmed by the user unless doubted")
    if request.options.edited:
        parts.append(f"with the outline of {request.options.edited} that was edited, recorded")
    if request.joints:
        parts.append(f"with the region of {', '.join(request.joints)} that was edited, recorded")
    if request.options.confirm_levels:
        parts.append("the levels are confirmed by the user")
    what = "measures again" if request.replaces is not None else "analyses"
    return f"{what}: {', '.join(parts)}" if parts else what


def table(pressing: bool) -> dict[str, dict[str, str]]:
    """State to button to what it does, or in brackets why it cannot be pressed.

    Parameters
    ----------
    pressing
        Whether the buttons are pressed, each in a fresh scene; else they are only looked at.
    """
    found: dict[str, dict[str, str]] = {}
    for state, reach in STATES.items():
        cells = found[state] = {}
        desk = _desk(reach)
        try:
            for name in BUTTONS:
                button = getattr(desk.ui, name)
                cells[name] = "can be pressed" if button.enabled else f"({plain(button.toolTip)})"
                cells[name] = cells[name].replace(str(desk.folder), "FOLDER")
        finally:
            desk.close()
        for name in BUTTONS if pressing else ():
            if cells[name].startswith("("):
                continue
            desk = _desk(reach)
            try:
                cells[name] = press(desk, name).replace(str(desk.folder), "FOLDER")
            finally:
                desk.close()
    return found


def _desk(reach: Callable[[Desk], object]) -> Desk:
    desk = Desk()
    try:
        reach(desk)
    except BaseException:
        desk.close()
        raise
    return desk


def page(found: dict[str, dict[str, str]]) -> str:
    """The table as a page of the documentation."""
    lines = [
        "# Buttons of the Slicer module",
        "",
        "What every button does in every state of the panel, or, in brackets, what its tooltip",
        "says where it cannot be pressed. Written by a test that presses all of them",
        "(`Testing/Python/panel/test_panel_buttons.py`). Research use only.",
        "",
    ]
    for state, cells in found.items():
        lines += [f"## {state}", "", "| button | what it does |", "|---|---|"]
        lines += [f"| {BUTTONS[name]} | {text} |" for name, text in cells.items()]
        lines.append("")
    return "\n".join(lines)


@pytest.fixture(autouse=True)
def quick_child(monkeypatch: pytest.MonkeyPatch) -> None:
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    monkeypatch.setattr(run_module, "ChildProcess", slicer_child.QuickChild)


def written() -> dict[str, dict[str, str]]:
    """What the page says."""
    names = {text: name for name, text in BUTTONS.items()}
    found: dict[str, dict[str, str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            state = found[line[3:]] = {}
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and cells[0] in names:
            state[names[cells[0]]] = cells[1]
    return found


@pytest.mark.slow
def test_buttons_that_cannot_be_pressed_say_why() -> None:
    pages = written()
    for state, cells in table(pressing=False).items():
        for name, text in cells.items():
            said = pages[state][name]
            assert said.startswith("(") == text.startswith("("), (state, name)
            assert not text.startswith("(") or said == text, (state, name)


@pytest.mark.slow
def test_every_button_does_what_the_page_says() -> None:
    assert page(table(pressing=True)) == PAGE.read_text(encoding="utf-8")


def test_rejected_and_moved_states_are_told_apart() -> None:
    pages = written()
    assert "takes the verdict back" in pages["Done"]["rejectButton"]
    assert "records the acceptance" in pages["The registration was rejected"]["acceptButton"]
    assert pages["The SPECT was moved"]["acceptButton"].startswith("(")


if __name__ == "__main__":
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    run_module.ChildProcess = slicer_child.QuickChild  # type: ignore[misc]
    PAGE.write_text(page(table(pressing=True)), encoding="utf-8")
    print(f"written: {PAGE}")
