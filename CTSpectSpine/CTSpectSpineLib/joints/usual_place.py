"""Where a facet joint is to be expected from the bone behind the disc, however it is divided.

On CT of 1.5 to 3 mm the joint space is not dark throughout, and labels may divide the articular
processes wrongly. But all of both processes together is seen, and the joint lies in it at a place
that hardly differs between people. A plane there is moved to where the CT is darker than on both
sides, if it is, and in the lumbar spine to where the bone of both sides together is brightest: two
subchondral plates are, whether or not the CT shows the line between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.joints.arch import Arch, Sheet
from CTSpectSpineLib.model import FloatArray

LUMBAR = ("T12", "T13", *(f"L{n}" for n in range(1, 7)))
"""Upper vertebrae of joints of the lumbar kind: upright, more sagittal than coronal. By definition
of `facet_places.json`, where they share one fit."""

_TABLE = Path(__file__).parent / "facet_places.json"
_BONE_L_MM, _BONE_P_MM, _BONE_S_MM = (6.0, 30.0), (1.0, 28.0), (-8.0, 4.0)
"""From where to where the bone counts that the place follows from: from the midline, behind the
posterior wall, above mid-disc, mm. Judgement: both articular processes and part of the lamina;
`facet_places.json` belongs to these."""
_REAL_MM = (0.6, 0.8, 1.0)
"""How far from there lumbar joints lie in real people (to their own side, to posterior, to
superior), mm. Measured on three real CTs, after the plane was moved: 0.8, 2.3 and 2.6 mm to
posterior along the joint and 0.6, 1.3 and 2.0 mm to superior. Judgement: 1 mm of each, since any
two of them agree on more than that."""
_LEAST_BONE = 60
"""Fewest voxels of that bone. Judgement: a tenth of what two thoracic processes have."""
_LABELS_WEIGHT, _LABELS_MM = 0.4, 4.0
"""How much the place by the labels counts across the joint, and from which distance no more than
that, mm. Measured on the built-in labels of a chest CT: 0.4 leaves 2.6 mm, 0 3.6 mm and 0.6
2.7 mm of error."""
_SPREAD_MM = 2.0
"""Standard deviation of the true place across the joint, mm. Measured on label maps of four
patients: 1.0 to 1.8."""
_TURN_DEG, _TURNS_DEG = 12.0, (-20.0, -10.0, 0.0, 10.0, 20.0)
"""Standard deviation of the joint's angle to the sagittal plane, and angles that are tried,
degrees. Standard: 6 to 8 within a level (`phantom/anatomy/facet_variety.json`); Judgement: and as
much again for the frame."""
_DISC_MM = 7.0
"""Radius of the disc on which the CT is averaged, mm. Judgement: half of an articular surface."""
_FARTHEST_MM, _OFFSET_STEP_MM = 8.0, 0.5
"""How far and in which steps the disc is moved, mm. Judgement: four standard deviations;
Numerical: half a voxel."""
_PLATES, _PLATES_MM = 0.07, 2.0
"""Brightness of both subchondral plates together, relative to the brightest, that outweighs half a
squared standard deviation, and standard deviation of the blur across the joint that joins them, mm.
Judgement: half of two plates with the space between. Measured across the joint, as root mean
squares: 0.05 to 0.1 leave 0.8 to 1.0 mm on a CT of 3 mm voxels (none of it 2.5 mm), 0.9 mm on a
chest CT (0.6 mm) and 1.2 mm on five phantoms (1.5 mm), whose bones are bright all around; 1.5 to 3
mm of blur do alike. Not in the thoracic spine: there the lamina is as bright."""
_BESIDE_MM = 3.0
"""How far beside a joint space its bright cortices are looked for, mm. Judgement: half the space
and a subchondral plate."""
_VALLEY = 0.2
"""Depth of a dark line, relative to the brightest disc, that outweighs half a squared standard
deviation. Measured on built-in labels of a chest CT: 0.1 to 0.3 do alike, with 2.1 to 2.2 mm of
error."""


@dataclass(frozen=True)
class Place:
    """A facet joint where it is expected.

    Attributes
    ----------
    sheet
        The plane of its space.
    labels_mm
        How far the joint by the labels lies from it towards the lower bone; negative towards the
        upper bone, None where there is none.
    """

    sheet: Sheet
    labels_mm: float | None


@dataclass(frozen=True)
class _Usual:
    """Weights of a joint's l, p, s (3 × 5) and the direction across it."""

    weights: FloatArray
    normal: FloatArray


@cache
def _usual() -> Mapping[str, _Usual]:
    table = json_table(_TABLE)
    weights = {
        upper: np.array([row[axis] for axis in "lps"])
        for row in table["fits"]
        for upper in row["uppers"]
    }
    normals = {
        upper: np.array(row["normal"]) / np.linalg.norm(row["normal"])
        for row in table["normals"]
        for upper in row["uppers"]
    }
    return {upper: _Usual(weights[upper], normals[upper]) for upper in weights}


