"""What explains uptake above the ordinary: joints, then whole vertebrae and foci."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from CTSpectSpineLib.findings.grid import Scene
from CTSpectSpineLib.findings.shapes import (
    EXCESS,
    SEEN,
    SOFT,
    Shape,
    ball,
    joint_shapes,
    organ_shapes,
    vertebra_shape,
)
from CTSpectSpineLib.geometry import content_box
from CTSpectSpineLib.model import FloatArray, SpineJoints

RADII_MM = (5.0, 7.0, 9.0, 12.0, 15.0)
"""Radii of foci that are tried. Numerical: steps of a third of the point spread's width; smaller
ones look like the smallest, larger ones are several."""
JOINT_SHARE, FOCUS_SHARE, ORGAN_SHARE = 0.35, 0.3, 0.3
"""Share of what foci show at a voxel, hot joints within `JOINT_MM` and organs within `ORGAN_MM` of
it, by which the model may be wrong there.
Judgement: uneven uptake, outlines and the point spread's shape together."""
JOINT_MM = 4.0
"""How far outlines of joints and the registration may be off. Judgement: 3 mm are accepted at the
joints, and their outlines miss the bone by 1 mm."""
ORGAN_MM = 10.0
"""How far organs disturb. Judgement: a bladder fills and moves during a scan, and artefacts of the
reconstruction surround it."""
MOST_FOCI = 24
"""Foci at most. Judgement: with more than this the patient has what a count does not describe."""
NEIGHBOUR_MM = 28.0
"""Voxels around a candidate in which fits are compared. Judgement: reach of the largest focus."""
_LEAST_NEAR = 0.05
"""Sum over these voxels of what a shape with uptake 1 shows, from which on it is solved for anew.
Numerical."""


