"""Other names for a whole column: from one vertebra that is known, or by a number of places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps, inverse
from CTSpectSpineLib.labelling.levels.anchor import Anchor
from CTSpectSpineLib.labelling.levels.numbering import Numbering, numbering_of, renumber
from CTSpectSpineLib.model import VertebraLabels

REACH_MM = 8.0
"""A point this near to a vertebra counts as in it. Judgement: it may lie between arches or in the
canal, whose half width this is."""


def anchored(labels: VertebraLabels, anchor: Anchor, *others: Anchor) -> VertebraLabels:
    """Count the whole column from a vertebra that the user knows; the levels count as confirmed.

    They do so only until they are judged: where one label may hold two vertebrae, or one may be
    left out or out of order, the column cannot be counted through, and `judge` takes the
    confirmation back.

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
    found = vertebra_at(labels.image, anchor)
    mapping = mapping_from(labels.levels, found, anchor.level)
    for other in others:
        at = vertebra_at(labels.image, other)
        named = mapping.get(at, at)
        if named != other.level and not {named, other.level} <= set(anatomy.SACRAL):
            raise InputError(
                f"The anchors {anchor} and {other} contradict each other: counted from the first, "
                f"the vertebra at the second is {named}. Check both points; if they are right, a "
                "vertebra between them has no label of its own, so correct the labels."
            )
    confirmed = replace(labels, levels_confirmed=True)
    return renumbered(confirmed, mapping, f"the vertebra at {anchor} was labelled {found}")


def shifted(labels: VertebraLabels, places: int, extra: Sequence[str] = ()) -> VertebraLabels:
    """Move every name by some places, towards the feet where positive.

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
    numbering = numbering_of(labels.levels)
    numbering = replace(numbering, extra=numbering.extra | set(extra))
    numbering = numbering.shifted(places)
    return renumbered(labels, numbering.mapping(), f"moved by {places:+d} places")


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


def mapping_from(levels: Sequence[str], found: str, level: str) -> dict[str, str]:
    """New names of all levels when the vertebra labelled ``found`` is in truth ``level``.

    Raises
    ------
    InputError
        If the column cannot be counted from it.
    """
    same = {name: name for name in levels}
    if found == level or (found in anatomy.SACRAL and level in anatomy.SACRAL):
        return same
    numbering = numbering_of(levels)
    extra = numbering.extra | ({level} if level in anatomy.SUPERNUMERARY else set())
    numbering = replace(numbering, extra=extra)
    presacral = numbering.presacral
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
        result = {**same, found: level}
        if len(presacral) > 1:
            rest = numbering_of([name for name in levels if name != found])
            last = "L6" if "L6" in rest.extra else "L5"
            result |= rest.with_level(presacral[-2], last).mapping()
        return result
    try:
        return numbering.with_level(found, level).mapping()
    except InputError:
        if "L6" in extra:
            raise
        # What lies below a known L5, and is not sacrum, is a sixth lumbar vertebra.
        return _with_sixth(numbering, found, level)


def _with_sixth(numbering: Numbering, found: str, level: str) -> dict[str, str]:
    return replace(numbering, extra=numbering.extra | {"L6"}).with_level(found, level).mapping()
