"""What the report says beside the uptake: endplates, signs on the CT, pictures of findings."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_folder import COLUMNS, JOINTS, Page, assert_self_contained, dump, verdict, write_joints
from picture_case import CENTRES
from PIL import Image

from CTSpectSpineLib.ct_sign import FILE, CtSigns, to_csv
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.finding import Finding, verdict_entry
from CTSpectSpineLib.report import draw_pictures, write_report
from CTSpectSpineLib.report.course import course_of
from CTSpectSpineLib.report.ct_section import ct_words, endplate_words
from CTSpectSpineLib.report.finding_pictures import MOST, finding_pictures
from CTSpectSpineLib.report.sampling import Sampler
from CTSpectSpineLib.report.views import Case
from CTSpectSpineLib.results.pictures import Picture

SIGNS = [
    CtSigns(
        "L5-S1 disc", "L5-S1", "disc", "", height_mm=5.1, height_ratio=0.52, narrowed="moderate",
        gas_mm3=150.0, gas_share=0.03, gas="yes", sclerosis_upper="no", sclerosis_lower="no",
    ),
    CtSigns("L5-S1 facet right", "L5-S1", "facet", "right", "not_measurable", "metal beside it"),
    CtSigns("T12-L1 disc", "T12-L1", "disc", "", gas_mm3=40.0, gas_share=0.01, gas="yes"),
    CtSigns("C5-C6 disc", "C5-C6", "disc", "", height_mm=5.0, gas="no"),
]  # fmt: skip


def page_of(folder: Path) -> Page:
    page = Page(write_report(folder))
    assert_self_contained(page)
    return page


def with_signs(folder: Path) -> Path:
    (folder / FILE).write_text(to_csv(SIGNS), encoding="utf-8")
    return folder


def test_signs_stand_beside_the_joints_that_stand_out(folder: Path) -> None:
    text = page_of(with_signs(folder)).text
    assert (
        "L5-S1 disc. CT: 5.1 mm high, 52 % of its neighbours (moderately narrowed); "
        "gas 150 mm³ (3 %); no sclerosis." in text
    )
    assert "L5-S1 facet right. CT: not measured (metal beside it)." in text
    # Of other joints only what is degenerate is told.
    assert "Other joints. T12-L1 disc: gas 40 mm³ (1 %)." in text
    assert "C5-C6 disc: " not in text
    assert "at 3 of 4 joints, and change no verdict" in text


def test_older_folders_have_no_such_section(folder: Path) -> None:
    assert "signs on the CT" not in page_of(folder).text.lower()


def test_a_broken_table_names_its_file(folder: Path) -> None:
    (folder / FILE).write_text("joint\r\nL4-L5 disc\r\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"ct_signs\.csv: cannot be read .*run the analysis again"):
        write_report(folder)


def test_signs_are_only_ever_text(folder: Path) -> None:
    hostile = replace(SIGNS[1], status_reason="<script>alert(1)</script>")
    (folder / FILE).write_text(to_csv([hostile]), encoding="utf-8")
    assert "<script>" not in page_of(folder).html


def test_endplates_of_discs_that_stand_out_are_told(folder: Path) -> None:
    more = ("ratio_upper_endplate", "ratio_lower_endplate")
    rows = [(*row, *((1.3, 2.4) if row[2] == "disc" else ("", ""))) for row in JOINTS]
    write_joints(folder, rows, [*COLUMNS[:-1], *more, COLUMNS[-1]])
    text = page_of(folder).text
    assert "L5-S1 disc. Endplates: L5 1.30, S1 2.40 (S1 takes up more)." in text
    assert "T12 1.30" not in text
    assert "L5-S1 facet right. " not in text


@pytest.mark.parametrize(
    ("upper", "lower", "words"),
    [
        (2.0, 2.1, "Endplates: L4 2.00, L5 2.10 (about alike)"),
        (3.4, 3.0, "Endplates: L4 3.40, L5 3.00 (L4 takes up more)"),
        (0.0, 0.0, "Endplates: L4 0.00, L5 0.00 (about alike)"),
        (math.nan, 2.0, ""),
        ("", "", ""),
    ],
)
def test_the_higher_endplate_is_named_where_one_is(upper: Any, lower: Any, words: str) -> None:
    row = {"level": "L4-L5", "ratio_upper_endplate": upper, "ratio_lower_endplate": lower}
    assert endplate_words(row) == words


def test_what_is_missing_is_said() -> None:
    part = CtSigns("a", "L4-L5", "disc", "", status_reason="the disc has 300 HU", gas="no")
    assert ct_words(part) == "CT: no gas; not all measured (the disc has 300 HU)"
    assert ct_words(None) == ""


# --- pictures of findings -------------------------------------------------------------------------


def finding(number: int, centre: Any, physiologic: str = "", diameter_mm: float = 18.0) -> Finding:
    return Finding(
        f"finding {number}", "body", "L4", "left", tuple(map(float, centre)), diameter_mm,
        4.2, 3.0, 5.1, "high", physiologic, "left half of the body of L4",
    )  # fmt: skip


def drawn(case: dict[str, Any], folder: Path, *found: Any) -> list[Picture]:
    """Pictures of some entries of ``verdict.json``, drawn into a folder."""
    table = case["table"]
    shown = Case(
        ct=Sampler(case["ct"]),
        spect=Sampler(case["spect"], scale=0.01),
        ct_to_spect=case["registration"].matrix,
        labels=case["labels"],
        joints=case["joints"],
        course=course_of(case["joints"], case["labels"], case["ct"]),
        classes=dict(zip(table["joint"], table["uptake"], strict=True)),
        reference="vertebral bodies",
        highest=4.0,
        ct_voxel_mm=2.5,
    )
    return [picture for draw in finding_pictures(shown, folder, found) for picture in draw()]


def test_findings_have_a_picture_with_level_side_size_and_ratio(
    case: dict[str, Any], tmp_path: Path
) -> None:
    kidney = finding(2, (60.0, 0.0, 10.0), "kidney")
    found = [verdict_entry(each) for each in (kidney, finding(1, CENTRES["L4"]))]
    (picture,) = drawn(case, tmp_path, *found)
    assert (tmp_path / picture.file).is_file()
    assert picture.section == "finding"
    assert picture.title == "Left half of the body of L4"
    assert picture.caption == (
        "L4, left; diameter 18 mm; highest ratio 4.2 as scanned, 5.1 corrected; confidence high."
    )
    assert picture.alt


def test_the_ball_is_drawn_in_the_middle_of_each_plane(
    case: dict[str, Any], tmp_path: Path
) -> None:
    drawn(case, tmp_path, verdict_entry(finding(1, CENTRES["L4"], diameter_mm=30)))
    with Image.open(tmp_path / "finding_1.png") as image:
        rgb = np.asarray(image.convert("RGB")).astype(int)
    cyan = (rgb[..., 2] > 200) & (rgb[..., 1] > 180) & (rgb[..., 0] < 120)
    pixel_mm = 110.0 / 400
    for panel in range(3):
        left = 8 + panel * 412
        rows, columns = np.nonzero(cyan[38:438, left : left + 400])
        assert abs(rows.mean() - 200) < 5
        assert abs(columns.mean() - 200) < 5
        assert np.ptp(columns) * pixel_mm == pytest.approx(30, abs=2)


def test_odd_entries_are_left_out(case: dict[str, Any], tmp_path: Path) -> None:
    odd = [{"nearest": "x"}, {"centre_mm": [1, "a", None]}, 7, {"centre_mm": [0.0, 0.0, 0.0]}]
    (picture,) = drawn(case, tmp_path, *odd)
    assert picture.title == "Uptake outside the joints"
    assert picture.caption == "Beside the spine; diameter – mm; highest ratio – as scanned."


def test_a_handful_is_drawn_in_the_order_of_the_verdict(
    case: dict[str, Any], tmp_path: Path, sheets: dict[str, Any]
) -> None:
    many = tuple(verdict_entry(finding(n, np.array(CENTRES["L4"]) + n)) for n in range(6))
    draw_pictures(tmp_path, **{**case, "verdict": replace(case["verdict"], findings=many)})
    index = json.loads((tmp_path / "pictures" / "index.json").read_text(encoding="utf-8"))
    shown = [entry["file"] for entry in index if entry["section"] == "finding"]
    assert shown == [f"finding_{n}.png" for n in range(1, MOST + 1)]
    assert set(shown) <= set(sheets)


def test_the_page_shows_pictures_of_findings_below_their_table(folder: Path) -> None:
    index = json.loads((folder / "pictures" / "index.json").read_text(encoding="utf-8"))
    index.append(
        {"file": "joint.png", "section": "finding", "title": "Body of L2", "caption": "Seen."}
    )
    dump(folder, "pictures/index.json", index)
    entry = verdict_entry(finding(1, (0, 0, 0)))
    dump(folder, "verdict.json", {**verdict(), "findings": [entry]})
    page = page_of(folder)
    order = [
        page.text.index(w)
        for w in ("Uptake outside the joints", "Body of L2", "Pictures of these joints")
    ]
    assert order == sorted(order)
    assert page.text.count("Body of L2") == 1
    # Without findings (a withheld verdict) nothing of them is shown.
    dump(folder, "verdict.json", verdict())
    assert "Body of L2" not in page_of(folder).text
