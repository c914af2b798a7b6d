"""From a cohort of a site's normals to what ordinary joints read there."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from CTSpectSpineLib.calibration_file import Calibration, OrdinaryJoints
from CTSpectSpineLib.cell_table import read_cells
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import sha256_of_file
from CTSpectSpineLib.version import __version__

TABLE = "joints_all.csv"
"""Table of a cohort folder that is read."""
_NEEDED = ("id", "joint", "kind", "status", "uptake", "ratio_corrected", "ratio_low", "ratio_high")
_LEAST_PATIENTS, _LEAST_JOINTS = 5, 3
"""Patients, and joints of a kind in each. Judgement: fewer say nothing of a spread between
patients, or within one."""
_LEAST_MEAN_SD, _LEAST_SD = 0.03, 0.05
"""Least spreads. Judgement: a few patients may agree by chance."""
_INTERVAL_SDS = 2.0 * 1.96
"""Width of a 95 % interval in standard deviations. By definition."""


def calibrate_normals(cohort: Path) -> Calibration:
    """Learn ordinary values from the cohort of a site's normals.

    Joints that are positive are left out. The spread within a patient is that of the joints' ratios
    and of their own intervals together, since what is read is drawn together by the prior that was
    used.

    Parameters
    ----------
    cohort
        Folder that ``batch`` wrote.

    Raises
    ------
    InputError
        If there is no table, or too few normals are in it.
    """
    path = cohort / TABLE
    rows = _rows(path)
    ordinary, left_out = {}, 0
    for kind in ("disc", "facet"):
        values: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for row in rows:
            if row["kind"] != kind or row["status"] != "measured":
                continue
            if row["uptake"] == "positive":
                left_out += 1
                continue
            numbers = [_value(row[name]) for name in _NEEDED[-3:]]
            if all(math.isfinite(number) for number in numbers):
                ratio, low, high = numbers
                values[row["id"]].append((ratio, (high - low) / _INTERVAL_SDS))
        enough = [np.array(found) for found in values.values() if len(found) >= _LEAST_JOINTS]
        if len(enough) < _LEAST_PATIENTS:
            continue
        means = np.array([one[:, 0].mean() for one in enough])
        within = [float(one[:, 0].var(ddof=1) + np.mean(one[:, 1] ** 2)) for one in enough]
        ordinary[kind] = OrdinaryJoints(
            mean=round(float(means.mean()), 4),
            mean_sd=round(max(float(means.std(ddof=1)), _LEAST_MEAN_SD), 4),
            sd=round(max(float(np.sqrt(np.mean(within))), _LEAST_SD), 4),
            patients=len(enough),
            joints=int(sum(len(one) for one in enough)),
        )
    if not ordinary:
        raise InputError(
            f"'{path.name}' has fewer than {_LEAST_PATIENTS} patients with {_LEAST_JOINTS} "
            "measured joints of a kind: analyse more normals with 'ctspectspine batch'."
        )
    record = {
        "made_by": f"CTSpectSpine {__version__}",
        "input": {"name": path.name, "sha256": sha256_of_file(path)},
        "positive_joints_left_out": left_out,
        "research_use_only": True,
    }
    return Calibration(None, ordinary, record)


def _rows(path: Path) -> Sequence[Mapping[str, str]]:
    if not path.is_file():
        raise InputError(
            f"There is no '{TABLE}' in '{path.parent.name}'; give the folder that 'ctspectspine "
            "batch' wrote for your normals."
        )
    table = read_cells(
        path, _NEEDED, _NEEDED, "the table of joints of a cohort", refused=lambda name: False
    )
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def _value(text: str | None) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        return math.nan
