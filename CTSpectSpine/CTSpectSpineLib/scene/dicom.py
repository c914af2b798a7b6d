"""A SPECT from DICOM as a volume node, and the results to export. One that knows MRML."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from CTSpectSpineLib.dicom_export.read_back import ReadReport
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.scene.colours import show_spect
from CTSpectSpineLib.scene.mrml import Node, add_volume, mrml
from CTSpectSpineLib.scene.nodes import analyses, scene_nodes
from CTSpectSpineLib.scene.segmentations import add_joints, add_vertebrae
from CTSpectSpineLib.scene.tables import add_joint_table, add_verdict_table
from CTSpectSpineLib.volumes.regions import common_grid
from CTSpectSpineLib.volumes.segmentation_nrrd import Segment, write_segmentation
from CTSpectSpineLib.volumes.volume import Volume

_UNITS = {
    "Bq/ml": ("Bq/ml", "UCUM", "Becquerels/milliliter"),
    "counts": ("{counts}", "UCUM", "Counts"),
    "SUV": ("g/ml", "UCUM", "Standardized Uptake Value body weight"),
    "SUL": ("g/ml{SUVlbm}", "UCUM", "Standardized Uptake Value lean body mass"),
    "SUVbsa": ("cm2/ml", "UCUM", "Standardized Uptake Value body surface area"),
    "SUVibw": ("g/ml{SUVibw}", "UCUM", "Standardized Uptake Value ideal body weight"),
}
"""Unit to code, scheme and meaning. Standard: DICOM PS3.16, CID 84."""
_QUANTITY = ("110821", "DCM", "Nuclear Medicine Tomographic Activity")
"""What the voxels measure. Standard: DICOM PS3.16, CID 7180."""
NOTES = "CTSpectSpine.notes"
"""Attribute of a volume: what was assumed while it was read."""


def add_spect(scene: Node, volume: Volume, name: str) -> Node:
    """Add a SPECT as it was read, with its unit, in the hot colours."""
    node = add_volume(scene, volume.image, name)
    if volume.unit in _UNITS:
        slicer, _ = mrml()
        for given, coded in ((_QUANTITY, "Quantity"), (_UNITS[volume.unit], "Units")):
            entry = slicer.vtkCodedEntry()
            entry.SetValueSchemeMeaning(*given)
            getattr(node, f"SetVoxelValue{coded}")(entry)
    if volume.notes:
        node.SetAttribute(NOTES, " ".join(volume.notes))
    show_spect(scene, node)
    return node


def add_segments(scene: Node, segments: Sequence[Segment], name: str) -> Node:
    """Add segments of a segmentation object as a segmentation, with names and terminology."""
    regions = [segment.region for segment in segments if isinstance(segment.region, Region)]
    joints = any(" " in segment.name for segment in segments)
    with tempfile.TemporaryDirectory(prefix="CTSpectSpine-") as folder:
        path = Path(folder) / "segments.seg.nrrd"
        write_segmentation(path, segments, common_grid(regions))
        node = add_joints(scene, path, ()) if joints else add_vertebrae(scene, path)
    # The file is gone: the segmentation is saved anew with its scene.
    scene.RemoveNode(node.GetStorageNode())
    node.SetName(scene.GenerateUniqueName(name))
    return node


def add_report(scene: Node, report: ReadReport, name: str) -> tuple[Node, ...]:
    """Add measurements and verdict of a structured report as tables, the joints first."""
    tables = []
    if report.joints:
        tables.append(add_joint_table(scene, report.joints))
    tables.append(add_verdict_table(scene, report.verdict))
    for table in tables:
        table.SetName(scene.GenerateUniqueName(f"{name}, {table.GetName()}"))
    return tuple(tables)


def analysis_of(node: Node) -> tuple[Node | None, bool]:
    """The analysis that a node belongs to.

    Returns
    -------
    manifest, own
        Manifest node of the newest analysis of a CT, or of the one that added the node; and
        whether the analysis added it. None for other nodes.
    """
    for manifest in reversed(analyses(node.GetScene())):
        nodes = scene_nodes(manifest)
        if node is nodes.ct:
            return manifest, False
        if any(node is own for own in (*nodes.nodes(), *nodes.texts().values())):
            return manifest, node is not nodes.spect
    return None, False
