"""Registration against known transforms, and what it says where there is nothing to find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.geometry import (
    apply_matrix,
    ijk_to_lps,
    image_centre_mm,
    image_from_array,
    transform_matrix,
)
from CTSpectSpineLib.model import FloatArray, Registration
from CTSpectSpineLib.progress import Progress
from CTSpectSpineLib.registration import register, registration_record
from CTSpectSpineLib.registration.prepare import CtMaps, ct_maps, halved, spect_map
from CTSpectSpineLib.registration.refine import Level, measure
from CTSpectSpineLib.registration.sampling import mirrored, sample, sampled_maps
from CTSpectSpineLib.registration.search import global_search, pose_distance, rotation_matrix

SPACING = 3.0
SHAPE = (76, 60, 76)
FWHM_TO_SIGMA = 1 / 2.3548


@dataclass(frozen=True)
class Pair:
    ct: sitk.Image
    spect: sitk.Image
    truth: sitk.Euler3DTransform
    joints: FloatArray

    def errors(self, transform: sitk.Transform) -> FloatArray:
        """Distance at the joints between a transform and the truth, mm."""
        found = apply_matrix(transform_matrix(transform), self.joints)
        errors: FloatArray = np.linalg.norm(
            found - apply_matrix(transform_matrix(self.truth), self.joints), axis=1
        )
        return errors


def _patient(seed: int, pitch: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """HU, activity and joint centres (index k, j, i) of a rough trunk with a spine.

    `pitch` is the distance of the vertebrae in mm.

    It is not symmetric, as patients are not: a curved column, ribs of different height and
    iliac wings of different size.
    """
    rng = np.random.default_rng(seed)
    k, j, i = np.indices(SHAPE).astype(float)
    k, j, i = k * SPACING, j * SPACING, i * SPACING
    hu = np.full(SHAPE, -1000.0)
    hu[((i - 112) / 105) ** 2 + ((j - 90) / 80) ** 2 < 1] = -90.0
    hu[((i - 112) / 95) ** 2 + ((j - 90) / 70) ** 2 < 1] = 40.0
    bone = np.zeros(SHAPE, bool)
    joints = []
    for level in range(7):
        z = 20 + pitch * level + rng.normal(0, 1.5)
        x = 112 + 6 * np.sin(level / 2.0 + seed)
        y = 115 + 10 * np.cos(level / 1.7)
        body = (((i - x) / 23) ** 2 + ((j - y) / 17) ** 2 < 1) & (np.abs(k - z) < 12)
        spinous = (np.abs(i - x) < 4) & (np.abs(j - y - 36) < 14) & (np.abs(k - z + 6) < 8)
        wings = (np.abs(i - x - 2) < 36) & (np.abs(j - y - 20) < 5) & (np.abs(k - z) < 5)
        facets = (np.abs(np.abs(i - x) - 16) < 7) & (np.abs(j - y - 24) < 6)
        bone |= body | spinous | wings | (facets & (np.abs(k - z + 16) < 7))
        joints.append([z + 16, y, x])
        joints.append([z + 16, y + 24, x + 16])
    for side, height in ((-1, 60.0), (1, 72.0)):
        rib = np.abs(np.hypot((i - 112) / 88, (j - 90) / 62) - 1) < 0.05
        for n in range(3):
            slope = height + 45 * n + 0.25 * (j - 90)
            bone |= rib & (np.abs(k - slope) < 5) & (side * (i - 112) > 25)
    wing = ((i - 60) / 30) ** 2 + ((j - 110) / 25) ** 2 + ((k - 12) / 26) ** 2
    bone |= (wing < 1) & (wing > 0.6)
    hu[bone] = 350.0
    hu += rng.normal(0, 15, SHAPE)
    activity = np.where(bone, 1.0, np.where(hu > -300, 0.12, 0.0))
    hot = np.array(joints[5])
    activity[(k - hot[0]) ** 2 + (j - hot[1]) ** 2 + (i - hot[2]) ** 2 < 9**2] = 4.0
    activity *= np.exp(0.1 * np.sin(i / 40) * np.cos(k / 50))
    return hu, activity, np.array(joints) / SPACING


def make_pair(
    seed: int,
    translation: tuple[float, float, float] = (12.0, -8.0, 15.0),
    rotation: tuple[float, float, float] = (6.0, -3.0, 4.0),
    pitch: float = 32.0,
) -> Pair:
    """CT and SPECT (10 mm, 4.42 mm voxels, counting noise) with a known transform."""
    hu, activity, joints = _patient(seed, pitch)
    grid = np.diag([-SPACING, -SPACING, SPACING, 1.0])
    grid[:3, 3] = (110, 80, -300)
    ct = image_from_array(hu.astype(np.int16), grid)
    truth = sitk.Euler3DTransform()
    truth.SetCenter(image_centre_mm(ct).tolist())
    truth.SetRotation(*np.deg2rad(rotation).tolist())
    truth.SetTranslation(translation)
    blurred = ndimage.gaussian_filter(activity, 10 * FWHM_TO_SIGMA / SPACING)
    source = image_from_array(blurred.astype(np.float32), grid)
    target = sitk.Image([60, 50, 60], sitk.sitkFloat32)
    target.SetSpacing([4.42] * 3)
    half = 4.42 * (np.array([60, 50, 60]) - 1) / 2
    target.SetOrigin((image_centre_mm(ct) - half).tolist())
    clean = sitk.GetArrayFromImage(
        sitk.Resample(source, target, truth.GetInverse(), sitk.sitkLinear, 0.0)
    )
    rng = np.random.default_rng(seed + 1000)
    noisy = ndimage.gaussian_filter(rng.poisson(clean * 30.0) * 10.0, 0.6)
    spect = sitk.GetImageFromArray(noisy.astype(np.float32))
    spect.CopyInformation(target)
    points = apply_matrix(ijk_to_lps(ct), joints[:, ::-1])
    return Pair(ct, spect, truth, points)


@pytest.fixture(scope="module")
def pair() -> Pair:
    return make_pair(11)


@pytest.fixture(scope="module")
def result(pair: Pair) -> Registration:
    return register(pair.ct, pair.spect, threads=1)


@pytest.fixture
def itk_threads() -> Iterator[None]:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    yield
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def with_values(image: sitk.Image, values: np.ndarray) -> sitk.Image:
    result = sitk.GetImageFromArray(np.ascontiguousarray(values))
    result.CopyInformation(image)
    return result


def test_known_transform_is_found(pair: Pair, result: Registration) -> None:
    errors = pair.errors(result.transform)
    assert errors.max() < 1.0
    assert result.quality == "good", result.reasons
    assert result.metric_end > result.metric_start
    assert errors.mean() < 3 * result.expected_error_mm < 3.0
    assert result.transform.GetCenter() == pytest.approx(image_centre_mm(pair.ct), abs=1e-5)
    assert any("correction is large" in reason for reason in result.reasons)


@pytest.mark.parametrize(
    ("seed", "translation", "rotation"),
    [(12, (0, 0, 0), (0, 0, 0)), (13, (-25, 22, 25), (-12, 11, 12))],
    ids=["none", "large"],
)
def test_from_no_to_large_misalignment(
    seed: int, translation: tuple[float, float, float], rotation: tuple[float, float, float]
) -> None:
    case = make_pair(seed, translation, rotation)
    result = register(case.ct, case.spect)
    assert case.errors(result.transform).max() < 1.0
    assert result.quality == "good", result.reasons
    large = any("correction is large" in reason for reason in result.reasons)
    assert large == any(translation)


def test_frames_of_reference_far_apart(pair: Pair) -> None:
    """Two scanners may put their origins anywhere."""
    shift = np.array([400.0, -250.0, 900.0])
    moved = sitk.Image(pair.spect)
    moved.SetOrigin((np.array(moved.GetOrigin()) + shift).tolist())
    result = register(pair.ct, moved)
    back = sitk.TranslationTransform(3, (-shift).tolist())
    assert pair.errors(sitk.CompositeTransform([back, result.transform])).max() < 1.0


def test_axis_order_does_not_matter(pair: Pair, result: Registration) -> None:
    """The same images stored with other axes give the same transform."""
    ct = sitk.Flip(sitk.PermuteAxes(pair.ct, [2, 0, 1]), [True, False, True])
    spect = sitk.Flip(sitk.PermuteAxes(pair.spect, [0, 2, 1]), [False, False, True])
    turned = register(ct, spect)
    assert pair.errors(turned.transform) == pytest.approx(pair.errors(result.transform), abs=1e-4)
    assert turned.quality == result.quality


def test_voxel_size_does_not_matter(pair: Pair) -> None:
    fine = sitk.Expand(pair.ct, [2, 2, 2])
    assert pair.errors(register(fine, pair.spect).transform).max() < 1.0


def test_scale_of_spect_does_not_matter(pair: Pair, result: Registration) -> None:
    scaled = register(pair.ct, pair.spect * 1e-3)
    assert pair.errors(scaled.transform) == pytest.approx(pair.errors(result.transform), abs=0.05)
    assert scaled.quality == result.quality


def test_initial_is_refined_locally(pair: Pair) -> None:
    near = sitk.Euler3DTransform(pair.truth)
    near.SetTranslation(np.add(pair.truth.GetTranslation(), [6, -5, 7]).tolist())
    result = register(pair.ct, pair.spect, initial=near)
    assert pair.errors(result.transform).max() < 1.0
    assert result.quality == "good", result.reasons


def test_initial_replaces_the_search(pair: Pair) -> None:
    """From a start 90 mm away the global search would find the truth; a local one cannot."""
    far = sitk.Euler3DTransform(pair.truth)
    far.SetTranslation(np.add(pair.truth.GetTranslation(), [0, 0, 90]).tolist())
    result = register(pair.ct, pair.spect, initial=far)
    moved = apply_matrix(result.matrix, pair.joints)
    start = apply_matrix(transform_matrix(far), pair.joints)
    assert np.linalg.norm(moved - start, axis=1).mean() < 60
    assert pair.errors(result.transform).mean() > 20
    assert result.quality != "good"


def test_same_result_whatever_the_threads(
    pair: Pair, result: Registration, itk_threads: None
) -> None:
    one = result
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(4)
    four = register(pair.ct, pair.spect, threads=4)
    assert one.transform.GetParameters() == four.transform.GetParameters()
    assert one.expected_error_mm == four.expected_error_mm
    assert (one.metric_end, one.quality, one.reasons) == (
        four.metric_end,
        four.quality,
        four.reasons,
    )


def test_noise_fails(pair: Pair) -> None:
    rng = np.random.default_rng(3)
    noise = rng.poisson(20.0, size=sitk.GetArrayViewFromImage(pair.spect).shape)
    result = register(pair.ct, with_values(pair.spect, noise.astype(np.float32)))
    assert result.quality == "failed"
    assert "do not seem to show the same body part" in result.reasons[0]


def test_constant_spect_fails(pair: Pair) -> None:
    flat = with_values(pair.spect, np.full_like(sitk.GetArrayFromImage(pair.spect), 7.0))
    result = register(pair.ct, flat)
    assert result.quality == "failed"
    assert "constant" in result.reasons[0]
    record = registration_record(result)
    assert record["expected_error_mm"] is None
    assert "NaN" not in json.dumps(record, allow_nan=False)


@pytest.mark.parametrize(("axes", "name"), [((2,), "mirrored"), ((0, 1), "upside down")])
def test_turned_spect_is_not_good(pair: Pair, axes: tuple[int, ...], name: str) -> None:
    turned = np.flip(sitk.GetArrayFromImage(pair.spect), axis=axes)
    result = register(pair.ct, with_values(pair.spect, turned))
    assert result.quality != "good", name
    if name == "mirrored":
        assert any("left and right swapped" in reason for reason in result.reasons)


def test_other_patient_fits_less(pair: Pair, result: Registration) -> None:
    """Another body in the SPECT: smaller vertebrae, and another curve."""
    other = register(pair.ct, make_pair(15, pitch=29.0).spect)
    assert other.metric_end < 0.85 * result.metric_end
    assert other.quality != "good", other.reasons


def test_progress_rises_and_cancels(pair: Pair) -> None:
    seen: list[Progress] = []
    register(pair.ct, pair.spect, initial=pair.truth, progress=seen.append)
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {p.stage for p in seen} == {"register"}

    def cancel(progress: Progress) -> None:
        if progress.fraction > 0.1:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        register(pair.ct, pair.spect, progress=cancel)


def test_bad_images_are_named(pair: Pair) -> None:
    with pytest.raises(InputError, match="CT shows no bone"):
        register(pair.ct * 0 - 1000, pair.spect)
    with pytest.raises(InputError, match="SPECT has 60 x 50 x 1 voxels"):
        register(pair.ct, pair.spect[:, :, :1])
    with pytest.raises(InputError, match="CT is not a scalar 3D volume"):
        register(pair.ct[:, :, 0], pair.spect)
    stretched = sitk.AffineTransform(3)
    stretched.Scale(1.1)
    with pytest.raises(InputError, match=r"initial transform: .* not rigid"):
        register(pair.ct, pair.spect, initial=stretched)


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
    values, slopes, inside = sample(maps, apply_matrix(grid, ijk))
    assert inside.all()
    assert values[:, :2] == pytest.approx(ijk @ per_voxel.T, abs=1e-5)
    expected = per_voxel @ np.linalg.inv(grid[:3, :3])
    assert slopes[:, :2] == pytest.approx(np.broadcast_to(expected, (50, 2, 3)), abs=1e-6)


def test_mirrored_twice_is_the_same(pair: Pair) -> None:
    maps = sampled_maps(ct_maps(pair.ct), 20.0)
    twice = mirrored(mirrored(maps))
    assert np.array_equal(twice.table, maps.table)
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
    assert centre_half == pytest.approx(centre, abs=0.01)


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
