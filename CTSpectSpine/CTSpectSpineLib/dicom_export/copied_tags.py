"""What de-identified copies of the sources take from their headers: numbers, and words of lists.

PS3.15 annex E says what must go; here it is said what may stay, so that tags that nobody thought of
do not. Free texts never stay. Numbers stay that say where a voxel is, what its value means, and how
it was made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from CTSpectSpineLib.volumes.dicom.tags import value, values

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
NM_IMAGES = ("1.2.840.10008.5.1.4.1.1.20", "1.2.840.10008.5.1.4.1.1.5")
PET_IMAGE = "1.2.840.10008.5.1.4.1.1.128"

_GEOMETRY = (
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness",
    "SpacingBetweenSlices", "SliceLocation",
)  # fmt: skip
_CT_NUMBERS = (
    *_GEOMETRY, "KVP", "XRayTubeCurrent", "ExposureTime", "Exposure", "ReconstructionDiameter",
    "DataCollectionDiameter", "GantryDetectorTilt", "TableHeight", "SpiralPitchFactor",
    "PixelPaddingValue", "RescaleSlope", "RescaleIntercept",
)  # fmt: skip
_NM_NUMBERS = (
    *_GEOMETRY, "NumberOfSlices", "NumberOfEnergyWindows", "NumberOfDetectors",
    "NumberOfRotations", "SliceVector", "EnergyWindowVector", "DetectorVector", "RotationVector",
    "AngularViewVector", "PhaseVector", "RRIntervalVector", "TimeSlotVector", "TimeSliceVector",
    "ActualFrameDuration",
)  # fmt: skip
_PET_NUMBERS = (
    *_GEOMETRY, "RescaleSlope", "RescaleIntercept", "NumberOfSlices", "ImageIndex",
    "FrameReferenceTime", "ActualFrameDuration", "DecayFactor", "DoseCalibrationFactor",
    "ScatterFractionFactor", "DeadTimeFactor",
)  # fmt: skip
NUMBERS: Mapping[str, tuple[str, ...]] = {
    CT_IMAGE: _CT_NUMBERS,
    **dict.fromkeys(NM_IMAGES, _NM_NUMBERS),
    PET_IMAGE: _PET_NUMBERS,
}
"""SOP class to the tags with numbers that its copies keep."""
TRACER_NUMBERS = ("RadionuclideTotalDose", "RadionuclideHalfLife", "RadionuclidePositronFraction")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORDS: Mapping[str, frozenset[str]] = {
    "ImageType": _words("ORIGINAL DERIVED PRIMARY SECONDARY AXIAL HELICAL VOLUME REFORMATTED MPR")
    | _words("AVERAGE STATIC EMISSION TRANSMISSION NONE")
    | {"RECON TOMO"},
    "PatientPosition": _words("HFS HFP HFDR HFDL FFS FFP FFDR FFDL"),
    "RotationDirection": _words("CW CC"),
    "CorrectedImage": _words("UNIF COR NCO DECY ATTN SCAT DTIM NRGY LIN MOTN CLN RAN RADL DCAL")
    | {"NORM"},
    "DecayCorrection": _words("NONE START ADMIN"),
    "CollimatorType": _words("PARA FANB CONE PINH DIVG CVGB SLNT ASTG RING NONE UNKN"),
    "Units": _words("BQML CNTS GML CM2ML CPS PROPCPS PROPCNTS NONE"),
    "SUVType": _words("BW LBM LBMJAMES128 LBMJANMA BSA IBW"),
    "CountsSource": _words("EMISSION TRANSMISSION"),
    "SeriesType": _words("STATIC DYNAMIC GATED IMAGE REPROJECTION") | {"WHOLE BODY"},
    "LossyImageCompression": _words("00 01"),
}
"""Tag to the words that are kept of it. Standard: DICOM PS3.3; those of CT's third value in use."""
_OTHER = "OTHER"
"""Stands for a word that is not kept, where the place of the words counts."""
_MAKERS = {
    "siemens": "SIEMENS",
    "ge medical": "GE MEDICAL SYSTEMS",
    "ge healthcare": "GE MEDICAL SYSTEMS",
    "philips": "Philips",
    "adac": "ADAC",
    "picker": "Picker",
    "toshiba": "TOSHIBA",
    "canon": "Canon",
    "mediso": "Mediso",
    "spectrum dynamics": "Spectrum Dynamics",
    "united imaging": "UIH",
}
"""Beginning of a maker's name to the name that is kept. Judgement: who sells SPECT/CT."""
_KERNEL = re.compile(
    r"[A-Z]{1,2}r?\d{2}[a-z]{0,2}(\\\d)?|STANDARD|BONE|BONEPLUS|SOFT|LUNG|DETAIL|CHEST|FC\d{2}",
    re.IGNORECASE,
)
"""Kernels whose name is kept. Judgement: the form of the large makers' names; any other text may
be anything."""


def enter_numbers(made: Dataset, header: Dataset, keywords: tuple[str, ...]) -> None:
    """Enter those tags of a header all of whose values are finite numbers."""
    for keyword in keywords:
        found = values(header, keyword)
        try:
            numbers = [float(part) for part in found]
        except (TypeError, ValueError, OverflowError):
            continue
        if not numbers or not all(map(math.isfinite, numbers)):
            continue
        kind = dictionary_VR(keyword)
        if kind == "DS":
            kept: list[object] = [format_number_as_ds(number) for number in numbers]
        else:
            kept = [*numbers] if kind in ("FD", "FL") else [int(number) for number in numbers]
        setattr(made, keyword, kept if len(kept) > 1 else kept[0])


def enter_words(made: Dataset, header: Dataset, *keywords: str) -> None:
    """Enter tags of a header whose words are known; of others ``OTHER``, or nothing."""
    for keyword in keywords:
        found = [str(part).strip().upper() for part in values(header, keyword)]
        if keyword == "ImageType":
            kept = [word if word in WORDS[keyword] else _OTHER for word in found]
        else:
            kept = [word for word in found if word in WORDS[keyword]]
        if kept:
            setattr(made, keyword, kept if len(kept) > 1 else kept[0])


def maker(header: Dataset) -> str:
    """The maker of the scanner, where it is a known one; else empty."""
    name = str(value(header, "Manufacturer") or "").strip().lower()
    return next((kept for start, kept in _MAKERS.items() if name.startswith(start)), "")


def kernel(header: Dataset) -> str:
    """The kernel, where its name has the form of kernels; else empty."""
    found = "\\".join(str(part).strip() for part in values(header, "ConvolutionKernel"))
    return found if _KERNEL.fullmatch(found) else ""