class Model:
    """Non-negative sum of shapes that comes nearest to the uptake above the usual one."""

    def __init__(self, scene: Scene, shapes: Sequence[Shape]) -> None:
        self.scene = scene
        self.excess = (scene.ratio - scene.usual).ravel()
        self.shapes = list(shapes)
        self.matrix = _side_by_side([s.column for s in self.shapes], self.excess.size)
        self._gram: FloatArray = (self.matrix.T @ self.matrix).toarray()
        self._right: FloatArray = np.asarray(self.matrix.T @ self.excess)
        self.values = non_negative(self._gram, self._right)

    def predicted(self, kinds: Sequence[str] | None = None) -> FloatArray:
        """What shapes of some kinds show, ``[k, j, i]``."""
        chosen = [kinds is None or shape.kind in kinds for shape in self.shapes]
        values = np.where(chosen, self.values, 0.0) if len(self.shapes) else self.values
        return np.asarray(self.matrix @ values).reshape(self.scene.ratio.shape)

    def score(self) -> FloatArray:
        """How far the uptake lies above all that joints, foci and the ordinary explain."""
        joints, organs = self.predicted(("joint",)), self.predicted(("organ",))
        foci = self.predicted(("vertebra", "focus"))
        left = self.scene.ratio - self.scene.limit - joints - foci - organs
        left -= JOINT_SHARE * _highest_near(joints, JOINT_MM / self.scene.spacing[::-1])
        left -= FOCUS_SHARE * foci
        left -= ORGAN_SHARE * _highest_near(organs, ORGAN_MM / self.scene.spacing[::-1])
        # Soft tissue and what the CT does not show were taken as whole organs.
        known = (self.scene.bone_share >= SOFT) & (self.scene.seen_share >= SEEN)
        return np.where(known, left, 0.0)

    def around(self, kji: NDArray[np.int_]) -> Neighbourhood:
        """What is left to be explained around a voxel."""
        reach = np.ceil(NEIGHBOUR_MM / self.scene.spacing[::-1]).astype(int)
        low = np.maximum(kji - reach, 0)
        high = np.minimum(kji + reach + 1, self.scene.ratio.shape)
        grid = np.meshgrid(
            *(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"
        )
        rows = np.ravel_multi_index([g.ravel() for g in grid], self.scene.ratio.shape)
        near: list[tuple[NDArray[np.intp], FloatArray]] = []
        others = np.zeros(len(rows))
        for shape, value in zip(self.shapes, self.values, strict=True):
            at, data = _in_rows(shape.column, rows)
            if np.abs(data).sum() > _LEAST_NEAR:
                near.append((at, data))
            else:
                others[at] += data * value
        dense = np.zeros((len(rows), len(near)))
        for number, (at, data) in enumerate(near):
            dense[at, number] = data
        return Neighbourhood(rows, self.excess[rows] - others, dense)

    def add(self, shape: Shape) -> None:
        """Add a shape and solve again."""
        with_others = np.asarray((shape.column.T @ self.matrix).todense())
        own = np.asarray((shape.column.T @ shape.column).todense())
        self._gram = np.block([[self._gram, with_others.T], [with_others, own]])
        self._right = np.append(self._right, shape.column.T @ self.excess)
        self.shapes.append(shape)
        self.matrix = _side_by_side([self.matrix, shape.column], self.excess.size)
        self.values = non_negative(self._gram, self._right)

    def without(self, number: int) -> None:
        """Remove a shape and solve again."""
        del self.shapes[number]
        self._gram = np.delete(np.delete(self._gram, number, axis=0), number, axis=1)
        self._right = np.delete(self._right, number)
        self.matrix = _side_by_side([s.column for s in self.shapes], self.excess.size)
        self.values = non_negative(self._gram, self._right)


@dataclass(frozen=True)
class Neighbourhood:
    """The voxels around a candidate.

    Attributes
    ----------
    rows
        Their flat numbers, rising.
    target
        Uptake that is to be explained there, without what distant shapes show.
    near
        Shapes that are seen there with uptake 1, shape (voxels, shapes).
    """

    rows: NDArray[np.intp]
    target: FloatArray
    near: FloatArray

    def with_best(self, candidates: Sequence[Shape]) -> tuple[float, Shape]:
        """The candidate with which all shapes here fit best, and the squares left."""
        best: tuple[float, Shape] | None = None
        for shape in candidates:
            at, data = _in_rows(shape.column, self.rows)
            both = np.hstack([self.near, np.zeros((len(self.rows), 1))])
            both[at, -1] = data
            values = non_negative(both.T @ both, both.T @ self.target)
            left = float(np.sum((self.target - both @ values) ** 2))
            if best is None or left < best[0]:
                best = left, shape
        assert best is not None
        return best


def _side_by_side(columns: Sequence[sparse.csc_matrix], voxels: int) -> sparse.csc_matrix:
    if not columns:
        return sparse.csc_matrix((voxels, 0))
    return sparse.csc_matrix(sparse.hstack(columns, format="csc"))


def _in_rows(
    column: sparse.csc_matrix, rows: NDArray[np.intp]
) -> tuple[NDArray[np.intp], FloatArray]:
    """Places in ``rows`` (rising) at which a column is not 0, and its values there."""
    first, last = np.searchsorted(column.indices, (rows[0], rows[-1] + 1))
    indices, data = column.indices[first:last], column.data[first:last]
    at = np.searchsorted(rows, indices)
    found = rows[at] == indices
    return at[found], data[found]


def _highest_near(values: FloatArray, reach: FloatArray) -> FloatArray:
    """Highest of values of at least 0 within a reach in voxels along ``(k, j, i)``."""
    half = np.ceil(reach).astype(int)
    result = np.zeros_like(values)
    found = content_box(values > 0)
    if found is not None:
        box = tuple(
            slice(max(0, s.start - int(h)), s.stop + int(h))
            for s, h in zip(found, half, strict=True)
        )
        result[box] = ndimage.maximum_filter(values[box], size=tuple(2 * half + 1))
    return result


def non_negative(gram: FloatArray, right: FloatArray, rounds: int = 400) -> FloatArray:
    """Least squares with values of at least 0, by coordinate descent on the normal equations."""
    scale = np.diag(gram) + 1e-3 * max(float(np.max(np.diag(gram), initial=0.0)), 1e-12)
    gram = gram.copy()
    np.fill_diagonal(gram, scale)
    columns = list(np.ascontiguousarray(gram.T))
    slope = -right.astype(float)
    # Plain numbers: most values stay 0, and to look at one in an array costs more than to compare.
    values, scales = [0.0] * len(right), scale.tolist()
    for _ in range(rounds):
        moved = 0.0
        for n, column in enumerate(columns):
            new = max(0.0, values[n] - slope.item(n) / scales[n])
            change = new - values[n]
            if change:
                slope += column * change
                values[n] = new
                moved = max(moved, abs(change))
        if moved < 1e-3:
            break
    return np.array(values)


def fitted(scene: Scene, joints: SpineJoints) -> tuple[Model, dict[str, float]]:
    """Explain the SPECT by joints first, then by whole vertebrae and foci where joints do not do.

    Returns
    -------
    model
        With all shapes.
    alone
        Joint id to its mean excess when joints alone have to explain everything.
    """
    model = Model(scene, [*organ_shapes(scene), *joint_shapes(scene, joints)])
    alone = joint_excess(model)
    whole = {
        level: column
        for level in joints.frames
        if (column := vertebra_shape(scene, level)) is not None
    }
    tried: set[tuple[int, ...]] = set()
    for _ in range(MOST_FOCI):
        score = model.score()
        for place in tried:
            score[place] = 0.0
        flat = int(np.argmax(score))
        kji = np.array(np.unravel_index(flat, score.shape))
        if score[tuple(kji)] < EXCESS:
            break
        tried.add(tuple(int(n) for n in kji))
        model.add(_best_shape(model, kji, whole))
    for number in reversed(range(len(model.shapes))):
        weak = model.values[number] * model.shapes[number].column.max() < 0.5 * EXCESS
        if model.shapes[number].kind in ("focus", "vertebra") and weak:
            model.without(number)
    return model, alone


def _best_shape(model: Model, kji: NDArray[np.int_], whole: dict[str, Shape]) -> Shape:
    scene = model.scene
    used = {shape.name for shape in model.shapes if shape.kind == "vertebra"}
    vertebrae = [
        shape for level, shape in whole.items()
        if level not in used
        and np.linalg.norm(shape.centre_mm - scene.point(kji.astype(float))) < 50.0
    ]  # fmt: skip
    here = model.around(kji)
    step = 0.8
    offsets = [np.zeros(3)] + [s * step * axis for axis in np.eye(3) for s in (-1.0, 1.0)]
    start = kji.astype(float)
    left, best = here.with_best([ball(scene, start, r) for r in RADII_MM])
    for _ in range(3):
        moved = [ball(scene, start + o, best.radius_mm) for o in offsets]
        found, shape = here.with_best(moved)
        if found >= 0.999 * left:
            break
        left, best = found, shape
        index = np.linalg.inv(scene.index_to_ct) @ np.array([*shape.centre_mm, 1.0])
        start = index[2::-1]
    found, shape = here.with_best([ball(scene, start, r) for r in RADII_MM])
    if found < left:
        left, best = found, shape
    if vertebrae:
        found, shape = here.with_best(vertebrae)
        if found < left:
            best = shape
    return best


def joint_excess(model: Model) -> dict[str, float]:
    """Joint id to the mean excess over its parts that have a shape, weighted by volume."""
    total: dict[str, list[float]] = {}
    for shape, value in zip(model.shapes, model.values, strict=True):
        if shape.kind == "joint":
            weight = shape.radius_mm**3
            entry = total.setdefault(shape.name, [0.0, 0.0])
            entry[0] += value * weight
            entry[1] += weight
    return {name: value / max(weight, 1e-9) for name, (value, weight) in total.items()}
