"""A CT and a SPECT with a known transform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.geometry import (
    apply_matrix,
    ijk_to_lps,
    image_centre_mm,
    image_from_array,
    transform_matrix,
)
from CTSpectSpineLib.model import FloatArray

SPACING = 3.0


SHAPE = (76, 60, 76)


FWHM_TO_SIGMA = 1 / 2.3548


@dataclass(frozen=True)
class Pair:
    ct: sitk.Image
    spect: sitk.Image
    truth: sitk.Euler3DTransform
    joints: FloatArray

    def errors(self, transform: sitk.Transform) -> FloatArray:
        """Distance at the joints between a transform and the truth, mm."""
        found = apply_matrix(transform_matrix(transform), self.joints)
        errors: FloatArray = np.linalg.norm(
            found - apply_matrix(transform_matrix(self.truth), self.joints), axis=1
        )
        return errors


def _patient(seed: int, pitch: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """HU, activity and joint centres (index k, j, i) of a rough trunk with a spine.

    `pitch` is the distance of the vertebrae in mm.

    It is not symmetric, as patients are not: a curved column, ribs of different height and
    iliac wings of different size.
    """
    rng = np.random.default_rng(seed)
    k, j, i = np.indices(SHAPE).astype(float)
    k, j, i = k * SPACING, j * SPACING, i * SPACING
    hu = np.full(SHAPE, -1000.0)
    hu[((i - 112) / 105) ** 2 + ((j - 90) / 80) ** 2 < 1] = -90.0
    hu[((i - 112) / 95) ** 2 + ((j - 90) / 70) ** 2 < 1] = 40.0
    bone = np.zeros(SHAPE, bool)
    joints = []
    for level in range(7):
        z = 20 + pitch * level + rng.normal(0, 1.5)
        x = 112 + 6 * np.sin(level / 2.0 + seed)
        y = 115 + 10 * np.cos(level / 1.7)
        body = (((i - x) / 23) ** 2 + ((j - y) / 17) ** 2 < 1) & (np.abs(k - z) < 12)
        spinous = (np.abs(i - x) < 4) & (np.abs(j - y - 36) < 14) & (np.abs(k - z + 6) < 8)
        wings = (np.abs(i - x - 2) < 36) & (np.abs(j - y - 20) < 5) & (np.abs(k - z) < 5)
        facets = (np.abs(np.abs(i - x) - 16) < 7) & (np.abs(j - y - 24) < 6)
        bone |= body | spinous | wings | (facets & (np.abs(k - z + 16) < 7))
        joints.append([z + 16, y, x])
        joints.append([z + 16, y + 24, x + 16])
    for side, height in ((-1, 60.0), (1, 72.0)):
        rib = np.abs(np.hypot((i - 112) / 88, (j - 90) / 62) - 1) < 0.05
        for n in range(3):
            slope = height + 45 * n + 0.25 * (j - 90)
            bone |= rib & (np.abs(k - slope) < 5) & (side * (i - 112) > 25)
    wing = ((i - 60) / 30) ** 2 + ((j - 110) / 25) ** 2 + ((k - 12) / 26) ** 2
    bone |= (wing < 1) & (wing > 0.6)
    hu[bone] = 350.0
    hu += rng.normal(0, 15, SHAPE)
    activity = np.where(bone, 1.0, np.where(hu > -300, 0.12, 0.0))
    hot = np.array(joints[5])
    activity[(k - hot[0]) ** 2 + (j - hot[1]) ** 2 + (i - hot[2]) ** 2 < 9**2] = 4.0
    activity *= np.exp(0.1 * np.sin(i / 40) * np.cos(k / 50))
    return hu, activity, np.array(joints) / SPACING


def make_pair(
    seed: int,
    translation: tuple[float, float, float] = (12.0, -8.0, 15.0),
    rotation: tuple[float, float, float] = (6.0, -3.0, 4.0),
    pitch: float = 32.0,
) -> Pair:
    """CT and SPECT (10 mm, 4.42 mm voxels, counting noise) with a known transform."""
    hu, activity, joints = _patient(seed, pitch)
    grid = np.diag([-SPACING, -SPACING, SPACING, 1.0])
    grid[:3, 3] = (110, 80, -300)
    ct = image_from_array(hu.astype(np.int16), grid)
    truth = sitk.Euler3DTransform()
    truth.SetCenter(image_centre_mm(ct).tolist())
    truth.SetRotation(*np.deg2rad(rotation).tolist())
    truth.SetTranslation(translation)
    blurred = ndimage.gaussian_filter(activity, 10 * FWHM_TO_SIGMA / SPACING)
    source = image_from_array(blurred.astype(np.float32), grid)
    target = sitk.Image([60, 50, 60], sitk.sitkFloat32)
    target.SetSpacing([4.42] * 3)
    half = 4.42 * (np.array([60, 50, 60]) - 1) / 2
    target.SetOrigin((image_centre_mm(ct) - half).tolist())
    clean = sitk.GetArrayFromImage(
        sitk.Resample(source, target, truth.GetInverse(), sitk.sitkLinear, 0.0)
    )
    rng = np.random.default_rng(seed + 1000)
    noisy = ndimage.gaussian_filter(rng.poisson(clean * 30.0) * 10.0, 0.6)
    spect = sitk.GetImageFromArray(noisy.astype(np.float32))
    spect.CopyInformation(target)
    points = apply_matrix(ijk_to_lps(ct), joints[:, ::-1])
    return Pair(ct, spect, truth, points)


def with_values(image: sitk.Image, values: np.ndarray) -> sitk.Image:
    result = sitk.GetImageFromArray(np.ascontiguousarray(values))
    result.CopyInformation(image)
    return result
