"""Each vertebra moves on its own: where the spine is bent, and only there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.geometry import apply_matrix, euler_transform, image_centre_mm
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.model import FloatArray, Region, Registration, SpineJoints, VertebraFrame
from CTSpectSpineLib.phantom import Phantom, bend, load_case, make_phantom
from CTSpectSpineLib.phantom.scanner.spect import simulate_spect
from CTSpectSpineLib.posture import Posture, VertebraMotion
from CTSpectSpineLib.registration import refine_vertebrae, registration_record


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    case = load_case("multiple-areas")
    return make_phantom(replace(case, spine=replace(case.spine, first="T10", spacing_mm=3.0)))


@pytest.fixture(scope="module")
def spine(phantom: Phantom) -> SpineJoints:
    return build_joints(phantom.anatomy.labels)


def scanned(phantom: Phantom, bend_mm: float) -> tuple[sitk.Image, FloatArray, FloatArray]:
    """SPECT of the phantom, bent; joints in the CT, and where they lie in the SPECT."""
    joints = np.array([j.centre_mm for j in phantom.joints if j.centre_mm is not None])
    bent = bend(phantom.activity, joints, bend_mm, 8)
    spect = simulate_spect(bent.image, phantom.ct_to_spect, 10.0, 8e6, 4.42, seed=4)
    return spect, joints, apply_matrix(phantom.ct_to_spect, bent.displaced_mm)


def rigid(phantom: Phantom, error_mm: float, deformation_mm: float) -> Registration:
    """The best rigid registration: `bend` leaves no rigid part."""
    transform = euler_transform(phantom.ct_to_spect, image_centre_mm(phantom.ct).tolist())
    return Registration(
        transform, "known", 0.0, 0.6, error_mm, "good", ("Fine.",), 1.0, deformation_mm
    )


def errors(found: Registration, joints: FloatArray, true: FloatArray) -> FloatArray:
    there = joints if found.posture is None else found.posture.moved(joints)
    distances: FloatArray = np.linalg.norm(apply_matrix(found.matrix, there) - true, axis=1)
    return distances


@pytest.mark.slow
def test_the_joints_of_a_bent_spine_are_found(phantom: Phantom, spine: SpineJoints) -> None:
    spect, joints, true = scanned(phantom, 3.0)
    before = rigid(phantom, math.hypot(0.6, 2.5), 2.5)
    after = refine_vertebrae(phantom.ct, spect, before, spine.frames)
    assert after.posture is not None
    found = errors(after, joints, true)
    assert errors(before, joints, true).mean() > 2.5
    assert found.mean() < 1.1
    assert found.max() < 2.2
    # What is stated follows from what remains: neither the bend, nor next to nothing.
    assert 0.5 * math.sqrt(np.mean(found**2)) < after.expected_error_mm < 0.6 * 2.5
    assert after.quality == before.quality
    assert after.reasons[0] == "Fine."
    assert after.reasons[1].startswith("Each vertebra was moved on its own")
    assert f"{after.posture.largest_shift_mm:.1f} mm" in after.reasons[1]
    record = registration_record(after)
    assert len(record["posture"]["vertebrae"]) == len(after.posture.vertebrae) >= 7


@pytest.mark.slow
def test_a_spine_that_lies_the_same_way_stays_rigid(phantom: Phantom, spine: SpineJoints) -> None:
    spect, _, _ = scanned(phantom, 0.0)
    before = rigid(phantom, 0.5, 0.0)
    after = refine_vertebrae(phantom.ct, spect, before, spine.frames)
    assert after.posture is None
    assert after.expected_error_mm == before.expected_error_mm
    assert "posture" not in registration_record(after)
    assert after.reasons[1].startswith("Each vertebra was left where the rigid registration puts")
    again = refine_vertebrae(phantom.ct, spect, after, spine.frames)
    assert again.reasons == after.reasons


def test_what_failed_or_has_no_labels_stays_and_what_moved_is_kept() -> None:
    image = sitk.Image([4, 4, 4], sitk.sitkInt16)
    found = Registration(euler_transform(np.eye(4)), "known", 0.0, 0.6, 0.5, "good", (), 1.0)
    box = Region(np.ones((2, 2, 2), dtype=bool), np.eye(4))
    frames = {
        level: VertebraFrame(level, np.array([0.0, 0.0, z]), np.eye(3), box, box, reliable=whole)
        for level, z, whole in (("L3", 0.0, True), ("L2", 34.0, False))
    }
    alone = refine_vertebrae(image, image, found, frames)
    assert replace(alone, reasons=()) == found
    assert "labels of at least two whole vertebrae" in alone.reasons[-1]
    motions = tuple(
        VertebraMotion(name, np.array([0.5, 0.0, z]), np.ones(3), np.zeros(3), 0.5)
        for name, z in (("L4", 0.0), ("L3", 34.0))
    )
    kept = refine_vertebrae(image, image, replace(found, posture=Posture(motions)), frames)
    assert kept.posture is not None
    assert [v.level for v in kept.posture.vertebrae] == ["L3", "L2"], "the names of now"
    np.testing.assert_array_equal(kept.posture.vertebrae[0].shift_mm, np.ones(3))
    failed = refine_vertebrae(image, image, replace(found, quality="failed"), frames)
    assert failed.posture is None
    assert "because the registration failed" in failed.reasons[-1]
