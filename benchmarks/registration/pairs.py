"""Simulated pairs of CT and SPECT with known truth, and pairs that do not belong together.

Every set draws patients (spine, body size, bone density, curvature, hot joints), scanners
(resolution, counts, voxels) and misalignments from seeds. The seeds of the tuning split and of
the test split are disjoint, so nothing that was tuned has seen a test patient.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from benchmarks.registration.patients import (
    Patient,
    config_of,
    hot_joints,
    phantom_patient,
    real_patient,
)
from benchmarks.registration.sets import SETS, WRONG_SETS, SetInfo
from CTSpectSpineLib.geometry import apply_matrix, image_centre_mm
from CTSpectSpineLib.model import FloatArray, Joint
from CTSpectSpineLib.phantom.activity import assign_activity
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.anatomy.deformation import bend
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.phantom.scanner.attenuation import attenuated
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix, simulate_spect

__all__ = ["SETS", "WRONG_SETS", "Pair", "SetInfo", "Split", "make_pairs"]

Split = Literal["tuning", "test"]
Field = tuple[tuple[str, str], tuple[float, float, float]]
"""Levels whose joints a CT covers, and its margins beyond them along x, y, z in mm."""

POSES_PER_PATIENT = 4
"""Pairs that share a patient. Judgement: building a patient takes longer than moving it."""
FIRST_SEED: Mapping[str, int] = {"tuning": 10_000, "test": 20_000}
"""First seed of each split. Convention: far enough apart that the splits share no patient."""
SPECT_AXIAL_MM = 390.0
"""Axial field of view of the SPECT of a cropped CT, mm. Judgement: that of a usual two-headed
camera."""
MINIMUM_JOINTS = 4
"""Joints that a CT must show. Judgement: fewer say little of a rotation."""


@dataclass(frozen=True)
class Pair:
    """A CT and a SPECT.

    Attributes
    ----------
    set_name, name, seed
        Where it comes from.
    ct, spect
        Fixed and moving image.
    ct_to_spect
        True 4×4 matrix from CT points to SPECT points, LPS mm; meaningless for a pair that is not
        `right`.
    joints_mm
        Joint centres in the CT, LPS mm, shape (n, 3).
    right
        Whether the two belong together.
    """

    set_name: str
    name: str
    seed: int
    ct: sitk.Image
    spect: sitk.Image
    ct_to_spect: FloatArray
    joints_mm: FloatArray
    right: bool

    def errors_mm(self, ct_to_spect: FloatArray) -> FloatArray:
        """Distance at each joint between a transform and the truth, mm, shape (n,)."""
        found = apply_matrix(ct_to_spect, self.joints_mm)
        errors: FloatArray = np.linalg.norm(
            found - apply_matrix(self.ct_to_spect, self.joints_mm), axis=1
        )
        return errors


def make_pairs(
    set_name: str, split: Split, count: int, shared_data: Path | None = None
) -> Iterator[Pair]:
    """Pairs of one set, always the same ones.

    Parameters
    ----------
    set_name
        A key of `SETS` or `WRONG_SETS`.
    split
        Which seeds.
    count
        How many pairs; the first ones do not depend on it.
    shared_data
        Folder with ``totalsegmentator_example``, which the sets on a real CT need.

    Raises
    ------
    FileNotFoundError
        If a set on a real CT is asked for without that folder.
    """
    # Imported here, as the hard pairs are made with the helpers of this module.
    from benchmarks.registration.hard_pairs import HARD_MAKERS

    make = {**_MAKERS, **HARD_MAKERS}[set_name]
    # The standard, hard and degraded sets share patients; only the wrong sets draw others.
    for n in range(count):
        seed = FIRST_SEED[split] + n
        yield make(set_name, seed, FIRST_SEED[split] + n // POSES_PER_PATIENT, shared_data)


def rng_of(set_name: str, seed: int) -> np.random.Generator:
    """Random numbers of a pair."""
    return np.random.default_rng([seed, zlib.crc32(set_name.encode())])


def moved_by(info: SetInfo, rng: np.random.Generator, centre_mm: FloatArray) -> FloatArray:
    """A misalignment of a set."""
    shift = rng.uniform(-info.shift_mm, info.shift_mm, 3)
    turn = rng.uniform(-info.turn_deg, info.turn_deg, 3)
    return rigid_matrix(shift.tolist(), turn.tolist(), centre_mm.tolist())


def some_scanner(
    activity: sitk.Image, matrix: FloatArray, rng: np.random.Generator, share: float = 1.0
) -> sitk.Image:
    """SPECT of a scanner drawn at random."""
    fwhm, spacing = float(rng.uniform(8.0, 12.0)), float(rng.choice([3.9, 4.42, 4.8]))
    counts = float(rng.uniform(5e6, 1e7)) * share
    # The variance of a voxel is its mean, whatever its size.
    gain = (4.42 / spacing) ** 3
    seed = int(rng.integers(2**31))
    return simulate_spect(activity, matrix, fwhm, counts, spacing, seed=seed, noise_gain=gain)


def seen_joints(joints: tuple[Joint, ...], ct: sitk.Image) -> FloatArray:
    """Centres of the joints inside a CT, LPS mm."""
    size = np.array(ct.GetSize())
    centres = []
    for joint in joints:
        if joint.centre_mm is None:
            continue
        index = ct.TransformPhysicalPointToContinuousIndex(joint.centre_mm.tolist())
        if np.all(np.array(index) >= 0) and np.all(np.array(index) <= size - 1):
            centres.append(joint.centre_mm)
    if len(centres) < MINIMUM_JOINTS:
        raise ValueError("the CT shows too few joints")
    return np.array(centres)


def _crop(ct: sitk.Image, low_mm: FloatArray, high_mm: FloatArray) -> sitk.Image:
    """Part of an axis-aligned image between two LPS corners."""
    a = np.array(ct.TransformPhysicalPointToContinuousIndex(low_mm.tolist()))
    b = np.array(ct.TransformPhysicalPointToContinuousIndex(high_mm.tolist()))
    limit = np.array(ct.GetSize())
    low = np.clip(np.floor(np.minimum(a, b)), 0, limit - 1).astype(int)
    high = np.clip(np.ceil(np.maximum(a, b)), 1, limit).astype(int)
    return sitk.RegionOfInterest(ct, (high - low).tolist(), low.tolist())


def flat_field(spect: sitk.Image, centre_mm: FloatArray, length_mm: float) -> sitk.Image:
    """SPECT cut to an axial field."""
    low = np.array(spect.TransformIndexToPhysicalPoint((0, 0, 0)))
    last = (np.array(spect.GetSize()) - 1).tolist()
    high = np.array(spect.TransformIndexToPhysicalPoint(last))
    low[2], high[2] = centre_mm[2] - length_mm / 2, centre_mm[2] + length_mm / 2
    return _crop(spect, low, high)


def _patient_of(
    set_name: str, patient_seed: int, shared_data: Path | None, variant: str = ""
) -> Patient:
    if not set_name.endswith("-real"):
        return phantom_patient(patient_seed, variant)
    if shared_data is None:
        raise FileNotFoundError(f"The set {set_name} needs the folder of shared data.")
    return real_patient(shared_data, patient_seed)


def _plain(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """Standard, hard and degraded pairs: the CT shows what the SPECT shows."""
    variant = set_name if set_name in ("focal", "metal", "contrast") else ""
    patient = _patient_of(set_name, patient_seed, shared_data, variant)
    rng = rng_of(set_name, seed)
    ct = patient.anatomy.ct
    matrix = moved_by({**SETS, **WRONG_SETS}[set_name], rng, image_centre_mm(ct))
    joints = seen_joints(patient.anatomy.joints, ct)
    activity = patient.activity
    if set_name == "no-ac":
        activity = attenuated(activity, ct)
    elif set_name in ("bent", "strongly-bent"):
        amplitude = 3.0 if set_name == "bent" else 10.0
        activity = bend(activity, joints, amplitude, seed).image
    spect = some_scanner(activity, matrix, rng, 0.25 if set_name == "low-counts" else 1.0)
    return Pair(set_name, f"{set_name}-{seed}", seed, ct, spect, matrix, joints, True)


_FIELDS: Mapping[str, Field] = {
    "lumbar-crop": (("L1", "L5"), (85.0, 80.0, 10.0)),
    "cervical": (("C1", "C7"), (90.0, 80.0, 15.0)),
    "chest": (("T4", "T9"), (115.0, 95.0, 0.0)),
}
"""Fields of the cropped CTs. Judgement: reconstructions of the spine alone, and half a chest."""


def cut_field(anatomy: Anatomy, field: Field) -> sitk.Image:
    """CT of some levels only, of a given width and depth."""
    (first, last), margin = field
    points = np.array([j.centre_mm for j in anatomy.joints if _between(j, first, last)])
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    half = np.array([margin[0], margin[1], (high[2] - low[2]) / 2 + margin[2]])
    return _crop(anatomy.ct, middle - half, middle + half)


def _between(joint: Joint, first: str, last: str) -> bool:
    order = [*(f"C{n}" for n in range(1, 8)), *(f"T{n}" for n in range(1, 14))]
    order += [f"L{n}" for n in range(1, 7)]
    return order.index(first) <= order.index(joint.upper) <= order.index(last)


def _cropped(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """A CT of a few levels against a SPECT of the camera's axial field."""
    patient = phantom_patient(patient_seed, "whole")
    rng = rng_of(set_name, seed)
    ct = cut_field(patient.anatomy, _FIELDS[set_name])
    matrix = moved_by(SETS[set_name], rng, image_centre_mm(ct))
    spect = some_scanner(patient.activity, matrix, rng)
    offset = np.array([0.0, 0.0, rng.uniform(-60, 60)])
    spect = flat_field(spect, image_centre_mm(ct) + offset, SPECT_AXIAL_MM)
    joints = seen_joints(patient.anatomy.joints, ct)
    return Pair(set_name, f"{set_name}-{seed}", seed, ct, spect, matrix, joints, True)


