"""From SPECT, joints and registration to the uptake of every joint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
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
from CTSpectSpineLib.uptake.observation import Scene, make_scene
from CTSpectSpineLib.uptake.partition import Partition, PartKind
from CTSpectSpineLib.uptake.psf import DEFAULT_FWHM_MM, estimate_psf, near_bone
from CTSpectSpineLib.uptake.reference import (
    MIN_COVERAGE,
    REFERENCES,
    bone_reference,
    choose_reference,
    eligible_bodies,
)
from CTSpectSpineLib.uptake.sampling import (
    SpectField,
    region_max,
    region_mean,
    region_peak,
    spect_field,
)
from CTSpectSpineLib.uptake.table import (
    METRICS,
    Measured,
    add_uncertainty,
    check_bounds,
    deciding_ratio,
    drop_uninformative,
    joint_table,
)
from CTSpectSpineLib.uptake.transfer import (
    TransferSystem,
    blurred_profiles,
    region_nodes,
)
from CTSpectSpineLib.uptake.uncertainty import (
    FWHM_NODES,
    Groups,
    Plan,
    estimate_noise,
    repeat_measurement,
)

_FWHM_RANGE_MM = (2.0, 30.0)
_POINTS_PER_JOINT = 400
_POINTS_PER_BONE = 150
_POINTS_PER_BLOCK = 20
_STAGE = "uptake"


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
    repetitions: int = 200,
    seed: int = 0,
    progress: ProgressCallback = silent,
) -> Uptake:
    """Measure the uptake of all joints.

    ``mean``, ``max`` and ``peak`` are plain measures of the SPECT as it is (`sampling`);
    ``corrected_mean`` is the uptake of the joint's bone after partial-volume correction
    (`transfer`). All ratios share one denominator, the corrected reference uptake (`reference`);
    ``ratio_corrected`` is therefore free of blur on both sides, and the other ratios show what
    blur does to the joint alone.

    Parameters
    ----------
    spect
        The SPECT, any linear unit.
    joints, labels
        Joints with vertebra frames, and the vertebra labels that they come from.
    registration
        Maps points of the CT to points of the SPECT.
    bounds
        Per kind of joint: the deciding ratio and what counts as increased.
    fwhm_mm
        Point spread of the SPECT; estimated from the SPECT when None.
    reference
        ``vertebral_bodies``, ``sacrum`` or ``iliac``.
    suv_factor
        SUV per SPECT unit; None leaves the SUV columns NaN.
    repetitions, seed
        Of the perturbed repetitions behind intervals and probabilities.
    progress
        Called with each step.

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
    progress(Progress(_STAGE, 0.0, "Dividing the spine into regions"))
    whole = spect_field(spect, registration.matrix)
    problems = {joint.id: _problem(whole, joint) for joint in joints.joints}
    scene = make_scene(whole, joints, labels)
    if scene is None:
        return _nothing_measured(joints, problems, bounds, fwhm_mm, reference, repetitions)

    progress(Progress(_STAGE, 0.2, "Estimating the resolution of the SPECT"))
    width, source, warnings = _point_spread(scene, fwhm_mm)
    systems = tuple(scene.system(share * width) for share in FWHM_NODES)
    corrected = systems[1].solve(scene.observed())

    progress(Progress(_STAGE, 0.5, "Measuring the joints"))
    measured = {
        joint.id: _measure_joint(whole, scene.partition, joint, corrected, problems[joint.id])
        for joint in joints.joints
    }
    chosen, more = _reference(reference, scene, joints, measured, bounds, corrected)
    warnings += more
    if np.isnan(chosen.value):
        measured = {
            key: value
            if value.problem
            else replace(value, problem="there is no reference uptake to compare with")
            for key, value in measured.items()
        }
    table = joint_table(joints.joints, measured, chosen.value, bounds, suv_factor)

    progress(Progress(_STAGE, 0.6, "Repeating the measurement to see how sure it is"))
    draws = _draws(
        scene,
        (systems[0], systems[1], systems[2]),
        corrected,
        joints.joints,
        chosen,
        bounds,
        deciding_ratio(table, bounds),
        registration.expected_error_mm,
        repetitions,
        np.random.default_rng(seed),
        progress,
    )
    progress(Progress(_STAGE, 1.0, "Uptake measured"))
    table, draws = drop_uninformative(add_uncertainty(table, draws, bounds), draws, bounds)
    return Uptake(
        table=table,
        reference=chosen,
        draws=draws,
        fwhm_mm=width,
        fwhm_source=source,
        condition_number=systems[1].condition_number(),
        warnings=warnings,
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


def _point_spread(scene: Scene, given: float | None) -> tuple[float, str, tuple[str, ...]]:
    """Point spread, where it comes from, and warnings."""
    if given is not None:
        return float(given), "given", ()
    found = estimate_psf(scene.field, scene.partition, scene.weights, scene.priors)
    if found.estimated:
        return found.fwhm_mm, "estimated from the SPECT", ()
    return (
        DEFAULT_FWHM_MM,
        "default",
        (f"The resolution of the SPECT is taken as {DEFAULT_FWHM_MM:g} mm FWHM: {found.reason}.",),
    )


def _measure_joint(
    field: SpectField, partition: Partition, joint: Joint, corrected: FloatArray, problem: str
) -> Measured:
    if problem or joint.region is None:
        return Measured(problem=problem)
    number = partition.position(_bone_kind(joint), joint.id)
    if number is None:
        return Measured(problem="its bone lies wholly inside that of neighbouring joints")
    points = joint.region.points_mm()
    return Measured(
        mean=region_mean(field, points),
        max=region_max(field, points),
        peak=region_peak(field, points),
        corrected_mean=max(0.0, float(corrected[number])),
    )


def _bone_kind(joint: Joint) -> PartKind:
    return "disc_bone" if joint.kind == "disc" else "facet_bone"


def _reference(
    name: str,
    scene: Scene,
    joints: SpineJoints,
    measured: Mapping[str, Measured],
    bounds: Mapping[JointKind, UptakeBounds],
    corrected: FloatArray,
) -> tuple[ReferenceUptake, tuple[str, ...]]:
    if name != "vertebral_bodies":
        return bone_reference(name, scene.partition, corrected), ()
    numerators = {
        joint.id: float(getattr(measured[joint.id], METRICS[bounds[joint.kind].metric]))
        for joint in joints.joints
        if not measured[joint.id].problem
    }
    bodies = eligible_bodies(scene.field, joints.frames, scene.partition, corrected)
    return choose_reference(bodies, joints.joints, numerators, bounds)


def _draws(
    scene: Scene,
    systems: tuple[TransferSystem, TransferSystem, TransferSystem],
    corrected: FloatArray,
    joints: tuple[Joint, ...],
    reference: ReferenceUptake,
    bounds: Mapping[JointKind, UptakeBounds],
    ratios: FloatArray,
    error_mm: float,
    repetitions: int,
    rng: np.random.Generator,
    progress: ProgressCallback,
) -> FloatArray:
    """Repetitions of the deciding ratio, shape (repetitions, joints).

    A repetition errs on top of an error that is already there, so where errors lower a ratio
    (a region slipping off a hot spot) repetitions come out lower than the measured ratio, which
    is itself lower than the truth. They are therefore mirrored at the measured ratio (the basic
    bootstrap; Davison and Hinkley, Bootstrap Methods, 1997, 5.2).
    """
    draws = np.full((repetitions, len(joints)), np.nan)
    wanted = np.flatnonzero(np.isfinite(ratios))
    if not repetitions or not len(wanted):
        return draws
    profiles = blurred_profiles(scene.partition, scene.field, systems[1].fwhm_mm)
    fitted = (profiles @ corrected).reshape(scene.field.array.shape)
    noise = estimate_noise(scene.field, fitted, near_bone(scene.field, scene.partition))
    chosen = [joints[n] for n in wanted]
    centres = np.array([j.centre_mm for j in chosen if j.centre_mm is not None])
    statistics = {bounds[j.kind].metric.removeprefix("ratio_") for j in chosen}
    total = np.empty((repetitions, len(chosen)))
    nominal = np.empty(len(chosen))
    for statistic in sorted(statistics):
        mine = [
            n
            for n, j in enumerate(chosen)
            if bounds[j.kind].metric.removeprefix("ratio_") == statistic
        ]
        plan = _plan(scene, [chosen[n] for n in mine], joints, statistic, reference)
        still, moved = repeat_measurement(
            scene.field,
            plan,
            systems,
            noise,
            centres,
            error_mm,
            repetitions,
            np.random.default_rng(rng.integers(2**63)),
            lambda done: progress(Progress(_STAGE, 0.6 + 0.4 * done, "Repeating the measurement")),
        )
        total[:, mine] = moved
        nominal[mine] = still
    # Thinned points give slightly different values; only the change is taken from them.
    change = total - nominal[None]
    draws[:, wanted] = np.maximum(0.0, ratios[wanted][None] - change)
    return draws


def _plan(
    scene: Scene,
    chosen: list[Joint],
    joints: tuple[Joint, ...],
    statistic: str,
    reference: ReferenceUptake,
) -> Plan:
    number_of = {joint.id: n for n, joint in enumerate(joints)}
    numerator_parts = np.array([scene.partition.position(_bone_kind(j), j.id) or 0 for j in chosen])
    if reference.name == "vertebral_bodies":
        kind: PartKind = "body"
    else:
        kind = "sacrum" if reference.name == "sacrum" else "hip"
    base = np.array([scene.partition.position(kind, owner) or 0 for owner in reference.used])
    middle = np.median if kind == "body" else np.mean
    corrected = statistic == "corrected"
    plain = None if corrected else _joint_groups(scene, chosen, number_of)

    def numerator(true: FloatArray, seen: FloatArray | None) -> FloatArray:
        return true[numerator_parts] if seen is None else seen

    return Plan(
        parts=_part_groups(scene, number_of),
        joints=plain,
        statistic="mean" if corrected else statistic,
        numerator=numerator,
        reference=lambda true: float(middle(true[base])),
    )


def _part_groups(scene: Scene, number_of: Mapping[str, int]) -> Groups:
    boxes = scene.partition.boxes()
    groups, owner = [], []
    for number, part in enumerate(scene.partition.parts):
        joint = part.kind in ("disc_bone", "disc_space", "facet_bone")
        if number in scene.cores:
            points = scene.cores[number]
            groups.append(points[:: max(1, len(points) // _POINTS_PER_BONE)])
        else:
            most = _POINTS_PER_BLOCK if part.kind == "background" else _POINTS_PER_BONE
            groups.append(
                region_nodes(scene.partition, boxes, number, _POINTS_PER_JOINT if joint else most)
            )
        owner.append(number_of[part.owner] if joint else -1)
    return Groups.of(groups, owner)


def _joint_groups(scene: Scene, chosen: list[Joint], number_of: Mapping[str, int]) -> Groups:
    groups = []
    for joint in chosen:
        assert joint.region is not None, "only measured joints are repeated"
        index = scene.field.index(joint.region.points_mm())
        groups.append(index[:: max(1, len(index) // _POINTS_PER_JOINT)])
    return Groups.of(groups, [number_of[joint.id] for joint in chosen])


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
        table=joint_table(joints.joints, measured, np.nan, bounds, None),
        reference=ReferenceUptake(np.nan, reference, (), {}, np.nan),
        draws=np.full((repetitions, len(joints.joints)), np.nan),
        fwhm_mm=fwhm_mm if fwhm_mm is not None else DEFAULT_FWHM_MM,
        fwhm_source="given" if fwhm_mm is not None else "default",
        condition_number=np.nan,
        warnings=("Nothing of the spine lies inside the SPECT.",),
    )
