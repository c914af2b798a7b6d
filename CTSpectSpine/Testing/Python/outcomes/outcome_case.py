"""Outcome tables of made-up patients whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

HEADER = "id,region,procedure,levels,vas_axial_pre,vas_axial_2m,vas_axial_12m,odi_pre,odi_12m"


def write_table(path: Path, count: int = 24, seed: int = 1, lost: float = 0.0) -> Path:
    """A table of patients who get better; a share is lost at 12 months."""
    rng = np.random.default_rng(seed)
    lines = [HEADER]
    for number in range(count):
        region = "cervical" if number % 2 else "lumbar"
        levels = "C5-C6" if number % 2 else "L4-L5; L5-S1"
        pre = int(rng.integers(6, 11))
        two = max(pre - int(rng.integers(0, 5)), 0)
        twelve = max(pre - int(rng.integers(0, 8)), 0)
        odi = int(rng.integers(30, 80))
        last = "" if rng.random() < lost else str(twelve)
        lines.append(f"p{number:02d},{region},fusion,{levels},{pre},{two},{last},{odi},{odi // 2}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
