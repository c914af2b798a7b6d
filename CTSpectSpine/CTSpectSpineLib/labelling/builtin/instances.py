"""Single vertebrae from the network's output: every voxel votes for the centre of its body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from CTSpectSpineLib.geometry import apply_matrix
from CTSpectSpineLib.labelling.builtin.atlas import with_atlas_and_axis
from CTSpectSpineLib.labelling.builtin.curve import Curve, Segment, find_segments, fit_curve
from CTSpectSpineLib.labelling.builtin.discs import cut_at_discs, disc_darkness
from CTSpectSpineLib.labelling.builtin.field import SpineField
from CTSpectSpineLib.labelling.builtin.network import BODY, CLASSES, MIDDLE, VERTEBRA, Float
from CTSpectSpineLib.model import BoolArray, FloatArray

_VOTER = 0.4
"""Least probability of a vertebra for a voxel to vote. Judgement: below one half, since the network
draws bones a little too small."""
_PAD = 12
"""Voxels around the grid in which votes still count. Numerical: 30 mm, more than a vote is far."""
_BLUR_MM = 3.5
"""Smoothing of the votes. Judgement: a quarter of the 14 mm between centres of the neck."""
_NEIGHBOURHOOD_MM = 4.0
"""Half width in which a peak is the highest. Judgement: well below those 14 mm."""
_CLOSEST_MM = 9.5
"""Two centres nearer than this are one. Judgement: those of the neck are 14 mm apart or more."""
_LEAST_MM3 = 900.0
"""Volume of the votes of a vertebra. Judgement: a body of the neck has 4000 mm³ and more, of which
a part may be in view."""
_LONGEST_STEP_MM = 62.0
"""Between neighbouring centres. Judgement: 1.7 lumbar steps, or two thoracic ones: one vertebra may
be missed."""
_FARTHEST_VOTE_MM = 24.0
"""By which a vote may miss the centre. Judgement: less than the step to the next lumbar one."""
_BODY_REACH_MM = 34.0
"""From the curve through the bodies to their farthest voxels. Judgement: a little more than the
half width of a lumbar body."""


@dataclass(frozen=True)
class Looks:
    """What the middle of a vertebra looks like: shares that add up to 1, or all 0 when unknown."""

    atlas: float = 0.0
    axis: float = 0.0
    cervical: float = 0.0
    thoracic: float = 0.0
    lumbar: float = 0.0

    def like(self, level: str) -> float:
        """Share that looks like a level."""
        if level in ("C1", "C2"):
            return self.atlas if level == "C1" else self.axis
        return {"C": self.cervical, "T": self.thoracic, "L": self.lumbar}[level[0]]

    @property
    def known(self) -> bool:
        """Whether anything was seen."""
        return max(self.atlas, self.axis, self.cervical, self.thoracic, self.lumbar) > 0


NOTHING_SEEN = Looks()


@dataclass(frozen=True)
class Instance:
    """One vertebra that was found, not yet named.

    Attributes
    ----------
    centre_mm
        Centre of its body, LPS mm.
    posterior
        Unit vector from the body to the arch, LPS.
    body_mm3, volume_mm3
        Volume of its body and of all of it.
    looks
        What its middle looks like.
    agreement
        Share of its voxels whose votes meet within 6 mm of the centre.
    cut
        Whether it touches the cranial or caudal end of the image.
    """

    centre_mm: FloatArray
    posterior: FloatArray
    body_mm3: float
    volume_mm3: float
    looks: Looks
    agreement: float
    cut: bool


@dataclass(frozen=True)
class Column:
    """The vertebrae of a spine, cranial to caudal.

    Attributes
    ----------
    instances
        The vertebrae.
    assigned
        Number of the vertebra (from 1 in their order) that each voxel of the field's grid
        belongs to, wherever there is any probability of a vertebra; 0 elsewhere.
    """

    instances: tuple[Instance, ...]
    assigned: NDArray[np.uint8]


def find_column(field: SpineField, ct: sitk.Image | None = None) -> Column:
    """Find the vertebrae of a CT and put them in order.

    Parameters
    ----------
    field
        The network's output.
    ct
        The CT itself, in whose discs long vertebrae are cut where it is fine enough; None to rely
        on the network alone.

    Votes give rough centres and their order along the spine; the curve through the bodies is
    divided into vertebrae where discs and votes say so (`curve`); then every voxel goes
    to a vertebra, those of the bodies by their place on the curve, the others by their vote.
    """
    whole = vertebra_share(field)
    nothing = Column((), np.zeros(whole.shape, dtype=np.uint8))
    index = np.argwhere(whole > _VOTER)
    if not len(index):
        return nothing
    at = tuple(index.T)
    votes = index + field.offsets[:, at[0], at[1], at[2]].T.astype(np.float64)
    central = _sum(field, MIDDLE)[at].astype(np.float64)
    weight = whole[at] * (0.25 + central)
    peaks, mass = _peaks(votes, weight, whole.shape, field.spacing_mm)
    chain = _chain(peaks * field.spacing_mm, mass)
    if not len(chain):
        return nothing
    to_lps = field.grid.ijk_to_lps
    disc = np.argwhere(field.shares[CLASSES.index("disc")] > 0.5)
    points, aims, discs, rough = (
        apply_matrix(to_lps, v[:, ::-1].astype(float)) for v in (index, votes, disc, peaks[chain])
    )
    is_body = central > 0.5 * whole[at]
    curve = fit_curve(rough, np.concatenate([points[is_body], discs]))
    along, away = curve.place(points)
    is_body &= away < _BODY_REACH_MM
    if not is_body.any():
        return nothing
    disc_at, disc_away = curve.place(discs) if len(discs) else (np.zeros(0), np.zeros(0))
    aim_at, _ = curve.place(aims)
    segments = find_segments(
        len(curve.points), along[is_body], disc_at[disc_away < _BODY_REACH_MM], aim_at[is_body]
    )
    segments, _ = cut_at_discs(segments, None if ct is None else disc_darkness(ct, curve))
    owner, distance = _owners(segments, curve, points, along, aims, aim_at, is_body)
    centres = np.array([curve.points[int(s.middle)] for s in segments])
    owner, centres = with_atlas_and_axis(owner, centres, field, index, points, aims)
    labels = np.zeros(whole.shape, dtype=np.uint8)
    labels[at] = owner
    labels = _tidied(labels, len(centres))
    return _described(field, labels, centres, index, distance, whole)


def _owners(
    segments: tuple[Segment, ...],
    curve: Curve,
    points: FloatArray,
    along: FloatArray,
    aims: FloatArray,
    aim_at: FloatArray,
    is_body: BoolArray,
) -> tuple[NDArray[np.intp], FloatArray]:
    """Vertebra (from 1) of each voxel, 0 for none, and how far its vote misses the centre, mm."""
    middles = np.array([s.middle for s in segments])
    lengths = np.array([s.length for s in segments])
    centres = curve.points[middles.astype(int)]
    # A vote's place along the spine decides; far beside the curve its distance does so too.
    voted = np.abs(aim_at[:, None] - middles) / lengths
    own = np.abs(along[:, None] - middles) / lengths
    by_vote, by_place = voted.argmin(axis=1), own.argmin(axis=1)
    rows = np.arange(len(points))
    clear = own[rows, by_place] < 0.36
    number = np.where(is_body & clear, by_place, by_vote)
    miss = np.linalg.norm(aims - centres[number], axis=1)
    outside = np.where(is_body, own[rows, number] > 0.75, voted[rows, number] > 0.8)
    far = outside | (miss > np.where(is_body, 45.0, _FARTHEST_VOTE_MM))
    return np.where(far, 0, number + 1), miss


def vertebra_share(field: SpineField) -> Float:
    """Probability that a voxel belongs to any vertebra, float32, ``[k, j, i]``."""
    return _sum(field, VERTEBRA)


def chosen(column: Column, indices: tuple[int, ...]) -> Column:
    """The column with some of its vertebrae only."""
    table = np.zeros(len(column.instances) + 1, dtype=np.uint8)
    for number, index in enumerate(indices, start=1):
        table[index + 1] = number
    return Column(tuple(column.instances[n] for n in indices), table[column.assigned])


def _sum(field: SpineField, classes: tuple[int, ...]) -> Float:
    total = np.zeros(field.hu.shape, dtype=np.float32)
    for c in classes:
        total += field.shares[c]
    return total


def _peaks(
    votes: FloatArray, weight: FloatArray, shape: tuple[int, ...], spacing_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Where votes meet: positions in voxels, and the volume of the votes near each, mm³."""
    cells = np.rint(votes).astype(int) + _PAD
    room = np.array(shape) + 2 * _PAD
    inside = np.all((cells >= 0) & (cells < room), axis=1)
    flat = np.ravel_multi_index(tuple(cells[inside].T), tuple(room))
    heat = np.bincount(flat, weight[inside], minlength=int(np.prod(room))).reshape(room)
    smooth = ndimage.gaussian_filter(heat, _BLUR_MM / spacing_mm)
    width = 2 * round(_NEIGHBOURHOOD_MM / spacing_mm) + 1
    top = (smooth == ndimage.maximum_filter(smooth, width)) & (smooth > 0)
    found = np.argwhere(top)
    near = ndimage.uniform_filter(heat, 2 * round(7.5 / spacing_mm) + 1)
    mass = near[tuple(found.T)] * (2 * round(7.5 / spacing_mm) + 1) ** 3 * spacing_mm**3
    height = smooth[tuple(found.T)]
    order = np.argsort(-height, kind="stable")
    kept: list[int] = []
    for n in order:
        if mass[n] < _LEAST_MM3:
            continue
        away = np.linalg.norm(found[kept] - found[n], axis=1) * spacing_mm if kept else [np.inf]
        if np.min(away) >= _CLOSEST_MM:
            kept.append(int(n))
    return (found[kept] - _PAD).astype(np.float64).reshape(-1, 3), mass[kept]


