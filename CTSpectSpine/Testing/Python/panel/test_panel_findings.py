"""Findings outside joints, the plot of the joints and the state of the reconstruction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import slicer
import slicer_host
import slicer_qt
from PySide6 import QtCore, QtTest
from slicer_panel import plain
from slicer_results import make_results_folder, record_files

from CTSpectSpineLib.finding import shown_findings
from CTSpectSpineLib.scene.mrml import by_class
from CTSpectSpineLib.scene.nodes import lies_in
from CTSpectSpineLib.scene.populate import populate_scene
from CTSpectSpineLib.scene.views import add_views

MODULE = Path(__file__).resolve().parents[3]
RIB = {
    "finding": "finding 1", "where": "rib", "level": "T12", "side": "left", "ratio": 3.25,
    "sentence": "Uptake that no joint explains: a rib.", "centre_mm": [61.0, 40.0, -350.0],
    "confidence": "high", "physiologic": "",
}  # fmt: skip
BLADDER = {
    "finding": "finding 2", "where": "soft tissue", "level": "sacrum", "side": "", "ratio": 5.0,
    "sentence": "Uptake that looks physiologic: the bladder.", "physiologic": "bladder",
}  # fmt: skip
UPTAKE = {
    "reference": {"value": 800.0}, "fwhm_mm": 8.25, "fwhm_source": "given",
    "reconstruction": {"family": "recovery", "source": "given", "doubted": True},
}  # fmt: skip


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Any]:
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    scene = slicer.mrmlScene
    scene.Clear()
    add_views(scene)
    made = make_results_folder(tmp_path)
    for name, changes in (
        ("verdict", {"findings": [RIB, BLADDER]}),
        ("manifest", {"uptake": UPTAKE}),
    ):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    record_files(tmp_path)
    widget = slicer.util.getModuleWidget("CTSpectSpine")
    widget.enter()
    nodes = populate_scene(scene, ct=made.ct, spect=made.spect, folder=tmp_path)
    lies_in(nodes.manifest, tmp_path)
    widget.logic.nodes = nodes
    widget.showNewResults()
    slicer_qt.slot_errors.clear()
    yield widget
    assert slicer_qt.slot_errors == []
    widget.exit()
    scene.Clear()


def middles() -> list[tuple[float, ...]]:
    """Middles of the slice views, LPS mm."""
    found = []
    for view in by_class(slicer.mrmlScene, "vtkMRMLSliceNode"):
        x, y, z = (view.GetSliceToRAS().GetElement(i, 3) for i in range(3))
        found.append((-x, -y, z))
    return found


def test_findings_are_rows_and_points_and_a_click_goes_there(panel: Any) -> None:
    table = panel.ui.findingsTable
    rows = [[table.item(i, j).text() for j in range(3)] for i in range(table.rowCount)]
    assert rows == [
        ["T12 rib, left", "3.2", "unexplained, high confidence"],
        ["soft tissue near sacrum", "5.0", "bladder"],
    ]
    assert panel.ui.findingsLabel.text.startswith("1 that no joint explains, 1 that look")
    points = panel.nodes.findings
    assert points.GetNumberOfControlPoints() == 1, "what has no place has no point"
    assert points.GetNthControlPointPosition(0) == (-61.0, -40.0, -350.0)
    assert points.GetDisplayNode().GetVisibility()
    table.setCurrentCell(1, 0)
    table.setCurrentCell(0, 0)
    assert set(middles()) == {(61.0, 40.0, -350.0)}


def test_a_rejection_takes_the_findings_back_too(panel: Any) -> None:
    panel.ui.rejectButton.click()
    assert panel.ui.findingsTable.rowCount == 0
    assert panel.nodes.findings.GetNumberOfControlPoints() == 0


def test_the_reconstruction_stands_with_the_registration(panel: Any) -> None:
    assert panel.ui.measuredLabel.text == (
        "Reconstruction with resolution recovery (given, which the SPECT does not look like); "
        "resolution 8.2 mm (given)."
    )


def test_a_click_in_the_plot_goes_to_the_joint(panel: Any) -> None:
    label = panel.ui.plotLabel
    plot = panel.plot._plot
    mark = next(mark for mark in plot.marks if mark.joint == "L5-S1 facet right")
    place = QtCore.QPoint(plot.width // 2, mark.y)
    QtTest.QTest.mouseClick(label, QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, place)
    row = panel.record.row(mark.joint)
    assert middles()[0] == pytest.approx(row.centre_lps)
    assert panel.plot.marked == mark.joint
    assert not label.pixmap.isNull()
    assert label.height == plot.height
    table = panel.ui.jointTable
    assert plain(table.item(table.currentRow(), 1).text()) == "L5-S1 facet R"


def test_what_an_older_version_wrote_of_findings_is_shown_too() -> None:
    (found,) = shown_findings({"findings": [{"sentence": "Hot."}, "no entry"]})
    assert (found.name, found.sentence, found.centre_lps) == ("finding 1", "Hot.", None)
