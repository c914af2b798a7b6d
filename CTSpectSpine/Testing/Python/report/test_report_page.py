"""The page of a results folder: complete, self-contained, escaped, honest about failures."""

from __future__ import annotations

import base64
import csv
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.report import write_report
from CTSpectSpineLib.results.manifest import with_decision

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = (
    "<script>alert('x')</script>\"'><img src=http://evil.example/x onerror=alert(1)>$x_{$&amp;"
)
JOINTS = [
    # joint, level, kind, side, status, ratio, low, high, uptake, reason
    ("L5-S1 facet right", "L5-S1", "facet", "right", "measured", 4.5, 3.9, 5.2, "positive", ""),
    ("C5-C6 disc", "C5-C6", "disc", "", "measured", 1.01, 0.9, 1.1, "negative", ""),
    ("L5-S1 disc", "L5-S1", "disc", "", "measured", 1.8, 1.5, 2.2, "indeterminate", ""),
    ("L5-S1 facet left", "L5-S1", "facet", "left", "measured", 0.9, 0.8, 1.0, "negative",
     "mirrored from the other side"),
    ("C5-C6 facet left", "C5-C6", "facet", "left", "not_measurable", "", "", "", "not_measurable",
     "cut by the edge of the CT"),
    ("T12-L1 disc", "T12-L1", "disc", "", "measured", 1.1, 1.0, 1.2, "negative", ""),
]  # fmt: skip
COLUMNS = [
    *("joint", "level", "kind", "side", "status", "ratio_corrected", "ratio_low", "ratio_high"),
    *("uptake", "status_reason", "verdict"),
]