def _chain(points_mm: FloatArray, mass: FloatArray) -> list[int]:
    """Indices of the centres along the spine, from the cranial end.

    The longest path through the minimum spanning tree of the heaviest group: what lies beside
    the spine hangs on it as a short branch, or is too far away to belong to its group.
    """
    n = len(points_mm)
    if n == 0:
        return []
    distance = cdist(points_mm, points_mm)
    links = np.where(distance <= _LONGEST_STEP_MM, distance, 0.0)
    tree = minimum_spanning_tree(links).toarray()
    tree = np.maximum(tree, tree.T)
    neighbours = [np.flatnonzero(row) for row in tree]
    best: tuple[float, list[int]] = (-1.0, [])
    for start in range(n):
        for path in _paths(start, neighbours):
            weight = float(mass[path].sum())
            if weight > best[0]:
                best = (weight, path)
    path = best[1]
    if points_mm[path[0], 0] < points_mm[path[-1], 0]:
        path = path[::-1]
    return path


def _paths(start: int, neighbours: list[NDArray[np.intp]]) -> list[list[int]]:
    """All paths of a tree from one of its nodes to its leaves."""
    ends: list[list[int]] = []
    stack = [[start]]
    while stack:
        path = stack.pop()
        more = [int(m) for m in neighbours[path[-1]] if len(path) < 2 or m != path[-2]]
        if not more:
            ends.append(path)
        stack += [[*path, m] for m in more]
    return ends


