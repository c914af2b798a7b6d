"""Plain measures of a region against slow, plain implementations and exact cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_uptake_scene import Scene, grid, rigid

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.uptake import sampling
from CTSpectSpineLib.uptake.transfer import point_weights


def field_of(function, spacing=4.6, half=45.0, offset=(0.0, 0.0, 0.0), matrix=None):
    """Field whose voxel centres hold function(x, y, z) of the SPECT point."""
    low = -half + np.asarray(offset)
    points, to_lps = grid(low, low + 2 * half, spacing)
    image = image_from_array(function(*np.moveaxis(points, -1, 0)), to_lps)
    return sampling.spect_field(image, np.eye(4) if matrix is None else matrix)


def box_points(half, step=1.0):
    axes = [np.arange(-h + step / 2, h, step) for h in half]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def plain_value(image, point):
    """Trilinear interpolation, one point, by the textbook, from ITK's own geometry."""
    at = image.TransformPhysicalPointToContinuousIndex([float(v) for v in point])
    base = [min(max(math.floor(v), 0), n - 2) for v, n in zip(at, image.GetSize(), strict=True)]
    total = 0.0
    for corner in itertools.product((0, 1), repeat=3):
        weight = 1.0
        for v, b, c in zip(at, base, corner, strict=True):
            weight *= (v - b) if c else 1.0 - (v - b)
        total += weight * image.GetPixel([b + c for b, c in zip(base, corner, strict=True)])
    return total


def test_measures_agree_with_plain_implementation():
    scene = Scene(hot={"L2-L3 facet left": 4.0}, levels=("L2", "L3"))
    pose = rigid((4.0, -6.0, 9.0), (7.0, -3.0, 5.0))
    spect = scene.spect(pose, noise=0.1, seed=3)
    field = sampling.spect_field(spect, pose)
    points = scene.joints()["L2-L3 facet left"].region.points_mm()
    moved = [pose[:3, :3] @ p + pose[:3, 3] for p in points]
    values = [plain_value(spect, p) for p in moved]
    assert sampling.region_mean(field, points) == pytest.approx(sum(values) / len(values))
    assert sampling.region_max(field, points) == pytest.approx(max(values))

    steps = np.arange(-5.5, 6.0, 1.0)
    sphere = [s for s in itertools.product(steps, repeat=3) if math.hypot(*s) <= 6.0]
    near = moved[::7]
    slow = max(
        sum(plain_value(spect, [a + b for a, b in zip(p, s, strict=True)]) for s in sphere[::3])
        / len(sphere[::3])
        for p in near
    )
    assert sampling.region_peak(field, points) == pytest.approx(slow, rel=0.02)


def test_peak_of_a_paraboloid_is_exact():
    # Over a sphere of radius 6 mm, r² has the mean 3/5 · 36.
    field = field_of(lambda x, y, z: 1000.0 - x**2 - y**2 - z**2, spacing=1.0, half=20.0)
    peak = sampling.region_peak(field, np.vstack([np.zeros(3), box_points((4.0, 4.0, 4.0))]))
    # Linear interpolation between 1 mm voxels adds at most 3/4 · 1/3 of the curvature.
    assert 1000.0 - peak == pytest.approx(0.6 * 36.0 + 0.25, abs=0.6)


def test_peak_lies_between_mean_and_max():
    scene = Scene(hot={"L2-L3 facet left": 4.0}, levels=("L2", "L3"))
    field = sampling.spect_field(scene.spect(), np.eye(4))
    points = scene.joints()["L2-L3 facet left"].region.points_mm()
    mean, peak, largest = (
        f(field, points) for f in (sampling.region_mean, sampling.region_peak, sampling.region_max)
    )
    assert mean < peak < largest


@settings(max_examples=60, deadline=None)
@given(
    st.floats(2.0, 3.0),
    st.tuples(*[st.floats(0.0, 4.42)] * 3),
    st.tuples(*[st.floats(-90.0, 90.0)] * 3),
)
def test_thin_slab_is_never_empty(thickness, offset, angles):
    """A slab of 2 to 3 mm keeps its volume and mean wherever the 4.42 mm grid lies."""
    pose = rigid(angles)
    field = field_of(lambda x, y, z: 50.0 + x, 4.42, offset=offset, matrix=pose)
    slab = box_points((15.0, 15.0, thickness / 2), step=0.5)
    flat, weights = point_weights(field, field.index(slab))
    assert np.isclose(weights.sum(), 1.0)
    assert len(np.unique(flat)) > 20
    # The mean of a linear field over any region is its value at the centroid.
    expected = 50.0 + (pose[:3, :3] @ slab.mean(axis=0) + pose[:3, 3])[0]
    assert sampling.region_mean(field, slab) == pytest.approx(expected)
    assert weights @ field.array.ravel()[flat] == pytest.approx(expected)


def test_coverage_counts_points_inside_voxel_edges():
    field = field_of(lambda x, y, z: x, spacing=4.0, half=20.0)
    assert field.coverage(box_points((10.0, 10.0, 10.0))) == 1.0
    beyond = box_points((10.0, 10.0, 10.0)) + np.array([22.0, 0.0, 0.0])
    assert field.coverage(beyond) == pytest.approx(0.5)
    assert field.coverage(beyond + 60.0) == 0.0


def test_cropping_changes_no_value():
    pose = rigid((5.0, 3.0, -8.0), (3.0, 2.0, 1.0))
    field = field_of(lambda x, y, z: np.sin(x / 9) + np.cos(y / 7) * z, matrix=pose)
    points = box_points((6.0, 5.0, 9.0))
    small = field.cropped(points, 10.0)
    assert small.array.size < field.array.size
    np.testing.assert_allclose(small.sample(points), field.sample(points), atol=1e-9)


def test_nan_in_the_spect_is_refused():
    with pytest.raises(InputError, match="not finite"):
        field_of(lambda x, y, z: np.where(x > 30, np.nan, x))


def test_oblique_spect_is_read_by_its_own_geometry():
    turn = rigid((20.0, 10.0, -15.0), (30.0, -10.0, 5.0))
    points, to_lps = grid(np.full(3, -40.0), np.full(3, 40.0), 4.0)
    lps = points @ turn[:3, :3].T + turn[:3, 3]
    image = image_from_array(lps[..., 2].copy(), turn @ to_lps)
    field = sampling.spect_field(image, np.eye(4))
    here = box_points((5.0, 5.0, 5.0)) + turn[:3, 3]
    np.testing.assert_allclose(field.sample(here), here[:, 2], atol=1e-6)
