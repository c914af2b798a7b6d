"""What exported objects take from the headers of their sources: nothing but what is listed here.

No private tag, no description and no comment of a source ever reaches an exported object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID
from pydicom.valuerep import format_number_as_ds

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes.dicom.frames import frames_of
from CTSpectSpineLib.volumes.dicom.series import DicomFile
from CTSpectSpineLib.volumes.dicom.tags import value, values
from CTSpectSpineLib.volumes.volume import Volume

_DATE, _TIME = r"\d{8}", r"\d{2,6}(\.\d{1,6})?"
PATIENT_AND_STUDY: Mapping[str, str] = {
    "PatientName": "",
    "PatientID": "",
    "IssuerOfPatientID": "",
    "PatientBirthDate": _DATE,
    "PatientSex": r"[MFO]",
    "PatientAge": r"\d{3}[DWMY]",
    "PatientSize": r"[\d.]{1,16}",
    "PatientWeight": r"[\d.]{1,16}",
    "StudyDate": _DATE,
    "StudyTime": _TIME,
    "StudyID": "",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "StudyDescription": "",
}
"""Attributes of patient and study that objects share with the CT, and the form of their values."""
NEEDED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Those of them that every object holds, if empty. Standard: type 2 (PS3.3 C.7.1.1, C.7.2.1)."""
UIDS = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID",
)  # fmt: skip
_IMAGE = (
    "Modality", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "SliceThickness", "InstanceNumber", "NumberOfFrames",
)  # fmt: skip
PER_FRAME = "PerFrameFunctionalGroupsSequence"
"""Where an enhanced CT says the place of each frame."""


@dataclass(frozen=True)
class DicomSource:
    """A DICOM series that results were made from.

    Attributes
    ----------
    volume
        Its voxels on the grid of the analysis.
    headers
        One per file: the attributes that are listed in this module, and no pixels.
    patient
        Attributes of `PATIENT_AND_STUDY`, as text, with valid values only.
    """

    volume: Volume
    headers: tuple[Dataset, ...]
    patient: Mapping[str, str]

    @property
    def frame_of_reference(self) -> str:
        """UID of the frame of reference; empty where the headers have none."""
        return str(self.headers[0].get("FrameOfReferenceUID", ""))

    @property
    def study(self) -> str:
        """UID of the study."""
        return str(self.headers[0].StudyInstanceUID)

    @property
    def series(self) -> str:
        """UID of the series."""
        return str(self.headers[0].SeriesInstanceUID)


def read_source(volume: Volume) -> DicomSource:
    """Read the headers of the files that a volume was read from.

    Raises
    ------
    InputError
        If a file states no study, series or instance, so that nothing can refer to it.
    """
    tags = [*PATIENT_AND_STUDY, *UIDS, *_IMAGE, "SpecificCharacterSet"]
    if volume.role == "ct":
        tags += ["SharedFunctionalGroupsSequence", PER_FRAME]
    # The reader takes files without a preamble too.
    originals = [
        dcmread(f, stop_before_pixels=True, force=True, specific_tags=[*tags]) for f in volume.files
    ]
    headers = tuple(
        _header(original, path) for original, path in zip(originals, volume.files, strict=True)
    )
    return DicomSource(volume, headers, _patient(originals[0]))


def _header(original: Dataset, path: Path) -> Dataset:
    header = Dataset()
    for name in UIDS:
        uid = UID(str(value(original, name) or ""))
        if uid and uid.is_valid:
            setattr(header, name, uid)
        elif name != "FrameOfReferenceUID":
            raise InputError(
                f"{path}: its {name} is missing or not valid, so that no object can refer to it; "
                "export the series again from the archive."
            )
    for name in _IMAGE:
        found = values(original, name)
        if found:
            setattr(header, name, list(found) if len(found) > 1 else found[0])
    file = DicomFile(path, original)
    if file.enhanced_ct:
        _enter_frames(header, original, file.frames)
    for name in NEEDED:
        # Patient and study are entered when an object is made.
        setattr(header, name, "")
    return header


def _enter_frames(header: Dataset, original: Dataset, count: int) -> None:
    """Place and size of the frames of an enhanced CT, and nothing else of its groups.

    The reader has refused frames that differ in orientation or spacing, so that both are shared.
    """
    frames = frames_of(original, count)
    measures, plane, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = _decimal(frames[0].spacing_mm)
    thickness = frames[0].thickness_mm
    measures.SliceThickness = "" if thickness is None else format_number_as_ds(thickness)
    plane.ImageOrientationPatient = _decimal(frames[0].orientation)
    shared.PixelMeasuresSequence = Items([measures])
    shared.PlaneOrientationSequence = Items([plane])
    header.SharedFunctionalGroupsSequence = Items([shared])
    groups = []
    for frame in frames:
        place, group = Dataset(), Dataset()
        place.ImagePositionPatient = _decimal(frame.position)
        group.PlanePositionSequence = Items([place])
        groups.append(group)
    header.PerFrameFunctionalGroupsSequence = Items(groups)


def _decimal(numbers: Sequence[float]) -> list[str]:
    return [format_number_as_ds(float(part)) for part in numbers]


def _patient(original: Dataset) -> dict[str, str]:
    found = {}
    for name, form in PATIENT_AND_STUDY.items():
        text = str(value(original, name) or "").strip()
        valid = re.fullmatch(form, text) if form else text and "\\" not in text
        if valid:
            found[name] = text
    return found


def references(headers: Sequence[Dataset]) -> list[Dataset]:
    """Items that refer to images: class and instance of each."""
    items = []
    for header in headers:
        item = Dataset()
        item.ReferencedSOPClassUID = header.SOPClassUID
        item.ReferencedSOPInstanceUID = header.SOPInstanceUID
        items.append(item)
    return items
