"""The fit of shapes: what is looked at in part is what looking at everything gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage, sparse

from CTSpectSpineLib.findings import grid
from CTSpectSpineLib.findings.find import _Found, _merged
from CTSpectSpineLib.findings.fit import Model, _highest_near, non_negative
from CTSpectSpineLib.findings.grid import _close, _count
from CTSpectSpineLib.findings.place import Place
from CTSpectSpineLib.findings.shapes import Shape
from CTSpectSpineLib.model import Side

SHAPE = (40, 36, 32)
DRAW = np.random.default_rng(5)


@dataclass
class Scene:
    """The part of a scene that a model needs."""

    ratio: np.ndarray
    usual: np.ndarray
    spacing: np.ndarray


def a_shape(kind: str = "focus") -> Shape:
    """A blurred box somewhere."""
    values = np.zeros(SHAPE)
    low = DRAW.integers(0, 28, 3)
    values[tuple(slice(int(n), int(n) + 4) for n in low)] = 1.0
    values = ndimage.gaussian_filter(values, 1.0, mode="constant", truncate=2.0)
    at = np.flatnonzero(values > 1e-3)
    column = sparse.csc_matrix(
        (values.ravel()[at], (at, np.zeros(len(at), dtype=int))), shape=(values.size, 1)
    )
    return Shape(kind, "", "", column, np.zeros(3), 5.0)


def a_model(count: int) -> Model:
    scene = Scene(DRAW.gamma(2.0, 0.5, SHAPE), np.full(SHAPE, 0.4), np.full(3, 6.0))
    return Model(scene, [a_shape("joint") for _ in range(count)])  # type: ignore[arg-type]


def test_shapes_added_and_removed_one_by_one_are_as_if_there_from_the_beginning() -> None:
    model = a_model(3)
    for _ in range(3):
        model.add(a_shape())
    model.without(1)
    again = Model(model.scene, model.shapes)
    assert np.array_equal(model.values, again.values)
    assert (model.matrix != again.matrix).nnz == 0
    assert model.values.max() > 0.1


def test_a_model_may_begin_without_shapes() -> None:
    model = a_model(0)
    shape = a_shape()
    model.add(shape)
    assert np.array_equal(model.values, Model(model.scene, [shape]).values)


@pytest.mark.parametrize("number", [0, 5, 11])
def test_the_best_candidate_is_that_of_all_voxels_around(number: int) -> None:
    model = a_model(12)
    candidates = [a_shape() for _ in range(6)]
    at = np.array(np.unravel_index(model.shapes[number].column.argmax(), SHAPE))
    here = model.around(at)
    left, best = here.with_best(candidates)
    low, high = np.maximum(at - 5, 0), np.minimum(at + 6, SHAPE)  # 28 mm in voxels of 6 mm
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    rows = np.arange(np.prod(SHAPE)).reshape(SHAPE)[box].ravel()
    dense = model.matrix.toarray()[rows]
    near = dense.sum(axis=0) > 0.05
    assert 0 < near.sum() < 12, "a test of nothing"
    target = model.excess[rows] - dense[:, ~near] @ model.values[~near]
    assert here.target == pytest.approx(target)
    found = []
    for shape in candidates:
        both = np.hstack([dense[:, near], shape.column.toarray()[rows]])
        values = non_negative(both.T @ both, both.T @ target)
        found.append(float(np.sum((target - both @ values) ** 2)))
    assert left == pytest.approx(min(found))
    assert best is candidates[int(np.argmin(found))]


@pytest.mark.parametrize("filled", [0, 1, 30])
def test_the_highest_near_is_that_of_the_whole_volume(filled: int) -> None:
    values = np.zeros(SHAPE)
    values.ravel()[DRAW.integers(0, values.size, filled)] = DRAW.random(filled)
    found = _highest_near(values, np.array([1.2, 2.0, 0.4]))
    assert np.array_equal(found, ndimage.maximum_filter(values, size=(5, 5, 3)))


@pytest.mark.parametrize("spread", [3, 4000])
def test_places_are_counted_near_and_far(spread: int) -> None:
    at = DRAW.integers(0, spread, 50) + 7
    found = np.ones(5000, dtype=np.uint16)
    _count(found, at)
    assert np.array_equal(found, 1 + np.bincount(at, minlength=5000))


@pytest.mark.parametrize("slab", [1, 300, 900, 10**6])
def test_gaps_close_in_slabs_as_in_one(slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "_SLAB", slab)
    for rounds in (1, 2, 3):
        shape = tuple(DRAW.integers(3, 20, 3))
        bone = ndimage.gaussian_filter(DRAW.normal(size=shape), 1) > 0.2
        body = DRAW.random(shape) < 0.8
        closed = ndimage.binary_closing(np.pad(bone, rounds, mode="edge"), iterations=rounds)
        want = bone | (closed[(slice(rounds, -rounds),) * 3] & body)
        _close(bone, rounds, body)
        assert np.array_equal(bone, want)


def found(where: str, level: str, at_mm: float, side: Side = "") -> _Found:
    """A ball of 6 mm radius in a part of a vertebra, at a place along the middle plane."""
    shape = Shape("focus", "", "", sparse.csc_matrix((1, 1)), np.array([0.0, at_mm, 0.0]), 6.0)
    return _Found(shape, 2.0, Place(where, level, side, "", ""))


@pytest.mark.parametrize(
    ("one", "two", "number"),
    [
        # A focus in a pedicle's root is fitted by a ball in the body and one in the arch.
        (found("body", "L5", 0.0), found("arch", "L5", 6.0, "left"), 1),
        (found("body", "L5", 0.0), found("arch", "L5", 15.0, "left"), 2),
        (found("body", "L5", 0.0), found("arch", "L4", 6.0, "left"), 2),
        (found("body", "L5", 0.0), found("body", "L5", 15.0), 1),
        (found("arch", "L5", 0.0, "left"), found("arch", "L5", 6.0, "right"), 2),
    ],
)
def test_what_the_spect_cannot_tell_apart_is_one_finding(
    one: _Found, two: _Found, number: int
) -> None:
    assert len(_merged([one, two])) == len(_merged([two, one])) == number
