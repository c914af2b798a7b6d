"""What all exported objects have in common: patient, study, equipment, time, research use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from CTSpectSpineLib.dicom_export.headers import NEEDED, DicomSource
from CTSpectSpineLib.terminology import local_scheme
from CTSpectSpineLib.version import __version__

SOFTWARE = "CTSpectSpine"
RESEARCH = "RESEARCH USE ONLY"
SERIAL_NUMBER = "none"
"""A software has none, and DICOM wants one."""
_FIRST_SERIES = 8001
"""Number of the first series. Judgement: above those of scanners and of their workstations."""


@dataclass(frozen=True)
class Study:
    """The study that objects belong to.

    Attributes
    ----------
    uid
        Of the study.
    patient
        Attributes of patient and study, as text.
    created
        When the objects are made.
    """

    uid: str
    patient: Mapping[str, str]
    created: datetime

    @classmethod
    def of(cls, source: DicomSource) -> Study:
        """The study of a series."""
        return cls(source.study, source.patient, datetime.now().astimezone())


@dataclass(frozen=True)
class NewSeries:
    """A series that objects are put into.

    Attributes
    ----------
    uid, number
        Of the series.
    description
        What it is, up to 40 characters.
    """

    uid: str
    number: int
    description: str


def new_uid() -> str:
    """A UID that nobody else has: a UUID, without a vendor's root (PS3.5 B.2)."""
    return str(generate_uid(prefix=None))


def new_series(place: int, description: str) -> NewSeries:
    """A new series; ``place`` counts those of an export from 0."""
    return NewSeries(new_uid(), _FIRST_SERIES + place, description)


def empty_object(sop_class: str, modality: str, study: Study, instance: int) -> Dataset:
    """A new object with what every object needs; `complete` enters patient, study and series."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = sop_class
    made.SOPClassUID, made.SOPInstanceUID = sop_class, new_uid()
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.Modality, made.InstanceNumber = modality, instance
    made.StudyInstanceUID, made.Laterality = study.uid, ""
    made.Manufacturer = made.ManufacturerModelName = SOFTWARE
    made.SoftwareVersions, made.DeviceSerialNumber = __version__, SERIAL_NUMBER
    made.ContentDate = f"{study.created:%Y%m%d}"
    made.ContentTime = f"{study.created:%H%M%S}"
    return made


def complete(made: Dataset, study: Study, series: NewSeries) -> Dataset:
    """Enter patient, study and series into an object."""
    made.SpecificCharacterSet = "ISO_IR 192"
    for name in NEEDED:
        setattr(made, name, "")
    for name, text in study.patient.items():
        setattr(made, name, text)
    made.StudyInstanceUID = study.uid
    made.SeriesInstanceUID, made.SeriesNumber = series.uid, series.number
    made.SeriesDescription = f"{series.description}, {RESEARCH}"
    scheme = Dataset()
    scheme.CodingSchemeDesignator = local_scheme()
    scheme.CodingSchemeName = "CTSpectSpine"
    scheme.CodingSchemeResponsibleOrganization = "CTSpectSpine"
    made.CodingSchemeIdentificationSequence = Sequence([scheme])
    return made
