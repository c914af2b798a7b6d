"""All objects of a results folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk
from pydicom.dataset import Dataset

from CTSpectSpineLib.dicom_export.packages import check_packages
from CTSpectSpineLib.dicom_export.sources import Sources, find_sources
from CTSpectSpineLib.dicom_export.structures import Layer, joint_layers, vertebra_layer
from CTSpectSpineLib.dicom_export.study import Study, new_series
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import replacing
from CTSpectSpineLib.geometry import inverse
from CTSpectSpineLib.model import Registration
from CTSpectSpineLib.results.decision import decision_in
from CTSpectSpineLib.results.reader import ResultsFolder, read_folder
from CTSpectSpineLib.results.stage_files import REGISTRATION, read_registration
from CTSpectSpineLib.volumes.reading import read_volume

if TYPE_CHECKING:
    from CTSpectSpineLib.dicom_export.copies import SourceCopy
    from CTSpectSpineLib.dicom_export.report import Findings


@dataclass(frozen=True)
class Exported:
    """Objects that were made.

    Attributes
    ----------
    objects
        File name to object, in the order of the series.
    notes
        Sentences on what was left out, and why.
    sources
        Files that the objects refer to.
    copies
        De-identified copies of these files, which are made when they are written.
    """

    objects: Mapping[str, Dataset]
    notes: tuple[str, ...]
    sources: tuple[Path, ...]
    copies: tuple[SourceCopy, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of all files."""
        return [*self.objects, *(copy.name for copy in self.copies)]

    def all_objects(self) -> Iterator[tuple[str, Dataset]]:
        """Name and object of every file, one after the other."""
        yield from self.objects.items()
        yield from ((copy.name, copy.make()) for copy in self.copies)


def export_results(
    results: Path,
    *,
    ct: Path | None = None,
    spect: Path | None = None,
    deidentify: bool = False,
    with_sources: bool = False,
) -> Exported:
    """Make the DICOM objects of a results folder; nothing is written.

    Parameters
    ----------
    results
        The results folder.
    ct, spect
        DICOM series that the analysis was made from, where they are neither near the results nor
        in the current folder; needed where it read NIfTI or the like.
    deidentify
        Whether the objects are to be free of the patient's identity.
    with_sources
        Whether there are to be copies of the CT and the SPECT, free of it as well.

    Raises
    ------
    InputError
        If a package is missing, the folder holds nothing to export, a series is missing or not
        the one of the analysis, or sources are to be copied with their identity.
    """
    check_packages()
    if with_sources and not deidentify:
        raise InputError(
            f"{results}: sources are copied without the patient's identity only; give "
            "--deidentify with --with-sources, or leave it out."
        )
    folder = read_folder(results)
    if folder.manifest["status"] == "running":
        raise InputError(f"{results}: its analysis has not finished; wait, or analyse again.")
    labels = _labels(results)
    sources = find_sources(results, folder.manifest, labels, ct=ct, spect=spect)
    notes = list(sources.notes)
    used = [*sources.ct.volume.files, *(sources.spect.volume.files if sources.spect else ())]
    copies: tuple[SourceCopy, ...] = ()
    if deidentify:
        from CTSpectSpineLib.dicom_export.copies import source_copies
        from CTSpectSpineLib.dicom_export.deidentify import without_identity

        renamed = without_identity(sources)
        copies = source_copies(sources, renamed) if with_sources else ()
        sources = renamed
    with warnings.catch_warnings():
        # What highdicom doubts (odd lengths, slices that do not match) is checked by tests.
        warnings.simplefilter("ignore")
        if deidentify and folder.manifest["status"] != "complete":
            # Why an analysis stopped may name a file, and a file the patient.
            manifest = {**folder.manifest, "status_reason": ""}
            folder = replace(folder, manifest=manifest)
        objects = dict(_objects(results, folder, labels, sources, notes))
        if deidentify:
            from CTSpectSpineLib.dicom_export.deidentify import mark_deidentified

            for made in objects.values():
                mark_deidentified(made)
    return Exported(objects, tuple(notes), tuple(used), copies)


def write_objects(exported: Exported, folder: Path) -> list[Path]:
    """Write objects into a folder, each file whole."""
    paths = []
    for name, made in exported.all_objects():
        # In memory first: pydicom words the errors of a full disk as its own.
        encoded = BytesIO()
        made.save_as(encoded, enforce_file_format=True)
        with replacing(folder / name) as temporary:
            temporary.write_bytes(encoded.getbuffer())
        paths.append(folder / name)
    return paths


def _labels(results: Path) -> sitk.Image:
    path = results / "vertebrae.nii.gz"
    if not path.is_file():
        raise InputError(f"{path}: missing, so that there is nothing to export; analyse again.")
    return read_volume(path, "labels").image


