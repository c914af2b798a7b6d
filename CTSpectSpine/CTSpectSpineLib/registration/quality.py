"""Quality of a registration without truth: expected error, verdict, and the reasons for it.

A pair is judged by its own decoys: the CT reversed along each axis, and the positions one and two
vertebrae away along the column's curve, all refined as the solution was. How clearly the solution
beats each of them is a likelihood ratio over the patches that differ (`compare.Comparison`). Beside
them stand what the CT explains, how much the fit would stretch, and what the SPECT shows in bone.

Bounds were set on simulated pairs whose seeds and simulators are apart from those of the published
comparison.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from CTSpectSpineLib.model import ACCEPTED_ERROR_MM, REFUSED_ERROR_MM, FloatArray, Quality
from CTSpectSpineLib.registration.decoys import REFLECTIONS, Rival
from CTSpectSpineLib.registration.expected_error import expected_error
from CTSpectSpineLib.registration.solve import SHORT_COLUMN_MM, Solution

EXPLAINED_FAILED, EXPLAINED_CHECK = 0.28, 0.42
"""Share of the SPECT's local variation, at coarse resolution, that the CT must explain. Measured on
simulated pairs."""
DETAIL_FAILED, DETAIL_CHECK = 0.12, 0.20
"""The same at full resolution, where noise takes its part. Measured on simulated pairs."""
LEVEL_FAILED, LEVEL_CHECK = 1.1, 1.5
"""Likelihood ratio, log10, by which the solution must beat every other position and level, with
what the fit itself says (`fit_evidence`). 1 is ten to one. Measured on simulated pairs: right ones
1.8 and more; those with no level in common, or one or two, 0.8 at most."""
MIRROR_FAILED, MIRROR_CHECK, MIRROR_NOTE = -1.0, -0.3, 0.7
"""Likelihood ratio, log10, over the CT with left and right swapped; below the last, the images are
called symmetric. Measured on simulated pairs: mirrored ones -3, right ones 2 and more, or about 0
where few levels are seen."""
TURNED_FAILED, TURNED_CHECK = 1.2, 2.0
"""The same over the CT with front and back, or head and feet, swapped. Measured on simulated pairs:
2.4 and more for right ones."""
USUAL_EXPLAINED, EXPLAINED_WEIGHT = 0.5, 10.0
"""Share that the CT explains which right and wrong pairs have alike, and what more of it is worth
as a likelihood ratio, log10. Measured on simulated pairs: right ones 0.51 to 0.72, wrong ones 0.28
to 0.49 unless mirrored or of another size."""
USUAL_RESTLESS, RESTLESS_WEIGHT = 0.1, 5.0
"""The same for the share of the skeleton that would fit better elsewhere. Measured on simulated
pairs: right ones 0 to 0.1, 0.34 at most where half the scan moved; wrong ones 0.13 and more."""
EVIDENCE_RANGE = (-0.5, 1.0)
"""Range of that likelihood ratio. Judgement: the fit may lift a decoy that was beaten by little, as
a short column holds few independent patches, but not stand for it."""
RESTLESS_CHECK, RESTLESS_FAILED = 0.20, 0.40
"""Share of the skeleton that would fit better elsewhere. Measured on simulated pairs."""
MOVED_CHECK_MM2 = 17.0
"""Smear along one way, mm² (`motion.Smear.unusual_mm2`), from which the patient moved during the
scan: as by 9 mm for half of it. Measured on simulated pairs: 13 at most without such motion; 23 and
more where the patient moved by 16 mm halfway, of whom a third was restless as usual."""
STRAIN_CHECK, STRAIN_FAILED = 0.014, 0.020
"""Stretch, beyond two standard errors, that the fit may still want. Measured on simulated pairs:
0.012 at most for right ones; bodies scaled by 3 % want 0.017 and more. Where parts of the skeleton
would fit better elsewhere as well (`RESTLESS_CHECK`), the lower bound fails already."""
SHORT_STRAIN = 0.02
"""Error of a stretch beyond what its scatter says, where the column in both images is short
(`SHORT_COLUMN_MM`): a cut field pulls at the fit. Measured on simulated pairs: lumbar and thoracic
crops that are right want up to 0.056 from front to back, 0.028 (root mean square)."""
RESIZED_CHECK = -2.0
"""Margin over another size (`Solution.resized`), standard errors. Measured on simulated crops: of
41 right ones -0.6 and more in 39, -1.5 at least; eleven of twelve whose body was scaled by 3 % had
-2.5 and less. Too few for a bound that fails."""
CONTRAST_FAILED, CONTRAST_CHECK = 1.35, 1.6
"""Uptake of bone over soft tissue. Measured on simulated pairs: bone tracers 2.5 and more, even
without attenuation correction; attenuation maps 1.2, a tracer of the prostate 1.0."""
EVEN_TISSUE = 0.2
"""Quartiles' distance over the median of soft tissue, below which an image shows density, not
uptake. Measured on simulated pairs: attenuation maps 0.03, SPECT 0.5 and more."""
OVERLAP_CHECK = 0.5
"""Share of the bone in the SPECT that lies inside the CT, below which it is to be checked.
Judgement: less than half of the skeleton may not stand for the whole."""
LEAST_COMMON_MM = 110.0
"""Height of the column in both images below which too few levels stand for the whole. Judgement:
about four levels of the thoracic and lumbar spine."""
MOST_CHECKS = 2
"""More findings to be checked than this are a failure together. Measured on simulated pairs."""
LARGE_SHIFT_MM, LARGE_ROTATION_DEG = 20.0, 10.0
"""Correction, mm and degrees, from which the attenuation correction is doubted. Judgement: several
voxels of the SPECT, and more than a patient shifts while lying still."""
FRAME_SHIFT_MM = 40.0
"""Distance from the scanner's own alignment from which a shared frame of reference is contradicted,
mm. Judgement: no patient on the table between two scans moves farther."""


@dataclass(frozen=True)
class Judgement:
    """Expected error (1 SD, mm; infinite where none is stated), verdict and reasons."""

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


def judge(
    solution: Solution,
    ct_to_spect: FloatArray,
    ct_centre_mm: FloatArray,
    same_frame: bool = False,
) -> Judgement:
    """Judge a registration.

    Parameters
    ----------
    solution
        The chosen fit with what speaks for and against it.
    ct_to_spect
        The result, 4×4, LPS mm.
    ct_centre_mm
        Centre of the CT, LPS mm.
    same_frame
        Whether the scanner states one frame of reference for both images.

    Returns
    -------
    Judgement
        Its expected error is infinite, that is, none, where the registration failed.
    """
    findings = _Findings()
    moved = _correction(ct_to_spect, ct_centre_mm)
    _judge_kind(solution, findings)
    _judge_fit(solution, findings)
    _judge_field(solution, findings)
    _judge_rest(solution, findings)
    _judge_decoys(solution, findings)
    findings.weigh(
        False,
        same_frame and moved.shift_mm > FRAME_SHIFT_MM,
        f"Both images state the scanner's own frame of reference, but fit {moved.shift_mm:.0f} mm "
        "away from it: check that the headers are right, or that the patient lay still.",
    )
    fit = fit_evidence(solution)
    doubtful = [r.distance_mm for r in solution.rivals if r.log10_ratio + fit < LEVEL_FAILED]
    error = max([expected_error(solution), *doubtful])
    findings.weigh(
        error > REFUSED_ERROR_MM,
        error > ACCEPTED_ERROR_MM,
        f"The joints may lie more than {ACCEPTED_ERROR_MM:.0f} mm off: too little of what the "
        "images show tells where the bones are.",
    )
    if len(findings.check) > MOST_CHECKS and not findings.failed:
        findings.failed.append(
            f"{len(findings.check)} findings together suggest that SPECT and CT do not belong "
            "together, or not in this position."
        )
    if solution.weakened:
        findings.notes.append(
            "The SPECT looks like one without attenuation correction: bone deep in the body shows "
            "less than it has. The position allows for that; give a SPECT with attenuation "
            "correction if there is one."
        )
    findings.notes.extend(_correction_note(moved))
    return _verdict(solution, findings, error)


def _verdict(solution: Solution, findings: _Findings, error_mm: float) -> Judgement:
    failed, check, notes = findings.failed, findings.check, findings.notes
    if failed:
        return Judgement(math.inf, "failed", (*failed, *check, *notes))
    if check:
        return Judgement(error_mm, "check", (*check, *notes))
    passed = (
        f"The CT explains {solution.coarse.explained:.0%} of the uptake pattern around bone, no "
        f"other position fits nearly as well, and the expected error at the joints is "
        f"{error_mm:.1f} mm."
    )
    return Judgement(error_mm, "good", (passed, *notes))


def _judge_kind(solution: Solution, findings: _Findings) -> None:
    """Whether the SPECT is one of bone."""
    seen = solution.uptake
    if not seen.contrast < CONTRAST_CHECK:
        return
    if seen.evenness < EVEN_TISSUE:
        findings.failed.append(
            "The SPECT shows density, not uptake: soft tissue is as even as in an attenuation map. "
            "Give the emission images of the same scan."
        )
        return
    findings.weigh(
        seen.contrast < CONTRAST_FAILED,
        True,
        f"Bone shows only {seen.contrast:.1f} times the uptake of soft tissue (a bone tracer shows "
        f"{CONTRAST_CHECK:.1f} times and more): this is no bone SPECT, or one of another tracer or "
        "energy window, or it was taken too early. Give the bone SPECT.",
    )


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
    strain = solution.strain
    if strain is None:
        return
    short = SHORT_STRAIN if solution.common_mm < SHORT_COLUMN_MM else 0.0
    beyond = np.maximum(np.abs(strain.stretch) - 2.0 * np.hypot(strain.error, short), 0.0)
    excess = float(np.sqrt(np.mean(beyond**2)))
    resized = solution.resized is not None and solution.resized < RESIZED_CHECK
    sizes = ", ".join(f"{100.0 * -value:+.1f} %" for value in strain.stretch)
    findings.weigh(
        excess > (STRAIN_CHECK if solution.restless > RESTLESS_CHECK else STRAIN_FAILED),
        excess > STRAIN_CHECK or resized,
        f"The SPECT shows a body of another size than the CT (from side to side, front to back and "
        f"along the body: {sizes}): another patient, or a wrong voxel size in a header.",
    )


def _judge_field(solution: Solution, findings: _Findings) -> None:
    """Whether enough of the skeleton is in both images."""
    overlap = solution.whole.overlap
    findings.weigh(
        False,
        overlap < OVERLAP_CHECK,
        f"Only {overlap:.0%} of the bone in the SPECT lies inside the CT.",
    )
    findings.weigh(
        False,
        solution.common_mm < LEAST_COMMON_MM,
        f"Only {solution.common_mm:.0f} mm of the spine are in both images, fewer than about four "
        "levels: check the level at the pictures, or give a CT of more of the spine.",
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
    moved = _moved_mm(solution)
    if moved is not None and solution.restless <= RESTLESS_FAILED:
        findings.check.append(
            f"The SPECT is smeared by {moved:.0f} mm (standard deviation) or more "
            f"{_along(solution)}, not across: the patient probably moved during the scan. Joints "
            "then read low; repeat the scan, or reconstruct it with its motion corrected."
        )
        return
    findings.weigh(
        solution.restless > RESTLESS_FAILED,
        solution.restless > RESTLESS_CHECK,
        f"{solution.restless:.0%} of the skeleton would fit better some millimetres away "
        f"(at most {RESTLESS_CHECK:.0%} is usual): the patient moved during the scan, or this is "
        "another patient, another vertebral level, or a spine that is bent differently.",
    )


def _moved_mm(solution: Solution) -> float | None:
    """Standard deviation of the patient's positions during the scan, mm; None if it lay still."""
    smear = solution.smear
    if smear is None or smear.unusual_mm2 < MOVED_CHECK_MM2:
        return None
    return math.sqrt(smear.unusual_mm2)


