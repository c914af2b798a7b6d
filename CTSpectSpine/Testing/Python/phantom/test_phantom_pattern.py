"""Uptake that varies within a patient: the truth is what the activity map holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.anatomy import vertebra
from CTSpectSpineLib.geometry import apply_matrix, grid_of
from CTSpectSpineLib.phantom.activity import assign_activity
from CTSpectSpineLib.phantom.model import Tissue
from CTSpectSpineLib.phantom.pattern import Focus, UptakePattern


def reference_by_hand(array: np.ndarray) -> float:
    return float(np.mean([array[low + 7 : low + 13, 14:24, 24:38].mean() for low in (4, 30, 56)]))


def test_an_empty_pattern_keeps_what_it_does_not_name(anatomy):
    painted = assign_activity(anatomy, {}, 3, UptakePattern())
    plain = assign_activity(anatomy, {}, 3)
    array, other = (sitk.GetArrayFromImage(p.image) for p in (painted, plain))
    muscle = sitk.GetArrayFromImage(anatomy.tissue) == Tissue.MUSCLE
    assert np.array_equal(array[muscle], other[muscle])
    assert reference_by_hand(array) == pytest.approx(1.0)


def test_joints_differ_as_the_pattern_says(anatomy):
    wanted = {
        "L3-L4 disc": 0.7,
        "L4-L5 disc": 1.4,
        "L3-L4 facet left": 0.62,
        "L3-L4 facet right": 1.3,
        "L4-L5 facet left": 1.1,
    }
    pattern = UptakePattern(
        joints=wanted,
        bodies={"L3": 0.9, "L4": 1.05, "L5": 1.2},
        posterior={"L4": 0.5},
        tissues={"MUSCLE": 0.2},
    )
    painted = assign_activity(anatomy, {"L4-L5 facet right": 3.0}, 1, pattern)
    array = sitk.GetArrayFromImage(painted.image)
    reference = reference_by_hand(array)
    assert reference == pytest.approx(np.mean([0.9, 1.05, 1.2]), rel=1e-2)
    assert painted.truth.reference == pytest.approx(reference, rel=2e-3)
    for joint in anatomy.joints:
        ratio = array[joint.bone.mask].mean() / reference
        assert painted.truth.ratios[joint.id] == pytest.approx(ratio, rel=2e-3)
        assert ratio == pytest.approx({**wanted, "L4-L5 facet right": 3.0}[joint.id], rel=5e-3)
    tissue, labels = (sitk.GetArrayFromImage(i) for i in (anatomy.tissue, anatomy.labels))
    outside = ~np.any([j.bone.mask for j in anatomy.joints], axis=0)
    arch = (tissue == Tissue.POSTERIOR) & (labels == vertebra("L4").id) & outside
    assert array[arch] == pytest.approx(0.5 * 1.05, rel=2e-3)
    assert array[tissue == Tissue.MUSCLE] == pytest.approx(0.2, abs=1e-3)


def test_uneven_joints_keep_their_mean_and_have_their_slope(anatomy):
    slopes = {"L4-L5 disc": (0.02, 0.0, 0.0), "L3-L4 facet left": (0.0, 0.03, -0.02)}
    pattern = UptakePattern(joints={"L4-L5 disc": 1.2}, joint_slopes=slopes)
    painted = assign_activity(anatomy, {"L3-L4 facet left": 4.0}, 1, pattern)
    array = sitk.GetArrayFromImage(painted.image)
    for name, mean in (("L4-L5 disc", 1.2), ("L3-L4 facet left", 4.0)):
        bone = next(j for j in anatomy.joints if j.id == name).bone
        values = array[bone.mask] / reference_by_hand(array)
        assert values.mean() == pytest.approx(mean, rel=5e-3)
        assert painted.truth.ratios[name] == pytest.approx(values.mean(), rel=2e-3)
        offset = bone.points_mm() - bone.centre_mm()
        found = np.linalg.lstsq(offset, values / mean - 1, rcond=None)[0]
        assert found == pytest.approx(slopes[name], abs=2e-3)


def test_the_truth_of_a_joint_beside_an_uneven_hot_one_is_its_mean(anatomy):
    """Where an uneven joint reaches into another, it counts there as it is there."""
    hot = next(j for j in anatomy.joints if j.id == "L4-L5 facet left")
    mask = np.roll(hot.bone.mask, 4, axis=0)
    region = replace(hot.bone, mask=mask)
    cool = replace(hot, id="L3-L4 facet left", bone=region, region=region)
    others = tuple(j for j in anatomy.joints if j.id not in (hot.id, cool.id))
    pattern = UptakePattern(joint_slopes={hot.id: (0.0, 0.0, 0.08)})
    painted = assign_activity(
        replace(anatomy, joints=(*others, hot, cool)), {hot.id: 6.0}, 1, pattern
    )
    ratios = sitk.GetArrayFromImage(painted.image) / painted.truth.reference
    for joint in (hot, cool):
        truth = painted.truth.ratios[joint.id]
        assert truth == pytest.approx(ratios[joint.bone.mask].mean(), rel=2e-3)


def test_foci_count_as_far_as_they_lie_in_a_joint(anatomy):
    disc = next(j for j in anatomy.joints if j.id == "L4-L5 disc")
    points = disc.bone.points_mm()
    rim = points[points[:, 0].argmax()]
    focus = Focus((float(rim[0]), float(rim[1]), float(rim[2])), 4.0, 1.5)
    plain = assign_activity(anatomy, {}, 1, UptakePattern())
    painted = assign_activity(anatomy, {}, 1, UptakePattern(foci=(focus,)))
    array, before = (sitk.GetArrayFromImage(p.image) for p in (painted, plain))
    added = array - before
    tissue = sitk.GetArrayFromImage(anatomy.tissue)
    assert added[tissue == Tissue.MUSCLE].max() == 0.0
    assert added.max() == pytest.approx(1.5, abs=0.05)
    assert (added[(tissue == Tissue.BODY) & ~disc.bone.mask] > 0.05).any()  # beyond the joint, too
    reference = reference_by_hand(array)
    for joint in anatomy.joints:
        ratio = array[joint.bone.mask].mean() / reference
        assert painted.truth.ratios[joint.id] == pytest.approx(ratio, rel=2e-3)
    assert painted.truth.ratios[disc.id] > plain.truth.ratios[disc.id] + 0.01


def test_slope_and_texture_within_a_vertebra(anatomy):
    pattern = UptakePattern(vertebra_slopes={"L4": (0.0, 0.01, 0.0)})
    array = sitk.GetArrayFromImage(assign_activity(anatomy, {}, 1, pattern).image)
    labels, tissue = (sitk.GetArrayFromImage(i) for i in (anatomy.labels, anatomy.tissue))
    outside = ~np.any([j.bone.mask for j in anatomy.joints], axis=0)
    body = (labels == vertebra("L4").id) & (tissue == Tissue.BODY) & outside
    kji = np.argwhere(body).astype(float)
    y = apply_matrix(grid_of(anatomy.ct).ijk_to_lps, kji[:, ::-1])[:, 1]
    assert np.polyfit(y, array[body], 1)[0] == pytest.approx(0.01, rel=0.02)
    rough = UptakePattern(vertebra_texture=0.1, seed=4)
    array = sitk.GetArrayFromImage(assign_activity(anatomy, {}, 1, rough).image)
    assert array[body].std() == pytest.approx(0.1, abs=0.03)
    assert array[body].mean() == pytest.approx(1.0, abs=0.06)
    again = sitk.GetArrayFromImage(assign_activity(anatomy, {}, 2, rough).image)
    assert np.array_equal(again[body], array[body])
