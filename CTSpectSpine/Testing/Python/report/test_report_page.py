"""The page of a complete analysis."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from page_folder import (
    PNG,
    Page,
    assert_self_contained,
    dump,
    manifest,
    verdict,
)

from CTSpectSpineLib.report import write_report
from CTSpectSpineLib.results.decision import Decision, with_decision


def test_page_is_self_contained(folder: Path) -> None:
    path = write_report(folder)
    assert path == folder / "report.html"
    page = Page(path)
    assert_self_contained(page)
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == 3
    assert base64.b64decode((images[0]["src"] or "").split(",")[1]) == PNG
    assert all(image["alt"] for image in images)
    assert "Research use only" in page.text
    assert not list(folder.glob("*.part"))


def test_page_is_reproducible(folder: Path) -> None:
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_verdict_is_told_in_words(folder: Path) -> None:
    text = Page(write_report(folder)).text
    for words in (
        "Indeterminate",
        "“pain management only”",
        "Lumbar facet joint, stable level, Multiple areas of increased uptake",
        "tender-2019 1",
        "Tender 2019",
        "62 %",
        "unstable",
        "not eligible",
        "VAS",
        "L5-S1 facet right: ratio 4.50 is at or above 2.1.",
        "Attenuation correction was not mended.",
        "sensitivity 0.57",
        "specificity 0.77",
        "0.34 to 1.21",
        "1.00 ± 0.47",
        "sensitivity 1.0",
        "No numeric threshold",
    ):
        assert words in text, words


def test_an_unknown_disposition_of_a_protocol_is_shown_by_name(folder: Path) -> None:
    dump(folder, "verdict.json", {**verdict(), "disposition": "two_level_fusion", "stability": 0.9})
    text = Page(write_report(folder)).text
    assert "Two level fusion" in text
    assert "unstable" not in text


def test_all_joints_are_in_the_table_from_cranial_to_caudal(folder: Path) -> None:
    page = Page(write_report(folder))
    rows = [row for row in page.rows if re.search(r"\b(disc|facet (left|right))\b", row)]
    names = [re.sub(r" [▲◆○×].*", "", row) for row in rows]
    # First what stands out, positive before indeterminate; then all of them.
    assert names[:2] == ["L5-S1 facet right", "L5-S1 disc"]
    assert "4.50 (3.90–5.20)" in rows[0]
    rows, names = rows[2:], names[2:]
    assert names == [
        "C5-C6 disc",
        "facet left",
        "T12-L1 disc",
        "L5-S1 disc",
        "facet left",
        "facet right",
    ]
    assert "4.50 (3.90–5.20)" in rows[5]
    assert "▲ positive" in rows[5]
    assert "counts as one area" in rows[5]
    assert "◆ indeterminate" in rows[3]
    assert "× not measurable cut by the edge of the CT" in rows[1]
    assert "mirrored from the other side" in rows[4]


def test_plot_draws_every_level_and_the_bounds(folder: Path) -> None:
    html = write_report(folder).read_text(encoding="utf-8")
    svg = html[html.index("<svg") : html.index("</svg>")]
    for level in ("C5-C6", "T12-L1", "L5-S1"):
        assert f">{level}</text>" in svg
    assert "positive by the protocol" in svg
    assert "#f8dedb" in svg


def test_registration_measurement_and_provenance(folder: Path) -> None:
    text = Page(write_report(folder)).text
    for words in (
        "to be checked", "1.2 mm", "12.0, −8.0, 15.0 mm", "Expected error 1.2 mm.",
        "vertebral bodies", "812.50 per voxel, unit counts", "L5 (next to a hot joint)",
        "10.2 mm (estimated)", "L4 is small", "a warning of the stage", "a1" * 32, "ct.nii.gz",
        "10 × 11 × 12 voxels, 1.000 × 1.000 × 2.500 mm", "given in memory", "4.20 s",
        "Nested, Seed of the intervals", "Origin: judgement.", "Axial pain (VAS, 0 to 10) 8",
        "^99m^Technetium HDP", "126.0 to 154.0 keV", "Corrected for attenuation, scatter",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize("decision", ["accepted", "rejected"])
@pytest.mark.parametrize("adjusted", [False, True])
def test_what_the_user_decided_on_the_registration(
    folder: Path, decision: str, adjusted: bool
) -> None:
    assert "no decision of a user is recorded" in Page(write_report(folder)).text
    decided = with_decision(manifest(), Decision.now(decision, "check", adjusted=adjusted))
    dump(folder, "manifest.json", decided)
    text = Page(write_report(folder)).text
    assert f"{decision} by the user" in text
    assert ("adjusted by hand" in text) == adjusted
    assert decided["registration_check"]["time"][:16].replace("T", " ") in text
    assert ("nothing that rests on it is a result" in text) == (decision == "rejected")
    assert "no decision of a user" not in text


def test_every_row_says_how_far_its_level_is_known(folder: Path) -> None:
    table = folder / "joints.csv"
    rows = table.read_text(encoding="utf-8").splitlines()
    assert "Level’s name" not in Page(write_report(folder)).text
    known = ["unconfirmed", "plausible", *["confirmed"] * (len(rows) - 3)]
    table.write_text(
        "\n".join([f"{rows[0]},level_status", *map(",".join, zip(rows[1:], known, strict=True))]),
        encoding="utf-8",
    )
    page = Page(write_report(folder))
    shown = [row for row in page.rows if re.search(r"\b(disc|facet (left|right))\b", row)]
    names = [re.sub(r" [▲◆○×].*", "", row) for row in shown]
    assert all(re.search(r"(plausible|not confirmed|confirmed)$", name) for name in names), names
    assert sum(name.endswith("not confirmed") for name in names) == 2
    assert sum(name.endswith("plausible") for name in names) == 1
