"""The pictures of an analysis: overview, every conspicuous joint, registration check."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib import anatomy, model
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.report.drawing import (
    OUTLINE_COLOURS,
    ColourBar,
    Mark,
    Outline,
    Panel,
    bone_grey,
    draw_sheet,
    fused,
    heat,
    to_rgb,
)
from CTSpectSpineLib.report.sampling import Sampler, Surface, plane, sample_labels, sample_region
from CTSpectSpineLib.report.spine import Course, course_of, joint_axes

SHOWN_CLASSES = ("positive", "indeterminate")
"""Uptake classes that are outlined in the overview and get a picture of their own."""

_OVERVIEW_ROWS = 760
_JOINT_ROWS = 340
_AXIAL_ROWS = 245
_AXIAL_COLUMNS = 6
_REGISTRATION_ROWS = 430
_FIELD_MM = {"cervical": 72.0, "thoracic": 90.0, "lumbar": 110.0}
_BONE_CONTOUR_HU = 220.0
_CHECK_MM = 24.0


@dataclass(frozen=True)
class Picture:
    """One entry of ``pictures/index.json``.

    Attributes
    ----------
    file
        Name of the PNG beside the index.
    section
        ``overview``, ``joint`` or ``registration``.
    title, caption
        Words for the page; the caption says what is seen, without numbers of the table.
    joint
        Joint id for pictures of one joint, else empty.
    """

    file: str
    section: str
    title: str
    caption: str
    joint: str = ""


@dataclass(frozen=True)
class _Case:
    """What every picture is made from."""

    ct: Sampler
    spect: Sampler
    ct_to_spect: FloatArray
    labels: sitk.Image
    joints: model.SpineJoints
    course: Course
    classes: dict[str, str]
    reference: str
    highest: float
    ct_voxel_mm: float

    def hu(self, surface: Surface) -> FloatArray:
        """CT on a surface, averaged over about one slice so that noise does not dominate."""
        normal = np.cross(surface.right, surface.down)
        offsets = (-1.0, 0.0, 1.0) if self.ct_voxel_mm < 2.0 else (0.0,)
        values = [self.ct(surface.points + step * normal) for step in offsets]
        mean: FloatArray = np.mean(values, axis=0)
        return mean

    def ratio(self, surface: Surface, registered: bool = True) -> FloatArray:
        """SPECT on a surface in multiples of the reference; NaN outside the SPECT."""
        return self.spect(surface.points, self.ct_to_spect if registered else None)

    def bar(self) -> ColourBar:
        """Legend of the overlay."""
        return ColourBar(self.highest)


def draw_pictures(
    folder: Path,
    *,
    ct: sitk.Image,
    spect: sitk.Image,
    registration: model.Registration,
    labels: sitk.Image,
    joints: model.SpineJoints,
    table: pd.DataFrame,
    verdict: model.Verdict,
    uptake: model.Uptake,
) -> None:
    """Write the pictures of one analysis and their index into ``folder/pictures``.

    Pictures follow the radiological convention: the patient's right is on the left of coronal
    and axial pictures, anterior on the left of sagittal ones.

    Parameters
    ----------
    folder
        The results folder; ``pictures`` is made in it.
    ct, spect
        CT in HU and SPECT in its own units, each on its own grid.
    registration
        Maps CT points to SPECT points.
    labels
        Vertebra labels (ids of `anatomy`), on any grid in the space of the CT.
    joints
        Regions and frames, in the space of the CT.
    table
        Joint table with the columns ``joint``, ``uptake`` and ``ratio_max``.
    verdict
        Its part for each joint is told in the captions.
    uptake
        Gives the reference that scales the overlay.

    Raises
    ------
    InputError
        If the reference uptake is not a positive number.
    """
    reference = uptake.reference
    if not (math.isfinite(reference.value) and reference.value > 0):
        raise InputError(
            f"the reference uptake is {reference.value}: it must be positive to scale the "
            "pictures; choose another reference region"
        )
    case = _Case(
        ct=Sampler(ct),
        spect=Sampler(spect, scale=1.0 / reference.value),
        ct_to_spect=registration.matrix,
        labels=labels,
        joints=joints,
        course=course_of(joints, labels, ct),
        classes=dict(zip(table["joint"], table["uptake"], strict=True)),
        reference=reference.name.replace("_", " "),
        highest=_highest(table),
        ct_voxel_mm=min(ct.GetSpacing()),
    )
    target = Path(folder) / "pictures"
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.png"):
        old.unlink()
    pictures = [
        *_overview(case, target),
        *_axial_overview(case, target),
        *_joint_pictures(case, target, verdict),
        *_registration_pictures(case, target),
    ]
    index = target / "index.json"
    part = index.with_suffix(".json.part")
    part.write_text(
        json.dumps([asdict(p) for p in pictures], indent=2, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )
    part.replace(index)


def _highest(table: pd.DataFrame) -> float:
    """Upper end of the colour scale: the hottest joint, at least 3 and at most 8."""
    column = table["ratio_max"] if "ratio_max" in table else pd.Series(dtype=float)
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    hottest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    return float(np.clip(math.ceil(hottest), 3, 8))


def _overview(case: _Case, target: Path) -> Iterable[Picture]:
    course = case.course
    pixel = course.pixel_mm(_OVERVIEW_ROWS, 30, 45)
    discs = [j for j in case.joints.joints if j.kind == "disc"]
    facets = [j for j in case.joints.joints if j.kind == "facet"]
    sagittal = course.sagittal(pixel, (42, 78, 30, 45))
    row = [_panel(case, sagittal, "Sagittal, through the bodies", discs, callouts_right=True)]
    coronal = course.coronal(pixel, (72, 30, 45))
    row.append(_panel(case, coronal, "Coronal, through the bodies", discs))
    if len(course.facets):
        behind = course.coronal(pixel, (72, 30, 45), facets=True)
        row.append(_panel(case, behind, "Coronal, through the facet joints", facets))
    name = "overview.png"
    draw_sheet(target / name, [row], case.bar())
    yield Picture(
        name,
        "overview",
        "The spine at a glance",
        "CT in bone window with SPECT on top. The surfaces follow the spine, so that all levels "
        "are cut through their middle. Colour begins at the uptake of the reference bone "
        f"({case.reference}) and is not corrected for partial volume. {_OUTLINE_KEY}",
    )


_OUTLINE_KEY = (
    "Joints with positive uptake are outlined in cyan, indeterminate ones dashed in green."
)


def _axial_overview(case: _Case, target: Path) -> Iterable[Picture]:
    """Axial cuts along every disc (C1-C2: between its lateral joints), with its facets."""
    panels = []
    for level in dict.fromkeys(j.level for j in case.joints.joints):
        members = [j for j in case.joints.joints if j.level == level and j.centre_mm is not None]
        if not members:
            continue
        disc = next((j for j in members if j.kind == "disc"), members[0])
        axes = joint_axes(disc, case.joints, case.course)
        centre = np.mean([j.centre_mm for j in members if j.kind == disc.kind], axis=0)
        size = _FIELD_MM[disc.spine_region]
        # Facet joints lie behind the disc: the field reaches further back than forward.
        surface = plane(
            centre + 0.14 * size * axes[1], axes[0], axes[1], (size, size), size / _AXIAL_ROWS
        )
        panels.append(_panel(case, surface, level, members, names=False, bar_mm=20.0))
    if not panels:
        return
    rows = [panels[i : i + _AXIAL_COLUMNS] for i in range(0, len(panels), _AXIAL_COLUMNS)]
    name = "overview_axial.png"
    draw_sheet(target / name, rows, case.bar())
    yield Picture(
        name,
        "overview",
        "Axial, level by level",
        "One cut along each disc, tilted with it, seen from below (the patient's right is on "
        f"the left). {_OUTLINE_KEY}",
    )


def _joint_pictures(
    case: _Case, target: Path, verdict: model.Verdict
) -> Iterable[Picture]:
    for joint in case.joints.joints:
        uptake_class = case.classes.get(joint.id, "")
        if uptake_class not in SHOWN_CLASSES or joint.centre_mm is None:
            continue
        left, posterior, superior = joint_axes(joint, case.joints, case.course)
        field = 0.8 * _FIELD_MM[joint.spine_region]
        size, pixel = (field, field), field / _JOINT_ROWS
        surfaces = {
            "Sagittal": plane(joint.centre_mm, posterior, -superior, size, pixel),
            "Coronal": plane(joint.centre_mm, left, -superior, size, pixel),
            "Axial": plane(joint.centre_mm, left, posterior, size, pixel),
        }
        top = [
            _panel(case, surface, title, [joint], names=False, callouts=False, bar_mm=20.0)
            for title, surface in surfaces.items()
        ]
        bottom = [
            Panel(to_rgb(bone_grey(case.hu(panel.surface))[..., None]), panel.surface,
                  outlines=panel.outlines, bar_mm=20.0)
            for panel in top
        ]  # fmt: skip
        name = f"joint_{_slug(joint.id)}.png"
        draw_sheet(target / name, [top, bottom], case.bar())
        words = verdict.joint_verdicts.get(joint.id, "").rstrip(".")
        yield Picture(
            name,
            "joint",
            joint.id,
            "Three planes through the centre of the joint along the axes of its vertebrae: CT "
            f"with SPECT above, CT alone below. The measured region ({uptake_class}) is "
            f"outlined.{f' In the verdict: {words}.' if words else ''}",
            joint.id,
        )


def _registration_pictures(case: _Case, target: Path) -> Iterable[Picture]:
    course = case.course
    pixel = course.pixel_mm(_REGISTRATION_ROWS, 60, 60)
    levels = list(course.bodies.values())
    middle = course.origin + levels[len(levels) // 2] @ course.axes
    sagittal = course.sagittal(pixel, (90, 90, 60, 60))
    height, width = 210.0, 280.0
    surfaces = {
        "Sagittal": sagittal,
        "Coronal": course.coronal(pixel, (150, 60, 60)),
        "Axial": plane(
            middle, course.axes[0], course.axes[1], (width, height), height / sagittal.shape[0]
        ),
    }
    hu = {title: case.hu(surface) for title, surface in surfaces.items()}
    before = {t: case.ratio(s, registered=False) for t, s in surfaces.items()}
    after = {t: case.ratio(s) for t, s in surfaces.items()}
    # The skeleton itself, not only the hottest joint, must be seen to judge a registration.
    highest = 2.5
    rows = [
        [
            Panel(_skeleton(hu[t], ratio[t], highest), s, f"{t}, {when}")
            for t, s in surfaces.items()
        ]
        for when, ratio in (("before", before), ("after", after))
    ]
    name = "registration_fused.png"
    draw_sheet(target / name, rows)
    yield Picture(
        name,
        "registration",
        "Before and after registration",
        "CT with SPECT on top (all of it, not only what exceeds the reference bone). Above: as "
        "the two files place them. Below: after registration.",
    )
    contours = [
        Panel(
            to_rgb(1.0 - 0.9 * np.clip(np.nan_to_num(after[t]) / highest, 0, 1)[..., None]),
            s,
            f"{t}, bone edges on SPECT",
            outlines=_bone_edges(case, hu[t], s),
            light=True,
        )
        for t, s in surfaces.items()
    ]
    boards = [
        Panel(_checkerboard(hu[t], after[t], s, highest), s, f"{t}, checkerboard")
        for t, s in surfaces.items()
    ]
    name = "registration_check.png"
    draw_sheet(target / name, [contours, boards])
    yield Picture(
        name,
        "registration",
        "Does the SPECT lie on the bones?",
        "Above: the labelled vertebrae (red) and other dense bone (violet) of the CT drawn over "
        "the registered SPECT (dark is active). "
        f"Below: squares of {_CHECK_MM:g} mm, in turn CT (grey) and SPECT (colour); bones should "
        "run on from square to square.",
    )


def _panel(
    case: _Case,
    surface: Surface,
    title: str,
    joints: Sequence[model.Joint],
    *,
    names: bool = True,
    callouts: bool = True,
    bar_mm: float = 50.0,
    callouts_right: bool = False,
) -> Panel:
    """Fused panel with the conspicuous ones of `joints` outlined, and level names."""
    outlines: list[Outline] = []
    marks: list[Mark] = []
    for joint in joints:
        uptake_class = case.classes.get(joint.id, "")
        if uptake_class not in SHOWN_CLASSES or joint.region is None:
            continue
        share = _smooth(sample_region(joint.region, surface), 0.8, surface)
        if share.max() <= 0.5:
            continue
        colour = OUTLINE_COLOURS[uptake_class]
        outlines.append(Outline(share, colour, dashed=uptake_class != "positive"))
        inside = np.argwhere(share > 0.5)
        row, column = inside.mean(axis=0)
        radius = float(np.ptp(inside[:, 1])) / 2.0
        # A panel of one level has its name as title: there the callout need not repeat it.
        words = joint.id.removeprefix(f"{title} ")
        marks.append(Mark(words, float(column), float(row), colour, radius))
    ratio = case.ratio(surface)
    return Panel(
        fused(case.hu(surface), ratio, case.highest),
        surface,
        title,
        outlines=[*_spect_edge(ratio), *outlines],
        names=_level_names(case, surface) if names else (),
        callouts=marks if callouts else (),
        bar_mm=bar_mm,
        callouts_right=callouts_right,
    )


def _spect_edge(ratio: FloatArray) -> list[Outline]:
    """Edge of the SPECT's field of view, where it lies inside the picture."""
    inside = np.isfinite(ratio)
    if inside.all() or not inside.any():
        return []
    return [Outline(inside.astype(float), "#9aa7b5", dashed=True, width=1.0, halo=False)]


