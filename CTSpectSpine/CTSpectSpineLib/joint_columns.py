"""Names of the columns of ``joints.csv``, of its words, and of the ratios that may decide.

Needs nothing but Python, so that command line and panel can offer them at once.
"""

from __future__ import annotations

from collections.abc import Mapping

MEASURED_COLUMNS = (
    "joint", "level", "kind", "side", "spine_region", "x_mm", "y_mm", "z_mm", "volume_mm3",
    "status", "status_reason", "mean", "max", "peak", "corrected_mean", "reference",
    "ratio_mean", "ratio_max", "ratio_peak", "ratio_corrected", "z_score", "asymmetry",
    "ratio_low", "ratio_high", "probability_positive", "uptake", "suv_mean", "suv_max",
    "suv_peak", "ratio_upper_endplate", "ratio_lower_endplate",
)  # fmt: skip
"""Columns that the measurement fills, in order."""
COLUMNS = (*MEASURED_COLUMNS, "verdict", "level_status")
"""Columns of ``joints.csv``, in order."""
TEXT_COLUMNS = frozenset(
    {"joint", "level", "kind", "side", "spine_region", "status", "status_reason", "uptake"}
    | {"verdict", "level_status"}
)
"""Columns of words; all others hold numbers."""
METRICS: Mapping[str, str] = {
    "ratio_mean": "mean",
    "ratio_max": "max",
    "ratio_peak": "peak",
    "ratio_corrected": "corrected_mean",
}
"""Deciding ratios that bounds may name, and the uptake that each is made of."""
USUAL_METRIC = "ratio_corrected"
"""Deciding ratio where no bounds name one."""
LEVEL_STATUSES = ("confirmed", "plausible", "unconfirmed")
"""How far the name of a joint's level can be relied on: a person confirmed it; nothing casts doubt
on it; something does."""
UPTAKE_CLASSES = ("positive", "indeterminate", "negative", "not_measurable")
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "kind": ("disc", "facet"),
    "side": ("left", "right", ""),
    "status": ("measured", "not_measurable"),
    "uptake": UPTAKE_CLASSES,
}
"""Column of words to the words that may stand in it."""
