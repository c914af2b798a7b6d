"""Joint tables: written, read back, and refused in one sentence."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.joint_columns import COLUMNS, METRICS, TEXT_COLUMNS
from CTSpectSpineLib.model import UptakeBounds

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)
NUMBERS = st.floats(allow_nan=True, allow_infinity=False, width=64)
JOINTS = [("L4-L5", "disc", ""), ("C1-C2", "facet", "left"), ("T12-L1", "facet", "right")]


def table_of(numbers: list[float], reason: str = "") -> pd.DataFrame:
    values = iter(numbers)
    rows = []
    for level, kind, side in JOINTS:
        words = {
            "joint": joint_table.joint_id(level, kind, side),
            "level": level,
            "kind": kind,
            "side": side,
            "spine_region": "lumbar",
            "status": "measured",
            "status_reason": reason,
            "uptake": "negative",
            "verdict": reason,
        }
        rows.append({n: words.get(n) if n in TEXT_COLUMNS else next(values) for n in COLUMNS})
    return pd.DataFrame(rows)


NUMERIC = [name for name in COLUMNS if name not in TEXT_COLUMNS]


@given(st.lists(NUMBERS, min_size=3 * len(NUMERIC), max_size=3 * len(NUMERIC)), WORDS)
def test_what_is_written_is_read_back_exactly(numbers: list[float], reason: str) -> None:
    table = table_of(numbers, reason)
    found = joint_table.parse(joint_table.to_csv(table), "here")
    assert list(found["level"]) == ["C1-C2", "T12-L1", "L4-L5"], "cranial to caudal"
    again = found.set_index("joint").loc[table["joint"]].reset_index()
    for name in NUMERIC:
        np.testing.assert_array_equal(again[name].to_numpy(), table[name].to_numpy(dtype=float))
    assert list(again["status_reason"]) == [reason] * 3


@pytest.mark.parametrize("metric", METRICS)
def test_rows_take_the_ratio_that_decides(metric: str) -> None:
    table = table_of([float(i) for i in range(3 * len(NUMERIC))])
    bounds = {"disc": UptakeBounds(metric, 2.0, 1.5), "facet": {"metric": "ratio_max"}}
    rows = {row.joint: row for row in joint_table.rows(joint_table.to_csv(table), bounds, "here")}
    by_name = table.set_index("joint")
    assert rows["L4-L5 disc"].ratio == by_name.loc["L4-L5 disc", metric]
    assert rows["C1-C2 facet left"].ratio == by_name.loc["C1-C2 facet left", "ratio_max"]
    assert rows["C1-C2 facet left"].metric == "ratio_max"
    assert rows["L4-L5 disc"].low == by_name.loc["L4-L5 disc", "ratio_low"]


def test_a_ratio_that_is_not_there_is_nan() -> None:
    assert math.isnan(joint_table.deciding_ratio({"kind": "disc"}, {}))
    assert joint_table.deciding_ratio({"kind": "disc", "ratio_corrected": "1.5"}, {}) == 1.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "t.csv: cannot be read as a table"),
        ("joint,level,level\n", "t.csv: cannot be read as a table .*'level' twice"),
        ("joint,level\na,b,c\n", "t.csv: cannot be read as a table .*line 2 has 3 cells"),
        ('joint,level\n"a,b\n', "t.csv: cannot be read as a table"),
        ("joint,level\na,b\n", "t.csv: column 'kind' is missing"),
        (
            "joint,level,kind,side,status,uptake\nx,L4-L5,bone,,measured,negative\n",
            "t.csv: kind of 'x' is 'bone', which must be one of 'disc', 'facet'",
        ),
        (
            "joint,level,kind,side,status,uptake,mean\nx,L4-L5,disc,,measured,negative,much\n",
            "t.csv: mean of 'x' is 'much', not a number",
        ),
    ],
)
def test_a_broken_result_gets_a_sentence(text: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        joint_table.parse(text, "t.csv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"level,kind\nL4-L5,disc,x\n", "line 2 has"),
        (b"\xff\xfe\x00", "cannot be read as a table"),
        (b"", "cannot be read as a table"),
        (None, "cannot be read"),
    ],
)
def test_a_table_of_a_person_that_cannot_be_read(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "joints.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"Joint table .*joints.csv.*{said}"):
        joint_table.read(path)


def test_a_table_of_a_person_keeps_its_order_and_its_words(tmp_path: Path) -> None:
    path = tmp_path / "joints.csv"
    text = "\ufefflevel, kind ,side,uptake,ratio_mean,pain\r\nL4-L5,disc,,positive,2.5,\r\n"
    path.write_text(text + "C2-C3,facet,left,negative,1,high\r\n", encoding="utf-8", newline="")
    table = joint_table.read(path)
    assert list(table["level"]) == ["L4-L5", "C2-C3"]
    assert list(table["kind"]) == ["disc", "facet"]
    assert table["ratio_mean"].tolist() == [2.5, 1.0]
    assert table["pain"].tolist() == ["", "high"], "a column of the user's own"


def test_commas_at_the_ends_of_rows_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "joints.csv"
    path.write_text("level,kind,side,uptake\n\nL4-L5,disc,,positive,,\n  \n", encoding="utf-8")
    table = joint_table.read(path)
    assert table.to_dict("records") == [
        {"level": "L4-L5", "kind": "disc", "side": "", "uptake": "positive"}
    ]


# What spreadsheets write of the same row in different settings.
_NAMES = ("level", "kind", "side", "uptake", "ratio_corrected", "x_mm", "verdict")
_SAVED = {
    "Excel, English": (",", "3.78", "-12.5", "utf-8"),
    "Excel, English, CSV UTF-8": (",", "3.78", "-12.5", "utf-8-sig"),
    "Excel, German": (";", "3,78", "-12,5", "cp1252"),
    "Excel, German, CSV UTF-8": (";", "3,78", "-12,5", "utf-8-sig"),
    "Excel, German, Unicode text": ("\t", "3,78", "-12,5", "utf-16"),
    "LibreOffice, German, commas": (",", '"3,78"', '"-12,5"', "utf-8"),
    "LibreOffice, all quoted": (";", '"3,78"', '"-12,5"', "utf-8"),
    "scientific": (";", "3,78E+00", "-1,25E+01", "utf-8"),
    "whole and fraction": (";", "3,78", "-12,5000", "utf-8"),
}


@pytest.mark.parametrize("setting", _SAVED)
def test_tables_as_spreadsheets_save_them(setting: str, tmp_path: Path) -> None:
    separator, ratio, x, encoding = _SAVED[setting]
    cells = ("L4-L5", "disc", "", "positive", ratio, x, "Höhe")
    text = "\r\n".join(separator.join(row) for row in (_NAMES, cells)) + "\r\n"
    path = tmp_path / "joints.csv"
    path.write_bytes(text.encode(encoding))
    row = joint_table.read(path).to_dict("records")[0]
    assert (row["ratio_corrected"], row["x_mm"], row["verdict"]) == (3.78, -12.5, "Höhe")


def test_the_line_by_which_excel_tells_itself_the_separator(tmp_path: Path) -> None:
    path = tmp_path / "joints.csv"
    path.write_text("sep=;\nlevel;kind;ratio_max\nL4-L5;disc;1.234,5\n", encoding="utf-8")
    assert joint_table.read(path)["ratio_max"].tolist() == [1234.5]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((('"3,78"', "1.5"),), "decimal point in line 2, column ratio_max .*comma in line 2"),
        (
            (('"1,234"', ""),),
            "line 2, column ratio_corrected .*can be read as thousands or as",
        ),
        ((("2.5", ""), ('"1,234"', "")), "line 3, column ratio_corrected: '1,234' can be read"),
        ((("#WERT!", ""),), "line 2, column ratio_corrected: '#WERT!' is not a number"),
        ((("3.78 x", ""),), "is not a number"),
        ((("Mrz 78", ""),), "is not a number"),
        ((("inf", ""),), "is not a number"),
        ((("1e999", ""),), "is not a number"),
        ((("1_0", ""),), "is not a number"),
        ((('"1\'234.5"', ""),), "is not a number"),
    ],
)
def test_a_number_that_is_none_is_never_dropped(
    rows: tuple[tuple[str, str], ...], said: str, tmp_path: Path
) -> None:
    """A dropped ratio would change the verdict."""
    path = tmp_path / "joints.csv"
    lines = [f"L4-L5,disc,,positive,{corrected},{largest}" for corrected, largest in rows]
    head = "level,kind,side,uptake,ratio_corrected,ratio_max"
    path.write_text("\n".join((head, *lines)), encoding="utf-8")
    with pytest.raises(InputError, match=f"joints.csv.*{said}"):
        joint_table.read(path)
