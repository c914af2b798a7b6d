"""A NEMA IEC body phantom on the physical scanner, and the calibration that it gives."""

from __future__ import annotations

from functools import cache

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.calibration import calibrate_spheres, layout
from CTSpectSpineLib.calibration_file import Calibration
from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom import load_reconstruction
from CTSpectSpineLib.phantom.scanner.projections.acquisition import project
from CTSpectSpineLib.phantom.scanner.projections.osem import reconstruct
from CTSpectSpineLib.phantom.scanner.projections.settings import load_camera
from CTSpectSpineLib.phantom.scanner.projections.subject import Subject
from CTSpectSpineLib.reconstruction import GIVEN, FamilyName, ReconstructionFacts
from CTSpectSpineLib.volumes.reading import volume_from_image

CONTRAST = 8.0
"""Activity of the spheres over that of the background. Convention: NEMA NU 2 has 4 and 8."""
COUNTS = 2e7
"""Counts of all views. Judgement: a phantom is scanned as long as is needed."""
VOXEL_MM = 4.4
"""Judgement: within the voxels of the patients."""
_STEP_MM = 2.0
_FINE = 4
"""Voxels of the phantom and their division at the spheres. Numerical."""
_HALF_MM = (147.0, 112.0, 97.0)
"""Half axes of the body. NEMA NU 2: about 300 × 230 mm inside, 194 mm long."""
_SHIFT_MM, _TURN_DEG = (3.0, -2.0, 5.0), 20.0
"""Where the spheres lie: somewhere off the grid. By definition."""


def phantom() -> tuple[sitk.Image, sitk.Image]:
    """CT in HU and activity of the phantom."""
    x, y, z = (np.arange(-half - 13.0, half + 13.1, _STEP_MM) for half in _HALF_MM)
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    across = (np.abs(xx) / _HALF_MM[0]) ** 2.5 + (np.abs(yy) / _HALF_MM[1]) ** 2.5 <= 1.0
    inside = across & (np.abs(zz) <= _HALF_MM[2])
    activity = inside.astype(np.float64)
    spheres = layout("nema-iec")
    angle = np.deg2rad(_TURN_DEG)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centres = spheres.centres_mm()
    centres[:, :2] = centres[:, :2] @ turn.T
    offsets = (np.arange(_FINE) - (_FINE - 1) / 2.0) / _FINE * _STEP_MM
    for centre, diameter in zip(centres + _SHIFT_MM, spheres.diameters_mm, strict=True):
        radius, outer = 0.5 * diameter, 0.5 * diameter + spheres.wall_mm
        away = np.sqrt((xx - centre[0]) ** 2 + (yy - centre[1]) ** 2 + (zz - centre[2]) ** 2)
        for k, j, i in np.argwhere(away < outer + 2.0 * _STEP_MM):
            fine = _distances(centre, offsets, x[i], y[j], z[k])
            hot, wall = np.mean(fine <= radius), np.mean(fine <= outer)
            activity[k, j, i] = CONTRAST * hot + 1.0 - wall
    matrix = np.diag([_STEP_MM, _STEP_MM, _STEP_MM, 1.0])
    matrix[:3, 3] = x[0], y[0], z[0]
    hu = np.where(inside, 0.0, -1000.0)
    return (
        image_from_array(hu.astype(np.float32), matrix),
        image_from_array(activity.astype(np.float32), matrix),
    )


def _distances(centre: FloatArray, offsets: FloatArray, x: float, y: float, z: float) -> FloatArray:
    """Distances of the fine places of a voxel from a centre."""
    dx, dy, dz = x + offsets - centre[0], y + offsets - centre[1], z + offsets - centre[2]
    squares = dx[None, None, :] ** 2 + dy[None, :, None] ** 2 + dz[:, None, None] ** 2
    return np.asarray(np.sqrt(squares))


@cache
def sphere_calibration(preset: str) -> Calibration:
    """Calibration of a reconstruction of the physical scanner."""
    ct, activity = phantom()
    settings = load_reconstruction(preset)
    camera = load_camera(settings.camera)
    seen = project(Subject(ct, activity, np.eye(4)), camera, VOXEL_MM, camera.views)
    spect = reconstruct(seen.counted(COUNTS, [7, 1]), settings)
    family: FamilyName = "recovery" if settings.family == "recovery" else "no-recovery"
    facts = ReconstructionFacts(family, GIVEN, preset)
    volume = volume_from_image(spect, "spect")
    found, _ = calibrate_spheres(
        volume, layout("nema-iec"), contrast=CONTRAST, reconstruction=facts
    )
    return found
