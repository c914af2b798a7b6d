"""Facet joints of the phantom: where they lie and how they are shaped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from CTSpectSpineLib.anatomy import level_name
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.model import FloatArray, Side
from CTSpectSpineLib.phantom.anatomy.facet_variety import FacetDraw, draw_facets
from CTSpectSpineLib.phantom.anatomy.shapes import Field, Pose, unit
from CTSpectSpineLib.phantom.config import SpineConfig

_TABLE = Path(__file__).parent / "morphometry.json"
_CLEAR_MM = 3.0
"""Least distance of a joint's middle from the canal, mm. Judgement: half an articular process, so
that the canal does not cut it away."""
_LEAST_BEHIND_MM = 4.0
"""Least distance of a joint's middle behind the posterior wall, mm. Judgement: just shallower than
the shallowest of three patients' label maps (7 mm at L5-S1)."""


@dataclass(frozen=True)
class FacetSize:
    """One row of the facet table (mm, degrees); see ``morphometry.json``."""

    level: str
    half_distance: float
    behind_wall: float
    above_disc: float
    sagittal_angle_deg: float
    elevation_deg: float
    width: float
    height: float
    radius: float
    gap: float
    thickness: float


@dataclass(frozen=True)
class Facet:
    """One facet joint in LPS mm.

    Attributes
    ----------
    side, upper, lower
        Which joint this is.
    centre
        Middle of the articular interface.
    axes
        Rows: along the facet's height (up), along its width, and the normal from the lower
        vertebra's articular process to the upper's.
    size
        Sizes, with jitter.
    severity
        Degeneration, 0 to 1.
    fused
        Whether bone bridges a part of the joint space.
    spur_mm
        Size of the osteophytes at its edges; 0 without any.
    """

    side: Side
    upper: str
    lower: str
    centre: FloatArray
    axes: FloatArray
    size: FacetSize
    severity: float = 0.0
    fused: bool = False
    spur_mm: float = 0.0

    @property
    def level(self) -> str:
        """Name of the motion segment."""
        return level_name(self.upper, self.lower)

    def coordinates(self, x: Field, y: Field, z: Field) -> tuple[Field, Field, Field]:
        """Height, width and distance from the curved interface at LPS points (mm)."""
        u, v, n = along_axes(self.axes, self.centre, x, y, z)
        return u, v, n - sag(v, self.size)


def along_axes(
    axes: FloatArray, centre: FloatArray, x: Field, y: Field, z: Field
) -> tuple[Field, Field, Field]:
    """Coordinates of points along three axes through a centre."""
    first, second, third = (
        (x - np.float32(centre[0])) * np.float32(axis[0])
        + (y - np.float32(centre[1])) * np.float32(axis[1])
        + (z - np.float32(centre[2])) * np.float32(axis[2])
        for axis in axes
    )
    return first, second, third


def sag(v: Field, size: FacetSize) -> Field:
    """How far the articular interface bends towards the upper process at width `v` (mm)."""
    limit = np.float32(0.75 * size.width)
    bent = np.clip(v, -limit, limit)
    return np.asarray(bent * bent * np.float32(0.5 / size.radius))


@cache
def facet_table() -> dict[str, FacetSize]:
    """Sizes of the facet joints below each level."""
    rows = json_table(_TABLE)["facets"]
    return {row["level"]: FacetSize(**row) for row in rows}


@dataclass(frozen=True)
class FacetPlace:
    """What the facet joints of a motion segment depend on.

    Attributes
    ----------
    upper, lower
        Names of the vertebrae.
    row
        Row of the tables that the level is built from.
    wall
        Posterior wall behind the middle of the disc, mm.
    canal
        Width and depth of the canal, mm.
    """

    upper: str
    lower: str
    row: str
    wall: float
    canal: tuple[float, float]


def make_facets(
    place: FacetPlace, pose: Pose, config: SpineConfig, rng: np.random.Generator
) -> list[Facet]:
    """Both facet joints of a motion segment, with differences between the sides.

    `rng` gives the same numbers whether facets are regular or varied; what varies is drawn from a
    generator of the segment's own.
    """
    table = facet_table()[place.row]
    level = level_name(place.upper, place.lower)
    draws = draw_facets(place.row, config.seed) if config.facets == "varied" else None
    facets = []
    for side, sign in (("left", 1.0), ("right", -1.0)):
        noise = config.shape_jitter * rng.standard_normal(6).clip(-2, 2)
        draw = FacetDraw() if draws is None else draws[0 if sign > 0 else 1]
        given = config.degenerate.get(f"{level} facet {side}")
        severity = float(draw.severity if given is None else given)
        row = _drawn_row(table, draw, place)
        facets.append(
            _facet("left" if side == "left" else "right", place, row, pose, noise, severity, draw)
        )
    return facets


def _drawn_row(row: FacetSize, draw: FacetDraw, place: FacetPlace) -> FacetSize:
    """The table's row with what was drawn, kept clear of the canal."""
    behind = max(row.behind_wall + draw.behind_wall_mm, _LEAST_BEHIND_MM)
    half = row.half_distance + draw.lateral_mm
    if draw.drawn:
        half = max(half, _clear_of_canal(behind, place.canal))
    return replace(
        row,
        half_distance=half,
        behind_wall=behind if draw.drawn else row.behind_wall,
        above_disc=row.above_disc + draw.above_disc_mm,
        sagittal_angle_deg=row.sagittal_angle_deg + draw.angle_deg,
        gap=draw.gap_mm if draw.gap_mm is not None else row.gap,
    )


def _clear_of_canal(behind_mm: float, canal: tuple[float, float]) -> float:
    """Least distance from the midline of a joint at that depth, mm."""
    half_width, half_depth = 0.5 * canal[0], 0.5 * canal[1]
    depth = (behind_mm - half_depth) / (half_depth + _CLEAR_MM)
    return float((half_width + _CLEAR_MM) * np.sqrt(max(1 - depth * depth, 0.0)))


def _facet(
    side: Side,
    place: FacetPlace,
    row: FacetSize,
    pose: Pose,
    noise: FloatArray,
    severity: float,
    draw: FacetDraw,
) -> Facet:
    """One joint of a row's size and place, with the usual jitter."""
    sign = 1.0 if side == "left" else -1.0
    grow = 1 + 0.02 * noise[4]
    size = replace(
        row,
        width=row.width * grow * (1 + 0.25 * severity),
        height=row.height * grow * (1 + 0.2 * severity),
        thickness=row.thickness * (1 + 0.35 * severity),
        radius=row.radius,
        gap=row.gap * (1 - 0.45 * severity),
    )
    local = np.array(
        [
            sign * (row.half_distance + 0.3 * noise[0]),
            place.wall + row.behind_wall + 0.3 * noise[1],
            row.above_disc + 0.3 * noise[2],
        ]
    )
    angle = np.deg2rad(row.sagittal_angle_deg + 2.0 * noise[3])
    elevation = np.deg2rad(row.elevation_deg + 1.5 * noise[5])
    normal = np.array(
        [
            -sign * np.cos(angle) * np.cos(elevation),
            np.sin(angle) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    along = np.array([0.0, 0.0, 1.0]) if elevation < 1.0 else np.array([0.0, -1.0, 0.0])
    up = unit(along - normal * float(along @ normal))
    axes = np.stack([up, np.cross(normal, up), normal]) @ pose.rotation.T
    return Facet(
        side,
        place.upper,
        place.lower,
        pose.to_world(local),
        axes,
        size,
        severity,
        draw.fused,
        draw.spur_mm,
    )
