"""The projector: adjoint, resolution against distance, attenuation, rotation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.phantom.scanner.projections.collimator import blur_matrices
from CTSpectSpineLib.phantom.scanner.projections.projector import Orbit, Projector, Response
from CTSpectSpineLib.phantom.scanner.projections.rotation import turn_matrix
from CTSpectSpineLib.phantom.scanner.projections.settings import load_camera

LEHR = load_camera("lehr").collimator


def fwhm_of(profile: np.ndarray, pixel_mm: float) -> float:
    """FWHM of the Gaussian with a profile's variance, less that of the pixels."""
    at = np.arange(len(profile)) * pixel_mm
    middle = np.average(at, weights=profile)
    variance = np.average((at - middle) ** 2, weights=profile) - pixel_mm**2 / 12
    return float(np.sqrt(variance) * FWHM_PER_SIGMA)


@pytest.mark.parametrize("cubic", [True, False])
@pytest.mark.parametrize("blurs", [True, False])
@pytest.mark.parametrize("weakens", [True, False])
def test_backward_is_the_adjoint_of_forward(cubic, blurs, weakens):
    rng = np.random.default_rng(3)
    shape, orbit = (26, 26, 17), Orbit((90.0, 100.0, 85.0, 95.0, 120.0, 88.0))
    per_mm = rng.random(shape, dtype=np.float32) * 0.02 if weakens else None
    response = Response(LEHR, 1.05, (1.0, 0.5)) if blurs else None
    projector = Projector(shape, 4.4, orbit, per_mm, response, cubic=cubic)
    x = rng.random(shape, dtype=np.float32)
    for pair in range(orbit.pairs):
        y = [rng.random((26, 17), dtype=np.float32) for _ in range(2)]
        seen = projector.forward(x, pair)
        left = sum(np.vdot(p.astype(float), q.astype(float)) for p, q in zip(seen, y, strict=True))
        right = np.vdot(x.astype(float), projector.backward(y, pair).astype(float))
        assert left == pytest.approx(right, rel=2e-6)


def test_resolution_of_the_collimator_is_that_of_its_data_sheet():
    """Siemens states 7.4 mm at 10 cm for the system; the formula by hand for the holes alone."""
    assert LEHR.fwhm_mm(100.0) == pytest.approx(7.4, abs=0.15)
    length = 24.05 - 2 / 2.71
    holes = 1.11 * (length + 150 + 8) / length
    assert LEHR.fwhm_mm(150.0) == pytest.approx(np.hypot(holes, 3.8), rel=1e-9)
    assert np.all(np.diff(LEHR.fwhm_mm(np.linspace(0, 300, 20))) > 0)


