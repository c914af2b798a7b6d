"""DICOM files that are damaged, incomplete or not what they seem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    spect,
)
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, RLELossless

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.volumes import check_pair, read_volume


def refused(path: Path, role: Any, words: str, named: str | None = None) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_volume(path, role)
    assert (named or path.name) in str(caught.value)
    assert "\n" not in str(caught.value)


def altered(path: Path, **tags: Any) -> Path:
    header = dcmread(path)
    for keyword, content in tags.items():
        setattr(header, keyword, content)
    header.save_as(path)
    return path


def replaced(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))
    return path


# --- pixels: all of them or none


@pytest.mark.parametrize(
    "tags",
    [
        {"NumberOfFrames": 800, "SliceVector": None},
        {"NumberOfFrames": 9, "SliceVector": None},
        {"PixelData": NM_VOXELS.astype("<u2").tobytes()[: NM_VOXELS.size]},
        {"Rows": 65535},
        {"Columns": 65535, "Rows": 65535},
        {"Rows": 5},
    ],
)
def test_short_or_long_pixel_data_is_never_completed(tags: dict[str, Any], tmp_path: Path) -> None:
    path = save(tmp_path / "nm.dcm", NM_CLASS, NM_VOXELS, **{**nm_tags(), **tags})
    refused(path, "spect", "bytes of PixelData")


@pytest.mark.parametrize(
    "tags", [{"PixelData": CT_VOXELS[0].astype("<u2").tobytes()[:120]}, {"Rows": 65535}]
)
def test_one_short_slice_of_a_ct(tags: dict[str, Any], tmp_path: Path) -> None:
    folder = ct_series(tmp_path / "ct", **{k: v for k, v in tags.items() if k != "Rows"})
    if "Rows" in tags:
        for path in folder.iterdir():
            altered(path, **tags)
    refused(folder, "ct", "bytes of PixelData", "ct")


def test_a_ct_with_frames_is_not_read_as_a_spect(tmp_path: Path) -> None:
    tags = nm_tags(Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    refused(save(tmp_path / "ct.dcm", CT_CLASS, NM_VOXELS, **tags), "ct", "8 frames")


def test_signed_and_narrow_pixels(tmp_path: Path) -> None:
    stored = np.arange(NM_VOXELS.size).reshape(NM_VOXELS.shape) % 4096
    # Twelve bits with a sign; an overlay above them is no part of the value.
    path = save(tmp_path / "nm.dcm", NM_CLASS, stored | 0xF000, **nm_tags(PixelRepresentation=1))
    altered(path, BitsStored=12, HighBit=11)
    expected = np.where(stored < 2048, stored, stored - 4096)
    assert np.array_equal(array(read_volume(path, "spect")), expected)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_compressed_pixels_are_whole_or_refused(syntax: Any, tmp_path: Path) -> None:
    source = save(tmp_path / "nm.dcm", NM_CLASS, NM_VOXELS, **nm_tags())
    header = dcmread(source)
    if syntax == RLELossless:
        header.compress(syntax)
    else:
        header = compressed(header, syntax, tmp_path)
    header.save_as(source)
    assert np.array_equal(array(read_volume(source, "spect")), NM_VOXELS)
    # Without a position ITK reads no pixels; with one frame too many it makes one up.
    altered(source, DetectorInformationSequence=Sequence([Dataset()]), SpacingBetweenSlices=0)
    assert np.array_equal(array(read_volume(source, "spect")), NM_VOXELS)
    altered(source, NumberOfFrames=9, SliceVector=list(range(9)))
    refused(source, "spect", "frames|cannot be read")
    altered(source, NumberOfFrames=8, SliceVector=list(range(8)))
    content = source.read_bytes()
    source.write_bytes(content[: len(content) - 300])
    refused(source, "spect", "cut off|cannot be read|no pixels|frames")


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_short_frame_among_compressed_ones(
    syntax: Any, end: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    header = compressed(
        dcmread(save(tmp_path / "nm.dcm", NM_CLASS, NM_VOXELS, **nm_tags())), syntax, tmp_path
    )
    frames = list(generate_frames(header.PixelData, number_of_frames=8))
    frames[3] = frames[3][:-60] + end
    header.PixelData = encapsulate(frames)
    header.save_as(tmp_path / "nm.dcm")
    refused(tmp_path / "nm.dcm", "spect", "cut off|cannot be read")
    assert capfd.readouterr().err == ""


def compressed(header: Dataset, syntax: Any, folder: Path) -> Dataset:
    """The same object with JPEG or JPEG 2000 frames, which ITK makes."""
    frames = []
    for voxels in NM_VOXELS:
        one = folder / "one.dcm"
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(one))
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG2000" if syntax == JPEG2000Lossless else "JPEG")
        writer.Execute(sitk.GetImageFromArray(voxels.astype(np.uint16)))
        frames.append(next(iter(generate_frames(dcmread(one).PixelData, number_of_frames=1))))
        one.unlink()
    header.PixelData = encapsulate(frames)
    header["PixelData"].is_undefined_length = True
    header["PixelData"].VR = "OB"
    header.file_meta.TransferSyntaxUID = syntax
    return header


# --- scale


def test_a_mapping_starts_from_the_stored_values(tmp_path: Path) -> None:
    unit = Dataset()
    unit.CodeValue = "Bq/ml"
    item = Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept = 3.0, 1.0
    item.MeasurementUnitsCodeSequence = Sequence([unit])
    mapped = {"RealWorldValueMappingSequence": Sequence([item])}
    volume = spect(tmp_path, RescaleSlope=7.0, RescaleIntercept=100.0, **mapped)
    assert np.allclose(array(volume), NM_VOXELS * 3.0 + 1.0)
    folder = ct_series(tmp_path / "pet", Modality="PT", Units="BQML", RescaleSlope=7.0, **mapped)
    assert np.allclose(array(read_volume(folder, "spect")), CT_VOXELS * 3.0 + 1.0)


@pytest.mark.parametrize(
    ("slope", "words"), [(1e9, "its values reach"), (0, "RescaleSlope is 0"), (1e300, "reach")]
)
def test_a_slope_that_no_scanner_writes(slope: float, words: str, tmp_path: Path) -> None:
    folder = ct_series(tmp_path / "ct", RescaleSlope=slope)
    refused(folder, "ct", words, "ct")


def test_an_unreadable_slope_names_its_file(tmp_path: Path) -> None:
    folder = ct_series(tmp_path / "ct", RescaleSlope="1.25")
    replaced(sorted(folder.iterdir())[3], b"DS\x04\x001.25", b"DS\x04\x001,25")
    refused(folder, "ct", "RescaleSlope is no number", sorted(folder.iterdir())[3].name)


def test_a_slope_of_unknown_representation(tmp_path: Path) -> None:
    folder = ct_series(tmp_path / "ct", RescaleSlope="1.25")
    path = replaced(sorted(folder.iterdir())[3], b"DS\x04\x001.25", b"D\x00\x04\x001.25")
    with pytest.raises(InputError, match=f"{path.name}|gap|lacks"):
        read_volume(folder, "ct")


# --- bystanders


def deep(levels: int) -> Dataset:
    item = Dataset()
    for _ in range(levels):
        outer = Dataset()
        outer.DetectorInformationSequence = Sequence([item])
        item = outer
    return item


def bad_frames(path: Path) -> None:
    save(path, NM_CLASS, NM_VOXELS, **nm_tags())
    replaced(path, b"IS\x02\x008 ", b"IS\x02\x001A")


def bad_vr(path: Path) -> None:
    save(path, NM_CLASS, NM_VOXELS, **nm_tags())
    replaced(path, b"LO\x06\x00recon ", b"QQ\x06\x00recon ")


def bad_nesting(path: Path) -> None:
    save(path, NM_CLASS, NM_VOXELS, **nm_tags(Modality="MR"))
    # Each level is an undefined length item in an undefined length sequence.
    nested = (
        b"\x54\x00\x22\x00SQ\x00\x00" + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
    ) * 3000
    path.write_bytes(path.read_bytes() + nested)


def bad_slope(path: Path) -> None:
    save(path, CT_CLASS, CT_VOXELS[0], Modality="CT", SeriesInstanceUID="9", RescaleSlope="1.25")
    replaced(path, b"DS\x04\x001.25", b"DS\x04\x001,25")


def bad_text(path: Path) -> None:
    path.write_bytes(bytes(128) + b"DICM" + b"\xff" * 400)


@pytest.mark.parametrize("make", [bad_frames, bad_vr, bad_nesting, bad_slope, bad_text])
def test_a_bystander_never_stops_the_folder(make: Any, tmp_path: Path) -> None:
    folder = ct_series(tmp_path / "ct")
    make(folder / "zz.dcm")
    volume = read_volume(folder, "ct")
    assert np.array_equal(array(volume), CT_VOXELS - 1024)
    assert bool(volume.notes) == (make is not bad_text)
    refused(folder / "zz.dcm", "ct", "")


# --- geometry and frames of NM


def test_a_detector_without_position_or_spacing(tmp_path: Path) -> None:
    bare = Dataset()
    bare.CollimatorGridName = "LEHR"
    volume = spect(tmp_path, DetectorInformationSequence=Sequence([bare]), SpacingBetweenSlices=0)
    assert np.array_equal(array(volume), NM_VOXELS)
    assert volume.image.GetSpacing() == pytest.approx((4.6, 4.5, 4.8))
    assert "no position" in " ".join(volume.notes)


@pytest.mark.parametrize("order", [[8, 7, 6, 5, 4, 3, 2, 1], [2, 1, 3, 4, 5, 6, 7, 8]])
def test_a_slice_vector_that_does_not_ascend_is_refused(order: list[int], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nm\.dcm: SliceVector .*ascending"):
        spect(tmp_path, SliceVector=order)


@pytest.mark.parametrize("keyword", ["SliceVector", "EnergyWindowVector", "TimeSlotVector"])
def test_vectors_of_another_length_are_refused(keyword: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"nm\.dcm: {keyword} has 5 values for 8 frames"):
        spect(tmp_path, **{keyword: [1, 2, 3, 4, 5]})


@pytest.mark.parametrize("head_first", [True, False])
def test_slices_of_unknown_direction_are_checked_against_the_ct(
    head_first: bool, tmp_path: Path
) -> None:
    detector = Dataset()
    detector.ImageOrientationPatient = AXIAL
    low, high = 100.0, 100.0 + 7 * 4.8
    detector.ImagePositionPatient = [-10, 20, high if head_first else low]
    volume = spect(
        tmp_path, SpacingBetweenSlices=None, DetectorInformationSequence=Sequence([detector])
    )
    assert "which end is the head" in volume.notes[0]
    ct = read_volume(ct_series(tmp_path / "ct", step=(0, 0, 4.8)), "ct")
    if head_first:
        with pytest.raises(InputError, match=r"nm\.dcm: .*SpacingBetweenSlices"):
            check_pair(ct, volume)
    else:
        check_pair(ct, volume)


def test_jitter_of_positions(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    jitter = rng.uniform(-0.1, 0.1, len(CT_VOXELS))
    folder = ct_series(
        tmp_path, ImagePositionPatient=lambda n: [-10, 20, round(100 + 2.5 * n + jitter[n], 2)]
    )
    volume = read_volume(folder, "ct")
    assert np.array_equal(array(volume), CT_VOXELS - 1024)
    positions = [(ijk_to_lps(volume.image) @ [0, 0, k, 1])[2] for k in range(8)]
    assert np.allclose(positions, 100 + 2.5 * np.arange(8), atol=0.12)
