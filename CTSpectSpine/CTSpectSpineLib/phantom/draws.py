"""Uptake of patients as they are, drawn from a kind and a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib.anatomy import SACRUM
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.phantom.pattern import Focus, UptakePattern

TABLE = Path(__file__).parent / "patients.json"
_HOT, _PATTERN, _RATIO = 2, 3, 6
"""Streams of a patient's seed. Convention: distinct numbers, and other ones in `patients`."""
_RIM_SHARE = 0.9
"""Place of an osteophyte, as a share of the way from a disc's middle to its rim. Judgement."""
_LEAST_FACTOR, _MOST_FACTOR = 0.4, 1.8
"""Limits of the factors of a vertebra. Judgement: wider than three spreads."""


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
    hot = draw_hot(json_table(TABLE)["kinds"][kind], seed, joint_ids, attempt)
    pattern, osteophytes = _ordinary(seed, joint_ids, levels)
    return DrawnUptake(pattern, osteophytes, hot)


def levels_of(joint: str) -> tuple[str, str]:
    """The two vertebrae of a joint; the lower one of ``L5-S1`` is the sacrum."""
    upper, lower = joint.split()[0].split("-")
    return upper, lower if lower != "S1" else SACRUM


def draw_hot(
    row: Mapping[str, Any], seed: int, ids: Sequence[str], attempt: int
) -> dict[str, float]:
    """Mild and hot joints with their ratios."""
    table = json_table(TABLE)
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
            found[str(joint)] = drawn_from(ratios, table["beside_ratio"][part])
        many_hot -= 2
    rest = [str(j) for j in rng.permutation([j for j in ids if j not in found])]
    for joint in rest[:many_hot]:
        found[joint] = drawn_from(ratios, table["hot_ratio"])
    for joint in rest[many_hot : many_hot + many_mild]:
        found[joint] = drawn_from(ratios, table["mild_ratio"])
    return {joint: round(found[joint], 3) for joint in ids if joint in found}


def _are_near(a: str, b: str) -> bool:
    """Whether two joints share a vertebra."""
    return bool(set(levels_of(a)) & set(levels_of(b)))


def _ordinary(
    seed: int, ids: Sequence[str], levels: Sequence[str]
) -> tuple[UptakePattern, tuple[Osteophyte, ...]]:
    """How uptake varies between and within bones.

    Draws are made for every joint and level there can be, so that a cropped field changes nobody.
    """
    table = json_table(TABLE)
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
    organs = {name: round(drawn_from(rng, limits), 3) for name, limits in table["organs"].items()}
    texture = drawn_from(rng, o["texture"])
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
        place = order[levels_of(joint)[0]] - order["L3"]
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


def foci_of(anatomy: Anatomy, osteophytes: Sequence[Osteophyte]) -> tuple[Focus, ...]:
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


def _slope(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 5) for v in values)
    return x, y, z


def _folded(value: float, low: float, high: float) -> float:
    """The value, mirrored at a limit that it passes: no heap of joints lies at a limit."""
    mirrored = 2 * low - value if value < low else 2 * high - value if value > high else value
    return min(max(mirrored, low), high)


def _near_one(value: float) -> float:
    return round(float(np.clip(value, _LEAST_FACTOR, _MOST_FACTOR)), 4)


def _within(limits: Sequence[float], share: float) -> float:
    return float(limits[0] + share * (limits[1] - limits[0]))


def drawn_from(rng: np.random.Generator, limits: Sequence[float]) -> float:
    """A value between two limits."""
    return float(rng.uniform(limits[0], limits[1]))
