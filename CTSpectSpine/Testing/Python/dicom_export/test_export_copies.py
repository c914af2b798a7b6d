"""De-identified copies of CT and SPECT: the same voxels, nothing of the patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless
from study_files import Case, enter_inputs, make_case
from test_export_conformance import errors_of
from test_export_deidentified import DATES, MARKER, leaks, markers, source_uids
from test_export_enhanced import enhanced

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.dicom_export.study import new_uid
from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.volumes import Volume, read_volume

WORDS = ("--deidentify", "--with-sources")
PET_CLASS = "1.2.840.10008.5.1.4.1.1.128"
TEXT_KINDS = ("CS", "LO", "SH", "ST", "LT", "PN", "UC", "UT", "UR", "AE")
DATE_KINDS = {"DA": DATES[1], "DT": f"{DATES[2]}081533", "TM": "081533"}
STRUCTURE = ("SpecificCharacterSet", "Modality", "PhotometricInterpretation", "ImageType")


def exported(case: Case, *words: str) -> Path:
    out = case.folder / "copies"
    arguments = ["export", str(case.results), "--dicom", str(out), *WORDS, *words]
    assert main(arguments) == 0
    return out


def same(copy: Volume, source: Volume) -> None:
    assert np.array_equal(*(sitk.GetArrayFromImage(v.image) for v in (copy, source)))
    np.testing.assert_allclose(ijk_to_lps(copy.image), ijk_to_lps(source.image), atol=1e-9)
    assert copy.unit == source.unit
    assert copy.acquisition.energy_windows_kev == source.acquisition.energy_windows_kev


def change(path: Path, **tags: Any) -> None:
    header = dcmread(path)
    for keyword, content in tags.items():
        setattr(header, keyword, content)
    header.save_as(path)


def test_copies_hold_the_same_volumes(fresh: Case) -> None:
    out = exported(fresh)
    same(read_volume(out / "ct-0001.dcm", "ct"), read_volume(fresh.ct, "ct"))
    same(read_volume(out / "spect-0001.dcm", "spect"), read_volume(fresh.spect, "spect"))
    assert len(list(out.glob("ct-*.dcm"))) == len(list(fresh.ct.iterdir()))


def test_objects_refer_to_the_copies(fresh: Case) -> None:
    """Every instance that an object names is in the folder, in one study and frame."""
    out = exported(fresh)
    made = {path.name: dcmread(path, stop_before_pixels=True) for path in out.glob("*.dcm")}
    instances = {str(instance.SOPInstanceUID) for instance in made.values()}
    named = {
        str(element.value)
        for instance in made.values()
        for element in instance.iterall()
        if element.keyword == "ReferencedSOPInstanceUID"
    }
    copied = {str(i.SOPInstanceUID) for name, i in made.items() if name[:3] == "ct-"}
    assert copied <= named <= instances
    assert str(made["spect-0001.dcm"].SOPInstanceUID) in named
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName"):
        assert len({str(instance[keyword].value) for instance in made.values()}) == 1
    frame = made["ct-0001.dcm"].FrameOfReferenceUID
    assert made["seg-vertebrae.dcm"].FrameOfReferenceUID == frame
    moved = [str(i.FrameOfReferenceUID) for i in made["registration.dcm"].RegistrationSequence]
    assert moved == [str(frame), str(made["spect-0001.dcm"].FrameOfReferenceUID)]


# --- nothing of the patient


def every_text() -> Dataset:
    """Every tag of DICOM that can hold a text, a date or a time, with a marker in it."""
    made = Dataset()
    for tag, (kind, _, _, retired, keyword) in DicomDictionary.items():
        # Groups below 8 are those of messages and of the head of a file.
        if tag < 0x00080000 or not keyword or retired or keyword in STRUCTURE:
            continue
        if kind in TEXT_KINDS:
            setattr(made, keyword, MARKER)
        elif kind in DATE_KINDS:
            setattr(made, keyword, DATE_KINDS[kind])
    return made


def full_of_markers(path: Path, texts: Dataset) -> None:
    """Markers in every text, in overlays, private tags, the preamble, and behind the pixels."""
    header = dcmread(path)
    code = Dataset()
    code.CodeValue = code.CodingSchemeDesignator = code.CodeMeaning = MARKER
    header.update(texts)
    header.RequestAttributesSequence = [code]
    header.AnatomicRegionSequence = [code]
    header.ImageType = [*header.ImageType[:2], MARKER, *header.ImageType[3:]]
    if header.Modality == "NM":
        header.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", MARKER]
        for item in (
            *header.DetectorInformationSequence,
            *header.EnergyWindowInformationSequence,
            *header.RadiopharmaceuticalInformationSequence,
        ):
            item.EnergyWindowName = item.DetectorGeometry = MARKER
            item.RadionuclideCodeSequence = item.ViewCodeSequence = [code]
    block = header.private_block(0x6001, f"{MARKER} CREATOR", create=True)
    block.add_new(1, "UN", f"{MARKER} private".encode())
    header.add_new(0x60003000, "OW", f"{MARKER} overlay!".encode())
    header.add_new(0xFFFCFFFC, "OB", f"{MARKER} padding".encode())
    header.PixelData = header.PixelData + f"{MARKER} ".encode()
    header["PixelData"].VR = "OW"
    header.preamble = MARKER.encode().ljust(128, b"\0")
    header.file_meta.SourceApplicationEntityTitle = MARKER
    header.file_meta.PrivateInformationCreatorUID = "1.2.3.4.5"
    header.file_meta.PrivateInformation = MARKER.encode() + b" "
    header.save_as(path)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Case:
    case = make_case(tmp_path_factory.mktemp(MARKER) / f"{MARKER}_copies", **markers())
    texts = every_text()
    for path in (*case.ct.iterdir(), case.spect):
        full_of_markers(path, texts)
    enter_inputs(case, case.ct, case.spect)
    return case


def test_nothing_of_the_patient_is_in_any_byte(marked: Case) -> None:
    assert len(every_text()) > 1000
    assert leaks(marked.spect.read_bytes(), [MARKER, *DATES[1:], "081533"])
    words = [MARKER, *DATES, "081533", *source_uids(marked)]
    out = exported(marked)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == 7 + len(list(marked.ct.iterdir())) + 1
    for path in files:
        assert not leaks(path.read_bytes(), words), path.name
    for path in (out / "ct-0001.dcm", out / "spect-0001.dcm"):
        made = dcmread(path)
        assert made.PatientIdentityRemoved == "YES"
        assert not any(element.tag.is_private for element in made.iterall())
    same(read_volume(out / "ct-0001.dcm", "ct"), read_volume(marked.ct, "ct"))


def test_no_suv_can_be_made_of_a_copy(fresh: Case) -> None:
    """Dates are dummies: a decay of no time at all would be a wrong SUV."""
    tracer = dcmread(fresh.spect).RadiopharmaceuticalInformationSequence
    tracer[0].RadiopharmaceuticalStartTime, tracer[0].RadionuclideTotalDose = "070000", "600"
    change(
        fresh.spect,
        PatientWeight="80",
        AcquisitionDate="20260102",
        AcquisitionTime="100000",
        RadiopharmaceuticalInformationSequence=tracer,
    )
    enter_inputs(fresh, fresh.ct, fresh.spect)
    assert read_volume(fresh.spect, "spect").acquisition.injection_time is not None
    known = read_volume(exported(fresh) / "spect-0001.dcm", "spect").acquisition
    assert (known.injection_time, known.patient_weight_kg) == (None, None)
    assert known.injected_dose_MBq == 600


# --- what sources may be like


def test_compressed_and_signed_sources(fresh: Case) -> None:
    for path in fresh.ct.iterdir():
        header = dcmread(path)
        header.compress(RLELossless)
        header.Manufacturer, header.ConvolutionKernel = "SIEMENS Healthineers", "Br36f"
        header.save_as(path)
    voxels = dcmread(fresh.spect).pixel_array.astype(np.int16) - 300
    code, mapping = Dataset(), Dataset()
    code.CodeValue = "kBq/ml"
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 0.0125, 7.0
    mapping.MeasurementUnitsCodeSequence = [code]
    change(
        fresh.spect,
        PixelData=voxels.tobytes(),
        PixelRepresentation=1,
        RealWorldValueMappingSequence=[mapping],
    )
    enter_inputs(fresh, fresh.ct, fresh.spect)
    out = exported(fresh)
    same(read_volume(out / "ct-0001.dcm", "ct"), read_volume(fresh.ct, "ct"))
    source = read_volume(fresh.spect, "spect")
    assert source.unit == "Bq/ml"
    same(read_volume(out / "spect-0001.dcm", "spect"), source)
    copy = dcmread(out / "ct-0001.dcm")
    assert (copy.Manufacturer, copy.ConvolutionKernel) == ("SIEMENS", "Br36f")


def as_pet(case: Case) -> Path:
    """The SPECT as single slices of PET, each with its own slope."""
    whole, folder = dcmread(case.spect), case.folder / "pet"
    folder.mkdir()
    place = whole.DetectorInformationSequence[0]
    for number, plane in enumerate(whole.pixel_array):
        made = dcmread(case.spect)
        for tag in [e.tag for e in made if e.tag.group == 0x0054]:
            del made[tag]
        del made.NumberOfFrames, made.SpacingBetweenSlices, made.FrameIncrementPointer
        made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = PET_CLASS
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = new_uid()
        made.Modality, made.Units, made.SUVType = "PT", "GML", "LBM"
        made.DecayCorrection, made.SeriesType = "START", ["STATIC", "IMAGE"]
        made.CountsSource, made.ImageIndex, made.NumberOfSlices = "EMISSION", number + 1, 40
        made.DecayFactor, made.FrameReferenceTime, made.ImageType = 1, 0, ["ORIGINAL", "PRIMARY"]
        made.RescaleSlope, made.RescaleIntercept = f"{0.01 + number / 1e4:g}", 0
        made.ImageOrientationPatient = place.ImageOrientationPatient
        corner = np.array(place.ImagePositionPatient, float)
        made.ImagePositionPatient = [f"{v:.9g}" for v in np.add(corner, [0, 0, 4.4 * number])]
        made.PixelData = plane.astype("<u2").tobytes()
        made.save_as(folder / f"{number:02}.dcm", enforce_file_format=True)
    enter_inputs(case, case.ct, folder)
    return folder


def test_a_spect_stored_as_pet(fresh: Case) -> None:
    folder = as_pet(fresh)
    out = exported(fresh, "--spect", str(folder))
    source = read_volume(folder, "spect")
    assert source.unit == "SUL"
    same(read_volume(out / "spect-0001.dcm", "spect"), source)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"BurnedInAnnotation": "YES"}, "BurnedInAnnotation YES"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "SOPClassUID 1.2.840.10008.5.1.4.1.1.7"),
    ],
)
def test_what_cannot_be_copied_is_named(
    tags: dict[str, str], words: str, fresh: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in fresh.ct.iterdir():
        change(path, **tags)
    enter_inputs(fresh, fresh.ct, fresh.spect)
    assert main(["export", str(fresh.results), "--dicom", str(fresh.out), *WORDS]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not fresh.out.exists()


def test_an_enhanced_ct_is_not_copied(fresh: Case, capsys: pytest.CaptureFixture[str]) -> None:
    path = enhanced(fresh)
    words = [str(fresh.results), "--dicom", str(fresh.out), "--ct", str(path), *WORDS]
    assert main(["export", *words]) == 2
    assert "copies are made of CT as single slices, NM and PET" in capsys.readouterr().err


def test_sources_are_copied_without_identity_only(
    fresh: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(fresh.results), "--dicom", str(fresh.out), "--with-sources"]
    assert main(words) == 2
    assert "give --deidentify with --with-sources" in capsys.readouterr().err
    assert not fresh.out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("pet", [False, True])
def test_dciodvfy_finds_no_error(fresh: Case, pet: bool) -> None:
    words = ("--spect", str(as_pet(fresh))) if pet else ()
    out = exported(fresh, *words)
    for name in ("ct-0001.dcm", "spect-0001.dcm"):
        assert not errors_of(out / name), name
