"""The whole phantom: its files and cases, and a SPECT of a real CT."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from spect_support import MOVED, centroid_mm, image

from CTSpectSpineLib.anatomy import vertebra
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import (
    apply_matrix,
    euler_transform,
    grid_of,
    ijk_to_lps,
    image_centre_mm,
)
from CTSpectSpineLib.model import Region, SpineJoints, VertebraFrame
from CTSpectSpineLib.phantom import (
    Phantom,
    SpectConfig,
    case_names,
    load_case,
    make_phantom,
    phantom_from_ct,
    phantom_of,
    write_phantom,
)
from CTSpectSpineLib.phantom.activity import assign_activity
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix, simulate_spect


@pytest.fixture(scope="module")
def product(anatomy) -> Phantom:
    config = SpectConfig(*MOVED, counts=2e6, seed=7)
    return phantom_of(anatomy, {"L4-L5 facet left": 8.0}, config)


def test_hot_joint_lies_where_the_movement_puts_it(anatomy):
    """Difference of the SPECT with and without the hot joint: its centroid, within 1 mm."""
    matrix = rigid_matrix(*MOVED, image_centre_mm(anatomy.ct))
    for joint in anatomy.joints:
        spects = [
            simulate_spect(assign_activity(anatomy, hot).image, matrix, counts=1e6, noise_gain=0)
            for hot in ({}, {joint.id: 6.0})
        ]
        cold, hot = (sitk.GetArrayFromImage(s).astype(float) for s in spects)
        # Both hold the same counts; far from the joint their scales show.
        scale = np.median(hot / cold)
        excess = np.maximum(hot - scale * cold, 0)
        excess[excess < 0.05 * excess.max()] = 0
        expected = apply_matrix(matrix, joint.centre_mm[None])[0]
        assert np.linalg.norm(centroid_mm(spects[0], excess) - expected) < 1.0


def test_truth_file_says_what_was_made(product, tmp_path):
    asked = []

    def disposition_of(table, protocol):
        asked.append(protocol)
        positive = table.loc[table["uptake"] == "positive", "joint"].tolist()
        return "hot: " + ", ".join(positive)

    returned = write_phantom(product, tmp_path, disposition_of, ("one", "two"))
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    assert truth == returned
    assert asked == ["one", "two"]
    assert truth["dispositions"] == dict.fromkeys(asked, "hot: L4-L5 facet left")
    assert np.array(truth["ct_to_spect"]) == pytest.approx(product.ct_to_spect)
    assert list(truth["joints"]) == [j.id for j in product.anatomy.joints]
    facet = truth["joints"]["L4-L5 facet left"]
    assert facet["true_ratio"] == pytest.approx(8.0, rel=0.01)
    assert (facet["level"], facet["kind"], facet["side"]) == ("L4-L5", "facet", "left")
    assert facet["centre_mm"] == pytest.approx(product.joints[4].centre_mm)
    assert "partial volume" in truth["true_ratio"]
    assert truth["seed"] == 7
    assert truth["config"]["spect"]["translation_mm"] == [8.0, -6.0, 10.0]
    for name in ("ct", "spect", "vertebrae", "activity"):
        assert (tmp_path / f"{name}.nii.gz").is_file()
    # The truth holds for the files as they are read back.
    activity = sitk.ReadImage(str(tmp_path / "activity.nii.gz"))
    assert grid_of(activity).matches(grid_of(product.ct))
    stored = sitk.GetArrayFromImage(activity)
    assert np.array_equal(stored, sitk.GetArrayFromImage(product.activity))
    mask = product.joints[4].bone.mask
    ratio = stored[mask].mean() / truth["reference"]["activity"]
    assert ratio == pytest.approx(facet["true_ratio"], rel=1e-3)


def test_joints_are_segments_by_name(product, tmp_path):
    from CTSpectSpineLib.volumes.segmentation_nrrd import read_segmentation

    write_phantom(product, tmp_path)
    segments, _ = read_segmentation(tmp_path / "joints.seg.nrrd")
    assert [s.name for s in segments] == [j.id for j in product.joints]
    for segment, joint in zip(segments, product.joints, strict=True):
        assert segment.region.centre_mm() == pytest.approx(joint.region.centre_mm(), abs=0.5)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_files_are_the_same_to_the_byte_at_another_time_and_place(anatomy, product, tmp_path):
    write_phantom(product, tmp_path / "first")
    time.sleep(2)  # gzip keeps times in whole seconds
    again = phantom_of(anatomy, {"L4-L5 facet left": 8.0}, SpectConfig(*MOVED, counts=2e6, seed=7))
    write_phantom(again, tmp_path / "elsewhere" / "second")
    first, second = digests(tmp_path / "first"), digests(tmp_path / "elsewhere" / "second")
    assert len(first) == 6
    assert first == second
    other = phantom_of(anatomy, {"L4-L5 facet left": 8.0}, SpectConfig(*MOVED, counts=2e6, seed=8))
    write_phantom(other, tmp_path / "third")
    changed = {n for n, digest in digests(tmp_path / "third").items() if digest != first[n]}
    assert {"spect.nii.gz", "activity.nii.gz", "truth.json"} <= changed


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fwhm_mm": 0.0}, "fwhm is 0 mm.*4 to 40"),
        ({"counts": -5.0}, "counts is -5"),
        ({"spacing_mm": 100.0}, "spacing is 100 mm"),
        ({"translation_mm": (0.0, 900.0, 0.0)}, "translation is 900 mm"),
        ({"rotation_deg": (0.0, 0.0, float("nan"))}, "rotation is nan"),
        ({"rotation_deg": (0.0, 1.0)}, "three numbers"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_settings_are_named(values, words):
    with pytest.raises(InputError, match=words):
        replace(SpectConfig(), **values).check()


def test_every_case_is_well_formed():
    wanted = {
        *("lumbar-disc", "lumbar-facet", "cervical-facet", "cervical-disc", "multiple-areas"),
        *("negative", "scoliosis", "l6", "ribs11", "limited-fov", "metal", "whole-spine"),
    }
    assert wanted <= set(case_names())
    for name in case_names():
        case = load_case(name)
        assert case.description.endswith(".")
        case.spect.check()
        assert set(case.hot) <= set(case.spine.joint_ids)
        assert all(ratio >= 2.5 for ratio in case.hot.values())


def test_unknown_case_names_the_known_ones():
    with pytest.raises(InputError, match=r"'lumbar'.*lumbar-disc.*whole-spine"):
        load_case("lumbar")


def test_unknown_joint_is_found_before_anything_is_built():
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"no joint 'L7-S1 disc'.*L4-L5 disc"):
        make_phantom(replace(load_case("lumbar-disc"), hot={"L7-S1 disc": 3.0}))
    assert time.perf_counter() - start < 1.0


def test_demo_case_has_its_hot_disc_and_nothing_else():
    case = load_case("lumbar-disc")
    coarse = replace(case, spine=replace(case.spine, spacing_mm=2.5))
    phantom = make_phantom(coarse)
    assert phantom.true_ratios["L4-L5 disc"] == pytest.approx(4.0, rel=0.01)
    others = [v for k, v in phantom.true_ratios.items() if k != "L4-L5 disc"]
    assert min(others) > 0.85
    assert max(others) < 1.25
    assert len(phantom.joints) >= 15
    assert phantom.joint_table().query("uptake == 'positive'")["joint"].tolist() == ["L4-L5 disc"]


@pytest.mark.slow
@pytest.mark.parametrize("name", case_names())
def test_every_case_has_its_hot_joints_and_no_other(name):
    case = load_case(name)
    phantom = make_phantom(replace(case, spine=replace(case.spine, spacing_mm=2.5)))
    for joint, ratio in case.hot.items():
        assert phantom.true_ratios[joint] == pytest.approx(ratio, rel=0.01)
    others = [v for k, v in phantom.true_ratios.items() if k not in case.hot]
    assert max(others, default=0) < 1.6
    positive = phantom.joint_table().query("uptake == 'positive'")["joint"]
    assert set(positive) == set(case.hot)
    assert sitk.GetArrayViewFromImage(phantom.spect).min() >= 0


def frames_of(anatomy: Anatomy) -> SpineJoints:
    labels = sitk.GetArrayFromImage(anatomy.labels)
    tissue = sitk.GetArrayFromImage(anatomy.tissue)
    matrix = ijk_to_lps(anatomy.ct)
    frames = {}
    for name in ("L3", "L4", "L5"):
        body = Region((labels == vertebra(name).id) & (tissue == Tissue.BODY), matrix)
        frames[name] = VertebraFrame(name, body.centre_mm(), np.eye(3), body, body)
    return SpineJoints(anatomy.joints, frames)


def test_tissues_are_read_off_the_ct(anatomy):
    from CTSpectSpineLib.phantom.real_ct import classify

    hu = sitk.GetArrayFromImage(anatomy.ct)
    hu[:, :2], hu[:, -2:] = -1000, -1000  # air in front and behind
    hu[:, 2:5] = -100  # fat
    hu[20:30, 34:40, 4:10] = -800  # gas inside
    hu[40:60, 30:40, 50:58] = 500  # a bone without a label, hollow:
    hu[43:57, 33:37, 52:56] = 60
    hu[62:66, 31:35, 30:34] = 3000  # metal
    tissue = sitk.GetArrayFromImage(classify(image(hu, 1.5), anatomy.labels, frames_of(anatomy)))
    labelled = sitk.GetArrayFromImage(anatomy.labels) > 0
    truth = sitk.GetArrayFromImage(anatomy.tissue)
    metal = hu == 3000
    assert np.array_equal(tissue[labelled & ~metal], truth[labelled & ~metal])
    assert np.all(tissue[:, 0] == Tissue.AIR)
    assert np.all(tissue[2:-2, 3, 2:-2] == Tissue.FAT)
    assert np.all(tissue[22:28, 36:38, 6:8] == Tissue.LUNG)
    assert np.all(tissue[40:60, 30:40, 50:58] == Tissue.OTHER_BONE)
    assert np.all(tissue[metal] == Tissue.METAL)
    assert np.all(tissue[70:78, 20:28, 4:12] == Tissue.MUSCLE)


def test_labels_beside_the_ct_are_refused(anatomy):
    shifted = image(sitk.GetArrayFromImage(anatomy.labels), 1.5, (0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="vertebra labels do not lie on the CT"):
        phantom_from_ct(anatomy.ct, shifted, frames_of(anatomy), {})


@pytest.mark.slow
def test_real_ct_gets_a_spect_with_known_truth(shared_data):
    from CTSpectSpineLib.joints import build_joints

    folder = shared_data / "totalsegmentator_example"
    ct = sitk.ReadImage(str(folder / "ct.nii.gz"))
    labels = sitk.ReadImage(str(folder / "vertebrae_total.nii.gz"))
    hot = {"L4-L5 disc": 4.0, "L5-S1 facet right": 5.0}
    config = SpectConfig((12.0, -8.0, 15.0), (6.0, 0.0, 0.0), seed=3)
    joints = build_joints(labels, ct)
    phantom = phantom_from_ct(ct, labels, joints, hot, config)
    for name, ratio in phantom.true_ratios.items():
        if name in hot:
            assert ratio == pytest.approx(hot[name], rel=0.01)
        else:
            assert 0.85 < ratio < 1.5
    # A bone SPECT: bone is far above soft tissue once it is brought back onto the CT.
    back = sitk.Resample(phantom.spect, ct, euler_transform(phantom.ct_to_spect), sitk.sitkLinear)
    values = sitk.GetArrayFromImage(back)
    hu = sitk.GetArrayFromImage(ct)
    vertebrae = sitk.GetArrayFromImage(labels) > 0
    assert values[vertebrae].mean() > 4 * values[(hu > 20) & (hu < 60)].mean()
    # The right facet is on the patient's right: smaller x than the disc in LPS.
    assert joints["L5-S1 facet right"].centre_mm[0] < joints["L4-L5 disc"].centre_mm[0]
