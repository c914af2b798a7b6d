"""The procedural anatomy: what is built, where its joints are, and that it is reproducible."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

import CTSpectSpineLib
from CTSpectSpineLib.anatomy import SACRUM, hip_ids, name_of_id, neighbouring_pairs, vertebra
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.model import Joint, Region
from CTSpectSpineLib.phantom.anatomy.build import build_bones, make_anatomy
from CTSpectSpineLib.phantom.anatomy.column import build_column
from CTSpectSpineLib.phantom.anatomy.pelvis import build_hip
from CTSpectSpineLib.phantom.anatomy.shapes import Grid, Solid, keep_apart
from CTSpectSpineLib.phantom.anatomy.vertebra import APART_MM
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.phantom.truth import BAND_MM, FACET_REACH_MM

WHOLE = SpineConfig(spacing_mm=3.0)
LUMBAR = SpineConfig(first="L3", last="L5", lateral_mm=130, ap_mm=140, margin_mm=35)
SMALL = SpineConfig(spacing_mm=3.0, first="L3", last="L4", lateral_mm=160, ap_mm=160)
BONE = (Tissue.BODY, Tissue.POSTERIOR, Tissue.SACRUM)


@pytest.fixture(scope="module")
def whole() -> Anatomy:
    return make_anatomy(WHOLE)


@pytest.fixture(scope="module")
def lumbar() -> Anatomy:
    return make_anatomy(LUMBAR)


def array(image: sitk.Image) -> NDArray[np.generic]:
    # A copy: a view would outlive an image that nobody else holds.
    return sitk.GetArrayFromImage(image)


def levels(anatomy: Anatomy) -> list[str]:
    ids = np.unique(array(anatomy.labels))
    return [name for label in ids if (name := name_of_id(int(label))) is not None]


def centroid(anatomy: Anatomy, label: int) -> NDArray[np.float64]:
    region = Region(array(anatomy.labels) == label, ijk_to_lps(anatomy.labels))
    return region.centre_mm()


def sampled(image: sitk.Image, region: Region) -> NDArray[np.generic]:
    """Nearest voxels of an image at a region's points."""
    inverse = np.linalg.inv(ijk_to_lps(image))
    ijk = np.rint(region.points_mm() @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    within = np.all((ijk >= 0) & (ijk < image.GetSize()), axis=1)
    i, j, k = ijk[within].T
    return array(image)[k, j, i]


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


def by_id(anatomy: Anatomy, joint_id: str) -> Joint:
    return next(joint for joint in anatomy.joints if joint.id == joint_id)


# Reproducible


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


# What is there


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


# No overlaps


def shared_grid(first: Solid, second: Solid, step: float) -> Grid | None:
    """Grid over the overlap of two solids' boxes in LPS."""
    boxes = []
    for solid in (first, second):
        corners = np.array(list(product(*zip(*solid.bounds, strict=True))))
        world = solid.pose.to_world(corners)
        boxes.append((world.min(axis=0), world.max(axis=0)))
    low = np.maximum(boxes[0][0], boxes[1][0])
    high = np.minimum(boxes[0][1], boxes[1][1])
    if np.any(high <= low):
        return None
    matrix = np.diag([step, step, step, 1.0])
    matrix[:3, 3] = low
    i, j, k = np.ceil((high - low) / step).astype(int) + 1
    return Grid(matrix, (int(k), int(j), int(i)))


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


# True joints


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


# The CT


def test_tissues_have_their_hounsfield_units(lumbar: Anatomy) -> None:
    ct, tissue = array(lumbar.ct), array(lumbar.tissue)

    def median(code: Tissue) -> float:
        core = ndimage.binary_erosion(tissue == code, iterations=2)
        return float(np.median(ct[core]))

    assert median(Tissue.MUSCLE) == pytest.approx(52, abs=12)
    assert median(Tissue.FAT) == pytest.approx(-100, abs=12)
    assert median(Tissue.CARTILAGE) == pytest.approx(85, abs=12)
    assert 120 < median(Tissue.BODY) < 260
    shell = (tissue == Tissue.BODY) & ~ndimage.binary_erosion(tissue == Tissue.BODY)
    assert np.median(ct[shell]) > median(Tissue.BODY) + 100
    disc = by_id(lumbar, "L4-L5 disc")
    assert disc.bone is not None
    # Right labels of real CT give -116 to -178 HU between disc and endplate bands.
    step = np.median(sampled(lumbar.ct, disc.parts["disc_space"])) - np.mean(
        sampled(lumbar.ct, disc.bone)
    )
    assert -190 < step < -110


def test_the_noise_has_the_spread_asked_for() -> None:
    quiet = array(make_anatomy(replace(SMALL, noise_hu=0.0)).ct).astype(float)
    noisy = array(make_anatomy(replace(SMALL, noise_hu=25.0)).ct).astype(float)
    soft = (quiet > -200) & (quiet < 500)
    assert np.std((noisy - quiet)[soft]) == pytest.approx(25.0, rel=0.05)


# Options


def test_transitional_anatomy_changes_the_levels() -> None:
    field = {"spacing_mm": 3.0, "first": "T11", "last": SACRUM, "margin_mm": 5.0}
    six = make_anatomy(SpineConfig(sixth_lumbar=True, **field))
    assert {"L5", "L6", SACRUM} <= set(levels(six))
    assert {j.level for j in six.joints} >= {"L5-L6", "L6-S1"}
    eleven = make_anatomy(SpineConfig(eleven_ribs=True, **field))
    assert "T12" not in levels(eleven)
    assert {"T11-L1 disc", "T11-L1 facet left"} <= {j.id for j in eleven.joints}
    thirteen = make_anatomy(SpineConfig(thirteenth_thoracic=True, **field))
    assert {"T12", "T13", "L1"} <= set(levels(thirteen))
    assert {"T12-T13", "T13-L1"} <= {j.level for j in thirteen.joints}


def test_a_sacralised_l5_reaches_the_sacrum() -> None:
    config = SpineConfig(sacralised_l5=True)
    distances = {}
    for option in (config, SpineConfig()):
        column = build_column(option)
        bones = build_bones(column)
        grid = shared_grid(bones["L5"].whole, bones[SACRUM].whole, 2.0)
        assert grid is not None
        x = np.abs(grid.local(column["L5"].pose)[0])
        near = np.maximum(bones["L5"].whole.distance(grid), bones[SACRUM].whole.distance(grid))
        distances[option.sacralised_l5] = float(near[x > 36].min())
    assert distances[True] < 1.5
    assert distances[False] > 3.0


@pytest.mark.parametrize(("cobb", "apex"), [(40.0, "T8"), (-30.0, "L2")])
def test_scoliosis_has_the_angle_and_direction_asked_for(cobb: float, apex: str) -> None:
    config = SpineConfig(
        spacing_mm=3.0, scoliosis_cobb_deg=cobb, scoliosis_apex=apex, first="T2", last="L5"
    )
    anatomy = make_anatomy(config)
    discs = [j for j in anatomy.joints if j.kind == "disc"]
    tops = {d.lower: d.parts["endplate_lower"].centre_mm() for d in discs}
    bottoms = {d.upper: d.parts["endplate_upper"].centre_mm() for d in discs}
    axes = {n: tops[n] - bottoms[n] for n in config.levels if n in tops and n in bottoms}
    tilt = [np.rad2deg(np.arctan2(axis[0], axis[2])) for axis in axes.values()]
    assert np.ptp(tilt) == pytest.approx(abs(cobb), abs=3)
    middle = tops[apex][0]
    ends = 0.5 * (tops["T3"][0] + bottoms["L4"][0])
    assert np.sign(middle - ends) == np.sign(cobb)


def test_the_field_of_view_limits_levels_and_joints() -> None:
    config = replace(SMALL, margin_mm=5.0)
    anatomy = make_anatomy(config)
    assert set(levels(anatomy)) <= {"L2", "L3", "L4", "L5"}
    assert {"L3-L4 disc", "L3-L4 facet left", "L3-L4 facet right"} <= {j.id for j in anatomy.joints}
    assert not any(j.upper in ("T12", "L5") for j in anatomy.joints)
    cropped = make_anatomy(replace(config, crop_mm=(10.0, 0.0)))
    assert anatomy.ct.GetSize()[2] - cropped.ct.GetSize()[2] in (3, 4)
    assert cropped.ct.GetOrigin()[2] == pytest.approx(anatomy.ct.GetOrigin()[2], abs=4)


def test_thick_slices_are_averages_and_keep_their_labels() -> None:
    config = replace(SMALL, spacing_mm=(2.0, 2.0, 5.0))
    thick = make_anatomy(config)
    assert thick.ct.GetSpacing() == (2.0, 2.0, 5.0)
    assert {"L3", "L4"} <= set(levels(thick))
    thin = make_anatomy(replace(config, spacing_mm=(2.0, 2.0, 5.0 / 3.0)))
    a, b = centroid(thick, vertebra("L3").id), centroid(thin, vertebra("L3").id)
    assert np.linalg.norm(a - b) < 1.0


def test_screws_are_metal_in_their_vertebra_and_leave_streaks() -> None:
    config = replace(SMALL, spacing_mm=2.0, noise_hu=0.0)
    plain = make_anatomy(config)
    metal = make_anatomy(replace(config, screws=("L3", "L4")))
    mask = array(metal.tissue) == Tissue.METAL
    assert 2000 < mask.sum() * 8 < 20000
    assert np.median(array(metal.ct)[mask]) > 2500
    inside = np.isin(array(metal.labels)[mask], [vertebra("L3").id, vertebra("L4").id])
    assert inside.mean() > 0.3
    x = (np.argwhere(mask)[:, 2] * 2.0) + metal.ct.GetOrigin()[0]
    assert (x > 5).sum() > 50 < (x < -5).sum()
    far = ndimage.binary_dilation(mask, iterations=4) & ~ndimage.binary_dilation(mask, iterations=3)
    change = array(metal.ct)[far].astype(float) - array(plain.ct)[far]
    assert 10 < change.std() < 400


def test_degenerate_joints_look_the_part() -> None:
    config = replace(LUMBAR, spacing_mm=1.5)
    worn = make_anatomy(replace(config, degenerate={"L4-L5 disc": 1.0, "L3-L4 facet left": 1.0}))
    sound = make_anatomy(config)
    pairs = [(by_id(a, "L4-L5 disc"), a) for a in (worn, sound)]
    heights = [
        float(
            np.linalg.norm(
                j.parts["endplate_upper"].centre_mm() - j.parts["endplate_lower"].centre_mm()
            )
        )
        for j, _ in pairs
    ]
    assert heights[0] < heights[1] - 3
    (bad, bad_scan), (good, good_scan) = pairs
    assert sampled(bad_scan.ct, bad.parts["disc_space"]).min() < -300
    assert np.percentile(sampled(good_scan.ct, good.parts["disc_space"]), 2) > 0
    bad_facet, good_facet = (by_id(a, "L3-L4 facet left").bone for a in (worn, sound))
    assert bad_facet is not None
    assert good_facet is not None
    assert bad_facet.volume_mm3 > 1.2 * good_facet.volume_mm3
    assert np.mean(sampled(worn.ct, bad_facet)) > np.mean(sampled(sound.ct, good_facet))


def test_low_bone_density_lowers_the_marrow() -> None:
    values = []
    for density in (1.0, 0.5):
        anatomy = make_anatomy(replace(SMALL, spacing_mm=2.0, bone_density=density))
        core = ndimage.binary_erosion(array(anatomy.tissue) == Tissue.BODY, iterations=2)
        values.append(float(np.mean(array(anatomy.ct)[core])))
    assert values[1] < values[0] - 60


def test_a_smaller_patient_has_smaller_vertebrae() -> None:
    volumes = []
    for size in (1.0, 0.8):
        anatomy = make_anatomy(replace(SMALL, spacing_mm=2.0, size=size, shape_jitter=0.0))
        volumes.append(int((array(anatomy.labels) == vertebra("L3").id).sum()))
    assert volumes[1] / volumes[0] == pytest.approx(0.8**3, rel=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spacing_mm": 0.05}, "spacing_mm"),
        ({"first": "L6"}, "first"),
        ({"first": "L3", "last": "T4"}, "swap"),
        ({"scoliosis_cobb_deg": 120.0}, "scoliosis_cobb_deg"),
        ({"bone_density": float("nan")}, "bone_density"),
        ({"degenerate": {"L4-L6 disc": 1.0}}, "L4-L6 disc"),
        ({"degenerate": {"L4-L5 disc": 3.0}}, "L4-L5 disc"),
        ({"screws": ("L9",)}, "screws"),
        ({"eleven_ribs": True, "thirteenth_thoracic": True}, "eleven_ribs"),
    ],
)
def test_impossible_options_are_refused_in_one_sentence(
    options: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words) as error:
        SpineConfig(**options)  # type: ignore[arg-type]
    assert str(error.value).endswith(".")


def test_a_crop_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="crop_mm"):
        make_anatomy(replace(SMALL, crop_mm=(80.0, 80.0)))
