"""Cylinders, balls and cameras that the tests of the physical scanner share."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.geometry import affine, image_from_array
from CTSpectSpineLib.phantom.scanner.projections.subject import Subject


def centred(array: np.ndarray, spacing: float) -> sitk.Image:
    """Image of an array ``[k, j, i]`` whose centre is the origin of LPS."""
    size = np.array(array.shape[::-1])
    return image_from_array(array, affine(spacing * np.eye(3), -0.5 * spacing * (size - 1)))


def coordinates(shape: tuple[int, int, int], spacing: float) -> tuple[np.ndarray, ...]:
    """x, y, z in mm of the voxels of `centred`."""
    k, j, i = ((np.arange(n) - 0.5 * (n - 1)) * spacing for n in shape)
    return np.meshgrid(k, j, i, indexing="ij")[::-1]


def cylinder(
    radius_mm: float = 60.0,
    height_mm: float = 90.0,
    spacing: float = 3.0,
    *,
    source_mm: float = 1e9,
) -> Subject:
    """A cylinder of water along z with activity within a distance from its axis."""
    side = int(2 * radius_mm / spacing) + 6
    shape = (int(height_mm / spacing), side, side)
    x, y, _ = coordinates(shape, spacing)
    radius = np.hypot(x, y)
    hu = np.where(radius <= radius_mm, 0, -1000).astype(np.int16)
    activity = ((radius <= radius_mm) & (radius <= source_mm)).astype(np.float32)
    return Subject(centred(hu, spacing), centred(activity, spacing), np.eye(4))
