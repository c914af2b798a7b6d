"""Wrong labels made on purpose: an end of a vertebra carries its neighbour's label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.joints.doubts import check_contrast
from CTSpectSpineLib.model import Joint, SpineJoints

SHARES = (0.10, 0.15, 0.20)
"""Shares of a vertebra's height that change their label. Judgement: such an error moves the regions
by 8 to 12 mm without any other sign."""
_EVERY = 3
"""Every how many levels are changed at a time. Judgement: a vertebra that keeps its labels then
lies between any two of them."""


@dataclass(frozen=True)
class Mixed:
    """What became of one level.

    Attributes
    ----------
    source, region, spine, level
        Where.
    share
        Share of the vertebra's height that carries the wrong label; 0 where labels are right.
    end
        ``top`` of the lower vertebra, ``bottom`` of the upper one, or empty.
    with_ct
        Whether the CT was given.
    located, caught
        Joints of the level that were located, and those of them that are in doubt.
    """

    source: str
    region: str
    spine: int
    level: str
    share: float
    end: str
    with_ct: bool
    located: int
    caught: int


def relabel_end(
    labels: sitk.Image, found: SpineJoints, pair: tuple[str, str], share: float, end: str
) -> sitk.Image:
    """Give the end of one vertebra its neighbour's label.

    Parameters
    ----------
    labels
        Right labels.
    found
        Joints of the right labels, for the frames.
    pair
        Upper and lower vertebra.
    share
        Share of the body's height that changes its label, with the arch at that height.
    end
        ``top`` of the lower vertebra or ``bottom`` of the upper one.
    """
    giver, taker = pair[::-1] if end == "top" else pair
    frame = found.frames[giver]
    array = sitk.GetArrayFromImage(labels)
    voxels = np.argwhere(array == _number(giver, array))
    height = apply_matrix(ijk_to_lps(labels), voxels[:, ::-1].astype(float)) @ frame.axes[2]
    low, high = np.percentile(frame.body.points_mm() @ frame.axes[2], [1, 99])
    thickness = share * (high - low)
    wrong = height > high - thickness if end == "top" else height < low + thickness
    array[tuple(voxels[wrong].T)] = _number(taker, array)
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(labels)
    return result


def _number(level: str, array: np.ndarray) -> int:
    number = anatomy.vertebra(level).id
    if level == anatomy.SACRUM and not (array == number).any():
        number = anatomy.vertebra("S1").id
    return number


def mixed_levels(
    labels: sitk.Image,
    ct: sitk.Image | None,
    source: str,
    region: str,
    spine: int,
    shares: Sequence[float] = SHARES,
    right: SpineJoints | None = None,
) -> Iterator[Mixed]:
    """Build right labels, then wrong ones at every third level at a time, at both ends in turn."""
    right = right or build_joints(labels, ct)
    where = (source, region, spine)
    discs = [j for j in right.joints if j.kind == "disc" and j.located]
    pairs = [(j.upper, j.lower) for j in discs]
    for upper, lower in pairs:
        yield _outcome(where, right.joints, (upper, lower), ct is not None, 0.0, "")
    turn = spine
    for start in range(min(_EVERY, len(pairs))):
        wrong = labels
        changed = []
        for pair in pairs[start::_EVERY]:
            share = shares[turn % len(shares)]
            end = ("top", "bottom")[(turn // len(shares)) % 2]
            turn += 1
            wrong = relabel_end(wrong, right, pair, share, end)
            changed.append((*pair, share, end))
        alone = build_joints(wrong).joints
        outcomes = {False: alone}
        if ct is not None:
            outcomes[True] = tuple(check_contrast(alone, ct)[0])
        for with_ct, joints in outcomes.items():
            for upper, lower, share, end in changed:
                yield _outcome(where, joints, (upper, lower), with_ct, share, end)


def _outcome(
    where: tuple[str, str, int],
    found: Sequence[Joint],
    pair: tuple[str, str],
    with_ct: bool,
    share: float,
    end: str,
) -> Mixed:
    source, region, spine = where
    level = anatomy.level_name(*pair)
    joints = [j for j in found if j.level == level and j.located]
    caught = sum(not j.trusted for j in joints)
    return Mixed(source, region, spine, level, share, end, with_ct, len(joints), caught)
