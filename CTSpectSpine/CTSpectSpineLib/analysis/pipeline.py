"""The whole analysis, from CT and SPECT to verdict, results folder and report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib.analysis import stages
from CTSpectSpineLib.analysis.ahead import ahead
from CTSpectSpineLib.analysis.edited_joints import EditedJoints, edited_words, read_edited
from CTSpectSpineLib.analysis.emission import as_emitted, emission_of
from CTSpectSpineLib.analysis.inputs import (
    Alignment,
    LabelSource,
    VolumeSource,
    alignment_of,
    paths_of,
)
from CTSpectSpineLib.analysis.options import Options, check_together
from CTSpectSpineLib.analysis.recorder import Recorder
from CTSpectSpineLib.analysis.results import Results
from CTSpectSpineLib.analysis.stages import Images
from CTSpectSpineLib.analysis.writing import draw_report, write_results
from CTSpectSpineLib.ct_signs import measure_ct_signs
from CTSpectSpineLib.model import (
    JointKind,
    Registration,
    SpineJoints,
    UptakeBounds,
    VertebraLabels,
)
from CTSpectSpineLib.progress import ProgressCallback, silent
from CTSpectSpineLib.protocol_files import USUAL_PROTOCOL
from CTSpectSpineLib.reconstruction import ReconstructionFacts
from CTSpectSpineLib.results import records
from CTSpectSpineLib.results.background import Background, background
from CTSpectSpineLib.results.decision import Decision
from CTSpectSpineLib.results.folder import check_folder, check_writable, results_folder
from CTSpectSpineLib.results.stage_files import (
    write_labels,
    write_labels_record,
    write_registration,
)
from CTSpectSpineLib.results.text_files import json_text
from CTSpectSpineLib.triage_protocol import Protocol, assess, check_context, load_protocol
from CTSpectSpineLib.uptake import emission, measure

__all__ = ["Options", "Results", "analyze", "measure_uptake"]


@dataclass(frozen=True)
class _Plan:
    """What is to be done, checked before anything runs."""

    protocol: Protocol
    context: Mapping[str, Any]
    labeller: str
    options: Options
    alignment: Alignment
    edited: EditedJoints

    @property
    def kept_decision(self) -> Decision | None:
        """What the user decided on a registration that is kept, and does not take back now."""
        kept = self.alignment.kept
        decision = None if kept is None else kept.decision
        taken_back = decision is not None and decision.obstacle and self.options.accept_registration
        return None if taken_back else decision

    def trusts(self, registration: Registration) -> bool:
        """Whether places may rest on a registration: it did not fail, or was accepted."""
        decision = self.kept_decision
        if decision is not None and decision.obstacle:
            return False
        accepted = decision is not None and decision.decision == "accepted"
        return registration.quality != "failed" or accepted or self.options.accept_registration


def analyze(
    ct: VolumeSource,
    spect: VolumeSource,
    vertebrae: LabelSource | None = None,
    labeller: str = "auto",
    protocol: str | Protocol = USUAL_PROTOCOL,
    context: Mapping[str, Any] | None = None,
    progress: ProgressCallback | None = None,
    *,
    out: Path | str | None = None,
    options: Options | None = None,
    edited: EditedJoints | None = None,
    **settings: Any,
) -> Results:
    """Analyse one patient: register, label, find joints, measure uptake, triage, report.

    Parameters
    ----------
    ct, spect
        CT in HU and bone SPECT: images, volumes or paths.
    vertebrae
        Vertebra labels (image, file, folder or what `label_vertebrae` returned); None to let the
        labeller make them.
    labeller
        Labeller to use when no labels are given.
    protocol
        Triage protocol, its id or the path of its file; ``tender-2019`` by default.
    context
        Clinical context of the patient.
    progress
        Called with each progress message; may raise `errors.Cancelled`.
    out
        Results folder; None to keep the results in memory.
    options
        Settings; None for the usual ones.
    edited
        Joint regions that a person outlined; None to read what ``options.joints`` names.
    **settings
        Single settings by the names of the fields of `Options`, in place of those of ``options``.

    Returns
    -------
    Results
        Check ``results.refused``: with a failed registration, for instance, there is no verdict.

    Raises
    ------
    InputError
        If an input cannot be used; then no folder is left that looks complete.
    Cancelled
        If the progress callback cancels.

    Examples
    --------
    A small phantom with one active disc; paths of files do as well as images.

    >>> from CTSpectSpineLib import analyze
    >>> from CTSpectSpineLib.phantom import example
    >>> phantom = example()
    >>> results = analyze(phantom.ct, phantom.spect, vertebrae=phantom.anatomy.labels)
    >>> results.verdict.disposition
    'lumbar_disc'
    >>> print(results.verdict.reasons[1])
    1 area of increased uptake (one per motion segment and joint class): L4-L5 disc.

    With ``out`` the same goes into a results folder, and ``results.report`` is the path of its
    report.
    """
    known = {field.name for field in fields(Options)}
    if unknown := sorted(set(settings) - known):
        raise TypeError(f"analyze() has no setting {unknown[0]!r}; there are {sorted(known)}")
    chosen = replace(options or Options(), **settings)
    check_together(chosen, vertebrae, labeller, out)
    loaded = protocol if isinstance(protocol, Protocol) else load_protocol(protocol)
    given = check_context(context or {})
    assess(loaded, given)
    labeller = labeller if vertebrae is None else "given"
    outlined = edited or read_edited(chosen.joints)
    plan = _Plan(loaded, given, labeller, chosen, alignment_of(chosen), outlined)
    if out is not None:
        check_folder(Path(out))
        check_writable(Path(out))
    recorder = Recorder(progress or silent)
    inputs = records.transform_inputs_record(chosen.transform, chosen.initial_transform)
    if outlined.source is not None:
        inputs["joints"] = records.file_record(outlined.source)
    images = _read(plan, recorder, inputs, ct, spect)
    labels = None if vertebrae is None else _label(plan, recorder, images, vertebrae)
    if labels is not None:
        inputs["vertebrae"] = records.labels_input_record(labels, vertebrae)
    paths = paths_of(
        *(ct, spect, vertebrae),
        *(chosen.transform, chosen.initial_transform, chosen.registration, chosen.joints),
    )
    with nullcontext() if out is None else results_folder(Path(out), paths) as folder:
        recorder.write_to(folder, paths)
        with recorder.guard("analysis"):
            recorder.note(
                inputs=inputs,
                parameters={**plan.options.record(), "labeller": plan.labeller},
                protocol={**loaded.reference(), "bounds": loaded.bounds_record()},
                context=dict(given),
            )
            with background(plan.options.threads) as later:
                return _run(plan, recorder, folder, images, labels, later)


def _run(
    plan: _Plan,
    recorder: Recorder,
    folder: Path | None,
    images: Images,
    labels: VertebraLabels | None,
    later: Background,
) -> Results:
    """The stages in order, each recorded, its files written at once."""
    if labels is None:
        labels = _label(plan, recorder, images, None)
    if folder is not None:
        write_labels(labels, folder, later=later)
    threads, given = plan.options.threads, labels
    with ahead(lambda tell: stages.find_joints(given, images.ct, tell, threads), threads) as found:
        with recorder.stage("register", "Registering SPECT to CT") as step:
            registration, warnings = stages.align(images, plan.alignment, step.progress, threads)
            step.warn(warnings)
            recorder.keep(spect_to_ct=records.transform_record(registration))
            if folder is not None:
                write_registration(registration, images.pair, folder)
        decision = plan.kept_decision
        if decision is not None:
            recorder.keep(**decision.entry())
        with recorder.stage("joints", "Finding the joints") as step:
            joints, labels = found(step.progress)
            joints, edited = plan.edited.put_into(joints)
            step.warn((*joints.warnings, *edited_words(edited)))
            if edited:
                recorder.keep(edited_joints=list(edited))
            recorder.keep(labels=records.labels_record(labels))
    if folder is not None:
        write_labels_record(labels, folder)
    if plan.options.bend_spine:
        with recorder.stage("bend", "Moving each vertebra") as step:
            registration, warnings = stages.bend(images, registration, joints, step.progress)
            step.warn(warnings)
            if registration.posture is not None:
                recorder.keep(posture=registration.posture.record())
            if folder is not None:
                write_registration(registration, images.pair, folder)
    shown = stages.straightened(images, registration)
    ct = images.ct.image
    with ahead(lambda _: measure_ct_signs(ct, joints), threads) as ct_signs_of:
        with recorder.stage("uptake", "Measuring the uptake") as step:
            emitted = emission_of(images, joints, registration, plan.options)
            uptake, suv_note = stages.measure_joints(
                images.spect,
                emitted,
                joints,
                labels,
                registration,
                plan.protocol,
                plan.context,
                plan.options,
                step.progress,
            )
            step.warn(uptake.warnings)
            lean = stages.lean_suv(
                images.spect, plan.context, calibrated=not suv_note.startswith("No SUV")
            )
            record = records.uptake_record(uptake, images.spect.unit)
            recorder.keep(uptake={**record, "suv": suv_note, "sul": lean})
        ct_signs = ct_signs_of(silent)
    uptake = stages.with_level_status(uptake, labels, joints, plan.options)
    with recorder.stage("findings", "Looking for uptake outside the joints") as step:
        seen = shown
        if emitted.corrected:
            seen = stages.straightened(as_emitted(images, emitted), registration)
        findings, warnings = stages.look_outside(
            seen, joints, labels, registration, uptake, placed=plan.trusts(registration)
        )
        step.warn(warnings)
    with recorder.stage("triage", f"Applying protocol {plan.protocol.id}") as step:
        triaged = stages.decide(
            uptake,
            registration,
            labels,
            plan.protocol,
            plan.context,
            accept_registration=plan.options.accept_registration,
            decision=decision,
            findings=findings,
        )
        step.warn(triaged.obstacles)
    results = Results(
        folder,
        registration,
        labels,
        joints,
        uptake,
        triaged.table,
        triaged.verdict,
        recorder.values,
        plan.protocol.bounds,
        findings,
        ct_signs,
    )
    _finish(plan, recorder, results, images, shown, later)
    return results


def _read(
    plan: _Plan,
    recorder: Recorder,
    inputs: dict[str, Any],
    ct: VolumeSource,
    spect: VolumeSource,
) -> Images:
    with recorder.stage("check", "Reading and checking the images") as step:
        images = stages.read_images(ct, spect, placed=plan.alignment.known, unit=plan.options.unit)
        step.warn(images.warnings)
    inputs["ct"] = records.volume_record(images.ct)
    inputs["spect"] = records.volume_record(images.spect)
    return images


def _label(
    plan: _Plan, recorder: Recorder, images: Images, source: LabelSource | None
) -> VertebraLabels:
    message = "Labelling the vertebrae" if source is None else "Reading the vertebra labels"
    with recorder.stage("label", message) as step:
        labels, warnings = stages.label(
            images.ct, source, plan.labeller, plan.options, step.progress
        )
        step.warn(warnings)
        recorder.keep(labels=records.labels_record(labels))
    return labels


def _finish(
    plan: _Plan,
    recorder: Recorder,
    results: Results,
    images: Images,
    shown: Images,
    later: Background,
) -> None:
    """Write the results; the report and the scene show the final status, which comes last."""
    if results.folder is not None:
        with recorder.stage("results", "Writing the results"):
            write_results(results.folder, results, shown, plan.options, later)
        with recorder.stage("report", "Drawing the pictures"):
            draw_report(results.folder, results, shown, plan.options.threads)
            later.finish()
    refused = results.refused
    status = {
        "status": "failed" if refused else "complete",
        "status_reason": " ".join(results.verdict.reasons) if refused else "",
    }
    with recorder.guard("report"):
        if results.folder is not None:
            from CTSpectSpineLib.report import write_report

            final = json_text({**recorder.values, **status})
            if plan.options.save_scene:
                from CTSpectSpineLib.scene.bundle import write_scene

                write_scene(results.folder, images.ct.image, images.spect.image, final)
            write_report(results.folder, json.loads(final))
        recorder.note(**status)
    recorder.done()


def measure_uptake(
    spect: sitk.Image,
    joints: SpineJoints,
    labels: sitk.Image | VertebraLabels,
    registration: Registration,
    bounds: Mapping[JointKind, UptakeBounds] | None = None,
    *,
    ct: sitk.Image | None = None,
    reconstruction: ReconstructionFacts | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Uptake of all joints as a table with the columns of ``joints.csv``.

    The column ``verdict`` is empty: only triage fills it. Bounds default to those of the protocol
    ``tender-2019``. With the CT, attenuation is corrected where the reconstruction left it in.
    Further settings are those of `uptake.measure`.

    Examples
    --------
    >>> from CTSpectSpineLib import build_joints, measure_uptake, register
    >>> from CTSpectSpineLib.phantom import example
    >>> phantom = example()
    >>> labels = phantom.anatomy.labels
    >>> registration = register(phantom.ct, phantom.spect)
    >>> table = measure_uptake(phantom.spect, build_joints(labels), labels, registration)
    >>> table.loc[table["uptake"] == "positive", "joint"].tolist()
    ['L4-L5 disc']
    >>> disc = table.set_index("joint").loc["L4-L5 disc"]
    >>> bool(disc["ratio_low"] < phantom.true_ratios["L4-L5 disc"] < disc["ratio_high"])
    True
    """
    chosen = load_protocol(USUAL_PROTOCOL).bounds if bounds is None else bounds
    image = labels.image if isinstance(labels, VertebraLabels) else labels
    facts = reconstruction or ReconstructionFacts()
    emitted = emission(spect, ct, registration.matrix, joints.frames.values(), facts)
    uptake = measure(spect, joints, image, registration, chosen, emitted=emitted, **settings)
    table: pd.DataFrame = uptake.table.assign(verdict="")
    return table
