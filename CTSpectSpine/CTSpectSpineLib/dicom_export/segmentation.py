"""Segmentation objects (DICOM PS3.3 A.51) of vertebrae and joints."""

from __future__ import annotations

from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import format_number_as_ds

from CTSpectSpineLib.dicom_export.headers import DicomSource
from CTSpectSpineLib.dicom_export.structures import Layer, Structure
from CTSpectSpineLib.dicom_export.study import (
    SERIAL_NUMBER,
    SOFTWARE,
    NewSeries,
    Study,
    complete,
    new_uid,
)
from CTSpectSpineLib.terminology import Code, category_code, region_code, side_code, type_code
from CTSpectSpineLib.version import __version__

_BY_NETWORK = ("builtin", "totalsegmentator")
"""Labellers that are neural networks."""


@dataclass(frozen=True)
class Algorithm:
    """Who made a segmentation.

    Attributes
    ----------
    name, version
        Of the algorithm.
    family
        Its coded family (CID 7162).
    automatic
        Whether no person had a part in it.
    """

    name: str
    version: str
    family: Code
    automatic: bool

    @classmethod
    def of_labeller(cls, engine: str, version: str) -> Algorithm:
        """What made vertebra labels; of labels that a user brought nothing is known."""
        network = engine in _BY_NETWORK
        family = (
            Code("DCM", "123110", "Artificial Intelligence")
            if network
            else Code("DCM", "123109", "Manual Processing")
        )
        return cls(f"Vertebra labels: {engine}", version or "unknown", family, network)

    @classmethod
    def of_joints(cls, version: str) -> Algorithm:
        """What made the joint regions."""
        family = Code("DCM", "123104", "Morphological Operations")
        return cls(f"{SOFTWARE} joint regions", version or __version__, family, True)


def coded(code: Code) -> CodedConcept:
    """A code of this library as highdicom has it."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def segmentation(
    layer: Layer,
    source: DicomSource,
    algorithm: Algorithm,
    study: Study,
    series: NewSeries,
    instance: int,
) -> Segmentation:
    """A segmentation of one layer that refers to the CT.

    Parameters
    ----------
    layer
        Structures and voxels.
    source
        The CT.
    algorithm
        Who made it.
    study, series, instance
        Where it belongs, and its number in the series.
    """
    # highdicom indexes (slice, row, column), the matrix (column, row, slice).
    matrix = layer.matrix[:, [2, 1, 0, 3]]
    volume = hd.Volume(
        layer.voxels,
        matrix,
        coordinate_system="PATIENT",
        frame_of_reference_uid=source.frame_of_reference,
    )
    descriptions = [
        _description(number, structure, algorithm)
        for number, structure in enumerate(layer.structures, start=1)
    ]
    made = Segmentation(
        source_images=source.headers,
        pixel_array=volume,
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=series.uid,
        series_number=series.number,
        sop_instance_uid=new_uid(),
        instance_number=instance,
        manufacturer=SOFTWARE,
        manufacturer_model_name=SOFTWARE,
        software_versions=__version__,
        device_serial_number=SERIAL_NUMBER,
        content_label="SEGMENTATION",
        content_description=series.description,
    )
    if layer.voxels.shape[0] > 1:
        # Readers that stack frames want the distance.
        measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        apart = float(np.linalg.norm(layer.matrix[:3, 2]))
        measures.SpacingBetweenSlices = format_number_as_ds(apart)
    complete(made, study, series)
    return made


def _description(number: int, structure: Structure, algorithm: Algorithm) -> SegmentDescription:
    identification = hd.AlgorithmIdentificationSequence(
        name=algorithm.name, family=coded(algorithm.family), version=algorithm.version
    )
    kinds = SegmentAlgorithmTypeValues
    joint = structure.kind != "vertebra"
    made = SegmentDescription(
        segment_number=number,
        segment_label=structure.name,
        segmented_property_category=coded(category_code()),
        segmented_property_type=coded(type_code(structure.kind, structure.level)),
        algorithm_type=kinds.AUTOMATIC if algorithm.automatic else kinds.SEMIAUTOMATIC,
        algorithm_identification=identification,
        tracking_uid=structure.tracking_uid,
        tracking_id=structure.name,
        anatomic_regions=[coded(region_code(structure.level))] if joint else None,
        display_color=CIELabColor.from_rgb(*structure.rgb),
    )
    side = side_code(structure.side)
    if side is not None:
        kind: Dataset = made.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = Sequence([coded(side)])
    return made


def segment_numbers(layer: Layer) -> dict[str, int]:
    """Name of each structure to the number of its segment."""
    return {s.name: number for number, s in enumerate(layer.structures, start=1)}
