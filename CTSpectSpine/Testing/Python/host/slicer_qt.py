"""Qt as Slicer's Python sees it (PythonQt), imitated on PySide6, for tests of the module's panel.

What differs from PySide and is imitated: Qt properties are attributes that are read and set;
unknown attributes of C++ objects cannot be set; ``connect("signal(type)", function)``; surplus
signal arguments are dropped; exceptions in slots do not stop the program (they are collected in
`slot_errors`, which tests must find empty). The widgets of CTK and MRML that the panel uses are
replaced by small ones with the same properties, methods and signals.
"""

from __future__ import annotations

import ctypes
import inspect
import os
import sys
import traceback
import types
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from slicer_ctk import ctkCollapsibleButton, ctkPathLineEdit

slot_errors: list[BaseException] = []

_QObject = QtCore.QObject
_plain_get = _QObject.__getattribute__
_MODULES = (QtCore, QtGui, QtWidgets, QtUiTools)


def _property(target: Any, name: str) -> Any:
    meta = _QObject.metaObject(target)
    index = meta.indexOfProperty("objectName" if name == "name" else name)
    return meta.property(index) if index >= 0 else None


def _is_python_attribute(target: Any, name: str) -> bool:
    if name in _plain_get(target, "__dict__"):
        return True
    own = (c for c in type(target).__mro__ if not c.__module__.startswith(("PySide6", "Shiboken")))
    return any(name in c.__dict__ for c in own)


def _get(self: Any, name: str) -> Any:
    if name.startswith("_"):
        return _plain_get(self, name)
    if name == "connect":
        return lambda signal, slot: _connect(self, signal, slot)
    if not _is_python_attribute(self, name) and not name.endswith("izeHint"):
        found = _property(self, name)
        if found is not None:
            return found.read(self)
    return _plain_get(self, name)


def wrapped(text: str) -> str:
    """A tooltip as Slicer's application leaves it: plain text becomes a paragraph that wraps."""
    if not text or QtGui.Qt.mightBeRichText(text):
        return text
    return str(QtGui.Qt.convertFromPlainText(text, QtCore.Qt.WhiteSpaceMode.WhiteSpaceNormal))


_set_tooltip = QtWidgets.QWidget.setToolTip


def _set(self: Any, name: str, value: Any) -> None:
    found = _property(self, name)
    if name == "toolTip" and isinstance(self, QtWidgets.QWidget):
        value = wrapped(value)
    if found is not None:
        if not found.write(self, list(value) if isinstance(value, tuple) else value):
            raise AttributeError(f"property {name} does not take {value!r}")
    elif (
        isinstance(value, QtCore.SignalInstance)  # PySide itself, at a signal's first use
        or name.startswith("_")
        or not type(self).__module__.startswith("PySide6")
    ):
        _plain_get(self, "__dict__")[name] = value
    else:
        raise AttributeError(f"{type(self).__name__} has no property {name}")


def _slot(function: Callable[..., Any]) -> Callable[..., None]:
    """Call with as many arguments as the function takes; keep its exception."""
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    limit = None if takes_all else len(parameters)

    def call(*arguments: Any) -> None:
        try:
            function(*arguments[:limit])
        except Exception as error:
            slot_errors.append(error)
            traceback.print_exc()

    return call


def _connect(self: Any, signal: str, function: Callable[..., Any]) -> bool:
    """Connect by signature, as PythonQt does; unlike there, an unknown signal is an error."""
    signature = bytes(QtCore.QMetaObject.normalizedSignature(signal)).decode()
    meta = _QObject.metaObject(self)
    aliases = getattr(type(self), "_signatures", {})
    name = signature.split("(")[0]
    if signature not in aliases and meta.indexOfSignal(signature) < 0:
        raise AttributeError(f"{meta.className()} has no signal {signature}")
    call = _slot(function)
    count = 0 if signature.endswith("()") else signature.count(",") + 1
    # A fixed number of arguments makes PySide choose the overload that was asked for.
    fixed = (
        lambda: call(),
        lambda a: call(a),
        lambda a, b: call(a, b),
        lambda a, b, c: call(a, b, c),
        lambda a, b, c, d: call(a, b, c, d),
    )[count]
    _plain_get(self, name).connect(fixed)
    return True


