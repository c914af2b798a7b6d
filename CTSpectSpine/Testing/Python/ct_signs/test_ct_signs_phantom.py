"""Signs on the CT of a phantom, and what small changes of its CT do."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.ct_sign import CtSigns
from CTSpectSpineLib.ct_signs import measure_ct_signs
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.model import FloatArray, SpineJoints
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig


@cache
def patient() -> tuple[sitk.Image, SpineJoints]:
    """L1 to the cut L5 with a narrowed disc L2-L3 and a worn facet joint L3-L4 on the left."""
    anatomy = make_anatomy(
        SpineConfig(
            seed=4, spacing_mm=1.0, first="L1", last="L5", lateral_mm=90, ap_mm=105, margin_mm=4,
            degenerate={"L2-L3 disc": 0.6, "L3-L4 facet left": 0.9},
        )
    )  # fmt: skip
    return anatomy.ct, build_joints(anatomy.labels, anatomy.ct)


@cache
def signs() -> dict[str, CtSigns]:
    return {found.joint: found for found in measure_ct_signs(*patient())}


def changed(centre: FloatArray, radius: float, hu: float) -> sitk.Image:
    """The CT with a ball of other HU."""
    ct, _ = patient()
    array = sitk.GetArrayFromImage(ct)
    k, j, i = np.indices(array.shape)
    points = apply_matrix(ijk_to_lps(ct), np.stack([i, j, k], axis=-1).reshape(-1, 3))
    inside = (np.linalg.norm(points - centre, axis=1) <= radius).reshape(array.shape)
    array[inside] = hu
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(ct)
    return image


def test_ordinary_joints_show_no_sign() -> None:
    found = signs()
    worn = ("L2-L3 disc", "L3-L4 facet left")
    assert [name for name in found if found[name].signs and name not in worn] == []
    assert sum(each.measured for each in found.values()) >= 7


def test_worn_joints_are_narrower_than_their_like() -> None:
    found = signs()
    disc = found["L2-L3 disc"]
    assert disc.height_ratio < 0.85
    assert disc.height_mm < min(found[n].height_mm for n in ("L1-L2 disc", "L3-L4 disc"))
    # Its subchondral bone is denser, too.
    assert disc.subchondral_upper_hu > found["L3-L4 disc"].subchondral_upper_hu + 50
    left, right = found["L3-L4 facet left"], found["L3-L4 facet right"]
    # True widths: 2.3 mm, and 1.37 mm on the worn side.
    assert 1.7 <= right.space_mm <= 2.4
    assert 0.8 <= left.space_mm <= 1.5
    assert left.narrowed == "yes"
    assert left.bone_hu_difference > 40


def test_a_bubble_and_a_dense_spot_are_found_where_they_are() -> None:
    _, joints = patient()
    before = signs()["L3-L4 disc"]
    disc = joints["L3-L4 disc"]
    assert disc.centre_mm is not None
    bubble = measured(changed(disc.centre_mm, 3.0, -1000.0), joints)
    assert bubble["L3-L4 disc"].gas_mm3 == pytest.approx(113, rel=0.15)
    assert bubble["L3-L4 disc"].height_mm == pytest.approx(before.height_mm, abs=0.2)
    assert bubble["L1-L2 disc"].gas == "no"
    up = joints.frames["L3"].axes[2]
    spot = disc.centre_mm + (before.height_mm / 2 + 4.0) * up
    dense = measured(changed(spot, 12.0, 700.0), joints)["L3-L4 disc"]
    assert dense.sclerosis_upper in ("focal", "extensive")
    assert dense.sclerosis_lower == "no"


def measured(ct: sitk.Image, joints: SpineJoints) -> dict[str, CtSigns]:
    return {found.joint: found for found in measure_ct_signs(ct, joints)}


def test_it_takes_a_small_part_of_an_analysis() -> None:
    ct, joints = patient()
    begin = time.process_time()
    found = measure_ct_signs(ct, joints)
    assert (time.process_time() - begin) / len(found) < 0.05
