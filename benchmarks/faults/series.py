"""A CT of NIfTI as a DICOM series, for the command that exports to DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_series(source: Path, folder: Path) -> None:
    """Write one file per slice of a CT, on the same grid."""
    image = sitk.ReadImage(str(source))
    axes = np.array(image.GetDirection()).reshape(3, 3)
    across, down, apart = image.GetSpacing()
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    folder.mkdir(parents=True)
    for k, plane in enumerate(sitk.GetArrayFromImage(image)):
        made = Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
        made.file_meta.MediaStorageSOPClassUID = CTImageStorage
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.SeriesInstanceUID, made.StudyInstanceUID = series, study
        made.FrameOfReferenceUID, made.Modality = frame, "CT"
        made.PatientID, made.PatientName, made.InstanceNumber = "FAULTS", "Faults", k + 1
        made.Rows, made.Columns = plane.shape
        made.PixelSpacing, made.SliceThickness = [down, across], apart
        made.ImageOrientationPatient = [f"{v:.9g}" for v in (*axes[:, 0], *axes[:, 1])]
        place = image.TransformIndexToPhysicalPoint((0, 0, k))
        made.ImagePositionPatient = [f"{v:.9g}" for v in place]
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit, made.PixelRepresentation = 15, 1
        made.RescaleSlope, made.RescaleIntercept = 1, 0
        made.PixelData = plane.astype("<i2").tobytes()
        made.save_as(folder / f"{k:03}.dcm", enforce_file_format=True)
