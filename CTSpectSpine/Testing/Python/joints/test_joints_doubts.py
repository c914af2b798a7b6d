"""Labels that are wrong or incomplete: which joints are still given, and which are doubted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps
from CTSpectSpineLib.joints import build_joints, from_array, joints_of
from CTSpectSpineLib.joints.mixed_labels import split_shares
from CTSpectSpineLib.model import FloatArray, Joint, SpineJoints, VertebraFrame
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy

L2, L3, L4 = (anatomy.vertebra(name).id for name in ("L2", "L3", "L4"))


@pytest.fixture(scope="module")
def spine() -> Anatomy:
    config = SpineConfig(
        seed=30050, spacing_mm=1.5, first="L1", last="L5", lateral_mm=130, ap_mm=150, margin_mm=15
    )
    return make_anatomy(config)


@pytest.fixture(scope="module")
def right(spine: Anatomy) -> SpineJoints:
    return build_joints(spine.labels)


@pytest.fixture(scope="module")
def neck() -> Anatomy:
    config = SpineConfig(
        seed=30051, spacing_mm=1.0, first="C3", last="C7", lateral_mm=100, ap_mm=110, margin_mm=10
    )
    return make_anatomy(config)


Change = Callable[[NDArray[np.uint8], FloatArray], None]


def changed(labels: sitk.Image, change: Change) -> sitk.Image:
    """Label map after a change of its array, which gets the voxels' points too."""
    array = sitk.GetArrayFromImage(labels)
    index = np.indices(array.shape)[::-1].reshape(3, -1).T
    points = apply_matrix(ijk_to_lps(labels), index.astype(float)).reshape(*array.shape, 3)
    change(array, points)
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(labels)
    return result


def end_of(frame: VertebraFrame, points: FloatArray, share: float, end: str) -> NDArray[np.bool_]:
    """Points within a share of the body's height from its upper or lower end."""
    body = (frame.body.points_mm() - frame.centre_mm) @ frame.axes[2]
    low, high = np.percentile(body, [1, 99])
    height = (points - frame.centre_mm) @ frame.axes[2]
    if end == "top":
        wrong: NDArray[np.bool_] = height > high - share * (high - low)
    else:
        wrong = height < low + share * (high - low)
    return wrong


def of_level(found: SpineJoints, level: str) -> list[Joint]:
    return [j for j in found.joints if j.level == level and j.located]


def mixed(
    labels: sitk.Image, frames: SpineJoints, upper: str, lower: str, share: float, end: str
) -> sitk.Image:
    giver, taker = (lower, upper) if end == "top" else (upper, lower)

    def change(array: NDArray[np.uint8], points: FloatArray) -> None:
        wrong = end_of(frames.frames[giver], points, share, end)
        array[wrong & (array == anatomy.vertebra(giver).id)] = anatomy.vertebra(taker).id

    return changed(labels, change)


def test_right_labels_leave_no_doubt(right: SpineJoints) -> None:
    assert all(j.trusted for j in right.joints)
    assert right.warnings == ("T12 is cut by the field of view",)


@pytest.mark.parametrize(
    "share",
    [0.1, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.15, 0.2))],
)
@pytest.mark.parametrize("end", ["top", "bottom"])
def test_an_end_with_its_neighbours_label_is_doubted_without_a_ct(
    share: float, end: str, spine: Anatomy, right: SpineJoints
) -> None:
    found = build_joints(mixed(spine.labels, right, "L2", "L3", share, end))
    joints = of_level(found, "L2-L3")
    assert len(joints) >= 2
    assert not any(j.trusted for j in joints)
    assert any("L2 and L3 are mixed" in warning for warning in found.warnings)
    for joint in joints:
        assert set(joint.doubts) <= set(joint.flags)
    # The other levels, the next ones above all, keep their joints.
    for level in ("L1-L2", "L4-L5"):
        assert all(j.trusted for j in of_level(found, level)), level


@pytest.mark.parametrize("end", ["top", pytest.param("bottom", marks=pytest.mark.slow)])
def test_mixed_labels_are_doubted_in_the_neck(end: str, neck: Anatomy) -> None:
    frames = build_joints(neck.labels)
    whole = ("C3-C4", "C4-C5", "C5-C6", "C6-C7")
    assert all(j.trusted for j in frames.joints if j.level in whole)
    found = build_joints(mixed(neck.labels, frames, "C4", "C5", 0.2, end))
    joints = of_level(found, "C4-C5")
    assert joints
    assert not any(j.trusted for j in joints)
    assert any("C4" in warning and "C5" in warning for warning in found.warnings)


