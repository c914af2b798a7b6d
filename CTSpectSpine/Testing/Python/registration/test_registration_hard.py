"""What scanners deliver: contrast, hot organs, other tracers, attenuation maps, short fields."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from simulated_pair import FWHM_TO_SIGMA, SPACING, Pair, make_pair, with_values

from CTSpectSpineLib.geometry import ijk_to_lps, image_from_array, inverse, transform_matrix
from CTSpectSpineLib.model import Registration
from CTSpectSpineLib.phantom.scanner.attenuation import attenuated
from CTSpectSpineLib.registration import quality, register, registration_record
from CTSpectSpineLib.registration.attenuation import escaping_share, looks_uncorrected, weakened
from CTSpectSpineLib.registration.column import along_column
from CTSpectSpineLib.registration.compare import Comparison
from CTSpectSpineLib.registration.prepare import about_bone, ct_maps, spect_map, typical_bone
from CTSpectSpineLib.volumes import Acquisition, Volume, share_frame


def test_contrast_in_heart_and_aorta_is_no_bone() -> None:
    """Heart and aorta as bright as dense bone; vertebrae with shells and marrow beside them."""
    shape = (80, 60, 70)
    k, j, i = (axis * SPACING for axis in np.indices(shape, dtype=float))
    rng = np.random.default_rng(2)
    hu = np.full(shape, 40.0)
    heart = np.sqrt((k - 120) ** 2 + (j - 55) ** 2 + (i - 105) ** 2) < 40
    aorta = np.hypot(i - 78, j - 108) < 12
    hu[heart | aorta] = 380.0
    bodies = np.zeros(shape, dtype=bool)
    for level in range(7):
        inside = (np.hypot((i - 105) / 22, (j - 130) / 16) < 1) & (np.abs(k - 20 - 33 * level) < 12)
        marrow = (np.hypot((i - 105) / 18, (j - 130) / 12) < 1) & (np.abs(k - 20 - 33 * level) < 9)
        hu[inside], hu[marrow] = 500.0, 150.0
        bodies |= inside
    hu += rng.normal(0, 20, shape)
    maps = ct_maps(image_from_array(hu.astype(np.int16), np.diag([SPACING, SPACING, SPACING, 1])))
    assert maps.channels.shape[-1] == 5
    bone = maps.bone
    assert bone[heart].mean() < 0.25
    assert bone[aorta & ~heart].mean() < 0.25
    usual = np.clip((hu - 110) / 190, 0, 1)
    assert bone[bodies].mean() > 0.8 * usual[bodies].mean()


def test_typical_bone_does_not_follow_a_bladder(pair: Pair) -> None:
    values = sitk.GetArrayFromImage(pair.spect)
    usual = typical_bone(values, np.array([4.42] * 3))
    values[2:16, 18:32, 22:38] = 40.0 * usual
    assert typical_bone(values, np.array([4.42] * 3)) == pytest.approx(usual, rel=0.15)


def _with_ball(pair: Pair, centre: tuple[int, int, int], radius: float, times: float) -> sitk.Image:
    """The SPECT with a hot ball, blurred as the scanner does; centre (k, j, i) in voxels."""
    values = sitk.GetArrayFromImage(pair.spect)
    bone = float(np.percentile(values, 97))
    k, j, i = np.indices(values.shape)
    away = np.sqrt((k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2) * 4.42
    ball = np.where(away < radius, times * bone, 0.0)
    return with_values(
        pair.spect, (values + ndimage.gaussian_filter(ball, 10 * FWHM_TO_SIGMA / 4.42)).astype("f4")
    )


@pytest.mark.parametrize(
    ("centre", "radius", "times"), [((6, 14, 30), 32.0, 30.0), ((40, 25, 2), 8.0, 120.0)]
)
def test_hot_organs_are_harmless(
    pair: Pair, centre: tuple[int, int, int], radius: float, times: float
) -> None:
    """A bladder, and an injection site in an arm."""
    result = register(pair.ct, _with_ball(pair, centre, radius, times))
    assert pair.errors(result.transform).max() < 1.5
    assert result.quality == "good", result.reasons


def _density(pair: Pair) -> sitk.Image:
    """Attenuation map of the CT, where the SPECT lies."""
    mu = sitk.Clamp(sitk.Cast(pair.ct, sitk.sitkFloat32) * 0.00015 + 0.15, sitk.sitkFloat32, 0, 1)
    blurred = sitk.SmoothingRecursiveGaussian(mu, 3.0)
    return sitk.Resample(blurred, pair.spect, pair.truth.GetInverse(), sitk.sitkLinear, 0.0)


def test_attenuation_map_is_named(pair: Pair) -> None:
    result = register(pair.ct, _density(pair))
    assert result.quality == "failed"
    assert "attenuation map" in result.reasons[0]
    _states_no_error(result)


def test_tracer_that_bone_does_not_take_up_is_named(pair: Pair) -> None:
    """Soft tissue as active as bone, with hot organs."""
    density = sitk.GetArrayFromImage(_density(pair))
    rng = np.random.default_rng(5)
    body = ndimage.gaussian_filter((density > 0.1).astype(float), 1.0)
    uneven = 1 + 0.8 * ndimage.gaussian_filter(rng.standard_normal(body.shape), 3) * 10
    other = rng.poisson(60 * body * np.clip(uneven, 0.2, None)).astype(np.float32)
    result = register(pair.ct, with_values(pair.spect, other))
    assert result.quality == "failed"
    assert any("no bone SPECT" in reason for reason in result.reasons)
    _states_no_error(result)


def _states_no_error(result: Registration) -> None:
    assert math.isinf(result.expected_error_mm)
    assert result.stated_error_mm is None
    record = registration_record(result)
    assert record["expected_error_mm"] is None
    json.dumps(record, allow_nan=False)
    assert not any("expected error" in reason for reason in result.reasons)


def test_another_size_is_named(pair: Pair) -> None:
    grown = sitk.Image(pair.spect)
    grown.SetSpacing([4.42 * 1.04] * 3)
    result = register(pair.ct, grown)
    assert result.quality != "good"
    assert any("another size" in reason for reason in result.reasons)


def test_few_levels_in_common_are_checked(pair: Pair) -> None:
    short = pair.spect[:, :, 20:42]
    result = register(pair.ct, short)
    assert result.quality != "good"
    assert any("fewer than about four levels" in reason for reason in result.reasons)


def test_missing_attenuation_correction_is_told(pair: Pair) -> None:
    """Even soft tissue about bone: weakened by depth, or as it is."""
    hu = sitk.GetArrayFromImage(pair.ct)
    levels = np.where(hu > 200, 1.0, np.where(hu > -300, 0.15, 0.0)).astype("f4")
    even = image_from_array(levels, ijk_to_lps(pair.ct))
    maps = ct_maps(pair.ct)
    share = escaping_share(maps)
    for activity, wanted in ((even, False), (attenuated(even, pair.ct), True)):
        blurred = sitk.SmoothingRecursiveGaussian(activity, 4.0)
        uptake = spect_map(sitk.Add(sitk.Multiply(blurred, 100.0), 0.01))
        assert uptake is not None
        found = looks_uncorrected(maps, share, uptake, np.eye(4))
        assert found == wanted
    everywhere = share.at_every(1, maps.valid.shape)
    middle = tuple(n // 2 for n in everywhere.shape)
    assert everywhere[middle] < 0.6 * everywhere[middle[0], 2, middle[2]]
    assert share.at_every(2, maps.valid.shape) == pytest.approx(everywhere[::2, ::2, ::2])


def test_documented_bounds_are_those_of_the_code() -> None:
    page = (Path(__file__).parents[4] / "docs" / "registration.md").read_text(encoding="utf-8")
    rows = [
        ("uptake of bone", quality.CONTRAST_CHECK, quality.CONTRAST_FAILED),
        ("share of the uptake pattern", quality.EXPLAINED_CHECK, quality.EXPLAINED_FAILED),
        ("the same at 10 mm", quality.DETAIL_CHECK, quality.DETAIL_FAILED),
        ("odds over the best", quality.LEVEL_CHECK, quality.LEVEL_FAILED),
        ("odds over the CT with left", quality.MIRROR_CHECK, quality.MIRROR_FAILED),
        ("odds over the CT with front", quality.TURNED_CHECK, quality.TURNED_FAILED),
        ("stretch", quality.STRAIN_CHECK, quality.STRAIN_FAILED),
        ("share of the skeleton", quality.RESTLESS_CHECK, quality.RESTLESS_FAILED),
        ("share of the bone", quality.OVERLAP_CHECK, None),
        ("height of the spine", quality.LEAST_COMMON_MM, None),
        ("distance from the scanner's", quality.FRAME_SHIFT_MM, None),
    ]
    for start, check, failed in rows:
        line = next(line for line in page.splitlines() if line.startswith(f"| {start}"))
        for cell, bound in zip(line.split("|")[2:4], (check, failed), strict=True):
            if bound is None:
                assert not cell.strip()
                continue
            found = re.search(r"[<>] (-?[\d.]+)( %)?", cell)
            assert found is not None, line
            assert float(found[1]) / (100 if found[2] else 1) == pytest.approx(bound), line


def test_weakened_maps_keep_their_field(pair: Pair) -> None:
    """Bone that hardly any photon leaves is still in the maps' box."""
    maps = ct_maps(pair.ct)
    share = np.ones(maps.valid.shape, dtype=np.float32)
    share[60:] = 0.05
    weak = weakened(maps, share)
    near = about_bone(maps, margin_mm=3.0).valid.shape
    assert about_bone(weak, margin_mm=3.0).valid.shape != near
    assert about_bone(weak, maps, margin_mm=3.0).valid.shape == near


