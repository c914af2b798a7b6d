"""The simulated patients of the truth study."""

from __future__ import annotations

import numpy as np

from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.validation import SETS
from CTSpectSpineLib.validation.cohort import (
    Patient,
    draw_hot,
    draw_patients,
    draw_ratios,
    draw_scanner,
    draw_spine,
)


def test_tuning_and_test_patients_never_share_a_seed() -> None:
    seeds = {
        split: {
            p.seed for name in SETS for s in range(4) for p in draw_patients(name, split, 50, s)
        }
        for split in ("tuning", "test")
    }
    assert len(seeds["test"]) > 700
    assert not seeds["test"] & seeds["tuning"]


def test_more_patients_begin_with_the_same_ones() -> None:
    assert draw_patients("standard", "test", 9, 1)[:4] == draw_patients("standard", "test", 4, 1)


def test_the_set_with_given_resolution_has_the_standard_patients() -> None:
    pairs = zip(
        draw_patients("standard", "test", 5, 1), draw_patients("known", "test", 5, 1), strict=True
    )
    for usual, known in pairs:
        assert draw_spine(usual) == draw_spine(known)
        assert draw_scanner(usual) == draw_scanner(known)
        assert not usual.info.fwhm_given
        assert known.info.fwhm_given


def test_patients_vary_as_their_set_says() -> None:
    patients = draw_patients("hard", "tuning", 150, 1)
    spines = [draw_spine(p) for p in patients]
    scanners = [draw_scanner(p) for p in patients]
    assert {p for _, p, _ in spines} == {
        "none",
        "single",
        "facet pair",
        "adjacent levels",
        "disc and facets",
        "many",
    }
    assert {(s.first, s.last) for s, _, _ in spines} >= {("C1", "T2"), ("T12", "sacrum")}
    cobb = np.abs([s.scoliosis_cobb_deg for s, _, _ in spines])
    assert 15 <= cobb.min() < 20
    assert 35 < cobb.max() <= 40
    assert all(9 <= s.fwhm_mm <= 13 and 3.5 <= s.spacing_mm <= 4.8 for s in scanners)
    assert all(1 <= s.spacing[0] <= 2 and 1 <= s.spacing[2] <= 3 for s, _, _ in spines)
    for (config, _, hot), patient in zip(spines, patients, strict=True):
        ratios = draw_ratios(hot, patient, 0)
        assert set(ratios) == set(hot) <= set(config.joint_ids)
        assert all(1 <= ratio <= 6 for ratio in ratios.values())


def test_hot_joints_fit_their_pattern() -> None:
    ids = SpineConfig().joint_ids
    for seed in range(200):
        pattern, hot = draw_hot(ids, Patient("standard", "test", "x", seed))
        levels = {joint.split()[0] for joint in hot}
        places = {joint.split(" ", 1)[1] for joint in hot}
        if pattern == "facet pair":
            assert len(levels) == 1
            assert places == {"facet left", "facet right"}
        elif pattern == "adjacent levels":
            upper, lower = (joint.split()[0].split("-") for joint in hot)
            assert upper[1] == lower[0]
            assert len(places) == 1
        elif pattern == "disc and facets":
            assert len(levels) == 1
            assert "disc" in places
            assert len(places) >= 2
        else:
            assert len(hot) in {"none": [0], "single": [1], "many": [3, 4, 5]}[pattern]
