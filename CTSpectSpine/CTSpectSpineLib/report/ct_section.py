"""What the report says beside the uptake: endplates of discs, and signs on the CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from CTSpectSpineLib.ct_sign import CtSigns
from CTSpectSpineLib.joint_table import number as cell_number
from CTSpectSpineLib.report.values import number

MORE = 1.1
"""How many times one endplate takes up what the other does to be called the higher. Judgement: less
is shown by two decimals, but by no picture."""


def ct_section(
    standing: Sequence[str], rows: Sequence[Mapping[str, Any]], signs: Mapping[str, CtSigns]
) -> Mapping[str, Any] | None:
    """Words beside the uptake; None where there are none.

    Parameters
    ----------
    standing
        Joints that stand out, in order: of these all is told.
    rows
        The rows of ``joints.csv``.
    signs
        What the CT shows, by joint; empty where an older version wrote none.

    Returns
    -------
    section
        ``standing``: pairs of joint and words; ``others``: the same of other joints that have a
        sign; ``measured``: at how many of all joints something was measured, empty without signs.
    """
    by_joint = {str(row["joint"]): row for row in rows}
    told = [
        (
            name,
            [
                words
                for words in (endplate_words(by_joint[name]), ct_words(signs.get(name)))
                if words
            ],
        )
        for name in standing
    ]
    told = [(name, words) for name, words in told if words]
    if not told and not signs:
        return None
    others = [
        (name, "; ".join(signs[name].signs))
        for name in by_joint
        if name not in standing and name in signs and signs[name].signs
    ]
    measured = sum(each.measured for each in signs.values())
    return {
        "standing": told,
        "others": others,
        "measured": f"{measured} of {len(signs)} joints" if signs else "",
    }


def endplate_words(row: Mapping[str, Any]) -> str:
    """Which endplate of a disc takes up more; empty for facet joints and without both values.

    Parameters
    ----------
    row
        A row of ``joints.csv``.
    """
    upper, _, lower = str(row.get("level", "")).partition("-")
    values = {
        upper: cell_number(row.get("ratio_upper_endplate")),
        lower: cell_number(row.get("ratio_lower_endplate")),
    }
    shown = {name: number(value) for name, value in values.items()}
    if len(values) < 2 or "–" in shown.values():
        return ""
    ratios = ", ".join(f"{name} {words}" for name, words in shown.items())
    high = max(values, key=values.__getitem__)
    low = min(values, key=values.__getitem__)
    more = values[high] >= MORE * values[low] and values[high] > values[low]
    return f"Endplates: {ratios} ({f'{high} takes up more' if more else 'about alike'})"


def ct_words(signs: CtSigns | None) -> str:
    """All that was measured at a joint on the CT, or why nothing was; empty without signs."""
    if signs is None:
        return ""
    if not signs.measured:
        return f"CT: not measured ({signs.status_reason})"
    missing = f"not all measured ({signs.status_reason})" if signs.status_reason else ""
    words = [*signs.values, *([missing] if missing else [])]
    return f"CT: {'; '.join(words)}" if words else ""
