"""Multi-frame NM (SPECT) files: geometry, frame order, energy windows and scale.

DICOM PS3.3 C.8.4 (Nuclear Medicine modules). Position and orientation of the first frame are in
DetectorInformationSequence; the sign of SpacingBetweenSlices gives the direction of stacking
along the normal; the scale, where there is one, is in RealWorldValueMappingSequence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.volumes.dicom.scale import measured_pixels
from CTSpectSpineLib.volumes.dicom.series import DicomFile, Series
from CTSpectSpineLib.volumes.dicom.stack import (
    Stack,
    pixel_spacing,
    plane_matrix,
    plane_orientation,
    plane_position,
    slice_thickness,
)
from CTSpectSpineLib.volumes.dicom.tags import number, values
from CTSpectSpineLib.volumes.suv import TC99M_PHOTOPEAK_KEV
from CTSpectSpineLib.volumes.volume import MIN_SLICES


def read_nm(series: Series) -> Stack:
    """Read a reconstructed multi-frame NM file; missing tags give notes, not errors.

    Raises
    ------
    InputError
        If the file has no pixel spacing, is gated, damaged, or holds several energy windows of
        which none is the photopeak.
    """
    file = series.first
    notes: list[str] = []
    # Its size is checked first: a damaged number of frames would fill the memory.
    array, unit, scaled = measured_pixels((file,), "spect")
    frames = _choose_frames(file, notes)
    matrix = _matrix(file, notes)
    stated = bool(number(file.header, "SpacingBetweenSlices")) or plane_position(file) is None
    return Stack(array[frames], matrix, (file,), (*scaled, *notes), unit, stated)


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
            "used, and the slices were stacked along the normal; check which end is the head."
        )
        return thickness
    notes.append(
        "The SPECT states neither SpacingBetweenSlices nor SliceThickness: cubic voxels of "
        f"{spacing[0]:g} mm were assumed, stacked along the normal; check which end is the head."
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
            f"{TC99M_PHOTOPEAK_KEV:g} keV photopeak was read."
        )
    slices = _vector(file, "SliceVector")
    if slices:
        numbers = np.array(slices)[chosen]
        if numbers[0] != numbers.min():
            # Position and direction of stacking are stated for the first frame.
            raise InputError(
                f"{file.path}: SliceVector does not begin with its lowest slice ({numbers[0]} "
                f"before {numbers.min()}), so that it is unclear to which slice "
                "ImagePositionPatient belongs; export it again with ascending slices, or as NIfTI."
            )
        if len(set(numbers.tolist())) < len(numbers):
            raise InputError(
                f"{file.path}: holds several frames for the same slice; export one volume alone."
            )
        chosen = chosen[np.argsort(numbers, kind="stable")]
    if len(chosen) < MIN_SLICES:
        raise InputError(f"{file.path}: has only {len(chosen)} slices; a volume is needed.")
    return chosen


def _vector(file: DicomFile, keyword: str) -> list[int]:
    """A vector with one number per frame; empty when it is absent.

    Raises
    ------
    InputError
        If it has another length, or is damaged.
    """
    found = values(file.header, keyword)
    if not found:
        return []
    try:
        numbers = [int(v) for v in found]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != file.frames:
        raise InputError(
            f"{file.path}: {keyword} has {len(found)} values for {file.frames} frames; the file "
            "is damaged, export it again."
        )
    return numbers


def _photopeak_window(file: DicomFile, windows: list[int]) -> int:
    items = values(file.header, "EnergyWindowInformationSequence")
    for window in windows:
        if not 1 <= window <= len(items):
            continue
        for bounds in values(items[window - 1], "EnergyWindowRangeSequence"):
            low = number(bounds, "EnergyWindowLowerLimit")
            high = number(bounds, "EnergyWindowUpperLimit")
            if low is not None and high is not None and low <= TC99M_PHOTOPEAK_KEV <= high:
                return window
    raise InputError(
        f"{file.path}: holds {len(windows)} energy windows and does not say which one has the "
        f"{TC99M_PHOTOPEAK_KEV:g} keV photopeak; export the photopeak reconstruction alone."
    )
