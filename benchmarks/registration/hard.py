"""Images that scanners deliver and simple phantoms do not: organs, arms, contrast, other tracers.

Activities are changed before the scanner sees them; missing attenuation correction and scatter are
made with the activity.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from benchmarks.registration.patients import Patient
from CTSpectSpineLib.geometry import grid_of, image_centre_mm
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.model import Tissue
from CTSpectSpineLib.phantom.pattern import BONE
from CTSpectSpineLib.phantom.scanner.attenuation import attenuated

SCATTERED, SCATTER_MM = 0.25, 90.0
"""Share and width (FWHM) of scattered counts where nothing corrects them. Judgement: a scatter
fraction of 0.2 to 0.4 in the trunk at 140 keV, spread over several centimetres."""
ORGANS = {Tissue.BLADDER: (8.0, 40.0), Tissue.KIDNEY: (6.0, 12.0)}
"""Activity of hot organs relative to bone. Judgement: a full bladder, kidneys that are held up."""


def _of(image: sitk.Image, values: np.ndarray) -> sitk.Image:
    result = sitk.GetImageFromArray(values.astype(np.float32))
    result.CopyInformation(image)
    return result


def with_hot(patient: Patient, tissue: Tissue, rng: np.random.Generator) -> sitk.Image:
    """The activity with one organ as hot as it gets."""
    values = sitk.GetArrayFromImage(patient.activity)
    values[sitk.GetArrayViewFromImage(patient.anatomy.tissue) == tissue] = rng.uniform(
        *ORGANS[tissue]
    )
    return _of(patient.activity, values)


def with_arms(patient: Patient, rng: np.random.Generator, spot: bool) -> sitk.Image:
    """The activity on a wider field with arms beside the trunk, one with an injection site."""
    activity = patient.activity
    add = [int(np.ceil(130.0 / activity.GetSpacing()[0])), 0, 0]
    wide = sitk.ConstantPad(activity, add, add, 0.0)
    values = sitk.GetArrayFromImage(wide)
    matrix = grid_of(wide).ijk_to_lps
    k, j, i = np.indices(values.shape, sparse=True)
    x, y, z = (
        matrix[a, 0] * i + matrix[a, 1] * j + matrix[a, 2] * k + matrix[a, 3] for a in range(3)
    )
    corners = grid_of(activity).corners_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle = 0.5 * (low[1] + high[1])
    for side in (low[0] - 50.0, high[0] + 50.0):
        away = np.hypot(x - side, y - middle)
        values[np.broadcast_to((away < 42.0), values.shape)] = 0.12
        values[np.broadcast_to((away < 11.0), values.shape)] = rng.uniform(0.4, 0.9)
    if spot:
        height = rng.uniform(low[2] + 0.2 * (high[2] - low[2]), high[2] - 20.0)
        ball = np.sqrt((x - high[0] - 50.0) ** 2 + (y - middle) ** 2 + (z - height) ** 2)
        values[ball < 12.0] = rng.uniform(30.0, 150.0)
    return _of(wide, values)


def uncorrected(activity: sitk.Image, ct: sitk.Image) -> sitk.Image:
    """As a camera without CT shows it: weakened by depth, with scatter left in."""
    weak = attenuated(activity, ct)
    small = sitk.BinShrink(weak, [4, 4, 4])
    wide = sitk.SmoothingRecursiveGaussian(small, SCATTER_MM / 2.3548)
    return sitk.Add(weak, sitk.Multiply(sitk.Resample(wide, weak), SCATTERED))


def contrast_chest(patient: Patient, rng: np.random.Generator) -> sitk.Image:
    """CT in the arterial phase: heart and aorta as bright as cortical bone, kidneys less."""
    hu = sitk.GetArrayFromImage(patient.anatomy.ct)
    tissue = sitk.GetArrayViewFromImage(patient.anatomy.tissue)
    for part, low, high in (
        (Tissue.BLOOD, 180, 380),
        (Tissue.KIDNEY, 60, 200),
        (Tissue.LIVER, 10, 60),
    ):
        hu[tissue == part] += np.int16(rng.uniform(low, high))
    return _same(patient.anatomy.ct, hu)


def _same(image: sitk.Image, values: np.ndarray) -> sitk.Image:
    result = sitk.GetImageFromArray(values)
    result.CopyInformation(image)
    return result


def attenuation_map(ct: sitk.Image, matrix: FloatArray, like: sitk.Image) -> sitk.Image:
    """An attenuation map in the SPECT's frame, as some cameras store it with the SPECT."""
    hu = sitk.Cast(ct, sitk.sitkFloat32)
    mu = sitk.Clamp(sitk.Add(sitk.Multiply(hu, 0.00015), 0.15), sitk.sitkFloat32, 0.0, 0.4)
    blurred = sitk.SmoothingRecursiveGaussian(mu, 3.0)
    move = sitk.AffineTransform(3)
    back = np.linalg.inv(matrix)
    move.SetMatrix(back[:3, :3].ravel().tolist())
    move.SetTranslation(back[:3, 3].tolist())
    return sitk.Resample(blurred, like, move, sitk.sitkLinear, 0.0)


def other_tracer(patient: Patient, rng: np.random.Generator) -> sitk.Image:
    """A tracer of the prostate: kidneys, bladder, liver, bowel and blood, hardly bone."""
    tissue = sitk.GetArrayViewFromImage(patient.anatomy.tissue)
    table = np.zeros(max(Tissue) + 1, dtype=np.float32)
    low = {Tissue.MUSCLE: 0.15, Tissue.FAT: 0.05, Tissue.LUNG: 0.08, Tissue.BLOOD: 0.4}
    low |= dict.fromkeys(BONE, float(rng.uniform(0.12, 0.25)))
    low |= {Tissue.LIVER: 1.5, Tissue.KIDNEY: 12.0, Tissue.BLADDER: 10.0, Tissue.CARTILAGE: 0.1}
    for code, value in low.items():
        table[code] = value
    return _of(patient.anatomy.ct, table[tissue])


def scaled(image: sitk.Image, factor: float) -> sitk.Image:
    """The image of a patient larger or smaller by a factor."""
    result = sitk.Image(image)
    result.SetSpacing([s * factor for s in image.GetSpacing()])
    shift = image_centre_mm(image) - image_centre_mm(result)
    result.SetOrigin((np.array(image.GetOrigin()) + shift).tolist())
    return result
