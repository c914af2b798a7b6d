"""Engines that label vertebrae on a CT: what each one offers, and which are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.progress import ProgressCallback

LabelFunction = Callable[[sitk.Image, str | None, ProgressCallback], VertebraLabels]


@dataclass(frozen=True)
class Engine:
    """A labelling engine.

    Attributes
    ----------
    name
        As the user asks for it.
    label
        Labels a CT; gets the CT, the user's anchor (``"L5@x,y,z"``) or None, and progress.
    missing
        Says in one sentence what is missing to run it; empty when it can run.
    """

    name: str
    label: LabelFunction
    missing: Callable[[], str]


_ENGINES: dict[str, Engine] = {}


def register_engine(engine: Engine) -> None:
    """Make an engine known; engines registered first are preferred by ``auto``."""
    _ENGINES[engine.name] = engine


def available_engines() -> tuple[str, ...]:
    """Names of the engines that can run here, the preferred one first."""
    return tuple(name for name, engine in _ENGINES.items() if not engine.missing())


def engine_by_name(name: str) -> Engine:
    """The engine of a name, or for ``auto`` the first that can run.

    Raises
    ------
    InputError
        If it does not exist or cannot run here.
    """
    available = available_engines()
    offer = f"available: {', '.join(available)}" if available else "none is available here"
    if name == "auto":
        if not available:
            raise InputError(
                "No labeller is available here, so the vertebrae must be labelled already: give "
                "a label map with --vertebrae."
            )
        return _ENGINES[available[0]]
    if name not in _ENGINES:
        raise InputError(
            f"There is no labeller '{name}' ({offer}); give a label map with --vertebrae, or "
            "the name of one that is available."
        )
    missing = _ENGINES[name].missing()
    if missing:
        raise InputError(f"Labeller '{name}' cannot run: {missing} ({offer}).")
    return _ENGINES[name]
