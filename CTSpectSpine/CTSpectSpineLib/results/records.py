"""What the JSON files of a results folder say, as dictionaries."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.files import sha256_of_files
from CTSpectSpineLib.geometry import LPS_TO_RAS
from CTSpectSpineLib.model import Registration, Uptake, Verdict, VertebraLabels
from CTSpectSpineLib.volumes.volume import Acquisition, Volume


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """``verdict.json`` as a dictionary."""
    record = asdict(verdict)
    if not verdict.candidate_dispositions:
        del record["candidate_dispositions"]
    return record


def transform_record(registration: Registration) -> dict[str, Any]:
    """The transform as 4×4 matrices, in both directions, in LPS and RAS mm."""
    forward = registration.matrix
    backward = np.linalg.inv(forward)
    return {
        "ct_to_spect_lps": forward,
        "spect_to_ct_lps": backward,
        "ct_to_spect_ras": LPS_TO_RAS @ forward @ LPS_TO_RAS,
        "spect_to_ct_ras": LPS_TO_RAS @ backward @ LPS_TO_RAS,
    }


def uptake_record(uptake: Uptake, unit: str) -> dict[str, Any]:
    """How the uptake was measured, for the manifest."""
    return {
        "reference": asdict(uptake.reference),
        "fwhm_mm": uptake.fwhm_mm,
        "fwhm_source": uptake.fwhm_source,
        "condition_number": uptake.condition_number,
        "reconstruction": dict(uptake.reconstruction),
        "calibration": dict(uptake.calibration),
        "unit": unit,
        "warnings": list(uptake.warnings),
    }


def labels_record(labels: VertebraLabels) -> dict[str, Any]:
    """What the manifest says of the labels."""
    return {
        "engine": labels.engine,
        "engine_version": labels.engine_version,
        "engine_reason": labels.engine_reason,
        "levels": list(labels.levels),
        "levels_confirmed": labels.levels_confirmed,
        "doubted_levels": list(labels.doubted_levels),
        "confidence": dict(labels.confidence),
        "ribs": dict(labels.ribs),
        "warnings": list(labels.warnings),
    }


def file_record(path: Path) -> dict[str, Any]:
    """Name and hash of an input file, or of all files of a folder."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return {"name": name_of_file(path), "sha256": sha256_of_files(files)}


def name_of_file(path: Path | None) -> str | None:
    """Name of an input without its folder, which may tell who the patient is or the user."""
    return None if path is None else path.resolve().name


def transform_inputs_record(transform: object, initial_transform: object) -> dict[str, Any]:
    """What the manifest says of transforms that were read from files."""
    given = {"transform": transform, "initial_transform": initial_transform}
    return {
        name: file_record(Path(source))
        for name, source in given.items()
        if isinstance(source, str | Path)
    }


def labels_input_record(
    labels: VertebraLabels, source: sitk.Image | Path | str | Volume | VertebraLabels
) -> dict[str, Any]:
    """What the manifest says of the label map that the user gave."""
    record: dict[str, Any] = {"name": None, "sha256": None}
    if isinstance(source, str | Path):
        record = file_record(Path(source))
    elif isinstance(source, Volume) and source.path is not None:
        record = {"name": name_of_file(source.path), "sha256": source.sha256}
    image = labels.image
    return {**record, "size": image.GetSize(), "spacing_mm": image.GetSpacing(), "unit": "label"}


def volume_record(volume: Volume) -> dict[str, Any]:
    """What the manifest says of an input image."""
    image = volume.image
    return {
        "name": name_of_file(volume.path),
        "sha256": volume.sha256,
        "size": image.GetSize(),
        "spacing_mm": image.GetSpacing(),
        "origin_mm": image.GetOrigin(),
        "direction": image.GetDirection(),
        "unit": volume.unit,
        "acquisition": acquisition_record(volume.acquisition),
        "notes": list(volume.notes),
    }


def acquisition_record(acquisition: Acquisition) -> dict[str, Any]:
    """What the header says of the scan; nothing of the patient, and no date."""
    return {
        "modality": acquisition.modality,
        "manufacturer": acquisition.manufacturer,
        "radionuclide": acquisition.radionuclide,
        "tracer": acquisition.tracer,
        "energy_windows_kev": acquisition.energy_windows_kev,
        "reconstruction": acquisition.reconstruction,
        "filter": acquisition.filter,
        "collimator": acquisition.collimator,
        "corrections": acquisition.corrections,
        "decay_correction": acquisition.decay_correction,
        "injected_dose_MBq": acquisition.injected_dose_MBq,
        "uptake_time_min": _uptake_time_min(acquisition),
    }


def _uptake_time_min(acquisition: Acquisition) -> float | None:
    """Minutes from injection to scan; None where a time is missing or only one has a zone."""
    injected, scanned = acquisition.injection_time, acquisition.scan_time
    if injected is None or scanned is None or (injected.tzinfo is None) != (scanned.tzinfo is None):
        return None
    return round((scanned - injected).total_seconds() / 60.0, 1)
