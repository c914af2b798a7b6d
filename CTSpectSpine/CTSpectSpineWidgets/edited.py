"""Measure again with vertebrae that were edited in the Segment Editor; the record says so."""

from __future__ import annotations

from slicer.i18n import tr as _

from CTSpectSpineWidgets.common import Section, enable, errorsShown


class EditedSection(Section):
    """The outlines of the vertebrae, corrected by a person."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self.ui.measureEditedButton.connect("clicked(bool)", self.onMeasure)

    def show(self) -> None:
        """Say which outlines of the panel's results were edited."""
        record = self.panel.record
        edited = "" if record is None else str(record.manifest["parameters"].get("edited") or "")
        text = _("Edited by hand: {levels}.").format(levels=edited.replace(",", ", "))
        self.ui.editedLabel.text = text if edited else ""
        self.ui.editedLabel.visible = bool(edited)

    def update(self) -> None:
        """Enable the button."""
        nodes = self.panel.nodes
        missing = "" if nodes is not None else _("Run an analysis first.")
        if nodes is not None and nodes.vertebrae is None:
            missing = _("The segmentation of the vertebrae has been deleted.")
        missing = missing or self.panel.changedImages()
        if self.panel.analysis.running:
            missing = missing or _("Wait for the running analysis, or cancel it.")
        tip = _("Measure with the vertebrae as they are now, after they were edited by hand.")
        enable(self.ui.measureEditedButton, missing, tip)

    def onMeasure(self, *_unused: object) -> None:
        """Measure again, where something was edited."""
        with errorsShown(_("The measurement cannot start.")):
            from CTSpectSpineLib.scene.edits import edited_vertebrae

            nodes, record = self.panel.shown()
            labels, levels = edited_vertebrae(nodes)
            if not levels:
                self.panel.analysis.say(_("No vertebra was edited since it was measured."))
                return
            before = str(record.manifest["parameters"].get("edited") or "")
            edited = dict.fromkeys([*filter(None, before.split(",")), *levels])
            byUser = record.levels_confirmed_by_user
            self.panel.measureAgain(
                vertebrae=labels,
                settings={
                    "edited": ",".join(edited),
                    "confirm_levels": byUser,
                    "keep_levels": record.levels_confirmed and not byUser,
                },
            )