def _wrong(pair: Pair, set_name: str, spect: sitk.Image) -> Pair:
    return replace(
        pair, set_name=set_name, name=f"{set_name}-{pair.seed}", spect=spect, right=False
    )


def _other_patient(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """The SPECT is that of the next patient, whose field differs little."""
    ours = _plain("standard", seed, patient_seed, shared_data)
    config = replace(config_of(patient_seed + 5000), first=config_of(patient_seed).first)
    other = make_anatomy(replace(config, spacing_mm=1.8))
    rng = rng_of(set_name, seed)
    activity = assign_activity(other, hot_joints(config, rng, (0, 3), (2.0, 5.0)), [seed, 3]).image
    matrix = moved_by(WRONG_SETS[set_name], rng, image_centre_mm(other.ct))
    return _wrong(ours, set_name, some_scanner(activity, matrix, rng))


def _other_part(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """CT and SPECT of different levels of one patient."""
    patient = phantom_patient(patient_seed, "whole")
    rng = rng_of(set_name, seed)
    parts: tuple[Field, ...] = (
        (("C1", "C6"), (110.0, 90.0, 5.0)),
        (("T4", "T8"), (150.0, 110.0, 0.0)),
        (("T11", "L5"), (150.0, 110.0, 0.0)),
    )
    a, b = rng.permutation(3)[:2]
    ct, seen = cut_field(patient.anatomy, parts[a]), cut_field(patient.anatomy, parts[b])
    matrix = moved_by(WRONG_SETS[set_name], rng, image_centre_mm(seen))
    spect = some_scanner(patient.activity, matrix, rng)
    length = seen.GetSize()[2] * seen.GetSpacing()[2]
    spect = flat_field(spect, image_centre_mm(seen), length)
    joints = seen_joints(patient.anatomy.joints, ct)
    return Pair(set_name, f"{set_name}-{seed}", seed, ct, spect, matrix, joints, False)


def _flipped(image: sitk.Image, axes: tuple[bool, bool, bool]) -> sitk.Image:
    """Voxels reversed along axes, the geometry kept."""
    result = sitk.Flip(image, axes)
    result.CopyInformation(image)
    return result


def _mirrored(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    source = "standard-real" if shared_data is not None and seed % 4 == 0 else "standard"
    pair = _plain(source, seed, patient_seed, shared_data)
    return _wrong(pair, set_name, _flipped(pair.spect, (True, False, False)))


def _turned(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    source = "standard-real" if shared_data is not None and seed % 4 == 0 else "standard"
    pair = _plain(source, seed, patient_seed, shared_data)
    axes = ((False, True, True), (True, False, True), (True, True, False))[seed % 3]
    return _wrong(pair, set_name, _flipped(pair.spect, axes))


def _strongly_bent(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    return replace(_plain(set_name, seed, patient_seed, shared_data), right=False)


PLAIN = (
    *("standard", "standard-real", "hard", "hard-real", "low-counts", "focal", "contrast", "metal"),
    *("no-ac", "bent"),
)
"""Sets whose CT shows what the SPECT shows."""

_Maker = Callable[[str, int, int, Path | None], Pair]
_MAKERS: Mapping[str, _Maker] = {
    **dict.fromkeys(PLAIN, _plain),
    **dict.fromkeys(_FIELDS, _cropped),
    "other-patient": _other_patient,
    "other-part": _other_part,
    "mirrored": _mirrored,
    "turned": _turned,
    "strongly-bent": _strongly_bent,
}
