"""Discs seen in the HU along the column: what the network's coarse grid has merged is cut there.

On real necks the network, which sees 2.5 mm, may take two bodies with their disc for one vertebra.
Where the CT is finer, the disc is a dark line between two bright endplates.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps, inverse
from CTSpectSpineLib.labelling.builtin.curve import Curve, Segment
from CTSpectSpineLib.model import FloatArray

COARSEST_MM = 2.0
"""Largest voxel size at which discs are looked for. Measured: in a real chest CT with slices of 2.5
mm the discs between thoracic vertebrae are no longer darker than their endplates."""
_RADIUS_MM = 6.0
"""Of the middle of the column that is looked at. Judgement: within a cervical body, 15 mm deep."""
_HALF_DISCS_MM = (2, 3, 4)
"""Half heights of discs. Judgement: 4 to 8 mm; between the endplates of one body there are 10 mm
and more."""
_LONG_MM = 26.0
"""Length of a vertebra with its disc that may hold two. Judgement: two of the neck have 30 mm and
more, one of them up to 20 mm."""
_SHORTEST_MM = 12.0
"""Of each part of a vertebra that is cut. Judgement: a little less than a cervical step of a small
adult (14 mm)."""
_LEAST_HU = 50.0
"""Darkness of a disc against its endplates. Judgement: three times the noise of a mean over the
middle of the column."""
_AS_DARK = 0.8
"""Darkness relative to the discs at both ends, at least. Measured on two real CTs: the inside of a
whole vertebra reaches 0.1 to 0.6 of it where slices are thin enough."""


def disc_darkness(ct: sitk.Image, curve: Curve) -> FloatArray | None:
    """How much darker than what lies 4 to 7 mm above and below each point of the curve is, HU.

    Returns
    -------
    FloatArray or None
        One value per point (mm) of the curve; None where the CT is too coarse.
    """
    if max(ct.GetSpacing()) > COARSEST_MM:
        return None
    points = curve.points
    along = np.gradient(ndimage.gaussian_filter1d(points, 4.0, axis=0), axis=0)
    along /= np.linalg.norm(along, axis=1)[:, None]
    across = np.cross(along, (0.0, 1.0, 0.0))
    across /= np.maximum(np.linalg.norm(across, axis=1)[:, None], 1e-6)
    other = np.cross(along, across)
    grid = np.linspace(-_RADIUS_MM, _RADIUS_MM, 7)
    u, v = (axis.ravel() for axis in np.meshgrid(grid, grid))
    inside = np.hypot(u, v) <= _RADIUS_MM
    u, v = u[inside], v[inside]
    places = points[:, None] + u[:, None] * across[:, None] + v[:, None] * other[:, None]
    index = apply_matrix(inverse(ijk_to_lps(ct)), places.reshape(-1, 3))[:, ::-1].T
    hu = ndimage.map_coordinates(
        sitk.GetArrayViewFromImage(ct), index, order=1, mode="nearest", output=np.float32
    )
    return _darkness(np.median(hu.reshape(len(points), -1), axis=1).astype(float))


def _darkness(profile: FloatArray) -> FloatArray:
    sums = np.concatenate([[0.0], np.cumsum(profile)])
    places = np.arange(len(profile))

    def mean(low: int, high: int) -> FloatArray:
        a = np.clip(places + low, 0, len(profile) - 1)
        b = np.clip(places + high + 1, 1, len(profile))
        return np.asarray((sums[b] - sums[a]) / (b - a))

    best = np.full(len(profile), -np.inf)
    for half in _HALF_DISCS_MM:
        middle = mean(1 - half, half - 1) if half < 3 else mean(2 - half, half - 2)
        rim = np.minimum(mean(-half - 3, -half - 1), mean(half + 1, half + 3))
        best = np.maximum(best, rim - middle)
    return best


def cut_at_discs(
    segments: tuple[Segment, ...], darkness: FloatArray | None
) -> tuple[tuple[Segment, ...], tuple[float, ...]]:
    """Cut vertebrae that hold a disc.

    Parameters
    ----------
    segments
        Vertebrae along the curve.
    darkness
        From `disc_darkness`; None leaves all as they are.

    Returns
    -------
    tuple
        The vertebrae, and the arc lengths, mm, at which one was cut.
    """
    if darkness is None:
        return segments, ()
    found: list[Segment] = []
    cuts: list[float] = []
    for part in segments:
        at = _disc_inside(part, darkness) if part.length >= _LONG_MM else None
        if at is None:
            found.append(part)
            continue
        cuts.append(at)
        found += [Segment(part.start, at, part.score), Segment(at, part.end, part.score)]
    return tuple(found), tuple(cuts)


def _disc_inside(part: Segment, darkness: FloatArray) -> float | None:
    """Arc length of a disc in the middle of a vertebra, as dark as those at its ends."""

    def around(place: float) -> float:
        low = max(0, round(place) - 4)
        return float(darkness[low : round(place) + 5].max())

    quarter = max(_SHORTEST_MM, 0.35 * part.length)
    low, high = round(part.start + quarter), round(part.end - quarter)
    if high <= low:
        return None
    at = low + int(darkness[low : high + 1].argmax())
    ends = min(around(part.start), around(part.end))
    dark = float(darkness[at])
    return float(at) if dark >= max(_LEAST_HU, _AS_DARK * ends) else None
