"""The parts of the registration, and a real CT."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from simulated_pair import FWHM_TO_SIGMA, Pair, with_values

from CTSpectSpineLib.geometry import (
    apply_matrix,
    ijk_to_lps,
    image_centre_mm,
    transform_matrix,
)
from CTSpectSpineLib.model import FloatArray, Registration
from CTSpectSpineLib.registration import register, registration_record
from CTSpectSpineLib.registration.prepare import CtMaps, ct_maps, halved, spect_map
from CTSpectSpineLib.registration.refine import Level, measure
from CTSpectSpineLib.registration.sampling import mirrored, sample, sampled_maps
from CTSpectSpineLib.registration.search import global_search, pose_distance, rotation_matrix


def test_maps_follow_linear_fields_exactly() -> None:
    """Samples and gradients of linear maps on an oblique grid are the analytic ones."""
    per_voxel = np.array([[0.010, -0.006, 0.004], [0.0, 0.008, -0.012]])
    k, j, i = np.indices((40, 36, 44), dtype=np.float32)
    channels = np.stack([a * i + b * j + c * k for a, b, c in per_voxel], axis=-1)
    turned = np.linalg.qr(np.array([[3.0, 0.4, 0.2], [-0.3, 3.0, 0.5], [0.1, -0.6, 3.0]]))[0]
    grid = np.eye(4)
    grid[:3, :3] = turned @ np.diag([4.0, 3.5, 4.5])
    grid[:3, 3] = (-120.0, 85.0, 300.0)
    bone = np.concatenate([channels, channels], axis=-1).astype(np.float32)
    maps = sampled_maps(CtMaps(bone, np.ones(bone.shape[:3], dtype=bool), grid), 20.0)
    ijk = np.random.default_rng(4).uniform(14.0, 21.0, (50, 3))
    found = sample(maps, apply_matrix(grid, ijk))
    assert found.inside.all()
    share = np.random.default_rng(5).uniform(-1.0, 1.0, (4, 50))
    values, slope = found.values[:2].T, found.slope(share).T
    assert values == pytest.approx(ijk @ per_voxel.T, abs=1e-5)
    mixture = (share[:2] + share[2:]).T @ per_voxel
    expected = mixture @ np.linalg.inv(grid[:3, :3])
    assert slope == pytest.approx(expected, abs=1e-6)


def test_mirrored_twice_is_the_same(pair: Pair) -> None:
    maps = sampled_maps(ct_maps(pair.ct), 20.0)
    twice = mirrored(mirrored(maps))
    assert np.array_equal(twice.channels, maps.channels)
    assert twice.ijk_to_lps == pytest.approx(maps.ijk_to_lps, abs=1e-3)


def test_halved_maps_keep_their_place(pair: Pair) -> None:
    """Centre of mass of bone, in mm, and its amount."""

    def mass(bone: np.ndarray, matrix: FloatArray) -> tuple[float, FloatArray]:
        index = np.argwhere(bone > 0)
        weight = bone[tuple(index.T)]
        points = apply_matrix(matrix, index[:, ::-1].astype(float))
        return float(weight.sum()), (points * weight[:, None]).sum(axis=0) / weight.sum()

    maps = ct_maps(pair.ct)
    k, j, i = (2 * (n // 2) for n in maps.valid.shape)
    half = halved(maps)
    amount, centre = mass(maps.bone[:k, :j, :i], maps.ijk_to_lps)
    amount_half, centre_half = mass(half.bone, half.ijk_to_lps)
    assert 8 * amount_half == pytest.approx(amount, rel=1e-3)
    # The centre of a block is not quite that of the bone in it.
    assert centre_half == pytest.approx(centre, abs=0.1)


def test_search_comes_near_the_truth(pair: Pair) -> None:
    maps, uptake = ct_maps(pair.ct), spect_map(pair.spect)
    assert uptake is not None
    with ThreadPoolExecutor(1) as pool:
        best = global_search(maps, uptake, 3, pool)
    truth = np.linalg.inv(transform_matrix(pair.truth))
    nearest = min(pose_distance(c.spect_to_ct, truth, pair.joints.mean(0), 80.0) for c in best)
    assert nearest < 20
    assert [c.score for c in best] == sorted((c.score for c in best), reverse=True)


def test_fit_is_best_at_the_truth(pair: Pair) -> None:
    maps, uptake = sampled_maps(ct_maps(pair.ct), 10.0), spect_map(pair.spect)
    assert uptake is not None
    level = Level(fwhm_mm=10.0, smooth=False, points=8000, iterations=0)
    truth = np.linalg.inv(transform_matrix(pair.truth))
    best = measure(uptake, maps, truth, level)
    assert best is not None
    for axis in range(3):
        beside = truth.copy()
        beside[axis, 3] += 6.0
        worse = measure(uptake, maps, beside, level)
        assert worse is not None
        assert worse.explained < best.explained


def test_rotation_matrix_is_itks() -> None:
    transform = sitk.Euler3DTransform()
    transform.SetRotation(*np.deg2rad([10.0, -20.0, 30.0]).tolist())
    matrix = np.reshape(transform.GetMatrix(), (3, 3))
    assert rotation_matrix([10, -20, 30]) == pytest.approx(matrix, abs=1e-12)


def test_record_repeats_the_phantoms_options(result: Registration) -> None:
    record = registration_record(result)
    assert set(record) == {
        "method",
        "translation_mm",
        "rotation_deg",
        "metric_start",
        "metric_end",
        "expected_error_mm",
        "deformation_mm",
        "quality",
        "reasons",
        "seconds",
    }
    assert record["translation_mm"] == pytest.approx([12, -8, 15], abs=1.0)
    assert record["rotation_deg"] == pytest.approx([6, -3, 4], abs=0.6)
    json.dumps(record, allow_nan=False)


def _real_spect(
    ct: sitk.Image, labels: sitk.Image, truth: sitk.Transform, fwhm_mm: float
) -> sitk.Image:
    """SPECT of a real CT: labelled bone 1, other bone by HU, soft tissue 0.12, with noise."""
    hu, label = sitk.GetArrayFromImage(ct), sitk.GetArrayFromImage(labels)
    activity = np.where(hu > -300, 0.12, 0.0)
    activity[hu > 250] = 0.8
    activity[label > 0] = 1.0
    spacing = np.array(ct.GetSpacing())[::-1]
    blurred = ndimage.gaussian_filter(activity, fwhm_mm * FWHM_TO_SIGMA / spacing)
    source = with_values(ct, blurred.astype(np.float32))
    target = sitk.Image([96, 84, 92], sitk.sitkFloat32)
    target.SetSpacing([4.42] * 3)
    half = 4.42 * (np.array(target.GetSize()) - 1) / 2
    target.SetOrigin((image_centre_mm(ct) - half).tolist())
    clean = sitk.GetArrayFromImage(
        sitk.Resample(source, target, truth.GetInverse(), sitk.sitkLinear, 0.0)
    )
    rng = np.random.default_rng(5)
    noisy = ndimage.gaussian_filter(rng.poisson(clean * 30.0).astype(np.float32), 0.6)
    return with_values(target, noisy)


def test_real_ct(shared_data: Path) -> None:
    folder = shared_data / "totalsegmentator_example"
    ct = sitk.ReadImage(str(folder / "ct.nii.gz"))
    labels = sitk.ReadImage(str(folder / "vertebrae_total.nii.gz"))
    truth = sitk.Euler3DTransform()
    truth.SetCenter(image_centre_mm(ct).tolist())
    truth.SetRotation(*np.deg2rad([6.0, 6.0, 6.0]).tolist())
    truth.SetTranslation((12.0, -8.0, 15.0))
    spect = _real_spect(ct, labels, truth, 10.0)
    points = apply_matrix(
        ijk_to_lps(ct), np.argwhere(sitk.GetArrayViewFromImage(labels) > 0)[::50, ::-1] * 1.0
    )
    result = register(ct, spect)
    found = apply_matrix(result.matrix, points)
    errors = np.linalg.norm(found - apply_matrix(transform_matrix(truth), points), axis=1)
    assert errors.max() < 1.5
    assert result.quality == "good", result.reasons
