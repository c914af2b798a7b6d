"""Activity and attenuation of a patient as the camera meets them: moved, on square planes.

Volumes of the scanner are float32 arrays ``[y, x, z]`` with axes along LPS. The camera turns about
the z axis through the centre of the planes, which is that of the CT's box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.geometry import Grid, affine, euler_transform, ijk_to_lps, inverse
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.scanner.attenuation import relative_to_water
from CTSpectSpineLib.phantom.scanner.projections.projector import Volume

WATER_PER_MM = 0.0154
"""Attenuation of water at 140 keV, narrow beam, per mm. NIST XCOM, 2010: 0.154 per cm."""
_CONTINUED_MM = 60.0
"""How far the patient goes on beyond the CT's upper and lower face. Judgement: a movement of 25 mm
and three times a point spread of 12 mm."""
TRUNK_MM = (340.0, 240.0)
"""Breadth and depth to which a body goes on that the CT cuts at its sides, front or back.
Judgement: an adult's trunk, as in `attenuation`."""
_CUT_SHARE = 0.1
"""Share of tissue in a face of the CT above which it cuts the body. Judgement, as in `attenuation`:
more than a table or a fold of skin."""
_TISSUE_HU = -400.0
"""HU above which a voxel is tissue. Judgement: between lung (about -850) and fat (-100)."""
_AIR_HU, _SOFT_HU = -1000.0, 60.0
"""HU of air (by definition), and most of what lies beyond the CT's sides (muscle, a judgement)."""
_SOFT_ACTIVITY = 0.12
"""Most activity beyond the CT's sides. By definition: muscle in ``activity.json``."""
_SMOOTHING = 0.45
"""Standard deviation, in voxels of the scanner, of the smoothing before voxels are sampled.
Numerical: enough against aliasing; the collimator's blur makes up for it."""


@dataclass(frozen=True)
class Frame:
    """The scanner's voxels.

    Attributes
    ----------
    centre_mm
        Centre of the volume, LPS mm; the camera's axis goes through it.
    voxel_mm
        Edge of the voxels.
    shape
        (n, n, planes).
    """

    centre_mm: tuple[float, float, float]
    voxel_mm: float
    shape: tuple[int, int, int]

    @property
    def grid(self) -> Grid:
        """As a grid of images."""
        size = (self.shape[1], self.shape[0], self.shape[2])
        origin = np.array(self.centre_mm) - 0.5 * self.voxel_mm * (np.array(size) - 1)
        return Grid(size, affine(self.voxel_mm * np.eye(3), origin))

    def finer(self, factor: int) -> Frame:
        """The same box in voxels that are smaller by a whole factor."""
        n, _, planes = self.shape
        shape = (n * factor, n * factor, planes * factor)
        return Frame(self.centre_mm, self.voxel_mm / factor, shape)


@dataclass(frozen=True)
class Patch:
    """An image made ready for sampling: in voxels of the scanner's size, continued beyond its box.

    Attributes
    ----------
    image
        float32 image.
    outside
        Value beyond it.
    done_mm2
        Variance along x and y (mean) and along z of all that blurs between the image's own voxels
        and values that `sampled` finds.
    """

    image: sitk.Image
    outside: float
    done_mm2: tuple[float, float]


def cut_faces_mm(ct: sitk.Image) -> FloatArray:
    """How far the body goes on beyond the CT's faces along its i, j, k axes, shape (3, 2), mm."""
    spacing = np.array(ct.GetSpacing())
    tissue = sitk.GetArrayViewFromImage(ct) > _TISSUE_HU
    axes = np.abs(ijk_to_lps(ct)[:3, :3] / spacing)
    reach = np.full((3, 2), _CONTINUED_MM)
    for lps, typical in enumerate(TRUNK_MM):
        axis = int(axes[lps].argmax())
        share = tissue.mean(axis=tuple(a for a in range(3) if a != 2 - axis))
        cut = share[[0, -1]] >= _CUT_SHARE
        body = np.count_nonzero(share >= _CUT_SHARE) * spacing[axis]
        reach[axis] = cut * max(typical - body, 0.0) / max(cut.sum(), 1)
    return reach


def activity_patch(activity: sitk.Image, faces_mm: FloatArray, voxel_mm: float) -> Patch:
    """An activity, ready for sampling.

    Parameters
    ----------
    activity
        On any grid.
    faces_mm
        Continuation from `cut_faces_mm`; 0 for an object that ends within its own image.
    voxel_mm
        Voxels at which it will be sampled.
    """
    whole = _with_sound_edges(sitk.Cast(activity, sitk.sitkFloat32), faces_mm)
    image, shrunk = _shrunk(whole, voxel_mm)
    image = _continued(image, faces_mm, _SOFT_ACTIVITY, 0.0)
    spacing = np.array(image.GetSpacing())
    sigma = _SMOOTHING * voxel_mm
    smooth = ndimage.gaussian_filter(
        sitk.GetArrayFromImage(image), (sigma / spacing)[::-1], mode="nearest", truncate=3.5
    )
    result = sitk.GetImageFromArray(smooth)
    result.CopyInformation(image)
    # Linear interpolation of voxels that stand for their boxes: 1/6 for it, less 1/12 for a box.
    variance = shrunk + sigma**2 + spacing**2 / 12
    along = np.abs(ijk_to_lps(image)[2, :3] / spacing)
    z = int(along.argmax())
    rest = float(np.delete(variance, z).mean())
    return Patch(result, 0.0, (rest, float(variance[z])))


