"""Pictures of the report: what is drawn lies where it lies in the patient."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_case import CENTRES, HOT, LEVELS
from scipy.spatial.transform import Rotation

from CTSpectSpineLib import model
from CTSpectSpineLib.geometry import (
    apply_matrix,
    ijk_to_lps,
    image_from_array,
)
from CTSpectSpineLib.report import draw_pictures
from CTSpectSpineLib.report.course import course_of
from CTSpectSpineLib.report.drawing import (
    OUTLINE_COLOURS,
    spread,
)
from CTSpectSpineLib.report.sampling import (
    Sampler,
    Surface,
    direction_letter,
    plane,
    sample_labels,
    sample_region,
)


def pixels(path: Path) -> np.ndarray:
    return np.rint(matplotlib.image.imread(path)[..., :3] * 255).astype(int)


def hot_pixels(rgb: np.ndarray) -> np.ndarray:
    """Rows and columns of the orange and yellow of the overlay (letters and legend excluded)."""
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    return np.argwhere((r > 200) & (g > 80) & (b < 75) & (r - g > 40))


def test_index_names_every_picture_and_only_conspicuous_joints(drawn: Path) -> None:
    index = json.loads((drawn / "index.json").read_text(encoding="utf-8"))
    assert {entry["file"] for entry in index} == {path.name for path in drawn.glob("*.png")}
    assert {entry["section"] for entry in index} == {"key", "overview", "joint", "registration"}
    assert [entry["joint"] for entry in index if entry["joint"]] == [HOT, HOT]
    assert all(entry["title"] and entry["caption"] for entry in index)
    # Said aloud after the title, so no full stop, and never the caption once more.
    assert all(entry["alt"] and entry["alt"][-1] not in ".?!" for entry in index)
    (joint,) = [entry for entry in index if entry["section"] == "joint"]
    assert "counts as an area" in joint["caption"]


@pytest.mark.usefixtures("sheets")
def test_indeterminate_joints_get_a_picture_too(case: dict[str, Any], tmp_path: Path) -> None:
    table = case["table"].assign(uptake="indeterminate")
    draw_pictures(tmp_path, **{**case, "table": table})
    index = json.loads((tmp_path / "pictures" / "index.json").read_text(encoding="utf-8"))
    assert {entry["joint"] for entry in index if entry["joint"]} == set(table["joint"])


def test_left_facet_is_on_the_right_of_the_axial_picture(drawn: Path) -> None:
    # Two panels of 290 pixels; the legend begins beyond them.
    rgb = pixels(drawn / "overview_axial.png")
    second = rgb[38 : 38 + 290, 8 + 290 + 12 : 8 + 290 + 12 + 290]
    hot = hot_pixels(second)
    assert len(hot) > 100
    row, column = hot.mean(axis=0)
    assert column > 290 / 2 + 20
    assert row > 290 / 2  # posterior is below


def test_left_facet_is_on_the_right_of_the_coronal_picture(case: dict[str, Any]) -> None:
    course = course_of(case["joints"], case["labels"], case["ct"])
    surface = course.coronal(0.5, (72, 30, 45), facets=True)
    ratio = Sampler(case["spect"])(surface.points, case["registration"].matrix)
    row, column = np.unravel_index(np.nanargmax(ratio), ratio.shape)
    assert column > ratio.shape[1] / 2 + 15
    assert surface.edge_letters() == ("R", "L", "S", "I")
    assert row > ratio.shape[0] / 2  # L4-L5 lies below the middle of L3 to L5


@pytest.mark.parametrize("view", ["sagittal", "coronal", "facets", "axial"])
def test_a_marker_is_drawn_where_the_letters_say(case: dict[str, Any], view: str) -> None:
    course = course_of(case["joints"], case["labels"], case["ct"])
    surface = {
        "sagittal": lambda: course.sagittal(0.5, (42, 78, 30, 45)),
        "coronal": lambda: course.coronal(0.5, (72, 30, 45)),
        "facets": lambda: course.coronal(0.5, (72, 30, 45), facets=True),
        "axial": lambda: plane(np.zeros(3), np.eye(3)[0], np.eye(3)[1], (100, 100), 0.5),
    }[view]()
    rows, columns = surface.shape
    left, right, top, bottom = surface.edge_letters()
    ways = {"R": (0, -1), "L": (0, 1), "A": (1, -1), "P": (1, 1), "I": (2, -1), "S": (2, 1)}
    for letter, near in ((left, (rows // 2, 0)), (right, (rows // 2, columns - 1)),
                         (top, (0, columns // 2)), (bottom, (rows - 1, columns // 2))):  # fmt: skip
        axis, sign = ways[letter]
        middle = surface.points[rows // 2, columns // 2]
        assert sign * (surface.points[near][axis] - middle[axis]) > 10


def test_radiological_convention(case: dict[str, Any]) -> None:
    course = course_of(case["joints"], case["labels"], case["ct"])
    assert course.sagittal(1.0, (42, 78, 30, 45)).edge_letters() == ("A", "P", "S", "I")
    assert course.coronal(1.0, (72, 30, 45)).edge_letters() == ("R", "L", "S", "I")
    left, posterior = course.axes[0], course.axes[1]
    axial = plane(np.zeros(3), left, posterior, (10, 10), 1.0)
    assert axial.edge_letters() == ("R", "L", "A", "P")


def test_surfaces_pass_through_every_body(case: dict[str, Any]) -> None:
    course = course_of(case["joints"], case["labels"], case["ct"])
    for surface in (course.sagittal(0.5, (42, 78, 30, 45)), course.coronal(0.5, (72, 30, 45))):
        for centre in CENTRES.values():
            column, row = np.rint(surface.project(np.array(centre))[0]).astype(int)
            assert np.linalg.norm(surface.points[row, column] - centre) < 0.75


def test_registration_is_applied_from_ct_to_spect(case: dict[str, Any]) -> None:
    centre = case["joints"][HOT].centre_mm
    surface = plane(centre, np.eye(3)[0], np.eye(3)[1], (80, 80), 1.0)
    after = Sampler(case["spect"])(surface.points, case["registration"].matrix)
    row, column = np.argwhere(after > 350).mean(axis=0)
    assert np.allclose([column, row], surface.project(centre)[0], atol=2.5)
    before = Sampler(case["spect"])(surface.points)
    row, column = np.argwhere(before > 350).mean(axis=0) if (before > 350).any() else (0, 0)
    assert not np.allclose([column, row], surface.project(centre)[0], atol=6)


@pytest.mark.parametrize("orientation", ["PIR", "RAS"])
def test_pictures_do_not_depend_on_axis_order(
    case: dict[str, Any], drawn: Path, tmp_path: Path, orientation: str
) -> None:
    turned = {name: sitk.DICOMOrient(case[name], orientation) for name in ("ct", "labels", "spect")}
    assert turned["ct"].GetDirection() != case["ct"].GetDirection()
    draw_pictures(tmp_path, **{**case, **turned})
    for path in sorted(drawn.glob("*.png")):
        expected, found = pixels(path), pixels(tmp_path / "pictures" / path.name)
        assert found.shape == expected.shape
        assert (abs(found - expected).max(axis=2) > 2).mean() < 1e-4, path.name


def test_pictures_are_reproducible(case: dict[str, Any], drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    draw_pictures(tmp_path, **case)
    for path in drawn.iterdir():
        assert (tmp_path / "pictures" / path.name).read_bytes() == path.read_bytes()


def test_positive_joint_is_outlined(drawn: Path, case: dict[str, Any], tmp_path: Path) -> None:
    def outlined(path: Path) -> int:
        cyan = tuple(int(OUTLINE_COLOURS["positive"][i : i + 2], 16) for i in (1, 3, 5))
        return int((abs(pixels(path) - cyan).max(axis=2) < 25).sum())

    assert outlined(drawn / f"joint_{HOT.replace('-', '_').replace(' ', '_')}.png") > 300
    assert outlined(drawn / "overview.png") > 50
    negative = case["table"].assign(uptake="negative")
    draw_pictures(tmp_path, **{**case, "table": negative})
    assert outlined(tmp_path / "pictures" / "overview.png") == 0


def test_without_frames_the_labels_give_the_course(
    case: dict[str, Any], tmp_path: Path, sheets: dict[str, Any]
) -> None:
    joints = replace(case["joints"], frames={})
    course = course_of(joints, case["labels"], case["ct"])
    for level, centre in CENTRES.items():
        position = course.origin + course.bodies[level] @ course.axes
        assert np.allclose(position, centre, atol=1.5)
    draw_pictures(tmp_path, **{**case, "joints": joints})
    assert "overview.png" in sheets


@pytest.mark.usefixtures("sheets")
def test_without_joints_and_labels_pictures_are_made(case: dict[str, Any], tmp_path: Path) -> None:
    nothing = model.SpineJoints((), {})
    draw_pictures(
        tmp_path,
        **{**case, "joints": nothing, "labels": case["labels"] * 0, "table": case["table"][:0]},
    )
    index = json.loads((tmp_path / "pictures" / "index.json").read_text(encoding="utf-8"))
    assert {entry["section"] for entry in index} == {"key", "overview", "registration"}


def test_a_cut_vertebra_does_not_bend_the_course(case: dict[str, Any]) -> None:
    frames = dict(case["joints"].frames)
    odd = replace(frames["L3"], level="L2", centre_mm=np.array([40.0, 50.0, 60.0]), reliable=False)
    joints = replace(case["joints"], frames={"L2": odd, **frames})
    course = course_of(joints, case["labels"], case["ct"])
    assert set(course.bodies) == set(LEVELS)
    surface = course.sagittal(1.0, (42, 78, 30, 45))
    assert abs(surface.points[0, 0, 0] - CENTRES["L3"][0]) < 1.0


@pytest.mark.parametrize("value", [0.0, -3.0, float("nan")])
@pytest.mark.usefixtures("sheets")
def test_without_a_reference_the_range_of_the_spect_scales_the_pictures(
    case: dict[str, Any], tmp_path: Path, value: float
) -> None:
    uptake = replace(case["uptake"], reference=replace(case["uptake"].reference, value=value))
    draw_pictures(tmp_path, **{**case, "uptake": uptake})
    index = json.loads((tmp_path / "pictures" / "index.json").read_text(encoding="utf-8"))
    assert any("no reference bone was measurable" in row["caption"] for row in index)


def turned_image(array: np.ndarray, angles: Any, spacing: Any) -> sitk.Image:
    """Image of an array on an oblique grid whose centre is the origin of the patient."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    centre = (np.array(array.shape[::-1]) - 1) / 2
    matrix[:3, 3] = -matrix[:3, :3] @ centre
    return image_from_array(array, matrix)


