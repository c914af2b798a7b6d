"""Projections of a subject: counts, resolution, orbit, scatter, what changes during the scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from projection_support import centred, coordinates, cylinder

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.phantom.scanner.projections.acquisition import project
from CTSpectSpineLib.phantom.scanner.projections.maps import (
    attenuation_per_mm,
    cut_faces_mm,
)
from CTSpectSpineLib.phantom.scanner.projections.scatter import ScatterWindow, window_estimate
from CTSpectSpineLib.phantom.scanner.projections.settings import load_camera
from CTSpectSpineLib.phantom.scanner.projections.subject import (
    Added,
    Movement,
    Subject,
    prepared,
)
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix

LEHR = load_camera("lehr")
QUIET = replace(LEHR, scatter_share=0.0)


def ball(radius_mm: float, middle: tuple[float, float, float], spacing: float = 1.5) -> Subject:
    """A ball of activity in air, in a CT of 120 mm."""
    shape = (80, 80, 80)
    x, y, z = coordinates(shape, spacing)
    distance = np.sqrt((x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2)
    activity = (distance <= radius_mm).astype(np.float32)
    hu = np.where(np.hypot(x, y) < 50, -990, -1000).astype(np.int16)
    hu[distance <= radius_mm] = 0
    return Subject(centred(hu, spacing), centred(activity, spacing), np.eye(4))


def variance_mm2(profile: np.ndarray, pixel_mm: float) -> float:
    at = np.arange(len(profile)) * pixel_mm
    return float(np.average((at - np.average(at, weights=profile)) ** 2, weights=profile))


@pytest.mark.parametrize("voxel_mm", [4.42, 2.4])
def test_the_whole_chain_has_the_collimators_resolution(voxel_mm):
    """CT voxels, sampling, turning and pixels add nothing that is not accounted for."""
    radius = 4.0
    subject = ball(radius, (14.0, -22.0, 6.0))
    activity = sitk.GetArrayFromImage(subject.activity)
    own = variance_mm2(activity.sum(axis=(1, 2)), 1.5) + 1.5**2 / 12
    projected = project(subject, replace(QUIET, clearance_mm=120.0), voxel_mm, views=8)
    for view in range(8):
        angle = 2 * np.pi * view / 8
        towards = np.array([np.sin(angle), -np.cos(angle)])
        distance = projected.orbit.radii_mm[view] - towards @ [14.0, -22.0]
        wanted = (LEHR.collimator.fwhm_mm(distance) / FWHM_PER_SIGMA) ** 2
        seen = projected.primary[view]
        for axis in (0, 1):
            found = variance_mm2(seen.sum(axis=axis), voxel_mm) - own - voxel_mm**2 / 12
            assert np.sqrt(found) == pytest.approx(np.sqrt(wanted), rel=0.03)


def test_counts_are_those_that_were_asked_for():
    projected = project(cylinder(), LEHR, views=16)
    assert projected.primary.sum() + projected.scatter.sum() == pytest.approx(1.0, abs=1e-5)
    assert projected.primary.min() >= 0
    counted = projected.counted(2e5, 4)
    assert counted.measured.sum() == pytest.approx(2e5, abs=5 * np.sqrt(2e5))
    # Poisson: the variance of every pixel is its mean.
    expected = projected.noise_free(2e5).measured
    quotient = (counted.measured - expected) ** 2 / np.maximum(expected, 1e-9)
    assert quotient[expected > 1].mean() == pytest.approx(1.0, abs=0.1)
    # Counts do not depend on voxels or pixels that are finer.
    fine = project(cylinder(), LEHR, 2.4, views=16)
    assert fine.scatter.sum() == pytest.approx(projected.scatter.sum(), rel=0.05)


def test_the_same_seed_counts_the_same():
    projected = project(cylinder(), LEHR, views=8)
    again = project(cylinder(), LEHR, views=8)
    assert np.array_equal(projected.primary, again.primary)
    first, second, other = (
        p.counted(1e5, s) for p, s in ((projected, 7), (again, 7), (projected, 8))
    )
    assert np.array_equal(first.measured, second.measured)
    for name in LEHR.windows:
        assert np.array_equal(first.windows[name], second.windows[name])
    assert not np.array_equal(first.measured, other.measured)


def test_the_orbit_follows_the_outline():
    spacing, half = 3.0, (90.0, 60.0)
    x, y, _ = coordinates((20, 60, 80), spacing)
    body = (x / half[0]) ** 2 + (y / half[1]) ** 2 <= 1
    hu = np.where(body, 20, -1000).astype(np.int16)
    subject = Subject(centred(hu, spacing), centred(body.astype(np.float32), spacing), np.eye(4))
    scene = prepared(subject, 4.42, 2, 24, 20.0)
    angles = 2 * np.pi * np.arange(24) / 24
    wanted = np.hypot(half[0] * np.sin(angles), half[1] * np.cos(angles)) + 20.0
    assert np.array(scene.orbit.radii_mm) == pytest.approx(wanted, abs=6.0)
    # The voxels hold the whole outline, from whichever side it is seen.
    assert 0.5 * scene.frame.shape[0] * 4.42 >= half[0]


def test_attenuation_of_a_patient_is_that_of_its_ct():
    hu = np.array([-1000.0, -500.0, 0.0, 1000.0])
    wanted = 0.0154 * np.array([0.0, 0.5, 1.0, 1.75])
    assert attenuation_per_mm(hu) == pytest.approx(wanted, rel=1e-5, abs=1e-9)
    line = project(cylinder(60.0, 150.0, 2.5, source_mm=3.0), QUIET, views=8)
    middle = line.primary[:, :, line.frame.shape[2] // 2].sum(axis=1)
    assert middle == pytest.approx(np.full(8, middle.mean()), rel=0.02)
    free = cylinder(60.0, 150.0, 2.5, source_mm=3.0)
    free = replace(free, ct=sitk.Add(sitk.Multiply(free.ct, 0), -1000))
    # Shares are relative, so the ratio shows in absolute counts only: project both, unscaled.
    scenes = [prepared(s, 4.42, 2, 8, 20.0) for s in (cylinder(60.0, 150.0, 2.5), free)]
    assert scenes[0].per_mm(scenes[0].frame).max() == pytest.approx(0.0154, rel=1e-3)
    assert scenes[1].per_mm(scenes[1].frame).max() == 0.0


def test_scatter_of_a_line_in_water_is_as_large_as_measured():
    """Scatter over primary of a line source in 22 cm of water, 20 % window: 0.3 to 0.5."""
    projected = project(cylinder(110.0, 220.0, 4.0, source_mm=5.0), LEHR, 4.42, views=4)
    plane = projected.frame.shape[2] // 2
    share = projected.scatter[:, :, plane].sum() / projected.primary[:, :, plane].sum()
    assert 0.3 < share < 0.5
    # It is broad: far from the line there is scatter and no primary.
    aside = projected.frame.shape[0] // 2 + 10
    assert projected.scatter[:, aside, plane].min() > 20 * projected.primary[:, aside, plane].max()


def test_scatter_windows_estimate_the_scatter():
    rng = np.random.default_rng(0)
    truth = np.full((4, 60, 60), 3.0, dtype=np.float32)
    for counts, bias in ((0.214, 1.05), (2.0, 0.9)):
        found = window_estimate(truth, ScatterWindow(counts, bias, 20.0), 4.42, rng)
        assert found.mean() == pytest.approx(3.0 * bias, rel=0.02)
        raw = window_estimate(truth, ScatterWindow(counts, bias, 0.0), 4.42, rng)
        assert raw.std() == pytest.approx(bias * np.sqrt(3.0 / counts), rel=0.05)
        assert found.std() < 0.2 * raw.std()


def test_what_grows_during_the_scan_grows_in_its_views():
    subject = ball(20.0, (0.0, 0.0, 0.0), 3.0)
    grown = replace(subject, added=(Added(subject.activity, 0.0, 1.0),))
    before, after = (project(s, QUIET, views=12).primary.sum(axis=(1, 2)) for s in (subject, grown))
    growth = after[:6] / after[0]
    times = (np.arange(6) + 0.5) / 6
    assert growth == pytest.approx((1 + times) / (1 + times[0]), rel=0.02)
    assert after[6:] == pytest.approx(after[:6], rel=0.02)  # two heads, at the same time
    assert before == pytest.approx(np.full(12, before.mean()), rel=0.02)


def test_what_moves_is_seen_elsewhere_for_that_part_of_the_scan():
    subject = ball(12.0, (0.0, 0.0, 0.0), 3.0)
    moved = Movement(rigid_matrix((0, 0, 9.0), (0, 0, 0), (0, 0, 0)), 0.5, 1.0)
    projected = project(replace(subject, movement=moved), QUIET, views=12)
    rows = np.arange(projected.frame.shape[2])
    height = np.array([np.average(rows, weights=v.sum(axis=0)) for v in projected.primary]) * 4.42
    late = np.isin(np.arange(12), [3, 4, 5, 9, 10, 11])
    assert height[late] - height[~late].mean() == pytest.approx(np.full(6, 9.0), abs=0.15)
    assert np.ptp(height[~late]) < 0.1


def test_an_arm_beside_the_ct_attenuates_and_is_seen():
    subject = cylinder(40.0, 60.0)
    shape = (20, 14, 14)
    x, y, _ = coordinates(shape, 3.0)
    arm = np.hypot(x, y) <= 18
    far = centred(np.where(arm, 50.0, -1000.0).astype(np.float32), 3.0)
    far.SetOrigin((far.GetOrigin()[0] + 75.0, far.GetOrigin()[1], far.GetOrigin()[2]))
    hot = sitk.Cast(far > 0, sitk.sitkFloat32)
    with_arm = replace(subject, added=(Added(hot, hu=far),))
    scene = prepared(with_arm, 4.42, 2, 4, 20.0)
    assert scene.orbit.radii_mm[1] > scene.orbit.radii_mm[3] + 40  # at the left of the patient
    per_mm = scene.per_mm(scene.frame)
    middle = scene.frame.shape[0] // 2
    at = middle + round(75 / 4.42)
    assert per_mm[middle, at, per_mm.shape[2] // 2] > 0.015
    plain = project(subject, QUIET, views=4).primary.sum(axis=(1, 2))
    seen = project(replace(subject, added=(Added(hot, 0.0, 0.0, far),)), QUIET, views=4)
    behind = seen.primary.sum(axis=(1, 2))
    assert behind[1] / behind[3] < 0.93 * plain[1] / plain[3]


def test_a_body_that_the_ct_cuts_goes_on_to_the_size_of_a_trunk():
    hu = np.full((10, 40, 50), 20, dtype=np.int16)
    cut = cut_faces_mm(centred(hu, 4.0))
    assert cut == pytest.approx(np.array([[70.0, 70.0], [40.0, 40.0], [60.0, 60.0]]))
    hu[:, :, :10] = -1000  # air at the right
    assert cut_faces_mm(centred(hu, 4.0))[0] == pytest.approx([0.0, 180.0])
    hu[:, :, -10:] = -1000
    assert cut_faces_mm(centred(hu, 4.0))[0] == pytest.approx([0.0, 0.0])


def test_a_cut_body_goes_on_in_all_directions_even_if_an_edge_of_the_box_is_empty():
    tissue = np.ones((20, 20, 20), dtype=np.float32)
    tissue[:, 0, 0] = tissue[:, -1, 0] = tissue[:, 0, -1] = tissue[:, -1, -1] = 0.0
    ct = centred(np.full((20, 20, 20), 20, dtype=np.int16), 4.0)
    subject = Subject(ct, centred(tissue * 0.12, 4.0), np.eye(4))
    scene = prepared(subject, 4.42, 2, 8, 20.0)
    activity = scene.activity(scene.frame)
    n, _, planes = activity.shape
    x = (np.arange(n) - 0.5 * (n - 1)) * 4.42
    trunk = (np.abs(x)[None, :] < 160) & (np.abs(x)[:, None] < 110)
    assert activity[trunk, planes // 2] == pytest.approx(0.12, rel=0.02)


def test_nothing_active_is_refused():
    subject = cylinder()
    nothing = replace(subject, activity=sitk.Multiply(subject.activity, 0.0))
    with pytest.raises(InputError, match="no activity"):
        project(nothing, LEHR, views=8)
