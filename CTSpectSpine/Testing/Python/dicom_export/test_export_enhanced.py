"""Results of an enhanced CT: objects refer to its frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom import dcmread
from pydicom.dataset import Dataset
from study_files import Case, enter_inputs
from test_export_conformance import errors_of
from test_export_objects import as_set, points_of

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.dicom_export.study import new_uid
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps

PARTS = 2


def enhanced(case: Case) -> Path:
    """The study's CT as one enhanced object, its frames in no useful order; it is the input."""
    headers = [dcmread(path) for path in sorted(case.ct.iterdir())]
    for header in headers:
        header.BurnedInAnnotation, header.Manufacturer = "NO", "m"
        header.PositionReferenceIndicator, header.Laterality = "", ""
    order = np.random.default_rng(2).permutation(len(headers))
    made = LegacyConvertedEnhancedCTImage([headers[n] for n in order], new_uid(), 9, new_uid(), 1)
    path = case.folder / "enhanced.dcm"
    made.save_as(path)
    enter_inputs(case, path, case.spect)
    return path


def concatenation(path: Path) -> Path:
    """The same in two parts."""
    whole = dcmread(path)
    frames = np.array_split(np.arange(int(whole.NumberOfFrames)), PARTS)
    size = len(whole.PixelData) // int(whole.NumberOfFrames)
    groups, pixels = list(whole.PerFrameFunctionalGroupsSequence), whole.PixelData
    uid, folder = new_uid(), path.parent / "parts"
    folder.mkdir()
    for number, part in enumerate(frames):
        whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = new_uid()
        whole.NumberOfFrames = len(part)
        whole.PerFrameFunctionalGroupsSequence = [groups[n] for n in part]
        whole.PixelData = pixels[part[0] * size : (part[-1] + 1) * size]
        whole.ConcatenationUID, whole.InConcatenationNumber = uid, number + 1
        whole.InConcatenationTotalNumber = PARTS
        whole.ConcatenationFrameOffsetNumber = int(part[0])
        whole.save_as(folder / f"{number}.dcm")
    return folder


def exported(case: Case, *words: str) -> dict[str, Dataset]:
    out = case.folder / "objects"
    assert main(["export", str(case.results), "--dicom", str(out), *words]) == 0
    return {path.name: dcmread(path) for path in out.glob("*.dcm")}


def test_segments_lie_on_the_frames_that_they_name(fresh: Case) -> None:
    source = dcmread(enhanced(fresh))
    made = exported(fresh, "--ct", str(fresh.folder / "enhanced.dcm"))
    instance = made["seg-vertebrae.dcm"]
    labels = fresh.made.labels
    truth = np.argwhere(sitk.GetArrayFromImage(labels) == 28)[:, ::-1]
    found = next(s for s in instance.SegmentSequence if s.SegmentLabel == "L4")
    points = points_of(instance, found.SegmentNumber)
    assert as_set(points) == as_set(apply_matrix(ijk_to_lps(labels), truth))
    named = set()
    for group in instance.PerFrameFunctionalGroupsSequence:
        reference = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        frame = source.PerFrameFunctionalGroupsSequence[int(reference.ReferencedFrameNumber) - 1]
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        own = group.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(np.array(own, float), np.array(place, float), atol=1e-3)
        named.add(int(reference.ReferencedFrameNumber))
    assert len(named) > 5
    evidence = made["report.dcm"].CurrentRequestedProcedureEvidenceSequence[0]
    classes = {
        str(item.ReferencedSOPSequence[0].ReferencedSOPClassUID)
        for item in evidence.ReferencedSeriesSequence
    }
    assert str(source.SOPClassUID) in classes


def test_a_concatenation_is_refused_by_the_name_of_the_tag(
    fresh: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = concatenation(enhanced(fresh))
    enter_inputs(fresh, folder, fresh.spect)
    words = [str(fresh.results), "--dicom", str(fresh.out), "--ct", str(folder)]
    assert main(["export", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "(a concatenation, ConcatenationUID, or one file per frame)" in said
    assert not fresh.out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("option", [(), ("--deidentify",)])
def test_dciodvfy_finds_no_error(fresh: Case, option: tuple[str, ...]) -> None:
    words = ("--ct", str(enhanced(fresh)), *option)
    made = exported(fresh, *words)
    assert len(made) == 6
    for name in made:
        assert not errors_of(fresh.folder / "objects" / name), name
