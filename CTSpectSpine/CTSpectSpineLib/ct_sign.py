"""Signs of degeneration that the CT alone shows at a joint: the value, its words, and its table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

FILE = "ct_signs.csv"
"""Name of the table in the results folder."""


@dataclass(frozen=True)
class CtSigns:
    """What the CT shows at one joint; NaN and empty text where it was not, or cannot be, measured.

    The fields are the columns of ``ct_signs.csv``, in order. They never change a verdict.

    Attributes
    ----------
    joint, level, kind, side
        As in ``joints.csv``.
    status, status_reason
        ``measured``, or ``not_measurable``; the reason, also where a part could not be measured.
    height_mm, height_ratio, narrowed
        Discs: median distance of the bony endplates in their middle part; the same over that of
        the neighbouring discs; ``no``, ``moderate``, ``severe``.
    gas_mm3, gas_share, gas
        Gas in the disc or joint space, mm³; for discs its share of the disc; ``yes`` or ``no``.
    subchondral_upper_hu, subchondral_lower_hu
        Discs: median HU of the bone below the endplates of the upper and the lower vertebra.
    cancellous_upper_hu, cancellous_lower_hu
        Median HU of the cancellous core of these vertebrae.
    sclerosis_upper_share, sclerosis_lower_share, sclerosis_upper, sclerosis_lower
        Share of the endplate under which bone is much denser than that core; ``no``, ``focal``,
        ``extensive``.
    space_mm
        Facet joints: median width of the joint space; `narrowed` is ``yes``, ``borderline`` or
        ``no``, for lumbar joints.
    bone_hu, bone_hu_difference
        Facet joints: mean HU of the joint's bone, and the same less that of the other side.
    """

    joint: str
    level: str
    kind: str
    side: str
    status: str = "measured"
    status_reason: str = ""
    height_mm: float = math.nan
    height_ratio: float = math.nan
    narrowed: str = ""
    gas_mm3: float = math.nan
    gas_share: float = math.nan
    gas: str = ""
    subchondral_upper_hu: float = math.nan
    cancellous_upper_hu: float = math.nan
    sclerosis_upper_share: float = math.nan
    sclerosis_upper: str = ""
    subchondral_lower_hu: float = math.nan
    cancellous_lower_hu: float = math.nan
    sclerosis_lower_share: float = math.nan
    sclerosis_lower: str = ""
    space_mm: float = math.nan
    bone_hu: float = math.nan
    bone_hu_difference: float = math.nan

    @property
    def measured(self) -> bool:
        """Whether anything was measured."""
        return self.status == "measured"

    @property
    def signs(self) -> tuple[str, ...]:
        """What is degenerate, each in a few words."""
        return tuple(_signs(self))

    @property
    def values(self) -> tuple[str, ...]:
        """All that was measured, the signs among it, each in a few words."""
        gas = ["no gas"] if self.gas == "no" else list(_gas(self))
        none = self.sclerosis_upper == self.sclerosis_lower == "no"
        return (*_sizes(self), *gas, *(["no sclerosis"] if none else _sclerosis(self)))


COLUMNS = tuple(field.name for field in fields(CtSigns))
"""Columns of ``ct_signs.csv``, in order."""
_TEXTS = frozenset({"joint", "level", "kind", "side", "status", "status_reason", "narrowed", "gas",
                    "sclerosis_upper", "sclerosis_lower"})  # fmt: skip
_NARROWED = {"moderate": "moderately narrowed", "severe": "severely narrowed", "yes": "narrowed"}


def _sizes(signs: CtSigns) -> Iterable[str]:
    narrowed = _NARROWED.get(signs.narrowed, "")
    if math.isfinite(signs.height_mm):
        text = f"{signs.height_mm:.1f} mm high"
        if math.isfinite(signs.height_ratio):
            text += f", {100 * signs.height_ratio:.0f} % of its neighbours"
        yield f"{text} ({narrowed})" if narrowed else text
    if math.isfinite(signs.space_mm):
        text = f"joint space {signs.space_mm:.1f} mm"
        yield f"{text} ({narrowed})" if narrowed else text


def _signs(signs: CtSigns) -> Iterable[str]:
    if signs.narrowed in _NARROWED:
        yield from _sizes(signs)
    yield from _gas(signs)
    yield from _sclerosis(signs)


def _gas(signs: CtSigns) -> Iterable[str]:
    if signs.gas == "yes":
        share = f" ({100 * signs.gas_share:.0f} %)" if math.isfinite(signs.gas_share) else ""
        yield f"gas {signs.gas_mm3:.0f} mm³{share}"


def _sclerosis(signs: CtSigns) -> Iterable[str]:
    upper, _, lower = signs.level.partition("-")
    names = {"upper": upper, "lower": lower}
    for side in names:
        grade = getattr(signs, f"sclerosis_{side}")
        if grade in ("focal", "extensive"):
            yield f"{grade} sclerosis of the endplate of {names[side]}"


def to_csv(signs: Iterable[CtSigns]) -> str:
    """The text of ``ct_signs.csv`` (RFC 4180); only the header where there is no joint."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for each in signs:
        writer.writerow([_cell(getattr(each, name)) for name in COLUMNS])
    return stream.getvalue()


def from_csv(text: str) -> dict[str, CtSigns]:
    """Joint id to its signs, from the text of ``ct_signs.csv``.

    Raises
    ------
    ValueError
        If a column is missing or a cell holds no number.
    """
    rows = csv.DictReader(io.StringIO(text))
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        raise ValueError(f"the column {missing[0]!r} is missing")
    found = (_from_row(row) for row in rows)
    return {signs.joint: signs for signs in found}


def _from_row(row: Mapping[str, Any]) -> CtSigns:
    values: dict[str, Any] = {}
    for name in COLUMNS:
        cell = str(row[name] or "")
        values[name] = cell if name in _TEXTS else _number(cell)
    return CtSigns(**values)


def _number(cell: str) -> float:
    value = float(cell) if cell else math.nan
    return value if math.isfinite(value) else math.nan


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.3f}" if math.isfinite(value) else ""
