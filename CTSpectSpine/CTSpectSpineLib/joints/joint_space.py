"""Facet joints on the CT where it shows their space, else by the labels.

Where labels are known to give the tips of the articular processes away, or plainly do, the joint
is looked for near its usual place in the bone (`usual_place`), and lies there where the CT shows no
space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.joints.arch import BONE_SHARE, Arch, Field, Sheet, divide_arch, read_arch
from CTSpectSpineLib.joints.facets import SIDES, Facet, find_facets
from CTSpectSpineLib.joints.joint_line import TOO_WIDE, may_show_lines, read_line
from CTSpectSpineLib.joints.motion_segment import Pair
from CTSpectSpineLib.joints.plane_joint import facet_on_plane
from CTSpectSpineLib.joints.usual_place import LUMBAR, Place, usual_place
from CTSpectSpineLib.model import BoolArray, FloatArray

ON_CT = "CT"
"""Convention: how a joint is marked that lies where the CT shows its space."""
USUAL = "place"
"""Convention: how the mark of a joint begins that lies at its usual place in the bone."""

_TOO_FAR_MM = 2.0
"""How far on the side of the upper bone the joint by the labels may lie of its usual place, mm.
Measured on given labels of three patients and a phantom: none of 60 lies farther there; built-in
labels, which give tips to the vertebra below, do so by up to 7 mm."""
_NEAR_PLACE_MM = 4.0
"""How far from the usual place, or where that is not known from the labels', a joint may lie to
which the CT alone leads, mm. Judgement: two standard deviations. Measured on built-in labels of a
chest CT: farther ones are wrong."""
_SIDES_MM = 6.0
"""How far a thoracic joint may lie from the mirror image of the other side's, mm. Measured on given
labels of a chest CT and three phantoms: standard deviations of 1 to 1.6 mm along each axis, at most
4. Not in the lumbar spine, whose joints may be asymmetric by 8 mm."""
_OTHER_MM = 2.0
"""How far from the joint by the labels one on the CT is another one, mm. Judgement: a joint space
is 1.5 to 2.5 mm wide. Measured on seven phantoms: between T1 and T2 the way through the bone led 2
to 5 mm off along the transverse process, less dark than the joint space that the labels gave to 1
mm."""
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
    if not coarse and not may_show_lines(arch):
        result = {side: _by_labels(found, TOO_WIDE) for side, found in by_labels.items()}
    elif not coarse:
        on_ct = _Divided(arch)
        result = {side: _better(by_labels[side], on_ct, side) for side in by_labels}
    return result | _at_usual_places(arch, by_labels, result, coarse)


class _Divided:
    """The joints of a pair with its bone divided on the CT, and how their spaces look there."""

    def __init__(self, arch: Arch, sheets: Sequence[Sheet] = ()) -> None:
        self.arch = arch
        self.pair = divide_arch(arch, sheets)
        self.facets = find_facets(self.pair)
        self.share = arch.whole_share()

    def shown(self, side: str) -> tuple[Facet, float] | str:
        """The joint and the depth of its line, or in a sentence why the CT does not show it."""
        facet = self.facets[side]
        if isinstance(facet, str) or facet.sheet is None:
            return "no joint space was found on the CT"
        if not _shows_bone(self.share, facet.sheet):
            return "the CT shows no bone around the joint space"
        line = read_line(self.arch, self.pair, facet.sheet)
        return line.obstacle or (replace(facet, outlined_on=ON_CT), line.depth)


def _at_usual_places(
    arch: Arch,
    by_labels: dict[str, Facet | str],
    found: dict[str, Facet | str],
    coarse: bool,
) -> dict[str, Facet | str]:
    """The joints that are not on the CT and whose labels are not to be relied on."""
    places: dict[str, Place] = {}
    unknown: dict[str, str] = {}
    for side, sign in SIDES.items():
        facet, labelled = found[side], by_labels[side]
        if isinstance(facet, Facet) and facet.outlined_on == ON_CT:
            continue
        known = isinstance(labelled, Facet) and labelled.sheet is not None
        centre = labelled.centre if isinstance(labelled, Facet) and known else None
        place = usual_place(arch, sign, centre)
        if isinstance(place, str):
            if coarse:
                unknown[side] = place
        elif coarse or (place.labels_mm is not None and place.labels_mm < -_TOO_FAR_MM):
            places[side] = place
    free = _Divided(arch) if (places or unknown) and may_show_lines(arch) else None
    result: dict[str, Facet | str] = {}
    for side, reason in unknown.items():
        labelled = by_labels[side]
        near = labelled.centre if isinstance(labelled, Facet) else None
        shown = _deepest([_near(free, side, near)])
        result[side] = shown or _by_labels(labelled, reason)
    if not places:
        return result
    led = _Divided(arch, [place.sheet for place in places.values()])
    share = arch.whole_share()
    for side, place in places.items():
        # One follows the usual place where the CT is in doubt, the other the CT alone.
        middle = arch.pair.to_lps(place.sheet.middle)
        shown = _deepest([led.shown(side), _near(free, side, middle)])
        if shown is not None:
            result[side] = shown
            continue
        facet = led.facets[side]
        if arch.pair.upper.level in LUMBAR:
            facet = facet_on_plane(arch, place.sheet)
        if isinstance(facet, Facet) and facet.sheet is not None and _shows_bone(share, facet.sheet):
            result[side] = replace(facet, outlined_on=_why(place))
        elif coarse:
            result[side] = _by_labels(by_labels[side], "no joint was found at its usual place")
    if arch.pair.upper.level not in LUMBAR:
        result |= _mirrored(arch, places, found | result)
    return result


def _mirrored(
    arch: Arch, places: Mapping[str, Place], found: Mapping[str, Facet | str]
) -> dict[str, Facet | str]:
    """The joint of one side as the other side's lies, where the two contradict each other."""
    mirror = np.array([-1.0, 1.0, 1.0])
    local: dict[str, FloatArray] = {}
    away: dict[str, float] = {}
    for side, facet in found.items():
        if isinstance(facet, str) or facet.sheet is None:
            return {}
        local[side] = (facet.centre - arch.pair.origin) @ arch.pair.axes.T
        if side in places and facet.outlined_on != ON_CT:
            away[side] = float(np.linalg.norm(local[side] - places[side].sheet.middle))
    left, right = SIDES
    apart = float(np.linalg.norm(local[left] - mirror * local[right]))
    if apart <= _SIDES_MM or not away:
        return {}
    side = max(away, key=lambda name: away[name])
    other = right if side == left else left
    made = facet_on_plane(arch, Sheet(mirror * local[other], places[side].sheet.normal))
    if isinstance(made, str):
        return {}
    flag = f"it was found {apart:.0f} mm from where the {other} joint lies: that one was mirrored"
    return {side: replace(made, flags=(flag,), outlined_on=f"{USUAL}: {flag}")}


