"""The sacrum's parts have an uptake of their own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from test_uptake_scene import grid
from test_uptake_transfer import FWHM, analytic_field, sphere_joint, view_of

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.model import SpineJoints
from CTSpectSpineLib.uptake import partition as partition_module
from CTSpectSpineLib.uptake.reference import bone_reference, draw_reference
from CTSpectSpineLib.uptake.response import Response

STEP = 2.0
HALF = 75.0
JOINT = np.array([0.0, -10.0, -3.0])
"""A joint at the front of the sacrum's upper end, as active as the sacrum's first body."""


def sacrum(points: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(points, -1, 0)
    return (np.abs(x) < 50) & (y > -30) & (y < 40) & (z < -8) & (z > -70)


def warm(points: np.ndarray) -> np.ndarray:
    """The first body alone; wings, arch and lower end are cold, as after radiation."""
    x, y, z = np.moveaxis(points, -1, 0)
    return sacrum(points) & (np.abs(x) < 27) & (y < 6) & (z > -33)


@pytest.fixture(scope="module")
def scene():
    """SPECT field, joint and labels."""
    points, matrix = grid(np.full(3, -HALF), np.full(3, HALF), STEP)
    ball = np.linalg.norm(points - JOINT, axis=-1) <= 9.0
    activity = 1.0 * (warm(points) | ball)
    seen = ndimage.gaussian_filter(activity, FWHM / 2.3548 / STEP)

    def at(p):
        return ndimage.map_coordinates(seen, ((p + HALF) / STEP)[..., ::-1].T, order=1).T

    labels = image_from_array(
        (sacrum(points) * anatomy.vertebra(anatomy.SACRUM).id).astype(np.uint8), matrix
    )
    return analytic_field(at, half=HALF - 5), sphere_joint("a", JOINT, 9.0), labels


def uptake_of_the_joint(scene) -> float:
    field, joint, labels = scene
    view = view_of(field, SpineJoints((joint,), {}), labels)
    true = view.first(view.profiles(Response(FWHM)))
    number = view.partition.position("facet_bone", "a")
    return float(true[number])


def test_pieces_divide_the_sacrum(scene) -> None:
    field, joint, labels = scene
    found = view_of(field, SpineJoints((joint,), {}), labels).partition
    pieces = {found.parts[n].owner: found.mask(n)[1].sum() for n in found.of_kind("sacrum")}
    assert {"sacrum", "sacrum left", "sacrum right", "sacrum arch"} <= set(pieces)
    assert {"sacrum 2", "sacrum left 2", "sacrum right 2", "sacrum arch 2"} <= set(pieces)
    assert min(pieces.values()) > 0.1 * max(pieces.values())
    codes = np.isin(found.codes - 1, found.of_kind("sacrum"))
    assert codes.sum() == sum(pieces.values())
    assert pieces["sacrum left"] == pytest.approx(pieces["sacrum right"], rel=0.1)


def test_as_a_reference_its_pieces_count_by_volume(scene) -> None:
    field, joint, labels = scene
    found = view_of(field, SpineJoints((joint,), {}), labels).partition
    values = np.arange(1.0, len(found.parts) + 1)
    numbers = found.of_kind("sacrum")
    nodes = np.array([found.mask(n)[1].sum() for n in numbers])
    expected = (values[numbers] * nodes).sum() / nodes.sum()
    reference = bone_reference("sacrum", found, values)
    assert reference.value == pytest.approx(expected)
    assert abs(expected - values[numbers].mean()) > 0.05, "pieces differ in size"
    rng = np.random.default_rng(1)
    drawn = draw_reference(reference, found, np.tile(values, (4000, 1)), rng)
    assert np.median(drawn) == pytest.approx(expected, rel=0.05)


def test_a_cold_rest_of_the_sacrum_does_not_heat_the_joint_above(
    scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert uptake_of_the_joint(scene) == pytest.approx(1.0, abs=0.1)
    monkeypatch.setattr(partition_module, "_SLABS", 1)
    monkeypatch.setattr(partition_module, "WING_MM", 1e3)
    monkeypatch.setattr(partition_module, "BODY_MM", 1e3)
    assert uptake_of_the_joint(scene) > 1.25, "one value for all would"
