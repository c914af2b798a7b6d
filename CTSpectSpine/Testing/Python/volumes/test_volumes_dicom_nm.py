"""DICOM nuclear medicine: geometry, frames, units, acquisition; and a real CT series."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import (
    AXIAL,
    CT_VOXELS,
    NM_CLASS,
    NM_VOXELS,
    array,
    ct_series,
    nm_tags,
    save,
    spect,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.reconstruction import read_reconstruction
from CTSpectSpineLib.volumes import Acquisition, read_volume, suv_factor


def coded(value: str) -> Sequence:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "UCUM", value
    return Sequence([code])


def mapping(unit: str, slope: float, intercept: float = 0.0) -> Dataset:
    item = Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    item.MeasurementUnitsCodeSequence = coded(unit)
    return item


@pytest.mark.parametrize("spacing", [4.8, -4.8])
def test_nm_geometry_is_nested_and_spacing_signed(tmp_path: Path, spacing: float) -> None:
    volume = spect(tmp_path, SpacingBetweenSlices=spacing)
    assert np.array_equal(array(volume), NM_VOXELS)
    expected = np.diag([4.6, 4.5, spacing])
    assert np.allclose(ijk_to_lps(volume.image)[:3, :3], expected)
    assert volume.image.GetOrigin() == (-100, -50, 300)
    assert (volume.unit, volume.notes) == ("counts", ())


def test_nm_agrees_with_itk_where_itk_is_right(tmp_path: Path) -> None:
    for spacing in (4.8, -4.8):
        volume = spect(tmp_path, SpacingBetweenSlices=spacing)
        itk = sitk.ReadImage(str(tmp_path / "nm.dcm"))
        assert np.allclose(ijk_to_lps(volume.image), ijk_to_lps(itk))


def test_nm_without_spacing_between_slices(tmp_path: Path) -> None:
    volume = spect(tmp_path, SpacingBetweenSlices=None)
    assert volume.image.GetSpacing()[2] == pytest.approx(4.8)
    assert "SliceThickness (4.8 mm)" in volume.notes[0]


def test_nm_without_any_slice_distance_or_position(tmp_path: Path) -> None:
    volume = spect(
        tmp_path, SpacingBetweenSlices=None, SliceThickness=None, DetectorInformationSequence=None
    )
    assert volume.image.GetSpacing()[2] == pytest.approx(4.5)
    text = " ".join(volume.notes)
    assert "no orientation" in text
    assert "no position" in text
    assert "cubic voxels" in text


def test_frames_are_put_in_slice_order(tmp_path: Path) -> None:
    order = [1, 3, 2, 8, 7, 6, 5, 4]
    volume = spect(tmp_path, SliceVector=order)
    assert np.array_equal(array(volume), NM_VOXELS[np.argsort(order)])


def test_photopeak_window_is_taken(tmp_path: Path) -> None:
    windows = []
    for low, high in ((100, 120), (126, 154)):
        bounds, item = Dataset(), Dataset()
        bounds.EnergyWindowLowerLimit, bounds.EnergyWindowUpperLimit = low, high
        item.EnergyWindowRangeSequence = Sequence([bounds])
        windows.append(item)
    stacked = np.concatenate([NM_VOXELS // 3, NM_VOXELS])
    vectors = {
        "EnergyWindowVector": [1] * 8 + [2] * 8,
        "SliceVector": [*range(1, 9)] * 2,
        "FrameIncrementPointer": [0x00540010, 0x00540080],
    }
    volume = spect(tmp_path, stacked, EnergyWindowInformationSequence=Sequence(windows), **vectors)
    assert np.array_equal(array(volume), NM_VOXELS)
    assert "window 2" in volume.notes[0]
    with pytest.raises(InputError, match="2 energy windows"):
        spect(tmp_path, stacked, **vectors)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]}, "raw projections"),
        ({"ImageType": None, "FrameIncrementPointer": 0x00540090}, "raw projections"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]}, "planar image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]}, "planar image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "DYNAMIC", "EMISSION"]}, "time series"),
        ({"TimeSlotVector": [1, 1, 1, 1, 2, 2, 2, 2]}, "several gates"),
        ({"SliceVector": [1, 2, 3, 4, 1, 2, 3, 4]}, "several frames for the same slice"),
        ({"PixelSpacing": None}, "PixelSpacing"),
    ],
)
def test_what_is_no_reconstructed_volume(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        spect(tmp_path, **changes)
    assert "nm.dcm" in str(caught.value)


def test_two_frames_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fewer than 5 slices"):
        spect(tmp_path, NM_VOXELS[:2], SliceVector=[1, 2])


def test_modality_ot_under_the_nm_class(tmp_path: Path) -> None:
    volume = spect(tmp_path, Modality="OT", ImageType=["DERIVED", "PRIMARY", "RECON TOMO"])
    assert np.array_equal(array(volume), NM_VOXELS)


def test_missing_tags_do_not_stop_the_load(tmp_path: Path) -> None:
    volume = spect(
        tmp_path,
        ImageType=None,
        SeriesDescription=None,
        SeriesNumber=None,
        SliceVector=None,
        FrameIncrementPointer=None,
        RadiopharmaceuticalInformationSequence=Sequence([]),
    )
    assert np.array_equal(array(volume), NM_VOXELS)
    assert volume.acquisition.injected_dose_MBq is None


def test_real_world_values(tmp_path: Path) -> None:
    items = Sequence([mapping("{counts}", 1.0), mapping("Bq/ml", 2.5, 1.0)])
    volume = spect(tmp_path, RealWorldValueMappingSequence=items)
    assert np.allclose(array(volume), NM_VOXELS * 2.5 + 1.0)
    assert volume.unit == volume.acquisition.units == "Bq/ml"
    kilo = spect(tmp_path, RealWorldValueMappingSequence=Sequence([mapping("kBq/mL", 0.002)]))
    assert np.allclose(array(kilo), NM_VOXELS * 2.0)
    counts = spect(tmp_path, RealWorldValueMappingSequence=Sequence([mapping("mmol/l", 7.0)]))
    assert np.array_equal(array(counts), NM_VOXELS)
    assert counts.unit == "counts"


def test_several_reconstructions_are_not_guessed_between(tmp_path: Path) -> None:
    for name in ("ac", "nc"):
        save(
            tmp_path / f"{name}.dcm",
            NM_CLASS,
            NM_VOXELS,
            **nm_tags(SeriesDescription=f"bone {name}"),
        )
    tomo = nm_tags(ImageType=["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"])
    save(tmp_path / "raw.dcm", NM_CLASS, NM_VOXELS, **tomo)
    with pytest.raises(InputError, match=r"2 series.*bone ac.*ac\.dcm.*bone nc.*nc\.dcm"):
        read_volume(tmp_path, "spect")
    (tmp_path / "nc.dcm").unlink()
    volume = read_volume(tmp_path, "spect")
    assert volume.acquisition.series_description == "bone ac"


def test_ct_and_spect_from_one_folder(tmp_path: Path) -> None:
    ct_series(tmp_path / "ct")
    save(tmp_path / "nm" / "nm.dcm", NM_CLASS, NM_VOXELS, **nm_tags())
    assert read_volume(tmp_path, "ct").image.GetSize() == (12, 10, 8)
    assert read_volume(tmp_path, "spect").image.GetSpacing()[0] == pytest.approx(4.6)


def test_spect_exported_as_single_slices(tmp_path: Path) -> None:
    detector = lambda n: Sequence([_plane(n)])  # noqa: E731
    folder = ct_series(
        tmp_path,
        Modality="NM",
        SOPClassUID=NM_CLASS,
        RescaleSlope=None,
        RescaleIntercept=None,
        ImageOrientationPatient=None,
        ImagePositionPatient=None,
        DetectorInformationSequence=detector,
    )
    volume = read_volume(folder, "spect")
    assert np.array_equal(array(volume), CT_VOXELS[::-1])
    assert volume.image.GetOrigin()[2] == pytest.approx(300 - 7 * 4.0)


def _plane(n: int) -> Dataset:
    detector = Dataset()
    detector.ImageOrientationPatient = AXIAL
    detector.ImagePositionPatient = [-100, -50, 300 - 4.0 * n]
    return detector


def test_labels_are_not_dicom(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not read from DICOM"):
        read_volume(ct_series(tmp_path), "labels")


def tracer(dose: float, **tags: Any) -> Sequence:
    item = Dataset()
    item.RadionuclideTotalDose = dose
    item.Radiopharmaceutical = "Tc-99m HDP"
    for keyword, content in tags.items():
        setattr(item, keyword, content)
    return Sequence([item])


@pytest.mark.parametrize("dose", [650.0, 650e6])
def test_acquisition_of_a_calibrated_spect(tmp_path: Path, dose: float) -> None:
    volume = spect(
        tmp_path,
        RealWorldValueMappingSequence=Sequence([mapping("Bq/ml", 2.0)]),
        RadiopharmaceuticalInformationSequence=tracer(dose, RadiopharmaceuticalStartTime="233000"),
        AcquisitionDate="20240502",
        AcquisitionTime="023000.5",
        PatientWeight=80,
        ConvolutionKernel="Gauss 8.0mm",
        CorrectedImage=["ATTN", "SCAT", "DECY"],
        PatientID="secret",
    )
    acquisition = volume.acquisition
    assert acquisition.injected_dose_MBq == pytest.approx(650)
    # The injection was before midnight, the scan after it.
    assert acquisition.injection_time == datetime.datetime(2024, 5, 1, 23, 30)
    assert read_reconstruction("", acquisition.filter).filter_fwhm_mm == 8.0
    assert acquisition.corrections == ("ATTN", "SCAT", "DECY")
    assert acquisition.patient_digest
    assert "secret" not in repr(acquisition)
    factor, reason = suv_factor(acquisition)
    remaining = 650e6 * 0.5 ** (3.0 / 6.007)
    assert factor == pytest.approx(80000 / remaining, rel=1e-4)
    assert "650 MBq" in reason


def test_suv_says_what_is_missing_and_the_user_wins() -> None:
    calibrated = Acquisition(units="Bq/ml", patient_weight_kg=60.0)
    factor, reason = suv_factor(calibrated)
    assert factor is None
    assert "injected dose, injection time, scan time" in reason
    at = datetime.datetime(2024, 1, 1, 9)
    factor, _ = suv_factor(calibrated, 90.0, 500.0, at, at + datetime.timedelta(hours=6.007))
    assert factor == pytest.approx(90000 / 250e6)
    late, reason = suv_factor(calibrated, 90.0, 500.0, at, at - datetime.timedelta(hours=1))
    assert late is None
    assert "check both times" in reason
    assert suv_factor(Acquisition(units="counts"))[0] is None
    assert suv_factor(Acquisition(units="SUV"))[0] == 1.0
    decayed = Acquisition(
        units="Bq/ml", decay_correction="ADMIN", patient_weight_kg=70, injected_dose_MBq=700
    )
    assert suv_factor(decayed)[0] == pytest.approx(70000 / 700e6)


def test_real_series_slice_by_slice(shared_data: Path) -> None:
    """Every slice (JPEG 2000, empty UIDs, 3 mm thick every 2 mm) where its own header puts it."""
    folder = shared_data / "totalsegmentator_example" / "ct_dicom"
    volume = read_volume(folder, "ct")
    assert volume.image.GetSize() == (512, 512, 20)
    assert volume.image.GetSpacing() == pytest.approx((0.9765625, 0.9765625, 2.0))
    voxels = array(volume)
    seen = set()
    for path in sorted(folder.iterdir()):
        single = sitk.ReadImage(str(path))
        i, j, k = volume.image.TransformPhysicalPointToIndex(single.GetOrigin())
        assert (i, j) == (0, 0)
        assert np.array_equal(voxels[k], sitk.GetArrayFromImage(single)[0])
        seen.add(k)
    assert seen == set(range(20))


def test_real_series_is_the_right_way_round(shared_data: Path) -> None:
    """Bowel gas left of the liver, couch behind, lung above: told by HU and LPS."""
    image = read_volume(shared_data / "totalsegmentator_example" / "ct_dicom", "ct").image
    voxels = sitk.GetArrayFromImage(image)

    def gas(left: float, right: float) -> float:
        i0, j0, k0 = image.TransformPhysicalPointToIndex((left, -245.0, -802.0))
        i1, j1, k1 = image.TransformPhysicalPointToIndex((right, -190.0, -792.0))
        return float((voxels[k0:k1, j0:j1, i0:i1] < -500).mean())

    assert gas(10.0, 90.0) > 0.1
    assert gas(-90.0, -10.0) < 0.01
    behind = image.TransformPhysicalPointToIndex((0.0, 0.0, -800.0))[1]
    before = image.TransformPhysicalPointToIndex((0.0, -400.0, -800.0))[1]
    assert (voxels[:, behind - 30 : behind + 30] > 250).sum() > 1000
    assert (voxels[:, before - 30 : before + 30] > 250).sum() == 0
    low = image.TransformPhysicalPointToIndex((-150.0, -110.0, -803.0))
    high = image.TransformPhysicalPointToIndex((-40.0, -70.0, -768.0))
    lung = voxels[:, low[1] : high[1], low[0] : high[0]] < -500
    assert lung[high[2]].mean() > 0.005
    assert lung[low[2]].mean() < 0.001
