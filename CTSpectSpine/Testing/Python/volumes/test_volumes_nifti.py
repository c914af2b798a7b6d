"""The NIfTI header field by field: orientation, units, scale, label names, damage."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import LPS_TO_RAS, ijk_to_lps
from CTSpectSpineLib.volumes import read_volume
from CTSpectSpineLib.volumes.nifti import read_nifti_header, read_nifti_voxels

ARRAY = np.arange(-100, 110, dtype=np.int16).reshape(5, 6, 7)
TABLE = b'<LabelTable><Label Key="27">vertebrae_L5</Label><Label Key="28"> L4 </Label></LabelTable>'


def nifti(
    path: Path,
    array: np.ndarray = ARRAY,
    *,
    order: str = "<",
    kind: type = nibabel.Nifti1Image,
    extensions: bytes = b"",
    **fields: object,
) -> Path:
    """Write a file whose header holds exactly the given fields; `extensions` follow as they are."""
    image = kind(np.zeros(array.shape, np.int16), np.diag([2.0, 3.0, 4.0, 1.0]))
    header = image.header.as_byteswapped(order)
    header.set_data_dtype(array.dtype)
    fields = {"scl_slope": 1.0, "scl_inter": 0.0, **fields}
    start = header.sizeof_hdr + 4 + len(extensions)
    fields.setdefault("vox_offset", start)
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + bytes([bool(extensions), 0, 0, 0]) + extensions
    content += array.astype(array.dtype.newbyteorder(order)).tobytes(order="F")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def extension(content: bytes, code: int = 0, size: int | None = None) -> bytes:
    padded = content + bytes(-(len(content) + 8) % 16)
    return struct.pack("<2i", size if size is not None else len(padded) + 8, code) + padded


def ras(path: Path) -> np.ndarray:
    return LPS_TO_RAS @ read_nifti_header(path).matrix


@pytest.mark.parametrize(("units", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (6, 1)])
@pytest.mark.parametrize("seconds", [0, 8])
def test_units_of_length(units: int, factor: float, seconds: int, tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", xyzt_units=units + seconds)
    assert np.allclose(np.diag(ras(path)), [2 * factor, 3 * factor, 4 * factor, 1], rtol=1e-12)


def test_qform_with_negative_voxel_sizes_and_either_handedness(tmp_path: Path) -> None:
    quaternion = {"quatern_b": 0.0, "quatern_c": 0.0, "quatern_d": np.sqrt(0.5)}
    offset = {"qoffset_x": 7.0, "qoffset_y": 8.0, "qoffset_z": 9.0}
    codes = {"sform_code": 0, "qform_code": 2}
    for qfac, sign in ((1.0, 1.0), (0.0, 1.0), (-1.0, -1.0), (-3.0, -1.0)):
        size = [qfac, 2.0, -3.0, 4.0, 1.0, 1.0, 1.0, 1.0]
        path = nifti(tmp_path / "a.nii", pixdim=size, **quaternion, **offset, **codes)
        expected = [[0, -3, 0, 7], [2, 0, 0, 8], [0, 0, 4 * sign, 9], [0, 0, 0, 1]]
        assert np.allclose(ras(path), expected, atol=1e-6)


def test_quaternion_that_is_a_little_too_long(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", sform_code=0, qform_code=1, quatern_c=1.001)
    assert np.allclose(ras(path)[:3, :3], np.diag([-2, 3, -4]), atol=0.02)


def test_unusable_sform_gives_way_to_the_qform(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", sform_code=1, qform_code=1, srow_x=[np.nan] * 4)
    header = read_nifti_header(path)
    assert np.allclose(np.abs(np.diag(header.matrix)), [2, 3, 4, 1])
    assert header.notes == ("The sform of a.nii is not usable: the qform was used.",)


def test_a_header_without_voxel_size(tmp_path: Path) -> None:
    for bad in (0.0, np.nan, np.inf):
        path = nifti(tmp_path / "a.nii", sform_code=0, qform_code=0, pixdim=[1, 2, bad] + [1] * 5)
        with pytest.raises(InputError, match=r"a\.nii: the NIfTI header gives no voxel size"):
            read_nifti_header(path)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_every_type_of_voxel(order: str, kind: type, name: str, dtype: str, tmp_path: Path) -> None:
    array = np.arange(210).astype(dtype).reshape(5, 6, 7)
    path = nifti(tmp_path / name, array, order=order, kind=kind)
    header = read_nifti_header(path)
    voxels = read_nifti_voxels(path, header)
    assert voxels.dtype == np.dtype(dtype)
    assert voxels.dtype.isnative
    assert voxels.flags.c_contiguous
    assert np.array_equal(voxels.T, array)


@pytest.mark.parametrize("code", [0, 1, 32, 128, 255, 1536, 1792, 2304, 3])
def test_types_that_are_not_one_number_per_voxel(code: int, tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", datatype=code)
    assert read_nifti_header(path).dtype is None
    with pytest.raises(InputError, match="one number per voxel"):
        read_volume(path, "ct")


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype", "expected"),
    [
        (0.0, 5.0, "i2", (np.int16, 1.0, 0.0)),
        (np.nan, 5.0, "i2", (np.int16, 1.0, 0.0)),
        (np.inf, 5.0, "i2", (np.int16, 1.0, 0.0)),
        (2.0, np.nan, "i2", (np.int16, 1.0, 0.0)),
        (2.0, np.inf, "f4", (np.float32, 1.0, 0.0)),
        (2.0, -1024.0, "i2", (np.int32, 2.0, -1024.0)),
        (1.0, -1024.0, "u2", (np.int32, 1.0, -1024.0)),
        (2.0, 0.5, "i2", (np.float64, 2.0, 0.5)),
        (0.25, 0.0, "i2", (np.float64, 0.25, 0.0)),
        (2.0, 3.0, "i4", (np.float64, 2.0, 3.0)),
        (2.0, 3.0, "f4", (np.float64, 2.0, 3.0)),
        # Products that 32 bits do not hold.
        (1e8, 0.0, "i2", (np.float64, 1e8, 0.0)),
        (2.0**40, 0.0, "i1", (np.float64, 2.0**40, 0.0)),
        (1.0, 2.0**31, "u1", (np.float64, 1.0, 2.0**31)),
    ],
)
def test_slope_and_intercept(
    slope: float, intercept: float, dtype: str, expected: tuple[type, float, float], tmp_path: Path
) -> None:
    array = ARRAY.astype(dtype)
    path = nifti(tmp_path / "a.nii", array, scl_slope=slope, scl_inter=intercept)
    voxels = read_nifti_voxels(path, read_nifti_header(path))
    assert voxels.dtype == expected[0]
    assert np.array_equal(voxels.T, array * expected[1] + expected[2])


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_label_names_survive_whatever_stands_around_their_table(kind: type, tmp_path: Path) -> None:
    expected = {27: "vertebrae_L5", 28: "L4"}
    xml = b'<?xml version="1.0" encoding="UTF-8"?><CaretExtension>' + TABLE + b"</CaretExtension>"
    cases = {
        "table alone": extension(TABLE),
        "caret": extension(xml, 30),
        "after a comment": extension(b"scanned twice", 6) + extension(xml),
        "after damaged DICOM": extension(b"\x01\x02\x03", 2) + extension(xml),
        "before padding": extension(xml) + bytes(64),
        "of a size that is no multiple of 16": struct.pack("<2i", len(xml) + 8, 0) + xml,
        "after a wrong size": extension(b"comment", 6, size=-5) + extension(xml),
    }
    for what, extensions in cases.items():
        for name in ("a.nii", "a.nii.gz"):
            path = nifti(tmp_path / name, kind=kind, extensions=extensions)
            assert read_nifti_header(path).label_names == expected, what


@pytest.mark.parametrize(
    "table",
    [
        TABLE.replace(b"</LabelTable>", b""),
        TABLE.replace(b"</Label>", b"", 1),
        TABLE.replace(b"Key", b"Value"),
        TABLE.replace(b"27", b"L5"),
    ],
)
def test_a_damaged_table_names_nothing(table: bytes, tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", extensions=extension(table))
    assert read_nifti_header(path).label_names == {}
    assert np.array_equal(sitk.GetArrayFromImage(read_volume(path, "labels").image).T, ARRAY)


def test_a_table_among_the_voxels_is_no_table(tmp_path: Path) -> None:
    array = np.frombuffer(TABLE.ljust(210), np.uint8).reshape(5, 6, 7)
    assert read_nifti_header(nifti(tmp_path / "a.nii", array)).label_names == {}
    path = nifti(tmp_path / "b.nii", array, extensions=extension(b"x"))
    assert read_nifti_header(path).label_names == {}


def test_a_file_that_is_compressed_without_saying_so(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    image = read_volume(path, "ct").image
    assert np.array_equal(sitk.GetArrayFromImage(image).T, ARRAY)
    assert np.allclose(np.diag(LPS_TO_RAS @ ijk_to_lps(image)), [2, 3, 4, 1])


def test_pair_with_compressed_voxels(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Pair(ARRAY, np.eye(4)), tmp_path / "a.hdr")
    (tmp_path / "a.img.gz").write_bytes(gzip.compress((tmp_path / "a.img").read_bytes()))
    (tmp_path / "a.img").unlink()
    for name in ("a.hdr", "a.img.gz"):
        volume = read_volume(tmp_path / name, "ct")
        assert np.array_equal(sitk.GetArrayFromImage(volume.image).T, ARRAY)
        assert {f.name for f in volume.files} == {"a.hdr", "a.img.gz"}


def _changed(path: Path, at: int, content: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(content) or None] = content
    path.write_bytes(bytes(data))
    return path


def test_damaged_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    for fields in (
        {"dim": [0] + [5] * 7},
        {"dim": [8] + [5] * 7},
        {"dim": [3, 5, 0, 7, 1, 1, 1, 1]},
    ):
        with pytest.raises(InputError, match=r"a\.nii: this is not a NIfTI file"):
            read_nifti_header(nifti(path, **fields))
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        size = nifti(path, kind=kind).read_bytes()[:4]
        for bad in (b"\0\0\0\0", size[::-1][1:] + b"\1"):
            with pytest.raises(InputError, match="not a NIfTI file"):
                read_nifti_header(_changed(nifti(path, kind=kind), 0, bad))
    with pytest.raises(InputError, match=r"a\.nii: the NIfTI header cannot be read .*damaged"):
        read_nifti_header(nifti(path, vox_offset=np.nan))
    with pytest.raises(InputError, match=r"a\.nii: the NIfTI header cannot be read .*damaged"):
        read_nifti_header(nifti(path, vox_offset=np.inf))
    for offset in (-5, 0, 347):
        with pytest.raises(InputError, match=rf"a\.nii: .* voxels inside .* byte {offset}\)"):
            read_nifti_header(nifti(path, vox_offset=offset))
    # Analyze: the same layout without the magic.
    nibabel.save(nibabel.AnalyzeImage(ARRAY, np.eye(4)), tmp_path / "b.hdr")
    with pytest.raises(InputError, match=r"b\.hdr: this is not a NIfTI file"):
        read_volume(tmp_path / "b.img", "ct")
    packed = nifti(tmp_path / "c.nii.gz")
    whole = packed.read_bytes()
    packed.write_bytes(whole[:20] + bytes(20) + whole[40:])
    with pytest.raises(InputError, match=r"c\.nii\.gz: the NIfTI header cannot be read"):
        read_volume(packed, "ct")
    packed.write_bytes(whole[:60])
    with pytest.raises(InputError, match=r"c\.nii\.gz: the NIfTI header cannot be read"):
        read_volume(packed, "ct")


def test_damaged_voxels(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"a\.nii: .* cut off \(400 of 420 bytes of voxels\)"):
        read_volume(path, "ct")
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match=r"cut off \(400 of 420 bytes of voxels\)"):
        read_volume(path, "ct")
    # The checksum stands behind the last voxel.
    packed = nifti(tmp_path / "b.nii.gz")
    packed.write_bytes(packed.read_bytes()[:-8] + bytes(8))
    with pytest.raises(
        InputError, match=r"b\.nii\.gz: the voxels cannot be read \(.*data check.*copy it"
    ):
        read_volume(packed, "ct")
    for name in ("c.nii", "c.nii.gz"):
        huge = nifti(tmp_path / name, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
        with pytest.raises(InputError, match=rf"{name}: .*(cut off|far more than)"):
            read_volume(huge, "ct")
    big = nifti(tmp_path / "d.nii", kind=nibabel.Nifti2Image, dim=[3, 2**31, 2**31, 4, 1, 1, 1, 1])
    with pytest.raises(InputError, match=r"(cut off|far more than)"):
        read_volume(big, "ct")
    with pytest.raises(InputError, match="cut off"):
        read_volume(nifti(tmp_path / "g.nii", vox_offset=1e30), "ct")
    far = nifti(tmp_path / "e.nii.gz", kind=nibabel.Nifti2Image, vox_offset=2**62)
    with pytest.raises(InputError, match="cut off"):
        read_volume(far, "ct")
    frames = nifti(
        tmp_path / "f.nii", kind=nibabel.Nifti2Image, dim=[5, 5, 6, 7, 2**32, 2**32, 1, 1]
    )
    with pytest.raises(InputError, match=f"series of {2**64} volumes"):
        read_volume(frames, "ct")
