"""Projections and curved sections in the reading workflow, and what is left as it was."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from keyboard_reader import begin
from slicer_desk import Desk

from CTSpectSpineLib.scene.mrml import ROLE, by_class, numpy_matrix
from CTSpectSpineLib.scene.reading import READING_LAYOUT_ID
from CTSpectSpineLib.scene.survey import (
    PROJECTIONS,
    SECTIONS,
    SURVEY_LAYOUT_ID,
    SURVEY_ROLE,
    survey_layout,
    survey_view,
)
from CTSpectSpineLib.scene.views import LAYOUT_ID

HOT = "L5-S1 facet right"


def test_one_key_shows_projections_and_curved_sections_and_the_joint_again(desk: Desk) -> None:
    reader = begin(desk)
    reader.press("N", "P")
    layout, scene = desk.layout, slicer.mrmlScene  # type: ignore[attr-defined]
    assert layout.GetViewArrangement() == SURVEY_LAYOUT_ID
    composites = {n.GetLayoutName(): n for n in by_class(scene, "vtkMRMLSliceCompositeNode")}
    hot = np.array(desk.widget.record.row(HOT).centre_lps) * (-1, -1, 1)
    for name in ("front", "side", "right facets"):
        composite = composites[survey_view(name)]
        front = composite.GetForegroundVolumeID() or composite.GetBackgroundVolumeID()
        shown = scene.GetNodeByID(front)
        values = slicer.util.arrayFromVolume(shown)
        assert values.shape[0] == 1
        # The SPECT's only focus is the hot joint: there the picture is darkest, and as hot as the
        # SPECT itself is at its brightest voxel.
        matrix = vtk.vtkMatrix4x4()
        shown.GetIJKToRASMatrix(matrix)
        row, column = np.unravel_index(values[0].argmax(), values.shape[1:])
        place = numpy_matrix(matrix) @ (column, row, 0, 1)
        away = place[:3] - hot
        normal = numpy_matrix(matrix)[:3, 2] / np.linalg.norm(numpy_matrix(matrix)[:3, 2])
        assert np.linalg.norm(away - normal * (away @ normal)) < 3.0, name
        brightest = slicer.util.arrayFromVolume(desk.widget.nodes.relative).max()
        assert values.max() == pytest.approx(brightest, rel=0.15), name
    assert composites[survey_view("left facets")].GetBackgroundVolumeID()
    reader.press("W")
    tops = [node.GetDisplayNode().GetWindowLevelMax() for node in surveyed(scene)]
    assert tops == [2.0] * 5
    reader.press("P")
    assert layout.GetViewArrangement() == READING_LAYOUT_ID
    reader.press("P", "O")
    assert layout.GetViewArrangement() == LAYOUT_ID
    reader.press("P", "N")
    assert layout.GetViewArrangement() == READING_LAYOUT_ID
    assert desk.widget.reading._joint != HOT
    reader.press("P")
    desk.ui.readingButton.click()
    assert surveyed(scene) == []
    assert not composites[survey_view("front")].GetBackgroundVolumeID()


def surveyed(scene: Any) -> list[Any]:
    volumes = by_class(scene, "vtkMRMLScalarVolumeNode")
    return [node for node in volumes if node.GetAttribute(ROLE) == SURVEY_ROLE]


def test_slices_that_are_scrolled_do_not_take_the_survey_along() -> None:
    groups = re.findall(r'name="viewgroup" action="default">(\d+)<', survey_layout())
    assert len(set(groups)) == len(PROJECTIONS) + len(SECTIONS)
