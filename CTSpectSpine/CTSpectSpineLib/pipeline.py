"""The main job, from CT and SPECT to verdict, results folder and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib import outputs
from CTSpectSpineLib import results as folder_io
from CTSpectSpineLib.job import Job, LabelSource, Results, VolumeSource
from CTSpectSpineLib.model import (
    JointKind,
    Registration,
    SpineJoints,
    UptakeBounds,
    VertebraLabels,
)
from CTSpectSpineLib.options import Options, check_together
from CTSpectSpineLib.progress import ProgressCallback, silent
from CTSpectSpineLib.triage_protocol import Protocol, check_context, load_protocol
from CTSpectSpineLib.uptake import measure
from CTSpectSpineLib.volumes.volume import Volume

__all__ = ["Options", "Results", "analyze", "measure_uptake"]


def analyze(
    ct: VolumeSource,
    spect: VolumeSource,
    vertebrae: LabelSource | None = None,
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
        Vertebra labels (image, file, folder or what `label_vertebrae` returned); None to let the
        labeller make them.
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
    job = Job(
        protocol if isinstance(protocol, Protocol) else load_protocol(protocol),
        check_context(context or {}),
        labeller,
        chosen,
        progress or silent,
    )
    ct_volume, spect_volume = job.read(ct, spect)
    labels = None if vertebrae is None else job.label(ct_volume, vertebrae)
    folder = None if out is None else folder_io.prepare_folder(Path(out), job.input_paths())
    job.begin(folder)
    with job.manifest.guard("analysis"):
        return _run(job, folder, ct_volume, spect_volume, labels)


def _run(
    job: Job, folder: Path | None, ct: Volume, spect: Volume, labels: VertebraLabels | None
) -> Results:
    """The stages in order."""
    if labels is None:
        labels = job.label(ct, None)
    if folder is not None:
        outputs.write_labels(labels, folder)
    registration = job.register(ct.image, spect.image)
    joints, labels = job.joints(labels, ct.image)
    if folder is not None:
        outputs.write_labels_record(labels, folder)
    uptake = job.uptake(spect, joints, labels, registration)
    verdict, table = job.triage(uptake, registration, labels)
    results = Results(
        folder, registration, labels, joints, uptake, table, verdict, job.manifest.values
    )
    if folder is not None:
        job.write(folder, results, ct.image, spect.image)
    job.finish(results, ct.image, spect.image)
    return results


def measure_uptake(
    spect: sitk.Image,
    joints: SpineJoints,
    labels: sitk.Image | VertebraLabels,
    registration: Registration,
    bounds: Mapping[JointKind, UptakeBounds] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Uptake of all joints as a table with the columns of ``joints.csv``.

    The column ``verdict`` is empty: only triage fills it. Bounds default to those of the protocol
    ``tender-2019``; further settings are those of `uptake.measure`.

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
    chosen = load_protocol("tender-2019").bounds if bounds is None else bounds
    image = labels.image if isinstance(labels, VertebraLabels) else labels
    uptake = measure(spect, joints, image, registration, chosen, **settings)
    table: pd.DataFrame = uptake.table.assign(verdict="")
    return table