def test_likelihood_ratio_is_honest_about_few_samples() -> None:
    """Two patches that agree say little, however far apart their margin; twenty say much."""
    few, many = Comparison(1.41, 2.0), Comparison(4.4, 20.0)
    assert few.log10_ratio < 0.6
    assert many.log10_ratio > 2.5
    assert Comparison(-4.4, 20.0).log10_ratio == -many.log10_ratio
    assert Comparison(0.0, 20.0).log10_ratio == 0.0


def test_movement_along_the_column_follows_its_curve() -> None:
    """A column on an arc moves onto itself."""
    angle = np.linspace(-0.5, 0.5, 101)
    arc = 300.0 * np.stack([0 * angle, 1 - np.cos(angle), np.sin(angle)], axis=1)
    moved = along_column(arc, (-100.0, 60.0), 30.0)
    assert moved is not None
    inside = arc[(arc[:, 2] > -100) & (arc[:, 2] < 60)]
    after = inside @ moved[:3, :3].T + moved[:3, 3]
    away = [float(np.linalg.norm(arc - point, axis=1).min()) for point in after]
    assert max(away) < 2.0
    assert np.linalg.norm(after - inside, axis=1) == pytest.approx(30.0, abs=1.0)
    straight = inside + np.array([0.0, 0.0, 30.0])
    assert max(float(np.linalg.norm(arc - point, axis=1).min()) for point in straight) > 4.0
    assert along_column(arc, (0.0, 1.0), 30.0) is None


def test_shared_frame_of_reference(pair: Pair) -> None:
    """The scanner's own alignment: a result far from it is to be checked."""

    def volume(frame: str) -> Volume:
        return Volume(pair.ct, "ct", "HU", acquisition=Acquisition(frame_of_reference=frame))

    assert share_frame(volume("1.2.3"), volume("1.2.3"))
    assert not share_frame(volume("1.2.3"), volume("1.2.4"))
    assert not share_frame(volume(""), volume(""))
    near = register(pair.ct, pair.spect, same_frame=True)
    assert near.quality == "good", near.reasons
    far = make_pair(11, (60.0, -8.0, 15.0))
    result = register(far.ct, far.spect, same_frame=True)
    assert result.quality == "check"
    assert any("frame of reference" in reason for reason in result.reasons)
    assert np.abs(inverse(result.matrix) @ transform_matrix(far.truth) - np.eye(4)).max() < 2.0
