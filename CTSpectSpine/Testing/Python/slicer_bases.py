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


def _is_node(kind: Any) -> bool:
    members = typing.get_args(kind)
    if members:
        assert type(None) in members, "Slicer wants None in a union of nodes"
    nodes = set(members or (kind,)) - {type(None)}
    return all(isinstance(m, type) and issubclass(m, slicer.vtkMRMLNode) for m in nodes)


def _parameter(name: str, kind: Any, default: Any) -> property:
    def read(self: Any) -> Any:
        if _is_node(kind):
            return self.parameterNode.GetNodeReference(name)
        stored = self.parameterNode.GetParameter(name)
        return kind(stored) if self.parameterNode.HasParameter(name) else default

    def write(self: Any, value: Any) -> None:
        if _is_node(kind):
            identifier = value.GetID() if value else None
            if self.parameterNode.GetNodeReferenceID(name) != identifier:
                self.parameterNode.SetNodeReferenceID(name, identifier)
                self.parameterNode.Modified()
        elif not isinstance(value, kind):
            raise TypeError(f"{name} takes {kind}, not {value!r}")
        else:
            self.parameterNode.SetParameter(name, str(value))

    return property(read, write)


def parameterNodeWrapper(kind: type) -> type:
    """Typed properties over a node; connects node selectors by ``SlicerParameterName``."""
    hints = typing.get_type_hints(kind)

    def init(self: Any, node: Any) -> None:
        self.__dict__["parameterNode"] = node

    def forward(self: Any, name: str) -> Any:
        return getattr(self.__dict__["parameterNode"], name)

    def connect(self: Any, ui: Any) -> Any:
        tag = types.SimpleNamespace(selectors=[], live=True)
        for widget in vars(ui).values():
            name = widget.property("SlicerParameterName")
            if name:
                assert _is_node(hints[name]), f"{name} has no connector"
                tag.selectors.append((widget, name))

        def show(*_: Any) -> None:
            for widget, name in tag.selectors:
                widget.setCurrentNode(getattr(self, name))

        def follow(widget: Any, name: str) -> None:
            def changed(node: Any) -> None:
                if tag.live:
                    setattr(self, name, node)

            widget.currentNodeChanged.connect(changed)

        show()
        for widget, name in tag.selectors:
            follow(widget, name)
        tag.observer = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, show)
        return tag

    def disconnect(self: Any, tag: Any) -> None:
        tag.live = False
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
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: text  # type: ignore[attr-defined]
    i18n.translate = lambda _context, text: text  # type: ignore[attr-defined]
    return {module.__name__: module for module in (bases, wrapper, i18n)}
