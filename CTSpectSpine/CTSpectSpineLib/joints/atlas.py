"""The lateral atlanto-axial joints: C1 and C2 have no disc and their own kind of facets."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.joints.facets import Facet, REGION_MM, SIDES
from CTSpectSpineLib.joints.pair import STEP_MM, Pair
from CTSpectSpineLib.model import BoolArray

_MIN_LATERAL_MM = 7.0
_MAX_LATERAL_MM = 30.0
_GAPS_MM = (1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0)
_MIN_SHEET_VOXELS = 20


def find_lateral_joints(pair: Pair) -> dict[str, Facet | str]:
    """Find the joints between the lateral masses of C1 and C2, beside the dens.

    Facing surfaces nearer than 7 mm to the midline belong to the dens and its joint with the
    anterior arch, and those behind the canal's middle to the arches; the largest rest on each
    side is the joint. A side that is not found mirrors the other one, flagged.
    """
    upper, lower = pair.upper_bone >= 0.5, pair.lower_bone >= 0.5
    if not (upper.any() and lower.any()):
        reason = "C1 or C2 is not in the label map where they meet"
        return {"left": reason, "right": reason}
    to_upper = ndimage.distance_transform_edt(~upper) * STEP_MM
    to_lower = ndimage.distance_transform_edt(~lower) * STEP_MM
    farther = np.maximum(to_upper, to_lower)
    between = np.abs(to_upper - to_lower) <= STEP_MM
    # The joints lie beside the dens: in front of the middle of the canal.
    between &= (pair.p_mm <= pair.canal.wall_mm + 0.5 * pair.canal.depth_mm)[None, :, None]
    found: dict[str, Facet | str] = {}
    for side, sign in SIDES.items():
        lateral = sign * pair.l_mm
        allowed = (lateral >= _MIN_LATERAL_MM) & (lateral <= _MAX_LATERAL_MM)
        sheet, gap = _sheet(farther, between & allowed[None, None, :])
        if sheet is None:
            continue
        close = ndimage.distance_transform_edt(~sheet) * STEP_MM <= REGION_MM
        bone = close & (upper | lower)
        k, j, i = np.nonzero(sheet)
        centre = np.array([pair.l_mm[i].mean(), pair.p_mm[j].mean(), pair.s_mm[k].mean()])
        found[side] = Facet(bone | (close & (farther <= gap)), bone, pair.to_lps(centre))
    for side in SIDES:
        found.setdefault(side, f"no facing surfaces of C1 and C2 on the {side}")
    return found


def _sheet(farther: np.ndarray, allowed: BoolArray) -> tuple[BoolArray | None, float]:
    """Largest facing surface at the smallest gap that shows one."""
    for gap in _GAPS_MM:
        pieces, count = ndimage.label(allowed & (farther <= gap), structure=np.ones((3, 3, 3)))
        if count == 0:
            continue
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        if sizes.max() >= _MIN_SHEET_VOXELS:
            return pieces == int(sizes.argmax()), gap
    return None, 0.0
