"""DICOM CT: made series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import (
    AXIAL,
    CT_CLASS,
    CT_VOXELS,
    NM_CLASS,
    NM_VOXELS,
    array,
    ct_series,
    nm_tags,
    save,
)
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.volumes import read_volume

PET_CLASS = "1.2.840.10008.5.1.4.1.1.128"


def test_ct_slices_are_sorted_by_position_and_spaced_by_it(tmp_path: Path) -> None:
    volume = read_volume(ct_series(tmp_path), "ct")
    assert np.array_equal(array(volume), CT_VOXELS - 1024)
    assert volume.image.GetSpacing() == pytest.approx((0.9, 0.8, 2.5))
    assert volume.image.GetOrigin() == (-10, 20, 100)
    assert volume.image.GetPixelID() == sitk.sitkInt16
    assert volume.unit == volume.acquisition.units == "HU"
    assert len(volume.files) == 8
    assert volume.notes == ()


def test_hash_of_a_folder_ignores_names(tmp_path: Path) -> None:
    folder = ct_series(tmp_path / "a")
    before = read_volume(folder, "ct").sha256
    for n, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"renamed{n}")
    assert read_volume(folder, "ct").sha256 == before


def test_oblique_ct(tmp_path: Path) -> None:
    axes = Rotation.from_euler("xyz", [20, -15, 30], degrees=True).as_matrix()
    orientation = [*axes[:, 0], *axes[:, 1]]
    step = tuple(axes[:, 2] * 2.5)
    volume = read_volume(ct_series(tmp_path, step=step, ImageOrientationPatient=orientation), "ct")
    assert np.allclose(ijk_to_lps(volume.image)[:3, :3], axes * [0.9, 0.8, 2.5], atol=1e-6)
    assert np.array_equal(array(volume), CT_VOXELS - 1024)


def test_feet_to_head_or_head_to_feet_is_the_same_patient(tmp_path: Path) -> None:
    volume = read_volume(ct_series(tmp_path, step=(0, 0, -2.5)), "ct")
    assert volume.image.GetOrigin() == (-10, 20, 100 - 7 * 2.5)
    assert np.array_equal(array(volume), (CT_VOXELS - 1024)[::-1])


def test_gantry_tilt_is_straightened_and_noted(tmp_path: Path) -> None:
    tilt = np.radians(15)
    step = (0.0, -2.5 * np.sin(tilt), 2.5 * np.cos(tilt))
    volume = read_volume(ct_series(tmp_path, step=step), "ct")
    assert "sheared by 15.0 degrees" in volume.notes[0]
    direction = np.reshape(volume.image.GetDirection(), (3, 3))
    assert np.allclose(direction.T @ direction, np.eye(3), atol=1e-9)


def test_empty_uids_of_anonymised_files(tmp_path: Path) -> None:
    volume = read_volume(ct_series(tmp_path, SeriesInstanceUID="", StudyInstanceUID=""), "ct")
    assert volume.image.GetSize() == (12, 10, 8)


def test_scout_in_the_same_folder_and_series_is_skipped(tmp_path: Path) -> None:
    ct_series(tmp_path)
    save(
        tmp_path / "scout",
        CT_CLASS,
        CT_VOXELS[0],
        **{"Modality": "CT", "SeriesInstanceUID": "1.2.3", "SeriesNumber": 3},
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        SeriesDescription="spine",
        PixelSpacing=[1, 1],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
        ImagePositionPatient=[0, 0, 0],
    )
    volume = read_volume(tmp_path, "ct")
    assert volume.image.GetSize() == (12, 10, 8)
    assert "of 2 series" in volume.notes[0]


def test_one_file_means_its_series(tmp_path: Path) -> None:
    ct_series(tmp_path, uid="1.1", SeriesDescription="soft")
    ct_series(tmp_path, uid="1.2", SeriesDescription="bone", RescaleIntercept=-1000)
    with pytest.raises(InputError, match=r"2 series that could be the CT.*soft.*bone"):
        read_volume(tmp_path, "ct")
    volume = read_volume(tmp_path / "1.2-0", "ct")
    assert np.array_equal(array(volume), CT_VOXELS - 1000)
    assert volume.acquisition.series_description == "bone"


def test_each_slice_has_its_own_slope(tmp_path: Path) -> None:
    slopes = [1.0 + 0.25 * n for n in range(8)]
    folder = ct_series(tmp_path, RescaleSlope=lambda n: slopes[n], Modality="PT", Units="BQML")
    volume = read_volume(folder, "spect")
    expected = CT_VOXELS * np.reshape(slopes, (8, 1, 1)) - 1024
    assert np.allclose(array(volume), expected, atol=1e-3)
    assert volume.unit == "Bq/ml"


BAD_CT: dict[str, tuple[Callable[[Path], Path], str]] = {
    "gap": (
        lambda p: ct_series(
            p, ImagePositionPatient=lambda n: [-10, 20, 100 + 2.5 * (n + 2 * (n > 4))]
        ),
        "lacks 2 slices",
    ),
    "uneven": (
        lambda p: ct_series(
            p, ImagePositionPatient=lambda n: [-10, 20, 100 + 2.5 * n + 0.9 * (n % 2)]
        ),
        "unevenly spaced",
    ),
    "phases": (
        lambda p: ct_series(p, ImagePositionPatient=lambda n: [-10, 20, 100 + 2.5 * (n // 2)]),
        "several images at the same position",
    ),
    "no position": (lambda p: ct_series(p, ImagePositionPatient=None), "ImagePositionPatient"),
    "no orientation": (
        lambda p: ct_series(p, ImageOrientationPatient=None),
        "ImageOrientationPatient",
    ),
    "no pixel spacing": (lambda p: ct_series(p, PixelSpacing=None), "PixelSpacing"),
    "mixed planes": (
        lambda p: ct_series(
            p, ImageOrientationPatient=lambda n: AXIAL if n % 2 else [0, 1, 0, 0, 0, -1]
        ),
        "mixes slices of different orientation",
    ),
    "mixed pixel sizes": (
        lambda p: ct_series(p, PixelSpacing=lambda n: [0.8, 0.9] if n % 2 else [0.7, 0.7]),
        "different orientation, size or PixelSpacing",
    ),
    "scout alone": (
        lambda p: ct_series(p, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "localizer",
    ),
    "one slice": (lambda p: _only_first(ct_series(p)), "fewer than 5 slices"),
    "magnetic resonance": (lambda p: ct_series(p, Modality="MR"), "holds no CT (modality MR)"),
    "spect instead": (
        lambda p: save(p / "nm.dcm", NM_CLASS, NM_VOXELS, **nm_tags()).parent,
        "are the inputs swapped?",
    ),
    "enhanced without its frames": (
        lambda p: save(p / "e.dcm", "1.2.840.10008.5.1.4.1.1.2.1", NM_VOXELS, Modality="CT").parent,
        "0 items of PerFrameFunctionalGroupsSequence",
    ),
}


def _only_first(folder: Path) -> Path:
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    return folder


@pytest.mark.parametrize("case", BAD_CT)
def test_bad_ct_series(case: str, tmp_path: Path) -> None:
    make, words = BAD_CT[case]
    folder = make(tmp_path / "study")
    with pytest.raises(InputError) as caught:
        read_volume(folder, "ct")
    message = str(caught.value)
    assert words in message
    assert "study" in message
    assert "\n" not in message
