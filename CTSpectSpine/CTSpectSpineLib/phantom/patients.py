"""Patients as they are: typed values drawn from a kind and a seed, and the phantoms they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib.anatomy import SACRUM, spine_region
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.cases import SpectConfig
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.phantom.pattern import Focus, UptakePattern
from CTSpectSpineLib.phantom.scanning import Specimen, specimen_of
from CTSpectSpineLib.phantom.surroundings import MovedPart, Surroundings

_TABLE = Path(__file__).parent / "patients.json"
_SPINE, _HOT, _PATTERN, _AROUND, _POSE, _RATIO = range(1, 7)
"""Streams of a patient's seed. Convention: distinct numbers."""
_ATTEMPTS = 20
"""Numerical: cap on the draws of ratios that overlapping joints allow."""
_RIM_SHARE = 0.9
"""Place of an osteophyte, as a share of the way from a disc's middle to its rim. Judgement."""


@dataclass(frozen=True)
class Osteophyte:
    """One-sided uptake at the rim of a disc.

    Attributes
    ----------
    joint
        Id of the disc.
    angle_deg
        Place on the rim: 0 at the patient's left, 90 in front, 180 at the right.
    sigma_mm, activity
        As in `pattern.Focus`.
    """

    joint: str
    angle_deg: float
    sigma_mm: float
    activity: float


@dataclass(frozen=True)
class DrawnUptake:
    """Uptake of a patient.

    Attributes
    ----------
    pattern
        How uptake varies, without foci.
    osteophytes
        Foci, placed when the anatomy is known.
    hot
        Mild and hot joints: joint id to true ratio.
    """

    pattern: UptakePattern
    osteophytes: tuple[Osteophyte, ...]
    hot: Mapping[str, float]


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
    return tuple(json_table(_TABLE)["kinds"])


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
    table = json_table(_TABLE)
    for what, name, known in (("kind of patient", kind, "kinds"), ("field", field, "fields")):
        if name not in table[known]:
            raise InputError(f"There is no {what} '{name}'; there are {', '.join(table[known])}.")
    covered = table["fields"][field]
    levels = SpineConfig().levels
    shown = levels[levels.index(covered["first"]) : levels.index(covered["last"]) + 1]
    ids = [j for j in SpineConfig().joint_ids if all(level in shown for level in _levels(j))]
    uptake = draw_uptake(kind, seed, ids, shown)
    spine = _spine(seed, covered, ids, uptake.hot)
    return Patient(kind, field, seed, spine, uptake, _around(seed, field), _pose(seed, covered))


def draw_uptake(
    kind: str, seed: int, joint_ids: Sequence[str], levels: Sequence[str], attempt: int = 0
) -> DrawnUptake:
    """Draw the uptake of a patient, procedural or on a real CT.

    Parameters
    ----------
    kind, seed
        As in `patient`.
    joint_ids, levels
        Joints and vertebrae of the spine, cranial to caudal.
    attempt
        Number of the attempt at ratios that overlapping joints can reach together.
    """
    hot = _hot(json_table(_TABLE)["kinds"][kind], seed, joint_ids, attempt)
    pattern, osteophytes = _ordinary(seed, joint_ids, levels)
    return DrawnUptake(pattern, osteophytes, hot)


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
        pattern = replace(uptake.pattern, foci=_foci(anatomy, uptake.osteophytes))
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
            row = json_table(_TABLE)["kinds"][drawn.kind]
            ids = [name for name in drawn.spine.joint_ids if name in known]
            uptake = replace(uptake, hot=_hot(row, drawn.seed, ids, attempt))
    raise AssertionError("the loop returns or raises")


def _levels(joint: str) -> tuple[str, str]:
    upper, lower = joint.split()[0].split("-")
    return upper, lower if lower != "S1" else SACRUM


