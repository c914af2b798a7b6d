"""Labellers of vertebrae on a CT: what each one offers, and which are available."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling.anchor import Anchor
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.progress import ProgressCallback

LabelFunction = Callable[[sitk.Image, Anchor | None, ProgressCallback], VertebraLabels]

_MODULES = ("totalsegmentator", "builtin")
"""Modules of this package that register one labeller each when they are imported; those that
``auto`` prefers come first. Importing one must not need the packages that its labeller needs."""


@dataclass(frozen=True)
class Settings:
    """What the user asks of a labeller; one that has no such choice ignores it.

    Attributes
    ----------
    device
        ``auto``, ``cpu``, ``gpu``, ``gpu:1`` … or ``mps``.
    fast
        Prefer speed to detail.
    """

    device: str = "auto"
    fast: bool = False


@dataclass(frozen=True)
class Engine:
    """A labeller.

    Attributes
    ----------
    name
        As the user asks for it.
    label
        Labels a CT; gets the CT in HU, the user's anchor or None, and progress. A labeller may
        ignore the anchor: the levels are counted from it afterwards in any case.
    missing
        Says in one sentence, without a full stop, what is missing to run it and how to get it;
        empty when it can run.
    variant
        The labeller with other settings than the usual ones; None where it has no choice.
    """

    name: str
    label: LabelFunction
    missing: Callable[[], str]
    variant: Callable[[Settings], Engine] | None = None


USUAL = Settings()
_ENGINES: dict[str, Engine] = {}


def register_engine(engine: Engine) -> None:
    """Make a labeller known; those registered first are preferred by ``auto``."""
    _ENGINES[engine.name] = engine


def engines(settings: Settings = USUAL) -> dict[str, Engine]:
    """All labellers by name, the preferred one first."""
    for module in _MODULES:
        import_module(f"CTSpectSpineLib.labelling.{module}")
    return {
        name: engine.variant(settings) if engine.variant else engine
        for name, engine in _ENGINES.items()
    }


def available_engines() -> tuple[str, ...]:
    """Names of the labellers that can run here, the preferred one first."""
    return tuple(name for name, engine in engines().items() if not engine.missing())


def engine_by_name(name: str, settings: Settings = USUAL) -> Engine:
    """The labeller of a name, or for ``auto`` the first that can run.

    Raises
    ------
    InputError
        If it does not exist or cannot run here.
    """
    known = engines(settings)
    missing = {key: engine.missing() for key, engine in known.items()}
    available = [key for key in known if not missing[key]]
    offer = f"available: {', '.join(available)}" if available else "none is available here"
    if name == "auto":
        if not available:
            why = "".join(f" {key}: {words}." for key, words in missing.items())
            raise InputError(
                "No labeller is available here, so the vertebrae must be labelled already: give "
                f"a label map with --vertebrae.{why}"
            )
        return known[available[0]]
    if name not in known:
        raise InputError(
            f"There is no labeller '{name}' ({offer}); give a label map with --vertebrae, or "
            "the name of one that is available."
        )
    if missing[name]:
        raise InputError(f"Labeller '{name}' cannot run: {missing[name]} ({offer}).")
    return known[name]
