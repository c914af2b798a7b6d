"""Facet joints on the CT: the arch divided where it shows their space, else by the labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.geometry import affine, image_from_array
from CTSpectSpineLib.joints import build_joints, joints_of
from CTSpectSpineLib.joints.arch import Arch, Sheet, _enclosed, _walks, read_arch, sample_ct
from CTSpectSpineLib.joints.facets import REGION_MM, Facet, _depth, voxels_to, within
from CTSpectSpineLib.joints.joint_line import may_show_lines, read_line
from CTSpectSpineLib.joints.joint_space import _mirrored
from CTSpectSpineLib.joints.label_volume import label_volume, local_grid
from CTSpectSpineLib.joints.motion_segment import Pair, make_pair
from CTSpectSpineLib.joints.plane_joint import facet_on_plane
from CTSpectSpineLib.joints.usual_place import (
    _PLATES,
    LUMBAR,
    Place,
    _below_l1,
    _tried,
    _usual,
)
from CTSpectSpineLib.joints.vertebra_fits import fit_spine, label_ids
from CTSpectSpineLib.model import FloatArray, Joint
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy


@pytest.fixture(scope="module")
def spine() -> Anatomy:
    config = SpineConfig(
        seed=31006,
        spacing_mm=1.0,
        first="L4",
        last="L5",
        lateral_mm=100,
        ap_mm=110,
        margin_mm=6,
    )
    return make_anatomy(config)


def facets_of(joints: tuple[Joint, ...]) -> dict[str, Joint]:
    return {j.id: j for j in joints if j.kind == "facet" and j.level == "L4-L5"}


def without_tips(spine: Anatomy) -> sitk.Image:
    """Labels in which what lies below the middle of the joints goes to the vertebra below."""
    array = sitk.GetArrayFromImage(spine.labels)
    for joint in facets_of(spine.joints).values():
        assert joint.centre_mm is not None
        i, j, k = np.rint(spine.labels.TransformPhysicalPointToContinuousIndex(joint.centre_mm))
        part = array[: int(k) - 1, int(j) - 10 : int(j) + 11, int(i) - 12 : int(i) + 13]
        part[part == 28] = 27
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(spine.labels)
    return changed


def errors(found: dict[str, Joint], spine: Anatomy) -> np.ndarray:
    true = facets_of(spine.joints)
    return np.array([np.linalg.norm(found[n].centre_mm - true[n].centre_mm) for n in true])


@pytest.mark.slow
def test_facets_stay_where_they_are_when_the_labels_divide_the_arch_wrongly(
    spine: Anatomy,
) -> None:
    wrong = without_tips(spine)
    by_labels = facets_of(build_joints(wrong).joints)
    assert all(joint.outlined_on == "" for joint in by_labels.values())
    assert errors(by_labels, spine).min() > 1.5
    on_ct = facets_of(build_joints(wrong, spine.ct).joints)
    assert all(joint.outlined_on == "CT" for joint in on_ct.values())
    assert errors(on_ct, spine).max() < 1.5


@pytest.mark.slow
def test_a_ct_without_visible_spaces_leaves_the_joints_to_the_labels(spine: Anatomy) -> None:
    blurred = sitk.SmoothingRecursiveGaussian(spine.ct, 3.0)
    found = facets_of(build_joints(spine.labels, blurred).joints)
    alone = facets_of(build_joints(spine.labels).joints)
    for name, joint in found.items():
        assert joint.outlined_on.startswith("labels: ")
        assert np.array_equal(joint.centre_mm, alone[name].centre_mm)


@pytest.mark.slow
def test_known_coarse_labels_leave_the_joints_at_their_usual_place(spine: Anatomy) -> None:
    """Also where the CT, blurred as by thick slices, shows no space."""
    blurred = sitk.SmoothingRecursiveGaussian(spine.ct, 1.5)
    volume = label_volume(without_tips(spine))
    found = facets_of(joints_of(volume, blurred, coarse=True).joints)
    marks = [joint.outlined_on for joint in found.values()]
    assert all(mark.startswith("place: the labels put it") for mark in marks), marks
    # Adults differ by 2 mm (SD) about the usual place.
    assert errors(found, spine).max() < 5.0
    alike = facets_of(build_joints(spine.labels, blurred).joints)
    assert not any(joint.outlined_on.startswith("place") for joint in alike.values())


@pytest.mark.slow
def test_known_coarse_labels_give_way_to_a_space_that_the_ct_shows(spine: Anatomy) -> None:
    found = facets_of(joints_of(label_volume(without_tips(spine)), spine.ct, coarse=True).joints)
    assert [joint.outlined_on for joint in found.values()] == ["CT", "CT"]
    assert errors(found, spine).max() < 1.5


@pytest.fixture(scope="module")
def pair(spine: Anatomy) -> Pair:
    volume = label_volume(spine.labels)
    fits = fit_spine(volume).fits
    return make_pair(
        volume, fits["L4"], fits["L5"], label_ids("L4", volume), label_ids("L5", volume)
    )


def arch_of(pair: Pair, ct: sitk.Image) -> Arch:
    arch = read_arch(pair, ct)
    assert isinstance(arch, Arch)
    return arch


def local_truth(spine: Anatomy, pair: Pair, side: str) -> FloatArray:
    centre = facets_of(spine.joints)[f"L4-L5 facet {side}"].centre_mm
    assert centre is not None
    return (centre - pair.origin) @ pair.axes.T


@pytest.mark.parametrize("line_hu", [0.0, 300.0])
@pytest.mark.parametrize("away_mm", [-3.0, 3.0])
def test_a_plane_moves_to_both_subchondral_plates_whether_or_not_their_line_is_seen(
    spine: Anatomy, pair: Pair, line_hu: float, away_mm: float
) -> None:
    """Voxels of 3 mm make one bright ridge of both plates, those of 1 mm show the line."""
    arch = arch_of(pair, spine.ct)
    normal, middle = _usual()["L4"].normal, local_truth(spine, pair, "left")
    away = [c - m for c, m in zip(arch.coordinates(), middle, strict=True)]
    across = sum(a * n for a, n in zip(away, normal, strict=True))
    ridge = 450.0 * np.exp(-0.5 * (across / 3.0) ** 2)
    line = line_hu * np.exp(-0.5 * across**2)
    arch = replace(arch, hu=(200.0 + ridge - line).astype(np.float32))
    _, moved, _ = _tried(arch, middle + away_mm * normal, normal, 0.0, 0.0, _PLATES)
    assert abs(away_mm + moved) < 1.5
    _, kept, _ = _tried(
        replace(arch, hu=np.full_like(arch.hu, 200.0)), middle, normal, 0.0, 0.0, _PLATES
    )
    assert kept == 0.0


@pytest.mark.parametrize(
    ("beside", "below", "voxel_mm", "obstacle"),
    [
        (0.9, 0.9, 1.0, ""),
        (0.9, 0.9, 3.0, "the CT's voxels are wider than a joint space"),
        # As dark, but fat on one side of it, or bone in its lower part.
        (0.2, 0.9, 1.0, "the CT does not show the joint space throughout"),
        (0.9, 0.3, 1.0, "the CT does not show the joint space throughout"),
    ],
)
def test_a_line_is_dark_between_two_bright_cortices(
    spine: Anatomy, pair: Pair, beside: float, below: float, voxel_mm: float, obstacle: str
) -> None:
    arch = arch_of(pair, spine.ct)
    _, behind, above = arch.coordinates()
    middle = pair.canal.wall_mm + 10.0
    shape = arch.share.shape
    high = np.broadcast_to(above, shape)
    behind = np.broadcast_to(behind, shape) - middle
    upper = np.where(high > -3.0, 0.9, below)
    share = np.where(np.abs(behind) < 1.0, 0.1, np.where(behind > 0, upper, beside))
    bones = []
    for side in (behind >= 1.0, behind <= -1.0):
        bone = np.zeros(pair.grid.shape, dtype=np.float32)
        bone[arch.box] = side
        bones.append(bone)
    sheet = np.zeros(pair.grid.shape, dtype=bool)
    sheet[arch.box] = (np.abs(behind) < 1.0) & (np.abs(high) < 9.0)
    made = replace(arch, share=share.astype(np.float32), voxel_mm=voxel_mm * np.eye(3))
    line = read_line(made, replace(pair, upper_bone=bones[0], lower_bone=bones[1]), sheet)
    assert line.obstacle == obstacle
    assert may_show_lines(made) == (voxel_mm < 2.0)


def test_a_joint_on_a_plane_is_the_bone_around_it(spine: Anatomy, pair: Pair) -> None:
    arch = arch_of(pair, spine.ct)
    middle = local_truth(spine, pair, "left")
    sheet = Sheet(middle, _usual()["L4"].normal)
    found = facet_on_plane(arch, sheet)
    assert not isinstance(found, str)
    local = (found.centre - pair.origin) @ pair.axes.T
    assert np.linalg.norm(local - middle) < 2.5
    assert found.sheet is not None
    assert (found.bone <= found.region).all()
    k, j, i = np.nonzero(found.region)
    points = np.column_stack([pair.l_mm[i], pair.p_mm[j], pair.s_mm[k]]) - middle
    assert np.abs(points @ sheet.normal).max() < REGION_MM + 1.0
    assert np.linalg.norm(points, axis=1).max() < 8.0 + REGION_MM + 1.0
    beside = Sheet(middle + np.array([25.0, 0.0, 0.0]), sheet.normal)
    assert facet_on_plane(arch, beside) == "the CT shows no bone at its usual place"


def test_porous_bone_that_labels_know_is_bone_and_soft_tissue_is_not(
    spine: Anatomy, pair: Pair
) -> None:
    arch = arch_of(pair, spine.ct)
    sheet = Sheet(local_truth(spine, pair, "left"), _usual()["L4"].normal)
    labelled = arch.labels[0] | arch.labels[1]
    volume = []
    for porous in (0.4, 0.1):
        # Only the bone above the middle of the joint is as bright as cortex.
        dull = np.broadcast_to(arch.coordinates()[2] < sheet.middle[2], labelled.shape) & labelled
        share = np.where(dull, porous, arch.share).astype(np.float32)
        found = facet_on_plane(replace(arch, share=share, bone=arch.bone & ~dull), sheet)
        assert not isinstance(found, str)
        volume.append(np.count_nonzero(found.bone))
    assert volume[0] > 1.5 * volume[1]


def test_thoracic_joints_that_contradict_each_other_lie_as_the_likelier_one(
    spine: Anatomy, pair: Pair
) -> None:
    arch = arch_of(pair, spine.ct)
    true = {side: local_truth(spine, pair, side) for side in ("left", "right")}
    normal = _usual()["L4"].normal
    facing = {"left": normal, "right": normal * np.array([-1.0, 1.0, 1.0])}
    places = {side: Place(Sheet(true[side], facing[side]), 0.0) for side in true}
    mask = np.ones(pair.grid.shape, dtype=bool)

    def at(side: str, higher_mm: float, outlined_on: str = "place: there") -> Facet:
        centre = pair.to_lps(true[side] + np.array([0.0, 0.0, higher_mm]))
        return Facet(mask, mask, centre, sheet=mask, outlined_on=outlined_on)

    near = {"left": at("left", 3.0), "right": at("right", 0.0)}
    assert _mirrored(arch, places, near) == {}
    high = {"left": at("left", 9.0), "right": at("right", 0.0)}
    mended = _mirrored(arch, places, high)
    assert list(mended) == ["left"]
    left = mended["left"]
    assert isinstance(left, Facet)
    assert left.flags == (left.outlined_on.removeprefix("place: "),)
    assert np.linalg.norm((left.centre - pair.origin) @ pair.axes.T - true["left"]) < 3.0
    # What the CT shows stays.
    shown = {"left": at("left", 9.0, "CT"), "right": at("right", 0.0)}
    assert list(_mirrored(arch, places, shown)) == ["right"]


@pytest.mark.slow
def test_a_ct_that_ends_before_the_joints_leaves_them_to_the_labels(spine: Anatomy) -> None:
    by_labels = facets_of(build_joints(spine.labels).joints)
    far = sitk.Image(spine.ct)
    far.SetOrigin((1000.0, 1000.0, 1000.0))
    left = by_labels["L4-L5 facet left"].centre_mm
    assert left is not None
    edge = int(spine.ct.TransformPhysicalPointToContinuousIndex(left)[0])
    for ct, names in ((far, list(by_labels)), (spine.ct[:edge, :, :], ["L4-L5 facet left"])):
        found = facets_of(build_joints(spine.labels, ct).joints)
        for name in names:
            assert found[name].outlined_on == (
                "labels: the CT shows no bone around the joint space"
            )
            assert np.array_equal(found[name].centre_mm, by_labels[name].centre_mm)
    assert found["L4-L5 facet right"].outlined_on == "CT"


def test_distances_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    mask = ndimage.gaussian_filter(rng.normal(size=(12, 15, 9)), 2) > 0.05
    assert np.allclose(voxels_to(mask), ndimage.distance_transform_edt(~mask), atol=1e-4)
    assert voxels_to(np.zeros((3, 4, 5), dtype=bool)).min() > 1e6


def test_marrow_is_enclosed_and_a_gap_is_not() -> None:
    solid = np.zeros((9, 11, 20), dtype=bool)
    solid[1:8, 1:10, 1:9] = True
    solid[2:7, 2:9, 2:8] = False
    solid[1:8, 1:10, 11:19] = True
    found = _enclosed(solid)
    assert found[2:7, 2:9, 2:8].all()
    assert np.count_nonzero(found) == 5 * 7 * 6


def test_walks_meet_in_the_dark_line_whatever_the_labels_say() -> None:
    bone = np.ones((6, 6, 21), dtype=bool)
    ease = np.ones(bone.shape, dtype=np.float32)
    ease[:, :, 10] = 0.001
    # A contact of one voxel, and labels that end five voxels beside the line.
    ease[3, 3, 10] = 1.0
    starts = (np.zeros_like(bone), np.zeros_like(bone))
    starts[0][:, :, :2] = True
    starts[1][:, :, -2:] = True
    labels = (np.zeros_like(bone), np.zeros_like(bone))
    labels[0][:, :, :5] = True
    labels[1][:, :, 5:] = True
    upper = _walks(bone, ease, starts, labels, np.full(bone.shape, 0.003)) > 0.5
    assert upper[:, :, :9].all()
    assert not upper[:, :, 12:].any()


def test_usual_places_are_known_from_the_second_thoracic_to_the_last_lumbar_vertebra() -> None:
    levels = [*(f"T{n}" for n in range(2, 14)), *(f"L{n}" for n in range(1, 7))]
    assert list(_usual()) == levels
    assert set(LUMBAR) == set(levels[levels.index("T12") :])
    assert [_below_l1(name) for name in ("T11", "T12", "T13", "L1", "L5", "L6")] == [
        -2,
        -1,
        -1,
        0,
        4,
        4,
    ]
    for usual in _usual().values():
        assert np.linalg.norm(usual.normal) == pytest.approx(1.0)
        # From the upper bone, behind, to the lower one, in front of it.
        assert usual.normal[1] < 0


def test_the_ct_is_sampled_where_the_grid_lies_and_air_beyond() -> None:
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    ct = image_from_array(values, affine(np.diag([1.0, 2.0, 3.0]), [10.0, 20.0, 30.0]))
    grid = local_grid(np.array([11.0, 22.0, 33.0]), np.eye(3), np.zeros(3), np.ones(3) * 0.4, 1.0)
    assert sample_ct(ct, grid)[0, 0, 0] == values[1, 1, 1]
    away = replace(grid, ijk_to_lps=affine(np.eye(3), [500.0, 0.0, 0.0]))
    assert (sample_ct(ct, away) == -1000.0).all()


def test_short_distances_are_those_of_a_distance_transform() -> None:
    rng = np.random.default_rng(5)
    blob = ndimage.gaussian_filter(rng.standard_normal((30, 34, 38)), 3.0)
    for mask in (blob > 0.02, blob > 0.1, blob > blob.max() - 1e-9):
        for reach_mm in (1.0, 3.0, 4.0):
            expected = ndimage.distance_transform_edt(~mask) <= reach_mm
            np.testing.assert_array_equal(within(mask, reach_mm), expected)
        np.testing.assert_array_equal(_depth(mask), voxels_to(~mask) * mask)
    # Thicker than is looked for first.
    thick = np.zeros((30, 30, 30), dtype=bool)
    thick[2:28, 2:28, 2:28] = True
    np.testing.assert_array_equal(_depth(thick), voxels_to(~thick))


def test_a_space_that_the_labels_give_is_not_left_for_another_beside_it() -> None:
    """Between T1 and T2 the darkest way through the bone follows the transverse process."""
    anatomy = make_anatomy(
        SpineConfig(seed=30001, first="T1", last="T3", spacing_mm=1.0, lateral_mm=130, ap_mm=130)
    )
    true = {joint.id: joint.centre_mm for joint in anatomy.joints}
    facets = [
        joint
        for joint in build_joints(anatomy.labels, anatomy.ct).joints
        if joint.kind == "facet" and joint.level == "T1-T2"
    ]
    assert len(facets) == 2
    for joint in facets:
        assert joint.centre_mm is not None
        assert np.linalg.norm(np.subtract(joint.centre_mm, true[joint.id])) < 1.5, joint.id
