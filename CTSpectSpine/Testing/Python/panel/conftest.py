"""A panel with the reader's views, for the tests of reading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import slicer
import slicer_child
import slicer_host
import slicer_qt
from keyboard_reader import SLICER_LAYOUT, add_reading_views
from slicer_desk import Desk

from CTSpectSpineLib.panel import run as run_module
from CTSpectSpineLib.scene.mrml import by_class
from CTSpectSpineLib.scene.views import READING_PREFIX

MODULE = Path(__file__).resolve().parents[3]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    monkeypatch.setattr(run_module, "ChildProcess", slicer_child.QuickChild)
    found = Desk()
    scene = slicer.mrmlScene
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    manager = slicer_host.LayoutManager(layout)
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: manager, raising=False)
    layout.SetViewArrangement(SLICER_LAYOUT)
    add_reading_views(scene)
    scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    found.ui.readerName.text = ""
    found.ui.blindedBox.checked = False
    found.layout = layout  # type: ignore[attr-defined]
    yield found
    assert slicer_qt.slot_errors == []
    assert found.errors.texts == []
    found.widget.parent.window().hide()
    found.close()
    # Views are singletons, which stay when a scene is cleared.
    for kind in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
        for node in by_class(scene, kind):
            if node.GetLayoutName().startswith(READING_PREFIX):
                scene.RemoveNode(node)
