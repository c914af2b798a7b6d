"""Projections of a subject: what is to be expected, and what a scan of some minutes counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.phantom.scanner.projections.maps import Frame, binned
from CTSpectSpineLib.phantom.scanner.projections.projector import (
    Orbit,
    Projector,
    Response,
    Volume,
)
from CTSpectSpineLib.phantom.scanner.projections.scatter import scatter_source, window_estimate
from CTSpectSpineLib.phantom.scanner.projections.settings import Camera
from CTSpectSpineLib.phantom.scanner.projections.subject import Scene, Subject, prepared

_FINE_MM = 2.5
"""Largest voxels that are projected. Numerical: half the best resolution of the collimator."""
_STEPS = 2.0**16
"""Steps of the expected share of a pixel, per mean share. Numerical: rounding makes the noise
independent of how the processor adds."""


@dataclass(frozen=True)
class Projected:
    """Expected projections.

    Attributes
    ----------
    camera, orbit, frame, planes
        The camera with its number of views, its positions, the voxels, and the planes that an image
        keeps.
    primary, scatter
        Expected share of all counts, ``[view, across, z]``; together they sum to 1.
    per_mm
        Attenuation coefficients as the CT has them, in the voxels of the frame.
    """

    camera: Camera
    orbit: Orbit
    frame: Frame
    planes: tuple[int, int]
    primary: Volume
    scatter: Volume
    per_mm: Volume

    def counted(self, counts: float, seed: int | Sequence[int]) -> Counted:
        """One scan.

        Parameters
        ----------
        counts
            Expected counts of all views.
        seed
            Seed of the Poisson noise.
        """
        rng = np.random.default_rng(seed)
        step = _STEPS * self.primary.size
        expected = np.rint((self.primary + self.scatter) * step) * (counts / step)
        measured = rng.poisson(np.maximum(expected, 0)).astype(np.float32)
        scattered = np.rint(self.scatter * step) * (counts / step)
        windows = {
            name: window_estimate(scattered, window, self.frame.voxel_mm, rng)
            for name, window in self.camera.windows.items()
        }
        return Counted(self, counts, measured, windows)

    def noise_free(self, counts: float) -> Counted:
        """What is to be expected, with exact estimates of the scatter."""
        scattered = self.scatter * np.float32(counts)
        measured = self.primary * np.float32(counts) + scattered
        return Counted(self, counts, measured, dict.fromkeys(self.camera.windows, scattered))


@dataclass(frozen=True)
class Counted:
    """The counts of one scan.

    Attributes
    ----------
    projected
        What was to be expected.
    counts
        Expected counts of all views.
    measured
        Counts in the main window, ``[view, across, z]``.
    windows
        Name of a scatter estimate to its values.
    """

    projected: Projected
    counts: float
    measured: Volume
    windows: dict[str, Volume]


def project(
    subject: Subject, camera: Camera, voxel_mm: float = 4.42, views: int | None = None
) -> Projected:
    """Expected projections of a subject; the slow part of a scan, needed once.

    Parameters
    ----------
    subject
        What is scanned.
    camera
        The camera.
    voxel_mm
        Pixels of the detector and voxels of the reconstruction. Finer ones, 2.5 mm at most, are
        projected.
    views
        Number of views; None for the camera's.

    Raises
    ------
    InputError
        If the subject holds no activity.
    """
    factor = int(np.ceil(voxel_mm / _FINE_MM - 1e-6))
    views = camera.views if views is None else views
    scene = prepared(subject, voxel_mm, factor, views, camera.clearance_mm)
    primary, scatter = _expected(scene, camera, factor)
    total = float(primary.sum(dtype=np.float64) + scatter.sum(dtype=np.float64))
    if total <= 0:
        raise InputError("The activity map holds no activity; no SPECT can be made of it.")
    per_mm = scene.per_mm(scene.frame.finer(factor))
    return Projected(
        camera,
        scene.orbit,
        scene.frame,
        scene.planes,
        primary / np.float32(total),
        scatter / np.float32(total),
        binned(per_mm, factor) / np.float32(factor**3),
    )


def _expected(scene: Scene, camera: Camera, factor: int) -> tuple[Volume, Volume]:
    """Primary and scattered photons, ``[view, across, z]``."""
    orbit = scene.orbit
    n, _, planes = scene.frame.shape
    primary = np.zeros((orbit.views, n, planes), dtype=np.float32)
    scatter = np.zeros_like(primary)
    times = [(pair + 0.5) / orbit.pairs for pair in range(orbit.pairs)]
    for moved in (False, True):
        at = {pair: t for pair, t in enumerate(times) if scene.has_moved(t) == moved}
        if at:
            _add_pose(_Pose(scene, camera, factor, moved), at, primary, scatter)
    return np.maximum(primary, 0), np.maximum(scatter, 0)


class _Pose:
    """The subject as it lies for some of the views."""

    def __init__(self, scene: Scene, camera: Camera, factor: int, moved: bool) -> None:
        frame, fine = scene.frame, scene.frame.finer(factor)
        per_mm = scene.per_mm(fine, moved=moved)
        mean_per_mm = binned(per_mm, factor) / np.float32(factor**3)
        self.scene, self.factor = scene, factor
        self.own = scene.activity(fine, moved=moved)
        self.added = scene.added(fine, moved=moved)
        response = Response(camera.collimator, done_mm2=scene.done_mm2)
        self.sharp = Projector(fine.shape, fine.voxel_mm, scene.orbit, per_mm, response)
        response = Response(camera.collimator)
        self.broad = Projector(frame.shape, frame.voxel_mm, scene.orbit, mean_per_mm, response)
        self.sources = [
            scatter_source(binned(v, factor), mean_per_mm, frame.voxel_mm, camera.scatter_share)
            for v in (self.own, *self.added)
        ]

    def at(self, time: float) -> tuple[Volume, Volume]:
        """Activity and source of the scatter at a share of the scan."""
        volume, source = self.own, self.sources[0]
        factors = self.scene.factors(time)
        for factor, part, scattered in zip(factors, self.added, self.sources[1:], strict=True):
            volume = volume + np.float32(factor) * part
            source = source + np.float32(factor) * scattered
        return volume, source


def _add_pose(pose: _Pose, at: Mapping[int, float], primary: Volume, scatter: Volume) -> None:
    """Project a pose in the pairs of views that are taken meanwhile; pair to share of the scan."""
    pairs = pose.scene.orbit.pairs
    for pair, time in at.items():
        volume, source = pose.at(time)
        for view, seen in zip((pair, pair + pairs), pose.sharp.forward(volume, pair), strict=True):
            primary[view] = binned(seen, pose.factor)
        for view, seen in zip((pair, pair + pairs), pose.broad.forward(source, pair), strict=True):
            scatter[view] = seen
