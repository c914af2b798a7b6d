"""What a person changed of vertebrae and joint regions. One of the files that know MRML."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.anatomy import name_of_id, sort_levels
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.scene.inputs import labels_of
from CTSpectSpineLib.scene.nodes import SceneNodes, results_folder
from CTSpectSpineLib.scene.segment_labels import labels_from_segmentation
from CTSpectSpineLib.scene.segmentations import segment_region
from CTSpectSpineLib.volumes.regions import same_region
from CTSpectSpineLib.volumes.segmentation_nrrd import read_segmentation


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


def edited_joints(nodes: SceneNodes) -> tuple[str, ...]:
    """Joints whose segments are others than in the results folder, in the order of the table.

    Nothing is known to be edited where the folder or the segmentation is gone.
    """
    folder = None if nodes.manifest is None else results_folder(nodes.manifest)
    path = None if folder is None else folder / "joints.seg.nrrd"
    if path is None or not path.is_file():
        return ()
    segments, _ = read_segmentation(path)
    before = {s.name: s.region for s in segments if isinstance(s.region, Region)}
    record = nodes.record()
    names = [row.joint for row in record.rows] if record is not None else []
    now = joint_regions(nodes, names)
    return tuple(name for name in now if not same_region(before.get(name), now[name]))


def joint_regions(nodes: SceneNodes, names: Iterable[str]) -> dict[str, Region]:
    """Regions of these joints as the scene has them; those without a segment are left out."""
    if nodes.joints is None:
        return {}
    segmentation = nodes.joints.GetSegmentation()
    ids = {str(segmentation.GetSegment(i).GetName()): str(i) for i in segmentation.GetSegmentIDs()}
    return {name: segment_region(nodes.joints, ids[name]) for name in names if name in ids}
