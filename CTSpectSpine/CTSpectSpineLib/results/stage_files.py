"""Files of the results folder that hold tables, transforms, labels and joint regions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib import anatomy, joint_table
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import Box, grid_of, label_boxes, transform_matrix
from CTSpectSpineLib.model import Registration, SpineJoints, VertebraLabels
from CTSpectSpineLib.posture import Posture
from CTSpectSpineLib.registration.files import (
    centred,
    read_transform,
    registration_record,
    write_transform,
)
from CTSpectSpineLib.results.background import AT_ONCE, Background
from CTSpectSpineLib.results.decision import Decision, decision_in
from CTSpectSpineLib.results.manifest import MANIFEST
from CTSpectSpineLib.results.records import labels_record
from CTSpectSpineLib.results.segments import joint_segments, part_segments, vertebra_segments
from CTSpectSpineLib.results.text_files import read_json, read_json_part, write_json, write_text
from CTSpectSpineLib.volumes.identity import ImageIdentity, identity_of
from CTSpectSpineLib.volumes.segmentation_nrrd import write_segmentation
from CTSpectSpineLib.volumes.writing import write_image


def write_joint_table(table: pd.DataFrame, path: Path) -> None:
    """Write ``joints.csv``: the contract's columns in order, RFC 4180."""
    write_text(path, joint_table.to_csv(table))


@dataclass(frozen=True)
class RegisteredPair:
    """The images that a registration was found on.

    Attributes
    ----------
    ct, spect
        Their grids and voxels.
    """

    ct: ImageIdentity
    spect: ImageIdentity

    @classmethod
    def of(cls, ct: sitk.Image, spect: sitk.Image) -> RegisteredPair:
        """The pair of two images."""
        return cls(identity_of(ct), identity_of(spect))


@dataclass(frozen=True)
class KeptRegistration:
    """A registration that an earlier analysis left in its results.

    Attributes
    ----------
    registration
        Transform and quality.
    images
        The images that it was found on; None in folders that do not say.
    decision
        What the user decided on it; None for nothing.
    folder
        Where it was read.
    """

    registration: Registration
    images: RegisteredPair | None
    decision: Decision | None
    folder: Path

    def check(self, images: RegisteredPair) -> None:
        """Check that it was found on these very images.

        Raises
        ------
        InputError
            If it was not, or if that cannot be known.
        """
        if self.images is None:
            raise InputError(
                f"{self.folder / REGISTRATION} does not say which images it was found on (an "
                "earlier version wrote it); register again."
            )
        for name, before, after in (
            ("CT", self.images.ct, images.ct),
            ("SPECT", self.images.spect, images.spect),
        ):
            if difference := before.difference(after):
                raise InputError(
                    f"The registration of {self.folder} was found on another {name}: the one "
                    f"given {difference}; register again."
                )


REGISTRATION = "registration.json"


