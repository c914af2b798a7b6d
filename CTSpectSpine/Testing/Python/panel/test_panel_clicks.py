"""Random clicks in the panel: whatever the order, panel, scene and folders tell the truth.

The analyses are those of `slicer_child`: real requests, real results folders, no measurement.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer_child
import slicer_host
import slicer_qt
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from slicer_desk import Desk, edit, matrix_of
from slicer_panel import Answers

from CTSpectSpineLib.panel import run as run_module
from CTSpectSpineLib.results.reading import read_readings
from CTSpectSpineLib.results.shown import FILES
from CTSpectSpineLib.scene.mrml import numpy_matrix, vtk_matrix
from CTSpectSpineLib.scene.nodes import analyses, results_folder, scene_nodes
from CTSpectSpineLib.scene.position import measured_matrix

MODULE = Path(__file__).resolve().parents[3]
LEVEL_BUTTONS = ("shiftUpButton", "shiftDownButton", "extraL6", "sacralised")


@pytest.fixture(scope="module", autouse=True)
def quick_child() -> Any:
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "ChildProcess", slicer_child.QuickChild)
        yield


class Clicks(RuleBasedStateMachine):
    """One scene with a CT and a SPECT of the user's, and a panel that is clicked."""

    @initialize()
    def begin(self) -> None:
        self.desk = Desk()
        self.widget, self.ui, self.folder = self.desk.widget, self.desk.ui, self.desk.folder
        self.spect = self.desk.spect
        self.user = {node: _placed(node) for node in self.desk.users}
        self.saved = 0
        self.rejected: set[str] = set()

    def teardown(self) -> None:
        if not hasattr(self, "widget"):
            return
        self.desk.close()

    def click(self, name: str) -> None:
        """Press a button if it can be pressed, and wait for what it starts."""
        button = getattr(self.ui, name)
        if not button.enabled:
            assert button.toolTip, name
            return
        before = self.record_id()
        rejected = before in self.rejected
        self.widget.ask = Answers(self.folder / f"saved {self.saved}")
        button.click()
        self.desk.settle()
        kept = name in LEVEL_BUTTONS or name == "confirmLevelsButton"
        if rejected and kept and self.record_id() != before:
            self.rejected.add(self.record_id())

    def record_id(self) -> str:
        record = self.widget.record
        return "" if record is None else record.identity

    @rule(chosen=st.booleans(), yes=st.booleans())
    def analyse(self, chosen: bool, yes: bool) -> None:
        self.ui.outputPath.currentPath = str(self.folder / "results") if chosen else ""
        self.widget.ask = Answers(yes=yes)
        if self.ui.applyButton.enabled:
            self.ui.applyButton.click()
            self.desk.settle()

    @rule()
    def reject(self) -> None:
        if self.ui.rejectButton.enabled:
            self.click("rejectButton")
            self.rejected.add(self.record_id())

    @rule()
    def accept(self) -> None:
        if self.ui.acceptButton.enabled:
            before = self.record_id()
            self.click("acceptButton")
            self.rejected.discard(before if before == self.record_id() else self.record_id())

    @precondition(lambda self: self.widget.nodes is not None)
    @rule(by_mm=st.sampled_from([-15.0, 4.0]))
    def move(self, by_mm: float) -> None:
        transform = self.widget.nodes.transform
        matrix = matrix_of(transform)
        matrix[0, 3] += by_mm
        transform.SetMatrixTransformToParent(vtk_matrix(matrix))

    @rule()
    def leave_and_come_back(self) -> None:
        self.widget.exit()
        slicer.app.processEvents()
        self.widget.enter()

    @rule(name=st.sampled_from(["resetButton", "usePositionButton", "registerAgainButton"]))
    def position(self, name: str) -> None:
        self.click(name)

    @rule(name=st.sampled_from([*LEVEL_BUTTONS, "confirmLevelsButton"]))
    def levels(self, name: str) -> None:
        self.click(name)
        # Counting past the end of the spine is refused with a sentence.
        refused = [error for error in slicer_qt.slot_errors if "there would be" in str(error)]
        slicer_qt.slot_errors[:] = [e for e in slicer_qt.slot_errors if e not in refused]

    @precondition(lambda self: self.widget.record is not None)
    @rule(share=st.floats(0.0, 1.0))
    def click_the_plot(self, share: float) -> None:
        plot, height = self.widget.plot, self.ui.plotLabel.height
        plot._clicked(100, round(share * height))
        assert plot.marked in ("", *(row.joint for row in self.widget.record.rows))

    @rule(
        name=st.sampled_from(
            [
                *("readingButton", "nextJointButton", "previousJointButton"),
                *("overviewButton", "surveyButton"),
            ]
        )
    )
    def read(self, name: str) -> None:
        if self.ui.readerName.enabled:
            self.ui.readerName.text = "Ann"
        self.click(name)

    @rule(grade=st.integers(0, 4), blinded=st.booleans())
    def grade_a_joint(self, grade: int, blinded: bool) -> None:
        if self.ui.gradeSelector.enabled:
            self.ui.gradeSelector.setCurrentIndex(grade)
        if self.ui.blindedBox.enabled:
            self.ui.blindedBox.checked = blinded

    @rule(name=st.sampled_from(["tourNextButton", "tourBackButton", "tourEndButton"]))
    def tour(self, name: str) -> None:
        if self.widget.tour.place < 0:
            self.widget.tour.begin(*self.desk.users)
        self.click(name)

    @rule()
    def save_the_reading(self) -> None:
        self.click("saveReadingButton")

    @invariant()
    def saved_readings_are_those_of_the_reader(self) -> None:
        if not hasattr(self, "widget") or self.widget.record is None:
            return
        reading, folder = self.widget.reading, self.widget.resultsFolder()
        joints = {row.joint for row in self.widget.record.rows}
        entry = reading._open
        assert {grade.joint for grade in entry.reading.grades} <= joints
        if folder is not None and entry.saved and entry.reading.grades:
            assert read_readings(folder)["Ann"].grades == entry.reading.grades

    @precondition(lambda self: self.widget.nodes is not None)
    @rule(joint=st.booleans())
    def edit_an_outline(self, joint: bool) -> None:
        nodes, names = self.widget.nodes, ("L4-L5 disc", "vertebrae_L4")
        segmentation = nodes.joints if joint else nodes.vertebrae
        ids = list(segmentation.GetSegmentation().GetSegmentIDs())
        if names[not joint] in ids:
            edit(segmentation, names[not joint])
            self.click("measureEditedButton")
            if joint and self.widget.record.identity and self.ui.measureEditedButton.enabled:
                assert "L4-L5 disc" in self.ui.editedLabel.text

    @rule()
    def save(self) -> None:
        self.click("saveResultsButton")
        self.saved += 1

    @precondition(lambda self: len(analyses(slicer.mrmlScene)) > 1)
    @rule(data=st.data())
    def choose(self, data: st.DataObject) -> None:
        count = self.ui.analysisSelector.count
        assert count == len(analyses(slicer.mrmlScene))
        self.ui.analysisSelector.setCurrentIndex(data.draw(st.integers(0, count - 1)))

    @precondition(lambda self: self.widget.nodes is not None)
    @rule()
    def delete_results(self) -> None:
        self.desk.data.delete(self.widget.nodes.folder_item)
        self.desk.settle()

    @precondition(lambda self: self.spect.GetParentTransformNode() is not None)
    @rule()
    def harden(self) -> None:
        self.spect.HardenTransform()
        self.user[self.spect] = _placed(self.spect)

    @rule()
    def delete_a_folder(self) -> None:
        shutil.rmtree(self.folder / "results", ignore_errors=True)
        self.widget.update()

    @invariant()
    def the_users_nodes_stay(self) -> None:
        if not hasattr(self, "widget"):
            return
        for node, before in self.user.items():
            assert node.GetScene() is slicer.mrmlScene, node.GetName()
            assert _placed(node) == before, node.GetName()

    @invariant()
    def nothing_went_wrong_in_silence(self) -> None:
        if hasattr(self, "widget"):
            assert slicer_qt.slot_errors == []
            assert self.desk.errors.texts == []

    @invariant()
    def panel_scene_and_folder_agree(self) -> None:
        if not hasattr(self, "widget"):
            return
        found = analyses(slicer.mrmlScene)
        record = self.widget.record
        assert (record is None) == (not found)
        folders = [folder for manifest in found if (folder := results_folder(manifest))]
        assert len(set(folders)) == len(folders), "two analyses in one folder"
        for manifest in found:
            nodes = scene_nodes(manifest)
            texts, folder = {n: node.GetText() for n, node in nodes.texts().items()}, None
            folder = results_folder(manifest)
            if folder is not None:
                files = {name: (folder / name).read_bytes().decode() for name in FILES}
                assert files == texts
        if record is not None:
            shown = {name: node.GetText() for name, node in self.widget.nodes.texts().items()}
            assert dict(record.texts) == shown

    @invariant()
    def no_verdict_after_a_rejection(self) -> None:
        if not hasattr(self, "widget") or self.widget.record is None:
            return
        record = self.widget.record
        if record.identity in self.rejected:
            assert record.decision == "rejected"
        if record.decision == "rejected":
            assert record.verdict["disposition"] == "no_verdict"
            assert "pain management" not in self.ui.verdictLabel.text
            assert "No verdict" in self.ui.verdictLabel.text

    @invariant()
    def measured_positions_are_recorded(self) -> None:
        if not hasattr(self, "widget") or self.widget.record is None:
            return
        record, nodes = self.widget.record, self.widget.nodes
        wanted = slicer_child.MEASURED[record.identity]
        np.testing.assert_allclose(np.array(record.ct_to_spect_lps), wanted, atol=1e-4)
        apart = np.abs(matrix_of(nodes.transform) - measured_matrix(record)).max()
        assert (apart > 1e-2) == self.widget.registration.moved()
        if self.widget.registration.moved():
            assert not self.ui.acceptButton.enabled


def _placed(node: Any) -> tuple[Any, ...]:
    """Where a node lies, by itself and in the tree of the Data module."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node)
    parent = hierarchy.GetItemParent(item) if item else hierarchy.GetSceneItemID()
    return (tuple(numpy_matrix(matrix).ravel()), parent)


def test_clicks_in_any_order() -> None:
    _run(examples=8, steps=20)


@pytest.mark.slow
def test_many_more_clicks() -> None:
    _run(examples=80, steps=40)


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Clicks,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            # A failure shows its clicks at once; to shorten them takes many minutes.
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
