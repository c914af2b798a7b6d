"""Anchors count up and down from themselves; what they cannot settle stays unconfirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import pytest
from labelled_column import column

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.analysis import stages
from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling import Anchor, anchored, compare_labels, judge, labellers, shifted
from CTSpectSpineLib.labelling.label import label_vertebrae
from CTSpectSpineLib.labelling.labellers import Labeller
from CTSpectSpineLib.labelling.levels.numbering import body_centres, renumber
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.progress import silent
from CTSpectSpineLib.results.records import labels_record
from CTSpectSpineLib.volumes.volume import Volume

TRUE = ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "sacrum")
COLUMN = column(TRUE)
CENTRES = body_centres(COLUMN.labels({name: anatomy.vertebra(name).id for name in TRUE}))


def labelled(names: Mapping[str, str]) -> VertebraLabels:
    """The true column under other names; what is not named has no label. True name to name."""
    image = COLUMN.labels({true: anatomy.vertebra(name).id for true, name in names.items()})
    levels = anatomy.sort_levels(names.values())
    return VertebraLabels(image, levels, "test", levels_confirmed=False)


def at(true: str, level: str | None = None) -> Anchor:
    x, y, z = (float(v) for v in CENTRES[true])
    return Anchor(level or true, (x, y, z))


def truth(labels: VertebraLabels, names: Sequence[str] = TRUE) -> bool:
    """Whether every vertebra carries its true name."""
    point = {name: CENTRES[name].tolist() for name in names}
    found = {
        n: int(labels.image[labels.image.TransformPhysicalPointToIndex(p)])
        for n, p in point.items()
    }
    return all(anatomy.name_of_id(number) == name for name, number in found.items())


# Names as an engine gives them that takes the spine for one with eleven pairs of ribs.
OFF_BY_ONE = {**{n: n for n in TRUE}, "T9": "T8", "T10": "T9", "T11": "T10", "T12": "T11"}


@pytest.mark.parametrize("known", TRUE[:-1])
def test_every_right_anchor_gives_the_same_right_column(known: str) -> None:
    found = judge(anchored(labelled(OFF_BY_ONE), at(known)))
    assert truth(found)
    assert found.levels_confirmed, found.warnings


def test_an_anchor_that_names_what_is_named_so_still_counts() -> None:
    labels = labelled(OFF_BY_ONE)
    assert not truth(labels)
    assert truth(anchored(labels, at("L3", "L3")))


def test_a_gap_is_counted_only_between_two_anchors() -> None:
    names = {n: n for n in TRUE if n != "L2"}
    for known in ("T10", "L5"):
        found = judge(anchored(labelled(names), at(known)))
        assert truth(found, tuple(names))
        assert not found.levels_confirmed
        assert any("one anchor above and one below" in w for w in found.warnings)
    assert judge(anchored(labelled(names), at("T10"), at("L5"))).levels_confirmed


def test_right_anchors_never_confirm_contradicting_columns() -> None:
    # L2 is left out and those above took the next name.
    order = [n for n in TRUE if n != "L2"]
    names = dict(zip(order, ("T10", "T11", "T12", "L1", "L2", *order[5:]), strict=True))
    columns = [judge(anchored(labelled(names), at(known))) for known in ("T10", "L1", "L4")]
    assert not any(found.levels_confirmed for found in columns)


@pytest.mark.parametrize(("upper", "lower"), list(combinations(("T10", "T12", "L2", "L5"), 2)))
def test_two_anchors_that_contradict_are_refused(upper: str, lower: str) -> None:
    labels = labelled({n: n for n in TRUE})
    order = anatomy.usual_levels()
    wrong = order[order.index(upper) - 1]
    with pytest.raises(InputError, match="contradict each other"):
        anchored(labels, at(lower), at(upper, wrong))
    with pytest.raises(InputError, match="same vertebra"):
        anchored(labels, at(upper), at(upper, wrong))


def test_neighbours_that_are_known_say_that_a_level_is_missing() -> None:
    names = {n: n for n in TRUE}
    found = judge(anchored(labelled(names), at("T12", "T11"), at("L1")))
    assert found.levels[:4] == ("T8", "T9", "T10", "T11")
    assert found.levels_confirmed
    # Further apart a vertebra between them may be merged.
    with pytest.raises(InputError, match="contradict"):
        anchored(labelled(names), at("T11", "T10"), at("L1"))


def test_an_anchor_far_from_a_missing_level_does_not_confirm_it() -> None:
    # Counted from T10 there are four lumbar vertebrae: one may be merged with its neighbour.
    names = (*TRUE[:-2], "sacrum")
    made = column(names)
    image = made.labels({name: anatomy.vertebra(name).id for name in names})
    labels = VertebraLabels(image, names, "test", levels_confirmed=False)
    points = {
        name: (float(x), float(y), float(z)) for name, (x, y, z) in body_centres(image).items()
    }
    far = judge(anchored(labels, Anchor("T10", points["T10"])))
    assert far.levels[-2:] == ("L4", "sacrum")
    assert not far.levels_confirmed
    assert judge(anchored(labels, Anchor("L4", points["L4"]))).levels_confirmed


def test_an_axis_that_would_be_another_vertebra_is_not_confirmed() -> None:
    neck = ("C2", "C3", "C4", "C5", "C6", "C7", "T1", "T2")
    made = column(neck)
    image = made.labels({name: anatomy.vertebra(name).id for name in neck})
    labels = VertebraLabels(image, neck, "test", levels_confirmed=False)
    x, y, z = (float(v) for v in body_centres(image)["T1"])
    found = judge(anchored(labels, Anchor("T2", (x, y, z))))
    assert found.levels[0] == "C3"
    assert not found.levels_confirmed
    assert any("looks like C2" in w for w in found.warnings)


def test_a_shift_takes_s1_along_where_it_is_apart() -> None:
    apart = column(("T12", "L1", "L2", "L3", "L4", "L5", "S1", "sacrum"))
    ids = {name: anatomy.vertebra(name).id for name in apart.masks}
    labels = VertebraLabels(apart.labels(ids), tuple(ids), "test", levels_confirmed=False)
    up = shifted(labels, -1)
    assert up.levels == ("T11", "T12", "L1", "L2", "L3", "L4", "L5", "sacrum")
    assert up.levels_confirmed
    down = shifted(labels, 1)
    assert down.levels == ("L1", "L2", "L3", "L4", "L5", "S1", "sacrum")
    assert down.levels_confirmed
    with pytest.raises(InputError, match="no further level"):
        shifted(labels, 2)


def test_labels_with_and_without_s1_apart_agree() -> None:
    whole = labelled({n: n for n in TRUE})
    apart = column((*TRUE[:-1], "S1", "sacrum"), 3.0)
    names = {name: anatomy.vertebra(name).id for name in apart.masks}
    first = VertebraLabels(apart.labels(names), tuple(names), "a")
    second = replace(
        first,
        image=renumber(first.image, {"S1": "sacrum"}),
        levels=anatomy.sort_levels(n for n in names if n != "S1"),
        engine="b",
    )
    for one, other in ((first, second), (second, first)):
        result = compare_labels(one, other)
        assert result.agree, result.sentence
        assert result.table["level"].iloc[-1] == "sacrum"
    # A first sacral vertebra that the other calls L5 still differs.
    moved = shifted(first, -1)
    assert not compare_labels(moved, second).agree
    assert compare_labels(whole, replace(whole, engine="c")).agree


def test_imported_labels_with_a_gap_stay_unconfirmed_by_one_anchor() -> None:
    ids = {name: anatomy.vertebra(name).id for name in TRUE if name != "L2"}
    found = label_vertebrae(COLUMN.ct, COLUMN.labels(ids), at("T12", "T11"))
    assert not found.levels_confirmed
    assert found.levels[:4] == ("T8", "T9", "T10", "T11")


def test_a_person_who_names_the_labels_does_not_confirm_what_is_doubted() -> None:
    """The panel's names: ``named_levels`` yields to the checks, ``confirm_levels`` does not."""
    ids = {name: anatomy.vertebra(name).id for name in TRUE}
    merged = COLUMN.labels({**{n: ids[n] for n in TRUE}, "L2": ids["L3"]})
    ct = Volume(COLUMN.ct, "ct", "HU")
    for options, confirmed in (
        (Options(named_levels=True), False),
        (Options(confirm_levels=True), True),
    ):
        labels, _ = stages.label(ct, merged, "auto", options, silent)
        assert labels.levels_confirmed is confirmed


def test_auto_says_which_labeller_it_took_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(name: str, missing: str) -> Labeller:
        whole = labelled({n: n for n in TRUE})
        return Labeller(name, lambda *_: replace(whole, engine=name), lambda: missing)

    known = {"better": one("better", "its models are missing"), "other": one("other", "")}
    monkeypatch.setattr(labellers, "labellers", lambda settings: known)
    said: list[str] = []
    found = label_vertebrae(COLUMN.ct, progress=lambda p: said.append(p.message))
    assert found.engine == "other"
    assert found.engine_reason == (
        "Labeller chosen automatically: other, since better cannot run: its models are missing."
    )
    assert found.engine_reason in said
    assert labels_record(found)["engine_reason"] == found.engine_reason
    assert label_vertebrae(COLUMN.ct, "other").engine_reason == ""
