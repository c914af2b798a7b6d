"""The whole measurement on a spine of simple solids with known uptake."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from test_uptake_scene import BOUNDS, Scene, registration, rigid

from CTSpectSpineLib import uptake
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import SpineJoints, UptakeBounds
from CTSpectSpineLib.reconstruction import ReconstructionFacts
from CTSpectSpineLib.uptake_bounds import class_of as classify

CONTRACT_COLUMNS = [
    "joint",
    "level",
    "kind",
    "side",
    "spine_region",
    "x_mm",
    "y_mm",
    "z_mm",
    "volume_mm3",
    "status",
    "status_reason",
    "mean",
    "max",
    "peak",
    "corrected_mean",
    "reference",
    "ratio_mean",
    "ratio_max",
    "ratio_peak",
    "ratio_corrected",
    "z_score",
    "asymmetry",
    "ratio_low",
    "ratio_high",
    "probability_positive",
    "uptake",
    "suv_mean",
    "suv_max",
    "suv_peak",
    "ratio_upper_endplate",
    "ratio_lower_endplate",
]
HOT = {"L3-L4 disc": 4.0, "L4-L5 facet right": 4.0}
SCENE = Scene(hot=HOT)
PLAIN = ReconstructionFacts("no-recovery", "given")
"""What the scenes are: blurred by a Gaussian."""
POSE = rigid((5.0, -4.0, 8.0), (12.0, -8.0, 15.0))


@cache
def noisy(seed=0, error_mm=1.0, repetitions=60):
    spect = SCENE.spect(POSE, noise=0.08, seed=3)
    return uptake.measure(
        spect, SCENE.joints(), SCENE.labels(), registration(POSE, error_mm), BOUNDS, seed=seed,
        repetitions=repetitions, emitted=uptake.Emission(spect, PLAIN),
    )  # fmt: skip


def quick(spect=None, scene=SCENE, joints=None, pose=None, **options):
    options = {"repetitions": 0, "fwhm_mm": 10.0, **options}
    bounds, error = options.pop("bounds", BOUNDS), options.pop("error_mm", 0.0)
    spect = scene.spect(pose) if spect is None else spect
    return uptake.measure(
        spect, scene.joints() if joints is None else joints, scene.labels(),
        registration(pose, error), bounds, emitted=uptake.Emission(spect, PLAIN), **options,
    )  # fmt: skip


def truth(scene=SCENE):
    joints = scene.joints().joints
    return np.array([scene.true_ratio(j.upper, j.lower, j.kind, j.side) for j in joints])


@pytest.mark.parametrize(("fwhm", "spacing"), [(8.0, 4.42), (10.0, 4.8), (12.0, 2.2)])
def test_true_ratios_are_recovered_without_noise(fwhm, spacing):
    result = quick(SCENE.spect(fwhm=fwhm, spacing=spacing, offset=1.1), fwhm_mm=fwhm)
    found, true = result.table["ratio_corrected"].to_numpy(), truth()
    # Ordinary joints are drawn towards each other; outlines that are exact here make facets high.
    np.testing.assert_allclose(found[true < 2.0], true[true < 2.0], rtol=0.13)
    np.testing.assert_allclose(found[true > 2.0], true[true > 2.0], rtol=0.1)
    # What the correction is for: the plain ratio of a hot facet is far too low.
    hot = result.table.set_index("joint").loc["L4-L5 facet right"]
    assert hot["ratio_mean"] < 2.2


def test_ratios_do_not_depend_on_the_pose_of_the_spect():
    straight, turned = quick(), quick(pose=POSE)
    for column, tolerance in (("ratio_corrected", 0.05), ("ratio_mean", 0.03)):
        np.testing.assert_allclose(
            turned.table[column], straight.table[column], rtol=tolerance, err_msg=column
        )
    for column in ("ratio_max", "ratio_peak"):
        np.testing.assert_allclose(turned.table[column], straight.table[column], rtol=0.08)


def test_hot_joints_are_positive_and_no_other():
    table = noisy().table.set_index("joint")
    assert set(table.index[table["uptake"] == "positive"]) == set(HOT)
    assert (table.drop(index=list(HOT))["uptake"] == "negative").all()
    assert (table.loc[list(HOT), "probability_positive"] > 0.9).all()
    assert (table.drop(index=list(HOT))["probability_positive"] < 0.05).all()


def test_table_has_the_columns_of_the_contract():
    table = noisy().table
    assert list(table.columns) == CONTRACT_COLUMNS
    assert list(table["joint"]) == [j.id for j in SCENE.joints().joints]
    assert (table["status"] == "measured").all()
    assert (table["ratio_mean"] == table["mean"] / table["reference"]).all()
    assert table[["suv_mean", "suv_max", "suv_peak"]].isna().all(axis=None)
    assert table["asymmetry"].notna().equals(table["kind"] == "facet")
    both = table.set_index("joint")["asymmetry"]
    assert both["L4-L5 facet right"] == pytest.approx(1.0 / both["L4-L5 facet left"])
    assert both["L4-L5 facet right"] > 3.0


def test_point_spread_is_estimated_and_said():
    result = noisy()
    assert result.fwhm_source == "estimated from the SPECT"
    assert result.fwhm_mm == pytest.approx(10.0, rel=0.08)
    assert result.condition_number >= 1.0
    assert quick().fwhm_source == "given"


def test_reference_leaves_out_bodies_beside_hot_joints():
    reference = noisy().reference
    assert reference.used == ("L1", "L2")
    assert "L3-L4 disc" in reference.left_out["L3"]
    assert "L4-L5 facet right" in reference.left_out["L5"]
    assert reference.value == pytest.approx(100.0, rel=0.04)


def test_reference_leaves_out_bodies_that_stand_out_and_truncated_ones():
    scene = Scene(body={"L2": 2.2})
    joints = scene.joints()
    frames = {**joints.frames, "L5": replace(joints.frames["L5"], reliable=False)}
    result = quick(scene.spect(), scene, SpineJoints(joints.joints, frames))
    assert "stands out" in result.reference.left_out["L2"]
    assert "truncated" in result.reference.left_out["L5"]
    assert result.reference.value == pytest.approx(100.0, rel=0.03)


def test_all_discs_hot_still_gives_a_reference_with_a_warning():
    scene = Scene(hot={f"{u}-{lo} disc": 4.0 for u, lo in Scene().pairs()})
    result = quick(scene.spect(), scene)
    assert any("lower uptake" in w for w in result.warnings)
    assert result.reference.value == pytest.approx(100.0, rel=0.15)
    assert (result.table[result.table["kind"] == "disc"]["uptake"] == "positive").all()


def test_no_body_for_reference_makes_all_not_measurable():
    joints = SCENE.joints()
    frames = {k: replace(f, reliable=False) for k, f in joints.frames.items()}
    result = quick(joints=SpineJoints(joints.joints, frames))
    assert np.isnan(result.reference.value)
    assert (result.table["uptake"] == "not_measurable").all()
    assert result.table["status_reason"].str.contains("no reference").all()
    assert any("No vertebral body" in w for w in result.warnings)


def test_joints_outside_or_partly_inside_the_spect_are_not_measurable():
    spect = SCENE.spect(spacing=4.0)
    # Keep the lower part: the face lies between the L1-L2 and the L2-L3 joints.
    top = spect.TransformPhysicalPointToIndex((0.0, 0.0, -58.0))[2]
    table = quick(spect[:, :, :top]).table.set_index("joint")
    lost = table.loc["L1-L2 disc"]
    assert (lost["status"], lost["uptake"]) == ("not_measurable", "not_measurable")
    assert "outside the SPECT" in lost["status_reason"]
    assert "% of the joint lies inside" in table.loc["L2-L3 disc", "status_reason"]
    assert table.loc["L1-L2 disc", ["mean", "ratio_corrected", "ratio_low"]].isna().all()
    assert table.loc["L3-L4 disc", "uptake"] == "positive"
    assert len(table) == len(SCENE.joints().joints)


def test_spect_elsewhere_measures_nothing():
    spect = sitk.Image(SCENE.spect())
    spect.SetOrigin((1000.0, 0.0, 0.0))
    result = quick(spect, repetitions=5)
    assert (result.table["uptake"] == "not_measurable").all()
    assert result.draws.shape == (5, len(result.table))
    assert "Nothing of the spine" in result.warnings[0]


def test_joint_that_was_not_located_keeps_its_row():
    joints = SCENE.joints()
    lost = replace(
        joints.joints[0], region=None, bone=None, centre_mm=None, flags=("L1 is cut off",)
    )
    result = quick(joints=SpineJoints((lost, *joints.joints[1:]), joints.frames))
    row = result.table.iloc[0]
    assert row["status"] == "not_measurable"
    assert row["status_reason"] == "L1 is cut off; the joint was not located"
    assert np.isnan(row["x_mm"])


def test_contralateral_reference_compares_facets_with_the_other_side():
    bodies, across = quick(), quick(reference="contralateral", repetitions=40)
    one, other = bodies.table.set_index("joint"), across.table.set_index("joint")
    pair = one["corrected_mean"]["L4-L5 facet right"], one["corrected_mean"]["L4-L5 facet left"]
    assert other["ratio_corrected"]["L4-L5 facet right"] == pytest.approx(pair[0] / pair[1])
    assert other["ratio_corrected"]["L4-L5 facet left"] == pytest.approx(pair[1] / pair[0])
    hot = other.loc["L4-L5 facet right"]
    assert hot["ratio_low"] < hot["ratio_corrected"] < hot["ratio_high"]
    # Discs have no other side.
    assert other["ratio_corrected"]["L3-L4 disc"] == one["ratio_corrected"]["L3-L4 disc"]
    assert across.reference.name == "contralateral"


def test_endless_registration_error_widens_but_does_not_break():
    result = quick(
        SCENE.spect(noise=0.05), joints=SCENE.joints(), error_mm=float("inf"), repetitions=40
    )
    table = result.table
    assert np.isfinite(table["ratio_corrected"]).all()
    assert np.isfinite(table[["ratio_low", "ratio_high"]]).all(axis=None)


def test_suv_follows_the_factor():
    table = quick(suv_factor=0.05).table
    np.testing.assert_allclose(table["suv_peak"], 0.05 * table["peak"])


def test_scaling_the_spect_changes_no_ratio():
    spect = SCENE.spect(noise=0.08, seed=2)
    one, many = (quick(spect * s, repetitions=20, fwhm_mm=None).table for s in (1.0, 512.0))
    for column in ("ratio_corrected", "ratio_max", "ratio_low", "ratio_high", "z_score"):
        # A z-score near zero is a difference of nearly equal numbers.
        np.testing.assert_allclose(one[column], many[column], rtol=1e-3, atol=1e-4, err_msg=column)


def test_same_seed_same_result():
    again = noisy.__wrapped__()
    pd.testing.assert_frame_equal(noisy().table, again.table, check_exact=True)
    np.testing.assert_array_equal(noisy().draws, again.draws)
    assert not np.array_equal(noisy(seed=1).draws, again.draws)


def test_intervals_hold_the_measured_ratio_and_widen_with_error():
    near, far = noisy(error_mm=0.5).table, noisy(error_mm=4.0).table
    assert (near["ratio_low"] < near["ratio_corrected"]).all()
    assert (near["ratio_corrected"] < near["ratio_high"]).all()
    width_near, width_far = ((t["ratio_high"] - t["ratio_low"]).mean() for t in (near, far))
    assert width_far > 1.2 * width_near


@pytest.mark.slow
def test_intervals_cover_the_truth():
    covered = []
    rng = np.random.default_rng(7)
    for seed in range(4):
        error = rigid(rng.normal(0, 0.4, 3), rng.normal(0, 0.5, 3))
        spect = SCENE.spect(POSE, noise=0.1, seed=seed)
        result = uptake.measure(
            spect, SCENE.joints(), SCENE.labels(), registration(POSE @ error, 1.2), BOUNDS,
            repetitions=60, seed=seed, emitted=uptake.Emission(spect, PLAIN),
        )  # fmt: skip
        table = result.table
        covered += list((table["ratio_low"] <= truth()) & (truth() <= table["ratio_high"]))
    assert np.mean(covered) >= 0.88


@pytest.mark.parametrize("metric", ["ratio_mean", "ratio_max", "ratio_peak"])
def test_other_deciding_ratios(metric):
    bounds = {"disc": UptakeBounds(metric, 1.05, 1.0), "facet": BOUNDS["facet"]}
    result = quick(SCENE.spect(noise=0.05), bounds=bounds, repetitions=40, fwhm_mm=10.0)
    table = result.table.set_index("joint")
    hot = table.loc["L3-L4 disc"]
    assert hot["uptake"] == "positive"
    assert hot["ratio_low"] <= hot[metric] * 1.02
    assert hot["ratio_high"] >= hot[metric] * 0.98
    assert hot["ratio_high"] - hot["ratio_low"] < hot[metric]
    assert table.loc["L4-L5 facet right", "ratio_low"] > 2.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bounds": {"disc": BOUNDS["disc"]}}, "'facet'"),
        ({"bounds": {**BOUNDS, "disc": UptakeBounds("ratio_best", 2, 1)}}, "ratio_best"),
        ({"bounds": {**BOUNDS, "disc": UptakeBounds("ratio_max", 1, 2)}}, "positive 1 and"),
        ({"fwhm_mm": 0.5}, "0.5 mm"),
        ({"reference": "skull"}, "'skull'"),
        ({"reference": "sacrum"}, "'sacrum' cannot be used"),
        ({"suv_factor": -1.0}, "SUV factor -1"),
        ({"repetitions": -1}, "repetitions -1"),
    ],
)
def test_impossible_input_is_refused_in_one_sentence(options, words):
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        quick(**options)


def test_progress_is_told_and_can_cancel():
    told = []
    quick(progress=told.append, repetitions=20)
    assert [p.fraction for p in told] == sorted(p.fraction for p in told)
    assert told[-1].fraction == 1.0
    assert {p.stage for p in told} == {"uptake"}


@given(st.floats(0.0, 10.0), st.floats(0.5, 3.0), st.floats(0.0, 3.0))
def test_classes_follow_the_bounds(ratio, indeterminate, gap):
    bounds = UptakeBounds("ratio_corrected", indeterminate + gap, indeterminate)
    found = classify(ratio, bounds)
    assert (found == "positive") == (ratio >= indeterminate + gap)
    assert (found == "negative") == (ratio < indeterminate)
    assert classify(float("nan"), bounds) == "not_measurable"
