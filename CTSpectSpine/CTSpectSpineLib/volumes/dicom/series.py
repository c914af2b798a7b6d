"""Find the DICOM series in a folder or beside a file, and choose the one that is meant."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.misc import is_dicom as has_preamble
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    NuclearMedicineImageStorage,
)

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes.dicom.concatenation import parts_refusal
from CTSpectSpineLib.volumes.dicom.frames import frames_refusal
from CTSpectSpineLib.volumes.dicom.tags import number, value, values
from CTSpectSpineLib.volumes.volume import MIN_SLICES, Role

NM_STORAGE = (NuclearMedicineImageStorage, "1.2.840.10008.5.1.4.1.1.5")
"""SOP classes of nuclear medicine images; the second is the retired one."""
_ENHANCED_CT = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
"""SOP classes of CTs whose geometry is stated frame by frame."""
_ATTENUATION_MAP = re.compile(
    r"(attenuation|transmission|\bmu|\u00b5|\u03bc)[\s_-]*maps?\b|\bumap\b", re.IGNORECASE
)
"""What attenuation maps are called."""
_TAGS: list[Any] = [
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "InstanceNumber",
    "AcquisitionNumber",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SliceLocation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "RescaleSlope",
    "RescaleIntercept",
    "FrameIncrementPointer",
    "DetectorInformationSequence",
    "EnergyWindowVector",
    "EnergyWindowInformationSequence",
    "NumberOfEnergyWindows",
    "DetectorVector",
    "SliceVector",
    "RotationVector",
    "AngularViewVector",
    "PhaseVector",
    "RRIntervalVector",
    "TimeSlotVector",
    "TimeSliceVector",
    "RadiopharmaceuticalInformationSequence",
    "RealWorldValueMappingSequence",
    "CorrectedImage",
    "Units",
    "SUVType",
    "ConcatenationUID",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "ConcatenationFrameOffsetNumber",
    "TransferSyntaxUID",
    "PatientID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "AcquisitionDateTime",
    "BodyPartExamined",
    "ConvolutionKernel",
]
_FRAME_TAGS: list[Any] = [
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
"""Read only of enhanced CTs: of other objects (segmentations) they may be many and long."""


@dataclass(frozen=True)
class DicomFile:
    """One DICOM image file and its header (without pixels)."""

    path: Path
    header: Dataset

    @property
    def frames(self) -> int:
        """Number of frames, 1 for single images."""
        return max(1, int(number(self.header, "NumberOfFrames") or 1))

    @property
    def image_type(self) -> tuple[str, ...]:
        """Values of ImageType in upper case."""
        return tuple(str(part).upper() for part in values(self.header, "ImageType"))

    @property
    def enhanced_ct(self) -> bool:
        """Whether it is a CT whose geometry is stated frame by frame."""
        return str(value(self.header, "SOPClassUID") or "") in _ENHANCED_CT


@dataclass(frozen=True)
class Series:
    """Files that form one volume: the slices of a series, or one multi-frame file."""

    files: tuple[DicomFile, ...]
    role: Role | None
    refusal: str

    @property
    def first(self) -> DicomFile:
        """The first file."""
        return self.files[0]

    @property
    def slices(self) -> int:
        """Number of slices or frames."""
        return sum(file.frames for file in self.files)

    def describe(self, *, written: bool = False) -> str:
        """Name of the series as a user would look for it.

        Parameters
        ----------
        written
            Without its description, for what results say: a person may have typed a name there.
        """
        header = self.first.header
        number = value(header, "SeriesNumber")
        described = str(value(header, "SeriesDescription") or "").strip() or "no description"
        parts = [
            f"series {number}" if number is not None else "series without number",
            *(() if written else (f"'{described}'",)),
            f"({value(header, 'Modality') or 'no modality'}, {self.slices} slices, "
            f"{self.first.path.name})",
        ]
        return " ".join(parts)


def is_dicom(path: Path) -> bool:
    """Whether a file starts like a DICOM file."""
    try:
        return bool(has_preamble(str(path)))
    except OSError:
        return False


def find_series(path: Path) -> tuple[list[Series], int]:
    """All image series in a folder (and its subfolders), or beside a file.

    Returns
    -------
    series, unreadable
        The series, and how many files begin like DICOM but cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    candidates = sorted(p for p in folder.rglob("*") if p.is_file())
    if path.is_file():
        candidates = sorted({path, *(p for p in candidates if p.parent == folder)})
    groups: dict[Hashable, list[DicomFile]] = defaultdict(list)
    unreadable = 0
    for candidate in candidates:
        try:
            file = _read(candidate, forced=candidate == path)
        except InputError:
            if candidate == path:
                raise
            unreadable += 1
            continue
        if file is not None:
            groups[_key(file)].append(file)
    return [_series(tuple(files)) for files in groups.values()], unreadable


