"""What the views show while somebody reads: a joint, the spine, or the whole scan at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer

from CTSpectSpineWidgets.views import registerLayout, showLayout

if TYPE_CHECKING:
    from CTSpectSpine import CTSpectSpineWidget
    from CTSpectSpineLib.joint_table import Row

JOINT, SPINE, SURVEY = "joint", "spine", "survey"


class ReaderViews:
    """The reader's layouts; the user's own is back when the reading ends.

    Parameters
    ----------
    panel
        The module's panel.

    Attributes
    ----------
    seen
        What is shown: a joint, the spine in the module's layout, or the whole scan (`SURVEY`).
    """

    def __init__(self, panel: CTSpectSpineWidget) -> None:
        self.panel, self.seen = panel, JOINT
        self._layoutBefore = -1

    def begin(self, layout: bool = True) -> None:
        """Fill the reader's views with the images of the panel's results."""
        from CTSpectSpineLib.scene.reading import READING_LAYOUT_ID, begin_reading

        nodes = self.panel.nodes
        if nodes is not None:
            if layout:
                self.seen = JOINT
                self._showLayout(READING_LAYOUT_ID)
            begin_reading(slicer.mrmlScene, nodes)

    def end(self) -> None:
        """Give layout and crosshair back."""
        from CTSpectSpineLib.scene.reading import end_reading

        end_reading(slicer.mrmlScene)
        manager, before, self._layoutBefore = slicer.app.layoutManager(), self._layoutBefore, -1
        if manager is not None and before >= 0:
            manager.setLayout(before)

    def showJoint(self, row: Row | None) -> None:
        """Show the views of a joint; None for those of the joint before."""
        from CTSpectSpineLib.scene.reading import READING_LAYOUT_ID, read_joint

        nodes, self.seen = self.panel.nodes, JOINT
        self._showLayout(READING_LAYOUT_ID)
        if nodes is not None and row is not None:
            read_joint(slicer.mrmlScene, nodes, row)

    def showSpine(self) -> None:
        """Show the spine in the module's layout."""
        self.seen = SPINE
        showLayout()
        self.panel.views.show()

    def showSurvey(self) -> None:
        """Show projections of the whole SPECT and curved sections of the spine."""
        from CTSpectSpineLib.scene.survey import SURVEY_LAYOUT_ID, show_survey

        nodes, self.seen = self.panel.nodes, SURVEY
        if nodes is not None:
            self._showLayout(SURVEY_LAYOUT_ID)
            show_survey(slicer.mrmlScene, nodes)

    def setWindow(self, top: float | None) -> None:
        """Show the SPECT up to a multiple of the reference; None for the usual scale."""
        from CTSpectSpineLib.scene.colours import automatic_top
        from CTSpectSpineLib.scene.reading import set_window

        nodes, record = self.panel.nodes, self.panel.record
        if nodes is not None and record is not None:
            set_window(nodes, automatic_top(record.rows) if top is None else top)

    def _showLayout(self, layout: int) -> None:
        from CTSpectSpineLib.scene.reading import READING_LAYOUT_ID
        from CTSpectSpineLib.scene.survey import SURVEY_LAYOUT_ID

        manager = slicer.app.layoutManager()
        if manager is not None:
            registerLayout()
            before = manager.layoutLogic().GetLayoutNode().GetViewArrangement()
            if before not in (READING_LAYOUT_ID, SURVEY_LAYOUT_ID):
                self._layoutBefore = before
            manager.setLayout(layout)
