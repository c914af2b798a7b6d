"""A small results folder with known content, for tests of the scene."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.files import sha256_of_file
from CTSpectSpineLib.geometry import (
    apply_matrix,
    euler_transform,
    ijk_to_lps,
    image_from_array,
)
from CTSpectSpineLib.results.manifest import MANIFEST, SCHEMA
from CTSpectSpineLib.results.stage_files import RegisteredPair
from CTSpectSpineLib.terminology import terminology_entry
from CTSpectSpineLib.volumes.segmentation_nrrd import Segment, write_segmentation

REFERENCE = 800.0
HOT_POINT_CT = (-19.0, 31.0, -402.0)
"""Centre of the hot joint on the CT, LPS mm."""

_LEVELS = {"L4": 28, "L5": 27, "sacrum": 25}
_KINDS = {"L4-L5 disc": "negative", "L4-L5 facet left": "negative", "L5-S1 facet right": "positive"}
_COLOURS = {"negative": (0.3, 0.55, 0.75), "positive": (0.84, 0.15, 0.16)}


@dataclass(frozen=True)
class ResultsFolder:
    """What lies in the folder.

    Attributes
    ----------
    voxels
        Number of voxels of each joint's segment.
    ct_to_spect
        4×4 matrix from CT to SPECT points, LPS mm.
    """

    folder: Path
    ct: sitk.Image
    spect: sitk.Image
    labels: sitk.Image
    rows: list[dict[str, object]]
    voxels: dict[str, int]
    ct_to_spect: np.ndarray


def make_results_folder(folder: Path) -> ResultsFolder:
    """Three stacked blocks as vertebrae, three joints of which one is hot, SPECT moved."""
    rng = np.random.default_rng(7)
    angle = np.radians(10.0)  # an oblique CT: nothing may rely on axis-parallel grids
    direction = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = direction * 2.0
    matrix[:3, 3] = apply_centre(direction, (48, 48, 56), 2.0, (0.0, 20.0, -400.0))
    labels = np.zeros((56, 48, 48), dtype=np.uint8)
    for n, value in enumerate(_LEVELS.values()):
        labels[38 - 14 * n : 50 - 14 * n, 14:34, 14:34] = value
    ct_voxels = np.where(labels > 0, 400, 20) + rng.normal(0, 10, labels.shape)
    ct = image_from_array(ct_voxels.astype(np.int16), matrix)

    motion = np.eye(4)
    turn = np.radians(6.0)
    motion[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    motion[:3, 3] = (12.0, -50.0, 15.0)
    transform = euler_transform(motion, centre_mm=(0.0, 20.0, -400.0))
    sitk.WriteTransform(transform, str(folder / "spect_to_ct.tfm"))
    spect = _spect(motion)

    masks = _joint_masks(ct)
    rows = [_row(name, ct, masks[name]) for name in _KINDS]
    with (folder / "joints.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    write_segmentation(folder / "vertebrae.seg.nrrd", _vertebra_segments(labels), ct)
    write_segmentation(folder / "joints.seg.nrrd", _joint_segments(rows, masks), ct)
    sitk.WriteImage(image_from_array(labels, matrix), str(folder / "vertebrae.nii.gz"))
    pair = RegisteredPair.of(ct, spect)
    registration = {
        **_REGISTRATION,
        "ct_to_spect_lps": motion.tolist(),
        "centre_mm": (0.0, 20.0, -400.0),
        "images": {"ct": pair.ct.record(), "spect": pair.spect.record()},
    }
    texts = {"verdict": _VERDICT, "registration": registration, "manifest": _MANIFEST}
    for name, values in texts.items():
        (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    record_files(folder)
    return ResultsFolder(
        folder=folder,
        ct=ct,
        spect=spect,
        labels=image_from_array(labels, matrix),
        rows=rows,
        voxels={name: int(np.count_nonzero(mask)) for name, mask in masks.items()},
        ct_to_spect=motion,
    )


def record_files(folder: Path) -> None:
    """Enter all files in the manifest, as an analysis does with what it writes."""
    path = folder / MANIFEST
    files = [p for p in folder.rglob("*") if p.is_file() and p != path]
    names = {p.relative_to(folder).as_posix(): sha256_of_file(p) for p in files}
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**manifest, "files": names}), encoding="utf-8")


def apply_centre(
    direction: np.ndarray,
    size: tuple[int, int, int],
    spacing: float,
    centre: tuple[float, float, float],
) -> np.ndarray:
    """Origin of a grid whose centre lies at a point."""
    half = (np.array(size) - 1) / 2 * spacing
    result: np.ndarray = np.array(centre) - direction @ half
    return result


def _spect(motion: np.ndarray) -> sitk.Image:
    """SPECT of a background and one hot blob, where the moved patient has it."""
    hot = apply_matrix(motion, np.array([HOT_POINT_CT]))[0]
    middle = apply_matrix(motion, np.array([(0.0, 20.0, -400.0)]))[0]
    size = (40, 40, 40)
    matrix = np.diag([4.4, 4.4, 4.4, 1.0])
    matrix[:3, 3] = apply_centre(np.eye(3), size, 4.4, tuple(middle))
    k, j, i = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    points = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    squared = np.sum((points - hot) ** 2, axis=-1)
    voxels = 30.0 + 5.0 * REFERENCE * np.exp(-squared / (2 * 6.0**2))
    return image_from_array(voxels.astype(np.float32), matrix)


def _joint_masks(ct: sitk.Image) -> dict[str, np.ndarray]:
    """Balls on the CT grid; the left facet overlaps the disc."""
    size = ct.GetSize()
    k, j, i = np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij")
    matrix = ijk_to_lps(ct)
    points = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    centres = {
        "L4-L5 disc": (0.0, 20.0, -384.0),
        "L4-L5 facet left": (12.0, 24.0, -384.0),
        "L5-S1 facet right": HOT_POINT_CT,
    }
    return {
        name: np.sum((points - centre) ** 2, axis=-1) < 9.0**2 for name, centre in centres.items()
    }


def _row(name: str, ct: sitk.Image, mask: np.ndarray) -> dict[str, object]:
    level, kind, *side = name.split()
    k, j, i = np.argwhere(mask).mean(axis=0)
    x, y, z = ct.TransformContinuousIndexToPhysicalPoint((i, j, k))
    uptake = _KINDS[name]
    ratio = 4.123456789012345 if uptake == "positive" else 0.9
    return {
        "joint": name,
        "level": level,
        "kind": kind,
        "side": side[0] if side else "",
        "spine_region": "lumbar",
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "volume_mm3": float(np.count_nonzero(mask)) * 8.0,
        "status": "measured",
        "status_reason": "",
        "reference": REFERENCE,
        "ratio_corrected": ratio,
        "ratio_low": ratio - 0.3,
        "ratio_high": ratio + 0.3,
        "uptake": uptake,
        "suv_mean": "",
        "verdict": 'Makes "L5-S1 facet" an area.' if uptake == "positive" else "",
    }


def _vertebra_segments(labels: np.ndarray) -> list[Segment]:
    return [
        Segment(
            id=name if name == "sacrum" else f"vertebrae_{name}",
            name=name if name == "sacrum" else f"vertebrae_{name}",
            colour=(0.9, 0.8, 0.6),
            region=labels == value,
            label_value=value,
            terminology=terminology_entry("vertebra", name),
        )
        for name, value in _LEVELS.items()
    ]


def _joint_segments(rows: list[dict[str, object]], masks: dict[str, np.ndarray]) -> list[Segment]:
    return [
        Segment(
            id=str(row["joint"]),
            name=str(row["joint"]),
            colour=_COLOURS[str(row["uptake"])],
            region=masks[str(row["joint"])],
            terminology=terminology_entry(str(row["kind"]), str(row["level"]), str(row["side"])),
        )
        for row in rows
    ]


_REGISTRATION = {
    "method": "by hand",
    "translation_mm": [12.0, -50.0, 15.0],
    "rotation_deg": [6.0, 0.0, 0.0],
    "metric_start": 0.1,
    "metric_end": 0.7,
    "expected_error_mm": 0.8,
    "quality": "good",
    "reasons": ["It fits."],
    "seconds": 1.0,
}
_MANIFEST = {
    "schema": SCHEMA,
    "id": "made-by-hand",
    "status": "complete",
    "parameters": {"accept_registration": False},
    "labels": {"levels": list(_LEVELS), "levels_confirmed": False},
    "uptake": {"reference": {"value": REFERENCE}},
    "protocol": {"bounds": {"disc": {"positive": 1.8}, "facet": {"positive": 2.0}}},
}
_VERDICT = {
    "protocol": {"id": "tender-2019", "version": "1"},
    "disposition": "multiple_areas",
    "recommendation": "pain management",
    "areas": [{"level": "L5-S1", "kind": "facet", "joints": ["L5-S1 facet right"]}],
    "reasons": ["L5-S1 facet right is positive: ratio 4.1, bound 1.5 “µ”."],
    "eligibility": {"status": "unknown"},
    "stability": 0.93,
    "caveats": ["No uptake threshold is validated for pain."],
    "research_use_only": True,
}
