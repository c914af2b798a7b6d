"""Uptake on a spine that lies differently in the SPECT: joints are measured where they lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from test_uptake_scene import BACKGROUND, BOUNDS, Scene, _blurred, body_z, grid, registration

from CTSpectSpineLib.geometry import apply_matrix, image_from_array
from CTSpectSpineLib.posture import Posture, VertebraMotion
from CTSpectSpineLib.uptake import measure
from CTSpectSpineLib.uptake.posed import posed

SCENE = Scene(hot={"L2-L3 facet left": 4.0, "L3-L4 disc": 3.0})


def posture_of(shifts, turns) -> Posture:
    return Posture(
        tuple(
            VertebraMotion(
                level, np.array([0.0, 0.0, body_z(level)]), np.array(shift), np.array(turn), 0.5
            )
            for level, shift, turn in zip(SCENE.levels, shifts, turns, strict=True)
        )
    )


BENT = posture_of(
    [(0.5, 0.0, 0.0), (3.0, -1.5, 0.5), (5.0, -3.0, 0.5), (3.0, -2.0, 0.0), (-1.0, 0.5, 0.0)],
    [(1.0, 4.0, 0.0), (2.0, 3.0, 1.0), (0.0, 0.0, 1.0), (-2.0, -4.0, 0.0), (0.0, -5.0, 0.0)],
)


def bent_spect():
    """The scene's SPECT with the activity where the posture puts it."""
    z = [body_z(level) for level in SCENE.levels]
    at, to_lps = grid([-62.0, -55, min(z) - 62], [62.0, 85, max(z) + 62], 4.6)
    blurred, matrix = _blurred(repr(SCENE), np.hypot(10.0, 2.3548 * 4.6 / np.sqrt(12.0)))
    index = apply_matrix(np.linalg.inv(matrix), BENT.back(at.reshape(-1, 3)))
    array = ndimage.map_coordinates(blurred, index[:, ::-1].T, order=1)
    array = array.reshape(at.shape[:3]) + BACKGROUND * 100.0
    rng = np.random.default_rng(5)
    array = array + ndimage.gaussian_filter(rng.standard_normal(array.shape), 0.5) * 2.0
    return image_from_array(array.astype(np.float32), to_lps)


def table_of(spect, found):
    uptake = measure(
        spect, SCENE.joints(), SCENE.labels(), found, BOUNDS, fwhm_mm=10.0, repetitions=100
    )
    return uptake.table.set_index("joint")


@pytest.mark.slow
def test_a_common_motion_is_the_same_as_a_rigid_registration() -> None:
    shift = (3.0, -2.0, 1.5)
    together = posture_of([shift] * 5, [(0.0, 0.0, 0.0)] * 5)
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    spect = SCENE.spect(matrix, noise=0.1)
    rigid = table_of(spect, registration(matrix, 0.5))
    moved = table_of(spect, replace(registration(None, 0.5), posture=together))
    np.testing.assert_allclose(moved["ratio_corrected"], rigid["ratio_corrected"], rtol=0.04)
    np.testing.assert_allclose(moved["mean"], rigid["mean"], rtol=0.01)
    for axis in ("x_mm", "y_mm", "z_mm", "volume_mm3"):
        np.testing.assert_allclose(moved[axis], rigid[axis], atol=1e-6)


def test_joints_of_a_bent_spine_are_measured_where_they_lie() -> None:
    spect = bent_spect()
    rigid = table_of(spect, registration(None, 0.8))
    moved = table_of(spect, replace(registration(None, 0.8), posture=BENT))
    for joint, true in SCENE.hot.items():
        row = moved.loc[joint]
        assert row["ratio_low"] < true < row["ratio_high"]
        assert row["ratio_corrected"] == pytest.approx(true, rel=0.12)
        assert row["uptake"] == "positive"
    # Both sides of a healthy level are alike in truth, unless they are looked for beside it.
    assert _unlike(moved) < 0.04
    assert _unlike(rigid) > 0.10


def _unlike(table) -> float:
    """Largest relative difference between the facet joints of a healthy level."""
    levels = ("L1-L2", "L3-L4", "L4-L5")
    ratio = table["ratio_corrected"]
    return max(
        abs(ratio[f"{level} facet left"] / ratio[f"{level} facet right"] - 1.0) for level in levels
    )


def test_vertebrae_and_joints_keep_their_volume_and_move_rigidly() -> None:
    joints, _ = posed(SCENE.joints(), SCENE.labels(), BENT)
    for before, after in zip(SCENE.joints().joints, joints.joints, strict=True):
        assert after.region is not None
        assert before.region is not None
        assert after.region.volume_mm3 == pytest.approx(before.region.volume_mm3)
        assert after.centre_mm is not None
        assert before.centre_mm is not None
        expected = BENT.moved(before.centre_mm[None])[0]
        np.testing.assert_allclose(after.centre_mm, expected, atol=1e-9)
        drift = after.region.centre_mm() - BENT.moved(before.region.centre_mm()[None])[0]
        assert np.linalg.norm(drift) < 0.5
    for level, frame in joints.frames.items():
        assert np.allclose(frame.axes @ frame.axes.T, np.eye(3)), level
