"""The SPECT's noise: its size and its correlation, from high spatial frequencies.

What the region model leaves unexplained holds noise and misfit. The misfit is smooth: a response
that is blurred over a centimetre passes next to nothing above 0.06 per mm. So the noise is read
from the residual's spectrum there and continued to lower frequencies as a Gaussian.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft, linalg, ndimage, sparse

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.sampling import SpectField
from CTSpectSpineLib.uptake.transfer import scaled_rows

_FLOOR = 0.05
"""Least expected uptake, relative to the median near bone. Numerical: the noise is scaled by its
root, which must not vanish in cold voxels."""
_BAND = (0.06, 0.105)
"""Frequencies, 1/mm, that the noise is read from. Judgement: above what a resolution of 9 mm or
more passes, below the limit of voxels of 4.8 mm."""
_BINS = 6
"""Numerical: enough for a straight line."""
_FILTER_MM = (1.0, 6.0)
"""Least and largest width (standard deviation) of the noise's filter. Judgement: post filters of 4
to 12 mm FWHM, with room on both sides."""
WEIGHT_FLOOR = 0.1
"""Least noise power, relative to its peak, by which voxels are weighted. Judgement: weights must
not lean on frequencies at which the response is hardly known."""
_REACH_MM = 30.0
"""How far a filter reaches. Numerical: five widths of the broadest."""


@dataclass(frozen=True)
class Noise:
    """Noise of a SPECT.

    Attributes
    ----------
    sd
        Standard deviation per voxel, SPECT units, like ``field.array``.
    filter_mm
        Standard deviation of the Gaussian filter that gives white noise the same correlation.
    spacing
        Voxel sizes along ``(k, j, i)``, mm.
    """

    sd: FloatArray
    filter_mm: float
    spacing: FloatArray

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """One noise field."""
        white = rng.standard_normal(self.sd.shape, dtype=np.float32)
        widths = self.filter_mm / self.spacing
        noise = ndimage.gaussian_filter(white, widths, mode="wrap", truncate=3.0)
        return noise * (self.sd / max(float(noise.std()), 1e-30))

    def correlated(self, columns: sparse.csc_matrix) -> sparse.csc_matrix:
        """Columns (images, flat) filtered by the noise's covariance."""
        sd, energy = self.sd.ravel(), self.energy()

        @cache
        def along(axis: int, size: int) -> FloatArray:
            """The filter along an axis: the noise is a product of Gaussians."""
            padded = self._padded(axis, size)
            line = fft.irfft(self._power((padded,), axis), padded)
            return np.asarray(linalg.toeplitz(line[:size]))

        def filtered(box: FloatArray) -> FloatArray:
            k, j, i = (along(axis, size) for axis, size in enumerate(box.shape))
            seen = (box.reshape(-1, len(i)) @ i).reshape(len(k), -1)
            return np.asarray(j @ (k @ seen).reshape(box.shape)) / energy

        return scaled_rows(self._by_boxes(scaled_rows(columns, sd), filtered), sd)

    def weighted(self, columns: sparse.csc_matrix) -> sparse.csc_matrix:
        """Columns filtered by the inverse of the covariance, with `WEIGHT_FLOOR`."""
        inverse = 1.0 / np.maximum(self.sd.ravel(), 1e-30)

        @cache
        def gain(*shape: int) -> FloatArray:
            return 1.0 / np.maximum(self._power(shape), WEIGHT_FLOOR)

        def filtered(box: FloatArray) -> FloatArray:
            padded = [self._padded(axis, size) for axis, size in enumerate(box.shape)]
            seen = fft.irfftn(fft.rfftn(box, padded) * gain(*padded), padded)
            return np.asarray(seen[tuple(slice(size) for size in box.shape)])

        return scaled_rows(self._by_boxes(scaled_rows(columns, inverse), filtered), inverse)

    @property
    def _reach(self) -> NDArray[np.intp]:
        """Voxels around an image that are filtered as well."""
        return np.ceil(_REACH_MM / self.spacing / 2.0).astype(int)

    def _padded(self, axis: int, size: int) -> int:
        """Voxels with room behind, so that a filter does not come round to the front."""
        return int(fft.next_fast_len(int(size + self._reach[axis])))

    def _power(self, shape: tuple[int, ...], first: int = 0) -> FloatArray:
        """Power at the frequencies of a real transform, relative to its peak; voxel variance 1.

        ``first`` is the first of the axes that the shape is of.
        """
        squares = np.zeros(())
        for axis, (n, h) in enumerate(zip(shape, self.spacing[first:], strict=False)):
            last = axis == len(shape) - 1
            line = fft.rfftfreq(n, h) if last else fft.fftfreq(n, h)
            squares = np.add.outer(squares, line**2)
        return np.asarray(np.exp(-4.0 * np.square(np.pi * self.filter_mm) * squares))

    def energy(self) -> float:
        """Mean of the power over all frequencies: the variance that the filter leaves."""
        shape = tuple(int(np.ceil(4.0 * _REACH_MM / h)) for h in self.spacing)
        full = self._power((*shape[:2], shape[2]))
        weights = np.ones(full.shape[2])
        weights[1 : (shape[2] + 1) // 2] = 2.0
        return float(np.sum(full * weights) / np.prod(shape))

    def _by_boxes(
        self, columns: sparse.csc_matrix, filtered: Callable[[FloatArray], FloatArray]
    ) -> sparse.csc_matrix:
        """Each column filtered in a box of its own."""
        shape, reach = np.array(self.sd.shape), self._reach
        voxels = np.arange(self.sd.size, dtype=np.int32).reshape(self.sd.shape)
        data, rows, lengths = [], [], [0]
        for number in range(columns.shape[1]):
            begin, end = columns.indptr[number : number + 2]
            flat, values = columns.indices[begin:end], columns.data[begin:end]
            if not len(flat):
                lengths.append(0)
                continue
            at = np.stack(np.unravel_index(flat, self.sd.shape))
            low = np.maximum(at.min(axis=1) - reach, 0)
            high = np.minimum(at.max(axis=1) + reach + 1, shape)
            box = np.zeros(high - low)
            box[tuple(at - low[:, None])] = values
            seen = filtered(box).ravel()
            size = np.abs(seen)
            kept = np.flatnonzero(size > 1e-4 * size.max())
            place = tuple(slice(*ends) for ends in zip(low, high, strict=True))
            rows.append(voxels[place].ravel()[kept])
            data.append(seen[kept])
            lengths.append(len(kept))
        return sparse.csc_matrix(
            (np.concatenate(data), np.concatenate(rows), np.cumsum(lengths, dtype=np.int32)),
            shape=columns.shape,
        )


def estimate_noise(field: SpectField, fitted: FloatArray, near: NDArray[np.intp]) -> Noise:
    """Noise near bone.

    The variance is taken as proportional to the uptake, as after iterative reconstruction of
    Poisson counts (Barrett, Wilson and Tsui, Phys Med Biol 1994;39:833).

    Parameters
    ----------
    field
        The SPECT around the spine.
    fitted
        The region model's image, like ``field.array``.
    near
        Flat numbers of the voxels near bone.
    """
    spacing = field.spacing[::-1]
    level = float(np.median(fitted.ravel()[near]))
    expected = np.maximum(fitted, max(_FLOOR * level, np.finfo(float).tiny))
    window = np.zeros(field.array.shape)
    window.ravel()[near] = 1.0
    window = ndimage.gaussian_filter(window, 5.0 / spacing, mode="constant")
    scaled = (field.array - fitted) / np.sqrt(expected)
    spread = np.std(scaled.ravel()[near])
    scaled = np.clip(scaled, -4.0 * spread, 4.0 * spread) * window
    squares = np.zeros(())
    for n, h in zip(scaled.shape, spacing, strict=True):
        squares = np.add.outer(squares, np.fft.fftfreq(n, h) ** 2)
    power = np.abs(fft.fftn(scaled)) ** 2 / max(float(np.sum(window**2)), 1e-30)
    edges = np.linspace(_BAND[0] ** 2, _BAND[1] ** 2, _BINS + 1)
    inside = [(squares >= a) & (squares < b) for a, b in pairwise(edges)]
    at = np.array([float(squares[i].mean()) for i in inside if i.any()])
    seen = np.array([float(power[i].mean()) for i in inside if i.any()])
    if len(at) < 2 or not (seen > 0.0).all():
        return Noise(spread * np.sqrt(expected), _FILTER_MM[0], spacing)
    slope, _ = np.polyfit(at, np.log(seen), 1)
    width = float(np.clip(np.sqrt(max(-slope, 0.0)) / (2.0 * np.pi), *_FILTER_MM))
    peak = float(np.mean(seen * np.exp(4.0 * np.square(np.pi * width) * at)))
    unit = Noise(expected, round(width, 3), spacing)
    return Noise(np.sqrt(peak * unit.energy() * expected), unit.filter_mm, spacing)
