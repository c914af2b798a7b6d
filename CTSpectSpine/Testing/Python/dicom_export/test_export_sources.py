"""Where the DICOM series of results are found, which are refused, and what is then left out."""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from study_files import STUDY, Case, change_json, enter_inputs, write_ct, write_spect
from test_export_objects import as_set, groups, items, points_of

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.dicom_export import Sources, export_results, find_sources
from CTSpectSpineLib.dicom_export.segmentation import Algorithm, segmentation
from CTSpectSpineLib.dicom_export.sources import SAME_GRID_MM
from CTSpectSpineLib.dicom_export.structures import Layer, Structure
from CTSpectSpineLib.dicom_export.study import Study, new_series, new_uid
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import apply_matrix, grid_of, ijk_to_lps
from CTSpectSpineLib.results.text_files import read_json
from CTSpectSpineLib.volumes import read_volume, write_image


def as_nifti(case: Case) -> None:
    """Let the results be those of NIfTI files, and put the DICOM series elsewhere."""
    images = read_volume(case.ct, "ct").image, read_volume(case.spect, "spect").image
    paths = case.folder / "ct.nii.gz", case.folder / "spect.nii.gz"
    for image, path in zip(images, paths, strict=True):
        write_image(image, path)
    enter_inputs(case, *paths)
    (case.folder / "archive" / "deep").mkdir(parents=True)
    shutil.move(case.ct, case.folder / "archive" / "deep" / "ct")
    shutil.move(case.spect, case.folder / "archive" / "deep" / "spect.dcm")


