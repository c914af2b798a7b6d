"""How far found joints are from the true ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import apply_matrix, inverse
from CTSpectSpineLib.model import Joint, Region, SpineJoints


@dataclass(frozen=True)
class Score:
    """One true joint against the found one.

    Attributes
    ----------
    condition, region, spine
        Where it was measured.
    joint, kind
        The joint.
    located, doubted
        Whether it was found, and whether its level is in doubt.
    dice, band_dice
        Overlap of the disc space, and mean overlap of both endplate bands (discs).
    error_mm
        Distance of the centres.
    """

    condition: str
    region: str
    spine: int
    joint: str
    kind: str
    located: bool
    doubted: bool
    dice: float = float("nan")
    band_dice: float = float("nan")
    error_mm: float = float("nan")


def dice(first: Region, second: Region) -> float:
    """Overlap of two regions on different grids, sampled at the voxels of the first."""
    index = apply_matrix(inverse(second.ijk_to_lps), first.points_mm())[:, ::-1]
    inside = ndimage.map_coordinates(second.mask.astype(float), index.T, order=1) > 0.5
    common = np.count_nonzero(inside) * first.voxel_volume_mm3
    return float(2 * common / (first.volume_mm3 + second.volume_mm3))


def scores(
    found: SpineJoints, truth: Sequence[Joint], condition: str, region: str, spine: int
) -> Iterator[Score]:
    """Compare every true joint with the found one of the same name."""
    by_id = {joint.id: joint for joint in found.joints}
    for true in truth:
        joint = by_id.get(true.id)
        where = (condition, region, spine, true.id, true.kind)
        if joint is None or joint.centre_mm is None or true.centre_mm is None:
            yield Score(*where, located=False, doubted=False)
            continue
        error = float(np.linalg.norm(joint.centre_mm - true.centre_mm))
        own = band = float("nan")
        if true.kind == "disc":
            own = dice(joint.parts["disc_space"], true.parts["disc_space"])
            names = ("endplate_upper", "endplate_lower")
            band = float(np.mean([dice(joint.parts[n], true.parts[n]) for n in names]))
        yield Score(*where, True, bool(joint.doubts), own, band, error)
