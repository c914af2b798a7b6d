"""Joints from real label maps, against independent masks of articular processes and discs."""

from __future__ import annotations

from itertools import pairwise, permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import apply_matrix, grid_of, ijk_to_lps
from CTSpectSpineLib.joints import build_joints, from_array, joints_of
from CTSpectSpineLib.joints.doubts import disc_contrast_hu
from CTSpectSpineLib.model import FloatArray, Region, SpineJoints

# SPINEPS sub-regions: superior and inferior articular process, patient's left and right.
SUPERIOR = {"left": 45, "right": 46}
INFERIOR = {"left": 47, "right": 48}
LEVELS = ("L2", "L3", "L4")
FACETS = [f"{a}-{b} facet {side}" for a, b in (("L2", "L3"), ("L3", "L4")) for side in SUPERIOR]


def from_verse(image: sitk.Image) -> sitk.Image:
    """Label map with VerSe numbers in this library's ids."""
    verse = np.rint(sitk.GetArrayFromImage(image)).astype(int)
    table = np.zeros(verse.max() + 1, dtype=np.uint8)
    for row in anatomy.vertebrae():
        if row.verse is not None and row.verse < len(table):
            table[row.verse] = row.id
    converted = sitk.GetImageFromArray(table[verse])
    converted.CopyInformation(image)
    return converted


@pytest.fixture(scope="module")
def tptbox(shared_data: Path) -> Path:
    return shared_data / "tptbox_L2-L4"


@pytest.fixture(scope="module")
def tptbox_labels(tptbox: Path) -> sitk.Image:
    return from_verse(sitk.ReadImage(str(tptbox / "sub-ct_seg-vert_label-22_msk.nii.gz")))


@pytest.fixture(scope="module")
def tptbox_joints(tptbox_labels: sitk.Image) -> SpineJoints:
    return build_joints(tptbox_labels)


@pytest.fixture(scope="module")
def total_labels(shared_data: Path) -> sitk.Image:
    return sitk.ReadImage(str(shared_data / "totalsegmentator_example" / "vertebrae_total.nii.gz"))


@pytest.fixture(scope="module")
def total_ct(shared_data: Path) -> sitk.Image:
    return sitk.ReadImage(str(shared_data / "totalsegmentator_example" / "ct.nii.gz"))


@pytest.fixture(scope="module")
def total_joints(total_labels: sitk.Image) -> SpineJoints:
    return build_joints(total_labels)


@pytest.fixture(scope="module")
def true_facets(tptbox: Path, tptbox_labels: sitk.Image) -> dict[str, FloatArray]:
    """Middles of the sheets halfway between facing processes up to 3 mm apart.

    The masks are refined to half a millimetre: pairs of their voxels, 1.5 mm wide, up to 3 mm apart
    count tight parts twice and slanting ones not at all.
    """
    parts = sitk.ReadImage(str(tptbox / "sub-ct_seg-subreg_label-22_msk.nii.gz"))
    part, level = sitk.GetArrayFromImage(parts), sitk.GetArrayFromImage(tptbox_labels)
    centres = {}
    for upper, lower in pairwise(LEVELS):
        for side in SUPERIOR:
            above = (part == INFERIOR[side]) & (level == anatomy.vertebra(upper).id)
            below = (part == SUPERIOR[side]) & (level == anatomy.vertebra(lower).id)
            fine = [
                ndimage.zoom(m.astype(float), 3, order=1, mode="grid-constant", grid_mode=True)
                for m in (above, below)
            ]
            to = [ndimage.distance_transform_edt(m < 0.5) * 0.5 for m in fine]
            sheet = (np.abs(to[0] - to[1]) <= 0.5) & (to[0] + to[1] > 0) & (to[0] + to[1] <= 3.5)
            # Three fine voxels fill a coarse one, whose centre is that of the second.
            index = (np.argwhere(sheet).mean(axis=0)[None, ::-1] - 1) / 3
            centres[f"{upper}-{lower} facet {side}"] = apply_matrix(ijk_to_lps(parts), index)[0]
    return centres


@pytest.mark.parametrize("joint", FACETS)
def test_facet_centres_lie_on_the_articular_interface(
    joint: str, tptbox_joints: SpineJoints, true_facets: dict[str, FloatArray]
) -> None:
    found = tptbox_joints[joint].centre_mm
    assert found is not None
    assert np.linalg.norm(found - true_facets[joint]) < 1.5


def test_left_is_the_patients_left_in_an_image_stored_posterior_inferior_right(
    tptbox_labels: sitk.Image, tptbox_joints: SpineJoints, true_facets: dict[str, FloatArray]
) -> None:
    assert np.allclose(np.abs(tptbox_labels.GetDirection()), [0, 0, 1, 1, 0, 0, 0, 1, 0])
    for level in ("L2-L3", "L3-L4"):
        left = tptbox_joints[f"{level} facet left"].centre_mm
        right = tptbox_joints[f"{level} facet right"].centre_mm
        assert left is not None
        assert right is not None
        # LPS: x grows to the patient's left; the masks' own sides say the same.
        assert left[0] > right[0] + 20
        assert true_facets[f"{level} facet left"][0] > true_facets[f"{level} facet right"][0]


