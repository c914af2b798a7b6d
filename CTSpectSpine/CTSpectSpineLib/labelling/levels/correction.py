"""Other names for a whole column: from one vertebra that is known, or by a number of places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps, inverse
from CTSpectSpineLib.labelling.levels.anchor import Anchor
from CTSpectSpineLib.labelling.levels.column_order import missing_vertebrae
from CTSpectSpineLib.labelling.levels.numbering import (
    Numbering,
    body_centres,
    numbering_of,
    renumber,
)
from CTSpectSpineLib.model import VertebraLabels

REACH_MM = 8.0
"""A point this near to a vertebra counts as in it. Judgement: it may lie between arches or in the
canal, whose half width this is."""


def anchored(labels: VertebraLabels, anchor: Anchor, *others: Anchor) -> VertebraLabels:
    """Count the whole column from a vertebra that the user knows; the levels count as confirmed.

    They do so where the column can be counted through (`unsettled`), and only until they are
    judged: where one label may hold two vertebrae, or one may be left out or out of order, `judge`
    takes the confirmation back.

    Parameters
    ----------
    others
        Further vertebrae that the user knows.

    Raises
    ------
    InputError
        If a point is in no vertebra, the column cannot be counted from it, or two anchors
        contradict each other.
    """
    apart = missing_vertebrae(body_centres(labels.image))
    known: dict[str, Anchor] = {}
    for one in (anchor, *others):
        at = vertebra_at(labels.image, one)
        if at in known and not _same(known[at].level, one.level):
            raise InputError(
                f"The anchors {known[at]} and {one} contradict each other: both lie in the same "
                "vertebra. Check both points."
            )
        known[at] = one
    mapping = _counted(labels.levels, known, apart)
    doubts = unsettled(mapping, {at: one.level for at, one in known.items()}, apart)
    if labels.levels_confirmed and all(old == new for old, new in mapping.items()):
        doubts = ()
    confirmed = replace(labels, levels_confirmed=not doubts, warnings=(*labels.warnings, *doubts))
    at, one = next(iter(known.items()))
    return renumbered(confirmed, mapping, f"the vertebra at {one} was labelled {at}")


def _same(level: str, other: str) -> bool:
    return level == other or {level, other} <= set(anatomy.SACRAL)


def _counted(
    levels: Sequence[str], known: Mapping[str, Anchor], apart: Mapping[str, int]
) -> dict[str, str]:
    """New names of all levels, counted from every vertebra that is known.

    Anchors must agree, but for two on neighbours: they say themselves that T12 or L5 is missing.
    """
    order = [name for name in anatomy.sort_levels(levels) if name in known]
    mapping = mapping_from(levels, order[0], known[order[0]].level, apart)
    column = anatomy.sort_levels(levels)
    for upper, at in pairwise(order):
        named, wanted = mapping.get(at, at), known[at].level
        if _same(named, wanted):
            continue
        if column.index(at) != column.index(upper) + 1 or not _transition(
            known[upper].level, wanted
        ):
            raise InputError(
                f"The anchors {known[upper]} and {known[at]} contradict each other: counted from "
                f"the first, the vertebra at the second is {named}. Check both points; if they are "
                "right, a vertebra between them has no label of its own, so correct the labels."
            )
        below = mapping_from(levels, at, wanted, apart)
        place = column.index(at)
        mapping = {n: (below if column.index(n) >= place else mapping)[n] for n in column}
    return mapping


def _transition(upper: str, lower: str) -> bool:
    """Whether a level that a spine may lack, and no other, is missing between neighbours."""
    order = [name for name in anatomy.usual_levels() if name != anatomy.SACRUM]
    low = "S1" if lower == anatomy.SACRUM else lower
    if upper not in order or low not in order:
        return False
    between = order[order.index(upper) + 1 : order.index(low)]
    return len(between) == 1 and between[0] in anatomy.TRANSITIONAL


def unsettled(
    mapping: Mapping[str, str], known: Mapping[str, str], apart: Mapping[str, int]
) -> tuple[str, ...]:
    """What the vertebrae that a person knows leave open: sentences, empty where nothing is.

    A vertebra counts through to the ends of a usual column. It does not count through a gap with
    room for unlabelled ones, past a level that is missing or one too many (T12, T13, L5, L6), or
    against an atlas or axis, which are known by their shape; unless it lies there itself.

    Parameters
    ----------
    mapping
        Name in the label map to new name.
    known
        Name in the label map to the level that the person gave; empty for a mere shift.
    apart
        As in `numbering.Numbering`.
    """
    column = anatomy.sort_levels(mapping)
    places = [column.index(name) for name in known]
    found = []
    for place, (upper, lower) in enumerate(pairwise(column)):
        a, b = mapping[upper], mapping[lower]
        if a in anatomy.SACRAL:
            continue
        beside = any(p in (place, place + 1) for p in places)
        if apart.get(upper):
            if not (any(p <= place for p in places) and any(p > place for p in places)):
                found.append(
                    f"Between {a} and {b} there is room for unlabelled vertebrae, across which "
                    "nothing can be counted: give one anchor above and one below."
                )
        elif not beside and (_transition(a, b) or {a, b} & set(anatomy.SUPERNUMERARY)):
            found.append(
                f"Counted so, {a} lies next to {b}: transitional anatomy, or a vertebra that was "
                "merged, split or left out. Levels not confirmed; give an anchor at one of the two."
            )
    for name in ("C1", "C2"):
        if name in mapping and mapping[name] != name:
            place = column.index(name)
            if not any(abs(p - place) <= 1 for p in places):
                found.append(
                    f"Counted so, the vertebra that looks like {name} is {mapping[name]}: a "
                    "vertebra was merged, split or left out, or the number of ribs is unusual. "
                    "Levels not confirmed."
                )
    return tuple(dict.fromkeys(found))


def shifted(labels: VertebraLabels, places: int, extra: Sequence[str] = ()) -> VertebraLabels:
    """Move every name by some places, towards the feet where positive.

    A person who does so knows the levels, which count as confirmed where the new names make a
    usual column (`unsettled`). S1 moves with the others where it has a label apart from the
    sacrum.

    Parameters
    ----------
    labels
        The labels.
    places
        1 makes L4 of L3.
    extra
        Those of ``"T13"`` and ``"L6"`` that this spine has.

    Raises
    ------
    InputError
        If counting runs past the end of the spine.
    """
    apart = missing_vertebrae(body_centres(labels.image))
    numbering = numbering_of(labels.levels, apart)
    more = set(extra) - numbering.extra
    numbering = replace(numbering, extra=numbering.extra | set(extra))
    if set(anatomy.SACRAL) <= set(labels.levels) and not more:
        mapping = _shifted_with_s1(numbering, places)
    else:
        mapping = numbering.shifted(places).mapping()
    new = unsettled(mapping, {}, apart)
    named = replace(labels, levels_confirmed=not new, warnings=(*labels.warnings, *new))
    return renumbered(named, mapping, f"moved by {places:+d} places")


def _shifted_with_s1(numbering: Numbering, places: int) -> dict[str, str]:
    """Names moved, where S1 has a label of its own: it may become L5, and L5 become S1."""
    chain = [*numbering.chain, "S1", anatomy.SACRUM]
    mapping = {anatomy.SACRUM: anatomy.SACRUM}
    for name in (*numbering.presacral, "S1"):
        place = chain.index(name) + places
        if not 0 <= place < len(chain) or (chain[place] == anatomy.SACRUM and name != "S1"):
            raise InputError("There is no further level in this direction.")
        mapping[name] = chain[place]
    return mapping


def renumbered(labels: VertebraLabels, mapping: Mapping[str, str], why: str) -> VertebraLabels:
    """Labels with other names: image, levels, confidence and ribs; a warning says so.

    Parameters
    ----------
    labels
        The labels.
    mapping
        Name so far to new name.
    why
        The reason, as half a sentence.
    """
    if all(old == new for old, new in mapping.items()):
        return labels
    first = next(old for old, new in mapping.items() if old != new)
    sentence = f"The column was renumbered ({why}): {first} became {mapping[first]}, and so on."
    confidence = {mapping.get(level, level): value for level, value in labels.confidence.items()}
    return replace(
        labels,
        image=renumber(labels.image, mapping),
        levels=anatomy.sort_levels({mapping.get(level, level) for level in labels.levels}),
        confidence=confidence,
        ribs={rib: mapping.get(level, level) for rib, level in labels.ribs.items()},
        warnings=(*labels.warnings, sentence),
    )


def vertebra_at(labels: sitk.Image, anchor: Anchor) -> str:
    """The vertebra at the anchor's point, or the nearest one within 8 mm.

    Raises
    ------
    InputError
        If there is none.
    """
    matrix = ijk_to_lps(labels)
    index = apply_matrix(inverse(matrix), anchor.point[np.newaxis])[0]
    size = np.array(labels.GetSize())
    spacing = np.array(labels.GetSpacing())
    if np.any(index < -0.5 - REACH_MM / spacing) or np.any(index > size - 0.5 + REACH_MM / spacing):
        low, high = (matrix[:3, 3], apply_matrix(matrix, (size - 1.0)[np.newaxis])[0])
        raise InputError(
            f"Anchor {anchor} lies outside of the CT, which reaches from "
            f"{_point(np.minimum(low, high))} to {_point(np.maximum(low, high))}; give LPS "
            "millimetres (3D Slicer shows RAS: change the sign of the first two)."
        )
    reach = np.ceil(REACH_MM / spacing).astype(int)
    low = np.maximum(np.rint(index).astype(int) - reach, 0)
    high = np.minimum(np.rint(index).astype(int) + reach + 1, size)
    (i0, j0, k0), (i1, j1, k1) = low, high
    part = sitk.GetArrayViewFromImage(labels)[k0:k1, j0:j1, i0:i1]
    kji = np.argwhere(part > 0)
    values = part[tuple(kji.T)]
    known = np.array([anatomy.name_of_id(int(value)) is not None for value in values], dtype=bool)
    if known.any():
        places = (kji[known][:, ::-1] + low - index) * spacing
        distance = np.linalg.norm(places, axis=1)
        nearest = int(np.argmin(distance))
        if distance[nearest] <= max(REACH_MM, float(spacing.max())):
            return str(anatomy.name_of_id(int(values[known][nearest])))
    raise InputError(
        f"Anchor {anchor}: no labelled vertebra within {REACH_MM:.0f} mm of this point; give a "
        "point in a vertebral body, in LPS millimetres (3D Slicer shows RAS: change the sign of "
        "the first two)."
    )


def _point(point: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.0f}" for value in point) + ")"


def mapping_from(
    levels: Sequence[str], found: str, level: str, apart: Mapping[str, int] | None = None
) -> dict[str, str]:
    """New names of all levels when the vertebra labelled ``found`` is in truth ``level``.

    The column is counted from it, up and down, also where it keeps its name: a T12 that is missing
    in the names, but not in the column, is found so. ``apart`` as in `numbering.Numbering`.

    Raises
    ------
    InputError
        If the column cannot be counted from it.
    """
    same = {name: name for name in levels}
    numbering = numbering_of(levels, apart)
    extra = numbering.extra | ({level} if level in anatomy.SUPERNUMERARY else set())
    numbering = replace(numbering, extra=extra)
    presacral = numbering.presacral
    if found in anatomy.SACRAL and level in anatomy.SACRAL:
        return {**same, **_above_sacrum(numbering)}
    if found == anatomy.SACRUM:
        raise InputError(
            f"The vertebra at the anchor is labelled as sacrum, which cannot become {level}: it is "
            "one label of several vertebrae; outline it again, or choose a vertebra above."
        )
    if found == "S1":
        chain = numbering.chain
        result = {**same, "S1": level}
        if presacral:
            place = chain.index(level) - 1
            above = replace(numbering, anchor=presacral[-1], level=chain[max(place, 0)])
            result |= {
                name: new for name, new in above.mapping().items() if name not in anatomy.SACRAL
            }
        return result
    if level in anatomy.SACRAL:
        if found != presacral[-1]:
            raise InputError(
                f"The vertebra at the anchor cannot be {level}: {presacral[-1]} is labelled below "
                f"it ({found}); check the point."
            )
        rest = numbering_of([name for name in levels if name != found], apart)
        return {**same, found: level, **_above_sacrum(rest)}
    try:
        return numbering.with_level(found, level).mapping()
    except InputError:
        if "L6" in extra:
            raise
        # What lies below a known L5, and is not sacrum, is a sixth lumbar vertebra.
        return _with_sixth(numbering, found, level)


def _above_sacrum(numbering: Numbering) -> dict[str, str]:
    """Names of the vertebrae above a sacrum that is known."""
    names = numbering.presacral
    if not names:
        return {}
    apart = (numbering.apart or {}).get(names[-1], 0)
    last = numbering.chain[len(numbering.chain) - 1 - apart]
    mapping = numbering.with_level(names[-1], last).mapping()
    return {name: mapping[name] for name in names}


def _with_sixth(numbering: Numbering, found: str, level: str) -> dict[str, str]:
    return replace(numbering, extra=numbering.extra | {"L6"}).with_level(found, level).mapping()
