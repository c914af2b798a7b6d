"""Facet joints on the CT where it shows their space, else by the labels.

Where labels are known to give the tips of the articular processes away, or plainly do, the joint
lies at its usual place in the bone instead (`usual_place`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.joints.arch import BONE_SHARE, Arch, Field, divide_arch, read_arch
from CTSpectSpineLib.joints.facets import SIDES, Facet, find_facets
from CTSpectSpineLib.joints.motion_segment import Pair
from CTSpectSpineLib.joints.plane_joint import facet_on_plane
from CTSpectSpineLib.joints.usual_place import LUMBAR, Place, usual_place
from CTSpectSpineLib.model import BoolArray

ON_CT = "CT"
"""Convention: how a joint is marked that lies where the CT shows its space."""
USUAL = "place"
"""Convention: how the mark of a joint begins that lies at its usual place in the bone."""

_TOO_FAR_MM = 2.0
"""How far on the side of the upper bone the joint by the labels may lie of its usual place, mm.
Measured on given labels of three patients and a phantom: none of 60 lies farther there; built-in
labels, which give tips to the vertebra below, do so by up to 7 mm."""
_BRIGHT_SHARE = 0.6
"""Share of full bone from which a voxel of a joint space is bright. Judgement: more bone than
gap."""
_MOST_BRIGHT = 0.05
"""Largest part of a joint space found on the CT that may be bright. Measured: 0 to 0.04 on 58 of 60
joints of phantoms of seeds 31001 and 31005 with voxels of 1 mm, whose centres then lie 0.3 to 2.5
mm from the true ones; 0.07 to 0.4 on a real CT of 1.5 mm, where spaces are partly lost."""
_AROUND_MM = 4
"""How far around a joint space bone is expected, mm. Judgement: both cortices."""
_LEAST_BONE = 0.15
"""Least share of bone there. Measured: 0.37 to 0.45 on a phantom, 0.17 to 0.39 on a real CT of 1.5
mm; 0 to 0.05 where the CT of that phantom ends 2 mm beyond the middle of the joint or before."""
_FARTHEST_MM = 12.0
"""Farthest from the place by the labels that a joint found on the CT may lie, mm. Measured on
phantoms with labels divided wrongly on purpose: those were up to 9.3 mm off."""


def outline_facets(
    pair: Pair, ct: sitk.Image | None, coarse: bool = False
) -> dict[str, Facet | str]:
    """Find the facet joints of a pair; see `facets.find_facets`.

    A joint whose space the CT shows is `Facet.outlined_on` the CT; others are found by the labels
    alone or at their usual place in the bone, and `Facet.outlined_on` says why.

    Parameters
    ----------
    pair
        The pair by its labels.
    ct
        The CT in HU; None to find joints by the labels alone.
    coarse
        Whether the labels are known to divide the articular processes wrongly.
    """
    by_labels = find_facets(pair)
    if ct is None:
        return by_labels
    if pair.upper.level == "C1":
        reason = "the lateral joints of C1 and C2 are not sought on CT"
        return {side: _by_labels(found, reason) for side, found in by_labels.items()}
    arch = read_arch(pair, ct)
    if isinstance(arch, str):
        return {side: _by_labels(found, arch) for side, found in by_labels.items()}
    result = by_labels
    if not coarse:
        on_ct = find_facets(divide_arch(arch))
        share = arch.whole_share()
        result = {side: _better(by_labels[side], on_ct[side], share) for side in by_labels}
    return result | _at_usual_places(arch, by_labels, result, coarse)


def _at_usual_places(
    arch: Arch,
    by_labels: dict[str, Facet | str],
    found: dict[str, Facet | str],
    coarse: bool,
) -> dict[str, Facet | str]:
    """The joints that are not on the CT and whose labels are not to be relied on."""
    places: dict[str, Place] = {}
    result: dict[str, Facet | str] = {}
    for side, sign in SIDES.items():
        facet, labelled = found[side], by_labels[side]
        if isinstance(facet, Facet) and facet.outlined_on == ON_CT:
            continue
        known = isinstance(labelled, Facet) and labelled.sheet is not None
        centre = labelled.centre if isinstance(labelled, Facet) and known else None
        place = usual_place(arch, sign, centre)
        if isinstance(place, str):
            if coarse:
                result[side] = _by_labels(labelled, place)
        elif coarse or (place.labels_mm is not None and place.labels_mm < -_TOO_FAR_MM):
            places[side] = place
    if not places:
        return result
    made: Mapping[str, Facet | str]
    if arch.pair.upper.level in LUMBAR:
        made = {side: facet_on_plane(arch, place.sheet) for side, place in places.items()}
    else:
        made = find_facets(divide_arch(arch, [place.sheet for place in places.values()]))
    share = arch.whole_share()
    for side, place in places.items():
        facet = made[side]
        if isinstance(facet, Facet) and facet.sheet is not None and _shows_bone(share, facet.sheet):
            result[side] = replace(facet, outlined_on=_why(place))
        elif coarse:
            result[side] = _by_labels(by_labels[side], "no joint was found at its usual place")
    return result


def _why(place: Place) -> str:
    """The mark of a joint at its usual place."""
    if place.labels_mm is None:
        return f"{USUAL}: the labels show no joint surfaces"
    return f"{USUAL}: the labels put it {abs(place.labels_mm):.0f} mm from where it usually lies"


def _shows_bone(share: Field, sheet: BoolArray) -> bool:
    """Whether there is bone on the CT around a joint space."""
    around = ndimage.binary_dilation(sheet, iterations=_AROUND_MM)
    return bool(np.mean(share[around] >= BONE_SHARE) >= _LEAST_BONE)


def _by_labels(found: Facet | str, reason: str) -> Facet | str:
    """The joint by the labels, with the reason why it is not the CT's."""
    return found if isinstance(found, str) else replace(found, outlined_on=f"labels: {reason}")


def _better(by_labels: Facet | str, on_ct: Facet | str, share: Field) -> Facet | str:
    """The joint on the CT where its space is dark throughout, else that by the labels."""
    if isinstance(on_ct, str) or on_ct.sheet is None:
        return _by_labels(by_labels, "no joint space was found on the CT")
    if not _shows_bone(share, on_ct.sheet):
        return _by_labels(by_labels, "the CT shows no bone around the joint space")
    if np.mean(share[on_ct.sheet] >= _BRIGHT_SHARE) > _MOST_BRIGHT:
        return _by_labels(by_labels, "the CT does not show the joint space throughout")
    if not isinstance(by_labels, str) and by_labels.sheet is not None:
        apart = float(np.linalg.norm(on_ct.centre - by_labels.centre))
        if apart > _FARTHEST_MM:
            return _by_labels(by_labels, "the joint space on the CT lies too far from there")
    return replace(on_ct, outlined_on=ON_CT)
