"""Images whose axes are those of the patient, for programs that expect them."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.geometry import grid_of, image_from_array

_LARGEST_TILT = np.sin(np.radians(2.0))


def is_upright(image: sitk.Image) -> bool:
    """Whether the axes are at right angles and within 2° of the patient's, in any order."""
    direction = np.abs(np.reshape(image.GetDirection(), (3, 3)))
    signed = np.reshape(image.GetDirection(), (3, 3))
    orthogonal = np.allclose(signed.T @ signed, np.eye(3), atol=1e-4)
    aside = np.sort(direction, axis=0)[:2]
    return bool(orthogonal and aside.max() <= _LARGEST_TILT)


def upright(image: sitk.Image, outside: float = 0.0) -> sitk.Image:
    """The image on the smallest grid with the patient's axes (LPS) that covers it.

    Linear interpolation. Every axis takes the voxel size of the image's axis that is nearest to
    it; ``outside`` fills what the image does not cover.
    """
    grid = grid_of(image)
    share = np.abs(np.reshape(image.GetDirection(), (3, 3)))
    spacing = grid.spacing_mm[np.argmax(share, axis=1)]
    corners = grid.corners_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.maximum(1, np.ceil((high - low) / spacing - 1e-6)).astype(int)
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = (low + high) / 2 - spacing * (size - 1) / 2
    reference = image_from_array(np.zeros(size[::-1], dtype=np.uint8), matrix)
    return sitk.Resample(
        image, reference, sitk.Transform(), sitk.sitkLinear, outside, image.GetPixelID()
    )
