"""Vertebrae edited in the Segment Editor: measured again, and the record says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer_child
import slicer_host
import slicer_qt
from slicer_desk import Desk, edit

from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.panel import run as run_module
from CTSpectSpineLib.scene.edits import edited_vertebrae

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


def test_without_an_edit_nothing_is_measured(desk: Desk) -> None:
    desk.analyse(desk.folder / "results")
    before = desk.widget.record.identity
    desk.ui.measureEditedButton.click()
    desk.settle()
    assert desk.widget.record.identity == before
    assert desk.ui.statusLabel.text == "No vertebra was edited since it was measured."


@pytest.mark.parametrize("wrong", ["", "L4, L5", "knee"])
def test_only_vertebrae_can_be_edited(wrong: str) -> None:
    with pytest.raises(InputError, match="give vertebrae like L4,L5"):
        Options(edited=wrong)
    assert "--edited=L4,L5" in " ".join(Options(edited="L4,L5").arguments()).replace(" ", "=")