def usual_place(arch: Arch, sign: float, by_labels: FloatArray | None) -> Place | str:
    """Where the joint of one side is expected, or in a sentence why that is not known.

    Parameters
    ----------
    arch
        The bone, on the CT.
    sign
        +1 for the patient's left, -1 for the right.
    by_labels
        The joint's centre by the labels, LPS mm.
    """
    pair = arch.pair
    usual = _usual().get(pair.upper.level)
    if usual is None:
        return "its usual place is not known"
    sacral = pair.lower.level in anatomy.SACRAL
    if pair.upper.trust < 2 or (pair.lower.trust < 2 and not sacral):
        return "its usual place is not known where a vertebra is cut"
    middle = _expected(arch, sign, usual)
    if middle is None:
        return "the CT shows no bone at its usual place"
    normal = usual.normal * np.array([sign, 1.0, 1.0])
    real = middle
    if pair.upper.level in LUMBAR:
        farther = np.array(_REAL_MM) * np.array([sign, 1.0, 1.0])
        real = middle + farther - (farther @ normal) * normal
    across = None
    if by_labels is not None:
        across = float(((by_labels - pair.origin) @ pair.axes.T - middle) @ normal)
    likely = _LABELS_WEIGHT * float(np.clip(across or 0.0, -_LABELS_MM, _LABELS_MM))
    plates = _PLATES if pair.upper.level in LUMBAR else np.inf
    # Whether labels are wrong is judged without the plates, which may be those beside the joint.
    (moved, turned), (plain, _) = (
        max(
            (_tried(arch, start, _turned(normal, t), likely, t, weight) for t in _TURNS_DEG),
            key=lambda tried: tried[0],
        )[1:]
        for start, weight in ((real, plates), (middle, np.inf))
    )
    return Place(Sheet(real + moved * turned, turned), None if across is None else across - plain)


def _expected(arch: Arch, sign: float, usual: _Usual) -> FloatArray | None:
    """Local l, p, s of the joint's middle; None without bone there."""
    left, behind, above = arch.coordinates()
    lateral, behind = sign * left, behind - arch.pair.canal.wall_mm
    here = arch.bone.copy()
    for value, (low, high) in ((lateral, _BONE_L_MM), (behind, _BONE_P_MM)):
        here &= (value > low) & (value < high)
    here &= (above >= _BONE_S_MM[0]) & (above <= _BONE_S_MM[1])
    if np.count_nonzero(here) <= _LEAST_BONE:
        return None
    below = _below_l1(arch.pair.upper.level)
    mean = [float(np.broadcast_to(value, here.shape)[here].mean()) for value in (lateral, behind)]
    place = usual.weights @ np.array([1.0, below, below**2, *mean])
    return np.asarray(place * np.array([sign, 1.0, 1.0]) + [0.0, arch.pair.canal.wall_mm, 0.0])


def _below_l1(level: str) -> int:
    """Vertebrae from L1 down to a level; thirteenth and sixth ones count as those above them."""
    number = min(int(level[1:]), 12 if level[0] == "T" else 5)
    return number - 1 if level[0] == "L" else number - 13


def _turned(normal: FloatArray, degrees: float) -> FloatArray:
    """A direction turned about the axis of the spine."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([c * normal[0] - s * normal[1], s * normal[0] + c * normal[1], normal[2]])


def _tried(
    arch: Arch,
    middle: FloatArray,
    normal: FloatArray,
    likely: float,
    turn: float,
    plates_share: float,
) -> tuple[float, float, FloatArray]:
    """Score, offset and direction of the best plane of one direction."""
    # The blur sees beyond the farthest place.
    more = round(3 * _PLATES_MM / _OFFSET_STEP_MM)
    count = round(_FARTHEST_MM / _OFFSET_STEP_MM) + more
    offsets = _OFFSET_STEP_MM * np.arange(-count, count + 1, dtype=float)
    hu = _means(arch, middle, normal, offsets)
    plates = ndimage.gaussian_filter1d(hu, _PLATES_MM / _OFFSET_STEP_MM, truncate=3.0)
    offsets, hu, plates = offsets[more:-more], hu[more:-more], plates[more:-more]
    beside = round(_BESIDE_MM / _OFFSET_STEP_MM)
    depth = np.zeros(len(hu))
    for place in range(2, len(hu) - 2):
        before = hu[max(0, place - beside) : place].max()
        after = hu[place + 1 : place + 1 + beside].max()
        depth[place] = max(min(before, after) - hu[place], 0.0)
    score = depth / max(hu.max(), 1.0) / _VALLEY
    score += plates / max(hu.max(), 1.0) / plates_share
    score -= 0.5 * ((offsets - likely) / _SPREAD_MM) ** 2 + 0.5 * (turn / _TURN_DEG) ** 2
    best = int(score.argmax())
    return float(score[best]), float(offsets[best]), normal


def _means(arch: Arch, middle: FloatArray, normal: FloatArray, offsets: FloatArray) -> FloatArray:
    """Mean HU on a disc across a direction, at each offset along it."""
    first = np.cross(normal, [0.0, 0.0, 1.0])
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    grid = np.arange(-_DISC_MM, _DISC_MM + 0.5)
    a, b = (axis.ravel() for axis in np.meshgrid(grid, grid))
    inside = np.hypot(a, b) <= _DISC_MM
    disc = middle + a[inside, None] * first + b[inside, None] * second
    points = disc[None] + offsets[:, None, None] * normal
    left, behind, above = (axis.ravel() for axis in arch.coordinates())
    # Local grids have steps of 1 mm.
    index = [points[..., 2] - above[0], points[..., 1] - behind[0], points[..., 0] - left[0]]
    sampled = ndimage.map_coordinates(arch.hu, index, order=1, mode="nearest")
    return np.asarray(sampled.mean(axis=1))
