"""Registration of phantoms: the right level, other postures, and images that do not fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.geometry import apply_matrix, image_centre_mm
from CTSpectSpineLib.model import FloatArray, Registration
from CTSpectSpineLib.phantom.activity import assign_activity
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.anatomy.deformation import bend
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix, simulate_spect
from CTSpectSpineLib.registration import register
from CTSpectSpineLib.registration.column import find_column
from CTSpectSpineLib.registration.compare import margin
from CTSpectSpineLib.registration.prepare import ct_maps, spect_map
from CTSpectSpineLib.registration.refine import Level
from CTSpectSpineLib.registration.sampling import sampled_maps

TRANSLATION = (14.0, -11.0, 17.0)
ROTATION = (5.0, -4.0, 6.0)


@dataclass(frozen=True)
class Patient:
    anatomy: Anatomy
    activity: sitk.Image

    @property
    def ct(self) -> sitk.Image:
        return self.anatomy.ct

    @property
    def joints(self) -> FloatArray:
        return np.array([joint.centre_mm for joint in self.anatomy.joints])

    @property
    def truth(self) -> FloatArray:
        return rigid_matrix(TRANSLATION, ROTATION, image_centre_mm(self.ct).tolist())

    def errors(self, result: Registration) -> FloatArray:
        """Distance at the joints between the result and the truth, mm."""
        found = apply_matrix(result.matrix, self.joints)
        errors: FloatArray = np.linalg.norm(found - apply_matrix(self.truth, self.joints), axis=1)
        return errors


def make_patient(seed: int, **options: float) -> Patient:
    config = SpineConfig(seed=seed, first="T11", spacing_mm=2.0, scoliosis_cobb_deg=8.0, **options)
    anatomy = make_anatomy(config)
    return Patient(anatomy, assign_activity(anatomy, {"L4-L5 disc": 4.0}, seed).image)


@pytest.fixture(scope="module")
def patient() -> Patient:
    return make_patient(41)


@pytest.fixture(scope="module")
def spect(patient: Patient) -> sitk.Image:
    return simulate_spect(patient.activity, patient.truth, seed=1)


@pytest.fixture(scope="module")
def result(patient: Patient, spect: sitk.Image) -> Registration:
    return register(patient.ct, spect)


def flipped(image: sitk.Image, axes: tuple[bool, bool, bool]) -> sitk.Image:
    """Voxels reversed, the header kept: what a lost orientation does."""
    turned = sitk.Flip(image, axes)
    turned.CopyInformation(image)
    return turned


def test_phantom_is_registered(patient: Patient, result: Registration) -> None:
    errors = patient.errors(result)
    assert errors.mean() < 0.6
    assert errors.max() < 1.5
    assert result.quality == "good", result.reasons
    assert errors.mean() < 2 * result.expected_error_mm < 2.0


def test_small_ct_finds_its_level(patient: Patient, spect: sitk.Image) -> None:
    """A CT of a few lumbar vertebrae looks much the same one vertebra higher or lower."""
    middle = patient.joints[(patient.joints[:, 2]).argsort()][: len(patient.joints) * 2 // 3]
    margin_mm = np.array([50.0, 50.0, 5.0])
    low, high = middle.min(axis=0) - margin_mm, middle.max(axis=0) + margin_mm
    start = patient.ct.TransformPhysicalPointToIndex(low.tolist())
    end = patient.ct.TransformPhysicalPointToIndex(high.tolist())
    size = [int(b - a) for a, b in zip(start, end, strict=True)]
    small = sitk.RegionOfInterest(patient.ct, size, start)
    result = register(small, spect)
    assert patient.errors(result).mean() < 1.5
    # A right pair is not refused because its column is short.
    assert result.quality == "good", result.reasons


def test_blanked_slices_do_not_pull(patient: Patient, spect: sitk.Image) -> None:
    """Zeros where the camera saw nothing are no measurement."""
    values = sitk.GetArrayFromImage(spect)
    values[: int(0.4 * len(values))] = 0.0
    blanked = sitk.GetImageFromArray(values)
    blanked.CopyInformation(spect)
    result = register(patient.ct, blanked)
    assert patient.errors(result).mean() < 1.5
    assert result.quality != "failed", result.reasons


def test_other_posture_is_told_and_served(patient: Patient) -> None:
    """3 mm of bending: the best rigid position at the joints, and a sentence about the rest."""
    bent = bend(patient.activity, patient.joints, 3.0, 5)
    result = register(patient.ct, simulate_spect(bent.image, patient.truth, seed=2))
    assert patient.errors(result).mean() < 1.2
    assert any("bent differently" in reason for reason in result.reasons)
    assert 1.8 < result.expected_error_mm < 4.5


@pytest.mark.slow
def test_strong_bend_is_refused(patient: Patient) -> None:
    bent = bend(patient.activity, patient.joints, 8.0, 6)
    result = register(patient.ct, simulate_spect(bent.image, patient.truth, seed=3))
    assert result.quality == "failed"
    assert any("bent differently" in reason for reason in result.reasons)
    assert result.stated_error_mm is None


def test_mirrored_spect_is_refused(patient: Patient, spect: sitk.Image) -> None:
    result = register(patient.ct, flipped(spect, (True, False, False)))
    assert result.quality == "failed"
    assert any("left and right swapped" in reason for reason in result.reasons)


@pytest.mark.slow
@pytest.mark.parametrize(
    "axes", [(False, True, True), (True, True, False), (True, False, True)], ids=str
)
def test_turned_spect_is_refused(
    patient: Patient, spect: sitk.Image, axes: tuple[bool, bool, bool]
) -> None:
    assert register(patient.ct, flipped(spect, axes)).quality == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [51, 52, 53])
def test_other_patients_are_not_good(patient: Patient, spect: sitk.Image, seed: int) -> None:
    other = make_patient(seed, size=0.95 + 0.04 * (seed - 51), lumbar_lordosis_deg=35.0)
    assert register(other.ct, spect).quality == "failed"


def test_column_holds_the_joints(patient: Patient) -> None:
    maps = ct_maps(patient.ct)
    column = find_column(maps)
    index = apply_matrix(np.linalg.inv(maps.ijk_to_lps), patient.joints)
    i, j, k = np.rint(index).astype(int).T
    assert column.near[k, j, i].mean() > 0.9
    assert column.near.mean() < 0.25
    assert column.lowest_mm == pytest.approx(patient.joints[:, 2].min(), abs=30)


def test_margin_favours_the_truth_and_changes_sign(patient: Patient, spect: sitk.Image) -> None:
    maps, uptake = sampled_maps(ct_maps(patient.ct), 10.0), spect_map(spect)
    assert uptake is not None
    level = Level(fwhm_mm=10.0, smooth=False, points=8000, iterations=0)
    truth = np.linalg.inv(patient.truth)
    beside = truth.copy()
    beside[2, 3] += 6.0
    ours = margin(uptake, (maps, truth), (maps, beside), level)
    theirs = margin(uptake, (maps, beside), (maps, truth), level)
    same = margin(uptake, (maps, truth), (maps, truth), level)
    assert ours is not None
    assert theirs is not None
    assert same is not None
    assert ours.margin > 2.5
    assert ours.log10_ratio > 1.0
    assert theirs.margin == pytest.approx(-ours.margin, abs=0.6)
    assert same.margin == 0.0
    far = truth.copy()
    far[2, 3] += 600.0
    assert margin(uptake, (maps, truth), (maps, far), level) is None
