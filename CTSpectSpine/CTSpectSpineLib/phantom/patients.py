"""Patients as they are: typed values drawn from a kind and a seed, and the phantoms they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from CTSpectSpineLib.anatomy import spine_region
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.cases import SpectConfig
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.draws import (
    TABLE,
    DrawnUptake,
    draw_hot,
    draw_uptake,
    drawn_from,
    foci_of,
    levels_of,
)
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.phantom.scanning import Specimen, specimen_of
from CTSpectSpineLib.phantom.surroundings import MovedPart, Surroundings

_SPINE, _AROUND, _POSE = 1, 4, 5
"""Streams of a patient's seed. Convention: distinct numbers, and other ones in `draws`."""
_ATTEMPTS = 20
"""Numerical: cap on the draws of ratios that overlapping joints allow."""


@dataclass(frozen=True)
class Patient:
    """A patient: all that a phantom of it is made from.

    Attributes
    ----------
    kind, field, seed
        What it was drawn from.
    spine
        The spine to build.
    uptake
        Its uptake.
    surroundings
        What disturbs the scan.
    spect
        Pose, counts, voxels and seed of its scan.
    """

    kind: str
    field: str
    seed: int
    spine: SpineConfig
    uptake: DrawnUptake
    surroundings: Surroundings
    spect: SpectConfig


def kind_names() -> tuple[str, ...]:
    """Kinds of patients."""
    return tuple(json_table(TABLE)["kinds"])


def patient(kind: str, seed: int, field: str = "lumbar") -> Patient:
    """Draw a patient; the same kind, seed and field give the same one.

    Parameters
    ----------
    kind
        Name in ``patients.json``: ``ordinary``, ``mild``, ``hot``, ``beside``, ``mixed``.
    seed
        Seed. Patients of different kinds with the same seed share spine, ordinary uptake,
        surroundings and pose.
    field
        What the CT covers: ``lumbar``, ``thoracolumbar``, ``cervical``, ``whole``.

    Raises
    ------
    InputError
        If there is no such kind or field.
    """
    table = json_table(TABLE)
    for what, name, known in (("kind of patient", kind, "kinds"), ("field", field, "fields")):
        if name not in table[known]:
            raise InputError(f"There is no {what} '{name}'; there are {', '.join(table[known])}.")
    covered = table["fields"][field]
    levels = SpineConfig().levels
    shown = levels[levels.index(covered["first"]) : levels.index(covered["last"]) + 1]
    ids = [j for j in SpineConfig().joint_ids if all(level in shown for level in levels_of(j))]
    uptake = draw_uptake(kind, seed, ids, shown)
    spine = _spine(seed, covered, ids, uptake.hot)
    return Patient(kind, field, seed, spine, uptake, _around(seed, field), _pose(seed, covered))


def patient_on(anatomy: Anatomy, kind: str, seed: int) -> Patient:
    """Draw a patient with the anatomy of a real CT; for `make_patient` with that anatomy.

    Raises
    ------
    InputError
        If there is no such kind.
    """
    drawn = patient(kind, seed)
    joints = [joint for joint in anatomy.joints if joint.bone is not None]
    levels = list(dict.fromkeys(name for joint in joints for name in (joint.upper, joint.lower)))
    return replace(drawn, uptake=draw_uptake(kind, seed, [j.id for j in joints], levels))


def make_patient(drawn: Patient, anatomy: Anatomy | None = None) -> Specimen:
    """Build a patient, ready to be scanned by `scanning.scan`.

    Where the ratios of overlapping joints cannot be reached together, others are drawn.

    Parameters
    ----------
    drawn
        The patient.
    anatomy
        An anatomy to use in place of the procedural one: a real CT.
    """
    if anatomy is None:
        anatomy = make_anatomy(drawn.spine)
    known = [joint.id for joint in anatomy.joints if joint.bone is not None]
    uptake = drawn.uptake
    for attempt in range(1, _ATTEMPTS + 1):
        hot = {name: ratio for name, ratio in uptake.hot.items() if name in known}
        pattern = replace(uptake.pattern, foci=foci_of(anatomy, uptake.osteophytes))
        used = replace(drawn, uptake=DrawnUptake(pattern, uptake.osteophytes, hot))
        try:
            return specimen_of(
                anatomy,
                hot,
                drawn.seed,
                pattern=pattern,
                surroundings=drawn.surroundings,
                record={"patient": asdict(used)},
            )
        except InputError:
            if len(hot) < 2 or attempt == _ATTEMPTS:
                raise
            row = json_table(TABLE)["kinds"][drawn.kind]
            ids = [name for name in drawn.spine.joint_ids if name in known]
            uptake = replace(uptake, hot=draw_hot(row, drawn.seed, ids, attempt))
    raise AssertionError("the loop returns or raises")


