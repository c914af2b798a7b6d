"""PyTomography's model of a SPECT camera (Polson et al., arXiv 2309.01977, 2023).

Needs the extra ``bench``. Volumes are float32 arrays ``[y, x, z]``, as the physical scanner has
them, and the first view lies in front.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.model import FloatArray

Volume = NDArray[np.float32]


def tensor(values: Volume):  # type: ignore[no-untyped-def]
    """Values as PyTomography takes them."""
    import torch

    return torch.tensor(np.ascontiguousarray(values))


def system_of(  # type: ignore[no-untyped-def]
    shape: tuple[int, int, int],
    voxel_mm: float,
    radii_mm: Sequence[float],
    per_mm: Volume | None,
    fwhm_mm: Callable[[FloatArray], FloatArray] | None,
):
    """System matrix.

    Their detector lies at +x after a turn by 270 degrees less the angle; our first axis is y and
    our angle begins in front, so their angle is ours plus 90 degrees.

    Parameters
    ----------
    shape, voxel_mm
        Voxels ``(y, x, z)``, y and x alike.
    radii_mm
        Distance of the camera from the axis, one for each view of a full turn.
    per_mm
        Attenuation coefficients; None for no attenuation.
    fwhm_mm
        The collimator's resolution at distances in mm; None for a perfect one.
    """
    from pytomography.metadata.SPECT import SPECTObjectMeta, SPECTProjMeta, SPECTPSFMeta
    from pytomography.projectors.SPECT import SPECTSystemMatrix
    from pytomography.transforms.SPECT import SPECTAttenuationTransform, SPECTPSFTransform

    n, _, planes = shape
    centimetres, views = voxel_mm / 10, len(radii_mm)
    angles = (90 + np.arange(views) * 360 / views) % 360
    body = SPECTObjectMeta(dr=[centimetres] * 3, shape=list(shape))
    detector = SPECTProjMeta((n, planes), [centimetres] * 2, angles, radii=np.array(radii_mm) / 10)
    transforms = []
    if per_mm is not None:
        transforms.append(SPECTAttenuationTransform(tensor(per_mm * 10)))
    if fwhm_mm is not None:
        width = SPECTPSFMeta(
            [1.0],
            sigma_fit=lambda r, a: a * fwhm_mm(np.asarray(r) * 10) / FWHM_PER_SIGMA / 10,
            min_sigmas=4,
        )
        transforms.append(SPECTPSFTransform(width))
    return SPECTSystemMatrix(transforms, [], body, detector)
