"""Joint-by-joint bone SPECT/CT uptake of the spine, for research.

The public functions are loaded when they are first used, so that importing the package needs
none of the optional packages.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from CTSpectSpineLib.version import __version__

_PUBLIC = {
    "InputError": "errors",
    "Options": "analysis.options",
    "Results": "analysis.results",
    "analyze": "analysis.pipeline",
    "build_joints": "joints",
    "compare": "triage_protocol",
    "label_vertebrae": "labelling",
    "measure_uptake": "analysis.pipeline",
    "register": "registration",
    "triage": "triage_protocol",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
