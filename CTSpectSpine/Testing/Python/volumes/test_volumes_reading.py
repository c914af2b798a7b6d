"""Files in, voxels on the right place in the patient out."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import (
    LPS_TO_RAS,
    apply_matrix,
    grid_of,
    ijk_to_lps,
    image_from_array,
)
from CTSpectSpineLib.volumes import read_volume, volume_from_image, write_image
from CTSpectSpineLib.volumes.nifti import read_nifti_header
from CTSpectSpineLib.volumes.orthogonal import orthogonal_image
from CTSpectSpineLib.volumes.plausible import shear_degrees

FORMATS = ("nii.gz", "nii", "nrrd", "mha")
NO_FIXTURE_RESET = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def random_matrix(seed: int) -> np.ndarray:
    """Index-to-LPS matrix with axes permuted, flipped, rotated, and uneven spacing."""
    rng = np.random.default_rng(seed)
    axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], size=(3, 1))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=seed).as_matrix() @ axes
    matrix[:3, :3] *= rng.uniform(0.4, 5.0, 3)
    matrix[:3, 3] = rng.uniform(-900, 900, 3)
    return matrix


def make_image(matrix: np.ndarray, seed: int = 0, dtype: type = np.int16) -> sitk.Image:
    rng = np.random.default_rng(seed)
    return image_from_array(rng.integers(-1000, 2000, (6, 7, 9)).astype(dtype), matrix)


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None, **codes: int) -> Path:
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, code=codes.get("sform", 1))
    if "qform" in codes:
        image.header["qform_code"] = codes["qform"]
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
@given(seed=st.integers(0, 10_000))
@NO_FIXTURE_RESET
def test_any_orientation_survives_writing_and_reading(
    suffix: str, seed: int, tmp_path: Path
) -> None:
    image = make_image(random_matrix(seed), seed)
    path = tmp_path / f"volume.{suffix}"
    write_image(image, path)
    volume = read_volume(path, "ct")
    # NIfTI keeps geometry in single precision.
    assert np.allclose(grid_of(volume.image).corners_mm(), grid_of(image).corners_mm(), atol=1e-3)
    assert np.array_equal(sitk.GetArrayFromImage(volume.image), sitk.GetArrayFromImage(image))
    assert volume.notes == ()


@given(seed=st.integers(0, 10_000))
@NO_FIXTURE_RESET
def test_nifti_geometry_is_the_one_that_nibabel_sees(seed: int, tmp_path: Path) -> None:
    affine = LPS_TO_RAS @ random_matrix(seed)
    array = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    path = save_nifti(tmp_path / "volume.nii", array, affine)
    image = read_volume(path, "spect").image
    for i, j, k in ((0, 0, 0), (3, 4, 5), (1, 3, 2)):
        ras = nibabel.affines.apply_affine(nibabel.load(path).affine, (i, j, k))
        lps = image.TransformIndexToPhysicalPoint((i, j, k))
        assert np.allclose(np.array(lps) * [-1, -1, 1], ras, atol=1e-3)
        assert image.GetPixel(i, j, k) == array[i, j, k]


def test_qform_alone_is_used(tmp_path: Path) -> None:
    affine = LPS_TO_RAS @ random_matrix(3)
    image = nibabel.Nifti1Image(np.zeros((5, 6, 7), np.int16), None)
    image.set_qform(affine, code=1)
    image.header["sform_code"] = 0
    nibabel.save(image, tmp_path / "q.nii")
    matrix = ijk_to_lps(read_volume(tmp_path / "q.nii", "ct").image)
    assert np.allclose(LPS_TO_RAS @ matrix, affine, atol=1e-3)


def test_sform_wins_over_a_different_qform_and_says_so(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((5, 6, 7), np.int16), None)
    sform = np.diag([2.0, 2.0, 2.0, 1.0])
    other = sform.copy()
    other[:3, 3] = 40.0
    image.set_qform(other, code=1)
    image.set_sform(sform, code=1)
    nibabel.save(image, tmp_path / "both.nii.gz")
    volume = read_volume(tmp_path / "both.nii.gz", "ct")
    assert np.allclose(volume.image.GetOrigin(), 0.0)
    assert "disagree by up to 40.0 mm" in volume.notes[0]


def test_missing_orientation_is_noted(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((5, 6, 7), np.int16), None)
    image.header["qform_code"] = image.header["sform_code"] = 0
    image.header["pixdim"][1:4] = (2, 3, 4)
    nibabel.save(image, tmp_path / "none.nii")
    volume = read_volume(tmp_path / "none.nii", "ct")
    assert volume.image.GetSpacing() == (2.0, 3.0, 4.0)
    assert "no orientation" in volume.notes[0]


def test_sheared_nifti_is_resampled_in_place(tmp_path: Path) -> None:
    # A ramp is reproduced exactly by linear interpolation, so place is measured by value.
    shear = np.eye(4)
    shear[:3, :3] = [[1.5, 0, 0], [0, 1.5, 0.9], [0, 0, 2.0]]
    shear[:3, 3] = [10, -20, 30]
    index = np.stack(np.meshgrid(*[np.arange(n) for n in (20, 24, 18)], indexing="ij"), -1)
    ras = index @ shear[:3, :3].T + shear[:3, 3]
    gradient = np.array([3.0, -2.0, 5.0])
    path = save_nifti(tmp_path / "sheared.nii.gz", (ras @ gradient).astype(np.float32), shear)
    volume = read_volume(path, "ct")
    assert "sheared by 24.2 degrees" in volume.notes[0]
    to_index = np.linalg.inv(shear)
    size = np.array(volume.image.GetSize())
    checked = 0
    for corner in np.random.default_rng(0).integers(0, size, (400, 3)):
        lps = np.array(volume.image.TransformIndexToPhysicalPoint(corner.tolist()))
        point = apply_matrix(to_index, (lps * [-1, -1, 1])[np.newaxis])[0]
        if np.all(point >= 0) and np.all(point <= np.array((20, 24, 18)) - 1):
            value = volume.image.GetPixel(*corner.tolist())
            assert value == pytest.approx((lps * [-1, -1, 1]) @ gradient, abs=0.01)
            checked += 1
    assert checked > 50


def test_sheared_grid_keeps_the_volume() -> None:
    matrix = np.eye(4)
    matrix[0, 2] = 0.4
    array = np.ones((10, 10, 10), np.uint8)
    image, resampled = orthogonal_image(array, matrix, nearest=True)
    assert resampled
    voxels = int(np.count_nonzero(sitk.GetArrayFromImage(image)))
    assert voxels * np.prod(image.GetSpacing()) == pytest.approx(1000, rel=0.03)
    assert shear_degrees(matrix) == pytest.approx(21.8, abs=0.1)
    assert not orthogonal_image(array, np.eye(4))[1]


def test_scaled_integers(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4))
    image.header.set_slope_inter(2.0, -1024.0)
    nibabel.save(image, tmp_path / "scaled.nii")
    stored = nibabel.load(tmp_path / "scaled.nii")
    volume = read_volume(tmp_path / "scaled.nii", "ct")
    assert np.allclose(sitk.GetArrayFromImage(volume.image).T, stored.get_fdata())
    assert volume.image.GetPixelID() == sitk.sitkInt16


def test_big_endian_and_nifti_2(tmp_path: Path) -> None:
    array = np.arange(210, dtype=">i2").reshape(5, 6, 7)
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4), header), tmp_path / "big.nii")
    nibabel.save(nibabel.Nifti2Image(array.astype("<i2"), np.eye(4)), tmp_path / "two.nii.gz")
    for name in ("big.nii", "two.nii.gz"):
        image = read_volume(tmp_path / name, "ct").image
        assert np.array_equal(sitk.GetArrayFromImage(image).T, array)
        assert image.GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)


def test_header_and_image_pair(tmp_path: Path) -> None:
    array = np.arange(210, dtype=np.int16).reshape(5, 6, 7)
    nibabel.save(nibabel.Nifti1Pair(array, np.eye(4)), tmp_path / "pair.hdr")
    for name in ("pair.hdr", "pair.img"):
        volume = read_volume(tmp_path / name, "ct")
        assert np.array_equal(sitk.GetArrayFromImage(volume.image).T, array)
        assert {f.name for f in volume.files} == {"pair.hdr", "pair.img"}


def test_detached_headers_hash_their_voxels(tmp_path: Path) -> None:
    image = make_image(np.eye(4))
    for name in ("a.mhd", "a.nhdr"):
        sitk.WriteImage(image, str(tmp_path / name))
        volume = read_volume(tmp_path / name, "ct")
        assert len(volume.files) == 2
        hashes = sorted(hashlib.sha256(f.read_bytes()).hexdigest() for f in volume.files)
        assert volume.sha256 == hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def test_hash_is_that_of_the_file(tmp_path: Path) -> None:
    write_image(make_image(np.eye(4)), tmp_path / "a.nrrd")
    volume = read_volume(tmp_path / "a.nrrd", "ct")
    assert volume.sha256 == hashlib.sha256((tmp_path / "a.nrrd").read_bytes()).hexdigest()
    assert volume.unit == "HU"


def test_a_single_frame_of_four_dimensions_is_a_volume(tmp_path: Path) -> None:
    array = np.arange(210, dtype=np.int16).reshape(5, 6, 7, 1)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([2, 3, 4, 1])), tmp_path / "one.nii")
    image = read_volume(tmp_path / "one.nii", "ct").image
    assert image.GetSize() == (5, 6, 7)
    assert image.GetSpacing() == (2.0, 3.0, 4.0)
    sitk.WriteImage(sitk.JoinSeries([make_image(random_matrix(5))]), str(tmp_path / "one.nrrd"))
    again = read_volume(tmp_path / "one.nrrd", "ct").image
    assert grid_of(again).matches(grid_of(make_image(random_matrix(5))))


def test_label_names_in_the_header(shared_data: Path) -> None:
    path = shared_data / "totalsegmentator_example" / "vertebrae_total.nii.gz"
    names = read_nifti_header(path).label_names
    assert names[27] == "vertebrae_L5"
    assert names[26] == "vertebrae_S1"


@pytest.mark.parametrize("suffix", FORMATS)
def test_writing_is_reproducible_and_leaves_nothing_behind(suffix: str, tmp_path: Path) -> None:
    image = make_image(random_matrix(1))
    first, second = tmp_path / f"first.{suffix}", tmp_path / f"second.{suffix}"
    write_image(image, first)
    write_image(image, second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [first.name, second.name]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_image(make_image(np.eye(4)), path)
    before = path.read_bytes()
    sheared = make_image(np.eye(4))
    sheared.SetDirection((1, 0, 0.5, 0, 1, 0, 0, 0, 1))
    with pytest.raises(InputError, match="cannot be written"):
        write_image(sheared, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_unknown_extension_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.jpg"):
        write_image(make_image(np.eye(4)), tmp_path / "a.jpg")


def _empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _text(path: Path) -> Path:
    path.write_text("hello " * 200, encoding="utf-8")
    return path


def _cut(path: Path, share: float = 0.6) -> Path:
    write_image(make_image(np.eye(4)), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def _spoilt_gzip(path: Path) -> Path:
    write_image(make_image(np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))
    return path


def _header_byte(path: Path, offset: int, content: bytes) -> Path:
    write_image(make_image(np.eye(4)), path)
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(bytes(data))
    return path


def _zero_matrix(path: Path) -> Path:
    image = nibabel.Nifti1Image(np.zeros((5, 6, 7), np.int16), np.eye(4))
    content = bytearray(image.to_bytes())
    content[280:312] = bytes(32)  # the first two rows of the sform
    path.write_bytes(gzip.compress(bytes(content)))
    return path


def _four(path: Path) -> Path:
    array = np.zeros((5, 6, 7, 3), np.int16)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    return path


def _complex(path: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7), np.complex64), np.eye(4)), path)
    return path


def _vector(path: Path) -> Path:
    sitk.WriteImage(sitk.Compose([make_image(np.eye(4))] * 3), str(path))
    return path


def _picture(path: Path) -> Path:
    sitk.WriteImage(sitk.Image(20, 20, sitk.sitkFloat32), str(path))
    return path


def _lonely_header(path: Path) -> Path:
    sitk.WriteImage(make_image(np.eye(4)), str(path))
    path.with_suffix(".raw").unlink()
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    _text(path / "readme.txt")
    return path


BAD_FILES: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "missing": (lambda p: p, "none.nii.gz", "does not exist"),
    "empty": (_empty, "empty.nii.gz", "is empty"),
    "text as nifti": (_text, "text.nii.gz", "not a NIfTI file"),
    "text as nrrd": (_text, "text.nrrd", "cannot be read"),
    "text as metaimage": (_text, "text.mha", "cannot be read"),
    "text as dicom": (_text, "text.dcm", "DICOM"),
    "other format": (_text, "report.docx", "'.docx' is not an image format"),
    "folder without images": (_folder, "folder", "holds no DICOM images"),
    "cut nii": (_cut, "cut.nii", "cut off"),
    "cut nii.gz": (_cut, "cut.nii.gz", "cannot be read"),
    "cut nrrd": (_cut, "cut.nrrd", "cannot be read"),
    "cut header": (lambda p: _cut(p, 0.1), "head.nii", "not a NIfTI file"),
    "spoilt gzip": (_spoilt_gzip, "spoilt.nii.gz", "cannot be read"),
    "broken magic": (lambda p: _header_byte(p, 344, b"xxxx"), "m.nii", "not a NIfTI file"),
    "negative size": (
        lambda p: _header_byte(p, 42, (-5).to_bytes(2, "little", signed=True)),
        "n.nii",
        "not a NIfTI file",
    ),
    "zero matrix": (_zero_matrix, "zero.nii.gz", "orientation in the NIfTI header"),
    "several frames": (_four, "four.nii.gz", "series of 3 volumes"),
    "complex": (_complex, "complex.nii", "one number per voxel"),
    "colour": (_vector, "colour.nrrd", "one number per voxel"),
    "picture": (_picture, "picture.nii", "2D picture"),
    "picture nrrd": (_picture, "picture.nrrd", "2D picture"),
    "header without voxels": (_lonely_header, "lonely.mhd", "lonely.raw"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_get_one_sentence(case: str, tmp_path: Path) -> None:
    make, name, words = BAD_FILES[case]
    path = make(tmp_path / name)
    with pytest.raises(InputError) as caught:
        read_volume(path, "ct")
    message = str(caught.value)
    assert words in message
    assert name in message
    assert "\n" not in message


def test_images_in_memory() -> None:
    image = make_image(np.eye(4))
    volume = volume_from_image(image, "spect", unit="Bq/ml")
    assert volume.image.GetPixelID() == sitk.sitkFloat32
    assert volume.acquisition.units == volume.unit == "Bq/ml"
    assert volume.name == "the SPECT"
    with pytest.raises(InputError, match="the CT: a single 2D picture"):
        volume_from_image(sitk.Image(5, 5, sitk.sitkInt16), "ct")


def test_real_pir_oriented_ct(shared_data: Path) -> None:
    path = shared_data / "tptbox_L2-L4" / "sub-ct_label-22_ct.nii.gz"
    volume = read_volume(path, "ct")
    assert nibabel.aff2axcodes(LPS_TO_RAS @ ijk_to_lps(volume.image)) == ("P", "I", "R")
    assert np.array_equal(
        sitk.GetArrayFromImage(volume.image).T, np.asarray(nibabel.load(path).dataobj)
    )
