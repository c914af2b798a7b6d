"""The joints as a plot in the panel: levels, intervals and bounds; a click goes to the joint.

Slicer's plot view can neither draw intervals nor name levels nor tell what was clicked, so this is
a picture, drawn again whenever its room changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import qt
from slicer.i18n import tr as _

from CTSpectSpineWidgets.common import QtObject, Section, statusColour

if TYPE_CHECKING:
    from CTSpectSpineLib.panel.joint_plot import JointPlot, Mark

_USUAL_WIDTH = 320
"""Width before the panel has one, pixels. Convention: that of Slicer's default panel."""
_HALF = 3
"""Half the size of a mark, pixels. Judgement: see `CTSpectSpineLib.panel.joint_plot.LANE`."""
_KINDS = {"disc": _("disc"), "facet": _("facet")}


class PlotSection(Section):
    """The plot of the shown analysis.

    Attributes
    ----------
    marked
        Joint that the reader is at; empty for none.
    """

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self.marked = ""
        self._plot: JointPlot | None = None
        self._watch = _Watch(self._drawAgain, self._clicked)
        self.ui.plotLabel.installEventFilter(self._watch)
        self.ui.plotLabel.toolTip = _("Click on a joint: all views go to it.")

    def show(self) -> None:
        """Draw the joints of the panel's results."""
        self.marked = ""
        record = self.panel.record
        self.ui.plotCollapsibleButton.visible = record is not None and bool(record.rows)
        self._draw(force=True)

    def mark(self, joint: str) -> None:
        """Show where the reader is."""
        if joint != self.marked:
            self.marked = joint
            self._draw(force=True)

    def _drawAgain(self) -> None:
        self._draw(force=False)

    def _draw(self, force: bool) -> None:
        from CTSpectSpineLib.panel.joint_plot import joint_plot

        label, record = self.ui.plotLabel, self.panel.record
        if record is None or not record.rows:
            self._plot = None
            label.clear()
            return
        width = label.width if label.width > 100 else _USUAL_WIDTH
        if not force and self._plot is not None and self._plot.width == width:
            return
        self._plot = joint_plot(record.rows, record.bounds, width)
        label.setFixedHeight(self._plot.height)
        label.setPixmap(_picture(self._plot, label, self.marked))

    def _clicked(self, x: int, y: int) -> None:
        joint = "" if self._plot is None else self._plot.joint_at(x, y)
        if joint:
            self.panel.goToJoint(joint)


class _Watch(qt.QObject):
    """Tells when a widget is given another size, and where it is clicked."""

    def __init__(
        self, resized: Callable[[], object], clicked: Callable[[int, int], object]
    ) -> None:
        qt.QObject.__init__(self)
        self._resized, self._clicked = resized, clicked

    def eventFilter(self, widget: QtObject, event: QtObject) -> bool:
        """Pass all events on."""
        if event.type() == qt.QEvent.Resize:
            self._resized()
        elif event.type() == qt.QEvent.MouseButtonPress:
            self._clicked(event.pos().x(), event.pos().y())
        return False


def _picture(plot: JointPlot, label: QtObject, marked: str) -> QtObject:
    """The plot on the ground that the label stands on."""
    ratio = label.devicePixelRatioF()
    pixmap = qt.QPixmap(round(plot.width * ratio), round(plot.height * ratio))
    pixmap.setDevicePixelRatio(ratio)
    ground = label.palette.color(qt.QPalette.Base)
    ink = label.palette.color(qt.QPalette.Text)
    faint = qt.QColor(ink)
    faint.setAlpha(45)
    pixmap.fill(ground)
    painter = qt.QPainter(pixmap)
    painter.setFont(_small(label))
    painter.setRenderHint(qt.QPainter.Antialiasing)
    _axes(painter, plot, ink, faint, marked)
    for mark in plot.marks:
        colour = qt.QColor(statusColour(label.palette, mark.uptake))
        _mark(painter, mark, plot.area[0], colour, ground)
    painter.end()
    return pixmap


def _small(label: QtObject) -> QtObject:
    font = qt.QFont(label.font)
    font.setPixelSize(11)
    return font


def _axes(painter: QtObject, plot: JointPlot, ink: QtObject, faint: QtObject, marked: str) -> None:
    _left, top, right, bottom = plot.area
    at = next((mark for mark in plot.marks if mark.joint == marked), None)
    if at is not None:
        painter.fillRect(0, at.y - 5, plot.width, 10, faint)
    painter.setPen(faint)
    for _text, x in plot.ticks:
        painter.drawLine(x, top, x, bottom)
    for number, (_name, y) in enumerate(plot.levels):
        if number:
            line = (y + plot.levels[number - 1][1]) // 2
            painter.drawLine(0, line, right, line)
    for number, (kind, bound, x) in enumerate(plot.bounds):
        pen = qt.QPen(ink)
        pen.setStyle(qt.Qt.DashLine if kind == "disc" else qt.Qt.DotLine)
        painter.setPen(pen)
        painter.drawLine(x, top - 2, x, bottom)
        painter.setPen(ink)
        words = _("{kind} positive from {bound:g}")
        text = words.format(kind=_KINDS.get(kind, kind), bound=bound)
        line = 10 + 12 * number
        painter.drawText(min(x + 4, right - 140), line, text)
        painter.drawLine(x, line - 8, x, top - 2)
    painter.setPen(ink)
    for name, y in plot.levels:
        painter.drawText(2, y + 4, name)
    for text, x in plot.ticks:
        painter.drawText(x - 3, bottom + 13, text)
    painter.drawText(2, bottom + 27, _("◇ right facet  ○ disc  □ left facet  ✕ none; ratio"))


def _mark(painter: QtObject, mark: Mark, left: int, colour: QtObject, ground: QtObject) -> None:
    """Disc: circle; facet joint: square on the left, diamond on the right; filled if positive."""
    pen = qt.QPen(colour)
    pen.setWidth(2)
    painter.setPen(pen)
    if math.isnan(mark.x):
        painter.drawLine(left + 1, mark.y - 2, left + 5, mark.y + 2)
        painter.drawLine(left + 1, mark.y + 2, left + 5, mark.y - 2)
        return
    x = round(mark.x)
    if not math.isnan(mark.low + mark.high):
        painter.drawLine(round(mark.low), mark.y, round(mark.high), mark.y)
    painter.setBrush(qt.QBrush(colour if mark.uptake == "positive" else ground))
    if mark.kind == "disc":
        painter.drawEllipse(x - _HALF, mark.y - _HALF, 2 * _HALF, 2 * _HALF)
    else:
        painter.save()
        painter.translate(x, mark.y)
        painter.rotate(0 if mark.side == "left" else 45)
        painter.drawRect(-_HALF, -_HALF, 2 * _HALF, 2 * _HALF)
        painter.restore()
