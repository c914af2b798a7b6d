"""Reading by keyboard alone: joints, grades, decisions, and what is left as it was."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer_child
from keyboard_reader import SLICER_LAYOUT, Reader, begin
from slicer_desk import Desk

from CTSpectSpineLib.panel import run as run_module
from CTSpectSpineLib.panel.reading_keys import KEYS
from CTSpectSpineLib.results.manifest import MANIFEST
from CTSpectSpineLib.results.reading import read_readings
from CTSpectSpineLib.scene.mrml import ROLE, by_class, numpy_matrix
from CTSpectSpineLib.scene.nodes import scene_nodes
from CTSpectSpineLib.scene.reading import READING_LAYOUT_ID, facet_plane, view_name
from CTSpectSpineLib.scene.views import LAYOUT_ID, READING_PREFIX, SURVEY_PREFIX

MODULE = Path(__file__).resolve().parents[3]
HOT = "L5-S1 facet right"


def read_case(desk: Desk, out: Path, hot: list[str]) -> None:
    """The sequence of docs/slicer.md: from the analysis to the saved reading, by keyboard."""
    reader = Reader(desk)
    desk.ui.outputPath.currentPath = str(out)
    reader.tab_to("applyButton")
    reader.press("Space")
    finish(desk)
    desk.ui.readingCollapsibleButton.collapsed = False
    reader.tab_to("readerName")
    desk.ui.readerName.selectAll()
    reader.write("Ann")
    reader.tab_to("readingButton")
    reader.press("Space")
    assert desk.widget.reading.active
    reader.press("A")
    reader.press("L")
    finish(desk)
    rows = len([row for row in desk.widget.record.rows if row.centre_lps])
    for _ in range(rows):
        reader.press("N")
        joint = desk.widget.reading._joint
        positive = desk.widget.record.row(joint).uptake == "positive"
        reader.press("2" if positive else "0")
        if positive:
            reader.press("M")
            reader.write("beside 0 and N")
            reader.press("Return")
    reader.press("S")
    saved = read_readings(out)["Ann"]
    assert sorted(g.joint for g in saved.grades if g.grade == "positive") == sorted(hot)
    for joint in hot:
        assert saved.grade_of(joint).note == "beside 0 and N"  # type: ignore[union-attr]
    assert len(saved.grades) == rows
    told = [(decision.what, decision.decision) for decision in saved.decisions]
    assert told == [("registration", "accepted"), ("levels", "confirmed")]
    manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["registration_check"]["reader"] == "Ann"
    assert manifest["parameters"]["confirm_levels"] is True
    reader.tab_to("readingButton")
    reader.press("Space")
    assert not desk.widget.reading.active


def test_a_reader_finds_decides_and_saves_three_cases_by_keyboard_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = slicer_child.make_results_folder
    for hot in ("L5-S1 facet right", "L4-L5 disc", "L4-L5 facet left"):

        def make(folder: Path, hot: str = hot) -> Any:
            return _with_hot(made(folder), hot)

        monkeypatch.setattr(slicer_child, "make_results_folder", make)
        read_case(desk, desk.folder / hot.replace(" ", "-"), [hot])


@pytest.mark.slow  # six analyses
def test_the_three_sample_cases_are_read_by_keyboard_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real analysis; hot are the joints that the phantoms' truth names."""
    from CTSpectSpineLib.command_line.child import ChildProcess
    from CTSpectSpineLib.phantom import load_case
    from CTSpectSpineWidgets import sampledata

    monkeypatch.setattr(run_module, "ChildProcess", ChildProcess)
    low = ("L3-L4", "L4-L5", "L5-S1")
    for case in sampledata.CASES:
        hot = list(load_case(case).hot)
        first = "L3" if all(joint.startswith(low) for joint in hot) else "T12"
        nodes = sampledata.addPhantom(case, {**sampledata.SMALL, "first": first})
        selectors = (desk.ui.ctSelector, desk.ui.spectSelector, desk.ui.vertebraeSelector)
        for selector, node in zip(selectors, nodes, strict=True):
            selector.setCurrentNode(node)
        read_case(desk, desk.folder / case, hot)


def finish(desk: Desk) -> None:
    """Wait for the analysis that runs, a stand-in or a real one."""
    end = time.monotonic() + 600.0
    while desk.widget.analysis.running:
        assert time.monotonic() < end, desk.ui.statusLabel.text
        desk.widget.analysis.onTimer()
        slicer.app.processEvents()
        time.sleep(0.01)
    desk.settle()


def _with_hot(made: Any, hot: str) -> Any:
    """The results with another joint hot."""
    path = made.folder / "joints.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["uptake"] = "positive" if row["joint"] == hot else "negative"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return made


