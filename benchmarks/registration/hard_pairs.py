"""Makers of the hard pairs; see `hard` for the images and `sets` for what the sets are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.registration import hard
from benchmarks.registration.pairs import (
    Pair,
    cut_field,
    flat_field,
    moved_by,
    rng_of,
    seen_joints,
    some_scanner,
)
from benchmarks.registration.patients import Patient, phantom_patient
from benchmarks.registration.sets import SETS, WRONG_SETS
from CTSpectSpineLib.geometry import image_centre_mm
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom import make_patient, patient, scan
from CTSpectSpineLib.phantom.model import Tissue

HALF_MOVED_MM = 16.0
"""How far the patient moves in the middle of the scan, mm. Judgement: a shift in pain."""
SCALES = (1.03, 0.97, 1.05, 0.95)
"""Sizes of another patient of the same shape. Judgement: the least that anatomy differs by."""
UNCORRECTED_COUNTS = 0.6
"""Counts relative to a corrected SPECT. Judgement: the correction multiplies them."""

Maker = Callable[[str, int, int, Path | None], Pair]


def _pair(
    set_name: str,
    seed: int,
    ct: sitk.Image,
    spect: sitk.Image,
    truth: tuple[FloatArray, FloatArray],
) -> Pair:
    right = set_name in SETS
    return Pair(set_name, f"{set_name}-{seed}", seed, ct, spect, *truth, right)


def _activity(set_name: str, seen: Patient, rng: np.random.Generator) -> sitk.Image:
    """What the scanner of a set is shown."""
    ct = seen.anatomy.ct
    if set_name == "bladder":
        return hard.with_hot(seen, Tissue.BLADDER, rng)
    if set_name == "kidneys":
        return hard.with_hot(seen, Tissue.KIDNEY, rng)
    if set_name == "arms":
        return hard.with_arms(seen, rng, spot=True)
    if set_name == "no-ac-scatter":
        return hard.uncorrected(seen.activity, ct)
    if set_name == "other-tracer":
        return hard.other_tracer(seen, rng)
    return seen.activity


def _organs(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """Hot organs, arms, missing correction and other tracers: other activity, same scanner."""
    seen = phantom_patient(patient_seed)
    rng = rng_of(set_name, seed)
    ct = seen.anatomy.ct
    matrix = moved_by({**SETS, **WRONG_SETS}[set_name], rng, image_centre_mm(ct))
    share = UNCORRECTED_COUNTS if set_name == "no-ac-scatter" else 1.0
    spect = some_scanner(_activity(set_name, seen, rng), matrix, rng, share)
    return _pair(set_name, seed, ct, spect, (matrix, seen_joints(seen.anatomy.joints, ct)))


def _part(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """A SPECT over a part of the CT."""
    seen = phantom_patient(patient_seed)
    rng = rng_of(set_name, seed)
    ct = seen.anatomy.ct
    share = int(set_name.removeprefix("part-")) / 100.0
    matrix = moved_by(SETS[set_name], rng, image_centre_mm(ct))
    length = ct.GetSize()[2] * ct.GetSpacing()[2]
    away = rng.uniform(-0.8, 1.0) * 0.5 * (1.0 - share) * length
    centre = image_centre_mm(ct) + np.array([0.0, 0.0, away])
    spect = flat_field(some_scanner(seen.activity, matrix, rng), centre, share * length)
    return _pair(set_name, seed, ct, spect, (matrix, seen_joints(seen.anatomy.joints, ct)))


def _half_moved(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """The patient moves in the middle of the scan; the truth is the mean of both positions."""
    seen = phantom_patient(patient_seed)
    rng = rng_of(set_name, seed)
    ct = seen.anatomy.ct
    matrix = moved_by(SETS[set_name], rng, image_centre_mm(ct))
    step = rng.normal(0.0, 1.0, 3)
    step *= 0.5 * HALF_MOVED_MM / np.linalg.norm(step)
    halves = []
    for sign in (-1.0, 1.0):
        position = matrix.copy()
        position[:3, 3] += sign * step
        halves.append(some_scanner(seen.activity, position, rng_of(set_name, seed + 7), 0.5))
    second = sitk.Resample(halves[1], halves[0], sitk.Transform(), sitk.sitkLinear, 0.0)
    spect = sitk.Add(halves[0], second)
    return _pair(set_name, seed, ct, spect, (matrix, seen_joints(seen.anatomy.joints, ct)))


def _contrast_chest(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """A chest CT in the arterial phase against a SPECT of the trunk."""
    seen = phantom_patient(patient_seed, "whole")
    rng = rng_of(set_name, seed)
    anatomy = replace(seen.anatomy, ct=hard.contrast_chest(seen, rng))
    ct = cut_field(anatomy, (("T3", "T11"), (150.0, 120.0, 10.0)))
    matrix = moved_by(SETS[set_name], rng, image_centre_mm(ct))
    spect = some_scanner(seen.activity, matrix, rng)
    offset = np.array([0.0, 0.0, rng.uniform(-60.0, 60.0)])
    spect = flat_field(spect, image_centre_mm(ct) + offset, 390.0)
    return _pair(set_name, seed, ct, spect, (matrix, seen_joints(anatomy.joints, ct)))


def _scaled(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """A patient of the same shape, but of another size."""
    pair = _organs(set_name, seed, patient_seed, shared_data)
    return replace(pair, spect=hard.scaled(pair.spect, SCALES[seed % len(SCALES)]))


def _attenuation_map(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """The attenuation map in place of the SPECT."""
    pair = _organs(set_name, seed, patient_seed, shared_data)
    return replace(pair, spect=hard.attenuation_map(pair.ct, pair.ct_to_spect, pair.spect))


def _few_levels(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """CT of the lumbar spine, SPECT of the chest above it: no level or two in common."""
    seen = phantom_patient(patient_seed, "whole")
    rng = rng_of(set_name, seed)
    ct = cut_field(seen.anatomy, (("T12", "L5"), (150.0, 110.0, 5.0)))
    levels = (("T5", "T10"), ("T7", "T12"))[seed % 2]
    above = cut_field(seen.anatomy, (levels, (150.0, 110.0, 5.0)))
    matrix = moved_by(WRONG_SETS[set_name], rng, image_centre_mm(ct))
    length = above.GetSize()[2] * above.GetSpacing()[2]
    spect = some_scanner(seen.activity, matrix, rng)
    spect = flat_field(spect, image_centre_mm(above), length)
    return _pair(set_name, seed, ct, spect, (matrix, seen_joints(seen.anatomy.joints, ct)))


def _physical(set_name: str, seed: int, patient_seed: int, shared_data: Path | None) -> Pair:
    """The physical scanner: projections, scatter, OSEM. The truth is the mean position."""
    drawn = patient("mixed", seed)
    names = ("recovery", "no-recovery")
    name = "no-attenuation-correction" if set_name == "physical-no-ac" else names[seed % 2]
    made = scan(make_patient(drawn), drawn.spect, [name])[0][name]
    matrix = made.ct_to_spect.copy()
    moved = drawn.surroundings.moved
    if moved is not None:
        matrix[:3, 3] += (moved.end - moved.begin) * np.array(moved.translation_mm)
    ct = made.anatomy.ct
    return _pair(set_name, seed, ct, made.spect, (matrix, seen_joints(made.anatomy.joints, ct)))


HARD_MAKERS: Mapping[str, Maker] = {
    **dict.fromkeys(("bladder", "kidneys", "arms", "no-ac-scatter", "other-tracer"), _organs),
    **dict.fromkeys(("part-40", "part-25"), _part),
    **dict.fromkeys(("physical", "physical-no-ac"), _physical),
    "half-moved": _half_moved,
    "contrast-chest": _contrast_chest,
    "scaled": _scaled,
    "attenuation-map": _attenuation_map,
    "few-levels": _few_levels,
}
"""How the pairs of each hard set are made."""
