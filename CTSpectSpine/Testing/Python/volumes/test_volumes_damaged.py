"""Volumes whose voxels or headers are damaged, in every format but DICOM."""

from __future__ import annotations

import bz2
import gzip
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import ijk_to_lps, image_from_array
from CTSpectSpineLib.labelling.importing.sources import load_labels
from CTSpectSpineLib.volumes import check_ct, read_segmentation, read_volume, volume_from_image

VOXELS = np.random.default_rng(0).integers(-1000, 2000, (6, 7, 9)).astype(np.int16)
IMAGE = image_from_array(VOXELS, np.diag([1.0, 2.0, 3.0, 1.0]))


def written(path: Path, compressed: bool = False) -> Path:
    sitk.WriteImage(IMAGE, str(path), useCompression=compressed)
    return path


def nrrd(path: Path, encoding: str, content: bytes, **fields: str) -> Path:
    header = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "9 7 6",
        "space directions": "(1,0,0) (0,2,0) (0,0,3)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": encoding,
        "space origin": "(0,0,0)",
        **fields,
    }
    lines = "".join(f"{key}: {value}\n" for key, value in header.items())
    path.write_bytes(f"NRRD0004\n{lines}\n".encode() + content)
    return path


def refused(path: Path, words: str) -> None:
    start = perf_counter()
    with pytest.raises(InputError, match=words) as caught:
        read_volume(path, "ct")
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert perf_counter() - start < 5.0


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr", ".nii", ".nii.gz"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_whole_files_are_read_as_itk_reads_them(
    suffix: str, compressed: bool, kind: type, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    image = image_from_array(np.abs(VOXELS % 200).astype(kind), np.diag([1.0, 2.0, 3.0, 1.0]))
    sitk.WriteImage(image, str(path), useCompression=compressed)
    found = read_volume(path, "labels").image
    assert found.GetPixelID() == image.GetPixelID()
    assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(image))
    assert found.GetSpacing() == image.GetSpacing()


@pytest.mark.parametrize("encoding", PACKED)
def test_nrrd_encodings_and_byte_orders(encoding: str, tmp_path: Path) -> None:
    large = PACKED[encoding](VOXELS.astype(">i2").tobytes())
    path = nrrd(tmp_path / "a.nrrd", encoding, large, endian="big")
    assert np.array_equal(sitk.GetArrayFromImage(read_volume(path, "ct").image), VOXELS)


@pytest.mark.parametrize("zeros", [0, 3, 3_000_000])
def test_gzip_in_several_members(zeros: int, tmp_path: Path) -> None:
    """As `cat a.gz b.gz` or a tape makes it: one content."""
    content = VOXELS.tobytes()
    parts = [gzip.compress(content[:100]), gzip.compress(content[100:])]
    path = nrrd(tmp_path / "a.nrrd", "gzip", bytes(zeros).join([*parts, b""]))
    assert np.array_equal(sitk.GetArrayFromImage(read_volume(path, "ct").image), VOXELS)
    path = nrrd(tmp_path / "b.nrrd", "gzip", b"".join(parts) + bytes(zeros) + b"no gzip")
    refused(path, r"b\.nrrd: the voxels cannot be read")


D = "(0.866,0.5,0) (-1,1.732,0) (0,0,3)"


@pytest.mark.parametrize(
    "lines",
    [
        *(["space: " + space, "space directions: " + D, "space origin: (10,20,30)"]
          for space in ("LPS", "RAS", "LAS", "right-anterior-superior", "scanner-xyz")),
        ["space dimension: 3", "space directions: " + D, "space origin: (10,20,30)"],
        ["space: RAS", "space directions: " + D],
        ["space: RAS", "space directions: " + D, "kinds: space space space"],
        ["spacings: 1 2 3"],
        ["spacings: 1 2 3", "axis mins: 5 6 7"],
        ["spacings: 1 2 3", "axis mins: 5 6 7", "centerings: node node node"],
    ],
)  # fmt: skip
def test_the_grid_of_an_nrrd_file_is_that_of_itk(lines: list[str], tmp_path: Path) -> None:
    common = ["type: short", "dimension: 3", "sizes: 9 7 6", "endian: little", "encoding: raw"]
    path = tmp_path / "a.nrrd"
    head = "".join(f"{line}\n" for line in ("NRRD0004", *common, *lines, ""))
    path.write_bytes(head.encode() + VOXELS.tobytes())
    expected = ijk_to_lps(sitk.ReadImage(str(path)))
    assert np.allclose(ijk_to_lps(read_volume(path, "ct").image), expected, atol=1e-3)