@settings(max_examples=25, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.7, 5.0)] * 3),
    gradient=st.tuples(*[st.floats(-9, 9)] * 3),
    smooth=st.booleans(),
)
def test_sampler_is_exact_for_linear_fields_on_any_grid(
    angles: Any, spacing: Any, gradient: Any, smooth: bool
) -> None:
    empty = turned_image(np.zeros((15, 16, 17), np.float32), angles, np.array(spacing))
    k, j, i = np.indices((15, 16, 17))
    voxels = apply_matrix(ijk_to_lps(empty), np.stack([i, j, k], -1).reshape(-1, 3))
    values = (voxels @ np.array(gradient)).reshape(15, 16, 17).astype(np.float32)
    image = turned_image(values, angles, np.array(spacing))
    reach = 1.5 * min(spacing)
    points = np.random.default_rng(0).uniform(-reach, reach, (4, 5, 3))
    found = Sampler(image, scale=2.0, smooth=smooth)(points)
    # A spline feels the mirrored ends of the volume a little.
    tolerance = 1e-3 + (2e-3 if smooth else 1e-5) * float(abs(values).max())
    assert np.allclose(found, 2.0 * points @ np.array(gradient), atol=tolerance)


def test_sampler_gives_nan_outside() -> None:
    image = turned_image(np.ones((8, 8, 8), np.float32), (20, 0, 0), np.ones(3))
    found = Sampler(image)(np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]))
    assert found[0] == pytest.approx(1.0)
    assert np.isnan(found[1])