def _tidied(labels: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Small loose pieces of a vertebra go to the one that they touch most."""
    result = labels.copy()
    boxes: list[tuple[slice, ...] | None] = list(ndimage.find_objects(labels, count))
    for number, box in enumerate(boxes, start=1):
        if box is None:
            continue
        grown = tuple(
            slice(max(0, s.start - 1), min(n, s.stop + 1))
            for s, n in zip(box, labels.shape, strict=True)
        )
        pieces, found = ndimage.label(labels[grown] == number)
        if found < 2:
            continue
        sizes = np.bincount(pieces.ravel())[1:]
        for piece in np.flatnonzero(sizes < 0.1 * sizes.max()) + 1:
            mask = pieces == piece
            rim = ndimage.binary_dilation(mask) & ~mask
            around = np.bincount(labels[grown][rim], minlength=count + 1)
            around[[0, number]] = 0
            result[grown][mask] = around.argmax() if around.any() else 0
    return np.asarray(result)


def _described(
    field: SpineField,
    labels: NDArray[np.uint8],
    centres: FloatArray,
    index: NDArray[np.intp],
    distance_mm: FloatArray,
    whole: Float,
) -> Column:
    """Measure the vertebrae, leave out those of which too little is there, and spread labels."""
    owner = labels[tuple(index.T)]
    body = _sum(field, BODY)
    central = _sum(field, MIDDLE)[tuple(index.T)]
    cell = field.spacing_mm**3
    instances, numbers = [], []
    for number, point in enumerate(centres, start=1):
        mine = owner == number
        if np.count_nonzero(mine) * cell < _LEAST_MM3:
            continue
        at = tuple(index[mine].T)
        shares = field.shares[:, at[0], at[1], at[2]].astype(np.float64).sum(axis=1)
        kernel = index[mine][central[mine] > 0.5]
        if len(kernel) * cell >= _LEAST_MM3:
            point = apply_matrix(field.grid.ijk_to_lps, kernel.mean(axis=0)[None, ::-1])[0]
        whole_centre = apply_matrix(field.grid.ijk_to_lps, index[mine].mean(axis=0)[None, ::-1])
        way = whole_centre[0] - point
        levels = index[mine][:, 0]
        instances.append(
            Instance(
                centre_mm=point,
                posterior=way / max(float(np.linalg.norm(way)), 1e-6),
                body_mm3=float(np.count_nonzero(body[at] > 0.5)) * cell,
                volume_mm3=float(np.count_nonzero(mine)) * cell,
                looks=_looks(shares),
                agreement=float(np.mean(distance_mm[mine] <= 6.0)),
                cut=bool(levels.min() <= 0 or levels.max() >= labels.shape[0] - 1),
            )
        )
        numbers.append(number)
    table = np.zeros(len(centres) + 1, dtype=np.uint8)
    table[numbers] = np.arange(1, len(numbers) + 1)
    return Column(tuple(instances), _spread(table[labels], whole > 0.02, field.spacing_mm))


def _looks(shares: FloatArray) -> Looks:
    """Looks from sums of probabilities over a vertebra's voxels, one per class."""
    kinds = shares[list(MIDDLE)]
    cervical, thoracic, lumbar, atlas, axis = (kinds / max(float(kinds.sum()), 1e-6)).tolist()
    return Looks(atlas, axis, cervical, thoracic, lumbar)


def _spread(labels: NDArray[np.uint8], where: BoolArray, spacing_mm: float) -> NDArray[np.uint8]:
    """Labels on all voxels of a mask within 6 mm, from the nearest labelled one."""
    result = np.zeros_like(labels)
    boxes = [b for b in ndimage.find_objects((labels > 0).astype(np.uint8)) if b is not None]
    if not boxes:
        return result
    box = tuple(
        slice(max(0, s.start - 4), min(n, s.stop + 4))
        for s, n in zip(boxes[0], labels.shape, strict=True)
    )
    part = labels[box]
    distance, nearest = ndimage.distance_transform_edt(part == 0, return_indices=True)
    filled = part[tuple(nearest)]
    result[box] = np.where(where[box] & (distance * spacing_mm <= 6.0), filled, 0)
    return result
