"""Where the column lies, for what is painted around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.anatomy.column import Column

_TABLE = Path(__file__).parent / "torso.json"


@dataclass(frozen=True)
class Landmarks:
    """Heights and profiles along the column."""

    column: Column

    def level(self, name: str) -> str:
        """The level itself, or the nearest one of this spine."""
        return name if name in self.column else "T11"

    def origin(self, name: str) -> FloatArray:
        """Middle of a vertebral body, LPS mm."""
        return self.column[self.level(name)].pose.origin

    def centre_line(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Give x and y of the column at heights z."""
        points = np.array([v.pose.origin for v in self.column.vertebrae])[::-1]
        return np.interp(z, points[:, 2], points[:, 0]), np.interp(z, points[:, 2], points[:, 1])

    def profile(self, name: str, key: str, z: FloatArray) -> FloatArray:
        """One column of ``torso.json`` along z, in mm."""
        rows = json_table(_TABLE)[name]
        heights = [self.origin(str(r["level"]))[2] + float(r["above_mm"]) for r in rows]
        values = [float(r[key]) for r in rows]
        order = np.argsort(heights)
        return np.asarray(np.interp(z, np.array(heights)[order], np.array(values)[order]))
