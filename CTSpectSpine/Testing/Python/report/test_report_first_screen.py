"""What the first screen of the report says, and what no part of it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from page_folder import Page, dump, manifest, registration, verdict

from CTSpectSpineLib.report import write_report

ALLOWED = {"tender-2019", "joints.csv"}


def headline(folder: Path) -> str:
    html = write_report(folder).read_text(encoding="utf-8")
    (found,) = re.findall(r"<h1>(.*?)</h1>", html, re.DOTALL)
    return " ".join(found.split())


def visible(folder: Path) -> str:
    """The words of the page, without hashes, paths and file names."""
    return re.sub(r"\S+\.(?:nii\.gz|csv|html)\b", "", Page(write_report(folder)).text)


def test_the_sentence_of_the_verdict_is_the_headline(folder: Path) -> None:
    told = "L5-S1 facet right 4.50 ×: nothing is covered."
    dump(folder, "verdict.json", {**verdict(), "headline": told})
    assert headline(folder) == told


def test_without_it_level_side_ratio_and_interval_are_named(folder: Path) -> None:
    assert headline(folder) == "L5-S1 facet right 4.50 × the reference bone (3.90 to 5.20)."


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "failed", "status_reason": "The labels lie elsewhere."}, "The labels lie"),
        ({"registration_check": {"decision": "rejected"}}, "The registration was rejected"),
    ],
)
def test_what_is_no_verdict_is_said_in_the_headline(
    folder: Path, change: dict[str, Any], words: str
) -> None:
    dump(folder, "manifest.json", {**manifest(), **change})
    found = headline(folder)
    assert found.startswith("No verdict. ")
    assert words in found


def test_no_verdict_shows_no_disposition_anywhere(folder: Path) -> None:
    refused = {
        **verdict(), "disposition": "no_verdict", "recommendation": "none",
        "reasons": ["The registration failed."], "by_region": {"lumbar": "negative"},
        "candidate_dispositions": ["lumbar_disc"], "areas": [], "headline": "",
    }  # fmt: skip
    dump(folder, "verdict.json", refused)
    assert headline(folder) == "No verdict. The registration failed."
    text = Page(write_report(folder)).text
    for words in ("Negative scan", "Lumbar disc", "lumbar pain"):
        assert words not in text


def test_what_stands_against_it_is_beside_it(folder: Path) -> None:
    dump(folder, "manifest.json", {
        **manifest(), "labels": {**manifest()["labels"], "levels_confirmed": False}})  # fmt: skip
    html = write_report(folder).read_text(encoding="utf-8")
    beside = html[html.index('class="against"') : html.index("<h2>Scan</h2>")]
    for words in (
        "Registration to be checked", "Levels not confirmed", "62 % of the repetitions",
        "L5-S1 disc 1.80", "1 joint: C5-C6", "Not eligible under the protocol",
    ):  # fmt: skip
        assert words in beside, words


def test_names_in_doubt_are_beside_it_and_in_the_section_on_labels(folder: Path) -> None:
    labels = {**manifest()["labels"], "doubted_levels": ["T11", "T12"]}
    dump(folder, "manifest.json", {**manifest(), "labels": labels})
    html = write_report(folder).read_text(encoding="utf-8")
    beside = html[html.index('class="against"') : html.index("<h2>Scan</h2>")]
    assert "Names in doubt" in beside
    assert "T11, T12" in beside
    assert "Levels not confirmed" not in beside
    assert "confirmed but for" in html


def test_attenuation_that_was_corrected_here_is_beside_it(folder: Path) -> None:
    uptake = manifest().get("uptake", {})
    corrected = {"attenuation_corrected_with_ct": "seen"}
    dump(folder, "manifest.json", {
        **manifest(), "uptake": {**uptake, "reconstruction": corrected}})  # fmt: skip
    html = write_report(folder).read_text(encoding="utf-8")
    beside = html[html.index('class="against"') : html.index("<h2>Scan</h2>")]
    assert "The SPECT left it in; the ratios are corrected" in beside


def test_nothing_stands_against_it_only_where_nothing_does(folder: Path) -> None:
    dump(folder, "registration.json", {**registration(), "quality": "good"})
    sure = {**verdict(), "stability": 0.95, "eligibility": {"status": "eligible"}}
    dump(folder, "verdict.json", sure)
    text = (folder / "joints.csv").read_text(encoding="utf-8")
    rows = [r for r in text.splitlines() if "indeterminate" not in r and "not_measurable" not in r]
    (folder / "joints.csv").write_text("\r\n".join(rows) + "\r\n", encoding="utf-8")
    assert "Nothing that this analysis checks." in Page(write_report(folder)).text


def test_findings_outside_the_joints_are_named(folder: Path) -> None:
    sentence = "L2 body, right: 5.1 × the reference bone."
    dump(folder, "verdict.json", {**verdict(), "findings": [{"sentence": sentence}]})
    assert f"Outside the joints. {sentence}" in Page(write_report(folder)).text


def test_a_finding_without_a_sentence_is_told_and_listed(folder: Path) -> None:
    finding = {"finding": "a", "where": "body", "level": "L2", "side": "right", "ratio": 5.1,
               "nearest": "L2 body", "diameter_mm": 18, "ratio_corrected": 7.9}  # fmt: skip
    dump(folder, "verdict.json", {**verdict(), "findings": [finding]})
    page = Page(write_report(folder))
    assert "Outside the joints. L2 body, 5.1 × the reference bone as scanned." in page.text
    assert any(row.startswith("L2 body 18 mm 5.1 7.9") for row in page.rows)


def test_a_rejected_registration_leaves_no_disposition(folder: Path) -> None:
    dump(folder, "manifest.json", {
        **manifest(), "registration_check": {"decision": "rejected", "time": ""}})  # fmt: skip
    dump(folder, "verdict.json", {**verdict(), "disposition": "lumbar_disc"})
    text = Page(write_report(folder)).text
    assert "Lumbar disc" not in text
    assert "pain management only" not in text


def test_no_raw_keys_and_no_double_stops(folder: Path) -> None:
    context = {
        "radicular_pain": False, "surgery_declined": True, "instability_mm": {"L4-L5": 3.0},
        "exclusions": ["workers_compensation"], "pain_region": "lumbar", "age_years": 51,
    }  # fmt: skip
    told = {**manifest(), "context": context, "uptake": {**manifest()["uptake"], "unit": "unknown"}}
    told["parameters"] = {"accept_registration": True, "save_volumes": False, "labeller": "given"}
    dump(folder, "manifest.json", told)
    text = visible(folder)
    assert set(re.findall(r"\b[a-z]+_[a-z_]+\b", text)) == set()
    assert "False" not in text
    assert "True" not in text
    assert "Radicular pain no" in text
    assert "Instability (mm), L4-L5 3.0" in text
    assert "workers compensation" in text
    assert "unknown" not in text.replace("Eligibility unknown", "")
    assert not re.search(r"[^.]\.\.(?!\.)|[?!]\.", text)


@pytest.mark.parametrize("name", ["/home/x/Doe_Jane/ct.nii.gz", r"C:\scans\Doe_Jane\ct.nii.gz"])
def test_no_folder_of_an_input_is_shown(folder: Path, name: str) -> None:
    told = manifest()
    told["inputs"]["ct"]["name"] = name
    dump(folder, "manifest.json", told)
    html = write_report(folder).read_text(encoding="utf-8")
    assert "Doe_Jane" not in html
    assert "ct.nii.gz" in html


def test_what_is_known_of_the_scan_is_told(folder: Path) -> None:
    told = manifest()
    told["inputs"]["spect"]["acquisition"] |= {
        "manufacturer": "Acme One", "reconstruction": "OSEM 4i10s", "injected_dose_MBq": 700.0,
        "uptake_time_min": 186.0,
    }  # fmt: skip
    told["uptake"]["suv"] = "SUV from 70 kg and 700 MBq."
    told["uptake"]["sul"] = {"per_suv": 0.655, "note": "SUL = 0.655 x SUV."}
    told["uptake"]["reconstruction"] = {
        "family": "recovery", "source": "DICOM header", "iterations": 8, "subsets": 4,
        "filter_fwhm_mm": 8.4,
    }  # fmt: skip
    dump(folder, "manifest.json", told)
    text = Page(write_report(folder)).text
    line = "^99m^Technetium HDP; 700 MBq; scanned 3.1 h after injection; Acme One; OSEM 4i10s."
    assert line in text
    assert "SUV from 70 kg and 700 MBq." in text
    assert "SUL = 0.655 x SUV." in text
    assert "iterations: 8, subsets: 4, Gaussian filter of 8.4 mm" in text
    told["uptake"]["sul"] = {"per_suv": None, "note": "No SUL: sex not given."}
    scan = told["inputs"]["spect"]["acquisition"]
    scan["radionuclide"] = scan["tracer"] = "Tc-99m DPD"
    # What the user gives comes before the header.
    told["context"] = {"injected_dose_MBq": 650, "injection_time": "2026-05-04T08:00:00Z",
                       "scan_time": "2026-05-04T11:30:00Z"}  # fmt: skip
    dump(folder, "manifest.json", told)
    text = Page(write_report(folder)).text
    assert "Tc-99m DPD; 650 MBq; scanned 3.5 h after injection" in text
    assert "Tc-99m DPD Tc-99m DPD" not in text
    assert "No SUL" not in text


def test_alternative_texts_are_those_of_the_index(folder: Path) -> None:
    index = [
        {"file": "overview.png", "section": "overview", "title": "Does it lie there?",
         "caption": "A caption.", "alt": "Bones over the SPECT"},
        {"file": "joint.png", "section": "joint", "title": "Does it lie there?", "caption": "C."},
    ]  # fmt: skip
    dump(folder, "pictures/index.json", index)
    page = Page(write_report(folder))
    found = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    assert sorted(map(str, found)) == ["Bones over the SPECT", "Does it lie there"]


def test_the_plot_has_title_description_and_shapes(folder: Path) -> None:
    html = write_report(folder).read_text(encoding="utf-8")
    svg = html[html.index("<svg") : html.index("</svg>")]
    assert svg.startswith('<svg role="img" aria-labelledby="plot-title plot-words"')
    assert '<title id="plot-title">' in svg
    assert "Positive: L5-S1 facet right 4.50 (3.90–5.20)." in svg
    assert "Indeterminate: L5-S1 disc 1.80 (1.50–2.20)." in svg


def test_the_page_prints_with_its_running_line_and_numbers(folder: Path) -> None:
    html = write_report(folder).read_text(encoding="utf-8")
    style = html[html.index("@page") : html.index("@media print")]
    assert "Research use only" in style
    assert "counter(page)" in style
    assert "counter(pages)" in style
    assert "size: A4" in style
