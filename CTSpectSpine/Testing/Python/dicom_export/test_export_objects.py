"""What the exported objects hold, read back with pydicom and highdicom, against what went in."""

from __future__ import annotations

import csv
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from slicer_results import HOT_POINT_CT
from study_files import STUDY, Case

from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps
from CTSpectSpineLib.volumes import read_segmentation, read_volume

FILES = {
    "seg-vertebrae.dcm", "seg-joints-1.dcm", "report.dcm", "registration.dcm", "spect-on-ct.dcm",
    "picture-001.dcm",
}  # fmt: skip
CT_SCHEME = "99CTSPECTSPINE"


def objects(study: Case) -> dict[str, Dataset]:
    return {path.name: dcmread(path) for path in study.out.glob("*.dcm")}


def points_of(instance: Dataset, number: int) -> np.ndarray:
    """Centres of the voxels of one segment, LPS mm, from the frames alone."""
    shared = instance.SharedFunctionalGroupsSequence[0]
    spacing = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
    axes = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    found = []
    for frame, group in zip(
        np.atleast_3d(instance.pixel_array),
        instance.PerFrameFunctionalGroupsSequence,
        strict=True,
    ):
        # What all frames have in common stands in the shared group.
        named = group if "SegmentIdentificationSequence" in group else shared
        if named.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        origin = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        row, column = np.nonzero(frame)
        across = np.outer(column, axes[:3] * spacing[1])
        found.append(origin + across + np.outer(row, axes[3:] * spacing[0]))
    return np.concatenate(found)


def as_set(points: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(point) for point in np.rint(points / 0.05).astype(int)}


def groups(report: Dataset) -> dict[str, Dataset]:
    """Measurement groups by tracking identifier, and the verdict."""
    found = {}
    for container in report.ContentSequence:
        if container.ConceptNameCodeSequence[0].CodeMeaning == "Qualitative Evaluations":
            found["Verdict"] = container
        for group in container.get("ContentSequence", ()):
            for item in group.get("ContentSequence", ()):
                if item.ConceptNameCodeSequence[0].CodeMeaning == "Tracking Identifier":
                    found[str(item.TextValue)] = group
    return found


def items(group: Dataset, kind: str) -> dict[str, Dataset]:
    """Content items of one kind by the value of their name's code."""
    return {
        str(item.ConceptNameCodeSequence[0].CodeValue): item
        for item in group.ContentSequence
        if item.ValueType == kind
    }


def test_all_objects_are_there_and_share_patient_and_study(study: Case) -> None:
    made = objects(study)
    assert set(made) == FILES
    sources = {str(dcmread(p).SeriesInstanceUID) for p in (study.ct / "000.dcm", study.spect)}
    for name, instance in made.items():
        for keyword, value in STUDY.items():
            if keyword != "SpecificCharacterSet":
                assert str(instance[keyword].value) == value, (name, keyword)
        assert instance.SpecificCharacterSet == "ISO_IR 192"
        assert str(instance.SeriesInstanceUID) not in sources
        assert "RESEARCH USE ONLY" in instance.SeriesDescription
        assert instance.SoftwareVersions
    series = {str(made[name].SeriesInstanceUID) for name in FILES}
    assert len(series) == len(FILES)
    assert len({str(instance.SOPInstanceUID) for instance in made.values()}) == len(FILES)


def test_vertebrae_lie_where_the_labels_are(study: Case) -> None:
    instance = objects(study)["seg-vertebrae.dcm"]
    assert instance.FrameOfReferenceUID == dcmread(study.ct / "000.dcm").FrameOfReferenceUID
    voxels = sitk.GetArrayFromImage(study.made.labels)
    matrix = ijk_to_lps(study.made.labels)
    expected = {"L4": (28, "11994002"), "L5": (27, "49668003"), "sacrum": (25, "54735007")}
    assert {str(s.SegmentLabel) for s in instance.SegmentSequence} == set(expected)
    for segment in instance.SegmentSequence:
        label, code = expected[str(segment.SegmentLabel)]
        truth = apply_matrix(matrix, np.argwhere(voxels == label)[:, ::-1])
        found = points_of(instance, segment.SegmentNumber)
        assert len(found) == len(truth)
        assert as_set(found) == as_set(truth)
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == code
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert algorithm.AlgorithmName == "Vertebra labels: builtin"
        assert algorithm.AlgorithmVersion == "2"


