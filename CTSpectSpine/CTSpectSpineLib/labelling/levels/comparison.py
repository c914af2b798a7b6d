"""Two sets of labels of the same CT, level by level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import grid_of
from CTSpectSpineLib.labelling.importing.placement import place_on_ct
from CTSpectSpineLib.labelling.levels.numbering import body_centres, renumber
from CTSpectSpineLib.model import VertebraLabels

if TYPE_CHECKING:
    import pandas as pd

SAME_DICE = 0.5
"""Least overlap of two outlines of the same vertebra. Judgement: far more than neighbours share,
and less than the mean Dice of any region in docs/validation/labelling.md."""

_S1_IN_SACRUM = {"S1": anatomy.SACRUM}


@dataclass(frozen=True)
class Comparison:
    """Two labellings of a CT, level by level.

    Attributes
    ----------
    table
        One row per vertebra of the first: ``level``, ``other`` (name of the same vertebra in the
        second, the one that it overlaps most; empty for none), ``shift`` (places that the
        second's name lies further towards the feet), ``dice``, ``centre_distance_mm``, ``agree``
        (same name, Dice at least 0.5).
    names
        Labellers of both.
    """

    table: pd.DataFrame
    names: tuple[str, str]

    @property
    def agree(self) -> bool:
        """Whether all vertebrae that both have carry the same name."""
        both = self.table[self.table["other"] != ""]
        return bool(len(both) and both["agree"].all())

    @property
    def sentence(self) -> str:
        """What the table says, for a person."""
        first, second = self.names
        both = self.table[self.table["other"] != ""]
        alone = [str(name) for name in self.table.loc[self.table["other"] == "", "level"]]
        if both.empty:
            return f"{first} and {second} have no vertebra in common."
        shifts = set(both["shift"].dropna())
        if shifts == {0}:
            words = f"{first} and {second} name {len(both)} vertebrae alike"
        elif len(shifts) == 1:
            row = both.iloc[0]
            words = (
                f"{second} names all {len(both)} vertebrae {int(shifts.pop()):+d} places from "
                f"{first}: {row['level']} is {row['other']} there"
            )
        else:
            other = both.loc[both["shift"] != 0]
            pairs = ", ".join(f"{r.level} is {r.other}" for r in other.itertuples())
            words = f"{first} and {second} differ in a part of the column: {pairs} in {second}"
        missing = f"; {second} lacks {', '.join(alone)}" if alone else ""
        dice = both["dice"]
        return f"{words}; Dice {dice.mean():.2f} on average, {dice.min():.2f} at least{missing}."

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "engines": list(self.names),
            "agree": self.agree,
            "summary": self.sentence,
            "levels": self.table.to_dict("records"),
        }


def compare_labels(first: VertebraLabels, second: VertebraLabels) -> Comparison:
    """Compare two labellings of the same CT.

    Parameters
    ----------
    first, second
        Labels; the second is brought to the grid of the first where they differ.

    Raises
    ------
    InputError
        If they do not lie in the same place.
    """
    import pandas as pd

    image = second.image
    if not grid_of(image).matches(grid_of(first.image), tolerance=0.05):
        image, _ = place_on_ct(image, first.image, f"the labels of {second.engine}")
    if set(anatomy.SACRAL) & set(first.levels) != set(anatomy.SACRAL) & set(second.levels):
        # One of them outlines S1 apart, or calls all of the sacrum so.
        first, image = _whole_sacrum(first), renumber(image, _S1_IN_SACRUM)
    a, b = (sitk.GetArrayViewFromImage(i) for i in (first.image, image))
    # Every pair of labels at the same voxel: pairs of numbers counted over slabs to save memory.
    counts = np.zeros((256, 256), dtype=np.int64)
    for slab_a, slab_b in zip(a, b, strict=True):
        pairs = slab_a.astype(np.uint16) * 256 + slab_b
        counts += np.bincount(pairs.ravel(), minlength=65536).reshape(256, 256)
    centres_a, centres_b = body_centres(first.image), body_centres(image)
    names = {row.id: row.name for row in anatomy.vertebrae()}
    rows = []
    for level in first.levels:
        number = anatomy.vertebra(level).id
        shared = {n: int(counts[number, n]) for n in names}
        best = max(shared, key=lambda n: shared[n])
        size_a, size_b = counts[number].sum(), counts[:, best].sum()
        dice = 2 * shared[best] / float(size_a + size_b)
        other = names[best] if shared[best] else ""
        distance = (
            float(np.linalg.norm(centres_a[level] - centres_b[other])) if other else float("nan")
        )
        agree = other == level and dice >= SAME_DICE
        rows.append((level, other, _shift(level, other), round(dice, 4), round(distance, 2), agree))
    table = pd.DataFrame(
        rows, columns=["level", "other", "shift", "dice", "centre_distance_mm", "agree"]
    )
    return Comparison(table, (first.engine, second.engine))


def _whole_sacrum(labels: VertebraLabels) -> VertebraLabels:
    """Labels in which S1 is part of the sacrum."""
    levels = anatomy.sort_levels({_S1_IN_SACRUM.get(name, name) for name in labels.levels})
    return replace(labels, image=renumber(labels.image, _S1_IN_SACRUM), levels=levels)


def _shift(level: str, other: str) -> float:
    """Places from one level to another, optional levels not counted; NaN for none."""
    if not other:
        return float("nan")
    if level == other:
        return 0.0
    order = anatomy.usual_levels()
    # An extra vertebra stands where its lower neighbour would.
    places = {name: order.index(name) for name in order}
    places |= {"T13": places["L1"], "L6": places["S1"], anatomy.SACRUM: places["S1"]}
    return float(places[other] - places[level])
