"""A patient who moves during the scan is told from one who lies still."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from simulated_pair import Pair

from CTSpectSpineLib.geometry import transform_matrix
from CTSpectSpineLib.model import Registration
from CTSpectSpineLib.registration import register
from CTSpectSpineLib.registration.motion import Smear, smear_at
from CTSpectSpineLib.registration.pair import COARSE, FINE
from CTSpectSpineLib.registration.prepare import ct_maps, smoothed, spect_map
from CTSpectSpineLib.registration.sampling import sampled_maps

ALONG = {"from side to side": (1.0, 0.0, 0.0), "along the body": (0.0, 0.0, 1.0)}


def in_two_positions(spect: sitk.Image, way: tuple[float, float, float], mm: float) -> sitk.Image:
    """The mean of the SPECT moved by so much and by as much the other way."""
    moved = [
        sitk.Resample(spect, sitk.TranslationTransform(3, (sign * mm * np.array(way)).tolist()))
        for sign in (-1.0, 1.0)
    ]
    return 0.5 * (moved[0] + moved[1])


@pytest.mark.parametrize("words", ALONG)
def test_a_scan_in_two_positions_is_to_be_checked(pair: Pair, words: str):
    found = register(pair.ct, in_two_positions(pair.spect, ALONG[words], 8.0), threads=1)
    assert found.quality == "check", found.reasons
    (sentence,) = [reason for reason in found.reasons if "moved during the scan" in reason]
    assert words in sentence


def test_a_patient_who_lay_still_is_not_said_to_have_moved(result: Registration):
    assert result.quality == "good", result.reasons
    assert not any("moved during" in reason for reason in result.reasons)


def test_the_smear_is_most_of_the_covariance_of_the_positions(pair: Pair):
    """Moved by ±5 mm along z, so 25 mm² there and none across; robust weights take some away."""
    pose = np.linalg.inv(transform_matrix(pair.truth))
    way = pose[:3, :3].T @ (0.0, 0.0, 1.0)
    maps = sampled_maps(ct_maps(pair.ct), COARSE.fwhm_mm)
    still, moved = (
        smear_at(smoothed(spect_map(spect), COARSE.fwhm_mm), maps, pose, FINE)
        for spect in (pair.spect, in_two_positions(pair.spect, tuple(way), 5.0))
    )
    assert still is not None
    assert moved is not None
    more = moved.covariance_mm2 - still.covariance_mm2
    assert 15.0 < more[2, 2] < 25.0
    more[2, 2] = 0.0
    np.testing.assert_allclose(more, 0.0, atol=3.0)
    assert abs(moved.along[2]) > 0.95


def test_a_camera_that_smears_front_to_back_moved_nobody():
    """Two directions of one size: what cameras show from front to back, and what none shows."""
    camera, moved = (Smear(np.diag(values)) for values in ((0.0, 12.0, 0.0), (12.0, 0.0, 0.0)))
    assert camera.variance_mm2 == pytest.approx(12.0)
    assert camera.unusual_mm2 == pytest.approx(2.0)
    assert moved.unusual_mm2 == pytest.approx(12.0)
    # Wider all around is no motion.
    assert Smear(30.0 * np.eye(3)).unusual_mm2 <= 0.0
