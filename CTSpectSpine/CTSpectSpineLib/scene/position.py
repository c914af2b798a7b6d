"""Whether CT and SPECT of an analysis are still those that were measured, and lie where they lay.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from CTSpectSpineLib.geometry import LPS_TO_RAS, inverse
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.results.shown import Record
from CTSpectSpineLib.scene.mrml import ROLE, TRANSFORM_ROLE, Node, mrml, numpy_matrix, vtk_matrix
from CTSpectSpineLib.scene.nodes import SceneNodes

_SAME_MM = 0.01
"""Largest distance at which an image lies where it lay. Numerical: far above what the conversion
of matrices loses, far below what a hand moves."""


def measured_matrix(record: Record) -> FloatArray | None:
    """4×4 matrix from SPECT to CT points, RAS mm, of the measurement; None if not known."""
    rows = record.ct_to_spect_lps
    if rows is None:
        return None
    matrix: FloatArray = LPS_TO_RAS @ inverse(np.array(rows)) @ LPS_TO_RAS
    return matrix


def moved(nodes: SceneNodes, record: Record) -> bool:
    """Whether the SPECT's transform is another than the one that was measured with."""
    measured = measured_matrix(record)
    if nodes.transform is None or nodes.spect is None or measured is None:
        return False
    corners = _corners(nodes.spect)
    _, vtk = mrml()
    now = vtk.vtkMatrix4x4()
    nodes.transform.GetMatrixTransformToWorld(now)
    apart = np.linalg.norm(_placed(numpy_matrix(now), corners) - _placed(measured, corners), axis=1)
    return bool(apart.max() > _SAME_MM)


def put_back(nodes: SceneNodes, record: Record) -> None:
    """Put the SPECT back where it was measured."""
    measured = measured_matrix(record)
    if nodes.transform is not None and measured is not None:
        nodes.transform.SetMatrixTransformToParent(vtk_matrix(measured))


def changed(nodes: SceneNodes, record: Record) -> str:
    """Why these results cannot be measured again on the scene's images; empty if they can.

    An image that was deleted, hardened, moved by another transform or replaced by one of another
    size is not the one that was registered. Values are not compared here: the analysis does that.
    """
    for name, node in (("CT", nodes.ct), ("SPECT", nodes.spect)):
        if node is None or node.GetImageData() is None:
            return f"The {name} of these results is no longer in the scene: load it and analyse."
        images = record.registration.get("images") or {}
        known = images.get(name.lower())
        if known is not None and not _same_place(node, known):
            return (
                f"The {name} no longer lies where it was analysed (its transform was hardened or "
                "changed): undo that, or press Analyse to register it where it is now."
            )
    if nodes.transform is None:
        return "The transform of the SPECT has been deleted: press Analyse to register again."
    return ""


def _same_place(node: Node, known: Mapping[str, Any]) -> bool:
    """Whether a volume, out of our own transform, has the corners of a recorded grid."""
    size = np.array(known["size"], dtype=float)
    lps = np.array(known["ijk_to_lps"], dtype=float)
    before = _placed(LPS_TO_RAS @ lps, _box(size))
    now = _placed(_outer_matrix(node), _corners(node))
    # In any order: the axes of the record run along L, P, S, those of the node as it was loaded.
    nearest = np.linalg.norm(before[:, None] - now[None], axis=2).min(axis=1)
    return bool(nearest.max() <= _SAME_MM)


def _outer_matrix(node: Node) -> FloatArray:
    """Transform of a volume to the world, RAS, without the transforms of analyses."""
    _, vtk = mrml()
    parent, matrix = node.GetParentTransformNode(), vtk.vtkMatrix4x4()
    while parent is not None and parent.GetAttribute(ROLE) == TRANSFORM_ROLE:
        parent = parent.GetParentTransformNode()
    if parent is not None:
        parent.GetMatrixTransformToWorld(matrix)
    return numpy_matrix(matrix)


def _box(size: FloatArray) -> FloatArray:
    """Indices of the eight corner voxels, shape (8, 3)."""
    ends = np.meshgrid(*([0.0, count - 1.0] for count in size), indexing="ij")
    box: FloatArray = np.array(ends).reshape(3, -1).T
    return box


def _placed(matrix: FloatArray, points: FloatArray) -> FloatArray:
    placed: FloatArray = points @ matrix[:3, :3].T + matrix[:3, 3]
    return placed


def _corners(node: Node) -> FloatArray:
    """Corner voxels of a volume in its own RAS, mm, shape (8, 3)."""
    _, vtk = mrml()
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return _placed(numpy_matrix(matrix), _box(np.array(node.GetImageData().GetDimensions(), float)))
