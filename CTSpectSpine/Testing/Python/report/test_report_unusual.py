"""The page of stopped, refused and broken analyses, and of hostile words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from page_folder import (
    COLUMNS,
    JOINTS,
    Page,
    assert_self_contained,
    dump,
    make_folder,
    manifest,
    registration,
    verdict,
    write_joints,
)

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.report import write_report

HOSTILE = (
    "<script>alert('x')</script>\"'><img src=http://evil.example/x onerror=alert(1)>$x_{$&amp;"
)


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


@pytest.mark.parametrize("odd", [True, 5, "x", {"a": 1}, [True], [[5]]])
def test_lists_that_are_none_leave_the_page(folder: Path, odd: Any) -> None:
    dump(folder, "manifest.json", {
        **manifest(), "stages": odd, "spect_to_ct": {"ct_to_spect_lps": odd},
    })  # fmt: skip
    dump(folder, "verdict.json", {**verdict(), "areas": odd})
    assert "Provenance" in Page(write_report(folder)).text


def test_a_number_too_large_for_arithmetic_names_its_file(folder: Path) -> None:
    path = folder / "registration.json"
    path.write_text('{"metric_end": 1' + "0" * 400 + "}", encoding="utf-8")
    with pytest.raises(InputError, match=r"registration\.json: .*401 digits"):
        write_report(folder)


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
