"""Joint regions that a person outlined: what they become, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from CTSpectSpineLib import build_joints
from CTSpectSpineLib.analysis.edited_joints import (
    BY_HAND,
    read_edited,
    read_regions,
    renamed_regions,
    with_regions,
)
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import Region, SpineJoints
from CTSpectSpineLib.phantom import example
from CTSpectSpineLib.results.segments import joint_segments
from CTSpectSpineLib.volumes.regions import same_region
from CTSpectSpineLib.volumes.segmentation_nrrd import Segment, write_segmentation

DISC, FACET = "L4-L5 disc", "L4-L5 facet left"


@cache
def spine() -> SpineJoints:
    return build_joints(example().anatomy.labels)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The joints as an analysis writes them."""
    path = tmp_path / "joints.seg.nrrd"
    write_segmentation(path, joint_segments(spine().joints), example().ct)
    return path


def eroded(region: Region) -> Region:
    """Without its highest slices."""
    mask = region.mask.copy()
    mask[np.argwhere(mask)[:, 0].max() - 1 :] = False
    return Region(mask, region.ijk_to_lps)


def test_what_was_not_edited_stays_as_it_was_found(written: Path) -> None:
    regions = read_regions(written)
    joints, edited = with_regions(spine(), regions, written)
    assert edited == ()
    assert joints == spine()
    joints, edited = with_regions(spine(), {**regions, DISC: eroded(regions[DISC])}, written)
    assert edited == (DISC,)
    assert joints[FACET] is spine()[FACET]


def test_voxels_count_as_what_is_nearest_to_them(written: Path) -> None:
    given = {name: eroded(read_regions(written)[name]) for name in (DISC, FACET)}
    joints, _ = with_regions(spine(), given, written)
    for name in given:
        found, joint = spine()[name], joints[name]
        assert joint.region is not None
        assert joint.bone is not None
        assert found.region is not None
        assert found.bone is not None
        assert same_region(joint.region, given[name])
        assert BY_HAND in joint.flags
        share = joint.bone.volume_mm3 / joint.region.volume_mm3
        assert share == pytest.approx(found.bone.volume_mm3 / found.region.volume_mm3, abs=0.2)
    parts = {name: np.count_nonzero(part.mask) for name, part in joints[DISC].parts.items()}
    assert sorted(parts) == ["disc_space", "endplate_lower", "endplate_upper"]
    region, bone = joints[DISC].region, joints[DISC].bone
    assert region is not None
    assert bone is not None
    assert sum(parts.values()) == np.count_nonzero(region.mask)
    assert parts["disc_space"] == np.count_nonzero(region.mask & ~bone.mask)
    # Its highest slices were those of the upper endplate.
    before = spine()[DISC].parts
    share = before["endplate_upper"].volume_mm3 / before["endplate_lower"].volume_mm3
    assert parts["endplate_upper"] / parts["endplate_lower"] < 0.85 * share


def test_an_emptied_joint_is_not_measured_and_a_new_one_is_all_bone(written: Path) -> None:
    region = read_regions(written)[DISC]
    empty = Region(np.zeros_like(region.mask), region.ijk_to_lps)
    joints, edited = with_regions(spine(), {DISC: empty}, written)
    assert edited == (DISC,)
    assert not joints[DISC].located
    lost = replace(spine(), joints=joints.joints)
    joints, edited = with_regions(lost, {DISC: region}, written)
    assert edited == (DISC,)
    assert joints[DISC].bone is not None
    assert joints[DISC].bone.volume_mm3 == region.volume_mm3
    assert with_regions(lost, {DISC: empty}, written)[1] == ()


def test_segments_that_are_no_joints_are_refused(written: Path, tmp_path: Path) -> None:
    region = read_regions(written)[DISC]
    with pytest.raises(InputError, match="segment 'Segment_1' is no joint of this spine; name"):
        with_regions(spine(), {"Segment_1": region}, written)
    twice = [Segment(str(n), DISC, (1, 0, 0), region, label_value=n) for n in (1, 2)]
    write_segmentation(tmp_path / "twice.seg.nrrd", twice, example().ct)
    with pytest.raises(InputError, match=f"two segments are named '{DISC}'"):
        read_edited(tmp_path / "twice.seg.nrrd")
    assert read_edited(None).put_into(spine()) == (spine(), ())


def test_regions_follow_the_names_of_their_vertebrae() -> None:
    region = spine()[DISC].region
    assert region is not None
    names = {"L3": "L4", "L4": "L5", "L5": "sacrum", "sacrum": "sacrum"}
    given = {"L3-L4 facet left": region, "L4-L5 disc": region, "L5-S1 disc": region}
    assert list(renamed_regions(given, names)) == ["L4-L5 facet left", "L5-S1 disc"]
