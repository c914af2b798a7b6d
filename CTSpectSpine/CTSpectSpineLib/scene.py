"""The results folder as a 3D Slicer scene.

Together with `mrml` the only place of the library that knows MRML; see there for what it needs.
"""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.anatomy import name_of_id
from CTSpectSpineLib.desktop.record import FILES, record_from_texts
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling.numbering import body_centres
from CTSpectSpineLib.mrml import (
    ROLE,
    TRANSFORM_ROLE,
    Node,
    add_node,
    add_volume,
    headless_scene,
    image_from_node,
    mrml,
    vtk_matrix,
)
from CTSpectSpineLib.scene_colours import LEAST_TOP, MOST_TOP, add_legend, show_spect
from CTSpectSpineLib.scene_levels import add_level_names, show_where_readable
from CTSpectSpineLib.scene_nodes import SceneNodes as SceneNodes
from CTSpectSpineLib.scene_plot import add_uptake_plot, show_plot
from CTSpectSpineLib.scene_tables import add_joint_table, add_verdict_table, number
from CTSpectSpineLib.scene_views import add_views, fuse, overview, show_ct
from CTSpectSpineLib.terminology import recommended_rgb, terminology_entry

VERTEBRAE_OPACITY = 0.35
"""Opacity of the vertebrae in 3D, so that the joints are seen through them."""
TAG_PREFIX = "CTSpectSpine."
"""Joint segments carry the columns `TAG_COLUMNS` of the joint table as tags of this prefix."""
TAG_COLUMNS = ("uptake", "ratio_corrected", "ratio_low", "ratio_high", "status", "verdict")


def write_scene(folder: Path, ct: sitk.Image, spect: sitk.Image) -> Path:
    """Write ``scene.mrb`` of a results folder, in a scene of its own. Needs no OpenGL.

    Parameters
    ----------
    folder
        Results folder, see `populate_scene`.
    ct, spect
        The images that were analysed.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If the folder lacks results, or the scene cannot be written there.
    MissingPackageError
        If slicer-core is not installed.
    """
    slicer, _ = mrml()
    target = folder / "scene.mrb"
    with headless_scene() as (scene, _application):
        add_views(scene)
        populate_scene(scene, ct=ct, spect=spect, folder=folder)
        # The bundle's name is part of what is in it, so the temporary file keeps the name.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".scene-") as temporary:
            bundle = Path(temporary) / target.name
            messages = slicer.vtkMRMLMessageCollection()
            if not scene.WriteToMRB(str(bundle), None, messages):
                raise InputError(
                    f"{target} could not be written ({messages.GetAllMessagesAsString()}): "
                    "check the free space and the folder's permissions."
                )
            bundle.replace(target)
    return target


