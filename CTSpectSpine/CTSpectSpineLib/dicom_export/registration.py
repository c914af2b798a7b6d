"""Spatial Registration (DICOM PS3.3 A.39.1): the SPECT's frame of reference in that of the CT."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import format_number_as_ds

from CTSpectSpineLib.dicom_export.headers import DicomSource, references
from CTSpectSpineLib.dicom_export.study import NewSeries, Study, complete, empty_object
from CTSpectSpineLib.geometry import FloatArray

SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.1"


def spatial_registration(
    spect_to_ct: FloatArray,
    ct: DicomSource,
    spect: DicomSource,
    study: Study,
    series: NewSeries,
) -> Dataset:
    """The registration of a SPECT to a CT.

    Parameters
    ----------
    spect_to_ct
        4×4 rigid matrix from points of the SPECT to points of the CT, LPS mm.
    ct, spect
        The series.
    study, series
        Where it belongs.
    """
    made = empty_object(SPATIAL_REGISTRATION, "REG", study, 1)
    made.ContentLabel = "REGISTRATION"
    made.ContentDescription = "SPECT to CT"
    made.ContentCreatorName = ""
    made.FrameOfReferenceUID = ct.frame_of_reference
    made.PositionReferenceIndicator = ""
    identity, moved = _item(ct, None), _item(spect, spect_to_ct)
    if spect.frame_of_reference == ct.frame_of_reference:
        # One frame of reference has no matrix to itself: the images say which one moves.
        del moved.FrameOfReferenceUID
    made.RegistrationSequence = Sequence([identity, moved])
    _refer(made, study, (ct, spect))
    return complete(made, study, series)


def _item(source: DicomSource, matrix: FloatArray | None) -> Dataset:
    item, registration, transform = Dataset(), Dataset(), Dataset()
    if source.frame_of_reference:
        item.FrameOfReferenceUID = source.frame_of_reference
    item.ReferencedImageSequence = Sequence(references(source.headers))
    rows = [[float(i == j) for j in range(4)] for i in range(4)]
    if matrix is not None:
        rows = matrix.tolist()
    transform.FrameOfReferenceTransformationMatrix = [
        format_number_as_ds(float(number) + 0.0) for row in rows for number in row
    ]
    transform.FrameOfReferenceTransformationMatrixType = "RIGID"
    registration.MatrixSequence = Sequence([transform])
    registration.RegistrationTypeCodeSequence = Sequence([] if matrix is None else [_by_content()])
    item.MatrixRegistrationSequence = Sequence([registration])
    return item


def _by_content() -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "125024", "DCM"
    code.CodeMeaning = "Image Content-based Alignment"
    return code


def _refer(made: Dataset, study: Study, sources: tuple[DicomSource, ...]) -> None:
    """Enter the series that are referred to (common instance reference module)."""
    here, elsewhere = [], []
    for source in sources:
        item = Dataset()
        item.SeriesInstanceUID = source.series
        item.ReferencedInstanceSequence = Sequence(references(source.headers))
        if source.study == study.uid:
            here.append(item)
            continue
        other = Dataset()
        other.StudyInstanceUID = source.study
        other.ReferencedSeriesSequence = Sequence([item])
        elsewhere.append(other)
    made.ReferencedSeriesSequence = Sequence(here)
    if elsewhere:
        made.StudiesContainingOtherReferencedInstancesSequence = Sequence(elsewhere)
