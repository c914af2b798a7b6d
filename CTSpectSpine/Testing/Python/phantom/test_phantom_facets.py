"""Facet joints that differ as they do between people: drawn places, arthritis, clefts, bridges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from spine_configs import array, by_id, sampled

from CTSpectSpineLib.anatomy import vertebra
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.anatomy.column import build_column
from CTSpectSpineLib.phantom.anatomy.facet_variety import draw_facets, spondylolytic, variety
from CTSpectSpineLib.phantom.config import SpineConfig

SEEDS = range(500)


def test_only_facets_change_when_they_are_varied() -> None:
    regular = build_column(SpineConfig(seed=31000))
    varied = build_column(SpineConfig(seed=31000, facets="varied"))
    for a, b in zip(regular.vertebrae, varied.vertebrae, strict=True):
        assert a.size == b.size
        assert np.array_equal(a.pose.origin, b.pose.origin)
    assert any(
        np.linalg.norm(a.centre - b.centre) > 2
        for a, b in zip(regular.facets, varied.facets, strict=True)
    )
    again = build_column(SpineConfig(seed=31000, facets="varied"))
    assert all(
        np.array_equal(a.centre, b.centre) for a, b in zip(again.facets, varied.facets, strict=True)
    )


def test_joints_of_real_label_maps_are_ordinary_draws() -> None:
    columns = [build_column(SpineConfig(seed=seed, facets="varied")) for seed in range(60)]
    # Least and largest on three label maps, mm: from the middle of the disc to posterior less half
    # the depth of the bodies, and from the midline.
    real = {
        "L3": ((10.6, 16.6), (14.0, 17.3)),
        "L4": ((9.3, 12.4), (14.9, 20.8)),
        "L5": ((8.7, 9.1), (21.5, 22.9)),
    }
    for level, ranges in real.items():
        places = []
        for column in columns:
            for facet in column.facets_of(upper=level):
                pose = column.pair_poses[facet.upper, facet.lower]
                sizes = [column[name].size.depth for name in (facet.upper, facet.lower)]
                x, y, _ = pose.to_local(facet.centre)
                places.append((y - 0.25 * sum(sizes), abs(x)))
        for drawn, (low, high) in zip(np.array(places).T, ranges, strict=True):
            assert drawn.min() <= low, level
            assert high <= drawn.max(), level
            assert np.std(drawn) < 2.6, level


def test_tropism_gap_and_arthritis_are_spread_as_published() -> None:
    table = variety()
    pairs = [draw_facets("L4", seed) for seed in SEEDS]
    tropism = np.mean([abs(a.angle_deg - b.angle_deg) for a, b in pairs])
    assert tropism == pytest.approx(table["tropism"]["L4"], rel=0.12)
    gaps = [d.gap_mm for pair in pairs for d in pair]
    assert np.mean(gaps) == pytest.approx(table["gap"][0], abs=0.1)
    arthritic = np.mean([any(d.severity > 0 for d in pair) for pair in pairs])
    assert arthritic == pytest.approx(table["osteoarthritis"]["L4"], abs=0.06)
    clefts = np.mean([spondylolytic(seed) for seed in SEEDS])
    assert clefts == pytest.approx(table["spondylolysis"], abs=0.04)


def test_a_severity_that_is_given_is_kept() -> None:
    config = SpineConfig(seed=3, facets="varied", degenerate={"L4-L5 facet left": 0.6})
    facet = next(f for f in build_column(config).facets_of(upper="L4") if f.side == "left")
    assert facet.severity == 0.6


def small(seed: int, level: str) -> SpineConfig:
    last = {"L4": "L5", "L5": "sacrum", "L1": "L2", "L2": "L3", "L3": "L4"}[level]
    return SpineConfig(
        seed=seed,
        spacing_mm=1.2,
        first=level,
        last=last,
        lateral_mm=110,
        ap_mm=120,
        margin_mm=8,
        noise_hu=0.0,
        facets="varied",
    )


@pytest.mark.slow
def test_a_cleft_parts_arch_and_body_and_both_keep_their_label() -> None:
    seed = next(s for s in SEEDS if spondylolytic(s))
    whole = next(s for s in SEEDS if not spondylolytic(s))
    for number, pieces in ((seed, 2), (whole, 1)):
        labels = array(make_anatomy(small(number, "L5")).labels)
        _, count = ndimage.label(labels == vertebra("L5").id, structure=np.ones((3, 3, 3)))
        assert count == pieces


@pytest.mark.slow
def test_bone_bridges_a_fused_joint_on_ct_and_labels_stay_apart() -> None:
    levels = ("L2", "L3", "L4")
    seed, level, side = next(
        (s, level, i)
        for s in range(1000)
        for level in levels
        for i in range(2)
        if draw_facets(level, s)[i].fused
    )
    spine = make_anatomy(small(seed, level))
    below = {"L2": "L3", "L3": "L4", "L4": "L5"}[level]
    joint = by_id(spine, f"{level}-{below} facet {('left', 'right')[side]}")
    assert joint.region is not None
    assert joint.bone is not None
    gap = Region(joint.region.mask & ~joint.bone.mask, joint.region.ijk_to_lps)
    hu = sampled(spine.ct, gap)
    assert np.quantile(hu, 0.85) > 450
    assert np.mean(sampled(spine.labels, gap) == 0) > 0.5
    plain = replace(small(seed, level), facets="regular")
    other = by_id(make_anatomy(plain), joint.id)
    assert other.region is not None
    assert other.bone is not None
    open_gap = Region(other.region.mask & ~other.bone.mask, other.region.ijk_to_lps)
    assert np.quantile(sampled(make_anatomy(plain).ct, open_gap), 0.5) < 450


def test_an_unknown_kind_of_facets_is_named() -> None:
    with pytest.raises(InputError, match="facets is 'odd'; give regular or varied"):
        SpineConfig(facets="odd")
