"""A reader without a mouse, and the views that the desktop makes for them."""

from __future__ import annotations

from typing import Any

import slicer
import slicer_qt
from PySide6 import QtCore, QtGui, QtTest, QtWidgets
from slicer_desk import Desk

from CTSpectSpineLib.scene.reading import view_name
from CTSpectSpineLib.scene.survey import PROJECTIONS, SECTIONS, survey_view

SLICER_LAYOUT = 3


def add_reading_views(scene: Any) -> None:
    """The slice views that the desktop makes of the reader's layout."""
    kinds = [
        (plane, content) for plane in ("Sagittal", "Axial") for content in ("SPECT", "CT", "fused")
    ]
    views = {
        view_name(plane, content): plane if plane != "facet" else "Sagittal"
        for plane, content in [*kinds, ("facet", "right"), ("facet", "left")]
    }
    views |= {survey_view(name): "Sagittal" for name in (*PROJECTIONS, *SECTIONS)}
    for name, orientation in views.items():
        for kind in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
            node = scene.CreateNodeByClass(kind)
            node.UnRegister(None)
            node.SetLayoutName(name)
            node.SetSingletonTag(name)
            node = scene.AddNode(node)
            if kind == "vtkMRMLSliceNode":
                node.SetOrientation(orientation)


class Reader:
    """Presses keys in the window, as a person without a mouse does."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.ui, self.widget = desk, desk.ui, desk.widget
        self.window = self.widget.parent.window()
        self.window.show()
        self.window.activateWindow()
        QtTest.QTest.qWaitForWindowActive(self.window, 2000)

    def tab_to(self, name: str) -> None:
        """Put the focus on a widget; Tab reaches it, which takes too many presses for a test."""
        widget = getattr(self.ui, name)
        assert widget.focusPolicy != QtCore.Qt.NoFocus
        widget.setFocus()

    def press(self, *names: str) -> None:
        for name in names:
            combination = QtGui.QKeySequence(name)[0]
            target = QtWidgets.QApplication.focusWidget() or self.window
            QtTest.QTest.keyClick(target, combination.key(), combination.keyboardModifiers())
        slicer.app.processEvents()
        assert slicer_qt.slot_errors == []

    def write(self, text: str) -> None:
        QtTest.QTest.keyClicks(QtWidgets.QApplication.focusWidget(), text)


def begin(desk: Desk, *, blinded: bool = False) -> Reader:
    desk.analyse(desk.folder / "results")
    reader = Reader(desk)
    desk.ui.readerName.text = "Ann"
    desk.ui.blindedBox.checked = blinded
    desk.ui.readingButton.click()
    return reader