def test_the_ct_puts_all_joints_of_a_level_in_doubt(spine: Anatomy) -> None:
    """A disc as bright as its endplates: facet joints of that level are doubted with it."""
    ct = sitk.GetArrayFromImage(spine.ct)
    truth = {j.id: j for j in spine.joints}["L3-L4 disc"].parts["disc_space"]
    index = apply_matrix(np.linalg.inv(ijk_to_lps(spine.ct)), truth.points_mm()).round().astype(int)
    ct[tuple(index.T[::-1])] = 350
    bright = sitk.GetImageFromArray(ct)
    bright.CopyInformation(spine.ct)
    found = build_joints(spine.labels, bright)
    assert {j.id for j in found.joints if not j.trusted} == {
        "L3-L4 disc",
        "L3-L4 facet left",
        "L3-L4 facet right",
    }
    assert all("L3-L4 disc is" in j.doubts[-1] for j in of_level(found, "L3-L4"))


def test_a_body_whose_label_ends_early_is_doubted(spine: Anatomy, right: SpineJoints) -> None:
    """The lower 45 % of L3 are not labelled: the disc below would be far too high."""

    def change(array: NDArray[np.uint8], points: FloatArray) -> None:
        lost = end_of(right.frames["L3"], points, 0.45, "bottom")
        array[lost & (array == L3)] = 0

    found = build_joints(changed(spine.labels, change))
    disc = found["L3-L4 disc"]
    assert not disc.trusted
    assert any("L3" in flag for flag in disc.flags)
    assert all(not j.trusted for j in of_level(found, "L3-L4"))
    assert all(j.trusted for j in of_level(found, "L1-L2"))


def test_bodies_without_arches_give_discs_and_no_facet_joints(
    spine: Anatomy, right: SpineJoints
) -> None:
    """As `vertebrae_pp` labels them."""

    def change(array: NDArray[np.uint8], points: FloatArray) -> None:
        for frame in right.frames.values():
            behind = (points - frame.centre_mm) @ frame.axes[1]
            wall = ((frame.body.points_mm() - frame.centre_mm) @ frame.axes[1]).max()
            own = array == anatomy.vertebra(frame.level).id
            array[own & (behind > wall - 1.0)] = 0

    found = build_joints(changed(spine.labels, change))
    for joint in found.joints:
        if joint.kind == "facet":
            assert not joint.located
            assert any("posterior elements" in flag for flag in joint.flags)
        elif joint.level in ("L2-L3", "L3-L4"):
            other = right[joint.id].centre_mm
            assert joint.centre_mm is not None
            assert other is not None
            assert np.linalg.norm(joint.centre_mm - other) < 3.0


def test_a_bridge_across_a_disc_is_named_and_not_part_of_it(
    spine: Anatomy, right: SpineJoints
) -> None:
    """The front third of the disc is bone, half of it under each label."""
    disc = right["L3-L4 disc"]
    frame = right.frames["L4"]
    middle = disc.centre_mm
    assert middle is not None

    def change(array: NDArray[np.uint8], points: FloatArray) -> None:
        space = disc.parts["disc_space"].points_mm()
        behind = (space - middle) @ frame.axes[1]
        bridge = space[behind < np.quantile(behind, 0.3)]
        matrix = np.linalg.inv(ijk_to_lps(spine.labels))
        index = apply_matrix(matrix, bridge).round().astype(int)
        above = (bridge - middle) @ frame.axes[2] > 0
        array[tuple(index.T[::-1])] = np.where(above, L3, L4)

    found = build_joints(changed(spine.labels, change))["L3-L4 disc"]
    assert found.located
    assert any("bridged" in doubt for doubt in found.doubts)
    assert found.parts["disc_space"].volume_mm3 < 0.9 * disc.parts["disc_space"].volume_mm3


def test_s1_and_sacrum_are_one_bone(spine: Anatomy, right: SpineJoints) -> None:
    """However the sacrum is divided between its two labels, L5-S1 is the same."""
    sacrum, s1 = anatomy.vertebra(anatomy.SACRUM).id, anatomy.vertebra("S1").id
    assert (sitk.GetArrayViewFromImage(spine.labels) == sacrum).any()

    def upper_part(array: NDArray[np.uint8], points: FloatArray) -> None:
        array[(array == sacrum) & (points[..., 2] > -25.0)] = s1

    found = build_joints(changed(spine.labels, upper_part))
    for kind in ("disc", "facet left", "facet right"):
        joint, other = found[f"L5-S1 {kind}"], right[f"L5-S1 {kind}"]
        assert joint.lower == "S1"
        assert joint.centre_mm is not None
        assert other.centre_mm is not None
        assert np.linalg.norm(joint.centre_mm - other.centre_mm) < 0.2


def test_sides_that_differ_in_volume_are_doubted(spine: Anatomy, right: SpineJoints) -> None:
    """Most of one inferior articular process carries no label."""
    centre = right["L2-L3 facet left"].centre_mm
    assert centre is not None

    def change(array: NDArray[np.uint8], points: FloatArray) -> None:
        local = (points - centre) @ right.frames["L3"].axes.T
        lost = (np.linalg.norm(local, axis=-1) < 14) & (np.abs(local[..., 2]) > 1.5)
        array[lost & ((array == L2) | (array == L3))] = 0

    found = build_joints(changed(spine.labels, change))
    left = found["L2-L3 facet left"]
    assert not left.trusted
    assert any("L2" in flag for flag in left.flags)
    assert found["L2-L3 disc"].located


