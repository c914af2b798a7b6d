"""Configurations that the tests of the phantom anatomy share."""

from __future__ import annotations

from itertools import product

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from CTSpectSpineLib.anatomy import name_of_id
from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.model import Joint, Region
from CTSpectSpineLib.phantom.anatomy.shapes import Grid, Solid
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy

LUMBAR = SpineConfig(first="L3", last="L5", lateral_mm=130, ap_mm=140, margin_mm=35)


SMALL = SpineConfig(spacing_mm=3.0, first="L3", last="L4", lateral_mm=160, ap_mm=160)


def array(image: sitk.Image) -> NDArray[np.generic]:
    # A copy: a view would outlive an image that nobody else holds.
    return sitk.GetArrayFromImage(image)


def levels(anatomy: Anatomy) -> list[str]:
    ids = np.unique(array(anatomy.labels))
    return [name for label in ids if (name := name_of_id(int(label))) is not None]


def centroid(anatomy: Anatomy, label: int) -> NDArray[np.float64]:
    region = Region(array(anatomy.labels) == label, ijk_to_lps(anatomy.labels))
    return region.centre_mm()


def sampled(image: sitk.Image, region: Region) -> NDArray[np.generic]:
    """Nearest voxels of an image at a region's points."""
    inverse = np.linalg.inv(ijk_to_lps(image))
    ijk = np.rint(region.points_mm() @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    within = np.all((ijk >= 0) & (ijk < image.GetSize()), axis=1)
    i, j, k = ijk[within].T
    return array(image)[k, j, i]


def by_id(anatomy: Anatomy, joint_id: str) -> Joint:
    return next(joint for joint in anatomy.joints if joint.id == joint_id)


def shared_grid(first: Solid, second: Solid, step: float) -> Grid | None:
    """Grid over the overlap of two solids' boxes in LPS."""
    boxes = []
    for solid in (first, second):
        corners = np.array(list(product(*zip(*solid.bounds, strict=True))))
        world = solid.pose.to_world(corners)
        boxes.append((world.min(axis=0), world.max(axis=0)))
    low = np.maximum(boxes[0][0], boxes[1][0])
    high = np.minimum(boxes[0][1], boxes[1][1])
    if np.any(high <= low):
        return None
    matrix = np.diag([step, step, step, 1.0])
    matrix[:3, 3] = low
    i, j, k = np.ceil((high - low) / step).astype(int) + 1
    return Grid(matrix, (int(k), int(j), int(i)))