def test_an_nrrd_file_without_voxel_size_is_refused(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", "raw", VOXELS.tobytes())
    content = path.read_bytes().replace(b"space directions: (1,0,0) (0,2,0) (0,0,3)\n", b"")
    path.write_bytes(content)
    refused(path, "no usable voxel size")


def test_nrrd_as_text_is_left_to_itk(tmp_path: Path) -> None:
    text = " ".join(map(str, VOXELS.ravel())).encode()
    path = nrrd(tmp_path / "a.nrrd", "ascii", text)
    assert np.array_equal(sitk.GetArrayFromImage(read_volume(path, "ct").image), VOXELS)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9"))
    folder.mkdir()
    for name, compressed in (("a.mha", True), ("a.nrrd", False), ("a.nii.gz", True)):
        written(tmp_path / name, compressed).rename(folder / name)
        refused(folder / name, "no UTF-8")


@pytest.mark.parametrize("name", ["LOCL", "9" * 400, "none.raw"])
def test_voxels_that_are_not_there(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.mha", compressed=True)
    path.write_bytes(path.read_bytes().replace(b"LOCAL", name.encode()))
    refused(path, "do not exist")
    path = nrrd(tmp_path / "a.nhdr", "raw", b"", **{"data file": name})
    refused(path, "do not exist")


def test_headers_that_crash_itk(tmp_path: Path) -> None:
    """Found by `benchmarks.fuzz`: each ended the process."""
    for key in ("endian", "encoding", "type", "space"):
        long = {"encoding": "raw", key: "a" * 5000}
        path = nrrd(tmp_path / f"{key}.nrrd", long.pop("encoding"), VOXELS.tobytes(), **long)
        if key == "space":
            assert read_volume(path, "ct").image.GetSize() == (9, 7, 6)
        else:
            refused(path, "NRRD header")
    text = " ".join(map(str, VOXELS.ravel())).encode()
    refused(
        nrrd(tmp_path / "a.nrrd", "ascii", text, **{"sample units": "a" * 5000}), "5000 characters"
    )
    refused(nrrd(tmp_path / "b.nrrd", "ascii", text, sizes="\u0669 7 6"), "not in ASCII")
    for old, new in (("NDims = 3", "NDims = -1"), ("0 0 1\n", "0 0 0\n"), ("MET_SHORT", "MET_x")):
        path = written(tmp_path / "a.mha")
        path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
        refused(path, "cannot be read as MetaImage|impossible voxel size")


@pytest.mark.parametrize("cut", [0, 50])
def test_slices_in_files_of_their_own(cut: int, tmp_path: Path) -> None:
    """ITK reads these, and notices a short one."""
    names = []
    for number, plane in enumerate(VOXELS):
        content = plane.tobytes()
        names.append(f"s{number}.raw")
        (tmp_path / names[-1]).write_bytes(content[: len(content) - cut * (number == 3)])
    meta = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 9 7 6\n"
        "ElementType = MET_SHORT\nElementSpacing = 1 2 3\nElementDataFile = "
    )
    listed = "LIST\n" + "\n".join(names) + "\n"
    pattern = "s%d.raw 0 5 1\n"
    head = nrrd(tmp_path / "head", "raw", b"").read_bytes().decode().rstrip("\n") + "\ndata file: "
    for name, text in (
        ("a.mhd", meta + listed),
        ("b.mhd", meta + pattern),
        ("a.nhdr", head + listed),
        ("b.nhdr", head + pattern),
    ):
        path = tmp_path / name
        path.write_text(text, encoding="ascii")
        if cut:
            refused(path, "cannot be read")
        else:
            found = read_volume(path, "ct").image
            assert np.array_equal(sitk.GetArrayFromImage(found), VOXELS)


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b[:-100], "cut off|cannot be read"),
        (lambda b: b"", "cut off|cannot be read"),
        (lambda b: b + b[:200], "bytes of voxels, but|cannot be read"),
    ],
)
def test_damaged_nrrd_voxels(
    encoding: str, change: Callable[[bytes], bytes], words: str, tmp_path: Path
) -> None:
    content = VOXELS.tobytes()
    before = PACKED[encoding](change(content))
    refused(nrrd(tmp_path / "a.nrrd", encoding, before), words)
    after = change(PACKED[encoding](content))
    refused(nrrd(tmp_path / "b.nrrd", encoding, after), words)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii.gz"])
def test_a_changed_byte_in_compressed_voxels(suffix: str, tmp_path: Path) -> None:
    whole = written(tmp_path / f"a{suffix}", compressed=True).read_bytes()
    bad = tmp_path / f"b{suffix}"
    # The last bytes are the checksum and, in gzip, the length.
    for place in range(len(whole) - 60, len(whole), 7):
        content = bytearray(whole)
        content[place] ^= 0x10
        bad.write_bytes(bytes(content))
        refused(bad, "cannot be read|cut off|bytes of voxels, but")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("sizes", ["5 7 6", "9 7 3", "9 7 60", "30000 30000 30000", "0 7 6"])
def test_sizes_that_do_not_fit_the_voxels(sizes: str, compressed: bool, tmp_path: Path) -> None:
    path = written(tmp_path / "a.mha", compressed)
    path.write_bytes(path.read_bytes().replace(b"DimSize = 9 7 6", f"DimSize = {sizes}".encode()))
    refused(path, "cut off|far more|cannot be read|bytes of voxels, but|no voxels")
    encoding = "gzip" if compressed else "raw"
    content = PACKED[encoding](VOXELS.tobytes())
    refused(
        nrrd(tmp_path / "a.nrrd", encoding, content, sizes=sizes),
        "cut off|far more|cannot be read|bytes of voxels, but",
    )


