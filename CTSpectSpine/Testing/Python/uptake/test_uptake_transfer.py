"""Partial-volume correction and point spread against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf
from test_uptake_scene import Scene, grid, rigid

from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.model import Joint, Region, SpineJoints
from CTSpectSpineLib.uptake import sampling, transfer
from CTSpectSpineLib.uptake.nodes import nodes_of
from CTSpectSpineLib.uptake.partition import build_partition
from CTSpectSpineLib.uptake.resolution import View, estimate_width
from CTSpectSpineLib.uptake.response import Response, family
from CTSpectSpineLib.uptake.solution import condition_number

FWHM = 10.0


def seen_sigma(spacing=4.6, blur=transfer.REGION_BLUR_MM["facet_bone"]):
    """Point spread, averaging over voxels, and the smear of a joint's outline, together."""
    return np.sqrt((FWHM / 2.3548200450309493) ** 2 + spacing**2 / 12.0 + blur**2)


SIGMA = seen_sigma()


def blurred_sphere(r, radius, sigma=SIGMA):
    """Uniform sphere filtered by an isotropic Gaussian, at distance r of its centre."""
    r = np.maximum(r, 1e-6)
    root = np.sqrt(2.0) * sigma
    ends = np.exp(-(((radius - r) / root) ** 2)) - np.exp(-(((radius + r) / root) ** 2))
    both = erf((radius - r) / root) + erf((radius + r) / root)
    return 0.5 * both - sigma / (r * np.sqrt(2.0 * np.pi)) * ends


def solid_joint(name, centre, half, inside):
    points, matrix = grid(centre - half, centre + half, 1.0)
    region = Region(inside(points - centre), matrix)
    return Joint(name, "L4-L5", "facet", "left", "lumbar", "L4", "L5", region, region, centre)


def sphere_joint(name, centre, radius):
    return solid_joint(name, centre, radius + 0.5, lambda p: np.linalg.norm(p, axis=-1) <= radius)


def no_labels():
    matrix = np.diag([5.0, 5.0, 5.0, 1.0])
    matrix[:3, 3] = -50.0
    return image_from_array(np.zeros((21, 21, 21), np.uint8), matrix)


def analytic_field(function, spacing=4.6, offset=0.0, half=60.0, pose=None):
    """SPECT whose voxel centres hold function(CT points)."""
    pose = np.eye(4) if pose is None else pose
    at, to_lps = grid(np.full(3, -half + offset), np.full(3, half + offset), spacing)
    back = np.linalg.inv(pose)
    return sampling.spect_field(
        image_from_array(function(at @ back[:3, :3].T + back[:3, 3]), to_lps), pose
    )


def view_of(field, spine, labels):
    partition = build_partition(field, spine, labels)
    weights = transfer.mean_weights(partition, field)
    return View(field, partition, weights)


def solved(field, joints, fwhm=FWHM):
    """Partition, profiles, transfer matrix and first solution."""
    view = view_of(field, SpineJoints(joints, {}), no_labels())
    profiles = view.profiles(Response(fwhm))
    omega = transfer.transfer_matrix(view.weights, profiles)
    return view.partition, profiles, omega, view.first(profiles)


@settings(max_examples=12, deadline=None)
@given(st.floats(0.0, 4.6), st.tuples(*[st.floats(-40.0, 40.0)] * 3), st.floats(16.0, 30.0))
def test_two_spheres_are_recovered(offset, angles, apart):
    """Two spheres of 13 mm, 3 and 1, in soft tissue of 0.2, blurred by 10 mm (closed form)."""
    radius, centres = 6.5, (np.zeros(3), np.array([apart, 0.0, 0.0]))

    def seen(p):
        near = [blurred_sphere(np.linalg.norm(p - c, axis=-1), radius) for c in centres]
        return 0.2 + 2.8 * near[0] + 0.8 * near[1]

    joints = tuple(sphere_joint(n, c, radius) for n, c in zip("ab", centres, strict=True))
    field = analytic_field(seen, offset=offset, pose=rigid(angles))
    partition, _, omega, true = solved(field, joints)
    a, b = (partition.position("facet_bone", name) for name in "ab")
    assert true[a] == pytest.approx(3.0, rel=0.1)
    assert true[b] == pytest.approx(1.0, rel=0.1)
    background = [t for t, p in zip(true, partition.parts, strict=True) if p.kind == "background"]
    # The outermost blocks also take up what spills in from beyond the modelled surroundings.
    assert np.median(background) == pytest.approx(0.2, abs=0.05)
    # Uncorrected, the hot sphere reads less than half: the test is not about a trivial case.
    assert sampling.region_mean(field, joints[0].region.points_mm()) < 1.6
    assert 1.0 <= condition_number(omega, partition) < 100.0


