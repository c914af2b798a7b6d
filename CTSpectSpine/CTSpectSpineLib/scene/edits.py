"""What a person changed of the vertebrae's outlines. One of the files that know MRML."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.anatomy import name_of_id, sort_levels
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.scene.inputs import labels_of
from CTSpectSpineLib.scene.nodes import SceneNodes
from CTSpectSpineLib.scene.segment_labels import labels_from_segmentation


def edited_vertebrae(nodes: SceneNodes) -> tuple[sitk.Image, tuple[str, ...]]:
    """The label map of the segmentation as it is now, and the vertebrae that differ from before.

    Returns
    -------
    labels, levels
        Labels on the grid of the CT, with the hips that were known; levels cranial to caudal.

    Raises
    ------
    InputError
        If the scene holds no segmentation of vertebrae any more, or nothing says how it was.
    """
    if nodes.vertebrae is None or nodes.ct is None:
        raise InputError("The scene no longer holds the vertebrae: analyse again.")
    now = labels_from_segmentation(nodes.vertebrae, nodes.ct)
    before = sitk.Resample(labels_of(nodes), now, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    old, new = sitk.GetArrayFromImage(before), sitk.GetArrayFromImage(now)
    bones = [int(value) for value in np.union1d(old, new) if name_of_id(int(value))]
    changed = old != new
    touched = set(np.unique(old[changed])) | set(np.unique(new[changed]))
    levels = sort_levels(str(name_of_id(value)) for value in bones if value in touched)
    others = ~np.isin(old, [0, *bones]) & (new == 0)
    new[others] = old[others]
    result = sitk.GetImageFromArray(new)
    result.CopyInformation(now)
    return result, levels