def _objects(
    results: Path,
    folder: ResultsFolder,
    labels: sitk.Image,
    sources: Sources,
    notes: list[str],
) -> Iterator[tuple[str, Dataset]]:
    from CTSpectSpineLib.dicom_export.pictures import capture
    from CTSpectSpineLib.dicom_export.segmentation import Algorithm, segmentation

    study = Study.of(sources.ct)
    record = folder.manifest.get("labels") or {}
    engine = str(record.get("engine") or "unknown"), str(record.get("engine_version") or "")
    series = new_series(0, "Vertebrae")
    layer = vertebra_layer(labels, sources.ct.volume.image)
    algorithm = Algorithm.of_labeller(*engine)
    yield "seg-vertebrae.dcm", segmentation(layer, sources.ct, algorithm, study, series, 1)

    yield from _joint_objects(results, folder, sources, study)
    yield from _registered(results, folder, sources, study, notes)
    shown = new_series(5, "Pictures")
    # Pictures with outlines of uptake classes are no more to be shown than the classes.
    refused = bool(refusal_of(folder))
    allowed = [p for p in folder.pictures if not refused or p.section == "registration"]
    for count, picture in enumerate(allowed, start=1):
        yield f"picture-{count:03}.dcm", capture(picture, count, sources.ct, study, shown)


def _joint_objects(
    results: Path, folder: ResultsFolder, sources: Sources, study: Study
) -> Iterator[tuple[str, Dataset]]:
    """Segmentation of the joints, and the report that refers to it."""
    from CTSpectSpineLib.dicom_export.merged import merged
    from CTSpectSpineLib.dicom_export.report import SegmentOf, structured_report, with_numbers_first
    from CTSpectSpineLib.dicom_export.segmentation import Algorithm, segmentation

    if folder.joints is None:
        return
    refusal = refusal_of(folder)
    version = str((folder.manifest.get("software") or {}).get("ctspectspine", ""))
    series = new_series(1, "Joints")
    findings = _findings(folder, refusal)
    path = results / "joints.seg.nrrd"
    grid, coloured = sources.ct.volume.image, not refusal
    layers: Sequence[Layer] = ()
    if path.is_file():
        layers = joint_layers(path, grid, coloured=coloured, order=with_numbers_first(findings))
    algorithm = Algorithm.of_joints(version)
    made = [segmentation(layer, sources.ct, algorithm, study, series, 1) for layer in layers]
    joints = [joint for layer in layers for joint in layer.structures]
    segments: dict[str, SegmentOf] = {}
    if made:
        made = [merged(made)]
        segments = {
            joint.name: SegmentOf(made[0], number, joint.tracking_uid)
            for number, joint in enumerate(joints, start=1)
        }
        yield "seg-joints-1.dcm", made[0]
    spect = () if sources.spect is None else sources.spect.headers
    evidence = [*made, *sources.ct.headers, *spect]
    series = new_series(2, "Measurements and verdict")
    yield (
        "report.dcm",
        structured_report(findings, segments, sources.ct, evidence, study, series),
    )


def _findings(folder: ResultsFolder, refusal: str) -> Findings:
    from CTSpectSpineLib.dicom_export.report import Findings

    assert folder.joints is not None
    manifest = folder.manifest
    return Findings(
        joints=folder.joints.to_dict("records"),
        bounds=(manifest.get("protocol") or {}).get("bounds") or {},
        unit=str((manifest.get("uptake") or {}).get("unit") or ""),
        verdict=folder.verdict or {},
        refusal=refusal,
    )


def refusal_of(folder: ResultsFolder) -> str:
    """Why results give no verdict; empty where they do."""
    decision = decision_in(folder.manifest)
    if decision is not None and decision.obstacle:
        return decision.obstacle
    if folder.manifest["status"] == "complete":
        return ""
    return str(folder.manifest.get("status_reason") or "The analysis stopped without a result.")


def _registered(
    results: Path, folder: ResultsFolder, sources: Sources, study: Study, notes: list[str]
) -> Iterator[tuple[str, Dataset]]:
    """The registration, and the SPECT that it puts onto the CT."""
    from CTSpectSpineLib.dicom_export.fused import fused_object, placed_spect
    from CTSpectSpineLib.dicom_export.registration import spatial_registration

    spect = sources.spect
    if spect is None:
        return
    registration = _accepted(results, folder)
    if registration is None:
        notes.append(
            "The registration failed or was rejected, so that neither it nor the fused SPECT was "
            "exported."
        )
        return
    series = new_series(3, "SPECT to CT")
    matrix = inverse(registration.matrix)
    yield "registration.dcm", spatial_registration(matrix, sources.ct, spect, study, series)
    placed = placed_spect(spect.volume.image, sources.ct.volume.image, registration.transform)
    series = new_series(4, "SPECT on CT")
    yield "spect-on-ct.dcm", fused_object(placed, sources.ct, spect, study, series)


def _accepted(results: Path, folder: ResultsFolder) -> Registration | None:
    """The registration, if results may rest on it."""
    if not (results / REGISTRATION).is_file():
        return None
    found = read_registration(results).registration
    decision = decision_in(folder.manifest)
    if decision is not None:
        return found if decision.decision == "accepted" else None
    accepted = bool((folder.manifest.get("parameters") or {}).get("accept_registration"))
    return found if accepted or found.quality != "failed" else None
