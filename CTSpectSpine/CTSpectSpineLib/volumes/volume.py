"""A volume as it was read: voxels, unit, source file, acquisition."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import SimpleITK as sitk

Role = Literal["ct", "spect", "labels"]
MIN_SLICES = 5
"""Fewest slices of a volume. Judgement: a localizer or a few single slices hold no joint."""


@dataclass(frozen=True)
class Acquisition:
    """What the header says about a scan; None or empty where it is silent.

    Attributes
    ----------
    modality, manufacturer, series_description
        As in DICOM.
    units
        Unit of the voxels: ``"HU"``, ``"Bq/ml"``, ``"counts"``, ``"SUV"``
        (by body weight), ``"SUL"`` (lean body mass), ``"SUVbsa"``, ``"SUVibw"`` or empty.
    radionuclide, half_life_s
        Name and half-life in seconds.
    tracer
        Radiopharmaceutical as worded in the header.
    energy_windows_kev
        Lower and upper limit of each energy window, keV.
    injected_dose_MBq, injection_time, scan_time
        For the standardised uptake value.
    decay_correction
        DICOM's ``NONE``, ``START`` (of the scan) or ``ADMIN`` (of the tracer).
    patient_weight_kg, patient_height_cm, patient_sex
        Body weight, height, and ``"female"``, ``"male"`` or empty.
    reconstruction, filter
        Method and post-filter as worded in the header.
    collimator
        Name as worded in the header, and its kind.
    comments
        Free text of the header that may tell more of the reconstruction, and of the patient: it
        is read and not kept.
    corrections
        DICOM's list of the corrections applied (``ATTN``, ``SCAT``, ``DECY`` ...).
    patient_digest
        Hash of the patient's id, to see whether two scans belong together; not the id.
    frame_of_reference
        DICOM frame of reference; equal ones share one coordinate system.
    direction_stated
        Whether the header says to which side the slices are stacked.
    """

    modality: str = ""
    manufacturer: str = ""
    series_description: str = ""
    units: str = ""
    radionuclide: str = ""
    half_life_s: float | None = None
    tracer: str = ""
    energy_windows_kev: tuple[tuple[float, float], ...] = ()
    injected_dose_MBq: float | None = None
    injection_time: datetime | None = None
    scan_time: datetime | None = None
    decay_correction: str = ""
    patient_weight_kg: float | None = None
    patient_height_cm: float | None = None
    patient_sex: str = ""
    reconstruction: str = ""
    filter: str = ""
    collimator: str = ""
    comments: str = field(default="", repr=False)
    corrections: tuple[str, ...] = ()
    patient_digest: str = ""
    frame_of_reference: str = ""
    direction_stated: bool = True


@dataclass(frozen=True)
class Volume:
    """A 3D image with its provenance.

    Attributes
    ----------
    image
        The voxels, 3D, scalar: int16 (or int32) HU or float32 for a CT, float32 for a SPECT.
    role
        ``"ct"``, ``"spect"`` or ``"labels"``.
    unit
        As in `Acquisition`, or ``"label"``, or ``"unknown"``.
    path
        What the user named: a file or a folder; None for an image that was in memory.
    files
        The files that were read.
    sha256
        Hash of the file; of several, the hash of their sorted hashes.
    acquisition
        What the header says.
    notes
        Sentences about what was assumed or changed while reading.
    """

    image: sitk.Image
    role: Role
    unit: str
    path: Path | None = None
    files: tuple[Path, ...] = ()
    sha256: str = ""
    acquisition: Acquisition = Acquisition()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the volume in messages: its path, or what it is used as."""
        if self.path is not None:
            return str(self.path)
        return {"ct": "the CT", "spect": "the SPECT", "labels": "the label map"}[self.role]