@settings(max_examples=20, deadline=None)
@given(angles=st.tuples(*[st.floats(-180, 180)] * 3))
def test_region_of_a_ball_is_a_disc_on_every_grid(angles: Any) -> None:
    k, j, i = np.indices((27, 27, 27)) - 13
    image = turned_image((i**2 + j**2 + k**2 <= 100).astype(np.uint8), angles, np.ones(3))
    region = model.Region(sitk.GetArrayFromImage(image) > 0, ijk_to_lps(image))
    surface = plane(np.zeros(3), np.eye(3)[0], np.eye(3)[2], (40, 40), 0.5)
    share = sample_region(region, surface)
    assert (share > 0.5).sum() * 0.25 == pytest.approx(np.pi * 100, rel=0.05)
    assert np.allclose(np.argwhere(share > 0.5).mean(axis=0), 39.5, atol=0.6)
    far = plane(np.array([0.0, 30.0, 0.0]), np.eye(3)[0], np.eye(3)[2], (40, 40), 0.5)
    assert sample_region(region, far).max() == 0


def test_labels_are_read_nearest_and_zero_outside() -> None:
    array = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    image = turned_image(array, (0, 90, 0), np.array([2.0, 3.0, 4.0]))
    k, j, i = np.indices((4, 4, 4))
    points = apply_matrix(ijk_to_lps(image), np.stack([i, j, k], -1).reshape(-1, 3))
    assert np.array_equal(sample_labels(image, points).reshape(4, 4, 4), array)
    assert sample_labels(image, points + np.array([0, 0, 50])).max() == 0


