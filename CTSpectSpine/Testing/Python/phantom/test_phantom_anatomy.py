"""The anatomy of the phantom: vertebrae, discs, facets and joints."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree
from spine_configs import SMALL, array, by_id, centroid, levels, sampled, shared_grid

import CTSpectSpineLib
from CTSpectSpineLib.anatomy import SACRUM, hip_ids, neighbouring_pairs, vertebra
from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.phantom.anatomy.build import build_bones, make_anatomy
from CTSpectSpineLib.phantom.anatomy.column import build_column
from CTSpectSpineLib.phantom.anatomy.pelvis import build_hip
from CTSpectSpineLib.phantom.anatomy.shapes import keep_apart
from CTSpectSpineLib.phantom.anatomy.vertebra import APART_MM
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.phantom.truth import BAND_MM, FACET_REACH_MM

WHOLE = SpineConfig(spacing_mm=3.0)


BONE = (Tissue.BODY, Tissue.POSTERIOR, Tissue.SACRUM)


@pytest.fixture(scope="module")
def whole() -> Anatomy:
    return make_anatomy(WHOLE)


def digest(anatomy: Anatomy) -> str:
    sha = hashlib.sha256()
    for image in (anatomy.ct, anatomy.labels, anatomy.tissue):
        sha.update(array(image).tobytes())
        sha.update(repr((image.GetOrigin(), image.GetSpacing())).encode())
    for joint in anatomy.joints:
        assert joint.region is not None
        sha.update(joint.id.encode() + np.packbits(joint.region.mask).tobytes())
        sha.update(joint.region.ijk_to_lps.tobytes())
    return sha.hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first = digest(make_anatomy(SMALL))
    assert digest(make_anatomy(SMALL)) == first
    assert digest(make_anatomy(replace(SMALL, seed=2))) != first


def test_the_bytes_do_not_depend_on_the_number_of_threads() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_phantom_anatomy as t;"
        "print(t.digest(t.make_anatomy(t.replace(t.SMALL, screws=('L3', 'L4')))))"
    )
    library = os.path.dirname(os.path.dirname(CTSpectSpineLib.__file__))  # noqa: PTH120
    tests = os.path.dirname(__file__)  # noqa: PTH120
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    names += ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",)
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, tests],
            env=os.environ | {"PYTHONPATH": library} | dict.fromkeys(names, threads),
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(digests) == 1


def test_the_whole_spine_has_every_vertebra_in_order_and_in_one_piece(whole: Anatomy) -> None:
    assert set(levels(whole)) == set(WHOLE.levels)
    heights = [centroid(whole, vertebra(name).id)[2] for name in WHOLE.levels]
    assert np.all(np.diff(heights) < 0)
    labels = array(whole.labels)
    for name in WHOLE.levels:
        mask = labels == vertebra(name).id
        _, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
        assert count == 1, name
        assert mask.sum() * 27 > 4000, name


def test_images_share_one_grid_and_have_the_promised_types(whole: Anatomy) -> None:
    assert whole.ct.GetPixelID() == sitk.sitkInt16
    for image in (whole.labels, whole.tissue):
        assert image.GetPixelID() == sitk.sitkUInt8
        assert image.GetSize() == whole.ct.GetSize()
        assert np.array_equal(ijk_to_lps(image), ijk_to_lps(whole.ct))


def test_labels_and_tissues_agree(whole: Anatomy) -> None:
    labels, tissue = array(whole.labels), array(whole.tissue)
    for name in WHOLE.levels:
        codes = np.unique(tissue[labels == vertebra(name).id])
        expected = {Tissue.SACRUM} if name == SACRUM else {Tissue.BODY, Tissue.POSTERIOR}
        assert set(codes) == expected, name
    hips = np.isin(labels, list(hip_ids().values()))
    assert set(np.unique(tissue[hips])) == {Tissue.PELVIS}
    assert np.isin(tissue, BONE).sum() - ((labels > 0) & ~hips).sum() < 20
    for code in (
        Tissue.LUNG,
        Tissue.LIVER,
        Tissue.KIDNEY,
        Tissue.BLADDER,
        Tissue.BLOOD,
        Tissue.RIB,
    ):
        assert (tissue == code).sum() * 27 > 20000, code


def test_left_is_the_patients_left(whole: Anatomy) -> None:
    ids = hip_ids()
    assert centroid(whole, ids["hip_left"])[0] > 30
    assert centroid(whole, ids["hip_right"])[0] < -30
    for upper, lower in neighbouring_pairs(WHOLE.levels):
        level = f"{upper}-{'S1' if lower == SACRUM else lower}"
        left = by_id(whole, f"{level} facet left")
        right = by_id(whole, f"{level} facet right")
        assert left.side == "left"
        assert left.centre_mm is not None
        assert right.centre_mm is not None
        assert left.centre_mm[0] > 5 > -5 > right.centre_mm[0]


def test_all_joints_are_there_once_and_named_as_agreed(whole: Anatomy) -> None:
    assert tuple(joint.id for joint in whole.joints) == WHOLE.joint_ids
    assert len(WHOLE.joint_ids) == 24 * 3 - 1
    assert "C1-C2 disc" not in WHOLE.joint_ids
    assert by_id(whole, "L5-S1 facet right").lower == SACRUM


def test_the_sagittal_curves_are_those_asked_for() -> None:
    config = SpineConfig(
        cervical_lordosis_deg=25,
        thoracic_kyphosis_deg=50,
        lumbar_lordosis_deg=60,
        sacral_slope_deg=42,
    )
    column = build_column(config)

    def tilt(name: str, end: float) -> float:
        v = column[name]
        up = v.pose.rotation[:, 2]
        return float(np.rad2deg(np.arctan2(-up[1], up[2]))) + end * 0.5 * v.size.body_wedge_deg

    top, bottom = -1.0, 1.0
    assert tilt(SACRUM, top) == pytest.approx(42)
    assert tilt(SACRUM, top) - tilt("L1", top) == pytest.approx(60)
    assert tilt("T1", top) - tilt("T12", bottom) == pytest.approx(50)
    assert tilt("C7", bottom) - tilt("C2", bottom) == pytest.approx(25)


@pytest.mark.parametrize(
    "config",
    [SpineConfig(), SpineConfig(scoliosis_cobb_deg=40, seed=3), SpineConfig(sixth_lumbar=True)],
    ids=["straight", "scoliosis", "L6"],
)
def test_no_two_bones_overlap(config: SpineConfig) -> None:
    column = build_column(config)
    bones = build_bones(column)
    names = [v.name for v in column.vertebrae]
    for gap in (1, 2):
        for upper, lower in zip(names, names[gap:], strict=False):
            first, second = bones[upper].whole, bones[lower].whole
            grid = shared_grid(first, second, 1.8)
            if grid is None:
                continue
            a, b = first.distance(grid), second.distance(grid)
            both = np.count_nonzero((a < 0) & (b < 0)) * 1.8**3
            # Before they are kept apart, neighbours may touch, never interlock.
            assert both < (60 if gap == 1 else 1e-6), (upper, lower)
            if gap == 1:
                keep_apart(a, b, APART_MM)
                assert not np.any((a < 0) & (b < 0))
    for side in (1.0, -1.0):
        hip = build_hip(column, side)
        for name in names[-3:]:
            grid = shared_grid(hip, bones[name].whole, 1.8)
            if grid is not None:
                both = (hip.distance(grid) < 0) & (bones[name].whole.distance(grid) < 0)
                assert not both.any(), (name, side)


@pytest.mark.parametrize("level", ["L3-L4", "L4-L5", "L5-S1"])
def test_discs_lie_between_the_endplates_of_their_bodies(lumbar: Anatomy, level: str) -> None:
    disc = by_id(lumbar, f"{level} disc")
    assert disc.centre_mm is not None
    assert disc.region is not None
    assert disc.bone is not None
    upper, lower = (vertebra(n).id for n in (disc.upper, disc.lower))
    parts = {name: sampled(lumbar.labels, part) for name, part in disc.parts.items()}
    assert np.mean(parts["endplate_upper"] == upper) > 0.88
    assert np.mean(parts["endplate_lower"] == lower) > 0.88
    assert np.mean(parts["disc_space"] == 0) > 0.93
    tissue = sampled(lumbar.tissue, disc.parts["disc_space"])
    assert np.mean(tissue == Tissue.CARTILAGE) > 0.85
    assert set(np.unique(sampled(lumbar.tissue, disc.bone))) <= {
        *BONE,
        Tissue.CARTILAGE,
        Tissue.MUSCLE,
        Tissue.FAT,
    }
    heights = [region.centre_mm()[2] for region in disc.parts.values()]
    space, above, below = heights
    assert below < space < above
    union = sum(part.volume_mm3 for part in disc.parts.values())
    assert disc.region.volume_mm3 == pytest.approx(union)
    assert disc.bone.volume_mm3 < disc.region.volume_mm3


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("level", ["L3-L4", "L4-L5", "L5-S1"])
def test_facets_touch_both_vertebrae_across_a_gap(lumbar: Anatomy, level: str, side: str) -> None:
    facet = by_id(lumbar, f"{level} facet {side}")
    assert facet.region is not None
    assert facet.bone is not None
    assert facet.centre_mm is not None
    upper, lower = facet.parts["facet_upper"], facet.parts["facet_lower"]
    assert np.mean(sampled(lumbar.labels, upper) == vertebra(facet.upper).id) > 0.85
    assert np.mean(sampled(lumbar.labels, lower) == vertebra(facet.lower).id) > 0.85
    for part in (upper, lower):
        assert part.volume_mm3 > 300
        distance = np.linalg.norm(part.points_mm() - facet.centre_mm, axis=1)
        assert 0.8 < distance.min() < 2.2
        assert distance.max() < 18
    gap = facet.region.mask & ~facet.bone.mask
    assert np.mean(sampled(lumbar.labels, Region(gap, facet.bone.ijk_to_lps)) == 0) > 0.6


def test_true_joints_reach_as_far_into_bone_as_measured_ones() -> None:
    from CTSpectSpineLib.joints import discs, facets

    assert FACET_REACH_MM == facets.REGION_MM
    assert BAND_MM == discs.BAND_MM


def test_facet_bone_ends_at_its_distance_from_the_joint_space(whole: Anatomy) -> None:
    for joint in whole.joints:
        if joint.kind != "facet":
            continue
        assert joint.region is not None
        assert joint.bone is not None
        space = Region(joint.region.mask & ~joint.bone.mask, joint.region.ijk_to_lps).points_mm()
        depth = cKDTree(space).query(joint.bone.points_mm())[0].max()
        # The space is known to a voxel of 1 mm.
        assert depth == pytest.approx(FACET_REACH_MM + 0.6, abs=0.6), joint.id


def test_every_joint_of_the_whole_spine_has_bone_of_both_sides(whole: Anatomy) -> None:
    for joint in whole.joints:
        assert joint.region is not None
        assert joint.bone is not None
        labels = sampled(whole.labels, joint.bone)
        for name in (joint.upper, joint.lower):
            assert np.mean(labels == vertebra(name).id) > 0.15, joint.id
        assert (
            np.mean(np.isin(labels, (0, vertebra(joint.upper).id, vertebra(joint.lower).id))) > 0.98
        )
        volume = joint.region.volume_mm3
        assert (500 < volume < 4000) if joint.kind == "facet" else (2000 < volume < 40000), joint.id


def test_every_grid_of_a_joint_is_right_handed(lumbar: Anatomy) -> None:
    for joint in lumbar.joints:
        assert joint.region is not None
        assert np.linalg.det(joint.region.ijk_to_lps[:3, :3]) > 0
