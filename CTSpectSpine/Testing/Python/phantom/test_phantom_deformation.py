"""A bent spine: its residual, its rigid part, and where the activity goes."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import apply_matrix, grid_of, ijk_to_lps, image_from_array
from CTSpectSpineLib.phantom import bend

LENGTH_MM = 260.0


def spine_joints(length_mm: float = LENGTH_MM, levels: int = 8) -> np.ndarray:
    """Discs on a lordotic curve with facet joints behind them, T10 to the sacrum."""
    along = np.linspace(0, length_mm, levels)
    y = 18 * np.sin(2 * np.pi * along / 320)
    x = 3 * np.cos(along / 90)
    rows = []
    for i, z in enumerate(along):
        rows += [(x[i], y[i], z), (x[i] + 18, y[i] + 38, z - 2), (x[i] - 18, y[i] + 38, z - 2)]
    return np.array(rows) + np.array([5.0, -20.0, -700.0])


def empty(joints: np.ndarray, spacing: float = 4.0, margin=30.0) -> sitk.Image:
    low = joints.min(axis=0) - margin
    n = np.ceil((joints.max(axis=0) + margin - low) / spacing).astype(int)
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = low
    return image_from_array(np.zeros(n[::-1], dtype=np.float32), matrix)


def with_values(image: sitk.Image, values: np.ndarray) -> sitk.Image:
    result = sitk.GetImageFromArray(values.astype(np.float32))
    result.CopyInformation(image)
    return result


def voxel_points(image: sitk.Image) -> np.ndarray:
    """Voxel centres, LPS mm, shape (n, 3), in the order of the raveled array."""
    index = np.indices(grid_of(image).shape)[::-1].reshape(3, -1).T
    return apply_matrix(ijk_to_lps(image), index)


def source_of_voxels(image: sitk.Image, joints: np.ndarray, amplitude: float, seed) -> np.ndarray:
    """Where each voxel's value comes from: bends the coordinates themselves, mm, [k, j, i, 3]."""
    points = voxel_points(image).reshape(*grid_of(image).shape, 3)
    bent = [
        sitk.GetArrayFromImage(
            bend(with_values(image, points[..., a]), joints, amplitude, seed).image
        )
        for a in range(3)
    ]
    return np.stack(bent, axis=-1).astype(float)


def rigid_fit(points: np.ndarray, onto: np.ndarray) -> tuple[float, float, float]:
    """Turn in rad, shift of the mean in mm and root mean square residual in mm."""
    a, b = points - points.mean(axis=0), onto - onto.mean(axis=0)
    rotation, _ = Rotation.align_vectors(b, a)
    rest = np.sqrt(np.mean(np.sum((rotation.apply(a) - b) ** 2, axis=1)))
    shift = np.linalg.norm(onto.mean(axis=0) - points.mean(axis=0))
    return float(rotation.magnitude()), float(shift), float(rest)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    amplitude=st.floats(0.05, 6.0),
    length=st.floats(180, 500),
    levels=st.integers(5, 16),
)
def test_residual_is_the_amplitude_and_nothing_rigid_is_left(seed, amplitude, length, levels):
    joints = spine_joints(length, levels)
    bent = bend(empty(joints, 12.0), joints, amplitude, seed)
    turn, shift, rest = rigid_fit(joints, bent.displaced_mm)
    assert rest == pytest.approx(amplitude, abs=1e-6)
    assert bent.residual_mm == pytest.approx(amplitude, abs=1e-6)
    assert turn < 1e-5
    assert shift < 1e-3
    assert bent.displaced_mm.shape == joints.shape


