"""Modules, functions and files that the documents name are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATH = re.compile(r"`((?:[\w-]+/)*[\w.-]+\.(?:py|json|ui|onnx))`")
WRITTEN = frozenset(
    {"manifest.json", "registration.json", "verdict.json", "vertebrae.json", "truth.json"}
    | {"index.json", "context.json", "patient.json", "my.json", "toy_labeller.py"}
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
    tracked = [path for path in ROOT.rglob("*") if path.is_file() and ".git" not in path.parts]
    ends = {path.as_posix() for path in tracked}
    missing = []
    for page in PAGES:
        for name in sorted(set(PATH.findall(page.read_text(encoding="utf-8"))) - WRITTEN):
            foreign = page.name == "developer.md" and name.startswith(("Base/", "Modules/"))
            if not foreign and not any(end.endswith(f"/{name}") for end in ends):
                missing.append(f"{page.name} names {name}")
    assert missing == []
