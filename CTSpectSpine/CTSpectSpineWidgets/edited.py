"""Measure again with outlines that were edited in the Segment Editor; the record says so."""

from __future__ import annotations

from slicer.i18n import tr as _

from CTSpectSpineWidgets.common import Section, enable, errorsShown


class EditedSection(Section):
    """The outlines of vertebrae and joints, corrected by a person."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self.ui.measureEditedButton.connect("clicked(bool)", self.onMeasure)

    def show(self) -> None:
        """Say which outlines of the panel's results were edited."""
        record = self.panel.record
        names = [] if record is None else [*record.edited_vertebrae, *record.edited_joints]
        text = _("Edited by hand: {names}.").format(names=", ".join(names))
        self.ui.editedLabel.text = text if names else ""
        self.ui.editedLabel.visible = bool(names)

    def update(self) -> None:
        """Enable the button."""
        nodes = self.panel.nodes
        missing = "" if nodes is not None else _("Run an analysis first.")
        if nodes is not None and nodes.vertebrae is None:
            missing = _("The segmentation of the vertebrae has been deleted.")
        missing = missing or self.panel.changedImages()
        if self.panel.analysis.running:
            missing = missing or _("Wait for the running analysis, or cancel it.")
        tip = _(
            "Measure with vertebrae and joints as they are now, after they were edited by hand."
        )
        enable(self.ui.measureEditedButton, missing, tip)

    def onMeasure(self, *_unused: object) -> None:
        """Measure again, where something was edited."""
        with errorsShown(_("The measurement cannot start.")):
            from CTSpectSpineLib.scene.edits import edited_joints, edited_vertebrae

            nodes, record = self.panel.shown()
            labels, levels = edited_vertebrae(nodes)
            joints = edited_joints(nodes)
            if not levels and not joints:
                text = _("No vertebra and no joint was edited since they were measured.")
                self.panel.analysis.say(text)
                return
            kept = {}
            if levels:
                byUser = record.levels_confirmed_by_user
                kept = {
                    "confirm_levels": byUser,
                    "keep_levels": record.levels_confirmed and not byUser,
                    "doubted_levels": ",".join(record.doubted_levels) or None,
                }
            self.panel.measureAgain(
                vertebrae=labels if levels else None, edited=levels, joints=joints, settings=kept
            )
