"""The phantom's SPECT scanner: resolution, movement, noise."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.special import erf
from spect_support import MOVED, centroid_mm, image

from CTSpectSpineLib.geometry import (
    FWHM_PER_SIGMA,
    apply_matrix,
    euler_transform,
    grid_of,
    image_centre_mm,
)
from CTSpectSpineLib.phantom.activity import assign_activity
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix, simulate_spect


@pytest.mark.parametrize("fwhm", [8.0, 10.0, 12.0])
@pytest.mark.parametrize("ct_spacing", [0.9, 1.5, 3.0])
def test_small_source_has_the_full_width_and_the_moved_position(fwhm, ct_spacing):
    n = round(120 / ct_spacing) | 1
    array = np.zeros((n, n, n), dtype=np.float32)
    wide = round(6 / ct_spacing)
    low = n // 2 + 3
    array[low : low + wide, low : low + wide, low - 6 : low - 6 + wide] = 1.0
    activity = image(array, ct_spacing)
    matrix = rigid_matrix(*MOVED, image_centre_mm(activity))
    spect = simulate_spect(activity, matrix, fwhm, 1e7, beyond="air", noise_gain=0)
    values = sitk.GetArrayFromImage(spect).astype(float)
    expected = apply_matrix(matrix, centroid_mm(activity, array)[None])[0]
    found = centroid_mm(spect, values)
    assert np.abs(found - expected).max() < 0.1
    # Variances add: that of the cube's voxel centres, the point spread, the SPECT voxel's box.
    kji = np.argwhere(values > 0)
    offsets = kji[:, ::-1] * 4.42 + np.array(spect.GetOrigin()) - found
    variance = np.average(offsets**2, axis=0, weights=values[values > 0])
    cube = (wide**2 - 1) / 12 * ct_spacing**2
    width = FWHM_PER_SIGMA * np.sqrt(variance - 4.42**2 / 12 - cube)
    assert width == pytest.approx(fwhm, rel=0.02)


def test_sphere_equals_the_analytic_blurred_sphere():
    """Against the closed form of a ball convolved with a Gaussian, at its centre."""
    spacing, radius, fwhm = 1.0, 12.0, 10.0
    r = np.linalg.norm(np.indices((101, 101, 101)) - 50.0, axis=0)
    activity = image(np.clip(radius + 0.5 - r, 0, 1).astype(np.float32), spacing)
    spect = simulate_spect(
        activity, np.eye(4), fwhm, 1e6, spacing_mm=2.0, beyond="air", noise_gain=0
    )
    values = sitk.GetArrayFromImage(spect)
    volume = 4 / 3 * np.pi * radius**3
    scale = values.sum() * spacing**3 / volume * 8  # counts per voxel at full activity
    s = fwhm / FWHM_PER_SIGMA
    a = radius / s
    analytic = erf(a / np.sqrt(2)) - np.sqrt(2 / np.pi) * a * np.exp(-(a**2) / 2)
    centre = spect.TransformPhysicalPointToIndex(image_centre_mm(activity).tolist())
    assert spect.GetPixel(centre) / scale == pytest.approx(analytic, abs=0.02)


def test_movement_follows_the_convention():
    centre = np.array([10.0, -20.0, 30.0])
    matrix = rigid_matrix((1, 2, 3), (0, 0, 90), centre)
    # 90 degrees about z turn x into y.
    moved = apply_matrix(matrix, centre[None] + [[5.0, 0.0, 0.0]])[0]
    assert moved == pytest.approx(centre + np.array([1.0, 7.0, 3.0]))
    euler = sitk.Euler3DTransform(centre.tolist(), *np.deg2rad([10.0, -7.0, 5.0]), (4.0, 5.0, 6.0))
    point = (3.0, 1.0, -8.0)
    mapped = apply_matrix(rigid_matrix((4, 5, 6), (10, -7, 5), centre), np.array([point]))[0]
    assert mapped == pytest.approx(euler.TransformPoint(point))


def test_transform_and_matrix_give_the_same_spect(anatomy):
    activity = assign_activity(anatomy, {}).image
    matrix = rigid_matrix(*MOVED, image_centre_mm(activity))
    a = simulate_spect(activity, matrix, counts=1e6)
    b = simulate_spect(activity, euler_transform(matrix), counts=1e6)
    assert np.allclose(sitk.GetArrayFromImage(a), sitk.GetArrayFromImage(b), atol=0.05)


def test_field_holds_the_moved_patient_and_does_not_follow_him(anatomy):
    activity = assign_activity(anatomy, {}).image
    centre = image_centre_mm(activity)
    matrix = rigid_matrix((60, -20, 35), (10, 5, -12), centre)
    spect = simulate_spect(activity, matrix, counts=1e6)
    corners = apply_matrix(matrix, grid_of(activity).corners_mm())
    field = grid_of(spect).corners_mm()
    assert np.all(corners > field.min(axis=0))
    assert np.all(corners < field.max(axis=0))
    assert image_centre_mm(spect) == pytest.approx(centre, abs=1e-6)
    whole = simulate_spect(activity, matrix, counts=1e6, size=(128, 128, 128))
    assert whole.GetSize() == (128, 128, 128)
    assert image_centre_mm(whole) == pytest.approx(centre, abs=1e-6)


def test_ct_faces_leave_no_edge_in_the_spect():
    """Tissue that fills the CT looks endless in the SPECT, and ends with ``beyond="air"``."""
    activity = image(np.ones((60, 60, 60), dtype=np.float32), 2.0)
    endless = sitk.GetArrayFromImage(simulate_spect(activity, np.eye(4), counts=1e6, noise_gain=0))
    assert endless.min() == pytest.approx(endless.max(), rel=1e-3)
    ending = sitk.GetArrayFromImage(
        simulate_spect(activity, np.eye(4), counts=1e6, noise_gain=0, beyond="air")
    )
    assert ending.min() < 0.01 * ending.max()


def uniform_spect(counts: float, seed: int = 0, gain: float = 1.0, size: int = 48) -> np.ndarray:
    activity = image(np.ones((40, 40, 40), dtype=np.float32), 4.42)
    spect = simulate_spect(
        activity, np.eye(4), counts=counts, size=(size, size, size), seed=seed, noise_gain=gain
    )
    return sitk.GetArrayFromImage(spect)[8:-8, 8:-8, 8:-8].astype(float)


def test_noise_keeps_the_mean_and_its_variance_is_the_mean():
    for counts in (2e6, 8e6, 3.2e7):
        truth = uniform_spect(counts, gain=0)
        noisy = np.stack([uniform_spect(counts, seed=seed) for seed in range(6)])
        assert noisy.mean() == pytest.approx(truth.mean(), rel=0.01)
        assert noisy.var() == pytest.approx(truth.mean(), rel=0.08)
        assert noisy.min() >= 0


def test_noise_is_correlated_over_the_width_of_the_post_filter():
    noise = uniform_spect(8e6) - uniform_spect(8e6, gain=0)
    neighbour = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]
    sigma = 8.0 / FWHM_PER_SIGMA
    assert neighbour == pytest.approx(np.exp(-(4.42**2) / (4 * sigma**2)), abs=0.05)
    assert abs(np.corrcoef(noise[:-6].ravel(), noise[6:].ravel())[0, 1]) < 0.05


def test_noise_of_a_region_does_not_depend_on_the_voxels() -> None:
    """Means over cubes of 17.68 mm of the same activity, in voxels of 2.21 and 4.42 mm."""
    activity = sitk.Image([40, 40, 40], sitk.sitkFloat32) + 1.0
    activity.SetSpacing([4.42] * 3)
    spread = []
    for voxels in (4, 8):
        size = 9 * voxels
        spect = simulate_spect(
            activity, np.eye(4), counts=4e5, spacing_mm=17.68 / voxels, size=(size, size, size)
        )
        cubes = sitk.GetArrayFromImage(spect).reshape(9, voxels, 9, voxels, 9, voxels)
        means = cubes.mean(axis=(1, 3, 5))
        spread.append(float(means.std() / means.mean()))
    assert spread[1] == pytest.approx(spread[0], rel=0.12)


def test_noise_depends_on_the_seed_only():
    assert np.array_equal(uniform_spect(8e6, seed=3), uniform_spect(8e6, seed=3))
    assert not np.array_equal(uniform_spect(8e6, seed=3), uniform_spect(8e6, seed=4))


def test_spect_does_not_depend_on_the_number_of_threads(anatomy):
    activity = assign_activity(anatomy, {}).image
    matrix = rigid_matrix(*MOVED, image_centre_mm(activity))
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        pictures = []
        for threads in (1, 2, 5):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            pictures.append(sitk.GetArrayFromImage(simulate_spect(activity, matrix)))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])
