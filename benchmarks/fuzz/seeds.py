"""Small whole inputs of every kind, made by code."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_type_hints

import nibabel
import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.model import Registration
from CTSpectSpineLib.registration.files import registration_record
from CTSpectSpineLib.results.manifest import SCHEMA
from CTSpectSpineLib.results.records import verdict_record
from CTSpectSpineLib.triage_protocol import load_protocol, triage
from CTSpectSpineLib.triage_protocol.schema import TEMPLATE_FILE
from CTSpectSpineLib.validation.rows import JOINTS_FILE, PATIENTS_FILE, JointRow, PatientRow

Files = Mapping[str, bytes]

_SHAPE = (8, 9, 10)
"""Voxels along k, j, i. Judgement: as few as pass for a volume."""
_SPACING = (1.5, 1.25, 2.0)
"""Voxel sizes along i, j, k, mm. Judgement: too little for a joint, so that a whole input is
refused after it was read, and no registration runs."""


def ct_voxels(shape: tuple[int, int, int] = _SHAPE) -> np.ndarray:
    """HU that pass for a CT: air, fat, soft tissue and bone."""
    rng = np.random.default_rng(0)
    choice = rng.choice([-1000, -90, 40, 400], p=[0.4, 0.2, 0.35, 0.05], size=shape)
    return (choice + rng.normal(0, 10, shape)).astype(np.int16)


def spect_voxels() -> np.ndarray:
    """Counts."""
    return np.random.default_rng(1).poisson(40.0, _SHAPE).astype(np.int16)


def label_voxels() -> np.ndarray:
    """Two vertebrae (L5 and L4 of TotalSegmentator)."""
    labels = np.zeros(_SHAPE, np.uint8)
    labels[1:4, 2:7, 2:8], labels[5:7, 2:7, 2:8] = 27, 28
    return labels


def image_files(voxels: np.ndarray, name: str, compressed: bool = True) -> Files:
    """A volume as a file, or as two with a detached header."""
    image = image_from_array(voxels, np.diag([*_SPACING, 1.0]))
    with tempfile.TemporaryDirectory() as folder:
        sitk.WriteImage(image, str(Path(folder) / name), useCompression=compressed)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def nifti_pair(voxels: np.ndarray) -> Files:
    """A NIfTI header with its voxels beside it."""
    pair = nibabel.Nifti1Pair(voxels.T, np.diag([-1.5, -1.25, 2.0, 1.0]))
    with tempfile.TemporaryDirectory() as folder:
        nibabel.save(pair, Path(folder) / "pair.hdr")
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def nifti_with_names(voxels: np.ndarray) -> Files:
    """A label map with a table of names in its header."""
    rows = "".join(
        f'<Label Key="{anatomy.vertebra(level).id}">vertebrae_{level}</Label>'
        for level in ("L4", "L5")
    )
    image = nibabel.Nifti1Image(voxels.T, np.diag([-1.5, -1.25, 2.0, 1.0]))
    table = f"<CaretExtension><LabelTable>{rows}</LabelTable></CaretExtension>".encode()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, table))
    return {"labels.nii.gz": gzip.compress(image.to_bytes(), mtime=0)}


def segmentation() -> Files:
    """A ``.seg.nrrd`` with two layers."""
    labels = np.stack([label_voxels() == 27, label_voxels() == 28], axis=-1).astype(np.uint8)
    lines = [
        "NRRD0004",
        "type: unsigned char",
        "dimension: 4",
        "space: left-posterior-superior",
        "sizes: 2 10 9 8",
        "space directions: none (1.5,0,0) (0,1.25,0) (0,0,2)",
        "kinds: list domain domain domain",
        "encoding: gzip",
        "space origin: (0,0,0)",
    ]
    for number, level in enumerate(("L5", "L4")):
        key = f"Segment{number}_"
        lines += [
            f"{key}Color:=0.9 0.8 0.5",
            f"{key}Extent:=2 7 2 6 1 6",
            f"{key}ID:=vertebrae_{level}",
            f"{key}LabelValue:=1",
            f"{key}Layer:={number}",
            f"{key}Name:={level}",
            f"{key}Tags:=TerminologyEntry:a~b^c^d~e^f^g~^^~a~^^~^^|",
        ]
    header = "\n".join(lines).encode() + b"\n\n"
    return {"labels.seg.nrrd": header + gzip.compress(labels.tobytes(), mtime=0)}


def transform() -> sitk.Euler3DTransform:
    """A rigid transform."""
    moved = sitk.Euler3DTransform()
    moved.SetCenter((1.0, 2.0, 3.0))
    moved.SetRotation(0.1, -0.05, 0.2)
    moved.SetTranslation((12.0, -8.0, 15.0))
    return moved


def transform_file(name: str, composite: bool = False) -> Files:
    """A rigid transform as a file."""
    written = sitk.CompositeTransform([transform()]) if composite else transform()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        sitk.WriteTransform(written, str(path))
        return {name: path.read_bytes()}


def joint_table(places: int = 4) -> bytes:
    """A joint table."""
    stream = io.StringIO()
    names = ("joint", "level", "kind", "side", "spine_region", "x_mm", "y_mm", "z_mm", "status")
    more = ("status_reason", "ratio_corrected", "ratio_mean", "ratio_low", "ratio_high")
    writer = csv.writer(stream)
    writer.writerow([*names, *more, "probability_positive", "uptake", "verdict"])
    for number, level in enumerate(("L5-S1", "L4-L5", "L3-L4", "C5-C6")[:places]):
        region = "cervical" if level[0] == "C" else "lumbar"
        for kind, side in (("disc", ""), ("facet", "left"), ("facet", "right")):
            ratio = 4.5 if (number, side) == (1, "left") else 1.0 + number / 10
            uptake = "positive" if ratio > 3 else "negative"
            row = [f"{level} {kind} {side}".strip(), level, kind, side, region, 1.5, -2.5, number]
            spread = [ratio - 0.2, ratio + 0.2, float(ratio > 3)]
            writer.writerow([*row, "measured", "", ratio, ratio, *spread, uptake, "negative"])
    return stream.getvalue().encode()


def context() -> bytes:
    """A clinical context."""
    values = {
        "age_years": 55,
        "sex": "female",
        "pain_region": "lumbar",
        "vas_axial": 6,
        "pain_duration_years": 2,
        "radicular_pain": False,
        "instability_mm": {"L4-L5": 2.5},
        "exclusions": [],
        "body_weight_kg": 80,
        "injected_dose_MBq": 650,
        "injection_time": "2026-01-01T09:00:00",
        "scan_time": "2026-01-01T12:00:00",
    }
    return json.dumps(values, indent=1).encode()


def protocol() -> bytes:
    """A protocol file."""
    return TEMPLATE_FILE.read_bytes()


def results() -> Files:
    """A results folder of a whole analysis."""
    import pandas as pd

    table = joint_table()
    loaded = load_protocol("tender-2019")
    verdict = triage(pd.read_csv(io.BytesIO(table), keep_default_na=False), None, "tender-2019")
    registration = Registration(transform(), "made", 0.1, 0.5, 1.2, "good", ("It is good.",), 3.0)
    image = {"path": "ct.nii.gz", "sha256": "a1" * 32, "size": [10, 9, 8], "unit": "HU"}
    geometry = {"spacing_mm": [1.5, 1.25, 2.0], "origin_mm": [0, 0, 0], "notes": []}
    manifest = {
        "schema": SCHEMA,
        "status": "complete",
        "status_reason": "",
        "created": "2026-05-04T09:30:00+02:00",
        "research_use_only": True,
        "inputs": {"ct": {**image, **geometry}, "spect": {**image, **geometry, "unit": "counts"}},
        "software": {"ctspectspine": "0.1.0"},
        "parameters": {"threads": 1, "fwhm_mm": None},
        "protocol": loaded.bounds_record() | loaded.reference(),
        "stages": [{"name": "register", "seconds": 1.0, "warnings": ["It took long."]}],
        "reference": {"value": 20.0, "name": "vertebral_bodies", "used": ["L4"], "spread": 0.1},
    }
    record = registration_record(registration) | {"ct_to_spect_lps": np.eye(4).tolist()}
    pictures = [{"file": "a.png", "section": "overview", "title": "All", "caption": "Spine"}]
    parts: dict[str, Any] = {
        "manifest.json": manifest,
        "registration.json": record,
        "verdict.json": verdict_record(verdict),
        "pictures/index.json": pictures,
    }
    files = {
        f"results/{name}": json.dumps(_plain(part), indent=1).encode()
        for name, part in parts.items()
    }
    files["results/joints.csv"] = table
    files["results/pictures/a.png"] = _png()
    files["results/spect_to_ct.tfm"] = transform_file("a.tfm")["a.tfm"]
    return files


def normals() -> Files:
    """Results folders of as many normal patients as bounds need."""
    whole = results()
    files = {}
    for patient in range(20):
        for name in ("manifest.json", "registration.json"):
            files[f"normals/p{patient}/{name}"] = whole[f"results/{name}"]
        table = joint_table().replace(b",1.1,", f",1.{patient + 10},".encode())
        files[f"normals/p{patient}/joints.csv"] = table
    return files


def _plain(value: Any) -> Any:
    from CTSpectSpineLib.results.text_files import plain

    return plain(value)


def _png() -> bytes:
    """One grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = (1).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    pixels = chunk(b"IDAT", zlib.compress(bytes([0, 128])))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def _row(kind: type[JointRow] | type[PatientRow], number: int) -> dict[str, Any]:
    """A row of a study, filled by the types of its columns."""
    hints = get_type_hints(kind)
    texts = {"split": "test", "set_name": "standard", "kind": "disc", "status": "measured"}
    texts |= {"patient": f"p{number}", "spine_region": "lumbar", "level": "L4-L5"}
    values: dict[str, Any] = {}
    for field in fields(kind):
        if "str" in str(hints[field.name]):
            values[field.name] = texts.get(field.name, "")
        elif hints[field.name] is bool:
            values[field.name] = True
        else:
            values[field.name] = hints[field.name](number) if hints[field.name] is int else 1.5
    return values


def study() -> Files:
    """Rows of a truth study."""
    found = {}
    for name, kind in ((JOINTS_FILE, JointRow), (PATIENTS_FILE, PatientRow)):
        stream = io.StringIO()
        rows = [asdict(kind(**_row(kind, number))) for number in range(3)]
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        found[f"study/{name}"] = stream.getvalue().encode()
    return found
