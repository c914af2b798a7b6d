"""Images and sources that the tests of the phantom SPECT share."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.anatomy import vertebra
from CTSpectSpineLib.geometry import (
    apply_matrix,
    ijk_to_lps,
    image_from_array,
)
from CTSpectSpineLib.model import Joint, Region
from CTSpectSpineLib.phantom.model import Anatomy, Tissue

MOVED = ((8.0, -6.0, 10.0), (3.0, -2.0, 4.0))


def image(array: np.ndarray, spacing: float, origin=(-50.0, 20.0, -300.0)) -> sitk.Image:
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = origin
    return image_from_array(array, matrix)


def block_spine(spacing: float = 1.5) -> Anatomy:
    """L3 to L5 as blocks with a pair of articular blocks, in a box of muscle."""
    shape = (80, 50, 60)
    tissue = np.full(shape, Tissue.MUSCLE, dtype=np.uint8)
    labels = np.zeros(shape, dtype=np.uint8)
    tops = {"L5": 4, "L4": 30, "L3": 56}
    for name, low in tops.items():
        body = (slice(low, low + 20), slice(8, 30), slice(16, 46))
        labels[body], tissue[body] = vertebra(name).id, Tissue.BODY
        arch = (slice(low + 2, low + 14), slice(30, 44), slice(20, 42))
        labels[arch], tissue[arch] = vertebra(name).id, Tissue.POSTERIOR
    joints = []
    matrix = ijk_to_lps(image(tissue, spacing))
    for upper, lower in (("L3", "L4"), ("L4", "L5")):
        level, gap = f"{upper}-{lower}", tops[upper]
        bands = np.zeros(shape, dtype=bool)
        bands[gap : gap + 3, 8:30, 16:46] = True
        bands[gap - 9 : gap - 6, 8:30, 16:46] = True
        joints.append(joint_of(level, "disc", "", upper, lower, bands, matrix))
        for side, where in (("left", slice(34, 42)), ("right", slice(20, 28))):
            facet = np.zeros(shape, dtype=bool)
            facet[gap + 2 : gap + 8, 32:40, where] = True
            joints.append(joint_of(level, "facet", side, upper, lower, facet, matrix))
    ct = np.where(tissue == Tissue.MUSCLE, 40, 300).astype(np.int16)
    return Anatomy(
        image(ct, spacing), image(labels, spacing), image(tissue, spacing), tuple(joints)
    )


def joint_of(level, kind, side, upper, lower, mask, matrix) -> Joint:
    region = Region(mask, matrix)
    name = f"{level} {kind} {side}".strip()
    return Joint(
        name, level, kind, side, "lumbar", upper, lower, region, region, region.centre_mm()
    )


def centroid_mm(picture: sitk.Image, values: np.ndarray) -> np.ndarray:
    kji = np.argwhere(values > 0)
    weights = values[values > 0]
    points = apply_matrix(ijk_to_lps(picture), kji[:, ::-1].astype(float))
    return np.average(points, axis=0, weights=weights)
