"""Patients that are drawn: typed, repeatable, as wide as the table says, true in their truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.anatomy import vertebra
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.phantom.draws import DrawnUptake, Osteophyte, draw_uptake
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.phantom.patients import (
    kind_names,
    make_patient,
    patient,
    patient_on,
    second_pose,
)
from CTSpectSpineLib.phantom.pattern import UptakePattern
from CTSpectSpineLib.phantom.scanner.projections.settings import load_reconstruction
from CTSpectSpineLib.phantom.scanning import scan, specimen_of
from CTSpectSpineLib.phantom.surroundings import MovedPart, Surroundings, subject_of
from CTSpectSpineLib.phantom.write import truth_record


def test_the_same_draw_gives_the_same_patient():
    assert patient("mixed", 5) == patient("mixed", 5)
    assert patient("mixed", 5) != patient("mixed", 6)
    # Kinds share everything but the joints that stand out (and what is worn with them).
    ordinary, hot = patient("ordinary", 5), patient("hot", 5)
    assert ordinary.uptake.pattern == hot.uptake.pattern
    assert (ordinary.surroundings, ordinary.spect) == (hot.surroundings, hot.spect)
    assert replace(ordinary.spine, degenerate={}) == replace(hot.spine, degenerate={})


def test_a_cropped_field_changes_nobodys_uptake():
    short, long = patient("ordinary", 8, "lumbar"), patient("ordinary", 8, "whole")
    for name, ratio in short.uptake.pattern.joints.items():
        assert long.uptake.pattern.joints[name] == ratio
    assert set(short.uptake.pattern.bodies) < set(long.uptake.pattern.bodies)


def test_kinds_hold_what_their_names_say():
    for seed in range(40):
        ratios = {kind: list(patient(kind, seed).uptake.hot.values()) for kind in kind_names()}
        assert ratios["ordinary"] == []
        assert 1 <= len(ratios["mild"]) <= 4
        assert all(1.4 <= r <= 2 for r in ratios["mild"])
        assert 1 <= sum(r >= 2 for r in ratios["hot"]) <= 3
        beside = {j: r for j, r in patient("beside", seed).uptake.hot.items() if r >= 2}
        (low, cool), (high, hot) = sorted(beside.items(), key=lambda item: item[1])
        assert 2 <= cool <= 3 < 3.5 <= hot <= 7
        assert set(low.split()[0].split("-")) & set(high.split()[0].split("-"))


def test_ordinary_joints_spread_as_in_real_patients():
    drawn = [patient("ordinary", seed, "whole").uptake.pattern for seed in range(60)]
    ratios = np.array([list(p.joints.values()) for p in drawn])
    assert 0.6 <= ratios.min() < 0.62
    assert 1.43 < ratios.max() <= 1.45
    assert (ratios == 1.45).mean() < 0.005
    assert np.quantile(ratios, [0.1, 0.5, 0.9]) == pytest.approx([0.70, 0.98, 1.27], abs=0.06)
    within = ratios.std(axis=1)
    assert 0.1 < np.quantile(within, 0.1) < np.quantile(within, 0.9) < 0.35
    assert ratios.mean(axis=1).std() > 0.05  # patients differ as a whole
    left, right = (
        np.array([[p.joints[j] for j in p.joints if j.endswith(side)] for p in drawn])
        for side in ("left", "right")
    )
    assert 0.05 < np.std((left - right).mean(axis=1)) < 0.2
    assert np.mean([len(patient("ordinary", s).uptake.osteophytes) for s in range(60)]) / 7 > 0.03
    behind = np.array([list(p.posterior.values()) for p in drawn])
    assert behind.mean() == pytest.approx(0.8, abs=0.05)


def test_surroundings_occur_as_often_as_stated():
    around = [patient("ordinary", seed).surroundings for seed in range(200)]
    assert 0.08 < np.mean([a.moved is not None for a in around]) < 0.24
    assert 0.04 < np.mean([a.injection_site > 0 for a in around]) < 0.18
    assert 0.01 < np.mean([a.arms for a in around]) < 0.12
    assert all(1 <= a.bladder_growth <= 2 for a in around)
    neck = [patient("ordinary", seed, "cervical").surroundings for seed in range(100)]
    assert 0.35 < np.mean([a.arms for a in neck]) < 0.65


def test_unknown_kinds_and_fields_are_refused():
    with pytest.raises(InputError, match="no kind of patient 'x'; there are ordinary"):
        patient("x", 1)
    with pytest.raises(InputError, match="no field 'leg'; there are lumbar"):
        patient("hot", 1, "leg")


def test_the_truth_of_a_drawn_patient_is_that_of_its_activity(anatomy):
    """On blocks whose bones are whole voxels: the mean of the map over each joint's bone."""
    ids = [joint.id for joint in anatomy.joints]
    for seed in range(6):
        uptake = patient_on(anatomy, "hot", seed).uptake
        assert uptake == draw_uptake("hot", seed, ids, ("L3", "L4", "L5"))
        one = Osteophyte("L4-L5 disc", 30.0, 3.5, 1.2)
        drawn = replace(
            patient("hot", seed), uptake=DrawnUptake(uptake.pattern, (one,), uptake.hot)
        )
        made = make_patient(drawn, anatomy)
        array = sitk.GetArrayFromImage(made.painted.image)
        truth = made.painted.truth
        for joint in anatomy.joints:
            mean = array[joint.bone.mask].mean() / truth.reference
            assert truth.ratios[joint.id] == pytest.approx(mean, rel=3e-3)
            if joint.id in uptake.hot and joint.id != one.joint:
                assert mean == pytest.approx(uptake.hot[joint.id], rel=5e-3)
        focus = made.record["patient"]["uptake"]["pattern"]["foci"][0]
        disc = next(j for j in anatomy.joints if j.id == one.joint).bone
        x, y = (np.array(focus["centre_mm"]) - disc.centre_mm())[:2]
        assert np.rad2deg(np.arctan2(-y, x)) == pytest.approx(30.0, abs=15.0)
        # In one of the endplates, not in the disc space between them.
        assert np.abs(disc.points_mm()[:, 2] - focus["centre_mm"][2]).min() < 1.0


