"""Whether the labels make sense: along the spine, against the CT, left against right.

Wrong labels, not geometry, are what moves joints unnoticed; every finding names the level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps, inverse
from CTSpectSpineLib.joints.vertebra_fits import Spine
from CTSpectSpineLib.model import FloatArray, Joint, Region

DISC_CONTRAST_HU = -85.0
"""A disc is at least this much darker than its endplate bands where the labels are correct.

Median of the disc's inner part less mean of the bands. Measured on the two real CTs from which
the bound was chosen: −91 to −152 HU on 8 levels with correct labels; +6 to −32 HU on most levels
where a fifth of a vertebra was given its neighbour's label, but −76 to −94 HU on some and −115 HU
where only a part of the disc was lost (`discs` flags that one by the bone that fills the space).
"""

CONTRAST_SHARE = 0.6
"""With four discs or more: at least this share of the median contrast of the patient's discs.

In porous bone all discs are less dark than their endplates by the same measure. Measured on
phantoms: −94 to −118 HU at 0.64 of normal density, −167 to −257 HU near normal density.
"""

LEAST_CONTRAST_HU = -45.0
"""And at least this much, HU. Judgement: beyond most of the wrong labels above (+6 to −32 HU)."""

FACET_RATIO = 2.5
"""Ratio of left and right facet bone of a level from which both are doubted. Measured on correct
labels of three patients and six phantoms: up to 1.36."""

_Key = TypeVar("_Key")
_SPACING_RANGE = (0.55, 1.6)
"""Distance of neighbouring bodies, relative to that of the levels beside them. Judgement: a missing
level doubles it. Measured on correct labels of three patients and six phantoms: 0.80 to 1.33."""
_HIGH_RATIO = 1.5
"""Height of a disc space, relative to the highest beside it, from which labels are doubted.
Judgement: heights change more gradually along the spine."""
_HIGH_MM = 4.0
"""And how much higher it must be at least, mm. Judgement: the ratio alone would doubt thin
discs."""
_SIZE_RATIO = 1.9
"""Volume of a vertebra, relative to its neighbours' or the inverse, from which labels are doubted.
Measured on correct labels of three patients and six phantoms: 0.60 to 1.23."""


def spine_warnings(spine: Spine, pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Sentences on missing levels, and on order, spacing and size of those present."""
    names = [n for n in spine.shapes if n not in anatomy.SACRAL]
    sacral = [n for n in spine.shapes if n in anatomy.SACRAL]
    warnings = list(spine.truncated.values())
    for upper, lower in pairwise([*names, *sacral]):
        between = _between(upper, lower)
        if (upper, lower) not in pairs:
            warnings.append(
                f"{' and '.join(between) or 'A vertebra'} between {upper} and {lower} is not"
                " labelled: no joints are built there"
            )
        elif between and set(between) & {"T12", "L5"}:
            warnings.append(
                f"{' and '.join(between)} is not labelled: {upper} and {lower} are taken as"
                " neighbours"
            )
    doubts = level_doubts(spine, pairs)
    warnings += [doubt for sentences in doubts.values() for doubt in sentences]
    warnings += [note for fit in spine.fits.values() for note in fit.notes]
    return tuple(dict.fromkeys(warnings))


