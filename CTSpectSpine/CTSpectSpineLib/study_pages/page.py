"""One self-contained page of sections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from CTSpectSpineLib.study_pages.content import Figure, Section
from CTSpectSpineLib.version import __version__

_HERE = Path(__file__).parent


def render(title: str, lead: str, sections: Sequence[Section], files: Sequence[str] = ()) -> str:
    """HTML of a page.

    Parameters
    ----------
    title, lead
        Heading and the sentence below it.
    files
        Tables that hold the same numbers.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.tests["figure"] = lambda part: isinstance(part, Figure)
    return environment.get_template("page.html").render(
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        title=title,
        lead=lead,
        sections=sections,
        files=files,
        version=__version__,
    )
