"""Pictures as nuclear medicine reads them: one window, SPECT alone, facet strips, names."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_case import HOT
from PIL import Image

from CTSpectSpineLib.display import scale_top
from CTSpectSpineLib.report import draw_pictures
from CTSpectSpineLib.report.colour import fused, small_png
from CTSpectSpineLib.report.course import course_of
from CTSpectSpineLib.report.drawing import Panel, letter_places
from CTSpectSpineLib.report.joint_planes import hottest_point, joint_surfaces
from CTSpectSpineLib.report.projection import projections
from CTSpectSpineLib.report.sampling import Sampler, plane
from CTSpectSpineLib.report.views import AXIAL, CLOSE, Case, fused_panel, level_names


def shown_case(case: dict[str, Any], top: float = 3.0, **classes: str) -> Case:
    reference = case["uptake"].reference.value
    return Case(
        ct=Sampler(case["ct"]),
        spect=Sampler(case["spect"], scale=1.0 / reference),
        ct_to_spect=case["registration"].matrix,
        labels=case["labels"],
        joints=case["joints"],
        course=course_of(case["joints"], case["labels"], case["ct"]),
        classes={HOT: "positive", **classes},
        reference="bodies",
        highest=top,
        ct_voxel_mm=2.5,
    )


def test_a_joint_at_the_bound_is_not_pale() -> None:
    # The shipped bounds are about 2, corrected, which a scan shows as 1.6 or more.
    grey = np.zeros((1, 4)) + 300.0
    rgb = fused(grey, np.array([[0.4, 1.1, 1.6, 2.2]]), 2.5)[0].astype(int)
    assert len(set(rgb[0])) == 1, "colder than the reference bone is transparent"
    assert (rgb[0] == rgb[1]).all()
    for pixel in rgb[2:]:
        assert pixel.max() - pixel.min() > 100, "as saturated as the scale"


def test_scale_ends_just_above_the_hottest_joint() -> None:
    tops = [scale_top(value) for value in (0.0, 1.3, 2.6, 3.0, 3.01, 40.0)]
    assert tops == [2.5, 2.5, 3.0, 3.0, 3.5, 6.0]


def test_all_pictures_have_one_window(
    case: dict[str, Any], tmp_path: Path, sheets: dict[str, Any]
) -> None:
    draw_pictures(tmp_path, **case)
    assert {"key.png", "spect.png", "registration_fused.png", "overview.png"} <= set(sheets)
    assert len(sheets) == 7
    assert {bar.highest for bar in sheets.values()} == {4.5}
    assert all(bar.fused or bar.alone for bar in sheets.values())


def test_facet_strips_run_through_the_joints_of_their_side(case: dict[str, Any]) -> None:
    course = course_of(case["joints"], case["labels"], case["ct"])
    for side in ("left", "right"):
        surface = course.strip(side, 0.5, (40, 25, 10, 10))
        assert surface.edge_letters() == ("A", "P", "S", "I")
        for joint in case["joints"].joints:
            column, row = np.rint(surface.project(joint.centre_mm)[0]).astype(int)
            if joint.side == side:
                assert np.linalg.norm(surface.points[row, column] - joint.centre_mm) < 0.75
            elif joint.kind == "facet":
                assert np.linalg.norm(surface.points[row, column] - joint.centre_mm) > 20


def test_planes_of_a_joint_go_through_its_hottest_point(case: dict[str, Any]) -> None:
    shown = shown_case(case)
    joint = case["joints"][HOT]
    hottest = hottest_point(shown, joint)
    region = joint.region
    index = np.linalg.inv(region.ijk_to_lps) @ np.append(hottest, 1.0)
    assert region.mask[tuple(np.rint(index[2::-1]).astype(int))]
    for surface in joint_surfaces(shown, joint, 100).values():
        normal = np.cross(surface.right, surface.down)
        assert abs((surface.points[0, 0] - hottest) @ normal) < 1e-6
        middle = surface.points[50, 50] - joint.centre_mm
        assert np.linalg.norm(middle - (middle @ normal) * normal) < 1.5


def test_projections_show_the_hottest_point_where_it_is(case: dict[str, Any]) -> None:
    shown = shown_case(case)
    front, side = projections(shown)
    assert front.surface.edge_letters() == ("R", "L", "S", "I")
    assert side.surface.edge_letters() == ("A", "P", "S", "I")
    for made in (front, side):
        dark = np.argwhere(made.rgb[..., 0] < 30)
        column, row = made.surface.project(case["joints"][HOT].centre_mm)[0]
        assert len(dark) > 10
        assert np.allclose(dark.mean(axis=0), (row, column), atol=6.0 / made.surface.pixel_mm)


def test_letters_and_names_of_levels_do_not_meet(case: dict[str, Any]) -> None:
    frames = dict(case["joints"].frames)
    # Cut vertebrae whose names would stand on L3 and on the upper edge.
    for level, height in (("L2", 40.0), ("L1", 66.0)):
        frames[level] = replace(frames["L3"], level=level, reliable=False,
                                centre_mm=np.array([6.0, -8.0, height]))  # fmt: skip
    shown = shown_case({**case, "joints": replace(case["joints"], frames=frames)})
    course = shown.course
    for where, surface in (
        ("beside", course.sagittal(0.4, (42, 78, 30, 45))),
        ("centred", course.coronal(0.4, (72, 30, 45), facets=True)),
        ("edge", course.sagittal(1.2, (42, 78, 30, 45))),
    ):
        names = level_names(shown, surface, where)
        assert {"L4", "L5"} <= {mark.text for mark in names}
        assert "L2" not in {mark.text for mark in names}
        rows = [mark.row for mark in names]
        assert all(b - a >= 20.9 for a, b in itertools.pairwise(rows))
        blank = np.zeros((*surface.shape, 3), np.uint8)
        panel = Panel(blank, surface, names=names, names_centred=where == "centred")
        for x, y in letter_places(panel):
            for mark in names:
                words = 10.0 * len(mark.text)
                middle = mark.column - (0.0 if where == "centred" else words / 2)
                assert abs(y - mark.row) >= 20 or abs(x - middle) >= words / 2 + 7, mark


def test_the_silhouette_of_a_disc_covers_its_endplates(case: dict[str, Any]) -> None:
    shown = shown_case(case, **{"L4-L5 disc": "positive"})
    disc = case["joints"]["L4-L5 disc"]
    axes = np.eye(3)
    # A cut 11 mm above the middle misses the region, which is seen from above.
    above = plane(disc.centre_mm + 11 * axes[2], axes[0], axes[1], (60, 60), 0.5)
    cut = shown.cut(above)
    assert not fused_panel(shown, cut, "", [disc], CLOSE).outlines
    (outline,) = fused_panel(shown, cut, "", [disc], AXIAL).outlines
    assert (outline.share > 0.5).sum() * 0.25 == pytest.approx(32 * 24, rel=0.25)


def test_a_picture_with_fewer_colours_is_much_the_same(drawn: Path) -> None:
    whole = (drawn / "key.png").read_bytes()
    few = small_png(whole)
    assert len(few) < 0.6 * len(whole)
    one, other = (
        np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int) for png in (whole, few)
    )
    assert abs(one - other).max() <= 24
    assert small_png(b"no picture") == b"no picture"