def choose_series(path: Path, role: Role) -> tuple[Series, tuple[str, ...]]:
    """The series that a path means, and notes on those that were passed over.

    Raises
    ------
    InputError
        If there is no usable series for the role, or several without a clear choice.
    """
    found, unreadable = find_series(path)
    left_out: tuple[str, ...] = ()
    if unreadable:
        left_out = (f"{unreadable} damaged DICOM files in {path.name} were left out.",)
    if path.is_file():
        found = [s for s in found if any(f.path == path for f in s.files)]
    if not found:
        where = "folder holds no DICOM images" if path.is_dir() else "file is not a DICOM image"
        raise InputError(f"{path}: this {where}; give a NIfTI, NRRD or MetaImage file instead.")
    matching = [s for s in found if s.role == role]
    usable = [s for s in matching if not s.refusal]
    if not usable:
        raise InputError(_why_none(path, role, found, matching))
    if len(usable) == 1:
        passed_over = len(found) - 1
        notes = (
            (f"Read {usable[0].describe(written=True)} of {len(found)} series.",)
            if passed_over
            else ()
        )
        return usable[0], (*notes, *left_out)
    # Bolus tracking and planning series are far smaller than the scan itself.
    usable.sort(key=lambda s: -s.slices)
    if usable[1].slices < 0.2 * usable[0].slices:
        name = usable[0].describe(written=True)
        largest = f"Read {name}, the largest of {len(usable)} series."
        return usable[0], (largest, *left_out)
    raise InputError(
        f"{path}: holds {len(usable)} series that could be the {name_of_role(role)}: "
        f"{'; '.join(s.describe() for s in usable)}; give one file of the right one instead."
    )


def name_of_role(role: Role) -> str:
    """What sentences call an image of a role."""
    return "CT" if role == "ct" else "SPECT"


def _why_none(path: Path, role: Role, found: Sequence[Series], matching: Sequence[Series]) -> str:
    if matching:
        reasons = "; ".join(
            dict.fromkeys(f"{s.describe(written=True)} {s.refusal}" for s in matching)
        )
        return f"{path}: no usable {name_of_role(role)} series: {reasons}."
    kinds = sorted({str(value(s.first.header, "Modality") or "unknown") for s in found})
    other: Role = "spect" if role == "ct" else "ct"
    advice = (
        f"it looks like the {name_of_role(other)}: are the inputs swapped?"
        if any(s.role == other for s in found)
        else f"give the {name_of_role(role)} series."
    )
    return f"{path}: holds no {name_of_role(role)} (modality {', '.join(kinds)}); {advice}"


def _read(path: Path, *, forced: bool) -> DicomFile | None:
    """Read one header; None for anything that is not a DICOM image.

    Raises
    ------
    InputError
        If it begins like DICOM, or is named so, and cannot be read.
    """
    bare = not is_dicom(path)
    # Files without a preamble exist; they are tried only where the name says that they are DICOM.
    if bare and not (forced or path.suffix.lower() in (".dcm", ".ima")):
        return None
    try:
        header = dcmread(path, stop_before_pixels=True, force=bare, specific_tags=_TAGS)
        if DicomFile(path, header).enhanced_ct:
            wanted = [*_TAGS, *_FRAME_TAGS]
            header = dcmread(path, stop_before_pixels=True, force=bare, specific_tags=wanted)
    except Exception as error:  # pydicom raises many kinds on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(
            f"{path}: the DICOM file cannot be read ({reason}); it may be damaged."
        ) from error
    if value(header, "Rows") is None or value(header, "Columns") is None:
        return None
    return DicomFile(path, header)


