"""Levels check: other names for the vertebrae, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from CTSpectSpineWidgets.common import QtObject, Section, enable, errorsShown, fillCombo

if TYPE_CHECKING:
    import SimpleITK as sitk

    from CTSpectSpineLib.labelling.levels.numbering import Numbering
    from CTSpectSpineLib.results.shown import Record
    from CTSpectSpineLib.scene.mrml import Node
    from CTSpectSpineLib.scene.nodes import SceneNodes


class LevelsSection(Section):
    """The names of the vertebrae of the shown analysis."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self._numbering: Numbering | None = None
        self._known: dict[str, tuple[Numbering, sitk.Image]] = {}
        self._picked: Node | None = None
        self._extras = {"L6": self.ui.extraL6, "T13": self.ui.extraT13}
        self.ui.shiftUpButton.connect("clicked(bool)", self.onShiftUp)
        self.ui.shiftDownButton.connect("clicked(bool)", self.onShiftDown)
        self.ui.setLevelButton.connect("clicked(bool)", self.onSetLevel)
        self.ui.pickVertebraButton.connect("toggled(bool)", self.onPick)
        self.ui.extraL6.connect("toggled(bool)", self.onExtraL6)
        self.ui.extraT13.connect("toggled(bool)", self.onExtraT13)
        self.ui.sacralised.connect("toggled(bool)", self.onSacralised)
        self.ui.confirmLevelsButton.connect("clicked(bool)", self.onConfirm)
        self.ui.vertebraSelector.connect("currentIndexChanged(int)", self.onVertebra)

    @property
    def _buttons(self) -> dict[QtObject, str]:
        ui = self.ui
        return {
            ui.shiftUpButton: _("Name every vertebra one level higher (L5 becomes L4)."),
            ui.shiftDownButton: _("Name every vertebra one level lower (L4 becomes L5)."),
            ui.setLevelButton: _("Rename this vertebra; all others are renumbered from it."),
            ui.pickVertebraButton: _("Then click on a vertebra in a slice view."),
            ui.extraL6: _("This spine has a sixth lumbar vertebra."),
            ui.extraT13: _("This spine has a thirteenth thoracic vertebra."),
            ui.sacralised: _(
                "The lowest lumbar vertebra is fused with the sacrum and counts as part of it."
            ),
        }

    def show(self) -> None:
        """Show the names of the panel's results."""
        record = self.panel.record
        self.stopPicking()
        if record is None or not record.levels:
            self._numbering = None
            self._known.clear()
            self.ui.levelsLabel.text = self.panel.nothingShown()
        else:
            self._numbering = self._measured()
            known = _trust(record)
            self.ui.levelsLabel.text = _("Levels ({known}): {levels}").format(
                known=known, levels=", ".join(record.levels)
            )
            if not record.levels_confirmed:
                self.ui.levelsCollapsibleButton.collapsed = False
        self._showNumbering()
        self.update()

    def _showNumbering(self) -> None:
        numbering = self._numbering
        chosen = self.ui.vertebraSelector.currentIndex
        names = self._namesNow()
        fillCombo(
            self.ui.vertebraSelector, names, names[chosen] if 0 <= chosen < len(names) else None
        )
        self.onVertebra()
        for name, box in self._extras.items():
            self._check(box, numbering is not None and name in numbering.extra)
        self._check(self.ui.sacralised, numbering is not None and numbering.sacralised)

    def _measured(self) -> Numbering:
        """The numbering of the shown results: of the label map they began with, if it is known."""
        from CTSpectSpineLib.labelling.levels.numbering import numbering_of

        nodes, record = self.panel.shown()
        known = self._known.get(_identity(nodes))
        if known:
            return known[0]
        from CTSpectSpineLib.labelling.levels.column_order import missing_vertebrae
        from CTSpectSpineLib.scene.level_names import level_centres

        centres = {} if nodes.levels is None else level_centres(nodes.levels)
        placed = set(record.levels) <= set(centres)
        return numbering_of(record.levels, missing_vertebrae(centres) if placed else None)

    def _labels(self) -> sitk.Image:
        """The label map that the numbering belongs to."""
        nodes, _record = self.panel.shown()
        known = self._known.get(_identity(nodes))
        return known[1] if known else self.panel.logic.labels(nodes)

    def _namesNow(self) -> list[str]:
        """What the vertebrae of the label map are called now, cranial to caudal."""
        if self._numbering is None:
            return []
        mapping, names = self._numbering.mapping(), self._numbering.presacral
        joined = _("{name} (sacrum)")
        return [
            mapping[name] if mapping[name] in self._numbering.chain else joined.format(name=name)
            for name in names
        ]

    def _check(self, box: QtObject, checked: bool) -> None:
        box.blockSignals(True)
        box.checked = checked
        box.blockSignals(False)

    def update(self) -> None:
        """Enable the buttons."""
        missing = "" if self._numbering else _("Run an analysis first.")
        nodes = self.panel.nodes
        if not missing and (nodes is None or nodes.vertebrae is None):
            missing = _("The segmentation of the vertebrae has been deleted.")
        missing = missing or self.panel.changedImages()
        if self.panel.analysis.running:
            missing = missing or _("Wait for the running analysis, or cancel it.")
        for button, tip in self._buttons.items():
            enable(button, missing, tip)
        record = self.panel.record
        confirmed = record is not None and record.levels_confirmed_by_user
        done = _("You have confirmed the levels.") if confirmed and not self._pending() else ""
        tip = _("Record that you have checked the names of the vertebrae.")
        enable(self.ui.confirmLevelsButton, missing or done, tip)
        for combo in (self.ui.vertebraSelector, self.ui.levelSelector):
            combo.enabled = not missing

    def onVertebra(self, *_unused: object) -> None:
        """Offer the levels, with the vertebra's own level selected."""
        numbering = self._numbering
        levels = numbering.chain if numbering else []
        fillCombo(self.ui.levelSelector, levels, self.ui.vertebraSelector.currentText)

    def onShiftUp(self, *_unused: object) -> None:
        """Name all one level higher."""
        self._change(lambda numbering: numbering.shifted(-1))

    def onShiftDown(self, *_unused: object) -> None:
        """Name all one level lower."""
        self._change(lambda numbering: numbering.shifted(1))

    def onSetLevel(self, *_unused: object) -> None:
        """Name one vertebra."""
        index = self.ui.vertebraSelector.currentIndex
        level = self.ui.levelSelector.currentText
        self._change(lambda numbering: numbering.with_level(numbering.presacral[index], level))

    def onExtraL6(self, present: bool) -> None:
        """Insert or remove L6."""
        self._change(lambda numbering: numbering.with_extra("L6", present))

    def onExtraT13(self, present: bool) -> None:
        """Insert or remove T13."""
        self._change(lambda numbering: numbering.with_extra("T13", present))

    def onSacralised(self, present: bool) -> None:
        """Join the lowest lumbar vertebra to the sacrum, or no longer."""
        self._change(lambda numbering: numbering.with_sacralised(present))

    def onConfirm(self, *_unused: object) -> None:
        """Record that the names are right."""
        with errorsShown(_("The levels cannot be confirmed.")):
            self._measure(confirm_levels=True)

    def _change(self, change: Callable[[Numbering], Numbering]) -> None:
        if self._numbering is None:
            return
        try:
            with errorsShown(_("The levels cannot be changed.")):
                self._numbering = change(self._numbering)
                self._preview()
                if self._pending():
                    # A level that is lost is a reason to look again, not a confirmation; nor can
                    # a name settle what the checks doubt, such as two vertebrae in one label.
                    numbering = self._numbering
                    gaps = any((numbering.apart or {}).values())
                    self._measure(named_levels=not numbering.gap and not gaps)
        finally:
            self._showNumbering()

    def _pending(self) -> bool:
        """Whether a vertebra is called otherwise than in the shown results."""
        if self._numbering is None or self.panel.record is None:
            return False
        return self._numbering.mapping() != self._measured().mapping()

    def _preview(self) -> None:
        """Show the new names in the views before anything is measured."""
        from CTSpectSpineLib.scene.level_names import show_numbering

        nodes, numbering = self.panel.nodes, self._numbering
        if nodes is not None and nodes.levels is not None and numbering is not None:
            shown, new = self._measured().mapping(), numbering.mapping()
            show_numbering(nodes.levels, {shown[found]: new[found] for found in new})

    def forget(self) -> None:
        """Take back names that were not measured, after a cancel or an error."""
        if self._numbering is not None and self.panel.record is not None:
            self._numbering = self._measured()
            self._preview()
            self._showNumbering()

    def _measure(self, **settings: bool) -> None:
        from CTSpectSpineLib.labelling.levels.numbering import renumber

        numbering = self._numbering
        if numbering is None:
            return
        base = self._labels()

        def keep(folder: Path) -> None:
            nodes, _record = self.panel.shown()
            self._known[_identity(nodes)] = (numbering, base)
            self.show()
            decided = "confirmed" if settings.get("confirm_levels") else "changed"
            self.panel.reading.note("levels", decided)

        self.panel.measureAgain(
            vertebrae=renumber(base, numbering.mapping()),
            settings=settings,
            whenDone=keep,
        )

    def onPick(self, on: bool) -> None:
        """Let the user click on a vertebra."""
        if not on:
            self.stopPicking()
            return
        from CTSpectSpineLib.scene.mrml import add_node

        self._picked = add_node(slicer.mrmlScene, "vtkMRMLMarkupsFiducialNode", "Picked vertebra")
        self._picked.SetHideFromEditors(True)
        self._picked.SetSaveWithScene(False)
        self.panel.addObserver(self._picked, self._picked.PointPositionDefinedEvent, self.onPicked)
        placePoint(self._picked)

    def onPicked(self, caller: Node = None, event: object = None) -> None:
        """Choose the vertebra that was clicked."""
        from CTSpectSpineLib.scene.level_names import nearest_level

        nodes, picked = self.panel.nodes, self._picked
        if nodes is None or nodes.levels is None or picked is None:
            return
        if not picked.GetNumberOfControlPoints():
            return
        point = picked.GetNthControlPointPosition(picked.GetNumberOfControlPoints() - 1)
        level = nearest_level(nodes.levels, point) or ""
        index = self.ui.vertebraSelector.findText(level)
        if index >= 0:
            self.ui.vertebraSelector.setCurrentIndex(index)
            self.onVertebra()
        # Later: the node that is removed is calling this.
        qt.QTimer.singleShot(0, self.stopPicking)

    def stopPicking(self) -> None:
        """Leave the mode in which the user clicks on a vertebra."""
        picked, self._picked = self._picked, None
        if picked is not None:
            self.panel.removeObserver(picked, picked.PointPositionDefinedEvent, self.onPicked)
            stopPlacing()
            slicer.mrmlScene.RemoveNode(picked)
        self._check(self.ui.pickVertebraButton, False)


def _trust(record: Record) -> str:
    """How far the names can be relied on, and who says so."""
    if record.levels_confirmed_by_user:
        return _("confirmed by you")
    if record.levels_confirmed and record.doubted_levels:
        return _("plausible but for {names}").format(names=", ".join(record.doubted_levels))
    return _("plausible") if record.levels_confirmed else _("not confirmed")


def _identity(nodes: SceneNodes) -> str:
    """Identifier of an analysis in its scene."""
    return "" if nodes.manifest is None else str(nodes.manifest.GetID())


def placePoint(node: Node) -> None:
    """Let the user place one point in a view."""
    logic = slicer.app.applicationLogic()
    selection, interaction = logic.GetSelectionNode(), logic.GetInteractionNode()
    if selection is None or interaction is None:
        return
    selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
    selection.SetActivePlaceNodeID(node.GetID())
    interaction.SetPlaceModePersistence(0)
    interaction.SetCurrentInteractionMode(interaction.Place)


def stopPlacing() -> None:
    """Leave the mode in which points are placed."""
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    if interaction is not None:
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