@pytest.mark.parametrize("voxel_mm", [2.2, 4.42])
def test_a_point_is_seen_as_wide_as_the_collimator_says(voxel_mm):
    n = 2 * round(70 / voxel_mm) + 1
    shape, orbit = (n, n, n), Orbit((160.0, 140.0, 170.0, 150.0))
    projector = Projector(shape, voxel_mm, orbit, None, Response(LEHR))
    for offset in (-8, 0, 9):
        point = np.zeros(shape, dtype=np.float32)
        point[n // 2 + offset, n // 2, n // 2] = 1.0
        for pair, depth in ((0, offset), (1, 0)):  # seen from the side, it is at the axis' depth
            for view, seen in zip((pair, pair + 2), projector.forward(point, pair), strict=True):
                away = depth * voxel_mm if view < 2 else -depth * voxel_mm
                wanted = float(LEHR.fwhm_mm(orbit.radii_mm[view] + away))
                assert fwhm_of(seen.sum(axis=1), voxel_mm) == pytest.approx(wanted, rel=0.01)
                assert fwhm_of(seen.sum(axis=0), voxel_mm) == pytest.approx(wanted, rel=0.01)
                assert seen.sum() == pytest.approx(1.0, abs=1e-3)


def test_what_has_blurred_before_is_taken_off():
    plain = blur_matrices(np.array([8.0]), 0.0, 2.0, 61)[0]
    less = blur_matrices(np.array([8.0]), 3.0, 2.0, 61)[0]
    widths = [(fwhm_of(m[30], 2.0) / FWHM_PER_SIGMA) ** 2 for m in (plain, less)]
    assert widths[0] - widths[1] == pytest.approx(3.0, rel=1e-3)
    assert np.allclose(plain, plain.T)


def test_attenuation_follows_the_exponential():
    """A line at the axis of a cylinder of water, and a cylinder that is active throughout."""
    voxel, n, mu, radius = 2.0, 101, 0.015, 70.0
    line = (np.arange(n) - n // 2) * voxel
    distance = np.hypot(line[:, None], line[None, :])
    water = (distance <= radius).astype(np.float32)[:, :, None] * np.ones(3, dtype=np.float32)
    orbit = Orbit((200.0,) * 10)
    projector = Projector(water.shape, voxel, orbit, np.float32(mu) * water)
    source = np.zeros_like(water)
    source[n // 2, n // 2] = 1.0
    left = [seen.sum() / 3 for p in range(orbit.pairs) for seen in projector.forward(source, p)]
    assert left == pytest.approx([np.exp(-mu * radius)] * 10, rel=0.03)  # the rim is of voxels
    assert np.mean(left) == pytest.approx(np.exp(-mu * radius), rel=0.01)
    for pair in range(orbit.pairs):
        for seen in projector.forward(water, pair):
            wanted = (1 - np.exp(-2 * mu * radius)) / mu / voxel
            assert seen[n // 2, 1] == pytest.approx(wanted, rel=0.015)


def test_cubic_interpolation_turns_without_blur_and_linear_adds_a_sixth():
    n, sigma = 64, 3.0
    line = np.arange(n) - 0.5 * (n - 1)
    blob = np.exp(-((line[:, None] - 9.3) ** 2 + (line[None, :] + 6.1) ** 2) / (2 * sigma**2))
    variances = {}
    for cubic in (True, False):
        found = []
        for angle in np.linspace(0.1, 1.5, 15):
            turned = (turn_matrix(n, float(angle), cubic=cubic) @ blob.ravel()).reshape(n, n)
            assert turned.sum() == pytest.approx(blob.sum(), rel=1e-3)
            middle = ndimage.center_of_mass(turned) - np.array([0.5 * (n - 1)] * 2)
            # depth = -x sin + y cos; across = x cos + y sin
            wanted = (
                6.1 * np.sin(angle) + 9.3 * np.cos(angle),
                -6.1 * np.cos(angle) + 9.3 * np.sin(angle),
            )
            assert middle == pytest.approx(wanted, abs=0.02)
            profile = turned.sum(axis=0)
            found.append(np.average((line - middle[1]) ** 2, weights=profile))
        variances[cubic] = np.mean(found)
    assert variances[True] == pytest.approx(sigma**2, rel=2e-3)
    assert variances[False] == pytest.approx(sigma**2 + 1 / 6, rel=5e-3)


def test_a_camera_at_the_left_sees_the_left_nearer():
    """Angle 0 is in front of the patient, a quarter turn at the patient's left (+x)."""
    shape, orbit = (41, 41, 9), Orbit((150.0,) * 4)
    projector = Projector(shape, 4.0, orbit, np.full(shape, 0.01, dtype=np.float32))
    left = np.zeros(shape, dtype=np.float32)
    left[20, 34] = 1.0  # [y, x]
    (front, back), (from_left, from_right) = projector.forward(left, 0), projector.forward(left, 1)
    assert front.sum() == pytest.approx(back.sum(), rel=1e-3)
    # 28 voxels of 4 mm at 0.01 / mm more lie before the right camera.
    assert from_left.sum() / from_right.sum() == pytest.approx(np.exp(0.01 * 4 * 28), rel=1e-2)


def test_planes_must_be_square():
    with pytest.raises(ValueError, match="not square"):
        Projector((10, 12, 3), 4.0, Orbit((100.0, 100.0)))
