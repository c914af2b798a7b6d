"""Pictures of the whole spine: the key picture, SPECT alone, fused surfaces, and every level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from CTSpectSpineLib import model
from CTSpectSpineLib.report.course import SAGITTAL_MM, STRIP_MM, joint_axes
from CTSpectSpineLib.report.drawing import Panel, draw_sheet
from CTSpectSpineLib.report.joint_planes import FIELD_MM, axial_surface, hottest_point
from CTSpectSpineLib.report.projection import projections
from CTSpectSpineLib.report.sampling import Surface, plane
from CTSpectSpineLib.report.views import (
    AXIAL,
    SHOWN_CLASSES,
    USUAL,
    Case,
    Cut,
    Lettering,
    alone_panel,
    fused_panel,
)
from CTSpectSpineLib.results.pictures import Picture

KEY_ROWS = 440
"""Height of the key picture, pixels. Judgement: with the headline it fills one screen of 900."""
_KEY_REACH_MM = 125.0
"""How far up and down from the joint the key picture reaches, mm. Judgement: four lumbar levels."""
_ROWS = (640, 1100)
"""Least and largest height of the fused overview, pixels. Judgement: a screen; beyond it no level
gets clearer."""
_PIXEL_MM = 0.6
"""Pixel by which the height is chosen between them, mm. Judgement: that of a clinical CT."""
_AXIAL_ROWS = 290
"""Height and width of an axial picture, pixels. Judgement: four abreast fill the page."""
_AXIAL_COLUMNS = 4
"""Axial pictures beside each other. Judgement: layout."""
_CORONAL_MM = (72.0, 30.0, 45.0)
"""Room around the bodies' centres: to each side, superior, inferior. Judgement: the iliac crests
and the heads of the ribs."""
OUTLINE_KEY = (
    "Joints with positive uptake are outlined in solid cyan, indeterminate ones in dashed green."
)
_CENTRED = Lettering(names="centred")
_TITLES = {"left": "Left facet joints", "right": "Right facet joints"}


def key_picture(case: Case, target: Path, lead: model.Joint | None) -> Iterable[Picture]:
    """The one picture of the first screen: the leading joint, or the spine where there is none.

    Parameters
    ----------
    lead
        The joint that the headline speaks of first; None where no joint stands out.
    """
    course = case.course
    if lead is not None and lead.centre_mm is not None:
        height = float((lead.centre_mm - course.origin) @ course.axes[2])
        low, high = course.heights
        near = (max(low, height - _KEY_REACH_MM), min(high, height + _KEY_REACH_MM))
        course = replace(course, heights=near)
    pixel = course.pixel_mm(KEY_ROWS, 30, 45)
    facet = lead is not None and lead.kind == "facet"
    joints = [j for j in case.joints.joints if lead is None or j.kind == lead.kind]
    if facet and lead is not None and lead.side in course.sides:
        sagittal, title = course.strip(lead.side, pixel, STRIP_MM), _TITLES[lead.side]
        joints_cut = [j for j in joints if j.side == lead.side]
    else:
        sagittal, title = course.sagittal(pixel, SAGITTAL_MM), "Sagittal"
        joints_cut = joints
    coronal = course.coronal(pixel, _CORONAL_MM, facets=facet)
    row = [
        fused_panel(case, case.cut(sagittal), title, joints_cut, replace(USUAL, callouts=False)),
        fused_panel(
            case, case.cut(coronal), "Coronal", joints,
            replace(_CENTRED if facet else USUAL, callouts=False),
        ),
    ]  # fmt: skip
    if lead is not None:
        cut = case.cut(axial_surface(case, lead, KEY_ROWS))
        row.append(fused_panel(case, cut, f"Axial, {lead.id}", [lead], AXIAL))
    name = "key.png"
    draw_sheet(target / name, [row], case.bar())
    shown = f"{lead.id}, outlined" if lead is not None else "no joint stands out"
    yield Picture(
        name,
        "key",
        f"Fused picture: {shown}",
        "CT in the bone window with the SPECT on top, as scanned: not corrected for partial "
        "volume, so its colours are fainter than the corrected ratios. Colour begins just above "
        f"the uptake of the reference bone ({case.reference}).",
        lead.id if lead is not None else "",
        alt="CT with SPECT on top in sagittal"
        + (", coronal and axial" if lead is not None else " and coronal")
        + f" section; {shown}",
    )


def spect_alone(case: Case, target: Path) -> Iterable[Picture]:
    """The SPECT as nuclear medicine reads it: two projections and two sections, inverse grey."""
    course = case.course
    pixel = course.pixel_mm(KEY_ROWS, 30, 45)
    discs = _of(case, "disc")
    row = [
        *projections(case),
        alone_panel(case, case.cut(course.sagittal(pixel, SAGITTAL_MM)), "Sagittal section", discs),
        alone_panel(case, case.cut(course.coronal(pixel, _CORONAL_MM)), "Coronal section", discs),
    ]
    name = "spect.png"
    draw_sheet(target / name, [row], case.bar(fused=False, alone=True))
    yield Picture(
        name,
        "overview",
        "SPECT alone",
        "Inverse grey: the darker, the more active. Two maximum intensity projections of the whole "
        "scan, and two sections along the bodies. Look here for uptake that no joint explains: "
        "ribs, sacroiliac joints, hips, kidneys, bladder.",
        alt="SPECT alone in inverse grey: projections from the front and from the side, sagittal "
        "and coronal section",
    )


def fused_overview(case: Case, target: Path) -> Iterable[Picture]:
    """Fused surfaces along the bodies and along the facet joints of both sides."""
    course = case.course
    # A whole spine is drawn taller than a lumbar one, so that its levels can still be told apart.
    rows = (course.heights[1] - course.heights[0] + 75) / _PIXEL_MM
    pixel = course.pixel_mm(int(np.clip(rows, *_ROWS)), 30, 45)
    discs, facets = _of(case, "disc"), _of(case, "facet")
    row = [
        _fused(case, course.sagittal(pixel, SAGITTAL_MM), "Sagittal, bodies", discs, USUAL),
        _fused(case, course.coronal(pixel, _CORONAL_MM), "Coronal, bodies", discs, USUAL),
    ]
    if len(course.facets):
        behind = course.coronal(pixel, _CORONAL_MM, facets=True)
        row.append(_fused(case, behind, "Coronal, facet joints", facets, _CENTRED))
    for side in ("right", "left"):
        if side in course.sides:
            strip = course.strip(side, pixel, STRIP_MM)
            own = [joint for joint in facets if joint.side == side]
            row.append(_fused(case, strip, _TITLES[side], own, replace(USUAL, callouts=False)))
    name = "overview.png"
    draw_sheet(target / name, [row], case.bar())
    yield Picture(
        name,
        "overview",
        "Fused, along the spine",
        "The surfaces follow the spine, so that all levels are cut through their middle: bodies, "
        f"and the facet joints of either side. {OUTLINE_KEY}",
        alt="CT with SPECT on top along the bodies (sagittal, coronal) and along the facet joints "
        "(coronal, and sagittal through the right and the left ones)",
    )


def axial_overview(case: Case, target: Path) -> Iterable[Picture]:
    """Axial cuts along every disc (C1-C2: between its lateral joints), with its facets."""
    panels: list[Panel] = []
    for level in dict.fromkeys(j.level for j in case.joints.joints):
        members = [j for j in case.joints.joints if j.level == level and j.centre_mm is not None]
        if not members:
            continue
        disc = next((j for j in members if j.kind == "disc"), members[0])
        axes = joint_axes(disc, case.joints, case.course)
        same = [j.centre_mm for j in members if j.kind == disc.kind and j.centre_mm is not None]
        centre = np.mean(same, axis=0)
        if disc.kind == "disc" and case.classes.get(disc.id) in SHOWN_CLASSES:
            # A hot disc is hot in its endplates: a cut through its middle would show nothing.
            centre = centre + ((hottest_point(case, disc) - centre) @ axes[2]) * axes[2]
        size = FIELD_MM[disc.spine_region]
        # Facet joints lie behind the disc: the field reaches further back than forward.
        surface = plane(
            centre + 0.14 * size * axes[1], axes[0], axes[1], (size, size), size / _AXIAL_ROWS
        )
        panels.append(_fused(case, surface, level, members, replace(AXIAL, callouts=True)))
    if not panels:
        return
    rows = [panels[i : i + _AXIAL_COLUMNS] for i in range(0, len(panels), _AXIAL_COLUMNS)]
    name = "overview_axial.png"
    draw_sheet(target / name, rows, case.bar())
    yield Picture(
        name,
        "overview",
        "Fused, level by level",
        "One axial cut along each disc, tilted with it, seen from below (the patient's right is "
        "on the left); where the disc stands out, at the height of its hottest endplate. "
        f"{OUTLINE_KEY}",
        alt="CT with SPECT on top in one axial cut along each disc",
    )


def _of(case: Case, kind: str) -> list[model.Joint]:
    return [joint for joint in case.joints.joints if joint.kind == kind]


def _fused(
    case: Case, surface: Surface, title: str, joints: Sequence[model.Joint], how: Lettering
) -> Panel:
    cut: Cut = case.cut(surface)
    return fused_panel(case, cut, title, joints, how)
