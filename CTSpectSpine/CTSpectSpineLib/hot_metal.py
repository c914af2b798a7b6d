"""Hot metal with evenly rising lightness: the one colour table of uptake, in report and scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ANCHORS_LAB = (
    (0.0, 0.0, 0.0),
    (25.0, 40.0, 15.0),
    (50.0, 62.0, 58.0),
    (72.0, 28.0, 72.0),
    (90.0, -8.0, 60.0),
    (100.0, 0.0, 0.0),
)
"""Anchors of the colour table in CIE L*a*b*. Judgement: black, red, orange, yellow, white as hot
metal has them, as saturated as sRGB allows."""


def hot_colours(count: int = 256) -> NDArray[np.float64]:
    """Black, red, orange, yellow, white, with lightness that rises evenly (CIE L*a*b*, D65).

    Even steps of lightness keep equal steps of uptake equally visible, and keep the order in
    greyscale and for colour-blind readers.

    Returns
    -------
    numpy.ndarray
        RGB 0 to 1, shape (count, 3).
    """
    anchors = np.array(_ANCHORS_LAB)
    lightness = np.linspace(0.0, 100.0, count)
    a, b = (np.interp(lightness, anchors[:, 0], anchors[:, k]) for k in (1, 2))
    fy = (lightness + 16.0) / 116.0
    f = np.stack([fy + a / 500.0, fy, fy - b / 200.0], axis=1)
    delta = 6.0 / 29.0
    xyz = np.where(f > delta, f**3, 3.0 * delta**2 * (f - 4.0 / 29.0)) * (0.95047, 1.0, 1.08883)
    matrix = np.array(
        [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    )
    linear = np.clip(xyz @ matrix.T, 0.0, 1.0)
    result: NDArray[np.float64] = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055
    )
    return result.clip(0.0, 1.0)
