"""Markdown and numbers in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

Pictures = Mapping[str, str]
"""File names of the plots by subject."""
_ALIGN = {"l": "---", "r": "---:"}


def table(heads: str, align: str, lines: Iterable[Sequence[str]]) -> str:
    """A table; `heads` are separated by bars, `align` has an l or r for each column."""
    rows = [heads.split("|"), [_ALIGN[a] for a in align], *map(list, lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def picture(pictures: Pictures, subject: str, words: str) -> str:
    """A picture, if it was drawn."""
    return f"![{words}]({pictures[subject]})" if subject in pictures else ""


def join(*parts: str) -> str:
    """Paragraphs, the empty ones left out."""
    return "\n\n".join(part for part in parts if part)


def short(text: str, most: int = 110) -> str:
    """A text that fits into a cell."""
    text = " ".join(text.replace("|", "/").split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def number(value: float | None, digits: int = 2) -> str:
    """A number in a table; a dash where there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def percent(value: float, digits: int = 1) -> str:
    """A share in percent."""
    return "–" if not np.isfinite(value) else f"{100 * value:.{digits}f} %"


def signed(value: float) -> str:
    """A relative error in percent, with its sign."""
    return "–" if not np.isfinite(value) else f"{100 * value:+.1f} %".replace("-", "−")