@given(st.integers(0, 2), st.sampled_from([-1.0, 1.0]))
def test_direction_letters(axis: int, sign: float) -> None:
    expected = {(0, -1): "R", (0, 1): "L", (1, -1): "A", (1, 1): "P", (2, -1): "I", (2, 1): "S"}
    vector = np.array([0.3, -0.2, 0.25])
    vector[axis] = sign
    assert direction_letter(vector) == expected[axis, int(sign)]


@given(
    st.lists(st.floats(0, 800), max_size=30).map(sorted),
    st.floats(10, 40),
    st.floats(300, 900),
)
def test_callouts_are_spread_inside_the_panel(rows: list[float], gap: float, height: float) -> None:
    placed = spread(rows, gap, height)
    assert len(placed) == len(rows)
    fair = min(gap, (height - 3 * gap) / max(len(rows) - 1, 1))
    assert all(b - a >= fair - 1e-6 for a, b in itertools.pairwise(placed))
    assert all(gap - 1e-6 <= row <= height - 2 * gap + 1e-6 for row in placed)


def test_surface_projection_inverts_the_plane() -> None:
    turn = Rotation.from_euler("xyz", [30, 40, 50], degrees=True).as_matrix()
    surface: Surface = plane(np.array([5.0, 6.0, 7.0]), turn[0], turn[1], (30, 20), 0.7)
    for row, column in ((0, 0), (5, 11), (surface.shape[0] - 1, surface.shape[1] - 1)):
        assert np.allclose(surface.project(surface.points[row, column])[0], (column, row))
