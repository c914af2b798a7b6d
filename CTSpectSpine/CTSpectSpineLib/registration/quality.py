"""Quality of a registration without truth: expected error, verdict, and the reasons for it.

Most bounds were set on simulated pairs (right pairs of full, cropped, noisy, bent and uncorrected
SPECT against other patients, other body parts, mirrored, turned and strongly bent SPECT), with
seeds apart from those of the published comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from CTSpectSpineLib.model import ACCEPTED_ERROR_MM, REFUSED_ERROR_MM, FloatArray, Quality
from CTSpectSpineLib.registration.refine import Fit
from CTSpectSpineLib.registration.solve import Solution

EXPLAINED_FAILED, EXPLAINED_CHECK = 0.28, 0.42
"""Share of the SPECT's local variation, at coarse resolution, that the CT must explain. Measured on
simulated pairs."""
DETAIL_FAILED, DETAIL_CHECK = 0.12, 0.25
"""The same at full resolution, where noise takes its part. Measured on simulated pairs."""
MARGIN_FAILED, MARGIN_CHECK = 1.0, 2.0
"""Standard errors by which the solution must fit better than any other. Measured on simulated
pairs."""
MIRROR_FAILED, MIRROR_CHECK, MIRROR_NOTE = -2.0, -1.0, 1.5
"""Standard errors by which the CT must fit better than its mirror image; below the last of them,
the images are called symmetric. Measured on simulated pairs."""
UNREST_CHECK_MM, UNREST_FAILED_MM = 2.6, 3.5
"""Shifts that parts of the skeleton would still make on their own, at coarse resolution, mm.
Measured on simulated pairs."""
RESTLESS_CHECK, RESTLESS_FAILED = 0.20, 0.40
"""Share of the skeleton that would fit better elsewhere. Measured on simulated pairs."""
OVERLAP_CHECK = 0.5
"""Share of the bone in the SPECT that lies inside the CT, below which it is to be checked.
Judgement: less than half of the skeleton may not stand for the whole."""
MOST_CHECKS = 2
"""More findings to be checked than this are a failure together. Measured on simulated pairs."""
LARGE_SHIFT_MM, LARGE_ROTATION_DEG = 20.0, 10.0
"""Correction, mm and degrees, from which the attenuation correction is doubted. Judgement: several
voxels of the SPECT, and more than a patient shifts while lying still."""

COVARIANCE_SCALE = 1.3
"""Factor on the error that the scatter of the patches implies, which underestimates: neighbouring
patches are not quite independent. Measured on simulated pairs."""
ERROR_FLOOR_MM = 0.2
"""Error that remains however little the patches scatter, mm, because the linear mixture is only a
model. Measured on simulated pairs."""


@dataclass(frozen=True)
class Judgement:
    """Expected error (1 SD, mm), verdict and reasons."""

    expected_error_mm: float
    quality: Quality
    reasons: tuple[str, ...]


@dataclass
class _Findings:
    """Sentences by weight, in the order found."""

    failed: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def weigh(self, fails: bool, checks: bool, sentence: str) -> None:
        """Keep a sentence where it applies."""
        if fails:
            self.failed.append(sentence)
        elif checks:
            self.check.append(sentence)


def covariance_error(fit: Fit) -> float:
    """Root mean square error of points around bone that a fit's covariance implies, mm."""
    shift = float(np.trace(fit.covariance[:3, :3]))
    # |w × r|² averages to 2/3 |w|² |r|² over directions.
    turn = float(np.trace(fit.covariance[3:, 3:])) * 2.0 / 3.0 * fit.radius_mm**2
    return float(np.sqrt(shift + turn))


def judge(solution: Solution, ct_to_spect: FloatArray, ct_centre_mm: FloatArray) -> Judgement:
    """Judge a registration.

    Parameters
    ----------
    solution
        The chosen fit with what speaks for and against it.
    ct_to_spect
        The result, 4×4, LPS mm.
    ct_centre_mm
        Centre of the CT, LPS mm.
    """
    findings = _Findings()
    _judge_fit(solution, findings)
    _judge_rest(solution, findings)
    _judge_rivals(solution, findings)
    _judge_mirror(solution, findings)
    error = _expected_error(solution)
    findings.weigh(
        error > REFUSED_ERROR_MM,
        error > ACCEPTED_ERROR_MM,
        f"The expected error at the joints is {error:.1f} mm (good up to "
        f"{ACCEPTED_ERROR_MM:.0f} mm, refused above {REFUSED_ERROR_MM:.0f} mm).",
    )
    if len(findings.check) > MOST_CHECKS and not findings.failed:
        findings.failed.append(
            f"{len(findings.check)} findings together suggest that SPECT and CT do not belong "
            "together, or not in this position."
        )
    findings.notes.extend(_correction_note(ct_to_spect, ct_centre_mm))
    return _verdict(solution, findings, error)