def _hot(row: Mapping[str, Any], seed: int, ids: Sequence[str], attempt: int) -> dict[str, float]:
    """Mild and hot joints with their ratios."""
    table = json_table(_TABLE)
    rng, ratios = (
        np.random.default_rng([seed, _HOT]),
        np.random.default_rng([seed, _RATIO, attempt]),
    )
    many_hot = int(rng.integers(row["hot"][0], row["hot"][1] + 1))
    many_mild = int(rng.integers(row["mild"][0], row["mild"][1] + 1))
    found: dict[str, float] = {}
    if many_hot > 1 and rng.random() < row["beside"]:
        first = int(rng.integers(len(ids)))
        near = [j for j in ids if j != ids[first] and _are_near(j, ids[first])]
        second = str(rng.choice(near))
        for joint, part in zip(
            rng.permutation([ids[first], second]), ("lower", "higher"), strict=True
        ):
            found[str(joint)] = _from(ratios, table["beside_ratio"][part])
        many_hot -= 2
    rest = [str(j) for j in rng.permutation([j for j in ids if j not in found])]
    for joint in rest[:many_hot]:
        found[joint] = _from(ratios, table["hot_ratio"])
    for joint in rest[many_hot : many_hot + many_mild]:
        found[joint] = _from(ratios, table["mild_ratio"])
    return {joint: round(found[joint], 3) for joint in ids if joint in found}


def _are_near(a: str, b: str) -> bool:
    """Whether two joints share a vertebra."""
    return bool(set(_levels(a)) & set(_levels(b)))


def _ordinary(
    seed: int, ids: Sequence[str], levels: Sequence[str]
) -> tuple[UptakePattern, tuple[Osteophyte, ...]]:
    """How uptake varies between and within bones.

    Draws are made for every joint and level there can be, so that a cropped field changes nobody.
    """
    table = json_table(_TABLE)
    o = table["ordinary"]
    every = SpineConfig(sixth_lumbar=True, thirteenth_thoracic=True)
    order = {name: place for place, name in enumerate(every.levels)}
    rng = np.random.default_rng([seed, _PATTERN])
    rise = rng.normal(o["body_rise"], o["body_rise_spread"])
    posterior = rng.normal(o["posterior"], o["posterior_patient"])
    means = {kind: rng.normal(o[kind], o["kind_patient"]) for kind in ("disc", "facet")}
    spreads = {k: o["spread"] * np.exp(rng.normal(0, o["spread_log_sd"])) for k in means}
    slopes = {kind: rng.normal(0, o["rise_spread"]) for kind in means}
    side = rng.normal(0, o["side_spread"])
    organs = {name: round(_from(rng, limits), 3) for name, limits in table["organs"].items()}
    texture = _from(rng, o["texture"])
    bodies, behind, vertebra_slopes = {}, {}, {}
    for name, place in order.items():
        normal = rng.standard_normal(5)
        if name in levels:
            middle = rise * (place - order["L3"])
            bodies[name] = _near_one(1 + middle + o["body_spread"] * normal[0])
            behind[name] = _near_one(posterior + o["posterior_spread"] * normal[1])
            vertebra_slopes[name] = _slope(o["vertebra_slope_per_mm"] * normal[2:])
    joints, joint_slopes, osteophytes = {}, {}, []
    low, high = o["limits"]
    for joint in every.joint_ids:
        normal, chances = rng.standard_normal(4), rng.random(4)
        if joint not in ids:
            continue
        kind = "disc" if joint.endswith("disc") else "facet"
        sign = {"left": 0.5, "right": -0.5}.get(joint.split()[-1], 0.0)
        place = order[_levels(joint)[0]] - order["L3"]
        ratio = means[kind] + slopes[kind] * place + sign * side + spreads[kind] * normal[0]
        joints[joint] = round(_folded(float(ratio), low, high), 4)
        joint_slopes[joint] = _slope(o["joint_slope_per_mm"] * normal[1:])
        if kind == "disc" and chances[0] < o["focus_share"]:
            osteophytes.append(
                Osteophyte(
                    joint,
                    round(180 * chances[1], 1),
                    round(_within(o["focus_sigma_mm"], chances[2]), 2),
                    round(_within(o["focus_activity"], chances[3]), 3),
                )
            )
    pattern = UptakePattern(
        bodies, behind, joints, vertebra_slopes, round(texture, 4), joint_slopes, (), organs, seed
    )
    return pattern, tuple(osteophytes)


