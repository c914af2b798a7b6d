"""A registration that the user gives: used as it is, and judged."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.geometry import apply_matrix, image_centre_mm, transform_matrix
from CTSpectSpineLib.model import (
    ACCEPTED_ERROR_MM,
    REFUSED_ERROR_MM,
    FloatArray,
    Quality,
    Registration,
)
from CTSpectSpineLib.progress import ProgressCallback, silent
from CTSpectSpineLib.registration.files import as_rigid, centred
from CTSpectSpineLib.registration.rigid import register

_SHARE_OF_FIELD = 0.25
"""Distance of the points compared from the centre, in sizes of the field of view. By definition:
the corners of its middle half."""


def judge_given(
    ct: sitk.Image,
    spect: sitk.Image,
    transform: sitk.Transform,
    progress: ProgressCallback = silent,
    threads: int | None = None,
) -> Registration:
    """Take a given transform as it is, and estimate its error.

    The transform is refined to see how far it would move; this distance, in the middle of the CT,
    adds to the expected error of the refinement.

    Parameters
    ----------
    ct, spect, progress, threads
        As in `register`.
    transform
        Rigid transform from CT to SPECT points, LPS mm.

    Returns
    -------
    Registration
        With the given transform.

    Raises
    ------
    InputError
        If the transform is not rigid, or as in `register`.
    """
    given = transform_matrix(as_rigid(transform, "given transform"))
    refined = register(ct, spect, transform, progress, threads)
    distance = _distance_mm(given, refined.matrix, ct)
    error = math.hypot(refined.expected_error_mm, distance)
    sentence = (
        f"The transform was given and is used as it is; refinement would move it by "
        f"{distance:.1f} mm."
    )
    quality = _quality(refined.quality, error)
    return replace(
        refined,
        transform=centred(given, image_centre_mm(ct)),
        method="given",
        expected_error_mm=math.inf if quality == "failed" else error,
        quality=quality,
        reasons=(sentence, *refined.reasons),
    )


def _quality(refined: Quality, error_mm: float) -> Quality:
    if refined == "failed" or not error_mm <= REFUSED_ERROR_MM:
        return "failed"
    return "good" if refined == "good" and error_mm <= ACCEPTED_ERROR_MM else "check"


def _distance_mm(first: FloatArray, second: FloatArray, ct: sitk.Image) -> float:
    """Root mean square distance of two transforms over the middle of the CT's field."""
    size = np.array(ct.GetSize(), dtype=float) - 1
    shares = itertools.product((0.5 - _SHARE_OF_FIELD, 0.5 + _SHARE_OF_FIELD), repeat=3)
    points = np.array(
        [ct.TransformContinuousIndexToPhysicalPoint((size * share).tolist()) for share in shares]
    )
    difference = apply_matrix(first, points) - apply_matrix(second, points)
    return float(np.sqrt((difference**2).sum(axis=1).mean()))
