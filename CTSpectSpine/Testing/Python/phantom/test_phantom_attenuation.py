"""Activity without attenuation correction, against the analytic case of a cylinder."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import apply_matrix, grid_of, image_from_array, inverse
from CTSpectSpineLib.phantom import attenuated
from CTSpectSpineLib.phantom.scanner.attenuation import WATER_PER_CM

RADIUS_MM = 100.0
SPACING_MM = 2.5
CENTRE_MM = np.array([12.0, -30.0, 400.0])
WATER, AIR = 0, -1000


def grid_image(half_mm, value, dtype=np.int16, turn=None) -> sitk.Image:
    """Image around the centre whose voxel values are a function of LPS offsets x, y, z."""
    n = np.rint(2 * np.array(half_mm) / SPACING_MM).astype(int) + 1
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if turn is None else turn) * SPACING_MM
    matrix[:3, 3] = CENTRE_MM - matrix[:3, :3] @ ((n - 1) / 2)
    index = np.indices(n[::-1])[::-1].reshape(3, -1).T
    x, y, z = (apply_matrix(matrix, index) - CENTRE_MM).T
    values = np.broadcast_to(value(x, y, z), x.shape).reshape(n[::-1])
    return image_from_array(values.astype(dtype), matrix)


def cylinder(x, y, z, radius=RADIUS_MM, hu=WATER):
    return np.where(np.hypot(x, y) < radius, hu, AIR)


def ones(x, y, z):
    return np.ones_like(x)


def at(image: sitk.Image, x: float, y: float, z: float = 0.0) -> float:
    """Linear interpolation at an offset from the centre."""
    return float(image.EvaluateAtPhysicalPoint((CENTRE_MM + np.array([x, y, z])).tolist()))


def expected(radius_mm: float, per_cm: float = WATER_PER_CM, cylinder_mm=RADIUS_MM) -> float:
    """Mean over angles of exp(-path in the cylinder), in polar coordinates."""
    angle = (np.arange(4000) + 0.5) * 2 * np.pi / 4000
    forward = -radius_mm * np.cos(angle)
    half_chord2 = cylinder_mm**2 - (radius_mm * np.sin(angle)) ** 2
    half_chord = np.sqrt(np.maximum(half_chord2, 0))
    path = np.maximum(forward + half_chord, 0) - np.maximum(forward - half_chord, 0)
    return float(np.exp(-per_cm / 10 * path).mean())


@pytest.fixture(scope="module")
def factor() -> sitk.Image:
    half = (140, 130, 30)
    return attenuated(grid_image(half, ones), grid_image(half, cylinder))


def test_centre_of_a_water_cylinder(factor):
    truth = np.exp(-WATER_PER_CM * RADIUS_MM / 10)
    assert expected(0.0) == pytest.approx(truth, rel=1e-6)
    assert at(factor, 0, 0) == pytest.approx(truth, rel=0.01)


@pytest.mark.parametrize("radius", [20.0, 40.0, 60.0, 80.0, 90.0])
def test_radii_agree_with_the_integral(factor, radius):
    angles = np.deg2rad(np.arange(0, 360, 15))
    found = [at(factor, radius * np.cos(a), radius * np.sin(a)) for a in angles]
    # The skin is blurred by the 8 mm grid.
    assert np.mean(found) == pytest.approx(expected(radius), rel=0.01 if radius < 85 else 0.02)
    assert found == pytest.approx([expected(radius)] * len(found), rel=0.025)


@pytest.mark.parametrize("radius", [110.0, 125.0])
def test_air_beside_the_body_is_seen_through_it_from_one_side(factor, radius):
    assert at(factor, radius, 0) == pytest.approx(expected(radius), rel=0.025)


def test_middle_is_weaker_than_the_rim(factor):
    profile = [at(factor, r, 0) for r in range(0, 130, 10)]
    assert np.all(np.diff(profile) > 0)


def test_every_slice_is_the_same(factor):
    values = sitk.GetArrayFromImage(factor)
    assert np.ptp(values, axis=0).max() < 1e-5


def test_air_attenuates_nothing():
    half = (60, 60, 20)
    activity = grid_image(half, lambda x, y, z: 1 + np.abs(x), np.float32)
    for hu in (-1000, -3024):
        seen = attenuated(activity, grid_image(half, lambda x, y, z, hu=hu: hu + 0 * x))
        assert np.array_equal(sitk.GetArrayFromImage(seen), sitk.GetArrayFromImage(activity))


def test_no_attenuation_leaves_the_activity():
    half = (120, 110, 10)
    seen = attenuated(grid_image(half, ones), grid_image(half, cylinder), water_per_cm=0.0)
    assert np.all(sitk.GetArrayFromImage(seen) == 1)


def test_scale_of_the_activity_is_kept():
    half = (120, 110, 10)
    ct = grid_image(half, cylinder)
    once = attenuated(grid_image(half, ones), ct)
    activity = grid_image(half, lambda x, y, z: np.where(x > 0, 7, 0), np.uint8)
    seen = attenuated(activity, ct)
    assert seen.GetPixelID() == sitk.sitkFloat32
    assert grid_of(seen).matches(grid_of(activity))
    wanted = sitk.GetArrayFromImage(activity) * sitk.GetArrayFromImage(once)
    assert np.allclose(sitk.GetArrayFromImage(seen), wanted, rtol=1e-6)


@pytest.mark.parametrize(("hu", "relative"), [(-800, 0.2), (-100, 0.9), (0, 1.0), (1000, 1.75)])
def test_attenuation_goes_by_hu(hu, relative):
    """Cylinder of one tissue; its attenuation is that of water times the bilinear curve."""
    half = (110, 110, 10)
    ct = grid_image(half, lambda x, y, z: cylinder(x, y, z, 80.0, hu))
    seen = at(attenuated(grid_image(half, ones), ct), 0, 0)
    assert -np.log(seen) == pytest.approx(WATER_PER_CM * 8.0 * relative, rel=0.015)


def test_attenuation_of_water_is_the_one_asked_for():
    half = (110, 110, 10)
    ct = grid_image(half, cylinder)
    narrow = at(attenuated(grid_image(half, ones), ct, water_per_cm=0.154), 0, 0)
    assert narrow == pytest.approx(np.exp(-1.54), rel=0.015)


@pytest.mark.parametrize("axes", [[[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [[-1, 0, 0], [0, 1, 0]]])
def test_axes_of_the_images_do_not_matter(factor, axes):
    """Sagittal slices, and a grid turned about z: views lie in the LPS plane all the same."""
    turn = np.array(axes, dtype=float).T if len(axes) == 3 else rotation_about_z(25.0)
    half = np.abs(turn.T @ [150, 140, 30]) if len(axes) == 3 else (150, 140, 30)
    seen = attenuated(grid_image(half, ones, turn=turn), grid_image(half, cylinder, turn=turn))
    for x, y in ((0, 0), (60, 10), (-30, 70)):
        assert at(seen, x, y) == pytest.approx(at(factor, x, y), rel=0.02)


def rotation_about_z(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def trunk(x, y, z):
    return np.where((x / 170) ** 2 + (y / 120) ** 2 < 1, WATER, AIR)


def test_a_cut_body_goes_on_to_the_size_of_a_trunk():
    """A CT of the trunk's middle: nearly as dark as in the whole CT, and as even."""
    activity = grid_image((50, 40, 20), ones)
    whole = sitk.GetArrayFromImage(attenuated(activity, grid_image((180, 130, 20), trunk)))
    cut = sitk.GetArrayFromImage(attenuated(activity, grid_image((70, 60, 20), trunk)))
    # The continuation is a block, of which the trunk's ellipse lacks the corners.
    assert np.all(cut < 1.02 * whole)
    assert np.all(cut > 0.75 * whole)
    assert cut.max() / cut.min() < 1.1 * whole.max() / whole.min()


