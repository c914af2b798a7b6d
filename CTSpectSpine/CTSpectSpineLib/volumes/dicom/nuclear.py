"""Multi-frame NM (SPECT) files: geometry, frame order, energy windows and scale.

DICOM PS3.3 C.8.4 (Nuclear Medicine modules). Position and orientation of the first frame are in
DetectorInformationSequence; the sign of SpacingBetweenSlices gives the direction of stacking
along the normal; the scale, where there is one, is in RealWorldValueMappingSequence.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.volumes.dicom.series import DicomFile, Series, number, value, values
from CTSpectSpineLib.volumes.dicom.stack import (
    Stack,
    pixel_spacing,
    plane_matrix,
    plane_orientation,
    plane_position,
    slice_thickness,
)
from CTSpectSpineLib.volumes.volume import MIN_SLICES

_PHOTOPEAK_KEV = 140.5
"""Photopeak of Tc-99m, keV (140.511 in ENSDF; Browne and Tuli 2017)."""


def read_nm(series: Series) -> Stack:
    """Read a reconstructed multi-frame NM file; missing tags give notes, not errors.

    Raises
    ------
    InputError
        If the file has no pixel spacing, is gated, or holds several energy windows of which
        none is the photopeak.
    """
    file = series.first
    notes: list[str] = []
    frames = _choose_frames(file, notes)
    matrix = _matrix(file, notes)
    try:
        image = sitk.ReadImage(str(file.path), sitk.sitkFloat32)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{file.path}: the pixels cannot be read ({reason}).") from error
    array: NDArray[np.generic] = sitk.GetArrayFromImage(image).reshape(
        -1, image.GetSize()[1], image.GetSize()[0]
    )
    if array.shape[0] != file.frames:
        raise InputError(
            f"{file.path}: states {file.frames} frames but holds {array.shape[0]}; it is damaged."
        )
    return Stack(array[frames], matrix, (file,), tuple(notes))


def unit_and_scale(header: Dataset) -> tuple[str, float, float]:
    """Unit of the calibrated values, and the slope and intercept that convert to it.

    ITK ignores RealWorldValueMappingSequence. The unit is a UCUM code: there is something to
    scale only where it is an activity concentration (or an SUV).
    """
    mappings: list[tuple[str, float, float]] = []
    for item in values(header, "RealWorldValueMappingSequence"):
        slope = number(item, "RealWorldValueSlope")
        intercept = number(item, "RealWorldValueIntercept")
        code = next(iter(values(item, "MeasurementUnitsCodeSequence")), None)
        unit = _UNITS.get(str(value(code, "CodeValue") or "").lower()) if code is not None else None
        if unit is not None and slope:
            mappings.append((unit[0], slope * unit[1], (intercept or 0.0) * unit[1]))
    mappings.sort(key=lambda m: _PREFERENCE.index(m[0]))
    if mappings:
        return mappings[0]
    stated = _PET_UNITS.get(str(value(header, "Units") or "").upper(), "")
    return stated or "counts", 1.0, 0.0


_UNITS = {
    "bq/ml": ("Bq/ml", 1.0),
    "kbq/ml": ("Bq/ml", 1e3),
    "mbq/ml": ("Bq/ml", 1e6),
    "bq/cm3": ("Bq/ml", 1.0),
    "g/ml{suvbw}": ("SUV", 1.0),
    "{suvbw}g/ml": ("SUV", 1.0),
    "g/ml": ("SUV", 1.0),
    "{counts}": ("counts", 1.0),
    "{count}": ("counts", 1.0),
    "counts": ("counts", 1.0),
}
"""Unit code in lower case to the unit used here and the factor to it. By definition: UCUM."""
_PREFERENCE = ("Bq/ml", "SUV", "counts")
_PET_UNITS = {"BQML": "Bq/ml", "CNTS": "counts", "GML": "SUV"}


def _matrix(file: DicomFile, notes: list[str]) -> FloatArray:
    """Index-to-LPS matrix of the frames in the order of the slices."""
    spacing = pixel_spacing(file)
    if spacing is None:
        raise InputError(
            f"{file.path}: has no PixelSpacing, so the size of its voxels is unknown; export it "
            "again with its geometry."
        )
    orientation = plane_orientation(file)
    if orientation is None:
        notes.append("The SPECT states no orientation: axial slices, head first, were assumed.")
        orientation = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    position = plane_position(file)
    if position is None:
        notes.append("The SPECT states no position: its first voxel was put at the origin.")
        position = np.zeros(3)
    step = np.cross(*orientation) * _slice_step(file, spacing, notes)
    return plane_matrix(orientation, spacing, step, position)


def _slice_step(file: DicomFile, spacing: tuple[float, float], notes: list[str]) -> float:
    """Signed distance of the slices in mm."""
    stated = number(file.header, "SpacingBetweenSlices")
    if stated:
        return stated
    thickness = slice_thickness(file)
    if thickness is not None:
        notes.append(
            f"The SPECT states no SpacingBetweenSlices: SliceThickness ({thickness:g} mm) was "
            "used, stacked along the normal."
        )
        return thickness
    notes.append(
        "The SPECT states neither SpacingBetweenSlices nor SliceThickness: cubic voxels of "
        f"{spacing[0]:g} mm were assumed."
    )
    return spacing[0]


def _choose_frames(file: DicomFile, notes: list[str]) -> NDArray[np.intp]:
    """Indices of the frames of one energy window, sorted by slice."""
    chosen = np.arange(file.frames)
    for keyword, what in (
        ("TimeSlotVector", "gates"),
        ("PhaseVector", "phases"),
        ("RRIntervalVector", "heart beat intervals"),
        ("TimeSliceVector", "time slices"),
    ):
        if len(set(_vector(file, keyword))) > 1:
            raise InputError(
                f"{file.path}: holds several {what}; export the sum over them as one volume."
            )
    windows = _vector(file, "EnergyWindowVector")
    if len(set(windows)) > 1:
        window = _photopeak_window(file, sorted(set(windows)))
        chosen = np.flatnonzero(np.array(windows) == window)
        notes.append(
            f"The SPECT holds {len(set(windows))} energy windows: window {window} with the "
            f"{_PHOTOPEAK_KEV:g} keV photopeak was read."
        )
    slices = _vector(file, "SliceVector")
    if slices:
        numbers = np.array(slices)[chosen]
        if len(set(numbers.tolist())) < len(numbers):
            raise InputError(
                f"{file.path}: holds several frames for the same slice; export one volume alone."
            )
        chosen = chosen[np.argsort(numbers, kind="stable")]
    if len(chosen) < MIN_SLICES:
        raise InputError(f"{file.path}: has only {len(chosen)} slices; a volume is needed.")
    return chosen


def _vector(file: DicomFile, keyword: str) -> list[int]:
    """A vector with one number per frame; empty when it is absent or has another length."""
    found = [int(v) for v in values(file.header, keyword)]
    return found if len(found) == file.frames else []


def _photopeak_window(file: DicomFile, windows: list[int]) -> int:
    items = values(file.header, "EnergyWindowInformationSequence")
    for window in windows:
        if not 1 <= window <= len(items):
            continue
        for bounds in values(items[window - 1], "EnergyWindowRangeSequence"):
            low = number(bounds, "EnergyWindowLowerLimit")
            high = number(bounds, "EnergyWindowUpperLimit")
            if low is not None and high is not None and low <= _PHOTOPEAK_KEV <= high:
                return window
    raise InputError(
        f"{file.path}: holds {len(windows)} energy windows and does not say which one has the "
        f"{_PHOTOPEAK_KEV:g} keV photopeak; export the photopeak reconstruction alone."
    )
