"""Small whole DICOM files of every kind that is read, made by code."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from benchmarks.fuzz.seeds import Files, ct_voxels, spect_voxels


def _dicom(sop_class: str, voxels: np.ndarray, number: int, **tags: Any) -> Dataset:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = sop_class
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = f"1.2.3.{number}"
    header.Rows, header.Columns = voxels.shape[-2:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    header.PixelSpacing = [1.25, 1.5]
    header.StudyDate, header.AcquisitionDate, header.AcquisitionTime = "20260101", "20260101", "12"
    for keyword, content in tags.items():
        setattr(header, keyword, content)
    header.PixelData = voxels.astype("<u2").tobytes()
    header["PixelData"].VR = "OW"
    return header


def _bytes(header: Dataset) -> bytes:
    stream = io.BytesIO()
    header.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def ct_folder() -> Files:
    """A CT series."""
    files = {}
    for number, plane in enumerate(ct_voxels()):
        header = _dicom(
            "1.2.840.10008.5.1.4.1.1.2",
            plane + 1024,
            number,
            Modality="CT",
            SeriesInstanceUID="1.2.3",
            SeriesNumber=2,
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, 2.0 * number],
            SliceThickness=2.0,
            RescaleSlope="1",
            RescaleIntercept="-1024",
            PatientID="A",
        )
        files[f"ct/{number}.dcm"] = _bytes(header)
    return files


def nm_object() -> Dataset:
    """A reconstructed SPECT."""
    detector, bounds, window, unit, scale, tracer = (Dataset() for _ in range(6))
    detector.ImageOrientationPatient, detector.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 0]
    bounds.EnergyWindowLowerLimit, bounds.EnergyWindowUpperLimit = 126, 154
    window.EnergyWindowRangeSequence = Sequence([bounds])
    unit.CodeValue, unit.CodingSchemeDesignator = "Bq/ml", "UCUM"
    scale.RealWorldValueSlope, scale.RealWorldValueIntercept = 2.5, 0.0
    scale.MeasurementUnitsCodeSequence = Sequence([unit])
    tracer.Radiopharmaceutical, tracer.RadionuclideTotalDose = "Tc-99m HDP", "650"
    tracer.RadiopharmaceuticalStartTime = "0900"
    voxels = spect_voxels()
    return _dicom(
        "1.2.840.10008.5.1.4.1.1.20",
        voxels,
        1,
        Modality="NM",
        NumberOfFrames=len(voxels),
        ImageType=["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        SpacingBetweenSlices=2.0,
        SliceThickness=2.0,
        FrameIncrementPointer=0x00540080,
        SliceVector=list(range(1, len(voxels) + 1)),
        EnergyWindowVector=[1] * len(voxels),
        EnergyWindowInformationSequence=Sequence([window]),
        DetectorInformationSequence=Sequence([detector]),
        RealWorldValueMappingSequence=Sequence([scale]),
        RadiopharmaceuticalInformationSequence=Sequence([tracer]),
        PatientWeight="80",
        ConvolutionKernel="Gauss 8.0mm",
        CorrectedImage=["ATTN", "DECY"],
    )


def nm_file(compressed: bool = False) -> Files:
    """A reconstructed SPECT as a file."""
    header = nm_object()
    if compressed:
        header.compress(RLELossless)
    return {"nm.dcm": _bytes(header)}


def _group(**macros: Dataset) -> Dataset:
    """A functional group of an enhanced object."""
    made = Dataset()
    for name, item in macros.items():
        setattr(made, f"{name}Sequence", Sequence([item]))
    return made


def _item(**tags: Any) -> Dataset:
    made = Dataset()
    for keyword, content in tags.items():
        setattr(made, keyword, content)
    return made


def enhanced_ct(parts: int = 1) -> Files:
    """An enhanced CT, as one file or as a concatenation of several."""
    voxels = ct_voxels()
    shared = _group(
        PixelMeasures=_item(PixelSpacing=[1.25, 1.5], SliceThickness=2.0),
        PlaneOrientation=_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelValueTransformation=_item(
            RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU"
        ),
        CTImageFrameType=_item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]),
    )
    files = {}
    for number, frames in enumerate(np.array_split(np.arange(len(voxels)), parts)):
        own = [
            _group(
                FrameContent=_item(StackID="1", InStackPositionNumber=int(n) + 1),
                PlanePosition=_item(ImagePositionPatient=[0, 0, 2.0 * int(n)]),
            )
            for n in frames
        ]
        tags: dict[str, Any] = {
            "Modality": "CT",
            "NumberOfFrames": len(frames),
            "SeriesInstanceUID": "1.2.3",
            "SeriesNumber": 2,
            "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
            "SharedFunctionalGroupsSequence": Sequence([shared]),
            "PerFrameFunctionalGroupsSequence": Sequence(own),
            "PatientID": "A",
        }
        if parts > 1:
            tags |= {
                "ConcatenationUID": "1.2.9",
                "InConcatenationNumber": number + 1,
                "InConcatenationTotalNumber": parts,
                "ConcatenationFrameOffsetNumber": int(frames[0]),
            }
        made = _dicom("1.2.840.10008.5.1.4.1.1.2.1", voxels[frames] + 1024, number, **tags)
        files[f"enhanced/{number}.dcm"] = _bytes(made)
    return files


def pet_folder() -> Files:
    """A SPECT as single slices of PET, each with its own slope, in lean-body SUV."""
    files = {}
    for number, plane in enumerate(spect_voxels()):
        made = _dicom(
            "1.2.840.10008.5.1.4.1.1.128",
            plane,
            number,
            Modality="PT",
            SeriesInstanceUID="1.2.4",
            ImageType=["ORIGINAL", "PRIMARY"],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, 2.0 * number],
            SliceThickness=2.0,
            Units="GML",
            SUVType="LBM",
            DecayCorrection="START",
            RescaleSlope=f"{0.01 + number / 1000:g}",
            RescaleIntercept="0",
            PatientID="A",
        )
        files[f"pet/{number}.dcm"] = _bytes(made)
    return files


def study_folder() -> Files:
    """A study with a CT and a SPECT."""
    named = {**ct_folder(), **nm_file()}
    return {f"study/{name}": content for name, content in named.items()}
