"""Joints from the digital phantom's labels against its constructed truth."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.geometry import apply_matrix
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.model import Joint, Region, SpineJoints
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.progress import Progress

LUMBAR = SpineConfig(first="L2", last="L4", lateral_mm=130, ap_mm=140, margin_mm=30)


@pytest.fixture(scope="module")
def spine() -> Anatomy:
    return make_anatomy(SpineConfig(seed=11))


@pytest.fixture(scope="module")
def found(spine: Anatomy) -> SpineJoints:
    return build_joints(spine.labels, spine.ct)


@pytest.fixture(scope="module")
def lumbar() -> Anatomy:
    return make_anatomy(LUMBAR)


@pytest.fixture(scope="module")
def lumbar_joints(lumbar: Anatomy) -> SpineJoints:
    return build_joints(lumbar.labels)


def dice(first: Region, second: Region) -> float:
    """Overlap of two regions on different grids."""
    index = apply_matrix(np.linalg.inv(second.ijk_to_lps), first.points_mm())[:, ::-1]
    inside = ndimage.map_coordinates(second.mask.astype(float), index.T, order=1) > 0.5
    common = np.count_nonzero(inside) * first.voxel_volume_mm3
    return 2 * common / (first.volume_mm3 + second.volume_mm3)


def scores(found: SpineJoints, truth: tuple[Joint, ...]) -> tuple[dict[str, float], ...]:
    """Disc Dice and facet error in mm of every true joint, all of which must be located."""
    discs, facets = {}, {}
    for true in truth:
        joint = found[true.id]
        assert joint.region is not None, (joint.id, joint.flags)
        assert joint.centre_mm is not None
        assert true.centre_mm is not None
        if true.kind == "disc":
            discs[true.id] = dice(joint.parts["disc_space"], true.parts["disc_space"])
        else:
            facets[true.id] = float(np.linalg.norm(joint.centre_mm - true.centre_mm))
    return discs, facets


def test_every_joint_from_c1_to_s1_is_where_it_was_built(
    spine: Anatomy, found: SpineJoints
) -> None:
    discs, facets = scores(found, spine.joints)
    assert len(discs) == 23
    assert len(facets) == 48
    assert np.mean(list(discs.values())) >= 0.88
    assert min(discs.values()) >= 0.75
    assert np.mean(list(facets.values())) <= 1.0
    assert max(facets.values()) <= 3.0


def test_lumbar_discs_and_all_endplates_overlap_the_truth(
    spine: Anatomy, found: SpineJoints
) -> None:
    discs, _ = scores(found, spine.joints)
    lumbar = [d for name, d in discs.items() if name.startswith("L")]
    assert np.mean(lumbar) >= 0.90
    bands = [
        dice(found[true.id].parts[part], true.parts[part])
        for true in spine.joints
        if true.kind == "disc"
        for part in ("endplate_upper", "endplate_lower")
    ]
    assert np.mean(bands) >= 0.80


def test_a_healthy_spine_raises_no_doubts(found: SpineJoints) -> None:
    assert found.warnings == ()
    assert [j.id for j in found.joints if j.flags] == []


def test_atlas_and_axis_have_lateral_joints_and_no_disc(spine: Anatomy, found: SpineJoints) -> None:
    assert [j.id for j in found.joints if j.level == "C1-C2"] == [
        "C1-C2 facet left",
        "C1-C2 facet right",
    ]
    _, facets = scores(found, tuple(j for j in spine.joints if j.level == "C1-C2"))
    assert max(facets.values()) < 1.5


def test_the_sacral_side_is_called_sacrum_where_s1_is_not_labelled(found: SpineJoints) -> None:
    assert found["L5-S1 disc"].lower == anatomy.SACRUM
    assert found["L5-S1 disc"].level == "L5-S1"


def test_parts_of_a_disc_do_not_overlap_and_make_up_the_whole(found: SpineJoints) -> None:
    for joint in found.joints:
        assert joint.region is not None
        assert joint.bone is not None
        if joint.kind == "disc":
            parts = sum(p.volume_mm3 for p in joint.parts.values())
            bands = parts - joint.parts["disc_space"].volume_mm3
            assert parts == pytest.approx(joint.region.volume_mm3)
            assert bands == pytest.approx(joint.bone.volume_mm3)
        else:
            assert 0 < joint.bone.volume_mm3 <= joint.region.volume_mm3


def test_cores_lie_deep_in_their_bodies_at_every_level(found: SpineJoints) -> None:
    for level, frame in found.frames.items():
        if level == "C1":
            assert not frame.core.mask.any()
            continue
        body = np.pad(frame.body.mask, 1)
        depth = ndimage.distance_transform_edt(body)
        index = apply_matrix(np.linalg.inv(frame.body.ijk_to_lps), frame.core.points_mm())
        core_depth = depth[tuple((index.round().astype(int) + 1).T[::-1])]
        cervical = anatomy.vertebra(level).region == "cervical"
        assert core_depth.min() >= (3.0 if cervical else 3.9), level
        assert frame.core.volume_mm3 >= (60 if cervical else 150), level


def test_frames_point_to_the_patients_left_back_and_head(found: SpineJoints) -> None:
    for frame in found.frames.values():
        assert np.allclose(frame.axes @ frame.axes.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(frame.axes) == pytest.approx(1.0)
        assert frame.axes[0] @ [1, 0, 0] > 0.9
        assert frame.axes[2] @ [0, 0, 1] > 0.4


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(order=st.permutations(range(3)), flips=st.tuples(*[st.booleans()] * 3))
def test_image_axes_do_not_matter(
    order: list[int],
    flips: tuple[bool, bool, bool],
    lumbar: Anatomy,
    lumbar_joints: SpineJoints,
) -> None:
    turned = sitk.Flip(sitk.PermuteAxes(lumbar.labels, order), flips, False)
    again = build_joints(turned)
    for joint in lumbar_joints.joints:
        other = again[joint.id]
        assert other.located == joint.located
        if joint.centre_mm is not None:
            assert np.linalg.norm(joint.centre_mm - other.centre_mm) < 0.5


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(angles=st.tuples(*[st.floats(-180, 180)] * 3), shift=st.tuples(*[st.floats(-200, 200)] * 3))
def test_joints_move_with_the_patient(
    angles: tuple[float, float, float],
    shift: tuple[float, float, float],
    lumbar: Anatomy,
    lumbar_joints: SpineJoints,
) -> None:
    """A patient who lies in any way has the same joints, left still being his left."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*np.radians(angles))
    rotation = np.asarray(turn.GetMatrix()).reshape(3, 3)
    direction = rotation @ np.asarray(lumbar.labels.GetDirection()).reshape(3, 3)
    origin = rotation @ np.asarray(lumbar.labels.GetOrigin()) + shift
    moved = sitk.Image(lumbar.labels)
    moved.SetDirection(direction.ravel().tolist())
    moved.SetOrigin(origin.tolist())
    again = build_joints(moved)
    for joint in lumbar_joints.joints:
        if joint.centre_mm is None:
            continue
        centre = again[joint.id].centre_mm
        assert centre is not None
        assert np.linalg.norm(rotation @ joint.centre_mm + shift - centre) < 1.2, joint.id


