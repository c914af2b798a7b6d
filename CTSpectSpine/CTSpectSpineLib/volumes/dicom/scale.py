"""From stored pixel values to measured ones: rescale, or real world value mapping.

A real world value mapping (DICOM PS3.3 C.7.6.16.2.11) starts from the stored values, so it takes
the place of rescale slope and intercept and does not follow them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes.dicom.pixels import stored_pixels
from CTSpectSpineLib.volumes.dicom.series import DicomFile
from CTSpectSpineLib.volumes.dicom.suv_type import SUV_UNITS, mapped_suv, stated_suv
from CTSpectSpineLib.volumes.dicom.tags import number, value, values
from CTSpectSpineLib.volumes.volume import Role

_UNITS = {
    "bq/ml": ("Bq/ml", 1.0),
    "kbq/ml": ("Bq/ml", 1e3),
    "mbq/ml": ("Bq/ml", 1e6),
    "bq/cm3": ("Bq/ml", 1.0),
    "{counts}": ("counts", 1.0),
    "{count}": ("counts", 1.0),
    "counts": ("counts", 1.0),
}
"""Unit code in lower case to the unit used here and the factor to it. By definition: UCUM."""
_PREFERENCE = ("Bq/ml", *SUV_UNITS, "counts")
_PET_UNITS = {"BQML": "Bq/ml", "CNTS": "counts"}
_INT32 = 2.0**31 - 1
"""Largest value of a 32-bit integer. By definition."""


@dataclass(frozen=True)
class Scale:
    """Straight line from stored values to measured ones.

    Attributes
    ----------
    slope, intercept
        Of the line.
    unit
        Unit of the measured values.
    mapped
        Whether it is a real world value mapping.
    """

    slope: float
    intercept: float
    unit: str
    mapped: bool = False

    @property
    def whole(self) -> bool:
        """Whether whole numbers stay whole numbers."""
        return self.slope.is_integer() and self.intercept.is_integer()


def measured_pixels(
    files: Sequence[DicomFile], role: Role
) -> tuple[NDArray[np.generic], str, tuple[str, ...]]:
    """Values of single slices or of one multi-frame file, each slice with its own scale.

    Returns
    -------
    array, unit, notes
        Values ``[frame, row, column]`` as int32 or float32, their unit, and notes.

    Raises
    ------
    InputError
        If pixels are missing, a scale cannot be read, the slices have different units, or values
        are too large.
    """
    scales = [scale_of(file, role) for file in files]
    if len({scale.unit for scale in scales}) > 1:
        raise InputError(
            f"{files[0].path.parent}: its slices have different units "
            f"({', '.join(sorted({s.unit for s in scales}))}); export them with one unit."
        )
    array = scaled_frames(
        files, [[scale] * file.frames for file, scale in zip(files, scales, strict=True)]
    )
    notes: tuple[str, ...] = ()
    if any(scale.mapped for scale in scales):
        slopes = sorted({scale.slope for scale in scales})
        by = f"{slopes[0]:g}" + (f" to {slopes[-1]:g}" if len(slopes) > 1 else "")
        notes = (f"Values were scaled by {by} to {scales[0].unit} (real world value mapping).",)
    return array, scales[0].unit, notes


def scaled_frames(
    files: Sequence[DicomFile], scales: Sequence[Sequence[Scale]]
) -> NDArray[np.generic]:
    """Values of all frames of the files, each frame by its own scale.

    Parameters
    ----------
    files
        Single slices or multi-frame files.
    scales
        Of each file, the scales of its frames.

    Returns
    -------
    array
        Values ``[frame, row, column]``: int32 where whole numbers stay whole, else float32.

    Raises
    ------
    InputError
        If pixels are missing, or values are too large.
    """
    kind = np.int32 if all(s.whole for found in scales for s in found) else np.float32
    parts = []
    for file, found in zip(files, scales, strict=True):
        stored = stored_pixels(file)
        if len(set(found)) == 1:
            parts.append(_applied(file, stored, found[0], kind))
            continue
        for n, scale in enumerate(found):
            parts.append(_applied(file, stored[n : n + 1], scale, kind))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def scale_of(file: DicomFile, role: Role) -> Scale:
    """Scale of the pixels of a file; the one that DICOM's rescale and mapping state.

    Raises
    ------
    InputError
        If rescale slope or intercept cannot be read.
    """
    if role == "spect" and (mapped := _real_world(file.header)) is not None:
        return mapped
    unit = "HU"
    if role == "spect":
        stated = str(value(file.header, "Units") or "").upper()
        unit = stated_suv(file.header) or _PET_UNITS.get(stated, "counts")
    slope = _stated(file, "RescaleSlope", 1.0)
    if slope == 0:
        raise InputError(f"{file.path}: RescaleSlope is 0; export it again.")
    return Scale(slope, _stated(file, "RescaleIntercept", 0.0), unit)


def _stated(file: DicomFile, keyword: str, default: float) -> float:
    if not _content(file.header, keyword):
        return default
    found = number(file.header, keyword)
    if found is None:
        raise InputError(
            f"{file.path}: {keyword} is no number, so the values cannot be scaled; export it again."
        )
    return found


def _content(header: Dataset, keyword: str) -> bool:
    """Whether a tag holds anything, readable or not."""
    try:
        return header.get(keyword) not in (None, "", b"")
    except Exception:  # pydicom raises many kinds on damaged values
        return True


def _applied(
    file: DicomFile,
    stored: NDArray[np.generic],
    scale: Scale,
    kind: type[np.int32] | type[np.float32],
) -> NDArray[np.generic]:
    ends = [float(end) * scale.slope + scale.intercept for end in (stored.min(), stored.max())]
    limit = _INT32 if kind is np.int32 else float(np.finfo(np.float32).max)
    if not max(map(abs, ends)) <= limit:
        raise InputError(
            f"{file.path}: its values reach {max(ends, key=abs):.3g} by RescaleSlope "
            f"{scale.slope:g}, which no measurement does; export it again."
        )
    if kind is np.int32:
        # The products fit, as their ends do; 64 bits hold what they are made from.
        whole = stored.astype(np.int64) * int(scale.slope) + int(scale.intercept)
        return whole.astype(np.int32)
    return (stored.astype(np.float64) * scale.slope + scale.intercept).astype(np.float32)


def _real_world(header: Dataset) -> Scale | None:
    """Mapping to a unit that is known here, activity concentration first; None for none.

    ITK ignores RealWorldValueMappingSequence. The unit is a UCUM code: there is something to
    scale only where it is an activity concentration (or an SUV).
    """
    mappings: list[Scale] = []
    for item in values(header, "RealWorldValueMappingSequence"):
        slope = number(item, "RealWorldValueSlope")
        intercept = number(item, "RealWorldValueIntercept")
        code = next(iter(values(item, "MeasurementUnitsCodeSequence")), None)
        unit = _unit_of(item, code, header) if isinstance(code, Dataset) else None
        if unit is not None and slope:
            line = (slope * unit[1], (intercept or 0.0) * unit[1])
            mappings.append(Scale(*line, unit[0], mapped=line != (1.0, 0.0)))
    return min(mappings, key=lambda m: _PREFERENCE.index(m.unit), default=None)


def _unit_of(mapping: Dataset, code: Dataset, header: Dataset) -> tuple[str, float] | None:
    """Unit used here, and the factor to it, of a mapping; None for a unit that is not known."""
    suv = mapped_suv(mapping, code, header)
    if suv:
        return suv, 1.0
    return _UNITS.get(str(value(code, "CodeValue") or "").lower())
