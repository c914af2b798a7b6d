"""The SPECT in the CT's frame of reference, as a derived NM RECON TOMO object (PS3.3 A.5)."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import format_number_as_ds

from CTSpectSpineLib.dicom_export import measurement_codes as known
from CTSpectSpineLib.dicom_export.headers import DicomSource, references
from CTSpectSpineLib.dicom_export.study import NewSeries, Study, complete, empty_object
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import Grid, affine, apply_matrix, grid_of, inverse, transform_matrix
from CTSpectSpineLib.terminology import Code
from CTSpectSpineLib.volumes.suv import TC99M_HALF_LIFE_S
from CTSpectSpineLib.volumes.volume import Acquisition

NUCLEAR_MEDICINE = "1.2.840.10008.5.1.4.1.1.20"
_LARGEST = 65535
"""Largest stored value. By definition: of 16 bits."""
_SAME_HALF_LIFE = 0.02
"""Share by which a half-life may differ from technetium's. Judgement: headers round it."""


def placed_spect(spect: sitk.Image, ct: sitk.Image, ct_to_spect: sitk.Transform) -> sitk.Image:
    """The SPECT along the axes of the CT, at its own finest spacing, where the CT is.

    Parameters
    ----------
    spect, ct
        The images.
    ct_to_spect
        Maps points of the CT to points of the SPECT.

    Raises
    ------
    InputError
        If they have no place in common.
    """
    grid = _grid(grid_of(spect), grid_of(ct), transform_matrix(ct_to_spect))
    resampled: sitk.Image = sitk.Resample(
        spect,
        grid.size,
        ct_to_spect,
        sitk.sitkLinear,
        grid.ijk_to_lps[:3, 3].tolist(),
        grid.spacing_mm.tolist(),
        ct.GetDirection(),
        0.0,
        sitk.sitkFloat32,
    )
    return resampled


def _grid(spect: Grid, ct: Grid, ct_to_spect: np.ndarray) -> Grid:
    axes = affine(ct.ijk_to_lps[:3, :3] / ct.spacing_mm, ct.ijk_to_lps[:3, 3])
    corners = apply_matrix(inverse(axes) @ inverse(ct_to_spect), spect.corners_mm())
    inside = apply_matrix(inverse(axes), ct.corners_mm())
    low = np.maximum(corners.min(axis=0), inside.min(axis=0))
    high = np.minimum(corners.max(axis=0), inside.max(axis=0))
    step = float(spect.spacing_mm.min())
    if np.any(high - low < step):
        raise InputError(
            "CT and SPECT of these results have no place in common; check the registration."
        )
    i, j, k = (math.ceil(extent / step) for extent in high - low)
    matrix = axes @ affine(np.eye(3) * step, low + step / 2.0)
    return Grid((i, j, k), matrix)


def fused_object(
    placed: sitk.Image, ct: DicomSource, spect: DicomSource, study: Study, series: NewSeries
) -> Dataset:
    """The placed SPECT as a NM object in the CT's frame of reference.

    Parameters
    ----------
    placed
        As `placed_spect` gives it.
    ct, spect
        The series.
    study, series
        Where it belongs.
    """
    made = empty_object(NUCLEAR_MEDICINE, "NM", study, 1)
    made.ImageType = ["DERIVED", "PRIMARY", "RECON TOMO", "EMISSION"]
    made.DerivationDescription = "Resampled to the frame of reference of the CT"
    made.LossyImageCompression = "00"
    made.FrameOfReferenceUID = ct.frame_of_reference
    made.PositionReferenceIndicator = ""
    made.SourceImageSequence = Sequence(references(spect.headers))
    made.CountsAccumulated = ""
    made.PatientOrientationCodeSequence = Sequence([])
    made.PatientGantryRelationshipCodeSequence = Sequence([])
    made.AcquisitionTerminationCondition = ""
    _enter_isotope(made, spect.volume.acquisition)
    _enter_geometry(made, placed)
    _enter_pixels(made, sitk.GetArrayFromImage(placed), spect.volume.unit)
    return complete(made, study, series)


def _enter_isotope(made: Dataset, acquisition: Acquisition) -> None:
    """Energy windows and radionuclide, as numbers and codes."""
    windows = []
    for low, high in acquisition.energy_windows_kev:
        limits, window = Dataset(), Dataset()
        limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = low, high
        window.EnergyWindowRangeSequence = Sequence([limits])
        windows.append(window)
    made.EnergyWindowInformationSequence = Sequence(windows[:1])
    made.NumberOfEnergyWindows = 1
    tracer = Dataset()
    tracer.RadiopharmaceuticalRoute = ""
    tracer.RadionuclideCodeSequence = Sequence(technetium(acquisition.half_life_s))
    tracer.Radiopharmaceutical = acquisition.tracer[:64].replace("\\", "/")
    made.RadiopharmaceuticalInformationSequence = Sequence([tracer])


def technetium(half_life_s: float | None) -> list[Dataset]:
    """The code of Tc-99m, where this is its half-life."""
    if abs((half_life_s or 0.0) / TC99M_HALF_LIFE_S - 1.0) >= _SAME_HALF_LIFE:
        return []
    return [code_item(Code("SCT", "72454006", "^99m^Technetium"))]


def _enter_geometry(made: Dataset, placed: sitk.Image) -> None:
    grid = grid_of(placed)
    columns, rows, slices = grid.size
    axes = grid.ijk_to_lps[:3, :3] / grid.spacing_mm
    # NM stacks along the normal; the sign says which way.
    upward = float(np.sign(np.cross(axes[:, 0], axes[:, 1]) @ axes[:, 2]))
    made.Rows, made.Columns, made.NumberOfFrames = rows, columns, slices
    across, down, apart = (format_number_as_ds(float(step)) for step in grid.spacing_mm)
    made.PixelSpacing, made.SliceThickness = [down, across], apart
    made.SpacingBetweenSlices = format_number_as_ds(upward * float(grid.spacing_mm[2]))
    made.FrameIncrementPointer = [0x00540080]
    made.SliceVector = list(range(1, slices + 1))
    made.NumberOfSlices = slices
    made.NumberOfDetectors = made.NumberOfRotations = 1
    detector = Dataset()
    detector.CollimatorType = ""
    detector.ImageOrientationPatient = _numbers([*axes[:, 0], *axes[:, 1]])
    detector.ImagePositionPatient = _numbers(grid.ijk_to_lps[:3, 3])
    made.DetectorInformationSequence = Sequence([detector])
    made.RotationInformationSequence = Sequence([])


def _numbers(values: list[float] | np.ndarray) -> list[str]:
    return [format_number_as_ds(float(value) + 0.0) for value in values]


def _enter_pixels(made: Dataset, voxels: np.ndarray, unit: str) -> None:
    """The voxels as 16 bits, and the mapping to their measured values."""
    low, high = min(0.0, float(voxels.min())), float(voxels.max())
    slope = (high - low) / _LARGEST or 1.0
    stored = np.rint((voxels - low) / slope).astype("<u2")
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.PixelData = stored.tobytes()
    mapping = Dataset()
    mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, _LARGEST
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = low, slope
    mapping.LUTExplanation, mapping.LUTLabel = "Uptake", "UPTAKE"
    mapping.MeasurementUnitsCodeSequence = Sequence([code_item(known.spect_unit(unit))])
    made.RealWorldValueMappingSequence = Sequence([mapping])
    made.WindowCenter, made.WindowWidth = str(_LARGEST // 4), str(_LARGEST // 2)


def code_item(code: Code) -> Dataset:
    """A code as an item of a sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme
    item.CodeMeaning = code.meaning
    return item
