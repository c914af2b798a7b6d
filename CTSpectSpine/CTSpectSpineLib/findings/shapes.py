"""Shapes of uptake above the ordinary: parts of joints, whole vertebrae, balls, organs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.findings.grid import REACH, Scene
from CTSpectSpineLib.model import BoolArray, FloatArray, Joint, SpineJoints

SOFT, SEEN = 0.15, 0.5
"""Share of bone below which a voxel is soft tissue, and share of the CT below which it is not seen.
Judgement: the blur carries some bone into every neighbour."""
OUTSIDE_EXCESS = 1.0
"""As `EXCESS`, outside the CT. Judgement: nothing is known of what lies there."""
HOLLOW_MM = 12.0
"""Organs larger than this are placed by their middle, smaller ones by their hottest voxel.
Numerical."""
EXCESS = 0.5
"""Least excess over the upper limit of the ordinary that begins a focus, as a ratio. Judgement, see
docs/validation/findings.md for what it finds and what it takes for foci wrongly."""


@dataclass(frozen=True)
class Shape:
    """One shape.

    Attributes
    ----------
    kind
        ``joint``, ``vertebra``, ``focus``, ``organ``.
    name
        Joint id or level; empty for foci.
    part
        Part of the joint.
    column
        What it looks like with uptake 1, over all voxels.
    centre_mm
        Its middle, LPS mm.
    radius_mm
        Radius of a ball of its volume.
    """

    kind: str
    name: str
    part: str
    column: sparse.csc_matrix = field(repr=False)
    centre_mm: FloatArray
    radius_mm: float


def joint_shapes(scene: Scene, joints: SpineJoints) -> list[Shape]:
    """Parts of the joints that read above the ordinary."""
    shapes: list[Shape] = []
    for joint in joints.joints:
        if joint.bone is None or joint.centre_mm is None or not joint.bone.mask.any():
            continue
        for part, points, volume in _parts(joint, joints):
            column = scene.blurred(points, volume)
            if column is None or not _is_raised(scene, column):
                continue
            radius = float((0.75 / np.pi * len(points) * volume) ** (1 / 3))
            shapes.append(Shape("joint", joint.id, part, column, points.mean(axis=0), radius))
    return shapes


def _is_raised(scene: Scene, column: sparse.csc_matrix) -> bool:
    at = column.indices
    core = at[column.data > 0.6 * column.data.max()]
    excess = scene.ratio.ravel()[core] - scene.usual.ravel()[core]
    return bool(len(core)) and float(excess.max()) > 0.15


def _parts(joint: Joint, joints: SpineJoints) -> list[tuple[str, FloatArray, float]]:
    assert joint.bone is not None
    assert joint.centre_mm is not None
    ends = {name: joint.parts[name] for name in ("endplate_upper", "endplate_lower")
            if name in joint.parts}  # fmt: skip
    if joint.kind == "facet" or not ends:
        return [("", joint.bone.points_mm(), joint.bone.voxel_volume_mm3)]
    frame = joints.frames.get(joint.upper) or joints.frames.get(joint.lower)
    axes = np.eye(3) if frame is None else frame.axes
    found = []
    for name, region in ends.items():
        points = region.points_mm()
        if not len(points):
            continue
        away = (points - joint.centre_mm) @ axes.T
        front = away[:, 1] < np.median(away[:, 1])
        left = away[:, 0] > 0
        for side, chosen in (
            ("left front", left & front),
            ("right front", ~left & front),
            ("left back", left & ~front),
            ("right back", ~left & ~front),
        ):
            if chosen.any():
                found.append((f"{name} {side}", points[chosen], region.voxel_volume_mm3))
    return found


def organ_shapes(scene: Scene) -> list[Shape]:
    """Pieces of uptake in soft tissue, or outside the CT: each as it is seen at half its height."""
    excess = scene.ratio - scene.limit
    outside = scene.seen_share < SEEN
    soft = (scene.bone_share < SOFT) & (excess > EXCESS) & ~outside
    soft |= outside & (excess > OUTSIDE_EXCESS)
    pieces, count = ndimage.label(soft)
    shapes = []
    taken: BoolArray = np.zeros(soft.shape, dtype=bool)
    for number in _by_peak(pieces, scene.ratio, count):
        mine = pieces == number
        if (mine & taken).any():
            continue  # part of an organ that a hotter part stands for
        here = _half_height(scene, mine)
        taken |= ndimage.binary_dilation(here | mine, iterations=2)
        shapes.append(_organ(scene, here))
    return shapes


def _half_height(scene: Scene, piece: BoolArray) -> BoolArray:
    """What is connected with the hottest voxel of a piece at half of its uptake, outside bone."""
    hottest = np.unravel_index(int(np.argmax(np.where(piece, scene.ratio, -np.inf))), piece.shape)
    high = (scene.ratio > 0.5 * scene.ratio[hottest]) & (scene.bone_share < 0.5)
    high[hottest] = True
    pieces, _ = ndimage.label(high)
    return np.asarray(pieces == pieces[hottest])


def _organ(scene: Scene, here: BoolArray) -> Shape:
    kji = np.argwhere(here)
    margin = np.ceil(REACH * scene.sigmas).astype(int)
    low = np.maximum(kji.min(axis=0) - margin, 0)
    high = np.minimum(kji.max(axis=0) + margin + 1, here.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    seen = ndimage.gaussian_filter(
        here[box].astype(float), scene.sigmas, mode="constant", truncate=REACH
    )
    volume = len(kji) * float(np.prod(scene.spacing))
    radius = float((0.75 / np.pi * volume) ** (1 / 3))
    hottest = kji[int(np.argmax(scene.ratio[here]))]
    middle = kji.mean(axis=0) if radius > HOLLOW_MM else hottest
    return Shape("organ", "", "", scene.column(seen, low), scene.point(middle), radius)


def _by_peak(pieces: NDArray[Any], ratio: FloatArray, count: int) -> list[int]:
    """Numbers of pieces, the hottest first."""
    if not count:
        return []
    # What lies in no piece, which is nearly all, would be sorted as well.
    inside = pieces > 0
    peaks = ndimage.maximum(ratio[inside], pieces[inside], np.arange(1, count + 1))
    return [int(n) + 1 for n in np.argsort(-np.asarray(peaks), kind="stable")]


def ball(scene: Scene, kji: FloatArray, radius_mm: float) -> Shape:
    """A ball as the SPECT shows it: a Gaussian of its variance and content."""
    width = (
        np.sqrt(scene.sigma_mm**2 + radius_mm**2 / 5.0 + scene.spacing[::-1] ** 2 / 12.0)
        / scene.spacing[::-1]
    )
    volume = 4.0 / 3.0 * np.pi * radius_mm**3 / float(np.prod(scene.spacing))
    reach = REACH * width
    low = np.maximum(np.floor(kji - reach).astype(int), 0)
    high = np.minimum(np.ceil(kji + reach).astype(int) + 1, scene.ratio.shape)
    high = np.maximum(high, low + 1)
    axes = [
        np.exp(-0.5 * ((np.arange(a, b) - c) / w) ** 2) / (np.sqrt(2 * np.pi) * w)
        for a, b, c, w in zip(low, high, kji, width, strict=True)
    ]
    values = volume * np.einsum("k,j,i->kji", *axes)
    return Shape("focus", "", "", scene.column(values, low), scene.point(kji), radius_mm)


def vertebra_shape(scene: Scene, level: str) -> Shape | None:
    """All of a vertebra above the sacrum; None where the SPECT does not show it."""
    if level in anatomy.SACRAL:
        return None
    points = scene.coarse.points_of(anatomy.vertebra(level).id)
    column = scene.blurred(points, scene.coarse.volume_mm3) if len(points) else None
    if column is None:
        return None
    radius = float((0.75 / np.pi * len(points) * scene.coarse.volume_mm3) ** (1 / 3))
    return Shape("vertebra", level, "", column, points.mean(axis=0), radius)
