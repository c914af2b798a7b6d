"""The tour as a guide in the panel: what to press next, and whether it was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from CTSpectSpineWidgets.common import Section, enable

if TYPE_CHECKING:
    from CTSpectSpineLib.scene.mrml import Node


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes
    ----------
    name
        What `TourSection.isDone` asks for.
    words
        What to do.
    sections
        Beginnings of the names of the sections that it needs, which are opened.
    """

    name: str
    words: str
    sections: tuple[str, ...]


STEPS = (
    Step(
        "images",
        _(
            "CT, SPECT and vertebrae of the phantom are chosen under 'Inputs'. For images of your "
            "own use 'Load a study', Slicer's DICOM browser, or any volumes."
        ),
        ("inputs",),
    ),
    Step(
        "results",
        _(
            "Press 'Analyse'. It takes a minute or two; the window stays responsive, and 'Cancel' "
            "leaves everything as it was."
        ),
        ("inputs",),
    ),
    Step(
        "registration",
        _(
            "Does the SPECT lie on the CT? Choose 'checkerboard' or 'bone edges' under 'Show as' "
            "and look; then press 'Accept' or 'Reject'."
        ),
        ("registration",),
    ),
    Step(
        "levels",
        _(
            "The names stand beside the vertebrae. Press 'Confirm levels' where they are right; "
            "joints and verdict follow in seconds. A wrong outline: edit it in the Segment Editor "
            "and press 'Measure again with edited outlines'."
        ),
        ("levels",),
    ),
    Step(
        "joint",
        _(
            "What was found stands in one sentence below 'Analyse'. Click on the joint that lies "
            "highest, in the table or in the plot: all views go there."
        ),
        ("results", "plot"),
    ),
    Step(
        "reading",
        _(
            "Type your name under 'Reading' and press 'Read by keyboard'. N goes from joint to "
            "joint, P shows the whole scan, 2 says that a joint is positive, 0 that it is not; "
            "S saves."
        ),
        ("reading",),
    ),
    Step(
        "saved",
        _(
            "The results are temporary until you save them: press 'Save results' under 'Export'. "
            "'Report' shows them on one page. That was the tour; 'Batch' analyses many patients."
        ),
        ("export",),
    ),
)
"""The steps, in the order of docs/slicer.md."""


class TourSection(Section):
    """The guide; it is seen only while a tour lasts.

    Attributes
    ----------
    place
        Number of the step from 0; -1 while there is no tour.
    """

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self.place = -1
        self.ui.tourBackButton.connect("clicked(bool)", self.onBack)
        self.ui.tourNextButton.connect("clicked(bool)", self.onNext)
        self.ui.tourEndButton.connect("clicked(bool)", self.onEnd)
        self.update()

    def begin(self, ct: Node, spect: Node, vertebrae: Node) -> None:
        """Choose the images of a case, and show the first step."""
        ui = self.ui
        ui.ctSelector.setCurrentNode(ct)
        ui.spectSelector.setCurrentNode(spect)
        ui.vertebraeSelector.setCurrentNode(vertebrae)
        self._show(0)

    def isDone(self, name: str) -> bool:
        """Whether what a step asks for has been done."""
        panel, record = self.panel, self.panel.record
        if name == "images":
            return not panel.missingInput()
        if record is None:
            return False
        folder = panel.resultsFolder()
        return {
            "results": True,
            "registration": bool(record.decision),
            "levels": record.levels_confirmed_by_user,
            "joint": bool(panel.plot.marked),
            "reading": folder is not None and (folder / "reading.csv").is_file(),
            "saved": folder is not None and not panel.logic.workplace().holds(folder),
        }[name]

    def update(self) -> None:
        """Show the step, and whether it was done."""
        ui, on = self.ui, 0 <= self.place < len(STEPS)
        ui.tourCollapsibleButton.visible = on
        off = "" if on else _("The tour begins in the module Sample Data.")
        first = "" if self.place else _("This is the first step.")
        enable(ui.tourBackButton, off or first, _("Go to the step before."))
        last = _("This is the last step.") if self.place == len(STEPS) - 1 else ""
        enable(ui.tourNextButton, off or last, _("Go to the next step, done or not."))
        enable(ui.tourEndButton, off, _("Close the tour; nothing else changes."))
        if not on:
            return
        step = STEPS[self.place]
        number = f"{self.place + 1} / {len(STEPS)}"
        done = _("Done.") if self.isDone(step.name) else _("Not done yet.")
        ui.tourLabel.text = f"{number}: {step.words}"
        ui.tourDoneLabel.text = done

    def onBack(self, *_unused: object) -> None:
        """Show the step before."""
        self._show(self.place - 1)

    def onNext(self, *_unused: object) -> None:
        """Show the next step."""
        self._show(self.place + 1)

    def onEnd(self, *_unused: object) -> None:
        """End the tour."""
        self._show(-1)

    def _show(self, place: int) -> None:
        self.place = place
        for section in STEPS[place].sections if place >= 0 else ():
            getattr(self.ui, f"{section}CollapsibleButton").collapsed = False
        self.update()
