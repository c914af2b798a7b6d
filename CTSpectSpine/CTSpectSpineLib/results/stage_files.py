"""Files of the results folder that hold tables, transforms, labels and joint regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib import anatomy, joint_table
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import transform_matrix
from CTSpectSpineLib.model import Registration, SpineJoints, VertebraLabels
from CTSpectSpineLib.registration.files import (
    centred,
    read_transform,
    registration_record,
    write_transform,
)
from CTSpectSpineLib.results.records import labels_record
from CTSpectSpineLib.results.segments import joint_segments, part_segments, vertebra_segments
from CTSpectSpineLib.results.text_files import read_json, write_json, write_text
from CTSpectSpineLib.volumes.segmentation_nrrd import write_segmentation
from CTSpectSpineLib.volumes.writing import write_image


def write_joint_table(table: pd.DataFrame, path: Path) -> None:
    """Write ``joints.csv``: the contract's columns in order, RFC 4180."""
    write_text(path, joint_table.to_csv(table))


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
            f"{path} is not a registration of this software ({problem}); register again."
        ) from problem


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def write_labels(
    labels: VertebraLabels, folder: Path, more: Mapping[str, Any] | None = None
) -> None:
    """Write ``vertebrae.nii.gz``, ``.seg.nrrd`` and ``.json``, and ``hips.nii.gz`` if there are.

    ``more`` is added to what ``vertebrae.json`` says of the labels.
    """
    segments = vertebra_segments(labels)
    hips = set(anatomy.hip_ids().values())
    bones = sitk.ChangeLabel(labels.image, {float(hip): 0.0 for hip in hips})
    write_image(bones, folder / "vertebrae.nii.gz")
    only_hips = labels.image - bones
    if sitk.GetArrayViewFromImage(only_hips).any():
        write_image(only_hips, folder / "hips.nii.gz")
    write_segmentation(folder / "vertebrae.seg.nrrd", segments, labels.image)
    write_labels_record(labels, folder, more)


def write_labels_record(
    labels: VertebraLabels, folder: Path, more: Mapping[str, Any] | None = None
) -> None:
    """Write ``vertebrae.json``: who made the labels, and how far they can be relied on."""
    write_json(folder / "vertebrae.json", {**labels_record(labels), **(more or {})})


def write_joint_segments(
    joints: SpineJoints, grid: sitk.Image, folder: Path, table: pd.DataFrame | None = None
) -> None:
    """Write ``joints.seg.nrrd`` and ``joint_parts.seg.nrrd`` on the grid of the labels."""
    write_segmentation(folder / "joints.seg.nrrd", joint_segments(joints.joints, table), grid)
    write_segmentation(folder / "joint_parts.seg.nrrd", part_segments(joints.joints), grid)


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
