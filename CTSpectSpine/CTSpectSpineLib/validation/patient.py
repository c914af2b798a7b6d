"""One patient of the study: made, analysed, compared with the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib.analysis.pipeline import Results, analyze
from CTSpectSpineLib.anatomy import SACRUM
from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.geometry import apply_matrix, grid_of, inverse, registration_errors_mm
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.labelling import label_vertebrae
from CTSpectSpineLib.model import FloatArray, Joint, Region
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.cases import SpectConfig
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.phantom.product import Phantom, phantom_of
from CTSpectSpineLib.phantom.real_ct import classify
from CTSpectSpineLib.protocol_files import USUAL_PROTOCOL
from CTSpectSpineLib.triage_protocol import triage
from CTSpectSpineLib.validation.cohort import (
    Patient,
    draw_hot,
    draw_ratios,
    draw_scanner,
    draw_spine,
)
from CTSpectSpineLib.validation.cost import Meter
from CTSpectSpineLib.validation.rows import JointRow, PatientRow
from CTSpectSpineLib.volumes.checks import check_ct
from CTSpectSpineLib.volumes.reading import read_volume

PROTOCOL = USUAL_PROTOCOL
NORMAL_RATIO, INCREASED_RATIO = 1.2, 2.5
"""True ratio up to which a joint is normal, and at which it is clearly increased. By definition:
the upper end of a phantom's normal joints (``activity.json``). Judgement: well above a true ratio
of 2."""
NEAR_MM = 45.0
"""Centres of joints nearer than this are neighbours. Judgement: those of the next level are (a
lumbar level is about 36 mm high)."""
_ATTEMPTS = 20
"""Numerical: cap on the draws of ratios that overlapping joints allow."""
_NUMBERS = (
    "ratio_mean",
    "ratio_max",
    "ratio_corrected",
    "ratio_low",
    "ratio_high",
    "probability_positive",
)


@dataclass(frozen=True)
class RealCt:
    """Files of a real CT.

    Attributes
    ----------
    ct, vertebrae
        The CT and its vertebra labels.
    organs
        Labels of TotalSegmentator's ``total`` task; None for a patient without organs.
    scheme
        Numbering of the vertebra labels.
    """

    ct: Path
    vertebrae: Path
    organs: Path | None = None
    scheme: str = "auto"


@dataclass(frozen=True)
class _Made:
    """A phantom and how it was drawn."""

    phantom: Phantom
    scanner: SpectConfig
    field: str
    pattern: str
    hot: Mapping[str, float]
    degenerate: Mapping[str, float]
    spine: Mapping[str, float]


def run_patient(
    patient: Patient, real: RealCt | None = None, threads: int | None = 1
) -> tuple[PatientRow, list[JointRow]]:
    """Make a patient, run the analysis as a user would, and compare with the truth.

    An analysis that ends with an error is a row like any other, with ``failed`` set.

    Parameters
    ----------
    patient
        The patient.
    real
        The real CT, for sets that need one.
    threads
        Threads of the registration; results do not depend on it.

    Raises
    ------
    InputError
        If the real CT is missing or cannot be used.
    """
    meter = Meter()
    made = _make(patient, real)
    fwhm = made.scanner.fwhm_mm if patient.info.fwhm_given else None
    results: Results | None = None
    message = ""
    meter.begin()
    try:
        results = analyze(
            made.phantom.ct,
            made.phantom.spect,
            made.phantom.anatomy.labels,
            protocol=PROTOCOL,
            context=context_of(made.phantom),
            progress=meter,
            fwhm_mm=fwhm,
            threads=threads,
        )
    except Cancelled:
        raise
    except Exception as error:  # a defect that one patient shows is a finding of the study
        message = f"{type(error).__name__}: {error}"
    meter.end()
    joints = _joint_rows(patient, made, results, message)
    return _patient_row(patient, made, results, message, meter), joints


def _make(patient: Patient, real: RealCt | None) -> _Made:
    scanner = draw_scanner(patient)
    if patient.info.real:
        if real is None:
            raise InputError(f"The set '{patient.set_name}' needs a real CT; give --ct.")
        anatomy = _real_anatomy(real)
        known = {j.id for j in anatomy.joints if j.bone is not None and not j.flags}
        pattern, chosen = draw_hot([j.id for j in anatomy.joints if j.id in known], patient)
        phantom, hot = _image(anatomy, chosen, scanner, patient)
        field = f"{anatomy.joints[0].upper}-{anatomy.joints[-1].lower}"
        return _Made(phantom, scanner, field, pattern, hot, {}, {})
    config, pattern, chosen = draw_spine(patient)
    phantom, hot = _image(make_anatomy(config), chosen, scanner, patient)
    spine = {
        "cobb_deg": config.scoliosis_cobb_deg,
        "bone_density": config.bone_density,
        "size": config.size,
    }
    field = f"{config.first}-{'S1' if config.last == SACRUM else config.last}"
    return _Made(phantom, scanner, field, pattern, hot, config.degenerate, spine)


def _image(
    anatomy: Anatomy, chosen: tuple[str, ...], scanner: SpectConfig, patient: Patient
) -> tuple[Phantom, Mapping[str, float]]:
    """The phantom; where ratios cannot be reached together, others are drawn."""
    for attempt in range(_ATTEMPTS):
        hot = draw_ratios(chosen, patient, attempt)
        try:
            return phantom_of(anatomy, hot, scanner), hot
        except InputError:
            if len(chosen) < 2:
                raise
    hot = draw_ratios(chosen[:1], patient, _ATTEMPTS)
    return phantom_of(anatomy, hot, scanner), hot


@lru_cache(maxsize=1)
def _real_anatomy(real: RealCt) -> Anatomy:
    volume = read_volume(real.ct, "ct")
    check_ct(volume)
    labels = label_vertebrae(volume.image, real.vertebrae, scheme=real.scheme).image
    joints = build_joints(labels, volume.image)
    organs = None
    if real.organs is not None:
        organs = read_volume(real.organs, "labels").image
    tissue = classify(volume.image, labels, joints, organs)
    return Anatomy(volume.image, labels, tissue, joints.joints)


def context_of(phantom: Phantom) -> dict[str, Any]:
    """Clinical context of every patient: no level is unstable, surgery was not declined.

    Without it the protocol leaves a lumbar facet joint's disposition open, in the truth as well.
    """
    levels = {joint.level for joint in phantom.joints if joint.spine_region == "lumbar"}
    return {"instability_mm": dict.fromkeys(sorted(levels), 0.0), "surgery_declined": False}


def _true_disposition(phantom: Phantom) -> str:
    return triage(phantom.joint_table(), context_of(phantom), PROTOCOL).disposition


def _patient_row(
    patient: Patient, made: _Made, results: Results | None, message: str, meter: Meter
) -> PatientRow:
    ratios = np.array(list(made.phantom.true_ratios.values()))
    row = PatientRow(
        set_name=patient.set_name,
        split=patient.split,
        patient=patient.name,
        seed=patient.seed,
        field=made.field,
        pattern=made.pattern,
        hot="; ".join(f"{joint}={ratio:.2f}" for joint, ratio in made.hot.items()),
        ct_voxel_mm="x".join(f"{s:.2f}" for s in grid_of(made.phantom.ct).spacing_mm),
        cobb_deg=made.spine.get("cobb_deg"),
        bone_density=made.spine.get("bone_density"),
        size=made.spine.get("size"),
        fwhm_mm=made.scanner.fwhm_mm,
        voxel_mm=made.scanner.spacing_mm,
        counts=made.scanner.counts,
        true_disposition=_true_disposition(made.phantom),
        grey_joints=int(np.sum((ratios > NORMAL_RATIO) & (ratios < INCREASED_RATIO))),
        failed=results is None,
        message=message,
        **meter.columns(),
    )
    if results is None:
        return row
    verdict, registration, uptake = results.verdict, results.registration, results.uptake
    errors = _registration_errors_mm(made.phantom, results)
    return replace(
        row,
        fwhm_used_mm=uptake.fwhm_mm,
        fwhm_source=uptake.fwhm_source,
        condition_number=uptake.condition_number,
        disposition=verdict.disposition,
        candidates="; ".join(verdict.candidate_dispositions),
        stability=verdict.stability,
        quality=registration.quality,
        expected_mm=registration.stated_error_mm,
        registration_mm=float(np.mean(list(errors.values()))),
        registration_worst_mm=float(np.max(list(errors.values()))),
        message=" ".join(registration.reasons),
    )


def _registration_errors_mm(phantom: Phantom, results: Results) -> dict[str, float]:
    """Registration error at the true joint centres, mm."""
    located = {j.id: j.centre_mm for j in phantom.joints if j.centre_mm is not None}
    points = np.array(list(located.values())).reshape(-1, 3)
    errors = registration_errors_mm(phantom.ct_to_spect, results.registration.matrix, points)
    return dict(zip(located, errors.tolist(), strict=True))


def _joint_rows(
    patient: Patient, made: _Made, results: Results | None, message: str
) -> list[JointRow]:
    phantom = made.phantom
    truth = {joint.id: joint for joint in phantom.joints}
    found: dict[str, Any] = {}
    placed: dict[str, Joint] = {}
    errors: dict[str, float] = {}
    if results is not None:
        found = {str(row["joint"]): row for row in results.table.to_dict("records")}
        placed = {joint.id: joint for joint in results.joints.joints}
        errors = _registration_errors_mm(phantom, results)
    names = [*truth, *(name for name in found if name not in truth)]
    lost = ("missing", "") if results is not None else ("failed", message)
    rows = []
    for name in names:
        joint = truth[name] if name in truth else placed[name]
        row = found.get(name, {"status": lost[0], "status_reason": lost[1]})
        rows.append(
            JointRow(
                set_name=patient.set_name,
                split=patient.split,
                patient=patient.name,
                seed=patient.seed,
                joint=name,
                level=joint.level,
                kind=joint.kind,
                side=joint.side,
                spine_region=joint.spine_region,
                true_ratio=phantom.true_ratios.get(name),
                true_uptake=phantom.true_uptake(name) if name in truth else "",
                hottest_near=_hottest_near(joint, phantom),
                degenerate=float(made.degenerate.get(name, 0.0)),
                fwhm_mm=made.scanner.fwhm_mm,
                status=str(row["status"]),
                status_reason=str(row["status_reason"]),
                uptake=str(row.get("uptake", "")),
                registration_mm=errors.get(name),
                **{column: _number(row.get(column)) for column in _NUMBERS},
                **_agreement(truth.get(name), placed.get(name)),
            )
        )
    return rows


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _hottest_near(joint: Joint, phantom: Phantom) -> float | None:
    """Largest true ratio of the other joints near a joint."""
    if joint.centre_mm is None:
        return None
    near = [
        phantom.true_ratios[other.id]
        for other in phantom.joints
        if other.id != joint.id
        and other.centre_mm is not None
        and np.linalg.norm(other.centre_mm - joint.centre_mm) <= NEAR_MM
    ]
    return max(near, default=None)


def _agreement(truth: Joint | None, found: Joint | None) -> dict[str, float | None]:
    """Distance of the centres and overlap of the regions."""
    if truth is None or found is None or truth.region is None or found.region is None:
        return {"centre_error_mm": None, "dice": None}
    distance = None
    if truth.centre_mm is not None and found.centre_mm is not None:
        distance = float(np.linalg.norm(truth.centre_mm - found.centre_mm))
    return {"centre_error_mm": distance, "dice": dice(truth.region, found.region)}


def dice(first: Region, second: Region) -> float:
    """Dice overlap of two regions on different grids, sampled at the first one's voxels."""
    points: FloatArray = first.points_mm()
    mask = second.mask
    index = np.rint(apply_matrix(inverse(second.ijk_to_lps), points)).astype(int)
    within = np.all((index >= 0) & (index < mask.shape[::-1]), axis=1)
    i, j, k = index[within].T
    shared = float(np.count_nonzero(mask[k, j, i])) * first.voxel_volume_mm3
    return 2.0 * shared / (first.volume_mm3 + second.volume_mm3)
