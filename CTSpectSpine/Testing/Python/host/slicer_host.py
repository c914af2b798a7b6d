"""A stand-in for Slicer's desktop around ``slicer-core``, just enough for the module's tests.

`start` gives a scene, ``slicer.app``, ``slicer.modules`` and Qt; `load_module` loads a scripted
module as the desktop does. What it cannot show: Slicer's C++ widgets, layouts, module discovery.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import types
from functools import cache
from pathlib import Path
from typing import Any

import slicer
import slicer.util
import vtk


class VtkErrors:
    """Collects the errors that VTK and MRML print instead of raising them, and other events."""

    def __init__(self, *others: str) -> None:
        self.texts: list[str] = []
        self._events = ("ErrorEvent", *others)

    def __enter__(self) -> VtkErrors:
        self._before = vtk.vtkOutputWindow.GetInstance()
        self._window = vtk.vtkOutputWindow()
        vtk.vtkOutputWindow.SetInstance(self._window)

        @vtk.calldata_type(vtk.VTK_STRING)
        def collect(_caller: object, event: str, text: str = "") -> None:
            self.texts.append(f"{event}: {text}")

        for event in self._events:
            self._window.AddObserver(event, collect)
        return self

    def __exit__(self, *_: object) -> None:
        vtk.vtkOutputWindow.SetInstance(self._before)


class Module:
    """A module as Slicer's Python sees it; the ``parent`` of a scripted module."""

    def __init__(self, name: str, path: str = "", logic: Any = None) -> None:
        self.name, self.path, self._logic = name, path, logic

        self._widget: Any = None

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> Any:
        """The panel, built when it is first asked for."""
        if self._widget is None:
            self._widget = build_panel(sys.modules[self.name])
        return self._widget


class Application:
    """The part of ``slicer.app`` that modules of this project use."""

    applicationName = "Slicer"

    def __init__(self, logic: Any, temporary: str, qt_application: Any) -> None:
        self._logic, self._qt = logic, qt_application
        self.temporaryPath = temporary
        self.startup: list[Any] = []

    def applicationLogic(self) -> Any:
        return self._logic

    def testingEnabled(self) -> bool:
        return True

    def layoutManager(self) -> Any:
        """None, as in a Slicer without main window."""
        return

    def connect(self, signal: str, function: Any) -> None:
        assert signal == "startupCompleted()", signal
        self.startup.append(function)

    def moduleManager(self) -> Any:
        return types.SimpleNamespace(
            connect=lambda *_: True,
            disconnect=lambda *_: True,
            module=lambda name: getattr(slicer.modules, name.lower(), None),
        )

    def userSettings(self) -> Any:
        return types.SimpleNamespace(
            value=lambda _key, default=None: default, contains=lambda _key: False
        )

    settings = userSettings

    def translate(self, _context: str, text: str) -> str:
        return text

    def processEvents(self) -> None:
        self._qt.processEvents()

    def topLevelWidgets(self) -> list[Any]:
        return list(self._qt.topLevelWidgets())

    def setOverrideCursor(self, cursor: Any) -> None:
        self._qt.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        self._qt.restoreOverrideCursor()


@cache
def start() -> types.ModuleType:
    """Make ``slicer`` of slicer-core look like the desktop's; once per process."""
    import slicer_qt

    from CTSpectSpineLib.scene.mrml import headless_scene

    # slicer-core has the names of slicer.util in slicer, the desktop has not.
    for name in [n for n in vars(slicer) if n in vars(slicer.util) and not n.startswith("_")]:
        if not isinstance(getattr(slicer, name), types.ModuleType):
            delattr(slicer, name)
    context = headless_scene()
    scene, logic = context.__enter__()
    slicer.mrmlScene = scene
    slicer._keep_scene = context
    slicer.modules = types.ModuleType("slicer.modules")
    slicer.app = Application(logic, tempfile.mkdtemp(), slicer_qt.install(slicer))
    terminologies = slicer.vtkSlicerTerminologiesModuleLogic()
    slicer.modules.terminologies = Module("Terminologies", logic=terminologies)
    base = os.environ.get("SLICER_BASE_PYTHON")
    if base:
        slicer.__path__.append(str(Path(base) / "slicer"))
    else:
        import slicer_bases

        for name, module in slicer_bases.modules().items():
            sys.modules[name] = module
            setattr(slicer, name.split(".")[1], module)
    return slicer


