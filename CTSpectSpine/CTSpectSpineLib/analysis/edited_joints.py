"""Joint regions that a person outlined, in place of those that were found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.spatial import cKDTree

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import label_boxes
from CTSpectSpineLib.model import BoolArray, FloatArray, Joint, Region, SpineJoints
from CTSpectSpineLib.volumes.regions import same_region
from CTSpectSpineLib.volumes.segmentation_nrrd import read_segmentation

BY_HAND = "its region was edited by hand"
"""Flag of a joint whose region a person outlined."""
_EMPTIED = "its region was emptied by hand"


@dataclass(frozen=True)
class EditedJoints:
    """Regions that a person gave, and where they came from.

    Attributes
    ----------
    regions
        Name of a joint to its region.
    source
        The file; None where nothing was given.
    """

    regions: Mapping[str, Region]
    source: Path | None

    def put_into(self, spine: SpineJoints) -> tuple[SpineJoints, tuple[str, ...]]:
        """The joints with these regions, and the names of those that are other ones."""
        return (
            (spine, ()) if self.source is None else with_regions(spine, self.regions, self.source)
        )


def read_edited(source: Path | str | None) -> EditedJoints:
    """What a setting names of edited joints; raises `InputError` where it cannot be read."""
    path = None if source is None else Path(source)
    return EditedJoints({} if path is None else read_regions(path), path)


def read_regions(path: Path) -> dict[str, Region]:
    """Name to region of all segments of a ``.seg.nrrd``, on the grid of the file.

    Raises
    ------
    InputError
        If the file cannot be read, or a name comes twice.
    """
    segments, _ = read_segmentation(path)
    regions: dict[str, Region] = {}
    for segment in segments:
        assert isinstance(segment.region, Region)
        if segment.name in regions:
            raise InputError(
                f"{path}: two segments are named '{segment.name}'; keep one for each joint."
            )
        regions[segment.name] = segment.region
    return regions


def with_regions(
    spine: SpineJoints, regions: Mapping[str, Region], source: Path
) -> tuple[SpineJoints, tuple[str, ...]]:
    """The joints with the regions that a person gave; equal ones stay as they were found.

    Every voxel of a region counts as what is nearest to it of the region as it was found: an
    endplate, the disc's space, bone or gap of a facet joint. All of it counts as bone where there
    was none. A region that was emptied leaves its joint unmeasured.

    Parameters
    ----------
    regions
        Name of a joint to its region; joints that are not named stay.
    source
        What sentences call the regions.

    Returns
    -------
    joints, edited
        Names of the joints whose region is another one, cranial to caudal.

    Raises
    ------
    InputError
        If a name is not one of a joint of this spine.
    """
    known = {joint.id: joint for joint in spine.joints}
    for name in regions:
        if name not in known:
            example = next(iter(known), "L4-L5 disc")
            raise InputError(
                f"{source}: segment '{name}' is no joint of this spine; name segments like "
                f"'{example}', and remove those that are no joints."
            )
    changed = {
        joint.id: _outlined(joint, regions[joint.id])
        for joint in spine.joints
        if joint.id in regions and not same_region(joint.region, regions[joint.id])
    }
    joints = tuple(changed.get(joint.id, joint) for joint in spine.joints)
    return replace(spine, joints=joints), tuple(changed)


def renamed_regions(regions: Mapping[str, Region], names: Mapping[str, str]) -> dict[str, Region]:
    """Regions under the names that their joints have with other names of the vertebrae.

    Parameters
    ----------
    names
        Name of each vertebra before to its name after. A joint whose vertebrae are no neighbours
        any more is left out.
    """
    pairs, result = set(anatomy.neighbouring_pairs(set(names.values()))), {}
    for joint, region in regions.items():
        level, _, rest = joint.partition(" ")
        upper, _, lower = level.partition("-")
        # Where S1 is none of its own the sacrum is below the last disc.
        lower = anatomy.SACRUM if lower == "S1" and lower not in names else lower
        pair = names.get(upper, upper), names.get(lower, lower)
        if pair in pairs:
            result[f"{anatomy.level_name(*pair)} {rest}"] = region
    return result


def new_names(before: sitk.Image, after: sitk.Image) -> dict[str, str]:
    """Name of each vertebra before to the name that most of its voxels have after.

    Parameters
    ----------
    before, after
        Label maps (ids of `anatomy`) of the same vertebrae on one grid.
    """
    old, new = sitk.GetArrayViewFromImage(before), sitk.GetArrayViewFromImage(after)
    names = {}
    for label, box in label_boxes(old).items():
        name = anatomy.name_of_id(label)
        if name is not None:
            renamed = anatomy.name_of_id(int(np.bincount(new[box][old[box] == label]).argmax()))
            names[name] = renamed or name
    return names


def edited_words(joints: Iterable[str]) -> tuple[str, ...]:
    """The sentence on edited regions, for warnings; none where nothing was edited."""
    names = ", ".join(joints)
    return (f"The regions of these joints were edited by hand: {names}.",) if names else ()


def _outlined(joint: Joint, region: Region) -> Joint:
    flags = (*joint.flags, BY_HAND if region.mask.any() else _EMPTIED)
    if not region.mask.any():
        return replace(joint, region=None, bone=None, centre_mm=None, parts={}, flags=flags)
    bone = _near(joint, region)
    parts = {name: _part(region, bone == n) for n, name in enumerate(joint.parts)}
    if joint.kind == "disc" and parts:
        takes_up = bone != list(joint.parts).index("disc_space")
    else:
        takes_up = bone == 0
    return replace(
        joint,
        region=region,
        bone=_part(region, takes_up),
        parts=parts,
        centre_mm=region.centre_mm(),
        flags=flags,
    )


def _near(joint: Joint, region: Region) -> FloatArray:
    """For each voxel of a region the number of the part of the joint that is nearest.

    The parts are those of a disc; else 0 is bone and 1 the gap.
    """
    points = region.points_mm()
    if joint.region is None or joint.bone is None:
        return np.zeros(len(points), dtype=np.intp)
    if joint.parts:
        groups = [part.points_mm() for part in joint.parts.values()]
    else:
        every, bone = joint.region.points_mm(), joint.bone.points_mm()
        apart = cKDTree(bone).query(every)[0] > 1e-3 if len(bone) else np.ones(len(every), bool)
        groups = [bone, every[apart]]
    numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    nearest = cKDTree(np.concatenate(groups)).query(points)[1]
    return np.asarray(numbers[nearest])


def _part(region: Region, inside: BoolArray) -> Region:
    mask = np.zeros_like(region.mask)
    mask[region.mask] = inside
    return Region(mask, region.ijk_to_lps)
