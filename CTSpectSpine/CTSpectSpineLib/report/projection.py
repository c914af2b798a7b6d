"""Maximum intensity projections of the SPECT: what the whole scan shows, also beyond the joints."""

from __future__ import annotations

import numpy as np

from CTSpectSpineLib.report.colour import inverse_grey, to_rgb
from CTSpectSpineLib.report.drawing import Panel
from CTSpectSpineLib.report.views import Case, level_names
from CTSpectSpineLib.report.whole_scan import WholeScan, projected, whole_scan

_ROWS = (440, 800)
"""Least and largest height, pixels. Judgement: that of the slices beside it; a spine is taller."""
_PIXEL_MM = 1.0
"""Pixel by which the height is chosen between them, mm. Judgement: a quarter of a SPECT voxel."""


def projections(case: Case) -> list[Panel]:
    """The SPECT projected from the front and from the left side, in inverse grey.

    The patient's right is on the left of the first, anterior on the left of the second.
    """
    scan = whole_scan(case.spect, case.ct_to_spect, case.course)
    height = float(scan.high[2] - scan.low[2])
    pixel = height / float(np.clip(height / _PIXEL_MM, *_ROWS))
    return [
        _panel(case, scan, axis, pixel, title)
        for axis, title in ((0, "Whole SPECT, from the front"), (1, "Whole SPECT, from the side"))
    ]


def _panel(case: Case, scan: WholeScan, axis: int, pixel: float, title: str) -> Panel:
    surface, brightest = projected(scan, case.course, axis, pixel)
    return Panel(
        to_rgb(inverse_grey(brightest, case.highest)),
        surface,
        title,
        names=level_names(case, surface, "edge"),
        light=True,
    )