def _level_names(case: _Case, surface: Surface) -> list[Mark]:
    """Names of the vertebrae to the left of what their labels show near the body's height."""
    labels = sample_labels(case.labels, surface.points)
    rows, columns = surface.shape
    marks = []
    for level, position in case.course.bodies.items():
        if not level:
            continue
        centre = case.course.origin + position @ case.course.axes
        column, row = surface.project(centre)[0]
        if not (0 <= row < rows and 0 <= column < columns):
            continue
        # The sacrum counts as S1 wherever a level is named.
        shown = "S1" if level == anatomy.SACRUM else level
        if any(mark.text == shown for mark in marks):
            continue
        half = max(2, round(6.0 / surface.pixel_mm))
        band = labels[max(0, int(row) - half) : int(row) + half + 1]
        own = np.flatnonzero((band == anatomy.vertebra(level).id).any(axis=0))
        reach = 30.0 / surface.pixel_mm
        own = own[np.abs(own - column) < reach]
        edge = own.min() if len(own) else column - 20.0 / surface.pixel_mm
        marks.append(Mark(shown, max(float(edge) - 6.0, 34.0), float(row)))
    return marks


def _smooth(values: FloatArray, sigma_mm: float, surface: Surface) -> FloatArray:
    """Blur by `sigma_mm`, so that outlines show the shape and not the voxels."""
    blurred: FloatArray = ndimage.gaussian_filter(values, sigma_mm / surface.pixel_mm)
    return blurred


