"""Results folders of made-up patients: real files, no measurement."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

PLACES = tuple(
    (level, kind, side)
    for level in ("L3-L4", "L4-L5", "L5-S1")
    for kind, side in (("disc", ""), ("facet", "left"), ("facet", "right"))
)
HEADER = "joint,level,kind,side,spine_region,status,ratio_corrected,uptake,level_status"


def joint_name(level: str, kind: str, side: str) -> str:
    return " ".join(filter(None, (level, kind, side)))


def uptake_of(ratio: float) -> str:
    return "positive" if ratio >= 2 else "indeterminate" if ratio >= 1.6 else "negative"


def write_results(
    folder: Path,
    count: int,
    ratio: Callable[[int, int], float],
    missing: Callable[[int, int], bool] = lambda patient, place: False,
) -> Path:
    """Folders ``p00``, ``p01`` … whose joints have the ratio of patient and place."""
    for patient in range(count):
        lines = [HEADER]
        for place, (level, kind, side) in enumerate(PLACES):
            value = ratio(patient, place)
            status, uptake = "measured", uptake_of(value)
            if missing(patient, place):
                status = uptake = "not_measurable"
            name = joint_name(level, kind, side)
            lines.append(f"{name},{level},{kind},{side},lumbar,{status},{value},{uptake},plausible")
        results = folder / f"p{patient:02d}"
        results.mkdir(parents=True)
        (results / "joints.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        manifest = {"schema": "x", "protocol": {"bounds": {}}}
        (results / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def drawn_ratio(seed: int, spread: float = 0.0) -> Callable[[int, int], float]:
    """Ratios that depend on patient and place, with an error that depends on the seed."""

    def ratio(patient: int, place: int) -> float:
        truth = np.random.default_rng((7, patient, place)).uniform(0.7, 3.0)
        error = np.random.default_rng((seed, patient, place)).normal(0, spread)
        return round(float(truth + error), 4)

    return ratio
