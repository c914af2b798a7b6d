"""What the physical scanner looks at: a patient, how it lies, and what changes meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.geometry import apply_matrix, grid_of, image_centre_mm
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.scanner.projections.maps import (
    Frame,
    Patch,
    activity_patch,
    attenuation_per_mm,
    ct_patch,
    cut_faces_mm,
    sampled,
)
from CTSpectSpineLib.phantom.scanner.projections.projector import Orbit, Volume
from CTSpectSpineLib.phantom.scanner.spect import spect_grid

_SCOUT_MM = 8.0
"""Voxels in which the outline is looked for. Numerical: a third of the clearance."""
_TISSUE_SHARE = 0.4
"""Share of water's attenuation above which the outline encloses a voxel. Judgement: tissue, and no
air or foam."""
_PADDING_MM = 20.0
"""Added to the field above and below, and taken off the image again. Judgement: three standard
deviations of the collimator's blur."""
_RIM_MM = 16.0
"""Between the patient and the rim of planes and detector. Judgement: three standard deviations
of the collimator's blur, so that a detector as wide as the patient loses nothing."""
_WATER_PER_MM = float(attenuation_per_mm(np.zeros(1, dtype=np.float32))[0])


@dataclass(frozen=True)
class Added:
    """Something beside the patient's own activity.

    Attributes
    ----------
    activity
        Image in the unit and space of the patient's activity; it is added.
    begin, end
        Its factor at the begin and the end of the scan; linear in between.
    hu
        HU on the same grid where it attenuates as well (an arm beside the CT); the higher HU
        counts.
    """

    activity: sitk.Image
    begin: float = 1.0
    end: float = 1.0
    hu: sitk.Image | None = None


@dataclass(frozen=True)
class Movement:
    """A movement during the scan.

    Attributes
    ----------
    matrix
        4×4 rigid matrix in the space of the SPECT, LPS mm, applied after ``ct_to_spect``.
    begin, end
        Shares of the scan between which the patient lies so.
    """

    matrix: FloatArray
    begin: float
    end: float


@dataclass(frozen=True)
class Subject:
    """What is scanned.

    Attributes
    ----------
    ct
        CT in HU: attenuation.
    activity
        Activity, in the CT's space.
    ct_to_spect
        4×4 rigid matrix from CT points to SPECT points, LPS mm.
    added
        Objects with an activity of their own.
    movement
        What the patient does during the scan.
    """

    ct: sitk.Image
    activity: sitk.Image
    ct_to_spect: FloatArray
    added: tuple[Added, ...] = ()
    movement: Movement | None = None


@dataclass(frozen=True)
class Scene:
    """A subject made ready for a scanner's voxels.

    Attributes
    ----------
    frame
        The voxels of the reconstruction.
    planes
        First and last plus one of the planes that the image keeps.
    orbit
        Camera positions around the outline.
    """

    subject: Subject
    frame: Frame
    planes: tuple[int, int]
    orbit: Orbit
    _ct: tuple[Patch, ...]
    _activity: Patch
    _added: tuple[Patch, ...]

    @property
    def done_mm2(self) -> tuple[float, float]:
        """Variance that sampling has added to the activity, in plane and along z."""
        return self._activity.done_mm2

    def per_mm(self, frame: Frame, *, moved: bool = False) -> Volume:
        """Attenuation coefficients."""
        matrix = self._matrix(moved)
        hu = sampled(self._ct[0], frame, matrix)
        for patch in self._ct[1:]:
            hu = np.maximum(hu, sampled(patch, frame, matrix))
        return attenuation_per_mm(hu)

    def activity(self, frame: Frame, *, moved: bool = False) -> Volume:
        """The patient's own activity."""
        return sampled(self._activity, frame, self._matrix(moved))

    def added(self, frame: Frame, *, moved: bool = False) -> list[Volume]:
        """Activity of each added object at the factor 1."""
        return [sampled(patch, frame, self._matrix(moved)) for patch in self._added]

    def factors(self, time: float) -> list[float]:
        """Factors of the added objects at a share of the scan."""
        return [a.begin + (a.end - a.begin) * time for a in self.subject.added]

    def has_moved(self, time: float) -> bool:
        """Whether the patient lies as the movement says."""
        movement = self.subject.movement
        return movement is not None and movement.begin <= time < movement.end

    def _matrix(self, moved: bool) -> FloatArray:
        matrix = self.subject.ct_to_spect
        if moved and self.subject.movement is not None:
            return np.asarray(self.subject.movement.matrix @ matrix)
        return matrix


