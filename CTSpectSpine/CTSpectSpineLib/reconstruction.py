"""What is known of how a SPECT was reconstructed: given by the user, read from its header, or not.

Whether the camera's blur was modelled (resolution recovery) decides which response the measurement
takes (`uptake.response`); the rest is kept for the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from CTSpectSpineLib.errors import InputError

FamilyName = Literal["recovery", "no-recovery"]
FAMILIES: tuple[FamilyName, ...] = ("recovery", "no-recovery")
"""Words for a reconstruction with and without resolution recovery."""
GIVEN, HEADER, UNKNOWN = "given", "DICOM header", "not known"
"""Where the facts come from."""
_RANGES = {"iterations": (1, 500), "subsets": (1, 500), "filter_fwhm_mm": (0, 30)}
"""Least and most. Judgement: far beyond what is in use; only slips are refused."""
_RECOVERS = (
    "FLASH3D", "FLASH 3D", "EVOLUTION", "ASTONISH", "XSPECT", "WBR", "WIDE BEAM",
    "RESOLUTION RECOVERY", "HOSEM", "3DOSEM", "OSEM3D", "OSEM 3D", "3D-OSEM", "OSCG",
    "OSEM-RR", "OSEM RR", "OSEMRR", "CDR",
)  # fmt: skip
"""Words of a header that name a method with resolution recovery. From the makers' names for theirs:
Siemens Flash 3D and xSPECT, GE Evolution, Philips Astonish, UltraSPECT Wide Beam Reconstruction,
Hermes HOSEM. Judgement: the list is not complete; what it does not know stays unknown."""
_DOES_NOT = (
    "FBP",
    "FILTERED BACK",
    "BACKPROJECTION",
    "BACK PROJECTION",
    "OSEM2D",
    "OSEM 2D",
    "2D-OSEM",
)
"""Words of methods that cannot model the blur. By definition: they know no depth."""
_UNMISTAKABLE = tuple(
    "EVOLUTION FOR" if name == "EVOLUTION" else name for name in _RECOVERS if name != "CDR"
)
"""Those of `_RECOVERS` that mean nothing else in free text (the evolution of a pain, a dementia
rating)."""
_SHORT = 3
"""Letters of a name that may be a part of other words. Judgement."""
_RECOVERY = ("RESOLUTION RECOVERY", "RR", "CDR", "PSF")
"""The modelling of the blur in words; the short ones mean other things in free text."""
_ITERATIONS_SUBSETS = re.compile(
    r"(?<![\w.,-])(\d{1,3}) ?(?:I|IT|ITS|ITER) ?,? ?(\d{1,3}) ?(?:S|SS|SUB|SUBS)(?![A-Z0-9])"
)
_SUBSETS_ITERATIONS = re.compile(
    r"(?<![\w.,-])(\d{1,3}) ?(?:S|SS|SUB|SUBS) ?,? ?(\d{1,3}) ?(?:I|IT|ITS|ITER)(?![A-Z0-9])"
)
"""Iterations and subsets in short, as in ``8i4s`` (Siemens): alone, ``8s`` may be seconds."""
_COUNT_WORDS = {"iterations": "ITERATIONS?|ITERS?", "subsets": "SUBSETS?"}
_ANY_COUNT = "(?<![A-Z])(?:" + "|".join(_COUNT_WORDS.values()) + ")(?![A-Z])"
_WIDTH = r"(\d{1,2}(?:\.\d{1,3})?)"
_GAUSSIAN_MM = re.compile(
    r"(?:GAUSS(?:IAN)?|FWHM|(?<![A-Z])G)(?: ?3D)?[ :=]{0,3}(?:FWHM[ :=]{0,3})?"
    rf"{_WIDTH} ?MM(?![A-Z])"
    rf"|(?<![\w.,-]){_WIDTH} ?MM ?(?:FWHM|GAUSS)"
)
_GAUSSIAN_BARE = re.compile(rf"GAUSS(?:IAN)?(?: ?3D)? ?{_WIDTH}(?![\d.]| ?[A-Z%])")
_G_BARE = re.compile(rf"(?<![A-Z])G{_WIDTH}(?![\d.]| ?[A-Z%])")
"""A Gaussian filter's width; without a unit as Siemens writes it (``XYZ Gauss5.00``, ``G8.40``)."""
_NO_WIDTH = re.compile(r"SIGMA|(?<![A-Z])STD|PIXEL|VOXEL|CYCLES|NYQUIST")
"""Words by which a number beside a filter may be another one than its FWHM in mm."""
_OF_SIEMENS = re.compile(r"FLASH ?3D|XSPECT|XYZ GAUSS")


