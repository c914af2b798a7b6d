"""Where the spheres of a phantom are: the layout's pattern looked for in the SPECT."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import fft
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.calibration.blurred_sphere import blurred_sphere
from CTSpectSpineLib.calibration.layouts import Layout
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.response import Response

_GRID_MM = 6.0
"""Grid of the search. Numerical: half of the resolution that it assumes."""
_SEARCH_FWHM_MM = 12.0
"""Resolution that the search assumes. Judgement: the middle of bone SPECT's; the fit finds the
real one."""
_ANGLE_STEP_DEG = 10.0
"""Steps of the turn in the plane. Numerical: at most 5 mm off at the spheres, half of the
resolution."""
_REACH_MM = 30.0
"""Reach of the pattern beyond the circle. Judgement: the largest sphere and its blur."""
_LEAST_MATCH = 0.5
"""Least correlation with the pattern. Measured on simulated phantoms: 0.8 and more where the
spheres are, below 0.4 on patients."""


@dataclass(frozen=True)
class Pose:
    """Place of a layout.

    Attributes
    ----------
    centre_mm
        The circle's centre, LPS.
    turn
        Rotation from the layout's frame to LPS, 3×3 (with a reflection where the order runs the
        other way).
    match
        Correlation of the SPECT with the pattern, 0 to 1.
    """

    centre_mm: FloatArray
    turn: FloatArray
    match: float


def find_spheres(spect: sitk.Image, layout: Layout, name: str) -> Pose:
    """Find the spheres.

    Parameters
    ----------
    spect
        SPECT of the phantom, its spheres hotter than what surrounds them.
    layout
        How the phantom is built.
    name
        Of the file, for errors.

    Raises
    ------
    InputError
        If the pattern is not there.
    """
    array, matrix = _resampled(spect)
    best: Pose | None = None
    for axis in (2, 1, 0):
        found = _along(array, matrix, layout, axis)
        if best is None or found.match > best.match:
            best = found
        if best.match > 0.8:
            break
    assert best is not None, "three directions were tried"
    if best.match < _LEAST_MATCH:
        raise InputError(
            f"The spheres of a {layout.title} were not found in '{name}' (the pattern matches to "
            f"{best.match:.0%}, at least {_LEAST_MATCH:.0%} is needed): give a SPECT of this "
            "phantom with hot spheres, or name another with --layout."
        )
    return best


def _resampled(spect: sitk.Image) -> tuple[FloatArray, FloatArray]:
    """The SPECT on an upright grid, ``[k, j, i]``, and its index-to-LPS matrix."""
    size, matrix = np.array(spect.GetSize()), ijk_to_lps(spect)
    corners = np.array(np.meshgrid(*[[0, n - 1] for n in size])).reshape(3, -1).T
    at = corners @ matrix[:3, :3].T + matrix[:3, 3]
    low, high = at.min(axis=0), at.max(axis=0)
    shape = np.ceil((high - low) / _GRID_MM).astype(int) + 1
    grid = sitk.Resample(
        sitk.Cast(spect, sitk.sitkFloat32),
        [int(n) for n in shape],
        sitk.Transform(),
        sitk.sitkLinear,
        low.tolist(),
        [_GRID_MM] * 3,
        np.eye(3).ravel().tolist(),
        0.0,
    )
    return sitk.GetArrayFromImage(grid), ijk_to_lps(grid)


def _along(array: FloatArray, matrix: FloatArray, layout: Layout, axis: int) -> Pose:
    """Best pose with the circle's plane across an axis (0 x, 1 y, 2 z)."""
    upright = np.roll(np.eye(3), axis - 2, axis=0)
    reach = 0.5 * layout.circle_mm + _REACH_MM
    nodes = int(2 * np.ceil(reach / _GRID_MM) + 1)
    away = (np.arange(nodes) - nodes // 2) * _GRID_MM
    z, y, x = np.meshgrid(away, away, away, indexing="ij")
    points = np.stack([x, y, z], axis=-1)
    shape = tuple(fft.next_fast_len(n + nodes) for n in array.shape)
    seen = fft.rfftn(array, shape)
    best = Pose(np.zeros(3), np.eye(3), -1.0)
    for flip in (1.0, -1.0):
        for angle in np.arange(0.0, 360.0, _ANGLE_STEP_DEG):
            turn = upright @ Rotation.from_euler("z", angle, degrees=True).as_matrix()
            turn = turn @ np.diag([1.0, flip, 1.0])
            pattern, near = _pattern(points, layout, turn)
            at = _where(array, seen, pattern, near, shape)
            match = _match(array, pattern, near, at)
            if match > best.match:
                centre = matrix[:3, :3] @ np.array(at[::-1], dtype=float) + matrix[:3, 3]
                best = Pose(centre, turn, match)
    return best


def _pattern(
    points: FloatArray, layout: Layout, turn: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The layout on a grid about its middle, and where it is compared."""
    response = Response(_SEARCH_FWHM_MM)
    pattern = np.zeros(points.shape[:3])
    near = np.zeros(points.shape[:3], dtype=bool)
    for centre, diameter in zip(layout.centres_mm() @ turn.T, layout.diameters_mm, strict=True):
        distance = np.linalg.norm(points - centre, axis=-1)
        pattern += blurred_sphere(distance, 0.5 * diameter, response, np.full(3, _GRID_MM))
        near[distance < 0.5 * diameter + _SEARCH_FWHM_MM] = True
    return pattern, near


def _where(
    array: FloatArray,
    seen: NDArray[np.complex128],
    pattern: FloatArray,
    near: NDArray[np.bool_],
    shape: tuple[int, ...],
) -> tuple[int, ...]:
    """Node on which the pattern's middle fits best."""
    kernel = np.where(near, pattern - pattern[near].mean(), 0.0).astype(np.float32)
    moved = fft.irfftn(seen * np.conj(fft.rfftn(kernel, shape)), shape)
    middle = tuple(n // 2 for n in near.shape)
    score = np.roll(moved, middle, axis=(0, 1, 2))[tuple(slice(0, n) for n in array.shape)]
    return tuple(int(n) for n in np.unravel_index(int(np.argmax(score)), score.shape))


def _match(
    array: FloatArray, pattern: FloatArray, near: NDArray[np.bool_], at: tuple[int, ...]
) -> float:
    """Correlation of the SPECT with the pattern around a node; 0 where it does not lie inside."""
    nodes = np.argwhere(near) - np.array(near.shape) // 2 + np.array(at)
    if not np.all((nodes >= 0) & (nodes < array.shape)):
        return 0.0
    values = array[tuple(nodes.T)]
    if values.std() <= 0.0:
        return 0.0
    return float(np.corrcoef(values, pattern[near])[0, 1])
