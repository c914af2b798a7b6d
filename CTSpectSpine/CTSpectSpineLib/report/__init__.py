"""Pictures and the page: what a person reads about an analysis.

What it offers is loaded at its first use: the plain numbers of this room, such as the course of the
spine, are also for those who draw nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from CTSpectSpineLib.report.page import write_report
    from CTSpectSpineLib.report.pdf import write_pdf
    from CTSpectSpineLib.report.pictures import draw_pictures

__all__ = ["draw_pictures", "write_pdf", "write_report"]

_PUBLIC = {"draw_pictures": "pictures", "write_pdf": "pdf", "write_report": "page"}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