@dataclass(frozen=True)
class ReconstructionFacts:
    """Facts of a reconstruction; None where they are not known.

    Attributes
    ----------
    family
        ``recovery`` where the camera's blur was modelled, ``no-recovery`` where not.
    source
        `GIVEN`, `HEADER` or `UNKNOWN`: where the family comes from.
    stated
        The words it was read from: a file's name, or the header's.
    iterations, subsets, filter_fwhm_mm
        Of the reconstruction and its Gaussian post filter.
    attenuation_correction, scatter_correction
        Whether they were made.
    """

    family: FamilyName | None = None
    source: str = UNKNOWN
    stated: str = ""
    iterations: int | None = None
    subsets: int | None = None
    filter_fwhm_mm: float | None = None
    attenuation_correction: bool | None = None
    scatter_correction: bool | None = None

    def record(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


_FACTS = tuple(
    f.name for f in fields(ReconstructionFacts) if f.name not in ("family", "source", "stated")
)


def given_reconstruction(text: str) -> ReconstructionFacts:
    """Facts as the user gives them: a family's name, or a JSON file.

    The file may hold ``resolution_recovery``, ``iterations``, ``subsets``, ``filter_fwhm_mm``,
    ``attenuation_correction`` and ``scatter_correction``.

    Raises
    ------
    InputError
        If it is neither, or a value is impossible.
    """
    for name in FAMILIES:
        if text == name:
            return ReconstructionFacts(name, GIVEN, text)
    path = Path(text)
    if path.suffix.lower() != ".json":
        raise InputError(
            f"The reconstruction '{text}' is not known; give {' or '.join(FAMILIES)},"
            " or a JSON file."
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"The reconstruction file '{path.name}' cannot be read; check it."
        ) from error
    except ValueError as error:
        raise InputError(
            f"The reconstruction file '{path.name}' is not valid JSON; mend it."
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"The reconstruction file '{path.name}' must hold names with values.")
    return _from_values(values, path.name)


def _from_values(values: dict[str, Any], name: str) -> ReconstructionFacts:
    allowed = ("resolution_recovery", *_FACTS)
    for key, value in values.items():
        if key not in allowed:
            raise InputError(
                f"The reconstruction file '{name}' holds '{key}', which is not known; use "
                f"{', '.join(allowed)}."
            )
        if value is None:
            continue
        if key not in _RANGES:
            if not isinstance(value, bool):
                raise InputError(
                    f"The reconstruction file '{name}' has {key} {value!r}; give true or false."
                )
            continue
        low, high = _RANGES[key]
        whole = key != "filter_fwhm_mm"
        kind = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
            raise InputError(
                f"The reconstruction file '{name}' has {key} {value!r}; give {low} to {high}"
                f"{', a whole number' if whole else ''}."
            )
    recovery = values.get("resolution_recovery")
    family: FamilyName | None = None
    if recovery is not None:
        family = "recovery" if recovery else "no-recovery"
    known = {key: values[key] for key in _FACTS if values.get(key) is not None}
    return ReconstructionFacts(family, GIVEN if family else UNKNOWN, name, **known)


def read_reconstruction(
    method: str,
    filter_words: str = "",
    corrections: Iterable[str] = (),
    *,
    comments: str = "",
    manufacturer: str = "",
) -> ReconstructionFacts:
    """Facts from a DICOM header; numbers only where its words leave no doubt.

    Parameters
    ----------
    method, filter_words
        Method and filter as worded there.
    corrections
        DICOM's list of the corrections applied; where there is none, nothing is known of them.
    comments
        Free text of the header, asked for what method and filter do not tell. It may name the
        patient: of it, only a method's name is kept.
    manufacturer
        As worded there.
    """
    words, more = _plain(f"{method} {filter_words}"), _plain(comments)
    family, named = _family(words, _RECOVERS, _RECOVERY)
    stated = " ".join(filter(None, (method, filter_words)))
    if family is None and not named:
        family, named = _family(more, _UNMISTAKABLE, _RECOVERY[:1])
        stated = named
    texts = (words, more)
    siemens = "SIEMENS" in manufacturer.upper()
    applied = {str(word).upper() for word in corrections}
    return ReconstructionFacts(
        family,
        HEADER if family else UNKNOWN,
        stated if family else "",
        _first(_counts(text, "iterations") for text in texts),
        _first(_counts(text, "subsets") for text in texts),
        _first(_widths_mm(text, siemens=siemens) for text in texts),
        attenuation_correction=("ATTN" in applied) if applied else None,
        scatter_correction=("SCAT" in applied) if applied else None,
    )


_Number = TypeVar("_Number", int, float)


def _first(found: Iterable[set[_Number]]) -> _Number | None:
    """The number that the first text with any tells; None where it tells several."""
    told = next(filter(None, found), set())
    return next(iter(told)) if len(told) == 1 else None


def _plain(text: str) -> str:
    return re.sub(r"[\s_/\\\\|]+", " ", text.upper()).strip()


def _family(
    text: str, recovering: Iterable[str], recovery: Iterable[str]
) -> tuple[FamilyName | None, str]:
    """The family that a text tells, and the words that do; words alone where they contradict."""
    what = f"(?:{'|'.join(recovery)})"
    # Whatever the method is called, the blur is not modelled where it is switched off.
    if switched_off := re.search(
        rf"(?<![A-Z])(?:NO|NON|WITHOUT|W O)[ -]+{what}(?![A-Z])"
        rf"|(?<![A-Z]){what} ?[:=]? ?(?:OFF|NO|NONE|FALSE)(?![A-Z])",
        text,
    ):
        return "no-recovery", switched_off.group().strip()
    with_it, without = _named(text, recovering), _named(text, _DOES_NOT)
    if with_it and without:
        return None, f"{with_it} {without}"
    if with_it:
        return "recovery", with_it
    return ("no-recovery" if without else None), without


def _named(text: str, names: Iterable[str]) -> str:
    """The first of the names in a text; letters beside a short one make it another word."""
    for name in names:
        edges = ("(?<![A-Z])", "(?![A-Z])") if len(name) <= _SHORT else ("", "")
        if re.search(edges[0] + re.escape(name) + edges[1], text):
            return name
    return ""


def _counts(text: str, what: Literal["iterations", "subsets"]) -> set[int]:
    """All numbers of iterations or subsets that a text tells."""
    pairs = [(int(m[1]), int(m[2])) for m in _ITERATIONS_SUBSETS.finditer(text)]
    pairs += [(int(m[2]), int(m[1])) for m in _SUBSETS_ITERATIONS.finditer(text)]
    if pairs:
        found = {pair[what == "subsets"] for pair in pairs}
    else:
        # All counts of a text stand on the same side of their words as the first does.
        first = re.search(_ANY_COUNT, text)
        before = first is not None and re.search(r"(?<![\w.,-])\d{1,3}\s*$", text[: first.start()])
        pattern = (
            rf"(?<![\w.,-])(\d{{1,3}})\s*(?:{_COUNT_WORDS[what]})(?![A-Z0-9])"
            if before
            else rf"(?<![A-Z0-9])(?:{_COUNT_WORDS[what]})\s*[:=]?\s*(\d{{1,3}})(?![\w.]|,\d)"
        )
        found = {int(number) for number in re.findall(pattern, text)}
    low, high = _RANGES[what]
    return {number for number in found if low <= number <= high}


def _widths_mm(text: str, *, siemens: bool) -> set[float]:
    """All widths (FWHM) of Gaussian filters that a text tells, mm."""
    if _NO_WIDTH.search(text):
        return set()
    found = [m[1] or m[2] for m in _GAUSSIAN_MM.finditer(text)]
    if not found and (siemens or _OF_SIEMENS.search(text)):
        found = [m[1] for m in _GAUSSIAN_BARE.finditer(text)]
        if _ITERATIONS_SUBSETS.search(text):
            found += [m[1] for m in _G_BARE.finditer(text)]
    low, high = _RANGES["filter_fwhm_mm"]
    return {float(width) for width in found if low <= float(width) <= high}
