"""Transitional anatomy seen in the labels: a lowest lumbar vertebra that meets the sacrum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk
from scipy.spatial import cKDTree

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import apply_matrix, content_box, grid_of
from CTSpectSpineLib.labelling.levels.column_order import Finding
from CTSpectSpineLib.model import FloatArray

_LATERAL_MM = 30.0
"""From the middle of the body. Judgement: beyond the facet joints, where only transverse processes
are."""
_NEAR_MM = 5.0
"""Gap between a transverse process and the sacrum. Judgement: labels may end
early; with a usual L5 the gap was 9 mm on a real CT."""
FUSED_MM3 = 60.0
"""Volume of a transverse process near the sacrum that makes it a transitional one.

Measured on 12 phantoms in voxels of 1.5 mm and slices of 3 and 5 mm: 0 to 3 mm³ with a usual L5,
169 mm³ and more on each side with a sacralised one; 0 on the real CT of the tests, whose processes
end 9 mm above the sacrum.
"""
_THINNED_MM = 1.5
"""Size to which voxels are thinned. Numerical: a fraction of the gap."""
_TRUST = 0.8
"""What remains of the confidence. Judgement: as for other signs of a transition
(`column_order`)."""


def fusion_findings(labels: sitk.Image, centres: Mapping[str, FloatArray]) -> list[Finding]:
    """Transverse processes of the lowest lumbar vertebra that reach the sacrum.

    Castellvi's types II to IV (Spine 1984;9:493) are such a contact or fusion, on one side or on
    both. Labels alone cannot tell contact from fusion, nor a sacralised L5 from a lumbarised S1.

    Parameters
    ----------
    labels
        Label map with the ids of `anatomy`.
    centres
        Name to centre of the vertebral body, LPS mm.
    """
    lumbar = [name for name in anatomy.sort_levels(centres) if name.startswith("L")]
    if not lumbar:
        return []
    lowest = lumbar[-1]
    sacrum = _points(labels, "S1", anatomy.SACRUM)
    bone = _points(labels, lowest)
    if not len(sacrum[0]) or not len(bone[0]):
        return []
    lateral = bone[0][:, 0] - centres[lowest][0]
    near = cKDTree(sacrum[0]).query(bone[0], distance_upper_bound=_NEAR_MM)[0] <= _NEAR_MM
    volumes = {
        side: float(np.count_nonzero(near & (sign * lateral > _LATERAL_MM))) * bone[1]
        for side, sign in (("left", 1.0), ("right", -1.0))
    }
    met = {side: volume for side, volume in volumes.items() if volume >= FUSED_MM3}
    if not met:
        return []
    where = " and ".join(f"{side} ({volume:.0f} mm³)" for side, volume in met.items())
    words = (
        f"The transverse process of {lowest} reaches the sacrum on the {where} within "
        f"{_NEAR_MM:g} mm: transitional anatomy, a sacralised L5 or a lumbarised S1; check the "
        "levels."
    )
    return [Finding(words, (lowest,), trust=_TRUST)]


def _points(labels: sitk.Image, *names: str) -> tuple[FloatArray, float]:
    """Voxels of some labels, thinned, LPS mm, and the volume that each stands for, mm³."""
    grid = grid_of(labels)
    stride = np.maximum(1, np.floor(_THINNED_MM / grid.spacing_mm)).astype(int)
    i, j, k = (int(n) for n in stride)
    array = sitk.GetArrayViewFromImage(labels)[::k, ::j, ::i]
    mask = np.zeros(array.shape, dtype=bool)
    for name in names:
        mask |= array == anatomy.vertebra(name).id
    box = content_box(mask)
    if box is None:
        return np.zeros((0, 3)), 0.0
    low = np.array([s.start for s in box])
    index = (np.argwhere(mask[box]) + low)[:, ::-1] * stride
    points = apply_matrix(grid.ijk_to_lps, index.astype(float))
    return points, float(np.prod(grid.spacing_mm * stride))
