"""Names of a column that was found, from ribs, sacrum, atlas and axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CTSpectSpineLib.labelling.builtin.evidence import Evidence, Surroundings
from CTSpectSpineLib.labelling.builtin.instances import Looks
from CTSpectSpineLib.labelling.builtin.naming import name_column, skipped_levels
from CTSpectSpineLib.labelling.importing.schemes import typical_steps_mm

SPINE = (
    *(f"C{n}" for n in range(1, 8)),
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 6)),
)
RIB = 5.0
VOLUME = {"C": 5000.0, "T": 15000.0, "L": 33000.0}


def levels(first: str, last: str) -> tuple[str, ...]:
    return SPINE[SPINE.index(first) : SPINE.index(last) + 1]


def looks_of(level: str, sure: float) -> Looks:
    """How a vertebra looks when this is seen with some certainty; 0 for not at all."""
    if not sure:
        return Looks()
    kinds = {"C1": "atlas", "C2": "axis"}
    mine = kinds.get(level) or {"C": "cervical", "T": "thoracic", "L": "lumbar"}[level[0]]
    names = ("atlas", "axis", "cervical", "thoracic", "lumbar")
    return Looks(**{name: sure if name == mine else (1 - sure) / 4 for name in names})


def column(
    names: Sequence[str],
    ribs: bool = True,
    sacrum: bool = False,
    dens: bool = False,
    room_mm: float = 10.0,
    size: float = 1.0,
    looks: float = 0.0,
) -> Surroundings:
    """What is seen of a spine with these vertebrae, of a patient of a size."""
    steps = [typical_steps_mm()[name] * size for name in names]
    heights = -np.concatenate([[0], np.cumsum(steps[:-1])])
    rows = tuple(
        Evidence(
            np.array([0.0, 0.0, height]),
            VOLUME[name[0]] * size**3,
            rib=(RIB if name[0] == "T" else -RIB) if ribs else 0.0,
            looks=looks_of(name, looks or (0.9 if dens and name in ("C1", "C2") else 0.0)),
        )
        for name, height in zip(names, heights, strict=True)
    )
    return Surroundings(rows, 24.0 * size if sacrum else None, 10.0, room_mm)


@pytest.mark.parametrize(
    ("first", "last", "sacrum", "dens"),
    [
        ("T11", "L5", True, False),
        ("C1", "T2", False, True),
        ("C5", "L3", False, False),
        ("C1", "L5", True, True),
    ],
)
def test_two_landmarks_give_confirmed_names(
    first: str, last: str, sacrum: bool, dens: bool
) -> None:
    found = name_column(column(levels(first, last), sacrum=sacrum, dens=dens))
    assert found.levels == levels(first, last)
    assert found.confirmed
    assert min(found.confidence) > 0.9


def test_the_sacrum_alone_names_a_lumbar_spine_and_says_what_it_cannot_tell() -> None:
    found = name_column(column(levels("L2", "L5"), ribs=False, sacrum=True))
    assert found.levels == levels("L2", "L5")
    assert found.confirmed
    assert any("sixth lumbar" in sentence for sentence in found.warnings)


@pytest.mark.parametrize("first", ["T2", "T8", "T9", "T12"])
def test_names_between_last_ribs_and_sacrum_are_confirmed_those_above_stay_in_doubt(
    first: str,
) -> None:
    """With eleven or thirteen pairs all of the thoracic ones would be wrong, and look the same."""
    found = name_column(column(levels(first, "L5"), sacrum=True))
    assert found.levels == levels(first, "L5")
    assert found.confirmed
    assert found.doubted == levels(first, "T12")
    assert min(found.confidence) > 0.85
    assert min(found.confidence[-5:]) > 0.98
    assert "T12" in found.warnings[0]
    assert "not confirmed" in found.warnings[0]
    anchored = name_column(column(levels(first, "L5"), sacrum=True), (0, first))
    assert anchored.confirmed
    assert not anchored.doubted


@pytest.mark.parametrize("ribs", [11, 13])
def test_another_number_of_ribs_is_named_wrong_only_where_it_is_in_doubt(ribs: int) -> None:
    """The same picture as that of a usual spine: five vertebrae between last ribs and sacrum."""
    seen = column(levels("T9", "L5"), sacrum=True)
    truth = (*(f"T{n}" for n in range(ribs - 3, ribs + 1)), *levels("L1", "L5"))
    found = name_column(seen)
    wrong = {name for name, true in zip(found.levels, truth, strict=True) if name != true}
    assert wrong == set(found.doubted) == {"T9", "T10", "T11", "T12"}


def test_last_ribs_confirm_no_thoracic_name_and_lumbar_ones_only_where_they_have_a_joint() -> None:
    whole = name_column(column(levels("T6", "L3")))
    assert whole.levels == levels("T6", "L3")
    assert whole.confirmed
    assert whole.doubted == levels("T6", "T12")
    chest = name_column(column(levels("T6", "L1")))
    assert chest.levels == levels("T6", "L1")
    assert not chest.confirmed
    assert chest.doubted == ()
    assert "T6 to T12 rest on the last ribs alone" in chest.warnings[0]


def test_names_counted_from_both_ends_are_in_no_doubt() -> None:
    for first, last, dens in (("C5", "L3", False), ("C1", "T4", True), ("C1", "L5", True)):
        found = name_column(column(levels(first, last), sacrum=last == "L5", dens=dens))
        assert found.confirmed
        assert found.doubted == (), (first, last)


def test_less_than_two_whole_vertebrae_are_too_little() -> None:
    seen = column(levels("L2", "L4"), sacrum=False)
    rows = [replace(row, cut=n != 1) for n, row in enumerate(seen.vertebrae)]
    found = name_column(replace(seen, vertebrae=tuple(rows)))
    assert not found.confirmed
    assert found.warnings[0].startswith("Too little of the spine is in view")
    above_sacrum = column(levels("L3", "L5"), ribs=False, sacrum=True)
    rows = [replace(row, cut=n != 2) for n, row in enumerate(above_sacrum.vertebrae)]
    assert name_column(replace(above_sacrum, vertebrae=tuple(rows))).confirmed
    whole = name_column(seen)
    assert not any("Too little" in sentence for sentence in whole.warnings)


@pytest.mark.parametrize(
    ("first", "last", "mark"), [("T5", "L2", "the last ribs"), ("C4", "T4", "the first ribs")]
)
def test_the_looks_of_bodies_name_a_column_where_regions_meet(
    first: str, last: str, mark: str
) -> None:
    """They give the names; ribs that are seen as well make them certain."""
    found = name_column(column(levels(first, last), ribs=False, looks=0.98))
    assert found.levels == levels(first, last)
    assert not found.confirmed
    assert mark in found.warnings[0]
    assert min(name_column(column(levels(first, last), looks=0.98)).confidence) > 0.9
    unsure = name_column(column(levels(first, last), ribs=False, looks=0.4))
    assert mark not in " ".join(unsure.warnings)


def test_the_looks_of_a_vertebra_that_is_cut_tell_neck_and_trunk_alone() -> None:
    seen = column(levels("L1", "L5"), ribs=False, sacrum=True)
    first = replace(seen.vertebrae[0], looks=looks_of("T12", 0.99))
    whole, cut = (
        name_column(replace(seen, vertebrae=(replace(first, cut=c), *seen.vertebrae[1:])))
        for c in (False, True)
    )
    assert cut.confidence[0] > whole.confidence[0]
    assert cut.levels == levels("L1", "L5")
    crop = column(levels("L2", "L4"), ribs=False, looks=0.9)
    rows = tuple(replace(row, cut=True, body_mm3=9000.0) for row in crop.vertebrae)
    guess = name_column(replace(crop, vertebrae=rows))
    assert not guess.confirmed
    assert guess.levels[1][0] != "C"


def test_what_looks_like_the_axis_may_be_far_above_the_next_one() -> None:
    """Its centre lies higher, for the dens; a vertebra that was missed would be noted."""
    centres = -np.cumsum([0, 20, 34, 18, 18, 19])[:, None] * np.array([0, 0, 1.0])
    axis = np.array([False, True, False, False, False, False])
    assert skipped_levels(centres).sum() == 1
    assert skipped_levels(centres, axis).sum() == 0


def test_transitional_anatomy_is_named_but_left_to_a_person_to_confirm() -> None:
    names = (*levels("C1", "T12"), "T13", *levels("L1", "L5"))
    found = name_column(column(names, sacrum=True, dens=True))
    assert found.levels == names
    assert not found.confirmed
    assert any("Transitional anatomy" in sentence for sentence in found.warnings)
    # One known vertebra far from it does not settle it either.
    assert not name_column(column(names, sacrum=True, dens=True), anchor=(0, "C1")).confirmed


def test_the_looks_of_one_region_alone_are_no_landmark() -> None:
    assert not name_column(column(levels("L1", "L4"), ribs=False, looks=0.95)).confirmed
    assert not name_column(column(levels("T4", "T9"), ribs=False, looks=0.95)).confirmed


def test_without_a_landmark_levels_are_not_confirmed() -> None:
    found = name_column(column(levels("L2", "L4"), ribs=False))
    assert not found.confirmed
    assert any("Levels not confirmed" in sentence for sentence in found.warnings)
    assert max(found.confidence) < 0.9


def test_a_vertebra_the_user_knows_settles_the_names() -> None:
    found = name_column(column(levels("L2", "L4"), ribs=False), anchor=(1, "L3"))
    assert found.levels == ("L2", "L3", "L4")
    assert found.confirmed


def test_six_vertebrae_without_ribs_above_the_sacrum_are_told_and_flagged() -> None:
    names = (*levels("T9", "L5"), "L6")
    found = name_column(column(names, sacrum=True))
    assert found.levels == names
    assert any("sixth lumbar" in s and "Transitional" in s for s in found.warnings)


def test_ribs_that_contradict_the_sacrum_are_never_silent() -> None:
    """Four rib-free vertebrae above the sacrum: a sacralised L5 or a thirteenth pair of ribs."""
    usual = column(levels("T9", "L4"), sacrum=True)
    found = name_column(usual)
    assert found.levels == levels("T9", "L4") or not found.confirmed
    assert any("Transitional" in s or "not confirmed" in s for s in found.warnings)


def test_a_vertebra_that_was_not_found_leaves_a_gap_in_the_names() -> None:
    names = [n for n in levels("T9", "L5") if n != "L2"]
    whole = column(levels("T9", "L5"), sacrum=True)
    rows = tuple(r for r, n in zip(whole.vertebrae, levels("T9", "L5"), strict=True) if n != "L2")
    found = name_column(Surroundings(rows, 24.0))
    assert list(found.levels) == names
    assert not found.confirmed
    assert any("Between L1 and L3" in sentence for sentence in found.warnings)


def test_regular_columns_have_no_gaps() -> None:
    centres = np.array([row.centre_mm for row in column(SPINE).vertebrae])
    assert not skipped_levels(centres).any()


def test_an_empty_column_has_no_names() -> None:
    assert name_column(Surroundings((), None)).levels == ()


@settings(max_examples=40, deadline=None)
@given(
    first=st.integers(0, 17),
    length=st.integers(4, 12),
    size=st.floats(0.85, 1.15),
    noise=st.integers(0, 1000),
)
def test_clear_evidence_gives_the_right_names_for_any_part_and_size(
    first: int, length: int, size: float, noise: int
) -> None:
    names = SPINE[first : first + length]
    rng = np.random.default_rng(noise)
    seen = column(names, sacrum=names[-1] == "L5", dens=True, size=size)
    rows = tuple(
        Evidence(
            row.centre_mm + rng.normal(0, 1.0, 3),
            row.body_mm3 * float(np.exp(rng.normal(0, 0.15))),
            row.rib + float(rng.normal(0, 0.4)),
            row.looks,
        )
        for row in seen.vertebrae
    )
    found = name_column(Surroundings(rows, seen.sacrum_mm, 10.0, 10.0))
    landmarks = {"C1", "C2", "L5"} & set(names) or len({n[0] for n in names}) > 1
    if landmarks or found.confirmed:
        assert found.levels == names