def ct_patch(ct: sitk.Image, faces_mm: FloatArray, voxel_mm: float) -> Patch:
    """A CT, ready for sampling."""
    image, _ = _shrunk(
        sitk.Cast(sitk.Clamp(ct, ct.GetPixelID(), _AIR_HU, 32000.0), sitk.sitkFloat32), voxel_mm
    )
    return Patch(_continued(image, faces_mm, _SOFT_HU, _AIR_HU), _AIR_HU, (0.0, 0.0))


def attenuation_per_mm(hu: NDArray[np.generic]) -> Volume:
    """Attenuation at 140 keV, per mm, from HU: two straight lines that meet at water."""
    return np.asarray(relative_to_water(hu) * np.float32(WATER_PER_MM))


def sampled(patch: Patch, frame: Frame, ct_to_spect: FloatArray) -> Volume:
    """Values at the voxels' centres when the patient has moved, ``[y, x, z]``."""
    grid = frame.grid
    sampler = sitk.ResampleImageFilter()
    sampler.SetSize([int(n) for n in grid.size])
    sampler.SetOutputSpacing([frame.voxel_mm] * 3)
    sampler.SetOutputOrigin(grid.ijk_to_lps[:3, 3].tolist())
    sampler.SetTransform(euler_transform(inverse(ct_to_spect)))
    sampler.SetInterpolator(sitk.sitkLinear)
    sampler.SetDefaultPixelValue(patch.outside)
    values = sitk.GetArrayFromImage(sampler.Execute(patch.image))
    return np.ascontiguousarray(values.transpose(1, 2, 0))


def binned(values: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Sums of blocks of `factor` along every axis."""
    for axis in range(values.ndim):
        shape = list(values.shape)
        shape[axis : axis + 1] = [shape[axis] // factor, factor]
        values = values.reshape(shape).sum(axis=axis + 1)
    return values


def _shrunk(image: sitk.Image, voxel_mm: float) -> tuple[sitk.Image, FloatArray]:
    """Means of blocks that are at most as large as the scanner's voxels, and their variance."""
    spacing = np.array(image.GetSpacing())
    factor = np.maximum(np.floor(voxel_mm / spacing + 1e-6).astype(int), 1)
    if factor.max() > 1:
        rest = (-np.array(image.GetSize())) % factor
        whole = sitk.ZeroFluxNeumannPad(image, [0, 0, 0], rest.tolist())
        image = sitk.BinShrink(whole, factor.tolist())
    return image, (np.array(image.GetSpacing()) ** 2 - spacing**2) / 12


def _with_sound_edges(image: sitk.Image, faces_mm: FloatArray) -> sitk.Image:
    """The image with its outermost layer, where it goes on beyond it, as the one within.

    Where two faces of a real CT meet, its tissues are uncertain (`real_ct` smooths the body), and
    a whole quadrant beyond them would be as empty as that edge.
    """
    array = sitk.GetArrayFromImage(image)
    for axis in range(3):
        view = np.moveaxis(array, 2 - axis, 0)
        if len(view) > 2 and faces_mm[axis, 0] > 0:
            view[0] = view[1]
        if len(view) > 2 and faces_mm[axis, 1] > 0:
            view[-1] = view[-2]
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


def _continued(image: sitk.Image, faces_mm: FloatArray, most: float, nothing: float) -> sitk.Image:
    """The image continued beyond its faces: sideways as soft tissue, else as it is."""
    spacing = np.array(image.GetSpacing())
    count = np.ceil(faces_mm / spacing[:, None] - 1e-6).astype(int)
    low, high = count.T
    padded = sitk.ZeroFluxNeumannPad(image, low.tolist(), high.tolist())
    padded = sitk.ConstantPad(padded, [1, 1, 1], [1, 1, 1], nothing)
    array = sitk.GetArrayFromImage(padded)
    upright = int(np.abs(ijk_to_lps(image)[2, :3] / spacing).argmax())
    for axis in range(3):
        if axis == upright:
            continue
        view = np.moveaxis(array, 2 - axis, 0)
        for beyond in (view[: low[axis] + 1], view[len(view) - high[axis] - 1 :]):
            np.minimum(beyond, np.float32(most), out=beyond)
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(padded)
    return result