def write_joints(folder: Path, rows: list[tuple[Any, ...]], columns: list[str] = COLUMNS) -> None:
    with (folder / "joints.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows((*row, "counts as one area" if "positive" in row else "") for row in rows)


def manifest() -> dict[str, Any]:
    return {
        "schema": "ctspectspine-results-1",
        "status": "complete",
        "status_reason": "",
        "created": "2026-05-04T09:30:00+02:00",
        "research_use_only": True,
        "inputs": {
            "ct": {"path": "/data/patient-17/ct.nii.gz", "sha256": "a1" * 32, "unit": "HU",
                   "size": [10, 11, 12], "spacing_mm": [1.0, 1.0, 2.5], "notes": []},
            "spect": {"path": None, "sha256": None, "unit": "counts"},
        },
        "software": {"ctspectspine": "0.1.0", "numpy": "2.4"},
        "parameters": {"threads": 2, "fwhm_mm": None, "nested": {"seed": 7}},
        "protocol": {
            "id": "tender-2019", "version": "1", "title": "Triage", "source": "Tender 2019",
            "bounds": {
                "disc": {"metric": "ratio_corrected", "positive": 2.0, "indeterminate": 1.6,
                         "provenance": "judgement"},
                "facet": {"metric": "ratio_corrected", "positive": 2.1, "indeterminate": 1.7},
            },
        },
        "context": {"vas_axial": 8},
        "spect_to_ct": {"ct_to_spect_lps": [[1, 0, 0, 5], [0, 1, 0, 6], [0, 0, 1, 7]]},
        "labels": {"engine": "imported", "levels": ["L4", "L5"], "levels_confirmed": True,
                   "warnings": ["L4 is small"]},
        "uptake": {"reference": {"name": "vertebral_bodies", "value": 812.5, "used": ["L1"],
                                 "left_out": {"L5": "next to a hot joint"}, "spread": 0.08},
                   "fwhm_mm": 10.2, "fwhm_source": "estimated", "condition_number": 5.5,
                   "unit": "counts", "warnings": []},
        "stages": [{"name": "register", "start": "2026-05-04T09:30:01", "seconds": 4.2,
                    "warnings": ["a warning of the stage"]}],
    }  # fmt: skip


def verdict() -> dict[str, Any]:
    return {
        "protocol": {"id": "tender-2019", "version": "1", "source": "Tender 2019"},
        "disposition": "indeterminate",
        "recommendation": "pain management only",
        "areas": [{"level": "L5-S1", "kind": "facet", "joints": ["L5-S1 facet right"]}],
        "reasons": ["L5-S1 facet right: ratio 4.50 is at or above 2.1."],
        "eligibility": {"status": "not_eligible", "met": ["age"], "failed": ["VAS"],
                        "not_given": ["duration"]},
        "stability": 0.62,
        "caveats": ["Attenuation correction was not mended."],
        "candidate_dispositions": ["lumbar_facet_stable", "multiple_areas"],
        "research_use_only": True,
    }  # fmt: skip


def registration() -> dict[str, Any]:
    return {
        "method": "mattes", "translation_mm": [12.0, -8.0, 15.0], "rotation_deg": [1, 2, 3],
        "metric_start": -0.3, "metric_end": -0.8, "expected_error_mm": 1.24, "quality": "check",
        "reasons": ["Expected error 1.2 mm."], "seconds": 4.2,
    }  # fmt: skip


def dump(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def make_folder(folder: Path) -> Path:
    (folder / "pictures").mkdir(parents=True)
    dump(folder, "manifest.json", manifest())
    dump(folder, "verdict.json", verdict())
    dump(folder, "registration.json", registration())
    write_joints(folder, JOINTS)
    entries = []
    for section, joint in (("overview", ""), ("joint", "L5-S1 facet right"), ("registration", "")):
        (folder / "pictures" / f"{section}.png").write_bytes(PNG)
        entries.append({"file": f"{section}.png", "section": section, "title": f"The {section}",
                        "caption": f"What the {section} shows.", "joint": joint})  # fmt: skip
    dump(folder, "pictures/index.json", entries)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "results")


class Page(HTMLParser):
    """Elements with their attributes, and the text of a page and of its table rows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: list[str] = []
        self.ids: list[str] = []
        self._style = False
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._style = tag == "style"
        if tag == "tr":
            self.rows.append("")

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.words.append(data)
            if self.rows:
                self.rows[-1] = re.sub(r"\s+", " ", f"{self.rows[-1]} {data}").strip()


def assert_self_contained(page: Page) -> None:
    """No script and nothing that a browser would fetch or run."""
    forbidden = {"script", "iframe", "object", "embed", "link", "base", "form", "audio", "video"}
    for tag, attributes in page.elements:
        assert tag not in forbidden
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "srcset", "data", "poster", "action"):
                assert (value or "").startswith("data:image/png;base64,"), (tag, name)
            if name in ("href", "xlink:href"):
                assert (value or "").startswith("#"), (tag, value)
            if name == "style":
                assert "http" not in (value or "")
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", page.html)


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
        "sensitivity of 0.57",
        "specificity of 0.77",
        "0.34 to 1.21",
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
    assert [re.sub(r" [▲◆○×].*", "", row) for row in rows] == [
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
        "vertebral bodies", "812.50 counts", "L5 (next to a hot joint)", "10.2 mm (estimated)",
        "L4 is small", "a warning of the stage", "a1" * 32, "/data/patient-17/ct.nii.gz",
        "10 × 11 × 12 voxels, 1.000 × 1.000 × 2.500 mm", "given in memory", "nested.seed", "4.20 s",
        "Origin: judgement", "vas_axial",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize("decision", ["accepted", "rejected"])
@pytest.mark.parametrize("adjusted", [False, True])
def test_what_the_user_decided_on_the_registration(
    folder: Path, decision: str, adjusted: bool
) -> None:
    assert "no decision of a user is recorded" in Page(write_report(folder)).text
    decided = with_decision(manifest(), "check", decision, adjusted=adjusted)
    dump(folder, "manifest.json", decided)
    text = Page(write_report(folder)).text
    assert f"{decision} by the user" in text
    assert ("adjusted by hand" in text) == adjusted
    assert decided["registration_check"]["time"].replace("T", " ") in text
    assert ("the verdict below does not count" in text) == (decision == "rejected")
    assert "no decision of a user" not in text


def poison(value: Any) -> Any:
    """Every string of a JSON value, keys too where they are free, made hostile."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, list):
        return [poison(item) for item in value]
    if isinstance(value, dict):
        return {key: poison(item) for key, item in value.items()}
    return value


def test_hostile_strings_are_only_ever_text(folder: Path) -> None:
    fixed = manifest()
    dump(folder, "manifest.json", {
        **poison(fixed), "schema": fixed["schema"], "status": fixed["status"],
        "registration_check": {"decision": HOSTILE, "time": HOSTILE},
        "context": {HOSTILE: HOSTILE}, "protocol": {**poison(fixed["protocol"]),
        "bounds": fixed["protocol"]["bounds"]},
    })  # fmt: skip
    dump(folder, "verdict.json", poison(verdict()))
    dump(folder, "registration.json", poison(registration()))
    write_joints(folder, [
        (HOSTILE + row[0], HOSTILE + row[1], *row[2:9], HOSTILE) for row in JOINTS
    ])  # fmt: skip
    index = json.loads((folder / "pictures" / "index.json").read_text())
    dump(folder, "pictures/index.json", [{**poison(e), "file": e["file"]} for e in index])
    page = Page(write_report(folder))
    assert_self_contained(page)
    assert "<script" not in page.html
    assert all("evil" not in str(a) for t, a in page.elements if t not in ("img", "title"))
    assert len([t for t, _ in page.elements if t == "img"]) == 3
    assert page.text.count("alert('x')") > 20


def test_a_failed_analysis_says_plainly_what_happened(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    dump(bare, "manifest.json", {
        "schema": "ctspectspine-results-1", "status": "failed",
        "status_reason": "The labels do not lie on the CT.",
    })  # fmt: skip
    page = Page(write_report(bare))
    assert_self_contained(page)
    assert "The analysis stopped without a result" in page.text
    assert "The labels do not lie on the CT." in page.text
    assert "holds no pictures" in page.text
    assert "did not get as far as a registration" in page.text
    assert "Research use only" in page.text


def test_a_refused_analysis_shows_its_measurements_and_no_verdict(folder: Path) -> None:
    dump(folder, "manifest.json", {
        **manifest(), "status": "failed", "status_reason": "The registration failed.",
    })  # fmt: skip
    dump(folder, "verdict.json", {
        **verdict(), "disposition": "no_verdict", "recommendation": "none", "stability": None,
        "reasons": ["The registration failed."],
    })  # fmt: skip
    dump(folder, "registration.json", {**registration(), "quality": "failed"})
    text = Page(write_report(folder)).text
    assert "The analysis ran and refuses a verdict" in text
    assert "No verdict" in text
    assert "not computed" in text
    assert "accepted it explicitly" not in text
    assert "L5-S1" in text


def test_an_accepted_failed_registration_is_flagged(folder: Path) -> None:
    dump(folder, "registration.json", {**registration(), "quality": "failed"})
    text = Page(write_report(folder)).text
    assert "only because the user accepted it explicitly" in text


def test_a_running_analysis_is_no_result(folder: Path) -> None:
    for name in ("verdict.json", "joints.csv", "pictures/index.json"):
        (folder / name).unlink()
    dump(folder, "manifest.json", {**manifest(), "status": "running"})
    text = Page(write_report(folder)).text
    assert "The analysis has not finished" in text
    assert "none of it is a result" in text


@settings(max_examples=25, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    kept=st.sets(st.sampled_from(sorted(manifest()))),
    files=st.sets(st.sampled_from(["verdict.json", "registration.json", "joints.csv"])),
    nothing=st.sampled_from([None, {}, []]),
)
def test_any_part_of_a_failed_manifest_may_be_missing(
    tmp_path_factory: pytest.TempPathFactory, kept: set[str], files: set[str], nothing: Any
) -> None:
    folder = make_folder(tmp_path_factory.mktemp("partial") / "results")
    for name in files:
        (folder / name).unlink()
    whole = manifest()
    parts = {key: whole[key] if key in kept else nothing for key in whole}
    if nothing is None:
        parts = {key: value for key, value in parts.items() if value is not None}
    dump(folder, "manifest.json", {**parts, "schema": whole["schema"], "status": "failed"})
    assert_self_contained(Page(write_report(folder)))


def test_levels_unknown_to_the_anatomy_stay_together_at_the_end(folder: Path) -> None:
    odd = [("a", "X2-X3", *JOINTS[1][2:]), ("b", "X1-X2", *JOINTS[0][2:]),
           ("c", "X2-X3", *JOINTS[0][2:])]  # fmt: skip
    write_joints(folder, [*odd, *JOINTS])
    page = Page(write_report(folder))
    spans = [a["rowspan"] for tag, a in page.elements if "rowspan" in a]
    assert spans == ["2", "1", "3", "1", "2"]


def test_an_empty_joint_table_is_said(folder: Path) -> None:
    write_joints(folder, [])
    assert "no joint was found" in Page(write_report(folder)).text


def test_text_of_any_script_survives(folder: Path) -> None:
    dump(folder, "verdict.json", {**verdict(), "reasons": ["Höhe L4–L5, 椎間板, ≥ 2"]})
    assert "Höhe L4–L5, 椎間板, ≥ 2" in Page(write_report(folder)).text


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def holding(name: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return change


def csv_cell(column: str, value: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        rows = [list(row) for row in JOINTS]
        rows[0][COLUMNS.index(column)] = value
        write_joints(folder, [tuple(row) for row in rows])

    return change


def csv_without(column: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        write_joints(folder, JOINTS, ["other" if name == column else name for name in COLUMNS])

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("manifest.json"), ["manifest.json", "missing"]),
        (holding("manifest.json", b"{"), ["manifest.json", "JSON"]),
        (holding("manifest.json", b"\xff\xfe\x00"), ["manifest.json", "JSON"]),
        (holding("manifest.json", b"[]"), ["manifest.json", "object"]),
        (holding("manifest.json", b"{}"), ["manifest.json", "schema"]),
        (
            holding("manifest.json", b'{"schema":"ctspectspine-results-1","status":"done"}'),
            ["manifest.json", "status", "'done'"],
        ),
        (without("verdict.json"), ["verdict.json", "complete"]),
        (without("registration.json"), ["registration.json", "complete"]),
        (without("joints.csv"), ["joints.csv", "complete"]),
        (holding("verdict.json", b"no"), ["verdict.json", "JSON"]),
        (holding("registration.json", b"3"), ["registration.json", "object"]),
        (holding("joints.csv", b""), ["joints.csv", "table"]),
        (holding("joints.csv", b"\xff\xfe\x00\x01"), ["joints.csv", "table"]),
        (csv_without("uptake"), ["joints.csv", "'uptake'"]),
        (csv_cell("uptake", "hot"), ["joints.csv", "'hot'", "positive"]),
        (csv_cell("side", "Left"), ["joints.csv", "'Left'", "left"]),
        (csv_cell("kind", "rib"), ["joints.csv", "'rib'", "facet"]),
        (csv_cell("ratio_corrected", "4,5"), ["joints.csv", "ratio_corrected", "'4,5'"]),
        (holding("pictures/index.json", b"{}"), ["index.json", "list"]),
        (holding("pictures/index.json", b"[1]"), ["index.json", "file"]),
        (holding("pictures/index.json", b'[{"file":"../verdict.json"}]'), ["index.json", "../v"]),
        (without("pictures/overview.png"), ["overview.png"]),
        (holding("pictures/overview.png", b"GIF89a"), ["overview.png", "PNG"]),
    ],
)
def test_a_broken_folder_names_its_file(
    folder: Path, change: Callable[[Path], None], words: list[str]
) -> None:
    change(folder)
    with pytest.raises(InputError) as caught:
        write_report(folder)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert not (folder / "report.html").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no_such"):
        write_report(tmp_path / "no_such")


def test_chain_shares_and_regions_are_told(folder: Path) -> None:
    chain = [
        {"step": "joint", "sentence": "L4-L5 disc is positive.", "provenance": "judgement: why"},
        {"step": "rule", "sentence": "A rule applies.", "source": "The source's own words."},
    ]
    told = {"chain": chain, "stability_shares": {"negative": 0.62, "lumbar_disc": 0.38}}
    dump(folder, "verdict.json", {**verdict(), **told, "by_region": {"lumbar": "lumbar_disc"}})
    text = " ".join(write_report(folder).read_text(encoding="utf-8").split())
    for words in (
        "<strong>Joint:</strong> L4-L5 disc is positive.",
        "judgement: why",
        "<strong>Rule:</strong> A rule applies.",
        "source&#39;s own words",
        "Negative scan 62",
        "lumbar pain: Lumbar disc",
    ):
        assert words in text
