"""Quality of a registration without truth: expected error, verdict, and the reasons for it.

The bounds were set on simulated pairs (right pairs of full, cropped, noisy and uncorrected
SPECT against noise, other patients, other body parts, mirrored and turned SPECT), with
seeds apart from those that the tests use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.model import FloatArray, Quality
from CTSpectSpineLib.registration.refine import Fit
from CTSpectSpineLib.registration.search import pose_distance

AGREE_MM = 5.0
"""Starts that end this near to the best are the same solution."""
RIVAL_MM = 10.0
"""Starts that end farther off are another solution."""

EXPLAINED_FAILED, EXPLAINED_CHECK = 0.28, 0.42
"""Share of the SPECT's local variation, at coarse resolution, that the CT must explain."""
RIVAL_FAILED, RIVAL_CHECK = 0.90, 0.97
MIRROR_NOTE, MIRROR_CHECK, MIRROR_FAILED = 0.98, 1.02, 1.05
"""Fit of the mirrored CT relative to the CT's own."""
UNREST_CHECK_MM, UNREST_FAILED_MM = 2.2, 3.5
"""Shifts that parts of the skeleton would still make on their own, at coarse resolution."""
RESTLESS_CHECK, RESTLESS_FAILED = 0.15, 0.40
OVERLAP_CHECK = 0.5
ERROR_CHECK_MM, ERROR_FAILED_MM = 3.0, 5.0
"""Accept up to 3 mm at the joints, warn from 3 to 5 mm, refuse above 5 mm."""
LARGE_SHIFT_MM, LARGE_ROTATION_DEG = 20.0, 10.0

COVARIANCE_SCALE = 1.5
ERROR_FLOOR_MM = 0.2
"""Calibration of the expected error on simulated pairs: the patches' scatter underestimates,
because neighbouring patches are not quite independent, and because the linear mixture is only
a model."""


@dataclass(frozen=True)
class Evidence:
    """What the quality rests on.

    Attributes
    ----------
    coarse
        Fits of all starts at coarse resolution; the first is the one that was refined on.
    fine
        The final fit.
    mirrored
        The same refinement against the CT with left and right swapped; None where that found
        no overlap.
    restless
        Share of the skeleton that would fit clearly better a few millimetres elsewhere.
    ct_to_spect
        The result, 4×4.
    ct_centre_mm
        Centre of the CT, LPS mm.
    """

    coarse: Sequence[Fit]
    fine: Fit
    mirrored: Fit | None
    restless: float
    ct_to_spect: FloatArray
    ct_centre_mm: FloatArray


@dataclass(frozen=True)
class Judgement:
    """Expected error (1 SD, mm), verdict and reasons."""

    expected_error_mm: float
    quality: Quality
    reasons: tuple[str, ...]


def covariance_error(fit: Fit) -> float:
    """Root mean square error of points around bone that a fit's covariance implies, mm."""
    shift = float(np.trace(fit.covariance[:3, :3]))
    # |w × r|² averages to 2/3 |w|² |r|² over directions.
    turn = float(np.trace(fit.covariance[3:, 3:])) * 2.0 / 3.0 * fit.radius_mm**2
    return float(np.sqrt(shift + turn))


def _rival(evidence: Evidence) -> tuple[float, float]:
    """Best fit of a start that ended elsewhere, relative to the best; and how far off, mm."""
    best = evidence.coarse[0]
    rivals = [(f.explained, d) for f, d in _ends(evidence) if d > RIVAL_MM]
    if not rivals:
        return 0.0, 0.0
    explained, distance = max(rivals)
    return explained / max(best.explained, 1e-6), distance


def _ends(evidence: Evidence) -> list[tuple[Fit, float]]:
    best = evidence.coarse[0]
    return [
        (f, pose_distance(f.spect_to_ct, best.spect_to_ct, best.centre_mm, best.radius_mm))
        for f in evidence.coarse
    ]


