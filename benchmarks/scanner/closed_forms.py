"""What the projector and the reconstruction must give by theory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.scanner.projections.osem import osem
from CTSpectSpineLib.phantom.scanner.projections.projector import (
    Orbit,
    Projector,
    Response,
    Volume,
)
from CTSpectSpineLib.phantom.scanner.projections.settings import load_camera

DISTANCES_MM = (50.0, 100.0, 150.0, 200.0, 250.0)
"""Distances of a point from the collimator. Judgement: those of a trunk."""
VOXELS_MM = (2.21, 4.42)
"""Pixels. Convention: those of the projection and of the reconstruction of usual voxels."""
WATER_PER_MM = 0.0154
"""Attenuation of water at 140 keV. NIST XCOM, 2010."""


@dataclass(frozen=True)
class Compared:
    """A number, what theory says, and where."""

    what: str
    theory: float
    found: float

    @property
    def percent(self) -> float:
        """Difference in per cent of the theory."""
        return 100 * (self.found / self.theory - 1)


def adjoint_error() -> float:
    """Largest relative difference of <A x, y> and <x, A' y> over pairs of views."""
    rng = np.random.default_rng(1)
    shape, radii = (48, 48, 40), tuple(140.0 + 20 * rng.random(16))
    per_mm = rng.random(shape, dtype=np.float32) * 0.02
    response = Response(load_camera("lehr").collimator)
    worst = 0.0
    for cubic in (True, False):
        projector = Projector(shape, 4.42, Orbit(radii), per_mm, response, cubic=cubic)
        x = rng.random(shape, dtype=np.float32)
        for pair in range(8):
            y = [rng.random((48, 40), dtype=np.float32) for _ in range(2)]
            seen = projector.forward(x, pair)
            left = sum(_dot(p, q) for p, q in zip(seen, y, strict=True))
            worst = max(worst, abs(left / _dot(x, projector.backward(y, pair)) - 1))
    return worst


def resolutions() -> list[Compared]:
    """FWHM of a point against the collimator's formula."""
    rows = []
    for name in ("lehr", "lehr-ge"):
        collimator = load_camera(name).collimator
        for voxel in VOXELS_MM:
            n = 2 * round(45 / voxel) + 1
            point = np.zeros((n, n, n), dtype=np.float32)
            point[n // 2, n // 2, n // 2] = 1.0
            for distance in DISTANCES_MM:
                orbit = Orbit((distance, distance))
                projector = Projector(point.shape, voxel, orbit, None, Response(collimator))
                seen = projector.forward(point, 0)[0]
                what = f"{name}, pixels of {voxel:g} mm, {distance:.0f} mm"
                theory = float(collimator.fwhm_mm(distance))
                rows.append(Compared(what, theory, _fwhm(seen.sum(axis=1), voxel)))
    return rows


def attenuations() -> list[Compared]:
    """A line in the axis of a cylinder of water, and a cylinder that is active throughout."""
    voxel, n = 2.21, 131
    line = (np.arange(n) - n // 2) * voxel
    radius = np.hypot(line[:, None], line[None, :])[:, :, None]
    rows = []
    for edge in (60.0, 100.0, 130.0):
        water = (radius <= edge).astype(np.float32)
        source = np.zeros_like(water)
        source[n // 2, n // 2] = 1.0
        orbit = Orbit((200.0,) * 12)
        projector = Projector(water.shape, voxel, orbit, np.float32(WATER_PER_MM) * water)
        left = [float(p.sum()) for pair in range(6) for p in projector.forward(source, pair)]
        what = f"line in {edge:.0f} mm of water"
        rows.append(Compared(what, float(np.exp(-WATER_PER_MM * edge)), float(np.mean(left))))
        seen = [float(p[n // 2, 0]) for pair in range(6) for p in projector.forward(water, pair)]
        theory = (1 - np.exp(-2 * WATER_PER_MM * edge)) / WATER_PER_MM / voxel
        what = f"active cylinder of {edge:.0f} mm, through its axis"
        rows.append(Compared(what, float(theory), float(np.mean(seen))))
    return rows


def convergence(iterations: int = 40) -> list[tuple[int, float, float]]:
    """Iteration, misfit of the projections and error of the volume, without noise, per cent."""
    n, planes = 40, 16
    line = np.arange(n) - 0.5 * (n - 1)
    body = np.hypot(line[:, None], line[None, :]) <= 16
    truth = np.zeros((n, n, planes), dtype=np.float32)
    truth[body] = 1.0
    truth[22:27, 14:20, 5:10] = 4.0
    per_mm = (body * np.float32(WATER_PER_MM))[:, :, None] * np.ones_like(truth)
    response = Response(load_camera("lehr").collimator)
    orbit = Orbit((110.0,) * 60)
    projector = Projector(truth.shape, 4.42, orbit, per_mm, response, cubic=False)
    measured = _projections(projector, truth)
    rows: list[tuple[int, float, float]] = []

    def watch(number: int, volume: Volume) -> None:
        if number + 1 in (1, 2, 5, 10, 20, iterations):
            seen = _projections(projector, volume)
            misfit = float(np.linalg.norm(seen - measured) / np.linalg.norm(measured))
            error = float(np.linalg.norm(volume - truth) / np.linalg.norm(truth))
            rows.append((number + 1, 100 * misfit, 100 * error))

    osem(projector, measured, None, iterations, 10, watch)
    return rows


def _projections(projector: Projector, volume: Volume) -> Volume:
    pairs = projector.orbit.pairs
    views = [projector.forward(volume, pair) for pair in range(pairs)]
    return np.array([v[0] for v in views] + [v[1] for v in views])


def _dot(a: Volume, b: Volume) -> float:
    return float(np.vdot(a.astype(np.float64), b.astype(np.float64)))


def _fwhm(profile: FloatArray | Volume, pixel_mm: float) -> float:
    at = np.arange(len(profile)) * pixel_mm
    middle = np.average(at, weights=profile)
    variance = np.average((at - middle) ** 2, weights=profile) - pixel_mm**2 / 12
    return float(np.sqrt(variance) * FWHM_PER_SIGMA)