def prepared(
    subject: Subject, voxel_mm: float, factor: int, views: int, clearance_mm: float
) -> Scene:
    """Make a subject ready.

    Parameters
    ----------
    subject
        The subject.
    voxel_mm, factor
        Voxels of the reconstruction, and how much finer those are that are projected.
    views, clearance_mm
        Of the camera.
    """
    fine = voxel_mm / factor
    faces = cut_faces_mm(subject.ct)
    nothing = np.zeros((3, 2))
    ct = [ct_patch(subject.ct, faces, fine)]
    ct += [ct_patch(a.hu, nothing, fine) for a in subject.added if a.hu is not None]
    activity = activity_patch(subject.activity, faces, fine)
    added = [activity_patch(a.activity, nothing, fine) for a in subject.added]
    grid = spect_grid(grid_of(subject.ct), subject.ct_to_spect, voxel_mm, None)
    x, y, z = image_centre_mm(subject.ct)
    padding = int(np.ceil(_PADDING_MM / voxel_mm))
    count = grid.size[2] + 2 * padding
    corners = [
        apply_matrix(subject.ct_to_spect, grid_of(p.image).corners_mm())
        for p in (*ct, activity, *added)
    ]
    reach = float(np.linalg.norm((np.concatenate(corners) - [x, y, z])[:, :2], axis=1).max())
    scout = Frame((x, y, z), _SCOUT_MM, _cubic(2 * reach, count * voxel_mm, _SCOUT_MM))
    scene = Scene(subject, scout, (0, 0), Orbit((0.0, 0.0)), tuple(ct), activity, tuple(added))
    points = _outline(scene)
    radius = float(np.linalg.norm(points, axis=1).max()) + 0.5 * _SCOUT_MM
    n = 2 * int(np.ceil((radius + _RIM_MM) / voxel_mm))
    frame = Frame((x, y, z), voxel_mm, (n, n, count))
    angles = 2 * np.pi * np.arange(views) / views
    towards = np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    radii = (points @ towards.T).max(axis=0) + 0.5 * _SCOUT_MM + clearance_mm
    return Scene(
        subject,
        frame,
        (padding, count - padding),
        Orbit(tuple(float(r) for r in radii)),
        tuple(ct),
        activity,
        tuple(added),
    )


def _cubic(across_mm: float, along_mm: float, voxel_mm: float) -> tuple[int, int, int]:
    n, planes = int(np.ceil(across_mm / voxel_mm)) + 2, int(np.ceil(along_mm / voxel_mm))
    return n, n, planes


def _outline(scene: Scene) -> FloatArray:
    """Positions x, y (mm from the axis) that belong to the patient in some plane, shape (n, 2)."""
    frame = scene.frame
    inside = scene.per_mm(frame) > _TISSUE_SHARE * _WATER_PER_MM
    if scene.subject.movement is not None:
        inside |= scene.per_mm(frame, moved=True) > _TISSUE_SHARE * _WATER_PER_MM
    for volume in scene.added(frame):
        inside |= volume > 0.01 * max(float(volume.max()), 1e-9)
    y, x = np.nonzero(inside.any(axis=2))
    if len(x) == 0:
        x = y = np.array([frame.shape[0] // 2])
    middle = 0.5 * (frame.shape[0] - 1)
    return np.stack([x - middle, y - middle], axis=1) * frame.voxel_mm