def populate_scene(
    scene: Node, *, ct: sitk.Image | Node, spect: sitk.Image | Node, folder: Path
) -> SceneNodes:
    """Add the results of an analysis to a scene.

    CT in a bone window and SPECT in a hot colour table are fused in all slice views, the SPECT
    moved by the registration; vertebrae and joints become segmentations with terminology,
    joints with the colour and tags of their uptake; the joint table and the verdict become
    tables. All of it lies in one subject hierarchy folder.

    Parameters
    ----------
    scene
        The ``vtkMRMLScene``.
    ct, spect
        The images that were analysed, or the volume nodes of this scene that hold them.
    folder
        Results folder with ``spect_to_ct.tfm``; ``vertebrae.seg.nrrd`` (or ``.nii.gz``),
        ``joints.seg.nrrd``, ``joints.csv`` and ``verdict.json`` are taken where present.

    Raises
    ------
    InputError
        If ``spect_to_ct.tfm`` is missing, or a file of the folder cannot be read.
    """
    matrix = _read_transform(folder / "spect_to_ct.tfm")
    texts = {name: text for name in FILES if (text := _read_text(folder / name))}
    rows = list(csv.DictReader(io.StringIO(texts.get("joints.csv", ""))))
    reference = next((v for r in rows if (v := number(r.get("reference", ""))) > 0), math.nan)
    record = record_from_texts(texts, str(folder)) if set(texts) == set(FILES) else None
    ct_node = add_volume(scene, ct, "CT") if isinstance(ct, sitk.Image) else ct
    spect_node = _own_spect(scene, spect)
    show_ct(ct_node)
    transform = add_node(scene, "vtkMRMLLinearTransformNode", "SPECT to CT")
    transform.SetAttribute(ROLE, TRANSFORM_ROLE)
    transform.SetMatrixTransformToParent(_spect_to_ct_ras(matrix))
    spect_node.SetAndObserveTransformNodeID(transform.GetID())
    relative = _add_relative(scene, spect_node, reference, rows)
    show_spect(scene, spect_node, top=None)
    segmented = next(
        (f for n in ("vertebrae.seg.nrrd", "vertebrae.nii.gz") if (f := folder / n).is_file()),
        None,
    )
    joints_file, labels_file = folder / "joints.seg.nrrd", folder / "vertebrae.nii.gz"
    joints = _add_joints(scene, joints_file, rows) if joints_file.is_file() else None
    verdict = texts.get("verdict.json")
    chart = uptake_table = None
    if record is not None and record.rows:
        chart, uptake_table, _ = add_uptake_plot(scene, record.rows, record.bounds)
    added = SceneNodes(
        folder_item=_add_folder(scene, f"CTSpectSpine {ct_node.GetName()}"),
        ct=ct_node,
        spect=spect_node,
        transform=transform,
        relative=relative,
        vertebrae=_add_vertebrae(scene, segmented) if segmented else None,
        joints=joints,
        levels=_add_levels(scene, labels_file) if labels_file.is_file() else None,
        joint_table=add_joint_table(scene, rows) if rows else None,
        verdict_table=add_verdict_table(scene, json.loads(verdict)) if verdict else None,
        uptake_table=uptake_table,
        chart=chart,
        manifest=_add_text(scene, "manifest.json", texts),
        registration_text=_add_text(scene, "registration.json", texts),
        verdict_text=_add_text(scene, "verdict.json", texts),
        joints_text=_add_text(scene, "joints.csv", texts),
    )
    added.mark()
    for segmentation in (added.vertebrae, added.joints):
        if segmentation is not None:
            segmentation.SetReferenceImageGeometryParameterFromVolumeNode(ct_node)
    _tidy(scene, added)
    show(scene, added)
    return added


def show(scene: Node, nodes: SceneNodes) -> None:
    """Show the fused images around the joints, the plot and the joint table in the views."""
    fuse(scene, nodes.ct, nodes.relative or nodes.spect)
    if nodes.levels is not None:
        show_where_readable(nodes.levels)
    if nodes.chart is not None and nodes.joint_table is not None:
        show_plot(scene, nodes.chart, nodes.joint_table)
    record = nodes.record()
    located = [row for row in record.rows if row.centre_lps] if record is not None else []
    if located:
        counting = [row for row in located if row.measurable and not math.isnan(row.ratio)]
        hottest = max(counting or located[:1], key=lambda row: row.ratio)
        points = [row.centre_lps for row in located if row.centre_lps]
        overview(scene, points, hottest.centre_lps or points[0])


def show_surfaces(nodes: SceneNodes) -> None:
    """Show the vertebrae, translucent, and the joints in 3D."""
    for segmentation in (nodes.vertebrae, nodes.joints):
        if segmentation is not None:
            segmentation.CreateClosedSurfaceRepresentation()
    if nodes.vertebrae is not None:
        nodes.vertebrae.GetDisplayNode().SetOpacity3D(VERTEBRAE_OPACITY)


def _tidy(scene: Node, nodes: SceneNodes) -> None:
    hierarchy = scene.GetSubjectHierarchyNode()
    for node in nodes.nodes():
        _put(hierarchy, node, nodes.folder_item)
    if nodes.texts():
        files = hierarchy.CreateFolderItem(nodes.folder_item, "Files")
        hierarchy.SetItemExpanded(files, False)
        for node in nodes.texts().values():
            _put(hierarchy, node, files)


def _put(hierarchy: Node, node: Node, folder: int) -> None:
    item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(folder, node)
    hierarchy.SetItemParent(item, folder)


def _add_relative(
    scene: Node, spect: Node, reference: float, rows: Sequence[Mapping[str, str]]
) -> Node | None:
    """The SPECT divided by the reference, where the SPECT is."""
    if math.isnan(reference):
        return None
    image = image_from_node(spect)
    scaled = sitk.Cast(image, sitk.sitkFloat32) / reference
    node = add_volume(scene, scaled, f"{spect.GetName()}, multiples of reference")
    node.SetAndObserveTransformNodeID(spect.GetTransformNodeID())
    counting = [row for row in rows if row.get("status") != "not_measurable"]
    hottest = max((v for r in counting if (v := number(r.get("ratio_max", ""))) > 0), default=0.0)
    top = float(min(max(math.ceil(hottest), LEAST_TOP), MOST_TOP))
    show_spect(scene, node, top)
    add_legend(node, top)
    return node