def test_only_the_cut_side_goes_on():
    """The back lies in the CT, the front does not: the body goes on to the front alone."""

    def back(x, y, z):
        return np.where(y < 40, WATER, AIR)  # LPS: y points to the back

    seen = attenuated(grid_image((160, 60, 10), ones), grid_image((170, 60, 10), back))
    # 240 mm deep from the skin at 40 mm: the point 10 mm under the skin, and the block's middle.
    wide = grid_image((170, 220, 10), lambda x, y, z: np.where((y < 40) & (y > -200), WATER, AIR))
    truth = attenuated(grid_image((160, 60, 10), ones), wide)
    for y in (-50, -20, 10, 30, 55):
        assert at(seen, 0, y) == pytest.approx(at(truth, 0, y), rel=0.03)


def test_activity_may_be_larger_than_the_ct(factor):
    """Beyond its last slices the CT goes on as they are; beside it is air."""
    activity = grid_image((150, 140, 80), ones)
    seen = attenuated(activity, grid_image((120, 110, 20), cylinder))
    for z in (-75, 0, 75):
        assert at(seen, 0, 0, z) == pytest.approx(np.exp(-1.2), rel=0.01)
    assert at(seen, 130, 0) == pytest.approx(expected(130), rel=0.025)


def test_inputs_stay_and_results_repeat():
    half = (110, 110, 10)
    activity, ct = grid_image(half, ones), grid_image(half, cylinder)
    kept = sitk.GetArrayFromImage(activity), sitk.GetArrayFromImage(ct)
    first, second = (sitk.GetArrayFromImage(attenuated(activity, ct)) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(kept[0], sitk.GetArrayFromImage(activity))
    assert np.array_equal(kept[1], sitk.GetArrayFromImage(ct))


def test_views_converge():
    half = (120, 110, 10)
    activity, ct = grid_image(half, ones), grid_image(half, trunk)
    few, many = (sitk.GetArrayFromImage(attenuated(activity, ct, n)) for n in (32, 128))
    assert np.allclose(few, many, rtol=0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"views": 0}, "views is 0.*even"),
        ({"views": 33}, "views is 33"),
        ({"water_per_cm": -0.1}, "water is -0.1 per cm"),
        ({"water_per_cm": float("nan")}, "water is nan"),
    ],
)
def test_impossible_options_are_named(options, words):
    image = grid_image((20, 20, 20), ones)
    with pytest.raises(InputError, match=words):
        attenuated(image, image, **options)


def test_the_grid_helper_is_centred():
    image = grid_image((30, 20, 10), ones, turn=rotation_about_z(30))
    middle = apply_matrix(inverse(grid_of(image).ijk_to_lps), CENTRE_MM[None])[0]
    assert middle == pytest.approx((np.array(image.GetSize()) - 1) / 2)