def _verdict(solution: Solution, findings: _Findings, error_mm: float) -> Judgement:
    failed, check, notes = findings.failed, findings.check, findings.notes
    if failed:
        return Judgement(error_mm, "failed", (*failed, *check, *notes))
    if check:
        return Judgement(error_mm, "check", (*check, *notes))
    passed = (
        f"The CT explains {solution.coarse.explained:.0%} of the uptake pattern around bone, no "
        f"other position fits nearly as well, and the expected error at the joints is "
        f"{error_mm:.1f} mm."
    )
    return Judgement(error_mm, "good", (passed, *notes))


def _judge_fit(solution: Solution, findings: _Findings) -> None:
    explained, detail = solution.coarse.explained, solution.whole.explained
    findings.weigh(
        explained < EXPLAINED_FAILED,
        explained < EXPLAINED_CHECK,
        f"The CT explains only {max(explained, 0.0):.0%} of the uptake pattern around bone "
        f"(usual is {EXPLAINED_CHECK:.0%} and more): SPECT and CT do not seem to show the same "
        "body part of the same patient.",
    )
    findings.weigh(
        detail < DETAIL_FAILED,
        detail < DETAIL_CHECK,
        f"The CT explains only {max(detail, 0.0):.0%} of the fine detail of the uptake (usual is "
        f"{DETAIL_CHECK:.0%} and more): few counts, or another patient.",
    )
    overlap = solution.whole.overlap
    findings.weigh(
        False,
        overlap < OVERLAP_CHECK,
        f"Only {overlap:.0%} of the bone in the SPECT lies inside the CT.",
    )


def _judge_rest(solution: Solution, findings: _Findings) -> None:
    """Whether parts of the skeleton would fit better elsewhere."""
    bent = solution.bent_mm
    sentence = (
        f"The spine is bent differently in the two images: {bent:.1f} mm (root mean square) remain "
        "along it after the best rigid alignment."
    )
    findings.weigh(bent > REFUSED_ERROR_MM, bent > ACCEPTED_ERROR_MM, sentence)
    if 0 < bent <= ACCEPTED_ERROR_MM:
        findings.notes.append(sentence)
    unrest = solution.coarse.unrest_mm
    findings.weigh(
        unrest > UNREST_FAILED_MM,
        unrest > UNREST_CHECK_MM,
        f"Parts of the skeleton would each move by about {unrest:.1f} mm to fit better: the spine "
        "is bent differently in the two images, or they are of different patients.",
    )
    findings.weigh(
        solution.restless > RESTLESS_FAILED,
        solution.restless > RESTLESS_CHECK,
        f"{solution.restless:.0%} of the skeleton would fit better some millimetres away "
        f"(at most {RESTLESS_CHECK:.0%} is usual): another patient, another vertebral level, "
        "or a spine that is bent differently.",
    )


def _judge_rivals(solution: Solution, findings: _Findings) -> None:
    if not solution.rivals:
        return
    rival = solution.rivals[0]
    findings.weigh(
        rival.margin < MARGIN_FAILED,
        rival.margin < MARGIN_CHECK,
        f"Another position {rival.distance_mm:.0f} mm away fits nearly as well or better (the "
        f"difference is {rival.margin:.1f} standard errors), so the match is ambiguous.",
    )


def _judge_mirror(solution: Solution, findings: _Findings) -> None:
    mirror = solution.mirrored
    if mirror is None:
        return
    findings.weigh(
        mirror.margin < MIRROR_FAILED,
        mirror.margin < MIRROR_CHECK,
        "The SPECT fits the CT better with left and right swapped: check the orientation of both "
        "images.",
    )
    if MIRROR_CHECK <= mirror.margin < MIRROR_NOTE:
        findings.notes.append(
            "What the images show is so symmetric that a swap of left and right would go unnoticed."
        )


def _expected_error(solution: Solution) -> float:
    """Expected error at the joints, mm: of the fit, or the distance of a rival as good.

    A deformation that no rigid movement follows is an error at the joints like any other.
    """
    scatter = COVARIANCE_SCALE * covariance_error(solution.whole)
    parts = (scatter, ERROR_FLOOR_MM, solution.bent_mm)
    error = float(np.linalg.norm(parts))
    doubtful = [r.distance_mm for r in solution.rivals if r.margin < MARGIN_FAILED]
    return max([error, *doubtful])


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
        "registration does not correct that."
    ]