AXES = list(permutations(range(3)))
FLIPS = list(product([False, True], repeat=3))


@pytest.mark.parametrize(("order", "flips"), zip(AXES, FLIPS[1:7], strict=True))
def test_order_and_direction_of_image_axes_do_not_matter(
    order: tuple[int, int, int],
    flips: tuple[bool, bool, bool],
    tptbox_labels: sitk.Image,
    tptbox_joints: SpineJoints,
) -> None:
    turned = sitk.Flip(sitk.PermuteAxes(tptbox_labels, order), flips, False)
    assert_same_centres(build_joints(turned), tptbox_joints, 0.5)


@pytest.mark.parametrize("degrees", [(20, 0, 0), (0, -25, 10), (15, 20, 30)])
def test_an_oblique_grid_does_not_matter(
    degrees: tuple[float, float, float], tptbox_labels: sitk.Image, tptbox_joints: SpineJoints
) -> None:
    oblique = build_joints(resampled(tptbox_labels, degrees, 1.0))
    assert_same_centres(oblique, tptbox_joints, 1.0)


def test_a_sheared_grid_does_not_matter(
    total_labels: sitk.Image, total_joints: SpineJoints
) -> None:
    array = sitk.GetArrayViewFromImage(total_labels)
    matrix = ijk_to_lps(total_labels)
    sheared = matrix.copy()
    sheared[:3, 2] += matrix[:3, 1] * np.tan(np.radians(20))
    back = int(np.ceil(array.shape[0] * np.tan(np.radians(20))))
    sheared[:3, 3] -= matrix[:3, 1] * back
    shape = (array.shape[0], array.shape[1] + back, array.shape[2])
    mapping = np.linalg.inv(matrix) @ sheared
    moved = ndimage.affine_transform(
        array, mapping[:3, :3][::-1, ::-1], mapping[:3, 3][::-1], output_shape=shape, order=0
    )
    # Nearest-neighbour resampling at 3 mm alone moves surfaces by up to 1.5 mm.
    assert_same_centres(joints_of(from_array(moved, sheared)), total_joints, 2.0)


def test_discs_agree_with_a_segmentation_of_discs(
    shared_data: Path, total_joints: SpineJoints
) -> None:
    path = shared_data / "totalsegmentator_example" / "vertebrae_body.nii.gz"
    image = sitk.ReadImage(str(path))
    truth = sitk.GetArrayFromImage(image) == 2
    grid = grid_of(image)
    discs = [j for j in total_joints.joints if j.kind == "disc" and j.located]
    assert len(discs) == 6
    index = np.argwhere(truth)
    points = apply_matrix(grid.ijk_to_lps, index[:, ::-1].astype(float))
    nearest = np.argmin([np.linalg.norm(points - j.centre_mm, axis=1) for j in discs], axis=0)
    dice = []
    for number, joint in enumerate(discs):
        mine = covered(joint.parts["disc_space"], grid.ijk_to_lps, truth.shape) > 0.5
        own = np.zeros_like(truth)
        own[tuple(index[nearest == number].T)] = True
        dice.append(2 * np.count_nonzero(mine & own) / (mine.sum() + own.sum()))
    assert np.mean(dice) >= 0.85
    assert min(dice) >= 0.75


def test_joints_of_a_real_map_are_complete_and_named(total_joints: SpineJoints) -> None:
    by_level: dict[str, list[str]] = {}
    for joint in total_joints.joints:
        by_level.setdefault(joint.level, []).append(joint.kind + joint.side)
        assert joint.id == f"{joint.level} {joint.kind} {joint.side}".rstrip()
        assert joint.located or joint.flags
    assert list(by_level) == ["T11-T12", "T12-L1", "L1-L2", "L2-L3", "L3-L4", "L4-L5", "L5-S1"]
    assert all(kinds == ["disc", "facetleft", "facetright"] for kinds in by_level.values())
    assert total_joints["L5-S1 disc"].lower == "S1"


def test_a_vertebra_of_which_only_a_tip_is_seen_gives_no_joints(total_joints: SpineJoints) -> None:
    tip = total_joints["T11-T12 disc"]
    assert not tip.located
    assert any("T11 is cut by the field of view" in flag for flag in tip.flags)
    assert not total_joints.frames["T11"].reliable
    assert total_joints.frames["L3"].reliable
    assert not total_joints["T11-T12 facet left"].located


def test_regions_are_made_of_the_bone_of_their_two_vertebrae(
    total_labels: sitk.Image, total_joints: SpineJoints
) -> None:
    array = sitk.GetArrayViewFromImage(total_labels)
    inverse = np.linalg.inv(ijk_to_lps(total_labels))
    for joint in total_joints.joints:
        if joint.bone is None:
            continue
        index = apply_matrix(inverse, joint.bone.points_mm()).round().astype(int)
        labels = array[tuple(index.T[::-1])]
        own = [anatomy.vertebra(joint.upper).id, anatomy.vertebra(joint.lower).id]
        # 1 mm voxels on a 3 mm map: a few lie across the rounded border.
        assert np.isin(labels, own).mean() > 0.85, joint.id
        assert min(np.mean(labels == label) for label in own) > 0.15, joint.id


