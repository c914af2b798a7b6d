"""Who takes part in the truth study: patients drawn from seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from CTSpectSpineLib.anatomy import SACRUM, spine_region
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.phantom.cases import SpectConfig
from CTSpectSpineLib.phantom.config import SpineConfig

Split = Literal["test", "tuning"]
SPLITS: tuple[Split, ...] = get_args(Split)
_TABLE = Path(__file__).parent / "cohort.json"
_SPINE, _HOT, _SCANNER, _RATIO = 1, 2, 3, 4
"""Streams of a patient's seed. Convention: distinct numbers; 0 is the field's."""


@dataclass(frozen=True)
class SetInfo:
    """One set of patients; ranges are from and to.

    Attributes
    ----------
    name, title, about
        In commands and rows, in tables, in one phrase.
    fwhm_mm, voxel_mm, counts
        Of the SPECT.
    cobb_deg, bone_density, degenerate_share
        Of the spine: Cobb angle, density, share of the joints that are degenerated.
    goals
        Whether the goals are measured on it.
    fwhm_given
        Whether the analysis is told the resolution.
    real
        Whether it needs a real CT.
    like
        The set whose patients these are.
    """

    name: str
    title: str
    about: str
    like: str
    fwhm_mm: tuple[float, float]
    voxel_mm: tuple[float, float]
    counts: tuple[float, float]
    cobb_deg: tuple[float, float] = (0.0, 0.0)
    bone_density: tuple[float, float] = (1.0, 1.0)
    degenerate_share: float = 0.0
    goals: bool = False
    fwhm_given: bool = False
    real: bool = False


@dataclass(frozen=True)
class Patient:
    """One patient's seed and name."""

    set_name: str
    split: Split
    name: str
    seed: int

    @property
    def info(self) -> SetInfo:
        """The patient's set."""
        return SETS[self.set_name]

    def rng(self, stream: int) -> np.random.Generator:
        """Generator of one stream of the patient's seed."""
        return np.random.default_rng([self.seed, stream])


def _sets() -> dict[str, SetInfo]:
    rows = json_table(_TABLE)["sets"]
    found = {}
    for name, row in rows.items():
        like = row.get("like", name)
        values = {**rows[like], "goals": False, **row, "like": like}
        tidy: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        found[name] = SetInfo(name=name, **tidy)
    return found


SETS: Mapping[str, SetInfo] = _sets()


def draw_patients(set_name: str, split: Split, count: int, seed: int) -> list[Patient]:
    """The first patients of a set.

    The seeds of the test patients are odd and those of the tuning patients even, so that no seed
    of a study makes a patient that belongs to both.
    """
    like = list(SETS).index(SETS[set_name].like)
    patients = []
    for number in range(count):
        state = np.random.SeedSequence([seed, like, number]).generate_state(1)
        own = int(state[0]) & ~1 | int(split == "test")
        patients.append(Patient(set_name, split, f"{set_name}-{split}-{seed}-{number:03d}", own))
    return patients


def draw_spine(patient: Patient) -> tuple[SpineConfig, str, tuple[str, ...]]:
    """The spine, the pattern of its hot joints, and the hot joints."""
    table, info, rng = json_table(_TABLE), patient.info, patient.rng(_SPINE)
    field = _field(patient)
    levels = SpineConfig().levels
    shown = levels[levels.index(field["first"]) : levels.index(field["last"]) + 1]
    ids = [joint for joint in SpineConfig().joint_ids if _covered(joint, shown)]
    pattern, hot = draw_hot(ids, patient)
    lateral, ap = _from(rng, table["lateral_mm"]), _from(rng, table["ap_mm"])
    height = sum(table["level_mm"][spine_region(level)] for level in shown) + 40
    in_plane, thickness = _voxel(rng, lateral * ap * height)
    config = SpineConfig(
        seed=patient.seed,
        spacing_mm=(in_plane, in_plane, thickness),
        first=field["first"],
        last=field["last"],
        lateral_mm=lateral,
        ap_mm=ap,
        cervical_lordosis_deg=_from(rng, table["cervical_lordosis_deg"]),
        thoracic_kyphosis_deg=_from(rng, table["thoracic_kyphosis_deg"]),
        lumbar_lordosis_deg=_from(rng, table["lumbar_lordosis_deg"]),
        scoliosis_cobb_deg=_from(rng, info.cobb_deg) * float(rng.choice([-1, 1])),
        scoliosis_apex=str(rng.choice(["T9", "L2"])),
        bone_density=_from(rng, info.bone_density),
        size=_from(rng, table["size"]),
        noise_hu=_from(rng, table["noise_hu"]),
        degenerate=_degenerate(ids, hot, info.degenerate_share, rng),
    )
    return config, pattern, hot


