"""Images of an exact size."""

from __future__ import annotations

import SimpleITK as sitk

WHOLE_SPINE = (512, 512, 600)
"""Voxels of a CT of the whole spine along i, j, k. Judgement: 360 mm across, slices of about 1
mm."""


def resampled(image: sitk.Image, size: tuple[int, int, int], order: int) -> sitk.Image:
    """The same field of view in that many voxels; ``order`` is a SimpleITK interpolator."""
    old = image.GetSize()
    spacing = [s * n / m for s, n, m in zip(image.GetSpacing(), old, size, strict=True)]
    first = [n / m / 2 - 0.5 for n, m in zip(old, size, strict=True)]
    origin = image.TransformContinuousIndexToPhysicalPoint(first)
    axes = image.GetDirection()
    return sitk.Resample(image, list(size), sitk.Transform(), order, origin, spacing, axes, 0)
