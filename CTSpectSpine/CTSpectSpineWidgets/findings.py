"""Uptake outside the joints: one row per finding, a click goes there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from CTSpectSpineWidgets.common import Section, statusColour

if TYPE_CHECKING:
    from CTSpectSpineLib.finding import ShownFinding

_MOST_ROWS = 4
"""Rows that are seen at once. Judgement: more are rare, and the joints below matter more."""

_ROW = 22
"""Height of a row, pixels. Convention: that of the table of joints."""


class FindingsSection(Section):
    """The findings of the shown analysis."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self._findings: tuple[ShownFinding, ...] = ()
        table = self.ui.findingsTable
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setStretchLastSection(True)
        table.verticalHeader().setDefaultSectionSize(_ROW)
        table.connect("currentCellChanged(int,int,int,int)", self.onRow)
        table.connect("cellClicked(int,int)", self.onRow)

    def show(self) -> None:
        """Show the findings of the panel's results."""
        record, ui = self.panel.record, self.ui
        ui.measuredLabel.text = "" if record is None else record.measured_with
        ui.findingsCollapsibleButton.visible = record is not None
        self._findings = () if record is None else record.findings
        unexplained = [finding for finding in self._findings if not finding.physiologic]
        if not self._findings:
            text = _("No uptake that no joint explains.")
        else:
            text = _("{count} that no joint explains, {others} that look physiologic.").format(
                count=len(unexplained), others=len(self._findings) - len(unexplained)
            )
        ui.findingsLabel.text = text
        if unexplained:
            ui.findingsCollapsibleButton.collapsed = False
        self._fill()

    def _fill(self) -> None:
        table = self.ui.findingsTable
        table.visible = bool(self._findings)
        table.blockSignals(True)
        table.setRowCount(0)
        table.setRowCount(len(self._findings))
        for i, finding in enumerate(self._findings):
            ratio = "–" if math.isnan(finding.ratio) else f"{finding.ratio:.1f}"
            what = finding.physiologic or _("unexplained, {confidence} confidence").format(
                confidence=finding.confidence or _("unknown")
            )
            word = "not_measurable" if finding.physiologic else "indeterminate"
            ink = qt.QBrush(qt.QColor(statusColour(table.palette, word)))
            for j, text in enumerate((finding.place, ratio, what)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(finding.sentence)
                item.setForeground(ink)
                table.setItem(i, j, item)
        table.blockSignals(False)
        table.setFixedHeight(_ROW * (min(len(self._findings), _MOST_ROWS) + 1) + 8)

    def onRow(self, row: int, *_unused: object) -> None:
        """Let the views jump to a finding."""
        from CTSpectSpineLib.scene.framing import frame

        if not 0 <= row < len(self._findings):
            return
        finding = self._findings[row]
        if finding.centre_lps is not None:
            frame(slicer.mrmlScene, finding.centre_lps)
        slicer.util.showStatusMessage(finding.sentence, 5000)