VARIANTS = {
    "5 mm slices": SpineConfig(seed=12, spacing_mm=(1.0, 1.0, 5.0), first="T12", ap_mm=170),
    "scoliosis of 60 degrees": SpineConfig(
        seed=13, scoliosis_cobb_deg=60.0, scoliosis_apex="L2", first="T9", ap_mm=170
    ),
    "whole spine, scoliosis of 60 degrees": SpineConfig(
        seed=14, scoliosis_cobb_deg=-60.0, scoliosis_apex="T9"
    ),
    "whole spine, 5 mm slices": SpineConfig(seed=15, spacing_mm=(1.0, 1.0, 5.0)),
    "small patient": SpineConfig(seed=16, size=0.85),
    "large patient": SpineConfig(seed=17, size=1.15),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if number >= 1 else [])
        for number, name in enumerate(VARIANTS)
    ],
)
def test_unusual_spines_and_scans(name: str) -> None:
    case = make_anatomy(VARIANTS[name])
    discs, facets = scores(build_joints(case.labels), case.joints)
    assert np.mean(list(discs.values())) >= (0.80 if "slices" in name else 0.87)
    assert np.mean(list(facets.values())) <= 1.5
    assert max(facets.values()) <= 3.0


@pytest.mark.parametrize(
    ("config", "levels"),
    [
        (SpineConfig(sixth_lumbar=True, first="L4"), ["L4-L5", "L5-L6", "L6-S1"]),
        (
            SpineConfig(thirteenth_thoracic=True, first="T12", last="L1"),
            ["T12-T13", "T13-L1"],
        ),
        (SpineConfig(eleven_ribs=True, first="T10", last="L1"), ["T10-T11", "T11-L1"]),
    ],
)
def test_transitional_anatomy(config: SpineConfig, levels: list[str]) -> None:
    case = make_anatomy(config)
    found = build_joints(case.labels)
    assert set(levels) <= {j.level for j in found.joints}
    truth = tuple(j for j in case.joints if j.level in levels)
    assert len(truth) == 3 * len(levels)
    _, facets = scores(found, truth)
    assert max(facets.values()) <= 3.0


def relabelled(image: sitk.Image, change: dict[str, str | None]) -> sitk.Image:
    """Label map with some levels renamed or (None) taken out."""
    old = sitk.GetArrayViewFromImage(image)
    new = old.copy()
    for level, name in change.items():
        new[old == anatomy.vertebra(level).id] = anatomy.vertebra(name).id if name else 0
    result = sitk.GetImageFromArray(new)
    result.CopyInformation(image)
    return result


