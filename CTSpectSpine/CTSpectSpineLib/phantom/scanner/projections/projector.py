"""Projections of an activity through attenuation and a collimator's response, and their adjoint.

Volumes are float32 arrays ``[y, x, z]`` on square axial planes, projections float32 arrays
``[across, z]``. Views are even in number and evenly spread over 360 degrees; the views ``v`` and
``v + views / 2`` face each other and share one turned frame, as the two heads of a camera do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.scanner.projections.collimator import Collimator, blur_matrices
from CTSpectSpineLib.phantom.scanner.projections.rotation import turn_matrix

Volume = NDArray[np.float32]
_KEPT_BYTES = 600e6
"""Memory up to which the attenuation of all views is kept. Judgement: fits beside a CT in 2 GB."""

_KEPT_TURNS = 64
"""Matrices of linear interpolation that are kept. Numerical: those of 120 views; cubic ones are
larger and used once."""


@dataclass(frozen=True)
class Response:
    """The collimator as a projector sees it.

    Attributes
    ----------
    collimator
        Collimator and detector.
    scale
        Factor on the FWHM: 1 is right, 1.05 a model that is 5 % too wide.
    done_mm2
        Variance in plane and along z of what has blurred the volume before.
    """

    collimator: Collimator
    scale: float = 1.0
    done_mm2: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Orbit:
    """Where the camera stands.

    Attributes
    ----------
    radii_mm
        Distance of the collimator's face from the axis, one for each view.
    """

    radii_mm: tuple[float, ...]

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.radii_mm)

    @property
    def pairs(self) -> int:
        """Number of pairs of opposite views."""
        return self.views // 2

    def angle(self, view: int) -> float:
        """Position of the camera in radians; see `rotation.turn_matrix`."""
        return 2 * np.pi * view / self.views


class Projector:
    """The system matrix, one pair of opposite views at a time.

    Parameters
    ----------
    shape
        Of the volumes: (n, n, planes).
    voxel_mm
        Edge of the voxels and of the detector's pixels.
    orbit
        The camera's positions.
    per_mm
        Attenuation coefficients, a volume; None for none.
    response
        None for a collimator that does not blur.
    cubic
        Interpolation of the turned planes; see `rotation.turn_matrix`.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        voxel_mm: float,
        orbit: Orbit,
        per_mm: Volume | None = None,
        response: Response | None = None,
        *,
        cubic: bool = True,
    ) -> None:
        if shape[0] != shape[1]:
            raise ValueError(f"planes of {shape[0]} x {shape[1]} voxels are not square")
        self.shape, self.voxel_mm, self.orbit = shape, voxel_mm, orbit
        self._per_voxel = None if per_mm is None else (per_mm * voxel_mm).astype(np.float32)
        self._response, self._cubic = response, cubic
        self._keep = 4.0 * orbit.views * float(np.prod(shape)) <= _KEPT_BYTES
        self._kept: dict[int, tuple[Volume, Volume]] = {}

    def forward(self, volume: Volume, pair: int) -> tuple[Volume, Volume]:
        """Projections of a volume in the views ``pair`` and ``pair + views / 2``."""
        turned = self.turned(volume, pair)
        front, back = self._escaping(pair)
        return (
            self._seen(turned if front is None else turned * front, pair),
            self._seen(turned if back is None else turned * back, pair + self.orbit.pairs),
        )

    def backward(self, projections: Sequence[Volume], pair: int) -> Volume:
        """Volume into which the projections of a pair spread: the adjoint of `forward`."""
        escaping = self._escaping(pair)
        spread = np.zeros(self.shape, dtype=np.float32)
        for side, projection in enumerate(projections):
            part = self._unseen(projection, pair + side * self.orbit.pairs)
            share = escaping[side]
            spread += part if share is None else part * share
        n, _, planes = self.shape
        turn = self._turn(pair)
        return np.asarray(turn.T @ spread.reshape(n * n, planes)).reshape(self.shape)

    def turned(self, volume: Volume, pair: int) -> Volume:
        """The volume ``[depth, across, z]`` in the frame of a pair."""
        n, _, planes = self.shape
        return np.asarray(self._turn(pair) @ volume.reshape(n * n, planes)).reshape(self.shape)

    def _turn(self, pair: int) -> sparse.csr_array:
        turn = _cubic_turn if self._cubic else _linear_turn
        return turn(self.shape[0], self.orbit.angle(pair))

    def _escaping(self, pair: int) -> tuple[Volume | None, Volume | None]:
        """Share of the photons of each voxel that reach the front and the back camera."""
        if self._per_voxel is None:
            return None, None
        if pair in self._kept:
            return self._kept[pair]
        along = np.maximum(self.turned(self._per_voxel, pair), 0)
        before = np.cumsum(along, axis=0)
        total = before[-1].copy()
        before -= 0.5 * along
        front = np.exp(-before)
        before -= total
        back = np.exp(before, out=before)
        if self._keep:
            self._kept[pair] = front, back
        return front, back

    def _depths_mm(self, view: int) -> FloatArray:
        """Distance of each plane of depth from the collimator's face."""
        n = self.shape[0]
        depth = (np.arange(n) - 0.5 * (n - 1)) * self.voxel_mm
        radius = self.orbit.radii_mm[view]
        away = depth if view < self.orbit.pairs else -depth
        return np.asarray(radius + away, dtype=np.float64)

    def _blurs(self, view: int) -> tuple[Volume, Volume]:
        """Matrices of the blur across and along z, for each plane of depth."""
        assert self._response is not None
        r = self._response
        fwhm = r.scale * r.collimator.fwhm_mm(self._depths_mm(view))
        return (
            blur_matrices(fwhm, r.done_mm2[0], self.voxel_mm, self.shape[0]),
            blur_matrices(fwhm, r.done_mm2[1], self.voxel_mm, self.shape[2]),
        )

    def _seen(self, turned: Volume, view: int) -> Volume:
        if self._response is None:
            return np.asarray(turned.sum(axis=0))
        n, _, planes = self.shape
        across, along = self._blurs(view)
        blurred = np.matmul(turned, along).reshape(n * n, planes)
        return np.asarray(across.transpose(1, 0, 2).reshape(n, n * n) @ blurred)

    def _unseen(self, projection: Volume, view: int) -> Volume:
        if self._response is None:
            return np.broadcast_to(projection, self.shape)
        n, _, planes = self.shape
        across, along = self._blurs(view)
        spread = (across.reshape(n * n, n) @ projection).reshape(n, n, planes)
        return np.asarray(np.matmul(spread, along))


@lru_cache(maxsize=2)
def _cubic_turn(count: int, angle: float) -> sparse.csr_array:
    return turn_matrix(count, angle, cubic=True)


@lru_cache(maxsize=_KEPT_TURNS)
def _linear_turn(count: int, angle: float) -> sparse.csr_array:
    return turn_matrix(count, angle, cubic=False)
