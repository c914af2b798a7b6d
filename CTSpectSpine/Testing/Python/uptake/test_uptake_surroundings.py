"""Blocks around bone are cut along the edges of hot organs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from test_uptake_scene import grid
from test_uptake_transfer import FWHM, analytic_field, sphere_joint, view_of

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.model import SpineJoints
from CTSpectSpineLib.uptake import surroundings
from CTSpectSpineLib.uptake.response import Response

STEP = 2.0
HALF = 75.0
JOINT = np.array([15.0, 0.0, 0.0])
KIDNEY = np.array([52.0, 2.0, 3.0])
RADIUS = 24.0


def vertebra(points: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(points, -1, 0)
    return (np.abs(x) < 22) & (np.abs(y) < 17) & (np.abs(z) < 40)


def made(kidney: float, joint: float = 1.0, at: np.ndarray = KIDNEY):
    """SPECT field, joint and labels of a column of bone beside a kidney."""
    points, matrix = grid(np.full(3, -HALF), np.full(3, HALF), STEP)
    ball = np.linalg.norm(points - JOINT, axis=-1) <= 9.0
    activity = np.where(vertebra(points), 1.0, 0.1)
    activity[ball] = joint
    activity[(np.linalg.norm(points - at, axis=-1) <= RADIUS) & ~vertebra(points)] = kidney
    seen = ndimage.gaussian_filter(activity, FWHM / 2.3548 / STEP)

    def at(p):
        return ndimage.map_coordinates(seen, ((p + HALF) / STEP)[..., ::-1].T, order=1).T

    labels = image_from_array(
        (vertebra(points) * anatomy.vertebra("L2").id).astype(np.uint8), matrix
    )
    return analytic_field(at, half=HALF - 5), sphere_joint("a", JOINT, 9.0), labels


def partition_of(scene):
    field, joint, labels = scene
    return view_of(field, SpineJoints((joint,), {}), labels)


def uptake_of_the_joint(scene) -> float:
    view = partition_of(scene)
    number = view.partition.position("facet_bone", "a")
    return float(view.first(view.profiles(Response(FWHM)))[number])


def organ_parts(view) -> list[int]:
    parts = view.partition.parts
    return [n for n in view.partition.of_kind("background") if "organ" in parts[n].owner]


def test_a_kidney_beside_bone_does_not_heat_or_cool_the_joint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = made(kidney=4.0)
    cut = abs(uptake_of_the_joint(scene) - 1.0)
    assert cut < 0.1
    monkeypatch.setattr(surroundings, "ORGAN", 1e9)
    assert not organ_parts(partition_of(scene))
    assert abs(uptake_of_the_joint(scene) - 1.0) > 0.2 + cut, "whole blocks would"


def test_the_cut_follows_the_organ() -> None:
    view = partition_of(made(kidney=4.0))
    found = organ_parts(view)
    assert found
    codes = view.partition.codes
    inside = np.isin(codes - 1, found)
    k, j, i = np.nonzero(inside)
    index = np.stack([i, j, k], axis=1) / view.partition.factor[::-1]
    back = np.linalg.inv(view.field.ct_to_index)
    points = index @ back[:3, :3].T + back[:3, 3]
    away = np.linalg.norm(points - KIDNEY, axis=1)
    assert np.mean(away <= RADIUS + 3.0) > 0.95
    blocks = np.isin(codes - 1, view.partition.of_kind("background")) & ~inside
    k, j, i = np.nonzero(blocks)
    index = np.stack([i, j, k], axis=1) / view.partition.factor[::-1]
    points = index @ back[:3, :3].T + back[:3, 3]
    assert np.mean(np.linalg.norm(points - KIDNEY, axis=1) < RADIUS - 3.0) < 0.02


def least_gap(view) -> float:
    """Least distance of an organ's nodes from bone, mm."""
    codes, background = view.partition.codes, view.partition.of_kind("background")
    step = view.field.spacing / view.partition.factor[::-1]
    bone = ~np.isin(codes - 1, background) & (codes > 0)
    distance = ndimage.distance_transform_edt(~bone, sampling=step[::-1])
    return float(distance[np.isin(codes - 1, organ_parts(view))].min())


def test_an_organ_that_touches_bone_is_cut_a_gap_away(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = made(kidney=4.0, at=np.array([40.0, 2.0, 3.0]))
    voxel = float(scene[0].spacing.max())
    assert least_gap(partition_of(scene)) > surroundings.GAP_MM - voxel / 2.0
    monkeypatch.setattr(surroundings, "GAP_MM", 0.0)
    assert least_gap(partition_of(scene)) < 2.0, "else it would reach the bone"


@pytest.mark.parametrize("kidney", [0.1, 0.9])
def test_nothing_is_cut_where_nothing_is_hotter_than_bone(kidney: float) -> None:
    assert not organ_parts(partition_of(made(kidney)))


def test_a_hot_joint_is_no_organ() -> None:
    scene = made(kidney=0.1, joint=6.0)
    assert not organ_parts(partition_of(scene))
    assert uptake_of_the_joint(scene) == pytest.approx(6.0, rel=0.1)
