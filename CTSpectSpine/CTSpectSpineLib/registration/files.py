"""Transforms and the quality of a registration as files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import replacing
from CTSpectSpineLib.geometry import euler_transform, transform_matrix
from CTSpectSpineLib.host import check_encodable, library_call
from CTSpectSpineLib.model import FloatArray, Registration
from CTSpectSpineLib.registration.transform_text import checked_text

_FARTHEST_MM = 1e6
"""Largest translation at the origin, mm. Judgement: scanners stay within some metres of it, which
a rotation about it moves no farther."""
RIGID_TOLERANCE = 1e-4
"""Largest deviation of RᵀR from the identity. Numerical: transforms are written with few digits."""


def write_transform(transform: sitk.Transform, path: str | Path) -> None:
    """Write a rigid transform as ITK text, ``Euler3DTransform`` with its centre.

    Parameters
    ----------
    transform
        Maps CT points to SPECT points, LPS mm.
    path
        File to write, ``.tfm``.

    Raises
    ------
    InputError
        If the transform is not rigid, or the file cannot be written.
    """
    target = Path(path)
    if target.suffix not in (".tfm", ".txt"):
        raise InputError(f"{target}: a transform is written as ITK text; name the file *.tfm.")
    rigid = as_rigid(transform, str(target))
    try:
        check_encodable(target)
        with replacing(target) as temporary, library_call():
            sitk.WriteTransform(rigid, str(temporary))
            # ITK says nothing when the disk gets full.
            sitk.ReadTransform(str(temporary))
    except (OSError, RuntimeError) as error:
        raise InputError(f"{target}: the transform cannot be written there.") from error


def read_transform(path: str | Path) -> sitk.Euler3DTransform:
    """Read a rigid transform from any file that ITK reads.

    Parameters
    ----------
    path
        ITK text (``.tfm``, ``.txt``), HDF5 (``.h5``) or MATLAB (``.mat``).

    Returns
    -------
    The transform from CT to SPECT points, LPS mm.

    Raises
    ------
    InputError
        If the file is missing or unreadable, or holds anything but one rigid transform.
    """
    source = Path(path)
    if not source.is_file():
        raise InputError(f"{source}: there is no such transform file; check the path.")
    check_encodable(source)
    with checked_text(source) as text:
        try:
            with library_call():
                transform = sitk.ReadTransform(str(text))
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{source}: ITK cannot read this as a transform; give an ITK text file (*.tfm)."
            ) from error
    return as_rigid(transform, str(source))


def as_rigid(transform: sitk.Transform, name: str) -> sitk.Euler3DTransform:
    """Turn a rigid transform of any ITK class into an ``Euler3DTransform``.

    Parameters
    ----------
    transform
        Euler, versor, similarity or affine transform, or a composite of one such transform.
    name
        What to call it in the error.

    Raises
    ------
    InputError
        If it is not rigid: it scales, shears, mirrors or bends, or is two-dimensional.
    """
    single = transform.Downcast()
    if single.GetName() == "CompositeTransform":
        composite = sitk.CompositeTransform(single)
        count = composite.GetNumberOfTransforms()
        if count != 1:
            raise InputError(
                f"{name}: it holds {count} transforms; give a file with one rigid transform."
            )
        single = composite.GetNthTransform(0).Downcast()
    if single.GetDimension() != 3 or not single.IsLinear():
        raise InputError(
            f"{name}: a {single.GetName()} of {single.GetDimension()} dimensions is not a rigid "
            "3D transform; give a rotation with a translation."
        )
    matrix = transform_matrix(single)
    rotation = matrix[:3, :3]
    if not np.abs(matrix[:3, 3]).max() <= _FARTHEST_MM:
        raise InputError(
            f"{name}: the transform moves points by {np.abs(matrix[:3, 3]).max() / 1000:.3g} m; "
            "give one in mm that brings CT and SPECT together."
        )
    deviation = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if not np.all(np.isfinite(matrix)) or not deviation < RIGID_TOLERANCE:
        raise InputError(
            f"{name}: the transform scales or shears and is not rigid; give a rotation with a "
            "translation."
        )
    if np.linalg.det(rotation) < 0:
        raise InputError(
            f"{name}: the transform mirrors and is not rigid; give a rotation with a translation."
        )
    u, _, vt = np.linalg.svd(rotation)
    matrix[:3, :3] = u @ vt
    centre = single.GetCenter() if hasattr(single, "GetCenter") else (0.0, 0.0, 0.0)
    return euler_transform(matrix, centre)


def registration_record(registration: Registration) -> dict[str, Any]:
    """Fields of ``registration.json``.

    The translation and the angles are those of ITK's ``Euler3DTransform`` about the
    transform's centre, which `register` puts at the CT's centre. A value that is not finite
    (the expected error of a failed registration) is None.
    """
    transform = registration.transform
    angles = (transform.GetAngleX(), transform.GetAngleY(), transform.GetAngleZ())
    return {
        "method": registration.method,
        "translation_mm": [float(v) for v in transform.GetTranslation()],
        "rotation_deg": [math.degrees(v) for v in angles],
        "metric_start": _finite(registration.metric_start),
        "metric_end": _finite(registration.metric_end),
        "expected_error_mm": registration.stated_error_mm,
        "deformation_mm": registration.deformation_mm,
        "quality": registration.quality,
        "reasons": list(registration.reasons),
        "seconds": registration.seconds,
        **({} if registration.posture is None else {"posture": registration.posture.record()}),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def centred(matrix: FloatArray, centre_mm: FloatArray) -> sitk.Euler3DTransform:
    """Euler transform about a centre from a 4×4 matrix, rounded to a millionth.

    The rounding removes the last bits, which may differ between processors.
    """
    exact = euler_transform(matrix, centre_mm.tolist())
    rounded = sitk.Euler3DTransform()
    rounded.SetCenter(np.round(centre_mm, 6).tolist())
    angles = (exact.GetAngleX(), exact.GetAngleY(), exact.GetAngleZ())
    rounded.SetRotation(*[round(a, 8) for a in angles])
    rounded.SetTranslation([round(t, 6) for t in exact.GetTranslation()])
    return rounded
