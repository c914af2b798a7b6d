"""The built-in labeller on the real CTs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from benchmarks.labelling.figures import Panel
from benchmarks.labelling.measure import is_confirmed
from benchmarks.meter import metered
from CTSpectSpineLib import anatomy
from CTSpectSpineLib.labelling import label_vertebrae

_SACRAL = (25, 26)
"""Sacrum and S1. Standard: class ids of TotalSegmentator, task `total`."""


def real_rows(data: Path) -> pd.DataFrame:
    """One row per true vertebra: its name, the name found, overlap; empty without the data."""
    total, crop = data / "totalsegmentator_example", data / "tptbox_L2-L4"
    rows: list[dict[str, object]] = []
    if total.is_dir():
        true = sitk.ReadImage(str(total / "vertebrae_total.nii.gz"))
        fast = sitk.ReadImage(str(total / "total_fast.nii.gz"))
        names = {n: anatomy.name_of_id(n) for n in range(27, 33)}
        rows += _rows(total.name, total / "ct.nii.gz", [(true, names), (fast, _fast_names())])
    if crop.is_dir():
        true = sitk.ReadImage(str(crop / "sub-ct_seg-vert_label-22_msk.nii.gz"))
        verse = {row.verse: row.name for row in anatomy.vertebrae() if row.verse is not None}
        rows += _rows(
            crop.name,
            crop / "sub-ct_label-22_ct.nii.gz",
            [(true, {n: verse[n] for n in (21, 22, 23)})],
        )
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def real_panels(data: Path) -> list[Panel]:
    """The real CTs with the labels that were found, for a picture; empty without the data."""
    panels = []
    for folder, name, truth in (
        ("totalsegmentator_example", "ct.nii.gz", "vertebrae_total.nii.gz"),
        ("tptbox_L2-L4", "sub-ct_label-22_ct.nii.gz", ""),
    ):
        if (data / folder).is_dir():
            ct = sitk.ReadImage(str(data / folder / name))
            labels = label_vertebrae(ct, "builtin")
            true = sitk.ReadImage(str(data / folder / truth)) if truth else None
            flag = "confirmed" if labels.levels_confirmed else "flagged"
            panels.append(Panel(f"{folder}\n{flag}", ct, labels.image, true))
    return panels


def _fast_names() -> dict[int, str | None]:
    return {25: "sacrum", 77: "hip_left", 78: "hip_right"}


def _rows(
    name: str, path: Path, truths: list[tuple[sitk.Image, dict[int, str | None]]]
) -> list[dict[str, object]]:
    ct = sitk.ReadImage(str(path))
    cost = metered(lambda: label_vertebrae(ct, "builtin"))
    labels = cost.result
    found = sitk.GetArrayViewFromImage(labels.image)
    hips = {number: side for side, number in anatomy.hip_ids().items()}
    rows: list[dict[str, object]] = []
    for image, names in truths:
        true = sitk.GetArrayViewFromImage(image)
        for number, level in names.items():
            # Sacrum and S1 are one bone.
            mask = np.isin(true, _SACRAL) if level == "sacrum" else true == number
            counts = np.bincount(found[mask], minlength=2)
            counts[0] = 0
            best = int(counts.argmax())
            same = found == best
            rows.append(
                {
                    "ct": name,
                    "level": level,
                    "found": hips.get(best) or anatomy.name_of_id(best),
                    "dice": 2 * int(counts[best]) / int(mask.sum() + same.sum()),
                    "confirmed": is_confirmed(labels, anatomy.name_of_id(best) or ""),
                    "cpu_s": cost.cpu_s,
                }
            )
    return rows
