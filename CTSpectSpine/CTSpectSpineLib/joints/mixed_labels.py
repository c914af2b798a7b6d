"""Labels that carry a part of the neighbouring vertebra, found from the labels alone.

Where an end of a vertebra carries its neighbour's label, the neighbour's label has bone on
both sides of an empty disc space, which no vertebra has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.joints.frames import Fit
from CTSpectSpineLib.joints.label_volume import LabelVolume, Occupancy, local_grid, occupancy
from CTSpectSpineLib.joints.vertebra_fits import Spine, label_ids

STEP_MM = 1.0
"""Step of the columns, mm. Numerical: half of `LEAST_GAP_MM`."""
SPLIT_SHARE = 0.08
"""Share of a body's columns with an empty stretch in them from which labels count as mixed.

Measured on the real label maps and the phantoms: correct labels have 0 to 0.01; a slab of a tenth
of the neighbour's body gives 0.19 to 1 unless the disc between is narrower than `LEAST_GAP_MM`.
"""
LEAST_GAP_MM = 2.0
"""Least length of an empty stretch, mm. Judgement: longer than a flaw of labels, shorter than the
narrowest discs. Measured on correct labels of three patients and six phantoms: discs are 3.6 mm
high and more."""

_INNER = 0.75
"""Part of the body ellipse, by its axes, whose columns are tested. Judgement: leaves out the rim,
where osteophytes leave gaps."""
_REACH_MM = 52.0
"""Reach of the columns above and below the body's centre, mm. Judgement: half a lumbar body, a disc
and the whole neighbour."""


@dataclass(frozen=True)
class Split:
    """A vertebra whose label continues beyond a disc space.

    Attributes
    ----------
    level
        The vertebra.
    end
        Where the smaller part lies.
    share
        Share of the body's columns with an empty stretch between that part and the rest.
    """

    level: str
    end: Literal["above", "below"]
    share: float


def mixed_pairs(
    volume: LabelVolume, spine: Spine, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Motion segments across which a label reaches, with a sentence each."""
    found: dict[tuple[str, str], str] = {}
    for level, fit in spine.fits.items():
        if level == "C1":
            continue
        split = find_split(volume, fit)
        if split is None:
            continue
        place = 0 if split.end == "below" else 1
        for pair in pairs:
            if pair[place] == level:
                found[pair] = (
                    f"the label of {level} continues beyond the disc space {split.end} it:"
                    f" {pair[0]} and {pair[1]} are mixed"
                )
    return found


def find_split(volume: LabelVolume, fit: Fit) -> Split | None:
    """Whether a label has bone on both sides of an empty space within its body's outline."""
    columns = _body_columns(volume, fit)
    shares = split_shares(columns)
    if fit.level in anatomy.SACRAL:
        # Below its first disc the sacrum may have remnants of others.
        shares = {"above": shares["above"]}
    elif fit.level == "C2":
        # Columns beside a dens that leans may pass through it above an empty stretch.
        shares = {"below": shares["below"]}
    end = max(shares, key=lambda name: shares[name])
    if shares[end] < SPLIT_SHARE:
        return None
    return Split(fit.level, end, shares[end])


def split_shares(columns: Occupancy) -> Mapping[Literal["above", "below"], float]:
    """Share of columns with an empty stretch, by the end at which the lesser part lies.

    Parameters
    ----------
    columns
        Share of bone, shape (heights from below, columns), steps of 1 mm.
    """
    solid = columns >= 0.5
    heights = np.arange(len(solid))[:, None]
    first = np.argmax(solid, axis=0)
    last = len(solid) - 1 - np.argmax(solid[::-1], axis=0)
    empty = ~solid & (heights > first) & (heights < last) & solid.any(axis=0)
    split = empty.sum(axis=0) * STEP_MM >= LEAST_GAP_MM
    middle = (empty * heights).sum(axis=0) / np.maximum(empty.sum(axis=0), 1)
    above = (solid & (heights > middle)).sum(axis=0)
    below = (solid & (heights < middle)).sum(axis=0)
    return {
        "above": float((split & (above < below)).mean()),
        "below": float((split & (above >= below)).mean()),
    }


def _body_columns(volume: LabelVolume, fit: Fit) -> Occupancy:
    """Bone of a label over the inner part of its body, shape (heights, columns)."""
    half_width, half_depth = (_INNER * x for x in fit.semi_axes_mm)
    half = np.array([half_width, half_depth, _REACH_MM])
    grid = local_grid(fit.centre, fit.axes, -half, half, STEP_MM)
    bone = occupancy(volume, label_ids(fit.level, volume), grid)
    l_mm, p_mm = (
        STEP_MM * (np.arange(grid.size[axis]) - (grid.size[axis] - 1) / 2) for axis in (0, 1)
    )
    inside = np.hypot(l_mm[None, :] / half_width, p_mm[:, None] / half_depth) <= 1.0
    return bone[:, inside]
