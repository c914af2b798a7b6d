"""One running analysis: its stages, its settings and its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib import outputs
from CTSpectSpineLib import results as folder_io
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.labelling import (
    Settings,
    anchored,
    judge,
    label_vertebrae,
    parse_anchor,
)
from CTSpectSpineLib.level_checks import trust_after_joints
from CTSpectSpineLib.model import (
    Registration,
    SpineJoints,
    Uptake,
    Verdict,
    VertebraLabels,
)
from CTSpectSpineLib.options import Options
from CTSpectSpineLib.progress import Progress, ProgressCallback
from CTSpectSpineLib.registration import register
from CTSpectSpineLib.registration.files import read_transform
from CTSpectSpineLib.registration.given import judge_given
from CTSpectSpineLib.triage_protocol import Protocol, triage
from CTSpectSpineLib.triage_protocol.eligibility import assess
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
LabelSource: TypeAlias = VolumeSource | VertebraLabels


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


class Job:
    """One running analysis: its settings, its record, its progress."""

    def __init__(
        self,
        protocol: Protocol,
        context: Mapping[str, Any],
        labeller: str,
        options: Options,
        progress: ProgressCallback,
    ) -> None:
        assess(protocol, context)
        self.protocol = protocol
        self.context = context
        self.labeller = labeller
        self.options = options
        self.progress = progress
        self.manifest = folder_io.Manifest(None)
        self.start = _transform(options.initial_transform)
        self.fixed = _transform(options.transform)
        kept = options.registration
        self.kept = None if kept is None else outputs.read_registration(Path(kept))
        self.inputs: dict[str, Any] = {}
        for name in ("transform", "initial_transform"):
            source = getattr(options, name)
            if isinstance(source, str | Path):
                self.inputs[name] = outputs.file_record(Path(source))

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
        """Read and check CT and SPECT."""
        with self.stage("check", "Reading and checking the images") as (_, warnings):
            ct_volume, spect_volume = as_volume(ct, "ct"), as_volume(spect, "spect")
            placed = any(t is not None for t in (self.start, self.fixed, self.kept))
            warnings.extend(check_inputs(ct_volume, spect_volume, placed))
            warnings.extend((*ct_volume.notes, *spect_volume.notes))
        self.inputs["ct"] = outputs.volume_record(ct_volume)
        self.inputs["spect"] = outputs.volume_record(spect_volume)
        # One order of axes, so that no result depends on how the SPECT was stored.
        oriented = sitk.DICOMOrient(spect_volume.image, "LPS")
        return ct_volume, replace(spect_volume, image=oriented)

    def input_paths(self) -> list[Path]:
        """Paths of all inputs that came from files."""
        return [Path(r["path"]) for r in self.inputs.values() if r.get("path")]

    def begin(self, folder: Path | None) -> None:
        """Write the manifest for the first time."""
        self.manifest.folder = folder
        parameters = {
            name: value if value is None or isinstance(value, bool | int | float) else str(value)
            for name, value in vars(self.options).items()
        }
        self.manifest.update(
            inputs=self.inputs,
            parameters={**parameters, "labeller": self.labeller},
            protocol={**self.protocol.reference(), "bounds": outputs.bounds_record(self.protocol)},
            context=dict(self.context),
        )

    def register(self, ct: sitk.Image, spect: sitk.Image) -> Registration:
        """Register, or judge the transform that the user gave."""
        with self.stage("register", "Registering SPECT to CT") as (progress, warnings):
            threads = self.options.threads
            if self.kept is not None:
                registration = self.kept
                warnings.append("The registration of an earlier analysis was kept.")
            elif self.fixed is None:
                registration = register(ct, spect, self.start, progress, threads)
            else:
                registration = judge_given(ct, spect, self.fixed, progress, threads)
            if registration.quality != "good":
                warnings.extend(registration.reasons)
            self.manifest.values["spect_to_ct"] = folder_io.transform_record(registration)
            if self.manifest.folder is not None:
                outputs.write_registration(registration, ct, self.manifest.folder)
        return registration

    def label(self, ct: Volume, source: LabelSource | None) -> VertebraLabels:
        """Label the vertebrae, or import the labels given."""
        message = "Labelling the vertebrae" if source is None else "Reading the vertebra labels"
        with self.stage("label", message) as (progress, warnings):
            anchor, settings = self.options.anchor, Settings(self.options.device, self.options.fast)
            if isinstance(source, VertebraLabels):
                labels = source
                if anchor is not None:
                    labels = judge(anchored(labels, parse_anchor(anchor)))
            else:
                labels = label_vertebrae(
                    ct.image,
                    self.labeller if source is None else _label_source(source),
                    anchor,
                    self.options.label_scheme,
                    progress,
                    settings,
                )
            outputs.check_neighbours(labels, _name(source))
            warnings.extend(labels.warnings)
            if self.options.confirm_levels and not labels.levels_confirmed:
                labels = replace(labels, levels_confirmed=True)
                warnings.append("The user confirmed the vertebra levels.")
            if source is not None:
                self.labeller = "given"
                self.inputs["vertebrae"] = outputs.labels_input_record(labels, source)
            self.manifest.values["labels"] = outputs.labels_record(labels)
        return labels

    def joints(self, labels: VertebraLabels, ct: sitk.Image) -> tuple[SpineJoints, VertebraLabels]:
        """Derive the joint regions; the labels come back with what the joints say of them."""
        with self.stage("joints", "Finding the joints") as (progress, warnings):
            joints = build_joints(labels.image, ct, progress=progress)
            warnings.extend(joints.warnings)
            labels = trust_after_joints(labels, joints)
            self.manifest.values["labels"] = outputs.labels_record(labels)
        return joints, labels

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
        """Write tables, segments and pictures."""
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
        """Set the final status, then write the report, which shows it, and the scene."""
        refused = results.refused
        self.manifest.update(
            status="failed" if refused else "complete",
            status_reason=" ".join(results.verdict.reasons) if refused else "",
        )
        if results.folder is not None:
            with self.manifest.guard("report"):
                from CTSpectSpineLib.report import write_report

                if self.options.save_scene:
                    from CTSpectSpineLib.scene import write_scene

                    write_scene(results.folder, ct, spect)
                write_report(results.folder)
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


def as_volume(source: VolumeSource, role: Role) -> Volume:
    """Volume from what the user gave: an image, a path, or a volume."""
    if isinstance(source, Volume):
        return source
    if isinstance(source, sitk.Image):
        return volume_from_image(source, role)
    return read_volume(Path(source), role)


def _transform(source: sitk.Transform | Path | str | None) -> sitk.Transform | None:
    return read_transform(Path(source)) if isinstance(source, str | Path) else source


def _label_source(source: VolumeSource) -> Path | sitk.Image:
    if isinstance(source, Volume):
        return source.image
    return Path(source) if isinstance(source, str) else source


def _name(source: LabelSource | None) -> str:
    return str(source) if isinstance(source, str | Path) else "The label map"
