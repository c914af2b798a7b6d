"""Phantoms with spheres: how they are built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.model import FloatArray

USUAL_LAYOUT = "nema-iec"
"""Phantom where none is named. Convention: what most departments have."""
_TABLE = Path(__file__).parent / "layouts.json"


@dataclass(frozen=True)
class Layout:
    """A phantom with spheres on a circle, evenly spaced.

    Attributes
    ----------
    name, title
        On the command line, and in words.
    diameters_mm
        Inner diameters in their order around the circle.
    circle_mm
        Diameter of the circle through their centres, about.
    wall_mm
        Thickness of their walls, in which there is no activity.
    """

    name: str
    title: str
    diameters_mm: tuple[float, ...]
    circle_mm: float
    wall_mm: float

    def centres_mm(self, circle_mm: float | None = None) -> FloatArray:
        """Centres about the circle's, in the plane z = 0, shape (spheres, 3)."""
        radius = 0.5 * (self.circle_mm if circle_mm is None else circle_mm)
        angles = 2.0 * np.pi * np.arange(len(self.diameters_mm)) / len(self.diameters_mm)
        return np.stack(
            [radius * np.cos(angles), radius * np.sin(angles), np.zeros(len(angles))], axis=1
        )


def layouts() -> tuple[str, ...]:
    """Names of the phantoms that are known."""
    return tuple(json_table(_TABLE)["layouts"])


def layout(name: str) -> Layout:
    """A phantom of ``layouts.json``.

    Raises
    ------
    InputError
        If there is no such phantom.
    """
    table = json_table(_TABLE)["layouts"]
    if name not in table:
        raise InputError(f"There is no sphere phantom '{name}'; use {', '.join(table)}.")
    row = table[name]
    return Layout(name, row["title"], tuple(row["diameters_mm"]), row["circle_mm"], row["wall_mm"])
