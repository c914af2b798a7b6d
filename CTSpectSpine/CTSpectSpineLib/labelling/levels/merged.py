"""One label on two vertebrae: twice the size of its neighbours."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import label_counts
from CTSpectSpineLib.labelling.levels.column_order import Finding

TWICE = 1.45
"""Volume over the median of up to four neighbours from which a label may hold two vertebrae.
Measured on two real label maps and five phantoms: correct labels 0.81 to 1.13; two neighbours in
one label 1.54 to 2.36."""
_TRUST = 0.4
"""What remains of the confidence. Judgement: it ranks vertebrae for a person; it is not a
probability."""
_REACH = 2
"""Neighbours above and below that are compared. Judgement: sizes change along the spine."""


def merged_findings(labels: sitk.Image) -> list[Finding]:
    """Vertebrae that are far larger than those above and below.

    C1, C2 and the sacrum are of other sizes by nature; what the image cuts is not compared.
    """
    array = sitk.GetArrayViewFromImage(labels)
    counts = label_counts(array)
    cut = {int(n) for axis in range(3) for end in (0, -1) for n in np.unique(array.take(end, axis))}
    volumes = {
        row.name: int(counts[row.id])
        for row in anatomy.vertebrae()
        if row.name not in ("C1", "C2", *anatomy.SACRAL)
        and row.id < len(counts)
        and counts[row.id]
        and row.id not in cut
    }
    names = list(volumes)
    found = []
    for place, name in enumerate(names):
        near = [*names[max(0, place - _REACH) : place], *names[place + 1 : place + 1 + _REACH]]
        if len(near) < 2:
            continue
        ratio = volumes[name] / float(np.median([volumes[other] for other in near]))
        if ratio >= TWICE:
            words = (
                f"{name} is {ratio:.1f} times as large as the vertebrae beside it: two vertebrae "
                "may carry one label, and the levels on one side of it be misnumbered."
            )
            found.append(Finding(words, (name,), doubtful=True, trust=_TRUST))
    return found
