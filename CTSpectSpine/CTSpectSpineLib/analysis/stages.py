"""The stages of an analysis: plain values in, plain values out, nothing written or recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib.analysis.inputs import (
    Alignment,
    LabelSource,
    VolumeSource,
    as_labels,
    as_volume,
    lean_inputs,
    name_of,
    suv_inputs,
)
from CTSpectSpineLib.analysis.level_trust import level_statuses, trust_after_joints
from CTSpectSpineLib.analysis.obstacles import obstacles_and_caveats
from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.calibration_file import read_calibration
from CTSpectSpineLib.finding import Finding
from CTSpectSpineLib.findings import find_findings
from CTSpectSpineLib.joints import build_joints, check_neighbours
from CTSpectSpineLib.labelling import (
    Settings,
    anchored,
    judge,
    label_vertebrae,
    parse_anchors,
)
from CTSpectSpineLib.model import Registration, SpineJoints, Uptake, Verdict, VertebraLabels
from CTSpectSpineLib.progress import ProgressCallback
from CTSpectSpineLib.registration import judge_given, refine_vertebrae, register
from CTSpectSpineLib.results.decision import Decision
from CTSpectSpineLib.results.stage_files import RegisteredPair
from CTSpectSpineLib.triage_protocol import Protocol, triage
from CTSpectSpineLib.uptake import Emission, measure
from CTSpectSpineLib.volumes import (
    OTHER_SUV,
    Volume,
    check_inputs,
    in_unit,
    lean_share,
    share_frame,
    suv_factor,
)


@dataclass(frozen=True)
class Images:
    """CT and SPECT, checked.

    Attributes
    ----------
    ct, spect
        The volumes; the axes of the SPECT run to L, P, S.
    warnings
        Sentences on what is unusual.
    """

    ct: Volume
    spect: Volume
    warnings: tuple[str, ...]

    @cached_property
    def pair(self) -> RegisteredPair:
        """Grids and voxels of both."""
        return RegisteredPair.of(self.ct.image, self.spect.image)


@dataclass(frozen=True)
class Triaged:
    """The verdict with the finished joint table.

    Attributes
    ----------
    obstacles
        Sentences on what forbids a verdict.
    """

    verdict: Verdict
    table: pd.DataFrame
    obstacles: tuple[str, ...]


def read_images(
    ct: VolumeSource, spect: VolumeSource, *, placed: bool, unit: str | None = None
) -> Images:
    """Read and check CT and SPECT.

    Parameters
    ----------
    placed
        Whether the position of the SPECT is known, so that the headers need not overlap.
    unit
        Unit of the SPECT as the user declares it; None for that of its file.

    Raises
    ------
    InputError
        If an image cannot be used.
    """
    ct_volume, spect_volume = as_volume(ct, "ct"), as_volume(spect, "spect")
    if unit is not None:
        spect_volume = in_unit(spect_volume, unit)
    warnings = check_inputs(ct_volume, spect_volume, placed)
    # One order of axes, so that no result depends on how the SPECT was stored.
    oriented = replace(spect_volume, image=sitk.DICOMOrient(spect_volume.image, "LPS"))
    return Images(ct_volume, oriented, (*warnings, *ct_volume.notes, *spect_volume.notes))


def align(
    images: Images, alignment: Alignment, progress: ProgressCallback, threads: int | None
) -> tuple[Registration, tuple[str, ...]]:
    """Register, judge the transform that the user gave, or keep a registration.

    Returns
    -------
    registration, warnings

    Raises
    ------
    InputError
        If the registration to be kept was found on other images.
    """
    ct, spect = images.ct.image, images.spect.image
    warnings: tuple[str, ...] = ()
    if alignment.kept is not None:
        alignment.kept.check(images.pair)
        registration = alignment.kept.registration
        warnings = ("The registration of an earlier analysis was kept.",)
    elif alignment.fixed is None:
        same_frame = share_frame(images.ct, images.spect)
        registration = register(
            ct, spect, alignment.start, progress, threads, same_frame=same_frame
        )
    else:
        registration = judge_given(ct, spect, alignment.fixed, progress, threads)
    if registration.quality != "good":
        warnings = (*warnings, *registration.reasons)
    return registration, warnings


def label(
    ct: Volume,
    source: LabelSource | None,
    labeller: str,
    options: Options,
    progress: ProgressCallback,
) -> tuple[VertebraLabels, tuple[str, ...]]:
    """Label the vertebrae, or import the labels given.

    Returns
    -------
    labels, warnings

    Raises
    ------
    InputError
        If the labels cannot be used, or hold no two neighbours.
    """
    if isinstance(source, VertebraLabels):
        labels = source
        if options.anchor is not None:
            labels = judge(anchored(labels, *parse_anchors(options.anchor)))
    else:
        labels = label_vertebrae(
            ct.image,
            labeller if source is None else as_labels(source),
            options.anchor,
            options.label_scheme,
            progress,
            Settings(options.device, options.fast),
        )
    check_neighbours(labels, name_of(source))
    warnings = labels.warnings
    if options.edited is not None:
        names = options.edited.replace(",", ", ")
        warnings = (*warnings, f"The outlines of {names} were edited by hand.")
    sure = labels.levels_confirmed and not labels.doubted_levels
    if options.confirm_levels and not sure:
        labels = replace(labels, levels_confirmed=True, doubted_levels=())
        warnings = (*warnings, "The user confirmed the vertebra levels.")
    elif options.keep_levels:
        doubted = tuple(filter(None, (options.doubted_levels or "").split(",")))
        doubted = tuple(name for name in doubted if name in labels.levels)
        if not labels.levels_confirmed or doubted:
            labels = replace(labels, levels_confirmed=True, doubted_levels=doubted)
            warnings = (*warnings, "The levels are those that an earlier analysis found plausible.")
    return labels, warnings


def find_joints(
    labels: VertebraLabels, ct: Volume, progress: ProgressCallback, threads: int | None
) -> tuple[SpineJoints, VertebraLabels]:
    """Derive the joint regions; the labels come back with what the joints say of them."""
    joints = build_joints(labels, ct.image, progress, threads)
    return joints, trust_after_joints(labels, joints)


def bend(
    images: Images,
    registration: Registration,
    joints: SpineJoints,
    progress: ProgressCallback,
) -> tuple[Registration, tuple[str, ...]]:
    """Let each vertebra move a little on top of a registration, where the SPECT supports it.

    Returns
    -------
    registration, warnings
        The warning says what was done, or why nothing was.
    """
    refined = refine_vertebrae(
        images.ct.image, images.spect.image, registration, joints.frames, progress
    )
    return refined, refined.reasons[-1:]


def straightened(images: Images, registration: Registration) -> Images:
    """The images with the spine in the SPECT as it lies in the CT, for pictures and findings."""
    if registration.posture is None:
        return images
    spect = registration.posture.straightened(images.spect.image, registration.matrix)
    return replace(images, spect=replace(images.spect, image=spect))


def measure_joints(
    spect: Volume,
    emitted: Emission,
    joints: SpineJoints,
    labels: VertebraLabels,
    registration: Registration,
    protocol: Protocol,
    context: Mapping[str, Any],
    options: Options,
    progress: ProgressCallback,
) -> tuple[Uptake, str]:
    """Measure the uptake of all joints.

    Returns
    -------
    uptake, note
        The note says how the SUV was made, or why there is none.
    """
    factor, note = suv_factor(spect.acquisition, **suv_inputs(context))
    uptake = measure(
        spect.image,
        joints,
        labels.image,
        registration,
        protocol.bounds,
        fwhm_mm=options.fwhm_mm,
        calibration=None if options.calibration is None else read_calibration(options.calibration),
        reference=options.reference,
        suv_factor=factor,
        seed=options.seed,
        progress=progress,
        threads=options.threads,
        emitted=emitted,
    )
    return uptake, note


def lean_suv(
    spect: Volume, context: Mapping[str, Any], *, calibrated: bool
) -> dict[str, float | str | None]:
    """For the manifest: the factor from SUV to lean-body SUV, and how it was made or why not.

    Parameters
    ----------
    calibrated
        Whether there is an SUV.
    """
    if spect.unit == "SUL":
        return {"per_suv": None, "note": f"The SPECT holds {OTHER_SUV['SUL']} itself."}
    if not calibrated:
        return {"per_suv": None, "note": "No SUL, as there is no SUV."}
    share, note = lean_share(spect.acquisition, **lean_inputs(context))
    return {"per_suv": share, "note": note}


def look_outside(
    images: Images,
    joints: SpineJoints,
    labels: VertebraLabels,
    registration: Registration,
    uptake: Uptake,
    *,
    placed: bool,
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Find uptake that no joint explains.

    Parameters
    ----------
    placed
        Whether the registration may be relied on; without it nothing can be placed.

    Returns
    -------
    findings, warnings
    """
    if not placed:
        return (), ("Uptake outside the joints was not looked for: SPECT and CT do not match.",)
    found = find_findings(
        images.spect.image,
        images.ct.image,
        labels.image,
        joints,
        registration.matrix,
        uptake.reference.value,
        uptake.fwhm_mm,
    )
    return found, tuple(f.sentence for f in found if not f.physiologic)


