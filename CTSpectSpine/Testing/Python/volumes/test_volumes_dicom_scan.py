"""What DICOM says of a scan: attenuation maps, nuclide, tracer, windows, times."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from dicom_files import NM_VOXELS, nm_tags, spect, windows
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from CTSpectSpineLib.analysis.emission import reconstruction_facts
from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.report.provenance import scan_facts
from CTSpectSpineLib.results.records import volume_record
from CTSpectSpineLib.volumes import check_spect, suv_factor


@pytest.mark.parametrize(
    "changes",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "TRANSMISSION"]},
        {"SeriesDescription": "ATTENUATION MAPS"},
        {"SeriesDescription": "CTAC mu-map"},
        {"tracer": "ATTENUATION MAPS"},
    ],
)
def test_attenuation_maps_are_no_spect(changes: dict[str, Any], tmp_path: Path) -> None:
    named = changes.pop("tracer", None)
    if named:
        item = Dataset()
        item.Radiopharmaceutical = named
        changes["RadiopharmaceuticalInformationSequence"] = Sequence([item])
    with pytest.raises(InputError, match=r"nm\.dcm.* attenuation map"):
        spect(tmp_path, **changes)


def test_an_attenuation_corrected_spect_is_one(tmp_path: Path) -> None:
    assert spect(tmp_path, SeriesDescription="Bone SPECT attenuation corrected").unit == "counts"


def large(folder: Path, **tags: Any) -> Any:
    return spect(folder, NM_VOXELS.repeat(2, axis=1), **tags)


def test_nuclide_tracer_and_windows_reach_the_manifest(tmp_path: Path) -> None:
    code, tracer = Dataset(), Dataset()
    code.CodeMeaning = "^177^Lutetium"
    tracer.RadionuclideCodeSequence = Sequence([code])
    tracer.Radiopharmaceutical = "Lu-177 PSMA"
    volume = large(
        tmp_path,
        RadiopharmaceuticalInformationSequence=Sequence([tracer]),
        EnergyWindowInformationSequence=windows((187, 229)),
        PatientID="SECRET",
        StudyDate="20240502",
    )
    record = volume_record(volume)["acquisition"]
    assert record["radionuclide"] == "^177^Lutetium"
    assert record["tracer"] == "Lu-177 PSMA"
    assert record["energy_windows_kev"] == ((187.0, 229.0),)
    assert not any(word in str(record) for word in ("SECRET", "2024"))
    warning = check_spect(volume)[-1]
    assert "not of Tc-99m" in warning
    assert "187 to 229 keV" in warning
    tracer.RadionuclideCodeSequence[0].CodeMeaning = "^99m^Technetium"
    tracer.Radiopharmaceutical = "MDP"
    usual = large(
        tmp_path,
        RadiopharmaceuticalInformationSequence=Sequence([tracer]),
        EnergyWindowInformationSequence=windows((126, 154)),
    )
    assert check_spect(usual) == ()


def tracer_at(**tags: Any) -> Sequence:
    item = Dataset()
    item.RadionuclideTotalDose = 650.0
    for keyword, content in tags.items():
        setattr(item, keyword, content)
    return Sequence([item])


def calibrated(folder: Path, **tags: Any) -> Any:
    unit, item = Dataset(), Dataset()
    unit.CodeValue = "Bq/ml"
    item.RealWorldValueSlope = 2.0
    item.MeasurementUnitsCodeSequence = Sequence([unit])
    mapped = Sequence([item])
    return spect(folder, RealWorldValueMappingSequence=mapped, PatientWeight=80, **tags)


def test_short_times_of_day_are_times(tmp_path: Path) -> None:
    volume = calibrated(
        tmp_path,
        RadiopharmaceuticalInformationSequence=tracer_at(RadiopharmaceuticalStartTime="0900"),
        AcquisitionDate="20240502",
        AcquisitionTime="12",
    )
    assert volume.acquisition.injection_time == datetime.datetime(2024, 5, 2, 9)
    assert volume.acquisition.scan_time == datetime.datetime(2024, 5, 2, 12)


def test_time_zones_count(tmp_path: Path) -> None:
    start = {"RadiopharmaceuticalStartDateTime": "20240502080000+0100"}
    scan = {"AcquisitionDate": "20240502", "AcquisitionTime": "120000"}
    zoned = calibrated(
        tmp_path,
        RadiopharmaceuticalInformationSequence=tracer_at(**start),
        TimezoneOffsetFromUTC="+0200",
        **scan,
    ).acquisition
    remaining = 650e6 * 0.5 ** (3.0 / 6.007)
    factor, _ = suv_factor(zoned)
    assert factor == pytest.approx(80000 / remaining, rel=1e-4)
    half = calibrated(
        tmp_path, RadiopharmaceuticalInformationSequence=tracer_at(**start), **scan
    ).acquisition
    factor, reason = suv_factor(half)
    assert factor is None
    assert "only one has a time zone" in reason
    # What the user types without a zone is the scanner's time.
    factor, _ = suv_factor(zoned, injection_time=datetime.datetime(2024, 5, 2, 9))
    assert factor == pytest.approx(80000 / remaining, rel=1e-4)


def test_comments_tell_of_the_reconstruction_and_are_not_kept(tmp_path: Path) -> None:
    volume = spect(
        tmp_path,
        Manufacturer="SIEMENS NM",
        ReconstructionMethod="OSEM",
        ConvolutionKernel="Gauss 8.40",
        SeriesDescription="MARKER bone",
        ImageComments="MARKER Flash3D 8i4s",
        CorrectedImage=["ATTN"],
    )
    facts = reconstruction_facts(volume, Options())
    assert (facts.family, facts.stated) == ("recovery", "FLASH3D")
    assert (facts.iterations, facts.subsets, facts.filter_fwhm_mm) == (8, 4, 8.4)
    assert "MARKER" not in f"{facts.record()} {volume_record(volume)}"


def test_what_the_user_leaves_out_is_still_taken_from_the_header(tmp_path: Path) -> None:
    volume = spect(tmp_path, ReconstructionMethod="Flash3D 8i4s", CorrectedImage=["DECY"])
    facts = reconstruction_facts(volume, Options(reconstruction="no-recovery"))
    assert (facts.family, facts.source, facts.stated) == ("no-recovery", "given", "no-recovery")
    assert facts.attenuation_correction is False
    assert (facts.iterations, facts.subsets) == (8, 4)
    stated = tmp_path / "stated.json"
    stated.write_text('{"attenuation_correction": true}', encoding="utf-8")
    facts = reconstruction_facts(volume, Options(reconstruction=str(stated)))
    assert (facts.family, facts.source) == ("recovery", "DICOM header")
    assert facts.attenuation_correction is True


@pytest.mark.parametrize(
    ("tags", "stated"),
    [
        ({"CollimatorGridName": "LEHR", "CollimatorType": "PARA"}, "LEHR, parallel holes"),
        ({"CollimatorType": "PARA"}, "parallel holes"),
        ({"CollimatorGridName": "LEHR", "CollimatorType": "UNKN"}, "LEHR"),
        ({}, ""),
    ],
)
def test_the_collimator_reaches_manifest_and_report(
    tags: dict[str, str], stated: str, tmp_path: Path
) -> None:
    detector = nm_tags()["DetectorInformationSequence"]
    for keyword, text in tags.items():
        setattr(detector[0], keyword, text)
    record = volume_record(spect(tmp_path, DetectorInformationSequence=detector))
    assert record["acquisition"]["collimator"] == stated
    told = dict(scan_facts({"inputs": {"spect": record}}))
    assert told.get("Collimator", "") == stated
