"""Facet joints as they differ between people and sides, drawn from ``facet_variety.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib.files import json_table

_TABLE = Path(__file__).parent / "facet_variety.json"
_STREAM = 12
"""Convention: number of this file's generators, so that no other draw of a seed changes."""
_HALF_NORMAL = float(np.sqrt(np.pi) / 2)
"""By definition: standard deviation of each of two normal numbers over the mean of their absolute
difference."""


@dataclass(frozen=True)
class FacetDraw:
    """What was drawn for one facet joint; the default draws nothing.

    Attributes
    ----------
    behind_wall_mm, lateral_mm, above_disc_mm
        Shift of the joint from the place in the table.
    angle_deg
        Added to its angle to the sagittal plane.
    gap_mm
        Width of the joint space; None for the table's.
    severity
        Osteoarthritis, 0 to 1.
    spur_mm
        Size of the osteophytes.
    fused
        Whether bone bridges the joint space.
    drawn
        Whether anything was drawn.
    """

    behind_wall_mm: float = 0.0
    lateral_mm: float = 0.0
    above_disc_mm: float = 0.0
    angle_deg: float = 0.0
    gap_mm: float | None = None
    severity: float = 0.0
    spur_mm: float = 0.0
    fused: bool = False
    drawn: bool = False


@cache
def variety() -> Mapping[str, Any]:
    """The table of means and spreads."""
    return json_table(_TABLE)


def spondylolytic(seed: int) -> bool:
    """Whether the patient's last lumbar vertebra has a cleft in the pars of both sides."""
    rng = np.random.default_rng([seed, _STREAM, 1])
    return bool(rng.uniform() < variety()["spondylolysis"])


def draw_facets(row: str, seed: int) -> tuple[FacetDraw, FacetDraw]:
    """Draw the left and the right joint of the level built from a row of the tables."""
    table = variety()
    person = np.random.default_rng([seed, _STREAM])
    common = person.standard_normal(4).clip(-2, 2)
    rng = np.random.default_rng([seed, _STREAM, 2, _number(row)])
    shift = next((np.array(p["shift"]) for p in table["place"] if row in p["levels"]), np.zeros(3))
    shift = shift + common[:3] * np.array(table["place_patient"])
    shift = shift + rng.standard_normal(3).clip(-2, 2) * np.array(table["place_level"])
    angle = table["angle"].get(row, 0.0) + common[3] * table["angle_patient"]
    tropism = table["tropism"].get(row, table["tropism_elsewhere"])
    share = table["osteoarthritis"].get(row, table["osteoarthritis_elsewhere"])
    arthritic = rng.uniform() < share
    spared = int(rng.integers(2)) if rng.uniform() < table["one_sided"] else None
    draws = []
    for side in range(2):
        own = shift + rng.standard_normal(3).clip(-2, 2) * np.array(table["place_side"])
        turned = angle + rng.standard_normal() * tropism * _HALF_NORMAL
        gap = float(np.clip(rng.normal(*table["gap"]), *table["gap_range"]))
        severity = float(rng.uniform(*table["severity"]))
        spur = float(rng.uniform(*table["spur_mm"]))
        bridged = bool(rng.uniform() < table["fused"])
        worn = arthritic and side != spared
        draws.append(
            FacetDraw(
                float(own[0]),
                float(own[1]),
                float(own[2]),
                float(turned),
                gap,
                severity if worn else 0.0,
                spur if worn and severity >= table["spur_from"] else 0.0,
                bridged and worn and severity >= table["fused_from"],
                drawn=True,
            )
        )
    return draws[0], draws[1]


def _number(row: str) -> int:
    """A number of a level's name, for seeds."""
    return 100 * "CTL".index(row[0]) + int(row[1:])