def load_module(path: Path) -> tuple[types.ModuleType, Any]:
    """Load a scripted module; return its Python module and its instance."""
    start()
    name = path.stem
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    code = importlib.util.module_from_spec(specification)
    sys.modules[name] = code
    specification.loader.exec_module(code)
    parent = Module(name, str(path))
    instance = getattr(code, name)(parent)
    setattr(slicer.modules, name.lower(), parent)
    return code, instance


def build_panel(code: types.ModuleType) -> Any:
    """Build the panel of a scripted module as Slicer does when it is first opened."""
    import qt

    panel = slicer.qSlicerScriptedLoadableModuleWidget()
    panel.setLayout(qt.QVBoxLayout())
    panel.setMRMLScene(slicer.mrmlScene)
    panel.create = lambda: _create(panel, code.__name__)
    panel.create()
    return panel


def _create(panel: Any, name: str) -> None:
    """Create the Python part of a panel from the module as it is loaded now."""
    panel.python = getattr(sys.modules[name], f"{name}Widget")(panel)
    setattr(slicer.modules, f"{name}Widget", panel.python)
    panel.python.setup()


def run_python(code: str, *arguments: str) -> str:
    """What code prints that runs in a Python process of its own, in the folder of the tests."""
    here = Path(__file__).parent
    library = os.pathsep.join(map(str, (here, here.parent, here.parents[2])))
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=here,
        env={**os.environ, "PYTHONPATH": library},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


class LayoutManager:
    """The part of the desktop's layout manager that the module uses, over a layout node."""

    threeDViewCount = 1

    def __init__(self, layout: Any) -> None:
        self._layout = layout
        self.setLayout = layout.SetViewArrangement

    def layoutLogic(self) -> Any:
        return types.SimpleNamespace(GetLayoutNode=lambda: self._layout)

    def sliceWidget(self, name: str) -> Any:
        return types.SimpleNamespace(sliceView=lambda: name)

    def threeDWidget(self, _number: int) -> Any:
        return types.SimpleNamespace(threeDView=lambda: "3D")

    def resetThreeDViews(self) -> None:
        pass


class DataModule:
    """What the desktop's Data module does with the scene: it lists nodes, and deletes folders.

    As in the desktop, every node that can be shown or stored enters the subject hierarchy by
    itself, and leaves it with its removal; a folder is deleted with all nodes in it.
    """

    KINDS = (
        "vtkMRMLDisplayableNode",
        "vtkMRMLTextNode",
        "vtkMRMLTableNode",
        "vtkMRMLPlotChartNode",
    )

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._tags: list[int] = []

    @property
    def _hierarchy(self) -> Any:
        return self._scene.GetSubjectHierarchyNode()

    def __enter__(self) -> DataModule:
        for event, handle in (("NodeAddedEvent", self._added), ("NodeRemovedEvent", self._gone)):
            self._tags.append(self._scene.AddObserver(getattr(self._scene, event), handle))
        return self

    def __exit__(self, *_: object) -> None:
        for tag in self._tags:
            self._scene.RemoveObserver(tag)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _added(self, _caller: object, _event: str, node: Any) -> None:
        busy = self._scene.IsImporting() or self._scene.IsClosing()
        if not busy and any(node.IsA(kind) for kind in self.KINDS):
            hierarchy = self._hierarchy
            if not hierarchy.GetItemByDataNode(node):
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _gone(self, _caller: object, _event: str, node: Any) -> None:
        if not self._scene.IsClosing():
            item = self._hierarchy.GetItemByDataNode(node)
            if item:
                self._hierarchy.RemoveItem(item, False, False)

    def items(self, item: int) -> list[int]:
        """What lies directly in a folder."""
        found = vtk.vtkIdList()
        self._hierarchy.GetItemChildren(item, found, False)
        return [found.GetId(i) for i in range(found.GetNumberOfIds())]

    def delete(self, item: int) -> None:
        """Delete an item with all that lies in it, as its menu does; by Slicer's own code.

        It loops for ever where nothing takes removed nodes out of the hierarchy, as this does.
        """
        self._hierarchy.RemoveItem(item, True, True)
