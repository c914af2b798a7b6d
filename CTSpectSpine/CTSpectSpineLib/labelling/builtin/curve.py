"""The curve through the vertebral bodies, and the row of vertebrae along it.

Discs, votes and the regularity of a spine decide together where one vertebra ends and the next
begins: a sequence of segments along the curve, found by dynamic programming.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.interpolate import splev, splprep
from scipy.spatial import cKDTree

from CTSpectSpineLib.model import FloatArray

_BEYOND_MM = 40.0
"""Length by which the curve is prolonged at both ends. Judgement: a lumbar vertebra with its
disc."""
_NEAR_MM = 32.0
"""Distance from the curve up to which voxels shape it. Judgement: a little more than the half width
of a lumbar body."""
_BIN_MM = 6.0
"""Length of the pieces in which voxels are averaged. Numerical: a few for each vertebra."""
_SHORTEST_MM, _LONGEST_MM = 11, 46
"""Length of a vertebra with its disc. Judgement: 0.65 of the usual one in the neck (17 mm), and 1.3
times that of the lumbar spine (36 mm)."""
_RATIO = 1.45
"""Largest ratio of neighbours' lengths. Judgement: larger ones are a missed or invented border."""
_SMOOTH = 25.0
"""Cost, mm, of the squared logarithm of that ratio. Judgement: a ratio of 1.2 costs about 1 mm."""
_COST = 0.45
"""What a millimetre must be worth to belong to a vertebra. Judgement: a quarter of what it is worth
when votes and discs agree (1.8)."""


@dataclass(frozen=True)
class Curve:
    """A smooth curve with a point every millimetre, from cranial to caudal.

    Attributes
    ----------
    points
        LPS mm, shape (n, 3).
    tree
        Search tree of the points.
    """

    points: FloatArray
    tree: cKDTree

    def place(self, points_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Arc length, mm, of the nearest point of the curve, and the distance to it."""
        distance, nearest = self.tree.query(points_mm)
        return np.asarray(nearest, dtype=float), np.asarray(distance, dtype=float)


@dataclass(frozen=True)
class Segment:
    """A vertebra along the curve: arc length of its two ends, mm, and its score per mm."""

    start: float
    end: float
    score: float

    @property
    def middle(self) -> float:
        """Arc length of its middle."""
        return 0.5 * (self.start + self.end)

    @property
    def length(self) -> float:
        """Its length."""
        return self.end - self.start


def fit_curve(ordered_mm: FloatArray, material_mm: FloatArray) -> Curve:
    """Fit a curve to the middle of bodies and discs.

    Parameters
    ----------
    ordered_mm
        Rough centres in order, cranial first, shape (n, 3).
    material_mm
        Voxels of bodies and discs, shape (m, 3).
    """
    curve = _smooth(ordered_mm, 5.0)
    for _ in range(3):
        along, away = curve.place(material_mm)
        inner = (away < _NEAR_MM) & (along > 0) & (along < len(curve.points) - 1)
        cells = (along[inner] / _BIN_MM).astype(int)
        count = np.bincount(cells)
        sums = [np.bincount(cells, material_mm[inner, axis]) for axis in range(3)]
        full = count > 0.3 * np.median(count[count > 0]) if count.any() else count > 0
        if np.count_nonzero(full) < 2:
            return curve
        curve = _smooth(np.stack(sums, axis=1)[full] / count[full, None], 2.0)
    return curve


def _smooth(points: FloatArray, spread_mm: float) -> Curve:
    """Smoothing spline through points, prolonged straight at both ends."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    points = points[np.concatenate([[True], steps > 1e-3])]
    if len(points) == 1:
        points = points + np.array([[0, 0, 5.0], [0, 0, -5.0]])
    degree = min(3, len(points) - 1)
    length = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    spline, _ = splprep(points.T, k=degree, s=len(points) * spread_mm**2)
    ticks = np.linspace(0, 1, max(8, int(4 * length)))
    line = np.stack(splev(ticks, spline), axis=1)  # type: ignore[call-overload]
    reach = max(1, min(len(line) - 1, 80))
    first, last = line[0] - line[reach], line[-1] - line[-1 - reach]
    ticks = np.arange(1.0, _BEYOND_MM + 1)
    head = line[0] + ticks[::-1, None] * first / np.linalg.norm(first)
    tail = line[-1] + ticks[:, None] * last / np.linalg.norm(last)
    whole = np.concatenate([head, line, tail])
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(whole, axis=0), axis=1))])
    even = np.arange(0, arc[-1], 1.0)
    points = np.stack([np.interp(even, arc, whole[:, axis]) for axis in range(3)], axis=1)
    return Curve(points, cKDTree(points))


