"""A phantom with spheres, made without the code under test: activity on a fine grid, filtered."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.geometry import image_from_array

DIAMETERS = (37.0, 28.0, 22.0, 17.0, 13.0, 10.0)
CIRCLE = 114.4
FINE, SPACING = 2.0, 4.0


def centres(turn_deg=25.0, mirrored=False, at=(4.0, -6.0, 3.0)):
    angles = np.deg2rad(turn_deg) + np.arange(6) * np.pi / 3.0 * (-1.0 if mirrored else 1.0)
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=1) * CIRCLE / 2.0
    return ring + np.array(at)


def activity(contrast=8.0, background=1.0, **place):
    """Spheres with walls of 1 mm in an elliptic cylinder; voxels hold fractions."""
    axis, z = np.arange(-130.0, 130.1, FINE), np.arange(-60.0, 60.1, FINE)
    zz, yy, xx = np.meshgrid(z, axis, axis, indexing="ij")
    values = np.where((xx / 125.0) ** 2 + (yy / 105.0) ** 2 <= 1.0, background, 0.0)
    for centre, diameter in zip(centres(**place), DIAMETERS, strict=True):
        away = np.linalg.norm(np.stack([xx, yy, zz], axis=-1) - centre, axis=-1)
        # Shares of a voxel by the distance of its centre from the surface.
        full = np.clip((diameter / 2.0 - away) / FINE + 0.5, 0.0, 1.0)
        wall = np.clip((diameter / 2.0 + 1.0 - away) / FINE + 0.5, 0.0, 1.0)
        values = values * (1.0 - wall) + contrast * full
    return values, (axis[0], axis[0], z[0])


def spect(contrast=8.0, fwhm=10.0, lift=0.0, noise=0.0, seed=0, background=1.0, **place):
    """The activity through g (1 + a (1 - g)), read at voxels of 4 mm."""
    values, origin = activity(contrast, background, **place)
    box = (SPACING**2 - FINE**2) / 12.0
    blurred = [
        ndimage.gaussian_filter(values, np.sqrt(n * (fwhm / 2.3548) ** 2 + box) / FINE)
        for n in (1, 2)
    ]
    step = int(SPACING / FINE)
    seen = ((1.0 + lift) * blurred[0] - lift * blurred[1])[::step, ::step, ::step]
    if noise:
        white = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(seen.shape), 1)
        seen = seen + noise * white / white.std() * np.sqrt(np.maximum(seen, 0.1))
    return _image(1000.0 * seen, origin)


def standing(image):
    """The same with the axes y and z exchanged: a phantom that stands instead of lying."""
    array = np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(1, 0, 2))
    x, y, z = image.GetOrigin()
    return _image(array, (x, z, y))


def _image(array, origin):
    matrix = np.diag([SPACING, SPACING, SPACING, 1.0])
    matrix[:3, 3] = origin
    return image_from_array(array.astype(np.float32), matrix)