def _imitate_pythonqt() -> None:
    _QObject.__getattribute__ = _get
    for module in _MODULES:
        for kind in (getattr(module, name) for name in dir(module)):
            if isinstance(kind, type) and issubclass(kind, _QObject):
                kind.__setattr__ = _set
    _QObject.className = lambda self: _QObject.metaObject(self).className()
    QtWidgets.QWidget.setToolTip = lambda self, text: _set_tooltip(self, wrapped(text))


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that knows the scene."""

    mrmlSceneChanged = QtCore.Signal(object)
    _signatures = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """What a scripted module's panel is laid into."""

    isEntered = False
    python: Any = None
    create: Any = None

    def self(self) -> Any:
        return self.python

    def reload(self) -> None:
        self.create()


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A combo box of the scene's nodes of some types."""

    currentNodeChanged = QtCore.Signal(object)
    _signatures = ("currentNodeChanged(vtkMRMLNode*)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._types: list[str] = []
        self._values = {"noneEnabled": False, "noneDisplay": "None"}
        self._scene: Any = None
        self._node: Any = None
        self._filling = False
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._box = QtWidgets.QComboBox()
        layout.addWidget(self._box)
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Fixed)
        self._box.currentIndexChanged.connect(self._picked)

    def _get_types(self) -> list[str]:
        return self._types

    def _set_types(self, names: list[str]) -> None:
        self._types = list(names)
        self._fill()

    def _get_none(self) -> str:
        return str(self._values["noneDisplay"])

    def _set_none(self, text: str) -> None:
        self._values["noneDisplay"] = text

    nodeTypes = QtCore.Property("QStringList", _get_types, _set_types)
    noneDisplay = QtCore.Property(str, _get_none, _set_none)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent):
            scene.AddObserver(event, lambda *_: self._fill())
        self._fill()

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        every = (self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes()))
        return [n for n in every if n.GetClassName() in self._types and not n.GetHideFromEditors()]

    def _fill(self) -> None:
        nodes = self._nodes()
        self._filling = True
        self._box.clear()
        self._box.addItem(self.noneDisplay, "")
        for node in nodes:
            self._box.addItem(node.GetName(), node.GetID())
        self._filling = False
        self.setCurrentNode(self._node if self._node in nodes else None)

    def _picked(self, index: int) -> None:
        if not self._filling:
            self.setCurrentNode(self._scene.GetNodeByID(self._box.itemData(index) or ""))

    def currentNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        changed = node is not self._node
        self._node = node
        self._box.setCurrentIndex(self._box.findData(node.GetID() if node else ""))
        if changed:
            self.currentNodeChanged.emit(node)


_STAND_INS = {
    kind.__name__: kind
    for kind in (
        ctkCollapsibleButton,
        ctkPathLineEdit,
        qMRMLNodeComboBox,
        qMRMLWidget,
        qSlicerScriptedLoadableModuleWidget,
    )
}


class QUiLoader(QtUiTools.QUiLoader):
    """Builds a ``.ui`` file; a widget without stand-in or a connection that fails is an error."""

    def createWidget(self, kind: str, parent: Any = None, name: str = "") -> Any:
        if kind in _STAND_INS:
            widget = _STAND_INS[kind](parent)
            widget.setObjectName(name)
            return widget
        if not hasattr(QtWidgets, kind):
            raise RuntimeError(f"no stand-in for {kind}")
        return super().createWidget(kind, parent, name)

    def load(self, device: Any, parent: Any = None) -> Any:
        root = ET.fromstring(bytes(device.readAll().data()))
        connections = root.find("connections")
        assert connections is not None
        root.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        panel = super().load(buffer, parent)
        for widget in (panel, *panel.findChildren(QtWidgets.QWidget)):
            widget.setToolTip(widget.toolTip)

        def named(name: str) -> Any:
            found = panel if panel.name == name else panel.findChild(_QObject, name)
            if found is None:
                raise RuntimeError(f"the .ui file connects {name}, which it does not have")
            return found

        for row in connections:
            sender, signal, receiver, slot = (
                row.findtext(key) or "" for key in ("sender", "signal", "receiver", "slot")
            )
            _connect(named(sender), signal, getattr(named(receiver), slot.split("(")[0]))
        return panel