def test_frames_name_the_slice_that_they_lie_on(study: Case) -> None:
    """Viewers that show segments on slices go by these references."""
    slices = {}
    for path in study.ct.iterdir():
        header = dcmread(path, stop_before_pixels=True)
        slices[str(header.SOPInstanceUID)] = np.array(header.ImagePositionPatient, dtype=float)
    instance = objects(study)["seg-joints-1.dcm"]
    assert len(instance.PerFrameFunctionalGroupsSequence) == instance.NumberOfFrames > 5
    for group in instance.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        np.testing.assert_allclose(
            position, slices[str(source.ReferencedSOPInstanceUID)], atol=1e-3
        )


def test_overlapping_joints_keep_all_their_voxels(study: Case) -> None:
    segments, _ = read_segmentation(study.results / "joints.seg.nrrd")
    made = objects(study)["seg-joints-1.dcm"]
    assert made.SegmentsOverlap == "YES"
    assert [int(s.SegmentNumber) for s in made.SegmentSequence] == [1, 2, 3]
    found = {str(segment.SegmentLabel): (made, segment) for segment in made.SegmentSequence}
    assert set(found) == {segment.id for segment in segments}
    for segment in segments:
        instance, description = found[segment.id]
        points = points_of(instance, description.SegmentNumber)
        assert as_set(points) == as_set(segment.region.points_mm())  # type: ignore[union-attr]
        region = description.AnatomicRegionSequence[0]
        assert (region.CodeValue, region.CodingSchemeDesignator) == (
            segment.id.split()[0],
            CT_SCHEME,
        )
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        sides = [m.CodeMeaning for m in kind.get("SegmentedPropertyTypeModifierCodeSequence", ())]
        assert sides == [side.capitalize() for side in segment.id.split()[2:]]


def test_frames_of_overlapping_joints_are_numbered_by_segment_and_place(study: Case) -> None:
    instance = objects(study)["seg-joints-1.dcm"]
    numbered: dict[float, int] = {}
    for group in instance.PerFrameFunctionalGroupsSequence:
        segment, place = map(int, group.FrameContentSequence[0].DimensionIndexValues)
        assert segment == group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        height = round(float(group.PlanePositionSequence[0].ImagePositionPatient[2]), 2)
        assert numbered.setdefault(height, place) == place
    assert sorted(numbered.values()) == list(range(1, len(numbered) + 1))
    shared = {element.keyword for element in instance.SharedFunctionalGroupsSequence[0]}
    assert shared == {"PlaneOrientationSequence", "PixelMeasuresSequence"}


