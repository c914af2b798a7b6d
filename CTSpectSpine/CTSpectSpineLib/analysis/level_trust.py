"""What the joints say about the levels: neighbours mixed in one vertebra, odd sizes, odd discs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import SimpleITK as sitk

from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.model import SpineJoints, VertebraLabels
from CTSpectSpineLib.progress import ProgressCallback, silent

JOINT_TRUST = 0.6
"""What remains of the confidence in a vertebra whose joint with the next one is doubted.
Judgement."""


def trust_after_joints(labels: VertebraLabels, joints: SpineJoints) -> VertebraLabels:
    """Labels with less confidence in vertebrae whose joints are doubted.

    The doubts are those of the joints: a label that goes on beyond a disc space, a disc that is
    not darker than its endplates on CT, sizes and distances unlike those of the neighbours.
    """
    confidence = dict(labels.confidence)
    doubted = {
        (joint.upper, joint.lower)
        for joint in joints.joints
        if joint.kind == "disc" and joint.doubts
    }
    for level in {name for pair in doubted for name in pair} & set(confidence):
        confidence[level] = round(confidence[level] * JOINT_TRUST, 3)
    return replace(labels, confidence=confidence)


def checked_by_joints(
    labels: VertebraLabels, ct: sitk.Image | None, progress: ProgressCallback = silent
) -> VertebraLabels:
    """Build the joints only to check the labels; adds their warnings."""
    joints = build_joints(labels, ct, progress)
    checked = trust_after_joints(labels, joints)
    return replace(checked, warnings=tuple(dict.fromkeys((*labels.warnings, *joints.warnings))))


def level_statuses(
    labels: VertebraLabels, joints: SpineJoints, *, by_user: bool
) -> Mapping[str, str]:
    """Joint id to how far the name of its level can be relied on (`LEVEL_STATUSES`).

    A level is ``unconfirmed`` where something casts doubt on the numbering, on the name of one of
    its vertebrae or on the level's own disc, ``confirmed`` where a person named the levels, else
    ``plausible``.
    """
    named = set(labels.doubted_levels)
    doubted = {
        joint.level
        for joint in joints.joints
        if (joint.kind == "disc" and joint.doubts) or named & {joint.upper, joint.lower}
    }
    usual = "confirmed" if by_user else "plausible"
    return {
        joint.id: usual
        if labels.levels_confirmed and joint.level not in doubted and not joint.doubts
        else "unconfirmed"
        for joint in joints.joints
    }
