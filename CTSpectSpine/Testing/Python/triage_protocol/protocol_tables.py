"""Joint tables for the tests of protocols."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from CTSpectSpineLib.protocol_files import SHIPPED_FOLDER
from CTSpectSpineLib.triage_protocol import load_protocol

LEVELS = ["C4-C5", "C5-C6", "L2-L3", "L3-L4", "L4-L5", "L5-S1"]


def measured(**ratios: float) -> pd.DataFrame:
    """Joint table with ratios: 1 but for the discs named, with classes of tender-2019."""
    rows = []
    for level in LEVELS:
        for kind, side in (("disc", ""), ("facet", "left"), ("facet", "right")):
            ratio = ratios.get(level.replace("-", ""), 1.0) if kind == "disc" else 1.0
            uptake = load_protocol("tender-2019").bounds[kind].class_of(ratio)  # type: ignore[index]
            rows.append((level, kind, side, uptake, ratio, ratio - 0.1, ratio + 0.1))
    columns = [*("level", "kind", "side", "uptake", "ratio_corrected", "ratio_low", "ratio_high")]
    return pd.DataFrame(rows, columns=columns)


def own_protocol(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of tender-2019 with an id of its own and one thing changed."""
    values = json.loads((SHIPPED_FOLDER / "tender-2019.json").read_text(encoding="utf-8"))
    values["id"] = "own"
    change(values)
    path = folder / "own.json"
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
    return path