def test_right_labels_pass_the_check_against_ct(
    total_labels: sitk.Image, total_ct: sitk.Image, tptbox: Path, tptbox_labels: sitk.Image
) -> None:
    small_ct = sitk.ReadImage(str(tptbox / "sub-ct_label-22_ct.nii.gz"))
    for labels, ct in ((total_labels, total_ct), (tptbox_labels, small_ct)):
        checked = build_joints(labels, ct)
        assert not [w for w in checked.warnings if "HU" in w]
        for joint in checked.joints:
            if joint.kind == "disc" and joint.located:
                contrast = disc_contrast_hu(joint, ct)
                assert contrast is not None
                assert contrast < -85


@pytest.mark.parametrize("upper", ["L1", "L2", "L3"])
def test_an_end_plate_with_its_neighbours_label_is_flagged(
    upper: str, total_labels: sitk.Image, total_ct: sitk.Image, total_joints: SpineJoints
) -> None:
    lower = f"L{int(upper[1]) + 1}"
    frame = total_joints.frames[lower]
    array = sitk.GetArrayFromImage(total_labels)
    voxels = np.argwhere(array == anatomy.vertebra(lower).id)
    height = (apply_matrix(ijk_to_lps(total_labels), voxels[:, ::-1].astype(float))) @ frame.axes[2]
    body = frame.body.points_mm() @ frame.axes[2]
    mixed = voxels[height > body.max() - 0.2 * np.ptp(body)]
    array[tuple(mixed.T)] = anatomy.vertebra(upper).id
    labels = sitk.GetImageFromArray(array)
    labels.CopyInformation(total_labels)
    found = build_joints(labels, total_ct)
    disc = found[f"{upper}-{lower} disc"]
    assert disc.flags
    assert any(f"{upper}-{lower}" in w for w in found.warnings) or not disc.located


def test_left_out_vertebra_is_not_bridged(total_labels: sitk.Image) -> None:
    without = sitk.Cast(total_labels, sitk.sitkInt16)
    array = sitk.GetArrayFromImage(without)
    array[array == anatomy.vertebra("L3").id] = 0
    labels = sitk.GetImageFromArray(array)
    labels.CopyInformation(total_labels)
    found = build_joints(labels)
    assert {j.level for j in found.joints} == {"T11-T12", "T12-L1", "L1-L2", "L4-L5", "L5-S1"}
    assert any("L3 between L2 and L4 is not labelled" in w for w in found.warnings)


def test_a_collapsed_vertebra_keeps_its_body_apart_from_its_arch(shared_data: Path) -> None:
    image = sitk.ReadImage(str(shared_data / "verse004" / "sub-verse004_seg-vert_msk.nii.gz"))
    found = build_joints(from_verse(image))
    bodies = {n: f.body.volume_mm3 for n, f in found.frames.items()}
    # L1 is fractured: smaller than L2, and in the row of its neighbours.
    assert bodies["L1"] < bodies["L2"]
    above, own, below = (found.frames[n].centre_mm for n in ("T12", "L1", "L2"))
    assert np.linalg.norm(own - (above + below) / 2) < 8
    assert all(j.located for j in found.joints)
    assert all(f.core.volume_mm3 > 500 for f in found.frames.values())


def resampled(image: sitk.Image, degrees: tuple[float, float, float], spacing: float) -> sitk.Image:
    """Label map on a rotated grid that holds all of it, by nearest neighbour."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*np.radians(degrees))
    direction = np.asarray(turn.GetMatrix()).reshape(3, 3)
    corners = grid_of(image).corners_mm() @ direction
    size = np.ceil(np.ptp(corners, axis=0) / spacing).astype(int) + 1
    origin = direction @ corners.min(axis=0)
    return sitk.Resample(
        image,
        size.tolist(),
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
        origin.tolist(),
        [spacing] * 3,
        direction.ravel().tolist(),
    )


def assert_same_centres(found: SpineJoints, expected: SpineJoints, tolerance: float) -> None:
    assert [j.id for j in found.joints] == [j.id for j in expected.joints]
    for joint, other in zip(found.joints, expected.joints, strict=True):
        assert joint.located == other.located, joint.id
        if joint.centre_mm is not None and other.centre_mm is not None:
            assert np.linalg.norm(joint.centre_mm - other.centre_mm) < tolerance, joint.id


def covered(region: Region, matrix: FloatArray, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Share of the voxels of a coarse grid that a region covers, by counting its voxels."""
    index = apply_matrix(np.linalg.inv(matrix), region.points_mm()).round().astype(int)
    share = np.zeros(shape)
    np.add.at(share, tuple(index.T[::-1]), region.voxel_volume_mm3)
    return share / abs(np.linalg.det(matrix[:3, :3]))
