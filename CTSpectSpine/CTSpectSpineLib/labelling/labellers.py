"""Labellers of vertebrae on a CT: what each one offers, and which are available.

A labeller from outside joins through the entry point group ``ctspectspine.labellers``: the entry
point names a `Labeller`, or a function without arguments that makes one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata

import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling.levels.anchor import Anchor
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.progress import ProgressCallback

LabelFunction = Callable[[sitk.Image, Anchor | None, ProgressCallback], VertebraLabels]

GROUP = "ctspectspine.labellers"
"""Entry point group of labellers from outside."""
_MODULES = ("totalsegmentator.labeller", "builtin.labeller")
"""Modules of this package that register one labeller each, by the name of their folder, when they
are imported; those that ``auto`` prefers come first. Importing one must not need the packages that
its labeller needs."""


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
class Labeller:
    """A labeller of vertebrae.

    Attributes
    ----------
    name
        As the user asks for it.
    label
        Labels a CT; gets the CT in HU, the user's anchor or None, and progress. It may use the
        anchor or not: the levels are counted from it afterwards in any case.
    missing
        Says in one sentence, without a full stop, what is missing to run it and how to get it;
        empty when it can run.
    variant
        The labeller with other settings than the usual ones; None where it has no choice.
    found
        Says in one sentence, without a full stop, what would run; None where its name says all.
    """

    name: str
    label: LabelFunction
    missing: Callable[[], str]
    variant: Callable[[Settings], Labeller] | None = None
    found: Callable[[], str] | None = None


USUAL = Settings()
_LABELLERS: dict[str, Labeller] = {}


def register_labeller(labeller: Labeller) -> None:
    """Make a labeller known; after the package's own, those registered first are preferred."""
    _LABELLERS[labeller.name] = labeller


def labellers(settings: Settings = USUAL) -> dict[str, Labeller]:
    """All labellers by name, the preferred one first, those from outside last."""
    for module in _MODULES:
        import_module(f"CTSpectSpineLib.labelling.{module}")
    known = {**_from_outside(), **_LABELLERS}
    # Not the order of registration: which module is imported first is up to the caller.
    own = [module.split(".")[0] for module in _MODULES]
    ordered = [known[name] for name in (*own, *_LABELLERS, *known)]
    return {one.name: one.variant(settings) if one.variant else one for one in ordered}


@cache
def _from_outside() -> dict[str, Labeller]:
    """Labellers of the entry points; one that cannot be loaded says so instead of running."""
    found = {}
    for point in metadata.entry_points(group=GROUP):
        try:
            offered = point.load()
            labeller = offered if isinstance(offered, Labeller) else offered()
            if not isinstance(labeller, Labeller):
                raise TypeError(f"{point.value} gives no Labeller")
        # Whatever another package raises must not stop the labellers that work.
        except Exception as error:
            labeller = _broken(point.name, f"its package cannot be used ({error})")
        found[labeller.name] = labeller
    return found


def _broken(name: str, why: str) -> Labeller:
    def refuse(*_: object) -> VertebraLabels:
        raise InputError(f"Labeller '{name}' cannot run: {why}.")

    return Labeller(name, refuse, lambda: why)


def available_labellers() -> tuple[str, ...]:
    """Names of the labellers that can run here, the preferred one first."""
    return tuple(name for name, labeller in labellers().items() if not labeller.missing())


def engine_check(settings: Settings = USUAL) -> dict[str, str]:
    """Labeller to one sentence: with what it can run, or what is missing and how to get it.

    The key ``auto`` says which one would be taken.
    """
    known = labellers(settings)
    said: dict[str, str] = {}
    for name, one in known.items():
        missing = one.missing()
        with_what = one.found() if one.found is not None and not missing else ""
        ready = f"ready: {with_what}" if with_what else "ready"
        said[name] = f"cannot run: {missing}." if missing else f"{ready}."
    best = next((name for name, one in known.items() if not one.missing()), None)
    said["auto"] = "none can run here." if best is None else why_chosen(best, settings)
    return said


def why_chosen(name: str, settings: Settings = USUAL) -> str:
    """Why ``auto`` takes a labeller: one sentence, with what those it prefers lack."""
    lacking = []
    for key, one in labellers(settings).items():
        if key == name:
            break
        lacking.append(f"{key} cannot run: {one.missing()}")
    since = f", since {'; '.join(lacking)}" if lacking else ""
    return f"Labeller chosen automatically: {name}{since}."


def labeller_by_name(name: str, settings: Settings = USUAL) -> Labeller:
    """The labeller of a name, or for ``auto`` the first that can run.

    Raises
    ------
    InputError
        If it does not exist or cannot run here.
    """
    known = labellers(settings)
    missing = {key: labeller.missing() for key, labeller in known.items()}
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
