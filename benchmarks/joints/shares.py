"""How much of a joint's bone a region holds, and how much of the region is the joint's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import apply_matrix, inverse
from CTSpectSpineLib.model import FloatArray, Joint, Region, SpineJoints


@dataclass(frozen=True)
class Share:
    """The bone of one found joint against the true one.

    Attributes
    ----------
    labels, region, spine
        How the labels were changed, and where.
    joint, kind
        The joint.
    located, doubted
        Whether it was found, and whether it is in doubt.
    refined
        Whether the joint's bones were told apart on the CT.
    error_mm
        Distance of the centres.
    volume_ratio, dice
        Volume of the found bone over that of the true one, and their overlap.
    uptake_share
        Part of the found bone that is the joint's own: what a region holds of the excess of a hot
        joint, per volume.
    volume_share
        Part of the true bone that the found one covers.
    """

    labels: str
    region: str
    spine: int
    joint: str
    kind: str
    located: bool
    doubted: bool = False
    refined: bool = False
    error_mm: float = float("nan")
    volume_ratio: float = float("nan")
    dice: float = float("nan")
    uptake_share: float = float("nan")
    volume_share: float = float("nan")


def inside(region: Region, points: FloatArray) -> np.ndarray:
    """Whether points, LPS mm, lie in a region; its surface is interpolated."""
    index = apply_matrix(inverse(region.ijk_to_lps), points)[:, ::-1]
    sampled = ndimage.map_coordinates(region.mask.astype(np.float32), index.T, order=1)
    return np.asarray(sampled >= 0.5)


def shares(
    found: SpineJoints, truth: Sequence[Joint], labels: str, region: str, spine: int
) -> Iterator[Share]:
    """Compare the bone of every true joint with that of the found one of the same name."""
    by_id = {joint.id: joint for joint in found.joints}
    for true in truth:
        joint = by_id.get(true.id)
        where = (labels, region, spine, true.id, true.kind)
        if joint is None or joint.bone is None or true.bone is None:
            yield Share(*where, located=False)
            continue
        mine, own = joint.bone.volume_mm3, true.bone.volume_mm3
        uptake = float(inside(true.bone, joint.bone.points_mm()).mean())
        volume = float(inside(joint.bone, true.bone.points_mm()).mean())
        common = 0.5 * (uptake * mine + volume * own)
        assert joint.centre_mm is not None
        assert true.centre_mm is not None
        yield Share(
            *where,
            located=True,
            doubted=bool(joint.doubts),
            refined=joint.outlined_on == "CT",
            error_mm=float(np.linalg.norm(joint.centre_mm - true.centre_mm)),
            volume_ratio=mine / own,
            dice=2 * common / (mine + own),
            uptake_share=uptake,
            volume_share=volume,
        )