def test_bombs_are_refused_by_name_before_they_fill_the_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(300_000_000), 1)
    refused(nrrd(tmp_path / "a.nrrd", "gzip", bomb), r"a\.nrrd: .*but the file holds more")
    nifti = nibabel.Nifti1Image(VOXELS.T, np.eye(4)).to_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti, 1) + bomb)
    refused(path, r"a\.nii\.gz: .*but the file holds more")
    meta = written(tmp_path / "a.mha", compressed=True)
    start = meta.read_bytes().index(b"LOCAL\n") + 6
    meta.write_bytes(meta.read_bytes()[:start] + zlib.compress(bytes(300_000_000), 1))
    refused(meta, r"a\.mha: .*but the file holds more")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ((0.0, 0.0, 1000.0), "impossible voxel size"),
        ((900.0, 0.0, 1000.0), "impossible voxel size"),
        ((9.0, 0.0, 1.0), "sheared by 84 degrees"),
        ((0.0, 0.0, 1e-9), "impossible voxel size|not usable"),
        ((0.0, 0.0, 1e30), "impossible voxel size"),
    ],
)
def test_a_grid_that_no_scanner_makes(
    column: tuple[float, float, float], words: str, tmp_path: Path
) -> None:
    affine = np.eye(4)
    affine[:3, 2] = column
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((60, 60, 60), np.int16), affine), path)
    refused(path, words)


@pytest.mark.parametrize("offset", [1e9, 1e30])
def test_a_position_far_away(offset: float, tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[0, 3] = offset
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(VOXELS, affine), path)
    refused(path, "m from the origin")


def test_a_ct_without_rescale_intercept_is_seen_despite_its_padding() -> None:
    rng = np.random.default_rng(1)
    hu = np.full((40, 64, 64), -1000.0)
    hu[:, 12:52, 8:56] = -90.0
    hu[:, 20:44, 16:48] = 45.0
    hu[:, 26:38, 26:38] = 400.0
    hu += rng.normal(0, 15, hu.shape)
    outside = np.hypot(*np.mgrid[-32:32, -32:32]) > 31

    def volume(offset: float, padding: float) -> sitk.Image:
        values = hu + offset
        values[:, outside] = padding
        return volume_from_image(sitk.GetImageFromArray(values.astype(np.int16)), "ct")

    for padding in (-1024, -2000, -3024):
        check_ct(volume(0, padding))
        for offset in (1000, 1024):
            with pytest.raises(InputError, match="rescale intercept"):
                check_ct(volume(offset, padding))


def seg(path: Path, **fields: str) -> Path:
    labels = np.zeros((6, 7, 9), np.int32)
    labels[2:4, 2:4, 2:5] = 1
    segment = {"Segment0_ID": "s", "Segment0_Name": "L5", "Segment0_LabelValue": "1"}
    nrrd(path, "raw", labels.tobytes(), type="int")
    head, voxels = path.read_bytes().split(b"\n\n", 1)
    lines = "".join(f"\n{key}:={value}" for key, value in {**segment, **fields}.items())
    path.write_bytes(head + lines.encode() + b"\n\n" + voxels)
    return path


@pytest.mark.parametrize(
    "fields",
    [
        {"Segment0_Color": ""},
        {"Segment0_Color": "1 2"},
        {"Segment0_LabelValue": "31.0"},
        {"Segment0_LabelValue": ""},
        {"Segment0_LabelValue": "9" * 400},
        {"Segment0_Layer": "-1"},
        {"Segment0_Layer": "7"},
    ],
)
def test_damaged_fields_of_a_segment(fields: dict[str, str], tmp_path: Path) -> None:
    assert len(read_segmentation(seg(tmp_path / "a.seg.nrrd"))[0]) == 1
    with pytest.raises(InputError, match=r"b\.seg\.nrrd"):
        read_segmentation(seg(tmp_path / "b.seg.nrrd", **fields))


def test_a_sheared_segmentation_is_put_on_an_orthogonal_grid(tmp_path: Path) -> None:
    path = seg(tmp_path / "a.seg.nrrd")
    path.write_bytes(path.read_bytes().replace(b"(0,2,0)", b"(-1,2,0)"))
    loaded = load_labels(path)
    assert "sheared" in " ".join(loaded.notes)
    direction = np.reshape(loaded.image.GetDirection(), (3, 3))
    assert np.allclose(direction.T @ direction, np.eye(3), atol=1e-9)
    labelled = int(np.count_nonzero(sitk.GetArrayViewFromImage(loaded.image)))
    assert labelled * np.prod(loaded.image.GetSpacing()) == pytest.approx(12 * 6.0, rel=0.4)


def test_one_huge_value_is_no_label(tmp_path: Path) -> None:
    path = seg(tmp_path / "a.seg.nrrd")
    content = bytearray(path.read_bytes())
    content[-4:] = (2_000_000_000).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"a\.seg\.nrrd: holds values from 0 to 2000000000"):
        read_segmentation(path)