DARK = {
    "Window": "#2b2b2b",
    "WindowText": "#eeeeee",
    "Base": "#1f1f1f",
    "AlternateBase": "#333333",
    "Text": "#eeeeee",
    "Button": "#3a3a3a",
    "ButtonText": "#eeeeee",
    "PlaceholderText": "#9a9a9a",
    "ToolTipBase": "#333333",
    "ToolTipText": "#eeeeee",
    "Highlight": "#2f65ca",
    "HighlightedText": "#ffffff",
}
"""Roles of a palette to colours about as dark as those of Slicer's dark style."""


def use_palette(dark: bool) -> Any:
    """Give the application a dark palette, or the light one of its style again; return it."""
    application = QtWidgets.QApplication.instance()
    palette = application.style().standardPalette()
    for role, colour in DARK.items() if dark else ():
        palette.setColor(getattr(QtGui.QPalette, role), QtGui.QColor(colour))
        if role.endswith("Text"):
            disabled = QtGui.QColor("#808080")
            palette.setColor(QtGui.QPalette.Disabled, getattr(QtGui.QPalette, role), disabled)
    application.setPalette(palette)
    for widget in application.topLevelWidgets():
        # A widget that has never been shown does not hear of it.
        widget.setPalette(palette)
    application.processEvents()
    return palette


def overlapping(panel: Any) -> list[str]:
    """Visible widgets of a panel that are drawn over a neighbour, or get less than they need."""
    found = []
    for parent in (panel, *panel.findChildren(QtWidgets.QWidget)):
        if parent.layout() is None or not parent.isVisible():
            continue
        children = [
            child
            for child in parent.children()
            if isinstance(child, QtWidgets.QWidget) and child.isVisible()
        ]
        for i, one in enumerate(children):
            if one.geometry.height() < one.minimumSizeHint().height():
                found.append(f"{one.name} is squeezed")
            overlaps = (o for o in children[i + 1 :] if one.geometry.intersects(o.geometry))
            found += [f"{one.name} and {other.name} overlap" for other in overlaps]
    return found


def _open_module(name: str, **attributes: Any) -> types.ModuleType:
    """A module that has any widget that is asked for: type annotations only name most of them."""
    module = types.ModuleType(name)
    module.__dict__.update(attributes)

    def missing(wanted: str) -> type:
        if wanted.startswith("_"):
            raise AttributeError(wanted)
        kind = type(wanted, (QtWidgets.QWidget,), {})
        setattr(module, wanted, kind)
        return kind

    module.__getattr__ = missing  # type: ignore[method-assign]
    return module


def _keep_constants_alive() -> None:
    """Give None, True and False references to lose: PySide drops one with many a call.

    From Python 3.12 on they are immortal; before, the interpreter would end with a fatal error.
    """
    if sys.version_info < (3, 12):
        for constant in (None, True, False):
            ctypes.c_ssize_t.from_address(id(constant)).value += 1 << 40


def install(slicer: types.ModuleType) -> Any:
    """Provide the modules ``qt`` and ``ctk`` and Slicer's widgets; return the application."""
    _keep_constants_alive()
    _imitate_pythonqt()
    qt = types.ModuleType("qt")
    for module in _MODULES[:3]:
        qt.__dict__.update({n: getattr(module, n) for n in dir(module) if not n.startswith("_")})
    qt.QUiLoader = QUiLoader  # type: ignore[attr-defined]
    sys.modules["qt"] = qt
    ctk_kinds = {n: kind for n, kind in _STAND_INS.items() if n.startswith("ctk")}
    sys.modules["ctk"] = _open_module("ctk", **ctk_kinds)
    for name in ("qMRMLRangeWidget", "qMRMLSliderWidget", "qMRMLSpinBox"):  # only named by Slicer
        setattr(slicer, name, type(name, (QtWidgets.QWidget,), {}))
    slicer.__dict__.update({n: k for n, k in _STAND_INS.items() if not n.startswith("ctk")})
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
