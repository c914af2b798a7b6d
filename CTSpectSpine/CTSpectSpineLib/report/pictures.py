"""The pictures of an analysis: overview, every conspicuous joint, registration check."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib import model
from CTSpectSpineLib.display import scale_top
from CTSpectSpineLib.report.course import course_of
from CTSpectSpineLib.report.drawing import draw_sheet
from CTSpectSpineLib.report.finding_pictures import finding_pictures
from CTSpectSpineLib.report.joint_planes import joint_surfaces
from CTSpectSpineLib.report.overview import (
    axial_overview,
    fused_overview,
    key_picture,
    spect_alone,
)
from CTSpectSpineLib.report.registration_check import registration_pictures
from CTSpectSpineLib.report.sampling import Sampler
from CTSpectSpineLib.report.views import (
    AXIAL,
    CLOSE,
    SHOWN_CLASSES,
    Case,
    alone_panel,
    ct_panel,
    fused_panel,
)
from CTSpectSpineLib.results.pictures import Picture, prepare_pictures, write_index

_JOINT_ROWS = 400
"""Height and width of a joint's pictures, pixels. Judgement: three abreast fill the page."""
_BRIGHT_PERCENTILE = 99.8
"""Percentile of the SPECT that counts as its brightest. Judgement: single noisy voxels do not
count."""


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
    threads: int | None = 1,
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
    threads
        Pictures that are drawn side by side; None for one on each processor.
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
    work: list[Callable[[], Iterable[Picture]]] = [
        partial(key_picture, case, target, _lead(case, table)),
        *(partial(_joint_picture, case, target, verdict, joint) for joint in _conspicuous(case)),
        *finding_pictures(case, target, verdict.findings),
        partial(spect_alone, case, target),
        partial(fused_overview, case, target),
        partial(axial_overview, case, target),
        partial(registration_pictures, case, target),
    ]
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        drawn = pool.map(lambda draw: list(draw()), work)
        pictures = [picture for some in drawn for picture in some]
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


def _lead(case: Case, table: pd.DataFrame) -> model.Joint | None:
    """The joint of the key picture: the hottest positive one, else indeterminate one."""
    column = "ratio_corrected" if "ratio_corrected" in table else "ratio_max"
    located = {joint.id: joint for joint in case.joints.joints if joint.centre_mm is not None}
    for uptake in SHOWN_CLASSES:
        of_class = table[(table["uptake"] == uptake) & table["joint"].isin(list(located))]
        if not of_class.empty:
            values = pd.to_numeric(of_class[column], errors="coerce").fillna(0.0)
            return located[str(of_class["joint"].iloc[int(values.to_numpy().argmax())])]
    return None


def _joint_picture(
    case: Case, target: Path, verdict: model.Verdict, joint: model.Joint
) -> Iterable[Picture]:
    uptake_class = case.classes[joint.id]
    surfaces = joint_surfaces(case, joint, _JOINT_ROWS)
    cuts = {title: case.cut(surface) for title, surface in surfaces.items()}
    axial, sagittal, coronal = (cuts[name] for name in ("Axial", "Sagittal", "Coronal"))
    rows = [
        [
            fused_panel(case, axial, "Axial", [joint], AXIAL),
            fused_panel(case, sagittal, "Sagittal", [joint], CLOSE),
            fused_panel(case, coronal, "Coronal", [joint], CLOSE),
        ]
    ]
    positive = uptake_class == "positive"
    if positive:
        rows.append([
            ct_panel(case, axial, "Axial, CT alone", [joint], AXIAL),
            alone_panel(case, axial, "Axial, SPECT alone", [joint], AXIAL),
            alone_panel(case, sagittal, "Sagittal, SPECT alone", [joint], CLOSE),
        ])  # fmt: skip
    name = f"joint_{_slug(joint.id)}.png"
    draw_sheet(target / name, rows, case.bar(alone=positive))
    words = verdict.joint_verdicts.get(joint.id, "").rstrip(".")
    below = " Below: the same cut in CT alone, and SPECT alone in inverse grey." if positive else ""
    yield Picture(
        name,
        "joint",
        joint.id,
        "Three planes along the axes of the joint's vertebrae, each through the hottest point "
        f"of the measured region ({uptake_class}), which is outlined.{below}"
        f"{f' In the verdict: {words}.' if words else ''}",
        joint.id,
        alt=f"{joint.id}: CT with SPECT on top in axial, sagittal and coronal section, the "
        f"measured region outlined{'; CT alone and SPECT alone' if positive else ''}",
    )


def _conspicuous(case: Case) -> list[model.Joint]:
    """Located joints that stand out, the positive ones first, each class cranial to caudal."""
    located = [joint for joint in case.joints.joints if joint.centre_mm is not None]
    return [
        joint
        for uptake in SHOWN_CLASSES
        for joint in located
        if case.classes.get(joint.id) == uptake
    ]


def _slug(joint_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", joint_id).strip("_")
