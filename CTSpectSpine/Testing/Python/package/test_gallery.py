"""The gallery's page shows the very lines of docs/gallery.py that make its pictures.

Run as a program, it writes the code blocks of the page again.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

DOCS = Path(__file__).resolve().parents[4] / "docs"
BLOCK = re.compile(r"<!-- gallery\.py: (\w+) -->\n```python\n(.*?)```", re.DOTALL)


def section(name: str) -> str:
    """Lines of a section of docs/gallery.py, without their common indentation."""
    text = (DOCS / "gallery.py").read_text(encoding="utf-8")
    start, end = (f"# --8<-- [{where}:{name}]" for where in ("start", "end"))
    found = text[text.index(start) + len(start) + 1 : text.index(end)]
    return textwrap.dedent(found.rstrip(" "))


def written(page: str) -> str:
    """The page with its code blocks taken from docs/gallery.py."""
    return BLOCK.sub(lambda m: f"<!-- gallery.py: {m[1]} -->\n```python\n{section(m[1])}```", page)


def test_page_and_code_agree() -> None:
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert len(BLOCK.findall(page)) == 5
    assert written(page) == page, f"run python {Path(__file__).name}"


def test_pictures_are_there_and_small() -> None:
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    names = re.findall(r"\((images/gallery_\w+\.png)\)", page)
    assert len(names) == 5
    assert sum((DOCS / name).stat().st_size for name in names) < 1_500_000


if __name__ == "__main__":
    path = DOCS / "gallery.md"
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
