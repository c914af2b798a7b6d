"""A made motion segment whose disc, endplates and facet joint are known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation
from scipy.special import ndtr

from CTSpectSpineLib.geometry import FloatArray, affine, apply_matrix, image_from_array, inverse
from CTSpectSpineLib.model import Joint, Region, SpineJoints, VertebraFrame

DISC_HU, CORTEX_HU, MARROW_HU, AROUND_HU = 80.0, 900.0, 180.0, 50.0
RADIUS_MM, CORTEX_MM, SIGMA_MM = 20.0, 1.0, 0.5


@dataclass(frozen=True)
class Made:
    """What is to be made; the disc's middle is the origin of the patient.

    Attributes
    ----------
    height_mm
        Distance of the endplates.
    bubbles
        Balls of gas: x, y, z and radius, mm.
    dense_hu, dense_side
        HU of the layer of 6 mm below the upper vertebra's endplate, where x is beyond `dense_side`.
    lung
        Air beside the disc from this x on.
    """

    height_mm: float = 10.0
    bubbles: Sequence[tuple[float, float, float, float]] = ()
    dense_hu: float = MARROW_HU
    dense_from_mm: float = -99.0
    lung_mm: float = 99.0
    noise_hu: float = 0.0
    turn: FloatArray = field(default_factory=lambda: np.eye(3))
    centre: FloatArray = field(default_factory=lambda: np.zeros(3))

    @property
    def to_lps(self) -> FloatArray:
        """4×4 matrix from the patient's own axes (left, posterior, superior) to LPS mm."""
        return affine(self.turn, self.centre)

    def hu(self, local: FloatArray, sigma: float) -> FloatArray:
        """HU at points (n, 3) in the patient's own axes, blurred along z."""
        x, y, z = local.T
        half = self.height_mm / 2
        beyond = np.abs(z) - half
        in_bone, in_marrow = ndtr(beyond / sigma), ndtr((beyond - CORTEX_MM) / sigma)
        above = ndtr((beyond - 6.0) / sigma)
        dense = (z > 0) & (x > self.dense_from_mm)
        marrow = np.where(dense, self.dense_hu + (MARROW_HU - self.dense_hu) * above, MARROW_HU)
        hu = DISC_HU + (CORTEX_HU - DISC_HU) * in_bone + (marrow - CORTEX_HU) * in_marrow
        hu = np.where(np.hypot(x, y) <= RADIUS_MM, hu, AROUND_HU)
        hu = np.where(x >= self.lung_mm, -850.0, hu)
        for *centre, radius in self.bubbles:
            distance = np.linalg.norm(local - np.array(centre), axis=1)
            hu = hu + (-1000.0 - hu) * np.clip(0.5 + radius - distance, 0.0, 1.0)
        return hu

    def ct(
        self, spacing: Sequence[float] = (0.7, 0.7, 1.0), size_mm: float = 66.0, seed: int = 1
    ) -> sitk.Image:
        """The CT, on a grid along LPS around the disc."""
        size = [round(size_mm / s) for s in spacing]
        linear = np.diag(np.asarray(spacing, dtype=float))
        offset = self.centre - linear @ (np.array(size) - 1) / 2
        matrix = affine(linear, offset)
        k, j, i = np.indices(size[::-1])
        index = np.stack([i, j, k], axis=-1).reshape(-1, 3)
        local = apply_matrix(inverse(self.to_lps) @ matrix, index)
        # A voxel is the mean over its extent.
        extent = float(np.linalg.norm(linear @ self.turn[:, 2]))
        hu = self.hu(local, float(np.hypot(SIGMA_MM, extent / np.sqrt(12))))
        hu = hu + np.random.default_rng(seed).normal(size=len(local)) * self.noise_hu
        return image_from_array(np.rint(hu).astype(np.int16).reshape(size[::-1]), matrix)

    def region(self, inside: np.ndarray, half: int) -> Region:
        """Region of a mask (a function of x, y, z) on a grid of 1 mm along the patient."""
        steps = np.arange(-half, half + 1.0)
        z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
        matrix = self.to_lps @ affine(np.eye(3), np.full(3, -float(half)))
        return Region(inside(x, y, z), matrix)

    def joints(self, label_error_mm: float = 0.0) -> SpineJoints:
        """The disc as labels show it, whose surfaces may be wrong by some mm on either side."""
        half = self.height_mm / 2 + label_error_mm
        space = self.region(lambda x, y, z: (np.hypot(x, y) <= RADIUS_MM) & (abs(z) <= half), 24)
        frames = {}
        for name, sign in (("L4", 1), ("L5", -1)):
            core = self.region(
                lambda x, y, z, s=sign: (np.hypot(x, y) <= 8) & (abs(s * z - 17) <= 5), 24
            )
            middle = apply_matrix(self.to_lps, np.array([[0.0, 0.0, sign * 20.0]]))[0]
            frames[name] = VertebraFrame(name, middle, self.turn.T, core, core)
        disc = Joint(
            "L4-L5 disc", "L4-L5", "disc", "", "lumbar", "L4", "L5", space, space, self.centre,
            {"disc_space": space},
        )  # fmt: skip
        return SpineJoints((disc,), frames)


