"""Label schemes: which number means which vertebra, and which scheme a label map follows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.model import FloatArray

SCHEMES = anatomy.NUMBERINGS
_LARGEST_ID = {
    "totalsegmentator": 117,
    "totalsegmentator_v1": 104,
    "totalsegmentator_v3": 117,
    "verse": 28,
    "spineps": 228,
}
"""Largest number of each scheme. Standard: class ids of TotalSegmentator, VerSe and SPINEPS."""
_DISC, _ENDPLATE = 100, 200
"""Added to a vertebra's number for the disc below it and for its endplates. Standard: SPINEPS'
vertebra maps (Möller et al. 2024, doi 10.1007/s00330-024-11155-y)."""
_SUBREGIONS = range(41, 65)
"""Numbers of parts of vertebrae (arch 41 to rib 64) in SPINEPS' subregion maps. Standard."""
_MANY_LABELS = 5
"""Judgement: with so many labels and one vertebra only, that one is a coincidence."""
_LARGEST_MISFIT = 1.0
"""Misfit above which a scheme does not explain a map. Measured on real maps: 0.06 to 0.17."""
_LEAST_MARGIN = 0.12
"""Difference in misfit below which two schemes cannot be told apart. Judgement: about the spread of
the misfit on real maps."""


@dataclass(frozen=True)
class LabelledBlob:
    """One label of a map: its centre (LPS mm) and volume (mm³)."""

    centre_mm: FloatArray
    volume_mm3: float


@dataclass(frozen=True)
class Detection:
    """Which scheme a map follows.

    Attributes
    ----------
    scheme
        The scheme that fits best.
    certain
        Whether no other scheme fits about as well.
    doubt
        A sentence on what else it could be; empty when certain.
    """

    scheme: str
    certain: bool
    doubt: str = ""


@cache
def scheme_table(scheme: str) -> Mapping[int, str]:
    """Label number to vertebra, sacrum or hip.

    ``totalsegmentator`` is the ``total`` task of version 2 (with 118 and 119 for L6 and T13, as
    this library writes them); ``totalsegmentator_v3`` its ``total_v3``, where 26 is L6.
    ``spineps`` is VerSe's with each vertebra's endplates; its discs are no part of a vertebra.

    Raises
    ------
    KeyError
        For an unknown scheme.
    """
    if scheme not in SCHEMES:
        raise KeyError(scheme)
    table: dict[int, str] = {}
    for row in anatomy.vertebrae():
        number = {
            "verse": row.verse,
            "spineps": row.verse,
            "totalsegmentator_v1": row.totalsegmentator_v1,
        }.get(scheme, row.id)
        if number is not None:
            table[number] = row.name
            if scheme == "spineps":
                table[number + _ENDPLATE] = row.name
    if scheme == "totalsegmentator_v3":
        table[26] = "L6"
    if scheme not in ("verse", "spineps"):
        table |= _hips("totalsegmentator_v1" if scheme == "totalsegmentator_v1" else "id")
    return table


def _hips(column: str) -> dict[int, str]:
    """Label number of the hips in one column of the anatomy table."""
    path = Path(anatomy.__file__).parent / "data" / "anatomy.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["hips"]
    return {int(row[column]): str(row["name"]) for row in rows}


def detect_scheme(blobs: Mapping[int, LabelledBlob]) -> Detection | None:
    """Tell the scheme of a label map from its numbers and where they lie.

    VerSe counts downwards and TotalSegmentator upwards, so the order along the body separates
    them; versions 1 and 2 of TotalSegmentator count alike but are nine levels apart, so the
    distances of neighbours do (a thoracic step is about 24 mm, a lumbar one about 35 mm). A map
    in which every number is a vertebra, sacrum or hip of one scheme only is of that scheme.

    Parameters
    ----------
    blobs
        The labels of the map.

    Returns
    -------
    Detection or None
        None when no scheme explains the map.
    """
    vertebrae = _of_spineps(blobs)
    if vertebrae is not None:
        misfit = _misfit("verse", vertebrae)
        return None if misfit is None or misfit > _LARGEST_MISFIT else Detection("spineps", True)
    misfits = {
        scheme: _misfit(scheme, blobs)
        for scheme in ("totalsegmentator", "verse", "totalsegmentator_v1")
    }
    fits = sorted((m, s) for s, m in misfits.items() if m is not None and m <= _LARGEST_MISFIT)
    if not fits:
        return None
    complete = [s for _, s in fits if set(blobs) <= set(scheme_table(s))]
    if len(complete) == 1:
        return Detection(complete[0], certain=True)
    (best, scheme), others = fits[0], fits[1:]
    if not others or others[0][0] - best >= _LEAST_MARGIN:
        return Detection(scheme, certain=True)
    # Equal misfit: the current version of TotalSegmentator is by far the most common source.
    close = [s for m, s in fits if m - best < _LEAST_MARGIN]
    scheme = "totalsegmentator" if "totalsegmentator" in close else scheme
    rest = " or ".join(s for s in close if s != scheme)
    return Detection(
        scheme,
        certain=False,
        doubt=f"Its label numbers were read as {scheme}, but they would also fit {rest}: check "
        "the levels, or name the label scheme.",
    )


