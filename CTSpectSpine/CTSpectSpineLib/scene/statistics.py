"""Uptake of any segment with the numbers of the joint table. One of the files that know MRML."""

from __future__ import annotations

import numpy as np

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import apply_matrix
from CTSpectSpineLib.joint_table import number
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.scene.mrml import Node, image_from_node, mrml, numpy_matrix
from CTSpectSpineLib.scene.nodes import analyses, scene_nodes
from CTSpectSpineLib.scene.segmentations import segment_points
from CTSpectSpineLib.uptake.sampling import region_max, region_mean, region_peak, spect_field

MEASURES = ("mean", "max", "peak")
"""What is measured of a segment, as in ``joints.csv``."""


def segment_uptake(segmentation: Node, segment_id: str, volume: Node) -> dict[str, float]:
    """Uptake of a segment on a SPECT or PET that lies where the scene shows it.

    The mean weights every voxel by the share of it that the segment covers, the peak is the
    hottest sphere of 12 mm: the functions are those that measure joints. Where an analysis of the
    scene has measured the same SPECT, its reference and its SUV factor hold for the segment, too.

    Returns
    -------
    dict
        ``mean``, ``max``, ``peak`` in the volume's unit; ``coverage``, the share of the segment
        inside the volume; ``ratio_mean`` … and ``suv_mean`` … where they are known. Empty where
        the segment is empty or wholly outside, or the volume holds no voxels.
    """
    points = _in_world(segmentation, segment_points(segmentation, segment_id))
    try:
        image = image_from_node(volume, where_shown=True)
    except InputError:
        return {}
    if not len(points):
        return {}
    lps = points * (-1.0, -1.0, 1.0)
    field = spect_field(image, np.eye(4))
    coverage = field.coverage(lps)
    if coverage == 0.0:
        return {}
    functions = {"mean": region_mean, "max": region_max, "peak": region_peak}
    found = {name: float(functions[name](field, lps)) for name in MEASURES}
    reference, suv = _scales(volume)
    for factor, prefix in ((1.0 / reference if reference else None, "ratio"), (suv, "suv")):
        if factor is not None:
            found |= {f"{prefix}_{name}": found[name] * factor for name in MEASURES}
    return {**found, "coverage": coverage}


def _in_world(segmentation: Node, points: FloatArray) -> FloatArray:
    parent = segmentation.GetParentTransformNode()
    if parent is None or not len(points):
        return points
    _, vtk = mrml()
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return apply_matrix(numpy_matrix(matrix), points)


def _scales(volume: Node) -> tuple[float | None, float | None]:
    """The reference uptake and the SUV factor in the unit of a volume; None where not known."""
    for manifest in reversed(analyses(volume.GetScene())):
        nodes = scene_nodes(manifest)
        record = nodes.record()
        if record is None or volume not in (nodes.spect, nodes.relative):
            continue
        given = record.reference
        reference = None if np.isnan(given) or given <= 0.0 else given
        suv = None
        for row in record.rows:
            plain, standardised = (number(row.cells.get(k)) for k in ("mean", "suv_mean"))
            if plain > 0.0 and standardised > 0.0:
                suv = standardised / plain
                break
        if volume is nodes.relative:
            suv = None if suv is None or reference is None else suv * reference
            return (1.0 if reference is not None else None), suv
        return reference, suv
    return None, None