@pytest.mark.parametrize(("amplitude", "most"), [(3.0, 0.2), (8.0, 0.45), (10.0, 0.55)])
def test_nothing_folds(amplitude, most):
    """The gradient that is told bounds that of the true displacement, and volumes stay positive."""
    joints = spine_joints()
    image = empty(joints, 6.0)
    for seed in range(6):
        assert bend(image, joints, amplitude, seed).largest_gradient < most
    source = source_of_voxels(image, joints, amplitude, 0)[3:-3, 3:-3, 3:-3]
    jacobian = np.stack([np.gradient(source, 6.0, axis=a) for a in (2, 1, 0)], axis=-1)
    assert np.linalg.det(jacobian).min() > 0.5
    # The image holds the inverse of the displacement.
    gradient = np.linalg.norm(np.linalg.inv(jacobian) - np.eye(3), ord=2, axis=(-2, -1))
    told = bend(image, joints, amplitude, 0).largest_gradient
    assert gradient.max() == pytest.approx(told, rel=0.1)


@pytest.mark.parametrize("amplitude", [3.0, 10.0])
def test_point_sources_move_as_stated(amplitude):
    joints = spine_joints()
    image = empty(joints, 2.0, margin=40.0)
    points = voxel_points(image)
    for n in (0, 7, 11, 17, 23):
        near = np.exp(-0.5 * np.sum((points - joints[n]) ** 2, axis=1) / 5.0**2)
        source = with_values(image, near.reshape(grid_of(image).shape))
        bent = bend(source, joints, amplitude, 4)
        value = sitk.GetArrayFromImage(bent.image).ravel()
        found = value @ points / value.sum()
        assert np.linalg.norm(bent.displaced_mm[n] - joints[n]) > 0.3
        assert found == pytest.approx(bent.displaced_mm[n], abs=0.1 * amplitude / 3)


def test_each_displaced_joint_comes_from_the_joint():
    """The image's own mapping, read at the displaced joints, leads back to the joints."""
    joints = spine_joints()
    image = empty(joints, 3.0, margin=40.0)
    source = source_of_voxels(image, joints, 10.0, 9)
    displaced = bend(image, joints, 10.0, 9).displaced_mm
    index = (displaced - ijk_to_lps(image)[:3, 3]) / 3.0
    for a in range(3):
        found = ndimage.map_coordinates(source[..., a], index.T[::-1], order=1)
        assert found == pytest.approx(joints[:, a], abs=0.1)


def test_the_bend_is_smooth_and_long():
    """Neighbouring levels move alike, the ends unlike the middle."""
    joints = spine_joints(levels=12)
    for seed in range(5):
        moved = bend(empty(joints, 12.0), joints, 8.0, seed).displaced_mm - joints
        discs = moved[::3]
        assert np.linalg.norm(np.diff(discs, axis=0), axis=1).max() < 0.5 * LENGTH_MM / 12
        ends, middle = discs[[0, -1]].mean(axis=0), discs[5:7].mean(axis=0)
        assert ends @ middle < 0


def test_far_ends_are_not_deformed():
    """Beyond the joints' range the body moves as one piece."""
    joints = spine_joints()
    image = empty(joints, 6.0, margin=np.array([30.0, 30.0, 80.0]))
    source = source_of_voxels(image, joints, 8.0, 3)
    points = voxel_points(image).reshape(source.shape)
    for end in (slice(3, 7), slice(-7, -3)):
        box = (end, slice(4, -4), slice(4, -4))
        assert rigid_fit(points[box].reshape(-1, 3), source[box].reshape(-1, 3))[2] < 0.02


def test_no_amplitude_gives_the_same_image():
    joints = spine_joints()
    image = empty(joints)
    image = with_values(image, np.random.default_rng(1).random(grid_of(image).shape))
    bent = bend(image, joints, 0.0, 1)
    assert np.array_equal(sitk.GetArrayFromImage(bent.image), sitk.GetArrayFromImage(image))
    assert np.array_equal(bent.displaced_mm, joints)
    assert (bent.residual_mm, bent.largest_gradient) == (0.0, 0.0)


def test_a_small_amplitude_hardly_changes_the_image():
    joints = spine_joints()
    image = empty(joints)
    image = with_values(image, np.random.default_rng(1).random(grid_of(image).shape))
    bent = bend(image, joints, 1e-4, 1)
    assert sitk.GetArrayFromImage(bent.image) == pytest.approx(
        sitk.GetArrayFromImage(image), abs=1e-3
    )


