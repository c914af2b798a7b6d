"""The main job, from CT and SPECT to verdict, results folder and report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib import outputs
from CTSpectSpineLib import results as folder_io
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.labelling import label_vertebrae
from CTSpectSpineLib.model import (
    JointKind,
    Registration,
    SpineJoints,
    Uptake,
    UptakeBounds,
    Verdict,
    VertebraLabels,
)
from CTSpectSpineLib.options import Options
from CTSpectSpineLib.progress import Progress, ProgressCallback, silent
from CTSpectSpineLib.registration import register
from CTSpectSpineLib.registration.files import read_transform
from CTSpectSpineLib.registration.given import judge_given
from CTSpectSpineLib.triage_protocol import Protocol, check_context, load_protocol, triage
from CTSpectSpineLib.uptake import measure
from CTSpectSpineLib.volumes.checks import check_inputs
from CTSpectSpineLib.volumes.reading import read_volume, volume_from_image
from CTSpectSpineLib.volumes.suv import suv_factor
from CTSpectSpineLib.volumes.volume import Role, Volume
from CTSpectSpineLib.volumes.writing import write_image

STAGES = {
    "check": (0.00, 0.03),
    "label": (0.03, 0.10),
    "register": (0.10, 0.50),
    "joints": (0.50, 0.68),
    "uptake": (0.68, 0.80),
    "triage": (0.80, 0.82),
    "results": (0.82, 0.88),
    "report": (0.88, 1.00),
}
"""Each stage's share of the whole job, from and to."""

VolumeSource: TypeAlias = sitk.Image | Path | str | Volume


@dataclass(frozen=True)
class Results:
    """Everything that an analysis found.

    Attributes
    ----------
    folder
        The results folder, or None when none was asked for.
    table
        The joint table with the contract's columns.
    manifest
        What stands in ``manifest.json``.
    """

    folder: Path | None
    registration: Registration
    labels: VertebraLabels
    joints: SpineJoints
    uptake: Uptake
    table: pd.DataFrame
    verdict: Verdict
    manifest: Mapping[str, Any]

    @property
    def refused(self) -> bool:
        """Whether the analysis ran but gives no verdict."""
        return self.verdict.disposition == "no_verdict"

    @property
    def report(self) -> Path | None:
        """Path of the report, if a folder was written."""
        return None if self.folder is None else self.folder / "report.html"


def analyze(
    ct: VolumeSource,
    spect: VolumeSource,
    vertebrae: VolumeSource | None = None,
    labeller: str = "auto",
    protocol: str | Protocol = "tender-2019",
    context: Mapping[str, Any] | None = None,
    progress: ProgressCallback | None = None,
    *,
    out: Path | str | None = None,
    options: Options | None = None,
    **settings: Any,
) -> Results:
    """Analyse one patient: register, label, find joints, measure uptake, triage, report.

    Parameters
    ----------
    ct, spect
        CT in HU and bone SPECT: images, volumes or paths.
    vertebrae
        Vertebra labels (image, file or folder); None to let the labeller make them.
    labeller
        Labeller to use when no labels are given.
    protocol
        Triage protocol, its id or the path of its file.
    context
        Clinical context of the patient.
    progress
        Called with each progress message; may raise `errors.Cancelled`.
    out
        Results folder; None to keep the results in memory.
    options, **settings
        Settings, as an `Options` or by its field names.

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
    """
    known = {field.name for field in fields(Options)}
    if unknown := sorted(set(settings) - known):
        raise TypeError(f"analyze() has no setting {unknown[0]!r}; there are {sorted(known)}")
    chosen = replace(options or Options(), **settings)
    job = _Job(
        protocol if isinstance(protocol, Protocol) else load_protocol(protocol),
        check_context(context or {}),
        chosen,
        progress or silent,
    )
    ct_volume, spect_volume = job.read(ct, spect)
    folder = None if out is None else folder_io.prepare_folder(Path(out))
    job.begin(folder, ct_volume, spect_volume, vertebrae, labeller)
    labels = job.label(ct_volume, vertebrae, labeller)
    registration = job.register(ct_volume.image, spect_volume.image)
    joints = job.joints(labels, ct_volume.image)
    uptake = job.uptake(spect_volume, joints, labels, registration)
    verdict, table = job.triage(uptake, registration, labels)
    results = Results(
        folder, registration, labels, joints, uptake, table, verdict, job.manifest.values
    )
    if folder is not None:
        job.write(folder, results, ct_volume.image, spect_volume.image)
    job.finish(results, ct_volume.image, spect_volume.image)
    return results


