"""The structured report: TID 1500 (DICOM PS3.16) with each joint's measurements and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from CTSpectSpineLib.dicom_export import measurement_codes as known
from CTSpectSpineLib.dicom_export.headers import DicomSource
from CTSpectSpineLib.dicom_export.segmentation import coded
from CTSpectSpineLib.dicom_export.study import (
    RESEARCH,
    SERIAL_NUMBER,
    SOFTWARE,
    NewSeries,
    Study,
    complete,
    new_uid,
)
from CTSpectSpineLib.joint_columns import USUAL_METRIC
from CTSpectSpineLib.joint_table import metric_of, number
from CTSpectSpineLib.terminology import region_code, side_code, type_code
from CTSpectSpineLib.version import __version__

_Group = Any
"""One of highdicom's groups of measurements: with a region (TID 1411) or without (TID 1501)."""


@dataclass(frozen=True)
class SegmentOf:
    """Where a joint is segmented: the object, the segment's number, and its tracking UID."""

    instance: Dataset
    number: int
    tracking_uid: str


@dataclass(frozen=True)
class Findings:
    """What the report says.

    Attributes
    ----------
    joints
        Rows of the joint table, cranial to caudal.
    bounds
        The protocol's bounds, as the manifest has them.
    unit
        Unit of the SPECT.
    verdict
        ``verdict.json``.
    refusal
        Why the results give no verdict; empty where they do. With a refusal neither a disposition
        nor any number is reported.
    """

    joints: Sequence[Mapping[Any, Any]]
    bounds: Mapping[str, Any]
    unit: str
    verdict: Mapping[str, Any]
    refusal: str = ""


def structured_report(
    findings: Findings,
    segments: Mapping[str, SegmentOf],
    source: DicomSource,
    evidence: Sequence[Dataset],
    study: Study,
    series: NewSeries,
) -> Comprehensive3DSR:
    """The report of one analysis.

    Parameters
    ----------
    findings
        What it says.
    segments
        Joint to its segment; joints without one are reported without region.
    source
        The CT.
    evidence
        Segmentations and source images.
    study, series
        Where it belongs.
    """
    observer = ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=new_uid(),
            name=SOFTWARE,
            manufacturer_name=SOFTWARE,
            model_name=SOFTWARE,
            serial_number=SERIAL_NUMBER,
        ),
    )
    quantities = _quantities(findings)
    groups: list[_Group] = [
        _joint_group(row, findings, quantities, segments.get(str(row["joint"])), source)
        for row in _by_segment(findings, segments)
    ]
    # Without any segment there is nothing that readers could pair the groups with.
    paired = len(segments) or len(groups)
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=coded(known.local("SPINE_SPECT_CT", "Bone SPECT/CT of the spine")),
        imaging_measurements=groups[:paired],
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            CodedConcept("en", "RFC5646", "English")
        ),
    )
    if groups[paired:]:
        report[0].ContentSequence.append(_without_region(groups[paired:]))
    report[0].ContentSequence.append(_verdict(findings))
    made = Comprehensive3DSR(
        evidence=evidence,
        content=report,
        series_instance_uid=series.uid,
        series_number=series.number,
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer=SOFTWARE,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    made.ManufacturerModelName = SOFTWARE
    made.SoftwareVersions, made.DeviceSerialNumber = __version__, SERIAL_NUMBER
    complete(made, study, series)
    return made


def with_numbers_first(findings: Findings) -> list[str]:
    """The joints, cranial to caudal: first those with numbers, then those without.

    Readers that make a table of the report (Slicer) take its columns from the first joint.
    """
    known = _quantities(findings)
    counted = [(len(list(_measurements(row, findings, known))), row) for row in findings.joints]
    ordered = sorted(counted, key=lambda item: -item[0])
    return [str(row["joint"]) for _, row in ordered]


def _by_segment(findings: Findings, segments: Mapping[str, SegmentOf]) -> list[Mapping[Any, Any]]:
    """Rows in the order of the segments, which such readers count on; then those without one."""

    def place(row: Mapping[Any, Any]) -> int:
        found = segments.get(str(row["joint"]))
        return found.number if found else len(segments) + 1

    return sorted(findings.joints, key=place)


def _quantities(findings: Findings) -> list[known.Quantity]:
    """What is reported of joints; first what most of them have, so that it keeps its column."""
    found = list(known.quantities())
    metrics = {metric_of(findings.bounds, str(row["kind"])) for row in findings.joints}
    found += [known.deciding(metric) for metric in sorted(metrics - {USUAL_METRIC})]

    def count(quantity: known.Quantity) -> int:
        return sum(any(_measurements(row, findings, [quantity])) for row in findings.joints)

    return sorted(found, key=lambda quantity: -count(quantity))


def _joint_group(
    row: Mapping[Any, Any],
    findings: Findings,
    quantities: Sequence[known.Quantity],
    segment: SegmentOf | None,
    source: DicomSource,
) -> _Group:
    kind, level, side = str(row["kind"]), str(row["level"]), side_code(str(row["side"]))
    shared: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(
            segment.tracking_uid if segment else new_uid(), str(row["joint"])
        ),
        "finding_type": coded(type_code(kind, level)),
        "finding_sites": [
            FindingSite(coded(region_code(level)), None if side is None else coded(side))
        ],
        "algorithm_id": AlgorithmIdentification(SOFTWARE, __version__),
        "measurements": list(_measurements(row, findings, quantities)) or None,
        "qualitative_evaluations": list(_evaluations(row, findings)),
    }
    if segment is None:
        return MeasurementsAndQualitativeEvaluations(**shared)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=ReferencedSegment(
            sop_class_uid=segment.instance.SOPClassUID,
            sop_instance_uid=segment.instance.SOPInstanceUID,
            segment_number=segment.number,
            source_series=SourceSeriesForSegmentation(source.series),
        ),
        **shared,
    )