def _of_spineps(blobs: Mapping[int, LabelledBlob]) -> dict[int, LabelledBlob] | None:
    """The vertebrae of one of SPINEPS' vertebra maps; None where the numbers are another's.

    Its numbers come in families: every disc and endplate has its vertebra.
    """
    most = _LARGEST_ID["verse"]
    vertebrae = {n: blob for n, blob in blobs.items() if n <= most}
    others = set(blobs) - set(vertebrae)
    parts = [n % 100 for n in others]
    families = all(n - n % 100 in (_DISC, _ENDPLATE) and n % 100 in vertebrae for n in others)
    return vertebrae if len(set(parts)) >= 2 and families else None


def is_subregion_map(numbers: Iterable[int]) -> bool:
    """Whether the numbers may be those of SPINEPS' subregions, which carry no levels.

    TotalSegmentator's numbers of neck and upper chest are among them.
    """
    found = set(numbers)
    vertebra = {n for n in found if n in _SUBREGIONS}
    return {41, 42} <= vertebra and len(vertebra) >= 5 and not found & set(range(29, 41))


def _misfit(scheme: str, blobs: Mapping[int, LabelledBlob]) -> float | None:
    """How badly a scheme explains a map: 0 is perfect; None when it finds no vertebra."""
    table = scheme_table(scheme)
    named = {
        table[number]: blob
        for number, blob in blobs.items()
        if number in table and table[number] not in anatomy.hip_ids()
    }
    # One vertebra among many other labels is a coincidence of numbers.
    if not named or (len(named) == 1 and len(blobs) >= _MANY_LABELS):
        return None
    unknown = sum(n > _LARGEST_ID[scheme] and n not in table for n in blobs) / len(blobs)
    # S1 is a part of the sacrum, whose centre lies far below: only one of them is a step.
    levels = [n for n in anatomy.sort_levels(named) if n != anatomy.SACRUM or "S1" not in named]
    steps = [
        (float(np.linalg.norm(named[a].centre_mm - named[b].centre_mm)), _expected_step(a, b))
        for a, b in itertools.pairwise(levels)
        if b != anatomy.SACRUM
    ]
    falls = [named[b].centre_mm[2] < named[a].centre_mm[2] for a, b in itertools.pairwise(levels)]
    out_of_order = 1.0 - float(np.mean(falls)) if falls else 0.0
    distance = 0.0
    if steps:
        logs = [np.log(max(step, 1e-3) / expected) for step, expected in steps]
        distance = min(1.0, abs(float(np.median(logs))) + float(np.mean(np.abs(logs)) > 0.6))
    unexplained = 1.0 - len(named) / len(blobs) if max(blobs) <= 28 else 0.0
    return 3.0 * out_of_order + distance + 2.0 * unknown + unexplained


@cache
def typical_steps_mm() -> Mapping[str, float]:
    """Typical distance of the centre of each vertebra to the next one below, adults, mm.

    Rounded from vertebral body and disc heights of adults: about 17 mm in the neck, 19 to 28 mm
    in the chest, 31 to 36 mm in the lumbar spine.
    """
    names = [row.name for row in anatomy.vertebrae() if row.name not in ("S1", anatomy.SACRUM)]
    ranges = {"cervical": (17.0, 18.0), "thoracic": (19.0, 28.5), "lumbar": (32.0, 36.0)}
    steps: dict[str, float] = {}
    for region, (first, last) in ranges.items():
        members = [n for n in names if anatomy.vertebra(n).region == region]
        steps |= dict(zip(members, np.linspace(first, last, len(members)).tolist(), strict=True))
    return steps


def _expected_step(upper: str, lower: str) -> float:
    """Typical distance of two vertebrae, optional ones (T13, L6) not counted, mm."""
    order = [
        r.name
        for r in anatomy.vertebrae()
        if r.name not in anatomy.SUPERNUMERARY or r.name == upper
    ]
    between = order[order.index(upper) : order.index(lower) if lower in order else None]
    steps = typical_steps_mm()
    return sum(steps[name] for name in between if name in steps)