def _along(solution: Solution) -> str:
    """The way of the smear in words."""
    along = np.zeros(3) if solution.smear is None else np.abs(solution.smear.along)
    return ("from side to side", "from front to back", "along the body")[int(np.argmax(along))]


def _judge_decoys(solution: Solution, findings: _Findings) -> None:
    """Other positions and levels, and the reversed CT."""
    fit = fit_evidence(solution)
    if solution.rivals:
        rival = min(solution.rivals, key=lambda other: other.log10_ratio)
        findings.weigh(
            rival.log10_ratio + fit < LEVEL_FAILED,
            rival.log10_ratio + fit < LEVEL_CHECK,
            f"Another position {rival.distance_mm:.0f} mm away fits nearly as well or better (the "
            f"odds are {_odds(rival)}): it may be one vertebra off, or another patient's.",
        )
    mirror, *turned = solution.reflected
    if mirror is not None:
        ratio = mirror.log10_ratio
        findings.weigh(
            ratio < MIRROR_FAILED,
            ratio < MIRROR_CHECK,
            "The SPECT fits the CT better with left and right swapped: check the orientation of "
            "both images.",
        )
        if MIRROR_CHECK <= ratio < MIRROR_NOTE:
            findings.notes.append(
                "What the images show is so symmetric that a swap of left and right would go "
                "unnoticed."
            )
    for other, words in zip(turned, REFLECTIONS[1:], strict=True):
        if other is not None:
            findings.weigh(
                other.log10_ratio + fit < TURNED_FAILED,
                other.log10_ratio + fit < TURNED_CHECK,
                f"A CT with {words} swapped fits nearly as well (the odds are {_odds(other)}): "
                "check the orientation of both images, or they are of different patients or parts "
                "of the body.",
            )


