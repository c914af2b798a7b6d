"""Geometry and voxels of series with one DICOM file per slice (CT, PET, exported SPECT)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import affine
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.volumes.dicom.scale import measured_pixels
from CTSpectSpineLib.volumes.dicom.series import DicomFile, Series
from CTSpectSpineLib.volumes.dicom.tags import number, value, values
from CTSpectSpineLib.volumes.volume import Role

SAME_POSITION_MM = 0.01
"""Slices that are closer than this lie at one position, mm. Numerical: above the rounding of
positions in headers, far below any distance of slices."""
_JITTER = 0.1
"""Share of the slice distance by which positions may scatter. Judgement: positions are rounded in
headers, and a tenth of a slice moves no joint."""
_ROUNDING_MM = 0.02
"""Scatter of positions that is rounding alone, mm. Judgement: headers have two digits or more."""


@dataclass(frozen=True)
class Stack:
    """Slices that were read.

    Attributes
    ----------
    array
        Measured values ``[k, j, i]``.
    matrix
        4×4 matrix from index to LPS mm.
    files
        In the order of the slices.
    notes
        Sentences on what was assumed.
    unit
        Of the values.
    direction_stated
        Whether the header says to which side of the first slice the others lie.
    """

    array: NDArray[np.generic]
    matrix: FloatArray
    files: tuple[DicomFile, ...]
    notes: tuple[str, ...]
    unit: str
    direction_stated: bool = True


def read_stack(series: Series, role: Role) -> Stack:
    """Read a series of single slices.

    Slices are sorted by position along the normal of the first one; the step between them is
    taken from the positions, never from SliceThickness, and may be oblique (gantry tilt).

    Parameters
    ----------
    series
        The slices.
    role
        What they are to be used as. Each slice's own scale is applied.

    Raises
    ------
    InputError
        If slices are missing, repeated, irregular, or lack position or pixel spacing.
    """
    files, notes = _same_plane(series)
    orientation = plane_orientation(files[0])
    if orientation is None:
        raise unusable(series, "has no ImageOrientationPatient: export it again with its geometry")
    spacing = pixel_spacing(files[0])
    if spacing is None:
        raise unusable(series, "has no PixelSpacing: export it again with its geometry")
    positions = [plane_position(file) for file in files]
    if any(position is None for position in positions):
        raise unusable(series, "has slices without ImagePositionPatient: export it again")
    normal = np.cross(orientation[0], orientation[1])
    points = np.array(positions, dtype=float)
    depth = points @ normal
    order = np.argsort(depth, kind="stable")
    order, dropped = _without_repeats(series, files, depth, order)
    if dropped:
        notes.append(f"{dropped} files repeat slices and were left out.")
    first, step = even_line(series, points[order], depth[order])
    matrix = plane_matrix(orientation, spacing, step, first)
    sorted_files = tuple(files[n] for n in order)
    array, unit, scaled = measured_pixels(sorted_files, role)
    return Stack(array, matrix, sorted_files, (*scaled, *notes), unit)


def plane_orientation(file: DicomFile) -> tuple[FloatArray, FloatArray] | None:
    """Unit vectors (LPS) along a row and along a column; NM images have them nested."""
    numbers = _nested(file, "ImageOrientationPatient", 6)
    return None if numbers is None else unit_vectors(numbers)


def unit_vectors(numbers: Sequence[float]) -> tuple[FloatArray, FloatArray] | None:
    """The six numbers of an orientation as two unit vectors; None where they are no right angle."""
    row, column = np.array(numbers[:3]), np.array(numbers[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.5 or abs(row @ column) > 0.01:
        return None
    return row / lengths[0], column / lengths[1]


def plane_position(file: DicomFile) -> FloatArray | None:
    """Position of the first voxel, LPS mm; NM images have it nested."""
    numbers = _nested(file, "ImagePositionPatient", 3)
    return None if numbers is None else np.array(numbers)


def pixel_spacing(file: DicomFile) -> tuple[float, float] | None:
    """Distance between rows and between columns, mm."""
    numbers = _numbers(values(file.header, "PixelSpacing"), 2)
    if numbers is None or min(numbers) <= 0:
        return None
    return numbers[0], numbers[1]


def plane_matrix(
    orientation: tuple[FloatArray, FloatArray],
    spacing: tuple[float, float],
    step: FloatArray,
    position: FloatArray,
) -> FloatArray:
    """Return the matrix from index to LPS of slices that lie ``step`` apart."""
    row, column = orientation[0] * spacing[1], orientation[1] * spacing[0]
    return affine(np.column_stack([row, column, step]), position)


def _nested(file: DicomFile, keyword: str, count: int) -> list[float] | None:
    for item in values(file.header, "DetectorInformationSequence"):
        numbers = _numbers(values(item, keyword), count)
        if numbers is not None:
            return numbers
    return _numbers(values(file.header, keyword), count)


def _numbers(found: Sequence[object], count: int) -> list[float] | None:
    try:
        numbers = [float(v) for v in found]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.all(np.isfinite(numbers)) else None


def _same_plane(series: Series) -> tuple[list[DicomFile], list[str]]:
    """The largest group of files of one plane and pixel size, and notes on the others."""
    groups: dict[object, list[DicomFile]] = {}
    for file in series.files:
        plane = _nested(file, "ImageOrientationPatient", 6) or [0.0] * 6
        size = number(file.header, "Rows"), number(file.header, "Columns")
        pixel = np.round(pixel_spacing(file) or (0.0, 0.0), 4)
        groups.setdefault((size, *np.round(plane, 3), *pixel), []).append(file)
    files = max(groups.values(), key=len)
    left_out = len(series.files) - len(files)
    if left_out > 0.1 * len(series.files):
        raise unusable(
            series,
            "mixes slices of different orientation, size or PixelSpacing: export them separately",
        )
    notes = (
        [f"{left_out} files of another orientation, size or PixelSpacing were left out."]
        if left_out
        else []
    )
    return files, notes


def _without_repeats(
    series: Series, files: Sequence[DicomFile], depth: FloatArray, order: NDArray[np.intp]
) -> tuple[NDArray[np.intp], int]:
    """Drop copies of the same image; refuse several images at one position."""
    kept = [order[0]]
    for current in order[1:]:
        if depth[current] - depth[kept[-1]] > SAME_POSITION_MM:
            kept.append(current)
            continue
        ids = {str(value(files[n].header, "SOPInstanceUID")) for n in (kept[-1], current)}
        if len(ids) > 1 or "None" in ids:
            raise unusable(
                series,
                "has several images at the same position (phases, repeated scans): "
                "export one of them",
            )
    return np.array(kept), len(order) - len(kept)


def even_line(
    series: Series, points: FloatArray, depth: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Position of the first slice and vector from slice to slice, mm.

    Parameters
    ----------
    series
        For the sentence of an error.
    points
        Positions of the slices, LPS mm, shape ``(slices, 3)``, in their order.
    depth
        The same along the normal, mm.

    Raises
    ------
    InputError
        If slices are missing or unevenly spaced.
    """
    if len(depth) < 2:
        raise unusable(series, "has a single slice")
    gaps = np.diff(depth)
    usual = float(np.median(gaps))
    wide = np.flatnonzero(gaps > 1.5 * usual)
    if wide.size:
        missing = int(np.rint(gaps[wide] / usual - 1).sum())
        raise unusable(
            series,
            f"lacks {missing} slices (ImagePositionPatient: first gap between "
            f"{depth[wide[0]]:.1f} and {depth[wide[0] + 1]:.1f} mm): export the complete series",
        )
    first, step = points[0], (points[-1] - points[0]) / (len(points) - 1)
    if _scatter(points, first, step) > _ROUNDING_MM:
        # Rounded positions scatter about the line, so that its ends say less than all of them.
        count = np.arange(len(points), dtype=float)
        step, first = np.polynomial.polynomial.polyfit(count, points, 1)[::-1]
    scatter = _scatter(points, first, step)
    if scatter > max(_JITTER * usual, _ROUNDING_MM) + 1e-6:
        raise unusable(
            series,
            f"has unevenly spaced slices (ImagePositionPatient up to {scatter:.2f} mm off): export "
            "it again with even spacing",
        )
    return first, step


def _scatter(points: FloatArray, first: FloatArray, step: FloatArray) -> float:
    """Largest distance of the slices from even spacing, mm."""
    line = first + np.arange(len(points))[:, np.newaxis] * step
    return float(np.abs(points - line).max())


def slice_thickness(file: DicomFile) -> float | None:
    """SliceThickness in mm, None when it is absent or not positive."""
    thickness = number(file.header, "SliceThickness")
    return thickness if thickness is not None and thickness > 0 else None


def unusable(series: Series, problem: str) -> InputError:
    """The error that a series cannot be read, for a reason."""
    return InputError(f"{series.first.path.parent}: {series.describe(written=True)} {problem}.")