def test_no_patient_at_all_is_like_no_pattern(anatomy):
    plain = specimen_of(anatomy, {"L4-L5 disc": 3.0}, 2)
    assert plain.surroundings == Surroundings()
    assert subject_of(anatomy, plain.painted.image, np.eye(4)).added == ()
    assert subject_of(anatomy, plain.painted.image, np.eye(4)).movement is None


def test_surroundings_become_objects(anatomy):
    tissue = sitk.GetArrayFromImage(anatomy.tissue)
    tissue[:6, :8, :8] = Tissue.BLADDER
    bladder = sitk.GetImageFromArray(tissue)
    bladder.CopyInformation(anatomy.tissue)
    wet = replace(anatomy, tissue=bladder)
    made = specimen_of(wet, {}, 1, pattern=UptakePattern(tissues={"BLADDER": 5.0}))
    moved = MovedPart((0.0, 5.0, 0.0), begin=0.4)
    around = Surroundings(1.5, True, 0.02, moved)
    subject = subject_of(wet, made.painted.image, np.eye(4), around)
    full, left, right = subject.added
    assert (full.begin, full.end) == (0.0, 0.5)
    array = sitk.GetArrayFromImage(full.activity)
    assert array[tissue == Tissue.BLADDER] == pytest.approx(5.0)
    assert array[tissue != Tissue.BLADDER].max() == 0.0
    assert left.activity.GetOrigin()[0] > 0 > right.activity.GetOrigin()[0]
    amount = {
        name: sitk.GetArrayViewFromImage(o.activity).sum(dtype=float) * 27
        for name, o in (("left", left), ("right", right))
    }
    volume = float(np.prod(made.painted.image.GetSpacing()))
    whole = sitk.GetArrayViewFromImage(made.painted.image).sum(dtype=float) * volume
    assert amount["left"] - amount["right"] == pytest.approx(0.02 * whole, rel=1e-3)
    assert left.hu is not None
    # Arms begin at the shoulders: T1, or nowhere in a CT of the neck alone.
    labels = sitk.GetArrayFromImage(anatomy.labels)
    for level, found in (("T1", 2), ("C4", 0)):
        other = sitk.GetImageFromArray(
            np.where(labels == vertebra("L4").id, vertebra(level).id, 0).astype(np.uint8)
        )
        other.CopyInformation(anatomy.labels)
        armed = subject_of(
            replace(anatomy, labels=other), made.painted.image, np.eye(4), Surroundings(arms=True)
        )
        assert len(armed.added) == found
        for arm in armed.added:
            k = arm.activity.GetSize()[2] - 1
            top = arm.activity.TransformIndexToPhysicalPoint((0, 0, k))[2]
            assert top == pytest.approx(anatomy.joints[0].centre_mm[2], abs=45.0)
            assert top < 80 * 1.5 - 300 - 30
    assert subject.movement is not None
    assert subject.movement.matrix[:3, 3] == pytest.approx([0.0, 5.0, 0.0])
    site = subject_of(wet, made.painted.image, np.eye(4), Surroundings(injection_site=0.02))
    assert len(site.added) == 1
    assert site.added[0].hu is None