def _measurements(
    row: Mapping[Any, Any], findings: Findings, quantities: Sequence[known.Quantity]
) -> Iterator[Measurement]:
    """The numbers of a joint; none where nothing may rest on them."""
    if findings.refusal or row["uptake"] == "not_measurable":
        return
    usual = {quantity.column for quantity in known.quantities()}
    metric = metric_of(findings.bounds, str(row["kind"]))
    for quantity in quantities:
        found = number(row.get(quantity.column))
        if math.isfinite(found) and quantity.column in {*usual, metric}:
            unit = quantity.unit or known.spect_unit(findings.unit)
            yield Measurement(name=coded(quantity.code), value=found, unit=coded(unit))


def _evaluations(row: Mapping[Any, Any], findings: Findings) -> Iterator[QualitativeEvaluation]:
    if findings.refusal:
        status = known.local("WITHHELD", "Withheld, the analysis gives no verdict")
    else:
        status = known.status_code(str(row["status"]))
        uptake = known.class_code(str(row["uptake"]))
        name = known.local("UPTAKE_CLASS", "Uptake class")
        yield QualitativeEvaluation(coded(name), coded(uptake))
    name = known.local("JOINT_STATUS", "Status of the measurement")
    yield QualitativeEvaluation(coded(name), coded(status))


def _without_region(groups: Sequence[_Group]) -> ContainerContentItem:
    """Joints that no segment shows, most of them cut off by the ends of the scan.

    They stand apart, so that there is one measurement group for each segment.
    """
    made = ContainerContentItem(
        name=coded(known.local("NO_REGION", "Joints without a region")),
        relationship_type="CONTAINS",
    )
    made.ContentSequence = ContentSequence([group[0] for group in groups])
    return made


def _verdict(findings: Findings) -> ContainerContentItem:
    """The verdict of the protocol, its reasons as texts.

    It stands beside the measurements and not among them: no joint is measured by it, and readers
    that count measurement groups as segments stay right.
    """
    verdict = findings.verdict
    named = "no_verdict" if findings.refusal else str(verdict.get("disposition") or "no_verdict")
    reasons = [findings.refusal] if findings.refusal else list(verdict.get("reasons") or ())
    protocol = verdict.get("protocol") or {}
    texts = [
        ("PROTOCOL_ID", "Protocol", protocol.get("id")),
        ("PROTOCOL_VERSION", "Version of the protocol", protocol.get("version")),
        *(("REASON", "Reason", reason) for reason in reasons),
        ("CAVEAT", "Caveat", f"{RESEARCH}. Not a medical device; not for diagnosis or treatment."),
    ]
    made = ContainerContentItem(
        name=CodedConcept("C0034375", "UMLS", "Qualitative Evaluations"),
        relationship_type="CONTAINS",
    )
    made.ContentSequence = ContentSequence(
        [
            CodeContentItem(
                coded(known.local("DISPOSITION", "Disposition by the protocol")),
                coded(known.disposition_code(named)),
                relationship_type="CONTAINS",
            )
        ]
    )
    stability = math.nan if findings.refusal else number(verdict.get("stability"))
    if not math.isnan(stability):
        share = known.local("STABILITY", "Share of repetitions with this disposition")
        made.ContentSequence.append(
            NumContentItem(
                coded(share), stability, coded(known.NO_UNIT), relationship_type="CONTAINS"
            )
        )
    for value, meaning, text in texts:
        if text:
            made.ContentSequence.append(
                TextContentItem(
                    coded(known.local(value, meaning)), str(text), relationship_type="CONTAINS"
                )
            )
    return made
