"""From SPECT, joints and registration to the uptake of every joint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib.calibration_file import Calibration
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.joint_columns import METRICS
from CTSpectSpineLib.joint_table import deciding_ratios
from CTSpectSpineLib.model import (
    FloatArray,
    Joint,
    JointKind,
    ReferenceUptake,
    Registration,
    SpineJoints,
    Uptake,
    UptakeBounds,
)
from CTSpectSpineLib.progress import Progress, ProgressCallback, silent
from CTSpectSpineLib.uptake.attenuation import Emission
from CTSpectSpineLib.uptake.columns import (
    Measured,
    add_uncertainty,
    check_bounds,
    drop_unreliable,
    joint_table,
    other_sides,
    reference_per_joint,
)
from CTSpectSpineLib.uptake.endplates import EndplateUptake
from CTSpectSpineLib.uptake.families import DEFAULT_FWHM_MM, Answer, solve_families
from CTSpectSpineLib.uptake.observed_spine import ObservedSpine, observe_spine
from CTSpectSpineLib.uptake.partition import Partition
from CTSpectSpineLib.uptake.posed import placed_on_ct, posed
from CTSpectSpineLib.uptake.reference import (
    CONTRALATERAL,
    MIN_COVERAGE,
    REFERENCES,
    bone_reference,
    choose_reference,
    draw_reference,
    eligible_bodies,
)
from CTSpectSpineLib.uptake.repetition import bone_part, repeat_plain
from CTSpectSpineLib.uptake.sampling import (
    SpectField,
    region_max,
    region_mean,
    region_peak,
    spect_field,
)

_FWHM_RANGE_MM = (2.0, 30.0)
"""FWHM, mm, that a user may give. Judgement: far wider than the 8 to 12 mm usual in bone SPECT, so
that only slips (centimetres, a sigma of nearly 0) are refused."""
_LARGEST_ERROR_MM = 20.0
"""Cap on the expected registration error, which is infinite for a failed one: intervals grow no
further beyond it. Judgement: four times the 5 mm at which a verdict is refused."""
_STAGE = "uptake"
_NO_ENDPLATES = EndplateUptake(np.nan, np.nan)


def measure(
    spect: sitk.Image,
    joints: SpineJoints,
    labels: sitk.Image,
    registration: Registration,
    bounds: Mapping[JointKind, UptakeBounds],
    *,
    fwhm_mm: float | None = None,
    reference: str = "vertebral_bodies",
    suv_factor: float | None = None,
    calibration: Calibration | None = None,
    repetitions: int = 200,
    seed: int = 0,
    progress: ProgressCallback = silent,
    threads: int | None = None,
    emitted: Emission | None = None,
) -> Uptake:
    """Measure the uptake of all joints.

    ``mean``, ``max`` and ``peak`` are plain measures of the SPECT as it is (`sampling`);
    ``corrected_mean`` is the uptake of the joint's bone after partial-volume correction
    (`families`), and after that of attenuation where the reconstruction has left it in
    (`attenuation`). All ratios share one denominator, the corrected reference uptake (`reference`);
    ``ratio_corrected`` is therefore free of blur on both sides, and the other ratios show what
    blur does to the joint alone. Intervals and probabilities come from draws of the corrected
    uptake (`gibbs`), or from repeated plain measures (`repetition`).

    Parameters
    ----------
    spect
        The SPECT, any linear unit.
    joints, labels
        Joints with vertebra frames, and the vertebra labels that they come from.
    registration
        Maps points of the CT to points of the SPECT; where it holds motions of single vertebrae,
        these are measured where they lie in the SPECT.
    bounds
        Per kind of joint: the deciding ratio and what counts as increased.
    fwhm_mm
        Resolution of the SPECT, before voxels average over their size; estimated from the SPECT
        when None.
    reference
        ``vertebral_bodies``, ``sacrum``, ``iliac``, or ``contralateral``: facet joints against
        the other side's corrected uptake, discs (and facets whose other side was not measured)
        against the vertebral bodies.
    suv_factor
        SUV per SPECT unit; None leaves the SUV columns NaN.
    calibration
        What the site measured of its scanner and its normals.
    repetitions, seed
        Of the perturbed repetitions behind intervals and probabilities. With 200 the standard
        error of a probability is at most 0.035.
    progress
        Called with each step.
    threads
        Most threads, None for those of the machine. The result does not depend on it.
    emitted
        The SPECT that corrected uptake is solved for, from `emission`, with what is known of its
        reconstruction, which decides what response is taken; None for the SPECT as it is, of which
        nothing is known.

    Returns
    -------
    Uptake, with one row per joint, in the order of ``joints.joints``.

    Raises
    ------
    InputError
        If a parameter is impossible, the SPECT holds values that are not finite, or the chosen
        reference bone is not there.
    """
    _check(joints, bounds, fwhm_mm, reference, suv_factor, repetitions)
    on_ct = joints
    if registration.posture is not None:
        joints, labels = posed(joints, labels, registration.posture)
    progress(Progress(_STAGE, 0.0, "Dividing the spine into regions"))
    whole = spect_field(spect, registration.matrix)
    problems = {joint.id: _problem(whole, joint) for joint in joints.joints}
    emitted = emitted or Emission(spect)
    spine = observe_spine(spect_field(emitted.spect, registration.matrix), joints, labels)
    if spine is None:
        return _nothing_measured(on_ct, problems, bounds, fwhm_mm, reference, repetitions)

    progress(Progress(_STAGE, 0.2, "Correcting for the resolution of the SPECT"))
    error_mm = min(registration.expected_error_mm, _LARGEST_ERROR_MM)
    answer = solve_families(
        spine,
        emitted.facts,
        fwhm_mm,
        joints,
        error_mm,
        repetitions,
        seed,
        calibration,
        threads,
        more_sd=emitted.relative_sd,
    )

    progress(Progress(_STAGE, 0.7, "Measuring the joints"))
    corrected = answer.corrected
    measured = {
        joint.id: _measure_joint(whole, spine.partition, joint, answer, problems[joint.id])
        for joint in joints.joints
    }
    chosen, warnings = _reference(reference, spine, joints, measured, bounds, corrected)
    warnings = emitted.warnings + answer.warnings + warnings
    if np.isnan(chosen.value):
        measured = {
            key: value
            if value.problem
            else replace(value, problem="there is no reference uptake to compare with")
            for key, value in measured.items()
        }
    across = reference == CONTRALATERAL
    references = reference_per_joint(joints.joints, measured, chosen.value, across=across)
    table = joint_table(joints.joints, measured, references, bounds, suv_factor)

    progress(Progress(_STAGE, 0.8, "Repeating the measurement to estimate its uncertainty"))
    rng = np.random.default_rng(seed)
    draws = _draws(spine, answer, joints.joints, chosen, bounds, table, error_mm, repetitions, rng)
    progress(Progress(_STAGE, 1.0, "Uptake measured"))
    table = add_uncertainty(table, draws, bounds)
    table, draws = drop_unreliable(table, draws, joints.joints, bounds)
    if registration.posture is not None:
        table = placed_on_ct(table, on_ct)
    return Uptake(
        table=table,
        reference=chosen,
        draws=draws,
        fwhm_mm=answer.fwhm_mm,
        fwhm_source=answer.fwhm_source,
        condition_number=answer.condition_number,
        warnings=warnings,
        reconstruction={
            **answer.reconstruction,
            "attenuation_corrected_with_ct": emitted.corrected,
        },
        calibration=answer.calibration,
    )


def _check(
    joints: SpineJoints,
    bounds: Mapping[JointKind, UptakeBounds],
    fwhm_mm: float | None,
    reference: str,
    suv_factor: float | None,
    repetitions: int,
) -> None:
    check_bounds(bounds, sorted({joint.kind for joint in joints.joints}))
    low, high = _FWHM_RANGE_MM
    if fwhm_mm is not None and not low <= fwhm_mm <= high:
        raise InputError(
            f"The SPECT resolution (FWHM) {fwhm_mm:g} mm is not between {low:g} and {high:g} mm;"
            " correct it or leave it out to have it estimated."
        )
    if reference not in REFERENCES:
        raise InputError(
            f"The reference '{reference}' is not known; use one of {', '.join(REFERENCES)}."
        )
    if suv_factor is not None and not 0.0 < suv_factor < np.inf:
        raise InputError(f"The SUV factor {suv_factor:g} must be a number above 0.")
    if repetitions < 0:
        raise InputError(f"The number of repetitions {repetitions} must not be negative.")


def _problem(field: SpectField, joint: Joint) -> str:
    """Why a joint cannot be measured, empty when it can."""
    if joint.region is None or not joint.region.mask.any():
        return "the joint was not located"
    if joint.bone is None or not joint.bone.mask.any():
        return "no bone of the joint was found"
    coverage = field.coverage(joint.region.points_mm())
    if coverage == 0.0:
        return "the joint lies outside the SPECT"
    if coverage < MIN_COVERAGE:
        return f"only {coverage:.0%} of the joint lies inside the SPECT"
    return ""


def _measure_joint(
    field: SpectField, partition: Partition, joint: Joint, answer: Answer, problem: str
) -> Measured:
    if problem or joint.region is None:
        return Measured(problem=problem)
    number = bone_part(partition, joint)
    if number is None:
        return Measured(problem="its bone lies wholly inside that of neighbouring joints")
    points = joint.region.points_mm()
    endplates = answer.endplates.get(joint.id, _NO_ENDPLATES)
    return Measured(
        mean=region_mean(field, points),
        max=region_max(field, points),
        peak=region_peak(field, points),
        corrected_mean=max(0.0, float(answer.corrected[number])),
        upper_endplate=endplates.upper,
        lower_endplate=endplates.lower,
    )


def _reference(
    name: str,
    spine: ObservedSpine,
    joints: SpineJoints,
    measured: Mapping[str, Measured],
    bounds: Mapping[JointKind, UptakeBounds],
    corrected: FloatArray,
) -> tuple[ReferenceUptake, tuple[str, ...]]:
    if name not in ("vertebral_bodies", CONTRALATERAL):
        return bone_reference(name, spine.partition, corrected), ()
    numerators = {
        joint.id: float(getattr(measured[joint.id], METRICS[bounds[joint.kind].metric]))
        for joint in joints.joints
        if not measured[joint.id].problem
    }
    bodies = eligible_bodies(spine.field, joints.frames, spine.partition, corrected)
    chosen, warnings = choose_reference(bodies, joints.joints, numerators, bounds)
    return replace(chosen, name=name), warnings


def _draws(
    spine: ObservedSpine,
    answer: Answer,
    joints: tuple[Joint, ...],
    reference: ReferenceUptake,
    bounds: Mapping[JointKind, UptakeBounds],
    table: pd.DataFrame,
    error_mm: float,
    repetitions: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Repetitions of the deciding ratio, shape (repetitions, joints)."""
    ratios = deciding_ratios(table, bounds)
    if not repetitions or not np.isfinite(ratios).any():
        return np.full((repetitions, len(joints)), np.nan)
    true = answer.draws[rng.permutation(len(answer.draws))[:repetitions]]
    corrected = np.full((repetitions, len(joints)), np.nan)
    for n, joint in enumerate(joints):
        part = bone_part(spine.partition, joint)
        if part is not None:
            corrected[:, n] = true[:, part]
    uptake = corrected.copy()
    statistics = [METRICS[bounds[joint.kind].metric] for joint in joints]
    for statistic in sorted(set(statistics) - {"corrected_mean"}):
        mine = [n for n, s in enumerate(statistics) if s == statistic and np.isfinite(ratios[n])]
        if mine:
            changes = repeat_plain(
                spine.field,
                [joints[n] for n in mine],
                statistic,
                answer.noise,
                error_mm,
                repetitions,
                rng,
            )
            uptake[:, mine] = table[statistic].to_numpy()[mine] + changes
    common = draw_reference(reference, spine.partition, true, rng)
    denominators = np.repeat(common[:, None], len(joints), axis=1)
    if reference.name == CONTRALATERAL:
        for n, other in enumerate(other_sides(joints)):
            if other is not None:
                denominators[:, n] = corrected[:, other]
    draws: FloatArray = np.maximum(0.0, uptake) / np.maximum(denominators, 1e-3 * common[:, None])
    draws[:, ~np.isfinite(ratios)] = np.nan
    return draws


def _nothing_measured(
    joints: SpineJoints,
    problems: Mapping[str, str],
    bounds: Mapping[JointKind, UptakeBounds],
    fwhm_mm: float | None,
    reference: str,
    repetitions: int,
) -> Uptake:
    """Result when nothing of the spine lies inside the SPECT."""
    measured: dict[str, Measured] = {
        key: Measured(problem=problem or "the joint lies outside the SPECT")
        for key, problem in problems.items()
    }
    return Uptake(
        table=joint_table(
            joints.joints, measured, np.full(len(joints.joints), np.nan), bounds, None
        ),
        reference=ReferenceUptake(np.nan, reference, (), {}, np.nan),
        draws=np.full((repetitions, len(joints.joints)), np.nan),
        fwhm_mm=fwhm_mm if fwhm_mm is not None else DEFAULT_FWHM_MM,
        fwhm_source="given" if fwhm_mm is not None else "default",
        condition_number=np.nan,
        warnings=("Nothing of the spine lies inside the SPECT.",),
    )