def _odds(other: Rival) -> str:
    """Likelihood ratio in words."""
    ratio = 10.0 ** float(np.clip(abs(other.log10_ratio), 0.0, 6.0))
    return f"{ratio:.0f} to 1" if other.log10_ratio >= 0 else f"1 to {ratio:.0f}"


def fit_evidence(solution: Solution) -> float:
    """Likelihood ratio, log10, of a right pair over a wrong one by how the solution fits."""
    explained = EXPLAINED_WEIGHT * (solution.coarse.explained - USUAL_EXPLAINED)
    restless = RESTLESS_WEIGHT * (USUAL_RESTLESS - solution.restless)
    return float(np.clip(explained + restless, *EVIDENCE_RANGE))


@dataclass(frozen=True)
class _Correction:
    """How far the result moves the CT's centre from where the headers put it."""

    shift_mm: float
    angle_deg: float


def _correction(ct_to_spect: FloatArray, centre_mm: FloatArray) -> _Correction:
    rotation = ct_to_spect[:3, :3]
    shift = float(np.linalg.norm(rotation @ centre_mm + ct_to_spect[:3, 3] - centre_mm))
    angle = float(np.rad2deg(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1.0, 1.0))))
    return _Correction(shift, angle)


def _correction_note(moved: _Correction) -> list[str]:
    """Warn that attenuation was corrected in the wrong place where the correction is large."""
    if moved.shift_mm <= LARGE_SHIFT_MM and moved.angle_deg <= LARGE_ROTATION_DEG:
        return []
    return [
        f"The correction is large ({moved.shift_mm:.0f} mm, {moved.angle_deg:.0f} degrees): if "
        "attenuation was corrected with this CT in its uncorrected position, the uptake values are "
        "biased, and registration does not correct that."
    ]
