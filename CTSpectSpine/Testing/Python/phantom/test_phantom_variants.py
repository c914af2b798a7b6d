"""Tissues, transitional anatomy, scoliosis, crops, metal and degeneration of the phantom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from spine_configs import LUMBAR, SMALL, array, by_id, centroid, levels, sampled, shared_grid

from CTSpectSpineLib.anatomy import SACRUM, vertebra
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.phantom.anatomy.build import build_bones, make_anatomy
from CTSpectSpineLib.phantom.anatomy.column import build_column
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy, Tissue


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
