"""Read volumes: NIfTI, NRRD, MetaImage, DICOM."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import image_suffix, sha256_of_files
from CTSpectSpineLib.geometry import grid_of
from CTSpectSpineLib.host import check_encodable, library_call
from CTSpectSpineLib.volumes.nifti import read_nifti_header, read_nifti_voxels
from CTSpectSpineLib.volumes.orthogonal import orthogonal_image, shear_degrees
from CTSpectSpineLib.volumes.volume import Acquisition, Role, Volume

_NIFTI = (".nii", ".nii.gz", ".hdr", ".img", ".img.gz")
_ITK = (".nrrd", ".nhdr", ".seg.nrrd", ".mha", ".mhd")
_DICOM = (".dcm", ".ima", "")
_FORMATS = (
    "NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or DICOM "
    "(a folder or a file)"
)
_AIR_HU = -1024.0
"""HU outside a resampled CT. Convention: the lowest value of a 12-bit CT, taken as air."""


def read_volume(path: Path | str, role: Role) -> Volume:
    """Read a CT, SPECT or label map.

    The voxels stay on the grid of the file, whatever its orientation and order of axes; only a
    sheared grid (gantry tilt, an affine in the header), which ITK cannot hold, is resampled, and
    a note says so. The values of the voxels are checked elsewhere: see `checks`.

    Parameters
    ----------
    path
        An image file, a DICOM folder, or one DICOM file: then the series that it belongs to.
    role
        What the volume is to be used as.

    Returns
    -------
    Volume
        With the unit, the files read and their hash, the acquisition and notes.

    Raises
    ------
    InputError
        If there is nothing to read, the format is unknown, the file is damaged, or it holds
        anything but one scalar 3D volume.
    """
    source = Path(path)
    if not source.exists():
        raise InputError(f"{source}: the file does not exist; check the path.")
    suffix = image_suffix(source)
    if source.is_dir():
        return _read_dicom(source, role)
    if source.stat().st_size == 0:
        raise InputError(f"{source}: the file is empty; copy or export it again.")
    if suffix in _NIFTI:
        return _read_nifti(source, role)
    if suffix in _ITK:
        return _read_itk(source, role)
    from CTSpectSpineLib.volumes.dicom.series import is_dicom

    if is_dicom(source) or suffix in _DICOM:
        return _read_dicom(source, role)
    raise InputError(f"{source}: '{suffix}' is not an image format that is read; use {_FORMATS}.")


def volume_from_image(image: sitk.Image, role: Role, unit: str | None = None) -> Volume:
    """Volume from an image in memory, without provenance.

    Parameters
    ----------
    image
        A 3D scalar image.
    role
        What it is to be used as.
    unit
        Unit of its voxels where it is known.

    Raises
    ------
    InputError
        If the image is not 3D or not scalar.
    """
    name = Volume(image, role, "").name
    if image.GetNumberOfComponentsPerPixel() > 1 or "complex" in image.GetPixelIDTypeAsString():
        raise InputError(
            f"{name}: {image.GetPixelIDTypeAsString()} voxels; one number per voxel is needed."
        )
    volume = _volume(_three_dimensional(image, name), role, None, (), ())
    if unit is None:
        return volume
    return replace(volume, unit=unit, acquisition=Acquisition(units=unit))


def _read_nifti(source: Path, role: Role) -> Volume:
    stem = source.name[: len(source.name) - len(image_suffix(source))]
    pair = source.with_name(f"{stem}.hdr") if ".img" in image_suffix(source) else source
    if not pair.exists():
        raise InputError(f"{source}: its header {pair.name} does not exist; copy both files.")
    header = read_nifti_header(pair)
    frames = math.prod(header.dim[3:])
    if len(header.dim) < 3 or frames > 1:
        raise _not_3d(source, header.dim)
    if header.dtype is None:
        raise InputError(f"{source}: complex or colour voxels; one number per voxel is needed.")
    images = _companions(pair)
    if image_suffix(pair) == ".hdr" and not images:
        raise InputError(f"{source}: its voxels (.img) do not exist; copy both files.")
    array = read_nifti_voxels(images[0] if images else pair, header)
    files = (pair, *images)
    image, note = _on_orthogonal_grid(array, header.matrix, role, source.name)
    return _volume(image, role, source, files, notes=(*header.notes, *note))


def _read_itk(source: Path, role: Role) -> Volume:
    companions = _companions(source)
    for companion in companions:
        if not companion.exists():
            raise InputError(
                f"{source}: its voxels {companion.name} do not exist; copy both files."
            )
    image = _three_dimensional(_itk_image(source), source)
    spacing = np.array(image.GetSpacing())
    if not np.all(np.isfinite(spacing)) or spacing.min() <= 0:
        raise InputError(f"{source}: the header gives no usable voxel size; write it again.")
    grid = grid_of(image)
    straight, note = _on_orthogonal_grid(
        sitk.GetArrayFromImage(image), grid.ijk_to_lps, role, source.name
    )
    return _volume(straight, role, source, (source, *companions), notes=note)


def _read_dicom(source: Path, role: Role) -> Volume:
    from CTSpectSpineLib.volumes.dicom.acquisition import read_acquisition
    from CTSpectSpineLib.volumes.dicom.nuclear import read_nm, unit_and_scale
    from CTSpectSpineLib.volumes.dicom.series import choose_series
    from CTSpectSpineLib.volumes.dicom.stack import read_stack

    if role == "labels":
        raise InputError(
            f"{source}: labels are not read from DICOM; give a NIfTI or NRRD label map, a "
            ".seg.nrrd, or a folder with one NIfTI file per vertebra."
        )
    series, notes = choose_series(source, role)
    whole = all(float(f.header.get("RescaleSlope", None) or 1).is_integer() for f in series.files)
    if series.first.frames > 1:
        stack = read_nm(series)
    else:
        integers = role == "ct" and whole
        stack = read_stack(series, sitk.sitkInt32 if integers else sitk.sitkFloat32)
    unit, slope, intercept = "HU", 1.0, 0.0
    if role == "spect":
        unit, slope, intercept = unit_and_scale(stack.files[0].header)
    array = stack.array
    if (slope, intercept) != (1.0, 0.0):
        array = np.asarray(array, dtype=np.float32) * np.float32(slope) + np.float32(intercept)
        notes = (*notes, f"Values were scaled by {slope:g} to {unit} (real world value mapping).")
    image, straightened = _on_orthogonal_grid(array, stack.matrix, role, source.name)
    return replace(
        _volume(
            image,
            role,
            source,
            tuple(sorted(file.path for file in stack.files)),
            notes=(*notes, *stack.notes, *straightened),
        ),
        unit=unit,
        acquisition=read_acquisition(stack.files[0].path, unit),
    )


def _volume(
    image: sitk.Image,
    role: Role,
    source: Path | None,
    files: tuple[Path, ...],
    notes: tuple[str, ...],
) -> Volume:
    unit = {"ct": "HU", "labels": "label", "spect": "unknown"}[role]
    return Volume(
        image=_suitable_type(image, role),
        role=role,
        unit=unit,
        path=source,
        files=files,
        sha256=sha256_of_files(files) if files else "",
        acquisition=Acquisition(units=unit if role == "ct" else ""),
        notes=notes,
    )


def _suitable_type(image: sitk.Image, role: Role) -> sitk.Image:
    """Cast to the smallest type that the later stages work with and that keeps the values."""
    floating = image.GetPixelID() in (sitk.sitkFloat32, sitk.sitkFloat64)
    if role == "labels":
        return image
    if role == "spect" or floating:
        return sitk.Cast(image, sitk.sitkFloat32)
    view = sitk.GetArrayViewFromImage(image)
    fits = int(view.min()) >= -32768 and int(view.max()) <= 32767
    return sitk.Cast(image, sitk.sitkInt16 if fits else sitk.sitkInt32)


def _itk_image(source: Path) -> sitk.Image:
    check_encodable(source)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(source))
    try:
        with library_call():
            image = reader.Execute()
    except (RuntimeError, ValueError) as error:
        raise _unreadable(source, error) from error
    pixel = image.GetPixelIDTypeAsString()
    if image.GetNumberOfComponentsPerPixel() > 1 or "complex" in pixel:
        raise InputError(f"{source}: {pixel} voxels; one number per voxel is needed.")
    return image


def _three_dimensional(image: sitk.Image, source: Path | str) -> sitk.Image:
    size = image.GetSize()
    if len(size) == 3:
        return image
    if len(size) < 3 or math.prod(size[3:]) > 1:
        raise _not_3d(source, size)
    frame = image
    while frame.GetDimension() > 3:
        extract = [*frame.GetSize()[:-1], 0]
        frame = sitk.Extract(
            frame, extract, [0] * len(extract), sitk.ExtractImageFilter.DIRECTIONCOLLAPSETOSUBMATRIX
        )
    return frame


def _not_3d(source: Path | str, size: tuple[int, ...]) -> InputError:
    if len(size) < 3:
        return InputError(f"{source}: a single 2D picture; a 3D volume is needed.")
    return InputError(
        f"{source}: a series of {math.prod(size[3:])} volumes (size "
        f"{' x '.join(map(str, size))}); save the one that is meant as a 3D file."
    )


def _unreadable(source: Path, error: Exception) -> InputError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = re.sub(r"^.*?(ERROR|Exception):\s*", "", lines[-1])[:160] if lines else "unknown"
    return InputError(f"{source}: the file cannot be read; it may be damaged ({reason}).")


def _companions(source: Path) -> tuple[Path, ...]:
    """Files with the voxels of a detached header."""
    suffix = image_suffix(source)
    if suffix == ".hdr":
        images = (source.with_suffix(".img"), source.with_suffix(".img.gz"))
        return tuple(p for p in images if p.exists())
    if suffix not in (".mhd", ".nhdr"):
        return ()
    text = source.read_bytes()[:65536].decode("latin-1")
    found = re.search(r"^\s*(?:ElementDataFile\s*=|data ?file:)\s*(\S.*?)\s*$", text, re.M | re.I)
    name = found.group(1) if found else ""
    # Lists and patterns of slice files are left to ITK.
    single = name and not name.upper().startswith(("LIST", "LOCAL")) and "%" not in name
    return (source.parent / name,) if single else ()


def _on_orthogonal_grid(
    array: NDArray[np.generic], matrix: np.ndarray, role: Role, name: str
) -> tuple[sitk.Image, tuple[str, ...]]:
    fill = _AIR_HU if role == "ct" else 0.0
    image, resampled = orthogonal_image(array, matrix, nearest=role == "labels", fill=fill)
    if not resampled:
        return image, ()
    return image, (
        f"The axes of {name} are sheared by {shear_degrees(matrix):.1f} degrees (gantry tilt or "
        "affine): it was resampled on an orthogonal grid.",
    )
