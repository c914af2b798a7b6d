"""How photons leave the body: attenuation from a CT, and views of it with and without.

Views are parallel, in the planes of the SPECT's first two axes (the camera turns around the third),
on blocks of SPECT voxels of about a centimetre. Opposite views are taken as their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage, sparse

from CTSpectSpineLib.geometry import euler_transform, inverse
from CTSpectSpineLib.model import BoolArray, FloatArray

WATER_PER_MM = 0.0154
"""Attenuation of water for the photons of Tc-99m, 140 keV, per mm, where none is scattered into the
view. Measured: NIST XCOM."""
DENSER = 0.75
"""Attenuation that a HU above water's adds, relative to one below. Measured: Blankespoor et al.,
IEEE Trans Nucl Sci 1996;43:2263; calcium absorbs more near 70 keV, where HU are measured."""
BLOCK_MM = 9.0
"""Voxels of the computation. Numerical: what a view loses varies over centimetres."""
VIEWS = 30
"""Views over half a turn. Numerical: 6 degrees apart, a block at the rim of a trunk."""
_AIR_HU, _TISSUE_HU, _EMPTY_HU, _NO_HU = -1000.0, -500.0, -950.0, -1500.0
"""Air; what is certainly body; what certainly is not (lungs are denser); below the last, nothing
was imaged. Convention."""
_NEAR_BLOCKS = 2
"""Blocks around the body, where the CT shows air, in which uptake may be blur. Judgement: 2 cm."""
_OUTSIDE_SHARE = 0.4
"""Uptake of the body beyond the CT's field, relative to the median in the body. Judgement: fat and
arms take up less than muscle."""

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Paths:
    """A body on blocks of SPECT voxels.

    Attributes
    ----------
    grid
        Image whose voxels are the blocks.
    spect
        The SPECT's means in them, indexed ``[k, j, i]``.
    per_mm
        Attenuation, per mm, likewise.
    body
        Which of them the CT shows as body.
    """

    grid: sitk.Image
    spect: Values
    per_mm: Values
    body: BoolArray

    @cached_property
    def leaving(self) -> tuple[Values, ...]:
        """Share of photons that leave the body in each view, shape (j · i, k) in the square."""
        attenuation, step = self.squared(self.per_mm), float(self.grid.GetSpacing()[0])
        found = []
        for angle in self._angles():
            along = _turned(attenuation, angle)
            passed = np.cumsum(along, axis=1)
            ahead = (passed - 0.5 * along) * step
            behind = passed[:, -1:] * step - ahead
            share = 0.5 * (np.exp(-ahead) + np.exp(-behind))
            found.append(columns(_turned(share.astype(np.float32), -angle)))
        return tuple(found)

    @cached_property
    def views(self) -> tuple[sparse.csr_matrix, ...]:
        """Sums along each view's lines, shape (bins, j · i) in the square."""
        n = self.edge
        middle = 0.5 * (n - 1)
        j, i = np.indices((n, n)).reshape(2, -1) - middle
        found = []
        for angle in np.radians(self._angles()):
            at = i * np.cos(angle) + j * np.sin(angle) + middle
            bins = np.floor(at).astype(int)
            right = at - bins
            seen = np.flatnonzero((bins >= 0) & (bins < n - 1))
            weights = np.concatenate([1.0 - right[seen], right[seen]])
            rows = np.concatenate([bins[seen], bins[seen] + 1])
            shape = (n, n * n)
            both = (weights.astype(np.float32), (rows, np.tile(seen, 2)))
            found.append(sparse.csr_matrix(both, shape=shape))
        return tuple(found)

    @property
    def edge(self) -> int:
        """Blocks along the square that holds a plane."""
        _, rows, width = self.spect.shape
        return int(max(rows, width))

    def squared(self, values: Values) -> Values:
        """Planes in the middle of squares."""
        rest = [self.edge - n for n in values.shape[1:]]
        return np.pad(values, [(0, 0), *((r // 2, r - r // 2) for r in rest)])

    def planes(self, flat: Values) -> Values:
        """Columns of shape (j · i, k) in the square as planes ``[k, j, i]``."""
        squares = flat.T.reshape(-1, self.edge, self.edge)
        (_, rows, width), n = self.spect.shape, self.edge
        above, before = (n - rows) // 2, (n - width) // 2
        return np.ascontiguousarray(squares[:, above : above + rows, before : before + width])

    @staticmethod
    def _angles() -> FloatArray:
        return np.arange(VIEWS) * 180.0 / VIEWS


def photon_paths(spect: sitk.Image, ct: sitk.Image, ct_to_spect: FloatArray) -> Paths:
    """The body of a CT on blocks of a SPECT's voxels.

    Where the CT ends, the body goes on as far as the SPECT shows uptake.

    Parameters
    ----------
    spect, ct
        The images.
    ct_to_spect
        4×4 matrix from CT to SPECT points, LPS mm.
    """
    blocks = [max(1, round(BLOCK_MM / step)) for step in spect.GetSpacing()]
    rest = [-size % block for size, block in zip(spect.GetSize(), blocks, strict=True)]
    whole = sitk.ConstantPad(sitk.Cast(spect, sitk.sitkFloat32), [0, 0, 0], rest, 0.0)
    grid = sitk.BinShrink(whole, blocks)
    finer = [max(1, int(0.5 * BLOCK_MM / step)) for step in ct.GetSpacing()]
    sampler = sitk.ResampleImageFilter()
    sampler.SetReferenceImage(grid)
    sampler.SetTransform(euler_transform(inverse(ct_to_spect)))
    sampler.SetDefaultPixelValue(2.0 * _NO_HU)
    sampler.SetOutputPixelType(sitk.sitkFloat32)
    hu = sitk.GetArrayFromImage(sampler.Execute(sitk.BinShrink(ct, finer)))
    unknown = hu < _NO_HU
    hu = np.maximum(hu, np.float32(_AIR_HU))
    values = np.maximum(sitk.GetArrayFromImage(grid), np.float32(0.0))
    body = np.stack([ndimage.binary_fill_holes(plane) for plane in hu > _TISSUE_HU])
    if body.any():
        level = _OUTSIDE_SHARE * float(np.median(values[body]))
        near = ndimage.binary_dilation(body, iterations=_NEAR_BLOCKS)
        hu[(values > level) & (unknown | (~near & (hu < _EMPTY_HU)))] = 0.0
    slope = np.where(hu > 0.0, np.float32(DENSER), np.float32(1.0))
    per_mm = np.float32(WATER_PER_MM) * (1.0 + slope * hu / np.float32(1000.0))
    return Paths(grid, values, per_mm.astype(np.float32), body)


def columns(planes: Values) -> Values:
    """Planes ``[k, j, i]`` as columns, shape (j · i, k)."""
    return np.ascontiguousarray(planes.reshape(len(planes), -1).T)


def _turned(planes: Values, degrees: float) -> Values:
    turned: Values = ndimage.rotate(planes, degrees, axes=(1, 2), reshape=False, order=1)
    return turned
