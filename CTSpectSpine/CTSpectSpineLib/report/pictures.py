"""The pictures of an analysis: overview, every conspicuous joint, registration check."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib import model
from CTSpectSpineLib.display import scale_top
from CTSpectSpineLib.report.course import course_of, joint_axes
from CTSpectSpineLib.report.drawing import (
    Panel,
    bone_grey,
    draw_sheet,
    to_rgb,
)
from CTSpectSpineLib.report.registration_check import registration_pictures
from CTSpectSpineLib.report.sampling import Sampler, plane
from CTSpectSpineLib.report.views import SHOWN_CLASSES, Case, panel
from CTSpectSpineLib.results.pictures import Picture, prepare_pictures, write_index

_OVERVIEW_ROWS = (760, 1250)
"""Least and largest height of the overview, pixels. Judgement: a screen; beyond it no level gets
clearer."""
_OVERVIEW_PIXEL_MM = 0.6
"""Pixel by which the height is chosen between them, mm. Judgement: that of a clinical CT."""
_JOINT_ROWS = 340
"""Height and width of a joint's pictures, pixels. Judgement: three abreast about fill the page."""
_BRIGHT_PERCENTILE = 99.8
"""Percentile of the SPECT that counts as its brightest. Judgement: single noisy voxels do not
count."""
_AXIAL_ROWS = 245
"""Height and width of an axial picture of the overview, pixels. Judgement: layout."""
_AXIAL_COLUMNS = 6
"""Axial pictures beside each other. Judgement: layout."""
_FIELD_MM = {"cervical": 72.0, "thoracic": 90.0, "lumbar": 110.0}
"""Width of axial pictures, mm. Judgement: a vertebra of the region with some muscle around it."""


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
        Without one (a failed registration, mostly) the SPECT's own range does.
    """
    scale, name = _scale(uptake.reference, spect)
    case = Case(
        ct=Sampler(ct),
        spect=Sampler(spect, scale=1.0 / scale),
        ct_to_spect=registration.matrix,
        labels=labels,
        joints=joints,
        course=course_of(joints, labels, ct),
        classes=dict(zip(table["joint"], table["uptake"], strict=True)),
        reference=name,
        highest=_highest(table),
        ct_voxel_mm=min(ct.GetSpacing()),
    )
    target = prepare_pictures(Path(folder))
    pictures = [
        *_overview(case, target),
        *_axial_overview(case, target),
        *_joint_pictures(case, target, verdict),
        *registration_pictures(case, target),
    ]
    write_index(target, pictures)


def _scale(reference: model.ReferenceUptake, spect: sitk.Image) -> tuple[float, str]:
    """SPECT value that the overlay is scaled by, and its name."""
    if math.isfinite(reference.value) and reference.value > 0:
        return reference.value, reference.name.replace("_", " ")
    values = sitk.GetArrayViewFromImage(spect)
    brightest = float(np.percentile(values, _BRIGHT_PERCENTILE))
    return max(brightest, float(np.finfo(float).tiny)) / 3.0, (
        "no reference bone was measurable; a third of the brightest SPECT voxels"
    )


def _highest(table: pd.DataFrame) -> float:
    """Upper end of the colour scale."""
    column = table["ratio_max"] if "ratio_max" in table else pd.Series(dtype=float)
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    hottest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    return scale_top(hottest)


def _overview(case: Case, target: Path) -> Iterable[Picture]:
    course = case.course
    # A whole spine is drawn taller than a lumbar one, so that its levels can still be told apart.
    rows = (course.heights[1] - course.heights[0] + 75) / _OVERVIEW_PIXEL_MM
    pixel = course.pixel_mm(int(np.clip(rows, *_OVERVIEW_ROWS)), 30, 45)
    discs = [j for j in case.joints.joints if j.kind == "disc"]
    facets = [j for j in case.joints.joints if j.kind == "facet"]
    sagittal = course.sagittal(pixel, (42, 78, 30, 45))
    row = [panel(case, sagittal, "Sagittal, bodies", discs, callouts_right=True)]
    coronal = course.coronal(pixel, (72, 30, 45))
    title = "Coronal, bodies"
    row.append(panel(case, coronal, title, discs, callouts_right=True))
    if len(course.facets):
        behind = course.coronal(pixel, (72, 30, 45), facets=True)
        title = "Coronal, facet joints"
        row.append(panel(case, behind, title, facets, names_centred=True))
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


def _axial_overview(case: Case, target: Path) -> Iterable[Picture]:
    """Axial cuts along every disc (C1-C2: between its lateral joints), with its facets."""
    panels = []
    for level in dict.fromkeys(j.level for j in case.joints.joints):
        members = [j for j in case.joints.joints if j.level == level and j.centre_mm is not None]
        if not members:
            continue
        disc = next((j for j in members if j.kind == "disc"), members[0])
        axes = joint_axes(disc, case.joints, case.course)
        same = [j.centre_mm for j in members if j.kind == disc.kind and j.centre_mm is not None]
        centre = np.mean(same, axis=0)
        size = _FIELD_MM[disc.spine_region]
        # Facet joints lie behind the disc: the field reaches further back than forward.
        surface = plane(
            centre + 0.14 * size * axes[1], axes[0], axes[1], (size, size), size / _AXIAL_ROWS
        )
        panels.append(panel(case, surface, level, members, names=False, bar_mm=20.0))
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


def _joint_pictures(case: Case, target: Path, verdict: model.Verdict) -> Iterable[Picture]:
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
        hu = [case.hu(surface) for surface in surfaces.values()]
        top = [
            panel(case, surface, title, [joint], values, names=False, callouts=False, bar_mm=20.0)
            for (title, surface), values in zip(surfaces.items(), hu, strict=True)
        ]
        bottom = [
            Panel(to_rgb(bone_grey(values)[..., None]), above.surface,
                  outlines=above.outlines, bar_mm=20.0)
            for above, values in zip(top, hu, strict=True)
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


def _slug(joint_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", joint_id).strip("_")
