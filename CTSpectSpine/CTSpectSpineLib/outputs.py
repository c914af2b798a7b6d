"""Files of the results folder that hold transforms, labels and joint regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib import segments as as_segments
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import transform_matrix
from CTSpectSpineLib.model import Registration, SpineJoints, VertebraLabels
from CTSpectSpineLib.registration.files import (
    centred,
    read_transform,
    registration_record,
    write_transform,
)
from CTSpectSpineLib.results import read_json, write_json
from CTSpectSpineLib.triage_protocol import Protocol
from CTSpectSpineLib.volumes.files import sha256_of_files
from CTSpectSpineLib.volumes.segmentation_nrrd import write_segmentation
from CTSpectSpineLib.volumes.volume import Volume
from CTSpectSpineLib.volumes.writing import write_image


def write_registration(registration: Registration, ct: sitk.Image, folder: Path) -> None:
    """Write ``spect_to_ct.tfm`` and ``registration.json``."""
    write_transform(registration.transform, folder / "spect_to_ct.tfm")
    write_json(folder / "registration.json", registration_record(registration))


def read_registration(folder: Path) -> Registration:
    """Read what `write_registration` wrote.

    Raises
    ------
    InputError
        If the folder holds no registration.
    """
    found = read_transform(folder / "spect_to_ct.tfm")
    # The rounding makes it the same number as before it was written.
    transform = centred(transform_matrix(found), np.array(found.GetCenter()))
    path = folder / "registration.json"
    record = read_json(path)
    error = record.get("expected_error_mm") if isinstance(record, dict) else None
    try:
        return Registration(
            transform=transform,
            method=str(record["method"]),
            metric_start=_number(record["metric_start"]),
            metric_end=_number(record["metric_end"]),
            expected_error_mm=_number(error),
            quality=record["quality"],
            reasons=tuple(str(reason) for reason in record["reasons"]),
            seconds=float(record["seconds"]),
            deformation_mm=float(record.get("deformation_mm", 0.0)),
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise InputError(
            f"{path} is no registration of this software ({problem}); register again."
        ) from problem


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def write_labels(
    labels: VertebraLabels, folder: Path, more: Mapping[str, Any] | None = None
) -> None:
    """Write ``vertebrae.nii.gz``, ``.seg.nrrd`` and ``.json``, and ``hips.nii.gz`` if there are.

    ``more`` is added to what ``vertebrae.json`` says of the labels.
    """
    write_labels_record(labels, folder, more)
    segments = as_segments.vertebra_segments(labels)
    hips = set(anatomy.hip_ids().values())
    bones = sitk.ChangeLabel(labels.image, {float(hip): 0.0 for hip in hips})
    write_image(bones, folder / "vertebrae.nii.gz")
    only_hips = labels.image - bones
    if sitk.GetArrayViewFromImage(only_hips).any():
        write_image(only_hips, folder / "hips.nii.gz")
    write_segmentation(folder / "vertebrae.seg.nrrd", segments, labels.image)


def write_labels_record(
    labels: VertebraLabels, folder: Path, more: Mapping[str, Any] | None = None
) -> None:
    """Write ``vertebrae.json``: who made the labels, and how far they can be relied on."""
    write_json(folder / "vertebrae.json", {**labels_record(labels), **(more or {})})


def write_joint_segments(
    joints: SpineJoints, grid: sitk.Image, folder: Path, table: pd.DataFrame | None = None
) -> None:
    """Write ``joints.seg.nrrd`` and ``joint_parts.seg.nrrd`` on the grid of the labels."""
    write_segmentation(
        folder / "joints.seg.nrrd", as_segments.joint_segments(joints.joints, table), grid
    )
    write_segmentation(
        folder / "joint_parts.seg.nrrd", as_segments.part_segments(joints.joints), grid
    )


def labels_record(labels: VertebraLabels) -> dict[str, Any]:
    """What the manifest says of the labels."""
    return {
        "engine": labels.engine,
        "engine_version": labels.engine_version,
        "levels": list(labels.levels),
        "levels_confirmed": labels.levels_confirmed,
        "confidence": dict(labels.confidence),
        "ribs": dict(labels.ribs),
        "warnings": list(labels.warnings),
    }


def check_neighbours(labels: VertebraLabels, name: str) -> None:
    """Check that there is a pair of neighbouring vertebrae, and so a joint to measure.

    Raises
    ------
    InputError
        If there is none; ``name`` is what the labels are called.
    """
    if not anatomy.neighbouring_pairs(labels.levels):
        raise InputError(
            f"{name} holds no two neighbouring vertebrae (only {', '.join(labels.levels)}), "
            "so there is no joint to measure; give labels of the whole region."
        )


def file_record(path: Path) -> dict[str, Any]:
    """Path and hash of an input file, or of all files of a folder."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return {"path": str(path), "sha256": sha256_of_files(files)}


def labels_input_record(
    labels: VertebraLabels, source: sitk.Image | Path | str | Volume | VertebraLabels
) -> dict[str, Any]:
    """What the manifest says of the label map that the user gave."""
    record: dict[str, Any] = {"path": None, "sha256": None}
    if isinstance(source, str | Path):
        record = file_record(Path(source))
    elif isinstance(source, Volume) and source.path is not None:
        record = {"path": str(source.path), "sha256": source.sha256}
    image = labels.image
    return {**record, "size": image.GetSize(), "spacing_mm": image.GetSpacing(), "unit": "label"}


def joint_box(ct: sitk.Image, joints: SpineJoints, margin_mm: float = 30.0) -> sitk.Image:
    """The part of the CT's grid around all joints, as an image."""
    centres = [j.centre_mm for j in joints.joints if j.centre_mm is not None]
    if not centres:
        return ct
    indices = np.array([ct.TransformPhysicalPointToContinuousIndex(c.tolist()) for c in centres])
    margin = margin_mm / np.array(ct.GetSpacing())
    size = np.array(ct.GetSize())
    low = np.clip(np.floor(indices.min(axis=0) - margin), 0, size - 1).astype(int)
    high = np.clip(np.ceil(indices.max(axis=0) + margin), low + 1, size).astype(int)
    return sitk.RegionOfInterest(ct, (high - low).tolist(), low.tolist())


def volume_record(volume: Volume) -> dict[str, Any]:
    """What the manifest says of an input image."""
    image = volume.image
    return {
        "path": str(volume.path) if volume.path else None,
        "sha256": volume.sha256,
        "size": image.GetSize(),
        "spacing_mm": image.GetSpacing(),
        "origin_mm": image.GetOrigin(),
        "direction": image.GetDirection(),
        "unit": volume.unit,
        "notes": list(volume.notes),
    }


def bounds_record(protocol: Protocol) -> dict[str, Any]:
    """What the manifest says of the protocol's bounds."""
    return {
        kind: {**vars(bounds), "provenance": protocol.bounds_provenance[kind]}
        for kind, bounds in protocol.bounds.items()
    }
