"""Results: the verdict with its reasons, and the table of joints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from CTSpectSpineWidgets.common import (
    UPTAKE_WORDS,
    Section,
    coloured,
    enable,
    escaped,
    fillCombo,
    statusColour,
)

if TYPE_CHECKING:
    from CTSpectSpineLib.joint_table import Row
    from CTSpectSpineLib.model import Verdict
    from CTSpectSpineLib.results.shown import Record
    from CTSpectSpineLib.scene.mrml import Node

_SHOWN, _JOINT, _RATIO, _UPTAKE, _INTERVAL, _VERDICT = range(6)
_ORDERS = {_JOINT: "joint", _RATIO: "ratio", _UPTAKE: "uptake", _VERDICT: "verdict"}
_JOINTS = {
    ("disc", ""): _("{level} disc"),
    ("facet", "left"): _("{level} facet L"),
    ("facet", "right"): _("{level} facet R"),
}
"""Kind and side of a joint to its name in the table, where room is short."""
_ELIGIBILITY = {
    "eligible": _("Eligible for this protocol."),
    "not_eligible": _("Not eligible for this protocol."),
    "unknown": _("Eligibility for this protocol is not known: not all criteria were given."),
}
_FILTERS = {
    "positive": _("positive"),
    "positive, indeterminate": _("positive, indeterminate"),
    "measured": _("measured"),
    "not measurable": _("not measurable"),
    "all": _("all"),
}
"""Filters of `CTSpectSpineLib.panel.shown_rows` to their words."""


class ResultsSection(Section):
    """The joints and the verdict of the shown analysis."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self._rows: list[Row] = []
        self._filling = False
        self._sorting = ("", False)
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
        self._filters = list(_FILTERS)
        fillCombo(self.ui.filterSelector, list(_FILTERS.values()))
        self.ui.filterSelector.connect("currentIndexChanged(int)", self.onFilter)
        self.ui.searchText.connect("textChanged(QString)", self.onFilter)
        self.ui.protocolsCollapsibleButton.connect("contentsCollapsed(bool)", self.onProtocols)
        self.ui.showListedButton.connect("clicked(bool)", self.onShowListed)

    def show(self) -> None:
        """Show the panel's results."""
        record = self.panel.record
        self._showAnalyses()
        self.ui.summaryLabel.text = "" if record is None else self._headline(record)
        self.ui.summaryLabel.visible = record is not None
        self.ui.verdictLabel.text = (
            escaped(self.panel.nothingShown()) if record is None else self._verdict(record)
        )
        self.ui.reasonsLabel.text = "" if record is None else _reasons(record)
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
            self.panel.views.show()

    def _headline(self, record: Record) -> str:
        from CTSpectSpineLib.panel.headline import has_verdict, headline

        text = headline(record)
        if has_verdict(record):
            return escaped(text)
        first, stop, others = text.partition(". ")
        return f"{coloured(self.ui.summaryLabel, 'failed', first + stop)}{escaped(others)}"

    def _verdict(self, record: Record) -> str:
        """The verdict, how far it can be relied on, and whose it is."""
        from CTSpectSpineLib.panel.headline import has_verdict, title

        verdict = record.verdict
        if not has_verdict(record):
            return self._headline(record)
        parts = [f'<span style="font-size:large"><b>{escaped(title(verdict))}</b></span>']
        isOpen = verdict["disposition"] in ("indeterminate", "not_covered")
        if verdict.get("recommendation") and not isOpen:
            parts.append(escaped(verdict["recommendation"]))
        parts += [self._stability(verdict), *_source(verdict)]
        return "<br>".join(filter(None, parts))

    def _stability(self, verdict: Mapping[str, Any]) -> str:
        """How often the repeated measurements came to the same verdict; empty if not known."""
        stability = verdict.get("stability")
        if stability is None:
            return ""
        share = f"{stability:.0%}"
        if verdict["disposition"] == "indeterminate":
            text = _("The verdict stays open in {share} of the repeated measurements.")
        elif verdict.get("stable") is False:
            text = _("Unstable: only {share} of the repeated measurements give this verdict.")
            return coloured(self.ui.verdictLabel, "failed", text.format(share=share))
        else:
            text = _("{share} of the repeated measurements give this verdict.")
        return escaped(text.format(share=share))

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
        rows = [_ofProtocol(verdict) for verdict in comparison.verdicts]
        why = [f"<li>{escaped(text)}</li>" for text in comparison.differences]
        heading = _("They agree.") if comparison.agree else _("They differ.")
        self.ui.protocolsLabel.text = (
            f'{"".join(rows)}<b>{heading}</b><ul style="margin-left:-24px">{"".join(why)}</ul>'
        )

    def _fill(self) -> None:
        from CTSpectSpineLib.panel.shown_rows import shown_rows

        record = self.panel.record
        every = record.rows if record is not None else ()
        order, descending = self._sorting
        name = self._filters[max(self.ui.filterSelector.currentIndex, 0)]
        self._rows = shown_rows(every, name, self.ui.searchText.text, order, descending)
        table = self.ui.jointTable
        self._filling = True
        table.setRowCount(0)
        table.setRowCount(len(self._rows))
        for i, row in enumerate(self._rows):
            self._fillRow(i, row)
        self._filling = False
        self.ui.hiddenLabel.text = self._summary(every)
        self._showListed()

    def _summary(self, rows: Sequence[Row]) -> str:
        if not rows:
            return ""
        counts = [
            f"{sum(row.uptake == name for row in rows)} {word}"
            for name, word in UPTAKE_WORDS.items()
        ]
        return _("{shown} of {all} joints listed: {counts}.").format(
            shown=len(self._rows), all=len(rows), counts=", ".join(counts)
        )

    def _fillRow(self, i: int, row: Row) -> None:
        table = self.ui.jointTable
        name = _JOINTS.get((row.kind, row.side))
        texts = {
            _SHOWN: "",
            _JOINT: name.format(level=row.level) if name else row.joint,
            _RATIO: "–" if math.isnan(row.ratio) else f"{row.ratio:.2f}",
            _UPTAKE: UPTAKE_WORDS[row.uptake],
            _INTERVAL: "" if math.isnan(row.low + row.high) else f"{row.low:.1f}–{row.high:.1f}",
            _VERDICT: row.explanation,
        }
        tip = f"{row.joint}: {row.explanation}" if row.measurable else _notMeasurable(row)
        ink = qt.QBrush(qt.QColor(statusColour(table.palette, row.uptake)))
        for j, text in texts.items():
            item = qt.QTableWidgetItem(text)
            item.setToolTip(f"<p>{escaped(tip)}</p>")
            if j == _UPTAKE or not row.measurable:
                item.setForeground(ink)
            table.setItem(i, j, item)
        shown = table.item(i, _SHOWN)
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
        if column not in _ORDERS:
            self._sorting = ("", False)
        else:
            before, descending = self._sorting
            wanted = _ORDERS[column]
            self._sorting = (wanted, not descending if before == wanted else column == _RATIO)
        header = self.ui.jointTable.horizontalHeader()
        sorting, descending = self._sorting
        header.setSortIndicatorShown(bool(sorting))
        if sorting:
            order = qt.Qt.DescendingOrder if descending else qt.Qt.AscendingOrder
            header.setSortIndicator(column, order)
        self._fill()

    def onRow(self, row: int, *_unused: object) -> None:
        """Let the views jump to the joint of a row."""
        if self._filling or not 0 <= row < len(self._rows):
            return
        self.panel.goToJoint(self._rows[row].joint)

    def goTo(self, name: str) -> None:
        """Let the views jump to a joint, also where it is not listed; its row becomes current."""
        found = [i for i, row in enumerate(self._rows) if row.joint == name]
        if found:
            self._filling = True
            self.ui.jointTable.setCurrentCell(found[0], _JOINT)
            self._filling = False
        record = self.panel.record
        row = None if record is None else record.row(name)
        if row is not None:
            self._look(row)

    def _look(self, row: Row) -> None:
        from CTSpectSpineLib.scene.framing import frame

        if row.centre_lps is not None:
            frame(slicer.mrmlScene, row.centre_lps)
        else:
            slicer.util.showStatusMessage(f"{row.joint}: {row.reason}", 5000)

    def onCell(self, row: int, column: int) -> None:
        """Show or hide the joint of a row."""
        if self._filling or column != _SHOWN or not 0 <= row < len(self._rows):
            return
        joint = self._rows[row].joint
        display = self._display(joint)
        if display is not None:
            checked = self.ui.jointTable.item(row, column).checkState() == qt.Qt.Checked
            display.SetSegmentVisibility(joint, checked)
            self._showListed()

    def _listed(self) -> list[str]:
        """Listed joints that the views can show."""
        return [row.joint for row in self._rows if self._display(row.joint) is not None]

    def _anyListedShown(self) -> bool:
        displays = ((joint, self._display(joint)) for joint in self._listed())
        return any(display.GetSegmentVisibility(joint) for joint, display in displays if display)

    def _showListed(self) -> None:
        """Offer to hide the listed joints, or to show them where all are hidden."""
        button = self.ui.showListedButton
        hide = self._anyListedShown() or not self._listed()
        button.text = _("Hide listed") if hide else _("Show listed")
        missing = "" if self._listed() else _("No joint is listed.")
        tip = _("Hide all listed joints in the views.")
        enable(button, missing, tip if hide else _("Show all listed joints in the views."))

    def onShowListed(self, *_unused: object) -> None:
        """Hide or show all listed joints at once: the views are drawn once, not once a joint."""
        from CTSpectSpineLib.scene.segmentations import show_segments

        joints, visible = self._listed(), not self._anyListedShown()
        nodes = self.panel.nodes
        if nodes is not None and nodes.joints is not None:
            show_segments(nodes.joints, dict.fromkeys(joints, visible))
            self._fill()


