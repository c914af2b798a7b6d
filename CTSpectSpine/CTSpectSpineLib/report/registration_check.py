"""Pictures from which a person judges the registration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.report.colour import RgbArray, bone_grey, fused, heat, inverse_grey, to_rgb
from CTSpectSpineLib.report.drawing import Outline, Panel, draw_sheet
from CTSpectSpineLib.report.sampling import Surface, plane, sample_labels
from CTSpectSpineLib.report.views import Case, smooth
from CTSpectSpineLib.results.pictures import Picture

_REGISTRATION_ROWS = 380
"""Height of the pictures, pixels. Judgement: layout."""
_BONE_CONTOUR_HU = 220.0
"""HU where other bone is outlined. Judgement: above soft tissue and most cancellous bone."""
_CHECK_MM = 24.0
"""Side of a square of the checkerboard, mm. Judgement: a little less than a lumbar body is high, so
that every body crosses a border."""


def registration_pictures(case: Case, target: Path) -> Iterable[Picture]:
    """Draw SPECT and CT together before and after registration, in three planes.

    Parameters
    ----------
    case
        What is drawn.
    target
        Folder of the pictures.
    """
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
    highest = case.highest
    rows = [
        [
            Panel(fused(hu[t], ratio[t], highest, skeleton=True), s, f"{t}, {when}")
            for t, s in surfaces.items()
        ]
        for when, ratio in (("before", before), ("after", after))
    ]
    name = "registration_fused.png"
    draw_sheet(target / name, rows, case.bar(skeleton=True))
    yield Picture(
        name,
        "registration",
        "Before and after registration",
        "CT with all of the SPECT on top, also what is colder than the reference bone, in the same "
        "colours as above. Above: as the two files place them. Below: after registration.",
        alt="CT with SPECT on top in sagittal, coronal and axial section, before and after "
        "registration",
    )
    contours = [
        Panel(
            to_rgb(inverse_grey(after[t], highest)),
            s,
            f"{t}, bone on SPECT",
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
    draw_sheet(target / name, [contours, boards], case.bar(alone=True, skeleton=True))
    yield Picture(
        name,
        "registration",
        "Does the SPECT lie on the bones?",
        "Above: the labelled vertebrae (red) and other dense bone (violet) of the CT drawn over "
        "the registered SPECT (dark is active). "
        f"Below: squares of {_CHECK_MM:g} mm, in turn CT (grey) and SPECT (colour); bones should "
        "run on from square to square.",
        alt="Outlines of the bones of the CT over the registered SPECT, and a checkerboard of "
        "both, in sagittal, coronal and axial section",
    )


def _bone_edges(case: Case, hu: FloatArray, surface: Surface) -> list[Outline]:
    """Outlines of the labelled vertebrae, and of all other dense bone."""
    labels = sample_labels(case.labels, surface.points)
    blur = max(1.0, 0.5 * max(case.labels.GetSpacing()))
    drawn = [n for n in np.unique(labels).tolist() if anatomy.name_of_id(int(n)) is not None]
    vertebrae = [smooth((labels == label).astype(float), blur, surface) for label in drawn]
    dense = smooth(np.nan_to_num(hu, nan=-1000.0), 1.2, surface) / _BONE_CONTOUR_HU
    width = max(1, round(3 / surface.pixel_mm))
    labelled = ndimage.binary_dilation(np.isin(labels, drawn), iterations=width)
    other = np.where(labelled, 0.0, np.clip(dense, 0.0, None))
    return [
        Outline(other, "#8e6bb5", width=0.8, halo=False, level=1.0),
        *(Outline(share, "#c2185b", width=1.1, halo=False) for share in vertebrae),
    ]


def _checkerboard(hu: FloatArray, ratio: FloatArray, surface: Surface, highest: float) -> RgbArray:
    rows, columns = np.indices(surface.shape) * surface.pixel_mm // _CHECK_MM
    odd = ((rows + columns) % 2 == 1)[..., None]
    return to_rgb(np.where(odd, heat(ratio, highest), bone_grey(hu)[..., None]))