def with_level_status(
    uptake: Uptake, labels: VertebraLabels, joints: SpineJoints, options: Options
) -> Uptake:
    """The uptake with the column ``level_status`` in its table."""
    by_user = options.confirm_levels or options.named_levels or options.anchor is not None
    status = level_statuses(labels, joints, by_user=by_user)
    return replace(
        uptake, table=uptake.table.assign(level_status=uptake.table["joint"].map(status))
    )


def decide(
    uptake: Uptake,
    registration: Registration,
    labels: VertebraLabels,
    protocol: Protocol,
    context: Mapping[str, Any],
    *,
    accept_registration: bool,
    decision: Decision | None = None,
    findings: Sequence[Finding] = (),
) -> Triaged:
    """Apply the protocol to the joint table.

    Parameters
    ----------
    accept_registration
        Whether the user accepts the registration now.
    decision
        What the user decided on it before.
    findings
        Uptake that no joint explains.
    """
    obstacles, caveats = obstacles_and_caveats(
        registration,
        labels,
        accept_registration=accept_registration,
        decision=decision,
        require_confirmed_levels=protocol.requires_confirmed_levels,
    )
    verdict = triage(
        uptake.table,
        context,
        protocol,
        draws=uptake.draws,
        obstacles=obstacles,
        caveats=[*caveats, *uptake.warnings],
        findings=findings,
    )
    parts = uptake.table["joint"].map(dict(verdict.joint_verdicts))
    return Triaged(verdict, uptake.table.assign(verdict=parts), tuple(obstacles))