def sources_of(case: Case, **given: Path) -> Sources:
    """The series that an export would take."""
    manifest = read_json(case.results / "manifest.json")
    labels = read_volume(case.results / "vertebrae.nii.gz", "labels").image
    return find_sources(case.results, manifest, labels, **given)


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Sentence of a refused export, which writes nothing."""
    assert main(["export", *map(str, words)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_results_of_nifti_need_a_series(fresh: Case, capsys: pytest.CaptureFixture[str]) -> None:
    as_nifti(fresh)
    said = refused(capsys, fresh.results, "--dicom", fresh.out)
    assert "give the series on the same grid with --ct" in said
    assert not fresh.out.exists()


def test_results_of_nifti_with_the_series_given(fresh: Case) -> None:
    as_nifti(fresh)
    series = fresh.folder / "archive" / "deep"
    found = sources_of(fresh, ct=series / "ct", spect=series / "spect.dcm")
    assert found.spect is not None
    assert not found.notes


def test_labels_stored_in_another_order_come_to_the_same_places(fresh: Case) -> None:
    """NIfTI files often have their axes turned round; segments lie on the slices of the series."""
    labels = sitk.ReadImage(str(fresh.results / "vertebrae.nii.gz"))
    turned = sitk.DICOMOrient(sitk.PermuteAxes(labels, [2, 0, 1]), "RAS")
    sitk.WriteImage(turned, str(fresh.results / "vertebrae.nii.gz"))
    assert not grid_of(turned).matches(grid_of(labels))
    instance = export_results(fresh.results).objects["seg-vertebrae.dcm"]
    truth = np.argwhere(sitk.GetArrayFromImage(fresh.made.labels) == 28)[:, ::-1]
    found = next(s for s in instance.SegmentSequence if s.SegmentLabel == "L4")
    points = points_of(instance, found.SegmentNumber)
    assert as_set(points) == as_set(apply_matrix(ijk_to_lps(fresh.made.labels), truth))


@pytest.mark.parametrize(("shift_mm", "taken"), [(0.05, True), (0.2, False)])
def test_a_series_on_another_grid_is_refused(fresh: Case, shift_mm: float, taken: bool) -> None:
    as_nifti(fresh)
    moved = sitk.Image(fresh.made.ct)
    moved.SetOrigin([v + shift_mm for v in moved.GetOrigin()])
    write_ct(fresh.folder / "other", moved)
    if taken:
        assert sources_of(fresh, ct=fresh.folder / "other").ct.study == STUDY["StudyInstanceUID"]
        return
    with pytest.raises(InputError, match=r"the grid of this series is not that .* \(to 0.1 mm\)"):
        sources_of(fresh, ct=fresh.folder / "other")


def test_the_page_states_the_tolerance(repository: Path) -> None:
    page = (repository / "docs" / "dicom.md").read_text(encoding="utf-8")
    assert f"where those of the file lie, to {SAME_GRID_MM:g} mm" in " ".join(page.split())


def test_other_values_on_the_same_grid_are_told(fresh: Case) -> None:
    as_nifti(fresh)
    write_ct(fresh.folder / "other", fresh.made.ct + 7)
    notes = export_results(fresh.results, ct=fresh.folder / "other").notes
    assert any(
        note.startswith("The CT has the grid of the one that was analysed") for note in notes
    )


def test_another_dicom_series_is_refused(fresh: Case) -> None:
    write_ct(fresh.folder / "other", fresh.made.ct + 7)
    with pytest.raises(InputError, match=r"is not the CT of .* its content differs"):
        export_results(fresh.results, ct=fresh.folder / "other")


def test_another_spect_is_refused(fresh: Case) -> None:
    write_spect(fresh.folder / "other.dcm", fresh.made.spect + 7)
    with pytest.raises(InputError, match=r"is not the SPECT of .* its content differs"):
        export_results(fresh.results, spect=fresh.folder / "other.dcm")


def test_without_the_spect_the_rest_is_exported(fresh: Case) -> None:
    fresh.spect.unlink()
    exported = export_results(fresh.results)
    assert "report.dcm" in exported.objects
    assert not {"registration.dcm", "spect-on-ct.dcm"} & set(exported.objects)
    assert any("give it with --spect" in note for note in exported.notes)


def test_one_frame_of_reference_for_both(fresh: Case) -> None:
    """No matrix is stated from a frame of reference to itself: the images are named instead."""
    frame = "1.2.826.0.1.3680043.10.999.7"
    shutil.rmtree(fresh.ct)
    write_ct(fresh.ct, fresh.made.ct, FrameOfReferenceUID=frame)
    write_spect(fresh.spect, fresh.made.spect, FrameOfReferenceUID=frame)
    enter_inputs(fresh, fresh.ct, fresh.spect)
    still, moved = export_results(fresh.results).objects["registration.dcm"].RegistrationSequence
    assert (still.FrameOfReferenceUID, "FrameOfReferenceUID" in moved) == (frame, False)
    spect = dcmread(fresh.spect)
    assert moved.ReferencedImageSequence[0].ReferencedSOPInstanceUID == spect.SOPInstanceUID


def test_tilted_ct(fresh: Case) -> None:
    """Labels on the straightened grid keep their places; they lie between the tilted slices."""

    def sheared(header: object) -> list[str]:
        number = header.InstanceNumber - 1  # type: ignore[attr-defined]
        first = apply_matrix(ijk_to_lps(fresh.made.ct), np.zeros((1, 3)))[0]
        return [f"{v:.6f}" for v in first + number * np.array([0.0, 0.4, 2.0])]

    shutil.rmtree(fresh.ct)
    write_ct(fresh.ct, fresh.made.ct, ImagePositionPatient=sheared)
    enter_inputs(fresh, fresh.ct, fresh.spect)
    straight = read_volume(fresh.ct, "ct").image
    assert straight.GetSize() != fresh.made.ct.GetSize()
    nearest = sitk.sitkNearestNeighbor
    labels = sitk.Resample(fresh.made.labels, straight, sitk.Transform(), nearest, 0)
    sitk.WriteImage(labels, str(fresh.results / "vertebrae.nii.gz"))
    instance = export_results(fresh.results).objects["seg-vertebrae.dcm"]
    found = next(s for s in instance.SegmentSequence if s.SegmentLabel == "L4")
    truth = np.argwhere(sitk.GetArrayFromImage(labels) == 28)[:, ::-1]
    points = points_of(instance, found.SegmentNumber)
    assert len(points) == len(truth)
    expected = apply_matrix(ijk_to_lps(labels), truth)
    np.testing.assert_allclose(np.sort(points, axis=0), np.sort(expected, axis=0), atol=0.01)


def test_numbers_of_odd_grids_fit_their_fields(fresh: Case) -> None:
    """A decimal string has at most 16 characters (PS3.5 6.2), also where 0.28 has 17 digits."""
    source = sources_of(fresh).ct
    matrix = np.diag([0.19, 0.1 + 0.2, 0.28 / 3.0, 1.0])
    bone = Structure("L4", "vertebra", "L4", "", (1, 2, 3), new_uid())
    layer = Layer((bone,), np.ones((6, 8, 8), dtype=np.uint8), matrix)
    study, series = Study.of(source), new_series(0, "Odd")
    made = segmentation(layer, source, Algorithm.of_joints(""), study, series, 1)
    encoded = BytesIO()
    made.save_as(encoded, enforce_file_format=True)
    found = [e for e in dcmread(BytesIO(encoded.getvalue())).iterall() if e.VR == "DS"]
    texts = [v.original_string for e in found for v in ([e.value] if e.VM == 1 else e.value)]
    assert len(texts) > 20
    assert max(map(len, texts)) <= 16


def test_refused_results_show_no_disposition_and_no_numbers(fresh: Case) -> None:
    """Not even where ``verdict.json`` still holds one."""
    reason = "The registration failed: no overlap."
    fresh.manifest(status="failed", status_reason=reason)
    change_json(fresh.results / "registration.json", quality="failed")
    exported = export_results(fresh.results)
    report = exported.objects["report.dcm"]
    found = groups(report)
    verdict = found.pop("Verdict")
    assert items(verdict, "CODE")["DISPOSITION"].ConceptCodeSequence[0].CodeValue == "NO_VERDICT"
    assert items(verdict, "TEXT")["REASON"].TextValue == reason
    assert "MULTIPLE_AREAS" not in str(report)
    assert not items(verdict, "NUM")
    for group in found.values():
        assert not items(group, "NUM")
        assert "UPTAKE_CLASS" not in items(group, "CODE")
        assert items(group, "CODE")["JOINT_STATUS"].ConceptCodeSequence[0].CodeValue == "WITHHELD"
    assert "spect-on-ct.dcm" not in exported.objects
    assert "picture-001.dcm" not in exported.objects
    assert any("failed or was rejected" in note for note in exported.notes)


def test_rejected_registration_is_not_exported(fresh: Case) -> None:
    check = {"decision": "rejected", "quality": "good", "time": "2026-05-04T09:30:00+00:00"}
    fresh.manifest(registration_check=check)
    exported = export_results(fresh.results)
    assert "registration.dcm" not in exported.objects
    reason = items(groups(exported.objects["report.dcm"])["Verdict"], "TEXT")["REASON"].TextValue
    assert reason.startswith("The user rejected the registration")


def test_joint_that_is_not_measurable_has_no_numbers(fresh: Case) -> None:
    path = fresh.results / "joints.csv"
    text = path.read_text(encoding="utf-8").replace(",negative,", ",not_measurable,")
    path.write_bytes(text.encode("utf-8"))
    found = groups(export_results(fresh.results).objects["report.dcm"])
    for joint, group in found.items():
        if joint not in ("Verdict", "L5-S1 facet right"):
            assert not items(group, "NUM")
            judged = items(group, "CODE")["UPTAKE_CLASS"].ConceptCodeSequence[0]
            assert judged.CodeValue == "NOT_MEASURABLE"
    assert items(found["L5-S1 facet right"], "NUM")


def test_joint_without_region_is_reported_without_one(fresh: Case) -> None:
    (fresh.results / "joints.seg.nrrd").unlink()
    found = groups(export_results(fresh.results).objects["report.dcm"])
    assert len(found) == 4
    assert all(not items(group, "IMAGE") for group in found.values())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"status": "running"}, "has not finished"),
        ({"schema": "other"}, "schema is 'other'"),
    ],
)
def test_results_that_are_not_ready(
    change: dict[str, str], sentence: str, fresh: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh.manifest(**change)
    assert sentence in refused(capsys, fresh.results, "--dicom", fresh.out)


def test_series_without_uids_is_refused(fresh: Case) -> None:
    shutil.rmtree(fresh.ct)
    write_ct(fresh.ct, fresh.made.ct, FrameOfReferenceUID="")
    enter_inputs(fresh, fresh.ct, fresh.spect)
    with pytest.raises(InputError, match="has no FrameOfReferenceUID"):
        export_results(fresh.results)


def test_files_of_the_user_and_the_sources_stay(
    fresh: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh.out.mkdir()
    (fresh.out / "report.dcm").write_bytes(b"mine")
    assert "is not empty" in refused(capsys, fresh.results, "--dicom", fresh.out)
    assert (fresh.out / "report.dcm").read_bytes() == b"mine"
    for place in (fresh.results, fresh.ct):
        before = sorted(place.rglob("*"))
        refused(capsys, fresh.results, "--dicom", place)
        assert sorted(place.rglob("*")) == before


def test_second_export_replaces_the_first(fresh: Case) -> None:
    command = ["export", str(fresh.results), "--dicom", str(fresh.out)]
    assert main(command) == 0
    (fresh.results / "joints.seg.nrrd").unlink()
    assert main([*command, "--json"]) == 0
    assert "seg-joints-1.dcm" not in {path.name for path in fresh.out.iterdir()}


def test_missing_package_is_one_sentence(
    fresh: Case, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "highdicom"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    said = refused(capsys, fresh.results, "--dicom", fresh.out)
    assert "install it with: pip install" in said
    assert not Path(fresh.out).exists()
