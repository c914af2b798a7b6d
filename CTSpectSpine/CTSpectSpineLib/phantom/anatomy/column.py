"""The centre line: where each vertebra lies, and where its joints are.

Frames are as in `shapes.Pose`: x to the patient's left, y posterior, z superior, origin in the
middle of the vertebral body (of the S1 body for the sacrum; of the ring for the atlas).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import numpy as np

from CTSpectSpineLib.anatomy import SACRUM, neighbouring_pairs
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.anatomy.facet_joints import Facet, FacetPlace, make_facets
from CTSpectSpineLib.phantom.anatomy.facet_variety import spondylolytic
from CTSpectSpineLib.phantom.anatomy.shapes import Pose, unit
from CTSpectSpineLib.phantom.config import SpineConfig

_TABLE = Path(__file__).parent / "morphometry.json"
ATLAS_ABOVE_AXIS = 17.0
"""Height of the ring of the atlas above the middle of the body of the axis, mm. Judgement: a
plausible adult."""
ATLAS_JOINT_HEIGHT = 8.5
"""Height of the C1-C2 joints above the middle of the body of the axis, mm. Judgement: a plausible
adult."""


@dataclass(frozen=True)
class LevelSize:
    """One row of the level table (mm, degrees); see ``morphometry.json``."""

    level: str
    width: float
    depth: float
    height: float
    disc: float
    canal_width: float
    canal_depth: float
    pedicle_width: float
    pedicle_height: float
    transverse_span: float
    spinous_length: float
    spinous_drop_deg: float
    body_wedge_deg: float
    disc_wedge_deg: float


@dataclass(frozen=True)
class Vertebra:
    """One vertebra of the column: its sizes (with jitter) and its pose."""

    name: str
    size: LevelSize
    pose: Pose


@dataclass(frozen=True)
class Column:
    """The whole spine: vertebrae cranial to caudal (the sacrum last) and its facet joints."""

    vertebrae: tuple[Vertebra, ...]
    facets: tuple[Facet, ...]
    pair_poses: Mapping[tuple[str, str], Pose]
    config: SpineConfig

    @property
    def cleft(self) -> tuple[str, ...]:
        """Vertebrae with spondylolysis: the last lumbar one, or none."""
        varied = self.config.facets == "varied" and spondylolytic(self.config.seed)
        return (self.config.levels[-2],) if varied else ()

    def __getitem__(self, name: str) -> Vertebra:
        for vertebra in self.vertebrae:
            if vertebra.name == name:
                return vertebra
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(vertebra.name == name for vertebra in self.vertebrae)

    def facets_of(self, upper: str | None = None, lower: str | None = None) -> tuple[Facet, ...]:
        """Facet joints with this upper or lower vertebra."""
        return tuple(
            f
            for f in self.facets
            if (upper is None or f.upper == upper) and (lower is None or f.lower == lower)
        )


@cache
def level_table() -> dict[str, LevelSize]:
    """Sizes per level; ``C1`` and the sacrum borrow what applies to them."""
    rows = json_table(_TABLE)["levels"]
    return {row["level"]: LevelSize(**row) for row in rows}


def row_of(name: str, config: SpineConfig) -> str:
    """Row of the tables that a level is built from, allowing for transitional anatomy."""
    if config.sixth_lumbar and name in ("L5", "L6"):
        return {"L5": "L4", "L6": "L5"}[name]
    if config.thirteenth_thoracic and name in ("T12", "T13"):
        return {"T12": "T11", "T13": "T12"}[name]
    if config.eleven_ribs and name == "T11":
        return "T12"
    return name


def build_column(config: SpineConfig) -> Column:
    """Place all vertebrae of a spine and its facet joints.

    The S1 endplate lies at the origin; the column is built upwards from it. Everything has
    the size of an average adult; ``config.size`` is applied to the grid that it is drawn on.
    """
    rng = np.random.default_rng([config.seed, 1])
    curves = _curves(config, rng)
    sizes = {name: _level_size(name, config, curves, rng) for name in config.levels}
    poses = _poses(config, sizes, curves["slope"])
    vertebrae = tuple(Vertebra(n, sizes[n], poses[n]) for n in config.levels)
    facets: list[Facet] = []
    pair_poses: dict[tuple[str, str], Pose] = {}
    by_name = {v.name: v for v in vertebrae}
    for upper, lower in neighbouring_pairs(config.levels):
        pose = _pair_pose(by_name[upper], by_name[lower])
        pair_poses[upper, lower] = pose
        place = _place_of_facets(by_name[upper], by_name[lower], config)
        facets += make_facets(place, pose, config, rng)
    return Column(vertebrae, tuple(facets), pair_poses, config)


def _curves(config: SpineConfig, rng: np.random.Generator) -> dict[str, float]:
    """Angles of the sagittal curves in degrees, drawn where they are not given."""
    drawn = rng.standard_normal(4)
    cervical = config.cervical_lordosis_deg
    thoracic = config.thoracic_kyphosis_deg
    lumbar = config.lumbar_lordosis_deg
    slope = config.sacral_slope_deg
    cervical = 18.0 + 3.0 * drawn[0] if cervical is None else cervical
    thoracic = 40.0 + 4.0 * drawn[1] if thoracic is None else thoracic
    lumbar = 54.0 + 4.0 * drawn[2] if lumbar is None else lumbar
    slope = 0.69 * lumbar + 1.5 * drawn[3] if slope is None else slope
    table = level_table()
    bodies = {n: table[n].body_wedge_deg for n in table}
    discs = {n: table[n].disc_wedge_deg for n in table}
    neck = sum(discs[f"C{i}"] for i in range(2, 7)) + sum(bodies[f"C{i}"] for i in range(3, 8))
    chest = [row_of(n, config) for n in config.levels if n[0] == "T"]
    chest_sum = sum(bodies[n] for n in chest) + sum(discs[n] for n in chest[:-1])
    loin = [row_of(n, config) for n in config.levels if n[0] == "L"]
    loin_sum = sum(bodies[n] + discs[n] for n in loin)
    return {
        "C": cervical / neck,
        "T": -thoracic / chest_sum,
        "L": lumbar / loin_sum,
        "slope": slope,
    }


def _level_size(
    name: str, config: SpineConfig, curves: Mapping[str, float], rng: np.random.Generator
) -> LevelSize:
    """Sizes of one level: table row, curve scale and jitter."""
    jitter = 1 + 0.018 * config.shape_jitter * rng.standard_normal(10).clip(-2, 2)
    if name == SACRUM:
        base = replace(level_table()["L5"], level=SACRUM, width=52, depth=34, height=28)
        base = replace(base, body_wedge_deg=0, disc_wedge_deg=0, disc=0)
    elif name == "C1":
        base = replace(level_table()["C2"], level="C1", disc=0, body_wedge_deg=0, disc_wedge_deg=0)
        base = replace(base, canal_width=29.0, transverse_span=76)
    else:
        base = replace(level_table()[row_of(name, config)], level=name)
        scale = curves[name[0]]
        base = replace(
            base,
            body_wedge_deg=base.body_wedge_deg * scale,
            disc_wedge_deg=base.disc_wedge_deg * scale,
        )
    lengths = [f.name for f in fields(LevelSize) if f.type == "float" and "deg" not in f.name]
    values = {n: getattr(base, n) * float(j) for n, j in zip(lengths, jitter, strict=True)}
    severity = disc_severity(name, config)
    values["disc"] *= 1 - 0.6 * severity
    if config.sacralised_l5 and name == config.levels[-2]:
        values["disc"] *= 0.5
    return replace(base, **values)


def disc_severity(upper: str, config: SpineConfig) -> float:
    """Degeneration of the disc below a level."""
    for joint, severity in config.degenerate.items():
        if joint.startswith(f"{upper}-") and joint.endswith("disc"):
            return float(severity)
    return 0.0


def _poses(config: SpineConfig, sizes: Mapping[str, LevelSize], slope: float) -> dict[str, Pose]:
    """Place the vertebrae upwards from the sacrum."""
    names = config.levels
    coronal, axial = _scoliosis(config, [sizes[n] for n in names])
    sacrum = sizes[SACRUM]
    rotation = _rotation(slope, 0.0, 0.0)
    poses = {SACRUM: Pose(rotation, rotation @ np.array([0, 0, -0.5 * sacrum.height]))}
    tilt = slope
    for index in range(len(names) - 2, -1, -1):
        name, below = names[index], names[index + 1]
        size, lower = sizes[name], sizes[below]
        base = poses[below]
        if name == "C1":
            rotation = base.rotation @ _rotation(-8.0, 0.0, 0.0)
            offset = np.array([0.0, -1.5, ATLAS_ABOVE_AXIS])
            poses[name] = Pose(rotation, base.to_world(offset))
            continue
        tilt -= 0.5 * lower.body_wedge_deg + size.disc_wedge_deg + 0.5 * size.body_wedge_deg
        rotation = _rotation(tilt, coronal[index], axial[index])
        top = base.to_world(np.array([0, 0, 0.5 * lower.height]))
        between = unit(base.rotation[:, 2] + rotation[:, 2])
        origin = top + size.disc * between + 0.5 * size.height * rotation[:, 2]
        poses[name] = Pose(rotation, origin)
    return poses


def _scoliosis(config: SpineConfig, sizes: Sequence[LevelSize]) -> tuple[FloatArray, FloatArray]:
    """Coronal tilt and axial rotation of each level in degrees.

    The tilt runs as a sine from one end vertebra through the apex to the other and fades
    beyond them, which brings the column back to the midline; vertebrae turn towards the
    convexity by about a third of the Cobb angle at the apex.
    """
    steps = [0.5 * (a.height + b.height) + a.disc for a, b in itertools.pairwise(sizes)]
    position = np.concatenate([[0.0], np.cumsum(steps)])
    apex = position[config.levels.index(config.scoliosis_apex)]
    half = float(np.clip((position[-1] - apex) / 2.2, 40, 110))
    t = (position - apex) / half
    inner = np.sin(0.5 * np.pi * np.clip(t, -1, 1))
    fade = np.clip(1 - (np.abs(t) - 1) / 1.2, 0, 1)
    fade = fade * fade * (3 - 2 * fade)
    tilt = 0.5 * config.scoliosis_cobb_deg * inner * np.where(np.abs(t) > 1, fade, 1)
    bell = np.clip(1 - (t / 1.6) ** 2, 0, 1) ** 2
    return tilt, 0.35 * config.scoliosis_cobb_deg * bell


def _rotation(forward_deg: float, coronal_deg: float, axial_deg: float) -> FloatArray:
    """Rotation of a vertebra: forward tilt, tilt of its top to the left, turn about its axis."""
    f, c, a = np.deg2rad([-forward_deg, coronal_deg, axial_deg])
    rx = np.array([[1, 0, 0], [0, np.cos(f), np.sin(f)], [0, -np.sin(f), np.cos(f)]])
    ry = np.array([[np.cos(c), 0, np.sin(c)], [0, 1, 0], [-np.sin(c), 0, np.cos(c)]])
    rz = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return np.asarray(ry @ rx @ rz)


def _pair_pose(upper: Vertebra, lower: Vertebra) -> Pose:
    """Frame in the middle of the disc, between the frames of both vertebrae."""
    z = unit(upper.pose.rotation[:, 2] + lower.pose.rotation[:, 2])
    y = upper.pose.rotation[:, 1] + lower.pose.rotation[:, 1]
    y = unit(y - z * float(y @ z))
    rotation = np.column_stack([np.cross(y, z), y, z])
    if upper.name == "C1":
        scale = lower.size.height / level_table()["C2"].height
        height = ATLAS_JOINT_HEIGHT * scale
        return Pose(rotation, lower.pose.to_world(np.array([0, 0, height])))
    bottom = upper.pose.to_world(np.array([0, 0, -0.5 * upper.size.height]))
    top = lower.pose.to_world(np.array([0, 0, 0.5 * lower.size.height]))
    return Pose(rotation, 0.5 * (bottom + top))


def _place_of_facets(upper: Vertebra, lower: Vertebra, config: SpineConfig) -> FacetPlace:
    """What the facet joints of a motion segment depend on."""
    return FacetPlace(
        upper.name,
        lower.name,
        row_of(upper.name, config),
        0.25 * (upper.size.depth + lower.size.depth),
        (upper.size.canal_width, upper.size.canal_depth),
    )
