"""Modules, functions and files that the documents name are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATH = re.compile(r"`((?:[\w-]+/)*[\w.-]+\.(?:py|json|ui|onnx))`")
OWN = frozenset({".ci", ".github", "CTSpectSpine", "benchmarks", "docs", "training"})
SLICER = re.compile(r"`(Base|Libs|Modules)/")
"""Lines that name files of Slicer's sources."""
WRITTEN = frozenset(
    {"manifest.json", "registration.json", "verdict.json", "vertebrae.json", "truth.json"}
    | {"index.json", "context.json", "patient.json", "my.json", "toy_labeller.py"}
    | {"outcomes.json", "summary.json", "diagnostic.json", "agreement.json"}
    | {".ctspectspine-files.json", "pictures/index.json", "reading.json"}
)
"""Files that the software or its user writes, and one that is named as an example."""


def resolved(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_the_library_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = set(re.findall(r"\bCTSpectSpineLib(?:\.\w+)+", text))
    assert [name for name in sorted(names) if not resolved(name)] == []


def test_files_of_the_project_exist() -> None:
    """A file that a page names lies somewhere in the project, at the end of a path."""
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name in OWN]
    files = [*ROOT.iterdir(), *(path for folder in folders for path in folder.rglob("*"))]
    ends = {f"/{path.relative_to(ROOT).as_posix()}" for path in files}
    missing = []
    for page in PAGES:
        lines = page.read_text(encoding="utf-8").splitlines()
        text = "\n".join(line for line in lines if not SLICER.search(line))
        for name in sorted(set(PATH.findall(text)) - WRITTEN):
            if not any(end.endswith(f"/{name}") for end in ends):
                missing.append(f"{page.name} names {name}")
    assert missing == []
