"""Names, order and label ids of the vertebrae.

Label ids are those of TotalSegmentator's ``total`` task (version 2); it has none for a sixth
lumbar and a thirteenth thoracic vertebra, which get 118 and 119 here. The tables are in
``data/anatomy.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

SACRUM = "sacrum"
TRANSITIONAL = ("T12", "T13", "L5", "L6")
"""Vertebrae that a spine may lack or have besides the usual ones (transitional anatomy)."""
SUPERNUMERARY = ("T13", "L6")
"""Those of them that a usual spine does not have."""
SACRAL = ("S1", SACRUM)
"""Labels of the sacrum: its first segment, and all of it."""
NUMBERINGS = ("totalsegmentator", "totalsegmentator_v1", "totalsegmentator_v3", "verse", "spineps")
"""Numberings of vertebrae in label maps that can be read."""
LABEL_SCHEMES = ("auto", *NUMBERINGS)
"""What a user can choose; ``auto`` tells a numbering by the numbers and where they lie."""
REFERENCE_BONES = ("vertebral_bodies", "sacrum", "iliac", "contralateral")
"""Bone that uptake is compared with, the usual one first; ``contralateral`` is the joint on the
other side."""
_TABLE = Path(__file__).parent / "data" / "anatomy.json"


@dataclass(frozen=True)
class Vertebra:
    """One row of the vertebra table.

    Attributes
    ----------
    name
        ``"C1"`` … ``"L6"``, ``"S1"``, ``"sacrum"``.
    region
        ``cervical``, ``thoracic``, ``lumbar`` or ``sacral``.
    id
        Label id used by this library.
    totalsegmentator_v1, verse
        Id in TotalSegmentator version 1 and in the VerSe challenge; None where there is none.
    meaning, sct
        SNOMED CT meaning and code; the code is None where none is known.
    """

    name: str
    region: str
    id: int
    meaning: str
    totalsegmentator_v1: int | None = None
    verse: int | None = None
    sct: str | None = None


@cache
def vertebrae() -> tuple[Vertebra, ...]:
    """All vertebrae, cranial to caudal, the sacrum last."""
    rows = json.loads(_TABLE.read_text(encoding="utf-8"))["vertebrae"]
    return tuple(Vertebra(**row) for row in rows)


@cache
def vertebra(name: str) -> Vertebra:
    """Look a vertebra up by name.

    Raises
    ------
    KeyError
        If there is no such vertebra.
    """
    for row in vertebrae():
        if row.name == name:
            return row
    raise KeyError(name)


@cache
def hip_ids() -> dict[str, int]:
    """Label ids of the hip bones: ``{"hip_left": 77, "hip_right": 78}``."""
    rows = json.loads(_TABLE.read_text(encoding="utf-8"))["hips"]
    return {row["name"]: row["id"] for row in rows}


@cache
def name_of_id(label: int) -> str | None:
    """Name of the vertebra with this library's label id, None for other ids."""
    return next((row.name for row in vertebrae() if row.id == label), None)


def sort_levels(names: Iterable[str]) -> tuple[str, ...]:
    """Sort vertebra names cranial to caudal."""
    order = {row.name: i for i, row in enumerate(vertebrae())}
    return tuple(sorted(names, key=order.__getitem__))


def spine_region(upper: str) -> str:
    """Spine region of the joint below a vertebra: C7-T1 is cervical, T12-L1 thoracic."""
    return vertebra(upper).region


def level_name(upper: str, lower: str) -> str:
    """Name of a motion segment, ``"L4-L5"``; the sacrum counts as S1."""
    return f"{upper}-{'S1' if lower == SACRUM else lower}"


@cache
def usual_levels() -> tuple[str, ...]:
    """Names of the vertebrae of a usual spine, cranial to caudal, with S1 and sacrum."""
    return tuple(row.name for row in vertebrae() if row.name not in SUPERNUMERARY)


def neighbouring_pairs(present: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of vertebrae that form motion segments, cranial to caudal.

    Optional vertebrae (T12, T13, L5, L6: transitional anatomy) may be absent without breaking
    the sequence, so T11-L1 or L4-S1 are pairs when nothing lies between; any other gap is not
    bridged. S1 and sacrum are one bone: S1 is preferred for the pair where both are labelled.
    """
    names = [n for n in sort_levels(set(present)) if n not in ("S1", SACRUM)]
    sacral = "S1" if "S1" in set(present) else SACRUM if SACRUM in set(present) else None
    chain = [*names, sacral] if sacral else names
    order = [row.name for row in vertebrae() if row.name != SACRUM]
    index = {name: i for i, name in enumerate(order)} | {SACRUM: len(order) - 1}
    pairs = []
    for upper, lower in pairwise(chain):
        between = order[index[upper] + 1 : index[lower]]
        if set(between) <= set(TRANSITIONAL):
            pairs.append((upper, lower))
    return tuple(pairs)
