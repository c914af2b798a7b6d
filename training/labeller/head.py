"""A rough head on the phantom's neck, so that skull, jaws and teeth are not taken for vertebrae.

The phantom ends at the atlas. What is drawn here has the position and brightness of the bones of a
head, not their shapes: the network need not find any of it, all of it is background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.labelling.builtin.network import CLASSES
from CTSpectSpineLib.phantom.model import Tissue

Float = NDArray[np.float64]
_SOFT_HU, _BRAIN_HU, _AIR_HU = 40.0, 35.0, -950.0
"""HU of muscle, brain and air of the mouth. Judgement: usual values."""


@dataclass(frozen=True)
class _Head:
    """Coordinates of all voxels from the middle of the atlas, mm, of one size of head."""

    left: Float
    back: Float
    up: Float

    def ellipsoid(self, centre: tuple[float, ...], radii: tuple[float, ...]) -> Float:
        """1 on the surface, less inside."""
        x, y, z = (
            (v - c) / r
            for v, c, r in zip((self.left, self.back, self.up), centre, radii, strict=True)
        )
        return np.asarray(np.sqrt(x**2 + y**2 + z**2))

    def tube(self, start: tuple[float, ...], end: tuple[float, ...], radius: float) -> Float:
        """1 on the surface of a rod with round ends, less inside."""
        a, b = np.array(start), np.array(end)
        way = b - a
        x, y, z = self.left - a[0], self.back - a[1], self.up - a[2]
        t = np.clip((x * way[0] + y * way[1] + z * way[2]) / (way @ way), 0, 1)
        away = (x - t * way[0]) ** 2 + (y - t * way[1]) ** 2 + (z - t * way[2]) ** 2
        return np.asarray(np.sqrt(away) / radius)


def paint_head(
    hu: NDArray[np.int16],
    tissue: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    spacing_mm: Float,
    rng: np.random.Generator,
) -> None:
    """Draw a head above the atlas into CT and tissue; nothing happens where the atlas is not seen.

    Parameters
    ----------
    hu, tissue, classes
        As in `synthesis.Case`, ``[k, j, i]``; the first two are changed.
    spacing_mm
        Voxel size along k, j, i.
    rng
        Draws size, brightness and the bones of the face.
    """
    atlas, axis = (classes == CLASSES.index(name) for name in ("C1", "C2"))
    if np.count_nonzero(atlas) < 50 or np.count_nonzero(axis) < 50:
        return
    head = _placed(atlas, axis, spacing_mm, float(rng.uniform(0.9, 1.12)))
    bone = np.zeros(hu.shape, dtype=bool)
    skull = head.ellipsoid((0, -15, 80), (72, 92, 70))
    inside = skull < 1 - rng.uniform(0.06, 0.11)
    bone |= (skull < 1) & ~inside
    for side in (-1, 1):
        bone |= head.ellipsoid((side * 18, -4, 12), (8, 11, 7)) < 1
        bone |= head.ellipsoid((side * 36, -12, 22), (26, 12, 12)) < 1
        bone |= head.ellipsoid((side * 52, 0, 8), (10, 12, 17)) < 1
        low = (side * 46, -34, -28)
        bone |= head.tube((side * 50, -24, 14), low, 6.5) < 1
        bone |= head.tube(low, (side * 8, -92, -42), 8.0) < 1
    bone |= head.tube((0, -20, 14), (0, -40, 40), 10) < 1
    bone |= _face(head, rng)
    hole = (np.hypot(head.left, head.back - 4) < 17) & (head.up < 30) & (head.up > 0)
    teeth = (head.ellipsoid((0, -66, -18), (26, 30, 12)) < 1) & (
        head.ellipsoid((0, -62, -18), (18, 24, 30)) > 1
    )
    free = ~ndimage.binary_dilation(classes > 0, iterations=1)
    flesh = (head.ellipsoid((0, -18, 70), (82, 104, 82)) < 1) | (
        head.ellipsoid((0, -50, -5), (62, 62, 55)) < 1
    )
    _fill(hu, tissue, free & flesh & (tissue == Tissue.AIR), _SOFT_HU, Tissue.MUSCLE)
    _fill(hu, tissue, free & inside, _BRAIN_HU, Tissue.MUSCLE)
    mouth = head.ellipsoid((0, -52, -16), (14, 22, 6)) < 1
    _fill(hu, tissue, free & mouth, _AIR_HU, Tissue.AIR)
    bright = float(rng.uniform(500, 1300))
    lumps = ndimage.zoom(rng.standard_normal((6, 6, 6)), np.array(hu.shape) / 6, order=1)
    lumps = lumps[tuple(slice(0, n) for n in hu.shape)]
    _fill(hu, tissue, free & bone & ~hole, bright + 200 * lumps, Tissue.OTHER_BONE)
    _fill(hu, tissue, free & teeth, float(rng.uniform(1200, 2800)), Tissue.OTHER_BONE)


def _placed(
    atlas: NDArray[np.bool_], axis: NDArray[np.bool_], spacing_mm: Float, size: float
) -> _Head:
    """Coordinates in the frame of the atlas: up from the axis to it, back towards its arch."""
    middle, below = (np.argwhere(mask).mean(axis=0) * spacing_mm for mask in (atlas, axis))
    up = middle - below
    # The axis' mean lies behind the atlas', for its arch and spine.
    up = up[::-1] + np.array([0.0, 0.35 * np.linalg.norm(up), 0.0])
    up /= np.linalg.norm(up)
    left = np.cross((0.0, 1.0, 0.0), up)
    left /= np.linalg.norm(left)
    back = np.cross(up, left)
    k, j, i = np.meshgrid(
        *(np.arange(n) * s for n, s in zip(atlas.shape, spacing_mm, strict=True)), indexing="ij"
    )
    x, y, z = i - middle[2], j - middle[1], k - middle[0]
    first, second, third = ((v[0] * x + v[1] * y + v[2] * z) / size for v in (left, back, up))
    return _Head(first, second, third)


def _face(head: _Head, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Thin, irregular bones before the skull base."""
    bone = np.zeros(head.left.shape, dtype=bool)
    for _ in range(int(rng.integers(8, 16))):
        centre = (rng.uniform(-45, 45), rng.uniform(-105, -50), rng.uniform(-8, 45))
        radii = rng.uniform(3, 14, 3)
        bone |= head.ellipsoid(centre, tuple(radii.tolist())) < 1
    return bone


def _fill(
    hu: NDArray[np.int16],
    tissue: NDArray[np.uint8],
    where: NDArray[np.bool_],
    value: float | Float,
    code: Tissue,
) -> None:
    """Set tissue, and HU with a soft edge."""
    share = ndimage.gaussian_filter(where.astype(np.float32), 0.5)
    share[~where] = np.minimum(share[~where], 0.3)
    mixed = hu * (1 - share) + np.asarray(value) * share
    touched = share > 0.02
    hu[touched] = np.clip(mixed[touched], -1024, 3000).astype(np.int16)
    tissue[where] = code
