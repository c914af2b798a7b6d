"""Which body an SUV is for: weight, lean mass, surface or ideal weight.

They differ by tens of percent, so that one is never taken for another. PET files say it by SUVType
(DICOM PS3.3 C.8.9.1), real world value mappings by their unit (PS3.16 CID 85) or by the quantity
that they measure (CID 7180 and codes 126401 to 126406).
"""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from CTSpectSpineLib.volumes.dicom.tags import value, values
from CTSpectSpineLib.volumes.suv import OTHER_SUV, UNKNOWN_SUV

SUV_UNITS = ("SUV", *OTHER_SUV)
"""SUV by body weight, lean body mass, body surface area, ideal body weight, and unknown."""
_TYPES = {
    "BW": "SUV",
    "LBM": "SUL",
    "LBMJAMES128": "SUL",
    "LBMJANMA": "SUL",
    "BSA": "SUVbsa",
    "IBW": "SUVibw",
}
"""Values of SUVType. Standard: DICOM PS3.3 C.8.9.1."""
_QUANTITIES = {
    "126401": "SUV",
    "126402": "SUL",
    "126403": "SUVbsa",
    "126404": "SUVibw",
    "126405": "SUL",
    "126406": "SUL",
}
"""Codes of the quantity that is mapped. Standard: DICOM PS3.16 annex D."""
_IN_UNIT = re.compile(r"suv[\s_-]*(bw|lbm|bsa|ibw)")
"""What UCUM codes hold in braces."""
_BODIES = {"bw": "SUV", "lbm": "SUL", "bsa": "SUVbsa", "ibw": "SUVibw"}
_PLAIN = {"g/ml": "SUV", "cm2/ml": "SUVbsa"}
"""Units of SUV that do not say for which body; g/ml is body weight's unless a tag says otherwise
(PS3.3 C.8.9.1: so it is where SUVType is absent)."""
_PET = {"GML": "g/ml", "CM2ML": "cm2/ml"}


def stated_suv(header: Dataset) -> str:
    """Unit of `SUV_UNITS` that a PET file states; empty where it is in no SUV.

    A type that is not known is none of them, so that nothing takes it for a body-weight SUV.
    """
    plain = _PET.get(str(value(header, "Units") or "").strip().upper(), "")
    return _typed(header, plain) if plain else ""


def mapped_suv(mapping: Dataset, code: Dataset, header: Dataset) -> str:
    """The same of an item of RealWorldValueMappingSequence with the code of its unit."""
    stated = str(value(code, "CodeValue") or "").strip().lower()
    found = _IN_UNIT.search(stated)
    if found:
        return _BODIES[found.group(1)]
    if stated not in _PLAIN:
        return ""
    for quantity in values(mapping, "QuantityDefinitionSequence"):
        for concept in values(quantity, "ConceptCodeSequence"):
            known = _QUANTITIES.get(str(value(concept, "CodeValue") or ""))
            if known:
                return known
    found = _IN_UNIT.search(str(value(code, "CodeMeaning") or "").lower())
    return _BODIES[found.group(1)] if found else _typed(header, stated)


def _typed(header: Dataset, plain: str) -> str:
    kind = str(value(header, "SUVType") or "").strip().upper()
    if not kind:
        return _PLAIN[plain]
    return _TYPES.get(kind, UNKNOWN_SUV)
