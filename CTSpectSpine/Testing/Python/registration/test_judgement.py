"""The verdict on a registration from what is known of it, without images.

The numbers are those of simulated pairs: a right one with a short column, one without a common
level, one of another size.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from CTSpectSpineLib.registration import expected_error, quality
from CTSpectSpineLib.registration.decoys import Rival
from CTSpectSpineLib.registration.motion import Smear
from CTSpectSpineLib.registration.strain import Strain

SHORT = {
    "explained": 0.68, "detail": 0.52, "restless": 0.01, "common_mm": 138.0, "rival": 0.81,
    "reflected": (1.5, 1.61, 1.96), "stretch": (0.016, -0.056, -0.007),
    "stretch_error": (0.0033, 0.0062, 0.0059),
}  # fmt: skip
"""A right thoracic crop of six levels, 0.75 mm off."""
NONE_IN_COMMON = {
    **SHORT, "explained": 0.49, "detail": 0.28, "restless": 0.26, "common_mm": 136.0,
    "reflected": (0.57, 2.49, 1.17), "stretch": (0.0, 0.0, 0.0),
}  # fmt: skip
ANOTHER_SIZE = {
    **SHORT, "explained": 0.58, "detail": 0.44, "restless": 0.34, "common_mm": 396.0, "rival": 3.83,
    "reflected": (1.91, 6.81, 6.45), "stretch": (-0.027, -0.015, -0.021),
    "stretch_error": (0.0011, 0.0017, 0.0015),
}  # fmt: skip


def judged(monkeypatch, **known):
    monkeypatch.setattr(expected_error, "covariance_error", lambda fit: 0.2)
    whole = SimpleNamespace(explained=known["detail"], overlap=1.0)
    solution = SimpleNamespace(
        fit=None,
        whole=whole,
        coarse=SimpleNamespace(explained=known["explained"]),
        rivals=(Rival(28.0, 0.9, 1.0, known["rival"]),),
        reflected=tuple(Rival(1.0, 0.9, 1.0, ratio) for ratio in known["reflected"]),
        restless=known["restless"],
        smear=Smear(np.diag([known.get("smear", 0.0), 0.0, 0.0])),
        bent_mm=0.0,
        strain=Strain(np.array(known["stretch"]), np.array(known["stretch_error"])),
        resized=known.get("resized"),
        weakened=False,
        common_mm=known["common_mm"],
        uptake=SimpleNamespace(contrast=3.2, evenness=0.8),
    )
    return quality.judge(solution, np.eye(4), np.zeros(3))


@pytest.mark.parametrize(
    ("known", "expected"), [(SHORT, "good"), (NONE_IN_COMMON, "failed"), (ANOTHER_SIZE, "failed")]
)
def test_short_right_pairs_are_good_and_wrong_ones_fail(monkeypatch, known, expected):
    judgement = judged(monkeypatch, **known)
    assert judgement.quality == expected, judgement.reasons


def test_a_short_pair_that_hardly_fits_is_not_good(monkeypatch):
    """The fit's evidence is what tells, not the length."""
    assert judged(monkeypatch, **{**SHORT, "explained": 0.5}).quality != "good"


def test_a_short_pair_of_another_size_is_to_be_checked(monkeypatch):
    judgement = judged(monkeypatch, **SHORT, resized=-3.2)
    assert judgement.quality == "check"
    assert any("another size" in reason for reason in judgement.reasons)
    assert judged(monkeypatch, **SHORT, resized=-1.5).quality == "good"


def test_fewer_than_about_four_levels_are_never_better_than_check(monkeypatch):
    assert judged(monkeypatch, **{**SHORT, "common_mm": 100.0, "rival": 5.0}).quality == "check"


def test_a_mirrored_pair_is_not_saved_by_its_fit(monkeypatch):
    assert judged(monkeypatch, **{**SHORT, "reflected": (-2.4, 6.9, 6.8)}).quality == "failed"


def test_motion_is_named_once_and_fails_no_more_than_before(monkeypatch):
    """What would fit better elsewhere is then told by the motion, and counts once."""
    right = {**SHORT, "common_mm": 300.0, "rival": 5.0, "stretch": (0.0, 0.0, 0.0)}
    moved = judged(monkeypatch, **{**right, "restless": 0.27, "smear": 36.0})
    assert moved.quality == "check"
    assert sum("moved during the scan" in reason for reason in moved.reasons) == 1
    assert "6 mm (standard deviation) or more from side to side" in moved.reasons[0]
    still = judged(monkeypatch, **{**right, "smear": 10.0})
    assert still.quality == "good"
    assert moved.expected_error_mm > 2.0 * still.expected_error_mm
    # Another patient is not excused by looking smeared.
    assert judged(monkeypatch, **{**right, "restless": 0.5, "smear": 36.0}).quality == "failed"
