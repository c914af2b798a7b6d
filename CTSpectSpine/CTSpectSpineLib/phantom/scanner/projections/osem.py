"""Reconstruction by ordered subsets of expectation maximisation (OSEM).

Hudson and Larkin, IEEE Trans Med Imaging 1994;13:601.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.model import BoolArray
from CTSpectSpineLib.phantom.scanner.projections.acquisition import Counted
from CTSpectSpineLib.phantom.scanner.projections.maps import Frame
from CTSpectSpineLib.phantom.scanner.projections.projector import Projector, Response, Volume
from CTSpectSpineLib.phantom.scanner.projections.settings import Reconstruction
from CTSpectSpineLib.phantom.scanner.spect import image_on, quantised

_FLOOR = 1e-3
"""Least expected counts of a pixel, per mean counts. Numerical: keeps quotients finite."""
_UNSEEN = 1e-3
"""Sensitivity, relative to the highest, below which a voxel stays empty. Numerical."""


def reconstruct(counted: Counted, settings: Reconstruction) -> sitk.Image:
    """Reconstruct a scan.

    Parameters
    ----------
    counted
        The projections.
    settings
        How; camera, views and voxels are those of the projections.

    Returns
    -------
    SimpleITK.Image
        float32, axes along LPS, steps of 1/64; scaled so that all voxels sum to the scan's counts.

    Raises
    ------
    InputError
        If the camera has no such scatter estimate.
    """
    projected = counted.projected
    volume = osem(
        projector_of(counted, settings),
        counted.measured,
        _scatter(counted, settings),
        settings.iterations,
        settings.subsets,
    )
    sigma = settings.filter_fwhm_mm / FWHM_PER_SIGMA / projected.frame.voxel_mm
    if sigma > 0:
        volume = ndimage.gaussian_filter(volume, sigma, mode="constant", truncate=4.0)
    first, end = projected.planes
    kept = volume[:, :, first:end].transpose(2, 0, 1)
    total = float(kept.sum(dtype=np.float64))
    scaled = np.ascontiguousarray(kept) * np.float32(counted.counts / max(total, 1e-9))
    n, _, _ = projected.frame.shape
    frame = Frame(projected.frame.centre_mm, projected.frame.voxel_mm, (n, n, end - first))
    return image_on(quantised(scaled), frame.grid)


def projector_of(counted: Counted, settings: Reconstruction) -> Projector:
    """The system as a reconstruction models it."""
    projected = counted.projected
    per_mm = None
    if settings.attenuation_correction:
        shift = np.array(settings.attenuation_shift_mm)[[1, 0, 2]] / projected.frame.voxel_mm
        per_mm = projected.per_mm
        if shift.any():
            per_mm = ndimage.shift(per_mm, shift, order=1, mode="nearest")
    frame = projected.frame
    response = None
    if settings.resolution_recovery:
        # Linear interpolation has blurred the planes already. It is taken in place of the cubic
        # one because nothing that it projects is below zero.
        done = frame.voxel_mm**2 / 6, 0.0
        response = Response(projected.camera.collimator, settings.response_scale, done)
    shape = frame.shape
    return Projector(shape, frame.voxel_mm, projected.orbit, per_mm, response, cubic=False)


def osem(
    projector: Projector,
    measured: Volume,
    scatter: Volume | None,
    iterations: int,
    subsets: int,
    watch: Callable[[int, Volume], None] | None = None,
) -> Volume:
    """Volume that explains projections.

    Parameters
    ----------
    projector
        The system matrix.
    measured, scatter
        Counts, and the scatter among them (None for none), ``[view, across, z]``.
    iterations, subsets
        Passes over all views, and parts of each pass.
    watch
        Called with the number of each finished pass and the volume.
    """
    pairs = projector.orbit.pairs
    parts = [range(s, pairs, subsets) for s in range(min(subsets, pairs))]
    inside = _inside(projector.shape)
    ones = np.ones(measured.shape[1:], dtype=np.float32)
    sensitivities = []
    for part in parts:
        seen = sum((projector.backward((ones, ones), pair) for pair in part), np.float32(0))
        least = _UNSEEN * float(np.max(seen))
        sensitivities.append(np.where(inside & (seen > least), seen, np.inf).astype(np.float32))
    floor = np.float32(_FLOOR * max(float(measured.mean()), 1e-9))
    start = float(measured.sum()) / max(_total(sensitivities), 1e-9)
    volume: Volume = np.where(np.isfinite(sensitivities[0]), start, 0.0).astype(np.float32)
    for number in range(iterations):
        for part, sensitivity in zip(parts, sensitivities, strict=True):
            correction = np.zeros(projector.shape, dtype=np.float32)
            for pair in part:
                views = pair, pair + pairs
                expected = projector.forward(volume, pair)
                quotients = []
                for view, seen in zip(views, expected, strict=True):
                    whole = seen if scatter is None else seen + scatter[view]
                    quotients.append(measured[view] / np.maximum(whole, floor))
                correction += projector.backward(quotients, pair)
            volume = np.asarray(volume * np.maximum(correction, 0) / sensitivity)
        if watch is not None:
            watch(number, volume)
    return volume


def _total(sensitivities: list[Volume]) -> float:
    return sum(float(s[np.isfinite(s)].sum(dtype=np.float64)) for s in sensitivities)


def _inside(shape: tuple[int, int, int]) -> BoolArray:
    """Voxels in the circle that all views see, ``[y, x, 1]``."""
    middle = 0.5 * (shape[0] - 1)
    line = np.arange(shape[0]) - middle
    inside = line[:, None] ** 2 + line[None, :] ** 2 <= (middle - 0.5) ** 2
    return np.asarray(inside[:, :, None])


def _scatter(counted: Counted, settings: Reconstruction) -> Volume | None:
    if settings.scatter_window is None:
        return None
    if settings.scatter_window not in counted.windows:
        raise InputError(
            f"The camera '{counted.projected.camera.name}' has no scatter estimate "
            f"'{settings.scatter_window}'; it has {', '.join(counted.windows)}."
        )
    return counted.windows[settings.scatter_window]
