"""The image while it is painted: HU and tissue codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.model import BoolArray
from CTSpectSpineLib.phantom.anatomy.shapes import Box, Field, Grid, Solid, coverage
from CTSpectSpineLib.phantom.model import Tissue

HU = {
    Tissue.AIR: -1000.0,
    Tissue.LUNG: -840.0,
    Tissue.MUSCLE: 55.0,
    Tissue.FAT: -100.0,
    Tissue.LIVER: 60.0,
    Tissue.KIDNEY: 35.0,
    Tissue.BLADDER: 8.0,
    Tissue.BLOOD: 42.0,
    Tissue.CARTILAGE: 85.0,
}
"""HU of the soft tissues. Judgement: usual values of CT without contrast (air by definition)."""


@dataclass
class Canvas:
    """HU and tissue codes while a patient is painted.

    Attributes
    ----------
    grid
        The voxels; axis-aligned.
    hu, tissue
        Arrays ``[k, j, i]``, changed in place.
    """

    grid: Grid
    hu: Field
    tissue: NDArray[np.uint8]

    @classmethod
    def of_air(cls, grid: Grid) -> Canvas:
        """An empty canvas."""
        return cls(
            grid,
            np.full(grid.shape, HU[Tissue.AIR], dtype=np.float32),
            np.full(grid.shape, Tissue.AIR, dtype=np.uint8),
        )

    @property
    def voxel_mm(self) -> float:
        """Mean voxel size, the width of a surface's partial volume."""
        return float(np.prod(self.grid.spacing) ** (1 / 3))

    def paint(
        self,
        box: Box,
        distance: Field,
        tissue: Tissue,
        hu: float | Field | None = None,
        where: BoolArray | None = None,
    ) -> None:
        """Paint a tissue where `distance` is negative, with partial volume at its surface."""
        share = coverage(distance, self.voxel_mm)
        if where is not None:
            share = share * where
        value = np.float32(HU[tissue]) if hu is None else hu
        part = self.hu[box]
        part += share * (value - part)
        self.tissue[box][share >= 0.5] = tissue

    def paint_solid(
        self,
        solid: Solid,
        tissue: Tissue,
        hu: float | None = None,
        allowed: Sequence[Tissue] = (),
    ) -> None:
        """Paint a solid; only over the allowed tissues, where any are given."""
        box = self.grid.box_of(solid.bounds, solid.pose, 2.0 * self.voxel_mm)
        if box is None:
            return
        distance = solid.distance(self.grid.part(box))
        where = np.isin(self.tissue[box], allowed) if allowed else None
        self.paint(box, distance, tissue, hu, where)
