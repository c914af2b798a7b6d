"""MRML nodes as images and back, and a scene of one's own.

Together with `scene` the only place of the library that knows MRML. It needs ``slicer`` and
``vtk``: in 3D Slicer they are there, elsewhere they come with the package ``slicer-core``. Both
are imported when a function needs them. MRML holds geometry in RAS mm; everything that enters or
leaves these files is LPS mm.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError, MissingPackageError

Node = Any
"""A MRML node, or another VTK object (VTK has no type stubs)."""

ROLE = "CTSpectSpine.role"
"""Attribute of the nodes that `scene.populate_scene` adds; its value names the node's part."""
TRANSFORM_ROLE = "transform"
"""Role of the SPECT to CT transform."""
RELATIVE_NAME = "multiples of reference"
"""Part of the names of volumes in multiples of the patient's reference bone."""


def mrml() -> tuple[Any, Any]:
    """Import ``slicer`` and ``vtk``.

    Raises
    ------
    MissingPackageError
        If they are not there; the message says how to install them.
    """
    try:
        import slicer
        import slicer.util
        import vtk
    except ImportError as error:
        raise MissingPackageError(
            "Slicer scenes need the package slicer-core: install it with 'pip install slicer-core'"
        ) from error
    return slicer, vtk


def vtk_matrix(matrix: np.ndarray) -> Node:
    """4×4 array as ``vtkMatrix4x4``."""
    _, vtk = mrml()
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=float).ravel().tolist())
    return result


def numpy_matrix(matrix: Node) -> np.ndarray:
    """``vtkMatrix4x4`` as array, shape (4, 4)."""
    return np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


def image_from_node(node: Node, *, where_shown: bool = False) -> sitk.Image:
    """Image of a scalar or label map volume node, where the scene shows it.

    Linear parent transforms are part of the image's geometry, except the SPECT to CT transform
    of an earlier analysis, unless ``where_shown``: the SPECT of a second analysis starts where
    the scanner put it.

    Raises
    ------
    InputError
        If the volume has no voxels or several components, or if its parent transform is not
        linear or shears it.
    """
    from CTSpectSpineLib.geometry import LPS_TO_RAS, image_from_array

    _, vtk = mrml()
    from vtk.util.numpy_support import vtk_to_numpy

    name, data = node.GetName(), node.GetImageData()
    if data is None or data.GetNumberOfPoints() == 0:
        raise InputError(f"volume '{name}' holds no voxels: load it again or choose another one.")
    if data.GetNumberOfScalarComponents() != 1:
        raise InputError(
            f"volume '{name}' has {data.GetNumberOfScalarComponents()} values per voxel, "
            "one is needed: choose a scalar volume."
        )
    ijk_to_ras = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijk_to_ras)
    parent = node.GetParentTransformNode()
    own = parent is not None and parent.GetAttribute(ROLE) == TRANSFORM_ROLE
    if own and not where_shown:
        parent = parent.GetParentTransformNode()
    if parent is not None:
        to_world = vtk.vtkMatrix4x4()
        if not parent.IsTransformToWorldLinear():
            raise InputError(
                f"volume '{name}' lies under the non-linear transform '{parent.GetName()}': "
                "harden it, or take the volume out of it."
            )
        parent.GetMatrixTransformToWorld(to_world)
        vtk.vtkMatrix4x4.Multiply4x4(to_world, ijk_to_ras, ijk_to_ras)
    voxels = vtk_to_numpy(data.GetPointData().GetScalars()).reshape(data.GetDimensions()[::-1])
    try:
        return image_from_array(voxels, LPS_TO_RAS @ numpy_matrix(ijk_to_ras))
    except ValueError as error:
        raise InputError(
            f"volume '{name}' lies on a sheared grid: harden its transform with resampling first."
        ) from error


@contextmanager
def headless_scene() -> Iterator[tuple[Node, Node]]:
    """An empty scene of its own, with the logics that reading and writing it need.

    Yields
    ------
    scene, application_logic
        Both live until the context ends.
    """
    slicer, vtk = mrml()
    scene = slicer.vtkMRMLScene()
    with tempfile.TemporaryDirectory(prefix="CTSpectSpine-") as temporary:
        # Slicer's colour files are looked for here; the built-in tables are enough.
        (Path(temporary) / "share" / "ColorFiles").mkdir(parents=True)
        application = slicer.vtkSlicerApplicationLogic()
        application.SetTemporaryPath(temporary)
        application.SetHomeDirectory(temporary)
        application.SetShareDirectory("share")
        application.SetMRMLScene(scene)
        application.SetSliceLogics(vtk.vtkCollection())
        application.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        # Without a cache folder, marked as one, a scene bundle cannot be read back in silence.
        (Path(temporary) / ".slicer-cache").touch()
        remote, data_io = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
        remote.GetCacheManager().SetRemoteCacheDirectory(temporary)
        application.SetMRMLSceneDataIO(scene, remote, data_io)
        colours = slicer.vtkSlicerColorLogic()
        colours.SetMRMLApplicationLogic(application)
        application.SetModuleLogic("Colors", colours)
        application.SetColorLogic(colours)
        colours.SetMRMLScene(scene)
        # Without these, point lists are saved without their points, and segments get no surface,
        # both in silence.
        others = {
            "Markups": slicer.vtkSlicerMarkupsLogic(),
            "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
        }
        for name, logic in others.items():
            logic.SetMRMLApplicationLogic(application)
            application.SetModuleLogic(name, logic)
            logic.SetMRMLScene(scene)
        try:
            yield scene, application
        finally:
            scene.Clear(True)
            for logic in (*others.values(), colours, application):
                logic.SetMRMLScene(None)


def add_node(scene: Node, class_name: str, name: str) -> Node:
    """Add a node with a unique name."""
    return scene.AddNewNodeByClass(class_name, scene.GenerateUniqueName(name))


def add_volume(
    scene: Node, image: sitk.Image, name: str, class_name: str = "vtkMRMLScalarVolumeNode"
) -> Node:
    """Add an image as a volume node, with its display nodes."""
    from CTSpectSpineLib.geometry import LPS_TO_RAS, ijk_to_lps

    slicer, _ = mrml()
    voxels = sitk.GetArrayFromImage(image)
    if voxels.dtype in (np.int64, np.uint64):  # VTK volumes of these types cannot be saved
        voxels = voxels.astype(np.float64)
    node = add_node(scene, class_name, name)
    node.SetIJKToRASMatrix(vtk_matrix(LPS_TO_RAS @ ijk_to_lps(image)))
    slicer.util.updateVolumeFromArray(node, voxels)
    node.CreateDefaultDisplayNodes()
    return node


def by_class(scene: Node, class_name: str) -> list[Node]:
    """All nodes of a class."""
    count = scene.GetNumberOfNodesByClass(class_name)
    return [scene.GetNthNodeByClass(i, class_name) for i in range(count)]
