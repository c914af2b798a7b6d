"""Turning a stack of axial planes: sparse matrices of interpolation, with exact adjoints."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from CTSpectSpineLib.model import FloatArray

_KEYS = -0.5
"""Parameter of the cubic convolution. Standard: Keys, IEEE Trans ASSP 1981;29:1153; with it,
interpolation adds no variance, so it does not blur."""


def turn_matrix(count: int, angle: float, *, cubic: bool) -> sparse.csr_array:
    """Matrix that turns square planes into the frame of a camera.

    Parameters
    ----------
    count
        Pixels along each side.
    angle
        Position of the camera in radians: 0 in front of the patient (-y), a quarter turn at the
        patient's left (+x).
    cubic
        Cubic interpolation, which does not blur but can go below zero beside a hot spot; else
        linear, which adds on average a variance of a sixth of a squared pixel.

    Returns
    -------
    sparse array
        float32, from planes ``[y, x]`` to planes ``[depth, across]``, both flattened; the depth
        grows away from the camera. Outside the plane is nothing.
    """
    middle = 0.5 * (count - 1)
    depth, across = np.indices((count, count)).reshape(2, -1) - middle
    sine, cosine = np.sin(angle), np.cos(angle)
    x = across * cosine - depth * sine + middle
    y = across * sine + depth * cosine + middle
    first_x, first_y = np.floor(x).astype(int), np.floor(y).astype(int)
    weights = _cubic if cubic else _linear
    weights_x, weights_y = weights(x - first_x), weights(y - first_y)
    rows, columns, values = [], [], []
    pixels = np.arange(count * count)
    for a in range(4):
        for b in range(4):
            row, column = first_y + a - 1, first_x + b - 1
            weight = weights_y[a] * weights_x[b]
            use = (row >= 0) & (row < count) & (column >= 0) & (column < count) & (weight != 0)
            rows.append(pixels[use])
            columns.append(row[use] * count + column[use])
            values.append(weight[use])
    entries = (
        np.concatenate(values).astype(np.float32),
        (np.concatenate(rows).astype(np.int32), np.concatenate(columns).astype(np.int32)),
    )
    return sparse.csr_array(entries, shape=(count * count, count * count))


def _linear(part: FloatArray) -> FloatArray:
    """Linear interpolation as weights of four neighbours, shape (4, n)."""
    nothing = np.zeros_like(part)
    return np.stack([nothing, 1 - part, part, nothing])


def _cubic(part: FloatArray) -> FloatArray:
    """Cubic convolution: weights of the four neighbours, shape (4, n)."""
    distances = np.abs(part[None, :] - np.array([-1.0, 0.0, 1.0, 2.0])[:, None])
    near = (_KEYS + 2) * distances**3 - (_KEYS + 3) * distances**2 + 1
    far = _KEYS * (distances**3 - 5 * distances**2 + 8 * distances - 4)
    return np.where(distances <= 1, near, np.where(distances < 2, far, 0.0))