def test_a_level_left_out_of_the_numbering_is_noticed_by_the_spacing() -> None:
    """Where L2 is missing and L3…L5 carry the numbers of L2…L4, L1 and L2 are too far apart."""
    case = make_anatomy(SpineConfig(first="T10", ap_mm=170, lateral_mm=150, spacing_mm=2.0))
    shifted = relabelled(case.labels, {"L2": None, "L3": "L2", "L4": "L3", "L5": "L4"})
    found = build_joints(shifted)
    doubtful = [w for w in found.warnings if "apart where their neighbours" in w]
    assert any("L1 and L2" in w for w in doubtful)
    assert any("apart" in flag for flag in found["L1-L2 facet left"].flags)


def test_swapped_labels_are_noticed(lumbar: Anatomy) -> None:
    swapped = relabelled(lumbar.labels, {"L2": "L3", "L3": "L2"})
    found = build_joints(swapped)
    assert [w for w in found.warnings if "L2" in w or "L3" in w]


def test_fused_vertebrae_keep_a_layer_and_are_flagged(lumbar: Anatomy) -> None:
    """Where bone fills the disc, half of it under each label, a thin layer is taken."""
    truth = {j.id: j for j in lumbar.joints}["L2-L3 disc"]
    array = sitk.GetArrayFromImage(lumbar.labels)
    middle = truth.centre_mm
    points = truth.parts["disc_space"].points_mm()
    assert middle is not None
    upper = truth.parts["endplate_upper"].centre_mm() - truth.parts["endplate_lower"].centre_mm()
    for point in points:
        i, j, k = lumbar.labels.TransformPhysicalPointToIndex(point.tolist())
        name = "L2" if (point - middle) @ upper > 0 else "L3"
        array[k, j, i] = anatomy.vertebra(name).id
    fused = sitk.GetImageFromArray(array)
    fused.CopyInformation(lumbar.labels)
    disc = build_joints(fused)["L2-L3 disc"]
    assert disc.centre_mm is not None
    assert any("fused" in flag for flag in disc.flags)
    assert np.linalg.norm(disc.centre_mm - middle) < 3.0
    assert 0 < disc.parts["disc_space"].volume_mm3 < 0.4 * truth.parts["disc_space"].volume_mm3


def test_a_lost_facet_is_mirrored_from_the_other_side_and_flagged(
    lumbar: Anatomy, lumbar_joints: SpineJoints
) -> None:
    right = lumbar_joints["L3-L4 facet right"].centre_mm
    assert right is not None
    array = sitk.GetArrayFromImage(lumbar.labels)
    index = np.argwhere(array == anatomy.vertebra("L3").id)
    points = np.array(
        [lumbar.labels.TransformIndexToPhysicalPoint([int(x) for x in v[::-1]]) for v in index]
    )
    gone = index[np.linalg.norm(points - right, axis=1) < 16]
    array[tuple(gone.T)] = 0
    cut = sitk.GetImageFromArray(array)
    cut.CopyInformation(lumbar.labels)
    joint = build_joints(cut)["L3-L4 facet right"]
    assert any("the left joint was mirrored" in flag for flag in joint.flags)
    assert joint.centre_mm is not None
    assert np.linalg.norm(joint.centre_mm - right) < 3.0
    # The healthy side does not change.
    left = build_joints(cut)["L3-L4 facet left"]
    assert left.flags == lumbar_joints["L3-L4 facet left"].flags


def test_joints_at_the_end_of_the_scan_say_so() -> None:
    case = make_anatomy(
        SpineConfig(first="L2", last="L4", margin_mm=0, crop_mm=(20.0, 0.0), ap_mm=150)
    )
    found = build_joints(case.labels)
    assert not found.frames["L2"].reliable
    for joint in found.joints:
        if "L2" in (joint.upper, joint.lower):
            assert any("L2 is cut by the field of view" in flag for flag in joint.flags)
    whole = [j for j in case.joints if j.level == "L3-L4"]
    discs, facets = scores(found, tuple(whole))
    assert min(discs.values()) > 0.85
    assert max(facets.values()) < 2.0


def test_what_comes_out_does_not_depend_on_the_run(
    lumbar: Anatomy, lumbar_joints: SpineJoints
) -> None:
    again = build_joints(lumbar.labels)
    for one, other in zip(lumbar_joints.joints, again.joints, strict=True):
        if one.region is not None and other.region is not None:
            assert np.array_equal(one.region.mask, other.region.mask)


def test_an_empty_map_is_refused_in_one_sentence(lumbar: Anatomy) -> None:
    with pytest.raises(InputError, match="holds no vertebra"):
        build_joints(lumbar.labels * 0)


def test_one_vertebra_alone_has_no_joints(lumbar: Anatomy) -> None:
    alone = relabelled(lumbar.labels, {"L1": None, "L2": None, "L4": None, "L5": None})
    found = build_joints(alone)
    assert found.joints == ()
    assert any("no joints" in w for w in found.warnings)
    assert found.frames["L3"].core.mask.any()


def test_progress_grows_and_cancels(lumbar: Anatomy) -> None:
    seen: list[float] = []

    def note(progress: Progress) -> None:
        seen.append(progress.fraction)
        if progress.fraction > 0.6:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        build_joints(lumbar.labels, progress=note)
    assert seen == sorted(seen)
    assert len(seen) >= 3
