"""Patients with and without uptake outside the joints, measured as an analysis does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import build_joints
from CTSpectSpineLib.finding import Finding
from CTSpectSpineLib.findings import find_findings
from CTSpectSpineLib.geometry import affine, euler_transform
from CTSpectSpineLib.model import FloatArray, Registration, SpineJoints, Verdict
from CTSpectSpineLib.phantom import Phantom, SpectConfig, make_patient, patient, scan
from CTSpectSpineLib.phantom.activity import assign_activity
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.lesions import (
    Lesion,
    LesionCase,
    lesion_cases,
    lesion_voxels,
    with_lesions,
)
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.phantom.product import ACTIVITY_STREAM, imaged
from CTSpectSpineLib.phantom.real_ct import anatomy_from_ct
from CTSpectSpineLib.triage_protocol import load_protocol, triage
from CTSpectSpineLib.uptake import measure

SPACING_MM = 2.5
"""Voxels of the CT. Numerical: small phantoms."""
OFF_MM = 1.5
"""How far the SPECT lies off, in a direction by the seed. Judgement: a good registration."""
NEAR_MM = 12.0
"""A finding is that of a focus if it lies no further from it than this and its radius. Judgement:
a usual point spread."""
REAL = ("metastasis-l2-corner", "metastasis-l3-small", "spinous-l3", "fracture-l1", "paget-l3")
"""Cases that are put into the real CT: those that need vertebra labels only."""


@dataclass(frozen=True)
class Row:
    """One patient.

    Attributes
    ----------
    kind
        ``case``, ``real`` or ``ordinary``.
    foci, found
        Foci outside the joints, and how many of them a finding lies at.
    named
        Whether the headline names all that were found.
    false
        Findings that look like disease, lie at no focus and count.
    faint
        Those that do not count.
    """

    kind: str
    name: str
    scanner: str
    foci: int
    found: int
    named: bool
    false: int
    faint: int
    disposition: str
    headline: str
    seconds: float


def cases(names: Sequence[str] = ()) -> Iterator[Row]:
    """The cases of ``lesions.json`` on phantoms."""
    anatomies: dict[tuple[int, tuple[str, ...]], tuple[Anatomy, SpineJoints]] = {}
    for number, case in enumerate(lesion_cases()):
        if names and case.name not in names:
            continue
        seed = number % 3 + 1
        key = (seed, case.screws)
        if key not in anatomies:
            spine = SpineConfig(seed=seed, spacing_mm=SPACING_MM, first="T11", screws=case.screws)
            anatomy = make_anatomy(spine)
            anatomies[key] = anatomy, build_joints(anatomy.labels, anatomy.ct)
        anatomy, joints = anatomies[key]
        yield row_of("case", case.name, "own", case_phantom(anatomy, case, seed), joints, case)


def real(data: Path) -> Iterator[Row]:
    """Some of the cases in a real CT."""
    folder = data / "totalsegmentator_example"
    ct = sitk.ReadImage(str(folder / "ct.nii.gz"))
    labels = sitk.ReadImage(str(folder / "vertebrae_total.nii.gz"))
    joints = build_joints(labels, ct)
    anatomy = anatomy_from_ct(ct, labels, joints)
    none = LesionCase("none", "", ())
    for case in (none, *(c for c in lesion_cases() if c.name in REAL)):
        yield row_of("real", case.name, "own", case_phantom(anatomy, case, 1), joints, case)


def ordinary(seeds: Sequence[int], projections: Sequence[int]) -> Iterator[Row]:
    """Patients of the truth study, whose uptake is that of the joints alone."""
    none = LesionCase("none", "", ())
    for seed in seeds:
        for kind in ("ordinary", "hot", "mixed", "beside"):
            drawn = patient(kind, seed)
            drawn = replace(drawn, spine=replace(drawn.spine, spacing_mm=SPACING_MM))
            specimen = make_patient(drawn)
            joints = build_joints(specimen.anatomy.labels, specimen.anatomy.ct)
            own = imaged(specimen.anatomy, specimen.painted, drawn.spect, {})
            yield row_of("ordinary", f"{kind}-{seed}", "own", own, joints, none)
            if seed in projections:
                made = scan(specimen, drawn.spect, ("recovery", "no-recovery"))[0]
                for name, phantom in made.items():
                    yield row_of("ordinary", f"{kind}-{seed}", name, phantom, joints, none)


def case_phantom(anatomy: Anatomy, case: LesionCase, seed: int) -> Phantom:
    """A case on an anatomy, imaged by the default scanner."""
    painted = assign_activity(anatomy, case.hot, [seed, ACTIVITY_STREAM])
    return imaged(anatomy, with_lesions(anatomy, painted, case.lesions), SpectConfig(seed=seed), {})


def row_of(
    kind: str, name: str, scanner: str, phantom: Phantom, joints: SpineJoints, case: LesionCase
) -> Row:
    """Examine a phantom and compare what is found with its foci."""
    begin = time.perf_counter()
    findings, verdict = examine(phantom, joints)
    seconds = time.perf_counter() - begin
    at = [of_lesion(phantom.anatomy, lesion, findings) for lesion in case.lesions]
    mine = [finding for finding in at if finding is not None]
    known = {f.name for one in case.lesions for f in _at_lesion(phantom.anatomy, one, findings)}
    others = [f for f in findings if f.name not in known and not f.physiologic]
    counting = [f for f in others if f.reaches(2.0)]
    named = all(
        (f.short if f.physiologic else f.nearest) in verdict.headline or "more" in verdict.headline
        for f in mine
    )
    return Row(
        *(kind, name, scanner, len(case.lesions), len(mine), named and len(mine) == len(at)),
        *(len(counting), len(others) - len(counting), verdict.disposition, verdict.headline),
        round(seconds, 1),
    )


def examine(phantom: Phantom, joints: SpineJoints) -> tuple[tuple[Finding, ...], Verdict]:
    """Findings and verdict of a phantom whose registration is off by `OFF_MM`."""
    protocol = load_protocol("tender-2019")
    matrix = off(phantom)
    registration = Registration(euler_transform(matrix), "given", 0.0, 1.0, OFF_MM, "good", (), 0.0)
    labels = phantom.anatomy.labels
    uptake = measure(phantom.spect, joints, labels, registration, protocol.bounds)
    findings = find_findings(
        *(phantom.spect, phantom.ct, labels, joints, matrix),
        *(uptake.reference.value, uptake.fwhm_mm),
    )
    verdict = triage(uptake.table, {}, protocol, draws=uptake.draws, findings=findings)
    return findings, verdict


def off(phantom: Phantom) -> FloatArray:
    """The phantom's transform with an error of `OFF_MM`."""
    direction = np.random.default_rng([phantom.seed, 99]).standard_normal(3)
    shift = OFF_MM * direction / np.linalg.norm(direction)
    return np.asarray(affine(np.eye(3), shift) @ phantom.ct_to_spect)


def of_lesion(anatomy: Anatomy, lesion: Lesion, findings: Sequence[Finding]) -> Finding | None:
    """The finding at a focus, the nearest of several; None where there is none."""
    return next(iter(_at_lesion(anatomy, lesion, findings)), None)


def _at_lesion(
    anatomy: Anatomy, lesion: Lesion, findings: Sequence[Finding]
) -> tuple[Finding, ...]:
    """All findings at a focus, which may be seen as two; the nearest first."""
    where, _ = lesion_voxels(anatomy, lesion)
    k, j, i = (float(np.mean(axis)) for axis in where)
    centre = np.array(anatomy.ct.TransformContinuousIndexToPhysicalPoint((i, j, k)))
    reach = NEAR_MM + max(lesion.diameter_mm, 30.0 if lesion.where == "vertebra" else 0.0) / 2
    away = {f.name: float(np.linalg.norm(np.array(f.centre_mm) - centre)) for f in findings}
    near = [f for f in findings if away[f.name] <= reach]
    return tuple(sorted(near, key=lambda f: away[f.name]))