@pytest.mark.parametrize("spacing", [2.2, 3.4, 4.8])
def test_profile_of_a_sphere_is_the_closed_form(spacing):
    joint = sphere_joint("a", np.array([1.3, -2.1, 0.4]), 8.0)
    field = analytic_field(lambda p: p[..., 0], spacing)
    partition, profiles, _, _ = solved(field, (joint,))
    column = profiles[:, [partition.position("facet_bone", "a")]].toarray()
    points, _ = grid(np.full(3, -60.0), np.full(3, 60.0), spacing)
    away = np.linalg.norm(points - joint.centre_mm, axis=-1)
    exact = blurred_sphere(away, 8.0, seen_sigma(spacing))
    np.testing.assert_allclose(column.ravel(), exact.ravel(), atol=0.02)
    assert column.sum() == pytest.approx(exact.sum(), rel=0.03)


def test_profile_of_a_plate_is_the_error_function():
    """A plate far wider than the blur: exact along its normal, in its middle."""
    half = np.array([40.0, 40.0, 3.0])
    plate = solid_joint("a", np.zeros(3), half + 0.5, lambda p: np.all(np.abs(p) <= half, axis=-1))
    field = analytic_field(lambda p: p[..., 0], 4.6)
    partition, profiles, _, _ = solved(field, (plate,))
    column = profiles[:, [partition.position("facet_bone", "a")]].toarray().ravel()
    points, _ = grid(np.full(3, -60.0), np.full(3, 60.0), 4.6)
    middle = (np.abs(points[..., 0]) < 8) & (np.abs(points[..., 1]) < 8)
    z = points[..., 2][middle]
    root = np.sqrt(2.0) * SIGMA
    exact = 0.5 * (erf((z + 3.0) / root) - erf((z - 3.0) / root))
    np.testing.assert_allclose(column.reshape(points.shape[:3])[middle], exact, atol=0.02)


def test_regions_do_not_overlap_and_fill_the_neighbourhood():
    scene = Scene()
    field = sampling.spect_field(scene.spect(spacing=4.42, offset=1.7), np.eye(4))
    spine = scene.joints()
    partition = build_partition(field, spine, scene.labels())
    weights = transfer.mean_weights(partition, field)
    np.testing.assert_allclose(np.asarray(weights.sum(axis=0)).ravel(), 1.0, rtol=1e-6)
    cell = np.prod(field.spacing) / np.prod(partition.factor)
    volumes = np.bincount(partition.codes.ravel())[1:] * cell
    for joint in spine.joints:
        kind = "disc_bone" if joint.kind == "disc" else "facet_bone"
        number = partition.position(kind, joint.id)
        assert volumes[number] == pytest.approx(joint.bone.volume_mm3, rel=0.03)
    # Blurred, all regions together are 1 deep inside.
    total = np.asarray(transfer.blurred_profiles(partition, field, 8.0).sum(axis=1)).ravel()
    assert total.max() < 1.01
    centre = field.index(spine["L3-L4 disc"].centre_mm[None]).round().astype(int)[0]
    assert total.reshape(field.array.shape)[tuple(centre[::-1])] == pytest.approx(1.0, abs=0.01)


def test_nodes_in_few_numbers_are_the_mask():
    mask = np.zeros((5, 6, 8), dtype=bool)
    mask[1:4, :4, 2:7] = True
    mask[2, 1, 3] = False
    found = nodes_of((slice(10, 15), slice(0, 6), slice(3, 11)), mask)
    assert found.mask.size < mask.size
    again = found.mask
    for axis, edges in enumerate(found.edges):
        again = np.repeat(again, np.diff(edges), axis=axis)
    np.testing.assert_array_equal(again, mask)
    assert [(edges[0], edges[-1]) for edges in found.edges] == [(10, 15), (0, 6), (3, 11)]


@pytest.mark.parametrize("fwhm", [8.0, 10.0, 12.5])
def test_point_spread_is_found(fwhm):
    scene = Scene(hot={"L3-L4 disc": 3.0})
    field = sampling.spect_field(scene.spect(fwhm=fwhm, noise=0.08, seed=5), np.eye(4))
    spine = scene.joints()
    found = estimate_width(view_of(field, spine, scene.labels()), family("no-recovery"))
    assert found.known
    # The shortfall of real reconstructions is added; these scenes have less of it.
    assert found.fwhm_mm * family("no-recovery").shortfall == pytest.approx(fwhm, rel=0.08)


def test_width_of_a_flat_image_is_not_known():
    scene = Scene(levels=("L2", "L3"))
    spect = scene.spect()
    field = sampling.spect_field(spect * 0.0 + 7.0, np.eye(4))
    spine = scene.joints()
    found = estimate_width(view_of(field, spine, scene.labels()), family("no-recovery"))
    assert not found.known
    assert "nearly uniform" in found.reason