def _add_levels(scene: Node, labels_file: Path) -> Node | None:
    centres = body_centres(sitk.ReadImage(str(labels_file)))
    return add_level_names(scene, centres) if centres else None


def _read_text(path: Path) -> str:
    return path.read_bytes().decode("utf-8") if path.is_file() else ""


def _read_transform(path: Path) -> np.ndarray:
    """4×4 matrix from CT points to SPECT points, LPS mm."""
    from CTSpectSpineLib.geometry import transform_matrix

    try:
        return transform_matrix(sitk.ReadTransform(str(path)))
    except RuntimeError as error:
        raise InputError(
            f"{path} is missing or no ITK transform: give the results folder of an analysis."
        ) from error


def _spect_to_ct_ras(ct_to_spect_lps: np.ndarray) -> Node:
    from CTSpectSpineLib.geometry import LPS_TO_RAS

    return vtk_matrix(LPS_TO_RAS @ np.linalg.inv(ct_to_spect_lps) @ LPS_TO_RAS)


def _own_spect(scene: Node, spect: sitk.Image | Node) -> Node:
    """SPECT node that the registration can move: a copy where another transform holds it."""
    if isinstance(spect, sitk.Image):
        return add_volume(scene, spect, "SPECT")
    parent = spect.GetParentTransformNode()
    if parent is None or (
        parent.GetAttribute(ROLE) == TRANSFORM_ROLE and parent.GetParentTransformNode() is None
    ):
        return spect
    return add_volume(scene, image_from_node(spect), f"{spect.GetName()} registered")


def _add_segmentation(scene: Node, path: Path, name: str) -> Node:
    node = add_node(scene, "vtkMRMLSegmentationNode", name)
    node.AddDefaultStorageNode(str(path))
    storage = node.GetStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise InputError(f"{path} cannot be read as a segmentation: run the analysis again.")
    node.CreateDefaultDisplayNodes()
    return node


def _segments(node: Node) -> Iterator[tuple[str, Node]]:
    segmentation = node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        yield segment_id, segmentation.GetSegment(segment_id)


def _add_vertebrae(scene: Node, path: Path) -> Node:
    node = _add_segmentation(scene, path, "Vertebrae")
    if not path.name.endswith(".seg.nrrd"):
        _name_by_label(node)
    display = node.GetDisplayNode()
    display.SetAllSegmentsOpacity2DFill(0.0)
    display.SetAllSegmentsOpacity2DOutline(0.6)
    return node


def _name_by_label(node: Node) -> None:
    """Give the segments of a plain label map the names that their values stand for."""
    for _, segment in _segments(node):
        level = name_of_id(segment.GetLabelValue())
        if level is not None:
            segment.SetName(level if level == "sacrum" else f"vertebrae_{level}")
            segment.SetNameAutoGenerated(False)
            segment.SetColor([c / 255.0 for c in recommended_rgb("vertebra")])
            segment.SetColorAutoGenerated(False)
            segment.SetTerminology(terminology_entry("vertebra", level))


def _add_joints(scene: Node, path: Path, rows: Sequence[dict[str, str]]) -> Node:
    node = _add_segmentation(scene, path, "Joints")
    by_id = {row["joint"]: row for row in rows}
    display = node.GetDisplayNode()
    for segment_id, segment in _segments(node):
        row = by_id.get(segment.GetName(), {})
        for column in TAG_COLUMNS:
            if row.get(column):
                segment.SetTag(TAG_PREFIX + column, row[column])
        shown = row.get("uptake") in ("positive", "indeterminate")
        display.SetSegmentOpacity2DFill(segment_id, 0.3 if shown else 0.0)
        display.SetSegmentOpacity2DOutline(segment_id, 1.0 if shown else 0.5)
    return node


def _add_text(scene: Node, name: str, texts: Mapping[str, str]) -> Node | None:
    if name not in texts:
        return None
    node = add_node(scene, "vtkMRMLTextNode", name)
    node.SetText(texts[name])
    return node


def _add_folder(scene: Node, name: str) -> int:
    hierarchy = scene.GetSubjectHierarchyNode()
    root = hierarchy.GetSceneItemID()
    return int(hierarchy.CreateFolderItem(root, hierarchy.GenerateUniqueItemName(name)))