def level_doubts(
    spine: Spine, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Doubts about motion segments from order, spacing and size along the spine."""
    found: dict[tuple[str, str], list[str]] = {}
    usable = [p for p in pairs if p[0] != "C1" and p[0] in spine.fits and p[1] in spine.fits]
    distances = {}
    for upper, lower in usable:
        a, b = spine.fits[upper], spine.fits[lower]
        if min(a.trust, b.trust) == 0:
            continue
        distances[upper, lower] = float(np.linalg.norm(a.centre - b.centre))
        if (a.centre - b.centre) @ (a.axes[2] + b.axes[2]) <= 0:
            found.setdefault((upper, lower), []).append(f"{upper} does not lie above {lower}")
    for (upper, lower), distance in distances.items():
        near = _nearest(distances, (upper, lower))
        if len(near) < 2:
            continue
        ratio = distance / float(np.median(near))
        low, high = _SPACING_RANGE
        if not low <= ratio <= high:
            found.setdefault((upper, lower), []).append(
                f"{upper} and {lower} lie {distance:.0f} mm apart where their neighbours lie"
                f" {np.median(near):.0f} mm apart: a level may be missing or labels mixed"
            )
    whole = {
        n: s.volume_mm3
        for n, s in spine.shapes.items()
        if n not in ("C1", "C2", *anatomy.SACRAL) and n in spine.fits and spine.fits[n].trust == 2
    }
    for name, volume in whole.items():
        near = _nearest(whole, name)
        if len(near) >= 2 and not 1 / _SIZE_RATIO <= volume / np.median(near) <= _SIZE_RATIO:
            sentence = (
                f"{name} has {volume / np.median(near):.1f} times the volume of its neighbours:"
                " labels may be mixed"
            )
            for pair in usable:
                if name in pair:
                    found.setdefault(pair, []).append(sentence)
    return {pair: tuple(sentences) for pair, sentences in found.items()}


def check_facets(joints: Sequence[Joint]) -> list[Joint]:
    """Flag the facet joints of a level whose bone volumes differ too much."""
    facets = [j for j in joints if j.kind == "facet" and j.bone is not None]
    if len(facets) != 2:
        return list(joints)
    volumes = [j.bone.volume_mm3 for j in facets if j.bone is not None]
    ratio = max(volumes) / max(min(volumes), 1.0)
    if ratio <= FACET_RATIO:
        return list(joints)
    level = facets[0].level
    flag = f"left and right facet bone of {level} differ in volume by a factor of {ratio:.1f}"
    return [_doubted(j, flag) if j.kind == "facet" else j for j in joints]


def check_heights(
    joints: Sequence[Joint], heights_mm: Mapping[str, float]
) -> tuple[list[Joint], list[str]]:
    """Doubt levels whose disc space is much higher than all of its neighbours.

    A vertebra whose label ends short of its endplate causes this. Returns the warnings as well.

    Parameters
    ----------
    joints
        All joints.
    heights_mm
        Level to the height of its disc space, cranial to caudal.
    """
    found: dict[str, str] = {}
    for level, height in heights_mm.items():
        near = _nearest(heights_mm, level)
        if len(near) < 2 or height <= max(_HIGH_RATIO * max(near), max(near) + _HIGH_MM):
            continue
        found[level] = (
            f"the {level} disc space is {height:.0f} mm high where those beside it have at most"
            f" {max(near):.0f} mm: the labels may end short of its endplates"
        )
    doubted = [_doubted(j, found[j.level]) if j.level in found else j for j in joints]
    return doubted, list(found.values())


def _doubted(joint: Joint, doubt: str) -> Joint:
    """The joint with one more doubt, which is a flag too."""
    return replace(joint, flags=(*joint.flags, doubt), doubts=(*joint.doubts, doubt))


def check_contrast(joints: Sequence[Joint], ct: sitk.Image) -> tuple[list[Joint], list[str]]:
    """Doubt levels whose disc is not darker on CT than its endplates; returns the warnings as well.

    Parameters
    ----------
    joints
        All joints.
    ct
        CT in HU; its grid may differ from that of the labels.
    """
    contrast = {
        joint.id: value
        for joint in joints
        if joint.kind == "disc" and (value := disc_contrast_hu(joint, ct)) is not None
    }
    bound = DISC_CONTRAST_HU
    if len(contrast) >= 4:
        usual = float(np.median(list(contrast.values())))
        bound = min(LEAST_CONTRAST_HU, CONTRAST_SHARE * usual)
    bound *= _contrast_left(float(max(ct.GetSpacing())))
    found: dict[str, str] = {}
    for joint in joints:
        value = contrast.get(joint.id)
        if value is not None and value > bound:
            found[joint.level] = (
                f"{joint.level} disc is {abs(value):.0f} HU"
                f" {'darker' if value < 0 else 'brighter'} than its endplates where {-bound:.0f}"
                " HU darker or more is expected: labels may be mixed or the vertebrae bridged"
            )
    # Where labels are mixed the facet joints have moved as well as the disc.
    checked = [_doubted(j, found[j.level]) if j.level in found else j for j in joints]
    return checked, list(found.values())


def _contrast_left(slice_mm: float) -> float:
    """Share of the contrast that thick slices leave: all up to 2 mm, 0.8 at 3 mm, 0.4 at 5 mm.

    Measured on phantoms: 0.85 to 0.95 at 3 mm and 0.5 to 0.7 at 5 mm, with more scatter.
    """
    return float(np.clip(1.0 - 0.2 * (slice_mm - 2.0), 0.4, 1.0))


def disc_contrast_hu(disc: Joint, ct: sitk.Image) -> float | None:
    """Median HU of the inner disc less mean HU of the bands, None without both on the CT."""
    if "disc_space" not in disc.parts or disc.bone is None:
        return None
    space = _values(_inner(disc.parts["disc_space"]), ct)
    bands = _values(disc.bone, ct)
    if min(len(space), len(bands)) < 50:
        return None
    return float(np.median(space) - bands.mean())


def _inner(region: Region) -> Region:
    """Region without its outer 2 mm, less where hardly anything would be left."""
    padded = np.pad(region.mask, 1)
    for voxels in (2, 1):
        eroded = ndimage.binary_erosion(padded, iterations=voxels)[1:-1, 1:-1, 1:-1]
        if np.count_nonzero(eroded) >= 200:
            return Region(eroded, region.ijk_to_lps)
    return region


def _values(region: Region, ct: sitk.Image) -> FloatArray:
    """CT values at the voxels of a region that lie on the CT."""
    array = sitk.GetArrayViewFromImage(ct)
    index = apply_matrix(inverse(ijk_to_lps(ct)), region.points_mm())[:, ::-1]
    last = np.asarray(array.shape) - 1
    inside = ((index >= 0) & (index <= last)).all(axis=1)
    return ndimage.map_coordinates(
        array, index[inside].T, output=np.float64, order=1, prefilter=False
    )


def _between(upper: str, lower: str) -> list[str]:
    """Levels that usually lie between two."""
    order = [v.name for v in anatomy.vertebrae() if v.name not in anatomy.SACRAL]
    end = order.index(lower) if lower in order else len(order)
    usual = anatomy.usual_levels()
    return [name for name in order[order.index(upper) + 1 : end] if name in usual]


def _nearest(values: Mapping[_Key, float], key: _Key) -> list[float]:
    """Values of the two entries before and the two after one."""
    keys = list(values)
    place = keys.index(key)
    return [values[k] for k in keys[max(place - 2, 0) : place + 3] if k != key]
