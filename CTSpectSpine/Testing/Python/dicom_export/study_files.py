"""A small study in DICOM and the results of an analysis of it, written by code.

Test files that import this are skipped where highdicom is missing; in continuous integration they
fail.
"""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from slicer_results import ResultsFolder, make_results_folder, record_files

from CTSpectSpineLib.geometry import grid_of
from CTSpectSpineLib.results.records import volume_record
from CTSpectSpineLib.results.stage_files import RegisteredPair
from CTSpectSpineLib.volumes import read_volume

if "CI" not in os.environ:
    pytest.importorskip("highdicom", reason='export needs highdicom: pip install ".[dicom]"')

CT_CLASS, NM_CLASS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.20"
STUDY = {
    "StudyInstanceUID": "1.2.826.0.1.3680043.10.999.1",
    "PatientName": "Doe^Jane^Ünal",
    "PatientID": "PAT-77",
    "PatientBirthDate": "19610203",
    "PatientSex": "F",
    "StudyDate": "20260102",
    "StudyTime": "081500",
    "StudyID": "ST1",
    "AccessionNumber": "ACC9",
    "ReferringPhysicianName": "Ref^Er",
    "SpecificCharacterSet": "ISO_IR 100",
}
MORE: dict[str, dict[str, object]] = {
    "L4-L5 disc": {"mean": 700.25, "probability_positive": 0.01, "suv_mean": 5.5},
    "L4-L5 facet left": {"mean": 640.5, "probability_positive": 0.02, "suv_mean": 4.25},
    "L5-S1 facet right": {"mean": 2900.75, "probability_positive": 0.995, "suv_mean": 19.125},
}
"""Columns that the small results folder lacks."""


@dataclass(frozen=True)
class Case:
    """A study with its results, all below one folder."""

    folder: Path
    results: Path
    ct: Path
    spect: Path
    made: ResultsFolder

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def manifest(self, **changes: Any) -> None:
        """Change entries of the manifest."""
        change_json(self.results / "manifest.json", **changes)


def change_json(path: Path, **changes: Any) -> None:
    values = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps(values), encoding="utf-8")


def make_case(folder: Path, **tags: Any) -> Case:
    """Results and DICOM series; ``tags`` are put into every file of the series."""
    results, ct, spect = folder / "results", folder / "ct", folder / "spect.dcm"
    results.mkdir(parents=True)
    made = make_results_folder(results)
    write_ct(ct, made.ct, **tags)
    write_spect(spect, made.spect, **tags)
    case = Case(folder, results, ct, spect, made)
    enter_inputs(case, ct, spect)
    _fill_table(results / "joints.csv")
    _draw_pictures(results / "pictures")
    case.manifest(
        uptake={"reference": {"value": 800.0}, "unit": "Bq/ml"},
        software={"ctspectspine": "0.1.0"},
        **{"labels": {"engine": "builtin", "engine_version": "2", "levels": ["L4", "L5"]}},
    )
    record_files(results)
    return case


def enter_inputs(case: Case, ct: Path, spect: Path) -> None:
    """Say in the results that they were made from these files."""
    volumes = {"ct": read_volume(ct, "ct"), "spect": read_volume(spect, "spect")}
    case.manifest(inputs={role: volume_record(volume) for role, volume in volumes.items()})
    pair = RegisteredPair.of(volumes["ct"].image, volumes["spect"].image)
    images = {"ct": pair.ct.record(), "spect": pair.spect.record()}
    change_json(case.results / "registration.json", images=images)


def write_ct(folder: Path, image: sitk.Image, **tags: Any) -> None:
    """One file per slice."""
    folder.mkdir(parents=True)
    grid = grid_of(image)
    axes = grid.ijk_to_lps[:3, :3] / grid.spacing_mm
    frame, series = generate_uid(), generate_uid()
    for k, plane in enumerate(sitk.GetArrayFromImage(image)):
        header = _header(CT_CLASS, plane.astype(np.int32) + 1024, "CT", series)
        header.FrameOfReferenceUID = frame
        header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        header.PixelSpacing = [float(grid.spacing_mm[1]), float(grid.spacing_mm[0])]
        header.SliceThickness = float(grid.spacing_mm[2])
        header.ImageOrientationPatient = _rounded([*axes[:, 0], *axes[:, 1]])
        header.ImagePositionPatient = _rounded((grid.ijk_to_lps @ [0, 0, k, 1])[:3])
        header.RescaleSlope, header.RescaleIntercept = 1, -1024
        header.InstanceNumber = k + 1
        _save(header, folder / f"{k:03}.dcm", tags)


def write_spect(path: Path, image: sitk.Image, **tags: Any) -> None:
    """One multi-frame file."""
    grid = grid_of(image)
    voxels = np.rint(sitk.GetArrayFromImage(image))
    header = _header(NM_CLASS, voxels, "NM", generate_uid())
    header.FrameOfReferenceUID = generate_uid()
    header.NumberOfFrames = voxels.shape[0]
    header.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    header.PixelSpacing = [float(grid.spacing_mm[1]), float(grid.spacing_mm[0])]
    header.SliceThickness = header.SpacingBetweenSlices = float(grid.spacing_mm[2])
    detector, tracer, window, limits = Dataset(), Dataset(), Dataset(), Dataset()
    detector.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    detector.ImagePositionPatient = _rounded(grid.ijk_to_lps[:3, 3])
    header.DetectorInformationSequence = [detector]
    header.FrameIncrementPointer = 0x00540080
    header.SliceVector = list(range(1, voxels.shape[0] + 1))
    tracer.Radiopharmaceutical = "Tc-99m HDP"
    header.RadiopharmaceuticalInformationSequence = [tracer]
    limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = 126.0, 154.0
    window.EnergyWindowRangeSequence = [limits]
    header.EnergyWindowInformationSequence = [window]
    _save(header, path, tags)


def _rounded(numbers: Any) -> list[str]:
    return [f"{float(number):.9g}" for number in numbers]


def _header(sop_class: str, voxels: np.ndarray, modality: str, series: str) -> Dataset:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = sop_class
    header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.SOPClassUID = sop_class
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID
    header.SeriesInstanceUID, header.Modality, header.SeriesNumber = series, modality, 3
    header.Rows, header.Columns = voxels.shape[-2:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    header.PixelData = voxels.astype("<u2").tobytes()
    return header


def _save(header: Dataset, path: Path, tags: dict[str, Any]) -> None:
    for keyword, content in {**STUDY, **tags}.items():
        setattr(header, keyword, content(header) if callable(content) else content)
    header.save_as(path, enforce_file_format=True)


def _fill_table(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [{**row, **MORE[row["joint"]]} for row in csv.DictReader(stream)]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _draw_pictures(folder: Path) -> None:
    folder.mkdir()
    pixels = np.random.default_rng(3).integers(0, 255, (41, 61, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "overview.png")
    entry = {"file": "overview.png", "section": "overview", "title": "Overview", "caption": "All."}
    (folder / "index.json").write_text(json.dumps([entry]), encoding="utf-8")