def turned(x_deg: float, y_deg: float, z_deg: float) -> FloatArray:
    """Rotation by angles about x, y, z."""
    return Rotation.from_euler("xyz", [x_deg, y_deg, z_deg], degrees=True).as_matrix()


@dataclass(frozen=True)
class MadeFacet:
    """Two plates of bone and a joint space between them, across a direction.

    Attributes
    ----------
    gap_mm
        Width of the space.
    cortex_mm
        Thickness of the subchondral bone.
    gas
        Whether the space holds gas in its middle part.
    """

    gap_mm: float
    cortex_mm: float = 2.5
    gas: bool = False
    across: FloatArray = field(default_factory=lambda: np.array([0.8, 0.6, 0.0]))

    def made(self, spacing: Sequence[float] = (0.5, 0.5, 0.8)) -> tuple[sitk.Image, Joint]:
        """The CT and the joint, outlined on it."""
        size = [round(44.0 / s) for s in spacing]
        matrix = affine(np.diag(spacing), [-22.0] * 3)
        k, j, i = np.indices(size[::-1])
        points = apply_matrix(matrix, np.stack([i, j, k], axis=-1).reshape(-1, 3))
        beyond = np.abs(points @ self.across) - self.gap_mm / 2
        sigma = float(np.hypot(SIGMA_MM, np.linalg.norm(self.across * spacing) / np.sqrt(12)))
        in_bone, in_marrow = ndtr(beyond / sigma), ndtr((beyond - self.cortex_mm) / sigma)
        hu = 60.0 + 840.0 * in_bone - 600.0 * in_marrow
        if self.gas:
            hu = np.where((np.linalg.norm(points, axis=1) <= 5) & (beyond <= -0.4), -900.0, hu)
        ct = image_from_array(np.rint(hu).astype(np.int16).reshape(size[::-1]), matrix)
        steps = np.arange(-10.0, 11.0)
        z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
        grid = np.stack([x, y, z], axis=-1)
        depth = np.abs(grid @ self.across)
        round_ = np.linalg.norm(grid, axis=-1) <= 8
        origin = affine(np.eye(3), [-10.0] * 3)
        space_mm = max(self.gap_mm / 2, 0.6)
        region = Region(round_ & (depth <= 4), origin)
        bone = Region(round_ & (depth <= 4) & (depth > space_mm), origin)
        joint = Joint(
            "L4-L5 facet left", "L4-L5", "facet", "left", "lumbar", "L4", "L5", region, bone,
            np.zeros(3), outlined_on="CT",
        )  # fmt: skip
        return ct, joint
