"""How far the levels of labels can be relied on, whichever labeller made them.

Order, gaps and pieces (`column_order`), two vertebrae in one label (`merged`), distances along the
spine, ribs, the numbers of vertebrae between landmarks, and contact of the lowest one with the
sacrum (`fused_sacrum`). What needs the shape of the joints (neighbours mixed in one vertebra, discs
not darker than endplates) is checked where the joints are built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.labelling.importing.schemes import typical_steps_mm
from CTSpectSpineLib.labelling.levels.column_order import LANDMARKS, Finding, check_column
from CTSpectSpineLib.labelling.levels.fused_sacrum import fusion_findings
from CTSpectSpineLib.labelling.levels.merged import merged_findings
from CTSpectSpineLib.labelling.levels.numbering import body_centres
from CTSpectSpineLib.labelling.levels.ribs import rib_findings
from CTSpectSpineLib.model import FloatArray, VertebraLabels

FAR, NEAR = 1.55, 0.6
"""Distance of neighbours relative to what their levels and the rest of the column lead to expect.

Measured on three real label maps and 360 columns of the phantom (all cases, 30 seeds each): 0.8 to
1.3; 1.8 to 2.2 where one vertebra of such a column is left out and those above take its name (6240
columns).
"""
_PRESACRAL = 24
"""By definition: 7 cervical, 12 thoracic and 5 lumbar vertebrae."""
_TRUST_SPACING, _TRUST_COUNT = 0.5, 0.8
"""What remains of the confidence. Judgement: it ranks vertebrae for a person; it is not a
probability."""


def judge(labels: VertebraLabels) -> VertebraLabels:
    """Check the levels: adds warnings and confidence, and withdraws `levels_confirmed` on doubt.

    The confidence in a level is the labeller's, or 1 where it gives none, times what the findings
    about this level leave of it.
    """
    column = check_column(labels.image)
    centres = body_centres(column.image)
    findings = [
        *column.findings,
        *merged_findings(column.image),
        *spacing_findings(_whole(column.image, centres)),
        *fusion_findings(column.image, centres),
        *count_findings(column.levels),
        *rib_findings(labels.ribs, column.levels),
    ]
    confidence = {level: labels.confidence.get(level, 1.0) for level in column.levels}
    for finding in findings:
        for level in set(finding.levels) & set(confidence):
            confidence[level] *= finding.trust
    sentences = (*labels.warnings, *(finding.sentence for finding in findings))
    return replace(
        labels,
        image=column.image,
        levels=column.levels,
        levels_confirmed=labels.levels_confirmed and not any(f.doubtful for f in findings),
        confidence={level: round(value, 3) for level, value in confidence.items()},
        warnings=tuple(dict.fromkeys(sentences)),
    )


def _whole(labels: sitk.Image, centres: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Those of the bodies of vertebrae that the image does not cut."""
    array = sitk.GetArrayViewFromImage(labels)
    cut: set[int] = set()
    for axis in range(3):
        for end in (0, -1):
            cut |= set(np.unique(np.take(array, end, axis=axis)).tolist())
    return {name: c for name, c in centres.items() if anatomy.vertebra(name).id not in cut}


def has_landmark(levels: Sequence[str]) -> bool:
    """Whether a vertebra that is identified by its shape is among them."""
    return bool(LANDMARKS & set(levels))


def spacing_findings(centres: Mapping[str, FloatArray]) -> list[Finding]:
    """Neighbours that lie too far apart or too near each other for their levels.

    Parameters
    ----------
    centres
        Name to centre of the vertebral body, LPS mm, cranial to caudal.
    """
    typical = typical_steps_mm()
    # The sacrum's deepest point is not a body, and C1 has none.
    pairs = [
        (a, b)
        for a, b in anatomy.neighbouring_pairs(centres)
        if b not in ("S1", anatomy.SACRUM) and a != "C1" and a in typical
    ]
    order = list(typical)
    logs: dict[tuple[str, str], float] = {}
    for upper, lower in pairs:
        between = order[order.index(upper) : order.index(lower)]
        usual = [n for n in between if n not in anatomy.TRANSITIONAL or n == upper]
        expected = sum(typical[name] for name in usual)
        distance = float(np.linalg.norm(centres[upper] - centres[lower]))
        logs[upper, lower] = math.log(max(distance, 1.0) / expected)
    if len(logs) < 3:
        return []
    found = []
    for (upper, lower), value in logs.items():
        others = [logs[pair] for pair in logs if pair != (upper, lower)]
        ratio = math.exp(value - float(np.median(others)))
        if NEAR <= ratio <= FAR:
            continue
        distance = float(np.linalg.norm(centres[upper] - centres[lower]))
        why = (
            "a vertebra between them may be left out and the levels misnumbered"
            if ratio > FAR
            else "one vertebra may carry two labels"
        )
        words = (
            f"{upper} and {lower} lie {distance:.0f} mm apart, {ratio:.1f} times what the other "
            f"levels lead to expect: {why}."
        )
        found.append(Finding(words, (upper, lower), doubtful=True, trust=_TRUST_SPACING))
    return found


def count_findings(levels: Sequence[str]) -> list[Finding]:
    """Other than 24 vertebrae from C1 to the sacrum where all of them are in view."""
    if not {"C1", "C2"} & set(levels) or not {"S1", anatomy.SACRUM} & set(levels):
        return []
    names = [name for name in levels if name not in ("S1", anatomy.SACRUM)]
    optional = {"C1", *anatomy.TRANSITIONAL, *anatomy.SACRAL}
    required = {row.name for row in anatomy.vertebrae()} - optional
    if not required <= set(names):
        return []
    count = len(names) + ("C1" not in names)
    if count == _PRESACRAL:
        return []
    ends = [a for a, b in pairwise([*names, "sacrum"]) if b in ("sacrum", "L1")]
    words = (
        f"{count} vertebrae lie between the skull and the sacrum instead of {_PRESACRAL}: "
        "transitional anatomy; check whether the additional or missing one is thoracic or lumbar."
    )
    return [Finding(words, tuple(ends), trust=_TRUST_COUNT)]
