"""The results folder as a 3D Slicer scene.

Together with `mrml` the only place of the library that knows MRML; see there for what it needs.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.anatomy import name_of_id
from CTSpectSpineLib.errors import InputError
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
from CTSpectSpineLib.scene_tables import add_joint_table, add_verdict_table, number
from CTSpectSpineLib.terminology import recommended_rgb, terminology_entry

TAG_PREFIX = "CTSpectSpine."
"""Joint segments carry the columns `TAG_COLUMNS` of the joint table as tags of this prefix."""
TAG_COLUMNS = ("uptake", "ratio_corrected", "ratio_low", "ratio_high", "status", "verdict")

BONE_WINDOW = (1500.0, 400.0)
"""Window and level of the CT in HU."""
SPECT_COLOURS = "vtkMRMLPETProceduralColorNodePET-Heat"
SPECT_WINDOW_REFERENCES = 5.0
"""The SPECT is shown from 0 to this multiple of the patient's reference uptake."""

_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


@dataclass(frozen=True)
class SceneNodes:
    """What `populate_scene` put into the scene; None for what the results do not hold.

    Attributes
    ----------
    folder_item
        Subject hierarchy item of the folder that holds all of it.
    ct, spect
        The scalar volumes.
    transform
        Linear transform from SPECT to CT, the SPECT's parent.
    vertebrae, joints
        Segmentations.
    joint_table, verdict_table
        Tables: one row per joint; the verdict for a person to read.
    verdict_text
        ``verdict.json`` as it is.
    """

    folder_item: int
    ct: Node
    spect: Node
    transform: Node
    vertebrae: Node | None
    joints: Node | None
    joint_table: Node | None
    verdict_table: Node | None
    verdict_text: Node | None

    def mark(self) -> None:
        """Give every node the attribute `mrml.ROLE` with the name of its field."""
        for name, node in vars(self).items():
            if name != "folder_item" and node is not None:
                node.SetAttribute(ROLE, name)

    def nodes(self) -> tuple[Node, ...]:
        """All nodes, in the order of the folder."""
        every = (
            self.verdict_table,
            self.joint_table,
            self.joints,
            self.vertebrae,
            self.ct,
            self.spect,
            self.transform,
            self.verdict_text,
        )
        return tuple(node for node in every if node is not None)


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
        _add_views(scene)
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
    rows = _read_rows(folder / "joints.csv")
    verdict = _read_text(folder / "verdict.json")
    ct_node = add_volume(scene, ct, "CT") if isinstance(ct, sitk.Image) else ct
    spect_node = _own_spect(scene, spect)
    _show_ct(ct_node)
    _show_spect(spect_node, rows)
    transform = add_node(scene, "vtkMRMLLinearTransformNode", "SPECT to CT")
    transform.SetMatrixTransformToParent(_spect_to_ct_ras(matrix))
    spect_node.SetAndObserveTransformNodeID(transform.GetID())
    segmented = next(
        (f for n in ("vertebrae.seg.nrrd", "vertebrae.nii.gz") if (f := folder / n).is_file()),
        None,
    )
    joints_file = folder / "joints.seg.nrrd"
    joints = _add_joints(scene, joints_file, rows) if joints_file.is_file() else None
    added = SceneNodes(
        folder_item=_add_folder(scene, f"CTSpectSpine {ct_node.GetName()}"),
        ct=ct_node,
        spect=spect_node,
        transform=transform,
        vertebrae=_add_vertebrae(scene, segmented) if segmented else None,
        joints=joints,
        joint_table=add_joint_table(scene, rows) if rows else None,
        verdict_table=add_verdict_table(scene, json.loads(verdict)) if verdict else None,
        verdict_text=_add_text(scene, verdict) if verdict else None,
    )
    added.mark()
    for segmentation in (added.vertebrae, added.joints):
        if segmentation is not None:
            segmentation.SetReferenceImageGeometryParameterFromVolumeNode(ct_node)
    hierarchy = scene.GetSubjectHierarchyNode()
    for node in added.nodes():
        item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(added.folder_item, node)
        hierarchy.SetItemParent(item, added.folder_item)
    _fuse(scene, ct_node, spect_node)
    _centre_views(scene, rows)
    return added


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


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


def _show_ct(node: Node) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindow(BONE_WINDOW[0])
    display.SetLevel(BONE_WINDOW[1])


def _show_spect(node: Node, rows: Sequence[dict[str, str]]) -> None:
    from vtk.util.numpy_support import vtk_to_numpy

    reference = next((v for r in rows if (v := number(r.get("reference", ""))) > 0), None)
    if reference is None:
        voxels = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
        top = float(np.percentile(voxels, 99.9)) or 1.0
    else:
        top = SPECT_WINDOW_REFERENCES * reference
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(SPECT_COLOURS)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, top)


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


def _add_text(scene: Node, text: str) -> Node:
    node = add_node(scene, "vtkMRMLTextNode", "verdict.json")
    node.SetText(text)
    return node


def _add_folder(scene: Node, name: str) -> int:
    hierarchy = scene.GetSubjectHierarchyNode()
    root = hierarchy.GetSceneItemID()
    return int(hierarchy.CreateFolderItem(root, hierarchy.GenerateUniqueItemName(name)))


def _by_class(scene: Node, class_name: str) -> list[Node]:
    count = scene.GetNumberOfNodesByClass(class_name)
    return [scene.GetNthNodeByClass(i, class_name) for i in range(count)]


def _add_views(scene: Node) -> None:
    """The three slice views of Slicer's standard layouts."""
    for layout_name, orientation in _VIEWS.items():
        for class_name in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
            node = scene.CreateNodeByClass(class_name)
            node.UnRegister(None)
            node.SetLayoutName(layout_name)
            node.SetSingletonTag(layout_name)
            node.SetName(layout_name)
            if class_name == "vtkMRMLSliceNode":
                node.SetLayoutLabel(layout_name[0])
            node = scene.AddNode(node)
            if class_name == "vtkMRMLSliceNode":
                node.SetOrientation(orientation)


def _fuse(scene: Node, ct: Node, spect: Node) -> None:
    bounds = [0.0] * 6
    ct.GetRASBounds(bounds)
    extent = [bounds[2 * axis + 1] - bounds[2 * axis] for axis in range(3)]
    for composite in _by_class(scene, "vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(ct.GetID())
        composite.SetForegroundVolumeID(spect.GetID())
        composite.SetForegroundOpacity(0.5)
    axes = {"Axial": (0, 1), "Sagittal": (1, 2), "Coronal": (0, 2)}
    for view in _by_class(scene, "vtkMRMLSliceNode"):
        if view.GetOrientation() in axes:
            width, height, _ = view.GetDimensions()
            across, up = (extent[axis] for axis in axes[view.GetOrientation()])
            scale = max(across / width, up / height)
            view.SetFieldOfView(scale * width, scale * height, view.GetFieldOfView()[2])


def _centre_views(scene: Node, rows: Sequence[dict[str, str]]) -> None:
    """Centre the slice views on the CT, and cut through the joint of the highest ratio."""
    slicer, _ = mrml()
    ratios = [number(row.get("ratio_corrected", "")) for row in rows]
    if not any(ratio == ratio for ratio in ratios):
        return
    row = rows[int(np.nanargmax(ratios))]
    x, y, z = (number(row[column]) for column in ("x_mm", "y_mm", "z_mm"))
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, -x, -y, z, 0)