def _near(free: _Divided | None, side: str, middle: FloatArray | None) -> tuple[Facet, float] | str:
    """What the CT alone shows near a place, LPS mm."""
    if free is None or middle is None:
        return TOO_WIDE
    shown = free.shown(side)
    if not isinstance(shown, str) and np.linalg.norm(shown[0].centre - middle) > _NEAR_PLACE_MM:
        return "the joint space on the CT lies too far from there"
    return shown


def _deepest(found: Sequence[tuple[Facet, float] | str]) -> Facet | None:
    """The joint with the deepest line; None where none is shown."""
    joints = [shown for shown in found if not isinstance(shown, str)]
    return max(joints, key=lambda shown: shown[1])[0] if joints else None


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


def _better(by_labels: Facet | str, divided: _Divided, side: str) -> Facet | str:
    """The joint on the CT where it shows its space, else that by the labels.

    Where it shows spaces at both places, the deeper one counts.
    """
    shown = divided.shown(side)
    if isinstance(shown, str):
        return _by_labels(by_labels, shown)
    if not isinstance(by_labels, str) and by_labels.sheet is not None:
        apart = float(np.linalg.norm(shown[0].centre - by_labels.centre))
        if apart > _FARTHEST_MM:
            return _by_labels(by_labels, "the joint space on the CT lies too far from there")
        if apart > _OTHER_MM:
            line = read_line(divided.arch, divided.arch.pair, by_labels.sheet)
            if not line.obstacle and line.depth >= shown[1]:
                return _by_labels(by_labels, "the CT shows a deeper joint space there")
    return shown[0]
