"""Small CTK widgets for tests of the module's panel, with the sizes and signals of CTK's own.

Read in CTK's ``ctkCollapsibleButton.cpp`` and ``ctkPathLineEdit.cpp``, which Slicer 5.10 and 5.12
build. Properties are attributes here, as `slicer_qt` makes them.
"""

from __future__ import annotations

import re
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A titled box that hides what is in it; its sizes are those of CTK's."""

    contentsCollapsed = QtCore.Signal(bool)
    COLLAPSED_HEIGHT = 14

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._collapsed = False
        self._forcing = False
        self._height = self.maximumHeight
        self._shown: dict[Any, bool] = {}
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self._button().height(), 0, 0)
        self.setBackgroundRole(QtGui.QPalette.Window)
        self.toggled.connect(lambda checked: self._set_collapsed(not checked))

    def _button(self) -> Any:
        """Size of the heading."""
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        style, metrics = self.style(), QtWidgets.QStyle
        sign = style.pixelMetric(metrics.PM_IndicatorWidth, option, self)
        sign += style.pixelMetric(metrics.PM_CheckBoxLabelSpacing, option, self)
        text = self.fontMetrics().size(QtCore.Qt.TextShowMnemonic, self.text or "XXXX")
        height = max(style.pixelMetric(metrics.PM_IndicatorHeight, option, self), text.height())
        wanted = QtCore.QSize(sign + text.width(), height)
        return style.sizeFromContents(metrics.CT_PushButton, option, wanted, self)

    def minimumSizeHint(self) -> Any:
        button = self._button()
        if self._collapsed:
            return button + QtCore.QSize(0, self.COLLAPSED_HEIGHT)
        layout = self.layout()
        return button if layout is None else layout.totalMinimumSize().expandedTo(button)

    def sizeHint(self) -> Any:
        button = self._button() + QtCore.QSize(0, self.COLLAPSED_HEIGHT)
        layout = self.layout()
        if self._collapsed or layout is None:
            return button
        return layout.totalSizeHint().expandedTo(button)

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self.setChecked(not collapsed)
        if collapsed:
            self._height = self.maximumHeight
            self.setMaximumHeight(self.sizeHint().height())
        else:
            self.setMaximumHeight(self._height)
        self._hide_contents()
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    collapsed = QtCore.Property(bool, _get_collapsed, _set_collapsed)

    def _hide_contents(self) -> None:
        """Show what is inside only while open; as in CTK, what is hidden for itself stays so."""
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                if child not in self._shown:
                    self._shown[child] = not child.isHidden()
                    child.installEventFilter(self)
                self._forcing = True
                child.setVisible(not self._collapsed and self._shown[child])
                self._forcing = False

    def eventFilter(self, child: Any, event: Any) -> bool:
        kinds = (QtCore.QEvent.ShowToParent, QtCore.QEvent.HideToParent)
        if event.type() in kinds and not self._forcing:
            self._shown[child] = event.type() == kinds[0]
            if self._shown[child] and self._collapsed:
                # As in CTK: what is shown for itself stays hidden until the box is opened.
                self._forcing = True
                child.setVisible(False)
                self._forcing = False
        return False

    def showEvent(self, event: Any) -> None:
        # A .ui file sets the property before it adds the contents.
        super().showEvent(event)
        if self._collapsed:
            self._hide_contents()

    def paintEvent(self, event: Any) -> None:
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect.setHeight(self._button().height())
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, option)
        option.text = ("▸ " if self._collapsed else "▾ ") + self.text
        place = option.rect.adjusted(6, 0, 0, 0)
        side = QtCore.Qt.AlignLeft | QtCore.Qt.AlignVCenter
        painter.drawItemText(
            place, side, self.palette, True, option.text, QtGui.QPalette.ButtonText
        )
        painter.end()


class ctkPathLineEdit(QtWidgets.QWidget):
    """A line edit for a path.

    As in CTK, it tells of a new path only while the path is acceptable: not empty, and ending as
    one of the name filters says. It always tells whether that has changed.
    """

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._box = QtWidgets.QComboBox()
        self._box.setEditable(True)
        self._box.setInsertPolicy(QtWidgets.QComboBox.NoInsert)
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Fixed)
        layout.addWidget(self._box)
        browse = QtWidgets.QToolButton()
        browse.setText("...")
        layout.addWidget(browse)
        self._valid = False
        self._filters: list[str] = []
        self._box.lineEdit().textChanged.connect(self._check)

    def comboBox(self) -> Any:
        return self._box

    def _check(self, path: str) -> None:
        before, self._valid = self._valid, self._acceptable(path)
        if self._valid:
            self.currentPathChanged.emit(path)
        if self._valid != before:
            self.validInputChanged.emit(self._valid)

    def _acceptable(self, path: str) -> bool:
        endings = re.findall(r"\*(\.\w+)", " ".join(self._filters))
        return bool(path) and (not endings or path.endswith(tuple(endings)))

    def _get_path(self) -> str:
        return str(self._box.lineEdit().text)

    def _set_path(self, path: str) -> None:
        self._box.lineEdit().setText(path)

    def _get_filters(self) -> list[str]:
        return self._filters

    def _set_filters(self, names: list[str]) -> None:
        self._filters = list(names)

    currentPath = QtCore.Property(str, _get_path, _set_path)
    nameFilters = QtCore.Property("QStringList", _get_filters, _set_filters)
