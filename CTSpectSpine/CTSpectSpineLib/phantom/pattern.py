"""How uptake varies between and within the bones of one patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib import anatomy as names
from CTSpectSpineLib.geometry import apply_matrix, grid_of, inverse
from CTSpectSpineLib.model import FloatArray, Joint
from CTSpectSpineLib.phantom.model import Anatomy, Tissue

VERTEBRAL = (Tissue.BODY, Tissue.POSTERIOR, Tissue.SACRUM)
"""Tissues of the vertebrae and the sacrum."""
BONE = (*VERTEBRAL, Tissue.RIB, Tissue.PELVIS, Tissue.OTHER_BONE)
"""Tissues that are bone."""
_LEAST = 0.2
"""Least factor inside a bone. Judgement: no living bone takes up nothing."""
_FOCUS_REACH = 3.0
"""Standard deviations up to which a focus reaches. Numerical."""

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Focus:
    """A spot of more uptake in bone, as beside an osteophyte.

    Attributes
    ----------
    centre_mm
        Middle, LPS mm.
    sigma_mm
        Its width: standard deviation of a Gaussian.
    activity
        Activity that it adds in its middle; vertebral bodies are about 1.
    """

    centre_mm: tuple[float, float, float]
    sigma_mm: float
    activity: float

    def at(self, points_mm: FloatArray) -> FloatArray:
        """Activity added at points, LPS mm, shape (n, 3)."""
        distance = np.linalg.norm(points_mm - np.array(self.centre_mm), axis=1) / self.sigma_mm
        added = self.activity * np.exp(-0.5 * distance**2)
        return np.where(distance <= _FOCUS_REACH, added, 0.0)


@dataclass(frozen=True)
class UptakePattern:
    """Uptake of one patient's bones and organs; what is not named is as in ``activity.json``.

    Attributes
    ----------
    bodies
        Level to the factor on its whole vertebra.
    posterior
        Level to the activity of its posterior elements over that of its body.
    joints
        Joint id to the ratio to the reference bone of the joint's own part where it is not hot.
    vertebra_slopes
        Level to the relative change of uptake per mm towards x, y, z within the vertebra (LPS).
    vertebra_texture
        Standard deviation of the uptake's variation within bones, relative.
    joint_slopes
        Joint id to the relative change per mm towards x, y, z within its bone; the joint's mean
        stays.
    foci
        Spots of more uptake; they count in the true ratio of a joint as far as they lie in it.
    tissues
        Name of a `Tissue` to its activity.
    seed
        Seed of the texture.
    """

    bodies: Mapping[str, float] = field(default_factory=dict)
    posterior: Mapping[str, float] = field(default_factory=dict)
    joints: Mapping[str, float] = field(default_factory=dict)
    vertebra_slopes: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    vertebra_texture: float = 0.0
    joint_slopes: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    foci: tuple[Focus, ...] = ()
    tissues: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def shape_of(self, joint: Joint, points_mm: FloatArray) -> FloatArray | None:
        """Relative uptake within a joint's bone at points, shape (n,); None where it is even."""
        slope = self.joint_slopes.get(joint.id)
        if slope is None or joint.bone is None:
            return None
        offset = points_mm - joint.bone.centre_mm()
        return np.asarray(np.maximum(1 + offset @ np.array(slope), _LEAST))

    def base(self, anatomy: Anatomy, by_tissue: Values) -> Values:
        """Activity of every voxel before the joints are painted.

        Parameters
        ----------
        anatomy
            The patient.
        by_tissue
            Activity of each tissue code.
        """
        by_tissue = by_tissue.copy()
        for name, value in self.tissues.items():
            by_tissue[Tissue[name]] = value
        tissue = sitk.GetArrayViewFromImage(anatomy.tissue)
        labels = sitk.GetArrayViewFromImage(anatomy.labels)
        grid = grid_of(anatomy.ct)
        activity: Values = by_tissue[tissue]
        rng = np.random.default_rng(self.seed)
        boxes = ndimage.find_objects(labels)
        for row in names.vertebrae():
            # One draw for each vertebra there can be: a cropped field changes no other's texture.
            own = np.random.default_rng(rng.integers(2**32))
            box = boxes[row.id - 1] if row.id <= len(boxes) else None
            if box is None:
                continue
            bone = (labels[box] == row.id) & np.isin(tissue[box], VERTEBRAL)
            factor = np.full(bone.shape, self.bodies.get(row.name, 1.0), dtype=np.float32)
            if row.name in self.posterior:
                level = self.posterior[row.name] / float(by_tissue[Tissue.POSTERIOR])
                factor[tissue[box] == Tissue.POSTERIOR] *= np.float32(level)
            if self.vertebra_texture:
                factor *= 1 + np.float32(self.vertebra_texture) * _texture(
                    bone.shape, grid.spacing_mm[::-1], own
                )
            if row.name in self.vertebra_slopes and bone.any():
                kji = np.indices(bone.shape).reshape(3, -1).T + [float(s.start) for s in box]
                points = apply_matrix(grid.ijk_to_lps, kji[:, ::-1])
                middle = points[bone.ravel()].mean(axis=0)
                rise = 1 + (points - middle) @ np.array(self.vertebra_slopes[row.name])
                factor *= np.maximum(rise, _LEAST).reshape(bone.shape).astype(np.float32)
            activity[box][bone] *= factor[bone]
        return activity

    def add_foci(self, activity: Values, anatomy: Anatomy) -> None:
        """Add the foci to the bone of an activity ``[k, j, i]`` on the CT's grid, in place."""
        tissue = sitk.GetArrayViewFromImage(anatomy.tissue)
        grid = grid_of(anatomy.ct)
        for focus in self.foci:
            reach = _FOCUS_REACH * focus.sigma_mm / grid.spacing_mm
            middle = apply_matrix(inverse(grid.ijk_to_lps), np.array([focus.centre_mm]))[0]
            low = np.clip(np.floor(middle - reach).astype(int), 0, grid.size)
            high = np.clip(np.ceil(middle + reach).astype(int) + 1, low, grid.size)
            i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
            kji = np.argwhere(np.isin(tissue[k, j, i], BONE)) + low[::-1]
            points = apply_matrix(grid.ijk_to_lps, kji[:, ::-1])
            activity[tuple(kji.T)] += focus.at(points).astype(np.float32)


_TEXTURE_MM = 8.0
"""Distance over which the texture changes. Judgement: several trabecular regions in a body."""


def _texture(
    shape: tuple[int, ...], spacing_mm: FloatArray, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Smooth noise of mean 0 and standard deviation 1, at most twice that."""
    coarse = [
        max(int(np.ceil(n * s / _TEXTURE_MM)) + 1, 2)
        for n, s in zip(shape, spacing_mm, strict=True)
    ]
    knots = np.clip(rng.standard_normal(coarse), -2, 2)
    at = np.meshgrid(
        *(np.linspace(0, c - 1, n) for c, n in zip(coarse, shape, strict=True)), indexing="ij"
    )
    smooth = ndimage.map_coordinates(knots, at, order=1)
    return np.asarray(smooth / max(float(smooth.std()), 1e-6)).clip(-2, 2).astype(np.float32)
