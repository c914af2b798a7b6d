"""The test host hides nothing that Slicer's desktop does to the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import slicer
import slicer_host
import slicer_qt
from slicer_panel import plain

MODULE = Path(__file__).resolve().parents[3] / "CTSpectSpine.py"


@pytest.fixture(scope="module")
def module() -> None:
    slicer_host.load_module(MODULE)


@pytest.fixture
def widget(module: None) -> Any:
    slicer.mrmlScene.Clear()
    panel = slicer.util.getModuleWidget("CTSpectSpine")
    panel.enter()
    return panel


def test_tooltips_are_wrapped_as_by_the_application(widget: Any) -> None:
    from CTSpectSpineWidgets.common import enable

    assert widget.ui.ctSelector.toolTip.startswith("<p>"), "from the .ui file"
    button = widget.ui.applyButton
    enable(button, "", "a < b & 'c'")
    assert button.toolTip.startswith("<p>")
    assert plain(button.toolTip) == "a < b & 'c'"
    button.setToolTip("again")
    assert button.toolTip == "<p>again</p>"
    button.toolTip = "<b>rich</b> text stays"
    assert button.toolTip == "<b>rich</b> text stays"


def test_an_emptied_path_is_told_by_the_text_alone(widget: Any, tmp_path: Path) -> None:
    edit, told, valid = widget.ui.outputPath, [], []
    edit.connect("currentPathChanged(QString)", told.append)
    edit.connect("validInputChanged(bool)", valid.append)
    edit.currentPath = str(tmp_path)
    edit.currentPath = ""
    assert told == [str(tmp_path)]
    assert valid == [True, False]
    widget.ui.protocolPath.connect("currentPathChanged(QString)", told.append)
    widget.ui.protocolPath.currentPath = str(tmp_path / "own.txt")
    assert told == [str(tmp_path)], "its name filter wants .json"


@pytest.mark.parametrize("name", ["outputPath", "protocolPath"])
def test_every_text_of_a_path_is_kept(widget: Any, tmp_path: Path, name: str) -> None:
    edit = getattr(widget.ui, name)
    parameter = {"outputPath": "outputFolder", "protocolPath": "protocolFile"}[name]
    for text in (str(tmp_path / "own.json"), str(tmp_path), ""):
        edit.currentPath = text
        assert getattr(widget.parameters, parameter) == text


def test_a_folder_of_the_data_module_takes_its_nodes_along() -> None:
    scene = slicer_host.start().mrmlScene
    scene.Clear()
    hierarchy = scene.GetSubjectHierarchyNode()
    with slicer_host.VtkErrors() as errors, slicer_host.DataModule(scene) as data:
        outer = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "results")
        inner = hierarchy.CreateFolderItem(outer, "inner")
        kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLTextNode", "vtkMRMLSegmentationNode")
        nodes = [scene.AddNewNodeByClass(kind, "thing") for kind in kinds]
        for node, folder in zip(nodes, (outer, inner, inner), strict=True):
            item = hierarchy.GetItemByDataNode(node)
            assert item, "every node enters by itself"
            hierarchy.SetItemParent(item, folder)
        assert len(data.items(inner)) == 2
        data.delete(outer)
        assert not any(scene.IsNodePresent(node) for node in nodes)
        kept = scene.AddNewNodeByClass(kinds[1], "kept")
        assert hierarchy.GetNumberOfItems() == 1
        scene.RemoveNode(kept)
        assert hierarchy.GetNumberOfItems() == 0
    assert errors.texts == []


def test_a_section_may_get_less_than_it_needs(widget: Any) -> None:
    import qt

    panel = qt.QWidget()
    column = qt.QVBoxLayout(panel)
    for number in range(2):
        section = slicer_qt.ctkCollapsibleButton()
        section.setObjectName(f"section{number}")
        inner = qt.QVBoxLayout(section)
        for part in ("above", "below"):
            table = qt.QTableWidget(0, 1)
            table.setObjectName(f"{part}{number}")
            table.setMinimumSize(0, 100)
            inner.addWidget(table)
        column.addWidget(section)
    panel.show()
    panel.resize(300, 700)
    qt.QApplication.processEvents()
    assert slicer_qt.overlapping(panel) == []
    section.setMaximumHeight(150)
    qt.QApplication.processEvents()
    assert slicer_qt.overlapping(panel) == [
        "section1 is squeezed",
        "above1 and below1 overlap",
    ]
    section.setMaximumHeight(16777215)
    section.collapsed = True
    assert section.maximumHeight == section.minimumSizeHint().height()


def test_the_palette_may_be_dark(widget: Any) -> None:
    import qt

    try:
        dark = slicer_qt.use_palette(dark=True)
        assert dark.color(qt.QPalette.Window).lightness() < 100
        assert widget.ui.verdictLabel.palette.color(qt.QPalette.Window).lightness() < 100
    finally:
        light = slicer_qt.use_palette(dark=False)
    assert light.color(qt.QPalette.Window).lightness() > 200
