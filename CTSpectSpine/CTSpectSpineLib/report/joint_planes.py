"""Planes through a joint."""

from __future__ import annotations

import numpy as np

from CTSpectSpineLib import model
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.report.course import joint_axes
from CTSpectSpineLib.report.sampling import Surface, plane
from CTSpectSpineLib.report.views import Case

FIELD_MM = {"cervical": 72.0, "thoracic": 90.0, "lumbar": 110.0}
"""Width of axial pictures, mm. Judgement: a vertebra of the region with some muscle around it."""


def axial_surface(case: Case, joint: model.Joint, rows: int) -> Surface:
    """The axial one of `joint_surfaces`."""
    return joint_surfaces(case, joint, rows)["Axial"]


def joint_surfaces(case: Case, joint: model.Joint, rows: int) -> dict[str, Surface]:
    """Three planes along the axes of a joint's vertebrae, each at the hottest point of its region.

    Their middle is the joint's centre: only along its normal does a plane move to where the uptake
    is seen. A disc takes up tracer in its endplates, not in its middle.

    Parameters
    ----------
    rows
        Height and width of the pictures, pixels.
    """
    left, posterior, superior = joint_axes(joint, case.joints, case.course)
    field = 0.8 * FIELD_MM[joint.spine_region]
    centre = joint_centre(joint)
    offset = hottest_point(case, joint) - centre
    directions = {
        "Axial": (left, posterior, superior),
        "Sagittal": (posterior, -superior, left),
        "Coronal": (left, -superior, posterior),
    }
    return {
        title: plane(centre + (offset @ normal) * normal, right, down, (field, field), field / rows)
        for title, (right, down, normal) in directions.items()
    }


def joint_centre(joint: model.Joint) -> FloatArray:
    """Centre of a joint that was located, LPS mm."""
    if joint.centre_mm is None:
        raise ValueError(f"{joint.id} was not located")
    return joint.centre_mm


def hottest_point(case: Case, joint: model.Joint) -> FloatArray:
    """Where in a joint's region the SPECT is highest, LPS mm; its centre without a region."""
    region = joint.region
    if region is None or not region.mask.any():
        return joint_centre(joint)
    index = np.argwhere(region.mask)[:, ::-1].astype(float)
    points = index @ region.ijk_to_lps[:3, :3].T + region.ijk_to_lps[:3, 3]
    ratio = case.spect(points, case.ct_to_spect)
    if not np.isfinite(ratio).any():
        return joint_centre(joint)
    hottest: FloatArray = points[int(np.nanargmax(ratio))]
    return hottest
