"""Pictures of uptake outside the joints: an axial and a sagittal section of each finding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.report.drawing import OUTLINE_COLOURS, Outline, draw_sheet
from CTSpectSpineLib.report.sampling import Surface, plane
from CTSpectSpineLib.report.values import items, mapping, number
from CTSpectSpineLib.report.views import CLOSE, Case, alone_panel, fused_panel
from CTSpectSpineLib.results.pictures import Picture

MOST = 4
"""Most findings that get a picture. Judgement: a lumbar report stays on four pages; more than four
are a pattern that the projections of the whole SPECT show better."""
_ROWS = 400
"""Height and width of a picture, pixels. Judgement: as those of joints."""
_FIELD_MM = 100.0
"""Least width of a picture, mm. Judgement: a lumbar vertebra with some of its neighbours."""
_AROUND_MM = 40.0
"""Least margin around the ball that was fitted, mm. Judgement: what it lies in is seen."""


def finding_pictures(
    case: Case, target: Path, findings: Iterable[Mapping[str, Any]]
) -> Iterator[Callable[[], Iterable[Picture]]]:
    """What draws the findings that look like no organ, in their order, the most urgent first.

    Parameters
    ----------
    case
        What all pictures are made from.
    target
        Folder of the pictures.
    findings
        As ``verdict.json`` holds them.

    Returns
    -------
    work
        One function per picture; they may run side by side.
    """
    shown = [f for f in map(mapping, findings) if not f.get("physiologic")]
    placed = [finding for finding in shown if _centre(finding) is not None]
    for place, finding in enumerate(placed[:MOST], 1):
        yield partial(_finding_picture, case, target / f"finding_{place}.png", finding)


def _finding_picture(case: Case, path: Path, finding: Mapping[str, Any]) -> Iterable[Picture]:
    cuts = {title: case.cut(surface) for title, surface in _surfaces(case, finding).items()}
    panels = [fused_panel(case, cut, title, (), CLOSE) for title, cut in cuts.items()]
    panels.append(alone_panel(case, cuts["Axial"], "Axial, SPECT alone", (), CLOSE))
    drawn = [
        replace(panel, outlines=[*panel.outlines, *_ball(finding, panel.surface)])
        for panel in panels
    ]
    draw_sheet(path, [drawn], case.bar(alone=True))
    words = str(finding.get("nearest") or finding.get("where") or "uptake outside the joints")
    yield Picture(
        path.name,
        "finding",
        f"{words[:1].upper()}{words[1:]}",
        _caption(finding),
        alt=f"{words}: CT with SPECT on top in axial and sagittal section, and SPECT alone, the "
        "fitted ball outlined",
    )


def _caption(finding: Mapping[str, Any]) -> str:
    """Level, side, size and ratio of a finding."""
    level, side = str(finding.get("level") or ""), str(finding.get("side") or "")
    where = ", ".join(word for word in (level, side) if word) or "beside the spine"
    size = number(finding.get("diameter_mm"), 0)
    ratios = f"highest ratio {number(finding.get('ratio'), 1)} as scanned"
    corrected = number(finding.get("ratio_corrected"), 1)
    if corrected != "–":
        ratios += f", {corrected} corrected"
    text = f"{where[:1].upper()}{where[1:]}; diameter {size} mm; {ratios}"
    confidence = str(finding.get("confidence") or "")
    return f"{text}; confidence {confidence}." if confidence else f"{text}."


def _centre(finding: Mapping[str, Any]) -> FloatArray | None:
    values = items(finding.get("centre_mm"))
    if len(values) != 3 or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        return None
    return np.array(values, dtype=float)


def _radius(finding: Mapping[str, Any]) -> float:
    value = finding.get("diameter_mm")
    good = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return 0.5 * float(value) if good else 0.0  # type: ignore[arg-type]


def _surfaces(case: Case, finding: Mapping[str, Any]) -> dict[str, Surface]:
    """An axial and a sagittal plane through a finding, along the axes of the nearest vertebra."""
    centre = _centre(finding)
    assert centre is not None
    frame = case.joints.frames.get(str(finding.get("level") or ""))
    left, posterior, superior = (
        frame.axes if frame is not None and frame.reliable else case.course.axes
    )
    field = max(_FIELD_MM, 2.0 * (_radius(finding) + _AROUND_MM))
    size, pixel = (field, field), field / _ROWS
    return {
        "Axial": plane(centre, left, posterior, size, pixel),
        "Sagittal": plane(centre, posterior, -superior, size, pixel),
    }


def _ball(finding: Mapping[str, Any], surface: Surface) -> list[Outline]:
    """Where the surface cuts the ball that was fitted."""
    centre, radius = _centre(finding), _radius(finding)
    if centre is None or radius <= 0:
        return []
    distance = np.linalg.norm(surface.points - centre, axis=2)
    share = np.clip(0.5 + (radius - distance) / surface.pixel_mm, 0.0, 1.0)
    return [Outline(share, OUTLINE_COLOURS["positive"], dashed=True)]