def test_stray_voxels_far_from_a_vertebra_change_nothing(
    spine: Anatomy, right: SpineJoints
) -> None:
    def change(array: NDArray[np.uint8], points: FloatArray) -> None:
        away = np.linalg.norm(points - right.frames["L3"].centre_mm - [55, -60, 5], axis=-1) < 4
        array[away] = L3

    found = build_joints(changed(spine.labels, change))
    for joint in right.joints:
        centre = found[joint.id].centre_mm
        assert joint.centre_mm is not None
        assert centre is not None
        assert np.linalg.norm(joint.centre_mm - centre) < 0.1, joint.id


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(slices=st.integers(1, 40))
@pytest.mark.slow
def test_wherever_the_scan_ends_whole_levels_keep_their_joints(
    slices: int, spine: Anatomy, right: SpineJoints
) -> None:
    """The uppermost vertebra may be a few voxels, half a body or nearly whole."""
    heights = spine.labels.GetSize()[2]
    bottom_of_l1 = right.frames["L1"].body.points_mm()[:, 2].min()
    first = round(spine.labels.TransformPhysicalPointToContinuousIndex((0.0, 0.0, bottom_of_l1))[2])
    end = min(first + slices, heights)
    cut = spine.labels[:, :, :end]
    found = build_joints(cut, spine.ct[:, :, :end])
    assert all(j.located or j.flags for j in found.joints)
    for joint in of_level(right, "L3-L4"):
        centre = found[joint.id].centre_mm
        assert found[joint.id].trusted
        assert joint.centre_mm is not None
        assert centre is not None
        assert np.linalg.norm(joint.centre_mm - centre) < 0.7


@pytest.mark.slow
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    shear=st.tuples(st.floats(-0.45, 0.45), st.floats(-0.45, 0.45)),
    angles=st.tuples(*[st.floats(-30, 30)] * 3),
)
def test_oblique_and_sheared_grids_do_not_matter(
    shear: tuple[float, float],
    angles: tuple[float, float, float],
    spine: Anatomy,
    right: SpineJoints,
) -> None:
    """Labels by nearest neighbour on a grid of other axes, which ITK may not even hold."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*np.radians(angles))
    old = ijk_to_lps(spine.labels)
    new = old.copy()
    steps = np.asarray(turn.GetMatrix()).reshape(3, 3) @ old[:3, :3]
    steps[:, 2] += shear[0] * steps[:, 0] + shear[1] * steps[:, 1]
    new[:3, :3] = steps * 0.8
    array = sitk.GetArrayViewFromImage(spine.labels)
    ends = np.stack(np.meshgrid(*[(0, n - 1) for n in array.shape[::-1]], indexing="ij"), axis=-1)
    index = ends.reshape(-1, 3) @ (np.linalg.inv(new[:3, :3]) @ old[:3, :3]).T
    low, high = np.floor(index.min(axis=0)), np.ceil(index.max(axis=0))
    new[:3, 3] = old[:3, 3] + new[:3, :3] @ low
    to_old = np.linalg.inv(old) @ new
    moved = ndimage.affine_transform(
        array,
        to_old[:3, :3][::-1, ::-1],
        to_old[:3, 3][::-1],
        output_shape=tuple((high - low + 1).astype(int)[::-1]),
        order=0,
    )
    found = joints_of(from_array(moved, new))
    for joint in right.joints:
        centre = found[joint.id].centre_mm
        assert joint.centre_mm is not None
        assert centre is not None
        # Sampling voxels of 1.5 mm by nearest neighbour alone moves surfaces by up to 1 mm.
        assert np.linalg.norm(joint.centre_mm - centre) < 2.0, joint.id


@settings(max_examples=50, deadline=None)
@given(
    thickness=st.integers(2, 8),
    gap=st.integers(2, 12),
    body=st.integers(10, 30),
    down=st.booleans(),
)
def test_an_empty_stretch_is_assigned_to_the_end_of_the_lesser_part(
    thickness: int, gap: int, body: int, down: bool
) -> None:
    column = np.concatenate([np.zeros(4), np.ones(thickness), np.zeros(gap), np.ones(body)])
    column = np.concatenate([column, np.zeros(5)])
    columns = np.repeat((column if down else column[::-1])[:, None], 30, axis=1)
    shares = split_shares(columns.astype(np.float32))
    assert shares["below" if down else "above"] == 1.0
    assert shares["above" if down else "below"] == 0.0


def test_a_whole_body_has_no_empty_stretch() -> None:
    columns = np.zeros((40, 50), dtype=np.float32)
    columns[8:32] = 1.0
    columns[15:18, :5] = 0.0
    assert max(split_shares(columns).values()) == pytest.approx(0.1)
    assert max(split_shares(np.zeros((10, 5), dtype=np.float32)).values()) == 0.0
