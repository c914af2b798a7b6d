"""The joint table: derived columns and classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import MAD_TO_SD
from CTSpectSpineLib.joint_columns import MEASURED_COLUMNS, METRICS
from CTSpectSpineLib.joint_table import deciding_ratios
from CTSpectSpineLib.model import FloatArray, Joint, JointKind, UptakeBounds
from CTSpectSpineLib.uptake_bounds import class_of, probability_of, unanswerable

_OTHER_SIDE = {"left": "right", "right": "left"}
_FEWEST_FOR_Z = 4
"""Joints of a kind. Judgement: the median deviation of fewer says nothing of their spread."""
_LEAST_RELATIVE_SD = 0.05
"""Least spread of ordinary joints, relative to their median. Judgement: a handful of joints can
agree by chance."""


@dataclass(frozen=True)
class Measured:
    """Uptake of one joint in SPECT units, NaN where not measured, with the reason.

    ``upper_endplate`` and ``lower_endplate`` are relative to ``corrected_mean``.
    """

    mean: float = np.nan
    max: float = np.nan
    peak: float = np.nan
    corrected_mean: float = np.nan
    upper_endplate: float = np.nan
    lower_endplate: float = np.nan
    problem: str = ""


def check_bounds(bounds: Mapping[JointKind, UptakeBounds], kinds: Iterable[JointKind]) -> None:
    """Check that there are usable bounds for all kinds of joint.

    Raises
    ------
    InputError
        If bounds are missing, name an unknown metric, or are not ordered.
    """
    for kind in kinds:
        if kind not in bounds:
            raise InputError(f"The uptake bounds have no entry for '{kind}' joints; add one.")
        entry = bounds[kind]
        if entry.metric not in METRICS:
            raise InputError(
                f"The uptake bounds of '{kind}' name the metric '{entry.metric}';"
                f" use one of {', '.join(METRICS)}."
            )
        if not 0.0 < entry.indeterminate <= entry.positive < np.inf:
            raise InputError(
                f"The uptake bounds of '{kind}' are positive {entry.positive:g} and indeterminate"
                f" {entry.indeterminate:g}; both must be above 0 and positive at least as large."
            )


def joint_table(
    joints: tuple[Joint, ...],
    measured: Mapping[str, Measured],
    references: FloatArray,
    bounds: Mapping[JointKind, UptakeBounds],
    suv_factor: float | None,
) -> pd.DataFrame:
    """Table without the columns that need the repeated measurement (they are NaN).

    ``references`` is the uptake that each joint is compared with, shape (joints,).
    """
    table: pd.DataFrame = pd.DataFrame(
        [_row(joint, measured[joint.id], suv_factor) for joint in joints],
        columns=list(MEASURED_COLUMNS),
    )
    table["reference"] = references
    for ratio, uptake in METRICS.items():
        table[ratio] = table[uptake].astype(float) / references
    for endplate in ("upper_endplate", "lower_endplate"):
        relative = np.array([getattr(measured[joint.id], endplate) for joint in joints])
        table[f"ratio_{endplate}"] = relative * table["ratio_corrected"]
    deciding = deciding_ratios(table, bounds)
    table["z_score"] = _z_scores(table["kind"], deciding)
    table["asymmetry"] = _asymmetry(table, deciding)
    table["uptake"] = [
        class_of(float(ratio), bounds[kind])
        for ratio, kind in zip(deciding, table["kind"], strict=True)
    ]
    numbers = [c for c in MEASURED_COLUMNS[MEASURED_COLUMNS.index("mean") :] if c != "uptake"]
    table[numbers] = table[numbers].astype(float)
    return table


def other_sides(joints: Sequence[Joint]) -> list[int | None]:
    """Per joint the place of the joint on the other side, None where there is none."""
    place: dict[tuple[str, str, str], int] = {
        (joint.level, joint.kind, joint.side): n for n, joint in enumerate(joints)
    }
    return [
        place.get((joint.level, joint.kind, _OTHER_SIDE.get(joint.side, "none")))
        for joint in joints
    ]


def reference_per_joint(
    joints: Sequence[Joint], measured: Mapping[str, Measured], common: float, *, across: bool
) -> FloatArray:
    """Uptake that each joint is compared with, shape (joints,).

    Parameters
    ----------
    common
        The patient's reference uptake.
    across
        Whether joints are compared with the other side where it was measured.
    """
    references = np.full(len(joints), common)
    if across:
        for number, other in enumerate(other_sides(joints)):
            uptake = np.nan if other is None else measured[joints[other].id].corrected_mean
            if uptake > 0.0:
                references[number] = uptake
    return references


def add_uncertainty(
    table: pd.DataFrame, draws: FloatArray, bounds: Mapping[JointKind, UptakeBounds]
) -> pd.DataFrame:
    """Table with interval, probability and class from repetitions, shape (n, joints).

    ``probability_positive`` is that of the interval (`uptake_bounds.probability_of`); it never
    claims more certainty than n repetitions can give.
    """
    table = pd.DataFrame(table, copy=True)
    ratios = deciding_ratios(table, bounds)
    least = 0.5 / (len(draws) + 1.0)
    for number, kind in enumerate(table["kind"]):
        column, ratio = draws[:, number], float(ratios[number])
        if len(column) == 0 or np.isnan(column).any():
            continue
        low, high = (float(value) for value in np.percentile(column, [2.5, 97.5]))
        # A few repetitions need not hold their own mean.
        low, high = min(low, ratio), max(high, ratio)
        chance = probability_of(ratio, bounds[kind].positive, low, high)
        if chance is None:
            chance = float(np.mean(column >= bounds[kind].positive))
        table.loc[number, "ratio_low"] = low
        table.loc[number, "ratio_high"] = high
        table.loc[number, "probability_positive"] = min(max(chance, least), 1.0 - least)
        table.loc[number, "uptake"] = class_of(ratio, bounds[kind], low, high)
    return table


def drop_unreliable(
    table: pd.DataFrame,
    draws: FloatArray,
    joints: Sequence[Joint],
    bounds: Mapping[JointKind, UptakeBounds],
) -> tuple[pd.DataFrame, FloatArray]:
    """Call joints not measurable on whose numbers nothing may rest.

    These are joints whose place or level is in doubt (`Joint.doubts`), and joints whose interval
    leaves everything open (`uptake_bounds.unanswerable`): neither may count as negative or
    positive. Their numbers stay in the table; their draws become NaN.
    """
    table, draws = table.copy(), draws.copy()
    for number, joint in enumerate(joints):
        row = table.loc[number]
        if row["status"] != "measured":
            continue
        reason = unanswerable(row["ratio_low"], row["ratio_high"], bounds[joint.kind])
        if joint.doubts:
            reason = "its numbers cannot be relied on"
        if not reason:
            continue
        table.loc[number, "status"] = "not_measurable"
        table.loc[number, "uptake"] = "not_measurable"
        table.loc[number, "status_reason"] = "; ".join(filter(None, (row["status_reason"], reason)))
        draws[:, number] = np.nan
    return table, draws


def _row(joint: Joint, measured: Measured, suv_factor: float | None) -> dict[str, object]:
    factor = np.nan if suv_factor is None else suv_factor
    reasons = [*joint.flags, *([measured.problem] if measured.problem else [])]
    return {
        **joint.geometry(),
        "status": "not_measurable" if measured.problem else "measured",
        "status_reason": "; ".join(reasons),
        "mean": measured.mean,
        "max": measured.max,
        "peak": measured.peak,
        "corrected_mean": measured.corrected_mean,
        "suv_mean": measured.mean * factor,
        "suv_max": measured.max * factor,
        "suv_peak": measured.peak * factor,
    }


def _z_scores(kinds: pd.Series[str], ratios: FloatArray) -> FloatArray:
    """Robust z against the same kind of joint; NaN with fewer than four of a kind.

    The spread is the standard deviation estimated from the median absolute deviation, at least
    5 % of the median: a handful of joints can agree by chance.
    """
    scores = np.full(len(ratios), np.nan)
    for kind in set(kinds):
        same = (kinds == kind).to_numpy() & np.isfinite(ratios)
        if np.count_nonzero(same) < _FEWEST_FOR_Z:
            continue
        centre = np.median(ratios[same])
        spread = MAD_TO_SD * np.median(np.abs(ratios[same] - centre))
        spread = max(spread, _LEAST_RELATIVE_SD * abs(centre))
        if spread > 0.0:
            scores[same] = (ratios[same] - centre) / spread
    return scores


def _asymmetry(table: pd.DataFrame, ratios: FloatArray) -> FloatArray:
    """Deciding ratio of a side over that of the other side, facets only."""
    names = zip(table["level"], table["kind"], table["side"], strict=True)
    place = {name: number for number, name in enumerate(names)}
    result = np.full(len(table), np.nan)
    for (level, kind, side), number in place.items():
        other = place.get((level, kind, _OTHER_SIDE.get(side, "")))
        if kind == "facet" and other is not None and ratios[other] > 0.0:
            result[number] = ratios[number] / ratios[other]
    return result
