"""Picture of the errors in every condition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

INK, FAINT = "#333333", "#bbbbbb"
# Colours of Okabe and Ito, which people with any colour vision tell apart.
COLOURS = {"cervical": "#0072B2", "thoracic": "#E69F00", "lumbar": "#009E73"}
_RC: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_errors(scores: pd.DataFrame, path: Path) -> None:
    """Every joint of every condition as a point: disc Dice left, facet error right."""
    names = list(dict.fromkeys(scores.condition))
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(10.0, 0.46 * len(names) + 1.5), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, kind, column, goals in (
            (left, "disc", "dice", (0.90,)),
            (right, "facet", "error_mm", (1.5, 3.0)),
        ):
            for goal in goals:
                axes.axvline(goal, color=FAINT, linewidth=1.0, zorder=0)
            _points(axes, scores[scores.kind == kind], names, column)
        left.set_xlabel("Dice of the disc spaces (goal for the mean: 0.90)")
        right.set_xlabel("distance of facet centres, mm (goals: mean 1.5, worst 3)")
        right.set_xlim(left=0)
        left.set_yticks(range(len(names)), names)
        left.invert_yaxis()
        handles = [
            Line2D([], [], marker="o", linestyle="", markersize=5, color=colour, label=name)
            for name, colour in COLOURS.items()
        ]
        handles.append(
            Line2D([], [], marker="|", linestyle="", markersize=11, color=INK, label="mean")
        )
        figure.legend(handles=handles, loc="outside upper right", ncols=4, frameon=False)
        figure.savefig(path, dpi=130)


def _points(axes: Axes, scores: pd.DataFrame, names: list[str], column: str) -> None:
    rng = np.random.default_rng(1)
    for place, name in enumerate(names):
        part = scores[scores.condition == name]
        for number, (region, colour) in enumerate(COLOURS.items()):
            values = part[part.region == region][column].dropna().to_numpy()
            height = place + 0.24 * (number - 1) + rng.uniform(-0.08, 0.08, len(values))
            axes.plot(values, height, ".", color=colour, markersize=2.8, alpha=0.6)
        mean = float(part[column].mean())
        axes.plot([mean], [place], "|", color=INK, markersize=20, markeredgewidth=1.8)
