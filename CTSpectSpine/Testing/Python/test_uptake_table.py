"""Joints whose measurement says nothing never count as negative."""

from __future__ import annotations

import numpy as np
import pandas as pd

from CTSpectSpineLib.model import UptakeBounds
from CTSpectSpineLib.uptake.table import drop_uninformative

BOUNDS = {
    "disc": UptakeBounds("ratio_corrected", 1.8, 1.5),
    "facet": UptakeBounds("ratio_corrected", 2.0, 1.6),
}


def test_interval_from_nothing_to_positive_is_not_measurable() -> None:
    rows = {
        "says nothing": ("facet", 0.0, 2.1),
        "just negative": ("facet", 0.0, 1.9),
        "bounded below": ("facet", 0.1, 3.0),
        "disc, own bound": ("disc", 0.0, 1.9),
        "not measured": ("facet", np.nan, np.nan),
    }
    table = pd.DataFrame(
        [
            {
                "joint": name,
                "kind": kind,
                "status": "measured",
                "status_reason": "flag",
                "ratio_low": low,
                "ratio_high": high,
                "uptake": "negative",
            }
            for name, (kind, low, high) in rows.items()
        ]
    )
    draws = np.ones((5, len(table)))
    found, kept = drop_uninformative(table, draws, BOUNDS)
    dropped = found.loc[found.uptake == "not_measurable", "joint"].tolist()
    assert dropped == ["says nothing", "disc, own bound"]
    assert found.loc[0, "status"] == "not_measurable"
    assert found.loc[0, "status_reason"].startswith("flag; the interval")
    assert np.isnan(kept[:, 0]).all()
    assert np.isfinite(kept[:, 1:3]).all()
    assert table.loc[0, "uptake"] == "negative"
    assert np.isfinite(draws).all()