def test_the_first_joint_is_the_one_that_needs_eyes_and_all_views_show_it(desk: Desk) -> None:
    reader = begin(desk)
    assert desk.layout.GetViewArrangement() == READING_LAYOUT_ID  # type: ignore[attr-defined]
    reader.press("N")
    assert desk.ui.readingLabel.text.startswith(f"1 / 3: {HOT}")
    centre = desk.widget.record.row(HOT).centre_lps
    for view in by_class(slicer.mrmlScene, "vtkMRMLSliceNode"):
        place = numpy_matrix(view.GetSliceToRAS())[:3, 3] * (-1, -1, 1)
        if not view.GetLayoutName().startswith((view_name("facet", "left"), SURVEY_PREFIX)):
            np.testing.assert_allclose(place, centre, atol=1e-6)
    (cross,) = by_class(slicer.mrmlScene, "vtkMRMLCrosshairNode")
    np.testing.assert_allclose(np.array(cross.GetCrosshairRAS()) * (-1, -1, 1), centre)
    assert not desk.ui.previousJointButton.enabled
    reader.press("N", "B")
    assert desk.widget.reading._joint == HOT


def test_views_show_spect_ct_and_both_and_the_window_is_a_multiple_of_the_reference(
    desk: Desk,
) -> None:
    reader = begin(desk)
    shown = {
        node.GetLayoutName().rpartition(" ")[2]: (
            slicer.mrmlScene.GetNodeByID(node.GetBackgroundVolumeID() or ""),
            slicer.mrmlScene.GetNodeByID(node.GetForegroundVolumeID() or ""),
        )
        for node in by_class(slicer.mrmlScene, "vtkMRMLSliceCompositeNode")
        if node.GetLayoutName().startswith(READING_PREFIX)
    }
    nodes = desk.widget.nodes
    grey = shown["SPECT"][0]
    assert shown["CT"] == (nodes.ct, None)
    assert shown["fused"] == (nodes.ct, nodes.relative)
    assert grey.GetImageData() is nodes.relative.GetImageData()
    assert grey.GetTransformNodeID() == nodes.relative.GetTransformNodeID()
    assert grey.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeInvertedGrey"
    usual = nodes.relative.GetDisplayNode().GetWindowLevelMax()
    tops = []
    for _ in range(6):
        reader.press("W")
        tops.append(grey.GetDisplayNode().GetWindowLevelMax())
        assert nodes.relative.GetDisplayNode().GetWindowLevelMax() == tops[-1]
    assert tops == [2.0, 3.0, 4.0, 6.0, 8.0, usual]


def test_one_key_shows_the_overview_and_the_joint_again(desk: Desk) -> None:
    reader = begin(desk)
    reader.press("N", "O")
    assert desk.layout.GetViewArrangement() == LAYOUT_ID  # type: ignore[attr-defined]
    reader.press("O")
    assert desk.layout.GetViewArrangement() == READING_LAYOUT_ID  # type: ignore[attr-defined]
    assert desk.widget.reading._joint == HOT


def test_a_blinded_reader_sees_nothing_of_the_software(desk: Desk) -> None:
    reader = begin(desk, blinded=True)
    ui = desk.ui
    assert ui.resultsCollapsibleButton.isHidden()
    assert ui.summaryLabel.isHidden()
    assert not desk.widget.nodes.joints.GetDisplayNode().GetVisibility()
    reader.press("N")
    assert desk.widget.reading._joint == "L4-L5 disc", "the order is that of the spine"
    reader.press("O", "O", "1")
    assert not desk.widget.nodes.joints.GetDisplayNode().GetVisibility()
    reader.press("S")
    assert read_readings(desk.folder / "results")["Ann"].blinded
    ui.readingButton.click()
    assert not ui.resultsCollapsibleButton.isHidden()
    assert desk.widget.nodes.joints.GetDisplayNode().GetVisibility()


def test_the_users_layout_crosshair_and_keys_are_as_before(desk: Desk) -> None:
    (cross,) = by_class(slicer.mrmlScene, "vtkMRMLCrosshairNode")
    cross.SetCrosshairMode(cross.ShowBasic)
    cross.SetCrosshairBehavior(cross.Normal)
    desk.analyse(desk.folder / "results")
    desk.layout.SetViewArrangement(SLICER_LAYOUT)  # type: ignore[attr-defined]
    reader = Reader(desk)
    desk.ui.readerName.text = "Ann"
    desk.ui.readingButton.click()
    reader.press("N")
    slicer.mrmlScene.RemoveNode(desk.widget.nodes.joints)
    desk.widget.exit()
    assert desk.layout.GetViewArrangement() == SLICER_LAYOUT  # type: ignore[attr-defined]
    assert cross.GetCrosshairMode() == cross.ShowBasic
    assert cross.GetCrosshairBehavior() == cross.Normal
    volumes = by_class(slicer.mrmlScene, "vtkMRMLScalarVolumeNode")
    assert "reading" not in [node.GetAttribute(ROLE) for node in volumes]
    desk.widget.enter()
    before = desk.widget.reading._joint
    reader.press("N")
    assert desk.widget.reading._joint == before


