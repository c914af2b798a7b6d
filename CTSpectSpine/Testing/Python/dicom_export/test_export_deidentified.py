"""De-identified objects of a study in which everything that may name the patient is a marker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import UID
from study_files import Case, enter_inputs, make_case

from CTSpectSpineLib.command_line.main import main

MARKER = "QZXMARK"
DATES = ("19330921", "19920817", "19920818")
TEXTS = (
    "PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientNames", "PatientAddress",
    "PatientMotherBirthName", "PatientTelephoneNumbers", "PatientComments", "EthnicGroup",
    "Occupation", "AdditionalPatientHistory", "StudyID", "AccessionNumber", "StudyDescription",
    "ReferringPhysicianName", "PhysiciansOfRecord", "OperatorsName", "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy", "RequestingPhysician", "InstitutionName",
    "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "DeviceSerialNumber",
    "ManufacturerModelName", "Manufacturer", "SoftwareVersions", "ProtocolName",
    "SeriesDescription", "ImageComments", "RequestedProcedureDescription",
    "PerformedProcedureStepDescription", "DerivationDescription", "ConvolutionKernel",
    "PositionReferenceIndicator", "RequestAttributesComments",
)  # fmt: skip
STUDY_UID = "1.2.826.0.1.3680043.10.999.4711"


def markers() -> dict[str, Any]:
    """Tags of every file of the study."""

    def private(header: Dataset) -> str:
        block = header.private_block(0x0011, f"{MARKER} CREATOR", create=True)
        block.add_new(1, "LO", f"{MARKER}^private")
        tracer = Dataset()
        tracer.Radiopharmaceutical = f"{MARKER} HDP"
        tracer.RadiopharmaceuticalStartDateTime = f"{DATES[1]}070000"
        header.RadiopharmaceuticalInformationSequence = [tracer]
        return "CT"

    def modality(header: Dataset) -> str:
        found = str(header.Modality)
        private(header)
        return found

    known = [name for name in TEXTS if tag_for_keyword(name) is not None]
    assert len(known) > 30
    limit = 16
    texts = {name: f"{MARKER}^{n}"[:limit] for n, name in enumerate(known)}
    return {
        **texts,
        "Modality": modality,
        "PatientBirthDate": DATES[0],
        "PatientAge": "059Y",
        "StudyDate": DATES[1], "SeriesDate": DATES[1], "AcquisitionDate": DATES[1],
        "ContentDate": DATES[2], "StudyTime": "081533.123",
        "StudyInstanceUID": STUDY_UID,
    }  # fmt: skip


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Case:
    case = make_case(tmp_path_factory.mktemp(MARKER) / f"{MARKER}_study", **markers())
    case.manifest(context={"comment": MARKER})
    return case


def leaks(data: bytes, words: list[str]) -> list[str]:
    """Words that stand in bytes, in any case, in 8-bit or 16-bit characters.

    A date or a time is one only where it is no part of a longer number: new UIDs hold any digits.
    """
    lower = data.lower()
    return [word for word in words if _stands_in(lower, word.lower())]


def _stands_in(lower: bytes, word: str) -> bool:
    if word.isdigit():
        return re.search(rb"(?<![\d.])" + word.encode() + rb"(?![\d])", lower) is not None
    return word.encode() in lower or word.encode("utf-16-le") in lower


def source_uids(case: Case) -> set[str]:
    """Every UID of the sources that names an instance, a series, a study or a frame."""
    found = {STUDY_UID}
    for path in (*case.ct.iterdir(), case.spect):
        header = dcmread(path, stop_before_pixels=True)
        for name in ("SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            found.add(str(header[name].value))
    return found


def test_nothing_of_the_patient_is_in_any_byte(
    marked: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    out = marked.folder / "anonymous"
    assert main(["export", str(marked.results), "--dicom", str(out), "--deidentify"]) == 0
    words = [MARKER, *DATES, "081533", *source_uids(marked)]
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == 7
    for path in files:
        assert not leaks(path.read_bytes(), words), path.name
        assert not leaks(path.name.encode(), words)
    made = [dcmread(path) for path in files if path.suffix == ".dcm"]
    assert not any("PatientAge" in instance for instance in made)
    _check_consistent(made)
    capsys.readouterr()


def _check_consistent(made: list[Dataset]) -> None:
    """One patient, one study, references among the objects hold, and each says what was done."""
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID"):
        assert len({str(instance[keyword].value) for instance in made}) == 1
    for instance in made:
        assert instance.PatientIdentityRemoved == "YES"
        assert instance.LongitudinalTemporalInformationModified == "REMOVED"
        assert instance.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert not any(element.tag.is_private for element in instance.iterall())
        for element in instance.iterall():
            if element.VR in ("DA", "DT") and element.value:
                assert str(element.value).startswith("20000101"), keyword_for_tag(element.tag)
    by_kind = {str(instance.Modality): instance for instance in made}
    frames = {str(by_kind[kind].FrameOfReferenceUID) for kind in ("SEG", "NM", "REG")}
    assert len(frames) == 1
    segments = {str(i.SOPInstanceUID) for i in made if i.Modality == "SEG"}
    referred = {
        str(element.value)
        for element in by_kind["SR"].iterall()
        if element.keyword == "ReferencedSOPInstanceUID"
    }
    assert len(segments & referred) == 1
    assert all(UID(uid).is_valid for uid in referred)


def test_without_the_option_the_markers_are_found(marked: Case) -> None:
    """The test above would see them."""
    out = marked.folder / "named"
    assert main(["export", str(marked.results), "--dicom", str(out)]) == 0
    for path in out.glob("*.dcm"):
        assert MARKER in leaks(path.read_bytes(), [MARKER])
        made = dcmread(path)
        assert "PatientIdentityRemoved" not in made
        assert not any(element.tag.is_private for element in made.iterall())
        # Only what patient and study have is shared: nothing of the scanner, no comment.
        kept = {e.keyword for e in made.iterall() if re.search(MARKER, str(e.value))}
        assert kept <= {
            "PatientName", "PatientID", "IssuerOfPatientID", "StudyID", "AccessionNumber",
            "StudyDescription", "ReferringPhysicianName", "Radiopharmaceutical",
            "RadiopharmaceuticalInformationSequence",
        }  # fmt: skip


def test_reason_of_a_refusal_names_no_file(marked: Case, tmp_path: Path) -> None:
    enter_inputs(marked, marked.ct, marked.spect)
    marked.manifest(status="failed", status_reason=f"Stage 'read' failed: {MARKER}.nii.gz is bad.")
    try:
        words = ["export", str(marked.results), "--dicom", str(tmp_path / "out"), "--deidentify"]
        assert main(words) == 0
    finally:
        marked.manifest(status="complete", status_reason="")
    for path in (tmp_path / "out").glob("*.dcm"):
        assert not leaks(path.read_bytes(), [MARKER])