def _key(file: DicomFile) -> Hashable:
    """Files with the same key form one volume."""
    header = file.header
    concatenation = str(value(header, "ConcatenationUID") or "")
    if concatenation and file.enhanced_ct:
        return "concatenation", concatenation
    if file.frames > 1:
        return str(file.path)
    # Anonymised files often have empty UIDs: then the other fields must tell series apart.
    return (
        str(value(header, "SeriesInstanceUID") or ""),
        str(value(header, "SeriesNumber") or ""),
        str(value(header, "SeriesDescription") or ""),
        str(value(header, "Modality") or ""),
        str(file.path.parent) if value(header, "SeriesInstanceUID") is None else "",
        "LOCALIZER" in file.image_type,
    )


def _series(files: tuple[DicomFile, ...]) -> Series:
    first = files[0]
    role = _role(first)
    return Series(files, role, _refusal(files, role) if role is not None else "")


def _role(file: DicomFile) -> Role | None:
    modality = str(value(file.header, "Modality") or "").upper()
    sop_class = str(value(file.header, "SOPClassUID") or "")
    # A workstation that exports SPECT with Modality OT still says NM in the SOP class.
    if sop_class in NM_STORAGE or modality in ("NM", "ST", "PT"):
        return "spect"
    return "ct" if modality == "CT" else None


def _refusal(files: tuple[DicomFile, ...], role: Role) -> str:
    """Why a series cannot be used as a volume; empty when it can."""
    first = files[0]
    if role == "ct" and first.frames > 1 and not first.enhanced_ct:
        return f"is one CT file with {first.frames} frames, which is not read: convert it to NIfTI"
    if str(value(first.header, "SOPClassUID") or "") == EnhancedPETImageStorage:
        return "is stored as enhanced PET, which is not read: convert it to NIfTI"
    if (number(first.header, "SamplesPerPixel") or 1) > 1:
        return "is a colour picture (a report or screen capture), not a measurement"
    kind = first.image_type
    if "LOCALIZER" in kind:
        return "is a localizer (scout)"
    if role == "spect":
        refusal = _nm_refusal(first)
        if refusal:
            return refusal
    headers = [(file.header, file.frames) for file in files]
    # Before its slices are counted: a part may have few.
    if first.enhanced_ct and (refusal := parts_refusal(headers)):
        return refusal
    if sum(file.frames for file in files) < MIN_SLICES:
        return f"has fewer than {MIN_SLICES} slices"
    return frames_refusal(headers) if first.enhanced_ct else ""


def _nm_refusal(first: DicomFile) -> str:
    """Why an NM image is not a reconstructed volume; empty when it is one (or may be)."""
    kind = first.image_type
    if value(first.header, "ConcatenationUID") or value(first.header, "InConcatenationNumber"):
        return (
            "is a part of a concatenation (ConcatenationUID, InConcatenationNumber), which is read "
            "of enhanced CT alone: export it as one object"
        )
    if "TRANSMISSION" in kind or _ATTENUATION_MAP.search(_named(first)):
        return "is an attenuation map, not uptake: give the reconstructed emission (RECON TOMO)"
    pointer = {str(tag).upper() for tag in values(first.header, "FrameIncrementPointer")}
    if "WHOLE BODY" in kind or "STATIC" in kind:
        return "is a planar image: give the reconstructed tomographic slices (RECON TOMO)"
    projections = "TOMO" in kind or "GATED TOMO" in kind or "(0054,0090)" in pointer
    if projections and "RECON TOMO" not in kind:
        return "holds raw projections: give the reconstructed slices (RECON TOMO)"
    if "DYNAMIC" in kind or "GATED" in kind:
        return "is a planar time series: give the reconstructed slices (RECON TOMO)"
    return ""


def _named(file: DicomFile) -> str:
    """What the header calls the contents: image type, tracer and description."""
    tracer = [
        str(value(item, "Radiopharmaceutical") or "")
        for item in values(file.header, "RadiopharmaceuticalInformationSequence")
    ]
    described = str(value(file.header, "SeriesDescription") or "")
    return " / ".join((*file.image_type, *tracer, described))
