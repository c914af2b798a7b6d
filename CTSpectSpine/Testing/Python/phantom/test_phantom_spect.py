"""SPECT of a phantom: point spread, movement, noise, activity, truth and files."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from CTSpectSpineLib.anatomy import vertebra
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import (
    FWHM_PER_SIGMA,
    apply_matrix,
    euler_transform,
    grid_of,
    ijk_to_lps,
    image_centre_mm,
    image_from_array,
)
from CTSpectSpineLib.model import Joint, Region, SpineJoints, VertebraFrame
from CTSpectSpineLib.phantom import (
    Phantom,
    SpectConfig,
    case_names,
    load_case,
    make_phantom,
    phantom_from_ct,
    phantom_of,
    write_phantom,
)
from CTSpectSpineLib.phantom.activity import assign_activity
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.phantom.scanner.coverage import covered_fraction
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix, simulate_spect

MOVED = ((8.0, -6.0, 10.0), (3.0, -2.0, 4.0))


def image(array: np.ndarray, spacing: float, origin=(-50.0, 20.0, -300.0)) -> sitk.Image:
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = origin
    return image_from_array(array, matrix)


def block_spine(spacing: float = 1.5) -> Anatomy:
    """L3 to L5 as blocks with a pair of articular blocks, in a box of muscle."""
    shape = (80, 50, 60)
    tissue = np.full(shape, Tissue.MUSCLE, dtype=np.uint8)
    labels = np.zeros(shape, dtype=np.uint8)
    tops = {"L5": 4, "L4": 30, "L3": 56}
    for name, low in tops.items():
        body = (slice(low, low + 20), slice(8, 30), slice(16, 46))
        labels[body], tissue[body] = vertebra(name).id, Tissue.BODY
        arch = (slice(low + 2, low + 14), slice(30, 44), slice(20, 42))
        labels[arch], tissue[arch] = vertebra(name).id, Tissue.POSTERIOR
    joints = []
    matrix = ijk_to_lps(image(tissue, spacing))
    for upper, lower in (("L3", "L4"), ("L4", "L5")):
        level, gap = f"{upper}-{lower}", tops[upper]
        bands = np.zeros(shape, dtype=bool)
        bands[gap : gap + 3, 8:30, 16:46] = True
        bands[gap - 9 : gap - 6, 8:30, 16:46] = True
        joints.append(joint_of(level, "disc", "", upper, lower, bands, matrix))
        for side, where in (("left", slice(34, 42)), ("right", slice(20, 28))):
            facet = np.zeros(shape, dtype=bool)
            facet[gap + 2 : gap + 8, 32:40, where] = True
            joints.append(joint_of(level, "facet", side, upper, lower, facet, matrix))
    ct = np.where(tissue == Tissue.MUSCLE, 40, 300).astype(np.int16)
    return Anatomy(
        image(ct, spacing), image(labels, spacing), image(tissue, spacing), tuple(joints)
    )


def joint_of(level, kind, side, upper, lower, mask, matrix) -> Joint:
    region = Region(mask, matrix)
    name = f"{level} {kind} {side}".strip()
    return Joint(
        name, level, kind, side, "lumbar", upper, lower, region, region, region.centre_mm()
    )


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return block_spine()


def centroid_mm(picture: sitk.Image, values: np.ndarray) -> np.ndarray:
    kji = np.argwhere(values > 0)
    weights = values[values > 0]
    points = apply_matrix(ijk_to_lps(picture), kji[:, ::-1].astype(float))
    return np.average(points, axis=0, weights=weights)


# --- the scanner ---------------------------------------------------------------------------


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


# --- noise -----------------------------------------------------------------------------------


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


# --- activity --------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(disc=st.floats(0.4, 10), facet=st.floats(0.4, 10), seed=st.integers(0, 1000))
def test_wanted_ratios_are_reached(anatomy, disc, facet, seed):
    hot = {"L4-L5 disc": disc, "L3-L4 facet right": facet}
    painted = assign_activity(anatomy, hot, seed)
    array = sitk.GetArrayFromImage(painted.image)
    # Independent of the truth: masks of the construction (here on the CT's own voxels, so that
    # no voxel is a mixture), cores cut by hand.
    labels = sitk.GetArrayFromImage(anatomy.labels)
    cores = [array[low + 7 : low + 13, 14:24, 24:38].mean() for low in (4, 30, 56)]
    assert set(np.unique(labels[7 + 4 : 13 + 4, 14:24, 24:38])) == {vertebra("L5").id}
    for joint in anatomy.joints:
        ratio = array[joint.bone.mask].mean() / np.mean(cores)
        if joint.id in hot:
            assert ratio == pytest.approx(hot[joint.id], rel=0.01)
        else:
            assert 0.88 < ratio < 1.22
        assert painted.truth.ratios[joint.id] == pytest.approx(ratio, rel=2e-3)
    truth = painted.truth
    assert truth.reference == pytest.approx(np.mean(cores), rel=2e-3)
    assert truth.reference_levels == ("L3", "L4", "L5")


def test_hot_joints_leave_everything_else_as_it_was(anatomy):
    cold = sitk.GetArrayFromImage(assign_activity(anatomy, {}, 5).image)
    hot = sitk.GetArrayFromImage(assign_activity(anatomy, {"L4-L5 facet left": 6.0}, 5).image)
    bone = next(j for j in anatomy.joints if j.id == "L4-L5 facet left").bone.mask
    assert np.array_equal(hot[~bone], cold[~bone])
    assert hot[bone].min() > 3 * cold[bone].max()


def test_where_bones_overlap_the_hotter_wins_and_both_ratios_hold(anatomy):
    first = next(j for j in anatomy.joints if j.id == "L4-L5 facet left")
    mask = np.roll(first.bone.mask, 3, axis=0)
    region = Region(mask, first.bone.ijk_to_lps)
    second = replace(first, id="L3-L4 facet left", bone=region, region=region)
    others = tuple(j for j in anatomy.joints if j.id not in (first.id, second.id))
    both = replace(anatomy, joints=(*others, first, second))
    painted = assign_activity(both, {first.id: 6.0, second.id: 4.0})
    assert painted.truth.ratios[first.id] == pytest.approx(6.0, rel=0.01)
    assert painted.truth.ratios[second.id] == pytest.approx(4.0, rel=0.01)
    activity = sitk.GetArrayFromImage(painted.image) / painted.truth.reference
    assert activity[first.bone.mask].mean() == pytest.approx(6.0, rel=0.01)
    assert activity[mask].mean() == pytest.approx(4.0, rel=0.01)
    # Half of the second bone is the first's: 6 there, so 2 in the rest.
    assert np.ptp(activity[mask & first.bone.mask]) < 0.01
    assert activity[mask & ~first.bone.mask] == pytest.approx(2.0, rel=0.01)


def test_a_normal_joint_beside_a_hot_one_has_the_mean_over_its_bone_as_truth(anatomy):
    hot = next(j for j in anatomy.joints if j.id == "L4-L5 facet left")
    mask = np.roll(hot.bone.mask, 4, axis=0)  # a third of it is shared
    region = Region(mask, hot.bone.ijk_to_lps)
    normal = replace(hot, id="L3-L4 facet left", bone=region, region=region)
    others = tuple(j for j in anatomy.joints if j.id not in (hot.id, normal.id))
    painted = assign_activity(replace(anatomy, joints=(*others, hot, normal)), {hot.id: 6.0})
    activity = sitk.GetArrayFromImage(painted.image) / painted.truth.reference
    assert activity[hot.bone.mask] == pytest.approx(6.0, rel=0.01)
    assert 0.88 < activity[mask & ~hot.bone.mask].mean() < 1.22
    truth = painted.truth.ratios[normal.id]
    assert truth == pytest.approx(activity[mask].mean(), rel=2e-3)
    assert truth > 2.4


def test_ratio_that_an_overlap_forbids_is_refused(anatomy):
    first = next(j for j in anatomy.joints if j.id == "L4-L5 facet left")
    twin = replace(first, id="L4-L5 twin")
    with pytest.raises(InputError, match="overlap"):
        assign_activity(
            replace(anatomy, joints=(*anatomy.joints, twin)), {first.id: 8.0, twin.id: 1.0}
        )


def test_joint_regions_on_an_oblique_finer_grid_reach_their_ratio(anatomy):
    """Regions of real label maps lie on local grids of their own."""
    coarse = next(j for j in anatomy.joints if j.id == "L4-L5 disc").bone
    turned = rigid_matrix((0, 0, 0), (9, -14, 23), coarse.centre_mm())
    matrix = turned @ np.diag([0.8, 0.8, 0.8, 1.0])
    matrix[:3, 3] += coarse.centre_mm() - apply_matrix(matrix, np.full((1, 3), 40.0))[0]
    index = np.rint(
        apply_matrix(
            np.linalg.inv(coarse.ijk_to_lps) @ matrix,
            np.stack(np.meshgrid(*[np.arange(81)] * 3, indexing="ij"), -1).reshape(-1, 3),
        )
    ).astype(int)
    inside = np.all((index >= 0) & (index < coarse.mask.shape[::-1]), axis=1)
    mask = np.zeros(len(index), dtype=bool)
    mask[inside] = coarse.mask[tuple(index[inside].T[::-1])]
    region = Region(np.ascontiguousarray(mask.reshape(81, 81, 81).transpose(2, 1, 0)), matrix)
    assert region.volume_mm3 == pytest.approx(coarse.volume_mm3, rel=0.05)
    joints = tuple(
        replace(j, bone=region, region=region) if j.id == "L4-L5 disc" else j
        for j in anatomy.joints
    )
    painted = assign_activity(replace(anatomy, joints=joints), {"L4-L5 disc": 4.0})
    assert painted.truth.ratios["L4-L5 disc"] == pytest.approx(4.0, rel=1e-3)
    # On the CT's own voxels of the same bone the ratio is nearly the same.
    ratio = sitk.GetArrayFromImage(painted.image)[coarse.mask].mean() / painted.truth.reference
    assert 3.6 < ratio < 4.0


def test_metal_and_air_take_up_nothing(anatomy):
    tissue = sitk.GetArrayFromImage(anatomy.tissue)
    tissue[28:44, 20:24, 20:24] = Tissue.METAL
    screwed = replace(anatomy, tissue=image(tissue, 1.5))
    painted = assign_activity(screwed, {"L4-L5 disc": 4.0})
    activity = sitk.GetArrayFromImage(painted.image)
    assert activity[tissue == Tissue.METAL].max() == 0.0
    assert painted.truth.ratios["L4-L5 disc"] == pytest.approx(4.0, rel=0.01)
    # The bone that is left has the whole ratio: metal is no part of its volume.
    left = next(j for j in anatomy.joints if j.id == "L4-L5 disc").bone.mask & (
        tissue != Tissue.METAL
    )
    assert activity[left] == pytest.approx(4.0 * painted.truth.reference, rel=0.01)


def test_a_joint_in_metal_altogether_has_no_truth_and_cannot_be_hot(anatomy):
    facet = next(j for j in anatomy.joints if j.id == "L4-L5 facet left")
    tissue = sitk.GetArrayFromImage(anatomy.tissue)
    tissue[facet.bone.mask] = Tissue.METAL
    screwed = replace(anatomy, tissue=image(tissue, 1.5))
    assert facet.id not in assign_activity(screwed, {}).truth.ratios
    with pytest.raises(InputError, match="no joint 'L4-L5 facet left'"):
        assign_activity(screwed, {facet.id: 4.0})


# --- activity is conserved on every grid ----------------------------------------------------------

SLAB_MM = (34.0, 26.0, 4.0)
"""A hot endplate band: width, depth, height."""


def slab_spine(spacing: float, turn_deg: float = 20.0) -> Anatomy:
    """One large body in air with a slab of hot bone inside, the slab oblique and on 1 mm voxels.

    The body's faces lie on voxel faces of all spacings used, so that only the slab differs.
    """
    n = round(90 / spacing)
    low, high = round(18 / spacing), round(72 / spacing)
    body = (slice(low, high),) * 3
    tissue = np.zeros((n, n, n), dtype=np.uint8)
    labels = np.zeros_like(tissue)
    tissue[body], labels[body] = Tissue.BODY, vertebra("L4").id
    # The outer corner of the grid is the same point at every spacing.
    origin = tuple(corner + 0.5 * spacing for corner in (-45.0, -20.0, -300.0))
    centre = np.array([0.0, 25.0, -248.3])
    turned = rigid_matrix((0, 0, 0), (turn_deg, -0.5 * turn_deg, 13.0), centre)
    shape = np.array(SLAB_MM, dtype=int)
    mask = np.pad(np.ones(shape[::-1], dtype=bool), 3)
    matrix = np.eye(4)
    matrix[:3, 3] = centre - (np.array(mask.shape[::-1]) - 1) / 2
    slab = joint_of("L4-L5", "disc", "", "L4", "L5", mask, turned @ matrix)
    ct = np.where(tissue == Tissue.BODY, 300, -1000).astype(np.int16)
    return Anatomy(*(image(a, spacing, origin) for a in (ct, labels, tissue)), (slab,))


def total(picture: sitk.Image) -> float:
    """Activity times volume."""
    values = sitk.GetArrayFromImage(picture).astype(np.float64)
    return float(values.sum() * np.prod(picture.GetSpacing()))


@pytest.mark.parametrize("turn_deg", [0.0, 20.0])
@pytest.mark.parametrize("spacing", [0.9, 1.5, 3.0])
def test_excess_activity_is_the_excess_concentration_times_the_volume(spacing, turn_deg):
    ratio = 4.0
    anatomy = slab_spine(spacing, turn_deg)
    painted = assign_activity(anatomy, {"L4-L5 disc": ratio})
    assert painted.truth.ratios == {"L4-L5 disc": pytest.approx(ratio, rel=1e-3)}
    base = painted.truth.reference  # the body is all of one activity
    bone = sitk.GetArrayFromImage(anatomy.tissue) == Tissue.BODY
    without = base * bone.sum() * spacing**3
    excess = (total(painted.image) - without) / base
    assert excess == pytest.approx((ratio - 1) * np.prod(SLAB_MM), rel=0.01)
    # No voxel is hotter than the bone: coverage is made up for nowhere.
    assert sitk.GetArrayFromImage(painted.image).max() <= ratio * base * 1.001
    # What the descriptions warn of: a plain mean over the bone's voxels reads lower.
    index = [
        painted.image.TransformPhysicalPointToIndex(p)
        for p in anatomy.joints[0].bone.points_mm().tolist()
    ]
    plain = np.mean([painted.image.GetPixel(i) for i in index]) / base
    assert plain < ratio * (0.99 if spacing < 3 else 0.85)


def test_spect_of_a_hot_slab_is_the_analytic_one_on_every_ct_grid():
    """Against the closed form of a box convolved with a Gaussian, at points in and around it."""
    ratio, fwhm = 5.0, 10.0
    sums = []
    for spacing in (0.9, 1.5, 3.0):
        anatomy = slab_spine(spacing)
        spects = []
        for hot in ({"L4-L5 disc": 1.0}, {"L4-L5 disc": ratio}):
            painted = assign_activity(anatomy, hot)
            activity, base = total(painted.image), painted.truth.reference
            spect = simulate_spect(
                painted.image, np.eye(4), fwhm, activity / base, 3.0, beyond="air", noise_gain=0
            )
            spects.append(sitk.GetArrayFromImage(spect).astype(float) / 27)
        excess = spects[1] - spects[0]
        sums.append(spects[1].sum() * 27)
        index = np.stack(np.meshgrid(*[np.arange(n) for n in spect.GetSize()], indexing="ij"), -1)
        points = apply_matrix(ijk_to_lps(spect), index.reshape(-1, 3).astype(float))
        bone = anatomy.joints[0].bone
        local = apply_matrix(np.linalg.inv(bone.ijk_to_lps), points)
        local -= (np.array(bone.mask.shape[::-1]) - 1) / 2
        # A voxel's mean widens the point spread by the variance of its box.
        s = np.sqrt((fwhm / FWHM_PER_SIGMA) ** 2 + 3.0**2 / 12) * np.sqrt(2)
        half = np.array(SLAB_MM) / 2
        blurred = np.prod(0.5 * (erf((local + half) / s) - erf((local - half) / s)), axis=1)
        expected = (ratio - 1) * blurred.reshape(index.shape[:3]).transpose(2, 1, 0)
        # A coarse CT's own voxels blur as well.
        tolerance = 0.01 if spacing < 3 else 0.03
        assert np.abs(excess - expected).max() < tolerance * expected.max()
        assert excess.sum() * 27 == pytest.approx((ratio - 1) * np.prod(SLAB_MM), rel=0.01)
    assert np.ptp(sums) < 0.002 * np.mean(sums)


@settings(max_examples=20, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-90, 90)] * 3),
    shift=st.tuples(*[st.floats(-1, 1)] * 3),
    spacing=st.sampled_from([0.7, 0.9, 1.0, 1.5, 3.0, 5.0]),
)
def test_coverage_is_a_share_and_conserves_the_volume(angles, shift, spacing):
    mask = np.zeros((12, 16, 20), dtype=bool)
    mask[4:8, 3:13, 3:17] = True
    matrix = rigid_matrix(shift, angles, (9.5, 7.5, 5.5))
    region = Region(mask, matrix)
    n = round(40 / spacing)
    grid = grid_of(image(np.zeros((n, n, n), dtype=np.uint8), spacing, (-10.0, -12.0, -14.0)))
    share = covered_fraction(region, grid, np.zeros(3, dtype=int), np.array(grid.size))
    assert share.min() >= 0
    assert share.max() <= 1 + 1e-6
    assert share.sum() * spacing**3 == pytest.approx(region.volume_mm3, rel=0.01)


def test_coverage_is_whole_voxels_where_the_grids_are_the_same(anatomy):
    bone = anatomy.joints[0].bone
    grid = grid_of(anatomy.ct)
    share = covered_fraction(bone, grid, np.zeros(3, dtype=int), np.array(grid.size))
    assert np.allclose(share, bone.mask)


@pytest.mark.parametrize(
    ("hot", "words"),
    [
        ({"L4-L5 dics": 4.0}, "no joint 'L4-L5 dics'.*L3-L4 disc.*L4-L5 facet right"),
        ({"L4-L5 disc": 0.0}, "ratio 0 .*L4-L5 disc.*above 0"),
        ({"L4-L5 disc": -2.0}, "ratio -2 "),
        ({"L4-L5 disc": 500.0}, "at most 50"),
        ({"L4-L5 disc": float("nan")}, "ratio nan"),
    ],
)
def test_impossible_hot_joints_are_named(anatomy, hot, words):
    with pytest.raises(InputError, match=words):
        assign_activity(anatomy, hot)


# --- the whole product -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def product(anatomy) -> Phantom:
    config = SpectConfig(*MOVED, counts=2e6, seed=7)
    return phantom_of(anatomy, {"L4-L5 facet left": 8.0}, config)


def test_hot_joint_lies_where_the_movement_puts_it(anatomy):
    """Difference of the SPECT with and without the hot joint: its centroid, within 1 mm."""
    matrix = rigid_matrix(*MOVED, image_centre_mm(anatomy.ct))
    for joint in anatomy.joints:
        spects = [
            simulate_spect(assign_activity(anatomy, hot).image, matrix, counts=1e6, noise_gain=0)
            for hot in ({}, {joint.id: 6.0})
        ]
        cold, hot = (sitk.GetArrayFromImage(s).astype(float) for s in spects)
        # Both hold the same counts; far from the joint their scales show.
        scale = np.median(hot / cold)
        excess = np.maximum(hot - scale * cold, 0)
        excess[excess < 0.05 * excess.max()] = 0
        expected = apply_matrix(matrix, joint.centre_mm[None])[0]
        assert np.linalg.norm(centroid_mm(spects[0], excess) - expected) < 1.0


def test_truth_file_says_what_was_made(product, tmp_path):
    asked = []

    def disposition_of(table, protocol):
        asked.append(protocol)
        positive = table.loc[table["uptake"] == "positive", "joint"].tolist()
        return "hot: " + ", ".join(positive)

    returned = write_phantom(product, tmp_path, disposition_of, ("one", "two"))
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    assert truth == returned
    assert asked == ["one", "two"]
    assert truth["dispositions"] == dict.fromkeys(asked, "hot: L4-L5 facet left")
    assert np.array(truth["ct_to_spect"]) == pytest.approx(product.ct_to_spect)
    assert list(truth["joints"]) == [j.id for j in product.anatomy.joints]
    facet = truth["joints"]["L4-L5 facet left"]
    assert facet["true_ratio"] == pytest.approx(8.0, rel=0.01)
    assert (facet["level"], facet["kind"], facet["side"]) == ("L4-L5", "facet", "left")
    assert facet["centre_mm"] == pytest.approx(product.joints[4].centre_mm)
    assert "partial volume" in truth["true_ratio"]
    assert truth["seed"] == 7
    assert truth["config"]["spect"]["translation_mm"] == [8.0, -6.0, 10.0]
    for name in ("ct", "spect", "vertebrae", "activity"):
        assert (tmp_path / f"{name}.nii.gz").is_file()
    # The truth holds for the files as they are read back.
    activity = sitk.ReadImage(str(tmp_path / "activity.nii.gz"))
    assert grid_of(activity).matches(grid_of(product.ct))
    stored = sitk.GetArrayFromImage(activity)
    assert np.array_equal(stored, sitk.GetArrayFromImage(product.activity))
    mask = product.joints[4].bone.mask
    ratio = stored[mask].mean() / truth["reference"]["activity"]
    assert ratio == pytest.approx(facet["true_ratio"], rel=1e-3)


def test_joints_are_segments_by_name(product, tmp_path):
    from CTSpectSpineLib.volumes.segmentation_nrrd import read_segmentation

    write_phantom(product, tmp_path)
    segments, _ = read_segmentation(tmp_path / "joints.seg.nrrd")
    assert [s.name for s in segments] == [j.id for j in product.joints]
    for segment, joint in zip(segments, product.joints, strict=True):
        assert segment.region.centre_mm() == pytest.approx(joint.region.centre_mm(), abs=0.5)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_files_are_the_same_to_the_byte_at_another_time_and_place(anatomy, product, tmp_path):
    write_phantom(product, tmp_path / "first")
    time.sleep(2)  # gzip keeps times in whole seconds
    again = phantom_of(anatomy, {"L4-L5 facet left": 8.0}, SpectConfig(*MOVED, counts=2e6, seed=7))
    write_phantom(again, tmp_path / "elsewhere" / "second")
    first, second = digests(tmp_path / "first"), digests(tmp_path / "elsewhere" / "second")
    assert len(first) == 6
    assert first == second
    other = phantom_of(anatomy, {"L4-L5 facet left": 8.0}, SpectConfig(*MOVED, counts=2e6, seed=8))
    write_phantom(other, tmp_path / "third")
    changed = {n for n, digest in digests(tmp_path / "third").items() if digest != first[n]}
    assert {"spect.nii.gz", "activity.nii.gz", "truth.json"} <= changed


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fwhm_mm": 0.0}, "fwhm is 0 mm.*4 to 40"),
        ({"counts": -5.0}, "counts is -5"),
        ({"spacing_mm": 100.0}, "spacing is 100 mm"),
        ({"translation_mm": (0.0, 900.0, 0.0)}, "translation is 900 mm"),
        ({"rotation_deg": (0.0, 0.0, float("nan"))}, "rotation is nan"),
        ({"rotation_deg": (0.0, 1.0)}, "three numbers"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_settings_are_named(values, words):
    with pytest.raises(InputError, match=words):
        replace(SpectConfig(), **values).check()


# --- cases --------------------------------------------------------------------------------------


def test_every_case_is_well_formed():
    wanted = {
        *("lumbar-disc", "lumbar-facet", "cervical-facet", "cervical-disc", "multiple-areas"),
        *("negative", "scoliosis", "l6", "ribs11", "limited-fov", "metal", "whole-spine"),
    }
    assert wanted <= set(case_names())
    for name in case_names():
        case = load_case(name)
        assert case.description.endswith(".")
        case.spect.check()
        assert set(case.hot) <= set(case.spine.joint_ids)
        assert all(ratio >= 2.5 for ratio in case.hot.values())


def test_unknown_case_names_the_known_ones():
    with pytest.raises(InputError, match=r"'lumbar'.*lumbar-disc.*whole-spine"):
        load_case("lumbar")


def test_unknown_joint_is_found_before_anything_is_built():
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"no joint 'L7-S1 disc'.*L4-L5 disc"):
        make_phantom(replace(load_case("lumbar-disc"), hot={"L7-S1 disc": 3.0}))
    assert time.perf_counter() - start < 1.0


def test_demo_case_has_its_hot_disc_and_nothing_else():
    case = load_case("lumbar-disc")
    coarse = replace(case, spine=replace(case.spine, spacing_mm=2.5))
    phantom = make_phantom(coarse)
    assert phantom.true_ratios["L4-L5 disc"] == pytest.approx(4.0, rel=0.01)
    others = [v for k, v in phantom.true_ratios.items() if k != "L4-L5 disc"]
    assert min(others) > 0.85
    assert max(others) < 1.25
    assert len(phantom.joints) >= 15
    assert phantom.joint_table().query("uptake == 'positive'")["joint"].tolist() == ["L4-L5 disc"]


@pytest.mark.slow
@pytest.mark.parametrize("name", case_names())
def test_every_case_has_its_hot_joints_and_no_other(name):
    case = load_case(name)
    phantom = make_phantom(replace(case, spine=replace(case.spine, spacing_mm=2.5)))
    for joint, ratio in case.hot.items():
        assert phantom.true_ratios[joint] == pytest.approx(ratio, rel=0.01)
    others = [v for k, v in phantom.true_ratios.items() if k not in case.hot]
    assert max(others, default=0) < 1.6
    positive = phantom.joint_table().query("uptake == 'positive'")["joint"]
    assert set(positive) == set(case.hot)
    assert sitk.GetArrayViewFromImage(phantom.spect).min() >= 0


# --- a real CT --------------------------------------------------------------------------------


def frames_of(anatomy: Anatomy) -> SpineJoints:
    labels = sitk.GetArrayFromImage(anatomy.labels)
    tissue = sitk.GetArrayFromImage(anatomy.tissue)
    matrix = ijk_to_lps(anatomy.ct)
    frames = {}
    for name in ("L3", "L4", "L5"):
        body = Region((labels == vertebra(name).id) & (tissue == Tissue.BODY), matrix)
        frames[name] = VertebraFrame(name, body.centre_mm(), np.eye(3), body, body)
    return SpineJoints(anatomy.joints, frames)


def test_tissues_are_read_off_the_ct(anatomy):
    from CTSpectSpineLib.phantom.real_ct import classify

    hu = sitk.GetArrayFromImage(anatomy.ct)
    hu[:, :2], hu[:, -2:] = -1000, -1000  # air in front and behind
    hu[:, 2:5] = -100  # fat
    hu[20:30, 34:40, 4:10] = -800  # gas inside
    hu[40:60, 30:40, 50:58] = 500  # a bone without a label, hollow:
    hu[43:57, 33:37, 52:56] = 60
    hu[62:66, 31:35, 30:34] = 3000  # metal
    tissue = sitk.GetArrayFromImage(classify(image(hu, 1.5), anatomy.labels, frames_of(anatomy)))
    labelled = sitk.GetArrayFromImage(anatomy.labels) > 0
    truth = sitk.GetArrayFromImage(anatomy.tissue)
    metal = hu == 3000
    assert np.array_equal(tissue[labelled & ~metal], truth[labelled & ~metal])
    assert np.all(tissue[:, 0] == Tissue.AIR)
    assert np.all(tissue[2:-2, 3, 2:-2] == Tissue.FAT)
    assert np.all(tissue[22:28, 36:38, 6:8] == Tissue.LUNG)
    assert np.all(tissue[40:60, 30:40, 50:58] == Tissue.OTHER_BONE)
    assert np.all(tissue[metal] == Tissue.METAL)
    assert np.all(tissue[70:78, 20:28, 4:12] == Tissue.MUSCLE)


def test_labels_beside_the_ct_are_refused(anatomy):
    shifted = image(sitk.GetArrayFromImage(anatomy.labels), 1.5, (0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="vertebra labels do not lie on the CT"):
        phantom_from_ct(anatomy.ct, shifted, frames_of(anatomy), {})


def test_real_ct_gets_a_spect_with_known_truth(shared_data):
    from CTSpectSpineLib.joints import build_joints

    folder = shared_data / "totalsegmentator_example"
    ct = sitk.ReadImage(str(folder / "ct.nii.gz"))
    labels = sitk.ReadImage(str(folder / "vertebrae_total.nii.gz"))
    hot = {"L4-L5 disc": 4.0, "L5-S1 facet right": 5.0}
    config = SpectConfig((12.0, -8.0, 15.0), (6.0, 0.0, 0.0), seed=3)
    joints = build_joints(labels, ct)
    phantom = phantom_from_ct(ct, labels, joints, hot, config)
    for name, ratio in phantom.true_ratios.items():
        if name in hot:
            assert ratio == pytest.approx(hot[name], rel=0.01)
        else:
            assert 0.85 < ratio < 1.5
    # A bone SPECT: bone is far above soft tissue once it is brought back onto the CT.
    back = sitk.Resample(phantom.spect, ct, euler_transform(phantom.ct_to_spect), sitk.sitkLinear)
    values = sitk.GetArrayFromImage(back)
    hu = sitk.GetArrayFromImage(ct)
    vertebrae = sitk.GetArrayFromImage(labels) > 0
    assert values[vertebrae].mean() > 4 * values[(hu > 20) & (hu < 60)].mean()
    # The right facet is on the patient's right: smaller x than the disc in LPS.
    assert joints["L5-S1 facet right"].centre_mm[0] < joints["L4-L5 disc"].centre_mm[0]
