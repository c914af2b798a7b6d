"""Numbers and names in the documents are those that the software gives."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path
from types import ModuleType

import pytest

from CTSpectSpineLib import ct_sign
from CTSpectSpineLib.joint_columns import COLUMNS
from CTSpectSpineLib.results.folder import ANALYSIS_FILES

DOCS = Path(__file__).resolve().parents[4] / "docs"
NUMBER = re.compile(r"[-−]?\d+(?:\.\d+)?")


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("worked_example", DOCS / "worked_example.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(one: str, other: str) -> bool:
    """Whether two lines have the same words, and numbers that differ in rounding only."""
    if NUMBER.sub("#", one).split() != NUMBER.sub("#", other).split():
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.02, abs_tol=0.02) for a, b in pairs)


@pytest.mark.slow
def test_the_worked_example_prints_what_the_page_says(shared_data: Path) -> None:
    module = example()
    page = text("usage.md")
    said = module.printed(page)
    fresh = module.lines_for(said, module.run(page, shared_data))
    pairs = list(zip(said.splitlines(), fresh.splitlines(), strict=True))
    assert len(pairs) > 6
    wrong = [(old, new) for old, new in pairs if not same(old, new)]
    assert not wrong, f"run python docs/worked_example.py: {wrong}"


def test_lines_are_compared_by_words_and_numbers() -> None:
    assert same("L4-L5 disc  4.05  3.49 to 4.73", "L4-L5 disc  4.06  3.49 to 4.73")
    assert not same("L4-L5 disc  4.05  3.49 to 4.73", "L4-L5 disc  4.55  3.49 to 4.73")
    assert not same("L4-L5 disc  4.05 positive", "L4-L5 disc  4.05 negative")


def test_every_file_and_column_of_the_results_is_described() -> None:
    page = text("results.md")
    files, columns = page.split("## `joints.csv`")
    named = set(re.findall(r"`([\w.]+\.(?:json|nrrd|nii\.gz|csv|tfm|html|pdf|mrb))`", files))
    assert set(ANALYSIS_FILES) <= named
    described = set(re.findall(r"`(\w+)`", columns))
    assert set(COLUMNS) <= described, set(COLUMNS) - described
    described = set(re.findall(r"`(\w+)`", columns.split("## `ct_signs.csv`")[1]))
    assert set(ct_sign.COLUMNS) <= described, set(ct_sign.COLUMNS) - described


def test_a_scene_is_promised_only_where_it_is_asked_for() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for page in (readme, text("index.md")):
        for sentence in re.findall(r"[^.]*Slicer scene[^.]*\.", page):
            assert "--save-scene" in sentence


@pytest.mark.parametrize("page", ["uptake-families.md", "uptake-other-scanner.md"])
def test_what_is_said_of_missed_joints_and_verdicts_is_what_the_study_found(page: str) -> None:
    """Sums over the reconstructions of a page of the study of uptake."""
    said = " ".join(text("uptake.md").split())
    whole = text(f"validation/{page}")
    classes, verdicts = (
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines()[1:]]
        for part in whole.split("## ")
        if part.startswith(("Classes", "Verdicts"))
    )
    counted = [row for row in classes if len(row) == 8 and " of " in row[2]]
    missed, hot = _sum_of(counted, 2)
    wrong, ordinary = _sum_of(counted, 4)
    positive = sum(int(row[3]) for row in counted)
    judged = [[int(cell) for cell in row[1:]] for row in verdicts if row[1:2] and row[1].isdigit()]
    scans, right, withheld, against, confident = (sum(row[n] for row in judged) for n in range(5))
    patients = re.search(r"^(\d+) patients, ", whole, re.MULTILINE)
    assert patients is not None
    assert (
        f"{patients[1]} patients: {positive} of {hot} positive and {missed} negative; {wrong} of"
        f" {ordinary} ordinary ones positive; verdict right in {right} of {scans} scans, withheld"
        f" in {withheld}, wrong in {against}, of which {confident} called stable"
    ) in said


def _sum_of(rows: list[list[str]], column: int) -> tuple[int, int]:
    """Sums of a column that says ``n of m``."""
    pairs = [row[column].split(" of ") for row in rows]
    return sum(int(a) for a, _ in pairs), sum(int(b) for _, b in pairs)
