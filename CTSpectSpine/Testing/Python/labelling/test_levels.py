"""Levels: what casts doubt on them, how a column is renumbered, how two labellings are compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.labelling import (
    Anchor,
    anchored,
    compare_labels,
    import_labels,
    judge,
    parse_anchor,
    shifted,
)
from CTSpectSpineLib.labelling.importing.schemes import typical_steps_mm
from CTSpectSpineLib.labelling.levels.correction import mapping_from
from CTSpectSpineLib.labelling.levels.ribs import rib_numbers, rib_of_name
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.volumes import write_image

LUMBAR = ("T11", "T12", "L1", "L2", "L3", "L4", "L5", "sacrum")
ALL = tuple(
    r.name for r in anatomy.vertebrae() if r.name not in ("T13", "L6", "S1", anatomy.SACRUM)
)
SPACING = 3.0


def column(
    names: Sequence[str], steps: Mapping[str, float] | None = None, ribs: Mapping[str, str] = {}
) -> VertebraLabels:
    """Blocks under each other, each as high as its distance to the next one less a disc.

    ``ribs`` puts a rib, by its name, at the side of a vertebra.
    """
    typical = {**typical_steps_mm(), "sacrum": 50.0, "S1": 30.0, **(steps or {})}
    heights = [round(typical[name] / SPACING) for name in names]
    shape = (sum(heights) + 8, 30, 36)
    array = np.zeros(shape, dtype=np.uint8)
    top = shape[0] - 4
    numbers = {rib: number for number, rib in rib_numbers().items()}
    for name, height in zip(names, heights, strict=True):
        array[top - height + 2 : top, 10:20, 12:24] = anatomy.vertebra(name).id
        for rib in (rib for rib, level in ribs.items() if level == name):
            side = slice(25, 34) if rib.startswith("left") else slice(2, 11)
            array[top - 3 : top - 1, 14:17, side] = numbers[rib]
        top -= height
    matrix = np.diag([SPACING, SPACING, SPACING, 1.0])
    matrix[:3, 3] = (-50, -60, -400)
    return import_labels(image_from_array(array, matrix), None, "totalsegmentator")


def middle(labels: VertebraLabels, level: str) -> tuple[float, float, float]:
    """A point in a vertebra, LPS mm."""
    voxels = sitk.GetArrayFromImage(labels.image) == anatomy.vertebra(level).id
    index = np.argwhere(voxels).mean(axis=0)[::-1]
    x, y, z = labels.image.TransformContinuousIndexToPhysicalPoint(index.tolist())
    return x, y, z


def raw(names: Sequence[str], **more: object) -> VertebraLabels:
    """Labels without the checks' remarks."""
    return replace(column(names, **more), warnings=())  # type: ignore[arg-type]


# --- anchors ---


@pytest.mark.parametrize(
    ("text", "level"),
    [("L5@3.5,-40,812", "L5"), ("th12@ 3.5, -40,8.12e2", "T12"), (" S1@3.5,-40,812", "S1")],
)
def test_anchors_are_read(text: str, level: str) -> None:
    anchor = parse_anchor(text)
    assert anchor == Anchor(level, (3.5, -40.0, 812.0))
    assert parse_anchor(str(anchor)) == anchor


@pytest.mark.parametrize(
    "text", ["", "L5", "L5@1,2", "L5@1,2,3,4", "L7@1,2,3", "@1,2,3", "L5@a,b,c", "L5@nan,1,2"]
)
def test_bad_anchors(text: str) -> None:
    with pytest.raises(InputError, match="LEVEL@x,y,z"):
        parse_anchor(text)


@given(
    first=st.integers(0, 20), count=st.integers(2, 8), at=st.integers(0, 7), to=st.integers(-3, 3)
)
@settings(max_examples=60, deadline=None)
def test_an_anchor_names_its_vertebra_and_keeps_the_order(
    first: int, count: int, at: int, to: int
) -> None:
    names = ALL[first : first + count]
    place = min(at, len(names) - 1)
    wanted = first + place + to
    if not 0 <= wanted < len(ALL):
        return
    if not (first + to >= 0 and first + to + len(names) - 1 <= len(ALL)):
        return
    mapping = mapping_from(names, names[place], ALL[wanted])
    assert mapping[names[place]] == ALL[wanted]
    full = (*ALL, "L6")
    assert list(mapping.values()) == list(full[first + to : first + to + len(names)])


