"""A results folder for the page, and a parser of the page."""

from __future__ import annotations

import base64
import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
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
            "ct": {"name": "ct.nii.gz", "sha256": "a1" * 32, "unit": "HU",
                   "size": [10, 11, 12], "spacing_mm": [1.0, 1.0, 2.5], "notes": []},
            "spect": {"name": None, "sha256": None, "unit": "counts", "acquisition": {
                "radionuclide": "^99m^Technetium", "tracer": "HDP", "reconstruction": "",
                "energy_windows_kev": [[126.0, 154.0]], "corrections": ["ATTN", "SCAT"]}},
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
