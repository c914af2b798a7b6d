"""Reconstructed SPECT as hospitals store it: every variant is read right, or refused by its tag."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import NM_CLASS, array, save, windows
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.volumes import read_volume

STORED = np.random.default_rng(7).integers(0, 900, (9, 6, 7))
POSITION = np.array([-100.0, -50.0, 300.0])
PLANES = {
    "axial": np.eye(3),
    "feet first": Rotation.from_euler("y", 180, degrees=True).as_matrix(),
    "decubitus": Rotation.from_euler("z", 90, degrees=True).as_matrix(),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]),
    "oblique": Rotation.from_euler("xyz", [12, -9, 20], degrees=True).as_matrix(),
}
SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
}


def geometry(plane: str, nested: bool = True) -> dict[str, Any]:
    axes = PLANES[plane]
    place = Dataset()
    place.ImageOrientationPatient = [f"{v:.10g}" for v in (*axes[:, 0], *axes[:, 1])]
    place.ImagePositionPatient = POSITION.tolist()
    if nested:
        return {"DetectorInformationSequence": Sequence([place])}
    return {
        "DetectorInformationSequence": None,
        "ImageOrientationPatient": place.ImageOrientationPatient,
        "ImagePositionPatient": place.ImagePositionPatient,
    }


def written(path: Path, voxels: np.ndarray = STORED, **changes: Any) -> Path:
    syntax = changes.pop("syntax", "explicit")
    tags = {
        "Modality": "NM",
        "ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        "PixelSpacing": [4.5, 4.6],
        "SliceThickness": 4.8,
        "SpacingBetweenSlices": 4.8,
        "FrameIncrementPointer": 0x00540080,
        "SliceVector": list(range(1, len(voxels) + 1)),
        **geometry("axial"),
        **changes,
    }
    save(path, NM_CLASS, voxels, **tags)
    if syntax == "explicit":
        return path
    header = dcmread(path)
    if syntax == "RLE":
        header.compress(RLELossless)
    elif syntax == "big endian":
        header.PixelData = voxels.astype(">u2").tobytes()
    # A copy has forgotten how the file was encoded.
    again = Dataset(header)
    again.file_meta = header.file_meta
    again.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    again.save_as(
        path,
        implicit_vr=syntax == "implicit",
        little_endian=syntax != "big endian",
        enforce_file_format=True,
    )
    return path


def matrix(plane: str, spacing: float) -> np.ndarray:
    """What the standard says of the position of every voxel."""
    axes = PLANES[plane]
    expected = np.eye(4)
    expected[:3, :3] = np.column_stack(
        [axes[:, 0] * 4.6, axes[:, 1] * 4.5, np.cross(axes[:, 0], axes[:, 1]) * spacing]
    )
    expected[:3, 3] = POSITION
    return expected


def check(path: Path, values: np.ndarray, expected: np.ndarray, unit: str = "counts") -> None:
    volume = read_volume(path, "spect")
    assert np.allclose(array(volume), values, rtol=1e-6, atol=1e-6)
    stored = dcmread(path).pixel_array if path.is_file() else np.empty(0)
    if stored.shape == values.shape:
        # What pydicom reads of the file by itself lies on one straight line with it.
        line = np.polyfit(stored.ravel(), array(volume).ravel(), 1)
        assert np.allclose(np.polyval(line, stored), array(volume), rtol=1e-6, atol=1e-3)
    ends = np.array([*itertools.product((0, 6), (0, 5), (0, 8))])
    points = np.c_[ends, np.ones(8)]
    assert np.allclose(points @ ijk_to_lps(volume.image).T, points @ expected.T, atol=0.01)
    assert volume.unit == unit


def placed() -> Iterator[tuple[str, float, bool]]:
    yield from itertools.product(PLANES, (4.8, -4.8), (True, False))


@pytest.mark.parametrize(("plane", "spacing", "nested"), placed())
def test_geometry(plane: str, spacing: float, nested: bool, tmp_path: Path) -> None:
    path = written(tmp_path / "nm.dcm", SpacingBetweenSlices=spacing, **geometry(plane, nested))
    check(path, STORED, matrix(plane, spacing))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("signed", [0, 1])
def test_transfer_syntaxes(syntax: str, signed: int, tmp_path: Path) -> None:
    voxels = STORED - 450 * signed
    path = written(tmp_path / "nm.dcm", voxels, syntax=syntax, PixelRepresentation=signed)
    check(path, voxels, matrix("axial", 4.8))


def mapped(slope: float, unit: str) -> Sequence:
    code, item = Dataset(), Dataset()
    code.CodeValue = unit
    item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, 2.0
    item.MeasurementUnitsCodeSequence = Sequence([code])
    return Sequence([item])


@pytest.mark.parametrize(
    ("tags", "line", "unit"),
    [
        ({"RescaleSlope": 0.5, "RescaleIntercept": -3}, (0.5, -3.0), "counts"),
        ({"RealWorldValueMappingSequence": mapped(2.5, "Bq/ml")}, (2.5, 2.0), "Bq/ml"),
        (
            {"RealWorldValueMappingSequence": mapped(2.5, "kBq/ml"), "RescaleSlope": 9},
            (2500.0, 2000.0),
            "Bq/ml",
        ),
        ({"RealWorldValueMappingSequence": mapped(2.5, "mm"), "RescaleSlope": 9}, (9, 0), "counts"),
        ({"RealWorldValueMappingSequence": mapped(1e-3, "g/ml{SUVbw}")}, (1e-3, 2.0), "SUV"),
        ({"Modality": "OT"}, (1, 0), "counts"),
        ({"Modality": "PT", "Units": "BQML"}, (1, 0), "Bq/ml"),
        ({"SpacingBetweenSlices": None}, (1, 0), "counts"),
        ({"SpacingBetweenSlices": 0}, (1, 0), "counts"),
        ({"SliceVector": None}, (1, 0), "counts"),
        ({"ImageType": None, "FrameIncrementPointer": None}, (1, 0), "counts"),
        ({"SliceVector": list(range(5, 14))}, (1, 0), "counts"),
    ],
)
def test_values_and_absent_tags(
    tags: dict[str, Any], line: tuple[float, float], unit: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "nm.dcm", **tags)
    check(path, STORED * line[0] + line[1], matrix("axial", 4.8), unit)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("interleaved", [True, False])
def test_energy_windows(first: bool, interleaved: bool, tmp_path: Path) -> None:
    other = STORED // 3
    pair = (STORED, other) if first else (other, STORED)
    frames = np.stack(pair, axis=1 if interleaved else 0).reshape(18, 6, 7)
    numbers = [*range(1, 10)]
    limits = [(126.0, 154.0), (100.0, 120.0)]
    path = written(
        tmp_path / "nm.dcm",
        frames,
        SliceVector=np.repeat(numbers, 2).tolist() if interleaved else numbers * 2,
        EnergyWindowVector=[1, 2] * 9 if interleaved else [1] * 9 + [2] * 9,
        EnergyWindowInformationSequence=windows(*(limits if first else limits[::-1])),
        FrameIncrementPointer=[0x00540010, 0x00540080],
    )
    check(path, STORED, matrix("axial", 4.8))


@pytest.mark.parametrize("spacing", [4.8, -4.8])
def test_one_file_per_slice(spacing: float, tmp_path: Path) -> None:
    for number, plane in enumerate(STORED):
        tags = geometry("axial", nested=False)
        tags["ImagePositionPatient"] = np.add(POSITION, [0, 0, number * spacing]).tolist()
        path = tmp_path / f"{(number * 5) % 9}.dcm"
        written(path, plane, SeriesInstanceUID="1.2", SliceVector=None, **tags)
    first = matrix("axial", 4.8)
    first[2, 3] += min(0, 8 * spacing)
    check(tmp_path, STORED if spacing > 0 else STORED[::-1], first)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"SliceVector": [*range(9, 0, -1)]}, "SliceVector"),
        ({"SliceVector": [1, 2, 3]}, "SliceVector"),
        ({"EnergyWindowVector": [1, 1]}, "EnergyWindowVector"),
        ({"EnergyWindowVector": [1] * 4 + [2] * 5, "SliceVector": None}, "energy windows"),
        ({"NumberOfFrames": 90, "SliceVector": None}, "PixelData"),
        ({"NumberOfFrames": 6, "SliceVector": None}, "PixelData"),
        ({"PixelSpacing": None}, "PixelSpacing"),
        ({"PixelSpacing": [0, 4.6]}, "PixelSpacing"),
        ({"BitsAllocated": 12}, "BitsAllocated"),
        ({"PhaseVector": [1] * 4 + [2] * 5}, "phases"),
        ({"RRIntervalVector": [1] * 4 + [2] * 5}, "heart beat"),
        ({"TimeSlotVector": [1] * 4 + [2] * 5}, "gates"),
        ({"ImageType": ["DERIVED", "SECONDARY", "RECON TOMO", "TRANSMISSION"]}, "attenuation"),
        ({"RescaleSlope": 0}, "RescaleSlope"),
        ({"SpacingBetweenSlices": 4800.0}, "impossible voxel size"),
    ],
)
def test_what_is_unclear_is_refused_by_its_tag(
    tags: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "nm.dcm", **tags)
    with pytest.raises(InputError, match=rf"nm\.dcm.*{words}"):
        read_volume(path, "spect")


def test_several_beds_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    written(tmp_path / "a.dcm", SeriesDescription="bed 1")
    written(tmp_path / "b.dcm", SeriesDescription="bed 2")
    with pytest.raises(InputError, match=r"2 series.*bed 1.*bed 2"):
        read_volume(tmp_path, "spect")
    check(tmp_path / "b.dcm", STORED, matrix("axial", 4.8))
