"""Read volumes: NIfTI, NRRD, MetaImage, DICOM."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import image_suffix, sha256_of_files
from CTSpectSpineLib.host import check_encodable
from CTSpectSpineLib.volumes.encoded import check_voxel_file
from CTSpectSpineLib.volumes.itk_files import (
    companions,
    read_itk_file,
    three_dimensional,
)
from CTSpectSpineLib.volumes.nifti import read_nifti_header, read_nifti_voxels
from CTSpectSpineLib.volumes.orthogonal import orthogonal_image
from CTSpectSpineLib.volumes.plausible import check_grid, not_3d, shear_degrees
from CTSpectSpineLib.volumes.volume import Acquisition, Role, Volume

if TYPE_CHECKING:
    from CTSpectSpineLib.volumes.dicom.series import Series

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
    check_encodable(source)
    try:
        return _read(source, role)
    except MemoryError as error:
        raise InputError(
            f"{source}: not enough memory for this image; crop it to the spine or use a machine "
            "with more memory."
        ) from error


def _read(source: Path, role: Role) -> Volume:
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
    volume = _volume(three_dimensional(image, name), role, None, (), ())
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
        raise not_3d(source, header.dim)
    if header.dtype is None:
        raise InputError(f"{source}: complex or colour voxels; one number per voxel is needed.")
    images = _image_files(pair)
    if image_suffix(pair) == ".hdr" and not images:
        raise InputError(f"{source}: its voxels (.img) do not exist; copy both files.")
    array = read_nifti_voxels(images[0] if images else pair, header)
    files = (pair, *images)
    image, note = _on_orthogonal_grid(array, header.matrix, role, source)
    return _volume(image, role, source, files, notes=(*header.notes, *note))


def _read_itk(source: Path, role: Role) -> Volume:
    voxels = companions(source)
    for companion in voxels:
        check_voxel_file(source, companion)
    array, matrix = read_itk_file(source)
    straight, note = _on_orthogonal_grid(array, matrix, role, source)
    return _volume(straight, role, source, (source, *voxels), notes=note)


def _read_dicom(source: Path, role: Role) -> Volume:
    if role == "labels":
        raise InputError(
            f"{source}: labels are not read from DICOM; give a NIfTI or NRRD label map, a "
            ".seg.nrrd, or a folder with one NIfTI file per vertebra."
        )
    with warnings.catch_warnings():
        # What pydicom doubts is either checked here or does not matter.
        warnings.filterwarnings("ignore", module="pydicom")
        return _read_series(source, role)


def _read_series(source: Path, role: Role) -> Volume:
    from CTSpectSpineLib.volumes.dicom.series import choose_series

    series, notes = choose_series(source, role)
    return read_series(series, source, role, notes)


def read_series(series: Series, source: Path, role: Role, notes: tuple[str, ...]) -> Volume:
    """Read a DICOM series that was found in a folder.

    Parameters
    ----------
    series
        The series.
    source
        What the user named: the path of the volume.
    role
        What the volume is to be used as.
    notes
        What was noticed when it was chosen.

    Raises
    ------
    InputError
        As in `read_volume`.
    """
    from CTSpectSpineLib.volumes.dicom.acquisition import read_acquisition
    from CTSpectSpineLib.volumes.dicom.enhanced import read_enhanced
    from CTSpectSpineLib.volumes.dicom.nuclear import read_nm
    from CTSpectSpineLib.volumes.dicom.stack import read_stack

    if series.first.enhanced_ct:
        stack = read_enhanced(series)
    elif series.first.frames > 1:
        stack = read_nm(series)
    else:
        stack = read_stack(series, role)
    image, straightened = _on_orthogonal_grid(stack.array, stack.matrix, role, source)
    acquisition = read_acquisition(stack.files[0].path, stack.unit)
    return replace(
        _volume(
            image,
            role,
            source,
            tuple(sorted(file.path for file in stack.files)),
            notes=(*notes, *stack.notes, *straightened),
        ),
        unit=stack.unit,
        acquisition=replace(acquisition, direction_stated=stack.direction_stated),
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
        return _cast(image, sitk.sitkFloat32)
    if image.GetPixelID() == sitk.sitkInt16:
        return image
    view = sitk.GetArrayViewFromImage(image)
    fits = int(view.min()) >= -32768 and int(view.max()) <= 32767
    return _cast(image, sitk.sitkInt16 if fits else sitk.sitkInt32)


def _cast(image: sitk.Image, kind: int) -> sitk.Image:
    """The image in a type; ITK would copy one that has it already."""
    return image if image.GetPixelID() == kind else sitk.Cast(image, kind)


def _image_files(header: Path) -> tuple[Path, ...]:
    """Files with the voxels of a NIfTI header."""
    if image_suffix(header) != ".hdr":
        return ()
    images = (header.with_suffix(".img"), header.with_suffix(".img.gz"))
    return tuple(p for p in images if p.exists())


def _on_orthogonal_grid(
    array: NDArray[np.generic], matrix: np.ndarray, role: Role, source: Path
) -> tuple[sitk.Image, tuple[str, ...]]:
    check_grid(str(source), array.shape[::-1], matrix)
    fill = _AIR_HU if role == "ct" else 0.0
    image, resampled = orthogonal_image(array, matrix, nearest=role == "labels", fill=fill)
    if not resampled:
        return image, ()
    return image, (
        f"The axes of {source.name} are sheared by {shear_degrees(matrix):.1f} degrees (gantry "
        "tilt or affine): it was resampled on an orthogonal grid.",
    )
