"""De-identified objects: the Basic Application Level Confidentiality Profile (DICOM PS3.15 E).

Objects take nothing from their sources but what `headers` lists, so that little is left to do:
patient and study get dummy values, every UID of a source a new one, every date and time a dummy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from CTSpectSpineLib.dicom_export.fused import code_item
from CTSpectSpineLib.dicom_export.headers import UIDS, DicomSource
from CTSpectSpineLib.dicom_export.sources import Sources
from CTSpectSpineLib.dicom_export.study import new_uid
from CTSpectSpineLib.terminology import Code

DUMMIES: Mapping[str, str] = {
    "DA": "20000101",
    "TM": "000000",
    "DT": "20000101000000",
}
"""Value representation to what stands for every date and time. Convention: as good as any."""
_PROFILE = Code("DCM", "113100", "Basic Application Confidentiality Profile")


def without_identity(sources: Sources) -> Sources:
    """The sources with another patient, and with other UIDs throughout.

    One UID of the sources becomes one new UID wherever it stands; nothing leads back to it.
    """
    new: dict[str, str] = {}
    number = new_uid()[-8:]
    patient = {
        "PatientName": f"RESEARCH^{number}",
        "PatientID": number,
        "StudyID": number,
        "StudyDate": DUMMIES["DA"],
        "StudyTime": DUMMIES["TM"],
    }

    def changed(source: DicomSource) -> DicomSource:
        headers = tuple(_renamed(header, new) for header in source.headers)
        acquisition = replace(source.volume.acquisition, tracer="")
        volume = replace(source.volume, acquisition=acquisition)
        return replace(source, volume=volume, headers=headers, patient=patient)

    spect = None if sources.spect is None else changed(sources.spect)
    return replace(sources, ct=changed(sources.ct), spect=spect)


def _renamed(header: Dataset, new: dict[str, str]) -> Dataset:
    copy = Dataset()
    copy.update(header)
    for name in UIDS:
        if name in header and name != "SOPClassUID":
            setattr(copy, name, new.setdefault(str(header[name].value), new_uid()))
    return copy


def mark_deidentified(made: Dataset) -> None:
    """Take dates and times out of a finished object, and say what was done to it."""

    def blank(_: Dataset, element: DataElement) -> None:
        if element.VR in DUMMIES and element.value:
            element.value = DUMMIES[element.VR]

    made.walk(blank)
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = "PS3.15 Basic Application Confidentiality Profile"
    made.DeidentificationMethodCodeSequence = Sequence([code_item(_PROFILE)])
    made.LongitudinalTemporalInformationModified = "REMOVED"
