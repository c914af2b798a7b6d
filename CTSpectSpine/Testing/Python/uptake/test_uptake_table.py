"""Joints whose measurement says nothing never count as negative."""

from __future__ import annotations

import numpy as np
import pandas as pd

from CTSpectSpineLib.model import Joint, JointKind, UptakeBounds
from CTSpectSpineLib.uptake.columns import drop_unreliable

BOUNDS = {
    "disc": UptakeBounds("ratio_corrected", 1.8, 1.5),
    "facet": UptakeBounds("ratio_corrected", 2.0, 1.6),
}


def joint(kind: JointKind, doubts: tuple[str, ...] = ()) -> Joint:
    return Joint("", "L4-L5", kind, "", "lumbar", "L4", "L5", None, None, None, doubts=doubts)


def test_joints_whose_numbers_say_nothing_are_not_measurable() -> None:
    rows = {
        "says nothing": (joint("facet"), 0.0, 2.1),
        "just negative": (joint("facet"), 0.0, 1.9),
        "bounded below": (joint("facet"), 0.1, 3.0),
        "disc, own bound": (joint("disc"), 0.0, 1.9),
        "not measured": (joint("facet"), np.nan, np.nan),
        "in doubt": (joint("disc", ("L4 and L5 are mixed",)), 0.9, 1.1),
    }
    table = pd.DataFrame(
        [
            {
                "joint": name,
                "kind": row.kind,
                "status": "measured",
                "status_reason": "flag",
                "ratio_low": low,
                "ratio_high": high,
                "uptake": "negative",
            }
            for name, (row, low, high) in rows.items()
        ]
    )
    draws = np.ones((5, len(table)))
    found, kept = drop_unreliable(table, draws, [row for row, _, _ in rows.values()], BOUNDS)
    dropped = found.loc[found.uptake == "not_measurable", "joint"].tolist()
    assert dropped == ["says nothing", "disc, own bound", "in doubt"]
    assert (found.status == found.uptake.where(found.uptake == "not_measurable", "measured")).all()
    assert found.loc[0, "status_reason"].startswith("flag; blur and noise")
    assert found.loc[5, "status_reason"] == "flag; its numbers cannot be relied on"
    assert np.isnan(kept[:, [0, 3, 5]]).all()
    assert np.isfinite(kept[:, [1, 2, 4]]).all()
    assert (table.uptake == "negative").all()
    assert np.isfinite(draws).all()