def test_report_repeats_the_table(study: Case) -> None:
    made = objects(study)
    found = groups(made["report.dcm"])
    columns = {
        "UPTAKE_MEAN": ("mean", "Bq/ml"), "RATIO_PVC": ("ratio_corrected", "{ratio}"),
        "RATIO_LOW": ("ratio_low", "{ratio}"), "RATIO_HIGH": ("ratio_high", "{ratio}"),
        "P_POSITIVE": ("probability_positive", "1"), "SUV_MEAN": ("suv_mean", "g/ml{SUVbw}"),
    }  # fmt: skip
    with (study.results / "joints.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert set(found) == {"Verdict", *(row["joint"] for row in rows)}
    for row in rows:
        group = found[row["joint"]]
        numbers = items(group, "NUM")
        assert set(numbers) == set(columns)
        for code, (column, unit) in columns.items():
            measured = numbers[code].MeasuredValueSequence[0]
            assert float(measured.NumericValue) == pytest.approx(float(row[column]), rel=1e-13)
            assert measured.MeasurementUnitsCodeSequence[0].CodeValue == unit
        judged = items(group, "CODE")
        assert judged["UPTAKE_CLASS"].ConceptCodeSequence[0].CodeMeaning.lower() == row["uptake"]
        assert judged["JOINT_STATUS"].ConceptCodeSequence[0].CodeValue == "MEASURED"
        _check_reference(group, row["joint"], made)


def _check_reference(group: Dataset, joint: str, made: dict[str, Dataset]) -> None:
    """A group refers to the segment of its joint, under the same tracking UID."""
    reference = items(group, "IMAGE")["121191"].ReferencedSOPSequence[0]
    instance = next(
        i for i in made.values() if i.SOPInstanceUID == reference.ReferencedSOPInstanceUID
    )
    segment = instance.SegmentSequence[int(reference.ReferencedSegmentNumber) - 1]
    assert segment.SegmentLabel == joint
    assert segment.TrackingUID == items(group, "UIDREF")["112040"].UID


def test_report_has_the_verdict_with_its_reasons(study: Case) -> None:
    verdict = groups(objects(study)["report.dcm"])["Verdict"]
    disposition = items(verdict, "CODE")["DISPOSITION"].ConceptCodeSequence[0]
    assert disposition.CodeValue == "MULTIPLE_AREAS"
    stability = items(verdict, "NUM")["STABILITY"].MeasuredValueSequence[0]
    assert float(stability.NumericValue) == 0.93
    texts = {name: item.TextValue for name, item in items(verdict, "TEXT").items()}
    assert (texts["PROTOCOL_ID"], texts["PROTOCOL_VERSION"]) == ("tender-2019", "1")
    assert texts["REASON"] == "L5-S1 facet right is positive: ratio 4.1, bound 1.5 “µ”."
    assert "RESEARCH USE ONLY" in texts["CAVEAT"]


def test_highdicom_reads_the_report(study: Case) -> None:
    import highdicom as hd

    report = hd.sr.srread(study.out / "report.dcm")
    assert len(report.content.get_volumetric_roi_measurement_groups()) == 3


def test_registration_maps_spect_to_ct(study: Case) -> None:
    instance = objects(study)["registration.dcm"]
    ct, spect = dcmread(study.ct / "000.dcm"), dcmread(study.spect)
    frames = {str(i.FrameOfReferenceUID): i for i in instance.RegistrationSequence}
    assert set(frames) == {str(ct.FrameOfReferenceUID), str(spect.FrameOfReferenceUID)}
    assert instance.FrameOfReferenceUID == ct.FrameOfReferenceUID

    def matrix(item: Dataset) -> np.ndarray:
        transform = item.MatrixRegistrationSequence[0].MatrixSequence[0]
        assert transform.FrameOfReferenceTransformationMatrixType == "RIGID"
        numbers = np.array(transform.FrameOfReferenceTransformationMatrix, dtype=float)
        return numbers.reshape(4, 4)

    np.testing.assert_array_equal(matrix(frames[str(ct.FrameOfReferenceUID)]), np.eye(4))
    hot_in_spect = apply_matrix(study.made.ct_to_spect, np.array([HOT_POINT_CT]))
    back = apply_matrix(matrix(frames[str(spect.FrameOfReferenceUID)]), hot_in_spect)
    np.testing.assert_allclose(back, [HOT_POINT_CT], atol=1e-6)


def test_fused_spect_shows_the_hot_joint_on_the_ct(study: Case) -> None:
    path = study.out / "spect-on-ct.dcm"
    instance = dcmread(path)
    assert instance.FrameOfReferenceUID == dcmread(study.ct / "000.dcm").FrameOfReferenceUID
    fused = read_volume(path, "spect")
    voxels = sitk.GetArrayFromImage(fused.image)
    hottest = np.argwhere(voxels == voxels.max())[0][::-1]
    place = fused.image.TransformIndexToPhysicalPoint([int(v) for v in hottest])
    assert np.linalg.norm(np.array(place) - HOT_POINT_CT) < 4.4
    # Everywhere it is the SPECT itself, to half a stored step.
    spect = read_volume(study.spect, "spect").image
    step = float(instance.RealWorldValueMappingSequence[0].RealWorldValueSlope)
    rng = np.random.default_rng(0)
    for index in rng.integers(0, fused.image.GetSize(), (200, 3)).tolist():
        point = fused.image.TransformIndexToPhysicalPoint(index)
        moved = apply_matrix(study.made.ct_to_spect, np.array([point]))[0].tolist()
        inside = spect.TransformPhysicalPointToContinuousIndex(moved)
        if all(1 < i < n - 2 for i, n in zip(inside, spect.GetSize(), strict=True)):
            truth = spect.EvaluateAtPhysicalPoint(moved)
            assert fused.image[index] == pytest.approx(truth, abs=0.51 * step + 1e-3)


def test_picture_is_the_one_of_the_report_with_the_words(study: Case) -> None:
    instance = objects(study)["picture-001.dcm"]
    png = Image.open(BytesIO((study.results / "pictures" / "overview.png").read_bytes()))
    original, shown = np.asarray(png), instance.pixel_array
    np.testing.assert_array_equal(shown[: original.shape[0], : original.shape[1]], original)
    strip = shown[original.shape[0] :]
    assert strip.max() > 200, "no words"
    assert strip[:, -1].max() == 0, "words are cut"
    assert instance.ImageComments == "RESEARCH USE ONLY. Overview. All."


def test_files_are_dicom_files(study: Case) -> None:
    for path in study.out.glob("*.dcm"):
        assert path.read_bytes()[128:132] == b"DICM"
    assert not list(Path(study.out).glob("*.tmp"))