def _skeleton(hu: FloatArray, ratio: FloatArray, highest: float) -> np.ndarray:
    """CT under all of the SPECT, also what lies below the reference bone."""
    alpha = 0.8 * np.clip((np.nan_to_num(ratio) - 0.25) / 0.75, 0.0, 1.0)[..., None]
    return to_rgb(bone_grey(hu)[..., None] * (1.0 - alpha) + heat(ratio, highest) * alpha)


def _bone_edges(case: _Case, hu: FloatArray, surface: Surface) -> list[Outline]:
    """Outlines of the labelled vertebrae, and of all other dense bone."""
    labels = sample_labels(case.labels, surface.points)
    blur = max(1.0, 0.5 * max(case.labels.GetSpacing()))
    vertebrae = [
        _smooth((labels == label).astype(float), blur, surface)
        for label in np.unique(labels)
        if anatomy.name_of_id(int(label)) is not None
    ]
    dense = _smooth(np.nan_to_num(hu, nan=-1000.0), 1.2, surface) / _BONE_CONTOUR_HU
    labelled = ndimage.binary_dilation(labels > 0, iterations=max(1, round(3 / surface.pixel_mm)))
    other = np.where(labelled, 0.0, np.clip(dense, 0.0, None))
    return [
        Outline(other, "#8e6bb5", width=0.8, halo=False, level=1.0),
        *(Outline(share, "#c2185b", width=1.1, halo=False) for share in vertebrae),
    ]


def _checkerboard(
    hu: FloatArray, ratio: FloatArray, surface: Surface, highest: float
) -> np.ndarray:
    rows, columns = np.indices(surface.shape) * surface.pixel_mm // _CHECK_MM
    odd = ((rows + columns) % 2 == 1)[..., None]
    return to_rgb(np.where(odd, heat(ratio, highest, start=0.0), bone_grey(hu)[..., None]))


def _slug(joint_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", joint_id).strip("_")
