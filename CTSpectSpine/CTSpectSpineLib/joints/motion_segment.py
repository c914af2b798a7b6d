"""The local frame and samples of one motion segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.geometry import Grid
from CTSpectSpineLib.joints.frames import Canal, Fit, axes_from, unit
from CTSpectSpineLib.joints.label_volume import (
    LabelVolume,
    Occupancy,
    crop_to_content,
    local_grid,
    occupancy,
)
from CTSpectSpineLib.model import BoolArray, FloatArray, Region

STEP_MM = 1.0
"""Voxels of the local grids, mm. Numerical: a quarter of the endplate bands and facet regions."""
_LATERAL_MM = 45.0
"""Reach to either side, mm. Judgement: beyond the widest facet joints (about 25 mm) and their
region."""
_BEHIND_WALL_MM = 48.0
"""Reach behind the posterior wall, mm. Judgement: beyond the facet joints (about 20 mm) and their
region."""
_VERTICAL_MM = 26.0
"""Reach above and below mid-disc, mm. Judgement: half the highest disc and most of a lumbar
body."""


@dataclass(frozen=True)
class Pair:
    """Two neighbouring vertebrae on a grid of 1 mm around the middle of their disc.

    Local coordinates l, p, s run to the patient's left, to posterior and to superior; the
    grid's axes i, j, k follow them, so arrays are indexed ``[s, p, l]``.

    Attributes
    ----------
    upper, lower
        The fits of both vertebrae.
    grid
        The local grid.
    l_mm, p_mm, s_mm
        Local coordinates of its voxel centres.
    upper_bone, lower_bone
        Share of each voxel that the vertebra fills.
    semi_axes_mm
        Mean half width and half depth of both bodies.
    canal
        Mean canal of both.
    """

    upper: Fit
    lower: Fit
    grid: Grid
    origin: FloatArray
    axes: FloatArray
    l_mm: FloatArray
    p_mm: FloatArray
    s_mm: FloatArray
    upper_bone: Occupancy
    lower_bone: Occupancy
    semi_axes_mm: tuple[float, float]
    canal: Canal

    def to_lps(self, local: FloatArray) -> FloatArray:
        """Local points in LPS mm."""
        return self.origin + np.asarray(local, dtype=float) @ self.axes

    def region(self, mask: BoolArray) -> Region:
        """Cropped region of a mask on the pair's grid."""
        return Region(*crop_to_content(mask, self.grid.ijk_to_lps))


def make_pair(
    volume: LabelVolume,
    upper: Fit,
    lower: Fit,
    upper_ids: Sequence[int],
    lower_ids: Sequence[int],
) -> Pair:
    """Place the frame at mid-disc and sample both vertebrae around it."""
    origin, normal = _middle(upper, lower)
    posterior = unit(sum_reliable(upper, lower, 1))
    axes = axes_from(normal, posterior)
    canal = _mean_canal(upper, lower, origin, axes)
    semi = (
        0.5 * (upper.semi_axes_mm[0] + lower.semi_axes_mm[0]),
        0.5 * (upper.semi_axes_mm[1] + lower.semi_axes_mm[1]),
    )
    low = np.array([-_LATERAL_MM, -1.45 * semi[1] - 3.0, -_VERTICAL_MM])
    high = np.array([_LATERAL_MM, canal.wall_mm + _BEHIND_WALL_MM, _VERTICAL_MM])
    grid = local_grid(origin, axes, low, high, STEP_MM)
    first = np.floor(low / STEP_MM) * STEP_MM
    coordinates = [first[axis] + STEP_MM * np.arange(n) for axis, n in enumerate(grid.size)]
    return Pair(
        upper=upper,
        lower=lower,
        grid=grid,
        origin=origin,
        axes=axes,
        l_mm=coordinates[0],
        p_mm=coordinates[1],
        s_mm=coordinates[2],
        upper_bone=occupancy(volume, upper_ids, grid),
        lower_bone=occupancy(volume, lower_ids, grid),
        semi_axes_mm=semi,
        canal=canal,
    )


def sum_reliable(upper: Fit, lower: Fit, axis: int) -> FloatArray:
    """Sum of one axis of both vertebrae, or of the more trusted one alone."""
    if upper.trust == lower.trust:
        return np.asarray(upper.axes[axis] + lower.axes[axis])
    return np.asarray((upper if upper.trust > lower.trust else lower).axes[axis])


def _middle(upper: Fit, lower: Fit) -> tuple[FloatArray, FloatArray]:
    """Middle of the disc and its axis to superior."""
    above, below = upper.bottom, lower.top
    if above is not None and below is not None:
        return (above.point + below.point) / 2, unit(above.normal + below.normal)
    if above is not None:
        return above.point - 4.0 * above.normal, above.normal
    if below is not None:
        return below.point + 4.0 * below.normal, below.normal
    return (upper.centre + lower.centre) / 2, unit(sum_reliable(upper, lower, 2))


def _mean_canal(upper: Fit, lower: Fit, origin: FloatArray, axes: FloatArray) -> Canal:
    """Canal at mid-disc: walls of both vertebrae in the pair's frame, typical sizes last."""
    walls = []
    for fit, plane in ((upper, upper.bottom), (lower, lower.top)):
        base = plane.point if plane is not None else fit.centre
        wall = base + fit.canal.wall_mm * fit.axes[1]
        walls.append(float((wall - origin) @ axes[1]))
    weights = [1.0 if fit.canal.measured else 0.25 for fit in (upper, lower)]
    mean = [
        float(np.average([getattr(fit.canal, name) for fit in (upper, lower)], weights=weights))
        for name in ("depth_mm", "width_mm")
    ]
    measured = upper.canal.measured or lower.canal.measured
    return Canal(float(np.average(walls, weights=weights)), mean[0], mean[1], measured)
