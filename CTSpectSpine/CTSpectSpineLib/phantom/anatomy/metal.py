"""Pedicle screws and rods, and the streaks that metal leaves in a CT."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import fft

from CTSpectSpineLib.anatomy import SACRUM
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.anatomy.column import Column, Vertebra
from CTSpectSpineLib.phantom.anatomy.shapes import IDENTITY, Bar, Field, Part, Solid

METAL_HU = 8000.0
"""HU of metal before the scanner clips it. Judgement: makes screws as bright and wide as they
look."""


def build_metal(column: Column) -> list[Solid]:
    """Screws through both pedicles of the configured levels, and the rods that join them."""
    levels = [v for v in column.vertebrae if v.name in column.config.screws]
    solids = []
    for side in (1.0, -1.0):
        heads = []
        for vertebra in levels:
            tip, entry, head = _screw_axis(vertebra, side)
            parts = (
                Part(Bar(tip, entry, (4.5, 6.0), (4.5, 6.0)), 0.5),
                Part(Bar(entry, head, (10.0, 12.0), (10.0, 12.0)), 0.5),
            )
            solids.append(Solid(IDENTITY, parts))
            heads.append(head)
        for a, b in itertools.pairwise(heads):
            solids.append(
                Solid(
                    IDENTITY, (Part(Bar(a, b, (5.5, 5.5), (5.5, 5.5), np.array([0, 1.0, 0])), 0.5),)
                )
            )
    return solids


def _screw_axis(v: Vertebra, side: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Tip, entry point and head of a pedicle screw, LPS mm."""
    size = v.size
    wall = 0.5 * size.depth
    root = 0.5 * size.canal_width + 0.5 * size.pedicle_width
    if v.name == SACRUM:
        height, root = 4.0, 21.0
    else:
        height = 0.5 * size.height - 0.5 * size.pedicle_height - 1.0
    points = (
        (0.42 * root, -0.25 * size.depth, height - 1.0),
        (root + 2.0, wall + 15.0, height),
        (root + 3.5, wall + 24.0, height + 0.5),
    )
    tip, entry, head = (v.pose.to_world(np.array([side * x, y, z])) for x, y, z in points)
    return tip, entry, head


def streaks(metal: Field, spacing: tuple[float, float], seed: int, hu: float = 260.0) -> Field:
    """Streaks around metal in one slice.

    Metal is convolved with a star of bright and dark rays that fades with distance, dark from
    side to side where two screws shade each other.

    Parameters
    ----------
    metal
        Share of metal per voxel, ``[j, i]``.
    spacing
        Voxel size along i and j, mm.
    seed
        Of the rays.
    hu
        Strength next to a screw; a judgement.

    Returns
    -------
    Field
        HU to add, ``[j, i]``.
    """
    nj, ni = metal.shape
    y = (np.arange(2 * nj) - nj)[:, None] * spacing[1]
    x = (np.arange(2 * ni) - ni)[None, :] * spacing[0]
    r = np.sqrt(x * x + y * y)
    safe = np.maximum(r, 1e-6)
    cosine, sine = _multiples(x / safe, y / safe, 30)
    weights = np.random.default_rng([seed, 11]).standard_normal((2, len(cosine)))
    star = -1.2 * cosine[1]
    for n in range(4, len(cosine), 2):
        star = star + 0.3 * (weights[0, n] * cosine[n - 1] + weights[1, n] * sine[n - 1])
    kernel = star * np.clip(r / 3 - 1, 0, 1) / (safe + 8) ** 1.5
    spectrum = fft.rfft2(np.fft.ifftshift(kernel)) * fft.rfft2(metal, s=(2 * nj, 2 * ni))
    result = fft.irfft2(spectrum, s=(2 * nj, 2 * ni))[:nj, :ni]
    return (result * hu * spacing[0] * spacing[1] * 0.6).astype(np.float32)


def _multiples(
    cosine: FloatArray, sine: FloatArray, count: int
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Cosine and sine of 1 to `count` times an angle, by recurrence."""
    c, s = [cosine], [sine]
    for _ in range(count - 1):
        c.append(c[-1] * cosine - s[-1] * sine)
        s.append(s[-1] * cosine + c[-2] * sine)
    return c, s