def measure_uptake(
    spect: sitk.Image,
    joints: SpineJoints,
    labels: sitk.Image,
    registration: Registration,
    bounds: Mapping[JointKind, UptakeBounds] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Uptake of all joints as a table with the columns of ``joints.csv``.

    Bounds default to those of the protocol ``tender-2019``; further settings are those of
    `uptake.measure`.
    """
    chosen = load_protocol("tender-2019").bounds if bounds is None else bounds
    return measure(spect, joints, labels, registration, chosen, **settings).table


class _Job:
    """One running analysis: its settings, its record, its progress."""

    def __init__(
        self,
        protocol: Protocol,
        context: Mapping[str, Any],
        options: Options,
        progress: ProgressCallback,
    ) -> None:
        self.protocol = protocol
        self.context = context
        self.options = options
        self.progress = progress
        self.manifest = folder_io.Manifest(None)
        self.start = _transform(options.initial_transform)
        self.fixed = _transform(options.transform)
        self.input_warnings: tuple[str, ...] = ()

    @contextmanager
    def stage(self, name: str, message: str) -> Iterator[tuple[ProgressCallback, list[str]]]:
        """Run one stage: scaled progress, and a list for its warnings."""
        begin, end = STAGES[name]

        def scaled(inner: Progress) -> None:
            fraction = begin + (end - begin) * min(max(inner.fraction, 0.0), 1.0)
            self.progress(Progress(name, fraction, inner.message))

        with self.manifest.stage(name) as warnings:
            scaled(Progress(name, 0.0, message))
            yield scaled, warnings

    def read(self, ct: VolumeSource, spect: VolumeSource) -> tuple[Volume, Volume]:
        """Read and check the inputs before anything is written."""
        self.progress(Progress("check", 0.0, "Reading and checking the images"))
        ct_volume, spect_volume = _volume(ct, "ct"), _volume(spect, "spect")
        placed = self.start is not None or self.fixed is not None
        self.input_warnings = check_inputs(ct_volume, spect_volume, placed)
        return ct_volume, spect_volume

    def begin(
        self,
        folder: Path | None,
        ct: Volume,
        spect: Volume,
        vertebrae: VolumeSource | None,
        labeller: str,
    ) -> None:
        """Write the manifest for the first time."""
        self.manifest.folder = folder
        parameters = {
            name: value if value is None or isinstance(value, bool | int | float) else str(value)
            for name, value in vars(self.options).items()
        }
        self.manifest.update(
            inputs={
                "ct": outputs.volume_record(ct),
                "spect": outputs.volume_record(spect),
                "warnings": list(self.input_warnings),
            },
            parameters={**parameters, "labeller": labeller if vertebrae is None else "given"},
            protocol={**self.protocol.reference(), "bounds": outputs.bounds_record(self.protocol)},
            context=dict(self.context),
        )

    def register(self, ct: sitk.Image, spect: sitk.Image) -> Registration:
        """Register, or judge the transform that the user gave."""
        with self.stage("register", "Registering SPECT to CT") as (progress, warnings):
            threads = self.options.threads
            if self.fixed is None:
                registration = register(ct, spect, self.start, progress, threads)
            else:
                registration = judge_given(ct, spect, self.fixed, progress, threads)
            if registration.quality != "good":
                warnings.extend(registration.reasons)
            self.manifest.values["spect_to_ct"] = folder_io.transform_record(registration)
            if self.manifest.folder is not None:
                outputs.write_registration(registration, ct, self.manifest.folder)
        return registration

    def label(self, ct: Volume, vertebrae: VolumeSource | None, labeller: str) -> VertebraLabels:
        """Label the vertebrae, or import the labels given."""
        with self.stage("label", "Labelling the vertebrae") as (_, warnings):
            source = vertebrae.image if isinstance(vertebrae, Volume) else vertebrae
            labels = label_vertebrae(
                ct.image,
                labeller if source is None else source,
                scheme=self.options.label_scheme,
            )
            warnings.extend(labels.warnings)
            if self.options.confirm_levels and not labels.levels_confirmed:
                labels = replace(labels, levels_confirmed=True)
                warnings.append("The user confirmed the vertebra levels.")
            if isinstance(source, str | Path):
                self.manifest.values["inputs"]["vertebrae"] = {"path": str(source)}
            self.manifest.values["labels"] = outputs.labels_record(labels)
            if self.manifest.folder is not None:
                outputs.write_labels(labels, self.manifest.folder)
        return labels

    def joints(self, labels: VertebraLabels, ct: sitk.Image) -> SpineJoints:
        """Derive the joint regions."""
        with self.stage("joints", "Finding the joints") as (progress, warnings):
            joints = build_joints(labels.image, ct, progress=progress)
            warnings.extend(joints.warnings)
        return joints

    def uptake(
        self,
        spect: Volume,
        joints: SpineJoints,
        labels: VertebraLabels,
        registration: Registration,
    ) -> Uptake:
        """Measure the uptake of all joints."""
        with self.stage("uptake", "Measuring the uptake") as (progress, warnings):
            factor, suv_note = suv_factor(spect.acquisition, **_suv_inputs(self.context))
            uptake = measure(
                spect.image,
                joints,
                labels.image,
                registration,
                self.protocol.bounds,
                fwhm_mm=self.options.fwhm_mm,
                reference=self.options.reference,
                suv_factor=factor,
                seed=self.options.seed,
                progress=progress,
            )
            warnings.extend(uptake.warnings)
            self.manifest.values["uptake"] = {
                **folder_io.uptake_record(uptake, spect.unit),
                "suv": suv_note,
            }
        return uptake

    def triage(
        self, uptake: Uptake, registration: Registration, labels: VertebraLabels
    ) -> tuple[Verdict, pd.DataFrame]:
        """Apply the protocol; return the verdict and the finished joint table."""
        with self.stage("triage", f"Applying protocol {self.protocol.id}") as (_, warnings):
            obstacles, caveats = self._trust(registration, labels)
            verdict = triage(
                uptake.table,
                self.context,
                self.protocol,
                draws=uptake.draws,
                obstacles=obstacles,
                caveats=[*caveats, *uptake.warnings],
            )
            warnings.extend(obstacles)
            table = uptake.table.assign(
                verdict=uptake.table["joint"].map(dict(verdict.joint_verdicts))
            )
        return verdict, table

    def _trust(
        self, registration: Registration, labels: VertebraLabels
    ) -> tuple[list[str], list[str]]:
        """What forbids a verdict, and what must be said beside it."""
        obstacles: list[str] = []
        caveats: list[str] = []
        if registration.quality == "failed":
            words = f"The registration failed: {' '.join(registration.reasons)}"
            if self.options.accept_registration:
                caveats.append(f"{words} The user accepted it nevertheless.")
            else:
                obstacles.append(words)
        elif registration.quality == "check":
            caveats.append(f"The registration must be checked: {' '.join(registration.reasons)}")
        if self.protocol.requires_confirmed_levels and not labels.levels_confirmed:
            obstacles.append("The vertebra levels are not confirmed: " + " ".join(labels.warnings))
        return obstacles, caveats

    def write(self, folder: Path, results: Results, ct: sitk.Image, spect: sitk.Image) -> None:
        """Write tables, segments, pictures and report."""
        with self.stage("results", "Writing the results"):
            folder_io.write_joint_table(results.table, folder / "joints.csv")
            folder_io.write_json(folder / "verdict.json", folder_io.verdict_record(results.verdict))
            outputs.write_joint_segments(
                results.joints, results.labels.image, folder, results.table
            )
            if self.options.save_volumes:
                region = outputs.joint_box(ct, results.joints)
                resampled = sitk.Resample(
                    spect, region, results.registration.transform, sitk.sitkLinear, 0.0
                )
                write_image(resampled, folder / "spect_on_ct.nrrd")
        with self.stage("report", "Drawing the pictures"):
            from CTSpectSpineLib.report import draw_pictures

            draw_pictures(
                folder,
                ct=ct,
                spect=spect,
                registration=results.registration,
                labels=results.labels.image,
                joints=results.joints,
                table=results.table,
                verdict=results.verdict,
                uptake=results.uptake,
            )

    def finish(self, results: Results, ct: sitk.Image, spect: sitk.Image) -> None:
        """Set the final status; the report is written last, so that it shows it."""
        refused = results.refused
        self.manifest.update(
            status="failed" if refused else "complete",
            status_reason=" ".join(results.verdict.reasons) if refused else "",
        )
        if results.folder is not None:
            from CTSpectSpineLib.report import write_report

            write_report(results.folder)
            if self.options.save_scene:
                from CTSpectSpineLib.scene import write_scene

                write_scene(results.folder, ct, spect)
        self.progress(Progress("report", 1.0, "Done"))


def _suv_inputs(context: Mapping[str, Any]) -> dict[str, Any]:
    """What the context says for the SUV, under the names of `suv_factor`."""
    times = {
        key: datetime.fromisoformat(context[key]) if key in context else None
        for key in ("injection_time", "scan_time")
    }
    return {
        "weight_kg": context.get("body_weight_kg"),
        "dose_MBq": context.get("injected_dose_MBq"),
        **times,
    }


def _volume(source: VolumeSource, role: Role) -> Volume:
    if isinstance(source, Volume):
        return source
    if isinstance(source, sitk.Image):
        return volume_from_image(source, role)
    return read_volume(Path(source), role)


def _transform(source: sitk.Transform | Path | str | None) -> sitk.Transform | None:
    return read_transform(Path(source)) if isinstance(source, str | Path) else source
