"""The reference bone of a phantom: the cores of its vertebral bodies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib import anatomy as names
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.phantom.model import Anatomy, Tissue

_CORE_DEPTH_MM = 4.0
"""Depth (mm) at which the core of a body begins. Judgement: as thick as an endplate band, so clear
of bands and cortex."""
_CORE_VOXELS = 5
"""Fewest voxels of a core. Judgement: fewer are not a mean over a body."""

Box = tuple[slice, slice, slice]
Core = tuple[Box, BoolArray]
"""Box ``[k, j, i]`` around a body, and which of its voxels are the core."""


def mean_of_cores(activity: NDArray[np.float32], cores: Mapping[str, Core]) -> float:
    """Mean over vertebrae of the mean activity of the core."""
    means = [activity[box][mask].mean(dtype=np.float64) for box, mask in cores.values()]
    return float(np.mean(means))


def reference_cores(
    anatomy: Anatomy, paints: Iterable[tuple[Box, NDArray[np.float32]]]
) -> dict[str, Core]:
    """The reference bone: cores of vertebral bodies, outside every joint's bone.

    Small (cervical) bodies may lie entirely within their endplate bands; they serve only when
    there is no other body, with the voxels that are mostly outside the bands.

    Parameters
    ----------
    paints
        Bone of the joints: a box ``[k, j, i]`` and the share of each of its voxels.

    Raises
    ------
    InputError
        If there is no vertebral body.
    """
    labels = sitk.GetArrayViewFromImage(anatomy.labels)
    tissue = sitk.GetArrayViewFromImage(anatomy.tissue)
    spacing = np.array(anatomy.ct.GetSpacing())[::-1]
    painted = np.zeros(labels.shape, dtype=np.float32)
    for box_of_paint, share in paints:
        painted[box_of_paint] += share
    boxes: Sequence[Any] = ndimage.find_objects(labels)
    bodies: dict[str, Core] = {}
    for row in names.vertebrae():
        box = boxes[row.id - 1] if row.id <= len(boxes) else None
        if box is None or row.region == "sacral" or row.name == "C1":  # the atlas has no body
            continue
        body = (labels[box] == row.id) & (tissue[box] == Tissue.BODY)
        if body.any():
            bodies[row.name] = box, _deep(body, spacing)
    for most in (0.0, 0.5, 1.0):
        cores = {name: (box, deep & (painted[box] <= most)) for name, (box, deep) in bodies.items()}
        cores = {name: core for name, core in cores.items() if core[1].sum() >= _CORE_VOXELS}
        if cores:
            return cores
    raise InputError(
        "The vertebra labels hold no vertebral body to serve as reference bone; "
        "give labels with at least one whole vertebra."
    )


def _deep(body: BoolArray, spacing: FloatArray) -> BoolArray:
    """Inner part of a vertebral body; for small bodies at least its deepest 40 %."""
    depth = ndimage.distance_transform_edt(np.pad(body, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    return depth >= max(min(_CORE_DEPTH_MM, 0.6 * float(depth.max())), 1e-3)
