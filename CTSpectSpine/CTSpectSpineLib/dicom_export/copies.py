"""De-identified copies of the CT and the SPECT, so that exported objects have what they refer to.

A copy is made anew: its pixels are decoded and written plainly (what hides in unused bits, behind
the pixels or in a compressed stream does not come along), its UIDs are those by which the other
objects of the export name it, and of the header only what `copied_tags` lists is entered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from CTSpectSpineLib.dicom_export import measurement_codes as known
from CTSpectSpineLib.dicom_export.copied_tags import (
    CT_IMAGE,
    NM_IMAGES,
    NUMBERS,
    PET_IMAGE,
    TRACER_NUMBERS,
    enter_numbers,
    enter_words,
    kernel,
    maker,
)
from CTSpectSpineLib.dicom_export.deidentify import DUMMIES, mark_deidentified
from CTSpectSpineLib.dicom_export.fused import code_item, technetium
from CTSpectSpineLib.dicom_export.headers import DicomSource
from CTSpectSpineLib.dicom_export.sources import Sources
from CTSpectSpineLib.dicom_export.study import NewSeries, Study, complete, empty_object
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes.dicom.pixels import stored_pixels
from CTSpectSpineLib.volumes.dicom.scale import scale_of
from CTSpectSpineLib.volumes.dicom.series import DicomFile
from CTSpectSpineLib.volumes.dicom.tags import value, values

_MODALITY = {CT_IMAGE: "CT", PET_IMAGE: "PT", **dict.fromkeys(NM_IMAGES, "NM")}


@dataclass(frozen=True)
class SourceCopy:
    """A copy of one file, made when it is asked for: a CT has hundreds.

    Attributes
    ----------
    name
        Of the file to write.
    path
        The file that is copied.
    header
        Its attributes with the new UIDs.
    study, series, instance
        Where the copy belongs, and its number in the series.
    half_life_s
        Of the radionuclide; None where it is not known.
    """

    name: str
    path: Path
    header: Dataset
    study: Study
    series: NewSeries
    instance: int
    half_life_s: float | None = None

    def make(self) -> Dataset:
        """The copy.

        Raises
        ------
        InputError
            If its pixels cannot be read.
        """
        original = dcmread(self.path, stop_before_pixels=True, force=True)
        kind = str(self.header.SOPClassUID)
        made = empty_object(kind, _MODALITY[kind], self.study, self.instance)
        made.SOPInstanceUID = self.header.SOPInstanceUID
        made.file_meta.MediaStorageSOPInstanceUID = self.header.SOPInstanceUID
        for own in ("ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber"):
            delattr(made, own)
        made.Manufacturer = maker(original)
        if "FrameOfReferenceUID" in self.header:
            made.FrameOfReferenceUID = self.header.FrameOfReferenceUID
            made.PositionReferenceIndicator = ""
        enter_words(made, original, "ImageType", "LossyImageCompression")
        enter_numbers(made, original, NUMBERS[kind])
        if kind == CT_IMAGE:
            _enter_ct(made, original)
        else:
            _enter_emission(made, original, DicomFile(self.path, original), self.half_life_s)
        _enter_pixels(made, stored_pixels(DicomFile(self.path, original)))
        complete(made, self.study, self.series)
        del made.CodingSchemeIdentificationSequence
        mark_deidentified(made)
        return made


def source_copies(sources: Sources, renamed: Sources) -> tuple[SourceCopy, ...]:
    """What copies the files of an export's sources.

    Parameters
    ----------
    sources
        As they were found.
    renamed
        The same by `deidentify.without_identity`.

    Raises
    ------
    InputError
        If a file is of a kind that is not copied, or says that it shows the patient's name.
    """
    study = Study.of(renamed.ct)
    found = list(_copies("ct", sources.ct, renamed.ct, study, 1))
    if sources.spect is not None and renamed.spect is not None:
        of_spect = Study(renamed.spect.study, study.patient, study.created)
        found += _copies("spect", sources.spect, renamed.spect, of_spect, 2)
    return tuple(found)


def _copies(
    name: str, source: DicomSource, renamed: DicomSource, study: Study, place: int
) -> Iterator[SourceCopy]:
    series = NewSeries(renamed.series, place, f"{name.upper()} of the analysis")
    half_life = source.volume.acquisition.half_life_s
    for count, (path, header) in enumerate(
        zip(source.volume.files, renamed.headers, strict=True), start=1
    ):
        _check(path, str(header.SOPClassUID))
        yield SourceCopy(f"{name}-{count:04}.dcm", path, header, study, series, count, half_life)


def _check(path: Path, kind: str) -> None:
    if kind not in NUMBERS:
        raise InputError(
            f"{path}: de-identified copies are made of CT as single slices, NM and PET, and this "
            f"is another kind of object (SOPClassUID {kind}); export without --with-sources."
        )
    wanted = ["BurnedInAnnotation"]
    header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=[*wanted])
    if str(value(header, "BurnedInAnnotation") or "").strip().upper() == "YES":
        raise InputError(
            f"{path}: says that words are burned into its pixels (BurnedInAnnotation YES), which "
            "may name the patient; export without --with-sources."
        )


def _enter_ct(made: Dataset, original: Dataset) -> None:
    made.PatientPosition = ""
    enter_words(made, original, "PatientPosition", "RotationDirection")
    for keyword in ("KVP", "AcquisitionNumber"):
        if keyword not in made:
            setattr(made, keyword, "")
    if kernel(original):
        made.ConvolutionKernel = kernel(original)
    made.RescaleSlope = made.get("RescaleSlope", "1")
    made.RescaleIntercept = made.get("RescaleIntercept", "0")
    made.RescaleType = "HU"


def _enter_emission(
    made: Dataset, original: Dataset, file: DicomFile, half_life_s: float | None
) -> None:
    """What NM and PET have in common, and what each has alone."""
    enter_words(made, original, "CorrectedImage", "DecayCorrection", "PatientPosition")
    scale = scale_of(file, "spect")
    mapping = Dataset()
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = scale.intercept, scale.slope
    mapping.LUTExplanation, mapping.LUTLabel = "Uptake", "UPTAKE"
    mapping.MeasurementUnitsCodeSequence = Sequence([code_item(known.spect_unit(scale.unit))])
    made.RealWorldValueMappingSequence = Sequence([mapping])
    made.RadiopharmaceuticalInformationSequence = Sequence([_tracer(original, half_life_s)])
    made.PatientOrientationCodeSequence = Sequence([])
    made.PatientGantryRelationshipCodeSequence = Sequence([])
    if file.header.SOPClassUID == PET_IMAGE:
        enter_words(made, original, "Units", "SUVType", "CountsSource", "SeriesType")
        made.CollimatorType = made.AcquisitionDate = made.AcquisitionTime = ""
        made.SeriesDate, made.SeriesTime = DUMMIES["DA"], DUMMIES["TM"]
        for keyword in ("CorrectedImage", "ActualFrameDuration"):
            if keyword not in made:
                setattr(made, keyword, "")
        made.RescaleIntercept = made.get("RescaleIntercept", "0")
        return
    made.CountsAccumulated = made.AcquisitionTerminationCondition = ""
    made.NumberOfFrames = file.frames
    counted = {
        "NumberOfEnergyWindows": _distinct(original, "EnergyWindowVector", 1),
        "NumberOfDetectors": _distinct(original, "DetectorVector", 1),
        "NumberOfRotations": _distinct(original, "RotationVector", 1),
        "NumberOfSlices": _distinct(original, "SliceVector", file.frames),
    }
    for keyword, count in counted.items():
        setattr(made, keyword, made.get(keyword) or count)
    pointer = values(original, "FrameIncrementPointer")
    if pointer:
        made.FrameIncrementPointer = list(pointer)
    detectors = [_detector(item) for item in values(original, "DetectorInformationSequence")]
    made.DetectorInformationSequence = Sequence(detectors)
    made.RotationInformationSequence = Sequence([])
    windows = [_window(item) for item in values(original, "EnergyWindowInformationSequence")]
    made.EnergyWindowInformationSequence = Sequence(windows)


def _distinct(original: Dataset, keyword: str, default: int) -> int:
    return len({str(part) for part in values(original, keyword)}) or default


def _tracer(original: Dataset, half_life_s: float | None) -> Dataset:
    """The radionuclide and its activity; no time of injection, and no name of the tracer."""
    made = Dataset()
    found = next(iter(values(original, "RadiopharmaceuticalInformationSequence")), Dataset())
    enter_numbers(made, found, TRACER_NUMBERS)
    made.RadiopharmaceuticalRoute = made.Radiopharmaceutical = ""
    made.RadionuclideCodeSequence = Sequence(technetium(half_life_s))
    return made


def _detector(original: Dataset) -> Dataset:
    made = Dataset()
    made.CollimatorType = ""
    enter_words(made, original, "CollimatorType")
    enter_numbers(made, original, ("ImagePositionPatient", "ImageOrientationPatient"))
    return made


def _window(original: Dataset) -> Dataset:
    made, limits = Dataset(), []
    for bounds in values(original, "EnergyWindowRangeSequence"):
        item = Dataset()
        enter_numbers(item, bounds, ("EnergyWindowLowerLimit", "EnergyWindowUpperLimit"))
        limits.append(item)
    made.EnergyWindowRangeSequence = Sequence(limits)
    return made


def _enter_pixels(made: Dataset, stored: NDArray[Any]) -> None:
    """Pixels in 16 bits where they fit, else in 32; nothing is scaled."""
    low, high = int(stored.min()), int(stored.max())
    signed = low < 0
    bits = 16 if (low >= -(1 << 15) and high < 1 << 15) or (not signed and high < 1 << 16) else 32
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = stored.shape[-2:]
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit, made.PixelRepresentation = bits - 1, int(signed)
    made.PixelData = stored.astype(np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")).tobytes()
    made["PixelData"].VR = "OW"
    for mapping in made.get("RealWorldValueMappingSequence", ()):
        # The attributes for whole numbers have 16 bits.
        prefix = "" if bits == 16 else "DoubleFloat"
        setattr(mapping, f"{prefix}RealWorldValueFirstValueMapped", low)
        setattr(mapping, f"{prefix}RealWorldValueLastValueMapped", high)
