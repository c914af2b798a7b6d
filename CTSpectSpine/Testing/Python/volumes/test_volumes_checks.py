"""Nonsense is stopped with one sentence; good volumes pass, whatever their unit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.volumes import (
    Acquisition,
    Volume,
    check_ct,
    check_inputs,
    check_pair,
    check_spect,
    read_volume,
)


def body(shape: tuple[int, int, int] = (24, 40, 40)) -> tuple[np.ndarray, np.ndarray]:
    """Masks of a cylinder of soft tissue and of a column of bone in it."""
    _, j, i = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return i**2 + j**2 < 0.7, i**2 + (j - 0.3) ** 2 < 0.03


def ct_array(seed: int = 0) -> np.ndarray:
    tissue, bone = body()
    values = np.where(bone, 350.0, np.where(tissue, 40.0, -1000.0))
    return values + np.random.default_rng(seed).normal(0, 25, values.shape)


def spect_array(seed: int = 0, scale: float = 1.0) -> np.ndarray:
    tissue, bone = body()
    rate = np.where(bone, 60.0, np.where(tissue, 8.0, 0.3))
    return np.random.default_rng(seed).poisson(rate) * scale


def volume(
    array: np.ndarray,
    role: str,
    spacing: float = 4.0,
    offset: float = 0.0,
    name: str = "",
    sha: str = "",
    patient: str = "",
) -> Volume:
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = offset
    kind = np.int16 if role == "ct" and np.all(np.isfinite(array)) else np.float32
    return Volume(
        image_from_array(array.astype(kind), matrix),
        role,
        "",
        Path(name or f"my-{role}.nii.gz"),
        sha256=sha,
        acquisition=Acquisition(patient_digest=patient),
    )


CT, SPECT = volume(ct_array(), "ct"), volume(spect_array(), "spect")


def test_good_volumes_pass() -> None:
    assert check_inputs(CT, SPECT) == ()


@pytest.mark.parametrize("scale", [1.0, 0.01, 250.0])
def test_spect_in_any_unit_passes(scale: float) -> None:
    assert check_spect(volume(spect_array(scale=scale), "spect")) == ()


def test_low_counts_are_no_label_map() -> None:
    assert check_spect(volume(spect_array() // 10, "spect")) == ()


def test_real_ct_passes(shared_data: Path) -> None:
    for name in ("totalsegmentator_example/ct.nii.gz", "tptbox_L2-L4/sub-ct_label-22_ct.nii.gz"):
        assert check_ct(read_volume(shared_data / name, "ct")) == ()


def test_some_negative_values_are_a_warning() -> None:
    array = spect_array()
    array[:, :12] = -3.0
    assert "negative" in check_spect(volume(array, "spect"))[0]


def test_thick_slices_are_a_warning() -> None:
    assert "7.0 mm slices" in check_ct(volume(ct_array(), "ct", spacing=7.0))[0]


def blocks() -> np.ndarray:
    labels = np.zeros((24, 40, 40))
    labels[4:20, 10:30, 10:30] = np.arange(16)[:, None, None] // 4 + 26
    return labels


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    spoilt = array.astype(float)
    spoilt[12, 20, 20] = value
    return spoilt


BAD: dict[str, tuple[Callable[[], Volume], str]] = {
    "ct is a label map": (lambda: volume(blocks(), "ct"), "looks like a label map"),
    "ct is a spect": (lambda: volume(spect_array(), "ct"), "swapped"),
    "ct without intercept": (
        lambda: volume(np.maximum(ct_array() + 1024, 0), "ct"),
        "rescale intercept",
    ),
    "ct without bone": (
        lambda: volume(np.minimum(ct_array(), 150), "ct"),
        "is not a CT in HU",
    ),
    "ct of air": (lambda: volume(np.full((9, 9, 9), -1000.0), "ct"), "every voxel is -1000"),
    "ct with nan": (lambda: volume(with_value(ct_array(), np.nan), "ct"), "NaN"),
    "ct with infinity": (lambda: volume(with_value(ct_array(), np.inf), "ct"), "infinite"),
    "ct one slice": (lambda: volume(ct_array()[:1], "ct"), "single slice"),
    "ct four slices": (lambda: volume(ct_array()[:4], "ct"), "too few slices"),
    "ct in metres": (lambda: volume(ct_array(), "ct", spacing=0.004), "voxel size"),
    "ct in micrometres": (lambda: volume(ct_array(), "ct", spacing=4000.0), "voxel size"),
    "ct tiny": (lambda: volume(ct_array(), "ct", spacing=0.3), "too little for a joint"),
    "spect is a ct": (lambda: volume(ct_array(), "spect"), "looks like a CT"),
    "spect is a label map": (lambda: volume(blocks(), "spect"), "looks like a label map"),
    "spect zero": (lambda: volume(np.zeros((9, 9, 9)), "spect"), "every voxel is zero"),
    "spect constant": (lambda: volume(np.full((9, 9, 9), 3.0), "spect"), "every voxel is 3"),
    "spect negative": (lambda: volume(-spect_array(), "spect"), "negative values"),
    "spect with nan": (lambda: volume(with_value(spect_array(), np.nan), "spect"), "NaN"),
    "spect planar": (lambda: volume(spect_array()[5:6], "spect"), "single slice"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_volumes(case: str) -> None:
    make, words = BAD[case]
    bad = make()
    with pytest.raises(InputError) as caught:
        (check_ct if bad.role == "ct" else check_spect)(bad)
    message = str(caught.value)
    assert words in message
    assert str(bad.path) in message
    assert "\n" not in message


def test_float_ct_scaled_to_one_is_no_ct() -> None:
    scaled = volume((ct_array() + 1100) / 3000, "spect")
    with pytest.raises(InputError, match="not in HU"):
        check_ct(scaled)


def test_swapped_inputs() -> None:
    ct, spect = volume(spect_array(), "ct", name="a.nii"), volume(ct_array(), "spect", name="b.nii")
    with pytest.raises(InputError, match=r"a\.nii is given as CT but b\.nii looks like the CT"):
        check_inputs(ct, spect)


def test_same_image_twice() -> None:
    with pytest.raises(InputError, match="same image"):
        check_inputs(volume(ct_array(), "ct", sha="x"), volume(ct_array(), "spect", sha="x"))


def test_no_overlap_needs_a_transform() -> None:
    away = volume(spect_array(), "spect", offset=900.0)
    with pytest.raises(InputError, match="do not overlap in space"):
        check_pair(CT, away)
    assert check_pair(CT, away, placed=True) == ()


def test_little_overlap_is_a_warning() -> None:
    warnings = check_pair(CT, volume(spect_array(), "spect", offset=80.0))
    assert warnings == ("CT and SPECT overlap by only 80 x 80 x 16 mm.",)


def test_oblique_boxes_that_pass_each_other() -> None:
    """Their axis-parallel bounds overlap, the boxes do not."""
    angle = np.radians(45)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, :3] *= 4.0
    ct = volume(ct_array(), "ct")
    matrix[:2, 3] = [310.0, 60.0]
    spect = Volume(image_from_array(spect_array().astype(np.float32), matrix), "spect", "")
    with pytest.raises(InputError, match="do not overlap"):
        check_pair(ct, spect)


def test_different_patients_are_a_warning() -> None:
    ct, spect = volume(ct_array(), "ct", patient="a"), volume(spect_array(), "spect", patient="b")
    assert "patient ids" in check_pair(ct, spect)[0]
    same = volume(spect_array(), "spect", patient="a")
    assert check_pair(ct, same) == ()


def test_sizes_do_not_matter_to_the_verdict() -> None:
    """Thinning a large volume must not change what it looks like."""
    large = sitk.Expand(CT.image, [4, 3, 3])
    assert check_ct(Volume(large, "ct", "HU", Path("large.nii.gz"))) == ()
