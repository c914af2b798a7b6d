"""What lies beside the bones of interest and disturbs: bladder, arms, injection site, movement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from CTSpectSpineLib import anatomy as names
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import (
    affine,
    apply_matrix,
    grid_of,
    image_centre_mm,
    image_from_array,
)
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.phantom.scanner.projections.maps import TRUNK_MM
from CTSpectSpineLib.phantom.scanner.projections.subject import Added, Movement, Subject
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix

_ARM_MM, _ARM_BONE_MM = 42.0, 11.0
"""Radius of an arm and of its bone. Judgement: an adult's upper arm and humerus."""
_ARM_GAP_MM = 8.0
"""Gap between arm and trunk. Judgement: clothes and a blanket."""
_ARM_HU, _ARM_BONE_HU = 50.0, 700.0
"""HU of an arm and of its bone. Judgement: muscle, and a shaft with its marrow."""
_ARM_ACTIVITY, _ARM_BONE_ACTIVITY = 0.12, 0.4
"""Activity of an arm and its bone. Judgement: muscle as in ``activity.json``; shafts take up half
as much as trabecular bone."""
_SITE_MM = 6.0
"""Radius of an injection site. Judgement: a small extravasation at the elbow or wrist."""
_MOST_MOVED_MM, _MOST_GROWTH = 100.0, 50.0
"""Largest movement and growth of the bladder's activity. Judgement: catches typing errors."""
_OBJECT_MM = 3.0
"""Voxels of the objects. Numerical: half the camera's best resolution."""


@dataclass(frozen=True)
class MovedPart:
    """The patient lies otherwise for a part of the scan.

    Attributes
    ----------
    translation_mm, rotation_deg
        Movement along and about x, y, z at the CT's centre.
    begin, end
        Shares of the scan between which it lies so.
    """

    translation_mm: tuple[float, float, float]
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    begin: float = 0.6
    end: float = 1.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If the part of the scan is none.
        """
        if not 0 <= self.begin < self.end <= 1:
            raise InputError(
                f"The patient moves from {self.begin:g} to {self.end:g} of the scan; give shares "
                "from 0 to 1, the first one smaller."
            )
        if not all(abs(v) <= _MOST_MOVED_MM for v in self.translation_mm):
            raise InputError(
                f"The patient moves by {self.translation_mm} mm during the scan; give at most "
                f"{_MOST_MOVED_MM:g} mm along each axis."
            )


@dataclass(frozen=True)
class Surroundings:
    """Disturbances of a scan; by default there are none.

    Attributes
    ----------
    bladder_growth
        Activity of the bladder at the end of the scan over that at its begin.
    arms
        Whether the arms lie beside the trunk.
    injection_site
        Activity of an injection site in the left arm, over all activity in the CT; 0 for none.
    moved
        A movement during the scan.
    """

    bladder_growth: float = 1.0
    arms: bool = False
    injection_site: float = 0.0
    moved: MovedPart | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If one is impossible; the message names it and what is allowed.
        """
        for name, most in (("bladder_growth", _MOST_GROWTH), ("injection_site", 1.0)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                words = name.replace("_", " ")
                raise InputError(f"The {words} is {value:g}; give 0 to {most:g}.")


def subject_of(
    anatomy: Anatomy,
    activity: sitk.Image,
    ct_to_spect: FloatArray,
    surroundings: Surroundings | None = None,
) -> Subject:
    """A patient with its surroundings, for the physical scanner."""
    around = surroundings or Surroundings()
    added = []
    if around.bladder_growth != 1.0:
        added.append(Added(_bladder(anatomy, activity), 0.0, around.bladder_growth - 1.0))
    if around.arms or around.injection_site > 0:
        added += _arms(anatomy, activity, around)
    movement = None
    if around.moved is not None:
        part = around.moved
        centre = image_centre_mm(anatomy.ct).tolist()
        matrix = rigid_matrix(part.translation_mm, part.rotation_deg, centre)
        movement = Movement(matrix, part.begin, part.end)
    return Subject(anatomy.ct, activity, ct_to_spect, tuple(added), movement)


def _bladder(anatomy: Anatomy, activity: sitk.Image) -> sitk.Image:
    mask = sitk.GetArrayViewFromImage(anatomy.tissue) == Tissue.BLADDER
    image = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(activity) * mask)
    image.CopyInformation(activity)
    return image


