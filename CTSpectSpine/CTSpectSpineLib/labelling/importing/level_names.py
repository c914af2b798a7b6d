"""Names of vertebrae as programs and people write them."""

from __future__ import annotations

import re
from functools import cache

from CTSpectSpineLib import anatomy

_TOKEN = re.compile(r"(?<![a-z0-9])(th|[ctdls])\s?0?(\d{1,2})(?![0-9a-z])")
_NOT_A_VERTEBRA = re.compile(
    r"disc|disk|ivd|rib|nerve|root|endplate|body|bodies|canal|cord|facet|joint|foramen|muscle|arch"
)
_LONG = re.compile(r"(cervical|thoracic|lumbar) (?:vertebrae?|spine|level) (\d{1,2})$")
_INITIALS = {"cervical": "C", "thoracic": "T", "lumbar": "L"}


@cache
def level_of_name(name: str) -> str | None:
    """Vertebra, ``"sacrum"`` or hip that a class or segment name means; None for others.

    Understands TotalSegmentator's ``vertebrae_L5``, ``sacrum`` and ``hip_left``, ``L5``,
    ``L5 vertebra``, ``Th12`` and ``D12`` for T12, ``Lumbar vertebra 5``, and the SNOMED CT
    meanings (``Fifth lumbar vertebra``). Names of discs, ribs, nerves and parts are not taken.
    """
    text = re.sub(r"[_\-\s.]+", " ", name.lower()).strip()
    for row in anatomy.vertebrae():
        if text == row.meaning.lower():
            return row.name
    if _NOT_A_VERTEBRA.search(text):
        return None
    if re.search(r"\b(hip|os coxae|hip bone)\b", text):
        sides = re.findall(r"\b(left|right)\b", text)
        return f"hip_{sides[0]}" if len(sides) == 1 else None
    if re.search(r"\b(sacrum|os sacrum)\b", text):
        return anatomy.SACRUM
    long = _LONG.search(text)
    found = {(_INITIALS[long.group(1)], int(long.group(2)))} if long else _tokens(text)
    # "L4-L5" means what lies between two vertebrae.
    if len(found) != 1:
        return None
    letter, number = found.pop()
    level = f"{letter}{number}"
    return level if level in {row.name for row in anatomy.vertebrae()} else None


def _tokens(text: str) -> set[tuple[str, int]]:
    letters = {"th": "T", "d": "T"}
    return {(letters.get(a, a.upper()), int(b)) for a, b in _TOKEN.findall(text)}


def library_id(level: str) -> int:
    """Label id in this library of a vertebra, the sacrum or a hip."""
    hips = anatomy.hip_ids()
    return hips[level] if level in hips else anatomy.vertebra(level).id


def is_hip(level: str) -> bool:
    """Whether a name of `level_of_name` is a hip bone."""
    return level in anatomy.hip_ids()