def find_segments(
    length: int, body_at: FloatArray, disc_at: FloatArray, votes_at: FloatArray
) -> tuple[Segment, ...]:
    """Divide a curve into vertebrae.

    Parameters
    ----------
    length
        Points of the curve, one per mm.
    body_at, disc_at
        Arc length of the voxels of bodies and discs.
    votes_at
        Arc length of the votes of the bodies' voxels.
    """
    body, disc, votes = (_profile(at, length) for at in (body_at, disc_at, votes_at))
    material = body + disc
    typical = ndimage.median_filter(material, 61)
    present = np.clip(material / np.maximum(0.5 * typical, 1e-6), 0, 1) * (material > 0)
    dark = disc / np.maximum(material, 1e-6) * present
    tables = [np.concatenate([[0], np.cumsum(v)]) for v in (votes, dark, present)]
    rim = ndimage.maximum_filter1d(dark, 5)
    lengths = np.arange(_SHORTEST_MM, _LONGEST_MM + 1)
    scores = np.full((length + 1, len(lengths)), -np.inf)
    for n, long in enumerate(lengths.tolist()):
        ends = np.arange(long, length + 1)
        scores[ends, n] = _segment_scores(ends - long, long, tables, rim)
    return _best_row(scores, lengths)


def _profile(at: FloatArray, length: int) -> FloatArray:
    counts = np.bincount(np.clip(np.rint(at), 0, length - 1).astype(int), minlength=length)
    return np.asarray(ndimage.gaussian_filter1d(counts.astype(float), 1.5))


def _segment_scores(
    start: np.ndarray, long: int, tables: list[FloatArray], rim: FloatArray
) -> FloatArray:
    """Worth of all segments of a length."""

    def inside(table: FloatArray, low: float, high: float) -> FloatArray:
        a = np.rint(start + low * long).astype(int)
        b = np.maximum(np.rint(start + high * long).astype(int), a + 1)
        return np.asarray(table[np.minimum(b, len(table) - 1)] - table[a])

    votes, dark, present = tables
    met = inside(votes, 0.28, 0.72) / np.maximum(inside(votes, 0.0, 1.0), 1e-6)
    core = inside(dark, 0.25, 0.75) / (0.5 * long)
    ends = 0.5 * (rim[start] + rim[np.minimum(start + long, len(rim) - 1)])
    worth = met + 0.8 * ends - core - _COST
    return np.asarray(worth * inside(present, 0.0, 1.0))


def _best_row(scores: FloatArray, lengths: np.ndarray) -> tuple[Segment, ...]:
    """Row of adjoining segments of the highest worth; neighbours are of similar length."""
    total = len(scores)
    ratio = np.log(lengths[:, None] / lengths[None, :])
    cost = np.where(np.abs(ratio) <= np.log(_RATIO), _SMOOTH * ratio**2, np.inf)
    best = np.full_like(scores, -np.inf)
    before = np.full(scores.shape, -1, dtype=int)
    for end in range(total):
        for n, long in enumerate(lengths):
            if end < long or not np.isfinite(scores[end, n]):
                continue
            options = best[end - long] - cost[n]
            choice = int(options.argmax())
            if options[choice] > 0:
                best[end, n] = scores[end, n] + options[choice]
                before[end, n] = choice
            else:
                best[end, n] = scores[end, n]
    at, kind = (int(v) for v in np.unravel_index(int(best.argmax()), best.shape))
    row: list[Segment] = []
    while kind >= 0:
        long = int(lengths[kind])
        worth = float(scores[at, kind]) / long
        row.append(Segment(float(at - long), float(at), worth))
        at, kind = at - long, int(before[at, kind])
    return tuple(reversed(row))