def _reasons(record: Record) -> str:
    """The reasoning, step by step, and what is to be considered."""
    verdict = record.verdict
    concluded = {
        step.get("sentence") for step in verdict.get("chain", ()) if step["step"] == "disposition"
    }
    items = [
        f"<li>{escaped(reason)}</li>"
        for reason in verdict.get("reasons", ())
        if reason not in concluded
    ]
    notes = [f"<li>{escaped(caveat)}</li>" for caveat in verdict.get("caveats", ())]
    heading = f"<b>{_('To be considered')}</b>" if notes else ""
    style = 'style="margin-left:-24px"'
    return f"<ol {style}>{''.join(items)}</ol>{heading}<ul {style}>{''.join(notes)}</ul>"


def _source(verdict: Mapping[str, Any]) -> list[str]:
    """Whose verdict it is, and whether the patient is one of those it was made for."""
    protocol, eligibility = verdict.get("protocol") or {}, verdict.get("eligibility") or {}
    status = str(eligibility.get("status") or "unknown")
    return [
        _("Protocol: {name}, version {version}.").format(
            name=escaped(protocol.get("title") or protocol.get("id", "")),
            version=escaped(protocol.get("version", "")),
        ),
        _ELIGIBILITY.get(status, escaped(status)),
    ]


def _ofProtocol(verdict: Verdict) -> str:
    """What one protocol says of the joints."""
    from CTSpectSpineLib.panel.headline import title

    words = title({"disposition": verdict.disposition, "chain": verdict.chain})
    name = escaped(verdict.protocol["id"])
    said = escaped(verdict.recommendation)
    return f"<p><b>{name}: {escaped(words)}</b><br>{said}</p>"


def _notMeasurable(row: Row) -> str:
    """Why a joint is not measurable, and that its numbers do not count."""
    text = _("{joint} is not measurable and counts neither as positive nor as negative: {reason}.")
    return text.format(joint=row.joint, reason=row.explanation.rstrip(".") or _("no reason given"))
