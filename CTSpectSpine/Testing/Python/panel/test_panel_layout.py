"""What a reader sees of the panel at the widths that Slicer gives it, on light and dark."""

from __future__ import annotations

import ast
import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import slicer
import slicer_host
import slicer_qt
from slicer_panel import PanelTestCase

from CTSpectSpineLib.display import STATUS_HEX, contrast, status_hex

MODULE = Path(__file__).resolve().parents[3] / "CTSpectSpine.py"
UI = MODULE.parent / "Resources" / "UI" / "CTSpectSpine.ui"
SOURCES = (MODULE, *sorted((MODULE.parent / "CTSpectSpineWidgets").glob("*.py")))
WIDTHS = (339, 450, 600)
"""Widths of Slicer's module panel, with its scroll bar, pixels; the first is its default."""
HEIGHT = 700
"""Height of the module panel in a small window, pixels."""
GROUNDS = ("#ffffff", "#efefef", "#f7f7f7", "#e6e6e6", "#1f1f1f", "#2b2b2b", "#333333", "#3a3a3a")


@pytest.fixture(scope="module")
def area() -> Any:
    """The panel in a column with a scroll bar, as Slicer shows it."""
    slicer_host.load_module(MODULE)
    import qt

    area = qt.QScrollArea()
    area.setWidgetResizable(True)
    area.setWidget(slicer.modules.ctspectspine.widgetRepresentation())
    area.show()
    return area


@pytest.fixture
def case(area: Any) -> Iterator[Any]:
    """A panel with results."""

    class Case(PanelTestCase):
        def runTest(self) -> None:
            pass

    case = Case()
    case.setUp()
    case.addResults()
    case.area = area
    yield case
    case.doCleanups()


def resize(case: Any, width: int) -> None:
    import qt

    case.area.resize(width, HEIGHT)
    for _ in range(3):
        qt.QApplication.processEvents()


def fill(case: Any) -> None:
    """Results with the longest words that a row may have."""
    rows = case.widget.record.rows
    classes = ("positive", "indeterminate", "negative", "not_measurable")
    many = tuple(
        replace(row, uptake=uptake, joint=f"{row.joint}{i}", ratio=14.12, low=13.8, high=14.4)
        for i, (row, uptake) in enumerate(itertools.product(rows * 2, classes))
    )
    case.widget.record = replace(case.widget.record, rows=many)
    combo = case.ui.filterSelector
    combo.setCurrentIndex(combo.findText("all"))
    case.widget.results.show()


@pytest.mark.parametrize("width", WIDTHS)
def test_joint_ratio_and_uptake_are_in_sight(case: Any, width: int) -> None:
    fill(case)
    resize(case, width)
    table = case.ui.jointTable
    header = table.horizontalHeader()
    assert case.area.horizontalScrollBar().maximum == 0
    end = header.sectionViewportPosition(3) + header.sectionSize(3)
    assert end <= table.viewport().width, [header.sectionSize(i) for i in range(6)]
    for column in range(1, 4):
        needed = table.sizeHintForColumn(column)
        assert header.sectionSize(column) >= needed, f"column {column} is cut"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("opened", [False, True])
def test_nothing_is_drawn_over_its_neighbour(case: Any, width: int, opened: bool) -> None:
    for name, section in vars(case.ui).items():
        if name.endswith("CollapsibleButton"):
            before = section.collapsed
            case.addCleanup(setattr, section, "collapsed", before)
            section.collapsed = not opened and "results" not in name
    fill(case)
    resize(case, width)
    assert case.area.horizontalScrollBar().maximum == 0, "nothing is cut off at the right"
    assert slicer_qt.overlapping(slicer.modules.ctspectspine.widgetRepresentation()) == []


def test_a_squeezed_section_takes_it_from_the_table(case: Any) -> None:
    fill(case)
    resize(case, WIDTHS[0])
    section, count = case.ui.resultsCollapsibleButton, case.ui.hiddenLabel
    case.addCleanup(section.setMaximumHeight, section.maximumHeight)
    section.setMaximumHeight(section.height - 60)
    resize(case, WIDTHS[0])
    assert slicer_qt.overlapping(section) == []
    section.setMaximumHeight(section.height - 200)
    resize(case, WIDTHS[0])
    assert slicer_qt.overlapping(section) != [], "there are limits"
    assert count.geometry.bottom() < case.ui.jointTable.geometry.top() + 1, "no row is covered"


