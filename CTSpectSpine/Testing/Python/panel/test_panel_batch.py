"""The batch in the panel: in the background, cancelled and resumed, and any patient opened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
import slicer
import slicer_child
import slicer_host
import slicer_qt
from slicer_desk import Desk
from slicer_panel import Answers, tip
from slicer_results import make_results_folder

from CTSpectSpineLib.cohort.record import PatientRecord
from CTSpectSpineLib.cohort.table import CohortPatient, read_cohort
from CTSpectSpineLib.command_line import child
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.panel.cohort import CohortResults, cohort_file
from CTSpectSpineLib.panel.workplace import Workplace
from CTSpectSpineLib.processes import is_alive
from CTSpectSpineLib.scene.mrml import add_volume
from CTSpectSpineLib.scene.nodes import analyses, results_folder

MODULE = Path(__file__).resolve().parents[3]
HOST = Path(slicer_child.__file__).parent
STAND_IN = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.path.insert(0, {host!r}); "
    "import CTSpectSpineLib.command_line.batch as batch; "
    "from slicer_child import QuickChild; batch.ChildProcess = QuickChild; "
    "from CTSpectSpineLib.command_line.child import run; "
    "sys.exit(run(sys.argv.pop(1), sys.argv[1:]))"
)
"""The real batch, with patients that are not measured."""
LONGEST_SECONDS = 0.3
"""How long the window may stand still."""


@pytest.fixture
def desk() -> Iterator[Desk]:
    slicer_host.load_module(MODULE / "CTSpectSpine.py")
    found = Desk()
    found.ui.cohortText.text = found.ui.batchFolderText.text = ""
    yield found
    found.widget.batch.stop()
    found.ui.cohortText.text = found.ui.batchFolderText.text = ""
    assert slicer_qt.slot_errors == []
    found.close()


def cohort_of(folder: Path, count: int) -> Path:
    """Patients that share the images of the small results folder."""
    (folder / "images").mkdir(parents=True)
    made = make_results_folder(folder / "images")
    for name, image in (("ct", made.ct), ("spect", made.spect), ("vertebrae", made.labels)):
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    lines = ["id,ct,spect,vertebrae"]
    lines += [f"p{n:02d},ct.nii.gz,spect.nii.gz,vertebrae.nii.gz" for n in range(count)]
    path = folder / "cohort.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_folder_of_studies_becomes_a_cohort_with_names_that_can_be_folders(
    tmp_path: Path,
) -> None:
    for name in ("Müller, 1", "M_ller_ 1", "plain", "review", ".hidden"):
        (tmp_path / "studies" / name).mkdir(parents=True)
    workplace = Workplace(tmp_path / "work")
    patients = read_cohort(cohort_file(tmp_path / "studies", workplace))
    assert [patient.id for patient in patients] == ["M_ller_1", "M_ller_1_2", "plain", "review_2"]
    assert patients[2].study == (tmp_path / "studies" / "plain").resolve()
    with pytest.raises(InputError, match="holds no folders"):
        cohort_file(tmp_path / "studies" / "plain", workplace)
    with pytest.raises(InputError, match="no such cohort file or folder"):
        cohort_file(tmp_path / "nothing", workplace)


def test_results_are_read_a_few_at_a_time_and_the_urgent_come_first(tmp_path: Path) -> None:
    patients = [CohortPatient(f"p{n}") for n in range(5)]
    results = CohortResults(tmp_path, patients)
    assert not results.look()
    for patient in patients[:3]:
        PatientRecord(patient.id, "error", f"{patient.id} is broken.", 1.0, "s", {}).write(tmp_path)
    assert results.look(most=2)
    assert [row.id for row in results.queue()] == ["p0", "p1"]
    assert results.look(most=2)
    assert not results.look(most=2)
    assert [row.reason for row in results.queue()] == [f"p{n} is broken." for n in range(3)]
    assert results.waiting == 2


def test_decisions_hold_in_the_queue_as_they_do_in_the_batch(tmp_path: Path) -> None:
    patients = [CohortPatient(f"p{n}") for n in range(2)]
    for patient in patients:
        PatientRecord(patient.id, "error", f"{patient.id} is broken.", 1.0, "s", {}).write(tmp_path)
    (tmp_path / "review").mkdir()
    (tmp_path / "review" / "decisions.csv").write_text(
        "id,decision,value,by,time,result\np0,exclude,metal,B,2026-01-01,\n", encoding="utf-8"
    )
    results = CohortResults(tmp_path, patients)
    assert results.look()
    assert [(row.id, row.status) for row in results.queue()] == [
        ("p1", "error"),
        ("p0", "excluded"),
    ]
    (tmp_path / "review" / "decisions.csv").write_text("id\np0\n", encoding="utf-8")
    with pytest.raises(InputError, match="needs the columns"):
        CohortResults(tmp_path, patients)


def test_what_is_missing_is_said_and_a_wrong_cohort_is_one_sentence(
    desk: Desk, tmp_path: Path
) -> None:
    ui = desk.ui
    assert not ui.batchButton.enabled
    assert tip(ui.batchButton) == "Choose a cohort file."
    desk.widget.ask = Answers(tmp_path / "wrong.csv")
    (tmp_path / "wrong.csv").write_text("id,ct\np,a\n", encoding="utf-8")
    ui.cohortFileButton.click()
    assert tip(ui.batchButton) == "Choose a folder for the results of the batch."
    ui.batchFolderText.text = str(tmp_path / "out")
    ui.batchButton.click()
    assert "wrong.csv, row 2: ct given" in ui.batchLabel.text
    assert not desk.widget.batch.running
    assert [type(error) for error in slicer_qt.slot_errors] == [InputError]
    slicer_qt.slot_errors.clear()
    assert not (tmp_path / "out").exists()
    assert tip(ui.openPatientButton) == "Choose a patient in the table."


@pytest.mark.slow  # some 20 seconds
def test_twelve_patients_cancelled_and_resumed_while_the_window_answers(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_START", STAND_IN.format(host=str(HOST)))
    ui, batch, out = desk.ui, desk.widget.batch, tmp_path / "out"
    ui.cohortText.text = str(cohort_of(tmp_path, 12))
    ui.batchFolderText.text = str(out)
    longest = 0.0

    def follow(until: Any) -> None:
        nonlocal longest
        end = time.monotonic() + 120.0
        while not until():
            assert time.monotonic() < end, ui.batchLabel.text
            before = time.monotonic()
            batch.onTimer()
            slicer.app.processEvents()
            longest = max(longest, time.monotonic() - before)
            time.sleep(0.02)

    ui.batchButton.click()
    assert ui.batchButton.text == "Cancel the batch"
    pid = batch.run._child.pid
    follow(lambda: len(batch._rows) >= 3)
    ui.batchButton.click()
    assert not is_alive(pid)
    assert "Cancelled" in ui.batchLabel.text
    done = {row.id: (out / row.id / "joints.csv").stat().st_mtime_ns for row in batch._rows}
    assert 3 <= len(done) < 12
    ui.batchButton.click()
    follow(lambda: not batch.running and batch._results.waiting == 0)
    assert ui.batchLabel.text == f"Done: {out}"
    assert ui.batchTable.rowCount == 12
    kept = {name: (out / name / "joints.csv").stat().st_mtime_ns for name in done}
    assert kept == done, "finished patients are not measured again"
    for name in ("cohort.csv", "joints_all.csv", "review.csv", "cohort.html"):
        assert (out / name).is_file()
    assert longest < LONGEST_SECONDS, f"{longest:.3f} s"
    assert ui.batchTable.item(0, 2).text() == "levels unconfirmed"

    ui.batchTable.setCurrentCell(4, 0)
    ui.openPatientButton.click()
    first = desk.widget.nodes
    assert results_folder(first.manifest) == out / batch._rows[4].id
    assert first.ct.GetName() == f"{batch._rows[4].id} CT"
    ui.batchTable.setCurrentCell(5, 0)
    ui.openPatientButton.click()
    ui.batchTable.setCurrentCell(4, 0)
    ui.openPatientButton.click()
    assert desk.widget.nodes.manifest is first.manifest, "it is there already"
    assert len(analyses(slicer.mrmlScene)) == 2


PATIENTS = {
    "disc": ("disc", ()),
    "disc-L4-L5": ("disc", (28, 27)),
    "disc-L3-L4": ("disc", (29, 28)),
    "facet-L4-L5": ("facet", (28, 27)),
    "facet-L5-sacrum": ("facet", (27, 25)),
}
"""Patient to its images and the labels that are kept, all where none are named."""


def only(labels: Path, kept: tuple[int, ...], target: Path) -> Path:
    """A label map with some of its labels; few joints are measured sooner."""
    image = sitk.ReadImage(str(labels))
    if kept:
        chosen = sum((image == number for number in kept[1:]), image == kept[0])
        image = image * sitk.Cast(chosen, image.GetPixelID())
    sitk.WriteImage(image, str(target))
    return target


@pytest.mark.slow  # twenty analyses
def test_panel_console_batch_and_command_line_find_the_same_numbers(
    desk: Desk, lumbar_phantom: Path, tmp_path: Path
) -> None:
    other = tmp_path / "facet"
    words = ["phantom", "--case", "lumbar-facet", "--ct-spacing", "3", "--seed", "5"]
    assert main([*words, "--out", str(other), "--progress", "none"]) == 0
    ui, logic, scene = desk.ui, desk.widget.logic, slicer.mrmlScene
    names = ("ct", "spect", "vertebrae")
    lines = [",".join(("id", *names))]
    paths = {}
    for name, (images, kept) in PATIENTS.items():
        folder = {"disc": lumbar_phantom, "facet": other}[images]
        labels = only(folder / "vertebrae.nii.gz", kept, tmp_path / f"{name}.nii.gz")
        paths[name] = [folder / "ct.nii.gz", folder / "spect.nii.gz", labels]
        lines.append(",".join((name, *map(str, paths[name]))))
    (tmp_path / "cohort.csv").write_text("\n".join(lines), encoding="utf-8")
    ui.threads.value = 1
    for name, (ct, spect, vertebrae) in paths.items():
        line = ["analyze", "--ct", str(ct), "--spect", str(spect), "--vertebrae", str(vertebrae)]
        line += ["--threads", "1", "--progress", "none", "--out", str(tmp_path / "line" / name)]
        assert main(line) in (0, 1)
        logic.processFolder(
            ct, spect, vertebrae, outputFolder=tmp_path / "console" / name, threads=1
        )
        scene.Clear()
        kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode")
        nodes = [
            add_volume(scene, sitk.ReadImage(str(path)), path.name, kind)
            for path, kind in zip((ct, spect, vertebrae), kinds, strict=True)
        ]
        desk.widget.enter()
        selectors = (ui.ctSelector, ui.spectSelector, ui.vertebraeSelector)
        for selector, node in zip(selectors, nodes, strict=True):
            selector.setCurrentNode(node)
        ui.threads.value = 1
        ui.outputPath.currentPath = str(tmp_path / "panel" / name)
        ui.applyButton.click()
        _wait(lambda: not desk.widget.analysis.running)
        scene.Clear()
    ui.cohortText.text = str(tmp_path / "cohort.csv")
    ui.batchFolderText.text = str(tmp_path / "batch")
    ui.batchButton.click()
    _wait(lambda: not desk.widget.batch.running)
    for name in paths:
        for file in ("joints.csv", "verdict.json", "spect_to_ct.tfm", "findings.csv"):
            texts = {
                way: (tmp_path / way / name / file).read_bytes()
                for way in ("line", "console", "panel", "batch")
            }
            assert len(set(texts.values())) == 1, (
                name,
                file,
                {k: len(v) for k, v in texts.items()},
            )


def _wait(until: Any) -> None:
    end = time.monotonic() + 900.0
    while not until():
        assert time.monotonic() < end
        slicer.app.processEvents()
        time.sleep(0.05)
