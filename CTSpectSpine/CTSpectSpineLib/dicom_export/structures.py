"""The segmented structures of a results folder as label arrays, one layer per DICOM object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from CTSpectSpineLib.anatomy import name_of_id
from CTSpectSpineLib.dicom_export.study import new_uid
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import FloatArray, Grid, affine, grid_of
from CTSpectSpineLib.model import BoolArray, Region
from CTSpectSpineLib.terminology import recommended_rgb
from CTSpectSpineLib.volumes.regions import Box, overlap, resample_region
from CTSpectSpineLib.volumes.segmentation_nrrd import read_segmentation


@dataclass(frozen=True)
class Structure:
    """One segment.

    Attributes
    ----------
    name
        ``"L4"`` or ``"L4-L5 facet left"``.
    kind, level, side
        As `terminology` names them.
    rgb
        Colour, 0 to 255.
    tracking_uid
        Names the structure in segmentation and report.
    """

    name: str
    kind: str
    level: str
    side: str
    rgb: tuple[int, int, int]
    tracking_uid: str


@dataclass(frozen=True)
class Layer:
    """Structures that do not overlap.

    Attributes
    ----------
    structures
        Segment number ``n + 1`` is the ``n``-th of them.
    voxels
        Segment numbers ``[k, j, i]``; only slices between the first and the last that hold any.
    matrix
        4×4 matrix from index to LPS mm.
    """

    structures: tuple[Structure, ...]
    voxels: NDArray[np.uint8]
    matrix: FloatArray


def vertebra_layer(labels: sitk.Image, grid: sitk.Image) -> Layer:
    """The vertebrae of a label map.

    Parameters
    ----------
    labels
        Label map with the ids of `anatomy`.
    grid
        Image whose grid the layer gets; its voxels coincide with those of the labels.
    """
    same = grid_of(labels).matches(grid_of(grid))
    if not same:
        labels = sitk.Resample(labels, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    ids = sitk.GetArrayViewFromImage(labels)
    names = {int(label): name_of_id(int(label)) for label in np.unique(ids)}
    known = [(label, name) for label, name in names.items() if name is not None]
    table = np.zeros(int(ids.max()) + 1, dtype=np.uint8)
    table[[label for label, _ in known]] = np.arange(1, len(known) + 1)
    colour = recommended_rgb("vertebra")
    structures = [Structure(name, "vertebra", name, "", colour, new_uid()) for _, name in known]
    return _cropped(structures, table[ids], grid_of(grid).ijk_to_lps)


def joint_layers(
    path: Path, grid: sitk.Image, *, coloured: bool, order: Sequence[str] = ()
) -> list[Layer]:
    """The joints of a ``.seg.nrrd``; joints that overlap come into different layers.

    Parameters
    ----------
    path
        ``joints.seg.nrrd``.
    grid
        Image whose grid the layers get.
    coloured
        Whether joints have the colour of their uptake class; else of their kind.
    order
        Joints in the order in which they are to be drawn; others follow.

    Raises
    ------
    InputError
        If the file cannot be read, or holds other segments than joints.
    """
    segments, _ = read_segmentation(path)
    place = {name: number for number, name in enumerate(order)}
    ordered = sorted(segments, key=lambda segment: place.get(segment.id, len(place)))
    geometry = grid_of(grid)
    layers: list[list[tuple[Structure, BoolArray, Box]]] = []
    for segment in ordered:
        level, kind, *side = segment.id.split()
        if kind not in ("disc", "facet"):
            raise InputError(f"{path}: segment '{segment.id}' is no joint; analyse again.")
        red, green, blue = (round(255 * part) for part in segment.colour)
        colour = (red, green, blue) if coloured else recommended_rgb(kind)
        joint = Structure(segment.id, kind, level, "".join(side), colour, new_uid())
        assert isinstance(segment.region, Region)
        mask, box = resample_region(segment.region, geometry)
        if not mask.any():
            continue
        free = (layer for layer in layers if not _collides(mask, box, layer))
        layer = next(free, None)
        if layer is None:
            layers.append(layer := [])
        layer.append((joint, mask, box))
    return list(_drawn(layers, geometry))


def _collides(mask: BoolArray, box: Box, layer: Sequence[tuple[Structure, BoolArray, Box]]) -> bool:
    for _, other, place in layer:
        shared = overlap(box, place)
        if shared is not None and np.any(mask[shared[0]] & other[shared[1]]):
            return True
    return False


def _drawn(
    layers: Sequence[Sequence[tuple[Structure, BoolArray, Box]]], grid: Grid
) -> Iterator[Layer]:
    for layer in layers:
        voxels = np.zeros(grid.shape, dtype=np.uint8)
        for number, (_, mask, box) in enumerate(layer, start=1):
            voxels[box][mask] = number
        yield _cropped([joint for joint, _, _ in layer], voxels, grid.ijk_to_lps)


def _cropped(
    structures: Sequence[Structure], voxels: NDArray[np.uint8], matrix: FloatArray
) -> Layer:
    """Leave out the slices beyond the structures."""
    filled = np.flatnonzero(voxels.any(axis=(1, 2)))
    first, last = (int(filled[0]), int(filled[-1])) if filled.size else (0, 0)
    shifted = matrix @ affine(np.eye(3), [0.0, 0.0, float(first)])
    return Layer((*structures,), voxels[first : last + 1], shifted)
