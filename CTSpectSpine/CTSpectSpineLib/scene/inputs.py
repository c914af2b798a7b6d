"""Nodes of a scene as files for a child process, each written once.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.host import library_call
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.scene.mrml import (
    Node,
    image_from_node,
    mrml,
    numpy_matrix,
)
from CTSpectSpineLib.scene.nodes import SceneNodes, results_folder
from CTSpectSpineLib.scene.segment_labels import labels_from_segmentation
from CTSpectSpineLib.volumes.regions import common_grid
from CTSpectSpineLib.volumes.segmentation_nrrd import Segment, write_segmentation

_PLAIN = (0.5, 0.5, 0.5)
"""Colour of segments for a child process, which looks at their voxels only. Convention."""


class InputFiles:
    """Volumes that were written for child processes, kept until the node changes.

    Parameters
    ----------
    folder
        Folder for the files; made at the first use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: dict[str, tuple[Any, Path]] = {}

    def ct(self, node: Node) -> Path:
        """File of the CT."""
        return self._file("ct", node, lambda: image_from_node(_checked(node, "CT")))

    def spect(self, node: Node) -> Path:
        """File of the SPECT, where the scanner put it."""
        return self._file("spect", node, lambda: image_from_node(_checked(node, "SPECT")))

    def vertebrae(self, node: Node, ct: Node) -> Path:
        """File of the vertebra labels of a segmentation or label map."""
        if node.IsA("vtkMRMLSegmentationNode"):
            return self._file("vertebrae", node, lambda: labels_from_segmentation(node, ct))
        return self._file("vertebrae", node, lambda: image_from_node(node))

    def labels(self, image: sitk.Image) -> Path:
        """File of a label map in memory, such as one with other names."""
        return self._write("renumbered", image)

    def joints(self, regions: Mapping[str, Region]) -> Path:
        """File of regions that a person outlined, on the grid that they share."""
        segments = [Segment(name, name, _PLAIN, region) for name, region in regions.items()]
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "edited_joints.seg.nrrd"
        write_segmentation(path, segments, common_grid(list(regions.values())))
        return path

    def transform(self, spect_to_ct: Node) -> Path:
        """File of where a transform node puts the SPECT."""
        from CTSpectSpineLib.registration.files import write_transform

        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "adjusted.tfm"
        write_transform(ct_to_spect(spect_to_ct), path)
        return path

    def discard(self) -> None:
        """Delete all files."""
        self._written.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, role: str, node: Node, make: Callable[[], sitk.Image]) -> Path:
        key = None if node is None else _state(node)
        known = self._written.get(role)
        if key is not None and known is not None and known[0] == key and known[1].is_file():
            return known[1]
        path = self._write(role, make())
        self._written[role] = (key, path)
        return path

    def _write(self, role: str, image: sitk.Image) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{role}.nrrd"
        try:
            with library_call():
                sitk.WriteImage(image, str(path))
        except RuntimeError as error:
            raise InputError(
                f"{path} cannot be written: check the free space of Slicer's temporary folder."
            ) from error
        return path


def images_of_nodes(
    ct: Node, spect: Node, vertebrae: Node | None
) -> tuple[sitk.Image, sitk.Image, sitk.Image | None]:
    """Images of the nodes that an analysis starts from.

    Raises
    ------
    InputError
        If a node is missing or cannot be used.
    """
    for node, role in ((ct, "CT"), (spect, "SPECT")):
        _checked(node, role)
    labels = None
    if vertebrae is not None:
        segmented = vertebrae.IsA("vtkMRMLSegmentationNode")
        labels = (
            labels_from_segmentation(vertebrae, ct) if segmented else image_from_node(vertebrae)
        )
    return image_from_node(ct), image_from_node(spect), labels


def _checked(node: Node, role: str) -> Node:
    if node is None or not node.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"no {role} was given: select a scalar volume.")
    return node


def _state(node: Node) -> Any:
    """Changes when the voxels, the segments or the place of a node change."""
    _, vtk = mrml()
    matrix = vtk.vtkMatrix4x4()
    parent = node.GetParentTransformNode()
    while parent is not None and parent.GetAttribute("CTSpectSpine.role") == "transform":
        parent = parent.GetParentTransformNode()
    if parent is not None:
        parent.GetMatrixTransformToWorld(matrix)
    placed = tuple(numpy_matrix(matrix).ravel())
    if node.IsA("vtkMRMLSegmentationNode"):
        return node.GetID(), node.GetSegmentation().GetMTime(), placed
    node.GetIJKToRASMatrix(matrix)
    data = node.GetImageData()
    time = 0 if data is None else data.GetMTime()
    return node.GetID(), time, placed, tuple(numpy_matrix(matrix).ravel())


def ct_to_spect(spect_to_ct: Node) -> sitk.Transform:
    """Transform from CT to SPECT points, LPS mm, of a transform node that moves the SPECT.

    Raises
    ------
    InputError
        If the node's transform is not linear.
    """
    from CTSpectSpineLib.geometry import LPS_TO_RAS

    _, vtk = mrml()
    matrix = vtk.vtkMatrix4x4()
    if not spect_to_ct.IsTransformToWorldLinear():
        raise InputError(
            f"transform '{spect_to_ct.GetName()}' is not linear: choose a rigid transform."
        )
    spect_to_ct.GetMatrixTransformFromWorld(matrix)
    lps = LPS_TO_RAS @ numpy_matrix(matrix) @ LPS_TO_RAS
    result = sitk.AffineTransform(3)
    result.SetMatrix(lps[:3, :3].ravel().tolist())
    result.SetTranslation(lps[:3, 3].tolist())
    return result


def labels_of(nodes: SceneNodes) -> sitk.Image:
    """Vertebra label map of an analysis, with the hips where they are known.

    Raises
    ------
    InputError
        If neither the results folder nor the scene holds the vertebrae any more.
    """
    folder = None if nodes.manifest is None else results_folder(nodes.manifest)
    if folder is not None and (folder / "vertebrae.nii.gz").is_file():
        labels = sitk.Cast(sitk.ReadImage(str(folder / "vertebrae.nii.gz")), sitk.sitkUInt8)
        hips = folder / "hips.nii.gz"
        if hips.is_file():
            labels = sitk.Maximum(labels, sitk.Cast(sitk.ReadImage(str(hips)), sitk.sitkUInt8))
        return labels
    if nodes.vertebrae is None:
        raise InputError("The scene no longer holds the vertebrae: analyse again.")
    return labels_from_segmentation(nodes.vertebrae, nodes.ct)
