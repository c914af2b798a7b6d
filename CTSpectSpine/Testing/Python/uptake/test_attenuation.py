"""Attenuation taken out with the CT, on cylinders scanned by the physical scanner."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.geometry import affine, image_from_array
from CTSpectSpineLib.phantom.scanner.projections.acquisition import project
from CTSpectSpineLib.phantom.scanner.projections.osem import reconstruct
from CTSpectSpineLib.phantom.scanner.projections.settings import load_camera, load_reconstruction
from CTSpectSpineLib.phantom.scanner.projections.subject import Subject
from CTSpectSpineLib.reconstruction import ReconstructionFacts
from CTSpectSpineLib.uptake import Emission, emission

UNCORRECTED = ReconstructionFacts(attenuation_correction=False)
UNKNOWN = ReconstructionFacts()
RADIUS_MM = 12.0
STEP = 5.0
SHAPE = (24, 40, 54)
RODS = {"middle": (0.0, 0.0), "rim": (60.0, 0.0), "back": (0.0, 55.0)}
DEEP, NECK = ("middle", -30.0), ("middle", 40.0)
ELSEWHERE = (("rim", -30.0), ("back", -30.0), NECK)


@dataclass(frozen=True)
class Body:
    """What a vertebra's frame tells of its body."""

    centre_mm: np.ndarray


BODIES = tuple(Body(np.array([0.0, 0.0, z])) for z in (-40.0, -20.0, 40.0))


def image(values: np.ndarray) -> sitk.Image:
    """Image whose centre is the origin of LPS."""
    middle = 0.5 * STEP * (np.array(SHAPE[::-1]) - 1)
    return image_from_array(values, affine(STEP * np.eye(3), -middle))


@cache
def scanned(preset: str) -> tuple[sitk.Image, sitk.Image]:
    """CT and SPECT of a trunk of water with a narrow neck, and rods of equal uptake along it."""
    k, j, i = ((np.arange(n) - 0.5 * (n - 1)) * STEP for n in SHAPE)
    x, y, z = np.meshgrid(k, j, i, indexing="ij")[::-1]
    wide = np.where(z < 10.0, 120.0, 50.0)
    water = (x / wide) ** 2 + (y / np.minimum(wide, 85.0)) ** 2 <= 1.0
    activity = 0.5 * water.astype(np.float32)
    for left, back in RODS.values():
        activity[(np.hypot(x - left, y - back) <= RADIUS_MM) & water] = 6.0
    ct = image(np.where(water, 20, -1000).astype(np.int16))
    subject = Subject(ct, image(activity), np.eye(4))
    counted = project(subject, load_camera("lehr"), views=60).noise_free(2e7)
    return ct, reconstruct(counted, load_reconstruction(preset))


def shown(spect: sitk.Image, place: tuple[str, float]) -> float:
    """What a rod shows at a height, over what shows deep in the trunk."""
    values = sitk.GetArrayFromImage(spect)

    def mean(name: str, z_mm: float) -> float:
        i, j, k = spect.TransformPhysicalPointToIndex((*RODS[name], z_mm))
        return float(values[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].mean())

    return mean(*place) / mean(*DEEP)


@pytest.mark.parametrize("moved", [False, True])
def test_it_shows_what_the_reconstruction_s_own_correction_shows(moved):
    ct, spect = scanned("no-attenuation-correction")
    _, wanted = scanned("no-recovery")
    matrix = np.eye(4)
    if moved:
        matrix[:3, 3] = 12.0, -30.0, 25.0
        ct = sitk.Image(ct)
        ct.SetOrigin([a - b for a, b in zip(ct.GetOrigin(), matrix[:3, 3], strict=True)])
    made = emission(spect, ct, matrix, (), UNCORRECTED)
    assert made.corrected == "stated"
    assert "corrected for it with the CT" in made.warnings[0]
    for place in ELSEWHERE:
        assert shown(spect, place) > 1.15 * shown(wanted, place)
        assert shown(made.spect, place) == pytest.approx(shown(wanted, place), rel=0.1), place


def test_how_the_spect_is_stored_does_not_matter():
    ct, spect = scanned("no-attenuation-correction")
    made = emission(spect, ct, np.eye(4), (), UNCORRECTED).spect
    coronal = sitk.DICOMOrient(spect, "LSA")
    other = emission(coronal, ct, np.eye(4), (), UNCORRECTED).spect
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(sitk.DICOMOrient(other, "LPS")), sitk.GetArrayFromImage(made)
    )


def test_a_ct_that_cuts_the_body_is_continued_as_the_spect_shows_it():
    ct, spect = scanned("no-attenuation-correction")
    whole = emission(spect, ct, np.eye(4), (), UNCORRECTED)
    cut = emission(spect, ct[12:42, 4:36, :], np.eye(4), (), UNCORRECTED)
    for place in ELSEWHERE:
        assert shown(cut.spect, place) == pytest.approx(shown(whole.spect, place), rel=0.1), place


def test_bodies_keep_their_unit_and_the_resolution_stays():
    ct, spect = scanned("no-attenuation-correction")
    made = emission(spect, ct, np.eye(4), BODIES, UNCORRECTED)
    factor = sitk.GetArrayFromImage(made.spect) / np.maximum(sitk.GetArrayFromImage(spect), 1e-9)
    at = [factor[spect.TransformPhysicalPointToIndex(b.centre_mm.tolist())[::-1]] for b in BODIES]
    assert np.median(at) == pytest.approx(1.0, abs=0.05)
    # Along the rod in the trunk there is no edge: what changes is smooth.
    i, j, k = spect.TransformPhysicalPointToIndex((0.0, 0.0, -30.0))
    assert np.ptp(factor[k - 3 : k + 3, j, i]) < 0.05 * factor[k, j, i]


def test_it_is_seen_where_nothing_is_stated_and_only_there():
    ct, spect = scanned("no-attenuation-correction")
    assert emission(spect, ct, np.eye(4), (), UNKNOWN).corrected == "seen"
    _, corrected = scanned("no-recovery")
    kept = emission(corrected, ct, np.eye(4), (), UNKNOWN)
    assert kept == Emission(corrected, UNKNOWN)
    done = ReconstructionFacts(attenuation_correction=True)
    assert emission(spect, ct, np.eye(4), (), done) == Emission(spect, done)


def test_without_a_ct_it_stays_and_joints_are_less_certain():
    _, spect = scanned("no-attenuation-correction")
    left = emission(spect, None, np.eye(4), (), UNCORRECTED)
    assert left.spect is spect
    assert not left.corrected
    assert left.relative_sd > 0.05
    assert "could not be corrected here" in left.warnings[0]
    assert not emission(spect, None, np.eye(4), (), UNKNOWN).warnings
    empty = sitk.Image([20, 20, 20], sitk.sitkInt16) - 1000
    assert emission(spect, empty, np.eye(4), (), UNCORRECTED).spect is spect