def test_the_verdict_is_in_sight_without_scrolling(case: Any) -> None:
    import qt

    resize(case, WIDTHS[0])
    label = case.ui.summaryLabel
    assert "L5-S1 right facet 4.1" in label.text
    bottom = label.mapTo(case.area.widget(), qt.QPoint(0, label.height)).y()
    assert bottom <= 450, "of about 850 in a window of 1000 pixels"
    assert label.height >= label.heightForWidth(label.width), "nothing of it is cut off"
    slicer.mrmlScene.Clear()
    case.widget.enter()
    assert label.isHidden()


@pytest.mark.parametrize(("name", "ground"), itertools.product(STATUS_HEX, GROUNDS))
def test_words_of_a_status_can_be_read(name: str, ground: str) -> None:
    assert contrast(status_hex(name, ground), ground) >= 4.5


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#abcdef", "#abcdef") == 1.0


@pytest.mark.parametrize("dark", [True, False])
def test_the_panel_takes_the_colours_of_its_palette(case: Any, dark: bool) -> None:
    import qt

    from CTSpectSpineWidgets.common import statusColour

    try:
        palette = slicer_qt.use_palette(dark)
        ground = palette.color(qt.QPalette.Window).name()
        case.widget.decide("rejected")
        failed = statusColour(case.ui.summaryLabel.palette, "failed")
        assert failed == STATUS_HEX["failed"][dark]
        assert contrast(failed, ground) >= 4.5
        for label in (case.ui.summaryLabel, case.ui.verdictLabel):
            assert failed in label.text
        assert STATUS_HEX["good"][dark] in case.ui.registrationLabel.text
        fill(case)
        table = case.ui.jointTable
        for i, row in enumerate(case.widget.results._rows):
            ink = table.item(i, 3).foreground().color().name()
            assert ink == STATUS_HEX[row.uptake][dark]
        case.widget.analysis.say("Wrong.", isError=True)
        assert failed in case.ui.statusLabel.styleSheet
        case.widget.analysis.say("")
        case.ui.vasAxial.text = "eleven"
        assert failed in case.ui.patientProblemLabel.styleSheet
    finally:
        case.ui.vasAxial.text = ""
        slicer_qt.use_palette(dark=False)


def test_no_colour_is_fixed_without_its_ground() -> None:
    for source in SOURCES:
        assert not re.findall(r"#[0-9a-fA-F]{6}", source.read_text(encoding="utf-8")), source
    for style in ET.parse(UI).iterfind(".//property[@name='styleSheet']/string"):
        ground, ink = re.findall(r"(?:background-|; )color: (#\w{6})", style.text or "")
        assert contrast(ground, ink) >= 4.5


def test_every_tooltip_has_one_owner() -> None:
    in_ui = {
        str(widget.get("name"))
        for widget in ET.parse(UI).iterfind(".//widget")
        if widget.find("property[@name='toolTip']") is not None
    }
    assert len(in_ui) > 30
    code = "".join(source.read_text(encoding="utf-8") for source in SOURCES)
    in_code = set(re.findall(r"enable\((?:self\.)?ui\.(\w+)", code))
    in_code |= set(re.findall(r"\bui\.(\w+): _\(", code)) | {"applyButton", "showListedButton"}
    assert len(in_code) > 15
    assert in_ui & in_code == set()


SHOWN = (
    "say",
    "errorsShown",
    "RuntimeError",
    "enable",
    "confirm",
    "openFile",
    "saveFile",
    "folder",
)
"""Functions whose texts a user reads."""


def untranslated(node: ast.AST) -> Iterator[str]:
    """Words in an expression that do not pass through the translation."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
        return
    if isinstance(node, ast.Subscript):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        words = re.sub(r"<[^>]*>?|&\w+;|[\w-]+:", "", node.value)
        if re.search(r"[A-Za-z]{2,}", words) and " " in node.value.strip():
            yield node.value
    for child in ast.iter_child_nodes(node):
        yield from untranslated(child)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_text_can_be_translated(source: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign):
            names = [t.attr for t in node.targets if isinstance(t, ast.Attribute)]
            if set(names) & {"text", "toolTip"}:
                found += untranslated(node.value)
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in SHOWN:
                found += [text for argument in node.args for text in untranslated(argument)]
    assert found == []


def test_the_check_for_translation_finds_what_is_not() -> None:
    for text in ('f"<b>{share}: not stable</b>"', '"Not stable."', 'x + " is not"'):
        assert list(untranslated(ast.parse(text))), text
    for text in ('_("Not stable.")', 'f"<b>{share}</b>"', 'f"color: {c};"', '"<br>".join(x)'):
        assert not list(untranslated(ast.parse(text))), text
