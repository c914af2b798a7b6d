"""The activity of the phantom: wanted ratios, overlaps, conservation on every grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf
from spect_support import image, joint_of

from CTSpectSpineLib.anatomy import vertebra
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import (
    FWHM_PER_SIGMA,
    apply_matrix,
    grid_of,
    ijk_to_lps,
)
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.phantom.activity import assign_activity
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.phantom.scanner.coverage import covered_fraction
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix, simulate_spect


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
