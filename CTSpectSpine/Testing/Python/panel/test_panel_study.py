"""Load study…: the library's choice of CT and SPECT as a table to correct."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import slicer
import slicer_host
import slicer_qt
from slicer_desk import Desk
from slicer_panel import Answers, tip

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.panel.study import study_table
from CTSpectSpineLib.scene.mrml import image_from_node
from CTSpectSpineLib.volumes import read_volume

MODULE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "volumes"))
from test_volumes_study import add_ct, add_spect  # noqa: E402


@pytest.fixture
def study(tmp_path: Path) -> Path:
    add_ct(tmp_path, "1.1", ConvolutionKernel="B30f")
    add_ct(tmp_path, "1.2", ConvolutionKernel="B70f")
    add_spect(tmp_path, "osem")
    add_spect(tmp_path, "none", CorrectedImage=["DECY"])
    return tmp_path


@pytest.fixture
def desk() -> Iterator[Desk]:
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    found = Desk()
    yield found
    assert slicer_qt.slot_errors == []
    found.close()


def uses(desk: Desk) -> dict[str, str]:
    """Series to what it is used as."""
    table = desk.ui.studyTable
    return {table.item(i, 1).text(): table.item(i, 0).text() for i in range(table.rowCount)}


def test_the_choice_is_shown_corrected_and_loaded(desk: Desk, study: Path) -> None:
    ui = desk.ui
    assert tip(ui.loadChosenButton) == "Choose a study first."
    desk.widget.ask = Answers(study)
    ui.loadStudyButton.click()
    shown = uses(desk)
    assert sorted(shown.values()) == ["", "", "CT", "SPECT"]
    assert "attenuation is corrected" in ui.studyLabel.text
    (unused,) = [i for i, (name, use) in enumerate(shown.items()) if "none" in name and not use]
    ui.studyTable.cellClicked.emit(unused, 1)
    assert [use for name, use in uses(desk).items() if "none" in name] == ["SPECT"]
    assert [use for name, use in uses(desk).items() if "osem" in name] == [""]
    assert "was chosen by you" in ui.studyLabel.text
    ui.loadChosenButton.click()
    values = desk.widget.parameters
    assert values.spect.GetName() == f"{study.name} SPECT"
    assert values.vertebrae is None
    volume = read_volume(study / "none.dcm", "spect")
    image = image_from_node(values.spect)
    np.testing.assert_allclose(image.GetSpacing(), volume.image.GetSpacing())
    np.testing.assert_allclose(image.GetOrigin(), volume.image.GetOrigin())
    assert ui.studyTable.isHidden()
    assert values.ct.GetScene() is slicer.mrmlScene


def test_where_the_headers_do_not_tell_the_user_has_to(desk: Desk, tmp_path: Path) -> None:
    add_ct(tmp_path, "1.1")
    add_spect(tmp_path, "one")
    add_spect(tmp_path, "two")
    desk.widget.ask = Answers(tmp_path)
    desk.ui.loadStudyButton.click()
    assert "the headers do not tell which series is the SPECT" in desk.ui.studyLabel.text
    assert tip(desk.ui.loadChosenButton) == "Choose a CT and a SPECT in the table."
    for row in range(desk.ui.studyTable.rowCount):
        desk.ui.studyTable.cellClicked.emit(row, 0)
    assert desk.ui.loadChosenButton.enabled


def test_a_series_that_cannot_be_used_says_why(desk: Desk, study: Path) -> None:
    add_spect(study, "planar", ImageType=["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"])
    table = study_table(study)
    bad = next(item for item in table.series if item.series.refusal)
    with pytest.raises(InputError, match="planar"):
        table.with_series(bad.number)


def test_a_folder_without_images_is_one_sentence(desk: Desk, tmp_path: Path) -> None:
    desk.widget.ask = Answers(tmp_path)
    desk.ui.loadStudyButton.click()
    assert str(slicer_qt.slot_errors[0]).startswith(str(tmp_path))
    slicer_qt.slot_errors.clear()
