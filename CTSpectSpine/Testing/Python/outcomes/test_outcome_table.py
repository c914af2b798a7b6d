"""The outcome table as people write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.outcomes.summary import read_summary
from CTSpectSpineLib.outcomes.table import Outcomes, read_outcomes


def table(folder: Path, *lines: str) -> Outcomes:
    path = folder / "outcomes.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_outcomes(path)


BOTH = "id,vas_axial_pre,vas_axial_12m"


def test_what_a_table_holds(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        "id;levels;fusion;sex;verdict_followed;hospital;vas_axial_pre;vas_axial_12m;odi_pre",
        "a;L4-S1;yes;Female;nein;x;8,5;3;50",
        "b;C7/T1;not fused;;ja;x;9;;",
        "c;;;;;x;;n/a;",
    )
    one, other, last = found.patients
    assert (one.levels, one.region, one.fused, one.followed) == (
        *(("L4-L5", "L5-S1"), "lumbar", True, False),
    )
    assert (other.levels, other.region, other.fused, other.followed) == (
        *(("C7-T1",), "cervical", False, True),
    )
    assert (last.levels, last.region, last.fused, last.followed) == ((), "", None, None)
    assert np.array_equal(found.of("vas_axial", "pre"), [8.5, 9, np.nan], equal_nan=True)
    assert found.measures() == ["vas_axial"], "of ODI nobody has a value after"
    assert found.unused == ("hospital",)


@pytest.mark.parametrize(
    ("cell", "levels"),
    [
        ("L4/5", ("L4-L5",)),
        ("C4-C7", ("C4-C5", "C5-C6", "C6-C7")),
        ("T12-L1", ("T12-L1",)),
        ("L5-L6; L6-S1", ("L5-L6", "L6-S1")),
        ("L5-S1", ("L5-S1",)),
    ],
)
def test_levels_as_surgeons_write_them(cell: str, levels: tuple[str, ...], tmp_path: Path) -> None:
    found = table(tmp_path, f"{BOTH},levels", f"a,8,3,{cell}")
    assert found.patients[0].levels == levels


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((BOTH, "a,12,3"), "row 2, column vas_axial_pre: 12 is not possible; give 0 to 10"),
        ((BOTH, "a,8,-1"), "row 2, column vas_axial_12m: -1 is not possible"),
        ((BOTH, "a,8,3", "b,x,3"), "line 3, column vas_axial_pre: 'x' is not a number"),
        ((BOTH, "a,8,3", "a,8,3"), "row 3, column id: 'a' stands in row 2 as well"),
        ((BOTH, ",8,3"), "row 2, column id is empty; name the patient"),
        ((BOTH, "a,8"), "row 2: 2 cells where the first row names 3"),
        ((BOTH,), "holds no patients"),
        (("id,vas_axial_pre", "a,8"), "no measure with values before and after"),
        (("vas_axial_pre,vas_axial_12m", "8,3"), "no column 'id'"),
        (("id,vas_axial_pre,vas_axial_1y", "a,8,3"), "column 'vas_axial_1y', which is not known"),
        ((f"{BOTH},levels", "a,8,3,L5-L4"), "row 2, column levels: 'L5-L4': give levels such as"),
        ((f"{BOTH},levels", "a,8,3,low"), "row 2, column levels: 'low'"),
        ((f"{BOTH},fusion", "a,8,3,maybe"), "row 2, column fusion: 'maybe': give yes or no"),
        ((f"{BOTH},region", "a,8,3,neck"), "row 2, column region: 'neck': give cervical or"),
        ((f"{BOTH},verdict_followed", "a,8,3,x"), "row 2, column verdict_followed: 'x'"),
        ((f"{BOTH},age_years", "a,8,3,200"), "row 2, column age_years: 200 is not possible"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    lines: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        table(tmp_path, *lines)
    assert words in str(refused.value)
    assert "outcomes.csv" in str(refused.value)


SUMMARY = "measure,group,n,pre_mean,pre_sd,post_mean,post_sd"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((SUMMARY, "pain,all,10,8,1,4,2"), "row 2, column measure: 'pain': give vas_axial or"),
        ((SUMMARY, "vas_axial,all,1,8,1,4,2"), "row 2, column n: 1 is not possible"),
        ((SUMMARY, "vas_axial,all,10.5,8,1,4,2"), "row 2, column n: give a whole number"),
        ((SUMMARY, "vas_axial,all,10,80,1,4,2"), "column pre_mean: 80 is not possible; VAS axial"),
        ((SUMMARY, "vas_axial,all,10,8,-1,4,2"), "row 2, column pre_sd: -1 is not possible"),
        ((SUMMARY, "vas_axial,all,10,8,,4,2"), "row 2, column pre_sd is empty"),
        ((f"{SUMMARY},p", "vas_axial,all,10,8,1,4,2,1.5"), "row 2, column p: 1.5"),
        ((SUMMARY,), "holds no rows"),
    ],
)
def test_a_wrong_summary_is_named_with_its_place(
    lines: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "means.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_summary(path)
    assert words in str(refused.value)
