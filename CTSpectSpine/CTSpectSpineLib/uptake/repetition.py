"""Repetitions of plain measures.

Corrected uptake comes with draws. Plain measures (mean, max, peak) have none, so each repetition
moves the regions as a registration of the given error and labels of usual quality
would, adds noise like that of the SPECT, and measures again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.model import FloatArray, Joint
from CTSpectSpineLib.uptake.equations import REGION_SD_MM
from CTSpectSpineLib.uptake.lattice import PartKind
from CTSpectSpineLib.uptake.noise import Noise
from CTSpectSpineLib.uptake.partition import Partition
from CTSpectSpineLib.uptake.rigid import rigid_error
from CTSpectSpineLib.uptake.sampling import SpectField, sphere_offsets

_POINTS_PER_JOINT = 400
"""Least number that thinning leaves. Numerical: ample for a region that is small beside the
blur."""


def bone_part(partition: Partition, joint: Joint) -> int | None:
    """Number of the region that is a joint's bone."""
    kind: PartKind = "disc_bone" if joint.kind == "disc" else "facet_bone"
    return partition.position(kind, joint.id)


@dataclass(frozen=True)
class Groups:
    """Point groups that are measured again in each repetition.

    Attributes
    ----------
    index
        SPECT indices ``(i, j, k)`` of all points, group after group, shape (n, 3).
    starts
        Where each group begins.
    """

    index: FloatArray
    starts: np.ndarray

    @staticmethod
    def of(field: SpectField, joints: Sequence[Joint]) -> Groups:
        """The thinned points of the joints' regions."""
        groups = []
        for joint in joints:
            assert joint.region is not None, "only measured joints are repeated"
            index = field.index(joint.region.points_mm())
            groups.append(index[:: max(1, len(index) // _POINTS_PER_JOINT)])
        lengths = np.array([len(g) for g in groups])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int)
        return Groups(np.concatenate(groups), starts)

    @property
    def lengths(self) -> np.ndarray:
        """Number of points per group."""
        return np.diff([*self.starts, len(self.index)])

    def measure(
        self, field: SpectField, array: FloatArray, motion: FloatArray, own: FloatArray, name: str
    ) -> FloatArray:
        """``mean``, ``max`` or ``peak`` of each group, moved by a common and an own motion."""
        index = self.index @ motion[:3, :3].T + motion[:3, 3]
        index += np.repeat(own, self.lengths, axis=0)
        if name == "peak":
            array = _sphere_means(field, array)
        values = ndimage.map_coordinates(array, index[:, ::-1].T, order=1, mode="nearest")
        if name == "mean":
            return np.asarray(np.add.reduceat(values, self.starts) / self.lengths)
        return np.maximum.reduceat(values, self.starts)


def repeat_plain(
    field: SpectField,
    joints: Sequence[Joint],
    name: str,
    noise: Noise,
    error_mm: float,
    repetitions: int,
    rng: np.random.Generator,
) -> FloatArray:
    """A plain measure under perturbation, relative to the unperturbed one.

    A repetition errs on top of an error that is already there, so where errors lower a measure
    (a region slipping off a hot spot) repetitions come out lower than what was measured, which
    is itself lower than the truth. They are therefore mirrored (the basic bootstrap; Davison and
    Hinkley, Bootstrap Methods, 1997, 5.2).

    Parameters
    ----------
    field, noise
        The SPECT around the spine and its noise.
    joints
        Joints with regions.
    name
        ``mean``, ``max`` or ``peak``.
    error_mm
        Root mean square displacement at the joints by misregistration.
    repetitions, rng
        How often; source of randomness.

    Returns
    -------
    Changes in SPECT units, shape (repetitions, joints), to be added to what was measured.
    """
    groups = Groups.of(field, joints)
    centres = np.array([j.centre_mm for j in joints if j.centre_mm is not None])
    still = groups.measure(field, field.array, np.eye(4), np.zeros((len(joints), 3)), name)
    to_index = field.ct_to_index
    from_index = np.linalg.inv(to_index)
    changes = np.empty((repetitions, len(joints)))
    for n in range(repetitions):
        motion = to_index @ rigid_error(centres, error_mm, rng) @ from_index
        own = rng.normal(0.0, REGION_SD_MM / np.sqrt(3.0), (len(joints), 3)) / field.spacing
        array = field.array + noise.draw(rng)
        changes[n] = still - groups.measure(field, array, motion, own, name)
    return changes


def _sphere_means(field: SpectField, array: FloatArray) -> FloatArray:
    """Mean over the peak sphere centred in every voxel."""
    offsets = sphere_offsets(step_mm=1.5) / field.spacing
    reach = int(np.ceil(np.abs(offsets).max()))
    kernel = np.zeros((2 * reach + 1,) * 3)
    base = np.floor(offsets).astype(int)
    part = offsets - base
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(corner, part, 1.0 - part), axis=1) / len(offsets)
        i, j, k = (base + corner + reach).T
        np.add.at(
            kernel,
            (np.clip(k, 0, 2 * reach), np.clip(j, 0, 2 * reach), np.clip(i, 0, 2 * reach)),
            share,
        )
    return ndimage.convolve(array, kernel, mode="nearest")
