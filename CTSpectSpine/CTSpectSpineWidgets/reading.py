"""Reading by keyboard: joint by joint, grades and notes, decisions, in views of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from CTSpectSpineWidgets.common import (
    UPTAKE_WORDS,
    QtObject,
    Section,
    enable,
    errorsShown,
    fillCombo,
)
from CTSpectSpineWidgets.keys import Keys
from CTSpectSpineWidgets.readerviews import SPINE, SURVEY, ReaderViews

if TYPE_CHECKING:
    from CTSpectSpineLib.joint_table import Row
    from CTSpectSpineLib.results.reading import Reading

_HIDDEN = ("summaryLabel", "resultsCollapsibleButton", "exportCollapsibleButton")
"""What tells of the software's results: not for a blinded reader."""


class ReadingSection(Section):
    """The reader's own form, and the keys that fill it.

    Attributes
    ----------
    active
        Whether the reading lasts: keys and the reader's views are on.
    """

    def setup(self) -> None:
        """Connect the widgets of the section."""
        from CTSpectSpineLib.panel.open_readings import OpenReading, OpenReadings
        from CTSpectSpineLib.panel.reading_keys import KEYS, WINDOWS
        from CTSpectSpineLib.results.reading import GRADES

        self.active = self._filling = False
        self._order: list[Row] = []
        self._joint, self.views = "", ReaderViews(self.panel)
        self._readings, self._blind, self._key = OpenReadings(), False, ("", "")
        self._patient_of = ""
        self._open: OpenReading | None = None
        self._grades = ["", *GRADES]
        ui = self.ui
        fillCombo(ui.gradeSelector, [_("no grade"), *(UPTAKE_WORDS[grade] for grade in GRADES)])
        tops = [f"SPECT: 0–{top:g} ×" for top in WINDOWS if top is not None]
        fillCombo(ui.windowSelector, [_("SPECT: usual scale"), *tops])
        ui.readingButton.connect("toggled(bool)", self.onReading)
        ui.previousJointButton.connect("clicked(bool)", self.onPrevious)
        ui.nextJointButton.connect("clicked(bool)", self.onNext)
        ui.overviewButton.connect("clicked(bool)", self.onOverview)
        ui.surveyButton.connect("clicked(bool)", self.onSurvey)
        ui.saveReadingButton.connect("clicked(bool)", self.onSave)
        ui.windowSelector.connect("currentIndexChanged(int)", self.onWindow)
        ui.readerName.connect("textChanged(QString)", self.update)
        ui.gradeSelector.connect("currentIndexChanged(int)", self.onGrade)
        ui.noteText.connect("editingFinished()", self.onGrade)
        ui.noteText.connect("returnPressed()", self.onNoteDone)
        ui.keysLabel.text = ", ".join(f"{key.key}: {key.words}" for key in KEYS) + "."
        self._keys = Keys(self.panel, {key.key: self._action(key.action) for key in KEYS})

    def _action(self, action: str) -> Callable[[], object]:
        """What a key does."""
        ui = self.ui
        buttons = {
            "next": ui.nextJointButton,
            "previous": ui.previousJointButton,
            "overview": ui.overviewButton,
            "survey": ui.surveyButton,
            "save": ui.saveReadingButton,
            "accept": ui.acceptButton,
            "reject": ui.rejectButton,
            "levels": ui.confirmLevelsButton,
        }
        if action in buttons:
            return lambda: self._press(buttons[action])
        others = {"window": self._nextWindow, "note": self._typeNote}
        return others.get(action, lambda: self._give(action.replace("clear", "")))

    def _press(self, button: QtObject) -> None:
        """Press a button, or say why it cannot be pressed."""
        if button.enabled:
            button.click()
        else:
            self._say(button.toolTip)

    def reader(self) -> str:
        """Name of the reader while the reading lasts; else empty."""
        return self._name() if self.active else ""

    def show(self) -> None:
        """Follow the panel's results."""
        record = self.panel.record
        if record is None:
            # Results that are being replaced are gone for a moment.
            if not self.panel.analysis.running:
                self.stop()
                self._order, self._open = [], None
                self._readings.clear()
            self.update()
            return
        self._adopt()
        self._rank()
        self._hide(self.active and self.ui.blindedBox.checked)
        self.update()

    def _adopt(self) -> None:
        """Go on with what this reader said of these results, here or in their folder."""
        from CTSpectSpineLib.errors import InputError
        from CTSpectSpineLib.results.reading import read_readings
        from CTSpectSpineLib.scene.nodes import number_of

        record, nodes = self.panel.record, self.panel.nodes
        if record is None or nodes is None or nodes.ct is None:
            return
        folder, name = self.panel.resultsFolder(), self._name()
        # What is measured again keeps its number.
        analysis = f"{nodes.ct.GetID()} {number_of(nodes.manifest)}"
        try:
            if not name and folder is not None and len(found := read_readings(folder)) == 1:
                name = self.ui.readerName.text = next(iter(found))
            joints = {row.joint for row in record.rows}
            entry = self._readings.find(analysis, name, record.levels, joints, folder)
        except InputError as error:
            self._open, self._key = None, ("", "")  # Else grades go to whom was read before.
            self._say(str(error))
            return
        if entry.lost:
            self._say(_("The levels changed: the joints must be graded again."))
        if self._key != (analysis, name):
            named = folder is not None and folder.name != "results"
            patient = folder.name if named and folder is not None else nodes.ct.GetName()
            # What was typed holds, unless it was typed for another analysis.
            same = self._patient_of in ("", analysis)
            typed = str(self.ui.patientName.text).strip() if same else ""
            self.ui.patientName.text = entry.reading.patient or typed or patient
            self._patient_of = analysis
        self._open, self._key = entry, (analysis, name)

    def _name(self) -> str:
        return str(self.ui.readerName.text).strip()

    def _keep(self, reading: Reading) -> None:
        """Keep what was said."""
        if self._open is not None:
            self._open = self._open.changed(reading)
            self._readings.keep(*self._key, self._open)
            self.update()

    def _rank(self) -> None:
        from CTSpectSpineLib.panel.reading_order import reading_order

        record = self.panel.record
        blinded = bool(self.ui.blindedBox.checked)
        if record is not None:
            self._order = reading_order(record.rows, record.bounds, blinded=blinded)
        if self._joint not in [row.joint for row in self._order]:
            self._joint = ""

    def update(self) -> None:
        """Enable the buttons; say where the reader is."""
        ui, record = self.ui, self.panel.record
        missing = "" if record is not None else _("Run an analysis first.")
        noName = missing or ("" if self._name() else _("Type the name of the reader."))
        tip = _("Read joint by joint with the keys named below.")
        enable(ui.readingButton, "" if self.active else noName, tip)
        off = missing or ("" if self.active else _("Press 'Read by keyboard' first."))
        enable(ui.nextJointButton, off, _("Go to the next joint (N)."))
        first = "" if self._place() != 0 else _("This is the first joint.")
        enable(ui.previousJointButton, off or first, _("Go to the joint before (B)."))
        enable(ui.overviewButton, off, _("Show the spine, and the joint again (O)."))
        tip = _("Show projections and the spine straightened, and the joint again (P).")
        enable(ui.surveyButton, off, tip)
        tip = _("Write grades and decisions into the results folder (S).")
        noFolder = "" if self.panel.resultsFolder() else _("The results folder is not there.")
        enable(ui.saveReadingButton, off or noFolder, tip)
        for widget in (ui.blindedBox, ui.readerName):
            widget.enabled = not self.active
        for widget in (ui.gradeSelector, ui.noteText):
            widget.enabled = self.active and bool(self._joint)
        ui.windowSelector.enabled = self.active
        ui.readingLabel.text = self._text()
        self._showGrade()

    def _place(self) -> int:
        names = [row.joint for row in self._order]
        return names.index(self._joint) if self._joint in names else -1

    def _text(self) -> str:
        if self._open is None:
            return str(self.panel.nothingShown())
        graded = _("{graded} of {all} joints graded").format(
            graded=len(self._open.reading.grades), all=len(self._order)
        )
        if not self._open.saved:
            graded = _("{graded}, not saved").format(graded=graded)
        if not self._joint:
            return str(graded)
        return f"{self._place() + 1} / {len(self._order)}: {self._joint}; {graded}"

    def _showGrade(self) -> None:
        ui = self.ui
        grade = self._open.reading.grade_of(self._joint) if self._open is not None else None
        self._filling = True
        ui.gradeSelector.setCurrentIndex(self._grades.index(grade.grade if grade else ""))
        # A note that is being typed stays.
        if not ui.noteText.hasFocus():
            ui.noteText.text = grade.note if grade else ""
        self._filling = False

    def onReading(self, on: bool) -> None:
        """Begin or end the reading."""
        self.active = bool(on) and self.panel.nodes is not None
        self._keys.enable(self.active)
        if self.active:
            self._joint = ""
            self._adopt()
            self._rank()
            self.views.begin()
            self.ui.readingButton.setFocus()
        else:
            self.views.end()
        self._hide(self.active and self.ui.blindedBox.checked)
        self.panel.update()

    def stop(self) -> None:
        """End the reading; the layout and what was hidden are as before."""
        if self.ui.readingButton.checked:
            self.ui.readingButton.checked = False

    def resume(self) -> None:
        """Show the reader's views again, after new results of the same images have come."""
        if self.active and self.panel.nodes is not None:
            self.views.begin(layout=False)
            self.onWindow()
            self._hide(bool(self.ui.blindedBox.checked))
            if self.views.seen == SURVEY:
                self.views.showSurvey()
            elif self._joint:
                self._look(self._joint)

    def _hide(self, blinded: bool) -> None:
        """Hide what the software found, or show it again."""
        record, nodes = self.panel.record, self.panel.nodes
        # Without a blinded reader it is others that decide what is shown.
        if not (blinded or self._blind):
            return
        self._blind = blinded
        for name in _HIDDEN:
            shown = name != "summaryLabel" or record is not None
            getattr(self.ui, name).visible = shown and not blinded
        if nodes is None or self.panel.unseen:
            return
        for node in (nodes.joints, nodes.findings):
            if node is not None and node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetVisibility(not blinded)

    def onNext(self, *_unused: object) -> None:
        """Go to the next joint; after the last to the first that has no grade."""
        self._step(1)

    def onPrevious(self, *_unused: object) -> None:
        """Go to the joint before."""
        self._step(-1)

    def _step(self, by: int) -> None:
        if not self._order:
            return
        at = self._place() + by
        if at >= len(self._order):
            graded = {grade.joint for grade in self._open.reading.grades} if self._open else set()
            left = [n for n, row in enumerate(self._order) if row.joint not in graded]
            at = left[0] if left else 0
        self.panel.goToJoint(self._order[max(at, 0)].joint)

    def at(self, name: str) -> None:
        """The views have gone to a joint: the reader is there now."""
        if self.active and name in [row.joint for row in self._order]:
            self._joint = name
            self._look(name)
            self.update()

    def _look(self, name: str) -> None:
        row = None if self.panel.record is None else self.panel.record.row(name)
        if row is not None:
            self.views.showJoint(row)

    def onOverview(self, *_unused: object) -> None:
        """Show the spine in the module's layout, or the joint again."""
        if self.views.seen == SPINE and self._joint:
            self._look(self._joint)
            return
        self.views.showSpine()
        self._hide(bool(self.ui.blindedBox.checked))

    def onSurvey(self, *_unused: object) -> None:
        """Show projections and curved sections of the whole scan, or the joint again."""
        if self.views.seen != SURVEY:
            self.views.showSurvey()
        else:
            self.views.showJoint(None)
            if self._joint:
                self._look(self._joint)

    def _nextWindow(self) -> None:
        combo = self.ui.windowSelector
        combo.setCurrentIndex((combo.currentIndex + 1) % combo.count)

    def onWindow(self, *_unused: object) -> None:
        """Show the SPECT in another window."""
        from CTSpectSpineLib.panel.reading_keys import WINDOWS

        self.views.setWindow(WINDOWS[max(self.ui.windowSelector.currentIndex, 0)])

    def _give(self, grade: str) -> None:
        if self._joint:
            self.ui.gradeSelector.setCurrentIndex(self._grades.index(grade))
        else:
            self._say(_("Go to a joint first (N)."))

    def onGrade(self, *_unused: object) -> None:
        """Take grade and note of the joint."""
        from CTSpectSpineLib.results.reading import Grade

        record = self.panel.record
        row = record.row(self._joint) if record is not None else None
        if self._filling or row is None or self._open is None:
            return
        reading = self._open.reading
        grade = self._grades[max(self.ui.gradeSelector.currentIndex, 0)]
        note = str(self.ui.noteText.text).strip()
        known = reading.grade_of(row.joint)
        if known is None and not grade:
            if note:
                self._say(_("Give the joint a grade, with which the note is kept."))
            return
        if known is None or (known.grade, known.note) != (grade, note):
            place = (row.joint, row.level, row.kind, row.side)
            self._keep(reading.with_grade(Grade(*place, grade, note)))

    def _typeNote(self) -> None:
        if self._joint:
            self.ui.noteText.setFocus()

    def onNoteDone(self) -> None:
        """Leave the note: the keys are the reader's again."""
        self.ui.readingButton.setFocus()

    def note(self, what: str, decision: str) -> None:
        """Keep what was decided while the reading lasts."""
        if self.active and self._open is not None:
            self._keep(self._open.reading.with_decision(what, decision))

    def onSave(self, *_unused: object) -> None:
        """Write the reading into the results folder."""
        from CTSpectSpineLib.results.reading import write_reading

        with errorsShown(_("The reading cannot be saved.")):
            folder, entry = self.panel.resultsFolder(), self._open
            if folder is None or entry is None:
                raise RuntimeError(_("The results folder is not there any more."))
            reading = replace(
                entry.reading,
                reader=self._name(),
                patient=str(self.ui.patientName.text).strip(),
                blinded=bool(self.ui.blindedBox.checked),
            )
            write_reading(folder, reading)
            self._open = replace(entry, reading=reading, saved=True)
            self._readings.keep(*self._key, self._open)
            self._say(_("Reading saved in {folder}").format(folder=folder))
            self.panel.update()

    def _say(self, text: str) -> None:
        self.panel.analysis.say(text)
