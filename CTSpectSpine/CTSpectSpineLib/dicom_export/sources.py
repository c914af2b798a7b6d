"""Find and check the DICOM series that a results folder belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.dicom_export.headers import PER_FRAME, DicomSource, read_source
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import FloatArray, Grid, apply_matrix, grid_of, inverse
from CTSpectSpineLib.results.inputs import find_input
from CTSpectSpineLib.results.stage_files import REGISTRATION, read_registration
from CTSpectSpineLib.volumes.dicom.series import is_dicom
from CTSpectSpineLib.volumes.identity import ImageIdentity, identity_of
from CTSpectSpineLib.volumes.reading import read_volume
from CTSpectSpineLib.volumes.volume import Role, Volume

SAME_GRID_MM = 0.1
"""How far voxels of a DICOM series may lie from those of the NIfTI file that was analysed, mm.
Judgement: above the rounding of headers, far below a voxel."""


@dataclass(frozen=True)
class Sources:
    """The series that results were made from.

    Attributes
    ----------
    ct
        The CT.
    spect
        The SPECT; None where there is no DICOM series of it.
    notes
        Sentences on what was left open.
    """

    ct: DicomSource
    spect: DicomSource | None
    notes: tuple[str, ...] = ()


def find_sources(
    results: Path,
    manifest: Mapping[str, Any],
    labels: sitk.Image,
    *,
    ct: Path | None = None,
    spect: Path | None = None,
) -> Sources:
    """Find the series of a results folder: as given, else near it or in the current folder.

    Parameters
    ----------
    results
        The results folder.
    manifest
        Its manifest.
    labels
        Its vertebra labels.
    ct, spect
        DICOM series, where they are not at their places, or the analysis read other files.

    Raises
    ------
    InputError
        If there is no DICOM series of the CT, a series is another one than the analysis read, or
        its grid differs.
    """
    inputs = manifest.get("inputs") or {}
    notes: list[str] = []
    ct_volume = _volume(results, inputs.get("ct") or {}, "ct", ct)
    if ct_volume is None or not _is_dicom(ct_volume):
        raise InputError(
            f"{results}: objects of DICOM belong to a study, and the analysis read no DICOM series "
            "of the CT that can be found; give the series on the same grid with --ct."
        )
    if not same_grid(grid_of(labels), grid_of(ct_volume.image)):
        raise InputError(
            f"{ct_volume.name}: the grid of this series is not that of the CT of {results} (to "
            f"{SAME_GRID_MM:g} mm); give the series that the analysed CT was made from with --ct."
        )
    notes += _difference(results, "ct", ct_volume)
    ct_source = read_source(ct_volume)
    if not ct_source.frame_of_reference:
        raise InputError(
            f"{ct_volume.name}: the CT has no FrameOfReferenceUID, so that nothing can be placed "
            "on it; export the series again from the archive."
        )
    if len(ct_source.headers) > 1 and PER_FRAME in ct_source.headers[0]:
        raise InputError(
            f"{ct_volume.name}: export refers to single slices or to one enhanced CT, and this one "
            "is spread over several files (a concatenation, ConcatenationUID, or one file per "
            "frame); give the CT as one object with --ct."
        )
    return Sources(ct_source, _spect(results, inputs.get("spect") or {}, spect, notes), (*notes,))


def _spect(
    results: Path, record: Mapping[str, Any], given: Path | None, notes: list[str]
) -> DicomSource | None:
    volume = _volume(results, record, "spect", given)
    if volume is not None and given is not None and not _is_dicom(volume):
        raise InputError(f"{given}: is not a DICOM file; give the DICOM file of the SPECT.")
    if volume is None or not _is_dicom(volume):
        notes.append(
            "No DICOM file of the SPECT was found, so that neither its registration nor the fused "
            "SPECT was exported; give it with --spect."
        )
        return None
    notes += _difference(results, "spect", volume)
    return read_source(volume)


def _volume(
    results: Path, record: Mapping[str, Any], role: Role, given: Path | None
) -> Volume | None:
    path = given or find_input(record.get("name"), results)
    if path is None:
        return None
    volume = read_volume(path, role)
    analysed = (record.get("acquisition") or {}).get("modality")
    if record.get("sha256") in (None, volume.sha256):
        return volume
    if given is None or (analysed and _is_dicom(volume)):
        raise InputError(
            f"{path} is not the {role.upper()} of {results}: its content differs; give the right "
            f"one with --{role}."
        )
    return volume


def _is_dicom(volume: Volume) -> bool:
    return bool(volume.acquisition.modality) or any(map(is_dicom, volume.files[:1]))


def _difference(results: Path, role: Role, volume: Volume) -> list[str]:
    """Compare a series with the image that the registration was found on.

    Raises
    ------
    InputError
        If it lies elsewhere.
    """
    if not (results / REGISTRATION).is_file():
        return []
    images = read_registration(results).images
    if images is None:
        return []
    before: ImageIdentity = images.ct if role == "ct" else images.spect
    after = identity_of(volume.image)
    same_size = before.size == after.size
    if not same_size or np.abs(_corners(before) - _corners(after)).max() > SAME_GRID_MM:
        raise InputError(
            f"{volume.name}: the grid of this {role.upper()} is not that of the {role.upper()} of "
            f"{results} (to {SAME_GRID_MM:g} mm); give the right one with --{role}."
        )
    if before.voxels_sha256 != after.voxels_sha256:
        return [
            f"The {role.upper()} has the grid of the one that was analysed, but not all of its "
            "values; check that it is the same scan."
        ]
    return []


def _corners(identity: ImageIdentity) -> FloatArray:
    i, j, k = identity.size
    return Grid((i, j, k), np.array(identity.ijk_to_lps)).corners_mm()


def same_grid(one: Grid, other: Grid) -> bool:
    """Whether the voxels of two grids coincide to `SAME_GRID_MM`, in whatever order of axes."""
    between = inverse(other.ijk_to_lps) @ one.ijk_to_lps
    turned = np.rint(between[:3, :3])
    if not np.array_equal(np.abs(turned) @ np.array(one.size), other.size):
        return False
    if not np.array_equal(turned.T @ turned, np.eye(3)):
        return False
    index = apply_matrix(inverse(other.ijk_to_lps), one.corners_mm())
    ends = np.where(index > np.array(other.size) / 2.0, np.array(other.size) - 0.5, -0.5)
    apart = apply_matrix(other.ijk_to_lps, ends) - one.corners_mm()
    return bool(np.abs(apart).max() <= SAME_GRID_MM)