def _arms(anatomy: Anatomy, activity: sitk.Image, around: Surroundings) -> list[Added]:
    """Both arms beside the trunk from the shoulders down; the injection site in the left one."""
    corners = grid_of(anatomy.ct).corners_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    high[2] = min(high[2], _shoulder_mm(anatomy, low[2]))
    if high[2] - low[2] < _ARM_MM:
        return []
    sides = _trunk_sides(anatomy)
    size = np.ceil(np.array([2 * _ARM_MM + 8, 2 * _ARM_MM + 8, high[2] - low[2]]) / _OBJECT_MM)
    shape = (int(size[2]), int(size[1]), int(size[0]))
    _, j, i = np.indices(shape, sparse=True)
    radius = np.hypot(j - 0.5 * (shape[1] - 1), i - 0.5 * (shape[2] - 1)) * _OBJECT_MM
    inside, bone = radius <= _ARM_MM, radius <= _ARM_BONE_MM
    hu = np.broadcast_to(np.where(bone, _ARM_BONE_HU, np.where(inside, _ARM_HU, -1000.0)), shape)
    uptake = np.where(bone, _ARM_BONE_ACTIVITY, np.where(inside, _ARM_ACTIVITY, 0.0))
    uptake = np.broadcast_to(uptake, shape).astype(np.float32)
    added = []
    for x, site in (
        (sides[1] + _ARM_GAP_MM + _ARM_MM, True),
        (sides[0] - _ARM_GAP_MM - _ARM_MM, False),
    ):
        middle = np.array([x, 0.5 * (low[1] + high[1]), 0.5 * (low[2] + high[2])])
        origin = middle - 0.5 * _OBJECT_MM * (np.array(shape[::-1]) - 1)
        matrix = affine(_OBJECT_MM * np.eye(3), origin)
        own = uptake.copy() if around.arms else np.zeros(shape, dtype=np.float32)
        if site and around.injection_site > 0:
            own += _site(shape, around.injection_site * _total(activity))
        image = image_from_array(hu.astype(np.float32), matrix) if around.arms else None
        if own.any():
            added.append(Added(image_from_array(own, matrix), hu=image))
    return added


def _shoulder_mm(anatomy: Anatomy, lowest_mm: float) -> float:
    """Height of the shoulders, LPS z: that of T1; above all where the CT begins below the neck."""
    labels = sitk.GetArrayViewFromImage(anatomy.labels)
    matrix = grid_of(anatomy.ct).ijk_to_lps
    kji = np.argwhere(labels == names.vertebra("T1").id)
    if len(kji):
        return float(apply_matrix(matrix, kji[:, ::-1].astype(float))[:, 2].mean())
    necks = [row.id for row in names.vertebrae() if row.region == "cervical"]
    return lowest_mm if np.isin(labels, necks).any() else np.inf


def _total(activity: sitk.Image) -> float:
    """Activity in a CT, in its unit times mm³."""
    volume = float(np.prod(activity.GetSpacing()))
    return float(sitk.GetArrayViewFromImage(activity).sum(dtype=np.float64)) * volume


def _site(shape: tuple[int, int, int], activity: float) -> NDArray[np.float32]:
    """A ball in the middle of an arm that holds an activity (unit times mm³)."""
    k, j, i = (0.5 * (n - 1) for n in shape)
    z, y, x = np.indices(shape, sparse=True)
    ball = np.sqrt((z - k) ** 2 + (y - j) ** 2 + (x - i) ** 2) * _OBJECT_MM <= _SITE_MM
    return np.asarray(ball * (activity / (ball.sum() * _OBJECT_MM**3)), dtype=np.float32)


def _trunk_sides(anatomy: Anatomy) -> tuple[float, float]:
    """Lowest and highest x of the trunk, LPS mm."""
    grid = grid_of(anatomy.ct)
    tissue = sitk.GetArrayViewFromImage(anatomy.tissue)
    kji = np.argwhere(tissue[::4, ::4, ::4] != Tissue.AIR) * 4
    x = apply_matrix(grid.ijk_to_lps, kji[:, ::-1].astype(float))[:, 0]
    middle = float(image_centre_mm(anatomy.ct)[0])
    half = 0.5 * TRUNK_MM[0]  # a body that the CT cuts goes on so far
    return min(float(x.min()), middle - half), max(float(x.max()), middle + half)
