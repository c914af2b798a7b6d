"""Outlines edited in the Segment Editor: measured again, and the record says so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer_child
import slicer_host
import slicer_qt
from slicer_desk import Desk, edit

from CTSpectSpineLib.analysis.edited_joints import read_regions
from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.command_line.child import ChildProcess
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.panel import run as run_module
from CTSpectSpineLib.scene.edits import edited_joints, edited_vertebrae, joint_regions
from CTSpectSpineLib.scene.mrml import image_from_node
from CTSpectSpineLib.volumes.regions import same_region

MODULE = Path(__file__).resolve().parents[3]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    monkeypatch.setattr(run_module, "ChildProcess", slicer_child.QuickChild)
    found = Desk()
    yield found
    assert slicer_qt.slot_errors == []
    assert found.errors.texts == []
    found.close()


def test_an_edited_vertebra_is_measured_and_recorded(desk: Desk) -> None:
    out = desk.folder / "results"
    desk.analyse(out)
    before = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "vertebrae.nii.gz")))
    edit(desk.widget.nodes.vertebrae, "vertebrae_L4")
    labels, levels = edited_vertebrae(desk.widget.nodes)
    assert levels == ("L4",)
    assert np.count_nonzero(sitk.GetArrayFromImage(labels)) < np.count_nonzero(before)
    desk.ui.measureEditedButton.click()
    desk.settle()
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["parameters"]["edited"] == "L4"
    after = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "vertebrae.nii.gz")))
    np.testing.assert_array_equal(after, sitk.GetArrayFromImage(labels))
    assert desk.ui.editedLabel.text == "Edited by hand: L4."
    edit(desk.widget.nodes.vertebrae, "vertebrae_L5")
    desk.ui.measureEditedButton.click()
    desk.settle()
    assert desk.ui.editedLabel.text == "Edited by hand: L4, L5."


def test_an_edited_joint_is_measured_and_recorded_and_stays_so(desk: Desk) -> None:
    out, disc, facet = desk.folder / "results", "L4-L5 disc", "L5-S1 facet right"
    desk.analyse(out)
    before = joint_regions(desk.widget.nodes, [disc, facet])
    edit(desk.widget.nodes.joints, disc)
    assert edited_joints(desk.widget.nodes) == (disc,)
    desk.ui.measureEditedButton.click()
    desk.settle()
    assert desk.widget.record.edited_joints == (disc,)
    assert desk.ui.editedLabel.text == f"Edited by hand: {disc}."
    kept = read_regions(out / "joints.seg.nrrd")[disc]
    assert 0 < np.count_nonzero(kept.mask) < np.count_nonzero(before[disc].mask)
    # What comes after keeps the edit: another one, a decision, other names of the vertebrae.
    edit(desk.widget.nodes.joints, facet)
    desk.ui.measureEditedButton.click()
    desk.settle()
    desk.ui.confirmLevelsButton.click()
    desk.settle()
    assert desk.widget.record.edited_joints == (disc, facet)
    assert same_region(kept, joint_regions(desk.widget.nodes, [disc])[disc])
    edit(desk.widget.nodes.vertebrae, "vertebrae_L4")
    desk.ui.measureEditedButton.click()
    desk.settle()
    assert desk.ui.editedLabel.text == f"Edited by hand: L4, {disc}, {facet}."
    requests: list[Any] = []
    desk.widget.analysis.start = lambda request, whenDone=None: requests.append(request)
    desk.ui.shiftUpButton.click()
    (request,) = requests
    assert list(request.joints) == ["L3-L4 disc", "L4-S1 facet right"]
    assert request.options.edited == "L3"
    assert same_region(kept, request.joints["L3-L4 disc"])


@pytest.mark.slow  # three analyses
def test_the_panel_measures_an_edited_joint_as_the_command_line_does(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CTSpectSpineWidgets import sampledata

    monkeypatch.setattr(run_module, "ChildProcess", ChildProcess)
    nodes = sampledata.addPhantom("lumbar-disc", sampledata.SMALL)
    ui, out, other = desk.ui, desk.folder / "panel", desk.folder / "other"
    for selector, node in zip(
        (ui.ctSelector, ui.spectSelector, ui.vertebraeSelector), nodes, strict=True
    ):
        selector.setCurrentNode(node)
    ui.outputPath.currentPath = str(out)
    ui.applyButton.click()
    finish(desk)
    first = {row.joint: row.cells for row in desk.widget.record.rows}
    edit(desk.widget.nodes.joints, "L4-L5 disc")
    saved = desk.folder / "edited.seg.nrrd"
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(saved))
    assert storage.WriteData(desk.widget.nodes.joints)
    words = ["analyze"]
    for role, node in zip(("ct", "spect", "vertebrae"), nodes, strict=True):
        sitk.WriteImage(image_from_node(node), str(desk.folder / f"{role}.nrrd"))
        words += [f"--{role}", str(desk.folder / f"{role}.nrrd")]
    words += ["--joints", str(saved), "--registration", str(out), "--out", str(other)]
    assert main([*words, "--progress", "none"]) == 0
    ui.measureEditedButton.click()
    finish(desk)
    table = (out / "joints.csv").read_text(encoding="utf-8")
    assert table == (other / "joints.csv").read_text(encoding="utf-8")
    manifest = json.loads((other / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["edited_joints"] == ["L4-L5 disc"] == list(desk.widget.record.edited_joints)
    changed = [row.joint for row in desk.widget.record.rows if row.cells != first[row.joint]]
    assert "L4-L5 disc" in changed
    assert "edited by hand" in desk.widget.record.row("L4-L5 disc").cells["status_reason"]


def finish(desk: Desk) -> None:
    end = time.monotonic() + 600.0
    while desk.widget.analysis.running:
        assert time.monotonic() < end, desk.ui.statusLabel.text
        desk.widget.analysis.onTimer()
        slicer.app.processEvents()
        time.sleep(0.01)
    desk.settle()


def test_without_an_edit_nothing_is_measured(desk: Desk) -> None:
    desk.analyse(desk.folder / "results")
    before = desk.widget.record.identity
    desk.ui.measureEditedButton.click()
    desk.settle()
    assert desk.widget.record.identity == before
    assert (
        desk.ui.statusLabel.text == "No vertebra and no joint was edited since they were measured."
    )


@pytest.mark.parametrize("wrong", ["", "L4, L5", "knee"])
def test_only_vertebrae_can_be_edited(wrong: str) -> None:
    with pytest.raises(InputError, match="give vertebrae like L4,L5"):
        Options(edited=wrong)
    assert "--edited=L4,L5" in " ".join(Options(edited="L4,L5").arguments()).replace(" ", "=")
