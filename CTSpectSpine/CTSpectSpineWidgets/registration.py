"""Registration check: look, adjust by hand, register again, accept or reject."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from CTSpectSpineLib.wording import wording
from CTSpectSpineWidgets.common import (
    Section,
    coloured,
    enable,
    errorsShown,
    escaped,
    fillCombo,
)

if TYPE_CHECKING:
    from CTSpectSpineLib.results.shown import Record
    from CTSpectSpineLib.scene.mrml import Node
    from CTSpectSpineLib.scene.presentation import Look

_MOVED = _("The SPECT has been moved since it was measured: use this position, or put it back.")
_DECISIONS = {"accepted": _("You accepted it."), "rejected": _("You rejected it.")}


class RegistrationSection(Section):
    """The registration of the shown analysis."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self._adjusted: Node | None = None
        from CTSpectSpineLib.scene.views import OVERLAYS

        fillCombo(self.ui.overlaySelector, OVERLAYS)
        self.ui.overlaySelector.connect("currentIndexChanged(int)", self.onOverlay)
        self.ui.opacitySlider.connect("valueChanged(int)", self.onOpacity)
        self.ui.adjustButton.connect("toggled(bool)", self.onAdjust)
        self.ui.resetButton.connect("clicked(bool)", self.onReset)
        self.ui.registerAgainButton.connect("clicked(bool)", self.onRegisterAgain)
        self.ui.usePositionButton.connect("clicked(bool)", self.onUsePosition)
        self.ui.acceptButton.connect("clicked(bool)", self.onAccept)
        self.ui.rejectButton.connect("clicked(bool)", self.onReject)

    def show(self) -> None:
        """Show the registration of the panel's results."""
        record, nodes = self.panel.record, self.panel.nodes
        self.stopAdjusting()
        if record is None or nodes is None:
            self.ui.registrationLabel.text = self.panel.nothingShown()
        elif record.registration["quality"] != "good" and not record.decision:
            self.ui.registrationCollapsibleButton.collapsed = False
        fillCombo(self.ui.overlaySelector, self._overlays(), self._overlays()[0])
        self.update()

    def _overlays(self) -> tuple[str, ...]:
        from CTSpectSpineLib.scene.views import OVERLAYS

        return OVERLAYS

    def _text(self, record: Record) -> str:
        registration = record.registration
        quality, error = registration["quality"], registration.get("expected_error_mm")
        words = _("Registration: {quality}").format(quality=wording("quality", quality)["text"])
        text = coloured(self.ui.registrationLabel, quality, words)
        if error is not None:
            sentence = _("{registration}, expected error {error:.1f} mm")
            text = sentence.format(registration=text, error=error)
        parts = [text, *(escaped(reason) for reason in registration.get("reasons", ()))]
        if record.decision:
            parts.append(f"<b>{_DECISIONS[record.decision]}</b>")
        if self.moved():
            parts.append(coloured(self.ui.registrationLabel, "check", _MOVED))
        return "<br>".join(parts)

    def update(self) -> None:
        """Enable the buttons, and say where the SPECT does not lie where it was measured."""
        ui, record = self.ui, self.panel.record
        if record is not None:
            ui.registrationLabel.text = self._text(record)
        shown = "" if record is not None else _("Run an analysis first.")
        if self.panel.analysis.running:
            shown = _("Wait for the running analysis, or cancel it.")
        # What is to be measured again needs the images that were registered.
        again = shown or self.panel.changedImages()
        isMoved = self.moved()
        unmoved = again or ("" if isMoved else _("Adjust the position by hand first."))
        enable(ui.adjustButton, again, _("Move and turn the SPECT with handles."))
        enable(ui.resetButton, unmoved, _("Put the SPECT back where the registration put it."))
        tip = _("Register again, starting from where the SPECT lies now.")
        enable(ui.registerAgainButton, again, tip)
        tip = _("Measure with the SPECT exactly where it lies now.")
        enable(ui.usePositionButton, unmoved, tip)
        decision = record.decision if record else ""
        accepted = _("It has already been accepted.") if decision == "accepted" else ""
        rejected = _("It has already been rejected.") if decision == "rejected" else ""
        if not shown and isMoved:
            accepted = _MOVED
        measures = self.panel.changedImages() if self._measuresToAccept() else ""
        tip = _("Record that you have checked and accepted the registration.")
        enable(ui.acceptButton, shown or accepted or measures, tip)
        tip = _("Record that the registration is wrong: the verdict does not count.")
        enable(ui.rejectButton, shown or rejected, tip)
        for widget in (ui.overlaySelector, ui.opacitySlider):
            widget.enabled = record is not None

    def moved(self) -> bool:
        """Whether the SPECT lies elsewhere than where it was measured."""
        from CTSpectSpineLib.scene.position import moved

        nodes, record = self.panel.nodes, self.panel.record
        return nodes is not None and record is not None and moved(nodes, record)

    def _measuresToAccept(self) -> bool:
        """Whether there is no verdict before the registration is accepted."""
        record = self.panel.record
        if record is None:
            return False
        settings = record.manifest.get("parameters") or {}
        failed = record.registration["quality"] == "failed"
        return record.decision == "rejected" or (
            failed and record.decision != "accepted" and not settings.get("accept_registration")
        )

    def look(self) -> Look:
        """How CT and SPECT are shown together."""
        from CTSpectSpineLib.scene.presentation import Look

        return Look(self.ui.opacitySlider.value / 100.0, self.ui.overlaySelector.currentText)

    def onOverlay(self, *_unused: object) -> None:
        """Show CT and SPECT in another way."""
        from CTSpectSpineLib.scene.views import show_overlay

        nodes = self.panel.nodes
        if nodes is None:
            return
        name = self.ui.overlaySelector.currentText
        with errorsShown(_("The overlay cannot be shown.")):
            show_overlay(slicer.mrmlScene, name, nodes.ct, nodes.relative or nodes.spect)
        if name == self._overlays()[0]:
            self.onOpacity()

    def onOpacity(self, *_unused: object) -> None:
        """Let the SPECT cover the CT more or less."""
        from CTSpectSpineLib.scene.views import set_opacity

        if self.panel.nodes is not None:
            set_opacity(slicer.mrmlScene, self.ui.opacitySlider.value / 100.0)

    def onAdjust(self, on: bool) -> None:
        """Show or hide the handles."""
        from CTSpectSpineLib.scene.views import edit_by_hand, middle_lps

        transform, self._adjusted = self._adjusted, None
        if transform is not None and transform.GetScene() is not None:
            edit_by_hand(transform, False)
        nodes = self.panel.nodes
        if on and nodes is not None and nodes.transform is not None:
            self.ui.overlaySelector.setCurrentIndex(0)
            self._adjusted = nodes.transform
            edit_by_hand(nodes.transform, True, middle_lps(nodes.ct))

    def stopAdjusting(self) -> None:
        """Hide the handles."""
        if self.ui.adjustButton.checked:
            self.ui.adjustButton.checked = False

    def onReset(self, *_unused: object) -> None:
        """Put the SPECT back."""
        from CTSpectSpineLib.scene.position import put_back

        put_back(*self.panel.shown())
        self.update()

    def onRegisterAgain(self, *_unused: object) -> None:
        """Register from where the SPECT lies."""
        with errorsShown(_("The registration cannot start.")):
            nodes, _record = self.panel.shown()
            self.panel.measureAgain(initial=nodes.transform)

    def onUsePosition(self, *_unused: object) -> None:
        """Measure where the SPECT lies."""
        with errorsShown(_("The measurement cannot start.")):
            nodes, _record = self.panel.shown()
            self.panel.measureAgain(
                transform=nodes.transform,
                whenDone=lambda folder: self.panel.decide("accepted", adjusted=True),
            )

    def onAccept(self, *_unused: object) -> None:
        """Record that the registration is accepted; without a verdict so far there is one then."""
        with errorsShown(_("The decision cannot be recorded.")):
            if self.moved():
                raise RuntimeError(_MOVED)
            if self._measuresToAccept():
                self.panel.measureAgain(
                    settings={"accept_registration": True},
                    whenDone=lambda folder: self.panel.decide("accepted"),
                )
            else:
                self.panel.decide("accepted")

    def onReject(self, *_unused: object) -> None:
        """Record that the registration is rejected."""
        with errorsShown(_("The decision cannot be recorded.")):
            self.panel.decide("rejected")
