"""The results folder as a 3D Slicer scene.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.display import scale_top
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import LPS_TO_RAS, inverse, transform_matrix
from CTSpectSpineLib.host import library_call
from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.labelling.levels.numbering import body_centres
from CTSpectSpineLib.results.manifest import MANIFEST
from CTSpectSpineLib.results.shown import FILES, record_from_texts
from CTSpectSpineLib.results.text_files import json_values
from CTSpectSpineLib.scene.colours import add_legend, show_spect
from CTSpectSpineLib.scene.level_names import add_level_names
from CTSpectSpineLib.scene.mrml import (
    ROLE,
    TRANSFORM_ROLE,
    Node,
    add_node,
    add_volume,
    image_from_node,
    vtk_matrix,
)
from CTSpectSpineLib.scene.nodes import SceneNodes
from CTSpectSpineLib.scene.plot import add_uptake_plot
from CTSpectSpineLib.scene.segmentations import add_joints, add_vertebrae
from CTSpectSpineLib.scene.show import show
from CTSpectSpineLib.scene.tables import add_joint_table, add_verdict_table
from CTSpectSpineLib.scene.views import show_ct


def populate_scene(
    scene: Node,
    *,
    ct: sitk.Image | Node,
    spect: sitk.Image | Node,
    folder: Path,
    manifest: str | None = None,
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
    manifest
        Text of the manifest; None for that of the folder.

    Raises
    ------
    InputError
        If ``spect_to_ct.tfm`` is missing, or a file of the folder cannot be read.
    """
    matrix = _read_transform(folder / "spect_to_ct.tfm")
    texts = {name: text for name in FILES if (text := _read_text(folder / name))}
    if manifest is not None:
        texts[MANIFEST] = manifest
    record = record_from_texts(texts, str(folder)) if set(texts) == set(FILES) else None
    if record is not None:
        rows = record.rows
    else:
        table = texts.get("joints.csv")
        rows = joint_table.rows(table, {}, str(folder / "joints.csv")) if table else ()
    ct_node = add_volume(scene, ct, "CT") if isinstance(ct, sitk.Image) else ct
    spect_node = _own_spect(scene, spect)
    show_ct(ct_node)
    transform = add_node(scene, "vtkMRMLLinearTransformNode", "SPECT to CT")
    transform.SetAttribute(ROLE, TRANSFORM_ROLE)
    transform.SetMatrixTransformToParent(_spect_to_ct_ras(matrix))
    spect_node.SetAndObserveTransformNodeID(transform.GetID())
    relative = _add_relative(scene, spect_node, rows)
    show_spect(scene, spect_node, top=None)
    segmented = next(
        (f for n in ("vertebrae.seg.nrrd", "vertebrae.nii.gz") if (f := folder / n).is_file()),
        None,
    )
    joints_file, labels_file = folder / "joints.seg.nrrd", folder / "vertebrae.nii.gz"
    joints = add_joints(scene, joints_file, rows) if joints_file.is_file() else None
    verdict = json_values(texts.get("verdict.json") or "{}", str(folder / "verdict.json"))
    chart = uptake_table = None
    if record is not None and record.rows:
        chart, uptake_table, _ = add_uptake_plot(scene, record.rows, record.bounds)
    added = SceneNodes(
        folder_item=_add_folder(scene, f"CTSpectSpine {ct_node.GetName()}"),
        ct=ct_node,
        spect=spect_node,
        transform=transform,
        relative=relative,
        vertebrae=add_vertebrae(scene, segmented) if segmented else None,
        joints=joints,
        levels=_add_levels(scene, labels_file) if labels_file.is_file() else None,
        joint_table=add_joint_table(scene, [row.cells for row in rows]) if rows else None,
        verdict_table=add_verdict_table(scene, verdict) if verdict else None,
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


def _add_relative(scene: Node, spect: Node, rows: Sequence[Row]) -> Node | None:
    """The SPECT divided by the reference, where the SPECT is."""
    reference = next((row.reference for row in rows if row.reference > 0), math.nan)
    if math.isnan(reference):
        return None
    image = image_from_node(spect)
    scaled = sitk.Cast(image, sitk.sitkFloat32) / reference
    node = add_volume(scene, scaled, f"{spect.GetName()}, multiples of reference")
    node.SetAndObserveTransformNodeID(spect.GetTransformNodeID())
    counting = [row for row in rows if row.cells.get("status") != "not_measurable"]
    largest = (joint_table.number(row.cells.get("ratio_max")) for row in counting)
    top = scale_top(max((value for value in largest if value > 0), default=0.0))
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
    try:
        with library_call():
            return transform_matrix(sitk.ReadTransform(str(path)))
    except RuntimeError as error:
        raise InputError(
            f"{path} is missing or no ITK transform: give the results folder of an analysis."
        ) from error


def _spect_to_ct_ras(ct_to_spect_lps: np.ndarray) -> Node:
    return vtk_matrix(LPS_TO_RAS @ inverse(ct_to_spect_lps) @ LPS_TO_RAS)


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
