"""Panels of one cut, its joints outlined and its levels named: fused, SPECT or CT alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib import anatomy, model
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.report.colour import RgbArray, bone_grey, fused, inverse_grey, to_rgb
from CTSpectSpineLib.report.course import Course
from CTSpectSpineLib.report.drawing import (
    OUTLINE_COLOURS,
    ColourBar,
    Mark,
    Outline,
    Panel,
    spread,
)
from CTSpectSpineLib.report.sampling import Sampler, Surface, sample_labels, sample_region

SHOWN_CLASSES = ("positive", "indeterminate")
"""Uptake classes that are outlined in the overview and get a picture of their own."""

_SLICE_MM = (-0.75, 0.75)
"""Depths at which a fine CT is read and averaged, mm. Judgement: as noise looks in 2 mm slices."""
_NAME_ROWS = 21.0
"""Rows from one level's name to the next, pixels. Measured on the bold font of 13 points with its
halo."""

_NAME_COLUMN = 40.0
"""Least column where a level's name ends, pixels. Measured: three bold letters of 13 points."""


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
        return self.ct.thick(surface, _SLICE_MM if self.ct_voxel_mm < 2.0 else (0.0,))

    def ratio(self, surface: Surface, registered: bool = True) -> FloatArray:
        """SPECT on a surface in multiples of the reference; NaN outside the SPECT."""
        return self.spect.on(surface, self.ct_to_spect if registered else None)

    def bar(self, fused: bool = True, alone: bool = False, skeleton: bool = False) -> ColourBar:
        """Legend of the one window of all pictures."""
        return ColourBar(self.highest, fused, alone, skeleton)

    def cut(self, surface: Surface) -> Cut:
        """CT and SPECT on a surface, read once for all pictures of it."""
        return Cut(surface, self.hu(surface), self.ratio(surface))


@dataclass(frozen=True)
class Cut:
    """CT in HU and SPECT in multiples of the reference on a surface, shape (rows, columns)."""

    surface: Surface
    hu: FloatArray
    ratio: FloatArray


@dataclass(frozen=True)
class Lettering:
    """What is written on a panel.

    Attributes
    ----------
    names
        Where the names of the vertebrae stand: ``beside`` them, ``centred`` on them, at the left
        ``edge`` of the panel, or empty for nowhere.
    callouts
        Name the outlined joints.
    bar_mm
        Length of the scale bar.
    callouts_right
        As for `Panel`.
    silhouette
        Outline discs as seen along the normal of the cut: in an axial cut their endplates, which
        are curved, leave only shreds.
    """

    names: str = "beside"
    callouts: bool = True
    bar_mm: float = 50.0
    callouts_right: bool = False
    silhouette: bool = False


USUAL = Lettering(callouts_right=True)
"""Lettering of pictures of the whole spine."""
_DISC_DEPTH_MM = (-15.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0)
"""Depths of the cuts that a disc's silhouette is made of, mm. Judgement: from either endplate they
reach past the other one."""
CLOSE = Lettering(names="", callouts=False, bar_mm=20.0)
"""Lettering of pictures of one joint, which its heading names."""
AXIAL = replace(CLOSE, silhouette=True)
"""The same for axial cuts."""


def fused_panel(
    case: Case,
    cut: Cut,
    title: str,
    joints: Sequence[model.Joint] = (),
    lettering: Lettering = USUAL,
) -> Panel:
    """CT under the uptake, with the conspicuous ones of `joints` outlined, and level names."""
    rgb = fused(cut.hu, cut.ratio, case.highest)
    return _lettered(case, cut, rgb, title, joints, lettering, edge=True)


def alone_panel(
    case: Case,
    cut: Cut,
    title: str,
    joints: Sequence[model.Joint] = (),
    lettering: Lettering = USUAL,
) -> Panel:
    """SPECT alone in inverse grey, as nuclear medicine reads it."""
    rgb = to_rgb(inverse_grey(cut.ratio, case.highest))
    made = _lettered(case, cut, rgb, title, joints, lettering, edge=False)
    return replace(made, light=True)


def ct_panel(
    case: Case,
    cut: Cut,
    title: str,
    joints: Sequence[model.Joint] = (),
    lettering: Lettering = USUAL,
) -> Panel:
    """CT alone in the bone window."""
    rgb = to_rgb(bone_grey(cut.hu)[..., None])
    return _lettered(case, cut, rgb, title, joints, lettering, edge=False)


