"""Small rigid motions of a given size: what misregistration does."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.geometry import affine
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.sampling import SpectField


def rigid_ways(
    field: SpectField, fitted: FloatArray, centres_mm: FloatArray, error_mm: float
) -> FloatArray:
    """How the SPECT changes with one standard deviation of each rigid motion.

    Parameters
    ----------
    field
        The SPECT around the spine.
    fitted
        The region model's image, like ``field.array``.
    centres_mm
        Joint centres, LPS mm on the CT, shape (m, 3).
    error_mm
        Root mean square displacement at the joints by misregistration.

    Returns
    -------
    Shape (voxels, motions).
    """
    spacing = field.spacing
    at = field.index(centres_mm) * spacing
    turning, angle_sd, shift_sd = _rigid_sds(at, error_mm)
    gradient = [
        np.gradient(fitted, h, axis=2 - n) if fitted.shape[2 - n] > 1 else np.zeros_like(fitted)
        for n, h in enumerate(spacing)
    ]
    ways = [g * shift_sd for g in gradient]
    if turning:
        k, j, i = (np.arange(n) for n in fitted.shape)
        x = i[None, None, :] * spacing[0] - at[:, 0].mean()
        y = j[None, :, None] * spacing[1] - at[:, 1].mean()
        z = k[:, None, None] * spacing[2] - at[:, 2].mean()
        ways += [
            (gradient[2] * y - gradient[1] * z) * angle_sd,
            (gradient[0] * z - gradient[2] * x) * angle_sd,
            (gradient[1] * x - gradient[0] * y) * angle_sd,
        ]
    return np.stack([way.ravel() for way in ways], axis=1)


def rigid_error(centres_mm: FloatArray, error_mm: float, rng: np.random.Generator) -> FloatArray:
    """Small random rigid motion, 4×4, with given root mean square displacement at points.

    Half of the mean squared displacement comes from translation, half from rotation about the
    points' centroid; all of it from translation where the points coincide.
    """
    centroid = centres_mm.mean(axis=0)
    _, angle_sd, shift_sd = _rigid_sds(centres_mm, error_mm)
    rotation = Rotation.from_rotvec(rng.normal(0.0, 1.0, 3) * angle_sd).as_matrix()
    shift = rng.normal(0.0, 1.0, 3) * shift_sd
    return affine(rotation, centroid - rotation @ centroid + shift)


def _rigid_sds(centres_mm: FloatArray, error_mm: float) -> tuple[float, float, float]:
    """Share of rotation in the mean squared displacement; sd of angles and translations."""
    away = centres_mm - centres_mm.mean(axis=0)
    radius = float(np.sqrt(np.mean(np.sum(away**2, axis=1))))
    turning = 0.5 if radius > 1.0 else 0.0
    # E|w x r|^2 = 2 sd^2 |r|^2 for a rotation vector w with independent components.
    angle_sd = error_mm * float(np.sqrt(turning / 2.0)) / radius if turning else 0.0
    return turning, angle_sd, error_mm * float(np.sqrt((1.0 - turning) / 3.0))