def _spine(
    seed: int, covered: Mapping[str, Any], ids: Sequence[str], hot: Mapping[str, float]
) -> SpineConfig:
    s, rng = json_table(TABLE)["spine"], np.random.default_rng([seed, _SPINE])
    curved, cobb, turn = rng.random(), drawn_from(rng, s["cobb_deg"]), rng.choice([-1.0, 1.0])
    angles: dict[str, Any] = {
        name: drawn_from(rng, s[name])
        for name in ("cervical_lordosis_deg", "thoracic_kyphosis_deg", "lumbar_lordosis_deg")
    }
    density, size = drawn_from(rng, s["bone_density"]), drawn_from(rng, s["size"])
    worn = {}
    for joint in SpineConfig().joint_ids:
        chance, severity = rng.random(), drawn_from(rng, s["severity"])
        share = s["degenerate_when_hot" if joint in hot else "degenerate_share"]
        if joint in ids and chance < share:
            worn[joint] = round(severity, 2)
    return SpineConfig(
        seed=seed,
        spacing_mm=s["spacing_mm"],
        first=covered["first"],
        last=covered["last"],
        lateral_mm=s["lateral_mm"],
        ap_mm=s["ap_mm"],
        scoliosis_cobb_deg=float(cobb * turn) if curved < s["scoliosis_share"] else 0.0,
        scoliosis_apex="L2" if spine_region(covered["first"]) != "cervical" else "T9",
        bone_density=density,
        size=size,
        degenerate=worn,
        **angles,
    )


def _around(seed: int, field: str) -> Surroundings:
    s, rng = json_table(TABLE)["surroundings"], np.random.default_rng([seed, _AROUND])
    growth, arms, site, moves = drawn_from(rng, s["bladder_growth"]), *rng.random(3)
    activity = drawn_from(rng, s["injection_activity"])
    direction = rng.standard_normal(3)
    shift = direction / np.linalg.norm(direction) * drawn_from(rng, s["moved_mm"])
    begin = drawn_from(rng, s["moved_begin"])
    x, y, z = (round(float(v), 2) for v in shift)
    moved = MovedPart((x, y, z), begin=round(begin, 3)) if moves < s["moved_share"] else None
    return Surroundings(
        round(growth, 3),
        bool(arms < s["arms_share"][field]),
        round(activity, 4) if site < s["injection_share"] else 0.0,
        moved,
    )


def _pose(seed: int, covered: Mapping[str, Any]) -> SpectConfig:
    table, rng = json_table(TABLE), np.random.default_rng([seed, _POSE])
    moved = [round(drawn_from(rng, table["pose"]["translation_mm"]), 2) for _ in range(3)]
    turned = [round(drawn_from(rng, table["pose"]["rotation_deg"]), 2) for _ in range(3)]
    return SpectConfig(
        translation_mm=(moved[0], moved[1], moved[2]),
        rotation_deg=(turned[0], turned[1], turned[2]),
        counts=float(np.rint(drawn_from(rng, covered["counts"]))),
        spacing_mm=round(drawn_from(rng, table["voxel_mm"]), 2),
        seed=seed,
    )


def second_pose(drawn: Patient, number: int = 1) -> SpectConfig:
    """Pose of another scan of the same patient: other movement, same scanner and counts."""
    other = _pose(drawn.seed + 7919 * number, json_table(TABLE)["fields"][drawn.field])
    return replace(
        drawn.spect, translation_mm=other.translation_mm, rotation_deg=other.rotation_deg
    )
