"""Results: the verdict with its reasons, and the table of joints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from CTSpectSpineLib.display import PANEL_HEX
from CTSpectSpineWidgets.common import UPTAKE_WORDS, Section, escaped, fillCombo

if TYPE_CHECKING:
    from CTSpectSpineLib.joint_table import Row
    from CTSpectSpineLib.results.shown import Record
    from CTSpectSpineLib.scene.mrml import Node

_SHOWN, _LEVEL, _KIND, _SIDE, _RATIO, _UPTAKE, _VERDICT = range(7)
_SORTABLE_FROM = _LEVEL
_GREYED = "#767676"


class ResultsSection(Section):
    """The joints and the verdict of the shown analysis."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self._rows: list[Row] = []
        self._filling = False
        self._sorting = (-1, False)
        table = self.ui.jointTable
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setStretchLastSection(True)
        header.setMinimumSectionSize(20)
        table.verticalHeader().setDefaultSectionSize(22)
        header.setSectionsClickable(True)
        header.connect("sectionClicked(int)", self.onSort)
        table.connect("currentCellChanged(int,int,int,int)", self.onRow)
        table.connect("cellClicked(int,int)", self.onRow)
        table.connect("cellChanged(int,int)", self.onCell)
        self._analyses: list[Node] = []
        self.ui.analysisSelector.connect("currentIndexChanged(int)", self.onAnalysis)
        from CTSpectSpineLib.panel.shown_rows import FILTERS

        self._filters = list(FILTERS)
        fillCombo(self.ui.filterSelector, self._filters)
        self.ui.filterSelector.connect("currentIndexChanged(int)", self.onFilter)
        self.ui.searchText.connect("textChanged(QString)", self.onFilter)
        self.ui.protocolsCollapsibleButton.connect("contentsCollapsed(bool)", self.onProtocols)

    def show(self) -> None:
        """Show the panel's results."""
        record = self.panel.record
        self._showAnalyses()
        self.ui.verdictLabel.text = self._verdict(record)
        self.ui.reasonsLabel.text = self._reasons(record)
        self.ui.reasonsCollapsibleButton.visible = record is not None
        self.ui.protocolsCollapsibleButton.visible = record is not None
        self.onProtocols(self.ui.protocolsCollapsibleButton.collapsed)
        self._fill()

    def _showAnalyses(self) -> None:
        """Offer the analyses of the scene, where there is more than one."""
        from CTSpectSpineLib.scene.nodes import analyses, describe

        self._analyses = analyses(slicer.mrmlScene) if self.panel.nodes is not None else []
        combo = self.ui.analysisSelector
        fillCombo(combo, [describe(manifest) for manifest in self._analyses])
        if self.panel.nodes is not None:
            combo.blockSignals(True)
            combo.setCurrentIndex(self._analyses.index(self.panel.nodes.manifest))
            combo.blockSignals(False)
        combo.visible = len(self._analyses) > 1

    def onAnalysis(self, index: int) -> None:
        """Show another analysis of the scene."""
        if 0 <= index < len(self._analyses):
            self.panel.chosen().analysis = self._analyses[index]
            self.panel.showResults(self._analyses[index])
            self.panel.showInViews()

    def _verdict(self, record: Record | None) -> str:
        if record is None:
            return _("No analysis yet.")
        verdict = record.verdict
        if record.decision == "rejected":
            return (
                f'<b style="color:#b00020">{_("No verdict")}</b><br>'
                f"{_('You rejected the registration, so the verdict does not count.')}"
            )
        words = escaped(verdict["disposition"].replace("_", " "))
        parts = [f'<span style="font-size:large"><b>{words}</b></span>']
        if verdict.get("recommendation"):
            parts.append(escaped(verdict["recommendation"]))
        stability = verdict.get("stability")
        if stability is not None:
            text = _("Same in {share} of the repeated measurements").format(
                share=f"{stability:.0%}"
            )
            unstable = verdict.get("stable") is False
            parts.append(f'<b style="color:#b00020">{text}: unstable</b>' if unstable else text)
        eligibility = (verdict.get("eligibility") or {}).get("status")
        protocol = verdict.get("protocol") or {}
        parts.append(
            _("Protocol {id} {version}; eligibility: {status}").format(
                id=escaped(protocol.get("id", "")),
                version=escaped(protocol.get("version", "")),
                status=escaped(str(eligibility or _("unknown")).replace("_", " ")),
            )
        )
        return "<br>".join(parts)

    def _reasons(self, record: Record | None) -> str:
        if record is None:
            return ""
        verdict = record.verdict
        items = [f"<li>{escaped(reason)}</li>" for reason in verdict.get("reasons", ())]
        notes = [f"<li>{escaped(caveat)}</li>" for caveat in verdict.get("caveats", ())]
        heading = f"<b>{_('To be considered')}</b>" if notes else ""
        style = 'style="margin-left:-24px"'
        return f"<ol {style}>{''.join(items)}</ol>{heading}<ul {style}>{''.join(notes)}</ul>"

    def onProtocols(self, collapsed: bool) -> None:
        """Apply all protocols that ship with the module, once their section is open."""
        record = self.panel.record
        if collapsed or record is None:
            self.ui.protocolsLabel.text = ""
            return
        from CTSpectSpineLib.errors import InputError
        from CTSpectSpineLib.panel.side_by_side import side_by_side

        try:
            comparison = side_by_side(record, self.panel.logic.protocols())
        except InputError as error:
            self.ui.protocolsLabel.text = escaped(error)
            return
        rows = [
            f"<p><b>{escaped(verdict.protocol['id'])}: "
            f"{escaped(verdict.disposition.replace('_', ' '))}</b><br>"
            f"{escaped(verdict.recommendation)}</p>"
            for verdict in comparison.verdicts
        ]
        why = [f"<li>{escaped(text)}</li>" for text in comparison.differences]
        heading = _("They agree.") if comparison.agree else _("They differ.")
        self.ui.protocolsLabel.text = (
            f'{"".join(rows)}<b>{heading}</b><ul style="margin-left:-24px">{"".join(why)}</ul>'
        )

    def _fill(self) -> None:
        from CTSpectSpineLib.panel.shown_rows import shown_rows

        record = self.panel.record
        every = record.rows if record is not None else ()
        column, descending = self._sorting
        name = self._filters[max(self.ui.filterSelector.currentIndex, 0)]
        self._rows = shown_rows(every, name, self.ui.searchText.text, column, descending)
        table = self.ui.jointTable
        self._filling = True
        table.setRowCount(0)
        table.setRowCount(len(self._rows))
        for i, row in enumerate(self._rows):
            self._fillRow(i, row)
        self._filling = False
        self.ui.hiddenLabel.text = self._summary(every)

    def _summary(self, rows: Sequence[Row]) -> str:
        if not rows:
            return ""
        counts = [
            f"{sum(row.uptake == name for row in rows)} {word}"
            for name, word in UPTAKE_WORDS.items()
        ]
        return _("{shown} of {all} joints shown: {counts}.").format(
            shown=len(self._rows), all=len(rows), counts=", ".join(counts)
        )

    def _fillRow(self, i: int, row: Row) -> None:
        table = self.ui.jointTable
        texts = {
            _SHOWN: "",
            _LEVEL: row.level,
            _KIND: row.kind,
            _SIDE: row.side,
            _RATIO: row.ratio_text,
            _UPTAKE: UPTAKE_WORDS[row.uptake],
            _VERDICT: row.explanation,
        }
        tip = f"{row.joint}: {row.explanation}" if row.measurable else _notMeasurable(row)
        for j, text in texts.items():
            item = qt.QTableWidgetItem(text)
            item.setToolTip(tip)
            if not row.measurable:
                item.setForeground(qt.QBrush(qt.QColor(_GREYED)))
            table.setItem(i, j, item)
        colour = qt.QColor(PANEL_HEX[row.uptake])
        if row.measurable:
            table.item(i, _UPTAKE).setForeground(qt.QBrush(colour))
        font = table.item(i, _UPTAKE).font()
        font.setBold(True)
        table.item(i, _UPTAKE).setFont(font)
        shown = table.item(i, _SHOWN)
        swatch = qt.QPixmap(12, 12)
        swatch.fill(colour)
        shown.setIcon(qt.QIcon(swatch))
        display = self._display(row.joint)
        if display is not None:
            visible = display.GetSegmentVisibility(row.joint)
            shown.setCheckState(qt.Qt.Checked if visible else qt.Qt.Unchecked)

    def _display(self, joint: str) -> Node | None:
        """Display node of the joints' segmentation; None where it does not hold the joint."""
        nodes = self.panel.nodes
        node = nodes.joints if nodes is not None else None
        if node is None or node.GetSegmentation().GetSegment(joint) is None:
            return None
        return node.GetDisplayNode()

    def onFilter(self, *_unused: object) -> None:
        """Show other joints."""
        self._fill()

    def onSort(self, column: int) -> None:
        """Sort by a column; a second click reverses the order."""
        if column < _SORTABLE_FROM:
            self._sorting = (-1, False)
        else:
            before, descending = self._sorting
            wanted = column - _LEVEL
            first = column == _RATIO
            self._sorting = (wanted, not descending if before == wanted else first)
        header = self.ui.jointTable.horizontalHeader()
        sorting, descending = self._sorting
        header.setSortIndicatorShown(sorting >= 0)
        if sorting >= 0:
            order = qt.Qt.DescendingOrder if descending else qt.Qt.AscendingOrder
            header.setSortIndicator(column, order)
        self._fill()

    def onRow(self, row: int, *_unused: object) -> None:
        """Let the views jump to the joint of a row."""
        from CTSpectSpineLib.scene.framing import frame

        if self._filling or not 0 <= row < len(self._rows):
            return
        joint = self._rows[row]
        if joint.centre_lps is not None:
            frame(slicer.mrmlScene, joint.centre_lps)
        else:
            slicer.util.showStatusMessage(f"{joint.joint}: {joint.reason}", 5000)

    def onCell(self, row: int, column: int) -> None:
        """Show or hide the joint of a row."""
        if self._filling or column != _SHOWN or not 0 <= row < len(self._rows):
            return
        joint = self._rows[row].joint
        display = self._display(joint)
        if display is not None:
            checked = self.ui.jointTable.item(row, column).checkState() == qt.Qt.Checked
            display.SetSegmentVisibility(joint, checked)


def _notMeasurable(row: Row) -> str:
    """Why a joint is not measurable, and that its numbers do not count."""
    text = _("{joint} is not measurable and counts neither as positive nor as negative: {reason}.")
    return text.format(joint=row.joint, reason=row.explanation.rstrip(".") or _("no reason given"))
