"""In which order a reader goes through the joints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from CTSpectSpineLib.joint_table import Row, number

_CLASSES = ("indeterminate", "positive", "not_measurable", "negative")
"""Uptake classes, the first needs eyes most. Judgement: what is open comes before what is found,
what could not be measured before what is clearly cold."""


def reading_order(
    rows: Sequence[Row], bounds: Mapping[str, float], *, blinded: bool = False
) -> list[Row]:
    """The joints in the order in which they need eyes.

    Joints that are hot and not measurable come first, as they leave the verdict open; then those of
    `_CLASSES`, and among these the ones nearest to the bound of their kind, positive ones by their
    ratio. Joints without a place come last: there is nothing to look at.

    Parameters
    ----------
    bounds
        Kind of joint to the ratio from which it is positive.
    blinded
        Whether the order may tell nothing of what the software found: then it is that of the spine.
    """
    located = [row for row in rows if row.centre_lps is not None]
    if blinded:
        return located
    place = {row.joint: n for n, row in enumerate(rows)}
    return sorted(located, key=lambda row: (*_rank(row, bounds), place[row.joint]))


def _rank(row: Row, bounds: Mapping[str, float]) -> tuple[int, float]:
    bound = bounds.get(row.kind, math.inf)
    if row.uptake == "not_measurable":
        hottest = number(row.cells.get("ratio_max"))
        hot = not math.isnan(hottest) and hottest >= bound
        return (-1 if hot else _CLASSES.index(row.uptake), 0.0)
    if math.isnan(row.ratio):
        return _CLASSES.index(row.uptake), math.inf
    if row.uptake == "positive":
        return _CLASSES.index(row.uptake), -row.ratio
    return _CLASSES.index(row.uptake), abs(row.ratio - bound)