@pytest.mark.parametrize(
    ("names", "found", "level", "expected"),
    [
        # What lies below a known L5 and is no sacrum is L6.
        (("L3", "L4", "L5", "sacrum"), "L4", "L5", ("L4", "L5", "L6", "sacrum")),
        (("L3", "L4", "L5", "sacrum"), "L5", "L6", ("L4", "L5", "L6", "sacrum")),
        (("L4", "L5", "L6", "sacrum"), "L6", "L5", ("L3", "L4", "L5", "sacrum")),
        # The label S1 is a vertebra of its own: it may be L5, and L5 may be S1.
        (("L4", "L5", "S1", "sacrum"), "S1", "L5", ("L3", "L4", "L5", "sacrum")),
        (("L3", "L4", "L5", "sacrum"), "L5", "S1", ("L4", "L5", "S1", "sacrum")),
        (("L3", "L4", "L5", "sacrum"), "sacrum", "S1", ("L3", "L4", "L5", "sacrum")),
        # A T12 that only the names lack is found, by an anchor above as by one below.
        (("T10", "T11", "L1", "L2"), "L1", "L1", ("T11", "T12", "L1", "L2")),
        (("T10", "T11", "L1", "L2"), "T11", "T11", ("T10", "T11", "T12", "L1")),
        (("L2", "L3", "sacrum"), "sacrum", "S1", ("L4", "L5", "sacrum")),
    ],
)
def test_anchors_at_the_lumbosacral_transition(
    names: tuple[str, ...], found: str, level: str, expected: tuple[str, ...]
) -> None:
    mapping = mapping_from(names, found, level)
    assert tuple(mapping[name] for name in names) == expected


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [("sacrum", "L5", "outline it again"), ("L4", "S1", "L5 is labelled below")],
)
def test_anchors_that_cannot_be(found: str, level: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        mapping_from(("L3", "L4", "L5", "sacrum"), found, level)


def test_an_anchored_column_moves_as_a_whole() -> None:
    wrong = raw(("T10", "T11", "T12", "L1", "L2", "L3", "L4"))
    wrong = replace(wrong, levels_confirmed=False, confidence={"L4": 0.5})
    x, y, z = middle(wrong, "L4")
    # In the disc space below the vertebra, still within reach.
    labels = anchored(wrong, Anchor("L5", (x, y, z - 19.0)))
    assert labels.levels == ("T11", "T12", "L1", "L2", "L3", "L4", "L5")
    assert labels.levels_confirmed
    assert labels.confidence["L5"] == pytest.approx(0.5)
    assert middle(labels, "L5") == pytest.approx((x, y, z))
    assert "L4" in " ".join(labels.warnings)
    same = anchored(labels, Anchor("L5", (x, y, z)))
    assert np.array_equal(
        sitk.GetArrayViewFromImage(same.image), sitk.GetArrayViewFromImage(labels.image)
    )


def test_an_anchor_beside_the_spine_or_outside_of_the_ct() -> None:
    labels = column(LUMBAR)
    x, y, z = middle(labels, "L3")
    with pytest.raises(InputError, match=r"no labelled vertebra within 8 mm.*RAS"):
        anchored(labels, Anchor("L3", (x, y + 26.0, z)))
    with pytest.raises(InputError, match=r"outside of the CT.*RAS"):
        anchored(labels, Anchor("L3", (x, y, z + 900.0)))


# --- doubts ---


def test_a_sound_column_is_not_doubted() -> None:
    for names in (LUMBAR, ALL, (*ALL[5:], "S1", "sacrum"), ("C3", "C4", "C5", "C6", "C7", "T1")):
        labels = column(names)
        assert labels.levels_confirmed, labels.warnings
        assert min(labels.confidence.values()) >= (
            1.0 if {"C1", "S1", "sacrum"} & set(names) else 0.7
        )


def test_a_skipped_vertebra_is_noticed_by_the_spacing() -> None:
    # The fourth lumbar vertebra is not labelled, and L5 is called L4: a gap of two steps.
    labels = column(("T11", "T12", "L1", "L2", "L3", "L4", "sacrum"), {"L3": 70.0})
    # A block fills its step, so the gap is cut out again.
    array = sitk.GetArrayFromImage(labels.image)
    rows = np.flatnonzero((array == anatomy.vertebra("L3").id).any(axis=(1, 2)))
    array[rows[: len(rows) // 2]] = 0
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(labels.image)
    found = import_labels(image, None, "totalsegmentator")
    assert not found.levels_confirmed
    assert any("L3 and L4 lie" in w and "left out" in w for w in found.warnings)
    assert found.confidence["L3"] == pytest.approx(0.5)
    assert found.confidence["T12"] == pytest.approx(1.0)


def test_a_vertebra_with_two_labels_is_noticed_by_the_spacing() -> None:
    labels = column(
        ("T11", "T12", "L1", "L2", "L3", "L4", "L5", "sacrum"), {"L2": 15.0, "L3": 15.0}
    )
    assert not labels.levels_confirmed
    assert any("two labels" in w for w in labels.warnings)


@pytest.mark.parametrize(
    ("names", "count"),
    [
        ((*ALL, "sacrum"), None),
        ((*(n for n in ALL if n != "L5"), "sacrum"), 23),
        ((*ALL, "L6", "sacrum"), 25),
        ((*ALL[1:], "sacrum"), None),
        (ALL[2:], None),
    ],
)
def test_vertebrae_are_counted_where_all_are_in_view(
    names: tuple[str, ...], count: int | None
) -> None:
    told = [w for w in column(names, {"L6": 35.0}).warnings if "between the skull" in w]
    assert [w.split()[0] for w in told] == ([] if count is None else [str(count)])


def test_ribs_are_read_and_fit() -> None:
    ribs = {f"{side} {n}": f"T{n}" for side in ("left", "right") for n in (9, 10, 11, 12)}
    labels = column(("T9", "T10", *LUMBAR), ribs=ribs)
    assert labels.ribs == ribs
    assert labels.levels_confirmed, labels.warnings
    assert not any("ignored" in w for w in labels.warnings)


def test_ribs_that_meet_other_vertebrae() -> None:
    shifted_ribs = {f"{side} {n}": f"T{n - 1}" for side in ("left", "right") for n in (10, 11, 12)}
    labels = column(("T8", "T9", "T10", *LUMBAR), ribs=shifted_ribs)
    assert not labels.levels_confirmed
    words = " ".join(labels.warnings)
    assert "rib left 12 meets T11" in words
    assert "T12 bears no rib" in words
    assert labels.confidence["T12"] < labels.confidence["L5"] == pytest.approx(1.0)
    # An anchor one place up puts the column right, and the ribs with it.
    point = middle(labels, "T12")
    right = judge(replace(anchored(labels, Anchor("L1", point)), warnings=()))
    assert right.ribs["left 12"] == "T12"
    assert not any("ribs do not fit" in w for w in right.warnings)
    # The sixth lumbar vertebra that is left over needs to be known, too.
    assert not right.levels_confirmed
    both = Anchor("L1", point), Anchor("L6", middle(labels, "L5"))
    assert judge(replace(anchored(labels, *both), warnings=())).levels_confirmed


def test_a_rib_at_a_lumbar_vertebra() -> None:
    labels = column(LUMBAR, ribs={"left 12": "L1", "right 12": "L1"})
    assert any("L1 bears a rib" in w for w in labels.warnings)
    assert not labels.levels_confirmed


def test_rib_names() -> None:
    assert rib_of_name("rib_left_7") == "left 7"
    assert rib_of_name("vertebrae_T7") is None
    assert rib_numbers()[92] == "left 1"
    assert rib_numbers()[115] == "right 12"


# --- shift ---


def test_a_shift_moves_all_names() -> None:
    labels = raw(LUMBAR)
    up = shifted(labels, -1)
    assert up.levels == ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "sacrum")
    assert shifted(up, 1).levels == LUMBAR
    assert not up.levels_confirmed
    assert shifted(up, 1).levels_confirmed
    with pytest.raises(InputError, match="L6"):
        shifted(labels, 1)
    assert shifted(labels, 1, ["L6"]).levels[-2:] == ("L6", "sacrum")


def test_the_shift_command_on_a_label_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = column(LUMBAR)
    source, out = tmp_path / "labels.nii.gz", tmp_path / "out"
    write_image(labels.image, source)
    assert main(["shift", str(source), "--by", "-1", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["levels"][-2:] == ["L4", "sacrum"]
    written = json.loads((out / "vertebrae.json").read_text(encoding="utf-8"))
    assert written["levels"] == told["levels"]
    assert not written["levels_confirmed"]
    assert any("L4 lies next to sacrum" in w for w in written["warnings"])
    assert set(written["confidence"]) == set(told["levels"])
    again = import_labels(out / "vertebrae.nii.gz", None)
    assert middle(again, "L4") == pytest.approx(middle(labels, "L5"))
    x, y, z = middle(labels, "L5")
    anchor = ["--anchor", f"L4@{x},{y},{z}"]
    assert main(["shift", str(source), *anchor, "--out", str(tmp_path / "anchored")]) == 0
    other = sitk.ReadImage(str(tmp_path / "anchored" / "vertebrae.nii.gz"))
    assert np.array_equal(
        sitk.GetArrayViewFromImage(other), sitk.GetArrayViewFromImage(again.image)
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--by", "1", "--anchor", "L5@0,0,0"],
        [],
        ["--by", "-1", "--spect", "spect.nii.gz"],
        ["--anchor", "L5@0,0"],
        ["--anchor", "L5@0,0,0", "--extra", "L6"],
        ["--by", "40"],
    ],
)
def test_bad_shifts(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "labels.nii.gz"
    write_image(column(LUMBAR).image, source)
    try:
        code = main(["shift", str(source), "--out", str(tmp_path / "out"), *arguments])
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "vertebrae.nii.gz").exists()


# --- comparison ---


def test_equal_labels_agree() -> None:
    labels = column(LUMBAR)
    result = compare_labels(labels, replace(labels, engine="other"))
    assert result.agree
    assert (result.table["dice"] == 1).all()
    assert (result.table["centre_distance_mm"] == 0).all()
    assert "alike" in result.sentence


def test_a_shifted_column_is_told_by_its_shift() -> None:
    labels = raw(LUMBAR[:-1])
    other = replace(shifted(labels, -1), engine="other")
    result = compare_labels(labels, other)
    assert not result.agree
    assert set(result.table["shift"]) == {-1.0}
    assert (result.table["dice"] == 1).all()
    assert "-1 places" in result.sentence
    back = compare_labels(other, labels)
    assert set(back.table["shift"]) == {1.0}


def test_a_missing_and_a_smaller_vertebra() -> None:
    labels = raw(LUMBAR)
    array = sitk.GetArrayFromImage(labels.image)
    array[array == anatomy.vertebra("T11").id] = 0
    block = array == anatomy.vertebra("L3").id
    rows = np.flatnonzero(block.any(axis=(1, 2)))
    array[rows[0] : rows[len(rows) // 2]][block[rows[0] : rows[len(rows) // 2]]] = 0
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(labels.image)
    result = compare_labels(labels, replace(labels, image=image, levels=LUMBAR[1:], engine="b"))
    table = result.table.set_index("level")
    assert table.loc["T11", "other"] == ""
    kept = 1 - (len(rows) // 2) / len(rows)
    assert table.loc["L3", "dice"] == pytest.approx(2 * kept / (1 + kept), abs=1e-3)
    assert table.loc["L4", "dice"] == 1
    assert "lacks T11" in result.sentence
    assert result.agree


def test_comparison_on_another_grid() -> None:
    labels = raw(LUMBAR)
    finer = sitk.Resample(
        labels.image,
        [n * 2 for n in labels.image.GetSize()],
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
        [v - SPACING / 4 for v in labels.image.GetOrigin()],
        [SPACING / 2] * 3,
        labels.image.GetDirection(),
    )
    result = compare_labels(labels, replace(labels, image=finer, engine="finer"))
    assert result.agree
    assert result.table["dice"].min() > 0.97
