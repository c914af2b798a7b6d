"""What is known of how a SPECT was reconstructed: given by the user, read from its header, or not.

Whether the camera's blur was modelled (resolution recovery) decides which response the measurement
takes (`uptake.response`); the rest is kept for the record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

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
    method: str, filter_words: str = "", corrections: Iterable[str] = ()
) -> ReconstructionFacts:
    """Facts from a DICOM header.

    Parameters
    ----------
    method, filter_words
        Method and filter as worded there.
    corrections
        DICOM's list of the corrections applied; where there is none, nothing is known of them.
    """
    words = f"{method} {filter_words}".upper()
    family: FamilyName | None = None
    if any(word in words for word in _RECOVERS):
        family = "recovery"
    elif any(word in words for word in _DOES_NOT):
        family = "no-recovery"
    applied = {str(word).upper() for word in corrections}
    return ReconstructionFacts(
        family,
        HEADER if family else UNKNOWN,
        " ".join(filter(None, (method, filter_words))) if family else "",
        attenuation_correction=("ATTN" in applied) if applied else None,
        scatter_correction=("SCAT" in applied) if applied else None,
    )