def _lettered(
    case: Case,
    cut: Cut,
    rgb: RgbArray,
    title: str,
    joints: Sequence[model.Joint],
    how: Lettering,
    *,
    edge: bool,
) -> Panel:
    surface = cut.surface
    outlines: list[Outline] = _spect_edge(cut.ratio) if edge else []
    marks: list[Mark] = []
    for joint in joints:
        uptake_class = case.classes.get(joint.id, "")
        if uptake_class not in SHOWN_CLASSES or joint.region is None:
            continue
        depth = _DISC_DEPTH_MM if how.silhouette and joint.kind == "disc" else (0.0,)
        share = smooth(_seen_along(joint.region, surface, depth), 0.8, surface)
        if share.max() <= 0.5:
            continue
        colour = OUTLINE_COLOURS[uptake_class]
        outlines.append(Outline(share, colour, dashed=uptake_class != "positive"))
        inside = np.argwhere(share > 0.5)
        row, column = inside.mean(axis=0)
        radius = float(np.ptp(inside[:, 1])) / 2.0
        # A panel of one level, or of facet joints only, says so in its title.
        words = joint.id.removeprefix(f"{title} ")
        words = words.replace(" facet", "") if how.names == "centred" else words
        marks.append(Mark(words, float(column), float(row), colour, radius))
    return Panel(
        rgb,
        surface,
        title,
        outlines=outlines,
        names=level_names(case, surface, how.names) if how.names else (),
        callouts=marks if how.callouts else (),
        bar_mm=how.bar_mm,
        callouts_right=how.callouts_right,
        names_centred=how.names == "centred",
    )


def _seen_along(region: model.Region, surface: Surface, depths_mm: Sequence[float]) -> FloatArray:
    """Share of a region at each pixel, the highest of cuts at these depths along the normal."""
    normal = np.cross(surface.right, surface.down)
    cuts = [replace(surface, points=surface.points + depth * normal) for depth in depths_mm]
    shares = [sample_region(region, cut) for cut in cuts]
    highest: FloatArray = np.maximum.reduce(shares)
    return highest


def _spect_edge(ratio: FloatArray) -> list[Outline]:
    """Edge of the SPECT's field of view, where it lies inside the picture."""
    inside = np.isfinite(ratio)
    if inside.all() or not inside.any():
        return []
    return [Outline(inside.astype(float), "#9aa7b5", dashed=True, width=1.0, halo=False)]


def level_names(case: Case, surface: Surface, where: str) -> list[Mark]:
    """Names of the vertebrae: ``beside`` their labels, ``centred`` on them, or at the ``edge``."""
    rows, columns = surface.shape
    labels = sample_labels(case.labels, surface.points) if where == "beside" else None
    marks: list[Mark] = []
    for level, (column, row) in _level_places(case, surface).items():
        # The sacrum counts as S1 wherever a level is named.
        shown = "S1" if level == anatomy.SACRUM else level
        named = any(mark.text == shown for mark in marks)
        if named or not 0 <= row < rows or (where == "centred" and not 0 <= column < columns):
            continue
        if labels is not None:
            half = max(2, round(6.0 / surface.pixel_mm))
            band = labels[max(0, int(row) - half) : int(row) + half + 1]
            own = np.flatnonzero((band == anatomy.vertebra(level).id).any(axis=0))
            own = own[np.abs(own - column) < 30.0 / surface.pixel_mm]
            edge = float(own.min()) if len(own) else column - 20.0 / surface.pixel_mm
            column = min(max(edge - 6.0, _NAME_COLUMN), columns - 1.0)
        elif where == "edge":
            column = _NAME_COLUMN
        marks.append(Mark(shown, column, row))
    marks = _uncrowded(case, sorted(marks, key=lambda mark: mark.row), rows)
    apart = spread([mark.row for mark in marks], _NAME_ROWS, rows)
    return [replace(mark, row=row) for mark, row in zip(marks, apart, strict=True)]


def _uncrowded(case: Case, marks: list[Mark], rows: int) -> list[Mark]:
    """Names without those of cut vertebrae that would stand on another name or on the edge."""
    kept = list(marks)
    frames = case.joints.frames
    cut = [m for m in marks if m.text in frames and not frames[m.text].reliable]
    # From the edges of the picture to its middle: of two cut ones the inner one stays.
    for mark in sorted(cut, key=lambda m: min(m.row, rows - m.row)):
        others = [m.row for m in kept if m is not mark]
        if (
            any(abs(mark.row - row) < _NAME_ROWS for row in others)
            or not 0.5 * _NAME_ROWS <= mark.row <= rows - 0.5 * _NAME_ROWS
        ):
            kept = [m for m in kept if m is not mark]
    return kept


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