def draw_hot(ids: Sequence[str], patient: Patient) -> tuple[str, tuple[str, ...]]:
    """The pattern of the hot joints, and which they are.

    Parameters
    ----------
    ids
        Joints that may be hot, cranial to caudal.
    patient
        Whose they are.
    """
    table, rng = json_table(_TABLE), patient.rng(_HOT)
    patterns = table["patterns"]
    pattern = str(rng.choice(list(patterns), p=list(patterns.values())))
    if pattern == "many":
        low, high = table["many_joints"]
        wanted = min(int(rng.integers(low, high + 1)), len(ids))
        chosen = [str(joint) for joint in rng.choice(list(ids), wanted, replace=False)]
    else:
        groups = _groups(pattern, ids)
        if not groups:
            pattern, groups = "single", _groups("single", ids)
        chosen = groups[int(rng.integers(len(groups)))]
    return pattern, tuple(joint for joint in ids if joint in chosen)


def draw_ratios(hot: Sequence[str], patient: Patient, attempt: int) -> dict[str, float]:
    """True ratios of the hot joints; each attempt draws others."""
    rng = np.random.default_rng([patient.seed, _RATIO, attempt])
    return {joint: round(_from(rng, json_table(_TABLE)["hot_ratio"]), 3) for joint in hot}


def draw_scanner(patient: Patient) -> SpectConfig:
    """Scanner, counts, and how the patient moved between CT and SPECT."""
    table, info, rng = json_table(_TABLE), patient.info, patient.rng(_SCANNER)
    share = 1.0 if info.real else float(_field(patient)["counts"])
    moved = [_from(rng, table["translation_mm"]) for _ in range(3)]
    turned = [_from(rng, table["rotation_deg"]) for _ in range(3)]
    return SpectConfig(
        translation_mm=(moved[0], moved[1], moved[2]),
        rotation_deg=(turned[0], turned[1], turned[2]),
        fwhm_mm=round(_from(rng, info.fwhm_mm), 2),
        counts=float(np.rint(_from(rng, info.counts) * share)),
        spacing_mm=round(_from(rng, info.voxel_mm), 2),
        seed=patient.seed,
    )


def _field(patient: Patient) -> Mapping[str, Any]:
    fields = json_table(_TABLE)["fields"]
    rng = np.random.default_rng([patient.seed, 0])
    chosen: Mapping[str, Any] = fields[rng.choice(len(fields), p=[f["share"] for f in fields])]
    return chosen


def _covered(joint: str, shown: Sequence[str]) -> bool:
    upper, lower = joint.split()[0].split("-")
    return upper in shown and (lower if lower != "S1" else SACRUM) in shown


def _groups(pattern: str, ids: Sequence[str]) -> list[list[str]]:
    """All groups of joints that fit a pattern."""
    if pattern == "none":
        return [[]]
    if pattern == "single":
        return [[joint] for joint in ids]
    by_level: dict[str, list[str]] = {}
    for joint in ids:
        level, _, place = joint.partition(" ")
        by_level.setdefault(level, []).append(place)
    if pattern == "adjacent levels":
        levels = list(by_level)
        return [
            [f"{upper} {place}", f"{lower} {place}"]
            for upper, lower in pairwise(levels)
            for place in by_level[upper]
            if place in by_level[lower]
        ]
    sides = ["facet left", "facet right"]
    wanted = {
        "facet pair": [sides],
        "disc and facets": [["disc", *sides], ["disc", sides[0]], ["disc", sides[1]]],
    }[pattern]
    return [
        [f"{level} {place}" for place in places]
        for level, there in by_level.items()
        for places in wanted
        if set(places) <= set(there)
    ]


def _degenerate(
    ids: Sequence[str], hot: Sequence[str], share: float, rng: np.random.Generator
) -> dict[str, float]:
    """Severity of the degenerated joints; hot joints are degenerated more often."""
    when_hot = max(share, json_table(_TABLE)["degenerate_when_hot"])
    severity = {}
    for joint in ids:
        chance, value = rng.random(), _from(rng, json_table(_TABLE)["severity"])
        if chance < (when_hot if joint in hot else share):
            severity[joint] = round(value, 2)
    return severity


def _voxel(rng: np.random.Generator, volume_mm3: float) -> tuple[float, float]:
    """Voxel size in plane and between slices that keeps the CT small enough."""
    table = json_table(_TABLE)
    while True:
        in_plane = round(_from(rng, table["in_plane_mm"]), 2)
        thickness = round(_from(rng, table["slice_mm"]), 2)
        largest = in_plane >= 0.95 * table["in_plane_mm"][1]
        if volume_mm3 / (in_plane**2 * thickness) <= table["most_voxels"] or largest:
            return in_plane, thickness


def _from(rng: np.random.Generator, limits: Sequence[float]) -> float:
    return float(rng.uniform(limits[0], limits[1]))
