"""The pages of studies in headless Chromium: no console error, no violation, no overflow."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from outcome_case import write_table
from report_browser import axe, browser, measure
from results_case import PLACES, drawn_ratio, joint_name, uptake_of, write_results

from CTSpectSpineLib.command_line.main import main

pytestmark = pytest.mark.slow

PAGES = ("outcomes", "summary", "diagnostic", "agreement", "form")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("pages")
    first, second = (
        write_results(base / name, 6, drawn_ratio(seed, 0.1)) for seed, name in enumerate("ab", 1)
    )
    names = [(f"p{n:02d}", joint_name(*place), (n, k)) for n in range(6)
             for k, place in enumerate(PLACES)]  # fmt: skip
    references, reading = ["id,joint,reference"], ["reader,id,joint,grade"]
    for patient, joint, at in names:
        ratio = drawn_ratio(5, 0.5)(*at)
        references.append(f"{patient},{joint},{'yes' if ratio > 1.8 else 'no'}")
        reading.append(f"A,{patient},{joint},{uptake_of(ratio)}")
    (base / "r.csv").write_text("\n".join(references), encoding="utf-8")
    (base / "read.csv").write_text("\n".join(reading), encoding="utf-8")
    table = write_table(base / "t.csv", 20, lost=0.2)
    for words in (
        ["outcomes", table, "--out", base / "o"],
        ["outcomes", "--summary", "tender-2019", "--out", base / "s"],
        ["diagnostic", first, base / "r.csv", "--out", base / "d"],
        ["agreement", "--reader", base / "read.csv", "--results", first, "--retest", first, second,
         "--out", base / "g"],
        ["reader-form", first, "--out", base / "form.html"],
    ):  # fmt: skip
        assert main([*map(str, words), "--progress", "none"]) == 0
    return base


def page_of(base: Path, name: str) -> Path:
    (found,) = (p for p in base.rglob(f"{name}.html"))
    return found


@pytest.mark.parametrize("name", PAGES)
def test_no_console_error_from_disk(name: str, pages: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(browser()), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path}", "--dump-dom", page_of(pages, name).as_uri()],
        capture_output=True, check=True, timeout=240,
    )  # fmt: skip
    assert [line for line in done.stderr.decode().splitlines() if "CONSOLE" in line] == []
    assert "</html>" in done.stdout.decode("utf-8")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_is_wider_than_its_window(name: str, width: int, pages: Path) -> None:
    found = measure(page_of(pages, name), width, 900, "document.documentElement.scrollWidth")
    assert found <= width


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violation(name: str, pages: Path) -> None:
    found = measure(
        page_of(pages, name), 1280, 900,
        "axe.run().then(result => ({passes: result.passes.length, violations:"
        " result.violations.map(v => [v.id, v.help, v.nodes.map(n => n.html.slice(0, 160))])}))",
        axe(),
    )  # fmt: skip
    assert found["violations"] == []
    assert found["passes"] > 15