def in_air(anatomy: Anatomy) -> Anatomy:
    """The same bones without the muscle around them, for a small field."""
    air = sitk.Cast(anatomy.tissue == int(Tissue.MUSCLE), sitk.sitkInt16)
    return replace(anatomy, ct=sitk.Subtract(anatomy.ct, sitk.Multiply(air, 1040)))


QUICK = replace(load_reconstruction("recovery"), name="quick", views=12, iterations=3, subsets=3)


def test_scans_of_one_patient(anatomy):
    """Several reconstructions of the same counts, two noise draws, two poses."""
    made = specimen_of(in_air(anatomy), {"L4-L5 disc": 5.0}, 2)
    config = replace(patient("hot", 3).spect, counts=4e6, spacing_mm=5.0)
    plain = replace(QUICK, name="plain", resolution_recovery=False)
    first, second = scan(made, config, [QUICK, plain], noise=(0, 1))
    assert list(first) == ["quick", "plain"]
    assert first["quick"].truth is made.painted.truth
    arrays = [sitk.GetArrayFromImage(draw[name].spect) for draw in (first, second) for name in draw]
    assert len({a.tobytes() for a in arrays}) == 4
    # Two draws are alike but for the noise.
    assert np.corrcoef(arrays[1].ravel(), arrays[3].ravel())[0, 1] > 0.9
    again = scan(made, config, [plain])[0]["plain"]
    assert np.array_equal(sitk.GetArrayFromImage(again.spect), arrays[1])
    facts = truth_record(first["quick"])["scanner"]
    assert facts["name"] == "projections"
    assert facts["reconstruction"]["family"] == "recovery"
    assert (facts["counts"], facts["views"], facts["seed"], facts["noise"]) == (4e6, 12, 3, 0)
    assert 0.05 < facts["scattered_share"] < 0.4
    other = second_pose(patient("hot", 3))
    assert other.translation_mm != patient("hot", 3).spect.translation_mm
    still = {"translation_mm": (0, 0, 0), "rotation_deg": (0, 0, 0)}
    assert replace(other, **still) == replace(patient("hot", 3).spect, **still)


def test_the_hot_disc_is_seen_where_the_truth_says(anatomy):
    made = specimen_of(in_air(anatomy), {"L4-L5 disc": 12.0}, 2)
    config = replace(patient("hot", 3).spect, counts=2e6, spacing_mm=4.4)
    config = replace(config, translation_mm=(9.0, -7.0, 5.0))
    seen = scan(made, config, [QUICK])[0]["quick"]
    array = sitk.GetArrayFromImage(seen.spect)
    index = ndimage.center_of_mass(np.where(array > 0.5 * array.max(), array, 0.0))
    found = seen.spect.TransformContinuousIndexToPhysicalPoint(index[::-1])
    disc = next(j for j in anatomy.joints if j.id == "L4-L5 disc")
    where = (seen.ct_to_spect @ np.append(disc.centre_mm, 1.0))[:3]
    assert found == pytest.approx(where, abs=2.5)