def judge(evidence: Evidence) -> Judgement:
    """Judge a registration.

    Parameters
    ----------
    evidence
        Fits of the starts, of the result and of the mirrored CT.
    """
    coarse, fine = evidence.coarse[0], evidence.fine
    failed: list[str] = []
    check: list[str] = []
    notes: list[str] = []

    if coarse.explained < EXPLAINED_FAILED:
        failed.append(
            f"The CT explains only {coarse.explained:.0%} of the uptake pattern around bone "
            f"(at least {EXPLAINED_FAILED:.0%} is needed): SPECT and CT do not seem to show the "
            "same body part of the same patient."
        )
    elif coarse.explained < EXPLAINED_CHECK:
        check.append(
            f"The CT explains {coarse.explained:.0%} of the uptake pattern around bone, which is "
            f"little (below {EXPLAINED_CHECK:.0%})."
        )

    unrest = (
        f"Parts of the skeleton would each move by about {coarse.unrest_mm:.1f} mm to fit better: "
        "the spine is bent differently in the two images, or they are of different patients."
    )
    if coarse.unrest_mm > UNREST_FAILED_MM:
        failed.append(unrest)
    elif coarse.unrest_mm > UNREST_CHECK_MM:
        check.append(unrest)

    if evidence.restless > RESTLESS_CHECK:
        (failed if evidence.restless > RESTLESS_FAILED else check).append(
            f"{evidence.restless:.0%} of the skeleton would fit better some millimetres elsewhere "
            f"(at most {RESTLESS_CHECK:.0%} is usual): another patient, another vertebral level, "
            "or a spine that is bent differently."
        )

    ends = _ends(evidence)
    agree = sum(d < AGREE_MM for _, d in ends)
    rival, distance = _rival(evidence)
    if rival > RIVAL_FAILED and (agree <= 1 or rival > RIVAL_CHECK):
        failed.append(
            f"Another position {distance:.0f} mm away fits nearly as well ({rival:.0%}), so the "
            "match is ambiguous."
        )
    elif rival > RIVAL_FAILED or (len(ends) >= 4 and agree < 3):
        check.append(
            f"Only {agree} of {len(ends)} independent starts ended within {AGREE_MM:.0f} mm of "
            "the result."
        )

    mirror = evidence.mirrored.explained / max(fine.explained, 1e-6) if evidence.mirrored else 0.0
    if mirror > MIRROR_FAILED:
        failed.append(
            "The SPECT fits the CT better with left and right swapped: check the orientation of "
            "both images."
        )
    elif mirror > MIRROR_CHECK:
        check.append(
            "The SPECT fits the CT at least as well with left and right swapped: check the "
            "orientation of both images."
        )
    elif mirror > MIRROR_NOTE:
        notes.append(
            "This patient is so symmetric that a swap of left and right would hardly show."
        )

    if fine.overlap < OVERLAP_CHECK:
        check.append(f"Only {fine.overlap:.0%} of the bone in the SPECT lies inside the CT.")

    error = float(np.hypot(COVARIANCE_SCALE * covariance_error(fine), ERROR_FLOOR_MM))
    if rival > RIVAL_FAILED:
        error = max(error, distance)
    if error > ERROR_FAILED_MM:
        failed.append(
            f"The expected error at the joints is {error:.1f} mm (at most "
            f"{ERROR_FAILED_MM:.0f} mm is acceptable)."
        )
    elif error > ERROR_CHECK_MM:
        check.append(
            f"The expected error at the joints is {error:.1f} mm (above {ERROR_CHECK_MM:.0f} mm)."
        )

    notes.extend(_correction_note(evidence.ct_to_spect, evidence.ct_centre_mm))
    if failed:
        return Judgement(error, "failed", (*failed, *check, *notes))
    if check:
        return Judgement(error, "check", (*check, *notes))
    passed = (
        f"The CT explains {coarse.explained:.0%} of the uptake pattern around bone, {agree} of "
        f"{len(ends)} independent starts agree, and the expected error at the joints is "
        f"{error:.1f} mm."
    )
    return Judgement(error, "good", (passed, *notes))


def _correction_note(ct_to_spect: FloatArray, centre_mm: FloatArray) -> list[str]:
    """Warn that attenuation was corrected in the wrong place where the correction is large."""
    rotation = ct_to_spect[:3, :3]
    shift = float(np.linalg.norm(rotation @ centre_mm + ct_to_spect[:3, 3] - centre_mm))
    angle = float(np.rad2deg(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1.0, 1.0))))
    if shift <= LARGE_SHIFT_MM and angle <= LARGE_ROTATION_DEG:
        return []
    return [
        f"The correction is large ({shift:.0f} mm, {angle:.0f} degrees): if attenuation was "
        "corrected with this CT in its uncorrected position, the uptake values are biased, and "
        "registration does not mend that."
    ]