def test_values_go_on_at_the_faces():
    joints = spine_joints()
    image = empty(joints, margin=2.0)
    shape = grid_of(image).shape
    bent = bend(with_values(image, np.full(shape, 5.0)), joints, 8.0, 2)
    assert np.allclose(sitk.GetArrayFromImage(bent.image), 5.0, atol=1e-5)


def test_seeds_differ_and_repeat():
    joints = spine_joints()
    image = empty(joints, 8.0)
    image = with_values(image, np.random.default_rng(1).random(grid_of(image).shape))
    first, again, other = (bend(image, joints, 3.0, seed) for seed in (1, 1, [1, 2]))
    assert np.array_equal(first.displaced_mm, again.displaced_mm)
    arrays = [sitk.GetArrayFromImage(b.image) for b in (first, again, other)]
    assert np.array_equal(arrays[0], arrays[1])
    assert not np.allclose(arrays[0], arrays[2])
    assert np.abs(first.displaced_mm - other.displaced_mm).max() > 1.0


def test_bends_go_in_all_directions():
    """Lateral and anterior-posterior bends of both senses occur."""
    joints = spine_joints()
    image = empty(joints, 20.0)
    middle = []
    for seed in range(30):
        moved = bend(image, joints, 3.0, seed).displaced_mm - joints
        middle.append(moved[9:15].mean(axis=0))
    x, y, _ = np.array(middle).T
    assert min(x.max(), -x.min(), y.max(), -y.min()) > 2.0


def test_axes_of_the_image_do_not_matter():
    joints = spine_joints()
    image = empty(joints, 3.0, margin=40.0)
    points = voxel_points(image)
    z = np.sin(points[:, 2] / 15) + np.cos(points[:, 0] / 20) * np.sin(points[:, 1] / 18)
    image = with_values(image, z.reshape(grid_of(image).shape))
    turned = sitk.DICOMOrient(image, "SAR")
    straight = bend(image, joints, 6.0, 3).image
    other = bend(turned, joints, 6.0, 3).image
    assert grid_of(other).matches(grid_of(turned))
    back = sitk.GetArrayFromImage(sitk.DICOMOrient(other, "LPS"))
    assert back == pytest.approx(sitk.GetArrayFromImage(straight), abs=0.01)


def test_the_input_stays():
    joints = spine_joints()
    image = empty(joints)
    values = np.random.default_rng(1).integers(0, 9, grid_of(image).shape).astype(np.uint8)
    image = sitk.Cast(with_values(image, values), sitk.sitkUInt8)
    kept = joints.copy()
    bent = bend(image, joints, 3.0, 1)
    assert bent.image.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(sitk.GetArrayFromImage(image), values)
    assert np.array_equal(joints, kept)


@pytest.mark.parametrize(
    ("change", "amplitude", "words"),
    [
        (lambda j: j, -1.0, "bend is -1 mm"),
        (lambda j: j, float("nan"), "bend is nan mm"),
        (lambda j: j[:3], 3.0, r"shape \(3, 3\).*at least 4"),
        (lambda j: j[:, :2], 3.0, r"shape \(24, 2\)"),
        (lambda j: np.where(j > 0, np.nan, j), 3.0, "not a number"),
        (lambda j: np.linspace([0, 0, 0], [5, 9, 200], 9), 3.0, "by 0.0 mm to the side"),
        (lambda j: j * [1, 1, 0.02], 3.0, "reach over"),
        (lambda j: j, 40.0, "40 mm is too strong.*at most about"),
    ],
)
def test_impossible_bends_are_named(change, amplitude, words):
    joints = spine_joints()
    with pytest.raises(InputError, match=words):
        bend(empty(joints, 12.0), change(joints), amplitude, 1)


def test_the_amplitude_that_is_proposed_works():
    joints = spine_joints()
    image = empty(joints, 8.0)
    with pytest.raises(InputError) as error:
        bend(image, joints, 25.0, 1)
    proposed = float(str(error.value).rsplit("about ", 1)[1].split(" ")[0])
    assert bend(image, joints, 0.9 * proposed, 1).largest_gradient < 0.7