def test_grades_of_a_saved_reading_come_back(desk: Desk) -> None:
    reader = begin(desk)
    reader.press("N", "2", "N", "1", "Backspace", "S")
    manifest = desk.widget.nodes.manifest
    desk.ui.readingButton.click()
    desk.widget.reading._readings.clear()
    desk.ui.readerName.text = ""
    desk.widget.showResults(manifest)
    assert desk.ui.readerName.text == "Ann"
    assert "1 of 3 joints graded" in desk.ui.readingLabel.text
    desk.ui.readingButton.click()
    desk.widget.goToJoint(HOT)
    assert desk.ui.gradeSelector.currentText == "positive"


def test_a_patients_name_that_was_typed_stays_with_the_analysis(desk: Desk) -> None:
    desk.ui.patientName.text = "P 7"
    reader = begin(desk)
    reader.press("N", "2", "S")
    assert read_readings(desk.folder / "results")["Ann"].patient == "P 7"
    desk.ui.readingButton.click()
    desk.ui.readerName.text = "Bob"
    desk.ui.readingButton.click()
    assert desk.ui.patientName.text == "P 7"
    # As if it had been typed for an analysis of another CT.
    desk.widget.reading._patient_of = "vtkMRMLScalarVolumeNode99 1"
    desk.ui.readingButton.click()
    desk.ui.readerName.text = "Cid"
    desk.ui.readingButton.click()
    assert desk.ui.patientName.text == desk.widget.nodes.ct.GetName()


def test_another_reader_begins_anew_and_the_first_goes_on_where_they_were(desk: Desk) -> None:
    reader = begin(desk)
    reader.press("N", "2")
    desk.ui.readingButton.click()
    desk.ui.readerName.text = "Bob"
    desk.ui.readingButton.click()
    assert "0 of 3 joints graded" in desk.ui.readingLabel.text
    reader.press("N", "0", "S")
    assert list(read_readings(desk.folder / "results")) == ["Bob"]
    desk.ui.readingButton.click()
    desk.ui.readerName.text = "Ann"
    desk.ui.readingButton.click()
    assert "1 of 3 joints graded, not saved" in desk.ui.readingLabel.text
    reader.press("S")
    both = read_readings(desk.folder / "results")
    grades = {name: both[name].grades[0].grade for name in both}
    assert grades == {"Ann": "positive", "Bob": "negative"}


def test_a_reading_that_cannot_be_read_leaves_no_other_readers_open(desk: Desk) -> None:
    reader = begin(desk)
    reader.press("N", "2", "S")
    desk.ui.readingButton.click()
    table = desk.folder / "results" / "reading.csv"
    whole = table.read_bytes()
    table.write_text("joint\n", encoding="utf-8")
    desk.ui.readerName.text = "Bob"
    desk.ui.readingButton.click()
    reader.press("N", "0")
    table.write_bytes(whole)
    desk.ui.readingButton.click()
    desk.ui.readerName.text = "Ann"
    desk.ui.readingButton.click()
    assert "1 of 3 joints graded" in desk.ui.readingLabel.text
    assert "not saved" not in desk.ui.readingLabel.text
    reader.press("N", "S")
    (ann,) = read_readings(desk.folder / "results").values()
    assert [grade.grade for grade in ann.grades] == ["positive"]


def test_grades_are_given_again_where_levels_were_named_otherwise(desk: Desk) -> None:
    reader = begin(desk)
    reader.press("N", "2")
    desk.ui.shiftUpButton.click()
    finish(desk)
    assert "0 of 3 joints graded, not saved" in desk.ui.readingLabel.text
    told = [d.decision for d in desk.widget.reading._open.reading.decisions]
    assert told == ["changed"], "a level is lost, which confirms nothing"


def test_the_plane_of_a_facet_joint_holds_the_spine_and_the_normal_of_its_surfaces(
    desk: Desk,
) -> None:
    desk.analyse()
    nodes = scene_nodes(desk.widget.nodes.manifest)
    plane = facet_plane(nodes, desk.widget.record.row(HOT))
    rotation = plane[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert rotation[2, 1] > 0.9, "the spine stands upright in the view"
    assert rotation[1, 0] <= 0.0, "anterior is on the left"


def test_every_key_is_written_in_the_panel_and_in_the_tour(desk: Desk) -> None:
    page = (MODULE.parent / "docs" / "slicer.md").read_text(encoding="utf-8")
    assert len({key.key for key in KEYS}) == len(KEYS)
    for key in KEYS:
        assert f"{key.key}: {key.words}" in desk.ui.keysLabel.text
        assert f"| `{key.key}` | {key.words} |" in page, key