def write_registration(
    registration: Registration, images: RegisteredPair, folder: Path, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Write ``spect_to_ct.tfm`` and ``registration.json``; return what the latter says.

    The images are named by grid and voxels, so that the registration is never applied to others.
    ``notes`` are sentences on what is unusual about them, where no manifest holds these.
    """
    record = {
        **registration_record(registration),
        "ct_to_spect_lps": registration.matrix,
        "centre_mm": registration.transform.GetCenter(),
        "images": {"ct": images.ct.record(), "spect": images.spect.record()},
        **({"notes": list(notes)} if notes else {}),
    }
    write_transform(registration.transform, folder / "spect_to_ct.tfm")
    write_json(folder / REGISTRATION, record)
    return record


def read_registration(folder: Path) -> KeptRegistration:
    """Read what `write_registration` wrote, with the decision in the manifest beside it.

    Raises
    ------
    InputError
        If the folder holds no registration.
    """
    path = folder / REGISTRATION
    record = read_json(path)
    registration = _registration(record, folder)
    try:
        images = record.get("images")
        pair = (
            None
            if images is None
            else RegisteredPair(
                *(ImageIdentity.from_record(images[role]) for role in ("ct", "spect"))
            )
        )
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise InputError(
            f"{path}: what it says of its images cannot be read ({problem}); register again."
        ) from problem
    manifest = read_json_part(folder / MANIFEST, dict) or {}
    return KeptRegistration(registration, pair, decision_in(manifest), folder)


def _registration(record: Any, folder: Path) -> Registration:
    found = read_transform(folder / "spect_to_ct.tfm")
    # The rounding makes it the same number as before it was written.
    transform = centred(transform_matrix(found), np.array(found.GetCenter()))
    path = folder / REGISTRATION
    error = record.get("expected_error_mm") if isinstance(record, dict) else None
    try:
        return Registration(
            transform=transform,
            method=str(record["method"]),
            metric_start=_number(record["metric_start"]),
            metric_end=_number(record["metric_end"]),
            expected_error_mm=math.inf if error is None else float(error),
            quality=record["quality"],
            reasons=tuple(str(reason) for reason in record["reasons"]),
            seconds=float(record["seconds"]),
            deformation_mm=float(record.get("deformation_mm", 0.0)),
            posture=Posture.from_record(record["posture"]) if "posture" in record else None,
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise InputError(
            f"{path} is not a registration of this software ({problem}); register again."
        ) from problem


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def write_labels(
    labels: VertebraLabels,
    folder: Path,
    more: Mapping[str, Any] | None = None,
    later: Background = AT_ONCE,
) -> None:
    """Write ``vertebrae.nii.gz``, ``.seg.nrrd`` and ``.json``, and ``hips.nii.gz`` if there are.

    ``more`` is added to what ``vertebrae.json`` says of the labels; ``later`` writes the segments.
    """
    segments = vertebra_segments(labels)
    grid = grid_of(labels.image)
    later(lambda: write_segmentation(folder / "vertebrae.seg.nrrd", segments, grid))
    boxes = label_boxes(sitk.GetArrayViewFromImage(labels.image))
    hips = {n: box for n, box in boxes.items() if n in anatomy.hip_ids().values()}
    if hips:
        write_image(_only(labels.image, hips), folder / "hips.nii.gz")
    write_image(_without(labels.image, hips), folder / "vertebrae.nii.gz")
    write_labels_record(labels, folder, more)


def _only(image: sitk.Image, boxes: Mapping[int, Box]) -> sitk.Image:
    """A label map with some of the labels, each given with the box around it."""
    voxels = sitk.GetArrayViewFromImage(image)
    few = sitk.Image(image.GetSize(), image.GetPixelID())
    few.CopyInformation(image)
    for number, box in boxes.items():
        part = sitk.GetArrayFromImage(few[box[::-1]])
        part[voxels[box] == number] = number
        few[box[::-1]] = sitk.GetImageFromArray(part)
    return few


def _without(image: sitk.Image, boxes: Mapping[int, Box]) -> sitk.Image:
    """The label map without some labels, each given with the box around it."""
    if not boxes:
        return image
    rest = sitk.Image(image)
    for number, box in boxes.items():
        part = sitk.GetArrayFromImage(rest[box[::-1]])
        part[part == number] = 0
        rest[box[::-1]] = sitk.GetImageFromArray(part)
    return rest


def write_labels_record(
    labels: VertebraLabels, folder: Path, more: Mapping[str, Any] | None = None
) -> None:
    """Write ``vertebrae.json``: who made the labels, and how far they can be relied on."""
    write_json(folder / "vertebrae.json", {**labels_record(labels), **(more or {})})


def write_joint_segments(
    joints: SpineJoints,
    labels: sitk.Image,
    folder: Path,
    table: pd.DataFrame | None = None,
    later: Background = AT_ONCE,
) -> None:
    """Have ``joints.seg.nrrd`` and ``joint_parts.seg.nrrd`` written on the grid of the labels."""
    grid = grid_of(labels)
    segments, parts = joint_segments(joints.joints, table), part_segments(joints.joints)
    later(lambda: write_segmentation(folder / "joints.seg.nrrd", segments, grid))
    later(lambda: write_segmentation(folder / "joint_parts.seg.nrrd", parts, grid))


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
