"""Enhanced CT: files whose frames each have their own position and scale."""

from __future__ import annotations

import numpy as np

from CTSpectSpineLib.volumes.dicom.concatenation import parts_note
from CTSpectSpineLib.volumes.dicom.frames import frames_of
from CTSpectSpineLib.volumes.dicom.scale import Scale, scaled_frames
from CTSpectSpineLib.volumes.dicom.series import Series
from CTSpectSpineLib.volumes.dicom.stack import (
    SAME_POSITION_MM,
    Stack,
    even_line,
    plane_matrix,
    unit_vectors,
    unusable,
)


def read_enhanced(series: Series) -> Stack:
    """Read an enhanced CT; its frames may be in any order.

    Frames are sorted by position along their normal; the step between them is taken from the
    positions, never from SliceThickness, and may be oblique (gantry tilt).

    Parameters
    ----------
    series
        Files whose frames `frames.frames_refusal` does not refuse.

    Raises
    ------
    InputError
        If frames are missing, unevenly spaced, or at one position, or pixels cannot be read.
    """
    if series.refusal:
        raise unusable(series, series.refusal)
    per_file = [frames_of(file.header, file.frames) for file in series.files]
    frames = [frame for found in per_file for frame in found]
    orientation = unit_vectors(frames[0].orientation)
    if orientation is None:
        raise unusable(series, "has frames whose ImageOrientationPatient is no right angle")
    points = np.array([frame.position for frame in frames])
    depth = points @ np.cross(*orientation)
    order = np.argsort(depth, kind="stable")
    if np.diff(depth[order]).min() <= SAME_POSITION_MM:
        raise unusable(
            series,
            "has several frames at the same position (ImagePositionPatient; phases, repeated "
            "scans): export one of them",
        )
    first, step = even_line(series, points[order], depth[order])
    spacing = frames[0].spacing_mm
    scales = [
        [Scale(frame.slope or 1.0, frame.intercept or 0.0, "HU") for frame in found]
        for found in per_file
    ]
    array = scaled_frames(series.files, scales)
    if np.any(np.diff(order) != 1):
        array = array[order]
    matrix = plane_matrix(orientation, (spacing[0], spacing[1]), step, first)
    notes = parts_note([(file.header, file.frames) for file in series.files])
    return Stack(array, matrix, series.files, notes, "HU")
