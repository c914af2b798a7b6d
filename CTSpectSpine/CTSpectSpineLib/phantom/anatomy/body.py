"""Vertebral bodies with their endplates, and the discs between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.phantom.anatomy.column import Vertebra
from CTSpectSpineLib.phantom.anatomy.shapes import Bounds, Field, Grid, intersection


@dataclass(frozen=True)
class BodyShape:
    """A vertebral body in its own frame: waisted, with concave endplates.

    Attributes
    ----------
    width, depth, height
        At the endplates, and in the middle of the body, mm.
    wedge
        Slope of each endplate relative to the frame (tangent; positive is lordotic).
    waist
        Share by which the middle is narrower than the endplates.
    hollow
        Depth of the superior and inferior endplate's concavity, mm.
    uncus
        Height of the uncinate processes on the superior endplate, and of the bevels that
        receive them below, mm.
    square
        0 for an elliptic cross-section to 1 for a squarer one.
    taper
        How much narrower the front is than the back (the thoracic heart shape).
    lip
        Osteophytes at the rims (superior, inferior), mm.
    """

    width: float
    depth: float
    height: float
    wedge: float
    waist: float
    hollow: tuple[float, float]
    uncus: tuple[float, float] = (0.0, 0.0)
    square: float = 0.5
    taper: float = 0.0
    lip: tuple[float, float] = (0.0, 0.0)

    @property
    def bounds(self) -> Bounds:
        """Box that holds the body, local mm."""
        reach = np.array(
            [
                0.5 * self.width * (1 + abs(self.taper)) + max(self.lip),
                0.5 * self.depth + max(self.lip),
                0.5 * self.height + 0.5 * self.depth * abs(self.wedge) + max(self.uncus) + 1,
            ]
        )
        return -reach, reach

    def radius(self, x: Field, y: Field, z: Field) -> tuple[Field, Field]:
        """Share of the way from the axis to the side wall, and distance to that wall (mm)."""
        t = np.clip(z * np.float32(2 / self.height), -1, 1)
        t2 = t * t
        scale = 1 - np.float32(self.waist) * (1 - t2)
        # Osteophytes flare the rims, mostly in front and at the sides.
        flare = np.where(t > 0, np.float32(self.lip[0]), np.float32(self.lip[1])) * t2 * t2 * t2
        front = np.clip(0.5 - y * np.float32(1.2 / self.depth), 0, 1)
        flare = flare * front
        a = np.float32(0.5 * self.width) * scale + flare
        b = np.float32(0.5 * self.depth) * scale + flare
        a = a * (1 + np.float32(self.taper) * np.clip(y / b, -1, 1))
        u, v = (x / a) ** 2, (y / b) ** 2
        f2 = np.sqrt(u + v)
        f4 = np.sqrt(np.sqrt(u * u + v * v))
        s = np.float32(self.square)
        f = f2 * (1 - s) + f4 * s
        r = np.sqrt(x * x + y * y)
        return f, r - r / np.maximum(f, np.float32(1e-3))

    def top(self, x: Field, y: Field, z: Field) -> Field:
        """Height of a point above the superior endplate, mm (negative in the body)."""
        dome = self._dome(x, y, self.hollow[0], np.float32(0.06 * self.depth))
        edge = self._uncus(x, self.uncus[0])
        level = np.float32(0.5 * self.height) - y * np.float32(self.wedge)
        return np.asarray(z - (level - dome + edge))

    def bottom(self, x: Field, y: Field, z: Field) -> Field:
        """Height of a point above the inferior endplate, mm (negative below the body)."""
        dome = self._dome(x, y, self.hollow[1], np.float32(0.12 * self.depth))
        edge = self._uncus(x, self.uncus[1])
        level = np.float32(-0.5 * self.height) + y * np.float32(self.wedge)
        return np.asarray(z - (level + dome + edge))

    def _dome(self, x: Field, y: Field, hollow: float, shift: np.float32) -> Field:
        """Concavity of an endplate: deepest behind the middle, flat at the ring apophysis."""
        u = x * np.float32(2 / self.width)
        v = (y - shift) * np.float32(2 / self.depth)
        bowl = np.clip(1 - np.float32(1.25) * (u * u + v * v), 0, 1)
        return np.asarray(np.float32(hollow) * bowl * (2 - bowl))

    def _uncus(self, x: Field, height: float) -> Field:
        """Rise of the endplate towards the sides."""
        if height == 0:
            return np.zeros_like(x)
        t = np.clip(
            np.abs(x) * np.float32(2 / self.width) * np.float32(2.2) - np.float32(1.2), 0, 1
        )
        return np.asarray(np.float32(height) * t * t)

    def __call__(self, x: Field, y: Field, z: Field) -> Field:
        """Distance (mm, negative inside) at local points."""
        _, side = self.radius(x, y, z)
        plates = np.maximum(self.top(x, y, z), -self.bottom(x, y, z))
        return intersection(side, plates, 2.5)


def body_shape(vertebra: Vertebra, lip: tuple[float, float] = (0.0, 0.0)) -> BodyShape:
    """Shape of a vertebra's body by its region."""
    size = vertebra.size
    region = vertebra.name[0]
    style = _STYLES.get(region, _STYLES["L"])
    height = size.height
    if region == "C":
        uncus = (0.0 if vertebra.name == "C2" else 4.0, 0.0 if vertebra.name == "C7" else 3.0)
    else:
        uncus = (3.0, 0.0) if vertebra.name == "T1" else (0.0, 0.0)
    return BodyShape(
        width=size.width,
        depth=size.depth,
        height=height,
        wedge=float(np.tan(np.deg2rad(0.5 * size.body_wedge_deg))),
        waist=style.waist,
        hollow=(style.hollow[0] * height, style.hollow[1] * height),
        uncus=uncus,
        square=style.square,
        taper=style.taper,
        lip=lip,
    )


@dataclass(frozen=True)
class _Style:
    waist: float
    hollow: tuple[float, float]
    square: float
    taper: float


_STYLES = {
    "C": _Style(0.07, (0.03, 0.10), 0.75, 0.0),
    "T": _Style(0.09, (0.055, 0.075), 0.30, 0.08),
    "L": _Style(0.10, (0.075, 0.10), 0.42, 0.02),
}
"""Waist, hollows (shares of the height), squareness and taper by region. Judgement: proportions as
CT of adults shows them, not measured."""


@dataclass(frozen=True)
class Disc:
    """The disc between two bodies, each in its own frame."""

    upper: Vertebra
    lower: Vertebra
    upper_body: BodyShape
    lower_body: BodyShape

    def surfaces(self, grid: Grid) -> tuple[Field, Field, Field]:
        """Depth into the upper body, depth into the lower body, distance to the side (mm).

        The first is positive above the upper vertebra's inferior endplate surface, the second
        below the lower vertebra's superior endplate surface; the third is negative within the
        mean outline of both endplates.
        """
        up = grid.local(self.upper.pose)
        low = grid.local(self.lower.pose)
        above = self.upper_body.bottom(*up)
        below = -self.lower_body.top(*low)
        half = np.float32(0.5 * self.upper_body.height), np.float32(0.5 * self.lower_body.height)
        _, upper_side = self.upper_body.radius(up[0], up[1], np.full_like(up[2], -half[0]))
        _, lower_side = self.lower_body.radius(low[0], low[1], np.full_like(low[2], half[1]))
        return above, below, 0.5 * (upper_side + lower_side)

    def distance(self, grid: Grid) -> Field:
        """Signed distance to the disc, mm."""
        above, below, side = self.surfaces(grid)
        return intersection(np.maximum(above, below), side - np.float32(0.3), 1.0)
