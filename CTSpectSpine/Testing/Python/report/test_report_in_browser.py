"""The report as a browser shows and prints it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import report_browser

from CTSpectSpineLib import analyze
from CTSpectSpineLib.phantom import load_case, make_phantom
from CTSpectSpineLib.report import write_pdf

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a lumbar phantom with a hot disc and a hot facet joint."""
    report_browser.browser()
    case = load_case("lumbar-disc")
    phantom = make_phantom(replace(case, hot={"L4-L5 disc": 4.0, "L2-L3 facet left": 3.0}))
    out = tmp_path_factory.mktemp("shown") / "results"
    analyze(phantom.ct, phantom.spect, phantom.anatomy.labels, out=out)
    return out / "report.html"


def test_the_first_screen_answers(page: Path) -> None:
    found = report_browser.measure(
        page, 1400, 900,
        "({headline: document.querySelector('h1').getBoundingClientRect().bottom,"
        " picture: document.querySelector('.key img').getBoundingClientRect().bottom,"
        " against: document.querySelector('.against ul').getBoundingClientRect().bottom,"
        " row: document.querySelector('tr.positive').getBoundingClientRect().top,"
        " sizes: [...document.querySelectorAll('body *')].map("
        "   e => [parseFloat(getComputedStyle(e).fontSize), e.tagName])})",
    )  # fmt: skip
    assert found["headline"] < 300
    assert found["picture"] <= 900
    assert found["against"] <= 900
    assert found["row"] <= 1000
    largest = max(found["sizes"])
    assert largest[1] == "H1"
    assert [tag for size, tag in found["sizes"] if size == largest[0]] == ["H1"]


@pytest.mark.parametrize("width", [320, 420, 720, 1400])
def test_nothing_is_wider_than_the_window(page: Path, width: int) -> None:
    found = report_browser.measure(
        page, width, 900,
        "({page: document.documentElement.scrollWidth, inner: [...document.querySelectorAll("
        "'main *')].filter(e => e.scrollWidth > e.clientWidth + 1 &&"
        " ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)).length})",
    )  # fmt: skip
    assert found == {"page": width, "inner": 0}


@pytest.mark.parametrize("width", [420, 1400])
def test_axe_finds_no_violation(page: Path, width: int) -> None:
    found = report_browser.measure(
        page, width, 900,
        "axe.run().then(result => ({passes: result.passes.length, violations:"
        " result.violations.map(v => [v.id, v.help, v.nodes.map(n => n.html.slice(0, 120))])}))",
        report_browser.axe(),
    )  # fmt: skip
    assert found["violations"] == []
    assert found["passes"] > 30


def test_axe_would_find_one(page: Path, tmp_path: Path) -> None:
    """The check itself: a picture without words is found."""
    broken = tmp_path / "broken.html"
    text = page.read_text(encoding="utf-8")
    broken.write_text(re.sub(r' alt="[^"]*"', "", text, count=1), encoding="utf-8")
    found = report_browser.measure(
        broken, 1400, 900, "axe.run().then(result => result.violations.map(v => v.id))",
        report_browser.axe(),
    )  # fmt: skip
    assert found == ["image-alt"]


def test_a_lumbar_case_prints_on_four_pages(page: Path) -> None:
    pdf = write_pdf(page)
    pages = re.findall(rb"/Type\s*/Page\b(?!s)", pdf.read_bytes())
    assert 1 <= len(pages) <= 4
    assert re.search(rb"/MediaBox\s*\[0 0 59[45][.\d]* 84[12]", pdf.read_bytes())