def _foci(anatomy: Anatomy, osteophytes: Sequence[Osteophyte]) -> tuple[Focus, ...]:
    """Osteophytes at the rims of their discs."""
    by_id = {joint.id: joint for joint in anatomy.joints}
    found = []
    for one in osteophytes:
        bone = by_id[one.joint].bone if one.joint in by_id else None
        if bone is None:
            continue
        points = bone.points_mm()
        middle = points.mean(axis=0)
        angle = np.deg2rad(one.angle_deg)
        towards = np.array([np.cos(angle), -np.sin(angle), 0.0])
        along = (points - middle) @ towards
        outer = points[along >= _RIM_SHARE * along.max()]
        # One of the two endplates: the one that has more bone there.
        above = outer[:, 2] > outer[:, 2].mean()
        part = outer[above] if above.sum() * 2 >= len(outer) else outer[~above]
        x, y, z = (round(float(v), 2) for v in part.mean(axis=0))
        found.append(Focus((x, y, z), one.sigma_mm, one.activity))
    return tuple(found)


def _spine(
    seed: int, covered: Mapping[str, Any], ids: Sequence[str], hot: Mapping[str, float]
) -> SpineConfig:
    s, rng = json_table(_TABLE)["spine"], np.random.default_rng([seed, _SPINE])
    curved, cobb, turn = rng.random(), _from(rng, s["cobb_deg"]), rng.choice([-1.0, 1.0])
    angles: dict[str, Any] = {
        name: _from(rng, s[name])
        for name in ("cervical_lordosis_deg", "thoracic_kyphosis_deg", "lumbar_lordosis_deg")
    }
    density, size = _from(rng, s["bone_density"]), _from(rng, s["size"])
    worn = {}
    for joint in SpineConfig().joint_ids:
        chance, severity = rng.random(), _from(rng, s["severity"])
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
    s, rng = json_table(_TABLE)["surroundings"], np.random.default_rng([seed, _AROUND])
    growth, arms, site, moves = _from(rng, s["bladder_growth"]), *rng.random(3)
    activity = _from(rng, s["injection_activity"])
    direction = rng.standard_normal(3)
    shift = direction / np.linalg.norm(direction) * _from(rng, s["moved_mm"])
    begin = _from(rng, s["moved_begin"])
    x, y, z = (round(float(v), 2) for v in shift)
    moved = MovedPart((x, y, z), begin=round(begin, 3)) if moves < s["moved_share"] else None
    return Surroundings(
        round(growth, 3),
        bool(arms < s["arms_share"][field]),
        round(activity, 4) if site < s["injection_share"] else 0.0,
        moved,
    )


def _pose(seed: int, covered: Mapping[str, Any]) -> SpectConfig:
    table, rng = json_table(_TABLE), np.random.default_rng([seed, _POSE])
    moved = [round(_from(rng, table["pose"]["translation_mm"]), 2) for _ in range(3)]
    turned = [round(_from(rng, table["pose"]["rotation_deg"]), 2) for _ in range(3)]
    return SpectConfig(
        translation_mm=(moved[0], moved[1], moved[2]),
        rotation_deg=(turned[0], turned[1], turned[2]),
        counts=float(np.rint(_from(rng, covered["counts"]))),
        spacing_mm=round(_from(rng, table["voxel_mm"]), 2),
        seed=seed,
    )


def second_pose(drawn: Patient, number: int = 1) -> SpectConfig:
    """Pose of another scan of the same patient: other movement, same scanner and counts."""
    other = _pose(drawn.seed + 7919 * number, json_table(_TABLE)["fields"][drawn.field])
    return replace(
        drawn.spect, translation_mm=other.translation_mm, rotation_deg=other.rotation_deg
    )


def _slope(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 5) for v in values)
    return x, y, z


def _folded(value: float, low: float, high: float) -> float:
    """The value, mirrored at a limit that it passes: no heap of joints lies at a limit."""
    mirrored = 2 * low - value if value < low else 2 * high - value if value > high else value
    return min(max(mirrored, low), high)


def _near_one(value: float) -> float:
    return round(float(np.clip(value, 0.4, 1.8)), 4)


def _within(limits: Sequence[float], share: float) -> float:
    return float(limits[0] + share * (limits[1] - limits[0]))


def _from(rng: np.random.Generator, limits: Sequence[float]) -> float:
    return float(rng.uniform(limits[0], limits[1]))
