"""Signs at all joints of a spine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.ct_sign import CtSigns
from CTSpectSpineLib.ct_signs.block import Ct
from CTSpectSpineLib.ct_signs.disc import disc_signs
from CTSpectSpineLib.ct_signs.facet import facet_signs
from CTSpectSpineLib.model import Joint, SpineJoints

MODERATE, SEVERE = 0.67, 0.34
"""Height of a disc over its neighbours' below which it is moderately and severely narrowed: a third
and two thirds are lost (Wilke et al., Eur Spine J 2006;15:720). Their first grade, less than a
third, is not told from normal, as heights of normal neighbours differ by as much."""
_NEIGHBOURS = 2
"""How many discs to either side a disc is compared with. Judgement: normal heights change by less
than a third over two levels of one region."""
_LEAST_NEIGHBOURS = 2
"""Fewest discs to compare with. Judgement: of two neighbours both may be narrowed, and one is no
comparison."""


def measure_ct_signs(ct: sitk.Image, joints: SpineJoints) -> tuple[CtSigns, ...]:
    """Signs of degeneration at every joint, from the CT alone.

    A joint whose place is doubted, that the CT does not hold whole, or beside which there is metal,
    has none. Osteophytes are not measured: no label tells where a rim ends and one begins.

    Parameters
    ----------
    ct
        CT in HU; its grid may differ from that of the labels.
    joints
        Joints as `joints.build_joints` finds them with this CT.

    Returns
    -------
    signs
        In the order of the joints.
    """
    reader = Ct(ct)
    found = [_signs(joint, joints, reader) for joint in joints.joints]
    found = _with_ratios(found, joints.joints)
    return tuple(_with_sides(found))


def _signs(joint: Joint, joints: SpineJoints, ct: Ct) -> CtSigns:
    if not joint.trusted:
        reason = "; ".join(joint.doubts or joint.flags) or "it was not located"
        return CtSigns(joint.id, joint.level, joint.kind, joint.side, "not_measurable", reason)
    if joint.kind == "disc":
        return disc_signs(joint, joints.frames, ct)
    frame = joints.frames.get(joint.upper) or joints.frames.get(joint.lower)
    up = np.array([0.0, 0.0, 1.0]) if frame is None else frame.axes[2]
    return facet_signs(joint, up, ct)


def _with_ratios(found: Sequence[CtSigns], joints: Sequence[Joint]) -> list[CtSigns]:
    """Heights of discs over the median of up to four neighbours of their region.

    With an even number the higher of the middle two counts: a neighbour may be narrowed, but is
    hardly ever too high.
    """
    regions = {joint.id: joint.spine_region for joint in joints}
    discs = [signs for signs in found if signs.kind == "disc"]
    ratios: dict[str, float] = {}
    for place, signs in enumerate(discs):
        near = discs[max(place - _NEIGHBOURS, 0) : place + _NEIGHBOURS + 1]
        heights = sorted(
            other.height_mm
            for other in near
            if other is not signs
            and math.isfinite(other.height_mm)
            and regions[other.joint] == regions[signs.joint]
        )
        if len(heights) >= _LEAST_NEIGHBOURS and math.isfinite(signs.height_mm):
            ratios[signs.joint] = signs.height_mm / heights[len(heights) // 2]
    return [_graded(signs, ratios) for signs in found]


def _graded(signs: CtSigns, ratios: Mapping[str, float]) -> CtSigns:
    ratio = ratios.get(signs.joint)
    if ratio is None:
        return signs
    grade = "severe" if ratio < SEVERE else "moderate" if ratio < MODERATE else "no"
    return replace(signs, height_ratio=ratio, narrowed=grade)


def _with_sides(found: Sequence[CtSigns]) -> list[CtSigns]:
    """Density of a facet joint's bone less that of the other side."""
    density = {(s.level, s.side): s.bone_hu for s in found if s.kind == "facet"}
    other = {"left": "right", "right": "left"}
    return [
        replace(
            signs,
            bone_hu_difference=signs.bone_hu
            - density.get((signs.level, other[signs.side]), math.nan),
        )
        if signs.side in other
        else signs
        for signs in found
    ]
