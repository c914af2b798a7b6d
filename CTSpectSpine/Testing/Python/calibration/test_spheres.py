"""Calibration with a sphere phantom, against spheres that were blurred by another way."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from sphere_phantom import DIAMETERS, centres, spect, standing

from CTSpectSpineLib.calibration import calibrate_spheres, layout, layouts
from CTSpectSpineLib.calibration.blurred_sphere import blurred_sphere
from CTSpectSpineLib.calibration.find import find_spheres
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.reconstruction import ReconstructionFacts
from CTSpectSpineLib.uptake.response import Response
from CTSpectSpineLib.volumes.reading import volume_from_image

IEC = layout("nema-iec")


def calibrated(image, **options):
    return calibrate_spheres(volume_from_image(image, "spect"), IEC, **options)


def test_a_blurred_sphere_agrees_with_random_points():
    rng = np.random.default_rng(0)
    sigma, radius = 5.0, 8.0
    for distance in (0.0, 5.0, 12.0):
        points = rng.normal(0.0, sigma, (400_000, 3)) + np.array([distance, 0.0, 0.0])
        expected = np.mean(np.linalg.norm(points, axis=1) <= radius)
        seen = blurred_sphere(np.array([distance]), radius, Response(sigma * 2.3548), np.zeros(3))
        assert seen[0] == pytest.approx(expected, abs=0.004)


@pytest.mark.parametrize("lift", [pytest.param(0.0, marks=pytest.mark.slow), 1.0])
def test_the_response_is_found(lift):
    calibration, fit = calibrated(spect(fwhm=12.0, lift=lift, noise=0.08))
    assert calibration.response.family == ("recovery" if lift else "no-recovery")
    frequency = np.linspace(0.0, 0.04, 9)
    truth, found = Response(12.0, lift).at(frequency), fit.response.at(frequency)
    # What the measurement needs: the modulation transfer up to 0.04 per mm.
    assert np.abs(found / truth - 1.0).max() < 0.08
    assert fit.contrast == pytest.approx(8.0, rel=0.06)
    found_at = np.array([sphere.centre_mm for sphere in fit.spheres])
    assert np.linalg.norm(found_at - centres(), axis=1).max() < 1.0
    assert [sphere.diameter_mm for sphere in fit.spheres] == list(DIAMETERS)
    recoveries = [sphere.recovery for sphere in fit.spheres]
    assert recoveries == sorted(recoveries, reverse=True)
    assert calibration.record["contrast_given"] is False
    assert calibration.record["research_use_only"] is True


@pytest.mark.slow
def test_spheres_are_found_in_any_order_and_direction():
    place = {"mirrored": True, "turn_deg": 200.0}
    pose = find_spheres(spect(**place), IEC, "phantom.nii")
    assert pose.match > 0.8
    found = IEC.centres_mm() @ pose.turn.T + pose.centre_mm
    assert np.linalg.norm(found - centres(**place), axis=1).max() < 9.0
    pose = find_spheres(standing(spect()), IEC, "phantom.nii")
    found = IEC.centres_mm() @ pose.turn.T + pose.centre_mm
    assert np.linalg.norm(found - centres()[:, [0, 2, 1]], axis=1).max() < 9.0


@pytest.mark.slow
def test_a_phantom_without_background_and_a_stated_family_are_taken():
    facts = ReconstructionFacts("recovery", "given")
    calibration, fit = calibrated(spect(background=0.0), reconstruction=facts)
    assert calibration.response.family == "recovery"
    contrast = calibration.record["contrast"]
    assert contrast is None or abs(contrast) > 50.0
    assert fit.misfit < 0.05


@pytest.mark.slow
def test_what_is_no_phantom_is_refused():
    image = spect()
    size = sitk.GetArrayFromImage(image).shape
    noise = sitk.GetImageFromArray(np.random.default_rng(1).random(size, np.float32))
    noise.CopyInformation(image)
    with pytest.raises(InputError, match="spheres of a NEMA IEC body phantom were not found"):
        calibrated(noise)
    with pytest.raises(InputError, match=r"contrast 0\.5 is not above 1"):
        calibrated(image, contrast=0.5)
    with pytest.raises(InputError, match="There is no sphere phantom 'x'"):
        layout("x")


def test_all_layouts_can_be_read():
    for name in layouts():
        assert len(layout(name).centres_mm()) == len(layout(name).diameters_mm)
