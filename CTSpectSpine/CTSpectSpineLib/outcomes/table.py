"""The outcome table: one row per patient, one column per measure and visit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.cell_table import CellTable, read_cells
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.geometry import FloatArray

BASELINE = "pre"
REGIONS = ("cervical", "thoracic", "lumbar")
_FUSION = {"fused": True, "not_fused": False, "not fused": False, "yes": True, "no": False}
_TEXT = ("id", "region", "sex", "procedure", "levels", "fusion", "verdict_followed")
_AGES = (0.0, 120.0)
"""Years. Convention: as in the clinical context."""


@cache
def tables() -> Mapping[str, Mapping[str, Any]]:
    """Measures, visits and least important differences, with their sources."""
    return json_table(Path(__file__).with_name("measures.json"))


def measures() -> Mapping[str, Mapping[str, Any]]:
    """Measure to its title, bounds and words."""
    return tables()["measures"]


def visits() -> tuple[str, ...]:
    """Visits in order, the one before treatment first."""
    return tuple(tables()["visits"])


def visit_title(visit: str) -> str:
    """What a visit is called."""
    return str(tables()["visits"][visit]["title"])


def months(visit: str) -> float:
    """Time of a visit after treatment."""
    return float(tables()["visits"][visit]["months"])


@dataclass(frozen=True)
class Patient:
    """Who a row is about; empty or None where the table does not say.

    Attributes
    ----------
    region
        ``cervical``, ``thoracic`` or ``lumbar``.
    procedure
        What was done, in the words of the table.
    levels
        Levels that were treated, such as ``L4-L5``.
    fused
        Whether CT shows fusion.
    followed
        Whether the treatment is what the verdict asked for.
    """

    id: str
    region: str = ""
    age_years: float = nan
    sex: str = ""
    procedure: str = ""
    levels: tuple[str, ...] = ()
    fused: bool | None = None
    followed: bool | None = None


@dataclass(frozen=True)
class Outcomes:
    """An outcome table.

    Attributes
    ----------
    patients
        In the order of the file.
    values
        Measure and visit to values, shape (patients,), NaN where there is none. Only what has at
        least one value is there.
    unused
        Columns that nobody reads.
    """

    patients: tuple[Patient, ...]
    values: Mapping[tuple[str, str], FloatArray]
    unused: tuple[str, ...] = ()

    def measures(self) -> list[str]:
        """Measures with values before treatment and after."""
        return [name for name in measures() if (name, BASELINE) in self.values and self.after(name)]

    def after(self, measure: str) -> list[str]:
        """Visits after treatment at which somebody has a value."""
        return [v for v in visits() if v != BASELINE and (measure, v) in self.values]

    def of(self, measure: str, visit: str) -> FloatArray:
        """Values of a measure at a visit; NaN where there are none."""
        empty = np.full(len(self.patients), nan)
        return self.values.get((measure, visit), empty)


def read_outcomes(path: Path) -> Outcomes:
    """Read an outcome table.

    Columns are ``id``; ``MEASURE_VISIT`` such as ``vas_axial_pre`` and ``odi_12m``; ``region``,
    ``age_years``, ``sex``, ``procedure``, ``levels``, ``fusion`` and ``verdict_followed`` as
    wanted.
    Other columns stay unread, unless they look like a misspelt measure.

    Raises
    ------
    InputError
        Naming row and column, if the table cannot be read or a value is not possible.
    """
    known = {f"{m}_{v}": (m, v) for m in measures() for v in visits()}
    cells = read_cells(
        path, {*known, *_TEXT, "age_years"}, ("id",), "a table of outcomes", _is_misspelt
    )
    if not cells.rows:
        raise InputError(f"{path} holds no patients; give one row for each.")
    bounds = {
        name: (float(measures()[m]["low"]), float(measures()[m]["high"]))
        for name, (m, _) in known.items()
    }
    numbers = cells.numbers({**bounds, "age_years": _AGES})
    ages = numbers.pop("age_years", [nan] * len(cells.rows))
    values = {known[name]: np.array(column) for name, column in numbers.items()}
    values = {key: column for key, column in values.items() if np.isfinite(column).any()}
    found = Outcomes(
        tuple(_patients(cells, ages)),
        values,
        tuple(n for n in cells.columns if n and n not in (*known, *_TEXT, "age_years")),
    )
    if not found.measures():
        raise InputError(
            f"{path} has no measure with values before and after treatment; give columns such as "
            f"'vas_axial_pre' and 'vas_axial_12m' (visits: {', '.join(visits())})."
        )
    return found


def _is_misspelt(name: str) -> bool:
    return re.match(r"(vas|odi|nrs)(_|$)", name.lower()) is not None


def _patients(cells: CellTable, ages: list[float]) -> Iterator[Patient]:
    columns = zip(
        cells.unique("id", "patient"),
        cells.choices("region", REGIONS),
        ages,
        cells.choices("sex", ("female", "male", "other")),
        cells.cells("procedure"),
        cells.read("levels", _levels),
        cells.read("fusion", _fusion),
        cells.answers("verdict_followed"),
        strict=True,
    )
    for row in columns:
        patient = Patient(*row)
        yield replace(patient, region=patient.region or _region(patient.levels))


def _region(levels: tuple[str, ...]) -> str:
    """Region of the uppermost vertebra of treated levels that lie in one region, else empty."""
    of = {row.name: row.region for row in anatomy.vertebrae()}
    found = {of[level.partition("-")[0]] for level in levels}
    return found.pop() if len(found) == 1 else ""


def _levels(cell: str) -> tuple[str, ...]:
    """``L4-L5; L5-S1``, also ``L4/5`` and ``L4-S1`` for all levels between."""
    parts = (part.strip().upper() for part in re.split(r"[;,|+]", cell))
    return tuple(level for part in parts if part for level in _span(part))


def _span(text: str) -> list[str]:
    parts = re.fullmatch(r"([CTLS])(\d+)\s*[-/–]\s*([CTLS]?)(\d+)", text)
    if parts is not None:
        first, upper, second, lower = parts.groups()
        ends = f"{first}{upper}", f"{second or first}{lower}"
        names = [
            row.name
            for row in anatomy.vertebrae()
            if row.name in ends or row.name not in anatomy.SUPERNUMERARY
        ]
        if set(ends) <= set(names) and names.index(ends[0]) < names.index(ends[1]):
            within = names[names.index(ends[0]) : names.index(ends[1]) + 1]
            return [f"{one}-{other}" for one, other in pairwise(within)]
    raise ValueError("give levels such as L4-L5; L5-S1, or leave it empty")


def _fusion(cell: str) -> bool | None:
    if not cell:
        return None
    if cell.lower() not in _FUSION:
        raise ValueError("give yes or no (fused or not by CT), or leave it empty")
    return _FUSION[cell.lower()]
