"""One fused panel: slices of an analysis with its joints outlined and its levels named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib import anatomy, model
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.report.course import Course
from CTSpectSpineLib.report.drawing import (
    OUTLINE_COLOURS,
    ColourBar,
    Mark,
    Outline,
    Panel,
    fused,
    spread,
)
from CTSpectSpineLib.report.sampling import Sampler, Surface, sample_labels, sample_region

SHOWN_CLASSES = ("positive", "indeterminate")
"""Uptake classes that are outlined in the overview and get a picture of their own."""


@dataclass(frozen=True)
class Case:
    """What every picture is made from."""

    ct: Sampler
    spect: Sampler
    ct_to_spect: FloatArray
    labels: sitk.Image
    joints: model.SpineJoints
    course: Course
    classes: Mapping[str, str]
    reference: str
    highest: float
    ct_voxel_mm: float

    def hu(self, surface: Surface) -> FloatArray:
        """CT on a surface, averaged over about one slice so that noise does not dominate."""
        normal = np.cross(surface.right, surface.down)
        offsets = (-1.0, 0.0, 1.0) if self.ct_voxel_mm < 2.0 else (0.0,)
        total = np.zeros(surface.shape)
        for step in offsets:
            total += self.ct(surface.points + step * normal)
        return total / len(offsets)

    def ratio(self, surface: Surface, registered: bool = True) -> FloatArray:
        """SPECT on a surface in multiples of the reference; NaN outside the SPECT."""
        return self.spect(surface.points, self.ct_to_spect if registered else None)

    def bar(self) -> ColourBar:
        """Legend of the overlay."""
        return ColourBar(self.highest)


def panel(
    case: Case,
    surface: Surface,
    title: str,
    joints: Sequence[model.Joint],
    hu: FloatArray | None = None,
    *,
    names: bool = True,
    callouts: bool = True,
    bar_mm: float = 50.0,
    callouts_right: bool = False,
    names_centred: bool = False,
) -> Panel:
    """Fused panel with the conspicuous ones of `joints` outlined, and level names."""
    outlines: list[Outline] = []
    marks: list[Mark] = []
    for joint in joints:
        uptake_class = case.classes.get(joint.id, "")
        if uptake_class not in SHOWN_CLASSES or joint.region is None:
            continue
        share = smooth(sample_region(joint.region, surface), 0.8, surface)
        if share.max() <= 0.5:
            continue
        colour = OUTLINE_COLOURS[uptake_class]
        outlines.append(Outline(share, colour, dashed=uptake_class != "positive"))
        inside = np.argwhere(share > 0.5)
        row, column = inside.mean(axis=0)
        radius = float(np.ptp(inside[:, 1])) / 2.0
        # A panel of one level, or of facet joints only, says so in its title.
        words = joint.id.removeprefix(f"{title} ")
        words = words.replace(" facet", "") if names_centred else words
        marks.append(Mark(words, float(column), float(row), colour, radius))
    ratio = case.ratio(surface)
    return Panel(
        fused(case.hu(surface) if hu is None else hu, ratio, case.highest),
        surface,
        title,
        outlines=[*_spect_edge(ratio), *outlines],
        names=_level_names(case, surface, names_centred) if names else (),
        callouts=marks if callouts else (),
        bar_mm=bar_mm,
        callouts_right=callouts_right,
        names_centred=names_centred,
    )


def _spect_edge(ratio: FloatArray) -> list[Outline]:
    """Edge of the SPECT's field of view, where it lies inside the picture."""
    inside = np.isfinite(ratio)
    if inside.all() or not inside.any():
        return []
    return [Outline(inside.astype(float), "#9aa7b5", dashed=True, width=1.0, halo=False)]


def _level_names(case: Case, surface: Surface, centred: bool) -> list[Mark]:
    """Names of the vertebrae, at their bodies or to the left of their labels."""
    rows, columns = surface.shape
    labels = None if centred else sample_labels(case.labels, surface.points)
    marks: list[Mark] = []
    for level, (column, row) in _level_places(case, surface).items():
        # The sacrum counts as S1 wherever a level is named.
        shown = "S1" if level == anatomy.SACRUM else level
        named = any(mark.text == shown for mark in marks)
        if named or not (0 <= row < rows and 0 <= column < columns):
            continue
        if labels is not None:
            half = max(2, round(6.0 / surface.pixel_mm))
            band = labels[max(0, int(row) - half) : int(row) + half + 1]
            own = np.flatnonzero((band == anatomy.vertebra(level).id).any(axis=0))
            own = own[np.abs(own - column) < 30.0 / surface.pixel_mm]
            edge = float(own.min()) if len(own) else column - 20.0 / surface.pixel_mm
            column = max(edge - 6.0, 34.0)
        marks.append(Mark(shown, column, row))
    marks.sort(key=lambda mark: mark.row)
    apart = spread([mark.row for mark in marks], 19.0, rows)
    return [replace(mark, row=row) for mark, row in zip(marks, apart, strict=True)]


def _level_places(case: Case, surface: Surface) -> dict[str, tuple[float, float]]:
    """Column and row of each vertebra; cut ones at their height on the line of the others."""
    course = case.course
    named = {level: position for level, position in course.bodies.items() if level}
    if not named:
        return {}
    points = course.origin + np.array(list(named.values())) @ course.axes
    # Bodies are ordered caudal to cranial, so rows fall; interpolation wants them rising.
    known = surface.project(points)[::-1]
    places = {
        level: (float(c), float(r)) for level, (c, r) in zip(reversed(named), known, strict=True)
    }
    for level, frame in case.joints.frames.items():
        if level not in places:
            row = float(surface.project(frame.centre_mm)[0, 1])
            places[level] = float(np.interp(row, known[:, 1], known[:, 0])), row
    return places


def smooth(values: FloatArray, sigma_mm: float, surface: Surface) -> FloatArray:
    """Blur by `sigma_mm`, so that outlines show the shape and not the voxels."""
    return ndimage.gaussian_filter(values, sigma_mm / surface.pixel_mm)
