"""Vertebrae and joints as named, coloured segments for ``.seg.nrrd`` files."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.display import SURFACE_RGB
from CTSpectSpineLib.geometry import Box, ijk_to_lps, label_boxes
from CTSpectSpineLib.model import FloatArray, Joint, Region, VertebraLabels
from CTSpectSpineLib.terminology import DISC_PARTS, recommended_rgb, terminology_entry
from CTSpectSpineLib.volumes.segmentation_nrrd import Segment

_REGION_HUES = {"cervical": (0.45, 0.60), "thoracic": (0.25, 0.42), "lumbar": (0.08, 0.18)}
"""Hues (HSV, 0 to 1) of the vertebrae of a region, first to last. Judgement: regions are told
apart,
and red is left to positive joints."""


def vertebra_colour(name: str) -> tuple[float, float, float]:
    """Display colour of a vertebra: hues run along the spine, neighbours differ in value."""
    row = anatomy.vertebra(name)
    siblings = [v.name for v in anatomy.vertebrae() if v.region == row.region]
    place = siblings.index(name)
    if row.region == "sacral":
        return (0.85, 0.72, 0.62)
    low, high = _REGION_HUES[row.region]
    hue = low + (high - low) * place / max(len(siblings) - 1, 1)
    return colorsys.hsv_to_rgb(hue, 0.45, 0.92 if place % 2 else 0.75)


def vertebra_segments(labels: VertebraLabels) -> list[Segment]:
    """One segment per vertebra, named as TotalSegmentator names them."""
    array = sitk.GetArrayViewFromImage(labels.image)
    matrix = ijk_to_lps(labels.image)
    boxes = label_boxes(array)
    segments = []
    for level in labels.levels:
        label = anatomy.vertebra(level).id
        box = boxes[label]
        name = level if level == anatomy.SACRUM else f"vertebrae_{level}"
        segments.append(
            Segment(
                id=name,
                name=name,
                colour=vertebra_colour(level),
                region=Region(np.asarray(array[box] == label), _shifted(matrix, box)),
                label_value=label,
                terminology=terminology_entry("vertebra", level),
                tags={"CTSpectSpine.level": level},
            )
        )
    return segments


def _shifted(matrix: FloatArray, box: Box) -> FloatArray:
    """Index-to-LPS matrix of a box cut out of a grid."""
    start = np.array([box[2].start, box[1].start, box[0].start, 1.0])
    shifted: FloatArray = matrix.copy()
    shifted[:, 3] = matrix @ start
    return shifted


def joint_segments(joints: Sequence[Joint], table: pd.DataFrame | None = None) -> list[Segment]:
    """One segment per located joint, coloured by its uptake class, with the verdict as tags."""
    rows = {} if table is None else {row["joint"]: row for row in table.to_dict("records")}
    segments = []
    for joint in joints:
        if joint.region is None:
            continue
        row = rows.get(joint.id, {})
        uptake = str(row.get("uptake", "not_measurable"))
        tags = {
            "CTSpectSpine.level": joint.level,
            "CTSpectSpine.kind": joint.kind,
            "CTSpectSpine.side": joint.side,
        }
        if row:
            tags["CTSpectSpine.uptake"] = uptake
            tags["CTSpectSpine.verdict"] = str(row.get("verdict", ""))
        segments.append(
            Segment(
                id=joint.id,
                name=joint.id,
                colour=SURFACE_RGB[uptake],
                region=joint.region,
                terminology=terminology_entry(joint.kind, joint.level, joint.side),
                tags=tags,
            )
        )
    return segments


def part_segments(joints: Sequence[Joint]) -> list[Segment]:
    """The parts of the joints (disc space, endplates) as segments of their own."""
    return [
        Segment(
            id=f"{joint.id}: {name}",
            name=f"{joint.id}: {name.replace('_', ' ')}",
            colour=_part_colour(name),
            region=region,
            terminology=terminology_entry(
                name if name in DISC_PARTS else joint.kind, joint.level, joint.side
            ),
            tags={"CTSpectSpine.level": joint.level, "CTSpectSpine.part": name},
        )
        for joint in joints
        for name, region in joint.parts.items()
    ]


def _part_colour(name: str) -> tuple[float, float, float]:
    if name not in DISC_PARTS:
        return 0.7, 0.7, 0.7
    red, green, blue = recommended_rgb(name)
    return red / 255.0, green / 255.0, blue / 255.0
