"""Motions of vertebrae: where they put points, and how they are kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.geometry import apply_matrix, euler_transform, grid_of, ijk_to_lps
from CTSpectSpineLib.model import Registration
from CTSpectSpineLib.posture import FAR_MM, NEAR_MM, Posture, VertebraMotion
from CTSpectSpineLib.results.stage_files import (
    RegisteredPair,
    read_registration,
    write_registration,
)


@pytest.fixture(scope="module")
def posture() -> Posture:
    motions = []
    for n, level in enumerate(("T12", "L1", "L2", "L3", "L4")):
        centre = np.array([2.0 * n, 6.0 * np.sin(n), -34.0 * n])
        shift = np.array([4.0 * np.sin(0.8 * n), -3.0 * np.cos(0.7 * n), 0.6 * np.sin(n)])
        turn = np.array([2.0 * np.sin(0.7 * n), -5.0 * np.cos(0.8 * n), 1.0])
        motions.append(VertebraMotion(level, centre, shift, turn, 0.7))
    return Posture(tuple(motions))


def around(posture: Posture, radius_mm: float) -> np.ndarray:
    """Points at a distance from the column's line."""
    angles = np.linspace(0, 2 * np.pi, 13)
    ring = radius_mm * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    centres = np.array([v.centre_mm for v in posture.vertebrae])
    between = 0.5 * (centres[:-1] + centres[1:])
    return np.concatenate([c + ring for c in np.concatenate([centres, between])])


@pytest.mark.parametrize("radius_mm", [0.0, 25.0, 45.0, 0.5 * (NEAR_MM + FAR_MM)])
def test_back_undoes_moved(posture: Posture, radius_mm: float) -> None:
    points = around(posture, radius_mm)
    assert np.abs(posture.back(posture.moved(points)) - points).max() < 0.02
    assert np.linalg.norm(posture.moved(points) - points, axis=1).max() > 0.5


def test_a_centre_moves_by_its_shift_and_its_surroundings_rigidly(posture: Posture) -> None:
    for vertebra in posture.vertebrae:
        moved = posture.moved(vertebra.centre_mm[None])[0]
        np.testing.assert_allclose(moved, vertebra.centre_mm + vertebra.shift_mm, atol=1e-9)
        level = vertebra.centre_mm + 20.0 * np.array([posture.chain.axis, -posture.chain.axis]) / 5
        level = np.concatenate([level, vertebra.centre_mm + 20.0 * np.eye(3)[:2]])
        rigid = apply_matrix(posture.rigid_at(vertebra.centre_mm), level)
        # Blending begins beside the centre, and only slowly.
        assert np.linalg.norm(rigid - posture.moved(level), axis=1).max() < 0.4


def test_what_is_far_from_the_spine_stays(posture: Posture) -> None:
    points = around(posture, FAR_MM + 25.0)
    np.testing.assert_array_equal(posture.moved(points), points)


def test_the_straightened_spect_shows_a_spot_where_the_ct_has_it(posture: Posture) -> None:
    spect = sitk.Image([40, 36, 50], sitk.sitkFloat32)
    spect.SetSpacing([4.0, 4.0, 4.0])
    ct_to_spect = np.eye(4)
    ct_to_spect[:3, 3] = (5.0, -3.0, 8.0)
    spect.SetOrigin((-70.0, -70.0, -170.0))
    target = posture.vertebrae[2].centre_mm + np.array([15.0, 10.0, 8.0])
    lies = apply_matrix(ct_to_spect, posture.moved(target[None]))[0]
    index = np.indices(spect.GetSize()[::-1]).reshape(3, -1)[::-1].T
    points = apply_matrix(ijk_to_lps(spect), index)

    def image_of(centre: np.ndarray) -> np.ndarray:
        away = np.sum((points - centre) ** 2, axis=1)
        return np.exp(-0.5 * away / 5.0**2).reshape(spect.GetSize()[::-1])

    bent = sitk.GetImageFromArray(image_of(lies).astype(np.float32))
    bent.CopyInformation(spect)
    values = sitk.GetArrayFromImage(posture.straightened(bent, ct_to_spect)).ravel()
    found = (values[:, None] * points).sum(axis=0) / values.sum()
    wanted = apply_matrix(ct_to_spect, target[None])[0]
    assert np.linalg.norm(lies - wanted) > 1.0
    assert np.linalg.norm(found - wanted) < 0.25


def test_labels_move_with_the_vertebrae(posture: Posture) -> None:
    labels = sitk.Image([70, 70, 90], sitk.sitkUInt8)
    labels.SetSpacing([1.5, 1.5, 2.2])
    labels.SetOrigin((-48.0, -50.0, -160.0))
    array = sitk.GetArrayFromImage(labels)
    points = apply_matrix(
        ijk_to_lps(labels), np.indices(array.shape).reshape(3, -1)[::-1].T
    ).reshape(*array.shape, 3)
    centre = posture.vertebrae[2].centre_mm
    array[np.all(np.abs(points - centre) <= [18.0, 14.0, 9.0], axis=-1)] = 7
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(labels)
    moved = sitk.Resample(
        image, image, posture.back_transform(grid_of(image)), sitk.sitkNearestNeighbor, 0
    )
    before, after = points[array == 7], points[sitk.GetArrayFromImage(moved) == 7]
    shift = after.mean(axis=0) - before.mean(axis=0)
    # The nearest label is taken: half a voxel at most.
    off = np.abs(shift - posture.vertebrae[2].shift_mm)
    assert np.all(off < 0.5 * np.array(labels.GetSpacing()) + 0.1)
    assert len(after) == pytest.approx(len(before), rel=0.05)


def test_a_kept_registration_keeps_the_motions(posture: Posture, tmp_path) -> None:
    found = Registration(
        euler_transform(np.eye(4)), "known", 0.1, 0.6, 0.9, "good", ("Fine.",), 1.0, 2.2, posture
    )
    image = sitk.Image([4, 4, 4], sitk.sitkInt16)
    write_registration(found, RegisteredPair.of(image, image), tmp_path)
    kept = read_registration(tmp_path).registration.posture
    assert kept is not None
    points = around(posture, 20.0)
    np.testing.assert_array_equal(kept.moved(points), posture.moved(points))
    record = json.loads((tmp_path / "registration.json").read_text(encoding="utf-8"))["posture"]
    assert record["largest_shift_mm"] == pytest.approx(posture.largest_shift_mm)
    assert [row["level"] for row in record["vertebrae"]] == ["T12", "L1", "L2", "L3", "L4"]
    assert record["vertebrae"][1]["error_mm"] == 0.7
