"""A small lumbar spine of simple solids, its labels, joints and SPECT, for the uptake tests.

Nothing here uses the library's uptake code: the SPECT is the activity on a 1 mm grid, filtered by
a Gaussian and read at the SPECT's voxel centres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import apply_matrix, euler_transform, image_from_array
from CTSpectSpineLib.model import (
    Joint,
    Region,
    Registration,
    SpineJoints,
    UptakeBounds,
    VertebraFrame,
)

LEVELS = ("L1", "L2", "L3", "L4", "L5")
BODY_HALF = np.array([22.0, 16.0])
BODY_HEIGHT = 26.0
PITCH = 36.0
BAND = 5.0
FACET_HALF = np.array([7.0, 6.0, 8.0])
FACET_AT = np.array([18.0, 34.0])
BOUNDS = {
    "disc": UptakeBounds("ratio_corrected", 2.0, 1.6),
    "facet": UptakeBounds("ratio_corrected", 2.0, 1.6),
}
BACKGROUND = 0.15


def grid(low, high, step):
    """Points [k, j, i, 3] of an axis-aligned grid and its index-to-LPS matrix."""
    axes = [np.arange(a, b + step / 2, step) for a, b in zip(low, high, strict=True)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    matrix = np.diag([step, step, step, 1.0])
    matrix[:3, 3] = low
    return np.stack([x, y, z], axis=-1), matrix


def _region(inside, low, high, step=1.0):
    points, matrix = grid(np.asarray(low, float), np.asarray(high, float), step)
    return Region(inside(points), matrix)


def body_z(level):
    return -PITCH * LEVELS.index(level)


def in_footprint(p, scale=1.0):
    return (p[..., 0] / BODY_HALF[0]) ** 2 + (p[..., 1] / BODY_HALF[1]) ** 2 <= scale**2


def in_body(p, level):
    return in_footprint(p) & (np.abs(p[..., 2] - body_z(level)) <= BODY_HEIGHT / 2)


def in_posterior(p, level):
    dz = p[..., 2] - body_z(level)
    arch = (np.abs(p[..., 0]) <= 26) & (np.abs(p[..., 1] - 34) <= 9) & (np.abs(dz + 4) <= 17.5)
    pedicle = (np.abs(np.abs(p[..., 0]) - 13) <= 4) & (np.abs(p[..., 1] - 20) <= 7)
    return (arch | (pedicle & (np.abs(dz - 4) <= 7))) & ~in_body(p, level)


def in_space(p, upper):
    middle = body_z(upper) - PITCH / 2
    return in_footprint(p) & (np.abs(p[..., 2] - middle) <= (PITCH - BODY_HEIGHT) / 2)


def in_bands(p, upper):
    middle, gap = body_z(upper) - PITCH / 2, (PITCH - BODY_HEIGHT) / 2
    away = np.abs(p[..., 2] - middle)
    return in_footprint(p) & (away > gap) & (away <= gap + BAND)


def facet_centre(upper, side):
    sign = 1.0 if side == "left" else -1.0
    return np.array([sign * FACET_AT[0], FACET_AT[1], body_z(upper) - PITCH / 2])


def in_facet(p, upper, side):
    away = (p - facet_centre(upper, side)) / FACET_HALF
    return np.sum(away**2, axis=-1) <= 1.0


def joint_id(upper, lower, kind, side=""):
    return f"{upper}-{lower} {kind}" + (f" {side}" if side else "")


@dataclass
class Scene:
    """Truth: uptake ratio of each joint's bone to the bodies' (1.0).

    ``endplates`` has the ratios of a disc's upper and lower endplate where they differ.
    """

    hot: Mapping[str, float] = field(default_factory=dict)
    normal: Mapping[str, float] = field(default_factory=lambda: {"disc": 1.1, "facet": 0.9})
    body: Mapping[str, float] = field(default_factory=dict)
    posterior: float = 0.8
    levels: tuple[str, ...] = LEVELS
    endplates: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def pairs(self):
        return list(zip(self.levels, self.levels[1:], strict=False))

    def true_ratio(self, upper, lower, kind, side=""):
        name = joint_id(upper, lower, kind, side)
        if name in self.endplates:
            return sum(self.endplates[name]) / 2.0
        return self.hot.get(name, self.normal[kind])

    def labels(self, step=1.5):
        z = [body_z(level) for level in self.levels]
        points, matrix = grid([-34.5, -25, min(z) - 40], [34.5, 55, max(z) + 40], step)
        array = np.zeros(points.shape[:3], np.uint8)
        for level in self.levels:
            inside = in_posterior(points, level) | in_body(points, level)
            array[inside & (array == 0)] = anatomy.vertebra(level).id
        return image_from_array(array, matrix)

    def joints(self):
        found = []
        for upper, lower in self.pairs():
            found.append(self._disc(upper, lower))
            found += [self._facet(upper, lower, side) for side in ("left", "right")]
        return SpineJoints(tuple(found), {lv: self._frame(lv) for lv in self.levels})

    def _disc(self, upper, lower):
        z = body_z(upper) - PITCH / 2
        box = ([-24, -18, z - 12.5], [24, 18, z + 12.5])
        bone = _region(lambda p: in_bands(p, upper), *box)
        space = _region(lambda p: in_space(p, upper), *box)
        both = Region(bone.mask | space.mask, bone.ijk_to_lps)
        parts = {
            "disc_space": space,
            "endplate_upper": _region(lambda p: in_bands(p, upper) & (p[..., 2] > z), *box),
            "endplate_lower": _region(lambda p: in_bands(p, upper) & (p[..., 2] < z), *box),
        }
        return Joint(
            joint_id(upper, lower, "disc"), f"{upper}-{lower}", "disc", "", "lumbar", upper,
            lower, both, bone, np.array([0.0, 0.0, z]), parts,
        )  # fmt: skip

    def _facet(self, upper, lower, side):
        centre = facet_centre(upper, side)
        bone = _region(lambda p: in_facet(p, upper, side), centre - 9.5, centre + 9.5)
        return Joint(
            joint_id(upper, lower, "facet", side), f"{upper}-{lower}", "facet", side, "lumbar",
            upper, lower, bone, bone, centre,
        )  # fmt: skip

    def _frame(self, level):
        z = body_z(level)
        box = ([-24, -18, z - 14], [24, 18, z + 14])
        core = _region(
            lambda p: in_footprint(p, 0.6) & (np.abs(p[..., 2] - z) <= 0.55 * BODY_HEIGHT / 2),
            *box,
        )
        body = _region(lambda p: in_body(p, level), *box)
        axes = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
        return VertebraFrame(level, np.array([0.0, 0.0, z]), axes, body, core)

    def activity(self, p, reference=100.0):
        """Activity at points [..., 3] of the CT."""
        value = np.full(p.shape[:-1], BACKGROUND)
        for level in self.levels:
            value[in_posterior(p, level)] = self.posterior
            value[in_body(p, level)] = self.body.get(level, 1.0)
        for upper, lower in self.pairs():
            value[in_bands(p, upper)] = self.true_ratio(upper, lower, "disc")
            for above, ratio in zip(
                (True, False), self.endplates.get(joint_id(upper, lower, "disc"), ()), strict=False
            ):
                side_of = (p[..., 2] > body_z(upper) - PITCH / 2) == above
                value[in_bands(p, upper) & side_of] = ratio
            value[in_space(p, upper)] = 0.1
            for side in ("left", "right"):
                ratio = self.true_ratio(upper, lower, "facet", side)
                value[in_facet(p, upper, side)] = ratio
        return value * reference

    def spect(self, ct_to_spect=None, fwhm=10.0, spacing=4.6, offset=0.0, noise=0.0, seed=0):
        """SPECT whose voxel grid is axis-aligned in SPECT space; voxels average over their size."""
        ct_to_spect = np.eye(4) if ct_to_spect is None else ct_to_spect
        z = [body_z(level) for level in self.levels]
        low, high = np.array([-62.0, -55, min(z) - 62]), np.array([62.0, 85, max(z) + 62])
        blurred, matrix = _blurred(repr(self), np.hypot(fwhm, 2.3548 * spacing / np.sqrt(12.0)))
        middle = apply_matrix(ct_to_spect, np.array([low, high])).mean(axis=0)
        half = (high - low) / 2
        at, to_lps = grid(middle - half + offset, middle + half + offset, spacing)
        back = np.linalg.inv(matrix) @ np.linalg.inv(ct_to_spect)
        index = apply_matrix(back, at.reshape(-1, 3))
        array = ndimage.map_coordinates(blurred, index[:, ::-1].T, output=np.float64, order=1)
        array = array.reshape(at.shape[:3]) + BACKGROUND * 100.0
        if noise:
            rng = np.random.default_rng(seed)
            # Finer than the resolution, as without resolution recovery: the post filter alone.
            white = ndimage.gaussian_filter(rng.standard_normal(array.shape), 0.5)
            array = array + white / white.std() * noise * np.sqrt(100.0 * np.maximum(array, 1.0))
        return image_from_array(array.astype(np.float32), to_lps)


@cache
def _blurred(described, fwhm):
    """Blurred activity above background on a 1 mm grid, for a scene given by its repr."""
    scene = eval(described)
    z = [body_z(level) for level in scene.levels]
    low, high = np.array([-28.5, -17.5, min(z) - 22.5]), np.array([28.5, 44.5, max(z) + 22.5])
    points, matrix = grid(low, high, 1.0)
    above = (scene.activity(points) - BACKGROUND * 100.0).astype(np.float32)
    pad = int(np.ceil(2 * fwhm))
    matrix[:3, 3] -= pad
    return ndimage.gaussian_filter(np.pad(above, pad), fwhm / 2.3548, mode="constant"), matrix


def rigid(angles_deg=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)):
    """4×4 matrix of a rotation about x, y, z and a translation."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def registration(ct_to_spect=None, error_mm=0.0):
    return Registration(
        transform=euler_transform(np.eye(4) if ct_to_spect is None else ct_to_spect),
        method="known", metric_start=0.0, metric_end=1.0, expected_error_mm=error_mm,
        quality="good", reasons=(), seconds=0.0,
    )  # fmt: skip
