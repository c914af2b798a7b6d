"""DICOM files that the tests write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from CTSpectSpineLib.volumes import Volume, read_volume

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"


NM_CLASS = "1.2.840.10008.5.1.4.1.1.20"


AXIAL = [1, 0, 0, 0, 1, 0]


def save(path: Path, sop_class: str, voxels: np.ndarray, **tags: Any) -> Path:
    """Write a DICOM file; a tag of value None is left out."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = sop_class
    header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.SOPClassUID = sop_class
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID
    header.Rows, header.Columns = voxels.shape[-2:]
    if voxels.ndim == 3:
        header.NumberOfFrames = voxels.shape[0]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    header.PixelData = voxels.astype("<u2").tobytes()
    for keyword, content in tags.items():
        if content is not None:
            setattr(header, keyword, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


CT_VOXELS = np.random.default_rng(0).integers(0, 3000, (8, 10, 12))


def ct_series(
    folder: Path,
    uid: str = "1.2.3",
    step: tuple[float, float, float] = (0, 0, 2.5),
    **tags: Any,
) -> Path:
    """Slices of a CT, their file names in no useful order."""
    order = np.random.default_rng(1).permutation(len(CT_VOXELS))
    for n, voxels in enumerate(CT_VOXELS):
        values = {
            "Modality": "CT",
            "SeriesInstanceUID": uid,
            "SeriesNumber": 3,
            "SeriesDescription": "spine",
            "InstanceNumber": len(CT_VOXELS) - n,
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "PixelSpacing": [0.8, 0.9],
            "SliceThickness": 5.0,
            "ImageOrientationPatient": AXIAL,
            "ImagePositionPatient": [-10 + n * step[0], 20 + n * step[1], 100 + n * step[2]],
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
            "PatientID": "A",
            **{key: value(n) if callable(value) else value for key, value in tags.items()},
        }
        save(folder / f"{uid}-{order[n]}", CT_CLASS, voxels, **values)
    return folder


NM_VOXELS = np.random.default_rng(2).integers(0, 900, (8, 10, 12))


def nm_tags(**changes: Any) -> dict[str, Any]:
    detector = Dataset()
    detector.ImageOrientationPatient = AXIAL
    detector.ImagePositionPatient = [-100, -50, 300]
    return {
        "Modality": "NM",
        "ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        "SeriesDescription": "recon",
        "SeriesNumber": 1,
        "PixelSpacing": [4.5, 4.6],
        "SliceThickness": 4.8,
        "SpacingBetweenSlices": 4.8,
        "DetectorInformationSequence": Sequence([detector]),
        "FrameIncrementPointer": 0x00540080,
        "SliceVector": list(range(1, 9)),
        **changes,
    }


def spect(folder: Path, voxels: np.ndarray = NM_VOXELS, **changes: Any) -> Volume:
    path = save(folder / "nm.dcm", changes.pop("sop", NM_CLASS), voxels, **nm_tags(**changes))
    return read_volume(path, "spect")


def array(volume: Volume) -> np.ndarray:
    return sitk.GetArrayFromImage(volume.image)


def windows(*limits: tuple[float, float]) -> Sequence:
    """Energy windows of an NM file, limits in keV."""
    items = []
    for low, high in limits:
        bounds, item = Dataset(), Dataset()
        bounds.EnergyWindowLowerLimit, bounds.EnergyWindowUpperLimit = low, high
        item.EnergyWindowRangeSequence = Sequence([bounds])
        items.append(item)
    return Sequence(items)
