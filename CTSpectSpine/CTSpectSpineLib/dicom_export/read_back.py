"""Segmentations and report of this software read again, for instance from an archive.

They need pydicom alone. Objects of other software are for other readers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from CTSpectSpineLib.anatomy import SACRUM
from CTSpectSpineLib.dicom_export.measurement_codes import quantities
from CTSpectSpineLib.dicom_export.study import SOFTWARE
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import affine, content_box
from CTSpectSpineLib.model import FloatArray, Region
from CTSpectSpineLib.terminology import recommended_rgb, terminology_entry
from CTSpectSpineLib.volumes.segmentation_nrrd import Segment

_DAMAGE = (
    *(AttributeError, EOFError, LookupError, NotImplementedError, RuntimeError, TypeError),
    *(ValueError, struct.error),
)
"""What pydicom raises for a damaged file."""
_TRACKING, _DISPOSITION = "112039", "DISPOSITION"
_WORDS = {"UPTAKE_CLASS": "uptake", "JOINT_STATUS": "status"}
"""Code of a judgement to its column of the joint table."""


@dataclass(frozen=True)
class ReadReport:
    """What a structured report says.

    Attributes
    ----------
    joints
        Rows with columns of ``joints.csv``, as text; all rows have the same columns.
    verdict
        Entries of ``verdict.json``.
    """

    joints: tuple[Mapping[str, str], ...]
    verdict: Mapping[str, Any]


def read_segments(files: Sequence[Path]) -> list[Segment]:
    """Segments of one series, in the order of its files.

    Raises
    ------
    InputError
        If a file is no segmentation of this software, or is damaged.
    """
    return [segment for file in files for segment in _segments(file)]


def read_report(file: Path) -> ReadReport:
    """Measurements and verdict of a report.

    Raises
    ------
    InputError
        If the file is no report of this software, or is damaged.
    """
    header = _read(file, "SR")
    columns = {quantity.code.value: quantity.column for quantity in quantities()}
    rows: list[dict[str, str]] = []
    verdict: dict[str, Any] = {}
    try:
        for container in header.ContentSequence:
            if any(code == _DISPOSITION for code, _ in _items(container)):
                verdict = _verdict(container)
        for name, group in _groups(header):
            level, kind, *side = name.split()
            row = {"joint": name, "level": level, "kind": kind, "side": "".join(side)}
            for code, item in _items(group):
                if item.ValueType == "NUM" and code in columns:
                    row[columns[code]] = repr(_number(item))
                elif item.ValueType == "CODE" and code in _WORDS:
                    meaning = str(item.ConceptCodeSequence[0].CodeMeaning)
                    row[_WORDS[code]] = meaning.lower().replace(" ", "_")
            rows.append(row)
    except _DAMAGE as error:
        raise InputError(f"{file}: this report is damaged ({error}); export it again.") from error
    every = dict.fromkeys(column for row in rows for column in row)
    return ReadReport(tuple({c: row.get(c, "") for c in every} for row in rows), verdict)


def _read(file: Path, modality: str) -> Dataset:
    try:
        header = dcmread(file)
    except (OSError, InvalidDicomError, *_DAMAGE) as error:
        raise InputError(f"{file}: this file cannot be read as DICOM ({error}).") from error
    if str(header.get("Manufacturer", "")) != SOFTWARE:
        raise InputError(f"{file}: this is no object of {SOFTWARE}; load it with another reader.")
    found = header.get("Modality", "")
    if found != modality:
        raise InputError(f"{file}: this is of modality {found}, not {modality}; give another file.")
    return header


def _segments(file: Path) -> Iterator[Segment]:
    header = _read(file, "SEG")
    try:
        frames = header.pixel_array.astype(bool)
        frames = frames[np.newaxis] if frames.ndim == 2 else frames
        shared = header.SharedFunctionalGroupsSequence[0]
        groups = list(header.PerFrameFunctionalGroupsSequence)
        spacing = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
        orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        axes = np.array(orientation, dtype=float).reshape(2, 3)
        origins = np.array(
            [group.PlanePositionSequence[0].ImagePositionPatient for group in groups], dtype=float
        )
        numbers = np.array([_segment_number(group, shared) for group in groups])
        normal = np.cross(*axes)
        depths = origins @ normal
        apart = _apart(shared, depths)
        names = {int(s.SegmentNumber): str(s.SegmentLabel) for s in header.SegmentSequence}
        for number, name in names.items():
            own = numbers == number
            places = np.rint((depths[own] - depths[own].min(initial=np.inf)) / apart).astype(int)
            mask = np.zeros((int(places.max(initial=0)) + 1, *frames.shape[1:]), dtype=bool)
            mask[places] = frames[own]
            first = origins[own][np.argmin(places)]
            turned = np.stack([axes[0] * spacing[1], axes[1] * spacing[0], normal * apart], axis=1)
            yield _segment(name, mask, affine(turned, first))
    except _DAMAGE as error:
        words = f"{file}: this segmentation is damaged ({error}); export it again."
        raise InputError(words) from error


def _segment(name: str, mask: np.ndarray, matrix: FloatArray) -> Segment:
    box = content_box(mask) or (slice(0, 0), slice(0, 0), slice(0, 0))
    start = [box[2].start, box[1].start, box[0].start]
    region = Region(mask[box], matrix @ affine(np.eye(3), start))
    level, kind, *side = name.split() if " " in name else (name, "vertebra")
    shown = name if kind != "vertebra" or name == SACRUM else f"vertebrae_{name}"
    red, green, blue = (part / 255.0 for part in recommended_rgb(kind))
    entry = terminology_entry(kind, level, "".join(side))
    return Segment(shown, shown, (red, green, blue), region, terminology=entry)


def _segment_number(group: Dataset, shared: Dataset) -> int:
    # What all frames have in common stands in the shared group.
    named = group if "SegmentIdentificationSequence" in group else shared
    return int(named.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _apart(shared: Dataset, depths: FloatArray) -> float:
    """Distance of the slices, mm; 1 where there is one slice."""
    stated = shared.PixelMeasuresSequence[0].get("SpacingBetweenSlices")
    return float(stated) if stated else float(np.ptp(depths)) or 1.0


def _groups(report: Dataset) -> Iterator[tuple[str, Dataset]]:
    """Groups of measurements by what they are tracked as."""
    for container in report.ContentSequence:
        for group in container.get("ContentSequence", ()):
            for code, item in _items(group):
                if code == _TRACKING:
                    yield str(item.TextValue), group


def _items(group: Dataset) -> Iterator[tuple[str, Dataset]]:
    for item in group.get("ContentSequence", ()):
        yield str(item.ConceptNameCodeSequence[0].CodeValue), item


def _number(item: Dataset) -> float:
    measured = item.MeasuredValueSequence[0]
    return float(measured.get("FloatingPointValue", measured.NumericValue))


def _verdict(group: Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {"protocol": {}, "reasons": [], "caveats": []}
    for code, item in _items(group):
        if code == _DISPOSITION:
            found["disposition"] = str(item.ConceptCodeSequence[0].CodeValue).lower()
        elif code == "STABILITY":
            found["stability"] = _number(item)
        elif code.startswith("PROTOCOL_"):
            found["protocol"][code.removeprefix("PROTOCOL_").lower()] = str(item.TextValue)
        elif code in ("REASON", "CAVEAT"):
            found[f"{code.lower()}s"].append(str(item.TextValue))
    return found
