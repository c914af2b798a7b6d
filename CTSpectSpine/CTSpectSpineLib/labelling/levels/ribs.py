"""Which vertebra each rib meets, where a label map has ribs: evidence for the thoracic levels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import content_box
from CTSpectSpineLib.labelling.levels.column_order import Finding

_REACH_MM = 9.0
"""From a rib to the vertebra that it meets. Judgement: the joint space, and labels that end
early."""
_THINNED_MM = 2.0
"""Size to which voxels are thinned. Numerical: a fraction of the reach."""
_LEAST_CONTACT_MM3 = 40.0
"""Volume of vertebra within reach. Judgement: a few thinned voxels, so that noise is not taken
for contact."""
_TRUST = 0.5
"""What remains of the confidence. Judgement: as for the spacing (`confidence`)."""
_NAME = re.compile(r"rib[_\s]?(left|right)[_\s]?(\d{1,2})$", re.IGNORECASE)
_LEFT, _RIGHT = 92, 104
"""Numbers of the first ribs. Standard: class ids of TotalSegmentator's task ``total``, version
2."""


def rib_of_name(name: str) -> str | None:
    """``"left 12"`` for TotalSegmentator's ``rib_left_12``; None for anything else."""
    match = _NAME.search(name.strip())
    return f"{match.group(1).lower()} {int(match.group(2))}" if match else None


def rib_numbers() -> dict[int, str]:
    """Rib of each number of TotalSegmentator's task ``total``."""
    firsts = (("left", _LEFT), ("right", _RIGHT))
    return {first + n: f"{side} {n + 1}" for side, first in firsts for n in range(12)}


def rib_contacts(
    source: sitk.Image, ribs: Mapping[int, str], vertebrae: sitk.Image
) -> dict[str, str]:
    """The vertebra that each rib meets.

    Parameters
    ----------
    source
        Label map with ribs.
    ribs
        Number in it to rib.
    vertebrae
        Label map with the ids of `anatomy` on the same grid.

    Returns
    -------
    dict
        Rib to the vertebra with the most voxels within 9 mm of the rib; ribs that reach none
        (cut, or not in view) are left out. A rib head lies between its own vertebra and the one
        above, and its tubercle on the transverse process of its own: its own has more.
    """
    stride = np.maximum(1, np.floor(_THINNED_MM / np.array(source.GetSpacing()))).astype(int)
    i, j, k = (int(n) for n in stride)
    labels = sitk.GetArrayViewFromImage(source)[::k, ::j, ::i]
    bones = sitk.GetArrayViewFromImage(vertebrae)[::k, ::j, ::i]
    spacing = (np.array(source.GetSpacing()) * stride)[::-1]
    margin = np.ceil(_REACH_MM / spacing).astype(int)
    least = _LEAST_CONTACT_MM3 / float(np.prod(spacing))
    found: dict[str, str] = {}
    for number, name in ribs.items():
        box = _box(labels == number, margin)
        if box is None:
            continue
        distance = ndimage.distance_transform_edt(labels[box] != number, sampling=spacing)
        near = bones[box][distance <= _REACH_MM]
        counts = np.bincount(near, minlength=256)
        levels = {name_: counts[row.id] for row in anatomy.vertebrae() if (name_ := row.name)}
        best = max(levels, key=lambda level: levels[level])
        if levels[best] >= least:
            found[name] = best
    return found


def _box(mask: np.ndarray, margin: np.ndarray) -> tuple[slice, ...] | None:
    box = content_box(mask)
    if box is None:
        return None
    return tuple(
        slice(max(0, s.start - int(m)), s.stop + int(m)) for s, m in zip(box, margin, strict=True)
    )


def rib_findings(contacts: Mapping[str, str], levels: tuple[str, ...]) -> list[Finding]:
    """What the ribs say about the levels: ribs at other vertebrae, and vertebrae without ribs."""
    found: list[Finding] = []
    by_shift: dict[int, list[str]] = defaultdict(list)
    order = anatomy.usual_levels()
    for rib, level in contacts.items():
        own = f"T{rib.split()[1]}"
        if level != own and level in order:
            by_shift[order.index(level) - order.index(own)].append(f"rib {rib} meets {level}")
    for shift, sentences in by_shift.items():
        # One rib that is numbered otherwise is as likely a mistake about the rib.
        if len(sentences) > 1 or shift not in (-1, 1):
            shown = ", ".join(sentences[:4]) + (", ..." if len(sentences) > 4 else "")
            words = f"The ribs do not fit the levels: {shown}; the thoracic levels may be shifted."
            concerned = tuple(dict.fromkeys(s.split()[-1] for s in sentences))
            found.append(Finding(words, concerned, doubtful=True, trust=_TRUST))
    met = set(contacts.values())
    for level in sorted(met & {"L1", "T13"}):
        words = f"{level} bears a rib: a thirteenth pair of ribs, or shifted levels."
        found.append(Finding(words, (level,), doubtful=level == "L1", trust=_TRUST))
    if "T12" in levels and "L1" in levels and "T11" in met and "T12" not in met:
        words = "T12 bears no rib although T11 does: eleven pairs of ribs, or shifted levels."
        found.append(Finding(words, ("T12",), doubtful=True, trust=_TRUST))
    return found
