"""The base classes of scripted modules, as small as the tests of the module can bear.

With ``SLICER_BASE_PYTHON`` set to the folder ``Base/Python`` of Slicer's sources, the tests use
Slicer's own files instead.
"""

from __future__ import annotations

import types
import typing
import unittest
from pathlib import Path
from typing import Any

import slicer
import vtk


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__

    def resourcePath(self, name: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / name)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, name: str) -> str:
        module = getattr(slicer.modules, self.moduleName.lower())
        return str(Path(module.path).parent / "Resources" / name)

    def setup(self) -> None:
        pass

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    def __init__(self) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        kind = "vtkMRMLScriptedModuleNode"
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, kind)
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass(kind)
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    pass


class Choice:
    """Annotation: one of some values."""

    def __init__(self, choices: Any) -> None:
        self.choices = list(choices)


class WithinRange:
    """Annotation: a number from one bound to another."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum


def _split(kind: Any) -> tuple[Any, list[Any]]:
    if typing.get_origin(kind) is typing.Annotated:
        plain, *notes = typing.get_args(kind)
        return plain, notes
    return kind, []


def _is_node(kind: Any) -> bool:
    members = typing.get_args(kind)
    if members:
        assert type(None) in members, "Slicer wants None in a union of nodes"
    nodes = set(members or (kind,)) - {type(None)}
    return all(isinstance(m, type) and issubclass(m, slicer.vtkMRMLNode) for m in nodes)


_SIGNALS = {
    "QLineEdit": ("text", "textChanged", str),
    "QCheckBox": ("checked", "toggled", bool),
    "QSpinBox": ("value", "valueChanged", int),
    "QSlider": ("value", "valueChanged", int),
}
"""Class of a widget to its property, its signal and its type, as Slicer connects them."""


class _Connector:
    """Connects a widget to a parameter, as Slicer's connectors of the same name do."""

    def __init__(self, owner: Any, widget: Any, name: str, kind: Any) -> None:
        self.owner, self.widget, self.name = owner, widget, name
        self.kind, notes = _split(kind)
        self.choices = next((n.choices for n in notes if isinstance(n, Choice)), None)
        self.live = True
        self.class_name = widget.className()
        if _is_node(self.kind):
            self.show()
            widget.currentNodeChanged.connect(self.changed)
        elif self.class_name == "QComboBox":
            assert self.choices, f"{name}: a combo box needs the annotation Choice"
            widget.clear()
            for choice in self.choices:
                widget.addItem(str(choice))
            self.show()
            widget.currentIndexChanged.connect(self.changed)
        else:
            assert self.class_name in _SIGNALS, f"{name}: no connector for {self.class_name}"
            assert _SIGNALS[self.class_name][2] is self.kind, f"{name}: {self.class_name}"
            bounded = any(isinstance(note, WithinRange) for note in notes)
            assert self.class_name != "QSlider" or bounded, f"{name}: a slider needs WithinRange"
            self.show()
            getattr(widget, _SIGNALS[self.class_name][1]).connect(self.changed)

    def changed(self, *_: Any) -> None:
        if self.live:
            setattr(self.owner, self.name, self.read())

    def read(self) -> Any:
        if self.class_name == "QComboBox":
            return self.choices[self.widget.currentIndex]
        if self.class_name in _SIGNALS:
            return getattr(self.widget, _SIGNALS[self.class_name][0])
        return self.widget.currentNode()

    def show(self) -> None:
        value = getattr(self.owner, self.name)
        if self.class_name == "QComboBox":
            self.widget.setCurrentIndex(self.choices.index(value))
        elif self.class_name in _SIGNALS:
            if self.read() != value:
                setattr(self.widget, _SIGNALS[self.class_name][0], value)
        else:
            self.widget.setCurrentNode(value)


def _parameter(name: str, annotated: Any, default: Any) -> property:
    kind, notes = _split(annotated)

    def read(self: Any) -> Any:
        if _is_node(kind):
            return self.parameterNode.GetNodeReference(name)
        if not self.parameterNode.HasParameter(name):
            return default
        stored = self.parameterNode.GetParameter(name)
        return stored == "True" if kind is bool else kind(stored)

    def write(self: Any, value: Any) -> None:
        if _is_node(kind):
            identifier = value.GetID() if value else None
            if self.parameterNode.GetNodeReferenceID(name) != identifier:
                self.parameterNode.SetNodeReferenceID(name, identifier)
                self.parameterNode.Modified()
        elif not isinstance(value, kind):
            raise TypeError(f"{name} takes {kind}, not {value!r}")
        elif any(isinstance(n, Choice) and value not in n.choices for n in notes):
            raise ValueError(f"{name} cannot be {value!r}")
        else:
            self.parameterNode.SetParameter(name, str(value))

    return property(read, write)


def parameterNodeWrapper(kind: type) -> type:
    """Typed properties over a node; connects node selectors by ``SlicerParameterName``."""
    hints = typing.get_type_hints(kind, include_extras=True)

    def init(self: Any, node: Any) -> None:
        self.__dict__["parameterNode"] = node

    def forward(self: Any, name: str) -> Any:
        return getattr(self.__dict__["parameterNode"], name)

    def connect(self: Any, ui: Any) -> Any:
        named = [(w.property("SlicerParameterName"), w) for w in vars(ui).values()]
        tag = types.SimpleNamespace()
        tag.connectors = [_Connector(self, w, name, hints[name]) for name, w in named if name]

        def show(*_: Any) -> None:
            for connector in tag.connectors:
                connector.show()

        show()
        tag.observer = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, show)
        return tag

    def disconnect(self: Any, tag: Any) -> None:
        for connector in tag.connectors:
            connector.live = False
        self.parameterNode.RemoveObserver(tag.observer)

    members: dict[str, Any] = {
        name: _parameter(name, hint, getattr(kind, name, None)) for name, hint in hints.items()
    }
    members |= {
        "__init__": init,
        "__getattr__": forward,
        "connectGui": connect,
        "disconnectGui": disconnect,
        "__doc__": kind.__doc__,
    }
    return type(kind.__name__, (), members)


def modules() -> dict[str, types.ModuleType]:
    """The modules that Slicer has and slicer-core has not."""
    bases = types.ModuleType("slicer.ScriptedLoadableModule")
    for base in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(bases, base.__name__, base)
    wrapper = types.ModuleType("slicer.parameterNodeWrapper")
    wrapper.parameterNodeWrapper = parameterNodeWrapper  # type: ignore[attr-defined]
    wrapper.Choice = Choice  # type: ignore[attr-defined]
    wrapper.WithinRange = WithinRange  # type: ignore[attr-defined]
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: text  # type: ignore[attr-defined]
    i18n.translate = lambda _context, text: text  # type: ignore[attr-defined]
    return {module.__name__: module for module in (bases, wrapper, i18n)}
